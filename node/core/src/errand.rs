//! What a decision must ask of a server that is none of the cluster.
//!
//! ```text
//! decide -> Halt::Errand -> the server runs it (outbound.rs) -> decide again, with its outcome
//! ```
//!
//! So a decision stays one computation on its arguments, however often it is made.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::error::Error;

/// Errands of one request at most.
pub const ERRANDS_MAX: usize = 8;

/// A request to another server. What it says may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Errand {
    pub url: String,
    /// By whom the server's certificate must be signed (PEM); empty: by whomever the node's system trusts.
    pub authorities: String,
    /// Names in lower case.
    pub headers: Vec<(String, Zeroizing<String>)>,
    pub task: Task,
}

#[derive(Clone, PartialEq, Eq)]
pub enum Task {
    /// Reads what is the same for all who ask, and seldom changes: it may have been read for another request before.
    Document {
        /// What was read before does not do. How often that is believed is the server's matter.
        anew: bool,
    },
    /// Reads it for this request.
    Get,
    Post(Zeroizing<Vec<u8>>),
}

/// What the other server answered.
#[derive(Clone)]
pub struct Brought {
    pub status: u16,
    /// Empty: it does not say.
    pub content_type: String,
    pub body: Zeroizing<Vec<u8>>,
}

impl Brought {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// What came of an errand; a sentence, if there was no answer.
pub type Outcome = Result<Brought, String>;

/// What came of the errands of one request.
#[derive(Clone, Default)]
pub struct Errands(Vec<(Arc<Errand>, Arc<Outcome>)>);

/// Why a decision has no result yet, or never will have one.
#[derive(Debug)]
pub enum Halt {
    /// It cannot be decided before this is done.
    Errand(Errand),
    Refused(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl Errands {
    /// What came of this errand.
    ///
    /// # Errors
    /// [`Halt::Errand`]: it was not run yet.
    pub fn outcome(&self, errand: Errand) -> Result<&Outcome, Halt> {
        let done = self.0.iter().find(|(known, _)| **known == errand);
        done.map(|(_, outcome)| &**outcome).ok_or(Halt::Errand(errand))
    }

    pub fn has_room(&self) -> bool {
        self.0.len() < ERRANDS_MAX
    }

    /// Whether there is one that must not be run again for the same request.
    pub fn has_private(&self) -> bool {
        self.0.iter().any(|(errand, _)| errand.is_private())
    }

    pub fn add(&mut self, errand: Errand, outcome: Arc<Outcome>) {
        self.0.push((Arc::new(errand), outcome));
    }
}

impl Errand {
    /// It is asked for one request alone: what it tells may be that request's secret, and it may have an effect there.
    pub fn is_private(&self) -> bool {
        !matches!(self.task, Task::Document { .. })
    }

    /// A document that everybody may read.
    pub fn document(url: &str, authorities: &str, anew: bool) -> Self {
        Self {
            url: url.to_owned(),
            authorities: authorities.to_owned(),
            headers: Vec::new(),
            task: Task::Document { anew },
        }
    }
}

/// Its URL may hold a password.
impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Errand")
    }
}

impl fmt::Debug for Brought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Brought")
    }
}
