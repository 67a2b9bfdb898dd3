//! What a client asks next.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use conclave_oracle::history::{Action, Freshness};
use conclave_oracle::place::{FLEETING, METADATA, PLAIN};

use super::{LASTS_MS, Shared};
use crate::random::Random;

/// Keys that are written at one time: few, so that clients meet.
const HOT_KEYS: u64 = 6;
/// The same of each other kind of secret.
const OTHER_KEYS: u64 = 3;
/// How often a key of an earlier epoch is asked for instead, in percent.
const COLD_PERCENT: u64 = 8;
/// Bounds that stale reads ask for.
const STALE_BOUNDS_MS: [u64; 4] = [50, 500, 5_000, 60_000];
/// How often a write has an idempotency key, in percent.
const KEYED_PERCENT: u64 = 50;
/// How often a secret that goes by itself is written and not read, in percent.
const FLEETING_WRITE_PERCENT: u64 = 20;
/// How far back a read of a version by its number goes: some further than versions are kept.
const VERSIONS_BACK: u64 = 13;

pub fn choose(random: &mut Random, shared: &Shared, versions: &HashMap<String, u64>) -> Action {
    let (oldest, current) =
        (shared.oldest_epoch.load(Ordering::Relaxed), shared.epoch.load(Ordering::Relaxed));
    let old = random.chance(COLD_PERCENT);
    let epoch = if old { oldest + random.below(current - oldest + 1) } else { current };
    match random.below(100) {
        0..12 => plain(random, shared, epoch),
        12..20 => note(random, shared, epoch),
        20..28 => fleeting(random, shared),
        _ => versioned(random, shared, epoch, versions),
    }
}

fn versioned(random: &mut Random, shared: &Shared, epoch: u64, versions: &HashMap<String, u64>) -> Action {
    let key = key(epoch, random.below(HOT_KEYS));
    let known = versions.get(&key).copied().unwrap_or(0);
    match random.below(100) {
        0..29 => linearizable(key),
        29..40 => stale(random, key),
        40..65 => write(random, shared, key, None),
        65..84 => write(random, shared, key, Some(known)),
        84..87 => Action::Delete { key },
        87..89 if known > 0 => Action::Undelete { key, version: known },
        89 if known > 0 => Action::Destroy { key, version: back(random, known, 2) },
        90..95 if known > 0 => Action::ReadVersion { key, version: back(random, known, VERSIONS_BACK) },
        _ => Action::List { folder: folder(epoch) },
    }
}

/// A version not newer than `known`.
fn back(random: &mut Random, known: u64, span: u64) -> u64 {
    known - random.below(span.min(known))
}

fn plain(random: &mut Random, shared: &Shared, epoch: u64) -> Action {
    let folder = format!("{PLAIN}/{}", folder(epoch));
    let key = format!("{folder}/p{}", random.below(OTHER_KEYS));
    match random.below(100) {
        0..30 => linearizable(key),
        30..40 => stale(random, key),
        40..70 => write(random, shared, key, None),
        70..85 => Action::Delete { key },
        _ => Action::List { folder },
    }
}

/// The notes belong to secrets that other clients write at the same time: both change one record.
fn note(random: &mut Random, shared: &Shared, epoch: u64) -> Action {
    let key = format!("{METADATA}/{}", key(epoch, random.below(OTHER_KEYS)));
    if random.chance(50) { write(random, shared, key, None) } else { linearizable(key) }
}

/// Each is written once, and read by all for longer than it lasts.
fn fleeting(random: &mut Random, shared: &Shared) -> Action {
    match shared.recent.pick(random) {
        Some(key) if !random.chance(FLEETING_WRITE_PERCENT) => linearizable(key),
        _ => {
            let value = shared.fresh_value();
            let key = format!("{FLEETING}{LASTS_MS}/f{value}");
            shared.recent.add(key.clone());
            Action::Write { key, value, cas: None, idempotency_key: None }
        }
    }
}

fn linearizable(key: String) -> Action {
    Action::Read { key, freshness: Freshness::Linearizable }
}

fn stale(random: &mut Random, key: String) -> Action {
    let bound_ms = STALE_BOUNDS_MS[random.index(STALE_BOUNDS_MS.len())];
    Action::Read { key, freshness: Freshness::Stale { bound_ms } }
}

fn write(random: &mut Random, shared: &Shared, key: String, cas: Option<u64>) -> Action {
    let value = shared.fresh_value();
    let idempotency_key = random.chance(KEYED_PERCENT).then(|| format!("chaos-{value}"));
    Action::Write { key, value, cas, idempotency_key }
}

/// All keys of these epochs that last.
pub fn keys(epochs: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = String> {
    epochs.flat_map(|epoch| {
        let versioned = (0..HOT_KEYS).map(move |number| key(epoch, number));
        let plain = (0..OTHER_KEYS).map(move |number| format!("{PLAIN}/{}/p{number}", folder(epoch)));
        let notes = (0..OTHER_KEYS).map(move |number| format!("{METADATA}/{}", key(epoch, number)));
        versioned.chain(plain).chain(notes)
    })
}

/// All folders of these epochs.
pub fn folders(epochs: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = String> {
    epochs.flat_map(|epoch| [folder(epoch), format!("{PLAIN}/{}", folder(epoch))])
}

fn folder(epoch: u64) -> String {
    format!("e{epoch}")
}

fn key(epoch: u64, number: u64) -> String {
    format!("{}/k{number}", folder(epoch))
}
