//! Who a token's holder is, by what of its claims a role names; and from there to a token of ours.

use std::collections::BTreeMap;

use serde_json::Value;

use super::claims::{check_bound, find, listed, metadata};
use super::role::Role;
use crate::auth::login::{Accepted, plan_login};
use crate::auth::method::{Method, MethodRequest};
use crate::auth::token::LoginOrigin;
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::plan::{Context, Plan};

/// Whoever these claims are about.
pub struct Known {
    name: String,
    metadata: BTreeMap<String, String>,
    groups: Vec<String>,
}

/// A sentence repeats names of claims, which are the role's, and never what they say.
pub fn known(role: &Role, role_name: &str, claims: &Value) -> Result<Known, String> {
    let named = &role.user_claim;
    let found = if role.user_claim_is_pointer { find(claims, named) } else { claims.get(named).cloned() };
    let name = match found {
        None | Some(Value::Null) => return Err(format!("claim {named:?} not found in token")),
        Some(Value::String(name)) => name,
        Some(_) => return Err(format!("claim {named:?} could not be converted to string")),
    };
    let nothing = BTreeMap::new();
    let mut metadata = metadata(role.claim_mappings.as_ref().unwrap_or(&nothing), claims)?;
    metadata.insert("role".to_owned(), role_name.to_owned());
    let groups = groups(&role.groups_claim, claims)?;
    if let Some(bound) = &role.bound_claims {
        check_bound(role.comparison, bound, claims)
            .map_err(|error| format!("error validating claims: {error}"))?;
    }
    Ok(Known { name, metadata, groups })
}

fn groups(claim: &str, claims: &Value) -> Result<Vec<String>, String> {
    if claim.is_empty() {
        return Ok(Vec::new());
    }
    let found = find(claims, claim);
    let found = found.ok_or_else(|| format!("failed to fetch groups: {claim:?} claim not found in token"))?;
    let list = listed(&found);
    let list = list.ok_or_else(|| format!("{claim:?} claim could not be converted to string list"))?;
    let mut groups = Vec::with_capacity(list.len());
    for group in list {
        let group = group.as_str().ok_or("a value in groups claim could not be parsed as string")?;
        if !group.is_empty() {
            groups.push(group.to_owned());
        }
    }
    Ok(groups)
}

/// Makes the token of an accepted login.
pub fn plan(
    ctx: &mut Context<'_>,
    mount: &Mount,
    method: Method,
    request: &MethodRequest<'_>,
    role: (&str, &Role),
    known: Known,
    warnings: Vec<String>,
) -> Result<Plan, Error> {
    let (role_name, role) = role;
    let accepted = Accepted {
        origin: LoginOrigin {
            method,
            mount_uuid: mount.uuid().to_owned(),
            mount_accessor: mount.accessor().to_owned(),
            alias: known.name.clone(),
            subject: role_name.to_owned(),
            principal: String::new(),
        },
        display_name: &known.name,
        meta: known.metadata.clone(),
        alias_meta: known.metadata,
        // Whoever is named no groups is in none that this mount tells of.
        groups: Some(known.groups),
        params: &role.params,
        bound_cidrs: &[],
        path: request.full_path,
        from: request.from,
        warnings,
    };
    plan_login(ctx, mount, accepted)
}
