//! Leases of tokens: at every node, through changes of the leader, and by clocks that are wrong.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::harness::{Cluster, PATIENCE, eventually};
use super::snapshot::run;

/// What a token may last longer or shorter than it was made for.
const TOLERANCE: Duration = Duration::from_secs(2);
/// More leases than one piece of work revokes.
const MANY: usize = 300;
/// Logins under way at a time.
const AT_ONCE: usize = 20;

async fn with_role(nodes: usize, ttl: &str) -> Cluster {
    let cluster = Cluster::start(nodes);
    cluster.call(0, "POST", "sys/auth/approle", json!({ "type": "approle" })).await.expect(204);
    for name in ["ci", "other"] {
        let role = json!({ "role_id": name, "bind_secret_id": false, "secret_id_bound_cidrs": "127.0.0.1/32", "token_ttl": ttl });
        cluster.call(0, "POST", &format!("auth/approle/role/{name}"), role).await.expect(204);
    }
    cluster
}

async fn log_in(cluster: &Cluster, node: usize, role: &str) -> Result<String, u16> {
    let body = json!({ "role_id": role });
    let answer = cluster.call(node, "POST", "auth/approle/login", body).await;
    match answer.status {
        200 => Ok(answer.json()["auth"]["client_token"].as_str().unwrap().to_owned()),
        status => Err(status),
    }
}

async fn log_in_often(cluster: &Cluster, times: usize) -> Vec<String> {
    let mut tokens = Vec::new();
    while tokens.len() < times {
        let logins = (0..AT_ONCE.min(times - tokens.len())).map(|number| log_in(cluster, number % 3, "ci"));
        tokens
            .extend(futures::future::join_all(logins).await.into_iter().map(|token| token.expect("a login")));
    }
    tokens
}

async fn ids(cluster: &Cluster, node: usize) -> Vec<String> {
    let answer = cluster.call(node, "LIST", "sys/leases/lookup/auth/approle/login", Value::Null).await;
    if answer.status == 404 {
        return Vec::new();
    }
    serde_json::from_value(answer.expect(200).json()["data"]["keys"].take()).unwrap()
}

async fn holds(cluster: &Cluster, node: usize, token: &str) -> bool {
    match cluster.call_as(node, token, "GET", "auth/token/lookup-self", Value::Null).await.status {
        200 => true,
        403 => false,
        status => panic!("{status}"),
    }
}

async fn count(cluster: &Cluster, node: usize) -> u64 {
    let answer = cluster.call(node, "GET", "sys/leases/count?type=all", Value::Null).await.expect(200);
    answer.json()["data"]["lease_count"].as_u64().unwrap()
}

#[tokio::test]
async fn a_lease_that_is_revoked_at_one_node_is_refused_at_all_at_once() {
    let cluster = with_role(3, "1h").await;
    for round in 0..6 {
        let (at, elsewhere) = (round % 3, (round + 1) % 3);
        let (token, kept) =
            (log_in(&cluster, at, "ci").await.unwrap(), log_in(&cluster, at, "ci").await.unwrap());
        assert!(holds(&cluster, elsewhere, &token).await);
        let own = cluster.call_as(at, &token, "GET", "auth/token/lookup-self", Value::Null).await.expect(200);
        assert_eq!(own.json()["data"]["path"], "auth/approle/login");
        let listed = ids(&cluster, elsewhere).await;
        assert_eq!(listed.len(), 2);
        // Ids do not tell which token they are of: the one that is to go is found by what is left.
        let id = format!("auth/approle/login/{}", listed[0]);
        let told = cluster.call(elsewhere, "PUT", "sys/leases/lookup", json!({ "lease_id": id })).await;
        assert_eq!(told.expect(200).json()["data"]["path"], "auth/approle/login");
        let body = json!({ "lease_id": id });
        cluster.call(elsewhere, "PUT", "sys/leases/revoke", body).await.expect(204);
        for node in 0..3 {
            let left = [holds(&cluster, node, &token).await, holds(&cluster, node, &kept).await];
            assert_eq!(left.iter().filter(|holds| **holds).count(), 1, "at node {node}");
            assert_eq!(ids(&cluster, node).await, listed[1..]);
        }
        cluster.call(at, "PUT", "sys/leases/revoke-prefix/auth/approle", Value::Null).await.expect(204);
        for node in 0..3 {
            assert!(!holds(&cluster, node, &token).await && !holds(&cluster, node, &kept).await);
        }
    }
}

