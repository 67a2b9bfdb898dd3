//! Runs the errands of decisions: asks other servers, and keeps the documents that all logins of a mount need.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use conclave_core::errand::{Brought, Errand, Outcome, Task};
use parking_lot::Mutex;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::failure::Failure;
use crate::outbound::{ANSWER_BYTES_MAX, Outbound, OutboundError, Settings, Trust};

/// Requests to other servers that are under way at a time at most, of all, and of one server: one that hangs takes no
/// other's place.
const AT_ONCE_MAX: usize = 64;
const AT_ONCE_OF_ONE_MAX: usize = 16;
/// How long another server may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to give a document of which there is a copy that will do.
const LIMIT_BESIDE_COPY: Duration = Duration::from_secs(2);
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
const DOCUMENTS_MAX: usize = 1_024;
const CLIENTS_MAX: usize = 64;
/// Redirects that are followed for a document. Nothing secret is sent for one.
const REDIRECTS_MAX: usize = 3;

#[derive(Default)]
pub struct Messenger {
    turns: Turns,
    /// By the authorities that they trust, and whether they follow redirects.
    clients: Mutex<BTreeMap<(String, bool), Outbound>>,
    /// By URL and authorities.
    documents: Mutex<BTreeMap<(String, String), Arc<Document>>>,
}

#[derive(Default)]
struct Document {
    copies: Mutex<Copies>,
    /// Held by the one who reads it; the others find it read.
    reader: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Copies {
    kept: Option<(Instant, Arc<Outcome>)>,
    /// The last time that the server did not give it.
    failed: Option<(Instant, Arc<Outcome>)>,
    /// The last time that it was read because it lacked something.
    read_anew: Option<Instant>,
}

impl Copies {
    /// The copy that will do without asking.
    fn fresh(&self, anew: bool, now: Instant) -> Option<Arc<Outcome>> {
        let (at, kept) = self.kept.as_ref()?;
        let is_paused = self.read_anew.is_some_and(|at| is_within(at, ANEW_PAUSE, now));
        (is_within(*at, FRESH, now) && (!anew || is_paused)).then(|| Arc::clone(kept))
    }

    /// The copy that will do if its server does not answer.
    fn usable(&self, now: Instant) -> Option<Arc<Outcome>> {
        let kept = self.kept.as_ref().filter(|(at, _)| is_within(*at, USABLE, now));
        kept.map(|(_, outcome)| Arc::clone(outcome))
    }

    fn has_just_failed(&self, now: Instant) -> Option<Arc<Outcome>> {
        let failed = self.failed.as_ref().filter(|(at, _)| is_within(*at, FAILED_PAUSE, now));
        failed.map(|(_, outcome)| Arc::clone(outcome))
    }
}

fn is_within(at: Instant, period: Duration, now: Instant) -> bool {
    now.saturating_duration_since(at) < period
}

impl Messenger {
    /// Runs an errand. That the other server does not answer is an outcome too.
    ///
    /// # Errors
    /// [`Failure::Overloaded`]: too many are under way.
    pub async fn run(&self, errand: &Errand, deadline: Instant) -> Result<Arc<Outcome>, Failure> {
        let left = deadline.saturating_duration_since(Instant::now()).saturating_sub(TIME_LEFT);
        match errand.task {
            Task::Document { anew } => self.document(errand, anew, left, Instant::now()).await,
            Task::Get | Task::Post(_) => self.ask(errand, left).await.map(Arc::new),
        }
    }

