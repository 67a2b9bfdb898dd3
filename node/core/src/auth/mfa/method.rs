//! `identity/mfa/method`: making, changing, showing and deleting methods.

use conclave_proto::log::Txn;
use serde_json::{Map, Value, json};

use super::clear;
use super::table::{Method, Table};
use super::totp::{Algorithm, Scheme};
use crate::error::Error;
use crate::fields;
use crate::identity::new_id;
use crate::plan::{Context, Plan, Reply};

/// The one type of methods.
pub const TYPE: &str = "totp";
/// There is one namespace.
const NAMESPACE: &str = "root";
const FIELDS: [&str; 10] = [
    "method_name",
    "issuer",
    "period",
    "digits",
    "skew",
    "key_size",
    "qr_size",
    "algorithm",
    "max_validation_attempts",
    "method_id",
];

const PERIOD_S_DEFAULT: i64 = 30;
/// A code that holds for longer is a password.
const PERIOD_S_MAX: i64 = 24 * 3_600;
const KEY_BYTES_DEFAULT: i64 = 20;
const KEY_BYTES_MAX: i64 = 256;
/// Length of a side.
const BARCODE_PIXELS_DEFAULT: i64 = 200;
const BARCODE_PIXELS_MAX: i64 = 2_048;
const ATTEMPTS_DEFAULT: i64 = 5;
const ATTEMPTS_MAX: i64 = 1_000;
/// Longest name of a method or an issuer, in bytes.
const NAME_BYTES_MAX: usize = 256;

impl Method {
    /// All that a body says, and what is usual of what it does not say: as in Vault, a write says everything anew.
    fn of_body(id: String, name: String, body: &Map<String, Value>) -> Result<Self, Error> {
        let number = |field, default| Ok::<_, Error>(fields::integer(body, field)?.unwrap_or(default));
        let algorithm = match fields::text(body, "algorithm")? {
            None => Algorithm::Sha1,
            Some(name) => Algorithm::named(&name).ok_or_else(|| Error::invalid("unrecognized algorithm"))?,
        };
        let digits = match number("digits", 6)? {
            6 => 6,
            8 => 8,
            _ => return Err(Error::invalid("digits can only be 6 or 8")),
        };
        let period_s = fields::duration_s(body, "period")?.unwrap_or(PERIOD_S_DEFAULT);
        let period_s = between(period_s, 1, PERIOD_S_MAX, "period must be greater than zero")?;
        let skew = match number("skew", 1)? {
            0 => 0,
            1 => 1,
            _ => return Err(Error::invalid("skew must be 0 or 1")),
        };
        let key_bytes = number("key_size", KEY_BYTES_DEFAULT)?;
        let key_bytes = between(key_bytes, 1, KEY_BYTES_MAX, "key_size must be greater than zero")?;
        let issuer = fields::text(body, "issuer")?.unwrap_or_default();
        if issuer.is_empty() {
            return Err(Error::invalid("issuer must be set"));
        }
        if issuer.len() > NAME_BYTES_MAX || issuer.chars().any(char::is_control) {
            let sentence = format!("issuer has at most {NAME_BYTES_MAX} bytes and no control characters");
            return Err(Error::invalid(sentence));
        }
        let attempts = match number("max_validation_attempts", ATTEMPTS_DEFAULT)? {
            0 => ATTEMPTS_DEFAULT,
            attempts => attempts,
        };
        let attempts_max =
            between(attempts, 1, ATTEMPTS_MAX, "max_validation_attempts must be greater than zero")?;
        let pixels = number("qr_size", BARCODE_PIXELS_DEFAULT)?;
        let pixels = between(pixels, 0, BARCODE_PIXELS_MAX, "qr_size must not be negative")?;
        Ok(Self {
            id,
            name,
            issuer,
            scheme: Scheme { algorithm, digits, period_s, skew },
            key_bytes: usize::try_from(key_bytes).unwrap_or_default(),
            barcode_pixels: usize::try_from(pixels).unwrap_or_default(),
            attempts_max,
        })
    }

    fn show(&self) -> Value {
        json!({
            "algorithm": self.scheme.algorithm.name(),
            "digits": self.scheme.digits,
            "id": self.id,
            "issuer": self.issuer,
            "key_size": self.key_bytes,
            "max_validation_attempts": self.attempts_max,
            "name": self.name,
            "namespace_id": NAMESPACE,
            "namespace_path": "",
            "period": self.scheme.period_s,
            "qr_size": self.barcode_pixels,
            "skew": self.scheme.skew,
            "type": TYPE,
        })
    }
}

