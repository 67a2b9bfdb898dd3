//! `conclave operator recover`: what is left of a cluster whose quorum is lost for good begins anew with one member.
//!
//! It works on a stopped node's directory. First it says what it would do; it does it only when told to, and never while
//! a member that it would leave out still answers: that one could go on without this node, and there would be two
//! clusters. What was done is noted in the directory, and the node tells it at every later start.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use conclave_core::engine::time_text;
use conclave_storage::Options;
use conclave_storage::recover::Remains;
use conclave_storage::types::Node;
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::durable;
use crate::identity::{Identity, IdentityStore, Link, LiveTls};
use crate::raft::clock::wall_clock_ms;
use crate::raft::dial;

/// One line of JSON for each recovery of this directory, the newest last.
pub const RECOVERIES_FILE: &str = "recoveries.jsonl";
/// How long each of the other members is given to answer, all at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two attempts to reach one.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(250);

/// Says what recovering the member in `data_dir` means, and does it if `apply`.
///
/// # Errors
/// A sentence: the directory is in use, damaged or no member's, or a member that would be left out answers.
pub fn run(data_dir: &Path, apply: bool) -> Result<Value, String> {
    // First, since it locks the directory.
    let remains = Remains::open(data_dir, &Options::default()).map_err(|error| error.to_string())?;
    let remains = remains.ok_or_else(|| no_member(data_dir))?;
    let identity = IdentityStore::open(data_dir).and_then(|store| store.load());
    let identity = identity.map_err(|error| error.to_string())?.ok_or_else(|| no_member(data_dir))?;
    let own = identity.peer().ok_or_else(|| no_member(data_dir))?;
    let excluded: Vec<(u64, Node)> = remains
        .membership()
        .nodes()
        .filter(|(id, _)| **id != own.node_id)
        .map(|(id, node)| (*id, node.clone()))
        .collect();
    if remains.membership().get_node(&own.node_id).is_none() {
        return Err("this node was not a member any more when it stopped: recover another one".to_owned());
    }
    let answering = answering(identity.clone(), &excluded)?;
    if !answering.is_empty() {
        return Err(format!(
            "{} still answers: the cluster is not lost. Start the nodes that are left; a cluster with a majority of its \
             members needs no recovery, and one of them can be removed with `conclave operator raft remove-peer`. To \
             recover without it, stop it for good first",
            answering.join(", ")
        ));
    }
    let last = remains.last();
    let mut report = json!({
        "node": identity.name(),
        "node_id": own.node_id,
        "cluster_id": own.cluster_id.to_string(),
        "last_term": last.map_or(0, |last| last.committed_leader_id().term),
        "last_index": last.map_or(0, |last| last.index()),
        "applied_index": remains.applied_index(),
        "excluded": excluded.iter().map(|(id, node)| json!({
            "node_id": id, "node": node.name, "cluster_addr": node.cluster_addr,
        })).collect::<Vec<_>>(),
        "recovered": apply,
    });
    if apply {
        // Noted before it is done: a recovery that is not told of must not exist.
        note(data_dir, &report).map_err(|error| format!("cannot write {RECOVERIES_FILE}: {error}"))?;
        let forced = remains.make_sole_member(own.node_id).map_err(|error| error.to_string())?;
        report["last_term"] = forced.committed_leader_id().term.into();
        report["last_index"] = forced.index().into();
    }
    Ok(report)
}

/// Tells of recoveries in the node's log, at its start.
pub fn tell(data_dir: &Path) {
    let Ok(noted) = std::fs::read_to_string(data_dir.join(RECOVERIES_FILE)) else { return };
    for recovery in noted.lines() {
        tracing::warn!(
            recovery,
            "this node's cluster was recovered without its quorum: writes may have been lost"
        );
    }
}

fn no_member(data_dir: &Path) -> String {
    format!("{} is not the data directory of a cluster's member", data_dir.display())
}

/// The names of the members that prove to be there, by their certificates.
fn answering(identity: Identity, members: &[(u64, Node)]) -> Result<Vec<String>, String> {
    let tls = LiveTls::new(identity).map_err(|error| error.to_string())?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let asked = members.iter().map(|(id, node)| {
        let tls = &tls;
        async move {
            loop {
                if dial::handshake(tls, *id, &node.cluster_addr, Link::Calls).await.is_ok() {
                    return Some(format!("{} ({})", node.name, node.cluster_addr));
                }
                if Instant::now() + ATTEMPT_PAUSE >= deadline {
                    return None;
                }
                tokio::time::sleep(ATTEMPT_PAUSE).await;
            }
        }
    });
    Ok(runtime.block_on(futures::future::join_all(asked)).into_iter().flatten().collect())
}

fn note(data_dir: &Path, report: &Value) -> std::io::Result<()> {
    let mut noted = report.clone();
    noted["time"] = time_text(wall_clock_ms()).into();
    let path = data_dir.join(RECOVERIES_FILE);
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
    writeln!(file, "{noted}")?;
    file.sync_all()?;
    durable::sync_parent(&path)
}
