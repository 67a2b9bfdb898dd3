//! A login: is the request the one question to STS, whose signature does STS say it has, and may he?

use serde_json::{Map, Value};

use super::arn::Principal;
use super::client;
use super::identity_config::{self, IamAlias};
use super::role::{self, IAM};
use super::signed::Signed;
use super::sts::CallerIdentity;
use crate::auth::login::{Accepted, plan_login};
use crate::auth::method::{self, Method, MethodRequest};
use crate::auth::token::LoginOrigin;
use crate::engine::mount::Mount;
use crate::errand::Halt;
use crate::error::Error;
use crate::fields::{self, unknown_warning};
use crate::plan::{Context, Plan};

const SIGNED: [&str; 4] =
    ["iam_http_request_method", "iam_request_url", "iam_request_body", "iam_request_headers"];
/// What a login of the other type shows.
const EC2: [&str; 5] = ["pkcs7", "identity", "signature", "nonce", "ec2_login"];
/// Tells in a token's metadata by which role it was given.
pub const ROLE_ID: &str = "role_id";

/// Plans the login. The first decision asks for STS's answer.
///
/// # Errors
/// [`Error::Invalid`]: the request is another one, STS refuses it, or the role is not for him. [`Error::Upstream`]: STS does
/// not answer as it should. [`Error::Denied`]: not from there.
pub fn login(ctx: &mut Context<'_>, mount: &Mount, request: &MethodRequest<'_>) -> Result<Plan, Halt> {
    check_type(request.body)?;
    let config = client::load(ctx, mount)?;
    let (config_revision, config) =
        config.map_or_else(Default::default, |found| (found.revision, found.value));
    // Of this very request, as the settings are now: they may have been changed meanwhile.
    let errand = config.errand(Signed::read(request.body, &config)?)?;
    let caller = CallerIdentity::read(request.errands.outcome(errand)?)?;
    let principal =
        Principal::parse(&caller.arn).ok().filter(|principal| principal.account == caller.account);
    let principal =
        principal.ok_or_else(|| Error::invalid("error parsing arn: it is neither a user nor a role"))?;
    let canonical = principal.canonical();

    let unknown = || Error::invalid("entry for the role not found");
    let name = fields::text(request.body, "role")?.filter(|name| !name.is_empty());
    let name = method::subject(name.as_deref().unwrap_or(&principal.name)).map_err(|_| unknown())?;
    let found = role::load(ctx, mount, &name)?.ok_or_else(unknown)?;
    let role = &found.value;
    if !role.is_bound_to(&canonical) {
        return Err(Error::invalid("the IAM principal does not belong to the role").into());
    }

    let identity = identity_config::load(ctx, mount)?;
    let (identity_revision, identity) =
        identity.map_or_else(Default::default, |found| (found.revision, found.value));
    let alias = match identity.iam_alias {
        IamAlias::RoleId => &role.role_id,
        IamAlias::UniqueId => &caller.unique_id,
        IamAlias::CanonicalArn => &canonical,
        IamAlias::FullArn => &caller.arn,
    };
    let alias_meta = identity.metadata([
        ("account_id", principal.account.as_str()),
        ("auth_type", IAM),
        ("canonical_arn", &canonical),
        ("client_arn", &caller.arn),
        ("client_user_id", &caller.unique_id),
    ]);
    let mut meta = alias_meta.clone();
    meta.insert(ROLE_ID.to_owned(), role.role_id.clone());
    let shown = match &principal.session {
        Some(session) => format!("{}/{session}", principal.name),
        None => principal.name.clone(),
    };
    let known: Vec<&str> = SIGNED.into_iter().chain(["role"]).collect();
    let accepted = Accepted {
        origin: LoginOrigin {
            method: Method::Aws,
            mount_uuid: mount.uuid().to_owned(),
            mount_accessor: mount.accessor().to_owned(),
            alias: alias.clone(),
            subject: name.clone(),
            principal: canonical.clone(),
        },
        display_name: &shown,
        meta,
        alias_meta,
        groups: None,
        params: &role.params,
        bound_cidrs: &[],
        path: request.full_path,
        from: request.from,
        warnings: unknown_warning(request.body.keys().map(String::as_str), &known),
    };
    let mut plan = plan_login(ctx, mount, accepted)?;
    plan.txn.require(role::key(ctx.barrier, mount.uuid(), &name), found.revision);
    plan.txn.require(client::key(ctx.barrier, mount.uuid()), config_revision);
    plan.txn.require(identity_config::key(ctx.barrier, mount.uuid()), identity_revision);
    Ok(plan)
}

/// That it is a login by a signed request.
fn check_type(body: &Map<String, Value>) -> Result<(), Error> {
    if EC2.iter().any(|name| body.contains_key(*name)) {
        return Err(Error::invalid("logins of the type ec2 are not supported: sign a request for STS"));
    }
    if !SIGNED.iter().any(|name| body.contains_key(*name)) {
        return Err(Error::invalid("didn't supply required authentication values"));
    }
    Ok(())
}
