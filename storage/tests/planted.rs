//! The tests of whole stores notice these planted bugs. They are taken in here, so that this program can run them.

#[path = "durability.rs"]
mod durability;
#[path = "snapshots.rs"]
mod snapshots;

use conclave_faults::Bug;
use conclave_faults::catching::assert_caught;

#[test]
fn damage_and_loss_that_are_tolerated_are_noticed() {
    assert_caught(
        Bug::WalDamageTolerated,
        "durability::a_log_that_is_damaged_in_the_middle_is_refused_not_shortened",
    );
    assert_caught(Bug::LogLossAccepted, "durability::a_log_or_a_state_from_elsewhere_is_refused");
    assert_caught(
        Bug::LastRecordForgotten,
        "durability::a_killed_process_has_lost_nothing_that_it_acknowledged",
    );
    assert_caught(Bug::SnapshotNotFlushed, "durability::what_a_snapshot_holds_is_on_disk_in_the_state_too");
}

#[test]
fn snapshots_that_are_installed_by_halves_are_noticed() {
    let installed =
        "snapshots::an_installed_snapshot_is_the_state_and_the_current_snapshot_also_after_a_restart";
    assert_caught(Bug::InstallKeepsSummary, installed);
    assert_caught(Bug::InstallKeepsState, installed);
}
