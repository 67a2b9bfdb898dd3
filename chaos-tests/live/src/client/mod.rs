//! Clients under test: each at home on one node, asking one thing at a time, writing down what it was told.

mod answer;
mod workload;

pub use workload::keys;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use conclave_oracle::history::{Action, Freshness, Operation, Outcome};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::random::Random;
use crate::recorder::Recorder;
use answer::Raw;

/// How long a client waits for an answer: some give up before the server does (5 s), some after.
const TIMEOUTS: [Duration; 3] = [Duration::from_millis(1500), Duration::from_secs(4), Duration::from_secs(8)];
const CONNECT_MAX: Duration = Duration::from_millis(800);
/// How often a write with an idempotency key is tried, and the longest pause before it is repeated.
const TRIES: u32 = 6;
/// How often a write that is done is repeated nevertheless, as if its answer had been lost, in percent.
const AGAIN_PERCENT: u64 = 10;
const REPEAT_PAUSE_MAX: Duration = Duration::from_millis(400);
/// A client thinks up to so long before it asks again. Faster ones would only make the processors the bottleneck.
const THINK_MAX: Duration = Duration::from_millis(60);

/// Keys whose versions a client remembers.
const VERSIONS_MAX: usize = 1000;

/// What all clients share. It has no `Debug`: it holds the root token.
pub struct Shared {
    pub urls: Vec<String>,
    pub token: String,
    pub recorder: Recorder,
    /// The keys of the moment: old ones are left alone, mostly, so that no key's history grows too long to judge.
    pub epoch: AtomicU64,
    pub stop: AtomicBool,
    values: AtomicU64,
}

impl Shared {
    pub fn new(urls: Vec<String>, token: String, recorder: Recorder) -> Self {
        let (epoch, values) = (AtomicU64::new(0), AtomicU64::new(1));
        Self { urls, token, recorder, epoch, stop: AtomicBool::new(false), values }
    }

    /// A number that was never written before.
    fn fresh_value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed)
    }
}

pub struct Client {
    id: u32,
    home: usize,
    shared: Arc<Shared>,
    http: reqwest::Client,
    random: Random,
    timeout: Duration,
    /// The newest version of each key that this client was told of, for check-and-set.
    versions: HashMap<String, u64>,
}

impl Client {
    pub fn new(id: u32, home: usize, shared: Arc<Shared>, seed: u64) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_MAX).build()?;
        let timeout = TIMEOUTS[id as usize % TIMEOUTS.len()];
        let random = Random::part(seed, u64::from(id) + 1000);
        Ok(Self { id, home, shared, http, random, timeout, versions: HashMap::new() })
    }

    pub async fn run(mut self) -> anyhow::Result<()> {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let action = workload::choose(&mut self.random, &self.shared, &self.versions);
            self.perform(action).await?;
            tokio::time::sleep(self.random.between(Duration::ZERO, THINK_MAX)).await;
        }
        Ok(())
    }

    /// Asks, and repeats what may be repeated safely, anywhere, until it is certain.
    async fn perform(&mut self, action: Action) -> anyhow::Result<()> {
        let repeatable = matches!(&action, Action::Write { idempotency_key: Some(_), .. });
        let mut node = self.home;
        for attempt in 1.. {
            let outcome = self.ask(node, &action).await?;
            let done = matches!(outcome, Outcome::Ok(_)) && !self.random.chance(AGAIN_PERCENT);
            if !repeatable || done || attempt == TRIES {
                return Ok(());
            }
            if let Outcome::Failed { status: 400..500 } = outcome {
                return Ok(());
            }
            node = self.random.index(self.shared.urls.len());
            tokio::time::sleep(self.random.between(Duration::ZERO, REPEAT_PAUSE_MAX)).await;
        }
        Ok(())
    }

    /// One request and its place in the history.
    pub async fn ask(&mut self, node: usize, action: &Action) -> anyhow::Result<Outcome> {
        let request = self.request(node, action);
        let invoked_us = self.shared.recorder.now();
        let answer = send(request).await;
        let returned_us = self.shared.recorder.now();
        let outcome = answer::outcome(action, answer);
        if let (Outcome::Ok(answer), Action::Read { key, .. } | Action::Write { key, .. }) =
            (&outcome, action)
        {
            if self.versions.len() >= VERSIONS_MAX {
                self.versions.clear();
            }
            self.versions.insert(key.clone(), answer.version.unwrap_or(0));
        }
        let operation = Operation {
            client: self.id,
            node: u32::try_from(node)?,
            invoked_us,
            returned_us,
            action: action.clone(),
            outcome: outcome.clone(),
        };
        self.shared.recorder.record(operation)?;
        Ok(outcome)
    }

    fn request(&self, node: usize, action: &Action) -> RequestBuilder {
        let base = format!("{}/v1/secret", self.shared.urls[node]);
        let request = match action {
            Action::Read { key, freshness } => {
                let request = self.http.get(format!("{base}/data/{key}"));
                match freshness {
                    Freshness::Linearizable => request,
                    Freshness::Stale { bound_ms } => request
                        .header("X-Conclave-Consistency", "stale")
                        .header("X-Conclave-Max-Stale", format!("{bound_ms}ms")),
                }
            }
            Action::Write { key, value, cas, idempotency_key } => {
                let options = cas.map_or_else(|| json!({}), |version| json!({ "cas": version }));
                let body = json!({"data": {"value": value}, "options": options});
                let request = self.http.post(format!("{base}/data/{key}")).body(body.to_string());
                match idempotency_key {
                    Some(key) => request.header("X-Conclave-Idempotency-Key", key),
                    None => request,
                }
            }
            Action::Delete { key } => self.http.delete(format!("{base}/data/{key}")),
            Action::Undelete { key, version } => {
                let body = json!({ "versions": [version] });
                self.http.post(format!("{base}/undelete/{key}")).body(body.to_string())
            }
            Action::List { folder } => {
                let list = Method::from_bytes(b"LIST").expect("LIST is a method");
                self.http.request(list, format!("{base}/metadata/{folder}"))
            }
        };
        request.header("X-Vault-Token", &self.shared.token).timeout(self.timeout)
    }
}

async fn send(request: RequestBuilder) -> Result<Raw, reqwest::Error> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let (index, stale_for) = (header("X-Conclave-Index"), header("X-Conclave-Stale-For"));
    let text = response.text().await?;
    Ok(Raw { status, index, stale_for, body: serde_json::from_str(&text).unwrap_or(Value::Null) })
}
