//! What a client of rights does next.

use conclave_oracle::access::{Access, Use, Way};
use conclave_oracle::history::Outcome;

use super::pool::{Held, User};
use super::step::Step;
use super::{Holder, using};

/// How often a user is given fewer wrong passwords than lock him out, in percent.
pub const SPARED_PERCENT: u64 = 40;
/// How often all wrong passwords of a user come at once, at several nodes, in percent.
const AT_ONCE_PERCENT: u64 = 30;
/// How often what was taken away is tried at all nodes at once, in percent.
const TRIED_PERCENT: u64 = 60;
/// How often a token is made by another one and not by root, in percent.
const CHILD_PERCENT: u64 = 40;
/// How often a token lasts only so long that clients see its end, in percent.
const SHORT_PERCENT: u64 = 35;
const SHORT_MS: u64 = 5_000;
const LONG_MS: u64 = 120_000;
/// How often one that lasts longer is periodic, if root makes it, in percent.
const PERIODIC_PERCENT: u64 = 30;
/// Tokens that one was made by at most.
const ANCESTORS_MAX: usize = 4;
const WRAP_MS: u64 = 60_000;
/// Policies that one client changes.
const POLICIES: usize = 2;

impl Holder {
    pub(super) async fn act(&mut self) -> anyhow::Result<()> {
        match self.random.below(100) {
            0..28 => self.use_one(false).await,
            28..44 => self.use_one(true).await,
            44..58 => self.create().await,
            58..68 => self.renew().await,
            68..74 => self.revoke().await,
            74..81 => self.change_policy().await,
            81..86 => self.wrap().await,
            86..89 => self.add_user_if_wanted().await,
            _ => self.log_in().await,
        }
    }

    async fn use_one(&mut self, ended: bool) -> anyhow::Result<()> {
        let pool = &self.shared.rights;
        let held = if ended { pool.ended(&mut self.random) } else { pool.alive(&mut self.random) };
        let what = if self.random.chance(70) { Use::Secret } else { Use::Itself };
        match held {
            Some(held) => self.at_some_node(using(&held, what)).await,
            None => Ok(()),
        }
    }

    async fn at_some_node(&mut self, step: Step) -> anyhow::Result<()> {
        let node = self.node();
        self.perform(vec![(node, step)]).await.map(drop)
    }

    async fn create(&mut self) -> anyhow::Result<()> {
        let pool = &self.shared.rights;
        let Some(policy) = pool.policy(&mut self.random) else { return self.change_policy().await };
        let wants_parent = self.random.chance(CHILD_PERCENT);
        let parent =
            pool.alive(&mut self.random).filter(|held| wants_parent && held.ancestors.len() < ANCESTORS_MAX);
        let ttl_ms = if self.random.chance(SHORT_PERCENT) { SHORT_MS } else { LONG_MS };
        let token = pool.fresh("t");
        // One can give no policy but one's own.
        let policy = parent.as_ref().map_or(policy, |parent| parent.policy.clone());
        let made_by = parent.as_ref().map(|parent| parent.name.clone());
        let access = Access::CreateToken { token, parent: made_by, policy, ttl_ms };
        let bearer = parent.as_ref().map_or(&self.shared.token, |parent| &parent.secret);
        let mut step = Step::new(access, bearer);
        step.periodic = parent.is_none() && ttl_ms == LONG_MS && self.random.chance(PERIODIC_PERCENT);
        step.ancestors = parent.map_or_else(Vec::new, |Held { name, mut ancestors, .. }| {
            ancestors.push(name);
            ancestors
        });
        self.at_some_node(step).await
    }

    async fn renew(&mut self) -> anyhow::Result<()> {
        match self.shared.rights.alive(&mut self.random) {
            Some(held) => {
                let access = Access::RenewToken { token: held.name.clone() };
                self.at_some_node(Step::new(access, &held.secret)).await
            }
            None => Ok(()),
        }
    }