    /// `left`: how long it may take.
    async fn document(
        &self,
        errand: &Errand,
        anew: bool,
        left: Duration,
        now: Instant,
    ) -> Result<Arc<Outcome>, Failure> {
        let began = Instant::now();
        let document = self.place(errand);
        let reader = {
            let copies = document.copies.lock();
            if let Some(fresh) = copies.fresh(anew, now) {
                return Ok(fresh);
            }
            let reader = document.reader.try_lock().ok();
            if reader.is_none()
                && !anew
                && let Some(usable) = copies.usable(now)
            {
                return Ok(usable);
            }
            reader
        };
        let _reader = match reader {
            Some(reader) => reader,
            None => match tokio::time::timeout(left, document.reader.lock()).await {
                Ok(reader) => reader,
                Err(_) => return Ok(document.copies.lock().usable(now).unwrap_or_else(unanswered)),
            },
        };
        let now = now + began.elapsed();
        let usable = {
            let copies = document.copies.lock();
            if let Some(fresh) = copies.fresh(anew, now) {
                return Ok(fresh);
            }
            let usable = copies.usable(now);
            if let Some(failed) = copies.has_just_failed(now) {
                return Ok(usable.unwrap_or(failed));
            }
            usable
        };
        let left = left.saturating_sub(began.elapsed());
        let limit = if usable.is_some() { left.min(LIMIT_BESIDE_COPY) } else { left };
        let asked = Instant::now();
        let outcome = match (self.ask(errand, limit).await, usable.as_ref()) {
            (Ok(outcome), _) => Arc::new(outcome),
            (Err(_), Some(usable)) => return Ok(Arc::clone(usable)),
            (Err(overloaded), None) => return Err(overloaded),
        };
        // As of when it was answered, so that those who have waited meanwhile do not ask again at once.
        let now = now + asked.elapsed();
        let mut copies = document.copies.lock();
        // The first copy lacks nothing yet.
        if anew && copies.kept.is_some() {
            copies.read_anew = Some(now);
        }
        if outcome.as_ref().as_ref().is_ok_and(Brought::is_success) {
            copies.kept = Some((now, Arc::clone(&outcome)));
            copies.failed = None;
            return Ok(outcome);
        }
        copies.failed = Some((now, Arc::clone(&outcome)));
        Ok(usable.unwrap_or(outcome))
    }

    fn place(&self, errand: &Errand) -> Arc<Document> {
        let mut documents = self.documents.lock();
        let key = (errand.url.clone(), errand.authorities.clone());
        if documents.len() >= DOCUMENTS_MAX && !documents.contains_key(&key) {
            let read_at = |document: &Document| document.copies.lock().kept.as_ref().map(|(at, _)| *at);
            let oldest = documents.iter().min_by_key(|(_, document)| read_at(document));
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                documents.remove(&oldest);
            }
        }
        Arc::clone(documents.entry(key).or_default())
    }

    async fn ask(&self, errand: &Errand, limit: Duration) -> Result<Outcome, Failure> {
        let overloaded = || {
            Failure::Overloaded("too many other servers are being asked: try again in a moment".to_owned())
        };
        let _turn = self.turns.take(&errand.url).ok_or_else(overloaded)?;
        Ok(match tokio::time::timeout(limit, self.send(errand)).await {
            Ok(answered) => answered.map_err(|error| error.to_string()),
            Err(_) => Err(UNANSWERED.to_owned()),
        })
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

/// What is said of a server that took too long.
const UNANSWERED: &str = "the server did not answer in time";

fn unanswered() -> Arc<Outcome> {
    Arc::new(Err(UNANSWERED.to_owned()))
}

/// How many requests are under way, by server.
#[derive(Default)]
struct Turns(Mutex<BTreeMap<String, usize>>);

struct Turn<'t> {
    turns: &'t Turns,
    server: String,
}

impl Turns {
    fn take(&self, url: &str) -> Option<Turn<'_>> {
        let server = server_of(url);
        let mut taken = self.0.lock();
        let of_one = taken.get(server).copied().unwrap_or(0);
        if of_one >= AT_ONCE_OF_ONE_MAX || taken.values().sum::<usize>() >= AT_ONCE_MAX {
            return None;
        }
        taken.insert(server.to_owned(), of_one + 1);
        Some(Turn { turns: self, server: server.to_owned() })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut taken = self.turns.0.lock();
        match taken.get_mut(&self.server) {
            Some(of_one) if *of_one > 1 => *of_one -= 1,
            _ => drop(taken.remove(&self.server)),
        }
    }
}

/// A URL as far as its path.
fn server_of(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let path = url[host..].find(['/', '?', '#']);
    path.map_or(url, |path| &url[..host + path])
}

#[cfg(test)]
mod tests;
