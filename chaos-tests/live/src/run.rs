//! One run: load and faults for a while, then healing, then the questions whose answers are judged.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use conclave_faults::failpoint::PointRow;

use crate::client::{Client, Holder, Shared};
use crate::cluster::{Cluster, Way};
use crate::crash::{self, Hits};
use crate::episode;
use crate::fault::Kind;
use crate::invariant::secrecy::Canary;
use crate::invariant::{logs, serves, states, trails};
use crate::judge::judge;
use crate::recorder::Recorder;
use crate::report::{Compared, Report};
use crate::say;
use crate::schedule::Schedule;

/// Load before the first fault, and after the last.
const SETTLE: Duration = Duration::from_secs(3);

/// What one run is made of; with the seed it can be made again.
pub struct Settings {
    pub seed: u64,
    pub lasts: Duration,
    pub clients_per_node: usize,
    pub kinds: Vec<Kind>,
    /// How long the cluster may take to serve again after faults.
    pub heal_max: Duration,
    /// Why the nodes have no disks of their own, if they have none.
    pub diskless: Option<String>,
    /// If there are any, nodes end at these, and there are no other faults.
    pub points: Vec<&'static PointRow>,
    /// In which ways.
    pub ways: Vec<Way>,
    /// Crashes of the runs before this one: what came least is next.
    pub earlier: Hits,
    /// How often each point is to be hit in each way, in all runs together.
    pub hits_wanted: Option<u64>,
}

impl Settings {
    pub fn bends_clocks(&self) -> bool {
        self.kinds.iter().any(|kind| kind.bends_clock())
    }

    fn crashes(&self) -> crash::Plan {
        crash::Plan::new(&self.points, self.ways.clone(), self.seed, self.earlier.clone())
    }

    fn has_enough(&self, crashes: &crash::Plan) -> bool {
        self.hits_wanted.is_some_and(|wanted| crashes.fewest_under_load() >= wanted)
    }
}

pub async fn run(cluster: &Cluster, settings: &Settings, folder: &Path) -> anyhow::Result<Report> {
    let recorder = Recorder::new(&folder.join("history.jsonl"))?;
    let urls = (0..cluster.nodes()).map(|node| cluster.url(node)).collect();
    let shared = Arc::new(Shared::new(urls, cluster.token().to_owned(), recorder));
    let canary = Canary::plant(cluster, settings.seed).await?;
    let mut clients = tokio::task::JoinSet::new();
    for home in 0..cluster.nodes() {
        for place in 0..settings.clients_per_node {
            let id = u32::try_from(place * cluster.nodes() + home)?;
            clients.spawn(Client::new(id, home, shared.clone(), settings.seed)?.run());
        }
        clients.spawn(Holder::new(u32::try_from(home)?, shared.clone(), settings.seed)?.run());
    }
    let began = Instant::now();
    tokio::time::sleep(SETTLE).await;
    let mut events = Vec::new();
    let mut violations = Vec::new();
    let mut crashes = settings.crashes();
    while !settings.points.is_empty() && began.elapsed() < settings.lasts && !settings.has_enough(&crashes) {
        shared.epoch.store(crashes.number(), Ordering::Relaxed);
        if let Err(error) = crashes.crash_one(cluster).await {
            violations.push(format!("{error:#}"));
            break;
        }
    }
    let mut schedule = Schedule::new(settings.seed, cluster.nodes(), &settings.kinds);
    while settings.points.is_empty() && began.elapsed() < settings.lasts {
        let planned = schedule.next();
        episode::keep(folder, &planned)?;
        shared.epoch.fetch_add(1, Ordering::Relaxed);
        let healed = episode::play(cluster, &planned, &shared, &mut events).await;
        if let Err(error) = healed {
            violations.push(format!("episode {}: {error:#}", planned.number));
            break;
        }
        tokio::time::sleep(Duration::from_millis(planned.rest_ms)).await;
    }
    tokio::time::sleep(SETTLE).await;
    shared.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.context("a client panicked")??;
    }
    let mut compared = Compared::default();
    if violations.is_empty() {
        say("healed; reading everything at every node");
        violations.extend(serves::everywhere(cluster, &shared).await?);
        Holder::new(u32::try_from(cluster.nodes())?, shared.clone(), settings.seed)?.sweep().await?;
        let states = states::compare(cluster).await;
        compared.state_hashes = states.pairs;
        violations.extend(states.violations);
        violations.extend(canary.look(cluster).await?);
        let trails = trails::verify(cluster, folder).await?;
        (compared.trail_lines, compared.trail_anchors) = (trails.lines, trails.anchors);
        violations.extend(trails.violations);
    }
    if violations.is_empty() {
        violations.extend(crash::epilogue(cluster, &mut crashes, settings.lasts).await);
    }
    cluster.stop().await?;
    trails::keep(cluster, folder)?;
    violations.extend(events.iter().flat_map(|event| event.violations.clone()));
    violations.extend(cluster.deaths());
    for node in 0..cluster.nodes() {
        violations.extend(logs::search(&cluster.log(node), &cluster.excuses(node))?);
    }
    let operations = shared.recorder.operations()?;
    violations.extend(judge(&operations));
    let (bytes, found) = canary.search(folder)?;
    compared.bytes_searched = bytes;
    violations.extend(found);
    let mut report =
        Report::of_run((settings.seed, cluster.nodes(), began.elapsed()), &events, &operations, violations);
    report.compared = compared;
    report.crashes = crashes.hits().clone();
    Ok(report)
}
