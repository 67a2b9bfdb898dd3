//! Roles: who logs in by them, and how tokens are made.

use conclave_proto::log::Txn;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::clear;
use crate::auth::old_names::OldNames;
use crate::auth::params::{TokenParams, lifetime_s};
use crate::crypto::{Barrier, Kind};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::stored::{self, Stored};

/// Version of the record's form: every field that came later has a default.
const VERSION: u32 = 1;
/// Longest id that an operator can give a role, in bytes.
const ROLE_ID_BYTES_MAX: usize = 4_096;
/// Networks of a role at most.
const CIDRS_MAX: usize = 256;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Role {
    version: u32,
    /// Under which its secret ids lie: another role of the same name has another.
    pub uid: String,
    pub role_id: String,
    pub bind_secret_id: bool,
    /// From where a login may come; empty: from everywhere.
    #[serde(default)]
    pub secret_id_bound_cidrs: Vec<IpNet>,
    /// 0: as often as one likes.
    #[serde(default)]
    pub secret_id_num_uses: u64,
    /// 0: for ever.
    #[serde(default)]
    pub secret_id_ttl_s: u64,
    pub params: TokenParams,
    /// The old names under which fields were given, and are shown as well.
    #[serde(default)]
    pub old_names: OldNames,
}

/// From a role's id to the role.
#[derive(Serialize, Deserialize)]
pub struct ById {
    pub name: String,
}

pub fn prefix(barrier: &Barrier, mount_uuid: &str) -> Vec<u8> {
    barrier.key(Kind::AppRole, [mount_uuid])
}

pub fn key(barrier: &Barrier, mount_uuid: &str, name: &str) -> Vec<u8> {
    barrier.key(Kind::AppRole, [mount_uuid, name])
}

pub fn id_key(barrier: &Barrier, mount_uuid: &str, role_id: &str) -> Vec<u8> {
    barrier.key(Kind::AppRoleId, [mount_uuid, role_id])
}

pub fn load(ctx: &Context<'_>, mount: &Mount, name: &str) -> Result<Option<Stored<Role>>, Error> {
    let key = key(ctx.barrier, mount.uuid(), name);
    match stored::load::<Role>(ctx.view, ctx.barrier, &key, ctx.now_ms)? {
        Some(role) if role.value.version != VERSION => Err(stored::unknown()),
        role => Ok(role),
    }
}

/// # Errors
/// [`Error::NotFound`]: there is no such role.
pub fn expect(ctx: &Context<'_>, mount: &Mount, name: &str) -> Result<Stored<Role>, Error> {
    load(ctx, mount, name)?.ok_or(Error::NotFound)
}

impl Role {
    fn new(ctx: &mut Context<'_>) -> Self {
        Self {
            version: VERSION,
            uid: uuid(ctx),
            role_id: uuid(ctx),
            bind_secret_id: true,
            secret_id_bound_cidrs: Vec::new(),
            secret_id_num_uses: 0,
            secret_id_ttl_s: 0,
            params: TokenParams::default(),
            old_names: OldNames::default(),
        }
    }

    /// Without its id, as Vault shows it.
    pub fn show(&self) -> Map<String, Value> {
        let mut shown = Map::new();
        self.params.show(&mut shown);
        shown.insert("bind_secret_id".to_owned(), self.bind_secret_id.into());
        shown.insert("local_secret_ids".to_owned(), false.into());
        shown.insert("secret_id_bound_cidrs".to_owned(), cidr_value(&self.secret_id_bound_cidrs));
        shown.insert("secret_id_num_uses".to_owned(), self.secret_id_num_uses.into());
        shown.insert("secret_id_ttl".to_owned(), self.secret_id_ttl_s.into());
        self.old_names.show(&mut shown);
        shown
    }

    /// Takes over what `body` gives.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the field.
    pub fn apply(&mut self, body: &Map<String, Value>) -> Result<(), Error> {
        if let Some(bind) = fields::boolean(body, "bind_secret_id")? {
            self.bind_secret_id = bind;
        }
        for name in ["bound_cidr_list", "secret_id_bound_cidrs"] {
            if let Some(cidrs) = fields::texts(body, name)? {
                self.secret_id_bound_cidrs = cidr_blocks(&cidrs, name)?;
            }
        }
        if let Some(uses) = fields::integer(body, "secret_id_num_uses")? {
            self.secret_id_num_uses =
                u64::try_from(uses).map_err(|_| Error::invalid("secret_id_num_uses cannot be negative"))?;
        }
        if let Some(ttl_s) = fields::duration_s(body, "secret_id_ttl")? {
            self.secret_id_ttl_s = lifetime_s(ttl_s, "secret_id_ttl")?;
        }
        self.old_names.apply(&mut self.params, body, &["policies", "period"])?;
        if !self.bind_secret_id && self.secret_id_bound_cidrs.is_empty() && self.params.bound_cidrs.is_empty()
        {
            return Err(Error::invalid("at least one constraint should be enabled on the role"));
        }
        Ok(())
    }
}

