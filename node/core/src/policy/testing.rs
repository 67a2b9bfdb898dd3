//! Policies and requests for tests.

use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

use super::acl::{Acl, Named};
use super::decide::Access;
use super::parse::Policy;
use super::template::Subject;
use crate::plan::Operation;

pub static NO_PARAMETERS: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// A request without parameters, for a route that needs no `sudo`.
pub fn access(operation: Operation, path: &str) -> Access<'_> {
    Access {
        operation,
        path,
        creates: false,
        root_protected: false,
        parameters: &NO_PARAMETERS,
        wrap_ttl_s: None,
        list_limit: None,
    }
}

#[track_caller]
pub fn policy(text: &str) -> Policy {
    Policy::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Policies named p0, p1 and so on.
#[track_caller]
pub fn named(texts: &[&str]) -> Vec<Named> {
    let name = |(number, text): (usize, &&str)| Named {
        name: format!("p{number}").into(),
        policy: Arc::new(policy(text)),
        expires_ms: None,
    };
    texts.iter().enumerate().map(name).collect()
}

/// What they grant together to somebody of whom nothing is known.
#[track_caller]
pub fn acl(texts: &[&str]) -> Acl {
    Acl::compile(&named(texts), &Subject::default(), 0).expect("they are within bounds")
}
