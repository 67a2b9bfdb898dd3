//! A short seeded run against real servers: three nodes, several kinds of faults, everything judged.
//!
//! It is about safety only. On a machine that has much else to do faults may not come about as meant and clients may be
//! refused for long; what they were told must be right nevertheless. It needs what `conclave-chaos` needs, and says so
//! where that is missing. The audit trails that the run leaves are then damaged in every way that somebody might.

mod trail;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Its schedule has each of [`FAULTS`] within the first forty seconds, if healing takes a second.
const SEED: &str = "216019";
const SECONDS: &str = "75";
/// Not those whose meaning is how fast something is.
const FAULTS: &str =
    "kill,kill-all,pause,isolate,mute,seal,rotate,step-down,snapshot-save,churn,clock-off,clock-jump";
/// A machine that does ten other things is given time.
const HEAL_SECONDS: &str = "300";

/// What it is called where tests are chosen by name.
const NAME: &str = "short_run";

fn main() -> ExitCode {
    if let Some(wanted) = std::env::args().skip(1).find(|argument| !argument.starts_with("--"))
        && !NAME.contains(&wanted)
    {
        return ExitCode::SUCCESS;
    }
    if std::env::args().any(|argument| argument == "--list") {
        println!("{NAME}: test");
        return ExitCode::SUCCESS;
    }
    run()
}

fn run() -> ExitCode {
    let chaos = Path::new(env!("CARGO_BIN_EXE_conclave-chaos"));
    // Of the same profile, in the folder that cargo builds all programs into.
    let conclave = chaos.with_file_name("conclave");
    if !conclave.is_file() {
        return skipped("there is no server beside it: run the tests of the whole workspace");
    }
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("chaos-short");
    // What an earlier run left must not be taken for this one's.
    drop(std::fs::remove_dir_all(&out));
    let mut command = Command::new(chaos);
    command.arg("--conclave").arg(&conclave).arg("--out").arg(&out).arg("--keep-history");
    command.args(["--nodes", "3", "--clients", "2", "--seed", SEED, "--seconds", SECONDS]);
    command.args(["--heal-seconds", HEAL_SECONDS]);
    command.args(["--faults", FAULTS]);
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return failed(&format!("the harness did not start: {error}")),
    };
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Nothing is printed but this sentence when a run cannot even begin.
    if let Some(reason) = told.lines().find_map(|line| line.strip_prefix("chaos: cannot run here: ")) {
        return skipped(reason);
    }
    let report = match std::fs::read_to_string(out.join("report.json")) {
        Ok(report) if output.status.success() => report,
        _ => return failed(&format!("{told}\n{said}")),
    };
    let trails =
        || trail::damaged_in_all_ways(&conclave, &out).map_err(|error| format!("audit trails: {error}"));
    match checked(&report).and_then(|summary| Ok((summary, trails()?))) {
        Ok((summary, ways)) => {
            println!("test {NAME} ... ok ({summary}; audit trails damaged in {ways} ways)");
            ExitCode::SUCCESS
        }
        Err(reason) => failed(&format!("{reason}\n{told}\n{said}")),
    }
}

/// That the run did something: a good verdict on nothing is worth nothing.
fn checked(report: &str) -> Result<String, String> {
    let report: serde_json::Value = serde_json::from_str(report).map_err(|error| error.to_string())?;
    let counted: u64 = report["faults"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, counts)| counts["counted"].as_u64())
        .sum();
    let answered = report["operations"]["ok"].as_u64().unwrap_or(0);
    let verified = report["compared"]["trail_lines"].as_u64().unwrap_or(0);
    let tried = report["rights"]["uses"].as_u64().unwrap_or(0);
    let summary = format!(
        "{counted} faults, {answered} requests answered, tokens used {tried} times, {verified} lines of audit trails"
    );
    if counted == 0 || answered == 0 || verified == 0 || tried == 0 {
        return Err(summary);
    }
    Ok(summary)
}

fn skipped(reason: &str) -> ExitCode {
    println!("test {NAME} ... skipped: {reason}");
    ExitCode::SUCCESS
}

fn failed(reason: &str) -> ExitCode {
    println!("test {NAME} ... FAILED\n{reason}");
    ExitCode::FAILURE
}
