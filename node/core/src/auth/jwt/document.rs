//! Documents that a signer publishes: read by the server, and the same for all logins until they are out of date.

use serde_json::{Map, Value};

use crate::auth::jose::{KeySet, json};
use crate::errand::{Errand, Errands, Halt, Outcome};
use crate::error::Error;

/// Where a signer says what it is (OpenID Connect Discovery 1.0).
pub const WELL_KNOWN: &str = ".well-known/openid-configuration";

/// Why a document is of no use; the sentence repeats nothing of it.
pub enum Unread {
    Halt(Halt),
    Bad(String),
}

impl From<Halt> for Unread {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

impl Unread {
    /// As the refusal of a request, behind `before`.
    pub fn refuse(self, before: &str) -> Halt {
        match self {
            Self::Halt(halt) => halt,
            Self::Bad(sentence) => Error::invalid(format!("{before}{sentence}")).into(),
        }
    }
}

/// How documents are read for one decision.
#[derive(Clone, Copy)]
pub struct Library<'a> {
    pub errands: &'a Errands,
    /// Trusted authorities, as PEM.
    pub authorities: &'a str,
    /// What was read before does not do.
    pub anew: bool,
}

impl Library<'_> {
    fn read(&self, url: &str) -> Result<&[u8], Unread> {
        body(self.errands.outcome(Errand::document(url, self.authorities, self.anew))?)
    }

    /// What cannot be parsed is read once more: for a moment something else may have stood there, such as a page that says that
    /// the service is being maintained.
    fn parsed<T>(&self, url: &str, parse: impl Fn(&[u8]) -> Result<T, String>) -> Result<T, Unread> {
        match parse(self.read(url)?) {
            Err(_) if !self.anew => {
                let again = Self { anew: true, ..*self };
                parse(again.read(url)?).map_err(Unread::Bad)
            }
            parsed => parsed.map_err(Unread::Bad),
        }
    }

    pub fn object(&self, url: &str) -> Result<Map<String, Value>, Unread> {
        self.parsed(url, |body| json::object(body).ok_or_else(|| "the answer is malformed".to_owned()))
    }

    pub fn keys(&self, url: &str) -> Result<KeySet, Unread> {
        self.parsed(url, |body| KeySet::published(body).map_err(str::to_owned))
    }
}

/// What was brought, if it is what was asked for.
pub fn body(outcome: &Outcome) -> Result<&[u8], Unread> {
    match outcome {
        Ok(brought) if brought.is_success() => Ok(&brought.body),
        Ok(brought) => Err(Unread::Bad(format!("the server answered with status {}", brought.status))),
        Err(sentence) => Err(Unread::Bad(sentence.clone())),
    }
}
