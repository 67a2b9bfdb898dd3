//! What the program is asked to do.

use std::path::PathBuf;

use crate::disk::Bug;

#[derive(Debug, clap::Parser)]
#[command(name = "conclave-sim", about = "Simulate clusters, seed by seed")]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run one seed in this process and print its report as JSON. All its chance comes from `CONCLAVE_SIM_SEED`.
    One(One),
    /// Run many seeds, each in a process of its own, and sum up.
    Many(Many),
}

#[derive(Debug, Clone, clap::Args)]
pub struct Trouble {
    /// How long faults go on, in simulated milliseconds.
    #[arg(long, default_value_t = 12_000)]
    pub trouble_ms: u64,
    /// A bug to plant into the simulated disk.
    #[arg(long, value_enum)]
    pub bug: Option<Bug>,
}

#[derive(Debug, clap::Args)]
pub struct One {
    /// The same as `CONCLAVE_SIM_SEED`.
    pub seed: u64,
    #[command(flatten)]
    pub trouble: Trouble,
    /// What to log to standard error, such as `info` or `conclave_node=debug`.
    #[arg(long)]
    pub log: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct Many {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    pub seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    pub from: u64,
    /// How many at a time.
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
    #[command(flatten)]
    pub trouble: Trouble,
    /// Stop at the first seed that is not clean.
    #[arg(long)]
    pub stop: bool,
    /// Run each seed twice and compare.
    #[arg(long)]
    pub twice: bool,
    /// Where the summary goes, as JSON.
    #[arg(long)]
    pub out: Option<PathBuf>,
}
