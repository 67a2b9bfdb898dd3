//! Entities, groups and batch tokens at every node: what was changed of one holds everywhere, at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::harness::Cluster;

const READ_APP: &str = r#"path "secret/data/app" { capabilities = ["read"] }"#;
const OWN_FOLDER: &str = r#"path "secret/data/{{identity.entity.name}}" { capabilities = ["read"] }"#;

/// A cluster with the secret `app`, a policy to read it, and a role by which tokens of entities are made.
async fn start(nodes: usize) -> Cluster {
    let cluster = Cluster::start(nodes);
    cluster.put(0, "app", "1").await.expect(200);
    for (name, text) in [("app", READ_APP), ("own", OWN_FOLDER)] {
        let path = format!("sys/policies/acl/{name}");
        cluster.call(0, "PUT", &path, json!({ "policy": text })).await.expect(204);
    }
    let role = json!({ "allowed_entity_aliases": "*", "allowed_policies": "default", "orphan": true });
    cluster.call(0, "POST", "auth/token/roles/people", role).await.expect(204);
    cluster
}

/// A token of the entity with this name at the mount of tokens, and the entity's id.
async fn token_of(cluster: &Cluster, node: usize, name: &str, kind: &str) -> (String, String) {
    let body = json!({ "entity_alias": name, "type": kind });
    let made = cluster.call(node, "POST", "auth/token/create/people", body).await.expect(200).json();
    let text = |field: &str| made["auth"][field].as_str().unwrap().to_owned();
    (text("client_token"), text("entity_id"))
}

async fn reads(cluster: &Cluster, node: usize, token: &str, path: &str) -> u16 {
    cluster.call_as(node, token, "GET", path, Value::Null).await.status
}

async fn change(cluster: &Cluster, node: usize, id: &str, body: Value) {
    let path = format!("identity/entity/id/{id}");
    cluster.call(node, "POST", &path, body).await.expect(204);
}

#[tokio::test]
async fn a_disabled_entity_is_refused_at_every_node_at_once_under_load_and_through_a_leader_change() {
    let cluster = start(3).await;
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (busy, _) = token_of(&cluster, 0, "busy", "service").await;
    let load = async |node: usize| {
        while !stop.load(Ordering::Relaxed) {
            assert_eq!(reads(&cluster, node, &busy, "auth/token/lookup-self").await, 200);
            asked.fetch_add(1, Ordering::Relaxed);
        }
    };
    let work = async {
        for round in 0..18 {
            let (at, elsewhere) = (round % 3, (round + 1) % 3);
            let kind = if round % 2 == 0 { "service" } else { "batch" };
            let (token, id) = token_of(&cluster, at, &format!("one-{round}"), kind).await;
            assert_eq!(reads(&cluster, elsewhere, &token, "secret/data/app").await, 403);
            change(&cluster, at, &id, json!({ "policies": "app" })).await;
            for node in 0..3 {
                assert_eq!(reads(&cluster, node, &token, "secret/data/app").await, 200);
            }
            if round == 9 {
                let leader = cluster.leader().await;
                cluster.call(leader, "PUT", "sys/step-down", Value::Null).await.expect(204);
            }
            change(&cluster, elsewhere, &id, json!({ "disabled": true })).await;
            for node in 0..3 {
                assert_eq!(reads(&cluster, node, &token, "secret/data/app").await, 403);
                assert_eq!(reads(&cluster, node, &token, "auth/token/lookup-self").await, 403);
            }
        }
        stop.store(true, Ordering::Relaxed);
    };
    futures::join!(work, load(0), load(1), load(2));
    assert!(asked.into_inner() > 50);
}

#[tokio::test]
async fn a_batch_token_ends_with_its_parent_at_every_node() {
    let cluster = start(3).await;
    let maker = r#"path "auth/token/create" { capabilities = ["update"] }"#;
    cluster.call(0, "PUT", "sys/policies/acl/maker", json!({ "policy": maker })).await.expect(204);
    let before = cluster.call(0, "LIST", "auth/token/accessors", Value::Null).await.expect(200).json();
    for round in 0..6 {
        let (at, elsewhere) = (round % 3, (round + 1) % 3);
        let body = json!({ "policies": ["maker", "app"] });
        let parent = cluster.call(at, "POST", "auth/token/create", body).await.expect(200).json();
        let parent = parent["auth"]["client_token"].as_str().unwrap();
        let body = json!({ "type": "batch", "policies": ["app"] });
        let made =
            cluster.call_as(elsewhere, parent, "POST", "auth/token/create", body).await.expect(200).json();
        let batch = made["auth"]["client_token"].as_str().unwrap();
        for node in 0..3 {
            assert_eq!(reads(&cluster, node, batch, "secret/data/app").await, 200);
            let refused = cluster.call_as(node, batch, "POST", "auth/token/renew-self", json!({})).await;
            refused.expect(400);
        }
        cluster.call(at, "POST", "auth/token/revoke", json!({ "token": parent })).await.expect(204);
        for node in 0..3 {
            assert_eq!(reads(&cluster, node, batch, "secret/data/app").await, 403);
        }
    }
    let after = cluster.call(0, "LIST", "auth/token/accessors", Value::Null).await.expect(200).json();
    assert_eq!(before["data"]["keys"], after["data"]["keys"], "nothing is left of any");
}

