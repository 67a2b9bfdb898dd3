//! Sends requests to a cluster: any node will do, and what may be repeated is repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use conclave_proto::wire::{HEADER_IDEMPOTENCY_KEY, HEADER_WRAP_TTL, IDEMPOTENCY_KEY_BYTES_MAX};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::time::Instant;

use crate::address::{Address, EncodedPath};
use crate::answer::Answer;
use crate::attempt::{Attempt, Failure};
use crate::builder::Builder;
use crate::environment::Environment;
use crate::error::{Error, NodeFailure};
use crate::request::{Method, Repeat, Request};
use crate::retry::{self, Outcome, Verdict};

/// How long one node may take over a request that another node can answer instead.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to a cluster. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) headers: HeaderMap,
    pub(crate) addresses: Arc<[Address]>,
    /// The node that answered last.
    pub(crate) preferred: Arc<AtomicUsize>,
    pub(crate) timeout: Duration,
    pub(crate) idempotency: bool,
    pub(crate) rounds_max: usize,
}

/// A request made ready for sending, as often as need be.
struct Prepared {
    method: Method,
    path: EncodedPath,
    query: Vec<(String, String)>,
    body: Option<Bytes>,
    any_status: bool,
    unwrapped: bool,
    idempotency_key: Option<String>,
}

impl Client {
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// A client as the environment describes it: `CONCLAVE_ADDR`, `CONCLAVE_TOKEN`, `CONCLAVE_CACERT` and
    /// `CONCLAVE_SKIP_VERIFY`, each also with `VAULT_` or `BAO_` in front.
    ///
    /// # Errors
    /// [`Error::Configuration`] when a variable cannot be used.
    pub fn from_environment() -> Result<Self, Error> {
        Self::builder().environment(Environment::read()?).build()
    }

    /// The addresses of the nodes, in the order they were given.
    pub fn addresses(&self) -> Vec<&str> {
        self.addresses.iter().map(Address::as_str).collect()
    }

    /// This client with the first node only, for what concerns that one node: unseal it, let it join or leave.
    #[must_use]
    pub fn first_node(&self) -> Self {
        Self {
            addresses: self.addresses[..1].into(),
            preferred: Arc::new(AtomicUsize::new(0)),
            ..self.clone()
        }
    }

    /// Sends a request to any node, and again within bounds where that is safe.
    ///
    /// # Errors
    /// [`Error::Refused`] when a node said no, [`Error::Unreachable`] when none answered and nothing was changed,
    /// [`Error::Unknown`] when a change may or may not have been made.
    pub async fn send(&self, request: Request) -> Result<Answer, Error> {
        let request = self.prepare(request)?;
        let repeatable = !request.method.changes() || request.idempotency_key.is_some();
        let deadline = Instant::now() + self.timeout;
        let mut history = History::default();
        let mut waits = retry::waits(self.rounds_max);
        let mut sealed = vec![false; self.addresses.len()];
        let preferred = self.preferred.load(Ordering::Relaxed);
        loop {
            let mut again: Option<Duration> = None;
            for step in 0..self.addresses.len() {
                let node = (preferred + step) % self.addresses.len();
                let left = deadline.saturating_duration_since(Instant::now());
                if sealed[node] || left.is_zero() {
                    continue;
                }
                let failure = match self.attempt(node, &request, repeatable, left).await {
                    Ok(answer) => {
                        self.preferred.store(node, Ordering::Relaxed);
                        return Ok(answer);
                    }
                    Err(failure) => failure,
                };
                match retry::judge(&failure.outcome, repeatable) {
                    Verdict::Final => return Err(history.conclude_with(failure)),
                    Verdict::OtherNodes => sealed[node] = true,
                    Verdict::Again { after } => again = Some(again.map_or(after, |other| other.min(after))),
                }
                history.add(failure);
            }
            let Some((after, backoff)) = again.zip(waits.next()) else { return Err(history.conclude()) };
            let wait = after.max(backoff);
            if Instant::now() + wait >= deadline {
                return Err(history.conclude());
            }
            tokio::time::sleep(wait).await;
        }
    }

