//! What clients asked and were told: the only evidence that a run is judged by.
//!
//! A history is a list of operations in any order, kept as one JSON object a line. Times are microseconds of the
//! harness's own monotonic clock since the run began, taken before a request was sent and after its answer was read. An
//! operation without a certain answer stays unknown for ever: it may take effect at any time after it was asked, or never.

use serde::{Deserialize, Serialize};

use crate::access::Access;

/// One request of one client to one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Who asked. A client asks one thing at a time.
    pub client: u32,
    /// Whom: the node's number.
    pub node: u32,
    pub invoked_us: u64,
    /// When the answer was there. For an unknown outcome: when the client gave up waiting.
    pub returned_us: u64,
    pub action: Action,
    pub outcome: Outcome,
}

/// What was asked. Keys are names within the run; every value that is written is written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Read {
        key: String,
        freshness: Freshness,
    },
    Write {
        key: String,
        value: u64,
        /// KV v2's check-and-set: the version that must be the current one, 0 for none.
        cas: Option<u64>,
        /// The same for each repeat of one write, which must take effect at most once.
        idempotency_key: Option<String>,
    },
    /// Of the newest version (KV v2), or of the secret (KV v1).
    Delete {
        key: String,
    },
    /// Of one version (KV v2): a soft delete of it is taken back.
    Undelete {
        key: String,
        version: u64,
    },
    /// For good: the data of one version (KV v2).
    Destroy {
        key: String,
        version: u64,
    },
    /// Of one version (KV v2), the newest or not. The version stands here, not in the answer.
    ReadVersion {
        key: String,
        version: u64,
    },
    /// The names below a folder.
    List {
        folder: String,
    },
    /// Of who may do what; there is no register for it.
    Access(Access),
}

impl Action {
    /// The register that is asked for or changed; a list has none, nor has what is asked about rights.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Read { key, .. }
            | Self::Write { key, .. }
            | Self::Delete { key }
            | Self::Undelete { key, .. }
            | Self::Destroy { key, .. }
            | Self::ReadVersion { key, .. } => Some(key),
            Self::List { .. } | Self::Access(_) => None,
        }
    }
}

/// How new an answer had to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    Linearizable,
    Stale { bound_ms: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done, and this was the answer.
    Ok(Answer),
    /// It was certainly not done: the server said so, or was never reached.
    Failed { status: u16 },
    /// It may have been done.
    Unknown,
}

/// What the answer said, as far as a checker needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Of a read, or of what was wrapped: the value, `None` if there was none.
    pub value: Option<u64>,
    /// Of a KV v2 read or write: the version.
    pub version: Option<u64>,
    /// `X-Conclave-Index`.
    pub index: Option<u64>,
    /// Of a stale read: how old the node said that its answer may be.
    pub stale_for_ms: Option<u64>,
    /// Of a list.
    pub names: Vec<String>,
    /// Of a KV v2 write that cannot be a repeat: the cluster's time at it, Unix milliseconds.
    #[serde(default)]
    pub time_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_one_line_of_json_and_comes_back() {
        let operation = Operation {
            client: 3,
            node: 1,
            invoked_us: 10,
            returned_us: 20,
            action: Action::Write {
                key: "a".to_owned(),
                value: 7,
                cas: Some(0),
                idempotency_key: Some("k".to_owned()),
            },
            outcome: Outcome::Ok(Answer { version: Some(1), index: Some(9), ..Answer::default() }),
        };
        let line = serde_json::to_string(&operation).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Operation>(&line).unwrap(), operation);
    }

    #[test]
    fn what_is_asked_about_rights_has_the_same_form() {
        let line = concat!(
            r#"{"client":1,"node":0,"invoked_us":1,"returned_us":2,"#,
            r#""action":{"access":{"use_token":{"token":"t1","what":"secret"}}},"outcome":{"failed":{"status":403}}}"#,
        );
        let operation: Operation = serde_json::from_str(line).unwrap();
        assert_eq!(operation.outcome, Outcome::Failed { status: 403 });
        assert!(matches!(operation.action, Action::Access(Access::UseToken { .. })));
        assert_eq!(serde_json::to_string(&operation).unwrap(), line);
    }
}
