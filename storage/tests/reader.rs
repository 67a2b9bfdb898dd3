//! What readers see.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::{apply, batch, blank, export, get, members, open, put, put_until};
use conclave_storage::{STATE_HASH_INTERVAL_ENTRIES, STATE_HASHES_KEPT, StateReader};

fn cursor_keys(reader: &StateReader, from: &str) -> Vec<String> {
    reader.view(|view| {
        let mut cursor = view.cursor();
        let mut keys = Vec::new();
        let mut next = cursor.seek(from.as_bytes()).unwrap();
        while let Some((key, _)) = next {
            keys.push(String::from_utf8(key).unwrap());
            next = cursor.advance().unwrap();
        }
        assert!(cursor.advance().unwrap().is_none(), "the end stays the end");
        keys
    })
}

#[tokio::test]
async fn a_record_disappears_from_all_reads_when_the_clusters_time_reaches_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    let fill = vec![put("a", "1"), put_until("b", "2", 100), put("c", "3"), put_until("d", "4", 101)];
    apply(&mut opened.state_machine, vec![blank(0), batch(1, 99, fill)]).await;
    let reader = opened.reader.clone();
    assert_eq!(cursor_keys(&reader, ""), ["a", "b", "c", "d"]);
    assert_eq!(get(&reader, "b").unwrap().expires_at_ms, 100);
    apply(&mut opened.state_machine, vec![batch(2, 100, Vec::new())]).await;
    assert_eq!(cursor_keys(&reader, ""), ["a", "c", "d"]);
    assert_eq!(cursor_keys(&reader, "b"), ["c", "d"]);
    assert!(get(&reader, "b").is_none());
    assert_eq!(export(&reader).len(), 3);
    let scrubbed = reader.scrub().unwrap();
    assert_eq!((scrubbed.records, scrubbed.expiring, scrubbed.applied_index), (3, 1, 2));
}

/// They are dropped a part at a time; until then they must not be answered either.
#[tokio::test]
async fn of_thousands_that_expire_at_once_none_is_answered_afterwards() {
    const RECORDS: u64 = 3_000;
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    let key = |number: u64| format!("k{number:04}");
    let fill = (0..RECORDS).map(|number| put_until(key(number), "x", 100)).collect();
    apply(&mut opened.state_machine, vec![blank(0), batch(1, 99, fill)]).await;
    apply(&mut opened.state_machine, vec![batch(2, 100, Vec::new())]).await;
    assert!(opened.reader.scrub().unwrap().records > 0, "some must still be stored, or nothing is tried");
    for number in 0..RECORDS {
        assert!(get(&opened.reader, &key(number)).is_none(), "{}", key(number));
    }
    assert_eq!(cursor_keys(&opened.reader, ""), Vec::<String>::new());
}

#[tokio::test]
async fn a_view_stays_as_it_is_while_entries_are_applied() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    apply(&mut opened.state_machine, vec![blank(0), batch(1, 5, vec![put("a", "old")])]).await;
    let reader = opened.reader.clone();
    let (entered, wait_entered) = std::sync::mpsc::sync_channel(1);
    let (applied, wait_applied) = std::sync::mpsc::sync_channel(1);
    let viewer = std::thread::spawn(move || {
        reader.view(|view| {
            entered.send(()).unwrap();
            wait_applied.recv().unwrap();
            assert_eq!(view.get(b"a").unwrap().unwrap().sealed, b"old"[..]);
            assert!(view.seek(b"b").unwrap().is_none());
            assert_eq!((view.progress().unwrap().index(), view.time_ms()), (1, 5));
        })
    });
    wait_entered.recv().unwrap();
    apply(&mut opened.state_machine, vec![batch(2, 6, vec![put("a", "new"), put("b", "x")])]).await;
    applied.send(()).unwrap();
    viewer.join().unwrap();
    assert_eq!(get(&opened.reader, "a").unwrap().sealed, b"new"[..]);
    assert_eq!(get(&opened.reader, "a").unwrap().revision, 2);
}