    fn prepare(&self, request: Request) -> Result<Prepared, Error> {
        let idempotency_key = match request.repeat {
            Repeat::WithKey(key) => Some(key),
            Repeat::WithNewKey if self.idempotency && request.method.changes() => {
                Some(uuid::Uuid::new_v4().to_string())
            }
            Repeat::WithNewKey | Repeat::Never => None,
        };
        if let Some(key) = &idempotency_key {
            let good = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len())
                && key.bytes().all(|b| b.is_ascii_graphic());
            if !good {
                return Err(Error::Configuration(format!(
                    "an idempotency key must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} ASCII characters without spaces"
                )));
            }
        }
        Ok(Prepared {
            method: request.method,
            path: EncodedPath::parse(&request.path)?,
            query: request.query,
            body: request.body.map(|body| body.to_string().into()),
            any_status: request.any_status,
            unwrapped: request.unwrapped,
            idempotency_key,
        })
    }

    async fn attempt(
        &self,
        node: usize,
        request: &Prepared,
        repeatable: bool,
        left: Duration,
    ) -> Result<Answer, Failure> {
        let address = &self.addresses[node];
        let others = repeatable && self.addresses.len() > 1;
        let attempt = Attempt {
            address: address.as_str(),
            changes: request.method.changes(),
            any_status: request.any_status,
            idempotency_key: request.idempotency_key.as_deref(),
            timeout: if others { left.min(ATTEMPT_TIMEOUT) } else { left },
        };
        let mut headers = self.headers.clone();
        if request.unwrapped {
            headers.remove(HEADER_WRAP_TTL);
        }
        let mut http = self
            .http
            .request(request.method.http(), address.endpoint(&request.path, &request.query))
            .headers(headers);
        if let Some(key) = &request.idempotency_key {
            http = http.header(HEADER_IDEMPOTENCY_KEY, key);
        }
        if let Some(body) = &request.body {
            http = http.header(CONTENT_TYPE, content_type(request.method)).body(body.clone());
        }
        attempt.run(http).await
    }
}

fn content_type(method: Method) -> HeaderValue {
    HeaderValue::from_static(match method {
        Method::Patch => "application/merge-patch+json",
        _ => "application/json",
    })
}

/// The addresses only: headers hold the token.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

/// The failures of one request so far, and what they amount to.
#[derive(Default)]
struct History {
    unreachable: Vec<NodeFailure>,
    refused: Option<Error>,
    unknown: Option<Error>,
}

impl History {
    fn add(&mut self, failure: Failure) {
        let lost = matches!(failure.outcome, Outcome::Lost);
        match failure.error {
            Error::Unreachable { failures } => {
                for failure in failures {
                    self.unreachable.retain(|known| known.address != failure.address);
                    self.unreachable.push(failure);
                }
            }
            error if lost => self.unknown = Some(error),
            error => self.refused = Some(error),
        }
    }

    /// A final no says what became of the change, unless it too is uncertain.
    fn conclude_with(mut self, failure: Failure) -> Error {
        match failure.outcome {
            Outcome::Status { .. } => failure.error,
            Outcome::Lost | Outcome::NotSent => {
                self.add(failure);
                self.conclude()
            }
        }
    }

