//! Clients that ask who may do what: they make, use, renew and revoke tokens, change policies, log in, and wrap answers, at all
//! nodes. What was taken away is often tried at all nodes at once, right after it was acknowledged.

mod choice;
mod pool;
mod step;

pub use pool::Pool;
pub use step::HELD;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use conclave_oracle::access::{Access, Use};
use conclave_oracle::history::{Action, Operation, Outcome};
use reqwest::Method;
use serde_json::{Value, json};

use super::{CONNECT_MAX, SHUT_PAUSE, Shared, TIMEOUTS, answer, send};
use crate::random::Random;
use pool::{Held, User};
use step::Step;

/// Wrong passwords that lock a user out, and for how long.
pub const LOCK_THRESHOLD: usize = 3;
pub const LOCK_MS: u64 = 12_000;
/// How long a user is logged in as: beyond his lockout's end.
const USER_US: u64 = (LOCK_MS + 8_000) * 1_000;
/// How long a token of a login lasts: nobody uses it.
const LOGIN_LASTS: &str = "10s";
/// A client of rights thinks up to so long before it asks again.
const THINK_MAX: Duration = Duration::from_millis(120);
/// Hands of these clients have numbers from here, so many each.
const FIRST_HAND: u32 = 2_000_000;
const HANDS_MAX: u32 = 16;

/// A client with a hand at each node, so that it can ask at several at once. It has no `Debug`: it holds tokens.
pub struct Holder {
    id: u32,
    shared: Arc<Shared>,
    http: reqwest::Client,
    random: Random,
    timeout: Duration,
    /// Policies that only this client changes, and whether they have their rule.
    policies: Vec<(String, bool)>,
    era: u64,
}

/// What was asked, and what came of it. It has no `Debug`: it holds tokens.
struct Told {
    step: Step,
    outcome: Outcome,
    body: Value,
}

