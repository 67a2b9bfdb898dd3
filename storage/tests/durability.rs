//! What survives when a process is killed, when power fails, and when the disk lies.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{
    append, apply, batch, blank, copy_folder, export, get, indexes, log_id, open, put, try_open, vote,
};
use conclave_storage::types::TypeConfig;
use conclave_storage::{Opened, StorageError};
use openraft::RaftLogReader as _;
use openraft::storage::{IOFlushed, RaftLogStorage as _, RaftSnapshotBuilder as _, RaftStateMachine as _};

/// Opens a copy of the directory as it is on disk now, which is what a killed process leaves.
fn after_kill(directory: &Path) -> (tempfile::TempDir, Opened) {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(directory, copy.path());
    let opened = open(copy.path());
    (copy, opened)
}

fn write_ahead_log(instance: &Path) -> PathBuf {
    let mut logs: Vec<PathBuf> = fs::read_dir(instance)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    logs.sort();
    logs.pop().unwrap()
}

fn cut(path: &Path, bytes: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

fn damage(path: &Path, position: u64) {
    let mut content = fs::read(path).unwrap();
    content[usize::try_from(position).unwrap()] ^= 0x40;
    fs::write(path, content).unwrap();
}

fn refused_as_damaged(directory: &Path) {
    match try_open(directory) {
        Err(StorageError::Damaged(_)) => {}
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => panic!("opened, though it is damaged"),
    }
}

#[tokio::test]
async fn a_killed_process_has_lost_nothing_that_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    opened.log.save_vote(&vote(3)).await.unwrap();
    append(&mut opened.log, (0..100).map(blank).collect()).await;
    apply(&mut opened.state_machine, vec![blank(0), batch(1, 7, vec![put("a", "1")])]).await;
    opened.log.save_committed(Some(log_id(1, 1))).await.unwrap();

    let (_copy, mut survivor) = after_kill(directory.path());
    assert_eq!(indexes(&mut survivor.log).await, (0..100).collect::<Vec<u64>>());
    assert_eq!(survivor.log.get_log_reader().await.read_vote().await.unwrap(), Some(vote(3)));
    assert_eq!(survivor.log.read_committed().await.unwrap(), Some(log_id(1, 1)));
    assert_eq!(survivor.reader.applied_index(), 1);
    assert_eq!(get(&survivor.reader, "a").unwrap().sealed, b"1"[..]);
    assert_eq!(survivor.reader.view(|view| view.time_ms()), 7);
}

#[tokio::test]
async fn entries_come_back_from_disk_as_they_were_appended() {
    let directory = tempfile::tempdir().unwrap();
    let entry = |index: u64| batch(index, index, vec![put(format!("k{index}"), index.to_string())]);
    let mut opened = open(directory.path());
    opened.log.save_vote(&vote(1)).await.unwrap();
    append(&mut opened.log, (0..40).map(entry).collect()).await;
    drop(opened);

    let mut opened = open(directory.path());
    let entries = opened.log.get_log_reader().await.try_get_log_entries(..).await.unwrap();
    assert_eq!(entries.len(), 40);
    apply(&mut opened.state_machine, entries).await;
    for index in 0..40_u64 {
        let record = get(&opened.reader, &format!("k{index}")).expect("each entry wrote a record");
        assert_eq!((record.sealed, record.revision), (index.to_string().into_bytes().into(), index));
    }
}

#[tokio::test]
async fn truncation_purge_and_a_new_vote_are_on_disk_when_they_return() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    opened.log.save_vote(&vote(1)).await.unwrap();
    append(&mut opened.log, (0..50).map(blank).collect()).await;
    apply(&mut opened.state_machine, (0..20).map(blank).collect()).await;
    let mut builder = opened.state_machine.try_create_snapshot_builder(true).await.unwrap();
    builder.build_snapshot().await.unwrap();

    opened.log.truncate_after(Some(log_id(1, 39))).await.unwrap();
    let (_copy, mut survivor) = after_kill(directory.path());
    assert_eq!(indexes(&mut survivor.log).await, (0..40).collect::<Vec<u64>>());

    opened.log.purge(log_id(1, 9)).await.unwrap();
    opened.log.save_vote(&vote(2)).await.unwrap();
    append(&mut opened.log, vec![blank(40)]).await;
    let (_copy, mut survivor) = after_kill(directory.path());
    assert_eq!(indexes(&mut survivor.log).await, (10..41).collect::<Vec<u64>>());
    let state = survivor.log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(1, 9)), Some(log_id(1, 40))));
    assert_eq!(survivor.log.get_log_reader().await.read_vote().await.unwrap(), Some(vote(2)));
}

