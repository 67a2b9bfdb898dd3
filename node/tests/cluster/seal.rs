//! Sealed nodes: they vote and replicate, answer only for themselves, and are unsealed by shares, by peers or by a key.

use std::process::Command;

use serde_json::{Value, json};

use super::harness::{CONCLAVE, Cluster, eventually};

#[tokio::test]
async fn shares_unseal_with_progress_reset_and_a_wrong_one_is_named() {
    let mut cluster = Cluster::start(1);
    cluster.put(0, "x", "1").await.expect(200);
    cluster.stop(0).await;
    cluster.restart(0);
    cluster.wait_for_health(0, &[503]).await;
    cluster.call(0, "GET", "secret/data/x", Value::Null).await.expect(503);

    let keys = cluster.unseal_keys.clone();
    let submit = async |key: &str| cluster.call(0, "PUT", "sys/unseal", json!({ "key": key })).await;
    let first = submit(&keys[0]).await.expect(200).json();
    assert_eq!((&first["progress"], &first["sealed"]), (&json!(1), &json!(true)));
    assert_eq!(submit(&keys[0]).await.json()["progress"], 1, "the same share does not count twice");
    let mut mistyped = keys[1].clone().into_bytes();
    mistyped[20] = if mistyped[20] == b'A' { b'B' } else { b'A' };
    let refused = submit(&String::from_utf8(mistyped).unwrap()).await.expect(400);
    assert!(refused.errors().contains("share"), "{}", refused.text);
    assert_eq!(submit(&keys[1]).await.json()["progress"], 2, "a wrong share spoils nothing");
    let reset = cluster.call(0, "PUT", "sys/unseal", json!({ "reset": true })).await.expect(200).json();
    assert_eq!((&reset["progress"], &reset["nonce"]), (&json!(0), &json!("")));

    for key in &keys[1..4] {
        submit(key).await.expect(200);
    }
    cluster.wait_for_health(0, &[200]).await;
    assert_eq!(cluster.get(0, "x").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_sealed_node_votes_and_replicates_and_stays_sealed_until_an_operator_unseals_it() {
    let mut cluster = Cluster::start(3);
    let sealed = cluster.follower().await;
    cluster.call(sealed, "PUT", "sys/seal", Value::Null).await.expect(204);
    cluster.wait_for_health(sealed, &[503]).await;
    let answer = cluster.call(sealed, "GET", "secret/data/x", Value::Null).await.expect(503);
    assert!(answer.errors().contains("sealed"), "{}", answer.text);
    // Its peers do not undo what an operator did, not even over a restart.
    cluster.stop(sealed).await;
    cluster.restart(sealed);
    cluster.wait_for_health(sealed, &[503]).await;

    // With the sealed node as one of two, the cluster still has a quorum.
    let leader = cluster.leader().await;
    let third = (0..3).find(|node| *node != leader && *node != sealed).unwrap();
    cluster.kill(third).await;
    cluster.put(leader, "voted", "1").await.expect(200);
    assert_eq!(cluster.health(sealed).await, Some(503));

    for key in &cluster.unseal_keys.clone()[..3] {
        cluster.call(sealed, "PUT", "sys/unseal", json!({ "key": key })).await.expect(200);
    }
    cluster.wait_for_health(sealed, &[429, 200]).await;
    assert_eq!(cluster.get(sealed, "voted").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_sealed_leader_hands_leadership_to_an_unsealed_node() {
    let cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let other = (leader + 1) % 3;
    cluster.call(leader, "PUT", "sys/seal", Value::Null).await.expect(204);
    // The write waits for the handover; nobody sees an error.
    cluster.put(other, "x", "1").await.expect(200);
    assert_ne!(cluster.leader().await, leader);
}

#[tokio::test]
async fn a_restarted_member_is_unsealed_by_its_peers_unless_that_is_switched_off() {
    let mut cluster = Cluster::start(3);
    let node = cluster.follower().await;
    cluster.stop(node).await;
    cluster.restart(node);
    cluster.wait_for_health(node, &[429, 200]).await;
    cluster.stop(node).await;
    cluster.restart_with(node, &["--peer-unseal", "false"]);
    cluster.wait_for_health(node, &[503]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(cluster.health(node).await, Some(503));
}

#[tokio::test]
async fn a_static_key_unseals_a_whole_cluster_after_a_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("seal.key");
    std::fs::write(&key, hex::encode([7; 32])).unwrap();
    let folder = dir.path().join("n1");
    let port = super::harness::free_port();
    let start = || {
        Command::new(CONCLAVE)
            .args(["server", "--node-name", "n1", "--tls-disable", "--data-dir"])
            .arg(&folder)
            .args(["--api-listen", &format!("127.0.0.1:{port}")])
            .args(["--cluster-listen", &format!("127.0.0.1:{}", super::harness::free_port())])
            .arg("--seal-key-file")
            .arg(&key)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let client = super::harness::plain_client();
    let base = format!("http://127.0.0.1:{port}/v1");
    let health = async || Some(client.get(format!("{base}/sys/health")).send().await.ok()?.status().as_u16());
    let mut child = start();
    eventually("the node is up", async || health().await == Some(501)).await;
    let init = client.put(format!("{base}/sys/init")).body("{}").send().await.unwrap();
    assert_eq!(init.status(), 200);
    eventually("unsealed at once", async || health().await == Some(200)).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let mut child = start();
    eventually("unsealed by itself", async || health().await == Some(200)).await;
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn keys_rotate_online_and_old_secrets_stay_readable_everywhere() {
    let cluster = Cluster::start(3);
    cluster.put(0, "old", "1").await.expect(200);
    for round in 0..3 {
        cluster.call(round, "PUT", "sys/rotate", Value::Null).await.expect(204);
        cluster.put((round + 1) % 3, &format!("new{round}"), "2").await.expect(200);
        for node in 0..3 {
            assert_eq!(cluster.get(node, "old").await.as_deref(), Some("1"));
            assert_eq!(cluster.get(node, &format!("new{round}")).await.as_deref(), Some("2"));
        }
    }
    for node in 0..3 {
        let status = cluster.call(node, "GET", "sys/key-status", Value::Null).await.expect(200).json();
        assert_eq!((&status["term"], &status["data"]["term"]), (&json!(4), &json!(4)));
    }
}
