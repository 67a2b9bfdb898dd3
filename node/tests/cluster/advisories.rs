//! Classes of mistakes that were found in Vault and OpenBao, tried on whole servers: `node/docs/advisories.md` names each.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use conclave_core::plan::Operation;
use conclave_node::service::{Action, Route, routes};
use serde_json::{Value, json};

use super::harness::{Cluster, eventually};

/// What stands in a path for its variable part.
fn path_of(route: &Route) -> String {
    route.pattern().replace('*', "a/b").replace(":id", "x").replace(":name", "x")
}

fn method_of(operation: Operation) -> &'static str {
    match operation {
        Operation::Read => "GET",
        Operation::Write => "POST",
        Operation::Patch => "PATCH",
        Operation::Delete => "DELETE",
        Operation::List => "LIST",
        Operation::Scan => "SCAN",
    }
}

/// Every way of asking for what needs a right.
fn guarded() -> impl Iterator<Item = (&'static Route, &'static str, String)> {
    let asked = |route: &'static Route| {
        route.operations().iter().map(move |operation| (route, method_of(*operation), path_of(route)))
    };
    routes().filter(|route| !route.open).flat_map(asked)
}

/// CVE-2021-3282, CVE-2022-36129, CVE-2023-0665: the whole table, so that no row is forgotten.
#[tokio::test]
async fn no_route_does_anything_for_who_has_no_right_to_it() {
    let cluster = Cluster::start(1);
    let powerless = json!({ "policies": ["nothing"], "no_default_policy": true });
    let made = async |body: Value| {
        let made = cluster.call(0, "POST", "auth/token/create", body).await.expect(200).json();
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    };
    let service = made(powerless).await;
    let batch = json!({ "policies": ["nothing"], "no_default_policy": true, "type": "batch" });
    let batch = made(batch).await;
    for (route, method, path) in guarded() {
        // Whoever has no token shows a key share in its place, and here he has none.
        let by_share = matches!(route.action, Action::Ceremony(..));
        // A wrapping token is a right of its own, and one that was used is told from none.
        let by_itself = path.starts_with("sys/wrapping/");
        for token in ["", "s.wrong", "b.wrong", &service, &batch] {
            let headers = [("X-Vault-Token", token)];
            let answer = cluster.try_call(0, method, &path, json!({}), &headers).await.unwrap();
            let told = format!("{method} {path} with {token:?}: {} {}", answer.status, answer.text);
            if by_itself || (by_share && token.is_empty()) {
                assert!((400..=403).contains(&answer.status), "{told}");
            } else {
                assert_eq!(answer.status, 403, "{told}");
            }
        }
    }
    assert_eq!(cluster.health(0).await, Some(200), "nothing was done");
}

#[tokio::test]
async fn a_sealed_node_answers_no_guarded_route_whoever_asks() {
    let cluster = Cluster::start(1);
    cluster.call(0, "PUT", "sys/seal", Value::Null).await.expect(204);
    for (_, method, path) in guarded() {
        for token in ["", "s.wrong", &cluster.root_token] {
            let headers = [("X-Vault-Token", token)];
            let answer = cluster.try_call(0, method, &path, json!({}), &headers).await.unwrap();
            assert_eq!(answer.status, 503, "{method} {path} with {token:?}: {}", answer.text);
        }
    }
}

