//! `auth/token/*`: what is asked of tokens, and answered as OpenBao answers it.

use bytes::Bytes;
use conclave_proto::log::Txn;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::create::{self, Creation, Maker, plan_create};
use super::entry::TokenEntry;
use super::identify::Identified;
use super::lookup::{auth_block, lookup_data};
use super::renew::plan_renew;
use super::revoke::{plan_revoke, plan_revoke_orphan};
use super::role::{self, Role};
use super::store::{self, Found};
use super::{role_api, tidy};
use crate::auth::method;
use crate::error::Error;
use crate::fields;
use crate::identity::Belonging;
use crate::plan::{Context, Plan, Reply};
use crate::policy::store as policies;
use crate::stored::Stored;

const MS_PER_S: u64 = 1_000;

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenRequest {
    Create,
    CreateOrphan,
    CreateByRole,
    Lookup,
    LookupSelf,
    LookupAccessor,
    Renew,
    RenewSelf,
    RenewAccessor,
    Revoke,
    RevokeSelf,
    RevokeAccessor,
    RevokeOrphan,
    Accessors,
    Tidy,
    RoleList,
    RoleRead,
    RoleWrite,
    RoleDelete,
}

/// Who asks, and with what.
pub struct Caller<'a> {
    pub identified: &'a Identified,
    /// His token: never log it.
    pub token: &'a str,
    /// The path that he asks at.
    pub path: &'a str,
    /// The name of a role in it.
    pub captured: &'a str,
    /// What he has shown in the handshake; `None`: there was none.
    pub certificates: Option<&'a [Bytes]>,
}

/// Plans what was asked. The caller has been permitted to ask it.
///
/// # Errors
/// [`Error`].
pub fn handle(
    ctx: &mut Context<'_>,
    request: TokenRequest,
    caller: &Caller<'_>,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    use TokenRequest as R;
    match request {
        R::Create => create(ctx, caller, Creation::of(body)?, None, body),
        R::CreateOrphan => create(ctx, caller, Creation::of(body)?.as_orphan(), None, body),
        R::CreateByRole => {
            let unknown = || Error::invalid(format!("unknown role {}", caller.captured));
            let role = role::load(ctx.view, ctx.barrier, caller.captured)?.ok_or_else(unknown)?;
            create(ctx, caller, Creation::of(body)?, Some(&role), body)
        }
        R::LookupSelf => lookup(ctx, caller, caller.token),
        R::Lookup => lookup(ctx, caller, token_in(body)?.as_deref().map_or(caller.token, String::as_str)),
        R::LookupAccessor => {
            let found = by_accessor(ctx, body)?.ok_or_else(invalid_accessor)?;
            Ok(Reply::json(&data_of(ctx, &found, "")?).into())
        }
        R::RenewSelf => renew(ctx, caller, caller.token, body),
        R::Renew => renew(ctx, caller, &token_in(body)?.ok_or_else(missing_token)?, body),
        R::RenewAccessor => {
            let found = by_accessor(ctx, body)?.ok_or_else(invalid_accessor)?;
            renew_found(ctx, caller, &found, "", body)
        }
        R::RevokeSelf => revoke(ctx, caller.token),
        R::Revoke => revoke(ctx, &token_in(body)?.ok_or_else(missing_token)?),
        R::RevokeAccessor => match by_accessor(ctx, body)? {
            Some(found) => Ok(done(plan_revoke(ctx, &found)?)),
            None => Ok(warned("No token found with this accessor")),
        },
        R::RevokeOrphan => {
            let token = token_in(body)?.ok_or_else(missing_token)?;
            let found = find(ctx, &token)?.ok_or_else(|| Error::invalid("token to revoke not found"))?;
            Ok(done(plan_revoke_orphan(ctx, &found)?))
        }
        R::Accessors => {
            let keys = store::accessors(ctx.view, ctx.barrier, ctx.now_ms)?;
            Ok(Reply::json(&json!({ "keys": keys })).into())
        }
        R::Tidy => tidy::plan_start(ctx),
        R::RoleList => role_api::list(ctx),
        R::RoleRead => role_api::read(ctx, caller.captured),
        R::RoleWrite => role_api::write(ctx, caller.captured, body),
        R::RoleDelete => role_api::delete(ctx, caller.captured),
    }
}

fn create(
    ctx: &mut Context<'_>,
    caller: &Caller<'_>,
    creation: Creation,
    role: Option<&Stored<Role>>,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    let may_sudo = caller.identified.identity.acl().may_sudo(caller.path);
    let maker = Maker { caller: caller.identified, may_sudo, path: caller.path, role };
    let created = plan_create(ctx, creation, maker)?;
    let mut warnings = created.warnings;
    for policy in &created.entry.policies {
        if policies::text(ctx.view, ctx.barrier, policy)?.is_none() {
            warnings.push(format!("Policy {policy:?} does not exist"));
        }
    }
    warnings.extend(fields::unknown_warning(body.keys().map(String::as_str), &create::FIELDS));
    let (entry, token) = (&created.entry, created.token.expose());
    let auth = auth_block(entry, token, entry.parent.is_none(), created.lasts_ms, &created.identity_policies);
    Ok(Plan { txn: created.txn, reply: with_auth(&auth, warnings) })
}

