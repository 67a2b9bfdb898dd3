//! Tries one way on one bug.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use conclave_faults::{PlantedBug, planted};
use serde::{Deserialize, Serialize};

use crate::process::{End, run};
use crate::programs::Program;
use crate::ways::Way;

/// A test that takes longer waits for what never comes, which is a failure too.
const TEST_MAX: Duration = Duration::from_secs(180);
/// A bug that shows itself by chance gets so many runs of its test.
const TEST_RUNS: u32 = 3;
/// One run of chaos; the next has another seed.
const CHAOS_RUN_SECONDS: u64 = 25;
/// All runs of chaos for one bug.
const CHAOS_SECONDS: u64 = 150;
/// What judging and healing may add to that.
const CHAOS_EXTRA: Duration = Duration::from_secs(180);
const CHAOS_NODES: &str = "3";
/// Simulated clusters in which a bug must show itself, and those that must be clean without it.
const SIM_SEEDS: u64 = 1000;
const SIM_CLEAN_SEEDS: u64 = 20;
/// How long they may take, on a machine that is busy.
const SIM_MAX: Duration = Duration::from_secs(3600);

/// Where everything is.
pub struct Workshop {
    pub programs: BTreeMap<String, Program>,
    pub conclave: PathBuf,
    pub chaos: PathBuf,
    /// The simulation of the server with its bugs.
    pub sim: PathBuf,
    pub out: PathBuf,
    pub seed: u64,
    /// Ways that were found to be clean without a bug.
    pub controlled: BTreeSet<String>,
}

/// What became of one way.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    pub bug: &'static str,
    pub way: String,
    pub caught: bool,
    /// The checker's or the test's own words, one line.
    pub said: String,
    /// Of the run that caught it, and those before that did not.
    pub seconds: f64,
    pub operations: Option<u64>,
}

/// The part of a chaos report that is of interest here.
#[derive(Deserialize)]
struct ChaosReport {
    operations: Operations,
    violations: Vec<String>,
}

#[derive(Deserialize)]
struct Operations {
    all: u64,
}

/// The same of a simulation's.
#[derive(Deserialize)]
struct SimReport {
    operations: u64,
    violations: Vec<SimViolation>,
    failures: Vec<String>,
}

#[derive(Deserialize)]
struct SimViolation {
    seed: u64,
    violation: Option<String>,
}

/// How a run ended: what it found wrong, and of how many operations.
struct Seen {
    wrong: Option<String>,
    operations: Option<u64>,
}

