//! Short words for histories made by hand: of one key, each operation by a client of its own, at node 1.

use std::ops::Range;

use crate::access::Access;
use crate::history::{Action, Answer, Freshness, Operation, Outcome};

pub const KEY: &str = "k";

pub fn write(value: u64) -> Action {
    Action::Write { key: KEY.to_owned(), value, cas: None, idempotency_key: None }
}

pub fn cas(value: u64, version: u64) -> Action {
    Action::Write { key: KEY.to_owned(), value, cas: Some(version), idempotency_key: None }
}

pub fn once(name: &str, value: u64) -> Action {
    Action::Write { key: KEY.to_owned(), value, cas: None, idempotency_key: Some(name.to_owned()) }
}

pub fn delete() -> Action {
    Action::Delete { key: KEY.to_owned() }
}

pub fn undelete(version: u64) -> Action {
    Action::Undelete { key: KEY.to_owned(), version }
}

/// Times are milliseconds.
fn operation(ms: Range<u64>, action: Action, outcome: Outcome) -> Operation {
    let (invoked_us, returned_us) = (ms.start * 1000, ms.end * 1000);
    let client = u32::try_from(ms.start).expect("short histories");
    Operation { client, node: 1, invoked_us, returned_us, action, outcome }
}

pub fn ok(ms: Range<u64>, action: Action) -> Operation {
    operation(ms, action, Outcome::Ok(Answer::default()))
}

pub fn unknown(ms: Range<u64>, action: Action) -> Operation {
    operation(ms, action, Outcome::Unknown)
}

pub fn refused(ms: Range<u64>, action: Action) -> Operation {
    operation(ms, action, Outcome::Failed { status: 400 })
}

pub fn access(ms: Range<u64>, access: Access) -> Operation {
    ok(ms, Action::Access(access))
}

pub fn unknown_access(ms: Range<u64>, access: Access) -> Operation {
    unknown(ms, Action::Access(access))
}

pub fn refused_with(status: u16, ms: Range<u64>, access: Access) -> Operation {
    operation(ms, Action::Access(access), Outcome::Failed { status })
}

pub fn read(ms: Range<u64>, value: impl Into<Option<u64>>) -> Operation {
    let action = Action::Read { key: KEY.to_owned(), freshness: Freshness::Linearizable };
    operation(ms, action, Outcome::Ok(Answer { value: value.into(), ..Answer::default() }))
}

/// An answer that says that it is `stale_for_ms` old, to one who asked for at most 100 ms.
pub fn stale(ms: Range<u64>, value: impl Into<Option<u64>>, stale_for_ms: u64) -> Operation {
    let action = Action::Read { key: KEY.to_owned(), freshness: Freshness::Stale { bound_ms: 100 } };
    let stale_for_ms = Some(stale_for_ms);
    operation(ms, action, Outcome::Ok(Answer { value: value.into(), stale_for_ms, ..Answer::default() }))
}

fn answered(mut operation: Operation, change: impl FnOnce(&mut Answer)) -> Operation {
    if let Outcome::Ok(answer) = &mut operation.outcome {
        change(answer);
    }
    operation
}

pub fn version(operation: Operation, version: u64) -> Operation {
    answered(operation, |answer| answer.version = Some(version))
}

pub fn index(operation: Operation, index: u64) -> Operation {
    answered(operation, |answer| answer.index = Some(index))
}

pub fn time(operation: Operation, time_ms: u64) -> Operation {
    answered(operation, |answer| answer.time_ms = Some(time_ms))
}

pub fn destroy(version: u64) -> Action {
    Action::Destroy { key: KEY.to_owned(), version }
}

pub fn read_version(ms: Range<u64>, version: u64, value: impl Into<Option<u64>>) -> Operation {
    let action = Action::ReadVersion { key: KEY.to_owned(), version };
    operation(ms, action, Outcome::Ok(Answer { value: value.into(), ..Answer::default() }))
}

pub fn list(ms: Range<u64>, folder: &str, names: &[&str]) -> Operation {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let answer = Answer { names, ..Answer::default() };
    operation(ms, Action::List { folder: folder.to_owned() }, Outcome::Ok(answer))
}

/// The same of another key.
pub fn on(other: &str, mut operation: Operation) -> Operation {
    match &mut operation.action {
        Action::Read { key, .. }
        | Action::Write { key, .. }
        | Action::Delete { key }
        | Action::Undelete { key, .. }
        | Action::Destroy { key, .. }
        | Action::ReadVersion { key, .. } => other.clone_into(key),
        Action::List { .. } | Action::Access(_) => {}
    }
    operation
}
