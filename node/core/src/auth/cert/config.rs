//! `config`: settings of a mount, and the names of its lists of revoked certificates. A login names the revision of this
//! record, which changes with each of them: none that was decided before a certificate was revoked comes in behind it.

use conclave_proto::log::{Precondition, Txn};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::crypto::{Barrier, Kind};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::stored;

/// Version of the record's form: every field that came later has a default.
const VERSION: u32 = 1;

#[derive(Clone, Serialize, Deserialize)]
pub struct Settings {
    version: u32,
    /// A renewal need not show the key of the login.
    #[serde(default)]
    pub disable_binding: bool,
    /// Names of lists of revoked certificates, in order.
    #[serde(default)]
    pub crls: Vec<String>,
    /// Where the record stood; 0: there is none.
    #[serde(skip)]
    revision: u64,
}

fn key(barrier: &Barrier, mount_uuid: &str) -> Vec<u8> {
    barrier.key(Kind::CertConfig, [mount_uuid])
}

pub fn load(ctx: &Context<'_>, mount_uuid: &str) -> Result<Settings, Error> {
    match stored::load::<Settings>(ctx.view, ctx.barrier, &key(ctx.barrier, mount_uuid), 0)? {
        Some(found) if found.value.version != VERSION => Err(stored::unknown()),
        Some(found) => Ok(Settings { revision: found.revision, ..found.value }),
        None => Ok(Settings { version: VERSION, disable_binding: false, crls: Vec::new(), revision: 0 }),
    }
}

impl Settings {
    /// That they stand as they did.
    pub fn precondition(&self, ctx: &Context<'_>, mount_uuid: &str) -> Precondition {
        Precondition { key: key(ctx.barrier, mount_uuid).into(), revision: self.revision }
    }

    pub fn require(&self, ctx: &Context<'_>, txn: &mut Txn, mount_uuid: &str) {
        txn.preconditions.push(self.precondition(ctx, mount_uuid));
    }

    pub fn put(&self, ctx: &mut Context<'_>, txn: &mut Txn, mount_uuid: &str) -> Result<(), Error> {
        self.require(ctx, txn, mount_uuid);
        let key = key(ctx.barrier, mount_uuid);
        stored::put(ctx, txn, &key, mount_uuid, self, 0)
    }
}

pub fn read(ctx: &Context<'_>, mount: &Mount) -> Result<Plan, Error> {
    let settings = load(ctx, mount.uuid())?;
    Ok(Reply::json(&json!({
        "disable_binding": settings.disable_binding,
        "enable_identity_alias_metadata": false,
        "ocsp_cache_size": 0,
    }))
    .into())
}

/// # Errors
/// [`Error::Invalid`].
pub fn write(ctx: &mut Context<'_>, mount: &Mount, body: &Map<String, Value>) -> Result<Plan, Error> {
    let mut settings = load(ctx, mount.uuid())?;
    if fields::boolean(body, "enable_identity_alias_metadata")?.unwrap_or(false) {
        return Err(Error::invalid("enable_identity_alias_metadata is not supported"));
    }
    if fields::integer(body, "ocsp_cache_size")?.is_some_and(|size| size != 0) {
        return Err(Error::invalid("OCSP is not supported: leave ocsp_cache_size out"));
    }
    if let Some(disable_binding) = fields::boolean(body, "disable_binding")? {
        settings.disable_binding = disable_binding;
    }
    let mut txn = mount.guarded_txn(ctx);
    settings.put(ctx, &mut txn, mount.uuid())?;
    Ok(Plan { txn, reply: Reply::no_content() })
}
