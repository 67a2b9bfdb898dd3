//! Policies, for rights and for passwords: what anybody may write who may write one.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use conclave_core::plan::Operation;
use conclave_core::policy::lint::lint;
use conclave_core::policy::password::{PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN, PasswordPolicy};
use conclave_core::policy::template::{Alias, Entity, Group};
use conclave_core::policy::{Access, Acl, Named, Policy, Rule, Subject};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;

use crate::canary::{self, planted};

const NOW_MS: u64 = 1_700_000_000_000;
/// Paths that are asked for, beside those of the policy's own rules.
const PATHS: [&str; 6] = ["a", "a/b", "a/b/", "secret/data/x/y", "home/alice/x", "\u{e9}/+/*"];
const RULES_ASKED_MAX: usize = 50;

/// Somebody whose names are as bad as names get.
static SUBJECT: LazyLock<Subject> = LazyLock::new(|| {
    let metadata = |pairs: [(&str, &str); 2]| -> BTreeMap<String, String> {
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    Subject {
        entity: Some(Entity {
            id: "+".into(),
            name: "alice".into(),
            metadata: metadata([("star", "a*"), ("up", "../{{x}}/")]),
            aliases: vec![Alias { mount_accessor: "auth_1".into(), name: "*".into(), ..Alias::default() }],
        }),
        groups: vec![Group { id: "g,1".into(), name: "ops".into(), metadata: BTreeMap::new() }],
    }
});

pub fn rules(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let text = planted(text);
    let policy = match Policy::parse(&text) {
        Err(error) => return canary::assert_absent(&error.to_string()),
        Ok(policy) => policy,
    };
    let printed = policy.to_string();
    let again = Policy::parse(&printed).unwrap_or_else(|error| panic!("{error}: printed as {printed}"));
    assert_eq!(without_lines(&again), without_lines(&policy), "printed as {printed}");
    lint(&policy, &["secret/", "a/"], NOW_MS);
    let policy = Arc::new(policy);
    for subject in [&Subject::default(), &SUBJECT] {
        let named = Named { name: "fuzz".into(), policy: Arc::clone(&policy), expires_ms: None };
        let acl = Acl::compile(&[named], subject, NOW_MS).expect("one policy is within bounds");
        assert!(!acl.is_root(), "a text makes a root");
        acl.resultant();
        let own = policy.rules.iter().take(RULES_ASKED_MAX).map(|rule| rule.path.text());
        own.chain(PATHS).for_each(|path| ask(&acl, path));
    }
}

fn without_lines(policy: &Policy) -> Vec<Rule> {
    policy.rules.iter().map(|rule| Rule { line: 0, ..rule.clone() }).collect()
}

/// All ways to ask must agree.
fn ask(acl: &Acl, path: &str) {
    let parameters = json!({"x": "1", "foo": [true]});
    let parameters = parameters.as_object().expect("it is one");
    let told = acl.capabilities(path);
    for operation in [
        Operation::Read,
        Operation::Write,
        Operation::Patch,
        Operation::Delete,
        Operation::List,
        Operation::Scan,
    ] {
        let access = Access {
            operation,
            path,
            creates: false,
            root_protected: false,
            parameters,
            wrap_ttl_s: Some(60),
            list_limit: Some("2"),
        };
        let allowed = acl.decide(&access).is_ok();
        assert!(!allowed || acl.screen(&access).is_ok(), "allowed, but screened out");
        assert_eq!(acl.explain(&access).allowed, allowed);
        let is_list = matches!(operation, Operation::List | Operation::Scan);
        if allowed && is_list == path.ends_with('/') && !path.starts_with('/') {
            assert!(told.contains(&access.needed().name()), "allowed, but not among the capabilities");
        }
    }
}

pub fn passwords(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match PasswordPolicy::parse(&planted(text)) {
        Err(error) => canary::assert_absent(&error.to_string()),
        Ok(policy) => {
            let Ok(password) = policy.generate(&mut StdRng::seed_from_u64(1)) else { return };
            let characters = password.chars().count();
            assert!((PASSWORD_CHARACTERS_MIN..=PASSWORD_CHARACTERS_MAX).contains(&characters));
        }
    }
}
