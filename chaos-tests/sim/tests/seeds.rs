//! A few seeds, each run as the program runs them: clean, the same twice, and not clean with a planted bug.

use std::process::Command;

use serde_json::Value;

/// Seeds that run whenever the tests do. Regressions of what longer runs found stand here by their number.
const SEEDS: [u64; 23] =
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 28, 30, 37, 49, 74, 90, 98, 109, 135, 138, 189, 968, 996];
/// Simulated time of trouble for each, in milliseconds; and where a bug is to show.
const TROUBLE_MS: &str = "12000";
const BUG_TROUBLE_MS: &str = "8000";
/// Seeds in which each planted bug must show at least once.
const BUG_SEEDS: u64 = 30;

fn run(seed: u64, trouble_ms: &str, arguments: &[&str]) -> Value {
    let done = Command::new(env!("CARGO_BIN_EXE_conclave-sim"))
        .args(["one", &seed.to_string(), "--trouble-ms", trouble_ms])
        .args(arguments)
        .env("CONCLAVE_SIM_SEED", seed.to_string())
        .output()
        .unwrap();
    serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|error| panic!("seed {seed}: {error}: {}", String::from_utf8_lossy(&done.stderr)))
}

#[test]
fn seeds_are_clean() {
    for seed in SEEDS {
        let report = run(seed, TROUBLE_MS, &[]);
        assert_eq!(report["violation"], Value::Null, "seed {seed}");
        assert!(report["ok"].as_u64().unwrap() > 30, "seed {seed} did hardly anything: {report}");
        assert!(report["checked"]["hashes"].as_u64().unwrap() > 10, "seed {seed} compared hardly any states");
    }
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    for seed in [1, 2] {
        assert_eq!(run(seed, TROUBLE_MS, &[]), run(seed, TROUBLE_MS, &[]));
    }
    assert_ne!(run(1, TROUBLE_MS, &[])["trace"], run(2, TROUBLE_MS, &[])["trace"]);
}

#[track_caller]
fn is_found(bug: &str) {
    let violated =
        |seed, arguments: &[&str]| run(seed, BUG_TROUBLE_MS, arguments)["violation"] != Value::Null;
    // A seed that is not clean anyway proves nothing.
    let found = (1..=BUG_SEEDS).any(|seed| violated(seed, &["--bug", bug]) && !violated(seed, &[]));
    assert!(found, "{BUG_SEEDS} seeds did not notice {bug}");
}

#[test]
fn a_disk_that_lies_about_syncs_is_found() {
    is_found("lying-sync");
}

#[test]
fn a_vote_that_is_not_synced_is_found() {
    is_found("unsynced-vote");
}

#[test]
fn a_record_that_vanishes_is_found() {
    is_found("lost-record");
}
