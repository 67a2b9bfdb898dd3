//! Clients under test: each at home on one node, asking one thing at a time, writing down what it was told.

mod answer;
mod gate;
mod recent;
mod request;
mod rights;
mod workload;

pub use rights::{HELD, Holder, LOCK_MS, LOCK_THRESHOLD, locks};
pub use workload::{folders, keys};

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use conclave_oracle::history::{Action, Operation, Outcome};
use reqwest::RequestBuilder;
use serde_json::Value;

use crate::random::Random;
use crate::recorder::Recorder;
use answer::Raw;
use gate::Gate;
use recent::Recent;
use rights::Pool;

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

/// How long a version lasts where it is deleted by itself.
pub const LASTS_MS: u64 = 5_000;
/// Clients that only look have numbers from here.
const FIRST_OBSERVER: u32 = 1_000_000;
/// Who finds the gate shut looks again after this.
const SHUT_PAUSE: Duration = Duration::from_millis(20);
/// Keys whose versions a client remembers.
const VERSIONS_MAX: usize = 1000;

/// What all clients share. It has no `Debug`: it holds the root token.
pub struct Shared {
    pub urls: Vec<String>,
    pub token: String,
    pub recorder: Recorder,
    /// The keys of the moment: old ones are left alone, mostly, so that no key's history grows too long to judge.
    pub epoch: AtomicU64,
    /// The first epoch whose keys may still be asked for: a restore leaves those before it behind.
    pub oldest_epoch: AtomicU64,
    pub stop: AtomicBool,
    pub gate: Gate,
    /// Whether what clients do now is part of the history: what a restore takes back is not.
    judged: AtomicBool,
    observers: AtomicU32,
    recent: Recent,
    /// What clients of rights work with.
    rights: Pool,
    values: AtomicU64,
}

impl Shared {
    pub fn new(urls: Vec<String>, token: String, recorder: Recorder) -> Self {
        Self {
            urls,
            token,
            recorder,
            epoch: AtomicU64::new(0),
            oldest_epoch: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            gate: Gate::default(),
            judged: AtomicBool::new(true),
            observers: AtomicU32::new(FIRST_OBSERVER),
            recent: Recent::default(),
            rights: Pool::default(),
            values: AtomicU64::new(1),
        }
    }

    /// From now on there are other keys, and none of those before is asked for again. Only while the gate is shut.
    pub fn begin_era(&self, judged: bool) {
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        self.oldest_epoch.store(epoch, Ordering::Relaxed);
        self.recent.clear();
        self.rights.clear();
        self.judged.store(judged, Ordering::Relaxed);
    }

    /// Which era it is: the first epoch of it.
    fn era(&self) -> u64 {
        self.oldest_epoch.load(Ordering::Relaxed)
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

    /// A client that asks what it is told to.
    pub fn observer(home: usize, shared: Arc<Shared>) -> anyhow::Result<Self> {
        let id = shared.observers.fetch_add(1, Ordering::Relaxed);
        Self::new(id, home, shared, 0)
    }

    pub async fn run(mut self) -> anyhow::Result<()> {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let era = self.shared.era();
            let action = workload::choose(&mut self.random, &self.shared, &self.versions);
            self.perform(action, era).await?;
            tokio::time::sleep(self.random.between(Duration::ZERO, THINK_MAX)).await;
        }
        Ok(())
    }

    /// Asks, and repeats what may be repeated safely, anywhere, until it is certain.
    async fn perform(&mut self, action: Action, era: u64) -> anyhow::Result<()> {
        let repeatable = matches!(&action, Action::Write { idempotency_key: Some(_), .. });
        let mut node = self.home;
        for attempt in 1.. {
            let shared = self.shared.clone();
            let Some(inside) = shared.gate.enter() else {
                tokio::time::sleep(SHUT_PAUSE).await;
                return Ok(());
            };
            // Its key is not to be touched any more. While a request is inside, the era does not change.
            if shared.era() != era {
                return Ok(());
            }
            let outcome = self.ask(node, &action).await?;
            drop(inside);
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
        let operation = self.look(node, action).await?;
        let outcome = operation.outcome.clone();
        if let (Outcome::Ok(answer), Action::Read { key, .. } | Action::Write { key, .. }) =
            (&outcome, action)
        {
            if self.versions.len() >= VERSIONS_MAX {
                self.versions.clear();
            }
            self.versions.insert(key.clone(), answer.version.unwrap_or(0));
        }
        if self.shared.judged.load(Ordering::Relaxed) {
            self.shared.recorder.record(operation)?;
        }
        Ok(outcome)
    }

    /// One request that nobody hears of but who asks for it.
    pub async fn look(&self, node: usize, action: &Action) -> anyhow::Result<Operation> {
        let request = self.request(node, action);
        let invoked_us = self.shared.recorder.now();
        let answer = send(request).await;
        let returned_us = self.shared.recorder.now();
        let outcome = answer::outcome(action, answer);
        let (client, node) = (self.id, u32::try_from(node)?);
        Ok(Operation { client, node, invoked_us, returned_us, action: action.clone(), outcome })
    }

    fn request(&self, node: usize, action: &Action) -> RequestBuilder {
        let request = request::request(&self.http, &self.shared.urls[node], action);
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
