//! What an entity's device shares with the cluster: made here, shown once, and then only compared.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use conclave_proto::log::Txn;
use data_encoding::BASE32_NOPAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zeroize::{Zeroize as _, Zeroizing};

use super::table::{Method, Table};
use super::totp::Scheme;
use super::{barcode, check};
use crate::crypto::{Barrier, Kind};
use crate::error::Error;
use crate::fields;
use crate::identity;
use crate::plan::{Context, Plan, Reply};
use crate::stored::{self, Stored};

/// Version of the record's form: every field that came later has a default.
const VERSION: u32 = 1;
/// What stands as it is in the parts of an `otpauth` URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Clone, Serialize, Deserialize)]
pub struct Secret {
    version: u32,
    #[serde(with = "hex")]
    pub bytes: Vec<u8>,
    /// As it was when it was made: the device goes by it.
    pub scheme: Scheme,
    /// The step of the last code that was taken: neither it nor one before it is taken again.
    #[serde(default)]
    pub used_step: u64,
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

fn key(barrier: &Barrier, method: &str, entity: &str) -> Vec<u8> {
    barrier.key(Kind::TotpSecret, [method, entity])
}

/// Below which all secrets of a method lie.
pub fn prefix(barrier: &Barrier, method: &str) -> Vec<u8> {
    barrier.key(Kind::TotpSecret, [method])
}

pub fn load(ctx: &Context<'_>, method: &str, entity: &str) -> Result<Option<Stored<Secret>>, Error> {
    match stored::load::<Secret>(ctx.view, ctx.barrier, &key(ctx.barrier, method, entity), 0)? {
        Some(found) if found.value.version != VERSION => Err(stored::unknown()),
        found => Ok(found),
    }
}

/// Writes that the code of `step` was taken, if none was meanwhile.
///
/// # Errors
/// As `stored::put`.
pub fn put_used(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    (method, entity): (&str, &str),
    found: &Stored<Secret>,
    step: u64,
) -> Result<(), Error> {
    let key = key(ctx.barrier, method, entity);
    txn.require(key.clone(), found.revision);
    let mut used = found.value.clone();
    used.used_step = step;
    stored::put(ctx, txn, &key, &format!("{method}/{entity}"), &used, 0)
}

/// `identity/mfa/method/totp/generate` and `admin-generate`.
///
/// # Errors
/// [`Error::Invalid`].
pub fn generate(ctx: &mut Context<'_>, entity: &str, body: &Map<String, Value>) -> Result<Plan, Error> {
    let table = Table::load(ctx)?;
    let method = method_in(&table, body)?;
    if entity.is_empty() {
        return Err(Error::invalid("missing entityID"));
    }
    let belonging = identity::Belonging::load(ctx.view, ctx.barrier, entity)?;
    let belonging = belonging.ok_or_else(|| Error::invalid("invalid entity ID"))?;
    let entity = belonging.entity.id.as_str();
    if load(ctx, &method.id, entity)?.is_some() {
        let sentence = format!("Entity already has a secret for MFA method {:?}", method.name);
        return Ok(Reply { warnings: vec![sentence], ..Reply::empty(200) }.into());
    }
    let mut secret =
        Secret { version: VERSION, bytes: vec![0; method.key_bytes], scheme: method.scheme, used_step: 0 };
    ctx.rng.fill_bytes(&mut secret.bytes);
    let url = url(method, entity, &secret.bytes);
    let picture = match method.barcode_pixels {
        0 => Zeroizing::new(String::new()),
        pixels => Zeroizing::new(BASE64.encode(barcode::png(&url, pixels)?.as_slice())),
    };
    let mut txn = Txn::default();
    table.require(&mut txn);
    txn.preconditions.extend(belonging.preconditions.iter().cloned());
    let key = key(ctx.barrier, &method.id, entity);
    txn.require(key.clone(), 0);
    stored::put(ctx, &mut txn, &key, &format!("{}/{entity}", method.id), &secret, 0)?;
    let warnings = fields::unknown_warning(body.keys().map(String::as_str), &["method_id", "entity_id"]);
    let reply = Reply::json(&json!({ "barcode": picture.as_str(), "url": url.as_str() }));
    Ok(Plan { txn, reply: Reply { warnings, ..reply } })
}

/// `identity/mfa/method/totp/admin-destroy`: the entity needs another secret from now on.
///
/// # Errors
/// [`Error::Invalid`].
pub fn destroy(ctx: &mut Context<'_>, body: &Map<String, Value>) -> Result<Plan, Error> {
    let table = Table::load(ctx)?;
    let method_id = fields::text(body, "method_id")?.unwrap_or_default();
    if method_id.is_empty() {
        return Err(Error::invalid("missing method ID"));
    }
    let entity = fields::text(body, "entity_id")?.unwrap_or_default();
    if entity.is_empty() {
        return Err(Error::invalid("missing entity ID"));
    }
    if !identity::is_entity(ctx, &entity)? {
        return Err(Error::invalid("invalid entity ID"));
    }
    let method = method_in(&table, body)?;
    let mut txn = Txn::default();
    forget(ctx, &mut txn, &method.id, &entity)?;
    Ok(Plan { txn, reply: Reply::no_content() })
}

fn method_in<'t>(table: &'t Table, body: &Map<String, Value>) -> Result<&'t Method, Error> {
    let id = fields::text(body, "method_id")?.unwrap_or_default();
    if id.is_empty() {
        return Err(Error::invalid("missing method ID"));
    }
    let missing = || Error::invalid(format!("configuration for method ID {id:?} does not exist"));
    table.methods.get(&id).ok_or_else(missing)
}

/// Forgets what an entity that is no more shared, and what was counted against it.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn forget_entity(ctx: &Context<'_>, txn: &mut Txn, entity: &str) -> Result<(), Error> {
    for method in Table::load(ctx)?.methods.keys() {
        forget(ctx, txn, method, entity)?;
    }
    Ok(())
}

fn forget(ctx: &Context<'_>, txn: &mut Txn, method: &str, entity: &str) -> Result<(), Error> {
    for key in [key(ctx.barrier, method, entity), check::key(ctx.barrier, method, entity)] {
        if ctx.view.stamp(&key)?.is_some() {
            txn.delete(key);
        }
    }
    Ok(())
}

/// As devices read it.
fn url(method: &Method, account: &str, secret: &[u8]) -> Zeroizing<String> {
    let issuer = utf8_percent_encode(&method.issuer, ESCAPED);
    let account = utf8_percent_encode(account, ESCAPED);
    let encoded = Zeroizing::new(BASE32_NOPAD.encode(secret));
    let Scheme { algorithm, digits, period_s, .. } = method.scheme;
    Zeroizing::new(format!(
        "otpauth://totp/{issuer}:{account}?algorithm={}&digits={digits}&issuer={issuer}&period={period_s}&secret={}",
        algorithm.name(),
        encoded.as_str()
    ))
}
