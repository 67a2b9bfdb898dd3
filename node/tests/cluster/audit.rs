//! The audit trail (I9): a pair of records for each request at the node that was asked, in which no secret can be read
//! and no change goes unseen; and no answer where no required device takes a record.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::harness::{Answer, CONCLAVE, Cluster, eventually, free_port};

const CANARY: &str = "canary-value-7f2c";
const STRANGER: &str = "canary-token-81aa";
const SENTENCE: &str = "no required audit device";

fn trail(cluster: &Cluster, node: usize) -> PathBuf {
    cluster.nodes[node].data_dir.join("audit/audit.log")
}

fn records(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The records of one request, by the node whose trail has them.
fn found(cluster: &Cluster, id: &str) -> BTreeMap<usize, Vec<Value>> {
    let of_request = |node: usize| {
        let all = records(&trail(cluster, node));
        all.into_iter().filter(|record| record["request"]["id"] == id).collect::<Vec<_>>()
    };
    (0..cluster.nodes.len())
        .map(|node| (node, of_request(node)))
        .filter(|(_, records)| !records.is_empty())
        .collect()
}

/// Asks `node` under an id of its own, and returns the answer and the pair of records that only that node may have.
async fn asked(
    cluster: &Cluster,
    node: usize,
    (method, path): (&str, &str),
    body: Value,
    token: Option<&str>,
) -> (Answer, Value, Value) {
    let id = format!("id-{}", rand::random::<u64>());
    let mut headers = vec![("X-Request-Id", id.as_str())];
    headers.extend(token.map(|token| ("X-Vault-Token", token)));
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let answer = cluster.raw(node, method, &format!("/v1/{path}"), bytes, &headers).await.unwrap();
    let mut found = found(cluster, &id);
    assert_eq!(found.keys().collect::<Vec<_>>(), [&node], "{method} {path}");
    let pair: [Value; 2] = found.remove(&node).unwrap().try_into().expect("a pair of records");
    let [request, response] = pair;
    assert_eq!((&request["type"], &response["type"]), (&json!("request"), &json!("response")));
    assert_eq!(request["request"], response["request"]);
    assert_eq!(response["status"], answer.status);
    assert_eq!(request["request"]["remote_address"], "127.0.0.1");
    assert_eq!(request["chain"]["node"], cluster.nodes[node].id.as_str());
    (answer, request, response)
}

fn verify(files: &[&Path]) -> (i32, Value) {
    verify_with(&[], files)
}

fn verify_with(more: &[&str], files: &[&Path]) -> (i32, Value) {
    let mut command = Command::new(CONCLAVE);
    let output =
        command.args(["audit", "verify", "--format", "json"]).args(more).args(files).output().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test]
async fn every_request_leaves_its_pair_where_it_was_asked_and_nothing_secret() {
    let cluster = Cluster::start_with(3, &[("CONCLAVE_AUDIT_FILE", "audit.log")]);
    let token = cluster.root_token.clone();
    let root = Some(token.as_str());
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let mut hashes = Vec::new();
    for node in [leader, follower] {
        let path = format!("secret/data/audited/{node}");
        let body = json!({ "data": { "a": CANARY, "n": 7 }, "options": { "cas": 0 } });
        let (answer, request, response) = asked(&cluster, node, ("POST", &path), body, root).await;
        assert_eq!(answer.status, 200);
        assert_eq!(response["index"].to_string(), answer.header("X-Conclave-Index").unwrap());
        let asked_for = &request["request"];
        assert_eq!((&asked_for["operation"], &asked_for["path"]), (&json!("create"), &json!(path)));
        assert_eq!((&asked_for["mount_point"], &asked_for["mount_type"]), (&json!("secret/"), &json!("kv")));
        assert_eq!(
            (&asked_for["data"]["data"]["n"], &asked_for["data"]["options"]["cas"]),
            (&json!(7), &json!(0))
        );
        assert_eq!(request["auth"]["policies"], json!(["root"]));
        assert_eq!(response["response"]["data"]["version"], 1);
        let (_, _, response) = asked(&cluster, node, ("GET", &path), Value::Null, root).await;
        let read = &response["response"]["data"]["data"]["a"];
        assert_eq!(*read, asked_for["data"]["data"]["a"]);
        hashes.push(read.as_str().unwrap().to_owned());

        // Refused ones, and what does not exist.
        for (method, path, body, token, error) in [
            ("GET", path.as_str(), Value::Null, None, "permission denied"),
            ("POST", &path, json!({ "data": { "a": CANARY } }), Some(STRANGER), "permission denied"),
            ("GET", "nomount/x", Value::Null, root, "unsupported path"),
            ("GET", "sys/nothing", Value::Null, root, "unsupported path"),
            ("DELETE", "sys/mounts", Value::Null, root, "unsupported operation"),
            ("POST", &path, json!({ "data": CANARY }), root, "invalid request"),
            ("POST", "secret/data/a%2fb", json!({ "data": { "a": CANARY } }), root, "invalid request"),
        ] {
            let (answer, request, response) = asked(&cluster, node, (method, path), body, token).await;
            assert!(answer.status >= 400, "{method} {path}");
            assert_eq!(response["error"], error, "{method} {path}");
            if token != root {
                assert_eq!(request["error"], error);
                assert_eq!(request["request"].get("data"), None, "a stranger's body was read");
                assert_eq!(request["auth"], json!({ "token_type": "default" }));
            }
        }
        let body = json!({ "data": { "a": "again" } });
        let (_, request, _) = asked(&cluster, node, ("POST", &path), body, root).await;
        assert_eq!(request["request"]["operation"], "update");
        tells_of_tokens(&cluster, node, root).await;
        asked(&cluster, node, ("LIST", "secret/metadata/audited"), Value::Null, root).await;
        asked(&cluster, node, ("GET", "sys/mounts"), Value::Null, root).await;
        asked(&cluster, node, ("GET", "sys/metrics?format=prometheus"), Value::Null, root).await;
        // Decided by the leader, whoever was asked.
        asked(&cluster, node, ("GET", "sys/storage/raft/autopilot/state"), Value::Null, root).await;
        asked(&cluster, node, ("DELETE", &path), Value::Null, root).await;
    }
    let input = json!({ "input": CANARY });
    let (answer, _, _) = asked(&cluster, leader, ("POST", "sys/audit-hash/file"), input, root).await;
    assert_eq!(answer.json()["data"]["hash"], hashes[0].as_str());
    assert_eq!(hashes[0], hashes[1], "each node hashes otherwise");
    for node in 0..3 {
        let text = std::fs::read_to_string(trail(&cluster, node)).unwrap();
        for secret in [CANARY, STRANGER, &token, &cluster.unseal_keys[0]] {
            assert!(!text.contains(secret), "{secret} in the trail of {node}");
        }
        assert!(!text.contains("sys/health"), "who polls fills the trail");
        assert_eq!(verify(&[&trail(&cluster, node)]).0, 0);
    }
}

/// Records of who holds a token that was made, and of what it may not do.
async fn tells_of_tokens(cluster: &Cluster, node: usize, root: Option<&str>) {
    let body = json!({ "policies": ["default"], "meta": { "team": "a" }, "num_uses": 2, "ttl": "1h" });
    let (answer, _, response) = asked(cluster, node, ("POST", "auth/token/create"), body, root).await;
    let made = &answer.json()["auth"];
    let granted = &response["response"]["auth"];
    assert_eq!((&granted["policies"], &granted["num_uses"]), (&json!(["default"]), &json!(2)));
    assert_eq!((&granted["token_ttl"], &granted["token_type"]), (&json!(3600), &json!("service")));
    let token = made["client_token"].as_str().unwrap();
    for told in [&response.to_string(), &std::fs::read_to_string(trail(cluster, node)).unwrap()] {
        assert!(!told.contains(token) && !told.contains(made["accessor"].as_str().unwrap()));
    }
    let look = ("GET", "auth/token/lookup-self");
    let (answer, request, response) = asked(cluster, node, look, Value::Null, Some(token)).await;
    assert_eq!(answer.status, 200);
    for record in [&request, &response] {
        let auth = &record["auth"];
        // As many as before this one: the record is there before the use is counted.
        assert_eq!((&auth["remaining_uses"], &auth["metadata"]), (&json!(2), &json!({ "team": "a" })));
        assert_eq!(
            (&auth["accessor"], &auth["client_token"]),
            (&granted["accessor"], &granted["client_token"])
        );
        assert_eq!((&auth["display_name"], &auth["token_ttl"]), (&json!("token"), &json!(3600)));
        let granting = json!([{ "name": "default", "namespace_id": "root", "type": "acl" }]);
        assert_eq!(auth["policy_results"], json!({ "allowed": true, "granting_policies": granting }));
    }
    let denied = ("GET", "secret/data/x");
    let (answer, request, _) = asked(cluster, node, denied, Value::Null, Some(token)).await;
    assert_eq!(answer.status, 403);
    assert_eq!(request["auth"]["policy_results"], json!({ "allowed": false }));
    assert_eq!(
        (&request["auth"]["remaining_uses"], &request["error"]),
        (&json!(1), &json!("permission denied"))
    );
    // It is used up.
    let (_, request, _) = asked(cluster, node, look, Value::Null, Some(token)).await;
    assert_eq!(request["auth"], json!({ "token_type": "default" }));
}

#[tokio::test]
async fn a_device_that_is_enabled_at_one_node_records_at_all_until_it_is_disabled() {
    let mut cluster = Cluster::start(3);
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let options = json!({ "file_path": "audit.log", "sync": "false" });
    let device = json!({ "type": "file", "description": "all of it", "options": options });
    let put =
        async |node: usize, device: &Value| cluster.call(node, "PUT", "sys/audit/all", device.clone()).await;
    for path in ["/tmp/x.log", "../x.log", "stdout", "a/b"] {
        let mut bad = device.clone();
        bad["options"]["file_path"] = json!(path);
        put(follower, &bad).await.expect(400);
    }
    // It could never be disabled again, as no request would be answered.
    let nobody = json!({ "address": format!("tcp:127.0.0.1:{}", free_port()) });
    put(follower, &json!({ "type": "socket", "options": nobody })).await.expect(400);
    let weak = cluster.call(leader, "POST", "auth/token/create", json!({ "policies": ["default"] })).await;
    let weak = weak.json()["auth"]["client_token"].as_str().unwrap().to_owned();
    cluster.call_as(follower, &weak, "PUT", "sys/audit/all", device.clone()).await.expect(403);
    assert!((0..3).all(|node| !trail(&cluster, node).exists()));

    put(follower, &device).await.expect(204);
    assert!(put(leader, &device).await.expect(400).errors().contains("path already in use at all/"));
    let token = cluster.root_token.clone();
    for node in 0..3 {
        // Linearizable, so that the node has applied what enabled the device by the next request.
        cluster.call(node, "GET", "sys/key-status", Value::Null).await.expect(200);
        eventually("the node opens the file", async || trail(&cluster, node).exists()).await;
    }
    for node in 0..3 {
        let read = ("GET", "secret/data/nothing");
        let (answer, request, _) = asked(&cluster, node, read, Value::Null, Some(&token)).await;
        assert_eq!((answer.status, &request["chain"]["device"]), (404, &json!("all")));
        let shown = cluster.call(node, "GET", "sys/audit", Value::Null).await.expect(200).json();
        let shown = &shown["data"]["all/"];
        assert_eq!((&shown["options"], &shown["description"]), (&options, &json!("all of it")));
    }

    cluster.kill(follower).await;
    cluster.restart_with(follower, &[]);
    cluster.wait_for_health(follower, &[200, 429]).await;
    cluster.call(follower, "GET", "sys/key-status", Value::Null).await.expect(200);
    asked(&cluster, follower, ("GET", "secret/data/nothing"), Value::Null, Some(&token)).await;

    cluster.call(leader, "DELETE", "sys/audit/all", Value::Null).await.expect(204);
    cluster.call(leader, "DELETE", "sys/audit/all", Value::Null).await.expect(204);
    for node in 0..3 {
        cluster.call(node, "GET", "sys/key-status", Value::Null).await.expect(200);
        let lines = records(&trail(&cluster, node)).len();
        cluster.call(node, "GET", "secret/data/nothing", Value::Null).await.expect(404);
        assert_eq!(records(&trail(&cluster, node)).len(), lines);
        assert_eq!(verify(&[&trail(&cluster, node)]).0, 0);
    }
    // It has let go of its file, and the trail goes on where it stood.
    cluster.call(follower, "PUT", "sys/audit/all", device).await.expect(204);
    cluster.call(follower, "GET", "secret/data/nothing", Value::Null).await.expect(404);
    assert_eq!(verify(&[&trail(&cluster, follower)]).0, 0);
}

#[tokio::test]
async fn a_trail_survives_rotation_and_restarts_and_shows_what_was_changed() {
    let environment = [("CONCLAVE_AUDIT_FILE", "audit.log")];
    let mut cluster = Cluster::start_with(1, &environment);
    cluster.put(0, "a", CANARY).await.expect(200);
    let (new, old) = (trail(&cluster, 0), trail(&cluster, 0).with_extension("log.1"));
    std::fs::rename(&new, &old).unwrap();
    cluster.signal(0, Signal::HUP);
    eventually("the file is opened again", async || new.exists()).await;
    cluster.put(0, "b", CANARY).await.expect(200);
    cluster.kill(0).await;
    cluster.restart_with(0, &["--audit-file", "audit.log"]);
    eventually("the node answers", async || cluster.health(0).await.is_some()).await;
    let token = cluster.root_token.clone();
    let sealed = asked(&cluster, 0, ("GET", "secret/data/a"), Value::Null, Some(&token)).await;
    assert_eq!((sealed.0.status, &sealed.2["error"]), (503, &json!("unavailable")));
    assert_eq!(sealed.1["request"].get("client_token"), None, "without a key there is no hash");
    for key in cluster.unseal_keys.clone().iter().take(3) {
        cluster.call(0, "PUT", "sys/unseal", json!({ "key": key })).await.expect(200);
    }
    cluster.wait_for_health(0, &[200]).await;
    cluster.put(0, "c", CANARY).await.expect(200);
    let (code, report) = verify(&[&old, &new]);
    assert_eq!(code, 0, "{report}");
    let paths: Vec<_> = records(&new).iter().map(|record| record["request"]["path"].clone()).collect();
    for path in ["secret/data/b", "sys/unseal", "secret/data/c"] {
        assert!(paths.contains(&json!(path)), "{path}");
    }

    let lines = std::fs::read_to_string(&new).unwrap();
    let damaged = new.with_extension("damaged");
    std::fs::write(&damaged, lines.replacen("secret/data/b", "secret/data/x", 1)).unwrap();
    let (code, report) = verify(&[&old, &damaged]);
    assert_eq!(code, 1);
    assert_eq!((&report["findings"][0]["file"], &report["findings"][0]["line"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn what_the_cluster_has_noted_shows_that_a_trail_was_cut_or_written_anew() {
    let cluster = Cluster::start_with(1, &[("CONCLAVE_AUDIT_FILE", "audit.log")]);
    let folder = tempfile::tempdir().unwrap();
    let anchors = folder.path().join("anchors.json");
    let mut noted = 0;
    eventually("the head is noted", async || {
        let answer = cluster.call(0, "GET", "sys/audit-anchors", Value::Null).await.expect(200);
        noted = answer.json()["data"]["anchors"][0]["number"].as_u64().unwrap_or(0);
        std::fs::write(&anchors, &answer.text).unwrap();
        noted > 1
    })
    .await;
    let anchors = ["--anchors", anchors.to_str().unwrap()];
    let path = trail(&cluster, 0);
    let (code, report) = verify_with(&anchors, &[&path]);
    assert_eq!((code, &report["anchors_met"]), (0, &json!(1)), "{report}");

    let text = std::fs::read_to_string(&path).unwrap();
    let cut: String = text.split_inclusive('\n').take(noted as usize - 1).collect();
    let copy = folder.path().join("cut.log");
    std::fs::write(&copy, cut).unwrap();
    assert_eq!(verify(&[&copy]).0, 0, "the lines alone cannot tell");
    let (code, report) = verify_with(&anchors, &[&copy]);
    assert_eq!(code, 1);
    assert!(report["findings"][0]["sentence"].as_str().unwrap().contains("its end is missing"), "{report}");
}

/// Takes records over HTTP as long as it is told to; listens for as long as the test runs.
fn taker() -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let takes_answers = Arc::new(AtomicBool::new(true));
    let takes = Arc::clone(&takes_answers);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            drop(reader.read_exact(&mut body));
            let is_answer = String::from_utf8_lossy(&body).contains("\"type\":\"response\"");
            let status = if !is_answer || takes.load(Ordering::Relaxed) { 204 } else { 500 };
            drop(write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
        }
    });
    (port, takes_answers)
}

fn config(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn where_no_required_device_takes_a_record_nothing_is_done_and_no_answer_given() {
    let mut cluster = Cluster::start(3);
    cluster.put(0, "a", "1").await.expect(200);
    let (leader, node) = (cluster.leader().await, cluster.follower().await);
    let folder = tempfile::tempdir().unwrap();
    let nobody = format!(
        "[[audit]]\ntype = \"socket\"\naddress = \"tcp:127.0.0.1:{}\"\nlimit_ms = 500\n",
        free_port()
    );

    let required = config(folder.path(), "required.toml", &nobody);
    cluster.stop(node).await;
    cluster.restart_with(node, &["--config", &required]);
    cluster.wait_for_health(node, &[429, 200]).await;
    let refused = cluster.call(node, "GET", "secret/data/a", Value::Null).await.expect(503);
    assert!(refused.errors().contains(SENTENCE) && !refused.text.contains("\"1\""), "{}", refused.text);
    assert!(cluster.put(node, "b", "2").await.expect(503).errors().contains("nothing was done"));
    assert_eq!(cluster.get(leader, "b").await, None, "it was done without a record");
    let log = cluster.log_of(node);
    let devices = cluster.call(leader, "GET", "sys/audit", Value::Null).await.expect(200);
    assert_eq!(devices.json()["data"], json!({}), "the leader has none");
    let limited = json!({ "policies": ["default"], "num_uses": 1 });
    let limited = cluster.call(leader, "POST", "auth/token/create", limited).await.expect(200).json();
    let limited = &limited["auth"];
    let token = limited["client_token"].as_str().unwrap();
    cluster.call_as(node, token, "GET", "auth/token/lookup-self", Value::Null).await.expect(503);
    let accessor = json!({ "accessor": limited["accessor"] });
    let found = cluster.call(leader, "POST", "auth/token/lookup-accessor", accessor).await.expect(200);
    assert_eq!(found.json()["data"]["num_uses"], 1, "a use was counted without a record");
    let refused = cluster.call(node, "DELETE", "sys/audit/socket", Value::Null).await.expect(503);
    assert!(refused.errors().contains(SENTENCE), "{}", refused.text);
    assert!(log.contains("an audit device fails") && log.contains("socket"), "{log}");

    let unneeded = config(folder.path(), "best-effort.toml", &format!("{nobody}required = false\n"));
    cluster.stop(node).await;
    cluster.restart_with(node, &["--config", &unneeded]);
    cluster.wait_for_health(node, &[429, 200]).await;
    assert_eq!(cluster.get(node, "a").await.as_deref(), Some("1"));
    let refused = cluster.call(node, "DELETE", "sys/audit/socket", Value::Null).await.expect(400);
    assert!(refused.errors().contains("configuration-managed"), "{}", refused.text);

    let (port, takes_answers) = taker();
    let http =
        format!("[[audit]]\ntype = \"http\"\naddress = \"http://127.0.0.1:{port}/\"\nlimit_ms = 60000\n");
    let http = config(folder.path(), "http.toml", &http);
    cluster.stop(node).await;
    cluster.restart_with(node, &["--config", &http]);
    cluster.wait_for_health(node, &[429, 200]).await;
    cluster.put(node, "c", "3").await.expect(200);
    takes_answers.store(false, Ordering::Relaxed);
    let withheld = cluster.put(node, "d", "4").await.expect(504);
    assert!(withheld.errors().contains("withheld"), "{}", withheld.text);
    assert_eq!(cluster.get(leader, "d").await.as_deref(), Some("4"));
    cluster.call(node, "GET", "secret/data/d", Value::Null).await.expect(503);
}
