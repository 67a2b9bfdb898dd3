//! A login by role id and secret id: one transaction, with the use of the secret id and the token in it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::role::{self, ById};
use super::secret_id;
use crate::auth::login::{Accepted, plan_login};
use crate::auth::method::{Method, MethodRequest};
use crate::auth::params::is_within;
use crate::auth::token::LoginOrigin;
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::fields::{self, unknown_warning};
use crate::plan::{Context, Plan};
use crate::stored;

/// Fields of a login.
const FIELDS: [&str; 2] = ["role_id", "secret_id"];

/// Plans the login.
///
/// # Errors
/// [`Error::Invalid`]: a field is missing, or the ids do not lead to a role; which of them is wrong is not told.
/// [`Error::Denied`]: the token may not be used from there.
pub fn login(ctx: &mut Context<'_>, mount: &Mount, request: &MethodRequest<'_>) -> Result<Plan, Error> {
    let invalid = || Error::invalid("invalid role or secret ID");
    let role_id = field(request.body, "role_id")?;
    let id_key = role::id_key(ctx.barrier, mount.uuid(), &role_id);
    let by_id = stored::load::<ById>(ctx.view, ctx.barrier, &id_key, ctx.now_ms)?.ok_or_else(invalid)?;
    let name = by_id.value.name;
    let found = role::load(ctx, mount, &name)?.ok_or_else(invalid)?;
    let role = &found.value;

    let secret_id = if role.bind_secret_id {
        let given = field(request.body, "secret_id")?;
        let hash = secret_id::hash(ctx.barrier, role, &given);
        Some(secret_id::load(ctx, mount, role, &hash)?.ok_or_else(invalid)?)
    } else {
        None
    };
    let entry = secret_id.as_ref().map(|found| &found.stored.value);
    let from_elsewhere = |on: &str| {
        Err(Error::invalid(format!("source address unauthorized by CIDR restrictions on the {on}")))
    };
    if entry.is_some_and(|entry| !entry.cidr_list.is_empty() && !is_within(&entry.cidr_list, request.from)) {
        return from_elsewhere("secret ID");
    }
    if !role.secret_id_bound_cidrs.is_empty() && !is_within(&role.secret_id_bound_cidrs, request.from) {
        return from_elsewhere("role");
    }

    let mut meta: BTreeMap<String, String> = entry.map(|entry| entry.metadata.clone()).unwrap_or_default();
    meta.insert("role_name".to_owned(), name.clone());
    let accepted = Accepted {
        origin: LoginOrigin {
            method: Method::AppRole,
            mount_uuid: mount.uuid().to_owned(),
            mount_accessor: mount.accessor().to_owned(),
            alias: role_id.as_str().to_owned(),
            subject: name.clone(),
            principal: String::new(),
        },
        display_name: "",
        meta,
        alias_meta: BTreeMap::new(),
        groups: None,
        params: &role.params,
        bound_cidrs: entry.map(|entry| entry.token_bound_cidrs.as_slice()).unwrap_or_default(),
        path: request.full_path,
        from: request.from,
        warnings: unknown_warning(request.body.keys().map(String::as_str), &FIELDS),
    };
    let mut plan = plan_login(ctx, mount, accepted)?;
    plan.txn.require(id_key, by_id.revision);
    plan.txn.require(role::key(ctx.barrier, mount.uuid(), &name), found.revision);
    if let Some(secret_id) = &secret_id {
        secret_id::plan_use(ctx, &mut plan.txn, mount, role, secret_id)?;
    }
    Ok(plan)
}

/// The role that a login names by its id.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn role_of(ctx: &Context<'_>, mount: &Mount, body: &Map<String, Value>) -> Result<Option<String>, Error> {
    let Ok(role_id) = field(body, "role_id") else { return Ok(None) };
    let key = role::id_key(ctx.barrier, mount.uuid(), &role_id);
    Ok(stored::load::<ById>(ctx.view, ctx.barrier, &key, ctx.now_ms)?.map(|by_id| by_id.value.name))
}

fn field(body: &Map<String, Value>, name: &str) -> Result<Zeroizing<String>, Error> {
    let given = fields::text(body, name)?.map(Zeroizing::new).filter(|text| !text.is_empty());
    given.ok_or_else(|| Error::invalid(format!("missing {name}")))
}
