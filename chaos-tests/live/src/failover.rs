//! How long writes were gone when the leader was lost, seen from clients at the other nodes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use conclave_oracle::history::{Action, Operation, Outcome};
use serde::Serialize;

use crate::episode::Event;
use crate::fault::{Aim, Kind};

/// Upper bounds of the histogram's bars, in milliseconds.
const BARS_MS: [u64; 8] = [100, 250, 500, 750, 1000, 1500, 2000, 5000];
/// Width of the longest bar.
const BAR_WIDTH: u64 = 40;

/// A fault is alone if no other follows within this time, in microseconds.
const UNDISTURBED_US: u64 = 2_000_000;
/// Writes are acknowledged this often while nothing is broken, in microseconds.
const WRITING_US: u64 = 500_000;

/// Milliseconds, by kind of fault.
#[derive(Debug, Default, Serialize)]
pub struct Gaps(pub BTreeMap<Kind, Vec<u64>>);

/// Of each fault that took the leader and was alone, the longest time without an acknowledged write elsewhere.
///
/// Alone is who found the cluster writing, and was followed by no other fault for [`UNDISTURBED_US`]: neither depends on
/// how long writes were gone. From the next fault on, it is that one's time.
pub fn gaps(events: &[Event], operations: &[Operation]) -> Gaps {
    let mut gaps = Gaps::default();
    let takes_leader = |event: &&Event| {
        event.kind.takes_leader()
            && event.aim == Aim::Leader
            && event.not_counted.is_none()
            && !event.overlapping
    };
    for event in events.iter().filter(takes_leader) {
        let next = events.iter().map(|other| other.began_us).filter(|began| *began > event.began_us).min();
        if next.is_some_and(|next| next < event.began_us + UNDISTURBED_US) {
            continue;
        }
        let until = next.map_or(event.healed_us, |next| next.min(event.healed_us));
        let node = u32::try_from(event.node).unwrap_or(u32::MAX);
        let mut acknowledged: Vec<u64> = operations
            .iter()
            .filter(|operation| {
                operation.node != node
                    && matches!(operation.action, Action::Write { .. })
                    && matches!(operation.outcome, Outcome::Ok(_))
            })
            .map(|operation| operation.returned_us)
            .collect();
        acknowledged.sort_unstable();
        if was_writing(&acknowledged, event.began_us) {
            let gap = longest(&acknowledged, event.began_us, until);
            gaps.0.entry(event.kind).or_default().push(gap / 1000);
        }
    }
    gaps
}

/// Whether a write was acknowledged shortly before.
fn was_writing(times: &[u64], at: u64) -> bool {
    times.iter().any(|time| (at.saturating_sub(WRITING_US)..=at).contains(time))
}

/// The longest time without any of `times` from `from` on, as far as they lie before `until`.
fn longest(times: &[u64], from: u64, until: u64) -> u64 {
    let within: Vec<u64> = times.iter().copied().filter(|time| (from..=until).contains(time)).collect();
    let Some(first) = within.first() else { return until - from };
    within.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default().max(first - from)
}

/// The median, the 99th percentile and the greatest, by nearest rank; zeros if there is nothing.
pub fn percentiles(values: &[u64]) -> (u64, u64, u64) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = |percent: usize| {
        let place = (sorted.len() * percent).div_ceil(100);
        sorted.get(place.saturating_sub(1)).copied().unwrap_or(0)
    };
    (rank(50), rank(99), rank(100))
}

impl Gaps {
    pub fn add(&mut self, other: Self) {
        for (kind, gaps) in other.0 {
            self.0.entry(kind).or_default().extend(gaps);
        }
    }

    pub fn write_markdown(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "| leader lost by | times | writes back: p50 ms | p99 ms | max ms |\n|---|---|---|---|---|"
        )?;
        for (kind, gaps) in &self.0 {
            let (p50, p99, max) = percentiles(gaps);
            writeln!(text, "| {kind:?} | {} | {p50} | {p99} | {max} |", gaps.len())?;
        }
        for (kind, gaps) in &self.0 {
            writeln!(text, "\n```text\n{kind:?}: writes gone for so long")?;
            picture(gaps, text)?;
            writeln!(text, "```")?;
        }
        writeln!(text)
    }
}

/// A bar for each span of time.
fn picture(gaps: &[u64], text: &mut String) -> std::fmt::Result {
    let mut counts = [0; BARS_MS.len() + 1];
    for gap in gaps {
        counts[BARS_MS.iter().position(|bound| gap <= bound).unwrap_or(BARS_MS.len())] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    for (place, count) in counts.iter().enumerate() {
        let label = BARS_MS.get(place).map_or_else(|| "above".to_owned(), |bound| format!("<= {bound} ms"));
        let width = usize::try_from(count * BAR_WIDTH / most).unwrap_or(0);
        writeln!(text, "{label:>10} {count:>5} {}", "#".repeat(width))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_the_longest_within_the_faults_own_time() {
        // What was before is another's, and so is what comes after the next one.
        assert_eq!(longest(&[0, 900, 1000, 1500, 1510, 9000], 950, 2000), 500);
        assert_eq!(longest(&[0, 1700, 9000], 1000, 2000), 700);
        // Writes that do not come back are gone all the time.
        assert_eq!(longest(&[0, 1], 5, 60), 55);
    }

    #[test]
    fn a_cluster_that_did_not_write_was_not_stopped_by_the_fault() {
        assert!(was_writing(&[100, 5_000_000], 400_000));
        assert!(!was_writing(&[100, 5_000_000], 700_000));
    }

    #[test]
    fn a_picture_has_a_bar_for_each_span() {
        let mut text = String::new();
        picture(&[90, 100, 101, 9000], &mut text).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines.len(), BARS_MS.len() + 1);
        assert_eq!(lines[0], format!("<= 100 ms     2 {}", "#".repeat(40)));
        assert_eq!(lines[1], format!("<= 250 ms     1 {}", "#".repeat(20)));
        assert_eq!(lines[8], format!("above     1 {}", "#".repeat(20)));
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let values: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(percentiles(&values), (50, 99, 100));
        assert_eq!(percentiles(&[]), (0, 0, 0));
    }
}
