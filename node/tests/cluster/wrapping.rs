//! Wrapped answers are handed over once, whichever nodes are asked, and cubbyholes belong to one token.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::harness::{Answer, Cluster};

async fn wrapped(cluster: &Cluster, node: usize, method: &str, path: &str, body: Value) -> Answer {
    let headers = [("X-Vault-Wrap-TTL", "60s")];
    cluster.try_call(node, method, path, body, &headers).await.expect("an answer")
}

async fn wrapping_token(cluster: &Cluster, node: usize, path: &str) -> String {
    let answer = wrapped(cluster, node, "GET", path, Value::Null).await.expect(200).json();
    assert_eq!(answer["data"], Value::Null, "nothing is told of what lies wrapped");
    answer["wrap_info"]["token"].as_str().expect("a token").to_owned()
}

async fn unwrap(cluster: &Cluster, node: usize, token: &str) -> Answer {
    cluster.call_as(node, token, "POST", "sys/wrapping/unwrap", Value::Null).await
}

#[tokio::test]
async fn of_all_who_unwrap_at_once_at_all_nodes_one_gets_it() {
    let cluster = Cluster::start(3);
    cluster.put(0, "x", "1").await.expect(200);
    for round in 0..10 {
        let token = wrapping_token(&cluster, round % 3, "secret/data/x").await;
        // Half of them as the token itself, half as somebody who was given it.
        let asked = (0..6).map(|client| {
            let (cluster, token) = (&cluster, &token);
            async move {
                if client % 2 == 0 {
                    return unwrap(cluster, client % 3, token).await;
                }
                let body = json!({ "token": token });
                cluster.call(client % 3, "POST", "sys/wrapping/unwrap", body).await
            }
        });
        let answers = futures::future::join_all(asked).await;
        let got: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].json()["data"]["data"]["value"], "1");
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 400)));
        for node in 0..3 {
            unwrap(&cluster, node, &token).await.expect(400);
        }
    }
}

#[tokio::test]
async fn no_wrapped_answer_is_handed_over_twice_while_leaders_die() {
    let mut cluster = Cluster::start(3);
    cluster.put(0, "x", "1").await.expect(200);
    for _ in 0..3 {
        let leader = cluster.leader().await;
        let mut tokens = Vec::new();
        for number in 0..8 {
            tokens.push(wrapping_token(&cluster, number % 3, "secret/data/x").await);
        }
        let survivors: Vec<_> = (0..3).filter(|node| *node != leader).collect();
        let handed_over: Vec<_> = tokens.iter().map(|_| AtomicUsize::new(0)).collect();
        let pid_of_leader = leader;
        {
            let ask = |node: usize, number: usize| {
                let (cluster, tokens, handed_over) = (&cluster, &tokens, &handed_over);
                async move {
                    let headers = [("X-Vault-Token", tokens[number].as_str())];
                    let path = "sys/wrapping/unwrap";
                    for _ in 0..20 {
                        match cluster.try_call(node, "POST", path, Value::Null, &headers).await {
                            Ok(answer) if answer.status == 200 => {
                                handed_over[number].fetch_add(1, Ordering::Relaxed);
                                return;
                            }
                            // It was used, or nobody can tell whether this try used it.
                            Ok(answer) if matches!(answer.status, 400 | 403 | 504) => return,
                            _ => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                        }
                    }
                }
            };
            let all = (0..tokens.len()).flat_map(|number| survivors.iter().map(move |node| (*node, number)));
            let asked = futures::future::join_all(all.map(|(node, number)| ask(node, number)));
            let killed = async {
                tokio::time::sleep(std::time::Duration::from_millis(3)).await;
                cluster.signal(pid_of_leader, rustix::process::Signal::KILL);
            };
            futures::join!(asked, killed);
        }
        cluster.wait_for_end(leader).await;
        for (number, token) in tokens.iter().enumerate() {
            assert!(handed_over[number].load(Ordering::Relaxed) <= 1, "handed over twice");
            let late = unwrap(&cluster, survivors[0], token).await;
            let total = handed_over[number].load(Ordering::Relaxed) + usize::from(late.status == 200);
            assert!(total <= 1, "handed over again, after the failover");
            unwrap(&cluster, survivors[1], token).await.expect(400);
        }
        cluster.restart(leader);
        cluster.wait_for_health(leader, &[200, 429]).await;
    }
}

