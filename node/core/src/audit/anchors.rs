//! Heads of trails, noted in the replicated state: whoever changes a node's files cannot change what a majority of the
//! nodes has noted of them.

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};

use super::chain::Head;
use crate::crypto::{Kind, plain_key};
use crate::error::Error;
use crate::plan::Context;

/// Heads kept of each trail. The newest proves all before it; older ones tell since when a trail is not the one it was.
const HEADS_PER_TRAIL: usize = 16;
/// Heads kept at all, so that the record stays small: those of trails that are long gone make room.
const HEADS_MAX: usize = 1_024;
/// What the record is sealed with for a path.
const PATH: &str = "audit-anchors";

/// A head, and when the cluster noted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    #[serde(flatten)]
    pub head: Head,
    /// Unix milliseconds of the cluster's time.
    pub noted_ms: u64,
}

/// All that is noted, the oldest first, and the record's revision.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`]: the record cannot be read.
pub fn anchors(ctx: &Context<'_>) -> Result<(Vec<Anchor>, u64), Error> {
    let key = plain_key(Kind::AuditAnchors);
    let Some(record) = ctx.view.get(&key)? else { return Ok((Vec::new(), 0)) };
    let opened = ctx.barrier.open(&key, &record.sealed)?;
    let anchors = serde_json::from_slice(&opened.payload)
        .map_err(|_| Error::Corrupt("the record of audit trails' heads is malformed".to_owned()))?;
    Ok((anchors, record.revision))
}

/// Notes `heads`; `None`: none of them has moved since they were noted.
///
/// # Errors
/// As [`anchors`].
pub fn plan_anchors(ctx: &mut Context<'_>, heads: &[Head]) -> Result<Option<Txn>, Error> {
    let (mut kept, revision) = anchors(ctx)?;
    let mut moved = false;
    for head in heads.iter().filter(|head| head.number > 0) {
        let is_same = |anchor: &&Anchor| is_of_one_trail(&anchor.head, head);
        if kept.iter().rev().find(is_same).is_some_and(|anchor| anchor.head == *head) {
            continue;
        }
        moved = true;
        let count = kept.iter().filter(is_same).count();
        if count >= HEADS_PER_TRAIL
            && let Some(oldest) = kept.iter().position(|anchor| is_same(&anchor))
        {
            kept.remove(oldest);
        }
        kept.push(Anchor { head: head.clone(), noted_ms: ctx.now_ms });
    }
    if !moved {
        return Ok(None);
    }
    kept.drain(..kept.len().saturating_sub(HEADS_MAX));
    let key = plain_key(Kind::AuditAnchors);
    let payload = serde_json::to_vec(&kept).expect("text and numbers always become JSON");
    let mut txn = Txn::default();
    txn.require(key.clone(), revision);
    txn.put(key.clone(), ctx.barrier.seal(&key, PATH, &payload, ctx.rng)?);
    Ok(Some(txn))
}

fn is_of_one_trail(one: &Head, other: &Head) -> bool {
    one.node == other.node && one.device == other.device
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::Bench;

    fn head(node: &str, number: u64) -> Head {
        Head { node: node.to_owned(), device: "file".to_owned(), number, hash: [number as u8; 32] }
    }

    fn note(bench: &mut Bench, heads: &[Head]) -> bool {
        let txn = plan_anchors(&mut bench.context(), heads).unwrap();
        txn.is_some_and(|txn| bench.view.apply(&txn).is_ok())
    }

    fn numbers(bench: &mut Bench, node: &str) -> Vec<u64> {
        let (anchors, _) = anchors(&bench.context()).unwrap();
        anchors.iter().filter(|anchor| anchor.head.node == node).map(|anchor| anchor.head.number).collect()
    }

    #[test]
    fn a_head_is_noted_once_and_the_newest_stay() {
        let mut bench = Bench::new();
        assert!(!note(&mut bench, &[head("n1", 0)]), "there is no line yet");
        assert!(note(&mut bench, &[head("n1", 1)]));
        assert!(!note(&mut bench, &[head("n1", 1)]), "it has not moved");
        assert!(note(&mut bench, &[head("n2", 9)]));
        for number in 2..=40 {
            assert!(note(&mut bench, &[head("n1", number)]));
        }
        assert_eq!(numbers(&mut bench, "n1"), (25..=40).collect::<Vec<_>>());
        assert_eq!(numbers(&mut bench, "n2"), [9], "another trail lost its place");
    }

    #[test]
    fn two_nodes_that_note_at_once_do_not_undo_each_other() {
        let mut bench = Bench::new();
        let one = plan_anchors(&mut bench.context(), &[head("n1", 1)]).unwrap().unwrap();
        let other = plan_anchors(&mut bench.context(), &[head("n2", 1)]).unwrap().unwrap();
        assert!(bench.view.apply(&one).is_ok());
        assert!(bench.view.apply(&other).is_err());
    }
}
