//! What must hold after every step, seen from outside all nodes at once.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};

use crate::host::Host;
use crate::random::Trace;

/// Compares votes as Raft does: by term, then by node.
type Vote = (u64, u64);

#[derive(Default)]
pub struct Invariants {
    /// Who led: of one term there may be several, each with its own vote.
    leaders: BTreeSet<Vote>,
    /// By index, of what some node has applied.
    hashes: BTreeMap<u64, [u8; 32]>,
    entries: BTreeMap<u64, Vec<u8>>,
    nodes: BTreeMap<u64, Known>,
    pub trace: Trace,
    pub checked: Checked,
}

/// How often each was put to the test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Checked {
    pub leaders: u64,
    pub hashes: u64,
    pub entries: u64,
    pub votes: u64,
}

#[derive(Default)]
struct Known {
    life: u64,
    vote: Vote,
    applied: u64,
    time_ms: u64,
    checked_entries: u64,
}

impl Invariants {
    /// # Errors
    /// What does not hold.
    pub fn check(&mut self, now_us: u64, hosts: &[Host]) -> Result<()> {
        for host in hosts.iter().filter(|host| host.runs()) {
            self.check_node(now_us, host)?;
        }
        Ok(())
    }

    fn check_node(&mut self, now_us: u64, host: &Host) -> Result<()> {
        let Some(cluster) = host.cluster() else { return Ok(()) };
        let node_id = host.node_id;
        let raft = cluster.raft_metrics();
        if let Err(fatal) = &raft.running_state {
            bail!("node {node_id} has stopped: {fatal}");
        }
        let known = self.nodes.entry(node_id).or_default();
        if known.life != host.lives {
            // What was applied may be lost with the power: the log has it.
            (known.life, known.applied, known.time_ms, known.checked_entries) = (host.lives, 0, 0, 0);
        }
        let vote = (raft.vote.leader_id.term, raft.vote.leader_id.node_id);
        ensure!(vote >= known.vote, "the vote of node {node_id} went back from {:?} to {vote:?}", known.vote);
        self.checked.votes += u64::from(vote > known.vote);
        known.vote = vote;
        // Of one report: two of them may be of different moments.
        if raft.state.is_leader() && raft.current_leader == Some(node_id) {
            self.checked.leaders += u64::from(self.leaders.insert((raft.current_term, node_id)));
        }
        let applied = cluster.reader.applied_index();
        let time_ms = cluster.reader.applied_time_ms();
        ensure!(
            applied >= known.applied,
            "node {node_id} went back from entry {} to {applied}",
            known.applied
        );
        ensure!(time_ms >= known.time_ms, "the time of node {node_id} went back to {time_ms}");
        let moved = applied > known.applied;
        (known.applied, known.time_ms) = (applied, time_ms);
        if moved {
            let at = cluster.reader.state_hash()?;
            let hash = *self.hashes.entry(at.index).or_insert(at.hash);
            ensure!(hash == at.hash, "node {node_id} has another state than others at entry {}", at.index);
            self.checked.hashes += 1;
            self.check_log(host, applied)?;
            self.trace.note(&[now_us, node_id, vote.0, vote.1, applied]);
            tracing::trace!(
                now_us,
                node_id,
                term = vote.0,
                voted_for = vote.1,
                applied,
                time_ms,
                "a node has applied"
            );
        }
        Ok(())
    }

    /// What a node has applied stands in every log that has this entry at all.
    fn check_log(&mut self, host: &Host, applied: u64) -> Result<()> {
        let Some(known) = self.nodes.get_mut(&host.node_id) else { return Ok(()) };
        let Some(entries) = host.disk.log_entries() else { return Ok(()) };
        let from = (known.checked_entries + 1).to_be_bytes();
        for (key, entry) in entries.range(from.to_vec()..=applied.to_be_bytes().to_vec()) {
            let index = u64::from_be_bytes(key.as_slice().try_into()?);
            let first = self.entries.entry(index).or_insert_with(|| entry.clone());
            ensure!(first == entry, "node {} has another committed entry {index} than others", host.node_id);
            self.checked.entries += 1;
        }
        known.checked_entries = applied;
        Ok(())
    }
}
