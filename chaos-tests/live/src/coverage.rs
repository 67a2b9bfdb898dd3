//! What a run did about rights, and whether that is enough for its verdict on them to be worth something.
//!
//! Nothing is learnt of revocations if nobody tries what was revoked, at other nodes and while nodes end; nor of lockouts if
//! nobody was locked out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use conclave_oracle::access::Access;
use conclave_oracle::history::{Action, Operation, Outcome};
use conclave_oracle::tokens::Tokens;
use serde::Serialize;

use crate::episode::Event;

const STATUS_LOCKED: u16 = 403;

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Rights {
    pub tokens: u64,
    pub uses: u64,
    pub renewals: u64,
    pub revocations: u64,
    pub policy_changes: u64,
    pub logins: u64,
    pub unwraps: u64,
    /// Uses of what had been taken away by then, at another node than that was asked at, and which would be good otherwise.
    pub tried_elsewhere: u64,
    /// Of these, with a node that was ended in between.
    pub tried_across_ends: u64,
    /// Uses of tokens whose time was over.
    pub tried_after_time: u64,
    /// Right passwords of users who were locked out.
    pub locked_out: u64,
    /// Of these, with a node that was ended since the last wrong one.
    pub locked_across_ends: u64,
    /// Wrapped answers that two nodes were asked for at the same time.
    pub unwrapped_at_once: u64,
    /// Runs that had enough of this.
    pub runs_counted: u64,
    /// What others lacked, and how many of them.
    pub not_counted: BTreeMap<String, u64>,
}

impl Rights {
    pub fn of_run(events: &[Event], operations: &[Operation]) -> Self {
        let mut ends: Vec<u64> = events
            .iter()
            .filter(|event| event.kind.ends_process() && event.not_counted.is_none())
            .map(|event| event.began_us)
            .collect();
        ends.sort_unstable();
        let mut rights = Self::default();
        operations.iter().for_each(|operation| rights.count(operation));
        rights.count_uses(&ends, operations);
        rights.count_lockouts(&ends, operations);
        rights.count_unwraps(operations);
        match rights.lacks() {
            None => rights.runs_counted = 1,
            Some(lack) => drop(rights.not_counted.insert(lack.to_owned(), 1)),
        }
        rights
    }

    fn count(&mut self, operation: &Operation) {
        let Action::Access(access) = &operation.action else { return };
        match access {
            Access::CreateToken { .. } => self.tokens += 1,
            Access::UseToken { .. } => self.uses += 1,
            Access::RenewToken { .. } => self.renewals += 1,
            Access::RevokeToken { .. } => self.revocations += 1,
            Access::Grant { .. } | Access::Withdraw { .. } => self.policy_changes += 1,
            Access::Login { .. } => self.logins += 1,
            Access::Unwrap { .. } => self.unwraps += 1,
            Access::Wrap { .. } => {}
        }
    }

    fn count_uses(&mut self, ends: &[u64], operations: &[Operation]) {
        let tokens = Tokens::of(operations);
        for usage in &tokens.uses {
            let Some(line) = tokens.line(usage.token) else { continue };
            if line.iter().any(|token| token.surely_over_ms(usage.operation).is_some()) {
                self.tried_after_time += 1;
            }
            let Some(ended) = tokens.ended(usage, &line) else { continue };
            let otherwise_good = line.iter().all(|token| token.surely_lasts(usage.operation));
            if otherwise_good && ended.by.node != usage.operation.node {
                self.tried_elsewhere += 1;
                self.tried_across_ends += u64::from(is_between(ends, ended.by, usage.operation));
            }
        }
    }

    fn count_lockouts(&mut self, ends: &[u64], operations: &[Operation]) {
        let mut guesses: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
        let mut refused = Vec::new();
        for operation in operations {
            let Action::Access(Access::Login { user, right }) = &operation.action else { continue };
            match (right, &operation.outcome) {
                (false, Outcome::Failed { status: 400 }) => guesses.entry(user).or_default().push(operation),
                (true, Outcome::Failed { status: STATUS_LOCKED }) => refused.push((user.as_str(), operation)),
                _ => {}
            }
        }
        for (user, operation) in refused {
            self.locked_out += 1;
            let before = guesses
                .get(user)
                .into_iter()
                .flatten()
                .filter(|guess| guess.returned_us < operation.invoked_us);
            let last = before.max_by_key(|guess| guess.returned_us);
            self.locked_across_ends += u64::from(last.is_some_and(|last| is_between(ends, last, operation)));
        }
    }

    fn count_unwraps(&mut self, operations: &[Operation]) {
        let mut asked: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
        for operation in operations {
            if let Action::Access(Access::Unwrap { name }) = &operation.action {
                asked.entry(name).or_default().push(operation);
            }
        }
        let at_once = |pair: &[&Operation]| {
            pair[0].node != pair[1].node
                && pair[0].invoked_us < pair[1].returned_us
                && pair[1].invoked_us < pair[0].returned_us
        };
        self.unwrapped_at_once = asked.values().filter(|asked| asked.windows(2).any(at_once)).count() as u64;
    }