impl Workshop {
    /// # Errors
    /// The way itself does not work: nothing was found out about the bug.
    pub fn try_way(&mut self, row: &PlantedBug, way: Way) -> anyhow::Result<Finding> {
        let name = describe(way);
        if self.controlled.insert(name.clone())
            && let Some(wrong) = self.once(None, way, 0)?.wrong
        {
            anyhow::bail!("{name} fails without any bug: {wrong}");
        }
        let began = Instant::now();
        let runs = if matches!(way, Way::Test { .. }) { TEST_RUNS } else { 1 };
        let mut operations = None;
        let mut said = String::from("nothing");
        let mut caught = false;
        for run in 0..runs {
            let seen = self.once(Some(row), way, run)?;
            operations = seen.operations;
            if let Some(wrong) = seen.wrong {
                (caught, said) = (true, wrong);
                break;
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        Ok(Finding { bug: row.name, way: name, caught, said, seconds, operations })
    }

    fn once(&self, bug: Option<&PlantedBug>, way: Way, run: u32) -> anyhow::Result<Seen> {
        let folder = self.out.join(bug.map_or("without", |row| row.name));
        std::fs::create_dir_all(&folder)?;
        match way {
            Way::Test { program, name } => self.test(bug, program, name, &folder, run),
            Way::Chaos { faults, clients } => {
                self.chaos(bug, faults, clients, &folder.join(file_name(faults)))
            }
            Way::Sim => self.simulate(bug, &folder.join("sim")),
        }
    }

    fn test(
        &self,
        bug: Option<&PlantedBug>,
        program: &str,
        name: &str,
        folder: &Path,
        run_number: u32,
    ) -> anyhow::Result<Seen> {
        let found = self.programs.get(program).with_context(|| format!("no test program {program}"))?;
        let mut command = Command::new(&found.path);
        command.args(["--exact", name, "--test-threads", "1"]).current_dir(&found.folder);
        command.env_remove(planted::VARIABLE);
        if let Some(row) = bug {
            command.env(planted::VARIABLE, row.name);
        }
        let output = folder.join(format!("{}-{run_number}.txt", file_name(name)));
        let end = run(command, &output, TEST_MAX)?;
        let text = String::from_utf8_lossy(&std::fs::read(&output)?).into_owned();
        anyhow::ensure!(text.contains("running 1 test"), "{program} has no test {name}");
        let wrong = match end {
            End::Good => None,
            End::Bad => Some(complaint(&text)),
            End::Overdue => Some(format!("it waits for ever (longer than {TEST_MAX:?})")),
        };
        Ok(Seen { wrong, operations: None })
    }

    fn chaos(
        &self,
        bug: Option<&PlantedBug>,
        faults: &str,
        clients: u8,
        folder: &Path,
    ) -> anyhow::Result<Seen> {
        std::fs::create_dir_all(folder)?;
        let mut command = Command::new(&self.chaos);
        command.arg("--conclave").arg(&self.conclave).arg("--out").arg(folder);
        command.args(["--nodes", CHAOS_NODES, "--faults", faults, "--seed", &self.seed.to_string()]);
        command.args(["--clients", &clients.to_string()]);
        // Without a bug one run shows that what is found with it is not there anyway.
        let seconds = if bug.is_some() { CHAOS_SECONDS } else { CHAOS_RUN_SECONDS };
        command.args(["--seconds", &seconds.to_string(), "--run-seconds", &CHAOS_RUN_SECONDS.to_string()]);
        command.arg("--until-violation").env_remove(planted::VARIABLE);
        if let Some(row) = bug {
            command.args(["--env", &format!("{}={}", planted::VARIABLE, row.name)]);
        }
        let report = folder.join("report.json");
        if report.exists() {
            std::fs::remove_file(&report)?;
        }
        let limit = Duration::from_secs(seconds) + CHAOS_EXTRA;
        let end = run(command, &folder.join("output.txt"), limit)?;
        anyhow::ensure!(end != End::Overdue, "chaos did not end within {limit:?}");
        let Ok(report) = std::fs::read(&report) else {
            // A cluster that cannot even be founded, or dies on the way: seen by all, not judged by clients.
            let said = std::fs::read_to_string(folder.join("output.txt"))?;
            let last = said.lines().last().unwrap_or_default().to_owned();
            anyhow::ensure!(end == End::Bad && bug.is_some(), "chaos wrote no report: {last}");
            return Ok(Seen { wrong: Some(last), operations: None });
        };
        let report: ChaosReport = serde_json::from_slice(&report)?;
        let wrong = report.violations.first().map(|first| one_line(first));
        Ok(Seen { wrong, operations: Some(report.operations.all) })
    }

    fn simulate(&self, bug: Option<&PlantedBug>, folder: &Path) -> anyhow::Result<Seen> {
        std::fs::create_dir_all(folder)?;
        let report = folder.join("report.json");
        let seeds = if bug.is_some() { SIM_SEEDS } else { SIM_CLEAN_SEEDS };
        let mut command = Command::new(&self.sim);
        command.args(["many", "--stop", "--seeds", &seeds.to_string(), "--from", &self.seed.to_string()]);
        command.arg("--out").arg(&report).env_remove(planted::VARIABLE);
        if let Some(row) = bug {
            command.env(planted::VARIABLE, row.name);
        }
        let end = run(command, &folder.join("output.txt"), SIM_MAX)?;
        anyhow::ensure!(end != End::Overdue, "the simulation did not end within {SIM_MAX:?}");
        let report: SimReport = serde_json::from_slice(&std::fs::read(&report)?)?;
        let violation = report.violations.first().map(|first| {
            let said = first.violation.as_deref().unwrap_or_default();
            format!("seed {}: {said}", first.seed)
        });
        // A seed whose process broke off is not clean either.
        let wrong = violation.or_else(|| report.failures.first().cloned());
        Ok(Seen { wrong: wrong.map(|wrong| one_line(&wrong)), operations: Some(report.operations) })
    }
}

pub fn describe(way: Way) -> String {
    match way {
        Way::Test { program, name } => format!("test {program} {name}"),
        Way::Chaos { faults, clients } => format!("chaos with {faults}, {clients} clients a node"),
        Way::Sim => "simulated clusters".to_owned(),
    }
}

/// What a failing test said first.
fn complaint(output: &str) -> String {
    let mut lines = output.lines().skip_while(|line| !line.contains("panicked at"));
    let place = lines.next();
    let words = lines.next().map(one_line);
    words.or(place.map(one_line)).unwrap_or_else(|| "it failed".to_owned())
}

/// As it fits into a table.
fn one_line(text: &str) -> String {
    const LENGTH_MAX: usize = 160;
    let line = text.lines().next().unwrap_or_default().replace('|', "/");
    line.chars().take(LENGTH_MAX).collect()
}

fn file_name(text: &str) -> String {
    text.replace(['/', ':', ','], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_what_follows_the_place_of_a_panic() {
        let output = "running 1 test\nthread 'x' panicked at a.rs:1:2:\nassertion failed: a | b\nnote: run\n";
        assert_eq!(complaint(output), "assertion failed: a / b");
        assert_eq!(complaint("FAILED"), "it failed");
    }
}
