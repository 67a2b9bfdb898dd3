//! Records that hold one value as JSON: read and written the same way, whatever they are of.

use conclave_proto::log::Txn;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::crypto::{Barrier, Kind, after_prefix, plain_key};
use crate::error::Error;
use crate::plan::Context;
use crate::view::View;

/// A record that was read.
#[derive(Debug, Clone)]
pub struct Stored<T> {
    /// What a transaction must require if it was decided from this record.
    pub revision: u64,
    /// Unix milliseconds of the cluster's time from which it is gone; 0: never.
    pub expires_at_ms: u64,
    pub value: T,
}

/// Reads the record at `key`, if there is one and it has not expired at `now_ms`.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`]: it cannot be read.
pub fn load<T: DeserializeOwned>(
    view: &dyn View,
    barrier: &Barrier,
    key: &[u8],
    now_ms: u64,
) -> Result<Option<Stored<T>>, Error> {
    let Some(record) = view.get(key)? else { return Ok(None) };
    if has_expired(record.expires_at_ms, now_ms) {
        return Ok(None);
    }
    let opened = barrier.open(key, &record.sealed)?;
    let value = serde_json::from_slice(&opened.payload).map_err(|_| unknown())?;
    Ok(Some(Stored { revision: record.revision, expires_at_ms: record.expires_at_ms, value }))
}

/// Writes the record at `key`, which is gone from `expires_at_ms` on (0: never). `path` is sealed with it.
///
/// # Errors
/// [`Error::TooLarge`], or the active key has sealed too much.
pub fn put<T: Serialize>(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    key: &[u8],
    path: &str,
    value: &T,
    expires_at_ms: u64,
) -> Result<(), Error> {
    let payload = Zeroizing::new(serde_json::to_vec(value).expect("text and numbers always become JSON"));
    let sealed = ctx.barrier.seal(key, path, &payload, ctx.rng)?;
    txn.put_until(key.to_vec(), sealed, expires_at_ms);
    Ok(())
}

/// Storage drops what has expired in its own time; nobody may see it meanwhile.
pub fn has_expired(expires_at_ms: u64, now_ms: u64) -> bool {
    expires_at_ms != 0 && expires_at_ms <= now_ms
}

/// Calls `visit` with all records of a kind that have not expired, in the order of their keys, which is that of nothing.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`], and what `visit` says.
pub fn each<T: DeserializeOwned>(
    view: &dyn View,
    barrier: &Barrier,
    kind: Kind,
    now_ms: u64,
    mut visit: impl FnMut(T) -> Result<(), Error>,
) -> Result<(), Error> {
    let prefix = plain_key(kind);
    let mut cursor = view.cursor();
    let mut found = cursor.seek(&prefix)?;
    while let Some((key, record)) = found.take().filter(|(key, _)| key.starts_with(&prefix)) {
        if !has_expired(record.expires_at_ms, now_ms) {
            let payload = barrier.open(&key, &record.sealed)?.payload;
            visit(serde_json::from_slice(&payload).map_err(|_| unknown())?)?;
        }
        found = match after_prefix(&key) {
            Some(next) => cursor.seek(&next)?,
            None => None,
        };
    }
    Ok(())
}

/// The last segments of the paths that the records below a key are sealed with, in order.
///
/// # Errors
/// [`Error::TooLarge`]: there are more than one answer can name. [`Error::Corrupt`], [`Error::View`].
pub fn names_below(
    view: &dyn View,
    barrier: &Barrier,
    prefix: &[u8],
    now_ms: u64,
) -> Result<Vec<String>, Error> {
    let names = first_names_below(view, barrier, prefix, now_ms, NAMES_MAX + 1)?;
    if names.len() > NAMES_MAX {
        return Err(Error::TooLarge(format!("there are more than {NAMES_MAX} names")));
    }
    Ok(names)
}

/// As [`names_below`], but so many at most, of which nobody knows which.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn first_names_below(
    view: &dyn View,
    barrier: &Barrier,
    prefix: &[u8],
    now_ms: u64,
    max: usize,
) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let mut cursor = view.cursor();
    let mut found = cursor.seek(prefix)?;
    while let Some((key, record)) = found.take().filter(|(key, _)| key.starts_with(prefix)) {
        if !has_expired(record.expires_at_ms, now_ms) {
            let path = barrier.open(&key, &record.sealed)?.path;
            names.push(path.rsplit('/').next().unwrap_or_default().to_owned());
        }
        if names.len() >= max {
            break;
        }
        found = match after_prefix(&key) {
            Some(next) => cursor.seek(&next)?,
            None => None,
        };
    }
    names.sort_unstable();
    Ok(names)
}

/// Names of one answer at most.
const NAMES_MAX: usize = 100_000;

/// A record of a later program.
pub fn unknown() -> Error {
    Error::Corrupt("a record is not of a kind that this program knows".to_owned())
}
