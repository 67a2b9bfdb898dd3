//! What the seal's tests share: a state in memory that applies transactions as the replicas do.

use std::collections::BTreeMap;

use conclave_proto::log::Txn;

use crate::crypto::{Barrier, ClusterId};
use crate::seal::{Initialized, Parameters, StaticKey, initialize};
use crate::view::{Cursor, Record, View, ViewError};

pub(super) const CLUSTER: ClusterId = [0xc1; 16];
pub(super) const NOW_MS: u64 = 1_700_000_000_000;

#[derive(Default)]
pub(super) struct State {
    records: BTreeMap<Vec<u8>, Record>,
    revision: u64,
}

impl State {
    /// Applies the transaction, or tells which precondition does not hold.
    pub(super) fn apply(&mut self, txn: &Txn) -> Result<(), usize> {
        let revision_of = |key: &[u8]| self.records.get(key).map_or(0, |record| record.revision);
        let failed = txn.preconditions.iter().position(|pre| revision_of(&pre.key) != pre.revision);
        if let Some(failed) = failed {
            return Err(failed);
        }
        self.revision += 1;
        for write in &txn.writes {
            let key = write.key.to_vec();
            match &write.value {
                Some(value) => {
                    let record = Record {
                        revision: self.revision,
                        expires_at_ms: write.expires_at_ms,
                        sealed: value.to_vec(),
                    };
                    self.records.insert(key, record);
                }
                None => {
                    self.records.remove(&key);
                }
            }
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether `bytes` stand anywhere in a key or a value.
    pub(super) fn contains(&self, bytes: &[u8]) -> bool {
        let holds = |text: &[u8]| text.windows(bytes.len()).any(|window| window == bytes);
        self.records.iter().any(|(key, record)| holds(key) || holds(&record.sealed))
    }

    pub(super) fn damage(&mut self, key: &[u8]) {
        *self.records.get_mut(key).unwrap().sealed.last_mut().unwrap() ^= 1;
    }
}

impl View for State {
    fn get(&self, key: &[u8]) -> Result<Option<Record>, ViewError> {
        Ok(self.records.get(key).cloned())
    }

    fn cursor(&self) -> Box<dyn Cursor + '_> {
        Box::new(Walk(&self.records))
    }
}

struct Walk<'a>(&'a BTreeMap<Vec<u8>, Record>);

impl Cursor for Walk<'_> {
    fn seek(&mut self, from: &[u8]) -> Result<Option<(Vec<u8>, Record)>, ViewError> {
        Ok(self.0.range(from.to_vec()..).next().map(|(key, record)| (key.clone(), record.clone())))
    }
}

pub(super) fn static_key(byte: u8) -> StaticKey {
    StaticKey::new("key-1", &[byte; 32]).unwrap()
}

pub(super) fn shamir(shares: u8, threshold: u8) -> Initialized {
    let parameters = Parameters { shares, threshold, static_key: None };
    initialize(&parameters, CLUSTER, NOW_MS, &mut crate::crypto::testing::seeded(7)).unwrap()
}

pub(super) fn barrier() -> Barrier {
    Barrier::new(CLUSTER, shamir(1, 1).keyring)
}