impl Holder {
    pub fn new(id: u32, shared: Arc<Shared>, seed: u64) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_MAX).build()?;
        // Chance of its own: part 0 and small ones are others'.
        let random = Random::part(seed, u64::from(FIRST_HAND + id));
        let timeout = TIMEOUTS[id as usize % TIMEOUTS.len()];
        Ok(Self { id, shared, http, random, timeout, policies: Vec::new(), era: 0 })
    }

    pub async fn run(mut self) -> anyhow::Result<()> {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let era = self.shared.era();
            if era != self.era {
                self.policies.clear();
                self.era = era;
            }
            self.act().await?;
            tokio::time::sleep(self.random.between(Duration::ZERO, THINK_MAX)).await;
        }
        Ok(())
    }

    /// Tries all tokens that have ended, at every node.
    pub async fn sweep(mut self) -> anyhow::Result<()> {
        self.era = self.shared.era();
        for held in self.shared.rights.all_ended() {
            self.at_all_nodes(&[held], Use::Itself).await?;
        }
        Ok(())
    }

    fn node(&mut self) -> usize {
        self.random.index(self.shared.urls.len())
    }

    /// Each step at its node, all at once; no two at one node. Nothing while the gate is shut.
    async fn perform(&mut self, steps: Vec<(usize, Step)>) -> anyhow::Result<Vec<Told>> {
        let shared = self.shared.clone();
        let Some(inside) = shared.gate.enter() else {
            tokio::time::sleep(SHUT_PAUSE).await;
            return Ok(Vec::new());
        };
        // What it is about is not to be touched any more. While a request is inside, the era does not change.
        if shared.era() != self.era {
            return Ok(Vec::new());
        }
        let asked = steps.into_iter().map(|(node, step)| self.ask(node, step));
        let told: Vec<Told> = futures::future::try_join_all(asked).await?;
        told.iter().for_each(|told| self.learn(told));
        drop(inside);
        Ok(told)
    }

    /// One request and its place in the history.
    async fn ask(&self, node: usize, step: Step) -> anyhow::Result<Told> {
        let shared = &self.shared;
        let action = Action::Access(step.access.clone());
        let request = step.request(&self.http, &shared.urls[node]).timeout(self.timeout);
        let invoked_us = shared.recorder.now();
        let answer = send(request).await;
        let returned_us = shared.recorder.now();
        let body = answer.as_ref().map(|raw| raw.body.clone()).unwrap_or_default();
        let outcome = answer::outcome(&action, answer);
        let hand = u32::try_from(node)?;
        let client = FIRST_HAND + self.id * HANDS_MAX + hand;
        let told = outcome.clone();
        if shared.judged.load(Ordering::Relaxed) {
            shared.recorder.record(Operation {
                client,
                node: hand,
                invoked_us,
                returned_us,
                action,
                outcome,
            })?;
        }
        Ok(Told { step, outcome: told, body })
    }

    /// What the others should know of it.
    fn learn(&mut self, told: &Told) {
        let pool = &self.shared.rights;
        let done = matches!(told.outcome, Outcome::Ok(_));
        let refused = matches!(told.outcome, Outcome::Failed { status: 400..500 });
        let unknown = told.outcome == Outcome::Unknown;
        match &told.step.access {
            Access::CreateToken { token, policy, .. } if done => {
                let auth = &told.body["auth"];
                let text = |name: &str| auth[name].as_str().unwrap_or_default().to_owned();
                pool.add_token(Held {
                    name: token.clone(),
                    secret: text("client_token"),
                    accessor: text("accessor"),
                    policy: policy.clone(),
                    ancestors: told.step.ancestors.clone(),
                });
            }
            Access::RevokeToken { token, .. } if done || unknown => pool.end(token),
            // It has expired.
            Access::RenewToken { token } | Access::RevokeToken { token, .. } if refused => pool.end(token),
            Access::Grant { policy } | Access::Withdraw { policy } if done => {
                let has_rule = matches!(told.step.access, Access::Grant { .. });
                match self.policies.iter_mut().find(|(name, _)| name == policy) {
                    Some((_, has)) => *has = has_rule,
                    None => self.policies.push((policy.clone(), has_rule)),
                }
                pool.add_policy(policy);
            }
            // It may change at any time from now on.
            Access::Grant { policy } | Access::Withdraw { policy } if unknown => {
                self.policies.retain(|(name, _)| name != policy);
                pool.drop_policy(policy);
            }
            Access::Login { user, right: false } if !done && !refused && !unknown => {
                pool.give_back_guess(user)
            }
            _ => {}
        }
    }

    /// The tokens, in turn, one at each node, all at once.
    async fn at_all_nodes(&mut self, tokens: &[Held], what: Use) -> anyhow::Result<()> {
        let uses = (0..self.shared.urls.len()).zip(tokens.iter().cycle());
        let steps = uses.map(|(node, held)| (node, using(held, what))).collect();
        self.perform(steps).await.map(drop)
    }

    /// Somebody new who logs in. His making is no part of the history: only who surely is there is asked for.
    async fn add_user(&mut self) -> anyhow::Result<()> {
        let shared = self.shared.clone();
        let Some(_inside) = shared.gate.enter() else { return Ok(()) };
        if shared.era() != self.era {
            return Ok(());
        }
        let name = format!("{}/{}", locks(), shared.rights.fresh("u"));
        let password = format!("right-{:016x}", self.random.next());
        let url = format!("{}/v1/{}", shared.urls[self.node()], step::of_user(&name, "users"));
        let body = json!({"password": password, "token_ttl": LOGIN_LASTS});
        let request = self.http.request(Method::POST, url).header("X-Vault-Token", &shared.token);
        let answer = send(request.body(body.to_string()).timeout(self.timeout)).await;
        if answer.is_ok_and(|raw| (200..300).contains(&raw.status)) {
            let guesses_left = LOCK_THRESHOLD - usize::from(self.random.chance(choice::SPARED_PERCENT));
            let until_us = shared.recorder.now() + USER_US;
            shared.rights.add_user(User { name, password, guesses_left, until_us });
        }
        Ok(())
    }
}

/// The mount of the users.
pub fn locks() -> String {
    format!("{}{LOCK_THRESHOLD}-{LOCK_MS}", conclave_oracle::lockout::LOCKS)
}

fn using(held: &Held, what: Use) -> Step {
    Step::new(Access::UseToken { token: held.name.clone(), what }, &held.secret)
}
