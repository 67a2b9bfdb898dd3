//! How often a node ended at each point.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

/// By the point's name.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Hits(BTreeMap<String, Count>);

#[derive(Debug, Default, Clone, Serialize)]
struct Count {
    tried: u64,
    hit: u64,
}

impl Hits {
    pub fn note(&mut self, point: &str, hit: bool) {
        let count = self.0.entry(point.to_owned()).or_default();
        count.tried += 1;
        count.hit += u64::from(hit);
    }

    pub fn add(&mut self, other: Self) {
        for (point, count) in other.0 {
            let sum = self.0.entry(point).or_default();
            sum.tried += count.tried;
            sum.hit += count.hit;
        }
    }

    pub fn write_markdown(&self, text: &mut String) -> std::fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let all: u64 = self.0.values().map(|count| count.hit).sum();
        let never: Vec<&str> =
            self.0.iter().filter(|(_, count)| count.hit == 0).map(|(point, _)| point.as_str()).collect();
        writeln!(text, "\n{all} crashes at {} points.\n", self.0.len() - never.len())?;
        writeln!(text, "| crash at | tried | hit |\n|---|---|---|")?;
        for (point, count) in &self.0 {
            writeln!(text, "| `{point}` | {} | {} |", count.tried, count.hit)?;
        }
        if !never.is_empty() {
            writeln!(text, "\n- never hit: {}", never.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_that_was_never_hit_is_told() {
        let mut hits = Hits::default();
        hits.note("a", true);
        hits.note("b", false);
        let mut sum = hits.clone();
        sum.add(hits);
        let mut text = String::new();
        sum.write_markdown(&mut text).unwrap();
        assert!(text.contains("2 crashes at 1 points"), "{text}");
        assert!(text.contains("| `a` | 2 | 2 |") && text.contains("never hit: b"), "{text}");
    }
}
