//! What strangers and clumsy clients send: always a clear status and a sentence, never a panic, never a hang.

use std::process::Command;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use super::harness::{CONCLAVE, Cluster, PATIENCE, free_port};

#[tokio::test]
async fn bad_requests_get_a_status_and_a_sentence() {
    let cluster = Cluster::start(1);
    let token = [("X-Vault-Token", cluster.root_token.as_str())];
    let deep = format!("{{\"data\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let cases: &[(&str, &str, &str, u16)] = &[
        ("POST", "/v1/secret/data/x", "{bad", 400),
        ("POST", "/v1/secret/data/x", "[]", 400),
        ("POST", "/v1/secret/data/x", "\"text\"", 400),
        ("POST", "/v1/secret/data/x", "{\"data\":\"text\"}", 400),
        ("POST", "/v1/secret/data/x", "{\"data\":{},\"options\":{\"cas\":\"x\"}}", 400),
        ("POST", "/v1/secret/data/x", &deep, 400),
        ("POST", "/v1/secret/data/x", "", 400),
        ("GET", "/v1/secret/data/x?version=abc", "", 400),
        ("POST", "/v1/secret/data/x/", "{\"data\":{}}", 400),
        ("GET", "/v1/nomount/x", "", 404),
        ("GET", "/v1/sys/nothing", "", 404),
        ("GET", "/v2/secret", "", 404),
        ("GET", "/", "", 404),
        ("DELETE", "/v1/sys/health", "", 405),
        ("BREW", "/v1/secret/data/x", "", 405),
        ("PATCH", "/v1/secret/data/x", "{\"data\":{}}", 415),
        ("POST", "/v1/sys/mounts/sys", "{\"type\":\"kv\"}", 400),
        ("POST", "/v1/sys/mounts/x", "{\"type\":\"nope\"}", 400),
        ("PUT", "/v1/sys/unseal", "{}", 400),
        ("PUT", "/v1/sys/init", "{\"secret_shares\":3,\"secret_threshold\":2}", 400),
        ("POST", "/v1/sys/cluster/join", "{}", 400),
        ("GET", "/v1/sys/health?standbycode=abc", "", 400),
    ];
    for (method, path, body, status) in cases {
        let answer = cluster.raw(0, method, path, body.as_bytes().to_vec(), &token).await;
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert_eq!(answer.status, *status, "{method} {path}: {}", answer.text);
        assert!(!answer.errors().is_empty() || *status == 404, "{method} {path} has no sentence");
    }
    assert!(!cluster.log_of(0).contains("panicked"), "{}", cluster.log_of(0));
    assert_eq!(cluster.health(0).await, Some(200));
}

