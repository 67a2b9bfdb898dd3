//! Runs seeds, each in a process of its own, and sums up.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use parking_lot::Mutex;

use crate::arguments::{Many, One, Trouble};
use crate::world::{self, Plan, Report};

/// The variable that `chance.c` reads.
const SEED_VARIABLE: &str = "CONCLAVE_SIM_SEED";
/// Files of simulated nodes live in memory, where there is such a place.
const MEMORY: &str = "/dev/shm";

/// Runs one seed here. Whether it was clean.
///
/// # Errors
/// The simulation itself failed.
pub fn one(one: &One) -> Result<bool> {
    if std::env::var(SEED_VARIABLE) != Ok(one.seed.to_string()) {
        bail!("set {SEED_VARIABLE}={} as well: all chance of this process comes from it", one.seed);
    }
    if let Some(filter) = &one.log {
        let filter = tracing_subscriber::EnvFilter::try_new(filter)?;
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    }
    drop(rustls::crypto::ring::default_provider().install_default());
    let memory = PathBuf::from(MEMORY);
    let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
    // A name without chance: that it is taken must not shift what is drawn afterwards.
    let name = format!("conclave-sim-{}-{}", one.seed, std::process::id());
    let directory = tempfile::Builder::new().prefix(&name).rand_bytes(0).tempdir_in(parent)?;
    let Trouble { trouble_ms, bug } = one.trouble.clone();
    // A thread of its own, so that nothing of the main thread's past is in its hash maps.
    let path = directory.path().to_owned();
    let plan = Plan { seed: one.seed, trouble_ms, bug };
    let ran = std::thread::spawn(move || world::run(plan, &path)).join();
    let report = match ran {
        Ok(report) => report?,
        Err(_) => bail!("the simulation panicked"),
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(report.violation.is_none())
}

/// What came of all seeds.
#[derive(Debug, Default, serde::Serialize)]
struct Sum {
    seeds: u64,
    clean: u64,
    violations: Vec<Report>,
    failures: Vec<String>,
    seconds: f64,
    seeds_per_second: f64,
    simulated_hours: f64,
    operations: u64,
    ok: u64,
    unknown: u64,
    totals: std::collections::BTreeMap<String, u64>,
}

/// Runs many seeds. Whether all were clean.
///
/// # Errors
/// No seed could be run at all.
pub fn many(many: &Many) -> Result<bool> {
    let began = Instant::now();
    let next = AtomicU64::new(many.from);
    let stopped = AtomicBool::new(false);
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..many.jobs.max(1) {
            scope.spawn(|| {
                while !stopped.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= many.from + many.seeds {
                        return;
                    }
                    let ran = run_apart(seed, &many.trouble, many.twice);
                    let clean = sum.lock().add(seed, ran);
                    if !clean && many.stop {
                        stopped.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut sum = sum.into_inner();
    sum.seconds = began.elapsed().as_secs_f64();
    sum.seeds_per_second = sum.seeds as f64 / sum.seconds;
    let text = serde_json::to_string_pretty(&sum)?;
    if let Some(path) = &many.out {
        std::fs::write(path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{text}");
    Ok(sum.clean == sum.seeds && sum.seeds > 0)
}

impl Sum {
    /// Whether the seed was clean.
    fn add(&mut self, seed: u64, ran: Result<Report>) -> bool {
        self.seeds += 1;
        let report = match ran {
            Ok(report) => report,
            Err(error) => {
                eprintln!("seed {seed}: {error:#}");
                self.failures.push(format!("seed {seed}: {error:#}"));
                return false;
            }
        };
        self.simulated_hours += report.simulated_ms as f64 / 3_600_000.0;
        self.operations += report.operations;
        self.ok += report.ok;
        self.unknown += report.unknown;
        for part in [serde_json::to_value(report.faults), serde_json::to_value(report.checked)] {
            let Ok(serde_json::Value::Object(counts)) = part else { continue };
            for (name, count) in counts {
                *self.totals.entry(name).or_default() += count.as_u64().unwrap_or_default();
            }
        }
        if let Some(violation) = &report.violation {
            eprintln!("seed {seed}: {violation}");
            self.violations.push(report);
            return false;
        }
        self.clean += 1;
        true
    }
}

fn run_apart(seed: u64, trouble: &Trouble, twice: bool) -> Result<Report> {
    let report = spawn(seed, trouble)?;
    if twice {
        let again = spawn(seed, trouble)?;
        if report != again {
            bail!("two runs differ: {report:?} and {again:?}");
        }
    }
    Ok(report)
}

fn spawn(seed: u64, trouble: &Trouble) -> Result<Report> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("one").arg(seed.to_string()).env(SEED_VARIABLE, seed.to_string());
    command.args(["--trouble-ms", &trouble.trouble_ms.to_string()]);
    if let Some(bug) = trouble.bug.and_then(|bug| clap::ValueEnum::to_possible_value(&bug)) {
        command.args(["--bug", bug.get_name()]);
    }
    let done = command.stdin(Stdio::null()).stderr(Stdio::piped()).output()?;
    let said = String::from_utf8_lossy(&done.stdout);
    serde_json::from_str(said.trim()).with_context(|| {
        let why = String::from_utf8_lossy(&done.stderr);
        let why: Vec<&str> = why.lines().rev().take(12).collect();
        format!("no report; the process said: {}", why.into_iter().rev().collect::<Vec<_>>().join(" | "))
    })
}
