//! A million records: memory, time to open, and what reads and writes cost. Prints its figures.

mod common;

use std::time::{Duration, Instant};

use common::{append, apply, batch, blank, open, put_until, vote};
use openraft::storage::{RaftLogStorage as _, RaftSnapshotBuilder as _, RaftStateMachine as _};

const RECORDS: u64 = 1_000_000;
const RECORDS_PER_ENTRY: u64 = 100;
const MEMORY_BYTES_MAX: u64 = 1 << 30;
const OPEN_MAX: Duration = Duration::from_secs(2);

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Spread over the key space, as HMAC tokens are.
fn key(number: u64) -> Vec<u8> {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    [mixed.to_be_bytes(), (!mixed).to_be_bytes(), number.to_be_bytes(), mixed.to_le_bytes()].concat()
}

#[tokio::test]
#[ignore = "takes about a minute; run with --ignored"]
async fn a_million_records_fit_into_a_gibibyte_and_open_in_two_seconds() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    opened.log.save_vote(&vote(1)).await.unwrap();
    apply(&mut opened.state_machine, vec![blank(0)]).await;
    let started = Instant::now();
    for index in 1..=RECORDS / RECORDS_PER_ENTRY {
        let first = (index - 1) * RECORDS_PER_ENTRY;
        let txns = (first..first + RECORDS_PER_ENTRY).map(|number| {
            let mut value = vec![0; 300];
            value[..32].copy_from_slice(&key(number * 3));
            // A quarter expires, far away.
            put_until(key(number), value, if number % 4 == 0 { 1 << 40 } else { 0 })
        });
        apply(&mut opened.state_machine, vec![batch(index, index, txns.collect())]).await;
    }
    println!("applied {RECORDS} records in {:?}", started.elapsed());

    let reads = 200_000_u64;
    let started = Instant::now();
    for number in 0..reads {
        let wanted = key(number * 7 % RECORDS);
        assert!(opened.reader.view(|view| view.get(&wanted).unwrap().is_some()));
    }
    println!("a view with one read: {:?}", started.elapsed() / u32::try_from(reads).unwrap());
    let started = Instant::now();
    opened.reader.view(|view| {
        let mut cursor = view.cursor();
        for number in 0..reads {
            assert!(cursor.seek(&key(number * 7 % RECORDS)).unwrap().is_some());
        }
    });
    println!("a seek: {:?}", started.elapsed() / u32::try_from(reads).unwrap());

    let started = Instant::now();
    let mut builder = opened.state_machine.try_create_snapshot_builder(true).await.unwrap();
    println!("checkpoint: {:?}", started.elapsed());
    let snapshot = builder.build_snapshot().await.unwrap();
    println!("snapshot of {} bytes: {:?}", snapshot.snapshot.bytes_total(), started.elapsed());
    let started = Instant::now();
    let scrubbed = opened.reader.scrub().unwrap();
    println!("scrub: {:?}", started.elapsed());
    assert_eq!((scrubbed.records, scrubbed.expiring), (RECORDS, RECORDS / 4));

    append(
        &mut opened.log,
        (0..50_000).map(|i| batch(i, 1, vec![put_until(key(i), vec![1; 256], 0)])).collect(),
    )
    .await;
    let started = Instant::now();
    for index in 50_000..51_000 {
        append(&mut opened.log, vec![batch(index, 1, vec![put_until(key(index), vec![1; 256], 0)])]).await;
    }
    println!("an append with its sync: {:?}", started.elapsed() / 1000);

    drop((opened, builder, snapshot));
    let started = Instant::now();
    let opened = open(directory.path());
    let elapsed = started.elapsed();
    println!("opened in {elapsed:?}, resident {} MiB", resident_bytes() >> 20);
    assert!(opened.reader.view(|view| view.get(&key(5)).unwrap().is_some()));
    assert!(elapsed < OPEN_MAX);
    assert!(resident_bytes() < MEMORY_BYTES_MAX);
}
