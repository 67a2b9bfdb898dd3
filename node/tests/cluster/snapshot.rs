//! Backups: saved at any node, verified before anything is touched, restored through Raft.

use std::process::Command;

use serde_json::{Value, json};

use super::harness::{CONCLAVE, Cluster};

#[tokio::test]
async fn a_snapshot_brings_secrets_and_mounts_back_and_keeps_the_cluster() {
    let cluster = Cluster::start(3);
    cluster.put(0, "kept", "1").await.expect(200);
    let file = cluster.dir.path().join("backup.snap");
    run(&cluster, 1, &["operator", "snapshot", "save", file.to_str().unwrap()], 0);

    cluster.put(0, "kept", "2").await.expect(200);
    cluster.put(0, "later", "1").await.expect(200);
    cluster.call(0, "POST", "sys/mounts/later", json!({ "type": "kv" })).await.expect(204);
    cluster.call(0, "PUT", "sys/rotate", Value::Null).await.expect(204);

    run(&cluster, 2, &["operator", "snapshot", "restore", file.to_str().unwrap()], 0);
    for node in 0..3 {
        assert_eq!(cluster.get(node, "kept").await.as_deref(), Some("1"));
        assert_eq!(cluster.get(node, "later").await, None);
        cluster.call(node, "GET", "later/x", Value::Null).await.expect(404);
    }
    cluster.put(1, "after", "1").await.expect(200);
    assert_eq!(cluster.members(0).await.len(), 3);
}

#[tokio::test]
async fn a_damaged_or_foreign_snapshot_is_refused_and_nothing_is_touched() {
    let cluster = Cluster::start(1);
    cluster.put(0, "x", "1").await.expect(200);
    let file = cluster.dir.path().join("backup.snap");
    run(&cluster, 0, &["operator", "snapshot", "save", file.to_str().unwrap()], 0);
    let whole = std::fs::read(&file).unwrap();

    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let cut = whole[..whole.len() - 30].to_vec();
    let foreign = Cluster::start(1);
    let foreign_file = foreign.dir.path().join("other.snap");
    run(&foreign, 0, &["operator", "snapshot", "save", foreign_file.to_str().unwrap()], 0);
    let foreign = std::fs::read(foreign_file).unwrap();
    for bad in [flipped, cut, foreign, b"not a snapshot".to_vec(), Vec::new()] {
        let token = [("X-Vault-Token", cluster.root_token.as_str())];
        let answer =
            cluster.raw(0, "POST", "/v1/sys/storage/raft/snapshot", bad, &token).await.unwrap().expect(400);
        assert!(!answer.errors().is_empty());
        assert_eq!(cluster.get(0, "x").await.as_deref(), Some("1"));
    }
    // Without a token nothing is read at all.
    let stranger = [("X-Vault-Token", "s.nobody")];
    cluster.raw(0, "POST", "/v1/sys/storage/raft/snapshot", whole, &stranger).await.unwrap().expect(403);
}

pub fn run(cluster: &Cluster, node: usize, arguments: &[&str], code: i32) {
    let output = Command::new(CONCLAVE)
        .args(arguments)
        .env("VAULT_ADDR", &cluster.nodes[node].api_addr)
        .env("VAULT_CACERT", cluster.ca_cert())
        .env("VAULT_TOKEN", &cluster.root_token)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
}