fn between(value: i64, least: i64, most: i64, too_small: &str) -> Result<u64, Error> {
    if value < least {
        return Err(Error::invalid(too_small));
    }
    if value > most {
        return Err(Error::invalid(format!("{too_small}, and at most {most}")));
    }
    u64::try_from(value).map_err(|_| Error::invalid(too_small))
}

/// Makes a method, or writes the one with this `id`, or with the name in the body.
///
/// # Errors
/// [`Error::Invalid`].
pub fn write(ctx: &mut Context<'_>, id: Option<&str>, body: &Map<String, Value>) -> Result<Plan, Error> {
    let mut table = Table::load(ctx)?;
    let name = fields::text(body, "method_name")?.unwrap_or_default();
    if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let sentence = format!("method_name has at most {NAME_BYTES_MAX} bytes and no control characters");
        return Err(Error::invalid(sentence));
    }
    let named = table.methods.values().find(|method| !name.is_empty() && method.name == name).cloned();
    let present = match id {
        // As Vault: what is written to an id that nothing has is not there, and no fault.
        Some(id) => match table.methods.get(id).cloned() {
            None => return Ok(Reply::no_content().into()),
            present => present,
        },
        None => named.clone(),
    };
    if named.is_some_and(|named| present.as_ref().is_some_and(|present| present.id != named.id)) {
        return Err(Error::invalid("a login MFA method configuration with this method name already exists"));
    }
    let kept_name =
        if name.is_empty() { present.as_ref().map(|method| method.name.clone()) } else { Some(name) };
    let method_id = present.map_or_else(|| new_id(ctx), |present| present.id);
    let method = Method::of_body(method_id.clone(), kept_name.unwrap_or_default(), body)?;
    table.methods.insert(method_id.clone(), method);
    let mut txn = Txn::default();
    table.put(ctx, &mut txn)?;
    let warnings = fields::unknown_warning(body.keys().map(String::as_str), &FIELDS);
    let reply = match id {
        Some(_) => Reply::no_content(),
        None => Reply { warnings, ..Reply::json(&json!({ "method_id": method_id })) },
    };
    Ok(Plan { txn, reply })
}

/// # Errors
/// [`Error::NotFound`].
pub fn read(ctx: &Context<'_>, id: &str) -> Result<Plan, Error> {
    let table = Table::load(ctx)?;
    Ok(Reply::json(&table.methods.get(id).ok_or(Error::NotFound)?.show()).into())
}

/// # Errors
/// [`Error::NotFound`]: there are none.
pub fn list(ctx: &Context<'_>) -> Result<Plan, Error> {
    let table = Table::load(ctx)?;
    listed(table.methods.iter().map(|(id, method)| (id.clone(), method.show())))
}

/// A list with what is known of each.
///
/// # Errors
/// [`Error::NotFound`]: it is empty.
pub fn listed(found: impl Iterator<Item = (String, Value)>) -> Result<Plan, Error> {
    let info: Map<String, Value> = found.collect();
    if info.is_empty() {
        return Err(Error::NotFound);
    }
    let keys: Vec<&String> = info.keys().collect();
    Ok(Reply::json(&json!({ "keys": keys, "key_info": info })).into())
}

/// Deletes a method that no enforcement needs, and in time all secrets that were made by it. None such is no fault.
///
/// # Errors
/// [`Error::Invalid`]: an enforcement needs it.
pub fn delete(ctx: &mut Context<'_>, id: &str) -> Result<Plan, Error> {
    let mut table = Table::load(ctx)?;
    let user =
        table.enforcements.values().find(|enforcement| enforcement.method_ids.iter().any(|one| one == id));
    if let Some(user) = user {
        let sentence = format!("methodID is still used by an enforcement configuration with ID: {}", user.id);
        return Err(Error::invalid(sentence));
    }
    let mut txn = Txn::default();
    if table.methods.remove(id).is_some() {
        table.put(ctx, &mut txn)?;
        clear::put(ctx, &mut txn, id)?;
    }
    Ok(Plan { txn, reply: Reply::no_content() })
}