fn lookup(ctx: &Context<'_>, caller: &Caller<'_>, token: &str) -> Result<Plan, Error> {
    // As OpenBao: whoever asks for a token that there is not has shown none.
    let found = find(ctx, token)?.ok_or(Error::BadToken)?;
    let mut data = data_of(ctx, &found, token)?;
    if found.entry.uses_left > 0 && found.hash == caller.identified.hash() {
        // This is one of its uses; -1 stands for the last one, since 0 stands for no limit.
        let left_after = i64::try_from(found.entry.uses_left - 1).unwrap_or(i64::MAX);
        data["num_uses"] = if left_after == 0 { -1 } else { left_after }.into();
    }
    Ok(Reply::json(&data).into())
}

fn data_of(ctx: &Context<'_>, found: &Found, id: &str) -> Result<Value, Error> {
    let policies = identity_policies(ctx, found)?;
    Ok(lookup_data(&found.entry, id, found.is_orphan(), found.expires_at_ms, ctx.now_ms, &policies))
}

/// What the token's entity brings it.
fn identity_policies(ctx: &Context<'_>, found: &Found) -> Result<Vec<String>, Error> {
    if found.entry.entity_id.is_empty() {
        return Ok(Vec::new());
    }
    let belonging = Belonging::load(ctx.view, ctx.barrier, &found.entry.entity_id)?;
    Ok(belonging.map(|belonging| belonging.policies).unwrap_or_default())
}

fn renew(
    ctx: &mut Context<'_>,
    caller: &Caller<'_>,
    token: &str,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    let found = find(ctx, token)?.ok_or_else(|| Error::invalid("token not found"))?;
    renew_found(ctx, caller, &found, token, body)
}

fn renew_found(
    ctx: &mut Context<'_>,
    caller: &Caller<'_>,
    found: &Found,
    token: &str,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    let increment_s = fields::duration_s(body, "increment")?.unwrap_or_default();
    let increment_s =
        u64::try_from(increment_s).map_err(|_| Error::invalid("increment must not be negative"))?;
    let held = method::may_renew(ctx, &found.entry, caller.certificates)?;
    let mut renewed = plan_renew(ctx, found, increment_s.saturating_mul(MS_PER_S))?;
    renewed.txn.preconditions.extend(held);
    let policies = identity_policies(ctx, found)?;
    let auth = auth_block(&renewed.entry, token, found.is_orphan(), renewed.lasts_ms, &policies);
    Ok(Plan { txn: renewed.txn, reply: with_auth(&auth, renewed.warnings) })
}

fn revoke(ctx: &mut Context<'_>, token: &str) -> Result<Plan, Error> {
    match find(ctx, token)? {
        Some(found) => Ok(done(plan_revoke(ctx, &found)?)),
        None => Ok(Reply::no_content().into()),
    }
}

fn find(ctx: &Context<'_>, token: &str) -> Result<Option<Found>, Error> {
    store::find_token(ctx.view, ctx.barrier, token, ctx.now_ms)
}

fn by_accessor(ctx: &Context<'_>, body: &Map<String, Value>) -> Result<Option<Found>, Error> {
    let accessor = fields::text(body, "accessor")?.unwrap_or_default();
    if accessor.is_empty() {
        return Err(Error::invalid("missing accessor"));
    }
    store::find_by_accessor(ctx.view, ctx.barrier, &accessor, ctx.now_ms)
}

fn token_in(body: &Map<String, Value>) -> Result<Option<Zeroizing<String>>, Error> {
    Ok(fields::text(body, "token")?.filter(|token| !token.is_empty()).map(Zeroizing::new))
}

fn with_auth(auth: &Value, warnings: Vec<String>) -> Reply {
    let text = serde_json::to_vec(auth).expect("text and numbers always become JSON");
    Reply { auth: Some(Zeroizing::new(text)), warnings, ..Reply::empty(200) }
}

fn done(txn: Txn) -> Plan {
    Plan { txn, reply: Reply::no_content() }
}

fn warned(sentence: &str) -> Plan {
    Reply { warnings: vec![sentence.to_owned()], ..Reply::empty(200) }.into()
}

fn invalid_accessor() -> Error {
    Error::invalid("invalid accessor")
}

fn missing_token() -> Error {
    Error::invalid("missing token ID")
}

/// What is written when a token is used that can be used only so often; nothing of others. Its last use ends it.
///
/// # Errors
/// The active key has sealed too much.
pub fn plan_use(ctx: &mut Context<'_>, caller: &Identified, txn: &mut Txn) -> Result<(), Error> {
    let uses_left = caller.entry.uses_left;
    if uses_left == 0 {
        return Ok(());
    }
    let hash = caller.hash();
    let key = store::token_key(ctx.barrier, &hash);
    // It ended or was renewed by itself.
    if txn.writes.iter().any(|write| write.key == key) {
        return Ok(());
    }
    if uses_left == 1 {
        store::delete(ctx.barrier, txn, &hash, &caller.entry);
        return super::clear::put(ctx, txn, &hash);
    }
    let entry = TokenEntry { uses_left: uses_left - 1, ..(*caller.entry).clone() };
    store::put_again(ctx, txn, &hash, &entry, caller.expires_at_ms)
}
