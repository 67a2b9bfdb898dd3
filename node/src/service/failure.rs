//! Every way a request can fail, and the one place where a failure becomes a status and a sentence.

use std::time::Duration;

use conclave_core::Error;
use conclave_core::auth::Work;

/// How soon a client may try again when the cluster has no leader.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Status of a node that was removed from its cluster, as Vault's clients know it.
pub const STATUS_REMOVED: u16 = 530;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// What a rule said.
    Rule(Error),
    /// No token, or one that is not valid.
    Denied,
    NoRoute {
        path: String,
    },
    /// No mount serves the path; answered as if the caller might not know.
    NoMountToSee {
        path: String,
    },
    Unsupported,
    TooLarge(String),
    UnsupportedMediaType(String),
    NotInitialized,
    AlreadyInitialized,
    Sealed,
    /// A snapshot is being put back, or that was interrupted.
    Restoring,
    /// This node is not a member any more.
    Fenced,
    /// This member lost what it had stored and waits to be taken back; the sentence says why.
    Rejoining(String),
    /// No leader was found within the time a request waits.
    NoLeader {
        waited: Duration,
    },
    /// A linearizable answer could not be proven in time.
    NoQuorum {
        waited: Duration,
    },
    /// A stale answer would be older than the caller allows.
    TooStale {
        age: Option<Duration>,
        bound: Duration,
    },
    /// The change may have been made or may still be made.
    Unknown,
    /// A rate limit refuses it.
    TooSoon {
        path: String,
        retry_after: Duration,
    },
    /// No audit device took the request's record, so nothing was done.
    Unrecorded,
    /// No audit device took the answer's record, so it is withheld.
    AnswerUnrecorded,
    /// Too much at once.
    Overloaded(String),
    /// The node is stopping.
    Stopping,
    /// Nothing is wrong: it cannot be decided before this is done. Whoever plans does it and decides again.
    Undecided(Box<Work>),
    /// The sentence is safe to show; the cause is in the log under the request's id.
    Internal(String),
}

impl Failure {
    pub fn invalid(sentence: impl Into<String>) -> Self {
        Self::Rule(Error::Invalid(sentence.into()))
    }

