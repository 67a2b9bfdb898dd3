//! Response wrapping: an answer that is laid aside under a token of its own, which hands it over once.
//!
//! The wrapping token has one use, no parent and the policy `response-wrapping`; the answer lies in its cubbyhole, as in
//! Vault. Handing it over ends the token in the same transaction that is decided by it, so that of all who ask at the same
//! time, at whichever nodes, one gets it.

use conclave_faults::{Bug, planted};
use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::token::cubbyhole::{self, Kept};
use super::token::{self, Found};
use crate::engine::time_text;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::policy::name::RESPONSE_WRAPPING;

/// How long an answer can lie wrapped at most, in seconds: a century.
pub const WRAP_S_MAX: u64 = 100 * 366 * 24 * 3_600;
const MS_PER_S: u64 = 1_000;
/// Where the answer lies in the token's cubbyhole, and what is known of it.
const RESPONSE: &str = "response";
const INFO: &str = "wrapinfo";

/// What can be asked of `sys/wrapping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WrappingRequest {
    Wrap,
    Unwrap,
    Lookup,
    Rewrap,
}

/// An answer that lies wrapped.
struct Wrapped {
    response: String,
    info: Info,
}

/// As Vault keeps it.
#[derive(Serialize, Deserialize)]
struct Info {
    creation_path: String,
    /// Unix milliseconds of the cluster's time.
    creation_ms: u64,
    creation_ttl_s: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wrapped_accessor: Option<String>,
}

/// The parts of an answer, as they are kept.
#[derive(Serialize, Deserialize)]
struct Response {
    status: u16,
    lease_duration: u64,
    data: Value,
    warnings: Option<Vec<String>>,
    auth: Value,
}

/// Lays the plan's answer aside for `ttl_s` if it is one that hands something out, and answers with the token for it.
///
/// # Errors
/// [`Error::TooLarge`]: the answer is too large to be kept. The active key has sealed too much.
pub fn wrap(ctx: &mut Context<'_>, plan: &mut Plan, ttl_s: u64, path: &str) -> Result<(), Error> {
    let reply = &plan.reply;
    if reply.wrap_info.is_some() || (reply.data.is_none() && reply.auth.is_none()) {
        return Ok(());
    }
    let part = |text: &Option<Zeroizing<Vec<u8>>>| match text {
        Some(text) => {
            serde_json::from_slice(text).map_err(|_| Error::Corrupt("an answer is no JSON".to_owned()))
        }
        None => Ok(Value::Null),
    };
    let response = Response {
        status: reply.status,
        lease_duration: reply.lease_duration_s,
        data: part(&reply.data)?,
        warnings: (!reply.warnings.is_empty()).then(|| reply.warnings.clone()),
        auth: part(&reply.auth)?,
    };
    let wrapped_accessor = response.auth["accessor"].as_str().map(str::to_owned);
    let response = serde_json::to_string(&response).expect("text and numbers always become JSON");
    let info = Info {
        creation_path: path.to_owned(),
        creation_ms: ctx.now_ms,
        creation_ttl_s: ttl_s,
        wrapped_accessor,
    };
    plan.reply = lay_aside(ctx, &mut plan.txn, Wrapped { response, info })?;
    Ok(())
}

fn lay_aside(ctx: &mut Context<'_>, txn: &mut Txn, wrapped: Wrapped) -> Result<Reply, Error> {
    let Wrapped { response, info } = wrapped;
    let made = token::plan_wrapping_token(ctx, txn, &info.creation_path, info.creation_ttl_s * MS_PER_S)?;
    let mut kept = Kept::default();
    kept.entries.insert(RESPONSE.to_owned(), Map::from_iter([(RESPONSE.to_owned(), response.into())]));
    let Value::Object(fields) = json!(info) else { return Err(Error::invalid("not an object")) };
    kept.entries.insert(INFO.to_owned(), fields);
    cubbyhole::put(ctx, txn, &made.hash, &kept, 0, made.expires_at_ms).map_err(|error| match error {
        Error::TooLarge(_) => Error::TooLarge("the answer is too large to be wrapped".to_owned()),
        other => other,
    })?;
    let mut told = json!({
        "token": made.token.expose(),
        "accessor": made.accessor,
        "ttl": info.creation_ttl_s,
        "creation_time": time_text(info.creation_ms),
        "creation_path": info.creation_path,
    });
    if let Some(accessor) = info.wrapped_accessor {
        told["wrapped_accessor"] = accessor.into();
    }
    let text = serde_json::to_vec(&told).expect("text and numbers always become JSON");
    Ok(Reply { wrap_info: Some(Zeroizing::new(text)), ..Reply::empty(200) })
}

