//! `make bench`: Conclave beside OpenBao and beside this machine's ceilings, in one run, as one Markdown table.
//!
//! Both clusters are three real processes on loopback without TLS, and without audit where a figure does not name it;
//! the load is `wrk`, the same for both, on cores of its own (`cores.rs` says why). The ratio is the figure: the
//! absolute numbers are this machine's.
//! A measurement that had a failed request says so in its cell; nothing is averaged away.

mod arguments;
mod ceiling;
mod cluster;
mod cores;
mod failover;
mod http;
mod leases;
mod load;
mod logins;
mod million;
mod process;
mod report;
mod throughput;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Part};
use crate::cluster::{Audit, Cluster};
use crate::cores::Cores;
use crate::report::Report;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(report) => {
            println!("\n{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs `work` on a runtime of its own, until it is done or somebody stops the run.
fn unless_stopped(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        tokio::select! {
            outcome = work => outcome,
            // Only a run that ends by itself drops its clusters, which ends their processes.
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            () = terminated() => Err(anyhow::anyhow!("terminated")),
        }
    })
}

async fn terminated() {
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let cores = Cores::divide(arguments.share_cores)?;
    let mut report = Report::new(arguments, cores)?;
    if arguments.measures(Part::Throughput) {
        cores.as_server(|| unless_stopped(throughput::measure(arguments, cores, &mut report)))?;
    }
    if arguments.measures(Part::Audited) {
        cores.as_server(|| unless_stopped(throughput::measure_audited(arguments, cores, &mut report)))?;
    }
    unless_stopped(run_on_all_cores(arguments, &mut report))?;
    Ok(report)
}

/// What is no rate: the load decides how long it takes, not what is found.
async fn run_on_all_cores(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    if arguments.measures(Part::Logins) {
        logins::measure(arguments, report).await?;
    }
    if arguments.measures(Part::Failover) {
        let conclave = Cluster::conclave(&arguments.conclave, Audit::Off).await?;
        let ours = failover::measure(conclave, arguments.kills).await?;
        let openbao = Cluster::openbao(&arguments.bao(), Audit::Off).await?;
        let theirs = failover::measure(openbao, arguments.peer_kills).await?;
        report.failover(&ours, &theirs);
    }
    if arguments.measures(Part::Million) {
        million::measure(arguments, report).await?;
    }
    if arguments.measures(Part::Leases) {
        leases::measure(arguments, report).await?;
    }
    Ok(())
}

/// Progress goes to standard error: standard output is the table.
fn say(line: impl std::fmt::Display) {
    eprintln!("bench: {line}");
}
