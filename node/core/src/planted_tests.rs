//! The tests of the pure rules notice these planted bugs.

use conclave_faults::Bug;
use conclave_faults::catching::assert_caught;

#[test]
fn records_that_open_elsewhere_and_nonces_that_come_twice_are_noticed() {
    assert_caught(
        Bug::ContextDropped,
        "crypto::barrier::tests::any_two_records_that_change_places_are_both_refused",
    );
    assert_caught(Bug::NonceReused, "crypto::barrier::tests::equal_records_are_sealed_to_different_bytes");
}
