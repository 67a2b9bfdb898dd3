//! Logins that wait for another proof: in the replicated state, so that they are finished at any node and outlive a
//! leader.

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::basis::Basis;
use super::check;
use super::codes::Codes;
use super::table::Table;
use crate::auth::login::{self, Ready};
use crate::auth::method::Step;
use crate::auth::params::is_within;
use crate::auth::token::TokenEntry;
use crate::crypto::{Barrier, Kind};
use crate::engine::mount::{Mount, MountTable};
use crate::error::Error;
use crate::fields;
use crate::identity::Belonging;
use crate::plan::{Context, Plan, Reply};
use crate::stored;

/// Version of the record's form: every field that came later has a default.
const VERSION: u32 = 1;
/// How long a login waits.
const WAITS_MS: u64 = 5 * 60 * 1_000;

/// A login that was accepted. Its token is not made yet.
#[derive(Serialize, Deserialize)]
struct LaidAside {
    version: u32,
    entry: TokenEntry,
    /// What its caller is told when there is a token.
    warnings: Vec<String>,
    basis: Basis,
}

fn key(barrier: &Barrier, id: &str) -> Vec<u8> {
    barrier.key(Kind::LaidAsideLogin, [id])
}

/// Keeps the login under `id`.
///
/// # Errors
/// As `stored::put`.
pub fn put(ctx: &mut Context<'_>, txn: &mut Txn, id: &str, ready: Ready, basis: Basis) -> Result<(), Error> {
    let key = key(ctx.barrier, id);
    txn.require(key.clone(), 0);
    let kept = LaidAside { version: VERSION, entry: ready.entry, warnings: ready.warnings, basis };
    let expires_at_ms = ctx.now_ms.saturating_add(WAITS_MS);
    stored::put(ctx, txn, &key, id, &kept, expires_at_ms)
}

/// `sys/mfa/validate`: finishes a login with the codes in `body`. Whoever asks needs no token, but the id of a login that
/// a method has accepted, which is as hard to guess as a token.
///
/// # Errors
/// [`Error::Invalid`]: there is no such login, or not any more.
pub fn validate(
    ctx: &mut Context<'_>,
    mounts: &MountTable,
    body: &Map<String, Value>,
    from: Option<std::net::IpAddr>,
) -> Result<Step, Error> {
    let no_such = || Error::invalid("invalid request ID");
    let id = fields::text(body, "mfa_request_id")?.unwrap_or_default();
    if id.is_empty() {
        return Err(Error::invalid("missing request ID"));
    }
    let codes = Codes::of_body(body)?;
    let key = key(ctx.barrier, &id);
    let found = stored::load::<LaidAside>(ctx.view, ctx.barrier, &key, ctx.now_ms)?.ok_or_else(no_such)?;
    let LaidAside { version, entry, warnings, basis } = found.value;
    if version != VERSION {
        return Err(stored::unknown());
    }
    let mount = mount_of(mounts, &entry).ok_or_else(no_such)?;
    // Where its token may not be used, it is not handed out either.
    if !entry.bound_cidrs.is_empty() && !is_within(&entry.bound_cidrs, from) {
        return Err(Error::Denied);
    }
    let who = Belonging::load(ctx.view, ctx.barrier, &entry.entity_id)?.ok_or_else(no_such)?;
    if who.entity.disabled {
        return Err(Error::Denied);
    }
    let table = Table::load(ctx)?;
    let demanded = table.matching(mount, &who);
    if demanded.is_empty() {
        return Err(Error::invalid("nothing else is demanded of this login any more: log in again"));
    }
    let mut txn = mount.guarded_txn(ctx);
    basis.require(ctx, &mut txn)?;
    table.require(&mut txn);
    txn.preconditions.extend(who.preconditions.iter().cloned());
    if let Err(sentence) = check::codes(ctx, &mut txn, &table, &demanded, &who.entity.id, &codes)? {
        return Ok(Step::Refused(txn, Error::Refused(sentence)));
    }
    txn.require(key.clone(), found.revision);
    txn.delete(key);
    let plan = Plan { txn, reply: Reply::empty(200) };
    let entry = TokenEntry { entity_id: who.entity.id.clone(), created_ms: ctx.now_ms, ..entry };
    login::issue(ctx, plan, Ready { entry, who, warnings, spent: Txn::default(), own_from: 0 })
        .map(Step::Done)
}

fn mount_of<'m>(mounts: &'m MountTable, entry: &TokenEntry) -> Option<&'m Mount> {
    let uuid = &entry.login.as_ref()?.mount_uuid;
    mounts.iter().find(|mount| mount.uuid() == uuid)
}
