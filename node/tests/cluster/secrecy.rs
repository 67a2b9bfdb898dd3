//! I1: what was written through the API is in no file that a node wrote.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::harness::Cluster;

const CANARY_VALUE: &str = "canary-value-5f1c2a";
const CANARY_KEY: &str = "canary-key-77ab01";
const CANARY_PATH: &str = "canary-path-c0ffee";
const CANARY_MOUNT: &str = "canary-mount-1dea";

#[tokio::test]
async fn no_file_that_a_node_wrote_holds_a_secret_a_path_or_the_root_token() {
    let environment = [("CONCLAVE_LOG_LEVEL", "trace"), ("CONCLAVE_SNAPSHOT_AFTER_ENTRIES", "50")];
    let mut cluster = Cluster::start_with(3, &environment);
    cluster.call(0, "POST", &format!("sys/mounts/{CANARY_MOUNT}"), json!({ "type": "kv" })).await.expect(204);
    let body = json!({ "data": { CANARY_KEY: CANARY_VALUE }, "options": {} });
    for round in 0..80 {
        let path = format!("secret/data/{CANARY_PATH}/{round}");
        let key = [("X-Conclave-Idempotency-Key", CANARY_KEY)];
        let headers = if round == 0 { &key[..] } else { &[] };
        cluster.try_call(round % 3, "POST", &path, body.clone(), headers).await.unwrap().expect(200);
    }
    cluster
        .call(1, "POST", &format!("{CANARY_MOUNT}/{CANARY_PATH}"), json!({ CANARY_KEY: CANARY_VALUE }))
        .await
        .expect(204);
    cluster
        .call(
            2,
            "POST",
            &format!("secret/metadata/{CANARY_PATH}/0"),
            json!({ "custom_metadata": { CANARY_KEY: CANARY_VALUE } }),
        )
        .await
        .expect(204);
    // Every kind of refusal, too.
    for (method, path, body) in [
        ("GET", format!("nomount/{CANARY_PATH}"), Value::Null),
        (
            "POST",
            format!("secret/data/{CANARY_PATH}/0"),
            json!({ "options": { "cas": 99 }, "data": { "a": CANARY_VALUE } }),
        ),
        ("POST", format!("secret/data/{CANARY_PATH}/0"), json!({ "data": CANARY_VALUE })),
        ("GET", format!("secret/data/{CANARY_PATH}/0?version={CANARY_VALUE}"), Value::Null),
        ("POST", format!("{CANARY_MOUNT}/../{CANARY_PATH}"), json!({ "a": CANARY_VALUE })),
    ] {
        let answer = cluster.call(1, method, &path, body).await;
        assert!((400..500).contains(&answer.status), "{method} {path}: {}", answer.text);
        assert!(!answer.text.contains(CANARY_VALUE), "{}", answer.text);
    }
    let stranger = [("X-Vault-Token", CANARY_VALUE)];
    cluster
        .try_call(1, "GET", &format!("secret/data/{CANARY_PATH}/0"), Value::Null, &stranger)
        .await
        .unwrap()
        .expect(403);
    let metrics = cluster.call(0, "GET", "sys/metrics?format=prometheus", Value::Null).await.expect(200);
    // A node that was away gets a snapshot, so those files are searched as well.
    let away = cluster.follower().await;
    cluster.kill(away).await;
    let other = (away + 1) % 3;
    for round in 0..60 {
        cluster.put(other, &format!("{CANARY_PATH}/more/{round}"), CANARY_VALUE).await.expect(200);
    }
    cluster.restart_with(away, &["--log-level", "trace"]);
    cluster.wait_for_health(away, &[429, 200]).await;
    assert_eq!(cluster.get(away, &format!("{CANARY_PATH}/more/59")).await.as_deref(), Some(CANARY_VALUE));

    let token = cluster.root_token.clone();
    let canaries = [CANARY_VALUE, CANARY_KEY, CANARY_PATH, CANARY_MOUNT, &token];
    for canary in canaries {
        assert!(!metrics.text.contains(canary), "{canary} in the metrics");
    }
    let mut searched = 0;
    for node in &cluster.nodes {
        for file in files_under(&node.data_dir).into_iter().chain([node.log.clone()]) {
            let content = std::fs::read(&file).unwrap_or_default();
            searched += content.len();
            for canary in canaries {
                assert!(!contains(&content, canary.as_bytes()), "{canary} is readable in {}", file.display());
            }
        }
    }
    assert!(searched > 100_000, "only {searched} bytes were searched");
    let kept =
        cluster.nodes.iter().any(|node| node.data_dir.join("snapshots").read_dir().unwrap().next().is_some());
    assert!(kept, "no snapshot was made, so none was searched");
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        // RocksDB deletes files while we look.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            files.extend(files_under(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
