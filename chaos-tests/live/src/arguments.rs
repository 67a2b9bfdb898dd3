//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum as _;

use crate::fault::Kind;
use crate::run::Settings;

#[derive(clap::Parser)]
#[command(name = "conclave-chaos", about = "Break real clusters while clients work, and judge what they saw")]
pub struct Arguments {
    /// The server under test.
    #[arg(long, default_value = "target/release/conclave")]
    pub conclave: PathBuf,
    /// Nodes of the cluster [default: 3 and 5 in turns].
    #[arg(long, value_parser = clap::value_parser!(u16).range(3..=9))]
    nodes: Option<u16>,
    /// Seed of the first run; each further run has the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long all runs together may take, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How long one run takes, at most, in seconds: then a new cluster is made.
    #[arg(long, default_value_t = 300)]
    run_seconds: u64,
    /// Clients at each node.
    #[arg(long, default_value_t = 3)]
    clients: usize,
    /// Kinds of faults [default: all].
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Kind>,
    /// Where reports go, and everything of a run that failed.
    #[arg(long, default_value = "target/chaos")]
    pub out: PathBuf,
    /// Keep the history of good runs as well.
    #[arg(long)]
    pub keep_history: bool,
}

impl Arguments {
    /// Cluster sizes, one run after another.
    pub fn sizes(&self) -> Vec<usize> {
        self.nodes.map_or_else(|| vec![3, 5], |nodes| vec![usize::from(nodes)])
    }

    pub fn lasts(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    pub fn settings(&self, run: u64, left: Duration) -> anyhow::Result<Settings> {
        let kinds = if self.faults.is_empty() { Kind::value_variants().to_vec() } else { self.faults.clone() };
        anyhow::ensure!(
            self.sizes().iter().all(|nodes| kinds.iter().any(|kind| kind.nodes_min() <= *nodes)),
            "none of these faults can be made with so few nodes"
        );
        Ok(Settings {
            seed: self.seed.wrapping_add(run),
            lasts: left.min(Duration::from_secs(self.run_seconds)),
            clients_per_node: self.clients,
            kinds,
        })
    }
}
