//! Logins at every node: what was counted, used up or ended at one is so at all, at once.

use std::path::Path;

use serde_json::{Value, json};

use super::harness::{Answer, Cluster, eventually};

const READ_APP: &str = r#"path "secret/data/app" { capabilities = ["read"] }"#;
/// Sent without a token.
const NOBODY: &[(&str, &str)] = &[("X-Vault-Token", "")];

/// A request of somebody who has no token.
async fn ask(cluster: &Cluster, node: usize, method: &str, path: &str, body: Value) -> Answer {
    cluster.try_call(node, method, path, body, NOBODY).await.expect("the node answers")
}

async fn by_password(cluster: &Cluster, node: usize, name: &str, password: &str) -> Answer {
    let body = json!({ "password": password });
    ask(cluster, node, "POST", &format!("auth/userpass/login/{name}"), body).await
}

async fn by_role(cluster: &Cluster, node: usize, secret_id: &Value) -> Answer {
    let body = json!({ "role_id": "app", "secret_id": secret_id });
    ask(cluster, node, "POST", "auth/approle/login", body).await
}

fn token(answer: Answer) -> String {
    answer.expect(200).json()["auth"]["client_token"].as_str().expect("a token").to_owned()
}

/// A cluster with a user `bob` and a role `app` that may read one secret.
async fn start(nodes: usize) -> Cluster {
    let cluster = Cluster::start(nodes);
    cluster.put(0, "app", "1").await.expect(200);
    for (path, body) in [
        ("sys/policies/acl/app", json!({ "policy": READ_APP })),
        ("sys/auth/userpass", json!({ "type": "userpass" })),
        ("sys/auth/approle", json!({ "type": "approle" })),
        ("auth/userpass/users/bob", json!({ "password": "hunter2", "token_policies": "app" })),
        ("auth/approle/role/app", json!({ "role_id": "app", "token_policies": "app" })),
    ] {
        cluster.call(nodes - 1, "POST", path, body).await.expect(204);
    }
    cluster
}

async fn secret_id(cluster: &Cluster, node: usize, body: Value) -> Value {
    let path = "auth/approle/role/app/secret-id";
    cluster.call(node, "POST", path, body).await.expect(200).json()["data"]["secret_id"].clone()
}

async fn read_as(cluster: &Cluster, node: usize, token: &str) -> u16 {
    cluster.call_as(node, token, "GET", "secret/data/app", Value::Null).await.status
}

#[tokio::test]
async fn a_login_at_any_node_gives_a_token_for_every_node() {
    let cluster = start(3).await;
    let secret_id = secret_id(&cluster, 0, json!({})).await;
    for node in 0..3 {
        for token in [
            token(by_password(&cluster, node, "bob", "hunter2").await),
            token(by_role(&cluster, node, &secret_id).await),
        ] {
            for elsewhere in 0..3 {
                assert_eq!(read_as(&cluster, elsewhere, &token).await, 200);
                let other = cluster.call_as(elsewhere, &token, "GET", "secret/data/other", Value::Null).await;
                assert_eq!(other.status, 403);
            }
        }
        by_password(&cluster, node, "bob", "wrong").await.expect(400);
        by_role(&cluster, node, &json!("wrong")).await.expect(400);
    }
}

