//! Nothing runs backwards: what began after an answer had returned is not answered from an older state.
//!
//! For linearizable answers this holds across all clients, nodes and keys (`X-Conclave-Index`) and across all clients and
//! nodes for each key (versions). A node's own state does not go back either, so it holds for what one client reads of a
//! key at one node, stale or not.

use std::collections::BTreeMap;

use crate::history::{Action, Freshness, Operation, Outcome};
use crate::verdict::Verdict;

#[must_use]
pub fn check(history: &[Operation]) -> Verdict {
    let mut verdict = Verdict::new("monotonic");
    let mut indexes = Vec::new();
    let mut versions: BTreeMap<&str, Vec<Numbered<'_>>> = BTreeMap::new();
    let mut at_node: BTreeMap<(&str, u32, u32), Vec<Numbered<'_>>> = BTreeMap::new();
    for operation in history {
        let (Some(key), Outcome::Ok(answer)) = (operation.action.key(), &operation.outcome) else { continue };
        let stale = matches!(operation.action, Action::Read { freshness: Freshness::Stale { .. }, .. });
        // A repeat is answered as the first was: with the version of then.
        let repeat = matches!(operation.action, Action::Write { idempotency_key: Some(_), .. });
        if let (Some(number), false) = (answer.index, stale) {
            indexes.push(Numbered { number, operation });
        }
        let Some(number) = answer.version.filter(|_| !repeat) else { continue };
        let numbered = Numbered { number, operation };
        if matches!(operation.action, Action::Read { .. }) {
            at_node.entry((key, operation.client, operation.node)).or_default().push(numbered);
        }
        if !stale {
            versions.entry(key).or_default().push(numbered);
        }
    }
    verdict.checked = indexes.len();
    backwards(indexes, "the index", "all keys", &mut verdict);
    for (key, numbered) in versions {
        verdict.checked += numbered.len();
        backwards(numbered, "the version", key, &mut verdict);
    }
    for ((key, client, node), numbered) in at_node {
        verdict.checked += numbered.len();
        backwards(numbered, &format!("client {client}'s version at node {node}"), key, &mut verdict);
    }
    verdict
}

#[derive(Debug, Clone, Copy)]
struct Numbered<'h> {
    number: u64,
    operation: &'h Operation,
}

/// Reports the first answer whose number is lower than that of an answer returned before it was asked for.
fn backwards(mut asked: Vec<Numbered<'_>>, what: &str, key: &str, verdict: &mut Verdict) {
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
        if let Some(greatest) = greatest.filter(|greatest| greatest.number > answer.number) {
            let reason = format!("{what} ran back from {} to {}", greatest.number, answer.number);
            verdict.violated(key, reason, [greatest.operation, answer.operation]);
            return;
        }
    }
}
