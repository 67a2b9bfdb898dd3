//! What the harness itself has done to a node: who may start it, what its log may say, and whose data is gone.

use std::ops::Range;

use super::{Cluster, name};

/// What a server says when its cluster has given it a new place.
const TAKEN_BACK: &str = "this node is taken back";

/// One node's.
#[derive(Debug, Default)]
pub struct Condition {
    /// Its disk or its files are in a fault's hands: nobody else may start it.
    taken: bool,
    /// Its data is damaged, old or gone. It counts until the cluster has healed.
    spoiled: Option<Spoiled>,
    /// Since this place in its log it may end by itself, and complain of its data.
    excused_from: Option<u64>,
    excused: Vec<Range<u64>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoiled {
    /// What it holds is not to be trusted: it has to be replaced.
    Untrusted,
    /// It begins anew, and is on its way back.
    Replaced,
}

impl Cluster {
    /// Takes the node's disk for one fault. Whether it was free.
    pub fn take(&self, node: usize) -> bool {
        let mut condition = self.conditions[node].lock();
        !std::mem::replace(&mut condition.taken, true)
    }

    pub fn give_back(&self, node: usize) {
        self.conditions[node].lock().taken = false;
    }

    pub fn is_taken(&self, node: usize) -> bool {
        self.conditions[node].lock().taken
    }

    /// From now on and until the cluster has healed, the node's end is not held against the server, nor what its log
    /// says of its disk.
    pub fn excuse(&self, node: usize) {
        let at = self.log_length(node);
        self.conditions[node].lock().excused_from.get_or_insert(at);
    }

    pub fn is_excused(&self, node: usize) -> bool {
        self.conditions[node].lock().excused_from.is_some()
    }

    /// Marks the node as one whose data is lost, unless that were more than a minority: no cluster survives that.
    pub fn spoil(&self, node: usize) -> bool {
        let others = (0..self.nodes()).filter(|other| *other != node);
        let spoiled = others.filter(|other| self.conditions[*other].lock().spoiled.is_some()).count();
        if spoiled + 1 > minority(self.nodes()) {
            return false;
        }
        self.conditions[node].lock().spoiled.get_or_insert(Spoiled::Untrusted);
        true
    }

    pub fn spoiled(&self, node: usize) -> Option<Spoiled> {
        self.conditions[node].lock().spoiled
    }

    /// Whether the node itself has noticed what was done to its data since then, and has come back with nothing.
    pub fn was_taken_back(&self, node: usize) -> bool {
        let from = self.conditions[node].lock().excused_from;
        from.is_some_and(|from| self.log_since(node, from).contains(TAKEN_BACK))
    }

    pub fn note_replaced(&self, node: usize) {
        self.conditions[node].lock().spoiled = Some(Spoiled::Replaced);
    }

    /// All serve: whatever happens from now on has no excuse.
    pub fn end_excuses(&self) {
        for (node, condition) in self.conditions.iter().enumerate() {
            let at = self.log_length(node);
            let mut condition = condition.lock();
            condition.spoiled = None;
            if let Some(from) = condition.excused_from.take() {
                condition.excused.push(from..at);
            }
        }
    }

    /// Places in the node's log where it may complain of its data.
    pub fn excuses(&self, node: usize) -> Vec<Range<u64>> {
        let condition = self.conditions[node].lock();
        let open = condition.excused_from.map(|from| from..u64::MAX);
        condition.excused.iter().cloned().chain(open).collect()
    }

    /// What the node has logged since its log had this length.
    pub fn log_since(&self, node: usize, length: u64) -> String {
        let bytes = std::fs::read(self.log(node)).unwrap_or_default();
        let from = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
        String::from_utf8_lossy(&bytes[from..]).into_owned()
    }

    pub fn log_length(&self, node: usize) -> u64 {
        std::fs::metadata(self.log(node)).map_or(0, |metadata| metadata.len())
    }

    /// Notes servers that ended by themselves, so that they are started again, and told of in the report.
    pub fn note_deaths(&self) {
        for (node, process) in self.processes.iter().enumerate() {
            let mut process = process.lock();
            if let Some(status) = process.as_mut().and_then(super::Process::ended) {
                *process = None;
                if !self.is_excused(node) {
                    self.deaths.lock().push(format!("{} ended by itself ({status})", name(node)));
                }
            }
        }
    }

    /// Servers that ended although nobody killed them and nothing excused it.
    pub fn deaths(&self) -> Vec<String> {
        self.deaths.lock().clone()
    }
}

/// How many nodes a cluster can lose for good.
pub fn minority(nodes: usize) -> usize {
    (nodes - 1) / 2
}
