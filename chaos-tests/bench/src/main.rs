//! `make bench`: Conclave beside OpenBao and beside this machine's ceilings, in one run, as one Markdown table.
//!
//! Both clusters are three real processes on loopback without TLS and without audit; the load is `wrk`, the same
//! for both, sharing the machine with them. The ratio is the figure: the absolute numbers are this machine's.
//! A measurement that had a failed request says so in its cell; nothing is averaged away.

mod arguments;
mod ceiling;
mod cluster;
mod failover;
mod http;
mod load;
mod million;
mod process;
mod report;
mod throughput;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Part};
use crate::cluster::Cluster;
use crate::report::Report;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new().expect("the machine can start a thread");
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = run(&arguments) => outcome,
            // Only a run that ends by itself drops its clusters, which ends their processes.
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            _ = terminated() => Err(anyhow::anyhow!("terminated")),
        }
    });
    match outcome {
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

async fn terminated() {
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let mut report = Report::new(arguments)?;
    if arguments.measures(Part::Throughput) {
        throughput::measure(arguments, &mut report).await?;
    }
    if arguments.measures(Part::Failover) {
        let conclave = Cluster::conclave(&arguments.conclave).await?;
        let ours = failover::measure(conclave, arguments.kills).await?;
        let openbao = Cluster::openbao(&arguments.bao()).await?;
        let theirs = failover::measure(openbao, arguments.peer_kills).await?;
        report.failover(&ours, &theirs);
    }
    if arguments.measures(Part::Million) {
        million::measure(arguments, &mut report).await?;
    }
    Ok(report)
}

/// Progress goes to standard error: standard output is the table.
fn say(line: impl std::fmt::Display) {
    eprintln!("bench: {line}");
}
