//! Joining, as a node that lost an answer and as two nodes that come at once do it.

use conclave_node::identity::NodeKey;
use futures::future::join_all;
use serde_json::{Value, json};

use super::harness::{Answer, Cluster, free_port};

async fn join_token(cluster: &Cluster) -> String {
    let answer = cluster.call(0, "POST", "sys/cluster/join-token", Value::Null).await.expect(200);
    answer.json()["data"]["token"].as_str().unwrap().to_owned()
}

/// Asks to be admitted as a new node does, at `node`, without a token of the API.
async fn join(cluster: &Cluster, node: usize, token: &str, key: &NodeKey, name: &str) -> Answer {
    let request = json!({
        "token": token, "csr": key.csr_pem().unwrap(), "name": name, "names": [],
        "api_addr": format!("https://127.0.0.1:{}", free_port()),
        "cluster_addr": format!("127.0.0.1:{}", free_port()),
    });
    let body = request.to_string().into_bytes();
    cluster.raw(node, "POST", "/v1/sys/cluster/join", body, &[]).await.unwrap()
}

async fn names(cluster: &Cluster) -> Vec<String> {
    cluster.members(0).await.into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn a_node_that_lost_the_answer_asks_again_and_gets_the_same() {
    let cluster = Cluster::start(1);
    let (token, key) = (join_token(&cluster).await, NodeKey::generate().unwrap());
    let first = join(&cluster, 0, &token, &key, "n2").await.expect(200).json();
    let again = join(&cluster, 0, &token, &key, "n2").await.expect(200).json();
    assert_eq!(first["data"]["node_id"], again["data"]["node_id"]);
    assert_eq!(names(&cluster).await.len(), 2);
    // Another node does not get in with it, whichever name it says, nor the same under another name.
    let other = NodeKey::generate().unwrap();
    for (key, name) in [(&other, "n2"), (&other, "n3"), (&key, "n3")] {
        join(&cluster, 0, &token, key, name).await.expect(403);
    }
    assert_eq!(names(&cluster).await.len(), 2);
}

#[tokio::test]
async fn a_node_that_was_removed_does_not_come_back_with_its_old_token() {
    let cluster = Cluster::start(1);
    let (token, key) = (join_token(&cluster).await, NodeKey::generate().unwrap());
    join(&cluster, 0, &token, &key, "n2").await.expect(200);
    cluster.call(0, "POST", "sys/storage/raft/remove-peer", json!({ "server_id": "n2" })).await.expect(204);
    join(&cluster, 0, &token, &key, "n2").await.expect(403);
    assert_eq!(names(&cluster).await, ["n1"]);
    // With a new token it is a new node, and its name is free.
    let token = join_token(&cluster).await;
    join(&cluster, 0, &token, &key, "n2").await.expect(200);
}

#[tokio::test]
async fn of_nodes_that_join_at_once_under_one_name_exactly_one_is_admitted() {
    let cluster = Cluster::start(1);
    let tokens = join_all((0..8).map(|_| join_token(&cluster))).await;
    let nodes: Vec<_> = tokens.iter().map(|token| (token, NodeKey::generate().unwrap())).collect();
    let answers = join_all(nodes.iter().map(|(token, key)| join(&cluster, 0, token, key, "twin"))).await;
    let (admitted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(admitted.len(), 1, "{:?}", answers.iter().map(|answer| &answer.text).collect::<Vec<_>>());
    for answer in refused {
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.errors().contains("a node of this name is a member already"), "{}", answer.text);
    }
    assert_eq!(names(&cluster).await, ["n1", "twin"]);
}

#[tokio::test]
async fn nodes_that_join_at_once_under_their_own_names_are_all_admitted() {
    let cluster = Cluster::start(1);
    let tokens = join_all((0..5).map(|_| join_token(&cluster))).await;
    let nodes: Vec<_> = tokens.iter().map(|token| (token, NodeKey::generate().unwrap())).collect();
    let joins = nodes.iter().enumerate().map(|(at, (token, key))| {
        let (cluster, name) = (&cluster, format!("node-{at}"));
        async move { join(cluster, 0, token, key, &name).await }
    });
    for answer in join_all(joins).await {
        answer.expect(200);
    }
    assert_eq!(names(&cluster).await.len(), 6);
}

#[tokio::test]
async fn a_request_to_join_is_bounded_in_all_its_parts() {
    let cluster = Cluster::start(1);
    let key = NodeKey::generate().unwrap();
    let whole = json!({
        "token": join_token(&cluster).await, "csr": key.csr_pem().unwrap(), "name": "n2", "names": [],
        "api_addr": "https://127.0.0.1:1", "cluster_addr": "127.0.0.1:1",
    });
    for (field, value, status) in [
        ("name", json!("a b"), 400),
        ("name", json!("n".repeat(65)), 400),
        ("names", json!(vec!["n"; 17]), 400),
        ("api_addr", json!("x".repeat(513)), 400),
        ("csr", json!("no request"), 400),
        ("token", json!("cj1.x.y"), 403),
        ("extra", json!("x".repeat(64 * 1024)), 413),
    ] {
        let mut request = whole.clone();
        request[field] = value;
        let body = request.to_string().into_bytes();
        let answer = cluster.raw(0, "POST", "/v1/sys/cluster/join", body, &[]).await.unwrap();
        assert_eq!(answer.status, status, "{field}: {}", answer.text);
    }
    assert_eq!(names(&cluster).await.len(), 1);
}
