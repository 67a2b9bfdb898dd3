//! `auth/token/roles`: writing, showing and deleting roles as OpenBao does.

use conclave_proto::log::Txn;
use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::create::milliseconds;
use super::role::{self, Role, RoleKind};
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::policy::name;

/// Names in one list of a role at most, and bytes of a pattern.
const LIST_MAX: usize = 256;
const PATTERN_BYTES_MAX: usize = 256;
/// Shortest suffix of a path, in bytes.
const SUFFIX_BYTES_MIN: usize = 3;
const MS_PER_S: u64 = 1_000;

/// # Errors
/// [`Error::NotFound`]: there are none.
pub fn list(ctx: &Context<'_>) -> Result<Plan, Error> {
    let keys = role::names(ctx.view, ctx.barrier)?;
    if keys.is_empty() {
        return Err(Error::NotFound);
    }
    Ok(Reply::json(&json!({ "keys": keys })).into())
}

/// # Errors
/// [`Error::NotFound`].
pub fn read(ctx: &Context<'_>, named: &str) -> Result<Plan, Error> {
    let role = role::load(ctx.view, ctx.barrier, named)?.ok_or(Error::NotFound)?.value;
    let aliases = Some(&role.allowed_entity_aliases).filter(|aliases| !aliases.is_empty());
    let mut data = json!({
        "allowed_entity_aliases": aliases,
        "allowed_policies": role.allowed_policies,
        "allowed_policies_glob": role.allowed_policies_glob,
        "disallowed_policies": role.disallowed_policies,
        "disallowed_policies_glob": role.disallowed_policies_glob,
        "explicit_max_ttl": shown_if(role.old_names.explicit_max_ttl, role.explicit_max_ttl_ms),
        "name": role.name,
        "orphan": role.orphan,
        "path_suffix": role.path_suffix,
        "period": shown_if(role.old_names.period, role.period_ms),
        "renewable": role.renewable,
        "token_explicit_max_ttl": role.explicit_max_ttl_ms / MS_PER_S,
        "token_no_default_policy": role.no_default_policy,
        "token_period": role.period_ms / MS_PER_S,
        "token_type": role.kind.name(),
    });
    if !role.bound_cidrs.is_empty() {
        let networks: Vec<String> = role.bound_cidrs.iter().map(fields::network_text).collect();
        data["token_bound_cidrs"] = json!(networks);
        if role.old_names.bound_cidrs {
            data["bound_cidrs"] = json!(networks);
        }
    }
    if role.num_uses > 0 {
        data["token_num_uses"] = role.num_uses.into();
    }
    Ok(Reply::json(&data).into())
}

fn shown_if(by_old_name: bool, ms: u64) -> u64 {
    if by_old_name { ms / MS_PER_S } else { 0 }
}

/// Makes a role, or changes what the body names of one.
///
/// # Errors
/// [`Error::Invalid`], naming the field. [`Error::NotFound`]: no role can have this name.
pub fn write(ctx: &mut Context<'_>, named: &str, body: &Map<String, Value>) -> Result<Plan, Error> {
    if !role::is_name(named) {
        return Err(Error::NotFound);
    }
    let before = role::load(ctx.view, ctx.barrier, named)?;
    let revision = before.as_ref().map_or(0, |before| before.revision);
    let mut role = before.map_or_else(|| Role::new(named), |before| before.value);
    change_lists(&mut role, body)?;
    change_limits(&mut role, body)?;
    if let Some(orphan) = fields::boolean(body, "orphan")? {
        role.orphan = orphan;
    }
    if let Some(renewable) = fields::boolean(body, "renewable")? {
        role.renewable = renewable;
    }
    if let Some(without) = fields::boolean(body, "token_no_default_policy")? {
        role.no_default_policy = without;
    }
    if let Some(suffix) = fields::text(body, "path_suffix")? {
        if !suffix.is_empty() && (suffix.len() < SUFFIX_BYTES_MIN || !role::is_name(&suffix)) {
            let sentence =
                r"given role path suffix contains invalid characters; must match \w[\w-.]+\w".to_owned();
            return Err(Error::Invalid(sentence));
        }
        role.path_suffix = suffix;
    }
    if let Some(kind) = fields::text(body, "token_type")? {
        role.kind = match kind.as_str() {
            "" | "default" | "default-service" => RoleKind::DefaultService,
            "default-batch" => RoleKind::DefaultBatch,
            "service" => RoleKind::Service,
            "batch" => RoleKind::Batch,
            _ => {
                let sentence =
                    "invalid 'token_type' value: it is service, batch, default-service or default-batch";
                return Err(Error::invalid(sentence));
            }
        };
    }
    check_kind(&role)?;
    Ok(Plan { txn: role::plan_put(ctx, &role, revision)?, reply: Reply::no_content() })
}

