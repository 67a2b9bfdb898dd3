//! A token lasts as long as it was promised since it was made or renewed last, and no longer; its ancestors likewise.
//!
//! Whose time counts is said in [`crate::tokens`]: whatever is done to clocks, to [`SLACK_MS`](crate::tokens::SLACK_MS).

use crate::history::Operation;
use crate::tokens::{Tokens, Treated};
use crate::verdict::Verdict;

#[must_use]
pub fn check(history: &[Operation]) -> Verdict {
    let mut verdict = Verdict::new("token-life");
    let tokens = Tokens::of(history);
    for usage in &tokens.uses {
        // That its making is missing is said by the checker of revocations.
        let Some(line) = tokens.line(usage.token) else { continue };
        let over = line.iter().find_map(|token| Some((*token, token.surely_over_ms(usage.operation)?)));
        if let Some((token, late_ms)) = over {
            verdict.checked += 1;
            if usage.was == Treated::Honoured {
                let whose = if token.name == usage.token { "it" } else { token.name };
                let reason = format!("is honoured {late_ms} ms after {whose} should have ended");
                verdict.violated(usage.token, reason, [token.made, usage.operation]);
            }
            continue;
        }
        let lasts = line.iter().all(|token| token.surely_lasts(usage.operation));
        if lasts && !tokens.is_touched(usage, &line) && tokens.is_surely_granted(usage, &line) {
            verdict.checked += 1;
            if usage.was == Treated::Refused {
                let reason = "is refused within its time, though nobody had revoked anything";
                verdict.violated(usage.token, reason, [line[0].made, usage.operation]);
            }
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::access::{Access, Use, Way};
    use crate::testing::{access, refused_with, unknown_access};

    fn made(ms: Range<u64>, token: &str, parent: Option<&str>, ttl_ms: u64) -> Operation {
        let parent = parent.map(str::to_owned);
        let (token, policy) = (token.to_owned(), "p".to_owned());
        access(ms, Access::CreateToken { token, parent, policy, ttl_ms })
    }

    fn asking(token: &str) -> Access {
        Access::UseToken { token: token.to_owned(), what: Use::Itself }
    }

    fn renewing() -> Access {
        Access::RenewToken { token: "t".to_owned() }
    }

    /// A token of five seconds, and one of a minute that was made by it.
    #[track_caller]
    fn expect(more: &[Operation], violations: usize) {
        let begun = [made(0..10, "t", None, 5_000), made(20..30, "child", Some("t"), 60_000)];
        let verdict = check(&[&begun[..], more].concat());
        assert_eq!((verdict.violations.len(), verdict.undecided.len()), (violations, 0), "{verdict:#?}");
    }

    #[test]
    fn it_is_refused_after_its_time() {
        expect(&[access(7_005..7_020, asking("t"))], 0);
        expect(&[access(7_015..7_020, asking("t"))], 1);
        expect(&[refused_with(403, 7_015..7_020, asking("t"))], 0);
        expect(&[access(7_015..7_020, renewing())], 1);
    }

    #[test]
    fn it_lasts_for_its_time() {
        expect(&[refused_with(403, 2_000..2_990, asking("t"))], 1);
        expect(&[refused_with(403, 2_000..3_010, asking("t"))], 0);
        expect(&[refused_with(503, 2_000..2_990, asking("t"))], 0);
        expect(&[refused_with(400, 2_000..2_990, renewing())], 1);
    }

    #[test]
    fn a_renewal_makes_it_last_from_then_on() {
        let renewed = access(4_000..4_010, renewing());
        expect(&[renewed.clone(), access(11_005..11_020, asking("t"))], 0);
        expect(&[renewed.clone(), access(11_015..11_020, asking("t"))], 1);
        expect(&[renewed.clone(), refused_with(403, 6_000..6_990, asking("t"))], 1);
        expect(&[renewed, refused_with(403, 6_000..7_010, asking("t"))], 0);
    }

    #[test]
    fn a_renewal_that_may_have_been_done_may_have_been_done_at_the_last_moment() {
        let unsure = unknown_access(2_000..2_010, renewing());
        expect(&[unsure.clone(), access(12_005..12_020, asking("t"))], 0);
        expect(&[unsure.clone(), access(12_015..12_020, asking("t"))], 1);
        expect(&[unsure, refused_with(403, 4_000..4_900, asking("t"))], 0);
    }

    #[test]
    fn it_ends_with_its_parent_and_not_before() {
        expect(&[access(7_015..7_020, asking("child"))], 1);
        expect(&[refused_with(403, 2_000..2_990, asking("child"))], 1);
        expect(&[refused_with(403, 2_000..3_010, asking("child"))], 0);
    }

    #[test]
    fn whoever_may_have_been_revoked_is_not_promised_anything() {
        let revoking = Access::RevokeToken { token: "t".to_owned(), way: Way::Own };
        expect(
            &[unknown_access(100..110, revoking.clone()), refused_with(403, 200..210, asking("child"))],
            0,
        );
        expect(&[refused_with(503, 100..110, revoking), refused_with(403, 200..210, asking("child"))], 1);
    }

    #[test]
    fn a_policy_that_never_had_its_rule_promises_no_secret() {
        let reading = Access::UseToken { token: "t".to_owned(), what: Use::Secret };
        let (granted, taken) =
            (Access::Grant { policy: "p".to_owned() }, Access::Withdraw { policy: "p".to_owned() });
        expect(&[refused_with(403, 200..210, reading.clone())], 0);
        expect(&[access(100..110, granted), refused_with(403, 200..210, reading)], 1);
        // What a token is itself, it may ask without.
        expect(&[access(100..110, taken), refused_with(403, 200..210, asking("t"))], 1);
    }
}
