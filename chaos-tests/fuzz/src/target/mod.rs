//! The targets, by what they stand at: a client's request, another node's message, a file, the disk.

pub mod engine;
pub mod http;
pub mod identity;
pub mod login;
pub mod operator;
pub mod peer;
pub mod policy;
pub mod seal;
pub mod snapshot;
pub mod storage;

use conclave_node::service::{BodyPlace, Failure, parse_object};
use serde_json::{Map, Value};

use crate::canary;

/// Statuses of requests that their sender must mend.
const BLAME_CALLER: std::ops::RangeInclusive<u16> = 400..=415;

/// What must hold of every refusal of a request.
///
/// # Panics
/// If it blames the server, or repeats a secret to the caller or to the log.
#[track_caller]
fn check_refusal(failure: &Failure) {
    let status = failure.status();
    assert!(BLAME_CALLER.contains(&status), "status {status}: {failure}");
    failure.sentences().iter().for_each(|sentence| canary::assert_absent(sentence));
    canary::assert_absent(&failure.to_string());
}

/// A body of JSON. Its memory is counted by the target's own bound.
fn object(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    parse_object(body, &mut BodyPlace::default())
}

/// The first line, and what follows it.
fn first_line(input: &[u8]) -> (&[u8], &[u8]) {
    let end = input.iter().position(|&byte| byte == b'\n');
    end.map_or((input, &[][..]), |end| (&input[..end], &input[end + 1..]))
}
