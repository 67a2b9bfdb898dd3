//! Reading a request's fields as leniently as Vault does, and as strictly: numbers may come as text, but what is
//! neither is refused. Sentences name fields, which are known words, never values.

use serde_json::{Map, Value};

use crate::duration;
use crate::error::Error;
use crate::plan::Query;

/// Parameters that every endpoint knows, because they choose the operation.
const KNOWN_EVERYWHERE: [&str; 3] = ["help", "list", "scan"];

/// A whole number; `null` and empty text count as 0, as for Vault.
pub(crate) fn integer(body: &Map<String, Value>, name: &str) -> Result<Option<i64>, Error> {
    let refuse = || Error::invalid(format!("error converting input for field {name:?}: expected an integer"));
    body.get(name).map(|value| integer_of(value).ok_or_else(refuse)).transpose()
}

pub(crate) fn integer_of(value: &Value) -> Option<i64> {
    match value {
        Value::Null => Some(0),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => integer_in(text),
        _ => None,
    }
}

fn integer_in(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    // Vault takes a leading zero for octal: whoever sends one would be surprised either way.
    let ambiguous = digits.len() > 1 && digits.starts_with('0');
    if ambiguous || !digits.bytes().all(|byte| byte.is_ascii_digit()) { None } else { text.parse().ok() }
}

/// A whole number from the query; empty counts as absent.
pub(crate) fn query_integer(query: &Query, name: &str) -> Result<Option<i64>, Error> {
    let refuse = |expected: &str| {
        Error::invalid(format!("error converting input for field {name:?}: expected {expected}"))
    };
    let mut given = query.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let first = given.next().filter(|text| !text.is_empty());
    if given.next().is_some() {
        return Err(refuse("one integer"));
    }
    first.map(|text| integer_in(text).ok_or_else(|| refuse("an integer"))).transpose()
}

/// `true` or `false`, also as text or as 1 or 0; `null` counts as `false`.
pub(crate) fn boolean(body: &Map<String, Value>, name: &str) -> Result<Option<bool>, Error> {
    let refuse =
        || Error::invalid(format!("error converting input for field {name:?}: expected true or false"));
    body.get(name).map(|value| boolean_of(value).ok_or_else(refuse)).transpose()
}

fn boolean_of(value: &Value) -> Option<bool> {
    match value {
        Value::Null => Some(false),
        Value::Bool(value) => Some(*value),
        Value::Number(number) => match number.as_i64()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        Value::String(text) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Whole seconds; `null` counts as absent.
pub(crate) fn duration_s(body: &Map<String, Value>, name: &str) -> Result<Option<i64>, Error> {
    body.get(name)
        .filter(|value| !value.is_null())
        .map(duration::from_json_s)
        .transpose()
        .map_err(|error| Error::invalid(format!("error converting input for field {name:?}: {error}")))
}

/// Text; a number counts as its digits and `null` as empty.
pub(crate) fn text(body: &Map<String, Value>, name: &str) -> Result<Option<String>, Error> {
    let refuse = || Error::invalid(format!("error converting input for field {name:?}: expected text"));
    body.get(name).map(|value| text_of(value).ok_or_else(refuse)).transpose()
}

pub(crate) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(if *value { "1" } else { "0" }.to_owned()),
        _ => None,
    }
}

/// A list of texts, or one text with commas; `null` counts as empty.
pub(crate) fn texts(body: &Map<String, Value>, name: &str) -> Result<Option<Vec<String>>, Error> {
    let refuse =
        || Error::invalid(format!("error converting input for field {name:?}: expected a list of texts"));
    let list = |value: &Value| match value {
        Value::Null => Some(Vec::new()),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        Value::String(text) => {
            Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
        }
        _ => None,
    };
    body.get(name).map(|value| list(value).ok_or_else(refuse)).transpose()
}