/// CVE-2025-12044: nothing is spent on who asks too often.
#[tokio::test]
async fn a_limit_is_held_before_a_body_is_looked_at() {
    let cluster = Cluster::start(1);
    let rule = json!({ "path": "secret/", "rate": 1, "interval": "1h" });
    cluster.call(0, "POST", "sys/quotas/rate-limit/app", rule).await.expect(204);
    let token = [("X-Vault-Token", cluster.root_token.as_str())];
    let bodies =
        [b"{bad".to_vec(), format!("{{\"a\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000)).into_bytes()];
    eventually("the limit is reached", async || {
        cluster.raw(0, "POST", "/v1/secret/data/x", bodies[0].clone(), &token).await.unwrap().status == 429
    })
    .await;
    for body in bodies {
        cluster.raw(0, "POST", "/v1/secret/data/x", body, &token).await.unwrap().expect(429);
    }
}

/// Two readers of one body that see two values of one name: what a policy has allowed is what is stored.
#[tokio::test]
async fn a_name_that_stands_there_twice_says_one_thing_to_policy_and_engine() {
    let cluster = Cluster::start(1);
    cluster.call(0, "POST", "sys/mounts/kv", json!({ "type": "kv" })).await.expect(204);
    let policy = r#"path "kv/*" { capabilities = ["create", "read", "update"] denied_parameters = { "level" = ["high"] } }"#;
    cluster.call(0, "POST", "sys/policies/acl/low", json!({ "policy": policy })).await;
    let made =
        cluster.call(0, "POST", "auth/token/create", json!({ "policies": ["low"] })).await.expect(200).json();
    let token = made["auth"]["client_token"].as_str().unwrap().to_owned();
    let headers = [("X-Vault-Token", token.as_str())];
    let mut stored = 0;
    for (number, body) in [
        r#"{"level":"high","level":"low"}"#,
        r#"{"level":"low","level":"high"}"#,
        r#"{"level":"low","le\u0076el":"high"}"#,
        r#"{"le\u0076el":"high","level":"low"}"#,
        r#"{"level":"high"}"#,
        r#"{"LEVEL":"high","level":"low"}"#,
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/v1/kv/x{number}");
        let answer = cluster.raw(0, "POST", &path, body.as_bytes().to_vec(), &headers).await.unwrap();
        assert!(matches!(answer.status, 204 | 400 | 403), "{body}: {}", answer.text);
        let read = cluster.call(0, "GET", &format!("kv/x{number}"), Value::Null).await;
        if answer.status == 204 {
            stored += 1;
            assert_eq!(read.expect(200).json()["data"]["level"], "low", "{body}");
        } else {
            assert_eq!(read.status, 404, "{body}");
        }
    }
    assert!(stored > 0, "some of them are allowed");
}

/// CVE-2021-38553: other users of the machine read nothing, and copy nothing away.
#[tokio::test]
async fn what_a_node_writes_is_for_its_owner_alone() {
    let cluster = Cluster::start(1);
    cluster.put(0, "app", "1").await.expect(200);
    let mut looked_at = 0;
    let mut folders = vec![cluster.nodes[0].data_dir.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            // A certificate is public, and says by its mode that it may be read.
            if path.is_symlink() || is_certificate(&path) {
                continue;
            }
            // RocksDB may have deleted it meanwhile.
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            assert_eq!(metadata.permissions().mode() & 0o077, 0, "{}", path.display());
            looked_at += 1;
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    assert!(looked_at > 5, "{looked_at}");
}

fn is_certificate(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".pem") && !name.contains("key")
}

/// CVE-2021-38554: neither a proxy nor a browser shows it to the next.
#[tokio::test]
async fn no_answer_is_kept_on_its_way() {
    let cluster = Cluster::start(1);
    cluster.put(0, "app", "1").await.expect(200);
    for (path, status) in
        [("secret/data/app", 200), ("secret/data/none", 404), ("sys/health", 200), ("x/%zz", 400)]
    {
        let answer = cluster.call(0, "GET", path, Value::Null).await.expect(status);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    }
}

/// CVE-2020-25594, CVE-2020-35177: what there is, and who, is told to nobody who has not proven who he is.
#[tokio::test]
async fn a_stranger_cannot_tell_what_is_there_from_what_is_not() {
    let cluster = Cluster::start(1);
    cluster.put(0, "app", "1").await.expect(200);
    for (path, body) in [
        ("sys/auth/userpass", json!({ "type": "userpass" })),
        ("auth/userpass/users/bob", json!({ "password": "x" })),
        ("sys/policies/acl/known", json!({ "policy": "" })),
    ] {
        cluster.call(0, "POST", path, body).await;
    }
    let told = async |method: &str, path: &str, body: Value| {
        let answer = cluster.try_call(0, method, path, body, &[("X-Vault-Token", "s.wrong")]).await.unwrap();
        let mut said = answer.json();
        if let Some(said) = said.as_object_mut() {
            said.remove("request_id");
        }
        (answer.status, said)
    };
    for (there, nowhere) in [
        ("secret/data/app", "secret/data/none"),
        ("secret/data/app", "none/data/app"),
        ("sys/mounts/secret", "sys/mounts/none"),
        ("sys/mounts", "sys/none"),
        ("sys/policies/acl/known", "sys/policies/acl/none"),
        ("auth/userpass/users/bob", "auth/userpass/users/none"),
        ("auth/userpass/users/bob", "auth/none/users/bob"),
        ("identity/entity/name/bob", "identity/none"),
    ] {
        for method in ["GET", "LIST", "POST", "DELETE"] {
            let there = told(method, there, Value::Null).await;
            assert_eq!(there, told(method, nowhere, Value::Null).await, "{method} {nowhere}");
        }
    }
    let wrong = json!({ "password": "wrong" });
    let known = told("POST", "auth/userpass/login/bob", wrong.clone()).await;
    assert_eq!(known, told("POST", "auth/userpass/login/nobody", wrong).await);
}
