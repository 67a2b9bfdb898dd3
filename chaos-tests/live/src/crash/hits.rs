//! How often a node ended at each point, in each way, and how long that took.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::cluster::Way;

/// By the point's name, and by how the node ended there.
#[derive(Debug, Default, Clone, Serialize)]
#[serde(transparent)]
pub struct Hits(BTreeMap<String, BTreeMap<Way, Count>>);

#[derive(Debug, Default, Clone, Serialize)]
struct Count {
    tried: u64,
    hit: u64,
    /// From what led there until all nodes served again.
    seconds: f64,
}

impl Hits {
    /// Nothing yet, of each point in each way: what is never hit is told.
    pub fn wanted(points: &[&str], ways: &[Way]) -> Self {
        let counts = || ways.iter().map(|way| (*way, Count::default())).collect();
        Self(points.iter().map(|point| ((*point).to_owned(), counts())).collect())
    }

    pub fn note(&mut self, point: &str, way: Way, hit: bool) {
        let count = self.count(point, way);
        count.tried += 1;
        count.hit += u64::from(hit);
    }

    pub fn took(&mut self, point: &str, way: Way, time: Duration) {
        self.count(point, way).seconds += time.as_secs_f64();
    }

    fn count(&mut self, point: &str, way: Way) -> &mut Count {
        self.0.entry(point.to_owned()).or_default().entry(way).or_default()
    }

    pub fn add(&mut self, other: Self) {
        for (point, ways) in other.0 {
            for (way, count) in ways {
                let sum = self.count(&point, way);
                sum.tried += count.tried;
                sum.hit += count.hit;
                sum.seconds += count.seconds;
            }
        }
    }

    /// What has the lowest rank is next. A try that did not get there counts half: it is no reason to go on for ever.
    pub fn rank(&self, point: &str, way: Way) -> u64 {
        self.find(point, way).map_or(0, |count| count.hit.max(count.tried / 2))
    }

    pub fn hit(&self, point: &str, way: Way) -> u64 {
        self.find(point, way).map_or(0, |count| count.hit)
    }

    fn find(&self, point: &str, way: Way) -> Option<&Count> {
        self.0.get(point)?.get(&way)
    }

    /// How often each point was hit in each way, at least.
    pub fn fewest(&self) -> u64 {
        self.counts().map(|(_, _, count)| count.hit).min().unwrap_or(0)
    }

    fn counts(&self) -> impl Iterator<Item = (&str, Way, &Count)> {
        self.0
            .iter()
            .flat_map(|(point, ways)| ways.iter().map(move |(way, count)| (point.as_str(), *way, count)))
    }

    pub fn write_markdown(&self, text: &mut String) -> std::fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let hits = |wanted: Way| -> u64 {
            self.counts().filter(|(_, way, _)| *way == wanted).map(|(_, _, count)| count.hit).sum()
        };
        let (aborts, cuts) = (hits(Way::Abort), hits(Way::PowerCut));
        let seconds: f64 = self.counts().map(|(_, _, count)| count.seconds).sum();
        writeln!(
            text,
            "\n{} crashes at {} points: {aborts} by abort, {cuts} by power cut; each point at least {} times in each \
             way. One took {:.1} s.\n",
            aborts + cuts,
            self.0.len(),
            self.fewest(),
            seconds / (aborts + cuts).max(1) as f64
        )?;
        writeln!(text, "| crash at | aborts tried | hit | power cuts tried | hit | s a hit |")?;
        writeln!(text, "|---|---|---|---|---|---|")?;
        for (point, ways) in &self.0 {
            let cell = |way: Way| match ways.get(&way) {
                Some(count) => format!("{} | {}", count.tried, count.hit),
                None => "- | -".to_owned(),
            };
            let hit: u64 = ways.values().map(|count| count.hit).sum();
            let seconds: f64 = ways.values().map(|count| count.seconds).sum();
            writeln!(
                text,
                "| `{point}` | {} | {} | {:.1} |",
                cell(Way::Abort),
                cell(Way::PowerCut),
                seconds / hit.max(1) as f64
            )?;
        }
        let never = self.counts().filter(|(_, _, count)| count.hit == 0);
        let never: Vec<String> = never.map(|(point, way, _)| format!("{point} ({})", way.name())).collect();
        if !never.is_empty() {
            writeln!(text, "\n- never hit: {}", never.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Way; 2] = [Way::Abort, Way::PowerCut];

    #[test]
    fn each_way_is_counted_for_itself_and_what_was_never_hit_is_told() {
        let mut hits = Hits::wanted(&["a", "b", "c"], &BOTH);
        hits.note("a", Way::Abort, true);
        hits.note("a", Way::PowerCut, true);
        hits.note("b", Way::PowerCut, false);
        hits.took("a", Way::Abort, Duration::from_secs(6));
        let mut sum = hits.clone();
        sum.add(hits);
        let mut text = String::new();
        sum.write_markdown(&mut text).unwrap();
        assert!(text.contains("4 crashes at 3 points: 2 by abort, 2 by power cut"), "{text}");
        assert!(text.contains("at least 0 times") && text.contains("took 3.0 s"), "{text}");
        assert!(text.contains("| `a` | 2 | 2 | 2 | 2 | 3.0 |"), "{text}");
        assert!(text.contains("| `b` | 0 | 0 | 2 | 0 |"), "{text}");
        assert!(text.contains("b (abort), b (power cut), c (abort), c (power cut)"), "{text}");
        let json = serde_json::to_value(&sum).unwrap();
        assert_eq!(json["a"]["power_cut"]["hit"], 2);
    }

    #[test]
    fn a_machine_without_disks_for_nodes_shows_no_power_cuts() {
        let mut hits = Hits::wanted(&["a"], &[Way::Abort]);
        hits.note("a", Way::Abort, true);
        let mut text = String::new();
        hits.write_markdown(&mut text).unwrap();
        assert!(text.contains("0 by power cut; each point at least 1 times"), "{text}");
        assert!(text.contains("| `a` | 1 | 1 | - | - |") && !text.contains("never"), "{text}");
    }

    #[test]
    fn a_point_that_is_not_reached_comes_again_sooner_than_one_that_was_hit() {
        let mut hits = Hits::default();
        for hit in [true, true, false] {
            hits.note(if hit { "hit" } else { "missed" }, Way::Abort, hit);
        }
        assert!(hits.rank("missed", Way::Abort) < hits.rank("hit", Way::Abort));
        (0..5).for_each(|_| hits.note("missed", Way::Abort, false));
        assert!(hits.rank("missed", Way::Abort) > hits.rank("hit", Way::Abort));
    }
}
