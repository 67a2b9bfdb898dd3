//! Policies as people write them: which are taken, as what, and which are refused, with what sentence.

use super::super::testing::policy;
use super::*;

fn only_rule(text: &str) -> Rule {
    let mut rules = policy(text).rules;
    assert_eq!(rules.len(), 1, "{text}");
    rules.remove(0)
}

fn refusal(text: &str) -> String {
    Policy::parse(text).err().unwrap_or_else(|| panic!("taken: {text}")).to_string()
}

#[test]
fn all_that_a_rule_can_say() {
    let rule = only_rule(
        r#"
        # Everything at once.
        path "/secret/data/+/x*" {
          capabilities        = ["create", "update", "sudo"]
          allowed_parameters  = { "Bar" = ["zip", 1, true], "*" = [] }
          denied_parameters   = { "foo" = [] }
          required_parameters = ["ID", "name"]
          min_wrapping_ttl    = "1m"
          max_wrapping_ttl    = 3600
          pagination_limit    = 50
          expiration          = "2030-01-02T15:04:05Z"
          comment             = "TRACKER-1"
        }"#,
    );
    assert_eq!(rule.path.text(), "secret/data/+/x*");
    assert_eq!(rule.capabilities.names(), ["create", "sudo", "update"]);
    let constraints = &rule.constraints;
    let allowed = constraints.allowed.as_ref().unwrap();
    assert_eq!(allowed.keys().collect::<Vec<_>>(), ["*", "bar"]);
    assert_eq!(allowed["bar"].0, [Value::from("zip"), Value::from(1), Value::from(true)]);
    assert!(constraints.denied.as_ref().unwrap()["foo"].0.is_empty());
    assert_eq!(constraints.required, ["id", "name"]);
    assert_eq!(constraints.wrap, WrapBounds { min_s: Some(60), max_s: Some(3600) });
    assert_eq!(constraints.list_limit, Some(50));
    assert_eq!(rule.expires_ms, Some(1_893_596_645_000));
    assert_eq!((rule.comment.as_deref(), rule.line), (Some("TRACKER-1"), 3));
}

/// Each of these was taken by OpenBao 2.7.2, as this.
#[test]
fn every_spelling_of_a_policy_is_read() {
    let expected =
        "path \"a\" {\n  capabilities = [\"read\"]\n}\n\npath \"b\" {\n  capabilities = [\"list\"]\n}\n";
    for text in [
        r#"path "a" { capabilities = ["read"] } path "b" { capabilities = ["list"] }"#,
        r#""path" "a" { "capabilities" = ["read",] } path "/b" { capabilities = ["list"], }"#,
        "path \"a\"\n{ capabilities = [\"read\"] } // x\n/* y */ path \"b\" { # z\n capabilities = [\"list\"] }",
        r#"{"path": {"a": {"capabilities": ["read"]}, "b": {"capabilities": ["list"]}}}"#,
        r#" {"path": [{"a": {"capabilities": ["read"]}}, {"b": {"capabilities": ["list"]}}]}"#,
        r#"name = "x" path "a" { capabilities = ["read"] } path "b" { capabilities = ["list"] min_wrapping_ttl = 0 }"#,
    ] {
        assert_eq!(policy(text).to_string(), expected, "{text}");
    }
}

