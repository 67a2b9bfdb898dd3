//! What a group commit costs when the write-ahead log grows, and when it overwrites a recycled file.
//!
//! Measures RocksDB with the log's settings and prints; asserts only that files were recycled at all. What was
//! found and decided is in `node/docs/2026-11-22-recycling-the-write-ahead-log.md`. The folder is made in `TMPDIR`;
//! for the second test that is a file system of its own, and `WAL_COST_DEVICE` names its block device.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rocksdb::{DB, DBRecoveryMode, Options, WriteBatch};

const MIB: usize = 1024 * 1024;
const MEMTABLE_BYTES: usize = 32 * MIB;
const ENTRY_BYTES: usize = 500;
const GROUPS: [usize; 3] = [1, 8, 32];
const NODES: usize = 3;
/// Growing and recycling take turns this often, so that what else the machine does hits both alike.
const ROUNDS: usize = 10;
const TURN: Duration = Duration::from_millis(500);
const DEVICE_COMMITS: usize = 300;
/// Columns of a block device's `stat`: writes completed, sectors written, flushes completed.
const STAT_WRITES: usize = 4;
const STAT_SECTORS: usize = 6;
const STAT_FLUSHES: usize = 15;

#[derive(Clone, Copy, PartialEq)]
enum Wal {
    Grows,
    Recycles,
}

struct Log {
    db: DB,
    next: u64,
}

/// What syncs took, and how long their thread was runnable without a processor.
#[derive(Default)]
struct Syncs {
    times: Vec<Duration>,
    queued: Duration,
}

impl Wal {
    fn name(self) -> &'static str {
        match self {
            Self::Grows => "grows",
            Self::Recycles => "recycles",
        }
    }
}

impl Log {
    /// A log in its steady state: several files were filled and flushed before.
    fn open(path: &Path, wal: Wal) -> Self {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_track_and_verify_wals_in_manifest(true);
        options.set_write_buffer_size(MEMTABLE_BYTES);
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        if wal == Wal::Recycles {
            options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
            options.set_recycle_log_file_num(4);
        }
        let mut log = Self { db: DB::open(&options, path).unwrap(), next: 0 };
        for _ in 0..3 {
            log.write(MEMTABLE_BYTES / ENTRY_BYTES * 9 / 10);
            log.db.flush_wal(true).unwrap();
            log.db.flush().unwrap();
        }
        let text = fs::read_to_string(path.join("LOG")).unwrap();
        assert_eq!(text.contains("reusing log"), wal == Wal::Recycles);
        log
    }

    fn write(&mut self, entries: usize) {
        for _ in 0..entries {
            let mut batch = WriteBatch::default();
            batch.put(self.next.to_be_bytes(), [7; ENTRY_BYTES]);
            self.next += 1;
            self.db.write(batch).unwrap();
        }
    }

    fn commit(&mut self, entries: usize, syncs: &mut Syncs) {
        self.write(entries);
        let (started, queued) = (Instant::now(), queued());
        self.db.flush_wal(true).unwrap();
        syncs.times.push(started.elapsed());
        syncs.queued += self::queued() - queued;
    }
}

/// How long this thread has waited for a processor.
fn queued() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').nth(1).unwrap().parse().unwrap())
}

impl Syncs {
    fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.queued += other.queued;
    }

    fn print(mut self, what: &str) {
        self.times.sort();
        let count = u32::try_from(self.times.len()).unwrap();
        let mean = self.times.iter().sum::<Duration>() / count;
        let at = |percent: usize| self.times[self.times.len() * percent / 100];
        println!(
            "{what}: {count:6} syncs, p10 {:.3?} p50 {:.3?} p90 {:.3?} p99 {:.3?}, mean {mean:.3?}, of it {:.3?} for a processor",
            at(10),
            at(50),
            at(90),
            at(99),
            self.queued / count
        );
    }
}

/// Three logs at once on one disk, as in the benchmark.
#[test]
#[ignore = "measures for a minute; run with --ignored --nocapture"]
fn group_commits_of_three_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = |wal: Wal| -> Vec<Log> {
        (0..NODES).map(|node| Log::open(&folder.path().join(format!("{}{node}", wal.name())), wal)).collect()
    };
    let mut kinds = [(Wal::Grows, nodes(Wal::Grows)), (Wal::Recycles, nodes(Wal::Recycles))];
    for group in GROUPS {
        let mut syncs = [Syncs::default(), Syncs::default()];
        for _ in 0..ROUNDS {
            for ((_, logs), syncs) in kinds.iter_mut().zip(&mut syncs) {
                turn(logs, group).into_iter().for_each(|found| syncs.add(found));
            }
        }
        for ((wal, _), syncs) in kinds.iter().zip(syncs) {
            syncs.print(&format!("{:8} groups of {group:2}", wal.name()));
        }
    }
    println!("load {}", fs::read_to_string("/proc/loadavg").unwrap().trim());
}

fn turn(logs: &mut [Log], group: usize) -> Vec<Syncs> {
    let end = Instant::now() + TURN;
    std::thread::scope(|scope| {
        let commit_until = |log: &mut Log| {
            let mut syncs = Syncs::default();
            while Instant::now() < end {
                log.commit(group, &mut syncs);
            }
            syncs
        };
        let threads: Vec<_> = logs.iter_mut().map(|log| scope.spawn(move || commit_until(log))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Counts, so whatever else the processors do: only the device must be nobody else's.
#[test]
#[ignore = "needs a file system of its own; see the top of the file"]
fn what_the_device_is_asked_for_by_a_sync() {
    let device =
        std::env::var("WAL_COST_DEVICE").expect("WAL_COST_DEVICE names the block device below TMPDIR");
    let stat = || -> Vec<u64> {
        let stat = fs::read_to_string(format!("/sys/block/{device}/stat")).unwrap();
        stat.split_whitespace().map(|field| field.parse().unwrap()).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    for wal in [Wal::Grows, Wal::Recycles] {
        let mut log = Log::open(&folder.path().join(wal.name()), wal);
        for group in GROUPS {
            let (before, mut syncs) = (stat(), Syncs::default());
            for _ in 0..DEVICE_COMMITS {
                log.commit(group, &mut syncs);
            }
            let after = stat();
            let of_a_sync = |column: usize| (after[column] - before[column]) as f64 / DEVICE_COMMITS as f64;
            println!(
                "{:8} groups of {group:2}: {:.2} writes, {:.1} KiB, {:.2} flushes a sync",
                wal.name(),
                of_a_sync(STAT_WRITES),
                of_a_sync(STAT_SECTORS) / 2.0,
                of_a_sync(STAT_FLUSHES)
            );
        }
    }
}