    /// A fault of this node, in the words of the error that tells it; those never carry a value or a key.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        Self::Internal(error.to_string())
    }

    pub fn status(&self) -> u16 {
        match self {
            Self::Rule(Error::Invalid(_)) | Self::AlreadyInitialized => 400,
            Self::Rule(Error::Denied | Error::BadToken | Error::Refused(_))
            | Self::Denied
            | Self::NoMountToSee { .. } => 403,
            Self::Rule(Error::NotFound) | Self::NoRoute { .. } => 404,
            Self::Rule(Error::Unsupported) | Self::Unsupported => 405,
            Self::Rule(Error::TooLarge(_)) | Self::TooLarge(_) => 413,
            Self::UnsupportedMediaType(_) => 415,
            Self::TooSoon { .. } | Self::Rule(Error::LeaseQuota { .. }) => 429,
            Self::Rule(Error::Corrupt(_) | Error::View(_)) | Self::Internal(_) | Self::Undecided(_) => 500,
            Self::Rule(Error::Upstream(_)) => 502,
            Self::NotInitialized
            | Self::Sealed
            | Self::NoLeader { .. }
            | Self::NoQuorum { .. }
            | Self::TooStale { .. }
            | Self::Overloaded(_)
            | Self::Restoring
            | Self::Rejoining(_)
            | Self::Unrecorded
            | Self::Stopping => 503,
            // A gateway's "I do not know what became of it": clients must not take it for a refusal.
            Self::Unknown | Self::AnswerUnrecorded => 504,
            Self::Fenced => STATUS_REMOVED,
        }
    }

    /// Which bound of the node refuses it, as metrics count it.
    pub fn bound(&self) -> Option<&'static str> {
        match self {
            Self::TooLarge(_) | Self::Rule(Error::TooLarge(_)) => Some("size"),
            Self::NoLeader { .. } | Self::NoQuorum { .. } | Self::Unknown => Some("time"),
            Self::Overloaded(_) => Some("load"),
            _ => None,
        }
    }

    /// What stands in `errors`. Nothing at a path is an empty list, as Vault answers it.
    pub fn sentences(&self) -> Vec<String> {
        let sentence = match self {
            Self::Rule(Error::NotFound) => return Vec::new(),
            Self::Rule(Error::LeaseQuota { path, .. }) => {
                format!("request path {path:?}: lease count quota exceeded")
            }
            Self::Rule(error) => error.to_string(),
            Self::Denied => "permission denied".to_owned(),
            Self::TooSoon { path, .. } => format!("request path {path:?}: rate limit quota exceeded"),
            Self::NoRoute { path } => format!("no handler for route \"{path}\". route entry not found."),
            Self::NoMountToSee { path } => format!(
                "preflight capability check returned 403, please ensure client's policies grant access to path \
                 \"{path}/\""
            ),
            Self::Unsupported => "unsupported operation".to_owned(),
            Self::Undecided(_) => "what it needs was not done".to_owned(),
            Self::TooLarge(sentence)
            | Self::UnsupportedMediaType(sentence)
            | Self::Overloaded(sentence)
            | Self::Internal(sentence) => sentence.clone(),
            Self::NotInitialized => {
                "this node has no cluster yet: run 'conclave operator init' here, or join it to a cluster with \
                 'conclave join'"
                    .to_owned()
            }
            Self::AlreadyInitialized => "Vault is already initialized".to_owned(),
            Self::Sealed => "Vault is sealed: this Conclave node needs 'conclave operator unseal'".to_owned(),
            Self::Fenced => "this node was removed from its cluster and answers no request any more: ask another \
                             node, or wipe its data directory and join it again"
                .to_owned(),
            Self::Rejoining(reason) => format!(
                "this node lost what it had stored and waits to be taken back into its cluster, ask another node: \
                 {reason}"
            ),
            Self::NoLeader { waited } => format!(
                "the cluster has no leader (waited {} ms): a majority of the nodes must be up and reachable; reads \
                 with 'X-Conclave-Consistency: stale' may still be answered",
                waited.as_millis()
            ),
            Self::NoQuorum { waited } => format!(
                "the leader could not be confirmed by a majority (waited {} ms); reads with \
                 'X-Conclave-Consistency: stale' may still be answered",
                waited.as_millis()
            ),
            Self::TooStale { age, bound } => match age {
                Some(age) => format!(
                    "this node's state may be {} ms old, more than the {} ms that X-Conclave-Max-Stale allows",
                    age.as_millis(),
                    bound.as_millis()
                ),
                None => "this node has not yet caught up with the cluster since it started: it cannot say how old \
                         its state is"
                    .to_owned(),
            },
            Self::Unknown => "the leader was lost while the change was on its way: it may or may not have been made. \
                              Read it back, or repeat changes safely with 'X-Conclave-Idempotency-Key'"
                .to_owned(),
            Self::Unrecorded => "no required audit device of this node can take a record, so nothing was done: see the \
                                 node's log, or ask another node"
                .to_owned(),
            Self::AnswerUnrecorded => "no required audit device of this node could take the record of the answer, which \
                                       is withheld: the change may have been made. See the node's log; read it back, \
                                       or repeat changes safely with 'X-Conclave-Idempotency-Key'"
                .to_owned(),
            Self::Restoring => "a snapshot is being restored: try again when that is done. If it was interrupted, run \
                                'conclave operator snapshot restore' again"
                .to_owned(),
            Self::Stopping => "this node is stopping: ask another node".to_owned(),
        };
        vec![sentence]
    }

    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::TooSoon { retry_after, .. } = self {
            // A header tells whole seconds, and a client that believes it must not come too soon again.
            return Some(Duration::from_secs(retry_after.as_secs() + 1));
        }
        (self.status() == 503 && !matches!(self, Self::Sealed | Self::NotInitialized)).then_some(RETRY_AFTER)
    }

    /// Whether the cause deserves an operator's eye.
    pub fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Internal(_) | Self::Undecided(_) | Self::Rule(Error::Corrupt(_) | Error::View(_))
        )
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rule(error @ (Error::NotFound | Error::LeaseQuota { .. })) => write!(f, "{error}"),
            // Paths are secret: the client may see its own, a log may not.
            Self::NoRoute { .. } | Self::NoMountToSee { .. } | Self::TooSoon { .. } => {
                f.write_str("no such path")
            }
            failure => f.write_str(&failure.sentences().concat()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Rule(error)
    }
}

impl From<conclave_core::view::ViewError> for Failure {
    fn from(error: conclave_core::view::ViewError) -> Self {
        Self::Rule(Error::View(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_at_a_path_is_404_with_an_empty_list() {
        let failure = Failure::from(Error::NotFound);
        assert_eq!((failure.status(), failure.sentences()), (404, vec![]));
    }

    #[test]
    fn an_unknown_fate_is_never_called_a_refusal() {
        assert_eq!(Failure::Unknown.status(), 504);
        assert!(Failure::Unknown.sentences()[0].contains("may or may not"));
    }

    #[test]
    fn waiting_for_a_leader_is_said_with_a_time_to_retry() {
        let failure = Failure::NoLeader { waited: Duration::from_secs(5) };
        assert_eq!(failure.status(), 503);
        assert_eq!(failure.retry_after(), Some(Duration::from_secs(1)));
        assert!(failure.sentences()[0].contains("5000 ms"));
    }
}
