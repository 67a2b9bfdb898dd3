//! Which rule decides, what several say together, and what ends or cannot be: tables, checked against OpenBao 2.7.2.

use super::super::Access;
use super::super::template::testing::alice;
use super::super::testing::{access, acl, named, policy};
use super::*;

/// The pattern that decides about `path` when all `patterns` are there, each of them granting everything.
#[track_caller]
fn decides(patterns: &[&str], operation: Operation, path: &str, expected: Option<&str>) {
    let rules = |patterns: &mut dyn Iterator<Item = &&str>| {
        patterns
            .map(|path| format!("path {path:?} {{ capabilities = [\"read\", \"list\"] }}\n"))
            .collect::<String>()
    };
    for text in [rules(&mut patterns.iter()), rules(&mut patterns.iter().rev())] {
        let acl = acl(&[&text]);
        let found = acl.find(path, operation).map(|grant| grant.pattern.to_string());
        assert_eq!(found.as_deref(), expected, "{path} under {patterns:?}");
    }
}

#[test]
fn the_most_specific_rule_decides() {
    for (patterns, path, expected) in [
        // No rule, no right.
        (&["a/b"][..], "a/c", None),
        (&[], "a", None),
        // A path of its own comes before every pattern.
        (&["a/b", "a/b*", "a/+", "*"], "a/b", Some("a/b")),
        // The first wildcard as late as possible.
        (&["a/*", "a/b*"], "a/bc", Some("a/b*")),
        (&["a/+", "a/b*"], "a/bc", Some("a/b*")),
        (&["a/+/c", "a/b/+"], "a/b/c", Some("a/b/+")),
        (&["+/b/c", "a/*"], "a/b/c", Some("a/*")),
        // No star at the end.
        (&["a/*", "a/+"], "a/b", Some("a/+")),
        (&["a/+/c", "a/+/c*"], "a/b/c", Some("a/+/c")),
        // Fewer wildcards.
        (&["a/+/+", "a/+/c"], "a/b/c", Some("a/+/c")),
        (&["a/*", "a/+/+/d*"], "a/b/c/de", Some("a/*")),
        // The longer.
        (&["a/+/c*", "a/+/cd*"], "a/b/cde", Some("a/+/cd*")),
        (&["a/+/c/+", "a/+/+/dd"], "a/b/c/dd", Some("a/+/+/dd")),
        // The greater.
        (&["a/+/c/+", "a/+/+/d"], "a/b/c/d", Some("a/+/c/+")),
        // Wildcards match what they say and no more.
        (&["a/+"], "a/b/c", None),
        (&["a/+/c"], "a/c", None),
        (&["+"], "a/b", None),
        (&["*"], "a/b", Some("*")),
        (&["a/b"], "A/b", None),
        (&["a/b*"], "a/", None),
    ] {
        decides(patterns, Operation::Read, path, expected);
    }
}

/// Heads that begin with one another, and others between them in byte order.
#[test]
fn every_shorter_beginning_is_found() {
    let patterns = ["a*", "ab*", "abc/*", "abb*", "abc/d*", "abd*", "b*", "abc/+/x"];
    for (path, expected) in [
        ("abc/dd", Some("abc/d*")),
        ("abc/e/x", Some("abc/+/x")),
        ("abc/e/y", Some("abc/*")),
        ("abcc", Some("ab*")),
        ("abc", Some("ab*")),
        ("ac", Some("a*")),
        ("abe", Some("ab*")),
        ("c", None),
        ("", None),
    ] {
        decides(&patterns, Operation::Read, path, expected);
    }
}

