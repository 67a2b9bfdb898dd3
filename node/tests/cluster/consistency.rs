//! Reads after writes at every node, and repeating a change.

use serde_json::{Value, json};

use super::harness::Cluster;

#[tokio::test]
async fn every_node_reads_what_any_node_wrote_at_once() {
    let cluster = Cluster::start(3);
    for round in 0..30 {
        let value = round.to_string();
        cluster.put(round % 3, "shared", &value).await.expect(200);
        for node in 0..3 {
            assert_eq!(cluster.get(node, "shared").await.as_deref(), Some(value.as_str()));
        }
    }
}

#[tokio::test]
async fn a_mount_is_there_at_every_node_at_once_and_gone_at_once() {
    let cluster = Cluster::start(3);
    for round in 0..10 {
        let mount = format!("kv{round}");
        let path = format!("sys/mounts/{mount}");
        cluster.call(round % 3, "POST", &path, json!({ "type": "kv" })).await.expect(204);
        let other = (round + 1) % 3;
        cluster.call(other, "POST", &format!("{mount}/a"), json!({ "n": 1 })).await.expect(204);
        cluster.call(other, "DELETE", &path, Value::Null).await.expect(204);
        cluster.call(round % 3, "GET", &format!("{mount}/a"), Value::Null).await.expect(404);
    }
}

#[tokio::test]
async fn check_and_set_never_wins_twice() {
    let cluster = Cluster::start(3);
    cluster.put(0, "cas", "0").await.expect(200);
    for version in 1..=10 {
        let body = json!({ "options": { "cas": version }, "data": { "value": "x" } });
        let attempts = (0..6).map(|client| cluster.call(client % 3, "POST", "secret/data/cas", body.clone()));
        let answers = futures::future::join_all(attempts).await;
        let won = answers.iter().filter(|answer| answer.status == 200).count();
        let lost = answers.iter().filter(|answer| answer.status == 400).count();
        assert_eq!((won, lost), (1, 5), "version {version}");
    }
}

#[tokio::test]
async fn many_writers_of_one_secret_all_get_their_own_version() {
    let cluster = Cluster::start(3);
    let writes = (0..60).map(|client| cluster.put(client % 3, "hot", "x"));
    let mut versions: Vec<_> = futures::future::join_all(writes)
        .await
        .into_iter()
        .map(|answer| answer.expect(200).json()["data"]["version"].to_string().parse::<u64>().unwrap())
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=60).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_repeat_under_an_idempotency_key_is_applied_once_and_answered_the_same() {
    let cluster = Cluster::start(3);
    let key = [("X-Conclave-Idempotency-Key", "order-1")];
    let body = json!({ "data": { "value": "1" } });
    let mut versions = Vec::new();
    for node in [0, 1, 2, 0] {
        let answer =
            cluster.try_call(node, "POST", "secret/data/i", body.clone(), &key).await.unwrap().expect(200);
        versions.push(answer.json()["data"]["version"].clone());
    }
    assert_eq!(versions, [1, 1, 1, 1].map(Value::from));
    let other = json!({ "data": { "value": "2" } });
    let refused = cluster.try_call(1, "POST", "secret/data/i", other, &key).await.unwrap().expect(400);
    assert!(refused.errors().contains("used for another request"), "{}", refused.text);
}

#[tokio::test]
async fn answers_carry_the_index_and_the_node() {
    let cluster = Cluster::start(3);
    let index =
        |answer: &super::harness::Answer| answer.header("x-conclave-index").unwrap().parse::<u64>().unwrap();
    let written = cluster.put(1, "x", "1").await.expect(200);
    let read = cluster.call(2, "GET", "secret/data/x", Value::Null).await.expect(200);
    assert!(index(&read) >= index(&written));
    assert_eq!(read.header("x-conclave-node"), Some("n3"));
}
