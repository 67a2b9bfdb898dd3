//! What is certain about the tokens and policies of a history, from what was acknowledged and what may have been done.
//!
//! The cluster's time is its leader's, which is not bent by wrong wall clocks while a node that knows it lives, and goes on
//! at a true clock's pace. What changes of leaders and delays cost is bounded by [`SLACK_MS`], in both directions.

use std::collections::BTreeMap;

use crate::access::{Access, Use};
pub use crate::expiry::SLACK_MS;
use crate::history::{Action, Operation, Outcome};

const US_PER_MS: u64 = 1_000;
const SLACK_US: u64 = SLACK_MS * US_PER_MS;
/// More ancestors than a token can have.
const ANCESTORS_MAX: usize = 64;

/// All tokens and policies of a history.
pub struct Tokens<'h> {
    tokens: BTreeMap<&'h str, Token<'h>>,
    policies: BTreeMap<&'h str, Policy<'h>>,
    /// Answered requests that were made by the rights of a token.
    pub uses: Vec<Usage<'h>>,
}

pub struct Token<'h> {
    pub name: &'h str,
    pub policy: &'h str,
    parent: Option<&'h str>,
    ttl_us: u64,
    /// Its making, which was acknowledged.
    pub made: &'h Operation,
    /// Acknowledged, or not known.
    renewals: Vec<&'h Operation>,
    revocations: Vec<&'h Operation>,
}

/// Acknowledged, or not known.
#[derive(Default)]
struct Policy<'h> {
    grants: Vec<&'h Operation>,
    withdrawals: Vec<&'h Operation>,
}

/// A request by the rights of a token.
pub struct Usage<'h> {
    pub operation: &'h Operation,
    pub token: &'h str,
    pub was: Treated,
    /// It takes the policy's rule.
    pub needs_rule: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treated {
    Honoured,
    /// Because of who asked, or of what.
    Refused,
}

/// Why a request must be refused: something that was acknowledged before it was asked.
pub struct Ended<'h> {
    /// Whose end it was: the token's own or an ancestor's. Of a policy: nothing.
    pub of: Option<&'h str>,
    pub by: &'h Operation,
}

impl<'h> Tokens<'h> {
    #[must_use]
    pub fn of(history: &'h [Operation]) -> Self {
        let mut all = Self { tokens: BTreeMap::new(), policies: BTreeMap::new(), uses: Vec::new() };
        // Whatever was done to a token comes after its making, wherever it stands in the history.
        for operation in history {
            if let (Action::Access(Access::CreateToken { token, parent, policy, ttl_ms }), Outcome::Ok(_)) =
                (&operation.action, &operation.outcome)
            {
                let made = Token {
                    name: token,
                    policy,
                    parent: parent.as_deref(),
                    ttl_us: ttl_ms * US_PER_MS,
                    made: operation,
                    renewals: Vec::new(),
                    revocations: Vec::new(),
                };
                all.tokens.insert(token, made);
            }
        }
        history.iter().for_each(|operation| all.add(operation));
        all
    }

    fn add(&mut self, operation: &'h Operation) {
        let Action::Access(access) = &operation.action else { return };
        if let (Some(token), Some(was)) = (access.bearer(), treated(operation)) {
            let needs_rule = matches!(access, Access::UseToken { what: Use::Secret, .. });
            self.uses.push(Usage { operation, token, was, needs_rule });
        }
        if matches!(operation.outcome, Outcome::Failed { .. }) {
            return;
        }
        match access {
            Access::RenewToken { token } => {
                let token = self.tokens.get_mut(token.as_str());
                token.into_iter().for_each(|token| token.renewals.push(operation));
            }
            Access::RevokeToken { token, .. } => {
                let token = self.tokens.get_mut(token.as_str());
                token.into_iter().for_each(|token| token.revocations.push(operation));
            }
            Access::Grant { policy } => self.policies.entry(policy).or_default().grants.push(operation),
            Access::Withdraw { policy } => {
                self.policies.entry(policy).or_default().withdrawals.push(operation);
            }
            _ => {}
        }
    }

