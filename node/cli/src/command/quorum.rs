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

/// The named fields of an answer, those that are there.
pub fn report(answer: &Value, titles: &[(&str, &str)]) -> Report {
    let rows: Vec<[String; 2]> = titles
        .iter()
        .filter_map(|(title, name)| {
            let field = answer.get(*name).filter(|field| !field.is_null() && **field != "")?;
            Some([(*title).to_owned(), value::cell(name, field)])
        })
        .collect();
    Report::new(table::columns(["Key", "Value"], &rows), answer)
}

/// `2/3`, in place of two fields.
pub fn with_progress(mut answer: Value, required: &str) -> Value {
    let parts = (answer["progress"].as_u64(), answer[required].as_u64());
    if let ((Some(progress), Some(required)), true) = (parts, answer["started"] == true) {
        answer["progress_shown"] = format!("{progress}/{required}").into();
    }
    answer
}
