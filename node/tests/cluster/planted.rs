//! A server that can have planted bugs says so, and refuses one that it does not know.

use std::process::Command;

use conclave_faults::planted::VARIABLE;

use crate::harness::CONCLAVE;

#[test]
fn a_server_names_its_build_and_refuses_a_bug_that_it_does_not_know() {
    let version = Command::new(CONCLAVE).arg("--version").output().expect("conclave runs");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    assert!(version.contains("planted-bugs"), "{version}");

    let dir = tempfile::tempdir().expect("a temporary folder");
    let refused = Command::new(CONCLAVE)
        .args(["server", "--data-dir"])
        .arg(dir.path().join("data"))
        .env(VARIABLE, "no-such-bug")
        .output()
        .expect("conclave runs");
    let sentence = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{sentence}");
    assert!(sentence.contains("no-such-bug") && sentence.contains("ack-before-fsync"), "{sentence}");
    assert!(!dir.path().join("data").exists(), "it refuses before it touches anything");
}
