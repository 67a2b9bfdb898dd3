//! Growing, shrinking, removing, leaving, moving.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{Cluster, eventually, free_port};
use super::load::{check_all_there, write_until};

#[tokio::test]
async fn a_cluster_grows_from_one_to_five_and_shrinks_again_under_load_without_a_failed_request() {
    let mut cluster = Cluster::start(1);
    for id in ["n2", "n3", "n4", "n5"] {
        let node = cluster.grow(id).await;
        cluster.wait_for_voters(0, node + 1).await;
        cluster.wait_for_health(node, &[429]).await;
    }
    let shared = Arc::new(cluster);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (cluster, stop) = (Arc::clone(&shared), Arc::clone(&stop));
        async move { write_until(cluster, "shrink", vec![3, 4], stop).await }
    });
    for (id, left) in [("n1", 4), ("n2", 3), ("n3", 2)] {
        shared.call(3, "POST", "sys/storage/raft/remove-peer", json!({ "server_id": id })).await.expect(204);
        shared.wait_for_voters(4, left).await;
    }
    stop.store(true, Ordering::Relaxed);
    let report = writer.await.unwrap();
    assert_eq!(report.failed, Vec::<String>::new());
    check_all_there(&shared, 4, &report).await;
}

#[tokio::test]
async fn growing_under_load_loses_no_request() {
    let mut cluster = Cluster::start(1);
    let second = cluster.grow("n2").await;
    cluster.wait_for_health(second, &[429]).await;
    let token = cluster.call(0, "POST", "sys/cluster/join-token", Value::Null).await.json();
    let token = token["data"]["token"].as_str().unwrap().to_owned();
    let third = cluster.add_node("n3");
    let member = cluster.nodes[0].api_addr.clone();
    cluster.restart_with(third, &["--join-addr", &member, "--join-token", &token]);
    let shared = Arc::new(cluster);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (cluster, stop) = (Arc::clone(&shared), Arc::clone(&stop));
        async move { write_until(cluster, "grow", vec![0, 1], stop).await }
    });
    shared.wait_for_voters(0, 3).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    let report = writer.await.unwrap();
    assert_eq!(report.failed, Vec::<String>::new());
    shared.wait_for_health(2, &[429, 200]).await;
    check_all_there(&shared, 2, &report).await;
}

#[tokio::test]
async fn a_removed_node_fences_itself_and_answers_no_read_any_more() {
    let mut cluster = Cluster::start(3);
    cluster.put(0, "x", "1").await.expect(200);
    let removed = cluster.follower().await;
    let id = cluster.nodes[removed].id.clone();
    let leader = cluster.leader().await;
    cluster
        .call(leader, "POST", "sys/storage/raft/remove-peer", json!({ "server_id": id }))
        .await
        .expect(204);
    cluster.wait_for_health(removed, &[530]).await;
    let answer = cluster.call(removed, "GET", "secret/data/x", Value::Null).await.expect(530);
    assert!(answer.errors().contains("removed from its cluster"), "{}", answer.text);
    let stale = [("X-Conclave-Consistency", "stale")];
    cluster.try_call(removed, "GET", "secret/data/x", Value::Null, &stale).await.unwrap().expect(530);
    // Not even after a restart.
    cluster.stop(removed).await;
    cluster.restart(removed);
    cluster.wait_for_health(removed, &[530]).await;
}

#[tokio::test]
async fn when_a_removal_or_a_departure_is_answered_the_node_answers_no_stale_read_any_more() {
    let cluster = Cluster::start(4);
    cluster.put(0, "x", "1").await.expect(200);
    let stale = [("X-Conclave-Consistency", "stale")];
    let read =
        async |node| cluster.try_call(node, "GET", "secret/data/x", Value::Null, &stale).await.unwrap();
    let removed = cluster.follower().await;
    // A stale read alone may come before the write.
    assert_eq!(cluster.get(removed, "x").await.as_deref(), Some("1"));
    read(removed).await.expect(200);
    let id = cluster.nodes[removed].id.clone();
    let leader = cluster.leader().await;
    let body = json!({ "server_id": id });
    cluster.call(leader, "POST", "sys/storage/raft/remove-peer", body).await.expect(204);
    read(removed).await.expect(530);

    let leaver = (0..4).find(|node| ![leader, removed].contains(node)).unwrap();
    assert_eq!(cluster.get(leaver, "x").await.as_deref(), Some("1"));
    read(leaver).await.expect(200);
    cluster.call(leaver, "POST", "sys/cluster/leave", Value::Null).await.expect(204);
    read(leaver).await.expect(530);
}

