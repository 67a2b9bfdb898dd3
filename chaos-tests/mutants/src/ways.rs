//! Which check must notice which planted bug.
//!
//! A test sees one bug in a second or a minute and says what is wrong; chaos sees it as users would. A bug has a test wherever
//! one can see it, and a way through chaos wherever clients can; each way that stands here must work.

use conclave_faults::Bug;

/// How a bug is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A test passes without the bug and fails with it.
    Test { program: &'static str, name: &'static str },
    /// A run of `conclave-chaos` ends with a violation, and without one if no node has the bug.
    Chaos { faults: &'static str, clients: u8 },
    /// Simulated clusters: some seed is not clean, and all are without the bug.
    Sim,
}

/// Nothing but clients, and an operator who fetches snapshots now and then.
const CALM: &str = "snapshot-save";

/// Clients at each node.
const FEW: u8 = 3;

const STORAGE: &str = "conclave_storage";
const CORE: &str = "conclave_core";
const NODE: &str = "conclave_node";

const fn test(program: &'static str, name: &'static str) -> Way {
    Way::Test { program, name }
}

const fn chaos(faults: &'static str) -> Way {
    Way::Chaos { faults, clients: FEW }
}

/// All ways for one bug. A match, so that a new bug without one does not compile.
pub fn ways(bug: Bug) -> Vec<Way> {
    match bug {
        Bug::AckBeforeFsync
        | Bug::SyncErrorIgnored
        | Bug::VoteUnsynced
        | Bug::VoteInTwoWrites
        | Bug::LastRecordForgotten
        | Bug::ReplayedRecordEmptied
        | Bug::WalDamageTolerated
        | Bug::LogHoleAccepted
        | Bug::LogLossAccepted => log(bug),
        Bug::PreconditionsIgnored
        | Bug::ConflictToldAsDone
        | Bug::RevisionsRounded
        | Bug::LocalClockInApply
        | Bug::TimeRunsBackwards
        | Bug::DeletesIgnored
        | Bug::AppliedToldEarly
        | Bug::CacheNotUpdated
        | Bug::GlanceNotRepeated
        | Bug::ExpiredServed => applying(bug),
        Bug::SnapshotWithoutMembership
        | Bug::SnapshotNotFlushed
        | Bug::SnapshotUnchecked
        | Bug::InstallKeepsSummary
        | Bug::InstallKeepsState => snapshots(bug),
        Bug::ContextDropped | Bug::NonceReused | Bug::PathInLog | Bug::MetadataUnguarded => core(bug),
        Bug::EndedTokenRemembered
        | Bug::PolicyRemembered
        | Bug::RenewalAdded
        | Bug::GuessUnguarded
        | Bug::UnwrapUnguarded
        | Bug::TrailBegunAnew => rights(bug),
        _ => cluster(bug),
    }
}

fn log(bug: Bug) -> Vec<Way> {
    match bug {
        Bug::AckBeforeFsync => vec![
            test(STORAGE, "log_io::tests::after_one_failure_nothing_is_reported_as_synced"),
            test("points", "entries_are_synced_before_they_are_reported"),
        ],
        Bug::SyncErrorIgnored => {
            vec![test(STORAGE, "log_io::tests::after_one_failure_nothing_is_reported_as_synced")]
        }
        Bug::VoteUnsynced | Bug::VoteInTwoWrites => {
            vec![test("points", "a_vote_is_one_write_and_synced_before_it_is_given")]
        }
        Bug::LastRecordForgotten => vec![
            test("durability", "a_killed_process_has_lost_nothing_that_it_acknowledged"),
            chaos("kill-all"),
        ],
        // The state survives a kill, so that hardly anything is read back: for chaos it takes a power cut.
        Bug::ReplayedRecordEmptied => {
            vec![test("durability", "entries_come_back_from_disk_as_they_were_appended")]
        }
        Bug::WalDamageTolerated => {
            vec![test("durability", "a_log_that_is_damaged_in_the_middle_is_refused_not_shortened")]
        }
        Bug::LogHoleAccepted => vec![test(STORAGE, "log_store::tests::a_log_with_a_hole_is_refused")],
        Bug::LogLossAccepted => vec![test("durability", "a_log_or_a_state_from_elsewhere_is_refused")],
        _ => Vec::new(),
    }
}

fn applying(bug: Bug) -> Vec<Way> {
    let revisions = test(STORAGE, "apply::tests::a_precondition_names_the_index_that_last_wrote_the_key");
    let time = test(STORAGE, "apply::tests::time_never_runs_backwards");
    let glance = test("reader", "a_glance_sees_the_state_after_one_entry_while_others_are_applied");
    match bug {
        Bug::PreconditionsIgnored | Bug::RevisionsRounded => vec![revisions, chaos(CALM)],
        Bug::ConflictToldAsDone => {
            vec![test("cluster", "consistency::check_and_set_never_wins_twice"), chaos(CALM)]
        }
        Bug::LocalClockInApply => vec![time, chaos(CALM)],
        Bug::TimeRunsBackwards => vec![time],
        // The clients of chaos delete versions, which are records that stay.
        Bug::DeletesIgnored => {
            vec![test("durability", "after_a_power_loss_the_state_is_older_but_whole")]
        }
        Bug::AppliedToldEarly | Bug::GlanceNotRepeated => vec![glance],
        Bug::CacheNotUpdated => vec![
            test(STORAGE, "recent::tests::what_was_loaded_before_a_change_does_not_hide_it"),
            chaos(CALM),
        ],
        Bug::ExpiredServed => {
            vec![test("reader", "of_thousands_that_expire_at_once_none_is_answered_afterwards")]
        }
        _ => Vec::new(),
    }
}