#[test]
fn maps_may_be_written_without_their_signs() {
    for map in
        [r#"= { "x" = ["1"], "*" = [] }"#, r#"= { "x" = ["1"] "*" = [] }"#, r#"{ x = ["1"] "*" = [] }"#]
    {
        let rule =
            only_rule(&format!("path \"a\" {{ capabilities = [\"update\"] allowed_parameters {map} }}"));
        assert_eq!(rule.constraints.allowed.unwrap().keys().collect::<Vec<_>>(), ["*", "x"], "{map}");
    }
}

#[test]
fn the_one_word_of_old_policies_stands_for_several() {
    for (word, names) in [
        ("deny", vec!["deny"]),
        ("read", vec!["list", "read"]),
        ("write", vec!["create", "delete", "list", "read", "update"]),
        ("sudo", vec!["create", "delete", "list", "read", "sudo", "update"]),
    ] {
        assert_eq!(only_rule(&format!("path \"a\" {{ policy = {word:?} }}")).capabilities.names(), names);
    }
    let both = only_rule(r#"path "a" { policy = "read" capabilities = ["patch"] }"#);
    assert_eq!(both.capabilities.names(), ["list", "patch", "read"]);
}

#[test]
fn deny_leaves_nothing_beside_it() {
    let rule = only_rule(
        r#"path "a" { capabilities = ["read", "deny"] required_parameters = ["x"] pagination_limit = 1 }"#,
    );
    assert_eq!(rule.capabilities.names(), ["deny"]);
    assert!(rule.constraints.is_empty());
}

#[test]
fn a_policy_may_be_empty_and_a_rule_may_grant_nothing() {
    assert!(
        policy("").rules.is_empty()
            && policy(" # nothing\n").rules.is_empty()
            && policy("{}").rules.is_empty()
    );
    assert!(only_rule(r#"path "a" {}"#).capabilities.is_empty());
    assert!(only_rule(r#"path "a" { capabilities = [] }"#).capabilities.is_empty());
}

#[test]
fn braces_with_a_dollar_are_plain_text() {
    assert_eq!(only_rule(r#"path "a/${x}/%{y}" { policy = "read" }"#).path.text(), "a/${x}/%{y}");
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_what_there_is() {
    for (text, parts) in [
        (
            "\npath \"a\" { capabilites = [\"read\"] }",
            vec!["line 2", "\"capabilites\"", "capabilities, policy"],
        ),
        ("rule \"a\" {}", vec!["line 1", "\"rule\"", "path, name"]),
        (
            "path \"a\" {\n capabilities = [\"Read\"] }",
            vec!["line 2", "invalid capability", "create, delete, deny"],
        ),
        ("path \"a\" { capabilities = [\"root\"] }", vec!["invalid capability"]),
        ("path \"a\" { capabilities = [\"deny\", \"bogus\"] }", vec!["invalid capability"]),
        ("path \"a\" { capabilities = \"read\" }", vec!["capabilities is a list"]),
        ("path \"a\" { capabilities = [1] }", vec!["capabilities is a list"]),
        ("path \"a\" { policy = \"admin\" }", vec!["deny, read, write, sudo"]),
        ("path \"a/+*\" { policy = \"read\" }", vec!["`+*` is forbidden"]),
        ("path \"a/{{x\" { policy = \"read\" }", vec!["braces"]),
        ("path \"a\" { allowed_parameters = { \"x\" = \"s\" } }", vec!["parameters are written"]),
        ("path \"a\" { required_parameters = \"x\" }", vec!["required_parameters is a list"]),
        ("path \"a\" { min_wrapping_ttl = \"2m\" max_wrapping_ttl = 60 }", vec!["cannot be less"]),
        ("path \"a\" { max_wrapping_ttl = -1 }", vec!["duration"]),
        ("path \"a\" { pagination_limit = -1 }", vec!["whole number"]),
        ("path \"a\" { expiration = \"tomorrow\" }", vec!["expiration is a moment"]),
        ("path \"a\" \"b\" { policy = \"read\" }", vec!["invalid key \"b\""]),
        ("path = \"a\"", vec!["a rule is written"]),
        ("path \"a\" = { policy = \"read\" }", vec!["line 1"]),
        ("path \"a\" { capabilities = [\"read\" \"list\"] }", vec!["line 1"]),
        ("{\"path\": {\"a\": 1}}", vec!["a rule is written"]),
        ("{\"path\": ", vec!["no JSON"]),
        ("[]", vec!["line 1"]),
    ] {
        let sentence = refusal(text);
        for part in parts {
            assert!(sentence.contains(part), "{text}: {sentence}");
        }
    }
}

/// To take one of two would be to guess which the author meant.
#[test]
fn nothing_may_be_said_twice() {
    for text in [
        "path \"a\" { capabilities = [\"read\"]\n capabilities = [\"list\"] }",
        r#"path "a" { allowed_parameters = { "x" = ["1"], "x" = ["2"] } }"#,
        r#"path "a" { allowed_parameters = { "x" = ["1"], "X" = ["2"] } }"#,
        r#"path "a" { allowed_parameters = { "x" = [{ y = 1, "y" = 2 }] } }"#,
        r#"path "a" { allowed_parameters = { "x" = [{ "y" = 1, "\u0079" = 2 }] } }"#,
        r#"{"path": {"a": {"capabilities": ["read"]}, "a": {"capabilities": ["list"]}}}"#,
        r#"{"path": {"a": {"capabilities": ["read"], "capabilities": ["list"]}}}"#,
    ] {
        refusal(text);
    }
    // Rules for one path are no contradiction: they unite.
    assert_eq!(policy(r#"path "a" { policy = "read" } path "a" { policy = "read" }"#).rules.len(), 2);
}

#[test]
fn what_we_cannot_enforce_is_refused_rather_than_ignored() {
    for key in NOT_SUPPORTED {
        let text = format!("path \"a\" {{ capabilities = [\"list\"] {key} = [\"x\"] }}");
        assert!(refusal(&text).contains("not supported"), "{key}");
    }
}

#[test]
fn refusals_repeat_no_value() {
    for text in [
        r#"path "hunter2/+*" { policy = "read" }"#,
        r#"path "a" { policy = "hunter2" }"#,
        r#"path "a" { capabilities = ["hunter2"] }"#,
        r#"path "a" { min_wrapping_ttl = "hunter2" }"#,
        r#"path "a" { "hunter2 x" = 1 }"#,
        r#"path "a" { hunter2 hunter2 }"#,
        r#"{"path": {"a": {"hunter2": ["read"]}}}"#,
        r#"{"hunter2""#,
    ] {
        assert!(!refusal(text).contains("hunter2"), "{text}");
    }
}

#[test]
fn sizes_are_bounded() {
    let rules = |count: usize| "path \"a\" { policy = \"read\" }\n".repeat(count);
    assert_eq!(policy(&rules(RULES_MAX)).rules.len(), RULES_MAX);
    assert!(refusal(&rules(RULES_MAX + 1)).contains("at most"));
    assert!(refusal(&" ".repeat(document::DOCUMENT_BYTES_MAX + 1)).contains("longer than"));
    assert!(refusal(&format!("{{\"a\": {}", "[".repeat(100_000))).contains("nested"));
    assert!(refusal(&format!("a = {}", "[".repeat(100_000))).contains("nested"));
    let comment = "x".repeat(COMMENT_BYTES_MAX + 1);
    assert!(refusal(&format!("path \"a\" {{ comment = \"{comment}\" }}")).contains("comment"));
}
