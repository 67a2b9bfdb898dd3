//! A request as policies see it, and the permit that they give for it.

use std::borrow::Cow;
use std::sync::Arc;

use conclave_core::policy::{Access, Identity, Permit, authorize};
use serde_json::{Map, Value};

use super::call::Call;
use super::failure::Failure;
use super::route::{self, Action};

/// Decides whether `identity` may do what `call` asks; `creates`: it would make something that is not there yet. The body is looked at last: a stranger's is not worth reading.
///
/// # Errors
/// [`Failure::Rule`] with a denial; the body is no JSON.
pub fn permit(identity: &Identity, call: &Call, creates: bool) -> Result<Permit, Failure> {
    // A path that no route serves is protected by the rules alone: there is nothing to do at it.
    let route = route::find(call.operation, &call.path).ok();
    let nothing = Map::new();
    let root_protected = route.is_some_and(|route| route.root_protected());
    let access = Access { root_protected, ..access(call, creates, &nothing) };
    identity.screen(&access)?;
    let has_fields = route.is_none_or(|route| route.action != Action::RestoreSnapshot);
    let parameters = match (call.changes(), has_fields) {
        (true, true) => Cow::Borrowed(call.json()?),
        (true, false) => Cow::Borrowed(&nothing),
        (false, _) => Cow::Owned(query(call)),
    };
    Ok(authorize(identity, &Access { parameters: &parameters, ..access })?)
}

/// The policies by which `call` is allowed, if it is.
pub fn granting(identity: &Identity, call: &Call, creates: bool) -> Vec<Arc<str>> {
    identity.acl().granting(&access(call, creates, &Map::new()))
}

fn access<'c>(call: &'c Call, creates: bool, parameters: &'c Map<String, Value>) -> Access<'c> {
    Access {
        operation: call.operation,
        path: &call.path,
        creates,
        root_protected: false,
        parameters,
        wrap_ttl_s: call.headers.wrap_ttl_s,
        list_limit: call.query.first("limit"),
    }
}

/// The query's parameters; of one that is given twice the first, as engines take it.
fn query(call: &Call) -> Map<String, Value> {
    let pairs = call.query.0.iter().rev();
    pairs.map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, Uri};
    use serde_json::json;

    use super::*;
    use crate::http::parse_head;

    /// Rules must judge the value that the engine will use.
    #[test]
    fn of_a_parameter_given_twice_the_first_counts() {
        let uri = Uri::from_static("/v1/secret/data/x?version=2&a=b&version=1");
        let call = parse_head(&Method::GET, &uri, &HeaderMap::new(), String::new()).unwrap();
        assert_eq!(Value::from(query(&call)), json!({"version": "2", "a": "b"}));
        assert_eq!(call.query.first("version"), Some("2"));
    }
}
