//! Clusters of real processes notice these planted bugs; and a server says that it has one, or that it does not know it.

use std::process::Command;

use conclave_faults::Bug;
use conclave_faults::catching::assert_caught;
use conclave_faults::planted::VARIABLE;

use crate::harness::CONCLAVE;

#[test]
fn answers_that_contradict_each_other_are_noticed() {
    assert_caught(Bug::ReadWithoutBarrier, "consistency::every_node_reads_what_any_node_wrote_at_once");
    assert_caught(Bug::ConflictToldAsDone, "consistency::check_and_set_never_wins_twice");
    assert_caught(
        Bug::IdempotencyIgnored,
        "consistency::a_repeat_under_an_idempotency_key_is_applied_once_and_answered_the_same",
    );
}

#[test]
fn nodes_that_should_not_answer_are_noticed() {
    assert_caught(
        Bug::SealedInNameOnly,
        "seal::a_sealed_node_votes_and_replicates_and_stays_sealed_until_an_operator_unseals_it",
    );
}

#[test]
fn a_path_in_the_log_is_noticed() {
    assert_caught(
        Bug::PathInLog,
        "secrecy::no_file_that_a_node_wrote_holds_a_secret_a_path_or_the_root_token",
    );
}

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