/// Answers what was asked. `own`: the caller's own token, which stands for that in the body; the caller has been permitted to
/// ask, but for [`WrappingRequest::Lookup`], which needs no more than the wrapping token. `is_wrapped`: the answer will be.
///
/// # Errors
/// [`Error::Invalid`]: the token wraps nothing, or not any more; or there is nothing to wrap for.
pub fn handle(
    ctx: &mut Context<'_>,
    request: WrappingRequest,
    own: &str,
    is_wrapped: bool,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    if request == WrappingRequest::Wrap {
        return match is_wrapped {
            true => Ok(Reply::json(body).into()),
            false => Err(Error::invalid("endpoint requires response wrapping to be used")),
        };
    }
    // Who names none means his own; who names the empty one has made a mistake.
    if body.get("token").and_then(Value::as_str) == Some("") {
        return Err(Error::Denied);
    }
    let named = fields::text(body, "token")?.filter(|token| !token.is_empty()).map(Zeroizing::new);
    let token = named.as_deref().map_or(own, String::as_str);
    let (found, wrapped) = find(ctx, token)?.ok_or_else(not_valid)?;
    match request {
        WrappingRequest::Unwrap => {
            let mut txn = token::plan_revoke_once(ctx, &found)?;
            if planted::is(Bug::UnwrapUnguarded) {
                txn.preconditions.clear();
            }
            Ok(Plan { txn, reply: wrapped.into_reply()? })
        }
        WrappingRequest::Rewrap => {
            let mut txn = token::plan_revoke_once(ctx, &found)?;
            let info = Info { creation_ms: ctx.now_ms, wrapped_accessor: None, ..wrapped.info };
            let reply = lay_aside(ctx, &mut txn, Wrapped { info, ..wrapped })?;
            Ok(Plan { txn, reply })
        }
        WrappingRequest::Lookup | WrappingRequest::Wrap => Ok(Reply::json(&json!({
            "creation_path": wrapped.info.creation_path,
            "creation_time": time_text(wrapped.info.creation_ms),
            "creation_ttl": wrapped.info.creation_ttl_s,
        }))
        .into()),
    }
}

/// What is said of every token that wraps nothing, be it none, used or another's.
pub fn not_valid() -> Error {
    Error::invalid("wrapping token is not valid or does not exist")
}

fn find(ctx: &Context<'_>, token: &str) -> Result<Option<(Found, Wrapped)>, Error> {
    if token.is_empty() || token.len() > token::TOKEN_BYTES_MAX {
        return Ok(None);
    }
    let hash = ctx.barrier.token_hash(token.as_bytes());
    let found = token::find(ctx.view, ctx.barrier, &hash, ctx.now_ms)?;
    let Some(found) = found.filter(|found| found.entry.policies == [RESPONSE_WRAPPING]) else {
        return Ok(None);
    };
    let Some(mut kept) = cubbyhole::load(ctx, &hash)? else { return Ok(None) };
    let mut take = |name: &str| kept.value.entries.remove(name);
    let response = take(RESPONSE).and_then(|mut entry| entry.remove(RESPONSE));
    let info = take(INFO).and_then(|info| serde_json::from_value(Value::Object(info)).ok());
    match (response, info) {
        (Some(Value::String(response)), Some(info)) => Ok(Some((found, Wrapped { response, info }))),
        _ => Err(unreadable()),
    }
}

impl Wrapped {
    fn into_reply(self) -> Result<Reply, Error> {
        let text = Zeroizing::new(self.response);
        let response: Response = serde_json::from_str(&text).map_err(|_| unreadable())?;
        let part = |value: Value| {
            let text = || serde_json::to_vec(&value).expect("it was made from JSON");
            (!value.is_null()).then(|| Zeroizing::new(text()))
        };
        Ok(Reply {
            data: part(response.data),
            auth: part(response.auth),
            warnings: response.warnings.unwrap_or_default(),
            lease_duration_s: response.lease_duration,
            ..Reply::empty(response.status)
        })
    }
}

fn unreadable() -> Error {
    Error::Corrupt("a wrapped answer cannot be read".to_owned())
}

#[cfg(test)]
#[path = "wrapping_tests.rs"]
mod tests;