    /// Without what nothing is said about rights.
    fn lacks(&self) -> Option<&'static str> {
        match self {
            Self { tried_elsewhere: 0, .. } => Some("nothing that was taken away was tried at another node"),
            Self { tried_across_ends: 0, .. } => Some("no node ended between a revocation and a use"),
            Self { locked_out: 0, .. } => Some("nobody was locked out"),
            Self { unwrapped_at_once: 0, .. } => Some("no answer was unwrapped at two nodes at once"),
            _ => None,
        }
    }

    pub fn add(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.uses += other.uses;
        self.renewals += other.renewals;
        self.revocations += other.revocations;
        self.policy_changes += other.policy_changes;
        self.logins += other.logins;
        self.unwraps += other.unwraps;
        self.tried_elsewhere += other.tried_elsewhere;
        self.tried_across_ends += other.tried_across_ends;
        self.tried_after_time += other.tried_after_time;
        self.locked_out += other.locked_out;
        self.locked_across_ends += other.locked_across_ends;
        self.unwrapped_at_once += other.unwrapped_at_once;
        self.runs_counted += other.runs_counted;
        for (lack, count) in other.not_counted {
            *self.not_counted.entry(lack).or_default() += count;
        }
    }

    pub fn write_markdown(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "Rights: tokens made {}, used {}, renewed {}, revoked {}, policies changed {}, logins {}, unwraps {}.\n",
            self.tokens,
            self.uses,
            self.renewals,
            self.revocations,
            self.policy_changes,
            self.logins,
            self.unwraps
        )?;
        writeln!(text, "| of rights, tried | times |\n|---|---|")?;
        for (what, times) in [
            ("what was taken away, at another node", self.tried_elsewhere),
            ("the same, after a node was ended in between", self.tried_across_ends),
            ("tokens whose time was over", self.tried_after_time),
            ("right passwords of who was locked out", self.locked_out),
            ("the same, after a node was ended in between", self.locked_across_ends),
            ("wrapped answers, at two nodes at once", self.unwrapped_at_once),
        ] {
            writeln!(text, "| {what} | {times} |")?;
        }
        writeln!(text, "\nRuns whose verdict on rights counts: {}.", self.runs_counted)?;
        for (lack, count) in &self.not_counted {
            writeln!(text, "- does not count, {count} times: {lack}")?;
        }
        writeln!(text)
    }
}

/// Whether any of the moments lies behind the answer to `first` and before `then` was asked.
fn is_between(moments: &[u64], first: &Operation, then: &Operation) -> bool {
    moments.iter().any(|moment| (first.returned_us..then.invoked_us).contains(moment))
}

#[cfg(test)]
mod tests {
    use conclave_oracle::access::{Use, Way};
    use conclave_oracle::history::Answer;

    use super::*;
    use crate::fault::{Aim, Kind};

    fn kill(began_us: u64) -> Event {
        Event {
            episode: 1,
            kind: Kind::Kill,
            aim: Aim::Leader,
            node: 0,
            began_us,
            ended_us: began_us + 10,
            overlapping: false,
            not_counted: None,
            met: Vec::new(),
            violations: Vec::new(),
            waits_ms: Vec::new(),
            healed_us: began_us + 20,
        }
    }

    fn asked(at_us: u64, node: u32, access: Access, status: u16) -> Operation {
        let outcome = match status {
            200 => Outcome::Ok(Answer::default()),
            status => Outcome::Failed { status },
        };
        let client = u32::try_from(at_us).unwrap();
        Operation {
            client,
            node,
            invoked_us: at_us,
            returned_us: at_us + 10,
            action: Action::Access(access),
            outcome,
        }
    }

    fn revoked_and_tried(node: u32) -> Vec<Operation> {
        let token = || "t".to_owned();
        let create =
            Access::CreateToken { token: token(), parent: None, policy: "p".to_owned(), ttl_ms: 60_000 };
        vec![
            asked(0, 0, create, 200),
            asked(20, 1, Access::RevokeToken { token: token(), way: Way::Own }, 200),
            asked(60, node, Access::UseToken { token: token(), what: Use::Itself }, 403),
        ]
    }

    fn locked_out() -> Vec<Operation> {
        let login = |right| Access::Login { user: "locks-1-9000/u".to_owned(), right };
        vec![asked(100, 0, login(false), 400), asked(140, 1, login(true), 403)]
    }

    fn unwrapped() -> Vec<Operation> {
        let unwrap = || Access::Unwrap { name: "w".to_owned() };
        vec![asked(200, 0, unwrap(), 200), asked(205, 2, unwrap(), 400)]
    }

    #[test]
    fn a_run_counts_that_tried_everything_while_nodes_ended() {
        let operations = [revoked_and_tried(2), locked_out(), unwrapped()].concat();
        let rights = Rights::of_run(&[kill(40), kill(120)], &operations);
        assert_eq!((rights.tried_elsewhere, rights.tried_across_ends), (1, 1));
        assert_eq!((rights.locked_out, rights.locked_across_ends), (1, 1));
        assert_eq!((rights.unwrapped_at_once, rights.runs_counted), (1, 1));
        assert!(rights.not_counted.is_empty());
    }

    #[test]
    fn a_run_that_lacks_something_says_what() {
        let lack = |events: &[Event], operations: &[Operation]| {
            let rights = Rights::of_run(events, operations);
            assert_eq!(rights.runs_counted, 0);
            rights.not_counted.into_keys().next().unwrap()
        };
        let whole = [revoked_and_tried(2), locked_out(), unwrapped()].concat();
        let same_node = [revoked_and_tried(1), locked_out(), unwrapped()].concat();
        assert!(lack(&[kill(40)], &same_node).contains("at another node"));
        assert!(lack(&[kill(70)], &whole).contains("no node ended"));
        assert!(lack(&[kill(40)], &[revoked_and_tried(2), unwrapped()].concat()).contains("locked out"));
        assert!(lack(&[kill(40)], &[revoked_and_tried(2), locked_out()].concat()).contains("unwrapped"));
        let alone = [revoked_and_tried(2), locked_out(), unwrapped()[..1].to_vec()].concat();
        assert!(lack(&[kill(40)], &alone).contains("unwrapped"));
    }
}
