//! `make chaos-mutants`: a server with one planted bug at a time, and whether the tests and chaos notice.
//!
//! A harness that misses a bug it was shown would miss the ones that nobody has seen yet.

mod check;
mod process;
mod programs;
mod report;
mod ways;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::Parser as _;
use conclave_faults::BUGS;

use crate::check::Workshop;
use crate::report::Report;
use crate::ways::Way;

#[derive(clap::Parser)]
#[command(name = "conclave-mutants", about = "Plant one bug after another, and see whether anybody notices")]
struct Arguments {
    /// A server that was built with the feature planted-bugs.
    #[arg(long)]
    conclave: PathBuf,
    /// What `cargo test --no-run --message-format=json` wrote, with that feature.
    #[arg(long)]
    tests: PathBuf,
    #[arg(long)]
    chaos: PathBuf,
    /// The simulation, built with that feature too.
    #[arg(long)]
    sim: PathBuf,
    /// Where the tables go, and what each check said.
    #[arg(long, default_value = "target/mutants")]
    out: PathBuf,
    /// Bugs [default: all].
    #[arg(long, value_delimiter = ',')]
    bugs: Vec<String>,
    /// Only by tests, only by chaos, or only by simulation [default: all].
    #[arg(long)]
    only: Option<Only>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    Tests,
    Chaos,
    Sim,
}

fn main() -> ExitCode {
    match mutants(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mutants: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn mutants(arguments: &Arguments) -> anyhow::Result<bool> {
    for name in &arguments.bugs {
        conclave_faults::planted::find(name)?;
    }
    std::fs::create_dir_all(&arguments.out)?;
    let version = version(arguments)?;
    let mut workshop = Workshop {
        programs: programs::read(&arguments.tests)?,
        conclave: arguments.conclave.canonicalize().context("there is no server there")?,
        chaos: arguments.chaos.clone(),
        sim: arguments.sim.clone(),
        out: arguments.out.canonicalize()?,
        seed: arguments.seed,
        controlled: BTreeSet::new(),
    };
    let (mut findings, mut broken) = (Vec::new(), Vec::new());
    for row in BUGS {
        if !arguments.bugs.is_empty() && !arguments.bugs.iter().any(|name| name == row.name) {
            continue;
        }
        for way in ways::ways(row.bug) {
            let kind = match way {
                Way::Test { .. } => Only::Tests,
                Way::Chaos { .. } => Only::Chaos,
                Way::Sim => Only::Sim,
            };
            if arguments.only.is_some_and(|only| only != kind) {
                continue;
            }
            match workshop.try_way(row, way) {
                Ok(finding) => {
                    let verdict = if finding.caught { "caught" } else { "MISSED" };
                    eprintln!(
                        "mutants: {}: {verdict} after {:.1} s by {}",
                        row.name, finding.seconds, finding.way
                    );
                    findings.push(finding);
                }
                Err(error) => {
                    eprintln!("mutants: {}: {error:#}", row.name);
                    broken.push(format!("{}: {error:#}", row.name));
                }
            }
            Report { version: version.clone(), findings: &findings, broken: &broken }
                .write(&arguments.out)?;
        }
    }
    let report = Report { version, findings: &findings, broken: &broken };
    println!("{}", report.markdown());
    Ok(report.is_good())
}

/// The server's own words, which must own up to the bugs.
fn version(arguments: &Arguments) -> anyhow::Result<String> {
    let output = Command::new(&arguments.conclave).arg("--version").output();
    let output = output.with_context(|| format!("there is no server at {}", arguments.conclave.display()))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    anyhow::ensure!(
        version.contains("planted-bugs"),
        "{} has no planted bugs: it needs the feature planted-bugs",
        arguments.conclave.display()
    );
    Ok(version)
}
