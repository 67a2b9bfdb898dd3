//! What a login that waits was accepted by: its user or role, the settings of its mount, what it has shown. It is finished
//! only while all of that stands as it did, so that what an operator takes back meanwhile is taken back for it as well.

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::plan::Context;
use crate::stored;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Basis(Vec<Pillar>);

/// One record.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pillar {
    #[serde(with = "hex::serde")]
    key: Vec<u8>,
    /// `None`: the login itself wrote it, as it counts the uses of a secret id. Then it must be there.
    revision: Option<u64>,
}

impl Basis {
    /// What `txn` demands from its precondition `from` on. What it uses up stands no more and is not looked for.
    pub fn of(txn: &Txn, from: usize) -> Self {
        let pillar = |precondition: &conclave_proto::log::Precondition| {
            let key = precondition.key.to_vec();
            match txn.writes.iter().rev().find(|write| write.key == precondition.key) {
                None => Some(Pillar { key, revision: Some(precondition.revision) }),
                Some(write) => write.value.as_ref().map(|_| Pillar { key, revision: None }),
            }
        };
        Self(txn.preconditions.iter().skip(from).filter_map(pillar).collect())
    }

    /// Demands of `txn` that all of it still stands.
    ///
    /// # Errors
    /// [`Error::Invalid`]: it does not. [`Error::View`].
    pub fn require(&self, ctx: &Context<'_>, txn: &mut Txn) -> Result<(), Error> {
        for Pillar { key, revision } in &self.0 {
            let stamp = ctx.view.stamp(key)?;
            let stamp = stamp.filter(|stamp| !stored::has_expired(stamp.expires_at_ms, ctx.now_ms));
            let now = stamp.map_or(0, |stamp| stamp.revision);
            if revision.is_some_and(|then| then != now) || (revision.is_none() && now == 0) {
                return Err(Error::invalid("the login does not hold any more: log in again"));
            }
            txn.require(key.clone(), now);
        }
        Ok(())
    }
}
