//! The one door to the verdict on a history.
//!
//! KV v2 numbers the versions of a key, so one pass by versions finds what matters most: an acknowledged write that is
//! gone, an answer older than one that somebody had before, two writes that won the same version, a value out of nowhere.

use std::collections::{BTreeMap, HashMap};

use conclave_oracle::history::{Action, Answer, Freshness, Operation, Outcome};

/// More findings than this say nothing new.
const FINDINGS_MAX: usize = 50;
/// Ages are told in whole milliseconds.
const ROUNDING_US: u64 = 1000;

/// Sentences, each about something that no correct server could have answered. Empty is good.
pub fn judge(operations: &[Operation]) -> Vec<String> {
    let mut keys: BTreeMap<&str, Key<'_>> = BTreeMap::new();
    for operation in operations {
        if let Some(name) = key_of(&operation.action) {
            keys.entry(name).or_default().operations.push(operation);
        }
    }
    let mut findings: Vec<String> = keys.into_iter().flat_map(|(name, key)| key.judge(name)).collect();
    findings.truncate(FINDINGS_MAX);
    findings
}

fn key_of(action: &Action) -> Option<&str> {
    match action {
        Action::Read { key, .. } | Action::Write { key, .. } | Action::Delete { key } => Some(key),
        Action::List { .. } => None,
    }
}

#[derive(Default)]
struct Key<'a> {
    operations: Vec<&'a Operation>,
}

/// All attempts at writing one value.
struct Written {
    first_us: u64,
    /// Every attempt was refused.
    refused: bool,
}

impl Key<'_> {
    fn judge(&self, name: &str) -> Vec<String> {
        let writes = self.writes();
        let mut findings = Vec::new();
        self.judge_order(&writes, &mut findings);
        self.judge_values(&writes, &mut findings);
        findings.into_iter().map(|finding| format!("{name}: {finding}")).collect()
    }

    fn writes(&self) -> HashMap<u64, Written> {
        let mut writes: HashMap<u64, Written> = HashMap::new();
        for operation in &self.operations {
            let Action::Write { value, .. } = operation.action else { continue };
            let refused = matches!(operation.outcome, Outcome::Failed { .. });
            let written = writes.entry(value).or_insert(Written { first_us: u64::MAX, refused: true });
            written.first_us = written.first_us.min(operation.invoked_us);
            written.refused &= refused;
        }
        writes
    }

    /// Nobody is told of a version older than one that was told before the question.
    fn judge_order(&self, writes: &HashMap<u64, Written>, findings: &mut Vec<String>) {
        let answered = self.operations.iter().filter_map(|operation| Some((*operation, answer(operation)?)));
        let mut told: Vec<(u64, u64)> = Vec::new();
        let mut asked: Vec<(u64, &Operation, u64)> = Vec::new();
        for (operation, answer) in answered {
            let version = answer.version.unwrap_or(0);
            match &operation.action {
                Action::Read { freshness: Freshness::Linearizable, .. } => {
                    asked.push((operation.invoked_us, operation, version));
                }
                Action::Read { freshness: Freshness::Stale { bound_ms }, .. } => {
                    // An answer that does not say how old it is must keep at least what it was asked to keep.
                    let age_ms = answer.stale_for_ms.unwrap_or(*bound_ms);
                    if age_ms > *bound_ms {
                        findings.push(format!("a stale read is older than it may be: {}", line(operation)));
                    }
                    let as_of = operation.invoked_us.saturating_sub(age_ms * 1000 + ROUNDING_US);
                    asked.push((as_of, operation, version));
                }
                Action::Write { value, .. } => asked.push((writes[value].first_us, operation, version)),
                Action::Delete { .. } | Action::List { .. } => continue,
            }
            told.push((operation.returned_us, version));
        }
        told.sort_unstable();
        asked.sort_by_key(|(us, ..)| *us);
        let (mut newest, mut next) = (0, 0);
        for (us, operation, version) in asked {
            while told.get(next).is_some_and(|(returned, _)| *returned < us) {
                newest = newest.max(told[next].1);
                next += 1;
            }
            let is_write = matches!(operation.action, Action::Write { .. });
            if version < newest || (is_write && version == newest) {
                findings
                    .push(format!("version {newest} was told before this was asked: {}", line(operation)));
            }
        }
    }

    /// A version has one value, which somebody wrote, and loses it only by a delete.
    fn judge_values(&self, writes: &HashMap<u64, Written>, findings: &mut Vec<String>) {
        let first_delete = self.operations.iter().filter(|operation| {
            matches!(operation.action, Action::Delete { .. })
                && !matches!(operation.outcome, Outcome::Failed { .. })
        });
        let first_delete = first_delete.map(|operation| operation.invoked_us).min().unwrap_or(u64::MAX);
        let (mut values, mut versions) = (HashMap::new(), HashMap::new());
        for operation in &self.operations {
            let Some(answer) = answer(operation) else { continue };
            let version = answer.version.unwrap_or(0);
            let value = match &operation.action {
                Action::Read { .. } => answer.value,
                Action::Write { value, cas, .. } => {
                    if cas.is_some_and(|cas| cas + 1 != version) {
                        findings.push(format!("check-and-set won another version: {}", line(operation)));
                    }
                    Some(*value)
                }
                Action::Delete { .. } | Action::List { .. } => continue,
            };
            let Some(value) = value else {
                if version > 0 && first_delete > operation.returned_us {
                    findings.push(format!("a value is gone that nobody deleted: {}", line(operation)));
                }
                continue;
            };
            match writes.get(&value) {
                None => findings.push(format!("nobody wrote this: {}", line(operation))),
                Some(written) if written.refused => {
                    findings.push(format!("this write was refused: {}", line(operation)));
                }
                Some(written) if written.first_us > operation.returned_us => {
                    findings.push(format!("this was written only later: {}", line(operation)));
                }
                Some(_) => {}
            }
            if *values.entry(version).or_insert(value) != value {
                findings.push(format!("version {version} has another value too: {}", line(operation)));
            }
            if *versions.entry(value).or_insert(version) != version {
                findings.push(format!("this write took effect twice: {}", line(operation)));
            }
        }
    }
}

