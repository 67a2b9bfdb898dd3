//! What a client asks next.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use conclave_oracle::history::{Action, Freshness};

use super::Shared;
use crate::random::Random;

/// Keys that are written at one time: few, so that clients meet.
const HOT_KEYS: u64 = 6;
/// How often a key of an earlier epoch is asked for instead, in percent.
const COLD_PERCENT: u64 = 8;
/// Bounds that stale reads ask for.
const STALE_BOUNDS_MS: [u64; 4] = [50, 500, 5_000, 60_000];
/// How often a write has an idempotency key, in percent.
const KEYED_PERCENT: u64 = 50;

pub fn choose(random: &mut Random, shared: &Shared, versions: &HashMap<String, u64>) -> Action {
    let current = shared.epoch.load(Ordering::Relaxed);
    let epoch = if random.chance(COLD_PERCENT) { random.below(current + 1) } else { current };
    let key = key(epoch, random.below(HOT_KEYS));
    match random.below(100) {
        0..33 => Action::Read { key, freshness: Freshness::Linearizable },
        33..45 => {
            let bound_ms = STALE_BOUNDS_MS[random.index(STALE_BOUNDS_MS.len())];
            Action::Read { key, freshness: Freshness::Stale { bound_ms } }
        }
        45..72 => write(random, shared, key, None),
        72..92 => {
            let cas = versions.get(&key).copied().unwrap_or(0);
            write(random, shared, key, Some(cas))
        }
        92..95 => Action::Delete { key },
        95..97 => match versions.get(&key) {
            Some(&version) if version > 0 => Action::Undelete { key, version },
            _ => Action::Delete { key },
        },
        _ => Action::List { folder: folder(epoch) },
    }
}

fn write(random: &mut Random, shared: &Shared, key: String, cas: Option<u64>) -> Action {
    let value = shared.fresh_value();
    let idempotency_key = random.chance(KEYED_PERCENT).then(|| format!("chaos-{value}"));
    Action::Write { key, value, cas, idempotency_key }
}

/// All keys of the epochs up to `last`.
pub fn keys(last: u64) -> impl Iterator<Item = String> {
    (0..=last).flat_map(|epoch| (0..HOT_KEYS).map(move |number| key(epoch, number)))
}

fn folder(epoch: u64) -> String {
    format!("e{epoch}")
}

fn key(epoch: u64, number: u64) -> String {
    format!("{}/k{number}", folder(epoch))
}