/// Makes a role, or changes one.
pub fn write(
    ctx: &mut Context<'_>,
    mount: &Mount,
    name: &str,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    let found = load(ctx, mount, name)?;
    if let Some(local) = fields::boolean(body, "local_secret_ids")? {
        if found.is_some() {
            return Err(Error::invalid("local_secret_ids can only be modified during role creation"));
        }
        if local {
            return Err(Error::invalid("local_secret_ids is not supported: there is one cluster"));
        }
    }
    let (revision, old_id, mut role) = match found {
        Some(found) => (found.revision, Some(found.value.role_id.clone()), found.value),
        None => (0, None, Role::new(ctx)),
    };
    if let Some(role_id) = fields::text(body, "role_id")?.filter(|role_id| !role_id.is_empty()) {
        role.role_id = role_id;
    }
    role.apply(body)?;
    let warnings = role.params.warnings(mount);
    let txn = put(ctx, mount, name, revision, old_id.as_deref(), &role)?;
    let status = if warnings.is_empty() { 204 } else { 200 };
    Ok(Plan { txn, reply: Reply { warnings, ..Reply::empty(status) } })
}

/// Deletes a role; none of its secret ids leads anywhere any more. No such role is no fault.
pub fn delete(ctx: &mut Context<'_>, mount: &Mount, name: &str) -> Result<Plan, Error> {
    let Some(found) = load(ctx, mount, name)? else { return Ok(Reply::no_content().into()) };
    let mut txn = mount.guarded_txn(ctx);
    let key = key(ctx.barrier, mount.uuid(), name);
    txn.require(key.clone(), found.revision);
    txn.delete(key);
    txn.delete(id_key(ctx.barrier, mount.uuid(), &found.value.role_id));
    clear::put(ctx, &mut txn, mount.uuid(), &found.value.uid)?;
    Ok(Plan { txn, reply: Reply::no_content() })
}

/// Writes a role that stood at `revision`, and the way to it by its id.
///
/// # Errors
/// [`Error::Invalid`]: another role has its id.
pub fn put(
    ctx: &mut Context<'_>,
    mount: &Mount,
    name: &str,
    revision: u64,
    old_id: Option<&str>,
    role: &Role,
) -> Result<Txn, Error> {
    let mut txn = mount.guarded_txn(ctx);
    let key = key(ctx.barrier, mount.uuid(), name);
    txn.require(key.clone(), revision);
    let path = format!("{}/{name}", mount.uuid());
    stored::put(ctx, &mut txn, &key, &path, role, 0)?;
    if old_id == Some(&role.role_id) {
        return Ok(txn);
    }
    if role.role_id.len() > ROLE_ID_BYTES_MAX {
        return Err(Error::invalid(format!("a role_id has at most {ROLE_ID_BYTES_MAX} bytes")));
    }
    let new_key = id_key(ctx.barrier, mount.uuid(), &role.role_id);
    if ctx.view.stamp(&new_key)?.is_some() {
        return Err(Error::invalid("role_id already in use"));
    }
    txn.require(new_key.clone(), 0);
    stored::put(ctx, &mut txn, &new_key, &path, &ById { name: name.to_owned() }, 0)?;
    if let Some(old_id) = old_id {
        txn.delete(id_key(ctx.barrier, mount.uuid(), old_id));
    }
    Ok(txn)
}

/// A random text as clients expect ids to look: 122 bits.
pub fn uuid(ctx: &mut Context<'_>) -> String {
    let mut bytes = [0; 16];
    ctx.rng.fill_bytes(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// # Errors
/// [`Error::Invalid`]: one is no network.
pub fn cidr_blocks(given: &[String], field: &str) -> Result<Vec<IpNet>, Error> {
    if given.len() > CIDRS_MAX {
        return Err(Error::invalid(format!("{field} has at most {CIDRS_MAX} entries")));
    }
    let blocks: Result<Vec<IpNet>, _> = given.iter().map(|text| text.trim().parse()).collect();
    blocks
        .map_err(|_| Error::invalid(format!("failed to validate CIDR blocks: {field} has one that is none")))
}

/// None are `null`, as Vault answers.
pub fn cidr_value(blocks: &[IpNet]) -> Value {
    if blocks.is_empty() {
        return Value::Null;
    }
    json!(blocks.iter().map(ToString::to_string).collect::<Vec<_>>())
}
