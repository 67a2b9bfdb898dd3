//! What a run did and found, as JSON for programs and as Markdown for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use conclave_oracle::history::{Action, Freshness, Operation, Outcome};
use conclave_oracle::place::Place;
use serde::Serialize;

use crate::coverage::Rights;
use crate::crash::Hits;
use crate::episode::Event;
use crate::failover::{self, Gaps};
use crate::fault::{Aim, Kind};

/// Runs without an event bound its probability by this over their number, with 95 % confidence.
const RULE_OF_THREE: f64 = 3.0;

/// One run, or several that were added up.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub seeds: Vec<u64>,
    pub nodes: Vec<usize>,
    pub seconds: u64,
    pub setting: Setting,
    pub faults: BTreeMap<String, Counts>,
    /// Counted faults of two kinds that went on at the same time.
    pub pairs: BTreeMap<String, u64>,
    pub crashes: Hits,
    pub operations: Totals,
    pub rights: Rights,
    pub failover: Gaps,
    /// Milliseconds from the end of an episode's last fault until all nodes served.
    pub healing_ms: Vec<u64>,
    /// Why faults were not counted, and how often.
    pub not_counted: BTreeMap<String, u64>,
    /// What faults met on their way, and how often.
    pub met: BTreeMap<String, u64>,
    /// How long answers took while there was no quorum.
    pub without_quorum_ms: Vec<u64>,
    pub compared: Compared,
    pub violations: Vec<String>,
}

/// How much was held against what must always hold.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Compared {
    /// Pairs of state hashes at one index.
    pub state_hashes: u64,
    /// Bytes of data, logs and reports that were searched for secrets.
    pub bytes_searched: u64,
    /// Lines of audit trails that were verified, and heads noted by the cluster that they were held against.
    pub trail_lines: u64,
    pub trail_anchors: u64,
}

impl Compared {
    fn add(&mut self, other: &Self) {
        self.state_hashes += other.state_hashes;
        self.bytes_searched += other.bytes_searched;
        self.trail_lines += other.trail_lines;
        self.trail_anchors += other.trail_anchors;
    }

    fn write_markdown(&self, text: &mut String) -> std::fmt::Result {
        let Self { state_hashes, bytes_searched, trail_lines, trail_anchors } = self;
        writeln!(
            text,
            "{state_hashes} pairs of state hashes were compared, {bytes_searched} bytes of data, logs and reports searched \
             for secrets, and {trail_lines} lines of audit trails verified, against {trail_anchors} heads that the clusters \
             had noted.\n"
        )
    }
}

/// Where it ran.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Setting {
    pub version: String,
    pub machine: String,
    pub limits: Vec<String>,
    pub command: String,
}

#[derive(Debug, Default, Clone, Serialize)]
pub struct Counts {
    pub made: u64,
    pub counted: u64,
    pub at_leader: u64,
}

#[derive(Debug, Default, Clone, Serialize)]
pub struct Totals {
    pub all: u64,
    pub ok: u64,
    pub failed: u64,
    pub unknown: u64,
    pub writes: u64,
    pub cas_writes: u64,
    pub keyed_writes: u64,
    pub linearizable_reads: u64,
    pub stale_reads: u64,
    /// Answers to stale reads that did not say how old they may be.
    pub stale_without_age: u64,
    pub version_reads: u64,
    /// With undeletes and destructions.
    pub deletes: u64,
    pub lists: u64,
    /// Of KV v1 secrets, of metadata, and of secrets that are deleted by themselves.
    pub plain: u64,
    pub metadata: u64,
    pub fleeting: u64,
    /// Of who may do what.
    pub rights: u64,
}

impl Totals {
    pub fn of(operations: &[Operation]) -> Self {
        let mut totals = Self::default();
        for operation in operations {
            totals.all += 1;
            match operation.outcome {
                Outcome::Ok(_) => totals.ok += 1,
                Outcome::Failed { .. } => totals.failed += 1,
                Outcome::Unknown => totals.unknown += 1,
            }
            match operation.action.key().map(Place::of) {
                Some(Place::Plain { .. }) => totals.plain += 1,
                Some(Place::Metadata { .. }) => totals.metadata += 1,
                Some(Place::Fleeting { .. }) => totals.fleeting += 1,
                Some(Place::Versioned { .. }) | None => {}
            }
            match &operation.action {
                Action::ReadVersion { .. } => totals.version_reads += 1,
                Action::Read { freshness: Freshness::Linearizable, .. } => totals.linearizable_reads += 1,
                Action::Read { freshness: Freshness::Stale { .. }, .. } => {
                    totals.stale_reads += 1;
                    let ageless =
                        matches!(&operation.outcome, Outcome::Ok(answer) if answer.stale_for_ms.is_none());
                    totals.stale_without_age += u64::from(ageless);
                }
                Action::Write { cas, idempotency_key, .. } => {
                    totals.writes += 1;
                    totals.cas_writes += u64::from(cas.is_some());
                    totals.keyed_writes += u64::from(idempotency_key.is_some());
                }
                Action::Delete { .. } | Action::Undelete { .. } | Action::Destroy { .. } => {
                    totals.deletes += 1
                }
                Action::List { .. } => totals.lists += 1,
                Action::Access(_) => totals.rights += 1,
            }
        }
        totals
    }