    async fn revoke(&mut self) -> anyhow::Result<()> {
        let Some(held) = self.shared.rights.alive(&mut self.random) else { return Ok(()) };
        let way = [Way::Token, Way::Accessor, Way::Own][self.random.index(3)];
        let access = Access::RevokeToken { token: held.name.clone(), way };
        let root = &self.shared.token;
        let step = match way {
            Way::Token => Step::new(access, root).naming(&held.secret),
            Way::Accessor => Step::new(access, root).naming(&held.accessor),
            Way::Own => Step::new(access, &held.secret),
        };
        let mut gone = vec![held.clone()];
        gone.extend(self.shared.rights.below(&held.name));
        let node = self.node();
        let told = self.perform(vec![(node, step)]).await?;
        let done = told.iter().any(|told| matches!(told.outcome, Outcome::Ok(_)));
        if done && self.random.chance(TRIED_PERCENT) {
            let start = self.random.index(gone.len());
            gone.rotate_left(start);
            self.at_all_nodes(&gone, Use::Itself).await?;
        }
        Ok(())
    }

    /// A policy gets its rule or loses it; a new one gets it.
    async fn change_policy(&mut self) -> anyhow::Result<()> {
        let place = self.random.index(POLICIES);
        let (policy, has_rule) = match self.policies.get(place) {
            Some((policy, has_rule)) => (policy.clone(), *has_rule),
            None => (self.shared.rights.fresh("may-"), false),
        };
        let access = match has_rule {
            true => Access::Withdraw { policy: policy.clone() },
            false => Access::Grant { policy: policy.clone() },
        };
        let (node, step) = (self.node(), Step::new(access, &self.shared.token));
        let told = self.perform(vec![(node, step)]).await?;
        let done = told.iter().any(|told| matches!(told.outcome, Outcome::Ok(_)));
        let held = self.shared.rights.with_policy(&policy);
        if done && !held.is_empty() && self.random.chance(TRIED_PERCENT) {
            self.at_all_nodes(&held, Use::Secret).await?;
        }
        Ok(())
    }

    /// Wraps an answer, and asks for it at two nodes at once.
    async fn wrap(&mut self) -> anyhow::Result<()> {
        let (name, value) = (self.shared.rights.fresh("w"), self.shared.fresh_value());
        let access = Access::Wrap { name: name.clone(), value, ttl_ms: WRAP_MS };
        let (node, step) = (self.node(), Step::new(access, &self.shared.token));
        let told = self.perform(vec![(node, step)]).await?;
        let token = told.first().and_then(|told| told.body["wrap_info"]["token"].as_str()).map(str::to_owned);
        let Some(token) = token else { return Ok(()) };
        let nodes = self.random.order(self.shared.urls.len());
        let unwrap = |node| (node, Step::new(Access::Unwrap { name: name.clone() }, &token));
        self.perform(nodes.into_iter().take(2).map(unwrap).collect()).await.map(drop)
    }

    async fn add_user_if_wanted(&mut self) -> anyhow::Result<()> {
        if self.shared.rights.wants_users(self.shared.recorder.now()) {
            self.add_user().await
        } else {
            Ok(())
        }
    }

    async fn log_in(&mut self) -> anyhow::Result<()> {
        let at_once = if self.random.chance(AT_ONCE_PERCENT) { self.shared.urls.len() } else { 1 };
        let Some((user, guesses)) = self.shared.rights.guess(&mut self.random, at_once) else {
            return self.add_user_if_wanted().await;
        };
        let nodes = self.random.order(self.shared.urls.len());
        let steps =
            nodes.into_iter().take(guesses.max(1)).map(|node| (node, logging_in(&user, guesses == 0)));
        self.perform(steps.collect()).await.map(drop)
    }
}

fn logging_in(user: &User, right: bool) -> Step {
    let access = Access::Login { user: user.name.clone(), right };
    let password = if right { &user.password } else { "wrong" };
    Step::new(access, "").naming(password)
}
