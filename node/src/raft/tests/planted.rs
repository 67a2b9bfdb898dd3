//! The tests of nodes in one process notice these planted bugs.

use conclave_faults::Bug;
use conclave_faults::catching::assert_caught;

const CONSENSUS: &str = "raft::tests::consensus::";

#[test]
fn leases_that_hold_too_long_are_noticed() {
    for (bug, test) in [
        (Bug::LeaseNeverExpires, "a_leader_reads_by_its_lease_as_long_as_a_quorum_answers"),
        (Bug::LeaseKeptInHandover, "a_leader_that_began_to_hand_over_has_no_lease_any_more_in_its_term"),
        (Bug::PromiseForgotten, "a_node_that_has_just_started_keeps_the_promise_of_its_former_life"),
    ] {
        assert_caught(bug, &format!("{CONSENSUS}{test}"));
    }
}

#[test]
fn answers_without_a_quorum_are_noticed() {
    assert_caught(
        Bug::AckBeforeQuorum,
        &format!("{CONSENSUS}without_a_quorum_nothing_is_read_or_acknowledged"),
    );
}

#[test]
fn those_who_do_not_belong_are_noticed() {
    assert_caught(
        Bug::RemovedNodeNotFenced,
        "raft::tests::members::a_removed_node_is_refused_fenced_and_stays_so",
    );
    assert_caught(
        Bug::StrangersAdmitted,
        "raft::tests::authorisation::a_certificate_of_this_cluster_alone_lets_nobody_in",
    );
}