/// GHSA-xp3c-3jw3-4vcr: a list went around the rule that denied it, because the path was looked up in another spelling.
#[test]
fn a_list_is_decided_with_its_slash_and_then_without() {
    for path in ["a/b", "a/b/"] {
        for (patterns, expected) in [
            (&["a/b/", "a/b", "a/*"][..], Some("a/b/")),
            (&["a/b", "a/b/*", "a/*"], Some("a/b")),
            (&["a/b/*", "a/b*", "a/*"], Some("a/b/*")),
            (&["a/+/", "a/b*"], Some("a/b*")),
            (&["a/+", "a/*"], Some("a/*")),
            (&["a/+"], Some("a/+")),
            (&["a/b/c"], None),
        ] {
            decides(patterns, Operation::List, path, expected);
            decides(patterns, Operation::Scan, path, expected);
        }
    }
    // Only lists: a read of `a/b` has nothing to do with a rule for `a/b/`.
    decides(&["a/b/", "a/*"], Operation::Read, "a/b", Some("a/*"));
    let text = "path \"a/*\" { capabilities = [\"list\"] } path \"a/b\" { capabilities = [\"deny\"] }";
    for path in ["a/b", "a/b/"] {
        assert!(acl(&[text]).decide(&access(Operation::List, path)).is_err(), "{path}");
    }
}

#[test]
fn policies_unite_for_one_pattern_and_not_across_patterns() {
    let read = "path \"a/*\" { capabilities = [\"read\"] }";
    let update = "path \"a/*\" { capabilities = [\"update\"] }";
    let narrower = "path \"a/b*\" { capabilities = [\"delete\"] }";
    let acl = acl(&[read, update, narrower]);
    assert_eq!(acl.capabilities("a/x"), ["read", "update"]);
    assert_eq!(acl.capabilities("a/b"), ["delete"]);
}

#[test]
fn deny_wins_over_all_that_others_grant_for_its_pattern() {
    let all = "path \"a/*\" { policy = \"sudo\" pagination_limit = 3 }";
    let deny = "path \"a/*\" { capabilities = [\"deny\"] }";
    for texts in [[all, deny, all], [deny, all, all], [all, all, deny]] {
        let acl = acl(&texts);
        assert_eq!(acl.capabilities("a/x"), ["deny"]);
        let denial = acl.decide(&access(Operation::Read, "a/x")).unwrap_err();
        assert_eq!(denial.reason, super::super::Reason::Denied);
        assert_eq!(denial.grant.unwrap().sources.len(), 3);
    }
    // A rule that is more specific still decides, in either direction.
    let but = "path \"a/b\" { capabilities = [\"read\"] }";
    assert!(acl(&[deny, but]).decide(&access(Operation::Read, "a/b")).is_ok());
    let not = "path \"a/b\" { capabilities = [\"deny\"] }";
    assert!(acl(&[all, not]).decide(&access(Operation::Read, "a/b")).is_err());
}

#[test]
fn protected_paths_need_sudo_beside_the_capability() {
    let decide = |capabilities: &str| {
        let text = format!("path \"sys/remount\" {{ capabilities = [{capabilities}] }}");
        acl(&[&text])
            .decide(&Access { root_protected: true, ..access(Operation::Write, "sys/remount") })
            .is_ok()
    };
    assert!(decide("\"update\", \"sudo\""));
    assert!(!decide("\"update\"") && !decide("\"sudo\"") && !decide("\"update\", \"sudo\", \"deny\""));
}

#[test]
fn what_makes_and_what_changes_are_told_apart_where_the_engine_can() {
    let create = acl(&["path \"a\" { capabilities = [\"create\"] }"]);
    let update = acl(&["path \"a\" { capabilities = [\"update\"] }"]);
    for creates in [true, false] {
        let write = Access { creates, ..access(Operation::Write, "a") };
        assert_eq!(create.decide(&write).is_ok(), creates);
        assert_eq!(update.decide(&write).is_ok(), !creates);
    }
}

