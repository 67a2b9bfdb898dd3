//! Finding a claim, by its name or by a JSON pointer, and holding it against what a role is bound to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How the values of bound claims are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Comparison {
    #[default]
    String,
    /// `*` stands for any text.
    Glob,
}

/// The claim `name`: a JSON pointer (RFC 6901) if it begins with a slash. One audience is a list of one.
pub fn find(claims: &Value, name: &str) -> Option<Value> {
    let found = if name.starts_with('/') { claims.pointer(name) } else { claims.get(name) }?;
    match found {
        Value::Null => None,
        Value::String(_) if name == "aud" => Some(Value::Array(vec![found.clone()])),
        found => Some(found.clone()),
    }
}

/// One value is a list of one.
pub fn listed(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(list) => Some(list),
        Value::String(_) | Value::Bool(_) | Value::Number(_) => Some(std::slice::from_ref(value)),
        Value::Null | Value::Object(_) => None,
    }
}

/// That for each bound claim the token has one of its values.
///
/// # Errors
/// A sentence that names the claim, which is the role's word.
pub fn check_bound(
    comparison: Comparison,
    bound: &BTreeMap<String, Value>,
    claims: &Value,
) -> Result<(), String> {
    for (name, expected) in bound {
        let found = find(claims, name).ok_or_else(|| format!("claim {name:?} is missing"))?;
        let found = listed(&found).ok_or("received claim is not a string, bool, int or list")?;
        let expected = listed(expected).ok_or("bound claim is not a string, bool, int or list")?;
        let matches = |expected: &Value, found: &Value| match (comparison, expected, found) {
            (Comparison::Glob, Value::String(pattern), Value::String(text)) => glob(pattern, text),
            (Comparison::Glob, ..) => false,
            (Comparison::String, Value::Number(expected), Value::Number(found)) => {
                expected == found || expected.as_i64().is_some_and(|whole| found.as_i64() == Some(whole))
            }
            (Comparison::String, ..) => expected == found,
        };
        if !expected.iter().any(|expected| found.iter().any(|found| matches(expected, found))) {
            return Err(format!("claim {name:?} does not match any associated bound claim values"));
        }
    }
    Ok(())
}

/// What of the claims becomes metadata.
///
/// # Errors
/// A sentence: a claim is no text.
pub fn metadata(
    mappings: &BTreeMap<String, String>,
    claims: &Value,
) -> Result<BTreeMap<String, String>, String> {
    let mut metadata = BTreeMap::new();
    for (name, target) in mappings {
        match find(claims, name) {
            None => {}
            Some(Value::String(text)) => {
                metadata.insert(target.clone(), text);
            }
            Some(_) => return Err(format!("error converting claim '{name}' to string")),
        }
    }
    Ok(metadata)
}

/// Whether `pattern`, in which each `*` stands for any text, fits all of `text`.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        // The first place that fits leaves most for those that follow.
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, fits) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "abc", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "abcd", false),
            ("ab*bc", "abc", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("repo:me/*:ref:refs/heads/main", "repo:me/x:ref:refs/heads/main", true),
            ("repo:me/*:ref:refs/heads/main", "repo:me/x:ref:refs/heads/main2", false),
            ("a.c", "abc", false),
            ("a**c", "abc", true),
            ("é*", "éa", true),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn bound_claims_are_held_against_what_is_there() {
        let claims = json!({
            "a": "x", "n": 5, "f": 5.5, "b": true, "list": ["x", "y", 7], "none": null, "object": { "a": "x" },
            "deep": { "er": ["p", { "q": "r" }], "a/b": "s" }, "aud": "me",
        });
        let check = |comparison, bound: Value| {
            check_bound(comparison, &serde_json::from_value(bound).unwrap(), &claims).is_ok()
        };
        for (bound, fits) in [
            (json!({}), true),
            (json!({ "a": "x" }), true),
            (json!({ "a": "X" }), false),
            (json!({ "a": ["w", "x"] }), true),
            (json!({ "a": [] }), false),
            (json!({ "a": "x", "n": 6 }), false),
            (json!({ "n": 5 }), true),
            (json!({ "n": "5" }), false),
            (json!({ "f": 5 }), false),
            (json!({ "f": 5.5 }), true),
            (json!({ "b": true }), true),
            (json!({ "b": "true" }), false),
            (json!({ "list": "y" }), true),
            (json!({ "list": [7] }), true),
            (json!({ "list": "z" }), false),
            (json!({ "none": "x" }), false),
            (json!({ "missing": "x" }), false),
            (json!({ "object": "x" }), false),
            (json!({ "/object/a": "x" }), true),
            (json!({ "/deep/er/0": "p" }), true),
            (json!({ "/deep/er/1/q": "r" }), true),
            (json!({ "/deep/a~1b": "s" }), true),
            (json!({ "/deep/er/9": "p" }), false),
            (json!({ "aud": "me" }), true),
            (json!({ "a": "*" }), false),
        ] {
            assert_eq!(check(Comparison::String, bound.clone()), fits, "{bound}");
        }
        for (bound, fits) in [
            (json!({ "a": "*" }), true),
            (json!({ "list": "y*" }), true),
            (json!({ "n": "*" }), false),
            (json!({ "missing": "*" }), false),
        ] {
            assert_eq!(check(Comparison::Glob, bound.clone()), fits, "{bound}");
        }
    }

    #[test]
    fn claims_become_metadata_if_they_are_texts() {
        let claims = json!({ "a": "x", "deep": { "er": "y" }, "n": 5 });
        let map = |mappings: Value| metadata(&serde_json::from_value(mappings).unwrap(), &claims);
        let found = map(json!({ "a": "first", "/deep/er": "second", "missing": "third" })).unwrap();
        assert_eq!(json!(found), json!({ "first": "x", "second": "y" }));
        assert!(map(json!({ "n": "first" })).is_err() && map(json!({ "deep": "first" })).is_err());
    }
}
