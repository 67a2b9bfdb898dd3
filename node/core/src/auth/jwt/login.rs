//! A login by a token of another signer.

use serde_json::Value;
use zeroize::Zeroizing;

use super::config::{self, Config, Signer};
use super::document::Unread;
use super::role::{self, Role, RoleType};
use super::{identity, provider};
use crate::auth::jose::{Algorithm, Expected, KeySet, Unverified, audiences};
use crate::auth::method::{self, Method, MethodRequest};
use crate::auth::params::is_within;
use crate::engine::mount::Mount;
use crate::errand::{Errands, Halt};
use crate::error::Error;
use crate::fields::{self, unknown_warning};
use crate::plan::{Context, Plan};
use crate::stored::Stored;

const FIELDS: [&str; 2] = ["role", "jwt"];
const MS_PER_S: u64 = 1_000;
/// What is said before the reason why a token is not taken.
const INVALID: &str = "error validating token: ";
const UNVERIFIED: &str = "error verifying token signature: ";

/// Plans the login.
///
/// # Errors
/// [`Halt::Errand`]: the signer's keys are to be read. [`Error::Invalid`], [`Error::Denied`]: it is refused.
pub fn login(
    ctx: &mut Context<'_>,
    mount: &Mount,
    method: Method,
    request: &MethodRequest<'_>,
) -> Result<Plan, Halt> {
    let config = config::load(ctx, mount)?.ok_or_else(|| Error::invalid("could not load configuration"))?;
    let (name, role) = role_of(ctx, mount, &config.value, request)?;
    if role.value.role_type == RoleType::Oidc {
        return Err(Error::invalid("role with oidc role_type is not allowed").into());
    }
    let token = fields::text(request.body, "jwt")?.map(Zeroizing::new).filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| Error::invalid("missing token"))?;
    expect_from(&role.value, request)?;
    let (algorithm, claims) = verify(&config.value, request.errands, &token)?;
    let audiences_bound = role.value.bound_audiences.as_deref().unwrap_or_default();
    let expected = Expected {
        algorithms: &config.value.algorithms,
        issuer: &config.value.bound_issuer,
        subject: &role.value.bound_subject,
        audiences: audiences_bound,
        leeways: role.value.leeways,
        needs_time: true,
        now_s: now_s(ctx),
    };
    expected.check(algorithm, &claims).map_err(|sentence| Error::invalid(format!("{INVALID}{sentence}")))?;
    if audiences_bound.is_empty() && audiences(&claims).is_none_or(|named| !named.is_empty()) {
        let sentence = "audience claim found in JWT but no audiences bound to the role";
        return Err(Error::invalid(sentence).into());
    }
    let claims = Value::Object(claims);
    let known = identity::known(&role.value, &name, &claims).map_err(Error::Invalid)?;
    let warnings = unknown_warning(request.body.keys().map(String::as_str), &FIELDS);
    let mut plan = identity::plan(ctx, mount, method, request, (&name, &role.value), known, warnings)?;
    plan.txn.require(config::key(ctx.barrier, mount.uuid()), config.revision);
    plan.txn.require(role::key(ctx.barrier, mount.uuid(), &name), role.revision);
    Ok(plan)
}

/// The role that a body names, or else the mount's.
pub fn role_of(
    ctx: &Context<'_>,
    mount: &Mount,
    config: &Config,
    request: &MethodRequest<'_>,
) -> Result<(String, Stored<Role>), Error> {
    let named = fields::text(request.body, "role")?.filter(|name| !name.is_empty());
    let named = named.unwrap_or_else(|| config.default_role.clone());
    if named.is_empty() {
        return Err(Error::invalid("missing role"));
    }
    let name = method::subject(&named).map_err(|_| Error::invalid("no role has such a name"))?;
    match role::load(ctx, mount, &name)? {
        Some(role) => Ok((name, role)),
        None => Err(Error::invalid(format!("role {name:?} could not be found"))),
    }
}

/// That the caller is where he may be: before anybody else is asked.
pub fn expect_from(role: &Role, request: &MethodRequest<'_>) -> Result<(), Error> {
    let bound = &role.params.bound_cidrs;
    if bound.is_empty() || is_within(bound, request.from) { Ok(()) } else { Err(Error::Denied) }
}

pub fn now_s(ctx: &Context<'_>) -> i64 {
    i64::try_from(ctx.now_ms / MS_PER_S).unwrap_or(i64::MAX)
}

type Claims = serde_json::Map<String, Value>;

/// The claims of a token that the mount's signer made. If that may have another key by now, it is asked once more.
fn verify(config: &Config, errands: &Errands, token: &str) -> Result<(Algorithm, Claims), Halt> {
    let before = format!("{INVALID}{UNVERIFIED}");
    let refuse = |unread: Unread| unread.refuse(&format!("{before}fetching keys: "));
    let sentence = match &config.signer {
        Signer::Given { .. } => "no known key successfully validated the token signature",
        _ => "failed to verify id token signature",
    };
    let refused = |unverified| {
        let sentence = match unverified {
            Unverified::Malformed(sentence) => sentence,
            Unverified::UnknownKey | Unverified::Signature => sentence,
        };
        Halt::Refused(Error::invalid(format!("{before}{sentence}")))
    };
    let keys = |anew| -> Result<KeySet, Halt> { provider::keys(config, errands, anew).map_err(refuse) };
    match keys(false)?.verify(token) {
        Err(Unverified::UnknownKey) => keys(true)?.verify(token).map_err(refused),
        verified => verified.map_err(refused),
    }
}
