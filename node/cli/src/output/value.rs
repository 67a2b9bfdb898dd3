//! One JSON value as text in a table, spelled as Vault's tables spell it.

use serde_json::Value;

/// Fields that hold a number of seconds and are shown as a duration.
const DURATIONS: [&str; 6] =
    ["ttl", "creation_ttl", "explicit_max_ttl", "lease_duration", "token_duration", "refresh_interval"];

/// A cell: an empty text shows as `n/a`.
pub fn cell(name: &str, value: &Value) -> String {
    match value {
        Value::Number(number) if DURATIONS.contains(&name) => {
            number.as_u64().map_or_else(|| number.to_string(), duration)
        }
        Value::String(text) if text.is_empty() => "n/a".to_owned(),
        other => plain(other),
    }
}

/// The value as it is: text without quotes, lists as `[a b]`, maps as `map[k:v]`, null as `<nil>`.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let pairs: Vec<_> = map.iter().map(|(key, value)| format!("{key}:{}", plain(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

/// Seconds as `768h`, `1h30m` or `0s`.
pub fn duration(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = String::new();
    for (count, unit) in [(hours, 'h'), (minutes, 'm'), (rest, 's')] {
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, json: &str, expect: &str) {
        assert_eq!(cell(name, &serde_json::from_str(json).unwrap()), expect);
    }

    #[test]
    fn values_are_spelled_as_vault_spells_them() {
        check("a", "\"\"", "n/a");
        check("a", "\"text\"", "text");
        check("a", "null", "<nil>");
        check("a", "[1, \"b\", null]", "[1 b <nil>]");
        check("a", r#"{"b": "c", "a": [true]}"#, "map[a:[true] b:c]");
        check("a", "{}", "map[]");
        check("a", "12345678901234567890.50", "12345678901234567890.50");
    }

    #[test]
    fn seconds_are_shown_as_durations() {
        check("ttl", "0", "0s");
        check("lease_duration", "2764800", "768h");
        check("creation_ttl", "5490", "1h31m30s");
        check("creation_time", "5400", "5400");
    }
}
