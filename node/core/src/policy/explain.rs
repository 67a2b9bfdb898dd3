//! Why a request is allowed or denied, in words, and what would allow it: for `sys/policies/explain`.
//!
//! It tells what stands in the caller's own policies. Who may ask about others is for the endpoint to decide.

use serde::Serialize;

use super::acl::{Acl, Grant, Source};
use super::capability::Capability;
use super::decide::{Access, Reason};
use super::print::quoted;
use crate::plan::Operation;

/// Rules that are told beside the one that decided.
const FURTHER_RULES_MAX: usize = 20;

/// The answer to "why?".
#[derive(Debug, Serialize)]
pub struct Explanation {
    pub allowed: bool,
    /// What the operation needs.
    pub needed: Vec<&'static str>,
    /// One sentence.
    pub reason: String,
    /// The rules for the pattern that decided, from all policies that have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<ToldGrant>,
    /// A rule to add to a policy of the caller; none if no rule can help, or none is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_allow: Option<String>,
    /// Rules that match and would grant it, if the one that decided were not more specific.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outranked: Vec<ToldGrant>,
    /// Rules that do not count for this caller, because a template in their path has no value that may stand there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without_value: Vec<ToldRule>,
}

/// All rules for one pattern.
#[derive(Debug, Serialize)]
pub struct ToldGrant {
    /// With the values of templates.
    pub path: String,
    pub capabilities: Vec<&'static str>,
    pub rules: Vec<ToldRule>,
}

#[derive(Debug, Serialize)]
pub struct ToldRule {
    pub policy: String,
    /// As written.
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    pub capabilities: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl From<&Grant> for ToldGrant {
    fn from(grant: &Grant) -> Self {
        Self {
            path: grant.pattern.to_string(),
            capabilities: grant.capabilities.names(),
            rules: grant.sources.iter().map(ToldRule::from).collect(),
        }
    }
}

impl From<&Source> for ToldRule {
    fn from(source: &Source) -> Self {
        Self {
            policy: source.policy.to_string(),
            path: source.path.clone(),
            line: Some(source.line).filter(|line| *line > 0),
            capabilities: source.capabilities.names(),
            comment: source.comment.clone(),
        }
    }
}

impl Acl {
    /// Explains the decision about `access`.
    pub fn explain(&self, access: &Access<'_>) -> Explanation {
        let mut needed = vec![access.needed().name()];
        if access.root_protected {
            needed.push(Capability::Sudo.name());
        }
        let decision = self.decide(access);
        let deciding = match &decision {
            Ok(_) => self.find(access.path, access.operation),
            Err(denial) => denial.grant,
        };
        let (reason, would_allow) = match &decision {
            Ok(_) if self.is_root() => ("the policy root allows everything".to_owned(), None),
            Ok(_) => ("the most specific rule for this path grants it".to_owned(), None),
            Err(denial) => (sentence(&denial.reason), remedy(access, &denial.reason, denial.grant, &needed)),
        };
        Explanation {
            allowed: decision.is_ok(),
            reason,
            decided_by: deciding.map(ToldGrant::from),
            would_allow,
            outranked: if decision.is_err() { self.outranked(access, deciding) } else { Vec::new() },
            without_value: self.void().iter().take(FURTHER_RULES_MAX).map(ToldRule::from).collect(),
            needed,
        }
    }

