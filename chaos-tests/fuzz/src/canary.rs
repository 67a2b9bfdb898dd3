//! A secret that can be searched for: where a parser refuses, it must not repeat what it was given.

use serde_json::{Map, Value};

/// Never made by a mutation of anything else.
pub const CANARY: &str = "hunter2-canary";
/// Stands for the canary in an input, so that libFuzzer can put it anywhere with one byte.
const MARK: char = '^';

/// The text with every mark replaced.
pub fn planted(text: &str) -> String {
    text.replace(MARK, CANARY)
}

/// Replaces the marks in all texts of a body, but in no name: those are the caller's question, and warnings repeat
/// them. The fields `spared` hold what a sentence may name, such as a mount's path.
pub fn plant(body: &mut Map<String, Value>, spared: &[&str]) {
    for (_, value) in body.iter_mut().filter(|(name, _)| !spared.contains(&name.as_str())) {
        plant_in(value);
    }
}

fn plant_in(value: &mut Value) {
    match value {
        Value::String(text) => *text = planted(text),
        Value::Array(items) => items.iter_mut().for_each(plant_in),
        Value::Object(fields) => fields.values_mut().for_each(plant_in),
        _ => {}
    }
}

/// # Panics
/// If the canary sings.
#[track_caller]
pub fn assert_absent(text: &str) {
    assert!(!text.contains(CANARY), "a secret is repeated: {text}");
}

/// # Panics
/// If the canary stands in what must be ciphertext.
#[track_caller]
pub fn assert_absent_in(bytes: &[u8]) {
    let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
    assert!(!found, "a secret stands in clear in what is stored");
}
