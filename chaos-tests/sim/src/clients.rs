//! Clients: each asks one thing at a time, of any node, and writes down what it was told.

use anyhow::Result;
use conclave_oracle::history::{Action, Freshness, Operation, Outcome};

use crate::host::{Host, Slot};
use crate::random::Dice;
use crate::request;

/// How long a client waits for an answer before it gives up.
const PATIENCE_US: u64 = 4_000_000;
/// Between two requests of a client.
const PAUSE_US: (u64, u64) = (1_000, 60_000);
/// How often a client repeats a write that it has a name for.
const REPEATS_MAX: u32 = 3;
/// Of the bound of a stale read.
const BOUNDS_MS: [u64; 3] = [100, 1_000, 10_000];

pub struct Clients {
    clients: Vec<Client>,
    keys: Vec<String>,
    next_value: u64,
    pub history: Vec<Operation>,
}

struct Client {
    number: u32,
    dice: Dice,
    free_at_us: u64,
    asked: Option<Asked>,
    /// A named write whose answer was not certain.
    again: Option<(Action, u32)>,
    /// Versions as last heard, by the key's place.
    versions: Vec<u64>,
}

struct Asked {
    action: Action,
    node_id: u64,
    life: u64,
    invoked_us: u64,
    slot: Slot,
    repeats: u32,
}

impl Clients {
    pub fn new(count: u32, keys: usize, dice: &mut Dice) -> Self {
        let client = |number| Client {
            number,
            dice: dice.split(),
            free_at_us: 0,
            asked: None,
            again: None,
            versions: vec![0; keys],
        };
        Self {
            clients: (0..count).map(client).collect(),
            keys: (0..keys).map(|key| format!("k{key}")).collect(),
            next_value: 1,
            history: Vec::new(),
        }
    }

    pub fn is_idle(&self) -> bool {
        self.clients.iter().all(|client| client.asked.is_none())
    }

    /// Takes what has been answered, and lets those who are free ask, if `asking`.
    ///
    /// # Errors
    /// An answer that cannot be read.
    pub fn step(&mut self, now_us: u64, hosts: &[Host], asking: bool) -> Result<()> {
        for at in 0..self.clients.len() {
            self.collect(at, now_us, hosts)?;
            if asking && self.clients[at].asked.is_none() && self.clients[at].free_at_us <= now_us {
                self.ask(at, now_us, hosts)?;
            }
        }
        Ok(())
    }

    /// Every client reads every key at every node: what was acknowledged must be there.
    ///
    /// # Errors
    /// The request cannot be made.
    pub fn final_reads(&self, now_us: u64, hosts: &[Host]) -> Result<Vec<FinalRead>> {
        let first = self.clients.len() as u32;
        let mut reads = Vec::new();
        for host in hosts.iter().filter(|host| host.serves()) {
            for key in &self.keys {
                let action = Action::Read { key: key.clone(), freshness: Freshness::Linearizable };
                let slot = host.ask(request::of_action(&action)?);
                let client = first + reads.len() as u32;
                reads.push(FinalRead { client, node_id: host.node_id, action, invoked_us: now_us, slot });
            }
        }
        Ok(reads)
    }

    fn collect(&mut self, at: usize, now_us: u64, hosts: &[Host]) -> Result<()> {
        let client = &mut self.clients[at];
        let Some(asked) = client.asked.take() else { return Ok(()) };
        let answer = asked.slot.lock().take();
        let is_there = hosts
            .iter()
            .any(|host| host.node_id == asked.node_id && host.lives == asked.life && host.is_up());
        let outcome = match answer {
            Some(answer) => request::outcome(&asked.action, &answer)?,
            None if is_there && now_us < asked.invoked_us + PATIENCE_US => {
                client.asked = Some(asked);
                return Ok(());
            }
            None => Outcome::Unknown,
        };
        client.learn(&self.keys, &asked.action, &outcome);
        let named = matches!(&asked.action, Action::Write { idempotency_key: Some(_), .. });
        let certain = matches!(outcome, Outcome::Ok(_) | Outcome::Failed { status: 400..500 });
        let repeats = asked.repeats;
        // Sometimes also what was done: as if its answer had been lost.
        if named && repeats < REPEATS_MAX && (!certain || client.dice.chance(100)) {
            client.again = Some((asked.action.clone(), repeats + 1));
        }
        self.history.push(Operation {
            client: client.number,
            node: asked.node_id as u32,
            invoked_us: asked.invoked_us,
            returned_us: now_us,
            action: asked.action,
            outcome,
        });
        client.free_at_us = now_us + client.dice.range(PAUSE_US.0, PAUSE_US.1);
        Ok(())
    }

    fn ask(&mut self, at: usize, now_us: u64, hosts: &[Host]) -> Result<()> {
        let client = &mut self.clients[at];
        let up: Vec<&Host> = hosts.iter().filter(|host| host.serves()).collect();
        if up.is_empty() {
            return Ok(());
        }
        let host = *client.dice.pick(&up);
        let (action, repeats) = match client.again.take() {
            Some(again) => again,
            None => (client.invent(&self.keys, &mut self.next_value), 0),
        };
        let slot = host.ask(request::of_action(&action)?);
        let (node_id, life) = (host.node_id, host.lives);
        client.asked = Some(Asked { action, node_id, life, invoked_us: now_us, slot, repeats });
        Ok(())
    }
}

impl Client {
    fn invent(&mut self, keys: &[String], next_value: &mut u64) -> Action {
        let place = self.dice.range(0, keys.len() as u64) as usize;
        let key = keys[place].clone();
        match self.dice.range(0, 100) {
            0..50 => {
                let value = *next_value;
                *next_value += 1;
                let cas = self.dice.chance(400).then(|| self.versions[place]);
                let idempotency_key = self.dice.chance(500).then(|| format!("once-{value}"));
                Action::Write { key, value, cas, idempotency_key }
            }
            50..55 => Action::Delete { key },
            55..80 => Action::Read { key, freshness: Freshness::Linearizable },
            _ => {
                let bound_ms = *self.dice.pick(&BOUNDS_MS);
                Action::Read { key, freshness: Freshness::Stale { bound_ms } }
            }
        }
    }

    fn learn(&mut self, keys: &[String], action: &Action, outcome: &Outcome) {
        let Outcome::Ok(answer) = outcome else { return };
        let place = keys.iter().position(|key| Some(key.as_str()) == action.key());
        if let (Some(place), Some(version)) = (place, answer.version) {
            self.versions[place] = self.versions[place].max(version);
        }
    }
}

/// One of the reads at the end.
pub struct FinalRead {
    client: u32,
    node_id: u64,
    action: Action,
    invoked_us: u64,
    slot: Slot,
}

impl FinalRead {
    /// The operation, once it is answered.
    ///
    /// # Errors
    /// The answer cannot be read.
    pub fn collect(&self, now_us: u64) -> Result<Option<Operation>> {
        let Some(answer) = self.slot.lock().take() else { return Ok(None) };
        Ok(Some(Operation {
            client: self.client,
            node: self.node_id as u32,
            invoked_us: self.invoked_us,
            returned_us: now_us,
            outcome: request::outcome(&self.action, &answer)?,
            action: self.action.clone(),
        }))
    }
}
