//! What the seal's tests share: one cluster, its time and its keys.

use crate::crypto::{Barrier, ClusterId};
use crate::seal::{Initialized, Parameters, StaticKey, initialize};

pub(super) const CLUSTER: ClusterId = [0xc1; 16];
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

pub(super) fn static_key(byte: u8) -> StaticKey {
    StaticKey::new("key-1", &[byte; 32]).unwrap()
}

pub(super) fn shamir(shares: u8, threshold: u8) -> Initialized {
    let parameters = Parameters { shares, threshold, static_key: None };
    initialize(&parameters, CLUSTER, NOW_MS, &mut crate::crypto::testing::seeded(7)).unwrap()
}

pub(crate) fn barrier() -> Barrier {
    Barrier::new(CLUSTER, shamir(1, 1).keyring)
}