#[tokio::test]
async fn a_node_that_was_down_while_it_was_removed_is_fenced_when_it_comes_back() {
    let mut cluster = Cluster::start(3);
    let removed = cluster.follower().await;
    let id = cluster.nodes[removed].id.clone();
    cluster.kill(removed).await;
    let leader = cluster.leader().await;
    cluster
        .call(leader, "POST", "sys/storage/raft/remove-peer", json!({ "server_id": id }))
        .await
        .expect(204);
    cluster.restart(removed);
    cluster.wait_for_health(removed, &[530]).await;
    cluster.wait_for_voters(leader, 2).await;
}

#[tokio::test]
async fn a_node_leaves_and_can_join_again_as_a_new_one() {
    let mut cluster = Cluster::start(3);
    cluster.put(0, "x", "1").await.expect(200);
    let leaver = cluster.leader().await;
    let id = cluster.nodes[leaver].id.clone();
    cluster.call(leaver, "POST", "sys/cluster/leave", Value::Null).await.expect(204);
    let other = (leaver + 1) % 3;
    cluster.wait_for_voters(other, 2).await;
    cluster.stop(leaver).await;

    let token = cluster.call(other, "POST", "sys/cluster/join-token", Value::Null).await.json();
    let token = token["data"]["token"].as_str().unwrap().to_owned();
    let member = cluster.nodes[other].api_addr.clone();
    cluster.restart_with(leaver, &["--join-addr", &member, "--join-token", &token]);
    cluster.wait_for_voters(other, 3).await;
    cluster.wait_for_health(leaver, &[429, 200]).await;
    assert_eq!(cluster.get(leaver, "x").await.as_deref(), Some("1"));
    assert!(cluster.members(leaver).await.iter().any(|(name, _)| *name == id));
}

#[tokio::test]
async fn a_node_whose_address_changed_comes_back_by_itself() {
    let mut cluster = Cluster::start(3);
    let mover = cluster.follower().await;
    cluster.stop(mover).await;
    cluster.nodes[mover].api_addr = format!("https://127.0.0.1:{}", free_port());
    cluster.nodes[mover].cluster_addr = format!("127.0.0.1:{}", free_port());
    cluster.restart(mover);
    cluster.wait_for_health(mover, &[429, 200]).await;
    let leader = cluster.leader().await;
    let expected = cluster.nodes[mover].api_addr.clone();
    eventually("the members know the new address", async || {
        let answer = cluster.call(leader, "GET", "sys/cluster/members", Value::Null).await;
        answer.text.contains(&expected)
    })
    .await;
    cluster.put(mover, "moved", "1").await.expect(200);
}

#[tokio::test]
async fn join_tokens_work_once_and_only_here() {
    let mut cluster = Cluster::start(1);
    let token =
        cluster.call(0, "POST", "sys/cluster/join-token", json!({ "ttl": "5m" })).await.expect(200).json();
    let token = token["data"]["token"].as_str().unwrap().to_owned();
    let member = cluster.nodes[0].api_addr.clone();
    let second = cluster.add_node("n2");
    cluster.restart_with(second, &["--join-addr", &member, "--join-token", &token]);
    cluster.wait_for_voters(0, 2).await;

    let third = cluster.add_node("n3");
    cluster.restart_with(third, &["--join-addr", &member, "--join-token", &token]);
    eventually("the second use is refused", async || cluster.log_of(third).contains("403")).await;
    assert_eq!(cluster.members(0).await.len(), 2);

    let other = Cluster::start(1);
    let foreign = other.call(0, "POST", "sys/cluster/join-token", Value::Null).await.expect(200).json();
    let foreign = foreign["data"]["token"].as_str().unwrap().to_owned();
    cluster.kill(third).await;
    cluster.restart_with(third, &["--join-addr", &member, "--join-token", &foreign]);
    eventually("a foreign token is refused before it is sent", async || {
        cluster.log_of(third).contains("could not be asked")
    })
    .await;
}
