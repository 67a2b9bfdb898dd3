//! A leader that dies, is paused, or is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::harness::Cluster;
use super::load::{check_all_there, write_until};

/// How often a test that needs a certain node to be elected tries.
const ELECTIONS: usize = 4;

#[tokio::test]
async fn a_killed_leader_loses_no_acknowledged_write_and_comes_back_unsealed_by_its_peers() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let others: Vec<_> = (0..3).filter(|node| *node != leader).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let shared = Arc::new(cluster);
    let writer = tokio::spawn({
        let (cluster, stop, others) = (Arc::clone(&shared), Arc::clone(&stop), others.clone());
        async move { write_until(cluster, "kill", others, stop).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    shared.signal(leader, Signal::KILL);
    tokio::time::sleep(Duration::from_secs(3)).await;
    stop.store(true, Ordering::Relaxed);
    let report = writer.await.unwrap();
    cluster = Arc::into_inner(shared).expect("the writer has ended");
    assert_eq!(report.failed, Vec::<String>::new(), "a client that retries as bao does saw a failure");
    for node in others {
        check_all_there(&cluster, node, &report).await;
    }
    cluster.restart(leader);
    cluster.wait_for_health(leader, &[429, 200]).await;
    check_all_there(&cluster, leader, &report).await;
}

#[tokio::test]
async fn a_write_whose_forwarder_becomes_the_leader_is_made_once() {
    for _ in 0..ELECTIONS {
        if let Some(versions) = versions_written_while_the_forwarder_is_elected().await {
            let twice = versions.iter().filter(|version| **version != 1).count();
            assert_eq!(twice, 0, "of {} writes, each of a path of its own", versions.len());
            return;
        }
    }
    panic!("the node that forwards was never elected: nothing was tried");
}

/// What writers through one follower were answered while its leader was killed, if that follower is the new leader:
/// a busy machine may delay it until the other one is.
async fn versions_written_while_the_forwarder_is_elected() -> Option<Vec<Value>> {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let others: Vec<_> = (0..3).filter(|node| *node != leader).collect();
    let (heir, patient) = (others[0], others[1]);
    // The third node leaves the election to the one that forwards.
    cluster.stop(patient).await;
    cluster
        .restart_with(patient, &["--election-timeout-min-ms", "1500", "--election-timeout-max-ms", "1600"]);
    cluster.wait_for_health(patient, &[429]).await;

    let cluster = Arc::new(cluster);
    let stop = Arc::new(AtomicBool::new(false));
    // So many that some are always committed and not answered yet.
    let writers: Vec<_> = (0..48)
        .map(|writer| {
            let (cluster, stop) = (Arc::clone(&cluster), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut versions = Vec::new();
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let answer = cluster.put(heir, &format!("once/{writer}/{round}"), "x").await.expect(200);
                    versions.push(answer.json()["data"]["version"].clone());
                }
                versions
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(400)).await;
    // What is committed from now on is at the one that forwards, so that the third can vote for it.
    cluster.signal(patient, Signal::STOP);
    tokio::time::sleep(Duration::from_millis(400)).await;
    cluster.signal(leader, Signal::KILL);
    cluster.signal(patient, Signal::CONT);
    tokio::time::sleep(Duration::from_secs(4)).await;
    stop.store(true, Ordering::Relaxed);
    let versions = futures::future::join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
    (cluster.leader().await == heir).then_some(versions)
}

#[tokio::test]
async fn requests_that_arrive_without_a_leader_wait_for_one() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let follower = (0..3).find(|node| *node != leader).unwrap();
    cluster.put(follower, "before", "1").await.expect(200);
    cluster.kill(leader).await;
    // At once, without a retry: a slow answer, not an error.
    cluster.put(follower, "after", "2").await.expect(200);
    assert_eq!(cluster.get(follower, "after").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn without_a_quorum_answers_are_honest_and_stale_reads_go_on() {
    let mut cluster = Cluster::start_with(3, &[("CONCLAVE_REQUEST_WAIT_MS", "1500")]);
    cluster.put(0, "s", "old").await.expect(200);
    let survivor = cluster.follower().await;
    assert_eq!(cluster.get(survivor, "s").await.as_deref(), Some("old"));
    for node in (0..3).filter(|node| *node != survivor) {
        cluster.kill(node).await;
    }
    let read = cluster.call(survivor, "GET", "secret/data/s", Value::Null).await.expect(503);
    assert!(read.errors().contains("X-Conclave-Consistency: stale"), "{}", read.text);
    assert_eq!(read.header("retry-after"), Some("1"));
    cluster.put(survivor, "s", "new").await.expect(503);

    let stale = [("X-Conclave-Consistency", "stale")];
    let answer =
        cluster.try_call(survivor, "GET", "secret/data/s", Value::Null, &stale).await.unwrap().expect(200);
    assert_eq!(answer.json()["data"]["data"]["value"], "old");
    assert!(answer.header("x-conclave-stale-for").is_some_and(|age| age.ends_with("ms")));
    assert!(answer.json()["warnings"][0].as_str().is_some_and(|warning| warning.contains("stale")));
    let nothing = cluster.try_call(survivor, "GET", "secret/data/none", Value::Null, &stale).await.unwrap();
    let nothing = nothing.expect(404);
    assert!(nothing.header("x-conclave-stale-for").is_some(), "that there is nothing may be as old");
    assert!(nothing.header("x-conclave-index").is_some());

    let tight = [("X-Conclave-Consistency", "stale"), ("X-Conclave-Max-Stale", "1s")];
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let refused =
        cluster.try_call(survivor, "GET", "secret/data/s", Value::Null, &tight).await.unwrap().expect(503);
    assert!(refused.errors().contains("X-Conclave-Max-Stale"), "{}", refused.text);
}

#[tokio::test]
async fn a_paused_leader_never_answers_stale() {
    let cluster = Cluster::start(3);
    cluster.put(0, "p", "old").await.expect(200);
    let leader = cluster.leader().await;
    let follower = (0..3).find(|node| *node != leader).unwrap();
    cluster.signal(leader, Signal::STOP);
    cluster.put(follower, "p", "new").await.expect(200);
    // The question lies in the paused leader's socket and is answered the moment it wakes up.
    let question = cluster.get(leader, "p");
    let wake = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.signal(leader, Signal::CONT);
    };
    let (answer, ()) = tokio::join!(question, wake);
    assert_eq!(answer.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_rolling_restart_under_load_fails_no_request() {
    let cluster = Arc::new(Cluster::start(3));
    let stop = Arc::new(AtomicBool::new(false));
    let mut report = None;
    let mut cluster = Some(cluster);
    for node in 0..3 {
        let shared = cluster.take().unwrap();
        // Clients of a node that is being restarted go elsewhere, as a load balancer would send them.
        let others: Vec<_> = (0..3).filter(|other| *other != node).collect();
        stop.store(false, Ordering::Relaxed);
        let writer = tokio::spawn({
            let (cluster, stop) = (Arc::clone(&shared), Arc::clone(&stop));
            async move { write_until(cluster, &format!("roll{node}"), others, stop).await }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        shared.signal(node, Signal::TERM);
        while shared.is_running(node) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.store(true, Ordering::Relaxed);
        let seen = writer.await.unwrap();
        assert_eq!(seen.failed, Vec::<String>::new());
        let mut owned = Arc::into_inner(shared).expect("the writer has ended");
        owned.restart(node);
        owned.wait_for_health(node, &[200, 429]).await;
        check_all_there(&owned, node, &seen).await;
        report = Some(seen);
        cluster = Some(Arc::new(owned));
    }
    assert!(report.is_some_and(|report| report.longest_gap < Duration::from_secs(5)));
}

#[tokio::test]
async fn a_dead_follower_costs_the_leader_next_to_nothing() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let dead = cluster.follower().await;
    cluster.kill(dead).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = cluster.log_of(leader).lines().count();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let more = cluster.log_of(leader).lines().count() - before;
    assert!(more < 200, "{more} lines in two seconds: it tries without a pause");
}

#[tokio::test]
async fn step_down_hands_leadership_over() {
    let cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let follower = (0..3).find(|node| *node != leader).unwrap();
    cluster.call(follower, "PUT", "sys/step-down", Value::Null).await.expect(204);
    assert_ne!(cluster.leader().await, leader);
    cluster.call(follower, "POST", "secret/data/x", json!({ "data": { "value": "1" } })).await.expect(200);
}