/// Power fails while unacknowledged entries are on their way: any part of them may be missing, cut anywhere.
#[tokio::test]
async fn a_power_loss_takes_only_what_was_not_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    opened.log.save_vote(&vote(1)).await.unwrap();
    append(&mut opened.log, (0..20).map(blank).collect()).await;
    let wal = write_ahead_log(&directory.path().join("log"));
    let synced = fs::metadata(&wal).unwrap().len();
    let entries = (20..40).map(|index| batch(index, 1, vec![put("k", vec![7; 30])]));
    append(&mut opened.log, entries.collect()).await;
    let written = fs::metadata(&wal).unwrap().len();
    assert!(written > synced + 600, "the second group must be in the same file");
    let file = wal.file_name().unwrap();

    for kept in (synced..written).step_by(97).chain([synced + 1, written - 1]) {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(directory.path(), copy.path());
        cut(&copy.path().join("log").join(file), kept);
        // This copy's own manifest knows that the file was synced up to a length only once it is closed, so a
        // shorter one is what a crash before the sync leaves.
        let mut survivor = open(copy.path());
        let found = indexes(&mut survivor.log).await;
        assert!(found.len() >= 20, "{} acknowledged entries are left with {kept} bytes", found.len());
        assert_eq!(found, (0..found.len() as u64).collect::<Vec<u64>>());
        assert_eq!(survivor.log.get_log_reader().await.read_vote().await.unwrap(), Some(vote(1)));
        append(&mut survivor.log, vec![blank(found.len() as u64)]).await;
    }
}

#[tokio::test]
async fn a_log_that_is_damaged_in_the_middle_is_refused_not_shortened() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    opened.log.save_vote(&vote(1)).await.unwrap();
    for index in 0..40 {
        append(&mut opened.log, vec![batch(index, 1, vec![put("k", vec![7; 50])])]).await;
    }
    drop(opened);
    let wal = write_ahead_log(&directory.path().join("log"));
    let written = fs::metadata(&wal).unwrap().len();
    for position in [written / 4, written / 2, written * 3 / 4] {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(directory.path(), copy.path());
        damage(&copy.path().join("log").join(wal.file_name().unwrap()), position);
        refused_as_damaged(copy.path());
    }
}

/// A write that a crash cut short ends the file. One that is all there and does not match its checksum was changed
/// later, and may have been acknowledged.
#[tokio::test]
async fn a_flipped_byte_in_the_last_record_is_refused_not_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    for index in 0..3 {
        append(&mut opened.log, vec![batch(index, 1, vec![put("k", vec![7; 50])])]).await;
    }
    drop(opened);
    let wal = write_ahead_log(&directory.path().join("log"));
    let written = fs::metadata(&wal).unwrap().len();
    for from_the_end in [1, 20, 50] {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(directory.path(), copy.path());
        damage(&copy.path().join("log").join(wal.file_name().unwrap()), written - from_the_end);
        refused_as_damaged(copy.path());
    }
}

#[tokio::test]
async fn after_a_power_loss_the_state_is_older_but_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    opened.log.save_vote(&vote(1)).await.unwrap();
    append(&mut opened.log, (0..60).map(blank).collect()).await;
    // Each entry moves a value from one key to another: in a torn state there would be none, or two.
    apply(&mut opened.state_machine, vec![blank(0)]).await;
    for index in 1..60_u64 {
        let mut txn = put(format!("k{index}"), "the value");
        txn.delete(format!("k{}", index - 1));
        txn.put_until(format!("e{index}"), "x", 1000 + index);
        apply(&mut opened.state_machine, vec![batch(index, index, vec![txn])]).await;
    }
    let wal = write_ahead_log(&directory.path().join("state/00000001"));
    let written = fs::metadata(&wal).unwrap().len();
    let mut seen = std::collections::BTreeSet::new();
    for kept in (0..written).step_by(usize::try_from(written / 23).unwrap()) {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(directory.path(), copy.path());
        cut(&copy.path().join("state/00000001").join(wal.file_name().unwrap()), kept);
        let survivor = open(copy.path());
        let index = survivor.reader.applied_index();
        survivor.reader.scrub().unwrap();
        let moved = export(&survivor.reader).into_iter().filter(|(key, _)| key[0] == b'k').count();
        assert_eq!(moved, usize::from(index > 0), "at entry {index}");
        seen.insert(index);
    }
    assert!(seen.len() > 5, "the cuts must hit different entries: {seen:?}");
}

