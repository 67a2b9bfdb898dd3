//! How far the log is on disk, for the state: it must never be ahead. What is applied can reach the disk at any time (a
//! snapshot flushes it, a full table, the system), and a state that knows entries which its log has lost cannot be told
//! from one whose log was shortened. Other nodes may well commit an entry before this one has synced it.

use std::io;

use tokio::sync::watch;

use crate::error::StorageError;

/// Indexes behind the last entry that was written, and behind the last that was synced.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    written: u64,
    synced: u64,
    /// Nothing more will be synced.
    stopped: bool,
}

/// What the log tells.
#[derive(Debug, Clone)]
pub struct Synced(watch::Sender<Ends>);

/// What the state waits for.
#[derive(Debug)]
pub struct OnDisk(watch::Receiver<Ends>);

impl Synced {
    /// Of a log whose entries end before `end`, all of them on disk.
    pub fn new(end: u64) -> Self {
        Self(watch::Sender::new(Ends { written: end, synced: end, stopped: false }))
    }

    pub fn on_disk(&self) -> OnDisk {
        OnDisk(self.0.subscribe())
    }

    /// Entries before `end` are written, and not known to be on disk yet.
    pub fn wrote(&self, end: u64) {
        self.0.send_if_modified(|ends| {
            ends.written = end;
            false
        });
    }

    /// Entries before `end` are on disk.
    pub fn reached(&self, end: u64) {
        self.0.send_modify(|ends| ends.synced = end);
    }

    /// The log was cut off at `end`, and that is on disk.
    pub fn cut(&self, end: u64) {
        self.0.send_modify(|ends| {
            ends.written = end;
            ends.synced = ends.synced.min(end);
        });
    }

    pub fn stop(&self) {
        self.0.send_modify(|ends| ends.stopped = true);
    }
}

impl OnDisk {
    /// Waits until the entry at `index` is on disk, if it is in the log; tells the first index for which that is not so.
    ///
    /// # Errors
    /// The log has stopped.
    pub async fn wait_for(&mut self, index: u64) -> io::Result<u64> {
        let is_there = |ends: &Ends| ends.stopped || index < ends.synced || index >= ends.written;
        let stopped = || io::Error::from(StorageError::Stopped("the log has stopped".to_owned()));
        let ends = *self.0.wait_for(is_there).await.map_err(|_| stopped())?;
        if index < ends.synced {
            return Ok(ends.synced);
        }
        // It came from elsewhere: the log has nothing to lose of it.
        if index >= ends.written { Ok(u64::MAX) } else { Err(stopped()) }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn now(on_disk: &mut OnDisk, index: u64) -> Option<u64> {
        on_disk.wait_for(index).now_or_never().map(Result::unwrap)
    }

    #[test]
    fn what_is_written_is_waited_for_until_it_is_synced() {
        let log = Synced::new(3);
        let mut on_disk = log.on_disk();
        assert_eq!(now(&mut on_disk, 2), Some(3));
        log.wrote(6);
        assert_eq!((now(&mut on_disk, 2), now(&mut on_disk, 3), now(&mut on_disk, 5)), (Some(3), None, None));
        log.reached(5);
        assert_eq!((now(&mut on_disk, 4), now(&mut on_disk, 5)), (Some(5), None));
        log.reached(6);
        assert_eq!(now(&mut on_disk, 5), Some(6));
    }

    #[test]
    fn what_takes_the_place_of_what_was_cut_off_is_waited_for_again() {
        let log = Synced::new(9);
        let mut on_disk = log.on_disk();
        log.cut(5);
        log.wrote(7);
        assert_eq!((now(&mut on_disk, 4), now(&mut on_disk, 5)), (Some(5), None));
        log.reached(7);
        assert_eq!(now(&mut on_disk, 6), Some(7));
    }

    #[test]
    fn nobody_waits_for_a_log_that_has_stopped() {
        let log = Synced::new(1);
        let mut on_disk = log.on_disk();
        log.wrote(2);
        log.stop();
        assert!(on_disk.wait_for(1).now_or_never().unwrap().is_err());
        assert_eq!(now(&mut on_disk, 0), Some(1));
        let mut orphan = Synced::new(0).on_disk();
        assert!(orphan.wait_for(0).now_or_never().is_some());
    }
}
