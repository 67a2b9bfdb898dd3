//! What was taken away is refused at every node from the moment that this was acknowledged: a token that was revoked or whose
//! parent was, and a rule that a policy lost. And what was not taken away, or was given back, is not refused.
//!
//! A refusal of a token that nobody touched is not judged here: that is its time's matter ([`crate::token_life`]).

use crate::history::Operation;
use crate::tokens::{Ended, Token, Tokens, Treated, Usage};
use crate::verdict::Verdict;

const US_PER_MS: u64 = 1_000;

#[must_use]
pub fn check(history: &[Operation]) -> Verdict {
    let mut verdict = Verdict::new("revocation");
    let tokens = Tokens::of(history);
    for usage in &tokens.uses {
        let Some(line) = tokens.line(usage.token) else {
            verdict.undecided(usage.token, format!("its making is not in the history: {}", usage.operation));
            continue;
        };
        match (tokens.ended(usage, &line), usage.was) {
            (Some(_), Treated::Refused) => verdict.checked += 1,
            (Some(ended), Treated::Honoured) => {
                verdict.checked += 1;
                let operations = [line[0].made, ended.by, usage.operation];
                verdict.violated(usage.token, reason(usage, &ended), operations);
            }
            (None, was) if is_surely_good(&tokens, usage, &line) => {
                verdict.checked += 1;
                if was == Treated::Refused {
                    let reason = "is refused, though it was neither revoked nor without its rule";
                    verdict.violated(usage.token, reason, [line[0].made, usage.operation]);
                }
            }
            (None, _) => {}
        }
    }
    verdict
}

fn reason(usage: &Usage<'_>, ended: &Ended<'_>) -> String {
    let after_ms = (usage.operation.invoked_us - ended.by.returned_us) / US_PER_MS;
    let node = usage.operation.node;
    match ended.of {
        Some(of) if of == usage.token => {
            format!("is honoured by node {node} {after_ms} ms after it was revoked")
        }
        Some(of) => format!("is honoured by node {node} {after_ms} ms after its ancestor {of} was revoked"),
        None => format!("is honoured by node {node} {after_ms} ms after its policy lost the rule"),
    }
}