fn change_lists(role: &mut Role, body: &Map<String, Value>) -> Result<(), Error> {
    for (field, list) in [
        ("allowed_policies", &mut role.allowed_policies),
        ("disallowed_policies", &mut role.disallowed_policies),
    ] {
        if let Some(given) = listed(body, field)? {
            *list = given.iter().map(|policy| name::normalised(policy.trim())).collect::<Result<_, _>>()?;
            list.sort_unstable();
            list.dedup();
        }
    }
    for (field, list) in [
        ("allowed_policies_glob", &mut role.allowed_policies_glob),
        ("disallowed_policies_glob", &mut role.disallowed_policies_glob),
        ("allowed_entity_aliases", &mut role.allowed_entity_aliases),
    ] {
        if let Some(given) = listed(body, field)? {
            let pattern = |pattern: &String| pattern.trim().to_lowercase();
            *list = given.iter().map(pattern).filter(|pattern| !pattern.is_empty()).collect();
            if list.iter().any(|pattern| pattern.len() > PATTERN_BYTES_MAX) {
                let sentence = format!("a pattern in {field} has at most {PATTERN_BYTES_MAX} bytes");
                return Err(Error::Invalid(sentence));
            }
            list.sort_unstable();
            list.dedup();
        }
    }
    Ok(())
}

fn listed(body: &Map<String, Value>, field: &str) -> Result<Option<Vec<String>>, Error> {
    let given = fields::texts(body, field)?;
    if given.as_ref().is_some_and(|given| given.len() > LIST_MAX) {
        return Err(Error::invalid(format!("{field} has at most {LIST_MAX} entries")));
    }
    Ok(given)
}

fn change_limits(role: &mut Role, body: &Map<String, Value>) -> Result<(), Error> {
    let duration = |field| fields::duration_s(body, field)?.map(|s| milliseconds(field, Some(s))).transpose();
    if let Some((ms, is_old)) = newer("token_period", "period", duration)? {
        (role.period_ms, role.old_names.period) = (ms, is_old);
    }
    if let Some((ms, is_old)) = newer("token_explicit_max_ttl", "explicit_max_ttl", duration)? {
        (role.explicit_max_ttl_ms, role.old_names.explicit_max_ttl) = (ms, is_old);
    }
    let networks = |field| -> Result<Option<Vec<IpNet>>, Error> { fields::networks(body, field) };
    if let Some((networks, is_old)) = newer("token_bound_cidrs", "bound_cidrs", networks)? {
        (role.bound_cidrs, role.old_names.bound_cidrs) = (networks, is_old);
    }
    if let Some(uses) = fields::integer(body, "token_num_uses")? {
        role.num_uses =
            u64::try_from(uses).map_err(|_| Error::invalid("'token_num_uses' cannot be negative"))?;
    }
    Ok(())
}

/// A field by its name, or by the one that it had before, and whether it was that.
fn newer<T>(
    name: &'static str,
    old_name: &'static str,
    read: impl Fn(&'static str) -> Result<Option<T>, Error>,
) -> Result<Option<(T, bool)>, Error> {
    Ok(match read(name)? {
        Some(value) => Some((value, false)),
        None => read(old_name)?.map(|value| (value, true)),
    })
}

/// A batch token cannot have what must be written down somewhere.
fn check_kind(role: &Role) -> Result<(), Error> {
    let refuse = |sentence: &str| Err(Error::invalid(sentence));
    if role.kind == RoleKind::Batch && !role.orphan {
        return refuse("'token_type' cannot be 'batch' when role is set to generate non-orphan tokens");
    }
    if role.kind == RoleKind::Batch && role.renewable {
        return refuse("'token_type' cannot be 'batch' when role is set to generate renewable tokens");
    }
    if role.kind.is_batch() && role.period_ms > 0 {
        return refuse(
            "error parsing role fields: 'token_type' cannot be 'batch' or 'default_batch' when set to generate periodic \
             tokens",
        );
    }
    if role.kind.is_batch() && role.num_uses > 0 {
        return refuse(
            "error parsing role fields: 'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens \
             with limited use count",
        );
    }
    Ok(())
}

/// Deletes a role; one that there is not is no error. Tokens made by it stay.
///
/// # Errors
/// [`Error::View`].
pub fn delete(ctx: &Context<'_>, named: &str) -> Result<Plan, Error> {
    let mut txn = Txn::default();
    let key = role::key(ctx.barrier, named);
    if let Some(stamp) = ctx.view.stamp(&key)? {
        txn.require(key.clone(), stamp.revision);
        txn.delete(key);
    }
    Ok(Plan { txn, reply: Reply::no_content() })
}
