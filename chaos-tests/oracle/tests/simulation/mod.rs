//! A cluster in memory that is correct by construction, with clients, delays and unknown outcomes, and bugs to plant.
//!
//! Every change takes effect at one moment between its asking and its answer, in one sequence of events; nodes show that
//! sequence with a lag to whoever allows stale answers. So without a bug every history it makes is linearizable.

mod server;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use conclave_oracle::history::{Action, Answer, Freshness, Operation, Outcome};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
pub use server::Bug;
use server::Server;

const LATENCY_US_MAX: u64 = 5_000;
const PAUSE_US_MAX: u64 = 4_000;
/// When a client gives up waiting.
const PATIENCE_US: u64 = 12_000;
/// How long after it was asked a change may still take effect that nobody waits for any more.
const LATE_US_MAX: u64 = 150_000;
const FAILOVERS: u64 = 6;
const STALE_BOUND_MS: u64 = 100;

#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    pub clients: u32,
    pub nodes: u32,
    pub keys: usize,
    pub operations: usize,
    pub unknown_percent: u32,
    /// KV v2, with check-and-set and undelete; else KV v1.
    pub versioned: bool,
    pub bug: Option<Bug>,
}

impl Scenario {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            clients: 8,
            nodes: 3,
            keys: 3,
            operations: 600,
            unknown_percent: 8,
            versioned: true,
            bug: None,
        }
    }
}

/// What a run left behind.
pub struct Run {
    pub history: Vec<Operation>,
    /// How often the bug changed an answer or the state.
    pub bitten: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A client has nothing open and asks for the next thing.
    Ask { client: usize },
    /// An operation, by its place in the history, is done.
    Take { at: usize },
    /// A leader dies.
    Failover,
}

struct World {
    scenario: Scenario,
    rng: StdRng,
    server: Server,
    events: BinaryHeap<Reverse<(u64, usize, Event)>>,
    ordered: usize,
    history: Vec<Operation>,
    /// What each client last sent under an idempotency key without learning its fate.
    repeats: Vec<Option<Action>>,
    /// The newest version that each client saw of each key.
    known: Vec<Vec<u64>>,
    next_value: u64,
    ended: bool,
}

pub fn run(scenario: &Scenario) -> Run {
    let mut world = World {
        scenario: scenario.clone(),
        rng: StdRng::seed_from_u64(scenario.seed),
        server: Server::new(scenario),
        events: BinaryHeap::new(),
        ordered: 0,
        history: Vec::new(),
        repeats: vec![None; scenario.clients as usize],
        known: vec![vec![0; scenario.keys]; scenario.clients as usize],
        next_value: 1,
        ended: false,
    };
    for client in 0..scenario.clients as usize {
        world.schedule(client as u64, Event::Ask { client });
    }
    for failover in 1..=FAILOVERS {
        // Spread over the time that so many operations take, about.
        let pace_us = (LATENCY_US_MAX + PAUSE_US_MAX / 2) / u64::from(scenario.clients);
        let span_us = scenario.operations as u64 * pace_us;
        world.schedule(span_us * failover / (FAILOVERS + 1), Event::Failover);
    }
    let mut now_us = 0;
    while let Some(Reverse((at_us, _, event))) = world.events.pop() {
        now_us = at_us;
        match event {
            Event::Ask { client } => world.ask(client, now_us),
            Event::Take { at } => world.take(at, now_us),
            Event::Failover => world.server.fail_over(now_us),
        }
    }
    let end_us = now_us.max(world.history.iter().map(|operation| operation.returned_us).max().unwrap_or(0));
    world.read_everything(end_us + 1);
    Run { bitten: world.server.bitten, history: world.history }
}

impl World {
    fn schedule(&mut self, at_us: u64, event: Event) {
        self.ordered += 1;
        self.events.push(Reverse((at_us, self.ordered, event)));
    }

