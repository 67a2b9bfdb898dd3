//! The order of durable steps: nothing is answered before it is synced, and nothing that belongs together has a sync
//! in between. What a lost power leaves depends on it, and no test of a living process can see that otherwise.

mod common;

use std::sync::Arc;
use std::sync::Mutex;

use common::{append, blank, log_id, open, vote};
use conclave_faults::failpoint::{self, Point};
use openraft::storage::RaftLogStorage as _;

const LOG: &[Point] = &[
    Point::LogAppend,
    Point::LogAppended,
    Point::LogSync,
    Point::LogSynced,
    Point::VoteSave,
    Point::VoteWritten,
    Point::VoteSynced,
    Point::TruncateBegin,
    Point::TruncateWritten,
    Point::TruncateSynced,
];

/// The points of the log that are passed from now on, in order.
fn passed() -> Arc<Mutex<Vec<Point>>> {
    let passed = Arc::new(Mutex::new(Vec::new()));
    for point in LOG {
        let passed = passed.clone();
        failpoint::watch(*point, move |point| passed.lock().unwrap().push(point));
    }
    passed
}

#[tokio::test]
async fn a_vote_is_one_write_and_synced_before_it_is_given() {
    let _armed = failpoint::arm().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    let passed = passed();
    opened.log.save_vote(&vote(3)).await.unwrap();
    assert_eq!(
        *passed.lock().unwrap(),
        [Point::VoteSave, Point::VoteWritten, Point::LogSync, Point::LogSynced, Point::VoteSynced]
    );
}

#[tokio::test]
async fn entries_are_synced_before_they_are_reported() {
    let _armed = failpoint::arm().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    let passed = passed();
    append(&mut opened.log, vec![blank(0)]).await;
    assert_eq!(
        *passed.lock().unwrap(),
        [Point::LogAppend, Point::LogAppended, Point::LogSync, Point::LogSynced]
    );
}

#[tokio::test]
async fn a_shorter_log_is_on_disk_before_it_grows_again() {
    let _armed = failpoint::arm().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    append(&mut opened.log, (0..5).map(blank).collect()).await;
    let passed = passed();
    opened.log.truncate_after(Some(log_id(1, 2))).await.unwrap();
    assert_eq!(
        *passed.lock().unwrap(),
        [
            Point::TruncateBegin,
            Point::TruncateWritten,
            Point::LogSync,
            Point::LogSynced,
            Point::TruncateSynced
        ]
    );
}
