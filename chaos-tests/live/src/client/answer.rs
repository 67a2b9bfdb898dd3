//! What an answer, or its absence, says about a request: done, certainly not done, or unknown.
//!
//! When in doubt, unknown. A wrong "failed" would accuse the server of inventing a write; a wrong "done" of losing one.

use conclave_oracle::access::Access;
use conclave_oracle::history::{Action, Answer, Outcome};
use conclave_oracle::place::Place;
use serde_json::Value;

/// For a request that never reached a server.
const NEVER_REACHED: u16 = 0;
/// The server's own "I do not know".
const STATUS_UNKNOWN: u16 = 504;
/// The server refuses before it has done anything: no leader, sealed, stopping, too much to do.
const STATUS_UNAVAILABLE: u16 = 503;
const STATUS_REMOVED: u16 = 530;

/// An answer as it came.
pub struct Raw {
    pub status: u16,
    pub index: Option<String>,
    pub stale_for: Option<String>,
    pub body: Value,
}

pub fn outcome(action: &Action, answer: Result<Raw, reqwest::Error>) -> Outcome {
    match answer {
        Ok(raw) => answered(action, &raw),
        // The connection did not come up, so nothing was sent.
        Err(error) if error.is_connect() => Outcome::Failed { status: NEVER_REACHED },
        Err(_) => Outcome::Unknown,
    }
}

fn answered(action: &Action, raw: &Raw) -> Outcome {
    match (raw.status, action) {
        (200..300, _) => Outcome::Ok(read_answer(action, raw)),
        // Nothing there is an answer to a read, and to a list of a folder that was never written to.
        (404, Action::Read { .. } | Action::ReadVersion { .. } | Action::List { .. })
            if nothing_there(&raw.body) =>
        {
            Outcome::Ok(read_answer(action, raw))
        }
        (STATUS_UNKNOWN, _) => Outcome::Unknown,
        (status @ (400..500 | STATUS_UNAVAILABLE | STATUS_REMOVED), _) => Outcome::Failed { status },
        _ => Outcome::Unknown,
    }
}

/// A 404 with a sentence is another 404: no such mount.
fn nothing_there(body: &Value) -> bool {
    body["errors"].as_array().is_none_or(Vec::is_empty)
}

fn read_answer(action: &Action, raw: &Raw) -> Answer {
    let data = &raw.body["data"];
    let mut answer = Answer {
        index: raw.index.as_deref().and_then(|text| text.parse().ok()),
        stale_for_ms: raw.stale_for.as_deref().and_then(milliseconds),
        ..Answer::default()
    };
    match action {
        Action::Read { key, .. } => match Place::of(key) {
            Place::Plain { .. } => answer.value = data["value"].as_u64(),
            Place::Metadata { .. } => {
                let note = data["custom_metadata"]["note"].as_str();
                answer.value = note.and_then(|note| note.parse().ok());
            }
            Place::Versioned { .. } | Place::Fleeting { .. } => {
                answer.value = data["data"]["value"].as_u64();
                answer.version = data["metadata"]["version"].as_u64();
            }
        },
        // The version is in the question.
        Action::ReadVersion { .. } => answer.value = data["data"]["value"].as_u64(),
        Action::Write { idempotency_key, .. } => {
            answer.version = data["version"].as_u64();
            // A repeat is answered with the time of the first.
            let time = data["created_time"].as_str().filter(|_| idempotency_key.is_none());
            answer.time_ms = time.and_then(milliseconds_since_epoch);
        }
        Action::Delete { .. } | Action::Undelete { .. } | Action::Destroy { .. } => {}
        Action::List { .. } => {
            let names = data["keys"].as_array().into_iter().flatten();
            answer.names = names.filter_map(Value::as_str).map(str::to_owned).collect();
        }
        Action::Access(access) => {
            answer.value = matches!(access, Access::Unwrap { .. }).then(|| data["value"].as_u64()).flatten();
        }
    }
    answer
}

fn milliseconds_since_epoch(text: &str) -> Option<u64> {
    u64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()).ok()
}