    fn up_to(&mut self, most: u64) -> u64 {
        self.rng.random_range(1..=most)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// Sends the next request, and settles when it will be done and when its answer is there.
    fn ask(&mut self, client: usize, now_us: u64) {
        if self.history.len() >= self.scenario.operations {
            // The last failover finds what was acknowledged last, and nothing is written over what it loses.
            if !std::mem::replace(&mut self.ended, true) {
                self.schedule(now_us + 1, Event::Failover);
            }
            return;
        }
        let action = match self.repeats[client].take() {
            Some(action) => action,
            None => self.next_action(client),
        };
        let reads = matches!(action, Action::Read { .. });
        let unknown = self.chance(self.scenario.unknown_percent);
        let done_us = now_us + if unknown { self.up_to(LATE_US_MAX) } else { self.up_to(LATENCY_US_MAX) };
        let returned_us = if unknown { now_us + PATIENCE_US } else { done_us + self.up_to(LATENCY_US_MAX) };
        let at = self.history.len();
        let named = matches!(&action, Action::Write { idempotency_key: Some(_), .. });
        if unknown && named {
            self.repeats[client] = Some(action.clone());
        }
        self.server.asked(at, &action, now_us);
        self.history.push(Operation {
            client: u32::try_from(client).unwrap(),
            node: self.rng.random_range(1..=self.scenario.nodes),
            invoked_us: now_us,
            returned_us,
            action,
            outcome: Outcome::Unknown,
        });
        // Half of what nobody knows the fate of was never done.
        if !unknown || (!reads && self.chance(50)) {
            self.schedule(done_us, Event::Take { at });
        }
        let pause_us = self.up_to(PAUSE_US_MAX);
        self.schedule(returned_us + pause_us, Event::Ask { client });
    }

    fn next_action(&mut self, client: usize) -> Action {
        let number = self.rng.random_range(0..self.scenario.keys);
        let key = server::name(number);
        match self.rng.random_range(0..100) {
            0..40 => Action::Read { key, freshness: Freshness::Linearizable },
            40..50 => Action::Read { key, freshness: Freshness::Stale { bound_ms: STALE_BOUND_MS } },
            50..90 => {
                let value = self.next_value;
                self.next_value += 1;
                let cas = (self.scenario.versioned && self.chance(40)).then(|| self.known[client][number]);
                let idempotency_key = self.chance(50).then(|| format!("once-{value}"));
                Action::Write { key, value, cas, idempotency_key }
            }
            90..96 => Action::Delete { key },
            96 if self.scenario.versioned => Action::Destroy { key, version: self.known[client][number] },
            _ if self.scenario.versioned => Action::Undelete { key, version: self.known[client][number] },
            _ => Action::Delete { key },
        }
    }

    fn take(&mut self, at: usize, now_us: u64) {
        let operation = &mut self.history[at];
        let lag_us = self.rng.random_range(0..STALE_BOUND_MS * 1000);
        let outcome = self.server.take(at, operation, now_us, lag_us);
        if operation.returned_us < now_us {
            return;
        }
        // A late effect within the client's patience is still not known to it.
        let gave_up = operation.returned_us == operation.invoked_us + PATIENCE_US;
        if !gave_up {
            if let (Outcome::Ok(Answer { version: Some(version), .. }), Some(key)) =
                (&outcome, operation.action.key())
            {
                let number = server::number(key);
                let known = &mut self.known[operation.client as usize][number];
                *known = (*known).max(*version);
            }
            operation.outcome = outcome;
        }
    }

    /// The end of a run: every key at every node.
    fn read_everything(&mut self, from_us: u64) {
        let mut now_us = from_us;
        for node in 1..=self.scenario.nodes {
            for number in 0..self.scenario.keys {
                let action = Action::Read { key: server::name(number), freshness: Freshness::Linearizable };
                let mut operation = Operation {
                    client: self.scenario.clients,
                    node,
                    invoked_us: now_us,
                    returned_us: now_us + 2,
                    action,
                    outcome: Outcome::Unknown,
                };
                operation.outcome = self.server.take(self.history.len(), &operation, now_us + 1, 0);
                self.history.push(operation);
                now_us += 3;
            }
        }
    }
}
