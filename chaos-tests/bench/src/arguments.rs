//! What to measure, and for how long.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

#[derive(Parser)]
#[command(about = "Measures Conclave beside OpenBao and this machine's ceilings")]
pub struct Arguments {
    /// The program to measure.
    #[arg(long)]
    pub conclave: PathBuf,
    /// The virtual environment in which `make setup` installed OpenBao.
    #[arg(long)]
    pub venv: PathBuf,
    /// Measure only these.
    #[arg(long, value_enum)]
    pub only: Vec<Part>,
    /// Length of each throughput measurement, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Connections that the load keeps busy: each number gives figures of its own.
    #[arg(long, value_delimiter = ',', default_values_t = [32, 128], value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub connections: Vec<u32>,
    /// Let the load share the servers' cores, instead of having some of its own.
    #[arg(long)]
    pub share_cores: bool,
    /// How often Conclave's leader is killed.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub kills: u32,
    /// How often OpenBao's leader is killed: each costs it ten seconds and more.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub peer_kills: u32,
    /// Logins whose traces are weighed.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    pub logins: u32,
    /// Secrets in the large cluster.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    pub secrets: u64,
    /// Leases of tokens in the cluster with many.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    pub leases: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Reads and writes a second, and the ceilings; without an audit trail.
    Throughput,
    /// Reads, writes, lookups and logins a second, with an audit trail.
    Audited,
    /// What very many logins leave in memory and on disk.
    Logins,
    /// How long writes are gone when the leader is killed.
    Failover,
    /// A cluster with very many secrets: memory, restart, takeover.
    Million,
    /// A cluster with very many leases of tokens, and one with none: memory, takeover.
    Leases,
}

impl Arguments {
    pub fn measures(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    pub fn bao(&self) -> PathBuf {
        self.venv.join("bin/bao")
    }
}