/// An object; `null` counts as absent.
pub(crate) fn object<'a>(
    body: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a Map<String, Value>>, Error> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => {
            Err(Error::invalid(format!("error converting input for field {name:?}: expected an object")))
        }
    }
}

/// What Vault warns of: parameters that this endpoint does not know, sorted.
pub(crate) fn unknown_warning<'a>(names: impl Iterator<Item = &'a str>, known: &[&str]) -> Vec<String> {
    let mut unknown: Vec<&str> =
        names.filter(|name| !known.contains(name) && !KNOWN_EVERYWHERE.contains(name)).collect();
    if unknown.is_empty() {
        return Vec::new();
    }
    unknown.sort_unstable();
    unknown.dedup();
    vec![format!("Endpoint ignored these unrecognized parameters: [{}]", unknown.join(" "))]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(value: &Value) -> Map<String, Value> {
        Map::from_iter([("field".to_owned(), value.clone())])
    }

    #[test]
    fn integers_come_as_numbers_or_text_and_never_as_anything_else() {
        for (value, expect) in [
            (json!(3), Some(3)),
            (json!(-3), Some(-3)),
            (json!("3"), Some(3)),
            (json!(""), Some(0)),
            (json!(null), Some(0)),
            (json!("x"), None),
            (json!("+3"), None),
            (json!("010"), None),
            (json!("0x2"), None),
            (json!(" 3"), None),
            (json!(1.0), None),
            (json!(true), None),
            (json!([3]), None),
            (json!("18446744073709551616"), None),
        ] {
            assert_eq!(integer(&body(&value), "field").ok().flatten(), expect, "{value}");
        }
        assert_eq!(integer(&Map::new(), "field"), Ok(None));
    }

    #[test]
    fn booleans_are_read_as_go_reads_them() {
        for (value, expect) in [
            (json!(true), Some(true)),
            (json!("True"), Some(true)),
            (json!("1"), Some(true)),
            (json!(0), Some(false)),
            (json!("f"), Some(false)),
            (json!("yes"), None),
            (json!(2), None),
            (json!({}), None),
        ] {
            assert_eq!(boolean(&body(&value), "field").ok().flatten(), expect, "{value}");
        }
    }

    #[test]
    fn lists_of_texts_come_as_lists_or_with_commas() {
        assert_eq!(texts(&body(&json!("a, b,,c")), "field").unwrap().unwrap(), ["a", "b", "c"]);
        assert_eq!(texts(&body(&json!(["a", "b"])), "field").unwrap().unwrap(), ["a", "b"]);
        assert!(texts(&body(&json!([1])), "field").is_err());
    }

    #[test]
    fn refusals_never_repeat_a_value() {
        let secret = json!("hunter2-canary");
        let body = body(&secret);
        for error in [
            integer(&body, "field").unwrap_err(),
            boolean(&body, "field").unwrap_err(),
            duration_s(&body, "field").unwrap_err(),
            object(&body, "field").unwrap_err(),
        ] {
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }

    #[test]
    fn unknown_parameters_are_named_once_and_in_order() {
        let names = ["zeta", "data", "bogus", "list", "zeta"];
        assert_eq!(
            unknown_warning(names.into_iter(), &["data"]),
            ["Endpoint ignored these unrecognized parameters: [bogus zeta]"]
        );
        assert!(unknown_warning(["data", "scan"].into_iter(), &["data"]).is_empty());
    }

    #[test]
    fn a_query_gives_a_number_once() {
        let query = |text: &[&str]| Query(text.iter().map(|v| ("n".to_owned(), (*v).to_owned())).collect());
        assert_eq!(query_integer(&query(&["2"]), "n"), Ok(Some(2)));
        assert_eq!(query_integer(&query(&[""]), "n"), Ok(None));
        assert_eq!(query_integer(&query(&[]), "n"), Ok(None));
        assert!(query_integer(&query(&["1", "2"]), "n").is_err());
        assert!(query_integer(&query(&["1.0"]), "n").is_err());
    }
}
