//! A member that is left over begins a cluster of one, and forgets nothing.

mod common;

use std::path::Path;

use common::{append, apply, batch, get, indexes, log_id, members, open, put, vote};
use conclave_storage::recover::Remains;
use conclave_storage::types::{EntryPayload, Vote};
use conclave_storage::{Options, StorageError};
use openraft::RaftLogReader as _;
use openraft::storage::RaftLogStorage as _;

fn remains(directory: &Path) -> Result<Remains, StorageError> {
    Remains::open(directory, &Options::default()).map(|found| found.expect("a node's directory"))
}

#[tokio::test]
async fn the_survivor_becomes_the_only_member_in_a_term_of_its_own_and_keeps_every_entry() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    opened.log.save_vote(&vote(7)).await.unwrap();
    append(
        &mut opened.log,
        vec![members(0, &[1, 2, 3]), batch(1, 5, vec![put("a", "1")]), members(2, &[1, 2])],
    )
    .await;
    apply(&mut opened.state_machine, vec![members(0, &[1, 2, 3]), batch(1, 5, vec![put("a", "1")])]).await;
    drop(opened);

    let survivor = remains(directory.path()).unwrap();
    assert_eq!((survivor.applied_index(), survivor.last()), (1, Some(log_id(1, 2))));
    let voters: Vec<u64> = survivor.membership().voter_ids().collect();
    assert_eq!(voters, [1, 2], "the newest membership, committed or not");
    let forced = survivor.make_sole_member(2).unwrap();
    drop(survivor);

    let mut opened = open(directory.path());
    assert_eq!(indexes(&mut opened.log).await, [0, 1, 2, 3]);
    let mut reader = opened.log.get_log_reader().await;
    let entry = reader.try_get_log_entries(3..4).await.unwrap().remove(0);
    assert_eq!((entry.log_id, forced.index()), (forced, 3));
    assert!(forced.committed_leader_id().term > 7, "no other node has seen this term");
    let EntryPayload::Membership(alone) = &entry.payload else { panic!("no membership") };
    assert_eq!(alone.voter_ids().collect::<Vec<_>>(), [2]);
    assert_eq!(alone.nodes().map(|(id, _)| *id).collect::<Vec<_>>(), [2]);
    let own = Vote { leader_id: *forced.committed_leader_id(), committed: false };
    assert_eq!(reader.read_vote().await.unwrap(), Some(own));
    assert_eq!(get(&opened.reader, "a").unwrap().sealed, b"1"[..]);
}

#[tokio::test]
async fn an_empty_directory_a_running_node_and_a_stranger_to_the_log_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Remains::open(directory.path(), &Options::default()).unwrap().is_none());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was made");
    let mut opened = open(directory.path());
    opened.log.save_vote(&vote(1)).await.unwrap();
    append(&mut opened.log, vec![members(0, &[1, 2, 3])]).await;
    assert!(matches!(remains(directory.path()), Err(StorageError::InUse { .. })));
    drop(opened);
    let survivor = remains(directory.path()).unwrap();
    assert!(matches!(survivor.make_sole_member(9), Err(StorageError::Damaged(_))));
    assert_eq!(survivor.last(), Some(log_id(1, 0)), "nothing was written");
}