    fn add(&mut self, other: &Self) {
        self.all += other.all;
        self.ok += other.ok;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.writes += other.writes;
        self.cas_writes += other.cas_writes;
        self.keyed_writes += other.keyed_writes;
        self.linearizable_reads += other.linearizable_reads;
        self.stale_reads += other.stale_reads;
        self.stale_without_age += other.stale_without_age;
        self.version_reads += other.version_reads;
        self.deletes += other.deletes;
        self.lists += other.lists;
        self.plain += other.plain;
        self.metadata += other.metadata;
        self.fleeting += other.fleeting;
        self.rights += other.rights;
    }
}

impl Report {
    pub fn of_run(
        (seed, nodes, lasted): (u64, usize, Duration),
        events: &[Event],
        operations: &[Operation],
        violations: Vec<String>,
    ) -> Self {
        let mut report = Self {
            seeds: vec![seed],
            nodes: vec![nodes],
            seconds: lasted.as_secs(),
            operations: Totals::of(operations),
            rights: Rights::of_run(events, operations),
            failover: failover::gaps(events, operations),
            violations,
            ..Self::default()
        };
        for event in events {
            for met in &event.met {
                *report.met.entry(met.clone()).or_default() += 1;
            }
            report.without_quorum_ms.extend(&event.waits_ms);
            let counts = report.faults.entry(name(event.kind)).or_default();
            counts.made += 1;
            match &event.not_counted {
                Some(reason) => {
                    *report.not_counted.entry(format!("{}: {reason}", name(event.kind))).or_default() += 1;
                }
                None => {
                    counts.counted += 1;
                    counts.at_leader += u64::from(event.aim == Aim::Leader);
                }
            }
        }
        report.add_episodes(events);
        report
    }

    fn add_episodes(&mut self, events: &[Event]) {
        for episode in events.chunk_by(|a, b| a.episode == b.episode) {
            let ended = episode.iter().map(|event| event.ended_us).max().unwrap_or_default();
            let healed = episode.iter().map(|event| event.healed_us).max().unwrap_or_default();
            self.healing_ms.push(healed.saturating_sub(ended) / 1000);
            for (place, first) in episode.iter().enumerate() {
                for second in &episode[place + 1..] {
                    let together = first.began_us < second.ended_us && second.began_us < first.ended_us;
                    if together && first.not_counted.is_none() && second.not_counted.is_none() {
                        let mut pair = [name(first.kind), name(second.kind)];
                        pair.sort_unstable();
                        *self.pairs.entry(pair.join(" + ")).or_default() += 1;
                    }
                }
            }
        }
    }

