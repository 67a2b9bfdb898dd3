//! The one door to the verdict on a history: the oracle's checkers, as sentences for the report.

use conclave_oracle::history::Operation;

/// More findings of one checker than this say nothing new.
const FINDINGS_MAX: usize = 20;

/// What no correct server could have answered, and what could not be decided, which is no better. Empty is good.
pub fn judge(operations: &[Operation]) -> Vec<String> {
    let report = conclave_oracle::judge::judge(operations);
    let findings = report.verdicts.iter().flat_map(|verdict| {
        let checker = verdict.checker;
        let violated = verdict.violations.iter().map(move |found| format!("{checker}: {found}"));
        let undecided = verdict
            .undecided
            .iter()
            .map(move |of| format!("{checker}, undecided: {}: {}", of.key, of.reason));
        violated.chain(undecided).take(FINDINGS_MAX)
    });
    findings.collect()
}

#[cfg(test)]
mod tests {
    use conclave_oracle::history::{Action, Answer, Freshness, Outcome};

    use super::*;

    fn operation(times: (u64, u64), action: Action, version: u64, value: Option<u64>) -> Operation {
        let outcome = Outcome::Ok(Answer { value, version: Some(version), ..Answer::default() });
        Operation { client: 1, node: 0, invoked_us: times.0, returned_us: times.1, action, outcome }
    }

    fn write(times: (u64, u64), value: u64, version: u64) -> Operation {
        let action = Action::Write { key: "k".to_owned(), value, cas: None, idempotency_key: None };
        operation(times, action, version, None)
    }

    fn read(times: (u64, u64), value: u64, version: u64) -> Operation {
        let action = Action::Read { key: "k".to_owned(), freshness: Freshness::Linearizable };
        operation(times, action, version, Some(value))
    }

    #[test]
    fn a_lost_write_is_a_sentence_and_a_good_history_is_none() {
        let good = [write((0, 10), 7, 1), write((11, 20), 8, 2), read((21, 22), 8, 2)];
        assert_eq!(judge(&good), Vec::<String>::new());
        let lost = [write((0, 10), 7, 1), write((11, 20), 8, 2), read((21, 22), 7, 1)];
        let findings = judge(&lost);
        assert!(findings.iter().any(|finding| finding.starts_with("linearizable")), "{findings:?}");
    }
}