/// What no reader may ever see: one record of a transaction without the other, or an older state after a newer one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_glance_sees_the_state_after_one_entry_while_others_are_applied() {
    const STATES_SEEN: u64 = 300;
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    apply(&mut opened.state_machine, vec![blank(0)]).await;
    let glance = |reader: &StateReader| {
        reader.glance(|view| {
            let stamps = [b"a", b"b"].map(|key| view.stamp(key).unwrap().map_or(0, |stamp| stamp.revision));
            // Gives the writer its chance in between, also on a machine with one core.
            std::thread::yield_now();
            let content = view.get(b"c").unwrap().map_or(0, |record| record.revision);
            (stamps, content, view.get(b"only-sometimes").unwrap().is_some())
        })
    };
    let (changes, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (reader, changes, stop) = (opened.reader.clone(), changes.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut seen = 0;
                while !stop.load(Ordering::Relaxed) {
                    let at_least = reader.applied_index();
                    let ([a, b], c, sometimes) = glance(&reader);
                    assert!(a == b && b == c, "{a} {b} {c}");
                    assert!(a >= seen && a >= at_least, "{a} after {seen}, and {at_least} was applied");
                    assert_eq!(sometimes, a % 2 == 1, "at {a}");
                    changes.fetch_add(u64::from(a != seen), Ordering::Relaxed);
                    seen = a;
                }
            })
        })
        .collect();
    // However busy the machine is: until the readers have seen enough, or one of them has failed.
    for index in 1.. {
        let failed = readers.iter().any(std::thread::JoinHandle::is_finished);
        if failed || changes.load(Ordering::Relaxed) >= STATES_SEEN && index > 1_000 {
            break;
        }
        let mut txn = put("a", "1");
        txn.put("b", vec![1; 100_000 * usize::from(index % 100 == 0)]);
        txn.put("c", "3");
        if index % 2 == 1 {
            txn.put("only-sometimes", "4")
        } else {
            txn.delete("only-sometimes")
        }
        apply(&mut opened.state_machine, vec![batch(index, index, vec![txn])]).await;
    }
    stop.store(true, Ordering::Relaxed);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

#[tokio::test]
async fn those_who_wait_for_an_index_find_it_in_their_view() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    let reader = opened.reader.clone();
    let waiter = tokio::spawn(async move {
        let mut applied = reader.applied();
        applied.wait_for(|index| *index >= 2).await.unwrap();
        assert!(reader.applied_index() >= 2);
        get(&reader, "b").is_some()
    });
    apply(&mut opened.state_machine, vec![blank(0), batch(1, 1, vec![put("a", "1")])]).await;
    apply(&mut opened.state_machine, vec![batch(2, 1, vec![put("b", "1")])]).await;
    assert!(waiter.await.unwrap());
}

#[tokio::test]
async fn nodes_that_are_not_equally_far_can_compare_hashes_at_a_common_index() {
    let directory = tempfile::tempdir().unwrap();
    let mut ahead = open(&directory.path().join("a"));
    let mut behind = open(&directory.path().join("b"));
    let mut wrong = open(&directory.path().join("c"));
    let last = STATE_HASH_INTERVAL_ENTRIES * (STATE_HASHES_KEPT + 2) + 5;
    let entry = |index: u64| match index {
        0 => members(0, &[1]),
        _ => batch(index, index, vec![put(format!("k{}", index % 50), index.to_string())]),
    };
    let behind_at = last - STATE_HASH_INTERVAL_ENTRIES;
    apply(&mut ahead.state_machine, (0..=last).map(entry).collect()).await;
    apply(&mut behind.state_machine, (0..=behind_at).map(entry).collect()).await;
    let different = |index| if index == behind_at - 20 { blank(index) } else { entry(index) };
    apply(&mut wrong.state_machine, (0..=behind_at).map(different).collect()).await;

    let hashes = ahead.reader.state_hashes().unwrap();
    assert_eq!(hashes.len() as u64, STATE_HASHES_KEPT, "old ones are dropped");
    assert!(hashes.iter().all(|at| at.index % STATE_HASH_INTERVAL_ENTRIES == 0));
    let newest_common = *behind.reader.state_hashes().unwrap().last().unwrap();
    assert!(hashes.contains(&newest_common));
    assert!(!hashes.contains(wrong.reader.state_hashes().unwrap().last().unwrap()));
    assert_ne!(behind.reader.state_hash().unwrap().hash, wrong.reader.state_hash().unwrap().hash);
}

#[tokio::test]
async fn rocksdb_figures_have_names_of_their_own_and_move() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    let value = |name: &str| {
        let properties = opened.reader.rocksdb_properties();
        let names: std::collections::BTreeSet<_> = properties.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), properties.len());
        properties.iter().find(|(found, _)| *found == name).unwrap().1
    };
    assert_eq!(value("state_records_estimated"), 0);
    let txns = (0..100).map(|number| put(format!("k{number}"), vec![1; 1000])).collect();
    apply(&mut opened.state_machine, vec![blank(0), batch(1, 1, txns)]).await;
    let value =
        |name: &str| opened.reader.rocksdb_properties().iter().find(|(found, _)| *found == name).unwrap().1;
    assert_eq!(value("state_records_estimated"), 100);
    assert!(value("state_memtables_bytes") > 100_000);
    assert_eq!(value("state_background_errors"), 0);
}