fn milliseconds(text: &str) -> Option<u64> {
    text.strip_suffix("ms")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(status: u16, body: Value) -> Raw {
        Raw { status, index: Some("7".to_owned()), stale_for: None, body }
    }

    fn write() -> Action {
        Action::Write { key: "k".to_owned(), value: 1, cas: None, idempotency_key: None }
    }

    #[test]
    fn a_refusal_is_a_failure_and_a_lost_leader_is_not() {
        for status in [400, 403, 429, 503, 530] {
            assert_eq!(answered(&write(), &raw(status, Value::Null)), Outcome::Failed { status });
        }
        for status in [500, 502, 504] {
            assert_eq!(answered(&write(), &raw(status, Value::Null)), Outcome::Unknown);
        }
    }

    #[test]
    fn a_deleted_version_is_an_answer_without_a_value() {
        let read = Action::Read {
            key: "k".to_owned(),
            freshness: conclave_oracle::history::Freshness::Linearizable,
        };
        let body = json!({"data": {"data": null, "metadata": {"version": 4}}});
        let Outcome::Ok(answer) = answered(&read, &raw(404, body)) else { panic!("an answer") };
        assert_eq!((answer.value, answer.version, answer.index), (None, Some(4), Some(7)));
        let no_mount = json!({"errors": ["no handler for route"]});
        assert_eq!(answered(&read, &raw(404, no_mount)), Outcome::Failed { status: 404 });
    }

    #[test]
    fn what_was_wrapped_is_told_to_who_unwraps_it_alone() {
        let told = |access: Access| match answered(
            &Action::Access(access),
            &raw(200, json!({"data": {"value": 7}})),
        ) {
            Outcome::Ok(answer) => answer.value,
            other => panic!("{other:?}"),
        };
        assert_eq!(told(Access::Unwrap { name: "w".to_owned() }), Some(7));
        assert_eq!(told(Access::RenewToken { token: "t".to_owned() }), None);
    }

    #[test]
    fn a_value_is_found_where_its_kind_of_secret_has_it() {
        let value = |key: &str, body: Value| {
            let freshness = conclave_oracle::history::Freshness::Linearizable;
            let read = Action::Read { key: key.to_owned(), freshness };
            match answered(&read, &raw(200, body)) {
                Outcome::Ok(answer) => (answer.value, answer.version),
                other => panic!("{other:?}"),
            }
        };
        let versioned = json!({"data": {"data": {"value": 3}, "metadata": {"version": 4}}});
        assert_eq!(value("e1/k1", versioned.clone()), (Some(3), Some(4)));
        assert_eq!(value("lasts-5000/f1", versioned), (Some(3), Some(4)));
        assert_eq!(value("plain/e1/p1", json!({"data": {"value": 3}})), (Some(3), None));
        let noted = json!({"data": {"custom_metadata": {"note": "3"}, "current_version": 9}});
        assert_eq!(value("meta/e1/k1", noted), (Some(3), None));
        assert_eq!(value("meta/e1/k1", json!({"data": {"custom_metadata": null}})), (None, None));
    }

    #[test]
    fn the_time_of_a_write_is_the_clusters_unless_it_may_be_a_repeat() {
        let body = json!({"data": {"version": 1, "created_time": "2026-11-23T05:00:00.25Z"}});
        let Outcome::Ok(answer) = answered(&write(), &raw(200, body.clone())) else { panic!("an answer") };
        assert_eq!(answer.time_ms, Some(1_795_410_000_250));
        let repeat = Action::Write {
            key: "k".to_owned(),
            value: 1,
            cas: None,
            idempotency_key: Some("once".to_owned()),
        };
        let Outcome::Ok(answer) = answered(&repeat, &raw(200, body)) else { panic!("an answer") };
        assert_eq!(answer.time_ms, None);
    }

    #[test]
    fn an_age_is_read_in_milliseconds() {
        assert_eq!(milliseconds("12ms"), Some(12));
        assert_eq!(milliseconds("12s"), None);
    }
}
