//! Remembers the answer to a change under the name its sender gave it, so that a repeat is applied at most once (I5).
//!
//! Two senders use it: a client with `X-Conclave-Idempotency-Key`, and a node that forwards a write and may lose the
//! leader before the answer. The record is written in the change's own transaction and requires that none exists.

use std::time::Duration;

use conclave_core::Error;
use conclave_core::crypto::Kind;
use conclave_core::plan::{Context, Plan, Reply};
use conclave_faults::{Bug, planted};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::call::Call;
use super::failure::Failure;

/// How long a client's key is remembered.
const KEY_TTL: Duration = Duration::from_secs(24 * 3600);
/// How long a forwarded attempt is remembered: longer than any node repeats it.
const ATTEMPT_TTL: Duration = Duration::from_secs(120);

/// The name of one change, and what it was.
pub struct Name {
    key: Vec<u8>,
    /// A repeat under the same name must be the same request.
    fingerprint: [u8; 32],
    ttl: Duration,
}

impl Name {
    /// The name that `call` goes by, if any.
    pub fn of(ctx: &Context<'_>, call: &Call) -> Option<Self> {
        let (label, name, ttl) = match (&call.headers.idempotency_key, call.attempt.get()) {
            // Keys of two callers never meet.
            (Some(_), _) if planted::is(Bug::IdempotencyIgnored) => return None,
            (Some(key), _) => {
                let token = call.headers.token.as_ref().map_or("", |token| token.expose());
                ("key", digest(&[token.as_bytes(), key.as_bytes()]), KEY_TTL)
            }
            (None, Some(_)) if planted::is(Bug::AttemptIgnored) => return None,
            (None, Some(attempt)) => ("attempt", digest(&[attempt]), ATTEMPT_TTL),
            (None, None) => return None,
        };
        let key = ctx.barrier.key(Kind::Dedup, [label, &hex::encode(name)]);
        let operation = match call.headers.wrap_ttl_s {
            None => format!("{:?}", call.operation),
            Some(ttl_s) => format!("{:?} wrapped for {ttl_s} s", call.operation),
        };
        // A repeat of a login must prove all that the first one did.
        let codes = call.headers.codes.to_headers();
        let mut parts = vec![operation.as_bytes(), call.uri.as_bytes(), &call.body];
        parts.extend(codes.iter().map(|code| code.as_bytes()));
        parts.extend(call.certificates.iter().filter_map(|shown| shown.first()).map(|own| &own[..]));
        let fingerprint = digest(&parts);
        Some(Self { key, fingerprint, ttl })
    }

    /// The answer given before, if this change was made already.
    pub fn recall(&self, ctx: &Context<'_>) -> Result<Option<Reply>, Failure> {
        let Some(record) = ctx.view.get(&self.key)? else { return Ok(None) };
        if record.expires_at_ms <= ctx.now_ms {
            return Ok(None);
        }
        let opened = ctx.barrier.open(&self.key, &record.sealed)?;
        let (fingerprint, rest) = split(&opened.payload, 32)?;
        if fingerprint != self.fingerprint {
            return Err(Failure::invalid(
                "this X-Conclave-Idempotency-Key was used for another request: use a new key for each change",
            ));
        }
        decode_reply(rest).map(Some)
    }

    /// Adds the record of `plan`'s reply to its transaction.
    pub fn remember(&self, ctx: &mut Context<'_>, plan: &mut Plan) -> Result<(), Failure> {
        let mut payload = Zeroizing::new(self.fingerprint.to_vec());
        encode_reply(&plan.reply, &mut payload);
        let sealed = ctx.barrier.seal(&self.key, "", &payload, ctx.rng)?;
        plan.txn.require(self.key.clone(), ctx.view.get(&self.key)?.map_or(0, |expired| expired.revision));
        let expires_at_ms = ctx.now_ms + u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX);
        plan.txn.put_until(self.key.clone(), sealed, expires_at_ms);
        Ok(())
    }
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// What a part of an answer is.
const ABSENT: u8 = 0;
const PRESENT: u8 = 1;
/// In place of `auth`, which a wrapped answer has not.
const WRAP_INFO: u8 = 2;

/// `status u16`, then data and auth or wrap info, each `what it is u8, length u32, JSON`, then the warnings as JSON.
fn encode_reply(reply: &Reply, out: &mut Vec<u8>) {
    out.extend_from_slice(&reply.status.to_be_bytes());
    let second = match &reply.wrap_info {
        Some(_) => (&reply.wrap_info, WRAP_INFO),
        None => (&reply.auth, PRESENT),
    };
    for (part, what) in [(&reply.data, PRESENT), second] {
        let text = part.as_deref().map(Vec::as_slice);
        out.push(if text.is_some() { what } else { ABSENT });
        let text = text.unwrap_or_default();
        out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(text);
    }
    out.extend_from_slice(&serde_json::to_vec(&reply.warnings).unwrap_or_default());
}

fn decode_reply(bytes: &[u8]) -> Result<Reply, Failure> {
    let (status, rest) = split(bytes, 2)?;
    let status = u16::from_be_bytes(status.try_into().map_err(|_| damaged())?);
    let (_, data, rest) = decode_part(rest)?;
    let (what, second, warnings) = decode_part(rest)?;
    let (auth, wrap_info) = if what == WRAP_INFO { (None, second) } else { (second, None) };
    let warnings = serde_json::from_slice(warnings).map_err(|_| damaged())?;
    Ok(Reply { data, auth, wrap_info, warnings, ..Reply::empty(status) })
}

type Part = Option<Zeroizing<Vec<u8>>>;

fn decode_part(bytes: &[u8]) -> Result<(u8, Part, &[u8]), Failure> {
    let (what, rest) = split(bytes, 1)?;
    let (length, rest) = split(rest, 4)?;
    let length = u32::from_be_bytes(length.try_into().map_err(|_| damaged())?);
    let (text, rest) = split(rest, usize::try_from(length).map_err(|_| damaged())?)?;
    Ok((what[0], (what != [ABSENT]).then(|| Zeroizing::new(text.to_vec())), rest))
}

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), Failure> {
    bytes.split_at_checked(at).ok_or_else(damaged)
}

fn damaged() -> Failure {
    Failure::Rule(Error::Corrupt("the record of an earlier answer".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_comes_back_as_it_was() {
        let reply = Reply {
            data: Some(Zeroizing::new(br#"{"version":3}"#.to_vec())),
            auth: Some(Zeroizing::new(br#"{"accessor":"a"}"#.to_vec())),
            warnings: vec!["careful".to_owned()],
            ..Reply::empty(200)
        };
        let mut bytes = Vec::new();
        encode_reply(&reply, &mut bytes);
        let back = decode_reply(&bytes).unwrap();
        assert_eq!((back.status, back.data, back.warnings), (reply.status, reply.data, reply.warnings));
        assert_eq!(back.auth, reply.auth);
        for cut in 0..bytes.len() {
            assert!(decode_reply(&bytes[..cut]).is_err(), "{cut}");
        }
        let wrapped =
            Reply { wrap_info: Some(Zeroizing::new(br#"{"ttl":60}"#.to_vec())), ..Reply::empty(200) };
        let mut bytes = Vec::new();
        encode_reply(&wrapped, &mut bytes);
        let back = decode_reply(&bytes).unwrap();
        assert_eq!((back.data, back.auth, back.wrap_info), (None, None, wrapped.wrap_info));
    }

    #[test]
    fn parts_of_a_name_cannot_run_into_each_other() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    }
}