    /// The token and its ancestors. `None`: one of them was never made, as far as the history tells.
    #[must_use]
    pub fn line(&self, name: &str) -> Option<Vec<&Token<'h>>> {
        let mut line = vec![self.tokens.get(name)?];
        while let Some(parent) = line.last().and_then(|token| token.parent) {
            line.push(self.tokens.get(parent).filter(|_| line.len() <= ANCESTORS_MAX)?);
        }
        Some(line)
    }

    /// A revocation, or the loss of the policy's rule, that surely was in force while `usage` was on its way.
    #[must_use]
    pub fn ended(&self, usage: &Usage<'h>, line: &[&Token<'h>]) -> Option<Ended<'h>> {
        let revoked = line.iter().find_map(|token| {
            let by = surely(&token.revocations, &[], usage.operation)?;
            Some(Ended { of: Some(token.name), by })
        });
        let policy = self.policies.get(line.first()?.policy).filter(|_| usage.needs_rule);
        let withdrawn =
            || Some(Ended { of: None, by: surely(&policy?.withdrawals, &policy?.grants, usage.operation)? });
        revoked.or_else(withdrawn)
    }

    /// Whether nothing that anybody asked for can have ended the token, or taken its rule, when `usage` was on its way.
    #[must_use]
    pub fn is_surely_granted(&self, usage: &Usage<'h>, line: &[&Token<'h>]) -> bool {
        let untouched =
            line.iter().all(|token| asked_by(&token.revocations, usage.operation).next().is_none());
        let policy = || self.policies.get(line.first()?.policy);
        untouched
            && (!usage.needs_rule
                || policy().is_some_and(|policy| {
                    surely(&policy.grants, &policy.withdrawals, usage.operation).is_some()
                }))
    }

    /// Whether anybody had asked by then to revoke the token or an ancestor, or to take its policy's rule away.
    #[must_use]
    pub fn is_touched(&self, usage: &Usage<'h>, line: &[&Token<'h>]) -> bool {
        let revoked = line.iter().any(|token| asked_by(&token.revocations, usage.operation).next().is_some());
        let policy = || self.policies.get(line.first()?.policy);
        let withdrawn =
            || policy().is_some_and(|policy| asked_by(&policy.withdrawals, usage.operation).next().is_some());
        revoked || (usage.needs_rule && withdrawn())
    }
}

impl<'h> Token<'h> {
    /// Whether its time cannot have been over while `operation` was on its way.
    #[must_use]
    pub fn surely_lasts(&self, operation: &Operation) -> bool {
        let acknowledged = self.extended(operation).filter(|extended| is_ok(extended));
        let before = acknowledged.filter(|extended| extended.returned_us < operation.invoked_us);
        let since_us = before.map(|extended| extended.invoked_us).max();
        since_us.is_some_and(|since_us| operation.returned_us + SLACK_US < since_us + self.ttl_us)
    }

    /// By how much its time was over for sure when `operation` was asked, in milliseconds.
    ///
    /// A renewal whose fate is not known may have come as late as the token still held, once.
    #[must_use]
    pub fn surely_over_ms(&self, operation: &Operation) -> Option<u64> {
        let by_then =
            || self.extended(operation).filter(|extended| extended.invoked_us <= operation.returned_us);
        let last_us =
            by_then().filter(|extended| is_ok(extended)).map(|extended| extended.returned_us).max()?;
        let unknown = by_then().filter(|extended| !is_ok(extended)).count() as u64;
        let end_us = last_us + self.ttl_us * (1 + unknown) + SLACK_US;
        let late_us = operation.invoked_us.checked_sub(end_us).filter(|late_us| *late_us > 0)?;
        Some(late_us / US_PER_MS + SLACK_MS)
    }

    /// Its making and its renewals, but for `but`.
    fn extended<'t>(&'t self, but: &'t Operation) -> impl Iterator<Item = &'h Operation> + 't {
        std::iter::once(self.made)
            .chain(self.renewals.iter().copied())
            .filter(move |extended| !std::ptr::eq(*extended, but))
    }
}

/// One of `wanted` that was acknowledged before `at` was asked, and that none of `against` can have undone by then.
fn surely<'h>(wanted: &[&'h Operation], against: &[&'h Operation], at: &Operation) -> Option<&'h Operation> {
    let before = wanted.iter().filter(|one| is_ok(one) && one.returned_us < at.invoked_us);
    let last = before.max_by_key(|one| one.invoked_us)?;
    let undone = asked_by(against, at).any(|other| !is_ok(other) || other.returned_us >= last.invoked_us);
    (!undone).then_some(last)
}

/// Those that may have been done before `at` was answered.
fn asked_by<'o, 'h>(of: &'o [&'h Operation], at: &'o Operation) -> impl Iterator<Item = &'h Operation> + 'o {
    of.iter().copied().filter(|one| one.invoked_us <= at.returned_us)
}

fn is_ok(operation: &Operation) -> bool {
    matches!(operation.outcome, Outcome::Ok(_))
}

/// What the answer says about who asked; nothing if there was none, or it is of the server's own trouble.
fn treated(operation: &Operation) -> Option<Treated> {
    /// Too many requests says nothing of who asked.
    const STATUS_TOO_MANY: u16 = 429;
    match operation.outcome {
        Outcome::Ok(_) => Some(Treated::Honoured),
        Outcome::Failed { status: STATUS_TOO_MANY } => None,
        Outcome::Failed { status: 400..500 } => Some(Treated::Refused),
        _ => None,
    }
}
