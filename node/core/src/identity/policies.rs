//! Policies that an entity or a group brings to tokens.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::fields;
use crate::policy::name;

/// Policies of one entity or group at most.
pub const POLICIES_MAX: usize = 256;

/// The policies in a body, in order, each once; `None`: it does not say. `root` comes from nobody but who holds key shares
/// or a root token: however it is spelled, an entity cannot bring it.
///
/// # Errors
/// [`Error::Invalid`].
pub fn given(body: &Map<String, Value>) -> Result<Option<Vec<String>>, Error> {
    let Some(asked) = fields::texts(body, "policies")? else { return Ok(None) };
    if asked.len() > POLICIES_MAX {
        return Err(Error::invalid(format!("an entity or a group has at most {POLICIES_MAX} policies")));
    }
    let mut named = BTreeSet::new();
    for policy in &asked {
        let policy = name::normalised(policy.trim())?;
        if policy == name::ROOT {
            return Err(Error::invalid("policies cannot contain root"));
        }
        if !name::is_assignable(&policy) {
            return Err(Error::invalid(format!("cannot assign policy {policy:?}")));
        }
        named.insert(policy);
    }
    Ok(Some(named.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn given_as(value: Value) -> Result<Option<Vec<String>>, Error> {
        given(&Map::from_iter([("policies".to_owned(), value)]))
    }

    #[test]
    fn policies_are_kept_in_order_and_in_lower_case() {
        assert_eq!(given_as(json!("b,A, a")).unwrap().unwrap(), ["a", "b"]);
        assert_eq!(given_as(json!([])), Ok(Some(Vec::new())));
        assert_eq!(given(&Map::new()), Ok(None));
    }

    /// CVE-2025-5999 and CVE-2025-64761: `root`, spelled so that it was not seen.
    #[test]
    fn root_is_refused_however_it_is_spelled() {
        for spelled in ["root", "Root", " root", "ROOT ", "root\t", "\u{a0}root", "ro\u{200b}ot", "root\0"] {
            assert!(given_as(json!([spelled])).is_err(), "{spelled:?}");
            assert!(given_as(json!(["app", spelled])).is_err(), "{spelled:?}");
        }
        assert!(given_as(json!("response-wrapping")).is_err());
    }
}
