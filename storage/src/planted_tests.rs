//! The unit tests of this crate notice these planted bugs.

use conclave_faults::Bug;
use conclave_faults::catching::assert_caught;

#[test]
fn wrong_rules_of_applying_are_noticed() {
    let revisions = "apply::tests::a_precondition_names_the_index_that_last_wrote_the_key";
    assert_caught(Bug::PreconditionsIgnored, revisions);
    assert_caught(Bug::RevisionsRounded, revisions);
    assert_caught(Bug::LocalClockInApply, "apply::tests::time_never_runs_backwards");
    assert_caught(Bug::TimeRunsBackwards, "apply::tests::time_never_runs_backwards");
}

#[test]
fn a_log_that_lies_about_its_syncs_is_noticed() {
    let failure = "log_io::tests::after_one_failure_nothing_is_reported_as_synced";
    assert_caught(Bug::AckBeforeFsync, failure);
    assert_caught(Bug::SyncErrorIgnored, failure);
}

#[test]
fn a_hole_in_the_log_is_noticed() {
    assert_caught(Bug::LogHoleAccepted, "log_store::tests::a_log_with_a_hole_is_refused");
}

#[test]
fn a_cache_that_no_write_reaches_is_noticed() {
    assert_caught(Bug::CacheNotUpdated, "recent::tests::what_was_loaded_before_a_change_does_not_hide_it");
}

#[test]
fn a_snapshot_that_is_taken_unchecked_is_noticed() {
    assert_caught(Bug::SnapshotUnchecked, "snapshot_writer::tests::bad_content_is_refused");
}
