//! One run: load and faults for a while, then healing, then the questions whose answers are judged.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use conclave_faults::failpoint::PointRow;
use conclave_oracle::history::{Action, Freshness, Outcome};

use crate::client::{Client, Shared, keys};
use crate::cluster::Cluster;
use crate::crash::{self, Hits};
use crate::episode::{self, Event};
use crate::fault::Kind;
use crate::judge::judge;
use crate::recorder::Recorder;
use crate::report::Report;
use crate::schedule::Schedule;
use crate::{logs, say};

/// Load before the first fault, and after the last.
const SETTLE: Duration = Duration::from_secs(3);
/// How long a node that serves may take for one final answer.
const FINAL_READ_MAX: Duration = Duration::from_secs(30);
const FINAL_PAUSE: Duration = Duration::from_millis(200);
/// Clients of the final reads have numbers from here.
const FINAL_CLIENTS: u32 = 1_000_000;

/// What one run is made of; with the seed it can be made again.
pub struct Settings {
    pub seed: u64,
    pub lasts: Duration,
    pub clients_per_node: usize,
    pub kinds: Vec<Kind>,
    /// If there are any, nodes end at these, and there are no other faults.
    pub points: Vec<&'static PointRow>,
}

pub async fn run(cluster: &Cluster, settings: &Settings, folder: &Path) -> anyhow::Result<Report> {
    let recorder = Recorder::new(&folder.join("history.jsonl"))?;
    let urls = (0..cluster.nodes()).map(|node| cluster.url(node)).collect();
    let shared = Arc::new(Shared::new(urls, cluster.token().to_owned(), recorder));
    let mut clients = tokio::task::JoinSet::new();
    for home in 0..cluster.nodes() {
        for place in 0..settings.clients_per_node {
            let id = u32::try_from(place * cluster.nodes() + home)?;
            clients.spawn(Client::new(id, home, shared.clone(), settings.seed)?.run());
        }
    }
    let began = Instant::now();
    tokio::time::sleep(SETTLE).await;
    let mut events = Vec::new();
    let mut violations = Vec::new();
    let mut hits = Hits::default();
    let mut crashes = crash::Plan::new(&settings.points, settings.seed);
    while !settings.points.is_empty() && began.elapsed() < settings.lasts {
        shared.epoch.store(crashes.number(), Ordering::Relaxed);
        if let Err(error) = crashes.crash_one(cluster, &mut hits).await {
            violations.push(format!("{error:#}"));
            break;
        }
    }
    let mut schedule = Schedule::new(settings.seed, cluster.nodes(), &settings.kinds);
    while settings.points.is_empty() && began.elapsed() < settings.lasts {
        let planned = schedule.next();
        episode::keep(folder, &planned)?;
        shared.epoch.store(planned.number, Ordering::Relaxed);
        let healed = episode::play(cluster, &planned, &shared.recorder, &mut events).await;
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
    if violations.is_empty() {
        say("healed; reading every key at every node");
        violations.extend(read_everything(cluster, &shared, settings.seed).await?);
        violations.extend(compare_states(cluster).await);
    }
    if violations.is_empty() {
        violations.extend(crash::epilogue(cluster, &settings.points, &mut hits).await);
    }
    conclude(cluster, settings, &shared, Evidence { events, hits, violations, lasted: began.elapsed() })
}

struct Evidence {
    events: Vec<Event>,
    hits: Hits,
    violations: Vec<String>,
    lasted: Duration,
}

fn conclude(
    cluster: &Cluster,
    settings: &Settings,
    shared: &Shared,
    evidence: Evidence,
) -> anyhow::Result<Report> {
    let Evidence { events, hits, mut violations, lasted } = evidence;
    violations.extend(cluster.deaths());
    for node in 0..cluster.nodes() {
        violations.extend(logs::search(&cluster.log(node))?);
    }
    let operations = shared.recorder.operations()?;
    violations.extend(judge(&operations));
    let report = Report::of_run((settings.seed, cluster.nodes(), lasted), &events, &operations, violations);
    Ok(Report { crashes: hits, ..report })
}

/// Linearizable reads of all keys at all nodes; they are part of the history. Tells which node did not answer.
async fn read_everything(cluster: &Cluster, shared: &Arc<Shared>, seed: u64) -> anyhow::Result<Vec<String>> {
    let mut missing = Vec::new();
    let last = shared.epoch.load(Ordering::Relaxed);
    for node in 0..cluster.nodes() {
        let id = FINAL_CLIENTS + u32::try_from(node)?;
        let mut client = Client::new(id, node, shared.clone(), seed)?;
        let began = Instant::now();
        for key in keys(last) {
            let action = Action::Read { key, freshness: Freshness::Linearizable };
            while !matches!(client.ask(node, &action).await?, Outcome::Ok(_)) {
                if began.elapsed() > FINAL_READ_MAX {
                    missing.push(format!("{} does not serve after healing", crate::cluster::name(node)));
                    return Ok(missing);
                }
                tokio::time::sleep(FINAL_PAUSE).await;
            }
        }
    }
    Ok(missing)
}

/// The nodes compare the hashes of their states themselves and count differences; and all must have applied the same.
async fn compare_states(cluster: &Cluster) -> Vec<String> {
    let mut found = Vec::new();
    for node in 0..cluster.nodes() {
        match cluster.api(node).metric("conclave_state_hash_mismatches_total").await {
            Ok(count) if count > 0.0 => {
                found.push(format!("{}: its state differs from a peer's", crate::cluster::name(node)));
            }
            Ok(_) => {}
            Err(error) => found.push(format!("{error:#}")),
        }
    }
    found
}
