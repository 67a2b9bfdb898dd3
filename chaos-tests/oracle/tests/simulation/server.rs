//! The state that all nodes agree on, as the sequence of everything it ever was, and the bugs.

use std::collections::HashMap;

use conclave_oracle::history::{Action, Answer, Freshness, Operation, Outcome};

use super::Scenario;

/// How long before a failover changes are lost that were already acknowledged.
const LOST_US: u64 = 20_000;
/// How far a follower lags that answers without asking the leader.
const FOLLOWER_LAG_US: u64 = 15_000;
const LEADER: u32 = 1;
/// The node that answers linearizable reads from what it has.
const CARELESS_FOLLOWER: u32 = 2;
const CONFLICT: u16 = 400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// One follower answers linearizable reads without a read barrier.
    StaleFollower,
    /// A failover loses what only the old leader had.
    LostWrite,
    /// Idempotency keys are not remembered.
    DoubleApply,
    /// Check-and-set is decided when the write is asked for, not when it is applied.
    OldCas,
    /// Stale answers say that they are new.
    FalseAge,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct State {
    version: u64,
    newest: Option<u64>,
    deleted: bool,
    gone: bool,
}

pub struct Server {
    bug: Option<Bug>,
    versioned: bool,
    index: u64,
    /// For each key what it was from when on.
    states: Vec<Vec<(u64, State)>>,
    remembered: HashMap<String, (u64, u64)>,
    /// What a check-and-set compared itself to when it was asked for.
    proposed: HashMap<usize, u64>,
    /// The moment up to which each node has shown the state: it never goes back.
    applied_us: HashMap<u32, u64>,
    pub bitten: usize,
}

pub fn name(number: usize) -> String {
    format!("k{number}")
}

pub fn number(key: &str) -> usize {
    key[1..].parse().unwrap()
}

impl Server {
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            bug: scenario.bug,
            versioned: scenario.versioned,
            index: 1,
            states: vec![vec![(0, State::default())]; scenario.keys],
            remembered: HashMap::new(),
            proposed: HashMap::new(),
            applied_us: HashMap::new(),
            bitten: 0,
        }
    }

    pub fn asked(&mut self, at: usize, action: &Action, now_us: u64) {
        if let Action::Write { key, .. } = action {
            self.proposed.insert(at, self.state(number(key), now_us).version);
        }
    }

    fn state(&self, key: usize, at_us: u64) -> State {
        let states = &self.states[key];
        states[..states.partition_point(|(since_us, _)| *since_us <= at_us)].last().unwrap().1
    }

    fn change(&mut self, key: usize, now_us: u64, state: State) {
        self.index += 1;
        self.states[key].push((now_us, state));
    }

    pub fn fail_over(&mut self, now_us: u64) {
        if self.bug != Some(Bug::LostWrite) {
            return;
        }
        for key in 0..self.states.len() {
            let kept = self.state(key, now_us.saturating_sub(LOST_US));
            if kept != self.state(key, now_us) {
                self.bitten += 1;
                self.change(key, now_us, kept);
            }
        }
    }

    /// Does one operation at this moment.
    pub fn take(&mut self, at: usize, operation: &Operation, now_us: u64, lag_us: u64) -> Outcome {
        match &operation.action {
            Action::Read { key, freshness } => {
                self.read(number(key), *freshness, operation.node, now_us, lag_us)
            }
            Action::Write { key, value, cas, idempotency_key } => {
                self.write(at, number(key), *value, *cas, idempotency_key.as_deref(), now_us)
            }
            Action::Delete { key } => {
                let key = number(key);
                let state = self.state(key, now_us);
                self.change(key, now_us, State { deleted: state.newest.is_some(), ..state });
                self.done(None)
            }
            Action::Undelete { key, version } => {
                let key = number(key);
                let state = self.state(key, now_us);
                if state.version == *version {
                    self.change(key, now_us, State { deleted: false, ..state });
                }
                self.done(None)
            }
            Action::Destroy { key, version } => {
                let key = number(key);
                let state = self.state(key, now_us);
                if state.version == *version {
                    self.change(key, now_us, State { gone: state.newest.is_some(), ..state });
                }
                self.done(None)
            }
            Action::ReadVersion { .. } | Action::List { .. } | Action::Access(_) => {
                unreachable!("nobody here asks for these")
            }
        }
    }

    fn read(&mut self, key: usize, freshness: Freshness, node: u32, now_us: u64, lag_us: u64) -> Outcome {
        let stale = freshness != Freshness::Linearizable;
        let careless = self.bug == Some(Bug::StaleFollower) && node == CARELESS_FOLLOWER && lag_us > 0;
        let applied_us = self.applied_us.entry(node).or_default();
        let shown_us = match (stale, careless) {
            (true, _) if node != LEADER => now_us.saturating_sub(lag_us).max(*applied_us),
            (false, true) => now_us.saturating_sub(FOLLOWER_LAG_US).max(*applied_us),
            _ => now_us,
        };
        *applied_us = shown_us;
        let state = self.state(key, shown_us);
        if !stale && state != self.state(key, now_us) {
            self.bitten += 1;
        }
        let version = self.versioned.then_some(state.version).filter(|&version| version > 0);
        let value = state.newest.filter(|_| !state.deleted && !state.gone);
        let mut stale_for_ms = stale.then_some((now_us - shown_us) / 1000);
        if stale && self.bug == Some(Bug::FalseAge) {
            self.bitten += usize::from(state != self.state(key, now_us));
            stale_for_ms = Some(0);
        }
        let index = (!stale && !careless).then_some(self.index);
        Outcome::Ok(Answer { value, version, index, stale_for_ms, ..Answer::default() })
    }

    fn write(
        &mut self,
        at: usize,
        key: usize,
        value: u64,
        cas: Option<u64>,
        name: Option<&str>,
        now_us: u64,
    ) -> Outcome {
        if let Some(&(version, _)) = name.and_then(|name| self.remembered.get(name)) {
            if self.bug != Some(Bug::DoubleApply) {
                return self.done(Some(version));
            }
            self.bitten += usize::from(cas.is_none());
        }
        let state = self.state(key, now_us);
        if let Some(cas) = cas {
            let compared = if self.bug == Some(Bug::OldCas) { self.proposed[&at] } else { state.version };
            if compared != cas {
                return Outcome::Failed { status: CONFLICT };
            }
            self.bitten += usize::from(state.version != cas);
        }
        let version = state.version + 1;
        self.change(key, now_us, State { version, newest: Some(value), ..State::default() });
        if let Some(name) = name {
            self.remembered.insert(name.to_owned(), (version, self.index));
        }
        self.done(Some(version))
    }

    fn done(&self, version: Option<u64>) -> Outcome {
        let version = version.filter(|_| self.versioned);
        Outcome::Ok(Answer { version, index: Some(self.index), ..Answer::default() })
    }
}
