//! What was laid aside is handed over once at most, to whoever asks first, and to him within its time.

use std::collections::BTreeMap;

use crate::access::Access;
use crate::history::{Action, Operation, Outcome};
use crate::tokens::SLACK_MS;
use crate::verdict::Verdict;

const US_PER_MS: u64 = 1_000;
const SLACK_US: u64 = SLACK_MS * US_PER_MS;

#[derive(Default)]
struct Wrapped<'h> {
    /// Acknowledged: what was wrapped, for how long, and when.
    made: Option<(u64, u64, &'h Operation)>,
    /// Without those that certainly did nothing.
    asked: Vec<&'h Operation>,
    /// Told that there is nothing to hand over.
    refused: Vec<&'h Operation>,
}

#[must_use]
pub fn check(history: &[Operation]) -> Verdict {
    let mut verdict = Verdict::new("wrapping");
    let mut all: BTreeMap<&str, Wrapped<'_>> = BTreeMap::new();
    for operation in history {
        match (&operation.action, &operation.outcome) {
            (Action::Access(Access::Wrap { name, value, ttl_ms }), Outcome::Ok(_)) => {
                all.entry(name).or_default().made = Some((*value, ttl_ms * US_PER_MS, operation));
            }
            (Action::Access(Access::Unwrap { name }), Outcome::Ok(_) | Outcome::Unknown) => {
                all.entry(name).or_default().asked.push(operation);
            }
            (Action::Access(Access::Unwrap { name }), Outcome::Failed { status: 400..500 }) => {
                all.entry(name).or_default().refused.push(operation);
            }
            _ => {}
        }
    }
    for (name, wrapped) in &all {
        match wrapped.made {
            Some(made) => wrapped.judge(name, made, &mut verdict),
            None if wrapped.asked.is_empty() && wrapped.refused.is_empty() => {}
            None => verdict.undecided(name, "was asked for, and its wrapping is not in the history"),
        }
    }
    verdict
}

impl<'h> Wrapped<'h> {
    fn judge(&self, name: &str, made: (u64, u64, &'h Operation), verdict: &mut Verdict) {
        let (value, ttl_us, wrap) = made;
        verdict.checked += self.asked.len() + self.refused.len();
        let given: Vec<&Operation> =
            self.asked.iter().copied().filter(|one| matches!(one.outcome, Outcome::Ok(_))).collect();
        if given.len() > 1 {
            let reason = format!("was handed over {} times", given.len());
            verdict.violated(name, reason, given.iter().copied().chain([wrap]));
        }
        for one in given {
            if !matches!(&one.outcome, Outcome::Ok(answer) if answer.value == Some(value)) {
                verdict.violated(name, "was handed over as something else", [wrap, one]);
            }
            if one.invoked_us > wrap.returned_us + ttl_us + SLACK_US {
                verdict.violated(name, "was handed over after its time", [wrap, one]);
            }
        }
        for refused in &self.refused {
            let taken = self.asked.iter().any(|other| other.invoked_us <= refused.returned_us);
            let lasts = refused.returned_us + SLACK_US < wrap.invoked_us + ttl_us;
            if !taken && lasts && wrap.returned_us < refused.invoked_us {
                verdict.violated(name, "was refused, though nobody had it", [wrap, refused]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::testing::{access, refused_with, unknown_access};

    fn wrap() -> Operation {
        access(0..10, Access::Wrap { name: "w".to_owned(), value: 7, ttl_ms: 9_000 })
    }

    fn unwrap() -> Access {
        Access::Unwrap { name: "w".to_owned() }
    }

    fn given(ms: Range<u64>, value: u64) -> Operation {
        let mut operation = access(ms, unwrap());
        if let Outcome::Ok(answer) = &mut operation.outcome {
            answer.value = Some(value);
        }
        operation
    }

    fn refused(ms: Range<u64>) -> Operation {
        refused_with(400, ms, unwrap())
    }

    #[track_caller]
    fn expect(history: &[Operation], violations: usize) {
        let verdict = check(&[&[wrap()], history].concat());
        assert_eq!((verdict.violations.len(), verdict.undecided.len()), (violations, 0), "{verdict:#?}");
    }

    #[test]
    fn one_gets_it_and_no_other() {
        expect(&[given(20..30, 7), refused(25..35)], 0);
        expect(&[given(20..30, 7), given(25..35, 7)], 1);
        expect(&[given(20..30, 8)], 1);
    }

    #[test]
    fn it_is_not_lost() {
        expect(&[refused(20..30)], 1);
        expect(&[refused(20..30), given(40..50, 7)], 1);
        // Whoever got no answer may have taken it with him.
        expect(&[unknown_access(12..15, unwrap()), refused(20..30)], 0);
        expect(&[refused_with(503, 12..15, unwrap()), refused(20..30)], 1);
    }

    #[test]
    fn it_lies_there_for_its_time() {
        expect(&[refused(6_000..6_990)], 1);
        expect(&[refused(6_000..7_010)], 0);
        expect(&[given(11_005..11_020, 7)], 0);
        expect(&[given(11_015..11_020, 7)], 1);
    }

    #[test]
    fn what_nobody_wrapped_is_no_evidence() {
        assert_eq!(check(&[given(20..30, 7)]).undecided.len(), 1);
    }
}