#[tokio::test]
async fn a_disabled_mount_ends_its_tokens_at_every_node_at_once() {
    let cluster = start(3).await;
    for round in 0..6 {
        let mut tokens = Vec::new();
        for node in 0..3 {
            let made = token(by_password(&cluster, node, "bob", "hunter2").await);
            assert_eq!(read_as(&cluster, (node + 1) % 3, &made).await, 200, "every node knows it");
            tokens.push(made);
        }
        if round == 3 {
            let leader = cluster.leader().await;
            cluster.call(leader, "PUT", "sys/step-down", Value::Null).await.expect(204);
        }
        cluster.call(round % 3, "DELETE", "sys/auth/userpass", Value::Null).await.expect(204);
        for node in 0..3 {
            for token in &tokens {
                assert_eq!(read_as(&cluster, node, token).await, 403, "round {round}, node {node}");
            }
            by_password(&cluster, node, "bob", "hunter2").await.expect(403);
        }
        for (path, body) in [
            ("sys/auth/userpass", json!({ "type": "userpass" })),
            ("auth/userpass/users/bob", json!({ "password": "hunter2", "token_policies": "app" })),
        ] {
            cluster.call(round % 3, "POST", path, body).await.expect(204);
        }
        assert_eq!(read_as(&cluster, 0, &tokens[0]).await, 403, "the new mount is another");
    }
    eventually("the tokens are cleared away", async || {
        let keys = cluster.call(0, "LIST", "auth/token/accessors", Value::Null).await.expect(200).json();
        keys["data"]["keys"].as_array().unwrap().len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_lockout_outlives_the_leader() {
    let mut cluster = start(3).await;
    for guess in 0..5 {
        by_password(&cluster, guess % 3, "bob", "wrong").await.expect(400);
        if guess == 2 {
            let leader = cluster.leader().await;
            cluster.call(leader, "PUT", "sys/step-down", Value::Null).await.expect(204);
        }
    }
    for node in 0..3 {
        by_password(&cluster, node, "bob", "hunter2").await.expect(403);
    }
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    for node in [one, other] {
        by_password(&cluster, node, "BOB", "hunter2").await.expect(403);
    }
    let locked = cluster.call(one, "GET", "sys/locked-users", Value::Null).await.expect(200).json();
    let mount = &locked["data"]["by_namespace"][0]["mount_accessors"][0];
    assert_eq!(mount["alias_identifiers"], json!(["bob"]));
    let path = format!("sys/locked-users/{}/unlock/bob", mount["mount_accessor"].as_str().unwrap());
    cluster.call(other, "POST", &path, Value::Null).await.expect(204);
    token(by_password(&cluster, one, "bob", "hunter2").await);
}

#[tokio::test]
async fn a_secret_id_of_one_use_is_used_once_whichever_nodes_are_asked() {
    let cluster = start(3).await;
    for round in 0..8 {
        let secret_id = secret_id(&cluster, round % 3, json!({ "num_uses": 1 })).await;
        let asked = (0..6).map(|client| by_role(&cluster, client % 3, &secret_id));
        let answers = futures::future::join_all(asked).await;
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(200), count(400)), (1, 5), "round {round}");
    }
}

#[tokio::test]
async fn many_uses_at_once_are_counted_and_none_is_turned_away_before_the_last() {
    let cluster = start(3).await;
    let secret_id = secret_id(&cluster, 0, json!({ "num_uses": 30 })).await;
    let answers =
        futures::future::join_all((0..45).map(|client| by_role(&cluster, client % 3, &secret_id))).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(200), count(400)), (30, 15));
}

/// I5: who did not hear the answer may ask again.
#[tokio::test]
async fn a_named_login_that_is_repeated_is_one_login() {
    let cluster = start(3).await;
    let secret_id = secret_id(&cluster, 0, json!({ "num_uses": 1 })).await;
    let named = [("X-Vault-Token", ""), ("X-Conclave-Idempotency-Key", "login-1")];
    let login = async |node: usize, secret_id: &Value| {
        let body = json!({ "role_id": "app", "secret_id": secret_id });
        cluster.try_call(node, "POST", "auth/approle/login", body, &named).await.unwrap()
    };
    let first = token(login(0, &secret_id).await);
    for node in 0..3 {
        assert_eq!(token(login(node, &secret_id).await), first);
        login(node, &json!("another")).await.expect(400);
        by_role(&cluster, node, &secret_id).await.expect(400);
    }
}

#[tokio::test]
async fn guesses_at_all_nodes_at_once_are_counted_together() {
    let cluster = start(3).await;
    let guesses = (0..18).map(|client| by_password(&cluster, client % 3, "bob", "wrong"));
    let answers = futures::future::join_all(guesses).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(400), count(403)), (5, 13));
}

