//! What holds for all policies: random ones, on few enough names that patterns meet.

use proptest::prelude::*;

use super::acl::Named;
use super::parse::Policy;
use super::template::Subject;
use super::testing::access;
use super::{Acl, Capability, reference};
use crate::plan::Operation;

const OPERATIONS: [Operation; 6] = [
    Operation::Read,
    Operation::Write,
    Operation::Patch,
    Operation::Delete,
    Operation::List,
    Operation::Scan,
];

fn segment() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "ab", "abc", "+", "+a", "a+", "", "*"])
}

fn rule_path() -> impl Strategy<Value = String> {
    (prop::collection::vec(segment(), 1..5), prop::sample::select(vec!["", "", "*", "/*", "/"]))
        .prop_map(|(segments, end)| segments.join("/") + end)
        .prop_filter("refused by the parser, or spelt in two ways", |text| {
            !text.contains("+*") && !text.starts_with('/')
        })
}

fn asked_path() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "ab", "abc", "x", "+", "+a", "*"]);
    (prop::collection::vec(segment, 1..5), prop::bool::ANY)
        .prop_map(|(segments, slash)| segments.join("/") + if slash { "/" } else { "" })
}

fn rule() -> impl Strategy<Value = String> {
    let capabilities = prop::sample::subsequence(Capability::ALL.to_vec(), 0..4);
    let constraint = prop::sample::select(vec![
        "",
        "",
        "",
        r#"allowed_parameters = { "x" = ["1", "2"] "y" = [] }"#,
        r#"allowed_parameters = { "x" = [3] "*" = [] }"#,
        r#"denied_parameters = { "z" = ["a*", true, -1.5] }"#,
        r#"required_parameters = ["x", "Y"]"#,
        "min_wrapping_ttl = 5 max_wrapping_ttl = \"2m\"",
        "max_wrapping_ttl = 3",
        "pagination_limit = 10",
        "pagination_limit = 3 comment = \"why \\\"so\\\"\"",
    ]);
    // Rules that deny are few in the world, and would hide everything here.
    (rule_path(), capabilities, 0..4, constraint).prop_map(|(path, mut capabilities, denies, constraint)| {
        if denies > 0 {
            capabilities.retain(|capability| *capability != Capability::Deny);
        }
        let names: Vec<&str> = capabilities.into_iter().map(Capability::name).collect();
        format!("path {path:?} {{ capabilities = {names:?} {constraint} }}\n")
    })
}

fn policies() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop::collection::vec(rule(), 0..8).prop_map(|rules| rules.concat()), 1..4)
}

fn named(texts: &[String]) -> Vec<Named> {
    super::testing::named(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn the_compiled_matcher_agrees_with_the_obvious_one(
        texts in policies(),
        paths in prop::collection::vec(asked_path(), 1..10),
    ) {
        let policies = named(&texts);
        let acl = Acl::compile(&policies, &Subject::default(), 0).unwrap();
        for path in &paths {
            for operation in OPERATIONS {
                let found = acl.find(path, operation);
                let expected = reference::find(&policies, path, operation);
                prop_assert_eq!(found.is_some(), expected.is_some(), "{:?} {}", operation, path);
                let (Some(found), Some(expected)) = (found, expected) else { continue };
                prop_assert_eq!(found.pattern.to_string(), expected.pattern, "{:?} {}", operation, path);
                prop_assert_eq!(found.capabilities, expected.capabilities);
                let is_allowed = acl.decide(&access(operation, path)).is_ok();
                let needed = Capability::needed(operation, false);
                prop_assert!(!is_allowed || expected.capabilities.has(needed) && !expected.capabilities.denies());
            }
        }
    }

    /// The order of policies is the order of their names in a token, and that must mean nothing.
    #[test]
    fn the_order_of_policies_changes_nothing(texts in policies(), paths in prop::collection::vec(asked_path(), 1..6)) {
        let policies = named(&texts);
        let reversed: Vec<Named> = policies.iter().rev().cloned().collect();
        let one = Acl::compile(&policies, &Subject::default(), 0).unwrap();
        let other = Acl::compile(&reversed, &Subject::default(), 0).unwrap();
        for path in &paths {
            for operation in OPERATIONS {
                let told = |acl: &Acl| acl.find(path, operation).map(|grant| (grant.pattern.clone(), grant.capabilities));
                prop_assert_eq!(told(&one), told(&other));
                prop_assert_eq!(one.decide(&access(operation, path)).is_ok(), other.decide(&access(operation, path)).is_ok());
            }
        }
    }

    /// CVE-2020-10661 and its kin: a rule for one path must not change what holds for another that it does not match.
    #[test]
    fn one_more_deny_only_takes_away(texts in policies(), denied in rule_path(), path in asked_path()) {
        let before = Acl::compile(&named(&texts), &Subject::default(), 0).unwrap();
        let mut texts = texts;
        texts.push(format!("path {denied:?} {{ capabilities = [\"deny\"] }}"));
        let after = Acl::compile(&named(&texts), &Subject::default(), 0).unwrap();
        for operation in OPERATIONS {
            let (was, is) = (before.decide(&access(operation, &path)), after.decide(&access(operation, &path)));
            prop_assert!(was.is_ok() || is.is_err(), "{:?} {}", operation, path);
        }
    }

    #[test]
    fn what_is_printed_is_read_as_the_same(texts in policies()) {
        for text in &texts {
            let policy = super::testing::policy(text);
            let printed = policy.to_string();
            let again = super::testing::policy(&printed);
            prop_assert_eq!(again.to_string(), printed.clone());
            let strip = |policy: Policy| policy.rules.into_iter().map(|mut rule| { rule.line = 0; rule }).collect::<Vec<_>>();
            prop_assert_eq!(strip(again), strip(policy));
        }
    }

    #[test]
    fn no_text_breaks_the_parser(text in "\\PC{0,200}", braces in "[a-z\"{}\\[\\]=,:# \n1-]{0,200}") {
        let _ = Policy::parse(&text);
        let _ = Policy::parse(&braces);
        let _ = super::password::PasswordPolicy::parse(&braces);
    }
}
