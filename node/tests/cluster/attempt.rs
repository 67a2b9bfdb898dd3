//! A write that was carried to the leader whole, and whose leader dies when it has committed it and not answered: the node
//! that carried it asks the next leader, which must know that it was made.
//!
//! Only a write whose plans were overtaken again and again is carried. Fail points make that certain: the node that is
//! asked lags behind a rival's writes, and the leader tells nobody what it has applied until some time later.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use conclave_faults::failpoint;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::harness::{Cluster, PATIENCE};

/// The leader's answers come so much later than what they tell of can be read there.
const LEADER_ANSWERS_LATE: &str = "chunk-published=sleep(250)";
/// Longer than the rival needs for a write: every plan is made from a state that the rival has changed since.
const FOLLOWER_LAGS: &str = "chunk-commit=sleep(450)";
/// A node that is held for so long must not be taken for dead; and a request waits for three plans that are overtaken, and
/// for an election.
const PATIENT: &[(&str, &str)] = &[
    ("CONCLAVE_HEARTBEAT_MS", "300"),
    ("CONCLAVE_ELECTION_TIMEOUT_MIN_MS", "1000"),
    ("CONCLAVE_ELECTION_TIMEOUT_MAX_MS", "1300"),
    ("CONCLAVE_REQUEST_WAIT_MS", "18000"),
];
const POLL: Duration = Duration::from_millis(10);
/// A busy machine may kill the leader too late, or find a new one too late.
const TRIES: usize = 3;
/// What a request is answered whose time is over: it may have been made.
const STATUS_UNKNOWN: u16 = 504;
const CONTENDED: &str = "secret/data/contended";

#[tokio::test]
async fn a_write_that_was_carried_to_a_leader_that_died_is_made_once() {
    for _ in 0..TRIES {
        if let Some(times) = times_made_by_two_leaders().await {
            assert_eq!(times, 1, "the second leader was asked for the same attempt");
            return;
        }
    }
    panic!(
        "no write had both a leader that died before it answered and a second one in time: nothing was tried"
    );
}

/// How many versions hold the carried write's value; nothing if its first leader lived to answer it, or no second one did.
async fn times_made_by_two_leaders() -> Option<usize> {
    let cluster = Arc::new(armable().await);
    let leader = cluster.leader().await;
    let carrier = (leader + 1) % 3;
    let heir = (leader + 2) % 3;
    arm(&cluster, leader, LEADER_ANSWERS_LATE);
    arm(&cluster, carrier, FOLLOWER_LAGS);
    let rival = tokio::spawn(rival(cluster.clone(), leader));
    wait_for(&cluster, leader, "rival").await;
    let carried = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.call(carrier, "POST", CONTENDED, json!({"data": {"value": "carried"}})).await }
    });
    wait_for(&cluster, leader, "carried").await;
    let unanswered = !carried.is_finished();
    cluster.signal(leader, Signal::KILL);
    arm(&cluster, carrier, "");
    rival.await.expect("the rival ends with its leader");
    let answer = carried.await.expect("the client has ended");
    if answer.status == STATUS_UNKNOWN {
        return None;
    }
    let answer = answer.expect(200);
    let newest = answer.json()["data"]["version"].as_u64().expect("a version").max(1) + 1;
    let mut times = 0;
    for version in 1..=newest {
        let path = format!("{CONTENDED}?version={version}");
        let read = cluster.call(heir, "GET", &path, Value::Null).await;
        times += usize::from(read.status == 200 && read.json()["data"]["data"]["value"] == "carried");
    }
    unanswered.then_some(times)
}

/// Three nodes whose fail points can be set while they run.
async fn armable() -> Cluster {
    let mut cluster = Cluster::start(3);
    for node in 0..3 {
        arm(&cluster, node, "");
        let file = file(&cluster, node);
        cluster.stop(node).await;
        let file = file.to_str().expect("a path that is text");
        cluster.restart_in(node, &[&[(failpoint::FILE, file)], PATIENT].concat());
        cluster.wait_for_health(node, &[200, 429]).await;
    }
    cluster
}

fn file(cluster: &Cluster, node: usize) -> PathBuf {
    cluster.dir.path().join(format!("{node}.points"))
}

fn arm(cluster: &Cluster, node: usize, points: &str) {
    let (file, draft) = (file(cluster, node), cluster.dir.path().join("points-draft"));
    std::fs::write(&draft, points).expect("the file can be written");
    std::fs::rename(draft, file).expect("the file can be replaced");
}

/// Writes to the same secret at the leader, one after another, until that is dead.
async fn rival(cluster: Arc<Cluster>, leader: usize) {
    let body = || json!({"data": {"value": "rival"}});
    while let Ok(answer) = cluster.try_call(leader, "POST", CONTENDED, body(), &[]).await {
        answer.expect(200);
    }
}

/// Returns when the node has applied a write of this value.
async fn wait_for(cluster: &Cluster, node: usize, value: &str) {
    let look = async {
        let stale = [("X-Conclave-Consistency", "stale")];
        loop {
            let read =
                cluster.try_call(node, "GET", CONTENDED, Value::Null, &stale).await.expect("an answer");
            if read.status == 200 && read.json()["data"]["data"]["value"] == value {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("nobody sees the write of {value}"));
}