/// The log may be purged up to a snapshot, so the state must not need it any more, whatever is lost after that.
#[tokio::test]
async fn what_a_snapshot_holds_is_on_disk_in_the_state_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    opened.log.save_vote(&vote(1)).await.unwrap();
    append(&mut opened.log, vec![blank(0), blank(1)]).await;
    apply(&mut opened.state_machine, vec![blank(0), batch(1, 1, vec![put("a", "1")])]).await;
    let without_unsynced = || {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(directory.path(), copy.path());
        fs::remove_dir_all(copy.path().join("snapshots")).unwrap();
        cut(&write_ahead_log(&copy.path().join("state/00000001")), 0);
        (open(copy.path()).reader.applied_index(), copy).0
    };
    assert_eq!(without_unsynced(), 0);
    let mut builder = opened.state_machine.try_create_snapshot_builder(true).await.unwrap();
    builder.build_snapshot().await.unwrap();
    assert_eq!(without_unsynced(), 1);
}

#[tokio::test]
async fn the_log_is_readable_before_and_reported_only_after_the_sync() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    use openraft::type_config::TypeConfigExt as _;
    let (done, synced) = TypeConfig::oneshot();
    opened.log.append([blank(0), blank(1)], IOFlushed::signal(done)).await.unwrap();
    assert_eq!(indexes(&mut opened.log).await, [0, 1]);
    synced.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_entry_that_would_leave_a_hole_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    append(&mut opened.log, vec![blank(0), blank(1)]).await;
    let error = opened.log.append([blank(3)], IOFlushed::noop()).await.unwrap_err();
    assert!(error.to_string().contains("hole"), "{error}");
    assert_eq!(indexes(&mut opened.log).await, [0, 1]);
}

#[tokio::test]
async fn reads_are_bounded_by_bytes_and_a_stream_goes_on_where_they_stop() {
    use futures::TryStreamExt as _;
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    opened.log.save_vote(&vote(1)).await.unwrap();
    let large = |index| batch(index, 1, vec![put("k", vec![7; 600 * 1024])]);
    append(&mut opened.log, (0..10).map(large).collect()).await;
    // Opened anew, so that nothing of it is in memory.
    drop(opened);
    let mut opened = open(directory.path());
    let mut reader = opened.log.get_log_reader().await;
    let piece = reader.limited_get_log_entries(2, 10).await.unwrap();
    assert_eq!(piece.iter().map(|entry| entry.log_id.index()).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(reader.try_get_log_entries(2..10).await.unwrap().len(), 8);
    let streamed: Vec<_> = reader.entries_stream(2..10).await.try_collect().await.unwrap();
    assert_eq!(
        streamed.iter().map(|entry| entry.log_id.index()).collect::<Vec<_>>(),
        (2..10).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_directory_is_opened_by_one_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(directory.path());
    assert!(matches!(try_open(directory.path()), Err(StorageError::InUse(_))));
    let reader = opened.reader.clone();
    drop(opened);
    assert!(matches!(try_open(directory.path()), Err(StorageError::InUse(_))), "a reader still reads");
    drop(reader);
    open(directory.path());
}

#[tokio::test]
async fn another_format_is_refused_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    fs::write(directory.path().join("FORMAT"), "conclave storage 7\n").unwrap();
    match try_open(directory.path()) {
        Err(StorageError::Format { found, expected: 1, .. }) => assert_eq!(found, "7"),
        _ => panic!("not refused"),
    }
}

#[tokio::test]
async fn a_directory_that_lost_a_part_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    opened.log.save_vote(&vote(1)).await.unwrap();
    append(&mut opened.log, (0..10).map(blank).collect()).await;
    apply(&mut opened.state_machine, (0..10).map(blank).collect()).await;
    let mut builder = opened.state_machine.try_create_snapshot_builder(true).await.unwrap();
    builder.build_snapshot().await.unwrap();
    opened.log.purge(log_id(1, 5)).await.unwrap();
    drop((opened, builder));

    let without = |lost: &str| {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(directory.path(), copy.path());
        let path = copy.path().join(lost);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        copy
    };
    for lost in ["log", "state", "state/ACTIVE", "state/00000001", "FORMAT"] {
        refused_as_damaged(without(lost).path());
    }
    // The snapshot can be made again.
    open(without("snapshots").path());
}