#[tokio::test]
async fn a_prefix_with_many_leases_is_revoked_whole_whoever_leads_meanwhile() {
    let mut cluster = with_role(3, "1h").await;
    let tokens = log_in_often(&cluster, MANY).await;
    assert_eq!(count(&cluster, 1).await, MANY as u64);
    cluster.call(0, "PUT", "sys/leases/revoke-prefix/auth/approle/login", Value::Null).await.expect(204);
    for node in 0..3 {
        assert!(!holds(&cluster, node, tokens.first().unwrap()).await);
        assert!(!holds(&cluster, node, tokens.last().unwrap()).await);
        assert_eq!((ids(&cluster, node).await.len(), count(&cluster, node).await), (0, 0));
    }

    // Nobody waits for it, and the leader dies before it has done it.
    let tokens = log_in_often(&cluster, MANY).await;
    let leader = cluster.leader().await;
    let body = json!({ "sync": false });
    cluster.call(leader, "PUT", "sys/leases/revoke-prefix/auth/approle/login", body).await.expect(202);
    cluster.kill(leader).await;
    let other = (leader + 1) % 3;
    eventually("the next leader ends it", async || {
        cluster
            .try_call(other, "GET", "sys/leases/count?type=all", Value::Null, &[])
            .await
            .is_ok_and(|answer| answer.status == 200 && answer.json()["data"]["lease_count"] == 0)
    })
    .await;
    for token in &tokens {
        assert!(!holds(&cluster, other, token).await);
    }
    assert!(log_in(&cluster, other, "ci").await.is_ok(), "who comes later is not meant");
}

#[tokio::test]
async fn a_quota_lets_in_exactly_as_many_as_it_says_whichever_nodes_are_asked() {
    let mut cluster = with_role(3, "1h").await;
    // The first login of a role makes its entity.
    for role in ["ci", "other"] {
        log_in(&cluster, 0, role).await.unwrap();
    }
    let rule = json!({ "path": "auth/approle", "max_leases": 20 });
    cluster.call(1, "POST", "sys/quotas/lease-count/q", rule).await.expect(204);
    let answers = futures::future::join_all((0..60).map(|client| log_in(&cluster, client % 3, "ci"))).await;
    let let_in = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(let_in, 18);
    assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(429))), "{answers:?}");
    let told = cluster.call(2, "GET", "sys/quotas/lease-count/q", Value::Null).await.expect(200).json();
    assert_eq!((&told["data"]["counter"], &told["data"]["max_leases"]), (&json!(20), &json!(20)));

    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    let other = (leader + 1) % 3;
    let refused =
        cluster.call(other, "POST", "auth/approle/login", json!({ "role_id": "ci" })).await.expect(429);
    assert_eq!(refused.errors(), "request path \"auth/approle/login\": lease count quota exceeded");
    let metrics = cluster.call(other, "GET", "sys/metrics?format=prometheus", Value::Null).await.expect(200);
    for line in [
        "conclave_lease_quota_leases{quota=\"q\"} 20",
        "conclave_lease_quota_leases_max{quota=\"q\"} 20",
        "conclave_leases_refused_total{quota=\"q\"}",
        "conclave_leases 20",
    ] {
        assert!(metrics.text.contains(line), "{line}");
    }
    let token = answers.iter().flatten().next().unwrap();
    cluster.call_as(other, token, "POST", "auth/token/revoke-self", Value::Null).await.expect(204);
    assert!(log_in(&cluster, other, "ci").await.is_ok());
    assert_eq!(log_in(&cluster, other, "ci").await, Err(429));
}

#[tokio::test]
async fn a_lease_that_has_expired_makes_room_though_nobody_writes() {
    let cluster = with_role(3, "2s").await;
    cluster.call(1, "POST", "sys/quotas/lease-count/q", json!({ "max_leases": 2 })).await.expect(204);
    for node in 0..2 {
        log_in(&cluster, node, "ci").await.unwrap();
    }
    assert_eq!(log_in(&cluster, 2, "ci").await, Err(429));
    eventually("they have expired", async || count(&cluster, 2).await == 0).await;
    assert!(log_in(&cluster, 2, "ci").await.is_ok());
}

#[tokio::test]
async fn a_rate_limit_for_a_role_holds_for_its_logins_only() {
    let cluster = with_role(1, "1h").await;
    let rule = json!({ "path": "auth/approle/", "role": "ci", "rate": 2, "interval": "1h" });
    cluster.call(0, "POST", "sys/quotas/rate-limit/q", rule).await.expect(204);
    eventually("it holds", async || log_in(&cluster, 0, "ci").await == Err(429)).await;
    for _ in 0..5 {
        log_in(&cluster, 0, "other").await.unwrap();
        cluster.call(0, "LIST", "auth/approle/role", Value::Null).await.expect(200);
    }
    assert_eq!(log_in(&cluster, 0, "ci").await, Err(429));
}

