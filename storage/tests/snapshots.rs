//! Snapshots: what they hold, how they are installed, and what is left of them.

mod common;

use std::path::Path;

use common::{apply, batch, blank, export, get, log_id, members, open, put, vote};
use conclave_storage::convert::snapshot_meta_to_proto;
use conclave_storage::types::TypeConfig;
use conclave_storage::{SnapshotData, StateMachine, StorageError};
use openraft::StorageHelper;
use openraft::storage::{RaftLogStorage as _, RaftSnapshotBuilder as _, RaftStateMachine as _};

async fn build(state_machine: &mut StateMachine) -> SnapshotData {
    let mut builder = state_machine.try_create_snapshot_builder(true).await.unwrap();
    builder.build_snapshot().await.unwrap().snapshot
}

/// A node that applied a membership and `records` records, at index `records` + 1.
async fn leader(directory: &Path, records: u64) -> conclave_storage::Opened {
    let mut opened = open(directory);
    opened.log.save_vote(&vote(1)).await.unwrap();
    let mut entries = vec![blank(0), members(1, &[1, 2, 3])];
    entries.extend((2..records + 2).map(|index| batch(index, 5, vec![put(format!("k{index}"), "v")])));
    apply(&mut opened.state_machine, entries).await;
    opened
}

fn folders(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| path.join(name).is_dir())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_installed_snapshot_is_the_state_and_the_current_snapshot_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut source = leader(&directory.path().join("a"), 10).await;
    let snapshot = build(&mut source.state_machine).await;
    assert_eq!(snapshot.id(), "1-1-11");
    assert_eq!(snapshot.meta().last_log_id, Some(log_id(1, 11)));
    assert_eq!(snapshot.meta().last_membership, *source.reader.membership(), "Raft goes by what it tells");

    let follower = directory.path().join("b");
    let mut target = open(&follower);
    target.log.save_vote(&vote(1)).await.unwrap();
    apply(&mut target.state_machine, vec![blank(0), batch(1, 1, vec![put("old", "v")])]).await;
    let mut applied = target.reader.applied();
    assert_eq!(*applied.borrow_and_update(), 1);
    target.state_machine.install_snapshot(snapshot.meta(), snapshot.clone()).await.unwrap();

    assert_eq!(*applied.borrow_and_update(), 11, "those who wait are told");
    assert!(export(&target.reader) == export(&source.reader));
    assert_eq!(target.reader.state_hash().unwrap(), source.reader.state_hash().unwrap());
    assert_eq!(target.reader.membership(), source.reader.membership());
    assert_eq!(target.reader.membership().voter_ids().count(), 3);
    // It goes on from there.
    let next = || vec![batch(12, 6, vec![put("new", "v")])];
    target.log.purge(log_id(1, 11)).await.unwrap();
    common::append(&mut target.log, next()).await;
    apply(&mut target.state_machine, next()).await;
    apply(&mut source.state_machine, next()).await;
    assert_eq!(target.reader.state_hash().unwrap(), source.reader.state_hash().unwrap());

    drop(target);
    let mut target = open(&follower);
    assert_eq!(target.reader.applied_index(), 12);
    assert_eq!(target.reader.membership().voter_ids().count(), 3);
    assert!(export(&target.reader) == export(&source.reader));
    let current = target.state_machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(&current.meta, snapshot.meta());
    assert_eq!(folders(&follower.join("state")).len(), 1, "the replaced state is gone");
    target.reader.scrub().unwrap();
}

#[tokio::test]
async fn a_view_outlives_the_state_it_was_taken_from() {
    let directory = tempfile::tempdir().unwrap();
    let mut source = leader(&directory.path().join("a"), 3).await;
    let snapshot = build(&mut source.state_machine).await;
    let path = directory.path().join("b");
    let mut target = open(&path);
    apply(&mut target.state_machine, vec![blank(0), batch(1, 1, vec![put("old", "v")])]).await;
    let reader = target.reader.clone();

    // The view lives on a thread of its own while the snapshot is installed.
    let (entered, wait_entered) = std::sync::mpsc::sync_channel(1);
    let (installed, wait_installed) = std::sync::mpsc::sync_channel(1);
    let viewer = std::thread::spawn(move || {
        reader.view(|view| {
            entered.send(()).unwrap();
            wait_installed.recv().unwrap();
            assert!(view.get(b"old").unwrap().is_some());
            assert_eq!(view.progress().unwrap().index(), 1);
        })
    });
    wait_entered.recv().unwrap();
    target.state_machine.install_snapshot(snapshot.meta(), snapshot.clone()).await.unwrap();
    assert!(get(&target.reader, "old").is_none(), "new views see the new state");
    assert_eq!(folders(&path.join("state")).len(), 2);
    installed.send(()).unwrap();
    viewer.join().unwrap();
    assert_eq!(folders(&path.join("state")).len(), 1, "and the old one goes with its last view");
}

#[tokio::test]
async fn only_the_newest_snapshot_is_kept_and_an_older_one_while_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = leader(directory.path(), 3).await;
    let snapshots = directory.path().join("snapshots");
    let first = build(&mut opened.state_machine).await;
    let again = build(&mut opened.state_machine).await;
    assert_eq!(first.id(), again.id());
    assert_eq!(folders(&snapshots).len(), 1, "nothing was applied in between, so it is the same");
    drop(again);
    apply(&mut opened.state_machine, vec![blank(5)]).await;
    let second = build(&mut opened.state_machine).await;
    assert_eq!(folders(&snapshots).len(), 2);
    assert!(first.chunks(1000).all(|chunk| chunk.is_ok()), "it can still be streamed");
    drop(first);
    assert_eq!(folders(&snapshots).len(), 1);
    assert_eq!(opened.state_machine.get_current_snapshot().await.unwrap().unwrap().meta, *second.meta());
}