    pub fn add(&mut self, other: Self) {
        self.seeds.extend(other.seeds);
        self.nodes.extend(other.nodes);
        self.nodes.sort_unstable();
        self.nodes.dedup();
        self.seconds += other.seconds;
        self.setting = other.setting;
        for (kind, counts) in other.faults {
            let sum = self.faults.entry(kind).or_default();
            sum.made += counts.made;
            sum.counted += counts.counted;
            sum.at_leader += counts.at_leader;
        }
        for (pair, count) in other.pairs {
            *self.pairs.entry(pair).or_default() += count;
        }
        for (reason, count) in other.not_counted {
            *self.not_counted.entry(reason).or_default() += count;
        }
        self.crashes.add(other.crashes);
        self.operations.add(&other.operations);
        self.rights.add(other.rights);
        self.failover.add(other.failover);
        self.healing_ms.extend(other.healing_ms);
        for (met, count) in other.met {
            *self.met.entry(met).or_default() += count;
        }
        self.without_quorum_ms.extend(other.without_quorum_ms);
        self.compared.add(&other.compared);
        self.violations.extend(other.violations);
    }

    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::write(folder.join("report.json"), serde_json::to_vec_pretty(self)?)?;
        std::fs::write(folder.join("report.md"), self.markdown())?;
        Ok(())
    }

    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a text does not fail.
        let _infallible = self.write_markdown(&mut text);
        text
    }

    fn write_markdown(&self, text: &mut String) -> std::fmt::Result {
        let counted: u64 = self.faults.values().map(|counts| counts.counted).sum();
        writeln!(
            text,
            "# Chaos: {} s, {counted} faults, {} violations\n",
            self.seconds,
            self.violations.len()
        )?;
        writeln!(text, "- seeds: {}", words(&self.seeds))?;
        writeln!(text, "- nodes: {}", words(&self.nodes))?;
        writeln!(text, "- version: {}\n- machine: {}", self.setting.version, self.setting.machine)?;
        writeln!(text, "- command: `{}`", self.setting.command)?;
        for limit in &self.setting.limits {
            writeln!(text, "- not exercised: {limit}")?;
        }
        writeln!(text, "\n| fault | made | counted | of these at the leader |\n|---|---|---|---|")?;
        for (kind, counts) in &self.faults {
            writeln!(text, "| {kind} | {} | {} | {} |", counts.made, counts.counted, counts.at_leader)?;
        }
        writeln!(text)?;
        writeln!(text, "\n| overlapping | counted |\n|---|---|")?;
        for (pair, count) in &self.pairs {
            writeln!(text, "| {pair} | {count} |")?;
        }
        self.crashes.write_markdown(text)?;
        let totals = &self.operations;
        writeln!(text, "\n| operations | ok | failed | unknown |\n|---|---|---|---|")?;
        writeln!(text, "| {} | {} | {} | {} |\n", totals.all, totals.ok, totals.failed, totals.unknown)?;
        self.write_operations(text)?;
        self.rights.write_markdown(text)?;
        self.failover.write_markdown(text)?;
        if !self.healing_ms.is_empty() {
            let (p50, p99, max) = failover::percentiles(&self.healing_ms);
            writeln!(text, "All nodes served again after p50 {p50} ms, p99 {p99} ms, at most {max} ms.\n")?;
        }
        if !self.without_quorum_ms.is_empty() {
            let (p50, p99, max) = failover::percentiles(&self.without_quorum_ms);
            let count = self.without_quorum_ms.len();
            writeln!(
                text,
                "Without a quorum {count} requests were answered after p50 {p50} ms, p99 {p99} ms, at most {max} ms.\n"
            )?;
        }
        self.compared.write_markdown(text)?;
        for (met, count) in &self.met {
            writeln!(text, "- {count} times {met}")?;
        }
        for (reason, count) in &self.not_counted {
            writeln!(text, "- not counted, {count} times: {reason}")?;
        }
        writeln!(text, "\n## Violations\n")?;
        if self.violations.is_empty() {
            let bound = RULE_OF_THREE / totals.all.max(1) as f64;
            writeln!(text, "None. With 95 % confidence that is less than {bound:.1e} an operation.")?;
        }
        for violation in &self.violations {
            writeln!(text, "- {violation}")?;
        }
        Ok(())
    }
}

impl Report {
    fn write_operations(&self, text: &mut String) -> std::fmt::Result {
        let totals = &self.operations;
        writeln!(
            text,
            "Of rights {}. Linearizable reads {}, of versions by number {}, stale {} ({} answers without an age), writes {} (with cas \
             {}, with an idempotency key {}), deletes, undeletes and destructions {}, lists {}. Of all these {} of KV v1, \
             {} of metadata, {} of secrets that go by themselves.\n",
            totals.rights,
            totals.linearizable_reads,
            totals.version_reads,
            totals.stale_reads,
            totals.stale_without_age,
            totals.writes,
            totals.cas_writes,
            totals.keyed_writes,
            totals.deletes,
            totals.lists,
            totals.plain,
            totals.metadata,
            totals.fleeting
        )
    }
}

fn words(numbers: &[impl ToString]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A kind as the reports spell it.
fn name(kind: Kind) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => name,
        _ => unreachable!("a kind without fields is a text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind, times: (u64, u64), not_counted: Option<&str>) -> Event {
        Event {
            episode: 1,
            kind,
            aim: Aim::Leader,
            node: 0,
            began_us: times.0,
            ended_us: times.1,
            overlapping: true,
            not_counted: not_counted.map(str::to_owned),
            met: vec!["something".to_owned()],
            violations: Vec::new(),
            waits_ms: Vec::new(),
            healed_us: 9_000,
        }
    }

    #[test]
    fn what_did_not_happen_as_meant_is_told_and_not_counted() {
        let events = [
            event(Kind::Kill, (0, 5_000), None),
            event(Kind::Pause, (1_000, 6_000), None),
            event(Kind::Isolate, (1_000, 2_000), Some("no packet met the cut")),
        ];
        let report = Report::of_run((7, 3, Duration::from_secs(60)), &events, &[], Vec::new());
        assert_eq!((report.faults["isolate"].made, report.faults["isolate"].counted), (1, 0));
        assert_eq!(report.pairs, BTreeMap::from([("kill + pause".to_owned(), 1)]));
        assert_eq!(report.healing_ms, [3]);
        assert!(report.markdown().contains("no packet met the cut"));
        assert!(report.markdown().contains("3 times something"));
    }
}