/// What bends the clock of a process.
fn bent(by: &str) -> [(&'static str, String); 3] {
    let folders = std::fs::read_dir("/usr/lib").expect("it is there").flatten();
    let library = |folder: PathBuf| folder.join("faketime/libfaketimeMT.so.1");
    let found = folders.map(|folder| library(folder.path())).find(|path| path.exists());
    let library = found.expect("libfaketime is missing: run `make setup`");
    [
        ("LD_PRELOAD", library.to_string_lossy().into_owned()),
        ("FAKETIME", by.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

#[tokio::test]
async fn a_token_ends_in_its_time_though_the_next_leaders_clock_is_wrong_by_an_hour() {
    const LASTS: Duration = Duration::from_secs(8);
    for by in ["+3600s", "-3600s"] {
        let mut cluster = with_role(3, "8s").await;
        let leader = cluster.leader().await;
        for node in (0..3).filter(|node| *node != leader) {
            cluster.stop(node).await;
            let environment = bent(by);
            let environment: Vec<_> =
                environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
            cluster.restart_in(node, &environment);
            cluster.wait_for_health(node, &[429]).await;
        }
        let before = Instant::now();
        let token = log_in(&cluster, leader, "ci").await.unwrap();
        let after = Instant::now();
        cluster.kill(leader).await;
        let other = (leader + 1) % 3;
        loop {
            let asked = Instant::now();
            let answer = cluster.call_as(other, &token, "GET", "auth/token/lookup-self", Value::Null).await;
            match answer.status {
                200 => assert!(asked < after + LASTS + TOLERANCE, "{by}: it has ended"),
                403 => {
                    assert!(Instant::now() + TOLERANCE > before + LASTS, "{by}: it has not ended yet");
                    break;
                }
                status => assert!(status >= 500 && asked < before + PATIENCE, "{by}: {}", answer.text),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        eventually("what expired is dropped", async || count(&cluster, other).await == 0).await;
    }
}

/// Logins that a node has not heard of when it is asked to revoke them.
const MISSED: usize = 30;
/// How often it is tried: what a node that wakes up does first is chance.
const ROUNDS: usize = 5;

#[tokio::test]
async fn a_node_that_lags_behind_revokes_what_was_answered_before_it_was_asked() {
    let cluster = with_role(3, "1h").await;
    for round in 0..ROUNDS {
        let lagging = cluster.follower().await;
        let others: Vec<usize> = (0..3).filter(|node| *node != lagging).collect();
        // One that it knows of, so that it has something to revoke.
        let mut tokens = vec![log_in(&cluster, lagging, "ci").await.unwrap()];
        cluster.signal(lagging, Signal::STOP);
        for number in 0..MISSED {
            tokens.push(log_in(&cluster, others[number % 2], "ci").await.unwrap());
        }
        // The request lies in its socket, and is what it wakes up to.
        let path =
            ["sys/leases/revoke-prefix/auth/approle", "sys/leases/revoke-force/auth/approle"][round % 2];
        let revoked = cluster.call(lagging, "PUT", path, Value::Null);
        let wake = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            cluster.signal(lagging, Signal::CONT);
        };
        let (answer, ()) = tokio::join!(revoked, wake);
        answer.expect(204);
        for token in &tokens {
            assert!(!holds(&cluster, others[0], token).await, "round {round}");
        }
    }
}

#[tokio::test]
async fn a_restored_backup_counts_the_leases_that_it_brings_back_and_no_other() {
    let cluster = with_role(3, "1h").await;
    let rule = json!({ "path": "auth/approle/", "role": "CI", "max_leases": 3 });
    cluster.call(1, "POST", "sys/quotas/lease-count/q", rule).await.expect(204);
    let counter = async |node| {
        let told = cluster.call(node, "GET", "sys/quotas/lease-count/q", Value::Null).await.expect(200);
        told.json()["data"]["counter"].as_u64().unwrap()
    };
    let kept = [log_in(&cluster, 0, "ci").await.unwrap(), log_in(&cluster, 1, "ci").await.unwrap()];
    let file = cluster.dir.path().join("backup.snap");
    run(&cluster, 1, &["operator", "snapshot", "save", file.to_str().unwrap()], 0);
    let later = log_in(&cluster, 2, "ci").await.unwrap();
    cluster.call_as(2, &kept[0], "POST", "auth/token/revoke-self", Value::Null).await.expect(204);
    assert_eq!(counter(0).await, 2);
    log_in(&cluster, 0, "ci").await.unwrap();
    assert_eq!(log_in(&cluster, 0, "ci").await, Err(429));

    run(&cluster, 2, &["operator", "snapshot", "restore", file.to_str().unwrap()], 0);
    assert!(holds(&cluster, 0, &kept[0]).await && !holds(&cluster, 0, &later).await);
    assert_eq!((counter(0).await, count(&cluster, 1).await), (2, 2));
    log_in(&cluster, 1, "ci").await.unwrap();
    assert_eq!(log_in(&cluster, 0, "ci").await, Err(429));
}

#[tokio::test]
async fn what_had_expired_in_a_backup_blocks_nobody_though_nobody_writes() {
    let cluster = with_role(3, "15s").await;
    // More than the entries of a restore drop by themselves.
    log_in_often(&cluster, MANY).await;
    let file = cluster.dir.path().join("backup.snap");
    run(&cluster, 1, &["operator", "snapshot", "save", file.to_str().unwrap()], 0);
    eventually("they have expired", async || count(&cluster, 2).await == 0).await;
    run(&cluster, 2, &["operator", "snapshot", "restore", file.to_str().unwrap()], 0);
    eventually("they are not there again", async || count(&cluster, 2).await == 0).await;
    let rule = json!({ "path": "auth/approle", "max_leases": 1 });
    cluster.call(1, "POST", "sys/quotas/lease-count/q", rule).await.expect(204);
    log_in(&cluster, 0, "ci").await.unwrap();
}