#[tokio::test]
async fn a_log_or_a_state_from_elsewhere_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (directory.path().join("a"), directory.path().join("b"));
    let mut opened = open(&a);
    opened.log.save_vote(&vote(1)).await.unwrap();
    append(&mut opened.log, (0..10).map(blank).collect()).await;
    apply(&mut opened.state_machine, (0..10).map(blank).collect()).await;
    opened.log.purge(log_id(1, 5)).await.unwrap();
    drop(opened);
    drop(open(&b));

    let mixed = |log: &Path, state: &Path| {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(log, copy.path());
        fs::remove_dir_all(copy.path().join("state")).unwrap();
        copy_folder(&state.join("state"), &copy.path().join("state"));
        copy
    };
    // An empty log with a state that applied entries; a purged log with a state that never reached that far.
    refused_as_damaged(mixed(&b, &a).path());
    refused_as_damaged(mixed(&a, &b).path());
    open(mixed(&a, &a).path());
}

#[tokio::test]
async fn a_log_that_ends_before_what_was_applied_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    {
        let mut opened = open(directory.path());
        opened.log.save_vote(&vote(1)).await.unwrap();
        append(&mut opened.log, (0..20).map(blank).collect()).await;
        apply(&mut opened.state_machine, (0..20).map(blank).collect()).await;
    }
    // Cut between two records, as if the last write had never been: RocksDB cannot tell that.
    let mut opened = open(directory.path());
    let wal = write_ahead_log(&directory.path().join("log"));
    let whole = fs::metadata(&wal).unwrap().len();
    append(&mut opened.log, vec![blank(20)]).await;
    apply(&mut opened.state_machine, vec![blank(20)]).await;
    drop(opened);
    assert!(fs::metadata(&wal).unwrap().len() > whole);
    cut(&wal, whole);
    refused_as_damaged(directory.path());
}

#[tokio::test]
async fn a_log_without_the_vote_of_its_last_term_is_refused() {
    for saved in [None, Some(vote(0))] {
        let directory = tempfile::tempdir().unwrap();
        {
            let mut opened = open(directory.path());
            if let Some(saved) = saved {
                opened.log.save_vote(&saved).await.unwrap();
            }
            append(&mut opened.log, (0..3).map(blank).collect()).await;
        }
        refused_as_damaged(directory.path());
    }
}

#[tokio::test]
async fn a_missing_file_of_an_instance_is_damage() {
    let prepared = tempfile::tempdir().unwrap();
    {
        let mut opened = open(prepared.path());
        opened.log.save_vote(&vote(1)).await.unwrap();
        append(&mut opened.log, (0..20).map(blank).collect()).await;
        apply(&mut opened.state_machine, (0..20).map(blank).collect()).await;
    }
    // Opened once more, so that there are data files.
    drop(open(prepared.path()));
    for instance in ["log", "state/00000001"] {
        for start in ["CURRENT", "MANIFEST", "0"] {
            let copy = tempfile::tempdir().unwrap();
            copy_folder(prepared.path(), copy.path());
            let mut removed = 0;
            for entry in fs::read_dir(copy.path().join(instance)).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                if name.starts_with(start) && !name.ends_with(".log") {
                    fs::remove_file(entry.path()).unwrap();
                    removed += 1;
                }
            }
            assert!(removed > 0, "{instance} has no {start}");
            match try_open(copy.path()) {
                Err(error) => assert!(error.is_damage(), "{instance} without {start}: {error}"),
                Ok(_) => panic!("{instance} without {start} was opened"),
            }
        }
    }
}
