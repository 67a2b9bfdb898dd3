//! Nothing runs backwards: what began after an answer had returned is not answered from an older state.
//!
//! For linearizable answers this holds across all clients, nodes and keys (`X-Conclave-Index`) and across all clients and
//! nodes for each key (versions). A node's own state does not go back either, so it holds for what one client reads of a
//! key at one node, stale or not. The time that writes are given is the cluster's: it may differ a little between nodes, and
//! never goes back by more.

use std::collections::BTreeMap;

use crate::history::{Action, Freshness, Operation, Outcome};
use crate::verdict::Verdict;

/// How far the times of two nodes may be apart.
const TIME_SLACK_MS: u64 = 2_000;

#[must_use]
pub fn check(history: &[Operation]) -> Verdict {
    let mut verdict = Verdict::new("monotonic");
    let mut indexes = Vec::new();
    let mut times = Vec::new();
    let mut versions: BTreeMap<&str, Vec<Numbered<'_>>> = BTreeMap::new();
    let mut at_node: BTreeMap<(&str, u32, u32), Vec<Numbered<'_>>> = BTreeMap::new();
    for operation in history {
        let Outcome::Ok(answer) = &operation.outcome else { continue };
        let stale = matches!(operation.action, Action::Read { freshness: Freshness::Stale { .. }, .. });
        // A repeat is answered as the first was: with the version of then.
        let repeat = matches!(operation.action, Action::Write { idempotency_key: Some(_), .. });
        if let (Some(number), false) = (answer.index, stale) {
            indexes.push(Numbered { number, operation });
        }
        times.extend(answer.time_ms.map(|number| Numbered { number, operation }));
        let (Some(key), Some(number)) = (operation.action.key(), answer.version.filter(|_| !repeat)) else {
            continue;
        };
        let numbered = Numbered { number, operation };
        if matches!(operation.action, Action::Read { .. }) {
            at_node.entry((key, operation.client, operation.node)).or_default().push(numbered);
        }
        if !stale {
            versions.entry(key).or_default().push(numbered);
        }
    }
    verdict.checked = indexes.len() + times.len();
    backwards(indexes, 0, "the index", "all keys", &mut verdict);
    backwards(times, TIME_SLACK_MS, "the cluster's time", "all keys", &mut verdict);
    for (key, numbered) in versions {
        verdict.checked += numbered.len();
        backwards(numbered, 0, "the version", key, &mut verdict);
    }
    for ((key, client, node), numbered) in at_node {
        verdict.checked += numbered.len();
        backwards(numbered, 0, &format!("client {client}'s version at node {node}"), key, &mut verdict);
    }
    verdict
}

#[derive(Debug, Clone, Copy)]
struct Numbered<'h> {
    number: u64,
    operation: &'h Operation,
}

/// Reports the first answer whose number is lower, by more than `slack`, than that of an answer returned before it was
/// asked for.
fn backwards(mut asked: Vec<Numbered<'_>>, slack: u64, what: &str, key: &str, verdict: &mut Verdict) {
    let mut returned = asked.clone();
    asked.sort_by_key(|answer| answer.operation.invoked_us);
    returned.sort_by_key(|answer| answer.operation.returned_us);
    let mut returned = returned.into_iter().peekable();
    let mut greatest: Option<Numbered<'_>> = None;
    for answer in asked {
        while let Some(earlier) =
            returned.next_if(|earlier| earlier.operation.returned_us < answer.operation.invoked_us)
        {
            if greatest.is_none_or(|greatest| earlier.number > greatest.number) {
                greatest = Some(earlier);
            }
        }
        if let Some(greatest) = greatest.filter(|greatest| greatest.number > answer.number + slack) {
            let reason = format!("{what} ran back from {} to {}", greatest.number, answer.number);
            verdict.violated(key, reason, [greatest.operation, answer.operation]);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{index, ok, on, once, read, stale, time, version, write};

    #[track_caller]
    fn expect(history: &[Operation], violations: usize) {
        let verdict = check(history);
        assert_eq!(verdict.violations.len(), violations, "{verdict:#?}");
    }

    #[test]
    fn the_index_of_what_began_later_is_not_lower() {
        expect(&[index(ok(0..10, write(1)), 7), index(read(20..30, 1), 7)], 0);
        expect(&[index(ok(0..10, write(1)), 7), index(read(20..30, 1), 6)], 1);
    }

    #[test]
    fn the_clusters_time_goes_back_by_no_more_than_nodes_differ() {
        expect(&[time(ok(0..10, write(1)), 9_000), time(on("l", ok(20..30, write(2))), 7_000)], 0);
        expect(&[time(ok(0..10, write(1)), 9_001), time(on("l", ok(20..30, write(2))), 7_000)], 1);
    }

    #[test]
    fn what_overlaps_is_free() {
        expect(&[index(ok(0..10, write(1)), 7), index(read(10..30, 1), 6)], 0);
        expect(&[index(read(0..30, 1), 7), index(read(10..20, 1), 6)], 0);
    }

    #[test]
    fn the_greatest_of_all_earlier_answers_counts() {
        let history = [index(read(0..10, 1), 9), index(read(1..15, 1), 3), index(read(20..30, 1), 5)];
        let verdict = check(&history);
        assert_eq!(verdict.violations[0].operations, [history[0].clone(), history[2].clone()]);
    }

    #[test]
    fn the_version_of_a_key_does_not_run_back() {
        expect(&[version(read(0..10, 1), 2), version(read(20..30, 1), 2)], 0);
        expect(&[version(ok(0..10, write(1)), 2), version(read(20..30, 1), 1)], 1);
    }

    #[test]
    fn a_repeat_may_name_the_version_of_then() {
        expect(&[version(read(0..10, 1), 2), version(ok(20..30, once("a", 1)), 1)], 0);
    }

    #[test]
    fn a_stale_answer_is_held_to_what_its_client_read_at_its_node() {
        let by = |client, node, mut operation: Operation| {
            (operation.client, operation.node) = (client, node);
            operation
        };
        let first = by(1, 1, version(stale(0..10, 1, 5), 2));
        let second = |client, node| by(client, node, version(stale(20..30, 1, 5), 1));
        expect(&[first.clone(), second(1, 1)], 1);
        expect(&[first.clone(), second(1, 2)], 0);
        expect(&[first, second(2, 1)], 0);
    }
}
