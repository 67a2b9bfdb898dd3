//! Tokens and policies at every node: what was ended or changed is so everywhere, at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::harness::{Answer, Cluster};

const READ_APP: &str = r#"path "secret/data/app" { capabilities = ["read"] }"#;

async fn write_policy(cluster: &Cluster, node: usize, name: &str, text: &str) {
    let path = format!("sys/policies/acl/{name}");
    cluster.call(node, "PUT", &path, json!({ "policy": text })).await.expect(204);
}

/// A token and its accessor.
async fn make(cluster: &Cluster, node: usize, with: &str, body: Value) -> (String, String) {
    let made = cluster.call_as(node, with, "POST", "auth/token/create", body).await.expect(200).json();
    let text = |name: &str| made["auth"][name].as_str().unwrap().to_owned();
    (text("client_token"), text("accessor"))
}

async fn get_as(cluster: &Cluster, node: usize, token: &str, path: &str) -> Answer {
    cluster.call_as(node, token, "GET", path, Value::Null).await
}

#[tokio::test]
async fn a_token_works_at_every_node_as_far_as_its_policies_go() {
    let cluster = Cluster::start(3);
    cluster.put(0, "app", "1").await.expect(200);
    write_policy(&cluster, 1, "app", READ_APP).await;
    let root = cluster.root_token.clone();
    let (token, _) = make(&cluster, 2, &root, json!({ "policies": ["app"], "ttl": "1h" })).await;
    for node in 0..3 {
        get_as(&cluster, node, &token, "secret/data/app").await.expect(200);
        get_as(&cluster, node, &token, "secret/data/other").await.expect(403);
        cluster
            .call_as(node, &token, "POST", "secret/data/app", json!({ "data": { "value": "2" } }))
            .await
            .expect(403);
        cluster.call_as(node, &token, "PUT", "sys/step-down", Value::Null).await.expect(403);
        cluster.call_as(node, &token, "PUT", "sys/seal", Value::Null).await.expect(403);
        get_as(&cluster, node, &token, "sys/storage/raft/snapshot").await.expect(403);
        let own = get_as(&cluster, node, &token, "auth/token/lookup-self").await.expect(200).json();
        assert_eq!(own["data"]["policies"], json!(["app", "default"]));
        assert!(own["data"]["ttl"].as_u64().unwrap() > 3_500);
    }
    let asked = json!({ "path": "secret/data/other", "operation": "read" });
    let why = cluster.call_as(1, &token, "POST", "sys/policies/explain", asked).await.expect(200).json();
    assert_eq!(why["data"]["allowed"], false);
    assert!(why["data"]["would_allow"].as_str().unwrap().contains("secret/data/other"));
}

#[tokio::test]
async fn what_was_revoked_is_refused_at_every_node_at_once_under_load_and_through_a_leader_change() {
    let cluster = Cluster::start(3);
    cluster.put(0, "app", "1").await.expect(200);
    write_policy(&cluster, 0, "app", READ_APP).await;
    let root = cluster.root_token.clone();
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = async |node: usize| {
        while !stop.load(Ordering::Relaxed) {
            get_as(&cluster, node, &root, "secret/data/app").await.expect(200);
            asked.fetch_add(1, Ordering::Relaxed);
        }
    };
    let work = async {
        for round in 0..24 {
            let (at, elsewhere) = (round % 3, (round + 1) % 3);
            let (parent, _) = make(&cluster, at, &root, json!({ "policies": ["app"] })).await;
            let (child, accessor) = make(&cluster, elsewhere, &root, json!({ "policies": ["app"] })).await;
            get_as(&cluster, elsewhere, &parent, "secret/data/app").await.expect(200);
            if round == 12 {
                let leader = cluster.leader().await;
                cluster.call(leader, "PUT", "sys/step-down", Value::Null).await.expect(204);
            }
            let body = json!({ "token": parent });
            cluster.call(at, "POST", "auth/token/revoke", body).await.expect(204);
            let body = json!({ "accessor": accessor });
            cluster.call(elsewhere, "POST", "auth/token/revoke-accessor", body).await.expect(204);
            for node in 0..3 {
                get_as(&cluster, node, &parent, "secret/data/app").await.expect(403);
                get_as(&cluster, node, &child, "secret/data/app").await.expect(403);
            }
        }
        stop.store(true, Ordering::Relaxed);
    };
    futures::join!(work, load(0), load(1), load(2));
    assert!(asked.into_inner() > 100);
}

