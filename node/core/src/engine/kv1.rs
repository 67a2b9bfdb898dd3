//! KV v1: one unversioned map a path. What was written is given back digit for digit.
//!
//! ```text
//! payload = [format: 1][lease in seconds: 8, big endian][JSON text of the map]
//! ```

use conclave_proto::path::SecretPath;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::listing::{Listing, Page, keys_reply};
use super::mount::Mount;
use super::records::{self, Address};
use super::text::JsonText;
use crate::crypto::Kind;
use crate::error::Error;
use crate::plan::{Context, Operation, Plan, Reply, Request};
use crate::{duration, fields};

const FORMAT: u8 = 1;
const LEASE_BYTES: usize = 8;
/// Stands for "as the mount says" where the lease would be; no duration is so long.
const LEASE_OF_MOUNT: u64 = u64::MAX;

pub(super) fn handle(context: &mut Context<'_>, mount: &Mount, request: &Request<'_>) -> Result<Plan, Error> {
    match request.operation {
        Operation::Read => read(context, mount, request),
        Operation::Write => write(context, mount, request),
        Operation::Delete => delete(context, mount, request),
        Operation::List | Operation::Scan => list(context, mount, request),
        Operation::Patch => Err(Error::Unsupported),
    }
}

/// A secret as it is stored.
pub(super) struct Secret {
    payload: Zeroizing<Vec<u8>>,
    lease_s: Option<u64>,
}

impl Secret {
    pub(super) fn decode(payload: Zeroizing<Vec<u8>>) -> Result<Self, Error> {
        let lease_s = payload
            .split_first()
            .filter(|(format, _)| **format == FORMAT)
            .and_then(|(_, rest)| rest.first_chunk::<LEASE_BYTES>())
            .map(|bytes| u64::from_be_bytes(*bytes))
            .ok_or_else(|| Error::Corrupt("a KV v1 record has an unknown format".to_owned()))?;
        Ok(Self { payload, lease_s: Some(lease_s).filter(|&lease_s| lease_s != LEASE_OF_MOUNT) })
    }

    fn encode(body: &Map<String, Value>) -> Zeroizing<Vec<u8>> {
        let mut text = JsonText::with_capacity(64);
        text.push(&[FORMAT]);
        text.push(&lease_s(body).unwrap_or(LEASE_OF_MOUNT).to_be_bytes());
        text.push_json(body);
        text.into_bytes()
    }

    pub(super) fn json_text(&self) -> &[u8] {
        &self.payload[1 + LEASE_BYTES..]
    }

    fn into_reply(self, mount: &Mount) -> Reply {
        let mut data = self.payload;
        // In the same buffer, so that no copy stays behind.
        data.drain(..1 + LEASE_BYTES);
        Reply {
            data: Some(data),
            lease_duration_s: self.lease_s.unwrap_or_else(|| mount.effective_default_lease_s()),
            ..Reply::empty(200)
        }
    }
}

/// Vault reads how long a client may keep a secret from its own field `ttl` or `lease`. Bad text is no fault.
fn lease_s(body: &Map<String, Value>) -> Option<u64> {
    let value = body.get("ttl").or_else(|| body.get("lease"))?;
    let seconds = if value.is_null() { Ok(0) } else { duration::from_json_s(value) };
    seconds.ok().map(|seconds| u64::try_from(seconds).unwrap_or(0))
}

fn read(context: &Context<'_>, mount: &Mount, request: &Request<'_>) -> Result<Plan, Error> {
    let address = address(context, mount, super::path_to_read(request.path)?);
    let stored = records::read(context, &address.key)?.ok_or(Error::NotFound)?;
    let mut reply = Secret::decode(stored.payload)?.into_reply(mount);
    reply.warnings = fields::unknown_warning(request.query.names(), &[]);
    Ok(reply.into())
}

fn write(context: &mut Context<'_>, mount: &Mount, request: &Request<'_>) -> Result<Plan, Error> {
    if request.path.is_empty() {
        return Err(Error::invalid("missing path"));
    }
    let path = super::path_to_change(request.path)?;
    if request.body.is_empty() {
        return Err(Error::invalid("missing data fields"));
    }
    let address = address(context, mount, path);
    let mut txn = records::txn_guarded_by(context, mount);
    records::put(context, &mut txn, &address, &Secret::encode(request.body))?;
    Ok(Plan { txn, reply: Reply::no_content() })
}

fn delete(context: &Context<'_>, mount: &Mount, request: &Request<'_>) -> Result<Plan, Error> {
    let address = address(context, mount, super::path_to_change(request.path)?);
    let Some(record) = context.view.get(&address.key)? else { return Ok(Reply::no_content().into()) };
    let mut txn = records::txn_guarded_by(context, mount);
    txn.require(address.key.clone(), record.revision);
    txn.delete(address.key);
    Ok(Plan { txn, reply: Reply::no_content() })
}

fn list(context: &Context<'_>, mount: &Mount, request: &Request<'_>) -> Result<Plan, Error> {
    let listing = Listing {
        kind: Kind::KvV1,
        root: &[mount.uuid()],
        prefix: super::prefix_to_list(request.path)?,
        page: Page::of(request.query)?,
        with_payloads: false,
    };
    let scan = request.operation == Operation::Scan;
    let names = if scan { listing.descendants(context)? } else { listing.children(context)? };
    if names.is_empty() {
        return super::nothing_listed(scan);
    }
    let mut reply = keys_reply(&names);
    reply.warnings = fields::unknown_warning(request.query.names(), &Page::PARAMETERS);
    Ok(reply.into())
}

fn address(context: &Context<'_>, mount: &Mount, path: SecretPath) -> Address {
    Address::of(context.barrier, Kind::KvV1, mount.uuid(), &path)
}

#[cfg(test)]
#[path = "kv1_tests.rs"]
mod tests;
