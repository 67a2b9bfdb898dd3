//! Plays one episode of a schedule: begins and ends its faults at their times, heals, and notes what really happened.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

use crate::client::Shared;
use crate::cluster::{Cluster, name};
use crate::fault::{self, Aim, Kind, Planned, Scene};
use crate::random::Random;
use crate::say;
use crate::schedule::Episode;

/// A fault that is for the leader waits so long for there to be one.
const ELECTION_MAX: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);

/// A fault as it came about.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    pub episode: u64,
    pub kind: Kind,
    pub aim: Aim,
    pub node: usize,
    pub began_us: u64,
    pub ended_us: u64,
    /// Another fault of the episode went on at the same time.
    pub overlapping: bool,
    /// Why it is not counted.
    pub not_counted: Option<String>,
    /// What it met, and what it found to be wrong.
    pub met: Vec<String>,
    pub violations: Vec<String>,
    pub waits_ms: Vec<u64>,
    /// When all nodes served again after its episode.
    pub healed_us: u64,
}

/// Adds the episode to the run's schedule before it is played: what a crash of the harness must not lose.
pub fn keep(folder: &Path, episode: &Episode) -> anyhow::Result<()> {
    let path = folder.join("schedule.jsonl");
    let mut file = std::fs::File::options().create(true).append(true).open(path)?;
    writeln!(file, "{}", serde_json::to_string(episode)?)?;
    Ok(())
}

pub async fn play(
    cluster: &Cluster,
    episode: &Episode,
    shared: &Arc<Shared>,
    events: &mut Vec<Event>,
) -> anyhow::Result<()> {
    let held = Mutex::default();
    let first = events.len();
    let plays = episode.faults.iter().map(|planned| act(cluster, planned, &held, shared));
    for (planned, played) in episode.faults.iter().zip(futures::future::join_all(plays).await) {
        let mut event = played?;
        event.episode = episode.number;
        let verdict = event.not_counted.as_deref().unwrap_or("counted");
        let lasted = Duration::from_micros(event.ended_us - event.began_us);
        say(format_args!(
            "episode {}: {:?} of {} ({:?}) for {lasted:.1?}: {verdict}",
            episode.number,
            planned.kind,
            name(event.node),
            planned.aim,
        ));
        events.push(event);
    }
    let healed = cluster.heal().await;
    let healed_us = shared.recorder.now();
    let times: Vec<(u64, u64)> =
        events[first..].iter().map(|event| (event.began_us, event.ended_us)).collect();
    for (place, event) in events[first..].iter_mut().enumerate() {
        event.healed_us = healed_us;
        let others = times.iter().enumerate().filter(|(other, _)| *other != place);
        event.overlapping =
            others.into_iter().any(|(_, (began, ended))| *began < event.ended_us && event.began_us < *ended);
    }
    healed.map(drop)
}

/// The node that a fault is for, chosen when it begins: an earlier fault may have moved the leader. Two faults that hold
/// a process never get the same node, as far as there are nodes.
async fn choose(cluster: &Cluster, planned: &Planned, held: &Mutex<Vec<usize>>) -> usize {
    let mut leader = cluster.leader().await;
    let deadline = Instant::now() + ELECTION_MAX;
    while leader.is_none() && Instant::now() < deadline {
        tokio::time::sleep(POLL).await;
        leader = cluster.leader().await;
    }
    let mut held = held.lock();
    let order = Random::new(planned.seed).order(cluster.nodes());
    let fits = |node: &&usize| match planned.aim {
        Aim::Leader => Some(**node) == leader,
        Aim::Follower => Some(**node) != leader,
    };
    let free = |node: &&usize| !planned.kind.holds_process() || !held.contains(*node);
    let best = order.iter().filter(fits).find(free).or_else(|| order.iter().find(free));
    let node = best.copied().unwrap_or(order[0]);
    if planned.kind.holds_process() {
        held.push(node);
    }
    node
}

async fn act(
    cluster: &Cluster,
    planned: &Planned,
    held: &Mutex<Vec<usize>>,
    shared: &Arc<Shared>,
) -> anyhow::Result<Event> {
    tokio::time::sleep(Duration::from_millis(planned.after_ms)).await;
    let node = choose(cluster, planned, held).await;
    let scene = Scene { cluster, shared, planned, node };
    let mut fault = fault::make(planned.kind);
    let began_us = shared.recorder.now();
    fault.begin(&scene).await?;
    tokio::time::sleep(Duration::from_millis(planned.lasts_ms)).await;
    fault.end(&scene).await?;
    let noted = fault.noted();
    Ok(Event {
        episode: 0,
        kind: planned.kind,
        aim: planned.aim,
        node,
        began_us,
        ended_us: shared.recorder.now(),
        overlapping: false,
        not_counted: fault.exercised().err(),
        met: noted.met,
        violations: noted.violations,
        waits_ms: noted.waits_ms,
        healed_us: 0,
    })
}
