//! `make chaos`: real servers, each in a network and on a disk of its own, broken by a seeded schedule while clients work,
//! and judged by what the clients saw.
//!
//! It shares no code with the server: whatever it believes, it has from outside.

mod arguments;
mod client;
mod cluster;
mod coverage;
mod crash;
mod disk;
mod episode;
mod failover;
mod fault;
mod invariant;
mod judge;
mod machine;
mod net;
mod random;
mod recorder;
mod report;
mod run;
mod schedule;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use clap::Parser as _;

use crate::arguments::Arguments;
use crate::cluster::{Cluster, Needs};
use crate::disk::Disks;
use crate::invariant::trails;
use crate::net::Net;
use crate::report::Report;
use crate::run::Settings;

const NO_FAKETIME: &str = "libfaketime is missing, so no clock is bent: apt-get install libfaketime";

fn main() -> ExitCode {
    // The HTTP client wants one even for plain HTTP. Fails only if there is one already.
    drop(rustls::crypto::ring::default_provider().install_default());
    match chaos(&Arguments::parse()) {
        Ok(report) => {
            println!("\n{}", report.markdown());
            if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one after another until the time is over; returns them added up.
fn chaos(arguments: &Arguments) -> anyhow::Result<Report> {
    net::probe::requirements().context("cannot run here")?;
    anyhow::ensure!(
        arguments.conclave.is_file(),
        "there is no server at {}: 'make build' makes it, --conclave names another",
        arguments.conclave.display()
    );
    if !arguments.crash_points.is_empty() {
        crash::requirements(&arguments.conclave)?;
    }
    for run in net::remove_leftovers()? {
        say(format_args!("removed what run {run} had left"));
    }
    for run in disk::remove_leftovers()? {
        say(format_args!("unmounted what run {run} had left"));
    }
    let diskless = tokio::runtime::Runtime::new()?.block_on(disk::limit());
    let began = Instant::now();
    let mut sum = Report::default();
    for (number, nodes) in (0..).zip(arguments.sizes().into_iter().cycle()) {
        let left = arguments.lasts().saturating_sub(began.elapsed());
        if number > 0 && left.is_zero() {
            break;
        }
        let mut settings = arguments.settings(number, left, diskless.clone())?;
        settings.earlier = sum.crashes.clone();
        let unbent = settings.bends_clocks() && cluster::library().is_none();
        if unbent {
            settings.kinds.retain(|kind| !kind.bends_clock());
            anyhow::ensure!(!settings.kinds.is_empty(), NO_FAKETIME);
        }
        let limits = unbent.then(|| NO_FAKETIME.to_owned()).into_iter().collect();
        sum.add(one(arguments, &settings, nodes, limits)?);
        sum.write(&arguments.out)?;
        let has_enough = arguments.crash_hits.is_some_and(|wanted| sum.crashes.fewest() >= wanted);
        if has_enough || (arguments.until_violation && !sum.violations.is_empty()) {
            break;
        }
    }
    Ok(sum)
}

fn one(
    arguments: &Arguments,
    settings: &Settings,
    nodes: usize,
    mut limits: Vec<String>,
) -> anyhow::Result<Report> {
    let folder = folder(arguments, settings.seed, nodes)?;
    say(format_args!("seed {}, {nodes} nodes, in {}", settings.seed, folder.display()));
    let net = Arc::new(Net::new(nodes)?);
    limits.extend(net::probe::limits(&net));
    limits.extend(settings.diskless.clone());
    for limit in &limits {
        say(limit);
    }
    // Threads live where the thread that starts them does, so this comes before the runtime.
    net.enter()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut report = runtime.block_on(async {
        tokio::select! {
            report = broken(arguments, settings, net.clone(), &folder) => report,
            // Only what returns is dropped, and dropping ends the servers and removes the network.
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            () = terminated() => Err(anyhow::anyhow!("terminated")),
        }
    })?;
    report.setting.limits = limits;
    report.setting.version = cluster::version(&arguments.conclave);
    report.setting.machine = machine::describe();
    report.setting.command = std::env::args().collect::<Vec<_>>().join(" ");
    report.write(&folder)?;
    if report.violations.is_empty() {
        tidy(&folder, nodes, arguments.keep_history)?;
        say(format_args!("seed {}: good, {} operations", settings.seed, report.operations.all));
    } else {
        say(format_args!(
            "seed {}: {} VIOLATIONS, kept in {}",
            settings.seed,
            report.violations.len(),
            folder.display()
        ));
    }
    Ok(report)
}

async fn broken(
    arguments: &Arguments,
    settings: &Settings,
    net: Arc<Net>,
    folder: &Path,
) -> anyhow::Result<Report> {
    let disks = match settings.diskless {
        Some(_) => Disks::plain(net.nodes(), folder)?,
        None => Disks::new(net.run(), net.nodes(), folder).await?,
    };
    let needs = Needs {
        disks,
        environment: arguments.env.clone(),
        bends_clocks: settings.bends_clocks(),
        heal_max: settings.heal_max,
        has_points: !settings.points.is_empty(),
    };
    let cluster = Cluster::found(net, &arguments.conclave, folder, needs).await?;
    say("the cluster serves");
    run::run(&cluster, settings, folder).await
}

fn folder(arguments: &Arguments, seed: u64, nodes: usize) -> anyhow::Result<PathBuf> {
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S");
    let folder = arguments.out.join(format!("{time}-seed{seed}-nodes{nodes}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder.canonicalize()?)
}

/// Of a good run, the report and the schedule stay, and if that is asked for what clients and servers saw.
fn tidy(folder: &Path, nodes: usize, keep_history: bool) -> anyhow::Result<()> {
    for node in 0..nodes {
        disk::remove(folder, node)?;
        if !keep_history {
            std::fs::remove_file(folder.join(format!("{}.log", cluster::name(node))))?;
            trails::remove(folder, node);
        }
        drop(std::fs::remove_file(folder.join(format!("{}.points", cluster::name(node)))));
    }
    if !keep_history {
        std::fs::remove_file(folder.join("history.jsonl"))?;
    }
    Ok(())
}

async fn terminated() {
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    }
}

/// Progress goes to standard error: standard output is the report.
fn say(line: impl std::fmt::Display) {
    eprintln!("chaos: {line}");
}
