//! `identity/mfa/login-enforcement`: whose logins need one of which methods.

use conclave_proto::log::Txn;
use serde_json::{Map, Value, json};

use super::method::listed;
use super::table::{Enforcement, Table};
use crate::auth::method;
use crate::error::Error;
use crate::fields;
use crate::identity::{self, AuthMounts, new_id};
use crate::plan::{Context, Plan, Reply};

/// Ids of each list at most.
const IDS_MAX: usize = 256;
/// Whom it is about: at least one is given with each write.
const WHOSE: [&str; 4] =
    ["auth_method_accessors", "auth_method_types", "identity_group_ids", "identity_entity_ids"];

impl Enforcement {
    fn show(&self) -> Value {
        json!({
            "auth_method_accessors": self.mount_accessors,
            "auth_method_types": self.mount_types,
            "id": self.id,
            "identity_entity_ids": self.entity_ids,
            "identity_group_ids": self.group_ids,
            "mfa_method_ids": self.method_ids,
            "name": self.name,
            "namespace_id": "root",
            "namespace_path": "",
        })
    }
}

/// Makes an enforcement, or changes what the body names of one.
///
/// # Errors
/// [`Error::Invalid`]: what it names is not there, or it names nothing.
pub fn write(
    ctx: &mut Context<'_>,
    mounts: &AuthMounts,
    name: &str,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    method::subject(name)?;
    let mut table = Table::load(ctx)?;
    let mut after = match table.enforcements.get(name) {
        Some(present) => present.clone(),
        None => Enforcement {
            id: new_id(ctx),
            name: name.to_owned(),
            method_ids: Vec::new(),
            mount_accessors: Vec::new(),
            mount_types: Vec::new(),
            group_ids: Vec::new(),
            entity_ids: Vec::new(),
        },
    };
    after.method_ids = ids(body, "mfa_method_ids")?.ok_or_else(|| Error::invalid("missing method ids"))?;
    if after.method_ids.iter().any(|id| !table.methods.contains_key(id)) {
        return Err(Error::invalid("one of the provided method ids doesn't exist"));
    }
    if after.method_ids.is_empty() {
        // Nobody could ever satisfy it; Vault takes it, and lets everybody pass.
        return Err(Error::invalid("mfa_method_ids must name at least one method"));
    }
    if let Some(accessors) = ids(body, WHOSE[0])? {
        if accessors.iter().any(|accessor| mounts.find(accessor).is_none()) {
            return Err(Error::invalid("one of the auth method accessors provided is invalid"));
        }
        after.mount_accessors = accessors;
    }
    if let Some(types) = ids(body, WHOSE[1])? {
        if types.iter().any(|kind| !mounts.has_kind(kind)) {
            return Err(Error::invalid("one of the auth method types provided is invalid"));
        }
        after.mount_types = types;
    }
    let mut txn = Txn::default();
    if let Some(groups) = ids(body, WHOSE[2])? {
        for id in &groups {
            if !identity::is_group(ctx, id)? {
                return Err(Error::invalid("one of the provided group ids doesn't exist"));
            }
        }
        after.group_ids = groups;
    }
    if let Some(entities) = ids(body, WHOSE[3])? {
        for id in &entities {
            if !identity::is_entity(ctx, id)? {
                return Err(Error::invalid("one of the provided entity ids doesn't exist"));
            }
        }
        after.entity_ids = entities;
    }
    if !WHOSE.iter().any(|field| body.contains_key(*field)) {
        return Err(Error::invalid(format!("One of {} must be specified", WHOSE.join(", "))));
    }
    table.enforcements.insert(name.to_owned(), after);
    table.put(ctx, &mut txn)?;
    Ok(Plan { txn, reply: Reply::no_content() })
}

fn ids(body: &Map<String, Value>, field: &str) -> Result<Option<Vec<String>>, Error> {
    let listed = fields::texts(body, field)?;
    if listed.as_ref().is_some_and(|listed| listed.len() > IDS_MAX) {
        return Err(Error::invalid(format!("{field} has at most {IDS_MAX} entries")));
    }
    Ok(listed)
}

/// # Errors
/// [`Error::NotFound`].
pub fn read(ctx: &Context<'_>, name: &str) -> Result<Plan, Error> {
    let table = Table::load(ctx)?;
    Ok(Reply::json(&table.enforcements.get(name).ok_or(Error::NotFound)?.show()).into())
}

/// # Errors
/// [`Error::NotFound`]: there are none.
pub fn list(ctx: &Context<'_>) -> Result<Plan, Error> {
    let table = Table::load(ctx)?;
    listed(table.enforcements.iter().map(|(name, enforcement)| (name.clone(), enforcement.show())))
}

/// None such is no fault.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn delete(ctx: &mut Context<'_>, name: &str) -> Result<Plan, Error> {
    let mut table = Table::load(ctx)?;
    let mut txn = Txn::default();
    if table.enforcements.remove(name).is_some() {
        table.put(ctx, &mut txn)?;
    }
    Ok(Plan { txn, reply: Reply::no_content() })
}
