//! A login by a service account's token.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::account::Account;
use super::config::{self, Config};
use super::review;
use super::role::{self, AliasSource, Role};
use crate::auth::jose::{Algorithm, Compact, Expected, Key, KeySet, Leeways};
use crate::auth::jwt::glob;
use crate::auth::login::{Accepted, plan_login};
use crate::auth::method::{self, Method, MethodRequest};
use crate::auth::params::is_within;
use crate::auth::token::LoginOrigin;
use crate::engine::mount::Mount;
use crate::errand::Halt;
use crate::error::Error;
use crate::fields::{self, unknown_warning};
use crate::plan::{Context, Plan};

const FIELDS: [&str; 2] = ["role", "jwt"];
const MS_PER_S: u64 = 1_000;
/// By which a Kubernetes cluster signs.
const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512, Algorithm::Es256, Algorithm::Es384];

/// Plans the login. Who asks for what is not allowed anyway does not get as far as the cluster.
///
/// # Errors
/// [`Halt::Errand`]: the cluster is to be asked. [`Error::Invalid`], [`Error::Refused`], [`Error::Denied`]: it is refused.
pub fn login(ctx: &mut Context<'_>, mount: &Mount, request: &MethodRequest<'_>) -> Result<Plan, Halt> {
    let named = field(request.body, "role")?;
    let token = field(request.body, "jwt")?;
    let name = method::subject(&named).map_err(|_| Error::invalid("no role has such a name"))?;
    let role = role::load(ctx, mount, &name)?;
    let role = role.ok_or_else(|| Error::invalid(format!("invalid role name {:?}", named.as_str())))?;
    let bound = &role.value.params.bound_cidrs;
    if !bound.is_empty() && !is_within(bound, request.from) {
        return Err(Error::Denied.into());
    }
    let config = config::load(ctx, mount)?;
    let config = config.ok_or_else(|| Error::invalid("could not load backend configuration"))?;
    let account = account(ctx, &config.value, &role.value, &token)?;
    let wanted = match role.value.audience.as_str() {
        "" => account.audiences.clone(),
        audience => vec![audience.to_owned()],
    };
    let outcome = request.errands.outcome(review::question(&config.value, &token, &wanted))?;
    if !review::confirms(outcome, &account, &wanted) {
        return Err(Error::Denied.into());
    }
    let mut plan = accept(ctx, mount, request, (&name, &role.value), &account)?;
    plan.txn.require(config::key(ctx.barrier, mount.uuid()), config.revision);
    plan.txn.require(role::key(ctx.barrier, mount.uuid(), &name), role.revision);
    Ok(plan)
}

fn field(body: &Map<String, Value>, name: &str) -> Result<Zeroizing<String>, Error> {
    let given = fields::text(body, name)?.map(Zeroizing::new).filter(|text| !text.is_empty());
    given.ok_or_else(|| Error::invalid(format!("missing {name}")))
}

/// Whose token it says that it is, if the role is for that account.
fn account(ctx: &Context<'_>, config: &Config, role: &Role, token: &str) -> Result<Account, Error> {
    let (algorithm, claims) = claims(config, token)?;
    let expected = Expected {
        algorithms: &ALGORITHMS,
        issuer: if config.checks_issuer { &config.issuer } else { "" },
        subject: "",
        audiences: if role.audience.is_empty() { &[] } else { std::slice::from_ref(&role.audience) },
        leeways: Leeways::default(),
        needs_time: false,
        now_s: i64::try_from(ctx.now_ms / MS_PER_S).unwrap_or(i64::MAX),
    };
    expected.check(algorithm, &claims).map_err(Error::refused)?;
    let account = Account::of(&claims).ok_or(Error::Denied)?;
    let is_one = |list: &[String], name: &str| list.iter().any(|one| glob(one, name));
    if !is_one(&role.names, &account.name) {
        return Err(Error::refused("service account name not authorized"));
    }
    if !is_one(&role.namespaces, &account.namespace) {
        return Err(Error::refused("namespace not authorized"));
    }
    if account.uid.is_empty() || account.name.is_empty() || account.namespace.is_empty() {
        return Err(Error::refused("could not parse UID from claims"));
    }
    Ok(account)
}

/// What the token claims: by one of the keys, if any were given; else the cluster's word alone is what counts.
fn claims(config: &Config, token: &str) -> Result<(Algorithm, Map<String, Value>), Error> {
    if config.pem_keys.is_empty() {
        let compact = Compact::parse(token).map_err(|_| Error::Denied)?;
        return Ok((compact.algorithm, compact.unproven_claims()));
    }
    let keys: Result<Vec<Key>, &str> = config.pem_keys.iter().map(|pem| Key::of_pem(pem)).collect();
    let keys = KeySet::given(keys.map_err(Error::invalid)?);
    keys.verify(token).map_err(|_| Error::Denied)
}

fn accept(
    ctx: &mut Context<'_>,
    mount: &Mount,
    request: &MethodRequest<'_>,
    role: (&str, &Role),
    account: &Account,
) -> Result<Plan, Error> {
    let (role_name, role) = role;
    let alias = match role.alias_source {
        AliasSource::Uid => account.uid.clone(),
        AliasSource::Name => format!("{}/{}", account.namespace, account.name),
    };
    let alias_meta = BTreeMap::from(
        [
            ("service_account_uid", &account.uid),
            ("service_account_name", &account.name),
            ("service_account_namespace", &account.namespace),
            ("service_account_secret_name", &account.secret_name),
        ]
        .map(|(name, value)| (name.to_owned(), value.clone())),
    );
    let mut meta = alias_meta.clone();
    meta.insert("role".to_owned(), role_name.to_owned());
    let accepted = Accepted {
        origin: LoginOrigin {
            method: Method::Kubernetes,
            mount_uuid: mount.uuid().to_owned(),
            mount_accessor: mount.accessor().to_owned(),
            alias,
            subject: role_name.to_owned(),
            principal: String::new(),
        },
        display_name: &format!("{}-{}", account.namespace, account.name),
        meta,
        alias_meta,
        groups: None,
        params: &role.params,
        bound_cidrs: &[],
        path: request.full_path,
        from: request.from,
        warnings: unknown_warning(request.body.keys().map(String::as_str), &FIELDS),
    };
    plan_login(ctx, mount, accepted)
}
