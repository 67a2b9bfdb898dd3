//! What this node remembers outside its storage: how often it has started, where the members are, and what it has heard of
//! each of them.
//!
//! A node whose storage is damaged finds its cluster by it; a node that was put back in time is told so by what others
//! remember ([`super::recall`]). Nothing here decides who is a member.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use conclave_storage::types::Node;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::durable;

pub const PEER_BOOK_FILE: &str = "peers.json";

/// What a node said of itself, the most of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Heard {
    pub starts: u64,
    pub applied_index: u64,
    pub term: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Record {
    /// Whose book it is: `starts` counts for this id only.
    node_id: u64,
    starts: u64,
    members: BTreeMap<u64, Node>,
    heard: BTreeMap<u64, Heard>,
}

/// The book of one node, kept on disk.
pub struct PeerBook {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    record: Record,
    /// The start that each peer last told of: its id, and how many starts were known of before.
    told: BTreeMap<u64, (u64, u64)>,
    /// Something was heard that is not on disk yet.
    unsaved: bool,
}

impl PeerBook {
    /// Opens the book of `node_id`. One that cannot be read is begun anew: the node then seems to have started less often
    /// than others heard, and rejoins.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(data_dir: &Path, node_id: u64) -> io::Result<Self> {
        let mut record = read(data_dir)?;
        if record.node_id != node_id {
            record = Record { node_id, starts: 0, ..record };
        }
        let state = Mutex::new(State { record, told: BTreeMap::new(), unsaved: false });
        Ok(Self { path: data_dir.join(PEER_BOOK_FILE), state })
    }

    /// The members as the node in `data_dir` last knew them.
    ///
    /// # Errors
    /// What the disk says.
    pub fn members_at(data_dir: &Path) -> io::Result<BTreeMap<u64, Node>> {
        read(data_dir).map(|record| record.members)
    }

    /// Counts this start, durably, and says how many there were with it.
    ///
    /// # Errors
    /// What the disk says.
    pub fn count_start(&self) -> io::Result<u64> {
        let mut state = self.state.lock();
        state.record.starts += 1;
        self.save(&mut state)?;
        Ok(state.record.starts)
    }

    /// Remembers where the members are. The disk is not needed for it until this node has lost what it stored.
    pub fn note_members<'a>(&self, members: impl Iterator<Item = (&'a u64, &'a Node)>) {
        let members: BTreeMap<u64, Node> = members.map(|(node_id, node)| (*node_id, node.clone())).collect();
        let mut state = self.state.lock();
        if members.is_empty() || members == state.record.members {
            return;
        }
        // No id is given twice: what was heard of those who left is of no use any more.
        state.record.heard.retain(|node_id, _| members.contains_key(node_id));
        state.told.retain(|node_id, _| members.contains_key(node_id));
        state.record.members = members;
        if let Err(error) = self.save(&mut state) {
            tracing::warn!(%error, path = %self.path.display(), "the members could not be noted");
        }
    }

    /// What was heard of `peer` before the start that it tells of; that it has started `starts` times is remembered first.
    /// A repeated question, whose answer was lost, gets the same answer: `start_id` is one start's.
    ///
    /// # Errors
    /// What the disk says: then nothing may be answered.
    pub fn hear_start(&self, peer: u64, starts: u64, start_id: u64) -> io::Result<Heard> {
        let mut state = self.state.lock();
        let heard = state.record.heard.entry(peer).or_default();
        let before = *heard;
        if starts > before.starts {
            heard.starts = starts;
            self.save(&mut state)?;
        }
        match state.told.get(&peer) {
            Some((told, starts)) if *told == start_id => Ok(Heard { starts: *starts, ..before }),
            _ => {
                state.told.insert(peer, (start_id, before.starts));
                Ok(before)
            }
        }
    }

    /// Remembers how far `peer` said that it is; on disk with the next [`PeerBook::flush`].
    pub fn hear_progress(&self, peer: u64, applied_index: u64, term: u64) {
        let mut state = self.state.lock();
        let heard = state.record.heard.entry(peer).or_default();
        let before = *heard;
        heard.applied_index = before.applied_index.max(applied_index);
        heard.term = before.term.max(term);
        if *heard != before {
            state.unsaved = true;
        }
    }

    /// Puts on disk what was heard.
    pub fn flush(&self) {
        let mut state = self.state.lock();
        if !state.unsaved {
            return;
        }
        if let Err(error) = self.save(&mut state) {
            tracing::warn!(%error, path = %self.path.display(), "what was heard of others could not be noted");
        }
    }

    fn save(&self, state: &mut State) -> io::Result<()> {
        durable::write(&self.path, &serde_json::to_vec(&state.record)?)?;
        state.unsaved = false;
        Ok(())
    }
}

fn read(data_dir: &Path) -> io::Result<Record> {
    let path = data_dir.join(PEER_BOOK_FILE);
    let Some(content) = durable::read(&path)? else { return Ok(Record::default()) };
    Ok(serde_json::from_slice(&content).unwrap_or_else(|error| {
        tracing::warn!(%error, path = %path.display(), "the book of peers cannot be read and is begun anew");
        Record::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Node {
        Node { name: name.to_owned(), ..Node::default() }
    }

    #[test]
    fn starts_are_counted_over_restarts_and_anew_under_another_id() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(PeerBook::open(dir.path(), 1).unwrap().count_start().unwrap(), 1);
        assert_eq!(PeerBook::open(dir.path(), 1).unwrap().count_start().unwrap(), 2);
        assert_eq!(PeerBook::open(dir.path(), 7).unwrap().count_start().unwrap(), 1);
        // A book that was put back, or lost, has fewer than others heard.
        std::fs::write(dir.path().join(PEER_BOOK_FILE), b"{").unwrap();
        assert_eq!(PeerBook::open(dir.path(), 7).unwrap().count_start().unwrap(), 1);
    }

    #[test]
    fn what_was_heard_of_a_peer_never_shrinks_and_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let book = PeerBook::open(dir.path(), 1).unwrap();
        book.note_members([(&1, &node("n1")), (&2, &node("n2"))].into_iter());
        assert_eq!(book.hear_start(2, 5, 1).unwrap(), Heard::default());
        assert_eq!(book.hear_start(2, 5, 1).unwrap(), Heard::default(), "asked again by the same start");
        book.hear_progress(2, 100, 7);
        book.hear_progress(2, 90, 6);
        book.flush();
        let book = PeerBook::open(dir.path(), 1).unwrap();
        let heard = Heard { starts: 5, applied_index: 100, term: 7 };
        assert_eq!(book.hear_start(2, 3, 2).unwrap(), heard);
        assert_eq!(book.hear_start(2, 5, 3).unwrap(), heard);
        book.note_members([(&1, &node("n1")), (&3, &node("n2"))].into_iter());
        assert_eq!(book.hear_start(2, 5, 4).unwrap(), Heard::default());
        assert_eq!(PeerBook::members_at(dir.path()).unwrap().keys().copied().collect::<Vec<_>>(), [1, 3]);
    }
}