    /// The worst that may have happened goes first: a change that may have been made must not be reported as refused.
    fn conclude(self) -> Error {
        match (self.unknown, self.refused) {
            (Some(unknown), _) => unknown,
            (None, Some(refused)) => refused,
            (None, None) => Error::Unreachable { failures: self.unreachable },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Reply, Server};

    const PATH: &str = "secret/data/canary-path";

    fn client(servers: &[&Server]) -> Client {
        Client::builder()
            .addresses(servers.iter().map(|server| server.address()))
            .token("s.token")
            .build()
            .unwrap()
    }

    fn write() -> Request {
        Request::put(PATH, json!({"data": {"a": "b"}}))
    }

    #[tokio::test]
    async fn a_read_carries_the_token_and_brings_the_data() {
        let server =
            Server::start([Reply::json(200, r#"{"request_id":"r","data":{"n":1.50},"warnings":["w"]}"#)])
                .await;
        let answer = client(&[&server]).send(Request::get(PATH)).await.unwrap();
        assert_eq!(answer.data()["n"].to_string(), "1.50");
        assert_eq!(answer.warnings(), ["w"]);
        let seen = server.seen();
        assert_eq!(seen[0].line, format!("GET /v1/{PATH} HTTP/1.1"));
        assert_eq!(seen[0].header("x-vault-token").as_deref(), Some("s.token"));
        assert_eq!(seen[0].header("x-vault-request").as_deref(), Some("true"));
        assert_eq!(seen[0].header(HEADER_IDEMPOTENCY_KEY), None);
    }

    #[tokio::test]
    async fn a_repeated_write_carries_the_same_key() {
        let server = Server::start([
            Reply::json(503, r#"{"errors":["no leader"]}"#).retry_after(0),
            Reply::Drop,
            Reply::json(200, "{}"),
        ])
        .await;
        client(&[&server]).send(write()).await.unwrap();
        let keys: Vec<_> =
            server.seen().iter().map(|seen| seen.header(HEADER_IDEMPOTENCY_KEY).unwrap()).collect();
        assert_eq!(keys.len(), 3);
        assert!(keys.iter().all(|key| *key == keys[0] && !key.is_empty()));
        assert_eq!(server.seen()[2].body, r#"{"data":{"a":"b"}}"#);
    }

    #[tokio::test]
    async fn a_write_without_a_key_is_not_repeated_once_it_was_sent() {
        let server = Server::start([Reply::Drop, Reply::json(200, "{}")]).await;
        let error = client(&[&server]).send(write().once()).await.unwrap_err();
        assert!(matches!(error, Error::Unknown { idempotency_key: None, .. }));
        assert!(error.may_have_been_done());
        assert_eq!(server.seen().len(), 1);
    }

    #[tokio::test]
    async fn a_read_that_lost_its_answer_is_repeated() {
        let server = Server::start([Reply::Drop, Reply::json(200, r#"{"data":{}}"#)]).await;
        client(&[&server]).send(Request::get(PATH)).await.unwrap();
        assert_eq!(server.seen().len(), 2);
    }

    #[tokio::test]
    async fn the_next_node_is_used_when_one_is_down_and_then_stays_preferred() {
        let down = Server::start([]).await;
        let address = down.address();
        down.stop().await;
        let up = Server::start([Reply::json(200, "{}"), Reply::json(200, "{}")]).await;
        let client = Client::builder().address(address).address(up.address()).build().unwrap();
        client.send(write().once()).await.unwrap();
        client.send(write()).await.unwrap();
        assert_eq!(up.seen().len(), 2);
        assert_eq!(client.preferred.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_sealed_node_sends_the_client_to_the_next_and_is_not_asked_again() {
        let sealed = Server::start([Reply::json(503, r#"{"errors":["Vault is sealed"]}"#)]).await;
        let busy = Server::start([Reply::json(503, "").retry_after(0), Reply::json(204, "")]).await;
        client(&[&sealed, &busy]).send(write()).await.unwrap();
        assert_eq!(sealed.seen().len(), 1);
        assert_eq!(busy.seen().len(), 2);
    }

    #[tokio::test]
    async fn a_refusal_brings_the_servers_sentences_and_is_final() {
        let first = Server::start([Reply::json(403, r#"{"errors":["permission denied"]}"#)]).await;
        let second = Server::start([]).await;
        let error = client(&[&first, &second]).send(write()).await.unwrap_err();
        assert_eq!(error.status(), Some(403));
        assert_eq!(error.to_string(), "permission denied");
        assert!(!error.may_have_been_done());
        assert_eq!(second.seen().len(), 0);
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let other = Server::start([Reply::json(200, "{}")]).await;
        let server = Server::start([Reply::json(307, "").location(&other.address())]).await;
        assert_eq!(client(&[&server]).send(Request::get(PATH)).await.unwrap_err().status(), Some(307));
        assert_eq!(other.seen().len(), 0);
    }

    #[tokio::test]
    async fn repeats_are_bounded_in_number_and_in_time() {
        let busy = || Reply::json(503, "").retry_after(0);
        let server = Server::start((0..9).map(|_| busy())).await;
        let client = Client::builder().address(server.address()).rounds_max(3).build().unwrap();
        assert_eq!(client.send(Request::get(PATH)).await.unwrap_err().status(), Some(503));
        assert_eq!(server.seen().len(), 3);

        let server = Server::start([Reply::json(503, "").retry_after(2), busy()]).await;
        let client =
            Client::builder().address(server.address()).timeout(Duration::from_millis(500)).build().unwrap();
        let start = Instant::now();
        assert_eq!(client.send(Request::get(PATH)).await.unwrap_err().status(), Some(503));
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_node_that_hangs_is_given_up_in_time() {
        let server = Server::start([Reply::Hang]).await;
        let client =
            Client::builder().address(server.address()).timeout(Duration::from_millis(200)).build().unwrap();
        let error = client.send(write()).await.unwrap_err();
        assert!(matches!(error, Error::Unknown { idempotency_key: Some(_), .. }), "{error}");
        assert!(error.to_string().contains("took too long"));
    }

    #[tokio::test]
    async fn any_status_can_be_an_answer() {
        let server = Server::start([Reply::json(503, r#"{"sealed":true}"#)]).await;
        let answer = client(&[&server]).send(Request::get("sys/health").any_status()).await.unwrap();
        assert_eq!((answer.status(), &answer.data()["sealed"]), (503, &json!(true)));
    }

    #[tokio::test]
    async fn no_error_shows_path_or_token() {
        let gone = Server::start([]).await;
        let address = gone.address();
        gone.stop().await;
        let server =
            Server::start([Reply::Drop, Reply::json(500, "<html>"), Reply::json(200, "<html>")]).await;
        let gone = Client::builder().address(address).token("canary-token").rounds_max(1).build().unwrap();
        let here = client(&[&server]);
        let errors = [
            gone.send(Request::get(PATH)).await.unwrap_err(),
            here.send(write().once()).await.unwrap_err(),
            here.send(write().once()).await.unwrap_err(),
            here.send(write().once()).await.unwrap_err(),
            here.send(Request::get("canary//path")).await.unwrap_err(),
        ];
        assert!(matches!(errors[0], Error::Unreachable { .. }));
        assert!(matches!(errors[3], Error::Answer { .. }));
        for error in errors {
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_patch_says_that_it_is_a_merge_patch() {
        let server = Server::start([Reply::json(200, "{}")]).await;
        client(&[&server]).send(Request::patch(PATH, json!({}))).await.unwrap();
        assert_eq!(server.seen()[0].header("content-type").as_deref(), Some("application/merge-patch+json"));
    }

    #[tokio::test]
    async fn a_key_that_no_header_can_carry_is_refused_before_sending() {
        let server = Server::start([]).await;
        for key in ["", "a b", "a\n", &"k".repeat(IDEMPOTENCY_KEY_BYTES_MAX + 1)] {
            let error = client(&[&server]).send(write().idempotency_key(key)).await.unwrap_err();
            assert!(matches!(error, Error::Configuration(_)));
        }
        assert_eq!(server.seen().len(), 0);
    }
}