#[tokio::test]
async fn a_changed_policy_holds_at_every_node_at_once() {
    let cluster = Cluster::start(3);
    cluster.put(0, "app", "1").await.expect(200);
    write_policy(&cluster, 0, "app", READ_APP).await;
    let root = cluster.root_token.clone();
    let (token, _) = make(&cluster, 0, &root, json!({ "policies": ["app"] })).await;
    for round in 0..12 {
        let deny = r#"path "secret/data/app" { capabilities = ["deny"] }"#;
        write_policy(&cluster, round % 3, "app", deny).await;
        for node in 0..3 {
            get_as(&cluster, node, &token, "secret/data/app").await.expect(403);
        }
        write_policy(&cluster, (round + 1) % 3, "app", READ_APP).await;
        for node in 0..3 {
            get_as(&cluster, node, &token, "secret/data/app").await.expect(200);
        }
    }
    cluster.call(1, "DELETE", "sys/policies/acl/app", Value::Null).await.expect(204);
    get_as(&cluster, 2, &token, "secret/data/app").await.expect(403);
}

#[tokio::test]
async fn a_list_has_no_longer_pages_than_policies_allow() {
    let cluster = Cluster::start(3);
    cluster.call(0, "POST", "sys/auth/people", json!({ "type": "userpass" })).await.expect(204);
    for name in ["a", "b", "c"] {
        cluster.put(0, name, "1").await.expect(200);
        let user = format!("auth/people/users/{name}");
        cluster.call(0, "POST", &user, json!({ "password": "x" })).await.expect(204);
    }
    let paged = r#"path "secret/metadata/*" { capabilities = ["list"] pagination_limit = 2 }
        path "auth/people/users/*" { capabilities = ["list"] pagination_limit = 1 }"#;
    write_policy(&cluster, 0, "paged", paged).await;
    let (token, _) = make(&cluster, 0, &cluster.root_token, json!({ "policies": ["paged"] })).await;
    for node in 0..3 {
        for (path, names) in [
            ("secret/metadata/", json!(["a", "b"])),
            ("secret/metadata/?limit=0", json!(["a", "b"])),
            ("secret/metadata/?limit=max", json!(["a", "b"])),
            ("secret/metadata/?limit=1", json!(["a"])),
            ("secret/metadata/?after=b", json!(["c"])),
            ("auth/people/users/", json!(["a"])),
        ] {
            let answer = cluster.call_as(node, &token, "LIST", path, Value::Null).await.expect(200);
            assert_eq!(answer.json()["data"]["keys"], names, "{path} at node {node}");
        }
        cluster.call_as(node, &token, "LIST", "secret/metadata/?limit=3", Value::Null).await.expect(403);
    }
}

#[tokio::test]
async fn a_token_ends_all_that_was_made_with_it() {
    let cluster = Cluster::start(3);
    let root = cluster.root_token.clone();
    let (parent, _) = make(&cluster, 0, &root, json!({ "policies": ["default"] })).await;
    // Only who may make tokens makes tokens.
    cluster.call_as(0, &parent, "POST", "auth/token/create", json!({})).await.expect(403);
    let maker = r#"path "auth/token/create" { capabilities = ["update"] }"#;
    write_policy(&cluster, 0, "maker", maker).await;
    let (parent, _) = make(&cluster, 0, &root, json!({ "policies": ["maker"] })).await;
    let (child, _) = make(&cluster, 1, &parent, json!({})).await;
    let (grandchild, _) = make(&cluster, 2, &child, json!({})).await;
    cluster.call_as(1, &parent, "POST", "auth/token/revoke-self", Value::Null).await.expect(204);
    for node in 0..3 {
        for gone in [&parent, &child, &grandchild] {
            get_as(&cluster, node, gone, "auth/token/lookup-self").await.expect(403);
        }
    }
    super::harness::eventually("what was made with it is cleared away", async || {
        let keys = cluster.call(0, "LIST", "auth/token/accessors", Value::Null).await.expect(200).json();
        keys["data"]["keys"].as_array().unwrap().len() == 2
    })
    .await;
}

#[tokio::test]
async fn a_token_for_so_many_uses_is_used_so_often_whichever_nodes_are_asked() {
    let cluster = Cluster::start(3);
    let root = cluster.root_token.clone();
    let (token, _) = make(&cluster, 0, &root, json!({ "policies": ["default"], "num_uses": 5 })).await;
    let asked = (0..12).map(|client| get_as(&cluster, client % 3, &token, "auth/token/lookup-self"));
    let answers = futures::future::join_all(asked).await;
    let allowed = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 403).count();
    assert_eq!((allowed, refused), (5, 7));
}