/// Somebody has touched it or its policy, and it surely holds nevertheless.
fn is_surely_good(tokens: &Tokens<'_>, usage: &Usage<'_>, line: &[&Token<'_>]) -> bool {
    tokens.is_touched(usage, line)
        && tokens.is_surely_granted(usage, line)
        && line.iter().all(|token| token.surely_lasts(usage.operation))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::access::{Access, Use, Way};
    use crate::testing::{access, refused_with, unknown_access};

    fn made(ms: Range<u64>, token: &str, parent: Option<&str>) -> Operation {
        let parent = parent.map(str::to_owned);
        let (token, policy) = (token.to_owned(), "p".to_owned());
        access(ms, Access::CreateToken { token, parent, policy, ttl_ms: 60_000 })
    }

    fn reading(token: &str) -> Access {
        Access::UseToken { token: token.to_owned(), what: Use::Secret }
    }

    fn revoking(token: &str) -> Access {
        Access::RevokeToken { token: token.to_owned(), way: Way::Accessor }
    }

    fn granting() -> Access {
        Access::Grant { policy: "p".to_owned() }
    }

    fn withdrawing() -> Access {
        Access::Withdraw { policy: "p".to_owned() }
    }

    /// A policy with its rule, a token, and one that was made by it.
    fn begun() -> Vec<Operation> {
        vec![access(0..5, granting()), made(10..20, "t", None), made(30..40, "child", Some("t"))]
    }

    fn after_begin(more: &[Operation]) -> Verdict {
        check(&[&begun(), more].concat())
    }

    #[track_caller]
    fn expect(more: &[Operation], violations: usize) {
        let verdict = after_begin(more);
        assert_eq!((verdict.violations.len(), verdict.undecided.len()), (violations, 0), "{verdict:#?}");
    }

    #[test]
    fn what_was_revoked_is_honoured_nowhere() {
        let revoked = access(50..60, revoking("t"));
        expect(&[revoked.clone(), refused_with(403, 70..80, reading("t"))], 0);
        expect(&[revoked.clone(), access(70..80, reading("t"))], 1);
        // Asked before it was acknowledged, it may have come first.
        expect(&[revoked.clone(), access(55..80, reading("t"))], 0);
        // Nobody can be told that it is not so, until somebody was told that it is.
        expect(&[unknown_access(50..60, revoking("t")), access(70..80, reading("t"))], 0);
        // It may not renew itself either, nor make others.
        expect(&[revoked.clone(), access(70..80, Access::RenewToken { token: "t".to_owned() })], 1);
        expect(&[revoked, made(70..80, "late", Some("t"))], 1);
    }

    #[test]
    fn a_parent_takes_its_children_with_it_and_no_child_its_parent() {
        let told = after_begin(&[access(50..60, revoking("t")), access(70..80, reading("child"))]);
        assert!(told.violations[0].reason.contains("10 ms after its ancestor t was revoked"), "{told:#?}");
        let revoked = access(50..60, revoking("child"));
        expect(&[revoked.clone(), access(70..80, reading("t"))], 0);
        expect(&[revoked.clone(), access(70..80, reading("child"))], 1);
        expect(&[revoked, refused_with(403, 70..80, reading("child"))], 0);
    }

    #[test]
    fn a_rule_that_was_taken_away_opens_nothing_until_it_is_given_back() {
        let taken = access(50..60, withdrawing());
        expect(&[taken.clone(), access(70..80, reading("child"))], 1);
        expect(&[taken.clone(), refused_with(403, 70..80, reading("t"))], 0);
        // What it is itself, it may ask nevertheless.
        let itself = Access::UseToken { token: "t".to_owned(), what: Use::Itself };
        expect(&[taken.clone(), access(70..80, itself)], 0);
        // Somebody may have given it back meanwhile.
        expect(&[taken.clone(), unknown_access(62..65, granting()), access(70..80, reading("t"))], 0);
        expect(&[taken.clone(), access(75..90, granting()), access(70..80, reading("t"))], 0);
        let back = access(62..65, granting());
        expect(&[taken.clone(), back.clone(), access(70..80, reading("t"))], 0);
        expect(&[taken, back, refused_with(403, 70..80, reading("t"))], 1);
    }

    #[test]
    fn what_was_given_back_may_have_been_taken_away_again() {
        let history = [access(50..60, withdrawing()), access(62..65, granting())];
        let refused = refused_with(403, 70..80, reading("t"));
        for again in [unknown_access(66..67, withdrawing()), access(64..90, withdrawing())] {
            expect(&[&history[..], &[again, refused.clone()]].concat(), 0);
        }
        expect(&[&history[..], &[refused_with(503, 66..67, withdrawing()), refused]].concat(), 1);
    }

    #[test]
    fn the_servers_own_trouble_is_no_refusal() {
        let revoked_nothing = refused_with(503, 50..60, revoking("t"));
        expect(&[revoked_nothing, access(70..80, reading("t"))], 0);
        expect(&[access(50..60, withdrawing()), refused_with(503, 70..80, reading("t"))], 0);
    }

    #[test]
    fn a_token_that_came_from_nowhere_is_no_evidence() {
        assert_eq!(after_begin(&[access(70..80, reading("other"))]).undecided.len(), 1);
        assert_eq!(after_begin(&[made(70..80, "c", Some("other"))]).undecided.len(), 1);
    }

    #[test]
    fn what_was_held_against_the_rule_is_counted() {
        assert_eq!(after_begin(&[access(50..60, reading("t"))]).checked, 0);
        let revoked = [access(50..60, revoking("t")), refused_with(403, 70..80, reading("child"))];
        assert_eq!(after_begin(&revoked).checked, 1);
    }
}
