//! The newest entries of the log, in memory, so that they need not be read back to be replicated and applied.

use std::collections::VecDeque;

use crate::types::Entry;

/// Encoded bytes of the entries in memory, about; the newest is there in any case.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Consecutive entries up to the log's last, or none.
#[derive(Default)]
pub struct Tail {
    /// With their encoded sizes.
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
}

impl Tail {
    /// Adds entries that follow the log's last, oldest first.
    pub fn append(&mut self, entries: impl IntoIterator<Item = (Entry, usize)>) {
        for (entry, bytes) in entries {
            self.bytes += bytes;
            self.entries.push_back((entry, bytes));
        }
        while self.bytes > BYTES_MAX && self.entries.len() > 1 {
            self.forget_first();
        }
    }

    /// Forgets the entries from `from` on, as the log has.
    pub fn truncate(&mut self, from: u64) {
        while let Some((_, bytes)) = self.entries.pop_back_if(|(entry, _)| entry.log_id.index() >= from) {
            self.bytes -= bytes;
        }
    }

    /// Forgets the entries up to `upto`, as the log has.
    pub fn purge(&mut self, upto: u64) {
        while self.first_index().is_some_and(|first| first <= upto) {
            self.forget_first();
        }
    }

    /// The entries of `[start, end)`, which the log has: the first in any case, further ones while they fit `bytes_max`.
    /// `None`: not all of them are in memory.
    pub fn read(&self, start: u64, end: u64, bytes_max: usize) -> Option<Vec<Entry>> {
        let skipped = start.checked_sub(self.first_index()?)?;
        let wanted = self.entries.range(usize::try_from(skipped).ok()?..);
        let mut read = Vec::new();
        let mut bytes = 0;
        for (entry, size) in wanted.take_while(|(entry, _)| entry.log_id.index() < end) {
            bytes += size;
            if bytes > bytes_max && !read.is_empty() {
                break;
            }
            read.push(entry.clone());
        }
        Some(read)
    }

    fn first_index(&self) -> Option<u64> {
        self.entries.front().map(|(entry, _)| entry.log_id.index())
    }

    fn forget_first(&mut self) {
        if let Some((_, bytes)) = self.entries.pop_front() {
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId as _;

    use super::*;
    use crate::types::{EntryPayload, LeaderId, LogId};

    fn entries(indexes: std::ops::Range<u64>, bytes: usize) -> impl Iterator<Item = (Entry, usize)> {
        let id = |index| LogId::new(LeaderId::new(1, 1), index);
        indexes.map(move |index| (Entry { log_id: id(index), payload: EntryPayload::Blank }, bytes))
    }

    fn read(tail: &Tail, start: u64, end: u64, bytes_max: usize) -> Option<Vec<u64>> {
        let entries = tail.read(start, end, bytes_max)?;
        Some(entries.iter().map(|entry| entry.log_id.index()).collect())
    }

    #[test]
    fn it_answers_only_for_what_it_has_whole() {
        let mut tail = Tail::default();
        assert_eq!(read(&tail, 0, 1, usize::MAX), None);
        tail.append(entries(5..10, 1));
        assert_eq!(read(&tail, 4, 6, usize::MAX), None);
        assert_eq!(read(&tail, 5, 7, usize::MAX), Some(vec![5, 6]));
        assert_eq!(read(&tail, 8, 10, usize::MAX), Some(vec![8, 9]));
        assert_eq!(read(&tail, 5, 10, 2), Some(vec![5, 6]));
        assert_eq!(read(&tail, 5, 10, 0), Some(vec![5]), "the first comes in any case");
    }

    #[test]
    fn it_ends_and_begins_where_the_log_does() {
        let mut tail = Tail::default();
        tail.append(entries(0..10, 1));
        tail.truncate(8);
        tail.append(entries(8..9, 3));
        tail.purge(3);
        assert_eq!(read(&tail, 4, 9, usize::MAX), Some(vec![4, 5, 6, 7, 8]));
        assert_eq!(read(&tail, 3, 9, usize::MAX), None);
        assert_eq!(tail.bytes, 4 + 3);
        tail.truncate(0);
        assert_eq!((tail.entries.len(), tail.bytes), (0, 0));
        tail.append(entries(2..4, 1));
        tail.purge(9);
        assert_eq!((tail.entries.len(), tail.bytes), (0, 0));
    }

    #[test]
    fn it_is_bounded_and_keeps_the_newest() {
        let mut tail = Tail::default();
        tail.append(entries(0..10, BYTES_MAX / 4));
        assert_eq!(read(&tail, 6, 10, usize::MAX), Some(vec![6, 7, 8, 9]));
        assert_eq!(read(&tail, 5, 10, usize::MAX), None);
        tail.append(entries(10..11, 3 * BYTES_MAX));
        assert_eq!(read(&tail, 10, 11, 0), Some(vec![10]));
        assert_eq!(tail.entries.len(), 1);
    }
}