#[tokio::test]
async fn a_token_expires_in_its_time_at_every_node() {
    let cluster = Cluster::start(3);
    let root = cluster.root_token.clone();
    let (token, accessor) = make(&cluster, 0, &root, json!({ "policies": ["default"], "ttl": "2s" })).await;
    get_as(&cluster, 1, &token, "auth/token/lookup-self").await.expect(200);
    super::harness::eventually("it has expired", async || {
        get_as(&cluster, 1, &token, "auth/token/lookup-self").await.status == 403
    })
    .await;
    for node in 0..3 {
        get_as(&cluster, node, &token, "auth/token/lookup-self").await.expect(403);
        let body = json!({ "accessor": accessor });
        cluster.call(node, "POST", "auth/token/lookup-accessor", body).await.expect(400);
    }
}

#[tokio::test]
async fn a_use_counts_for_what_is_refused_and_for_what_is_done_outside_the_state() {
    let cluster = Cluster::start(3);
    let root = cluster.root_token.clone();
    write_policy(&cluster, 0, "metrics", r#"path "sys/metrics" { capabilities = ["read"] }"#).await;
    let uses = json!({ "policies": ["metrics"], "num_uses": 2 });
    for (node, path, status) in
        [(0, "sys/metrics", 200), (1, "sys/mounts", 403), (2, "auth/token/nothing", 403)]
    {
        let (token, _) = make(&cluster, node, &root, uses.clone()).await;
        for _ in 0..2 {
            get_as(&cluster, node, &token, path).await.expect(status);
        }
        for node in 0..3 {
            get_as(&cluster, node, &token, "auth/token/lookup-self").await.expect(403);
        }
    }
}

#[tokio::test]
async fn who_may_create_may_not_change_and_who_may_change_may_not_create() {
    let cluster = Cluster::start(1);
    let root = cluster.root_token.clone();
    cluster.call(0, "POST", "sys/mounts/kv1", json!({ "type": "kv" })).await.expect(204);
    let mut tokens = Vec::new();
    for capability in ["create", "update"] {
        let text = format!(
            "path \"secret/*\" {{ capabilities = [\"{capability}\"] }}\npath \"kv1/*\" {{ capabilities = [\"{capability}\"] }}"
        );
        write_policy_with_warnings(&cluster, capability, &text).await;
        tokens.push(make(&cluster, 0, &root, json!({ "policies": [capability] })).await.0);
    }
    let versioned = json!({ "data": { "value": "1" } });
    for (path, body) in [
        ("secret/data/a", &versioned),
        ("secret/metadata/b", &json!({ "max_versions": 3 })),
        ("kv1/a", &versioned),
    ] {
        let write = async |token: &str| cluster.call_as(0, token, "POST", path, body.clone()).await.status;
        assert_eq!(write(&tokens[1]).await, 403, "{path}: there is nothing to change");
        assert!(write(&tokens[0]).await < 300, "{path}");
        assert_eq!(write(&tokens[0]).await, 403, "{path}: it is there");
        assert!(write(&tokens[1]).await < 300, "{path}");
    }
}

async fn write_policy_with_warnings(cluster: &Cluster, name: &str, text: &str) {
    let path = format!("sys/policies/acl/{name}");
    let answer = cluster.call(0, "PUT", &path, json!({ "policy": text })).await;
    assert!(answer.status < 300, "{}", answer.text);
}

#[tokio::test]
async fn a_caller_sees_the_mounts_in_which_there_may_be_something_for_him() {
    let cluster = Cluster::start(1);
    let root = cluster.root_token.clone();
    cluster.call(0, "POST", "sys/mounts/other", json!({ "type": "kv" })).await.expect(204);
    write_policy(&cluster, 0, "app", READ_APP).await;
    let (token, _) = make(&cluster, 0, &root, json!({ "policies": ["app"] })).await;
    let seen = get_as(&cluster, 0, &token, "sys/internal/ui/mounts").await.expect(200).json();
    let seen = seen["data"]["secret"].as_object().unwrap().clone();
    assert!(seen.contains_key("secret/") && !seen.contains_key("other/"), "{seen:?}");
    let serving =
        get_as(&cluster, 0, &token, "sys/internal/ui/mounts/secret/data/app").await.expect(200).json();
    assert_eq!(serving["data"]["options"]["version"], "2");
    let hidden = get_as(&cluster, 0, &token, "sys/internal/ui/mounts/other/x").await.expect(403);
    let nothing = get_as(&cluster, 0, &token, "sys/internal/ui/mounts/none/x").await.expect(403);
    assert_eq!(hidden.errors().replace("other", "none"), nothing.errors(), "nobody learns what there is");
}