    fn outranked(&self, access: &Access<'_>, deciding: Option<&Grant>) -> Vec<ToldGrant> {
        let grants = |grant: &&Grant| {
            let has = |capability| grant.capabilities.has(capability);
            has(access.needed())
                && (!access.root_protected || has(Capability::Sudo))
                && !grant.capabilities.denies()
        };
        let is_other = |grant: &&Grant| !deciding.is_some_and(|deciding| std::ptr::eq(deciding, *grant));
        let matching = self.matching(access.path).filter(is_other).filter(grants);
        matching.take(FURTHER_RULES_MAX).map(ToldGrant::from).collect()
    }
}

/// Parameters are named in quotes, as text: a request can name them as it likes.
fn sentence(reason: &Reason<'_>) -> String {
    match reason {
        Reason::NoRule => "no rule matches this path".to_owned(),
        Reason::Denied => "a rule for this path says deny, which comes before all that others grant".to_owned(),
        Reason::Lacks(capability) => {
            format!("the most specific rule for this path does not grant {}", capability.name())
        }
        Reason::MustBeWrapped => "the answer must be wrapped: send X-Vault-Wrap-TTL".to_owned(),
        Reason::WrapTooLong { max_s } => format!("the answer may be wrapped for {max_s} seconds at most"),
        Reason::WrapTooShort { min_s } => format!("the answer must be wrapped for {min_s} seconds at least"),
        Reason::WrapBoundsContradict => {
            "the bounds for wrapping in several policies leave nothing: min_wrapping_ttl is above max_wrapping_ttl".to_owned()
        }
        Reason::ParameterMissing(name) => format!("the parameter {} is required", quoted(name)),
        Reason::ParametersDenied => "no parameters may be given".to_owned(),
        Reason::ParameterDenied(name) => format!("this value of the parameter {} is denied", quoted(name)),
        Reason::ParameterNotAllowed(name) => {
            format!("the parameter {} is not among those allowed", quoted(name))
        }
        Reason::ValueNotAllowed(name) => format!("this value of the parameter {} is not allowed", quoted(name)),
        Reason::LimitMissing => "the list must be asked for in pages: send limit, or limit=max".to_owned(),
        Reason::LimitRefused { max } => format!("a page of the list has {max} names at most"),
    }
}

/// A rule that would allow the request. Where a rule says deny, or sets bounds, that rule must be changed.
fn remedy(
    access: &Access<'_>,
    reason: &Reason<'_>,
    grant: Option<&Grant>,
    needed: &[&str],
) -> Option<String> {
    let path = match (reason, grant) {
        (Reason::NoRule, _) => {
            let is_list = matches!(access.operation, Operation::List | Operation::Scan);
            let slash = if is_list && !access.path.ends_with('/') { "/" } else { "" };
            let path = format!("{}{slash}", access.path);
            // Signs that would be read as wildcards or templates: no rule can name this path alone.
            let is_plain =
                !path.ends_with('*') && !path.contains("{{") && !path.split('/').any(|part| part == "+");
            is_plain.then_some(path)?
        }
        // The same pattern again: what it grants is added to what is there.
        (Reason::Lacks(_), Some(grant)) => grant.sources.first()?.path.clone(),
        _ => return None,
    };
    let capabilities: Vec<String> = needed.iter().map(|name| quoted(name)).collect();
    Some(format!("path {} {{\n  capabilities = [{}]\n}}\n", quoted(&path), capabilities.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::testing::{access, acl, policy};
    use super::super::{Named, Subject};
    use super::*;

    const READER: &str = "# Team blue\npath \"secret/data/*\" {\n  capabilities = [\"read\"]\n  comment = \"TRACKER-1\"\n}\npath \"secret/data/app/*\" { capabilities = [\"list\"] }";

    #[test]
    fn the_rule_that_decided_is_named_with_its_policy_and_line() {
        let told = acl(&["", READER]).explain(&access(Operation::Read, "secret/data/x"));
        assert_eq!(
            serde_json::to_value(&told).unwrap(),
            json!({
                "allowed": true,
                "needed": ["read"],
                "reason": "the most specific rule for this path grants it",
                "decided_by": {"path": "secret/data/*", "capabilities": ["read"], "rules": [
                    {"policy": "p1", "path": "secret/data/*", "line": 2, "capabilities": ["read"], "comment": "TRACKER-1"}
                ]},
            })
        );
    }

    #[test]
    fn a_rule_that_is_less_specific_is_told_when_it_would_have_granted() {
        let told = acl(&[READER]).explain(&access(Operation::Read, "secret/data/app/x"));
        assert!(!told.allowed && told.reason.contains("does not grant read"));
        assert_eq!(told.decided_by.unwrap().path, "secret/data/app/*");
        assert_eq!(told.outranked.len(), 1);
        assert_eq!(told.outranked[0].path, "secret/data/*");
    }

    /// What is proposed must work.
    #[test]
    fn the_proposed_rule_allows_the_request() {
        for (operation, path, root_protected) in [
            (Operation::Read, "secret/data/app/x", false),
            (Operation::Write, "elsewhere/x \"y\"", false),
            (Operation::List, "elsewhere", false),
            (Operation::Scan, "elsewhere/", false),
            (Operation::Write, "sys/remount", true),
        ] {
            let access = Access { root_protected, ..access(operation, path) };
            let told = acl(&[READER]).explain(&access);
            assert!(!told.allowed, "{path}");
            let proposed = told.would_allow.unwrap();
            assert!(acl(&[READER, &proposed]).explain(&access).allowed, "{path}: {proposed}");
        }
    }

    #[test]
    fn no_rule_is_proposed_where_none_can_help() {
        let denied = acl(&["path \"a/*\" { policy = \"deny\" }", "path \"a/*\" { policy = \"sudo\" }"]);
        let told = denied.explain(&access(Operation::Read, "a/b"));
        assert!(told.would_allow.is_none() && told.reason.contains("deny"));
        assert_eq!(told.decided_by.unwrap().rules.len(), 2);
        let star = acl(&[]).explain(&access(Operation::Read, "a/*"));
        assert!(star.would_allow.is_none());
        let bounded = acl(&["path \"a\" { policy = \"write\" required_parameters = [\"x\"] }"]);
        let told = bounded.explain(&access(Operation::Write, "a"));
        assert!(told.would_allow.is_none() && told.reason.contains("\"x\" is required"));
    }

    #[test]
    fn rules_without_a_value_are_told() {
        let policy = policy("path \"a/{{identity.entity.name}}\" { policy = \"read\" }");
        let named = Named { name: "own".into(), policy: Arc::new(policy), expires_ms: None };
        let acl = Acl::compile(&[named], &Subject::default(), 0).unwrap();
        let told = acl.explain(&access(Operation::Read, "a/alice"));
        assert_eq!(told.without_value[0].path, "a/{{identity.entity.name}}");
    }

    #[test]
    fn root_needs_no_rule() {
        let told = Acl::root().explain(&access(Operation::Delete, "x"));
        assert!(told.allowed && told.decided_by.is_none() && told.reason.contains("root"));
    }
}
