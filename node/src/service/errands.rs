//! Asking other servers what decisions must know of them, a few at a time: strangers can make a node ask.

use std::sync::OnceLock;
use std::time::Duration;

use conclave_core::errand::{Brought, Errand, Outcome, Task};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::outbound::{ANSWER_BYTES_MAX, Outbound, OutboundError, Settings, Trust};

/// Servers that are asked at a time at most.
const AT_ONCE_MAX: usize = 32;
/// Requests that wait for their turn at most.
const WAITING_MAX: usize = 256;
/// How long a server may take.
const LIMIT: Duration = Duration::from_secs(5);
/// What is left of a request's time when the server has taken all that it may: the answer is also to be decided on and
/// committed.
const TIME_LEFT: Duration = Duration::from_secs(2);

/// The errands of one node.
pub struct Errands {
    asking: Semaphore,
    waiting: Semaphore,
    /// By whomever the system trusts. Made when it is first needed: reading whom that is takes a while.
    secret: OnceLock<Result<Outbound, OutboundError>>,
    /// To this machine alone, as core sees to it.
    clear: OnceLock<Result<Outbound, OutboundError>>,
}

impl Default for Errands {
    fn default() -> Self {
        Self {
            asking: Semaphore::new(AT_ONCE_MAX),
            waiting: Semaphore::new(AT_ONCE_MAX + WAITING_MAX),
            secret: OnceLock::new(),
            clear: OnceLock::new(),
        }
    }
}

impl Errands {
    /// Asks, when it is its turn. That there was no answer is an outcome, too.
    ///
    /// # Errors
    /// [`Failure::Overloaded`]: too much is waiting.
    pub async fn run(&self, errand: &Errand, deadline: Instant) -> Result<Outcome, Failure> {
        let overloaded = || {
            Failure::Overloaded("too many logins wait for other servers: try again in a moment".to_owned())
        };
        let _place = self.waiting.try_acquire().map_err(|_| overloaded())?;
        let turn = tokio::time::timeout_at(deadline - TIME_LEFT, self.asking.acquire()).await;
        let _turn = turn.map_err(|_| overloaded())?.map_err(|_| Failure::Stopping)?;
        let asked = tokio::time::timeout_at(deadline - TIME_LEFT, self.ask(errand)).await;
        Ok(match asked {
            Ok(outcome) => outcome,
            Err(_) => Err("the server did not answer: it took too long".to_owned()),
        })
    }

    async fn ask(&self, errand: &Errand) -> Outcome {
        let (method, body) = match &errand.task {
            Task::Document { .. } | Task::Get => (Method::GET, Vec::new()),
            Task::Post(body) => (Method::POST, body.to_vec()),
        };
        let headers = headers_of(errand).ok_or("a header cannot be sent")?;
        let outbound = self.outbound(errand).map_err(|error| error.to_string())?;
        let answered = outbound.ask(method, &errand.url, headers, body, ANSWER_BYTES_MAX).await;
        let answered = answered.map_err(|error| error.to_string())?;
        let content_type = answered.header("content-type").unwrap_or_default().to_owned();
        Ok(Brought { status: answered.status, content_type, body: Zeroizing::new(answered.body) })
    }

    fn outbound(&self, errand: &Errand) -> Result<Outbound, OutboundError> {
        let make = |trust| Outbound::new(&Settings { trust, limit: LIMIT, redirects_max: 0 });
        if !errand.authorities.is_empty() {
            return make(Trust::Authorities(errand.authorities.as_bytes()));
        }
        let (kept, trust) = match errand.url.starts_with("https:") {
            true => (&self.secret, Trust::System),
            false => (&self.clear, Trust::Nobody),
        };
        kept.get_or_init(|| make(trust)).clone()
    }
}

fn headers_of(errand: &Errand) -> Option<HeaderMap> {
    let pair = |(name, value): &(String, Zeroizing<String>)| {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
    };
    errand.headers.iter().map(pair).collect()
}