#[test]
fn rules_and_policies_end() {
    let text = "path \"a\" { policy = \"read\" expiration = 2000 } path \"b\" { policy = \"read\" } path \"*\" { policy = \"deny\" expiration = 3000 }";
    let mut policies = named(&[text, "path \"c\" { policy = \"read\" }"]);
    policies[1].expires_ms = Some(2_500_000);
    for (now_ms, readable, expires_ms) in [
        (0, vec!["a", "b", "c"], Some(2_000_000)),
        (1_999_999, vec!["a", "b", "c"], Some(2_000_000)),
        (2_000_000, vec!["b", "c"], Some(2_500_000)),
        (2_500_000, vec!["b"], Some(3_000_000)),
        (3_000_000, vec!["b"], None),
    ] {
        let acl = Acl::compile(&policies, &Subject::default(), now_ms).unwrap();
        let may = |path: &&str| acl.decide(&access(Operation::Read, path)).is_ok();
        assert_eq!(["a", "b", "c"].into_iter().filter(may).collect::<Vec<_>>(), readable, "at {now_ms}");
        assert_eq!(acl.expires_ms(), expires_ms, "at {now_ms}");
    }
}

#[test]
fn templates_are_those_of_the_caller() {
    let text = r#"
        path "home/{{identity.entity.name}}/*"         { policy = "write" }
        path "home/{{identity.entity.metadata.star}}"  { policy = "write" }
        path "home/{{identity.entity.metadata.up}}"    { policy = "write" }
        path "home/{{nothing}}/x"                      { policy = "write" }
    "#;
    let of = |subject: &Subject| Acl::compile(&named(&[text]), subject, 0).unwrap();
    let alice_may = of(&alice());
    let may = |path: &str| alice_may.decide(&access(Operation::Read, path)).is_ok();
    assert!(may("home/alice/x"));
    for path in
        ["home/a", "home/ab", "home/a*", "home/x/y", "home/x", "home/bob/x", "home/{{nothing}}/x", "home//x"]
    {
        assert!(!may(path), "{path}");
    }
    assert_eq!(alice_may.void().len(), 3);
    assert!(of(&Subject::default()).grants().is_empty());
}

/// Otherwise who may choose his name could make a rule vanish that is there to hold him.
#[test]
fn a_rule_that_denies_holds_whatever_the_caller_is_called() {
    let text =
        r#"path "home/*" { policy = "read" } path "home/{{identity.entity.name}}" { policy = "deny" }"#;
    for name in ["alice", "a*", "+", "a,b", "x/y"] {
        let mut subject = alice();
        subject.entity.as_mut().unwrap().name = name.to_owned();
        let acl = Acl::compile(&named(&[text]), &subject, 0).unwrap();
        assert!(acl.decide(&access(Operation::Read, &format!("home/{name}"))).is_err(), "{name}");
        assert!(acl.decide(&access(Operation::Read, "home/other")).is_ok(), "{name}");
    }
}

#[test]
fn root_allows_everything_and_stands_alone() {
    let root = || super::super::builtin::root();
    let acl = Acl::compile(&[root()], &Subject::default(), 0).unwrap();
    assert!(acl.is_root() && acl.decide(&access(Operation::Delete, "sys/raw/x")).is_ok());
    let mut both = named(&["path \"a\" { policy = \"deny\" }"]);
    both.push(root());
    assert!(matches!(Acl::compile(&both, &Subject::default(), 0), Err(Error::Invalid(_))));
}

#[test]
fn the_policies_of_every_cluster_say_what_they_should() {
    let default = policy(super::super::builtin::DEFAULT_TEXT);
    let named = Named { name: "default".into(), policy: Arc::new(default), expires_ms: None };
    let acl = Acl::compile(&[named], &alice(), 0).unwrap();
    for (path, expected) in [
        ("auth/token/lookup-self", vec!["read"]),
        ("auth/token/renew-self", vec!["update"]),
        ("auth/token/create", vec!["deny"]),
        ("identity/entity/id/e-1", vec!["read"]),
        ("identity/entity/id/e-2", vec!["deny"]),
        ("cubbyhole/x", vec!["create", "delete", "list", "read", "update"]),
        ("sys/wrapping/unwrap", vec!["update"]),
        ("sys/policies/explain", vec!["update"]),
        ("identity/oidc/provider/p/authorize", vec!["read", "update"]),
        ("sys/mounts", vec!["deny"]),
        ("secret/x", vec!["deny"]),
    ] {
        assert_eq!(acl.capabilities(path), expected, "{path}");
    }
    let wrapping =
        Acl::compile(&[super::super::builtin::response_wrapping()], &Subject::default(), 0).unwrap();
    assert_eq!(wrapping.capabilities("cubbyhole/response"), ["create", "read"]);
    assert_eq!(wrapping.capabilities("auth/token/lookup-self"), ["deny"]);
}