#[tokio::test]
async fn whoever_has_no_token_may_log_in_and_nothing_else() {
    let cluster = start(1).await;
    for (method, path) in [
        ("GET", "sys/auth"),
        ("GET", "sys/auth/userpass"),
        ("POST", "sys/auth/other"),
        ("DELETE", "sys/auth/userpass"),
        ("POST", "sys/auth/userpass/tune"),
        ("GET", "sys/locked-users"),
        ("LIST", "auth/userpass/users"),
        ("GET", "auth/userpass/users/bob"),
        ("POST", "auth/userpass/users/bob"),
        ("POST", "auth/userpass/users/bob/password"),
        ("DELETE", "auth/userpass/users/bob"),
        ("POST", "auth/userpass/login"),
        ("LIST", "auth/approle/role"),
        ("GET", "auth/approle/role/app"),
        ("GET", "auth/approle/role/app/role-id"),
        ("POST", "auth/approle/role/app/secret-id"),
        ("POST", "auth/approle/login/x"),
        ("POST", "auth/approle/tidy/secret-id"),
        ("POST", "auth/nothing/login"),
        ("POST", "auth/nothing/login/bob"),
        ("GET", "auth/token/nothing"),
    ] {
        let refused = ask(&cluster, 0, method, path, json!({ "type": "userpass", "password": "x" })).await;
        assert_eq!(
            (refused.status, refused.errors().as_str()),
            (403, "permission denied"),
            "{method} {path}"
        );
    }
    token(by_password(&cluster, 0, "bob", "hunter2").await);
}

#[tokio::test]
async fn only_who_has_sudo_changes_auth_mounts() {
    let cluster = start(1).await;
    let all = r#"path "sys/auth/*" { capabilities = ["create", "read", "update", "delete"] }
        path "sys/mounts/*" { capabilities = ["create", "read", "update", "delete"] }"#;
    cluster.call(0, "POST", "sys/policies/acl/mounts", json!({ "policy": all })).await.expect(204);
    let body = json!({ "policies": ["mounts"] });
    let made = cluster.call(0, "POST", "auth/token/create", body).await;
    let holder = token(made);
    for (method, path, status) in [
        ("DELETE", "sys/auth/userpass", 403),
        ("POST", "sys/auth/other", 403),
        ("GET", "sys/auth/userpass", 403),
        ("DELETE", "sys/mounts/auth/userpass", 400),
        ("POST", "sys/mounts/auth/other", 400),
    ] {
        let body = json!({ "type": "userpass" });
        let answer = cluster.call_as(0, &holder, method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
    }
    token(by_password(&cluster, 0, "bob", "hunter2").await);
}

#[tokio::test]
async fn a_flood_of_logins_does_not_hold_up_the_rest() {
    let cluster = start(1).await;
    let flood = futures::future::join_all((0..400).map(|client| {
        let (name, cluster) = (format!("nobody{client}"), &cluster);
        async move { by_password(cluster, 0, &name, "wrong").await.status }
    }));
    let reads = async {
        for _ in 0..50 {
            assert_eq!(cluster.get(0, "app").await.as_deref(), Some("1"));
        }
    };
    let (statuses, ()) = futures::join!(flood, reads);
    assert!(statuses.iter().all(|status| matches!(status, 400 | 503 | 504)), "{statuses:?}");
    assert!(statuses.contains(&400), "some had their turn");
    token(by_password(&cluster, 0, "bob", "hunter2").await);
}

/// I1, for what logins bring.
#[tokio::test]
async fn no_file_that_a_node_wrote_holds_a_password_or_a_secret_id() {
    let cluster = start(1).await;
    let password = "canary-password-81c2";
    let user = json!({ "password": password });
    cluster.call(0, "POST", "auth/userpass/users/canary-user-41aa", user).await.expect(204);
    let own = json!({ "secret_id": "canary-secret-id-77de" });
    cluster.call(0, "POST", "auth/approle/role/app/custom-secret-id", own).await.expect(200);
    let by_name = token(by_password(&cluster, 0, "canary-user-41aa", password).await);
    let by_id = token(by_role(&cluster, 0, &json!("canary-secret-id-77de")).await);
    by_password(&cluster, 0, "canary-user-41aa", "canary-wrong-09").await.expect(400);
    let node = &cluster.nodes[0];
    let mut files = vec![node.log.clone()];
    collect(&node.data_dir, &mut files);
    assert!(files.len() > 5);
    for file in files {
        let Ok(bytes) = std::fs::read(&file) else { continue };
        for canary in
            [password, "canary-user-41aa", "canary-secret-id-77de", "canary-wrong-09", &by_name, &by_id]
        {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} in {}", file.display());
        }
    }
}

pub fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the node").flatten() {
        let path = entry.path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}
