//! The policies that every cluster has.

use std::sync::{Arc, LazyLock};

use super::acl::Named;
use super::name;
use super::parse::Policy;

/// What a token may do about itself. Written at `init`; an administrator may change it.
pub const DEFAULT_TEXT: &str = r#"# What every token may do unless it is made without this policy: see and use what is its own.

# The token itself: look at it, renew it, give it up.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self"  { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

# What it may do. Explaining a refusal needs no more than having been refused.
path "sys/capabilities-self"         { capabilities = ["update"] }
path "sys/policies/explain"          { capabilities = ["update"] }
path "sys/internal/ui/resultant-acl" { capabilities = ["read"] }

# Whom it belongs to.
path "identity/entity/id/{{identity.entity.id}}"     { capabilities = ["read"] }
path "identity/entity/name/{{identity.entity.name}}" { capabilities = ["read"] }

# Leases whose id it knows.
path "sys/leases/renew"  { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }

# Its own cubbyhole.
path "cubbyhole/*" { capabilities = ["create", "read", "update", "delete", "list"] }

# Wrapping of answers.
path "sys/wrapping/wrap"   { capabilities = ["update"] }
path "sys/wrapping/lookup" { capabilities = ["update"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }

# Hashing, which keeps nothing.
path "sys/tools/hash"   { capabilities = ["update"] }
path "sys/tools/hash/*" { capabilities = ["update"] }

# Logging in to other programs with this cluster's identities.
path "identity/oidc/provider/+/authorize" { capabilities = ["read", "update"] }
"#;

/// What the token of a wrapped answer may do: hand it over.
pub const RESPONSE_WRAPPING_TEXT: &str = r#"path "cubbyhole/response"   { capabilities = ["create", "read"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }
"#;

/// The policy `root`, which has no text.
pub fn root() -> Named {
    Named { name: name::ROOT.into(), policy: Arc::default(), expires_ms: None }
}

/// The policy `response-wrapping`, which nobody can change.
pub fn response_wrapping() -> Named {
    static PARSED: LazyLock<Arc<Policy>> =
        LazyLock::new(|| Arc::new(Policy::parse(RESPONSE_WRAPPING_TEXT).expect("our own text is a policy")));
    Named { name: name::RESPONSE_WRAPPING.into(), policy: PARSED.clone(), expires_ms: None }
}
