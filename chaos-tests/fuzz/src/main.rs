//! The libFuzzer program: one for all targets, since they share what they link. `CONCLAVE_FUZZ_TARGET` names the one.
//!
//! `make fuzz` builds it with coverage counters and runs it; everything else is libFuzzer's (`-help=1`).

#![no_main]

use std::sync::LazyLock;

use conclave_fuzz::Target;

const VARIABLE: &str = "CONCLAVE_FUZZ_TARGET";

static CHOSEN: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var(VARIABLE).unwrap_or_default();
    Target::find(&name).unwrap_or_else(|| panic!("{VARIABLE} is {name:?}, which is no target"))
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| CHOSEN.run(input));