fn answer(operation: &Operation) -> Option<&Answer> {
    match &operation.outcome {
        Outcome::Ok(answer) => Some(answer),
        Outcome::Failed { .. } | Outcome::Unknown => None,
    }
}

fn line(operation: &Operation) -> String {
    serde_json::to_string(operation).expect("an operation is plain data")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(times: (u64, u64), action: Action, outcome: Outcome) -> Operation {
        Operation { client: 1, node: 0, invoked_us: times.0, returned_us: times.1, action, outcome }
    }

    fn write(times: (u64, u64), value: u64, version: u64) -> Operation {
        let action = Action::Write { key: "k".to_owned(), value, cas: None, idempotency_key: None };
        operation(times, action, Outcome::Ok(Answer { version: Some(version), ..Answer::default() }))
    }

    fn read(times: (u64, u64), value: Option<u64>, version: u64) -> Operation {
        let action = Action::Read { key: "k".to_owned(), freshness: Freshness::Linearizable };
        operation(times, action, Outcome::Ok(Answer { value, version: Some(version), ..Answer::default() }))
    }

    #[track_caller]
    fn finds(operations: &[Operation], word: &str) {
        let findings = judge(operations);
        assert!(findings.iter().any(|finding| finding.contains(word)), "{findings:?}");
    }

    #[test]
    fn a_history_in_order_is_good() {
        let unknown = Operation { outcome: Outcome::Unknown, ..write((25, 30), 9, 0) };
        let history = [write((0, 10), 7, 1), read((11, 12), Some(7), 1), unknown, read((31, 32), Some(9), 2)];
        assert_eq!(judge(&history), Vec::<String>::new());
    }

    #[test]
    fn an_acknowledged_write_that_is_not_read_is_lost() {
        finds(&[write((0, 10), 7, 1), write((11, 20), 8, 2), read((21, 22), Some(7), 1)], "was told before");
    }

    #[test]
    fn two_writes_of_one_version_are_found() {
        finds(&[write((0, 10), 7, 1), write((5, 12), 8, 1)], "another value");
    }

    #[test]
    fn a_write_that_took_effect_twice_is_found() {
        finds(&[write((0, 10), 7, 1), write((11, 12), 7, 2)], "twice");
    }

    #[test]
    fn a_refused_write_must_not_show() {
        let refused = Operation { outcome: Outcome::Failed { status: 503 }, ..write((0, 1), 7, 0) };
        finds(&[refused, read((2, 3), Some(7), 1)], "refused");
    }

    #[test]
    fn a_value_from_nowhere_or_from_the_future_is_found() {
        finds(&[read((0, 1), Some(5), 1)], "nobody wrote");
        finds(&[read((0, 1), Some(5), 1), write((2, 3), 5, 1)], "only later");
    }

    #[test]
    fn a_value_does_not_vanish_without_a_delete() {
        let history = [write((0, 1), 5, 1), read((2, 3), None, 1)];
        finds(&history, "nobody deleted");
        let delete = operation((1, 2), Action::Delete { key: "k".to_owned() }, Outcome::Unknown);
        assert_eq!(judge(&[&history[..], &[delete]].concat()), Vec::<String>::new());
    }

    #[test]
    fn a_stale_read_keeps_the_age_that_it_states() {
        let stale = |age: Option<u64>| {
            let freshness = Freshness::Stale { bound_ms: 250 };
            let answer = Answer { version: Some(0), stale_for_ms: age, ..Answer::default() };
            let action = Action::Read { key: "k".to_owned(), freshness };
            operation((300_000, 300_100), action, Outcome::Ok(answer))
        };
        assert_eq!(judge(&[write((0, 100_000), 5, 1), stale(Some(210))]), Vec::<String>::new());
        finds(&[write((0, 100_000), 5, 1), stale(Some(100))], "was told before");
        finds(&[stale(Some(251))], "older than it may be");
        assert_eq!(judge(&[write((0, 100_000), 5, 1), stale(None)]), Vec::<String>::new());
        finds(&[write((0, 10_000), 5, 1), stale(None)], "was told before");
    }

    #[test]
    fn a_repeat_may_tell_of_the_version_that_its_first_attempt_made() {
        let keyed = |times, outcome| {
            let idempotency_key = Some("i".to_owned());
            let action = Action::Write { key: "k".to_owned(), value: 7, cas: None, idempotency_key };
            operation(times, action, outcome)
        };
        let done = Outcome::Ok(Answer { version: Some(1), ..Answer::default() });
        let history = [keyed((0, 10), Outcome::Unknown), write((11, 12), 8, 2), keyed((13, 14), done)];
        assert_eq!(judge(&history), Vec::<String>::new());
    }
}
