//! What commands that take key shares have in common.

use std::io::{IsTerminal as _, Write as _};

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::input;
use crate::output::{Report, table, value};

/// The key as an argument, from standard input, or asked for at the terminal.
pub fn key(argument: Option<String>) -> Result<String, Failure> {
    match argument {
        Some(key) if key != "-" => Ok(key.trim().to_owned()),
        from_input => read_key(from_input.is_some()),
    }
}

/// `from_input`: do not ask at a terminal even if there is one.
fn read_key(from_input: bool) -> Result<String, Failure> {
    if from_input || !std::io::stdin().is_terminal() {
        return input::line(std::io::stdin().lock());
    }
    eprint!("Unseal Key (will be hidden): ");
    // A prompt that cannot be shown is no reason to stop.
    let _ = std::io::stderr().flush();
    let key = rpassword::read_password()
        .map_err(|error| Failure::local(format!("cannot read the key: {error}")))?;
    Ok(key.trim().to_owned())
}

/// A body with the key that proves a caller without a token.
pub fn shown(key: Option<&str>) -> Value {
    key.map_or_else(|| json!({}), |key| json!({ "key": key }))
}

/// Stands in titles for `progress`, shown with how many are needed: `2/3`.
pub const PROGRESS: &str = "progress_shown";

/// The named fields of an answer, those that are there. `required`: the field that says how many keys are needed.
pub fn report(answer: &Value, required: &str, titles: &[(&str, &str)]) -> Report {
    let progress = match (answer["progress"].as_u64(), answer[required].as_u64(), &answer["started"]) {
        (Some(progress), Some(required), Value::Bool(true)) => json!(format!("{progress}/{required}")),
        _ => Value::Null,
    };
    let rows: Vec<[String; 2]> = titles
        .iter()
        .filter_map(|(title, name)| {
            let field = if *name == PROGRESS { Some(&progress) } else { answer.get(*name) };
            let field = field.filter(|field| !field.is_null() && **field != "")?;
            Some([(*title).to_owned(), value::cell(name, field)])
        })
        .collect();
    Report::new(table::columns(["Key", "Value"], &rows), answer)
}