#[tokio::test]
async fn a_batch_token_outlives_a_change_of_keys_and_ends_at_its_time() {
    let cluster = start(3).await;
    let body = json!({ "type": "batch", "policies": ["app"], "ttl": "1h" });
    let made = cluster.call(1, "POST", "auth/token/create", body).await.expect(200).json();
    let token = made["auth"]["client_token"].as_str().unwrap();
    cluster.call(0, "POST", "sys/rotate/keyring", Value::Null).await.expect(204);
    for node in 0..3 {
        assert_eq!(reads(&cluster, node, token, "secret/data/app").await, 200);
    }
    let other = if &token[20..21] == "A" { "B" } else { "A" };
    let changed = format!("{}{other}{}", &token[..20], &token[21..]);
    let longer = format!("{token}{}", "A".repeat(9_000));
    for wrong in
        [changed.as_str(), "b.", "b.AAAAAAAAAAAAAAAAAAAAAAAAAAAA", &longer, &token[..token.len() - 4]]
    {
        assert_eq!(reads(&cluster, 2, wrong, "secret/data/app").await, 403);
    }
    let body = json!({ "type": "batch", "policies": ["app"], "ttl": "2s" });
    let short = cluster.call(1, "POST", "auth/token/create", body).await.expect(200).json();
    let short = short["auth"]["client_token"].as_str().unwrap();
    super::harness::eventually("it has ended", async || {
        reads(&cluster, 2, short, "secret/data/app").await == 403
    })
    .await;
    for node in 0..3 {
        assert_eq!(reads(&cluster, node, short, "secret/data/app").await, 403);
    }
}

#[tokio::test]
async fn who_is_in_a_group_has_its_rights_at_every_node_as_long_as_he_is() {
    let cluster = start(3).await;
    let (token, id) = token_of(&cluster, 0, "alice", "service").await;
    let group = json!({ "name": "readers", "policies": "app" });
    let made = cluster.call(1, "POST", "identity/group", group).await.expect(200).json();
    let inner = made["data"]["id"].as_str().unwrap();
    let outer = json!({ "name": "outer", "policies": "own", "member_group_ids": [inner] });
    let made = cluster.call(2, "POST", "identity/group", outer).await.expect(200).json();
    let outer = made["data"]["id"].as_str().unwrap().to_owned();
    cluster.put(0, "alice-folder", "1").await.expect(200);
    change(&cluster, 0, &id, json!({ "name": "alice-folder" })).await;
    for round in 0..6 {
        let (at, elsewhere) = (round % 3, (round + 1) % 3);
        let path = format!("identity/group/id/{inner}");
        cluster.call(at, "POST", &path, json!({ "member_entity_ids": [id] })).await.expect(204);
        for node in 0..3 {
            assert_eq!(reads(&cluster, node, &token, "secret/data/app").await, 200);
            assert_eq!(reads(&cluster, node, &token, "secret/data/alice-folder").await, 200);
        }
        cluster.call(elsewhere, "POST", &path, json!({ "member_entity_ids": [] })).await.expect(204);
        for node in 0..3 {
            assert_eq!(reads(&cluster, node, &token, "secret/data/app").await, 403);
            assert_eq!(reads(&cluster, node, &token, "secret/data/alice-folder").await, 403);
        }
    }
    let path = format!("identity/group/id/{inner}");
    cluster.call(0, "POST", &path, json!({ "member_entity_ids": [id] })).await.expect(204);
    let own =
        cluster.call_as(1, &token, "GET", "auth/token/lookup-self", Value::Null).await.expect(200).json();
    assert_eq!(own["data"]["identity_policies"], json!(["app", "own"]));
    cluster.call(2, "DELETE", &path, Value::Null).await.expect(204);
    for node in 0..3 {
        assert_eq!(reads(&cluster, node, &token, "secret/data/app").await, 403);
    }
    let told =
        cluster.call(0, "GET", &format!("identity/group/id/{outer}"), Value::Null).await.expect(200).json();
    assert_eq!(told["data"]["member_group_ids"], Value::Null);
}

#[tokio::test]
async fn two_nodes_that_meet_somebody_at_once_make_one_entity_of_him() {
    let cluster = start(3).await;
    for round in 0..8 {
        let name = format!("new-{round}");
        let at = |node| token_of(&cluster, node, &name, "service");
        let met = futures::future::join_all((0..6).map(|number| at(number % 3))).await;
        assert!(met.iter().all(|(_, id)| *id == met[0].1), "round {round}");
    }
    let listed = cluster.call(0, "LIST", "identity/entity/id", Value::Null).await.expect(200).json();
    assert_eq!(listed["data"]["keys"].as_array().unwrap().len(), 8);
}