#[tokio::test]
async fn a_policy_can_demand_that_answers_are_wrapped() {
    let cluster = Cluster::start(1);
    cluster.put(0, "x", "1").await.expect(200);
    let text = r#"path "secret/data/x" { capabilities = ["read"] min_wrapping_ttl = "10s" max_wrapping_ttl = "90s" }"#;
    cluster.call(0, "PUT", "sys/policies/acl/wrapped", json!({ "policy": text })).await.expect(204);
    let body = json!({ "policies": ["wrapped"] });
    let made = wrapped(&cluster, 0, "POST", "auth/token/create", body).await.expect(200).json();
    assert!(made["wrap_info"]["wrapped_accessor"].is_string() && made["auth"].is_null(), "{made}");
    let token = unwrap(&cluster, 0, made["wrap_info"]["token"].as_str().unwrap()).await.expect(200).json();
    let token = token["auth"]["client_token"].as_str().expect("a token").to_owned();
    for (ttl, status) in [("", 403), ("5s", 403), ("10s", 200), ("90", 200), ("2m", 403), ("x", 400)] {
        let headers = [("X-Vault-Token", token.as_str()), ("X-Vault-Wrap-TTL", ttl)];
        let answer = cluster.try_call(0, "GET", "secret/data/x", Value::Null, &headers).await.unwrap();
        assert_eq!(answer.status, status, "{ttl}: {}", answer.text);
        assert!(!answer.text.contains("\"value\""), "{}", answer.text);
    }
}

#[tokio::test]
async fn what_is_not_made_from_the_state_is_not_wrapped_and_says_so() {
    let cluster = Cluster::start(1);
    for path in ["sys/metrics", "sys/host-info", "sys/internal/specs/openapi", "sys/rekey/init"] {
        let answer = wrapped(&cluster, 0, "GET", path, Value::Null).await.expect(400);
        assert!(answer.errors().contains("cannot be wrapped"), "{path}: {}", answer.text);
    }
    let token = wrapping_token(&cluster, 0, "sys/mounts").await;
    wrapped(&cluster, 0, "POST", "sys/wrapping/lookup", json!({ "token": token })).await.expect(400);
    unwrap(&cluster, 0, &token).await.expect(200);
    // Nothing of it is stored either.
    let accessors = cluster.call(0, "LIST", "auth/token/accessors", Value::Null).await.expect(200).json();
    assert_eq!(accessors["data"]["keys"].as_array().map(Vec::len), Some(1));
    wrapped(&cluster, 0, "GET", "secret/data/none", Value::Null).await.expect(404);
    wrapped(&cluster, 0, "GET", "sys/seal-status", Value::Null).await.expect(200);
}

#[tokio::test]
async fn a_cubbyhole_is_one_tokens_at_every_node_until_that_ends() {
    let cluster = Cluster::start(3);
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let body = json!({ "policies": ["default"], "ttl": "1h" });
        let made = cluster.call(0, "POST", "auth/token/create", body).await.expect(200).json();
        tokens.push(made["auth"]["client_token"].as_str().expect("a token").to_owned());
    }
    let body = json!({ "value": "mine" });
    cluster.call_as(0, &tokens[0], "POST", "cubbyhole/a/b", body).await.expect(204);
    for node in 0..3 {
        let own = cluster.call_as(node, &tokens[0], "GET", "cubbyhole/a/b", Value::Null).await.expect(200);
        assert_eq!(own.json()["data"]["value"], "mine");
        let listed = cluster.call_as(node, &tokens[0], "LIST", "cubbyhole/", Value::Null).await.expect(200);
        assert_eq!(listed.json()["data"]["keys"], json!(["a/"]));
        cluster.call_as(node, &tokens[1], "GET", "cubbyhole/a/b", Value::Null).await.expect(404);
        cluster.call(node, "GET", "cubbyhole/a/b", Value::Null).await.expect(404);
    }
    cluster.call_as(1, &tokens[0], "POST", "auth/token/revoke-self", Value::Null).await.expect(204);
    for node in 0..3 {
        cluster.call_as(node, &tokens[0], "GET", "cubbyhole/a/b", Value::Null).await.expect(403);
    }
}
