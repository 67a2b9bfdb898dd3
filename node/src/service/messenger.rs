//! Runs the errands of decisions: asks other servers, and keeps the documents that all logins of a mount need.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use conclave_core::errand::{Brought, Errand, Outcome, Task};
use parking_lot::Mutex;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::failure::Failure;
use crate::outbound::{ANSWER_BYTES_MAX, Outbound, OutboundError, Settings, Trust};

/// Other servers that are asked at a time at most.
const AT_ONCE_MAX: usize = 64;
/// How long another server may take.
const LIMIT: Duration = Duration::from_secs(10);
/// What is left of a request's time when another server has taken all that it may: it is also to be decided and committed.
const TIME_LEFT: Duration = Duration::from_secs(1);
/// How long a document is not read again.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// How long a document is used whose server does not answer any more. Then a key that was taken out of it counts no more.
const USABLE: Duration = Duration::from_secs(60 * 60);
/// How soon a document is read again because it lacks something: whoever makes up ids of keys makes nobody read it more often.
const ANEW_PAUSE: Duration = Duration::from_secs(10);
/// How soon a server is asked again that did not answer: those who wait for the same need not wait in turn.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// Documents that are kept at most, and sets of connections.
const DOCUMENTS_MAX: usize = 128;
const CLIENTS_MAX: usize = 64;
/// Redirects that are followed for a document. Nothing secret is sent for one.
const REDIRECTS_MAX: usize = 3;

pub struct Messenger {
    turns: Semaphore,
    /// By the authorities that they trust, and whether they follow redirects.
    clients: Mutex<BTreeMap<(String, bool), Outbound>>,
    /// By URL and authorities.
    documents: Mutex<BTreeMap<(String, String), Arc<Document>>>,
}

/// One who reads it at a time; the others find it read.
type Document = tokio::sync::Mutex<Copies>;

#[derive(Default)]
struct Copies {
    kept: Option<(Instant, Arc<Outcome>)>,
    /// The last time that the server did not give it.
    failed: Option<(Instant, Arc<Outcome>)>,
    /// The last time that it was read because it lacked something.
    read_anew: Option<Instant>,
}

impl Default for Messenger {
    fn default() -> Self {
        Self { turns: Semaphore::new(AT_ONCE_MAX), clients: Mutex::default(), documents: Mutex::default() }
    }
}

impl Messenger {
    /// Runs an errand. That the other server does not answer is an outcome too.
    ///
    /// # Errors
    /// [`Failure::Overloaded`]: too many are under way.
    pub async fn run(&self, errand: &Errand, deadline: Instant) -> Result<Arc<Outcome>, Failure> {
        self.run_at(errand, deadline, Instant::now()).await
    }

    async fn run_at(
        &self,
        errand: &Errand,
        deadline: Instant,
        now: Instant,
    ) -> Result<Arc<Outcome>, Failure> {
        let deadline = deadline.checked_sub(TIME_LEFT).unwrap_or(deadline);
        let run = async {
            match errand.task {
                Task::Document { anew } => self.document(errand, anew, now).await,
                Task::Get | Task::Post(_) => self.ask(errand).await.map(Arc::new),
            }
        };
        match tokio::time::timeout_at(deadline, run).await {
            Ok(outcome) => outcome,
            Err(_) => Ok(Arc::new(Err("the server did not answer in time".to_owned()))),
        }
    }

    async fn document(&self, errand: &Errand, anew: bool, now: Instant) -> Result<Arc<Outcome>, Failure> {
        let place = self.place(errand);
        let mut copies = place.lock().await;
        if let Some((at, kept)) = &copies.kept {
            let is_paused = copies.read_anew.is_some_and(|at| now.duration_since(at) < ANEW_PAUSE);
            if now.duration_since(*at) < FRESH && (!anew || is_paused) {
                return Ok(Arc::clone(kept));
            }
        }
        if anew {
            copies.read_anew = Some(now);
        }
        let has_just_failed =
            copies.failed.as_ref().is_some_and(|(at, _)| now.duration_since(*at) < FAILED_PAUSE);
        if !has_just_failed {
            let outcome = Arc::new(self.ask(errand).await?);
            if outcome.as_ref().as_ref().is_ok_and(Brought::is_success) {
                copies.kept = Some((now, Arc::clone(&outcome)));
                copies.failed = None;
                return Ok(outcome);
            }
            copies.failed = Some((now, outcome));
        }
        let kept = copies.kept.as_ref().filter(|(at, _)| now.duration_since(*at) < USABLE);
        let found = kept.or(copies.failed.as_ref()).map(|(_, outcome)| Arc::clone(outcome));
        found.ok_or_else(|| Failure::internal("a document was neither read nor refused"))
    }

    fn place(&self, errand: &Errand) -> Arc<Document> {
        let mut documents = self.documents.lock();
        let key = (errand.url.clone(), errand.authorities.clone());
        if documents.len() >= DOCUMENTS_MAX && !documents.contains_key(&key) {
            // There are as many as there are mounts: more of them are of mounts that are no more.
            documents.clear();
        }
        Arc::clone(documents.entry(key).or_default())
    }

    async fn ask(&self, errand: &Errand) -> Result<Outcome, Failure> {
        let overloaded = || {
            Failure::Overloaded("too many other servers are being asked: try again in a moment".to_owned())
        };
        let _turn = self.turns.try_acquire().map_err(|_| overloaded())?;
        Ok(self.send(errand).await.map_err(|error| error.to_string()))
    }

    async fn send(&self, errand: &Errand) -> Result<Brought, OutboundError> {
        let unusable = || OutboundError::Setup("a header cannot be sent".to_owned());
        let mut headers = HeaderMap::new();
        for (name, value) in &errand.headers {
            let name = HeaderName::try_from(name.as_str()).map_err(|_| unusable())?;
            let mut value = HeaderValue::try_from(value.as_str()).map_err(|_| unusable())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let (method, body) = match &errand.task {
            Task::Document { .. } | Task::Get => (Method::GET, Vec::new()),
            Task::Post(body) => (Method::POST, body.to_vec()),
        };
        let client = self.client(errand)?;
        let answered = client.ask(method, &errand.url, headers, body, ANSWER_BYTES_MAX).await?;
        let content_type = answered.header("content-type").unwrap_or_default().to_owned();
        Ok(Brought { status: answered.status, content_type, body: answered.body.into() })
    }

    fn client(&self, errand: &Errand) -> Result<Outbound, OutboundError> {
        let follows = matches!(errand.task, Task::Document { .. });
        let key = (errand.authorities.clone(), follows);
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let trust = match errand.authorities.as_str() {
            "" if errand.url.starts_with("http://") => Trust::Nobody,
            "" => Trust::System,
            pem => Trust::Authorities(pem.as_bytes()),
        };
        let redirects_max = if follows { REDIRECTS_MAX } else { 0 };
        let client = Outbound::new(&Settings { trust, limit: LIMIT, redirects_max })?;
        if trust != Trust::Nobody {
            if clients.len() >= CLIENTS_MAX {
                clients.clear();
            }
            clients.insert(key, client.clone());
        }
        Ok(client)
    }
}

#[cfg(test)]
mod tests;