#[tokio::test]
async fn bad_paths_are_refused_as_they_come() {
    let cluster = Cluster::start(1);
    let long = [b"/v1/secret/data/".as_slice(), &[b'x'; 5000]].concat();
    let paths: [&[u8]; 12] = [
        b"/v1/secret/data/a%2fb",
        b"/v1/secret/data/a%5cb",
        b"/v1/secret/data/%2e%2e/b",
        b"/v1/secret/data/../b",
        b"/v1/secret/data/./b",
        b"/v1/secret/data//b",
        b"/v1/secret/data/%00",
        b"/v1/secret/data/%0a",
        b"/v1/secret/data/%ff",
        b"/v1/secret/data/%zz",
        b"/v1/secret/data/%20x",
        &long,
    ];
    for path in paths {
        let answer = cluster.exact_get(0, path).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{}: {answer}", String::from_utf8_lossy(path));
        assert!(answer.contains("\"errors\":[\"the path"), "{answer}");
    }
    // What HTTP itself forbids never reaches the router, but is answered all the same.
    for path in [&b"/v1/secret/data/\xff\xfe"[..], b"/v1/secret/data/\x01"] {
        let answer = cluster.exact_get(0, path).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert!(!cluster.log_of(0).contains("panicked"), "{}", cluster.log_of(0));
}

#[tokio::test]
async fn a_client_that_says_nothing_is_left_before_and_after_the_handshake() {
    let cluster = Cluster::start(1);
    let mut tcp = cluster.open_tcp(0).await;
    let mut tls = cluster.open_tls(0).await;
    let (mut from_tcp, mut from_tls) = (Vec::new(), Vec::new());
    let closed = async { tokio::join!(tcp.read_to_end(&mut from_tcp), tls.read_to_end(&mut from_tls)) };
    let _either_way = tokio::time::timeout(PATIENCE, closed).await.expect("the node closes both");
    assert!(from_tcp.is_empty() && from_tls.is_empty());
}

#[tokio::test]
async fn strangers_are_refused_before_they_learn_what_exists() {
    let cluster = Cluster::start(1);
    for path in ["secret/data/x", "nomount/x", "sys/mounts", "sys/nothing", "sys/metrics", "sys/host-info"] {
        for token in ["", "s.wrong", "x"] {
            let headers = [("X-Vault-Token", token)];
            let answer = cluster.try_call(0, "GET", path, Value::Null, &headers).await.unwrap().expect(403);
            assert_eq!(answer.errors(), "permission denied", "{path}");
        }
    }
    // Nor is their body read: what is wrong with it would be told before who they are.
    for path in ["/v1/secret/data/x", "/v1/sys/mounts/x", "/v1/sys/cluster/join-token"] {
        let wrong = [("X-Vault-Token", "s.wrong")];
        let answer = cluster.raw(0, "POST", path, b"{bad".to_vec(), &wrong).await.unwrap();
        assert_eq!((answer.status, answer.errors().as_str()), (403, "permission denied"), "{path}");
    }
}

#[tokio::test]
async fn an_oversized_body_is_refused_and_the_node_goes_on() {
    let cluster = Cluster::start(1);
    let token = [("X-Vault-Token", cluster.root_token.as_str())];
    let huge = vec![b'x'; 33 * 1024 * 1024];
    // The node may answer and close before all has been sent; either is a refusal.
    if let Ok(answer) = cluster.raw(0, "POST", "/v1/secret/data/x", huge, &token).await {
        assert_eq!(answer.status, 413, "{}", answer.text);
    }
    let large = json!({ "data": { "value": "x".repeat(2 * 1024 * 1024) } });
    cluster.call(0, "POST", "secret/data/x", large).await.expect(413);
    let fits = json!({ "data": { "value": "x".repeat(900 * 1024) } });
    cluster.call(0, "POST", "secret/data/x", fits).await.expect(200);
    let metrics = cluster.call(0, "GET", "sys/metrics?format=prometheus", Value::Null).await.expect(200);
    assert!(metrics.text.contains("conclave_requests_refused_total{bound=\"size\"}"), "{}", metrics.text);
}

#[tokio::test]
async fn numbers_keep_every_digit() {
    let cluster = Cluster::start(3);
    let body = br#"{"data":{"n":9007199254740993,"big":12345678901234567890123,"f":1.50}}"#.to_vec();
    let token = [("X-Vault-Token", cluster.root_token.as_str())];
    cluster.raw(1, "POST", "/v1/secret/data/n", body, &token).await.unwrap().expect(200);
    let text = cluster.call(2, "GET", "secret/data/n", Value::Null).await.expect(200).text;
    for literal in ["9007199254740993", "12345678901234567890123", "1.50"] {
        assert!(text.contains(literal), "{text}");
    }
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let free = || format!("127.0.0.1:{}", free_port());
    let data = dir.path().to_str().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&[], "data_dir is not set"),
        (
            &["--data-dir", data, "--api-listen", &taken, "--cluster-listen", &free()],
            "Is another program using it?",
        ),
        (
            &["--data-dir", data, "--cluster-listen", &taken, "--api-listen", &free()],
            "Is another program using it?",
        ),
        (&["--data-dir", "/proc/nothing"], "/proc/nothing"),
        (&["--data-dir", data, "--node-name", "a b"], "node_name"),
        (&["--nonsense"], "--nonsense"),
    ];
    for (arguments, expected) in cases {
        let output = Command::new(CONCLAVE).arg("server").args(*arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
}

#[tokio::test]
async fn a_data_directory_serves_one_process_at_a_time() {
    let cluster = Cluster::start(1);
    let output = Command::new(CONCLAVE)
        .args(["server", "--api-listen", &format!("127.0.0.1:{}", free_port())])
        .args(["--cluster-listen", &format!("127.0.0.1:{}", free_port()), "--data-dir"])
        .arg(&cluster.nodes[0].data_dir)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("use"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