#[test]
fn what_one_caller_has_is_bounded() {
    let many = |count: usize, text: &str| named(&vec![text; count]);
    assert!(Acl::compile(&many(POLICIES_MAX, ""), &Subject::default(), 0).is_ok());
    assert!(Acl::compile(&many(POLICIES_MAX + 1, ""), &Subject::default(), 0).is_err());
    let rules: String =
        (0..1_000).map(|number| format!("path \"a/{number}\" {{ policy = \"read\" }}\n")).collect();
    assert!(Acl::compile(&many(CALLER_RULES_MAX / 1_000, &rules), &Subject::default(), 0).is_ok());
    assert!(Acl::compile(&many(CALLER_RULES_MAX / 1_000 + 1, &rules), &Subject::default(), 0).is_err());
}

/// Decides a million requests under 1,000 rules and says what one takes. Run it by name, in an optimised build:
/// `cargo test --release -p conclave-core -- --ignored --nocapture a_million_decisions`
#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
#[expect(clippy::disallowed_methods, reason = "it measures time")]
fn a_million_decisions() {
    const DECISIONS: u32 = 1_000_000;
    let rules: String = (0..1_000)
        .map(|number| match number % 4 {
            0 => format!("path \"secret/data/app{number}/config\" {{ policy = \"read\" }}\n"),
            1 => format!("path \"secret/data/app{number}/*\" {{ policy = \"read\" }}\n"),
            2 => format!("path \"secret/+/app{number}/key\" {{ policy = \"read\" }}\n"),
            _ => format!("path \"secret/data/app{number}/+/key\" {{ policy = \"read\" }}\n"),
        })
        .collect();
    let acl = acl(&[&rules]);
    for (kind, path) in [
        ("exact", "secret/data/app400/config"),
        ("glob", "secret/data/app401/some/thing"),
        ("segment, own head", "secret/data/app403/x/key"),
        ("segment, shared head", "secret/data/app402/key"),
        ("none", "other/data/app402/key"),
    ] {
        let began = std::time::Instant::now();
        let mut allowed = 0;
        for _ in 0..DECISIONS {
            allowed += u32::from(acl.decide(std::hint::black_box(&access(Operation::Read, path))).is_ok());
        }
        println!(
            "{kind}: {} ns a decision, {allowed} allowed",
            began.elapsed().as_nanos() / u128::from(DECISIONS)
        );
        assert!(allowed == 0 || allowed == DECISIONS);
    }
}

#[test]
fn a_rule_reaches_below_a_folder_if_something_there_can_match_it() {
    let rules = acl(&[r#"
        path "secret/data/app" { capabilities = ["read"] }
        path "team-*" { capabilities = ["read"] }
        path "kv" { capabilities = ["read"] }
        path "closed/*" { capabilities = ["deny"] }
    "#]);
    for (folder, reaches) in [
        ("secret/", true),
        ("secret/data/", true),
        ("secret/metadata/", false),
        ("team-a/", true),
        ("teams/", false),
        ("kv/", false),
        ("closed/", false),
    ] {
        assert_eq!(rules.reaches_below(folder), reaches, "{folder}");
    }
    let any = acl(&[r#"path "+/shared/x" { capabilities = ["read"] }"#]);
    assert!(any.reaches_below("a/") && any.reaches_below("a/shared/") && !any.reaches_below("a/own/"));
    assert!(
        Acl::root().reaches_below("a/")
            && acl(&["path \"*\" { capabilities = [\"read\"] }"]).reaches_below("a/")
    );
    assert!(!acl(&[]).reaches_below("a/"));
}
