//! How much memory an input may cost: a length that a message only claims must not be believed.

use std::sync::{Mutex, PoisonError};

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// What any input may cost, in bytes: buffers of fixed size, and what a target makes itself.
const BASE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What each byte of an input may cost besides, in bytes. A JSON array of digits is the dearest.
const BYTES_PER_BYTE_MAX: usize = 128;

/// The heap is counted for the whole process, so one target runs at a time.
static TURN: Mutex<()> = Mutex::new(());

/// # Panics
/// If `run` does, or if it held more memory at any moment than an input of this length may cost.
pub fn bounded(input_bytes: usize, run: impl FnOnce()) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    run();
    let used = HEAP.peak_usage().saturating_sub(before);
    let allowed = BASE_BYTES_MAX + input_bytes * BYTES_PER_BYTE_MAX;
    assert!(used <= allowed, "{input_bytes} bytes of input cost {used} bytes of memory");
}
