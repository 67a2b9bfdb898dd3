//! Rate limits: they hold at every node, for each client, and an operator can always undo them.

use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{Cluster, eventually};

/// Asks until it is refused; how often it was answered before.
async fn asked_until_refused(cluster: &Cluster, node: usize, path: &str) -> usize {
    for answered in 0..50 {
        if cluster.call(node, "GET", path, Value::Null).await.status == 429 {
            return answered;
        }
    }
    panic!("{path} was never refused");
}

#[tokio::test]
async fn a_limit_holds_at_every_node_survives_a_leader_change_and_can_be_undone() {
    let mut cluster = Cluster::start(3);
    cluster.put(0, "app", "1").await.expect(200);
    let rule = json!({ "path": "secret/", "rate": 5, "interval": "1h" });
    cluster.call(1, "POST", "sys/quotas/rate-limit/app", rule).await.expect(204);
    let config = json!({ "enable_rate_limit_response_headers": true });
    cluster.call(2, "POST", "sys/quotas/config", config).await.expect(204);
    for node in 0..3 {
        eventually("the rule is known", async || {
            let answer = cluster.call(node, "GET", "secret/data/app", Value::Null).await;
            answer.headers.contains_key("x-ratelimit-limit")
        })
        .await;
        assert!(
            asked_until_refused(&cluster, node, "secret/data/app").await < 5,
            "each node counts up to five"
        );
        let refused = cluster.call(node, "GET", "secret/data/app", Value::Null).await.expect(429);
        assert_eq!(refused.errors(), "request path \"secret/data/app\": rate limit quota exceeded");
        assert_eq!(refused.headers["x-ratelimit-remaining"], "0");
        let retry_after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=3_600).contains(&retry_after), "{retry_after}");
        // Writes count as well, and what lies elsewhere does not.
        cluster.put(node, "app", "2").await.expect(429);
        cluster.call(node, "GET", "sys/mounts", Value::Null).await.expect(200);
    }
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    let other = (leader + 1) % 3;
    asked_until_refused(&cluster, other, "secret/data/app").await;

    // One that locks everybody out can still be taken back.
    let all = json!({ "rate": 1, "interval": "1h", "block_interval": "1h" });
    cluster.call(other, "POST", "sys/quotas/rate-limit/all", all).await.expect(204);
    eventually("it holds", async || {
        cluster.call(other, "GET", "sys/mounts", Value::Null).await.status == 429
    })
    .await;
    cluster.call(other, "GET", "sys/health", Value::Null).await;
    for name in ["all", "app"] {
        let path = format!("sys/quotas/rate-limit/{name}");
        cluster.call(other, "DELETE", &path, Value::Null).await.expect(204);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    cluster.call(other, "GET", "sys/mounts", Value::Null).await.expect(200);
    cluster.call(other, "GET", "secret/data/app", Value::Null).await.expect(200);
    let metrics = cluster.call(other, "GET", "sys/metrics?format=prometheus", Value::Null).await.expect(200);
    assert!(metrics.text.contains("conclave_rate_limited_total{quota=\"app\"}"), "{}", metrics.text);
}
