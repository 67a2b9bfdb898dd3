//! The program `conclave-oracle`: what it says of a file, and with which exit status.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

const CLEAN: &str = concat!(
    r#"{"client":1,"node":1,"invoked_us":0,"returned_us":9,"action":{"write":{"key":"a","value":1,"cas":null,"#,
    r#""idempotency_key":null}},"outcome":{"ok":{"value":null,"version":1,"index":4,"stale_for_ms":null,"names":[]}}}"#,
    "\n",
    r#"{"client":1,"node":2,"invoked_us":20,"returned_us":29,"action":{"read":{"key":"a","freshness":"linearizable"}},"#,
    r#""outcome":{"ok":{"value":1,"version":1,"index":4,"stale_for_ms":null,"names":[]}}}"#,
    "\n",
);

/// Judges `history`, given on standard input.
fn oracle(history: &str) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_conclave-oracle"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(history.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

#[test]
fn a_clean_history_is_0() {
    let (status, text) = oracle(CLEAN);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("2 operations on 1 keys"), "{text}");
}

#[test]
fn a_violation_is_1_and_shown() {
    let (status, text) = oracle(&CLEAN.replacen(r#""ok":{"value":1"#, r#""ok":{"value":null"#, 1));
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("client 1 at node 2: read a -> ok, no value, version 1"), "{text}");
}

#[test]
fn what_cannot_be_decided_is_2() {
    let first_line = CLEAN.lines().next().unwrap();
    assert_eq!(oracle(first_line).0, Some(2));
    assert_eq!(oracle("").0, Some(2));
    let (status, text) = oracle("not a history");
    assert_eq!(status, Some(2));
    assert!(text.contains("line 1"), "{text}");
}

#[test]
fn a_file_that_is_not_there_is_2_and_named() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_conclave-oracle")).arg("no-such-history.jsonl").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-history.jsonl"));
}