#[tokio::test]
async fn a_snapshot_does_not_change_when_more_is_applied() {
    let directory = tempfile::tempdir().unwrap();
    let mut source = leader(&directory.path().join("a"), 5).await;
    let mut builder = source.state_machine.try_create_snapshot_builder(true).await.unwrap();
    let at_checkpoint = export(&source.reader);
    apply(&mut source.state_machine, vec![batch(7, 9, vec![put("later", "v")])]).await;
    let snapshot = builder.build_snapshot().await.unwrap();
    assert_eq!(snapshot.meta.last_log_id, Some(log_id(1, 6)));
    let mut target = open(&directory.path().join("b"));
    target.state_machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    assert!(export(&target.reader) == at_checkpoint);
}

#[tokio::test]
async fn a_snapshot_that_lies_about_its_point_in_the_log_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut source = leader(&directory.path().join("a"), 5).await;
    let snapshot = build(&mut source.state_machine).await;
    let mut target = open(&directory.path().join("b"));
    // Well formed, with right checksums, but announced for a later entry.
    let mut meta = snapshot_meta_to_proto(snapshot.meta(), snapshot.id());
    meta.last_log_id.as_mut().unwrap().index += 1;
    let mut writer = target.inbox.begin(meta, snapshot.files().to_vec()).unwrap();
    for chunk in snapshot.chunks(1 << 20) {
        let chunk = chunk.unwrap();
        writer.write(chunk.file, chunk.offset, &chunk.data).unwrap();
    }
    let liar = writer.finish().unwrap();
    let error = target.state_machine.install_snapshot(&liar.meta().clone(), liar).await.unwrap_err();
    assert!(error.to_string().contains("another point of the log"), "{error}");
    assert_eq!(target.reader.applied_index(), 0);
    assert_eq!(folders(&directory.path().join("b/state")).len(), 1);
    // The node has stopped: nothing is applied on a state that Raft believes to be another.
    let entries = futures::stream::iter([Ok((blank(0), None))]);
    assert!(target.state_machine.apply(entries).await.is_err());
}

#[tokio::test]
async fn leftovers_of_a_crash_are_removed_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut opened = leader(path, 3).await;
    let snapshot = build(&mut opened.state_machine).await;
    drop(opened);
    let meta = snapshot.meta().clone();
    drop(snapshot);
    // A state that was being filled, a checkpoint without a manifest, one that was being made, one that arrived.
    for leftover in ["state/00000077", "snapshots/00000077", "snapshots/00000078.tmp", "incoming/00000079"] {
        std::fs::create_dir_all(path.join(leftover)).unwrap();
        std::fs::write(path.join(leftover).join("CURRENT"), "rubbish").unwrap();
    }
    let mut opened = open(path);
    assert_eq!(opened.reader.applied_index(), 4);
    assert_eq!(folders(&path.join("state")), ["00000001"]);
    assert_eq!(folders(&path.join("snapshots")).len(), 1);
    assert!(folders(&path.join("incoming")).is_empty());
    assert_eq!(opened.state_machine.get_current_snapshot().await.unwrap().unwrap().meta, meta);
}

#[tokio::test]
async fn a_crash_between_keeping_a_snapshot_and_switching_to_it_is_finished_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut source = leader(&directory.path().join("a"), 10).await;
    let snapshot = build(&mut source.state_machine).await;
    let path = directory.path().join("b");
    let mut target = open(&path);
    target.log.save_vote(&vote(1)).await.unwrap();
    drop(target);
    // As the crash leaves it: the snapshot is kept, the pointer still names the old state.
    let kept = folders(&directory.path().join("a/snapshots")).pop().unwrap();
    common::copy_folder(
        &directory.path().join("a/snapshots").join(&kept),
        &path.join("snapshots").join(kept),
    );

    let mut target = open(&path);
    assert_eq!(target.reader.applied_index(), 0);
    let mut helper =
        StorageHelper::<TypeConfig, _, _>::new(&mut target.log, &mut target.state_machine).with_id(2);
    helper.get_initial_state().await.unwrap();
    assert_eq!(target.reader.applied_index(), 11);
    assert_eq!(target.reader.state_hash().unwrap(), source.reader.state_hash().unwrap());
    assert_eq!(target.state_machine.get_current_snapshot().await.unwrap().unwrap().meta, *snapshot.meta());
}

#[tokio::test]
async fn one_snapshot_is_received_at_a_time_and_what_is_given_up_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut source = leader(&directory.path().join("a"), 3).await;
    let snapshot = build(&mut source.state_machine).await;
    let target = open(&directory.path().join("b"));
    let begin = || {
        target.inbox.begin(snapshot_meta_to_proto(snapshot.meta(), snapshot.id()), snapshot.files().to_vec())
    };
    let mut writer = begin().unwrap();
    let chunk = snapshot.chunks(10).next().unwrap().unwrap();
    writer.write(chunk.file, chunk.offset, &chunk.data).unwrap();
    assert!(matches!(begin(), Err(StorageError::Snapshot(_))));
    drop(writer);
    assert!(folders(&directory.path().join("b/incoming")).is_empty());
    assert!(begin().is_ok());
}