fn snapshots(bug: Bug) -> Vec<Way> {
    let installed =
        test("snapshots", "an_installed_snapshot_is_the_state_and_the_current_snapshot_also_after_a_restart");
    match bug {
        Bug::SnapshotWithoutMembership => vec![installed],
        Bug::SnapshotNotFlushed => {
            vec![test("durability", "what_a_snapshot_holds_is_on_disk_in_the_state_too")]
        }
        Bug::SnapshotUnchecked => {
            vec![test(STORAGE, "snapshot_writer::tests::bad_content_is_refused")]
        }
        Bug::InstallKeepsSummary | Bug::InstallKeepsState => vec![installed],
        _ => Vec::new(),
    }
}

fn core(bug: Bug) -> Vec<Way> {
    match bug {
        Bug::ContextDropped => {
            vec![test(CORE, "crypto::barrier::tests::any_two_records_that_change_places_are_both_refused")]
        }
        Bug::NonceReused => {
            vec![test(CORE, "crypto::barrier::tests::equal_records_are_sealed_to_different_bytes")]
        }
        Bug::PathInLog => {
            vec![
                test("cluster", "secrecy::no_file_that_a_node_wrote_holds_a_secret_a_path_or_the_root_token"),
                chaos(CALM),
            ]
        }
        Bug::MetadataUnguarded => vec![
            test("cluster", "consistency::many_writers_of_one_secret_all_get_their_own_version"),
            chaos(CALM),
        ],
        _ => Vec::new(),
    }
}

fn rights(bug: Bug) -> Vec<Way> {
    match bug {
        Bug::EndedTokenRemembered
        | Bug::PolicyRemembered
        | Bug::RenewalAdded
        | Bug::GuessUnguarded
        | Bug::UnwrapUnguarded => vec![chaos(CALM)],
        Bug::TrailBegunAnew => vec![chaos("kill")],
        _ => Vec::new(),
    }
}

fn cluster(bug: Bug) -> Vec<Way> {
    let consensus = |name: &'static str| test(NODE, name);
    match bug {
        Bug::AckBeforeQuorum => vec![
            consensus("raft::tests::consensus::without_a_quorum_nothing_is_read_or_acknowledged"),
            chaos("isolate"),
        ],
        Bug::UnknownToldAsFailed => vec![consensus(
            "raft::tests::consensus::what_was_not_taken_is_never_made_and_what_is_not_known_is_called_so",
        )],
        Bug::LeaseNeverExpires => vec![
            consensus("raft::tests::consensus::a_leader_reads_by_its_lease_as_long_as_a_quorum_answers"),
            chaos("isolate"),
        ],
        // Only where a message waits in the socket of a paused leader: chance enough for a thousand seeds, not for a test.
        Bug::AnswersUncounted => vec![Way::Sim],
        Bug::LeaseKeptInHandover => vec![consensus(
            "raft::tests::consensus::a_leader_that_began_to_hand_over_has_no_lease_any_more_in_its_term",
        )],
        Bug::PromiseForgotten => vec![consensus(
            "raft::tests::consensus::a_node_that_has_just_started_keeps_the_promise_of_its_former_life",
        )],
        Bug::ProofForLatecomers => vec![consensus(
            "raft::tests::consensus::in_a_crowd_of_readers_everyone_sees_what_was_acknowledged_before_they_asked",
        )],
        Bug::RemovedNodeNotFenced => {
            vec![consensus("raft::tests::members::a_removed_node_is_refused_fenced_and_stays_so")]
        }
        Bug::StrangersAdmitted => {
            vec![consensus("raft::tests::authorisation::a_certificate_of_this_cluster_alone_lets_nobody_in")]
        }
        Bug::ReadWithoutBarrier => vec![
            test("cluster", "consistency::every_node_reads_what_any_node_wrote_at_once"),
            chaos("isolate"),
        ],
        Bug::StaleBoundIgnored => vec![
            test("cluster", "failover::without_a_quorum_answers_are_honest_and_stale_reads_go_on"),
            chaos("isolate"),
        ],
        Bug::SealedInNameOnly => vec![test(
            "cluster",
            "seal::a_sealed_node_votes_and_replicates_and_stays_sealed_until_an_operator_unseals_it",
        )],
        Bug::IdempotencyIgnored => vec![
            test(
                "cluster",
                "consistency::a_repeat_under_an_idempotency_key_is_applied_once_and_answered_the_same",
            ),
            chaos(CALM),
        ],
        // Only plans that were overtaken are forwarded, and hardly ever to a leader that dies right then: chaos meets it in
        // every second run of two minutes.
        Bug::AttemptIgnored => {
            vec![test("cluster", "attempt::a_write_that_was_carried_to_a_leader_that_died_is_made_once")]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use conclave_faults::{BUGS, Scope};

    use super::*;

    #[test]
    fn every_bug_has_a_way_to_be_noticed_and_no_way_twice() {
        for row in BUGS {
            let ways = ways(row.bug);
            assert!(!ways.is_empty(), "{} would never be noticed", row.name);
            for (place, way) in ways.iter().enumerate() {
                assert!(!ways[..place].contains(way), "{}: {way:?} twice", row.name);
            }
        }
    }

    /// All nodes of a run of chaos have the bug.
    #[test]
    fn chaos_is_for_bugs_that_all_nodes_may_have() {
        for row in BUGS.iter().filter(|row| row.scope == Scope::Node) {
            assert!(ways(row.bug).iter().all(|way| matches!(way, Way::Test { .. })), "{}", row.name);
        }
    }
}
