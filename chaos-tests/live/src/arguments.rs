//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum as _;

use crate::cluster::{Variable, Way};
use crate::crash;
use crate::fault::Kind;
use crate::run::Settings;

/// How nodes end at fail points, if that is not said.
const WAYS: [Way; 2] = [Way::Abort, Way::PowerCut];
const SECONDS_PER_HOUR: f64 = 3600.0;

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
    #[arg(long, default_value_t = 60, conflicts_with = "hours")]
    seconds: u64,
    /// The same in hours, such as 0.5.
    #[arg(long, value_parser = hours)]
    hours: Option<Duration>,
    /// How long one run takes, at most, in seconds: then a new cluster is made.
    #[arg(long, default_value_t = 300)]
    run_seconds: u64,
    /// Clients at each node.
    #[arg(long, default_value_t = 3)]
    clients: usize,
    /// Kinds of faults [default: all].
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Kind>,
    /// How long a cluster may take, after faults have ended, until all nodes serve, in seconds.
    #[arg(long, default_value_t = 60)]
    heal_seconds: u64,
    /// Variables for the servers: NAME=VALUE, or n2:NAME=VALUE for one node.
    #[arg(long)]
    pub env: Vec<Variable>,
    /// End with the first run that shows a violation.
    #[arg(long)]
    pub until_violation: bool,
    /// Instead of faults: fail points at which nodes end, or 'all'. The server must have been built with them.
    #[arg(long, value_delimiter = ',')]
    pub crash_points: Vec<String>,
    /// How they end there [default: both].
    #[arg(long, value_delimiter = ',')]
    crash_ways: Vec<Way>,
    /// End when nodes have ended so often at each point, in each way, if that is before the time is over.
    #[arg(long)]
    pub crash_hits: Option<u64>,
    /// Where reports go, and everything of a run that failed.
    #[arg(long, default_value = "target/chaos")]
    pub out: PathBuf,
    /// Keep the histories and the servers' logs of good runs as well.
    #[arg(long)]
    pub keep_history: bool,
}

impl Arguments {
    /// Cluster sizes, one run after another.
    pub fn sizes(&self) -> Vec<usize> {
        self.nodes.map_or_else(|| vec![3, 5], |nodes| vec![usize::from(nodes)])
    }

    pub fn lasts(&self) -> Duration {
        self.hours.unwrap_or(Duration::from_secs(self.seconds))
    }

    /// `diskless` says why the nodes cannot have disks of their own, if they cannot.
    pub fn settings(&self, run: u64, left: Duration, diskless: Option<String>) -> anyhow::Result<Settings> {
        let mut kinds =
            if self.faults.is_empty() { Kind::value_variants().to_vec() } else { self.faults.clone() };
        let mut ways = if self.crash_ways.is_empty() { WAYS.to_vec() } else { self.crash_ways.clone() };
        if let Some(limit) = &diskless {
            kinds.retain(|kind| !kind.needs_disks());
            anyhow::ensure!(!kinds.is_empty(), "none of these faults can be made here: {limit}");
            ways.retain(|way| *way != Way::PowerCut);
            anyhow::ensure!(!ways.is_empty(), "no power can be cut here: {limit}");
        }
        anyhow::ensure!(
            self.sizes().iter().all(|nodes| kinds.iter().any(|kind| kind.nodes_min() <= *nodes)),
            "none of these faults can be made with so few nodes"
        );
        Ok(Settings {
            seed: self.seed.wrapping_add(run),
            lasts: left.min(Duration::from_secs(self.run_seconds)),
            clients_per_node: self.clients,
            kinds,
            heal_max: Duration::from_secs(self.heal_seconds),
            diskless,
            points: crash::points(&self.crash_points)?,
            ways,
            earlier: crash::Hits::default(),
            hits_wanted: self.crash_hits,
        })
    }
}

fn hours(text: &str) -> Result<Duration, String> {
    let hours: f64 = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(hours * SECONDS_PER_HOUR).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn hours_may_be_fractions_but_not_negative() {
        assert_eq!(hours("0.5"), Ok(Duration::from_secs(1800)));
        assert!(hours("-1").is_err() && hours("nan").is_err() && hours("x").is_err());
    }

    #[test]
    fn a_fault_that_needs_more_nodes_cannot_be_all_there_is() {
        let settings = |nodes: &str| {
            let line = ["chaos", "--nodes", nodes, "--faults", "ring"];
            Arguments::parse_from(line).settings(0, Duration::ZERO, None)
        };
        assert!(settings("3").is_err());
        assert!(settings("5").is_ok());
    }

    #[test]
    fn without_disks_only_faults_that_need_none_are_made() {
        let settings = |faults: &str| {
            let line = ["chaos", "--nodes", "3", "--faults", faults];
            Arguments::parse_from(line).settings(0, Duration::ZERO, Some("no loop devices".to_owned()))
        };
        assert_eq!(settings("power-cut,kill").unwrap().kinds, [Kind::Kill]);
        assert_eq!(settings("kill").unwrap().ways, [Way::Abort], "at fail points no power is cut either");
        assert!(settings("power-cut").is_err_and(|error| error.to_string().contains("no loop devices")));
    }
}
