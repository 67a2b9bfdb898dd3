//! Where the next crash is, and in which way: what came least so far, by the seed among equals.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use conclave_faults::failpoint::PointRow;

use super::{Deed, Hits, Stage, deed};
use crate::cluster::{Cluster, Way, name};
use crate::random::Random;
use crate::say;

/// Which part of the seed's chance is the crashes'.
const PART: u64 = 2;
/// How often a point that every write passes may be passed before the node ends there.
const PASSES_MAX: u64 = 25;
/// The cluster runs undisturbed for so long between two crashes.
const REST: Duration = Duration::from_millis(100);

/// One run's crashes.
pub struct Plan {
    points: Vec<&'static PointRow>,
    ways: Vec<Way>,
    random: Random,
    number: u64,
    /// What runs before this one have counted.
    earlier: Hits,
    hits: Hits,
}

impl Plan {
    pub fn new(points: &[&'static PointRow], ways: Vec<Way>, seed: u64, earlier: Hits) -> Self {
        let names: Vec<&str> = points.iter().map(|row| row.name).collect();
        let hits = Hits::wanted(&names, &ways);
        Self { points: points.to_vec(), ways, random: Random::part(seed, PART), number: 0, earlier, hits }
    }

    /// How many there were.
    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn hits(&self) -> &Hits {
        &self.hits
    }

    /// How often each point under load was hit in each way, in all runs together, at least.
    pub fn fewest_under_load(&self) -> u64 {
        let rows = self.points.iter().filter(|row| !deed(row.point).needs_quiet());
        let pairs = rows.flat_map(|row| self.ways.iter().map(move |way| (row.name, *way)));
        let hits = pairs.map(|(point, way)| self.earlier.hit(point, way) + self.hits.hit(point, way));
        hits.min().unwrap_or(u64::MAX)
    }

    /// Ends one node at one point while clients work, heals, and says how it went.
    pub async fn crash_one(&mut self, cluster: &Cluster) -> anyhow::Result<()> {
        let began = Instant::now();
        let Some((row, way)) = self.next(|deed| !deed.needs_quiet()) else {
            tokio::time::sleep(REST).await;
            return Ok(());
        };
        let stage = self.stage(cluster, row, way);
        let hit = stage.perform(deed(row.point)).await.with_context(|| stage.after())?;
        let acted = began.elapsed();
        cluster.heal().await.with_context(|| stage.after())?;
        self.note(&stage, hit, acted, began.elapsed());
        tokio::time::sleep(REST).await;
        Ok(())
    }

    /// What came least of the points with such a deed; nothing if there are none.
    pub(super) fn next(&mut self, fits: impl Fn(Deed) -> bool) -> Option<(&'static PointRow, Way)> {
        let rows = self.points.iter().filter(|row| fits(deed(row.point)));
        let pairs = rows.flat_map(|row| self.ways.iter().map(move |way| (*row, *way)));
        let ranked: Vec<_> = pairs.map(|(row, way)| (self.rank(row.name, way), row, way)).collect();
        let least = ranked.iter().map(|(rank, ..)| *rank).min()?;
        let equal: Vec<_> = ranked.into_iter().filter(|(rank, ..)| *rank == least).collect();
        let (_, row, way) = equal[self.random.index(equal.len())];
        Some((row, way))
    }

    /// The lowest rank of the points with such a deed.
    pub(super) fn lowest(&self, fits: impl Fn(Deed) -> bool) -> Option<u64> {
        let rows = self.points.iter().filter(|row| fits(deed(row.point)));
        rows.flat_map(|row| self.ways.iter().map(move |way| self.rank(row.name, *way))).min()
    }

    /// How many points have this deed.
    pub(super) fn count(&self, wanted: Deed) -> u64 {
        self.points.iter().filter(|row| deed(row.point) == wanted).count() as u64
    }

    fn rank(&self, point: &str, way: Way) -> u64 {
        self.earlier.rank(point, way) + self.hits.rank(point, way)
    }

    pub(super) fn stage<'a>(&mut self, cluster: &'a Cluster, row: &PointRow, way: Way) -> Stage<'a> {
        self.number += 1;
        let passes = if deed(row.point) == Deed::Load { self.random.below(PASSES_MAX) } else { 0 };
        Stage {
            cluster,
            point: row.point,
            name: row.name,
            way,
            node: self.random.index(cluster.nodes()),
            cut: u64::MAX - self.number,
            passes,
            random: Random::new(self.random.next()),
        }
    }

    pub(super) fn note(&mut self, stage: &Stage<'_>, hit: bool, acted: Duration, all: Duration) {
        let verdict = if hit { "hit" } else { "not reached" };
        say(format_args!(
            "{} at {} by {}: {verdict} in {:.1} s, healed {:.1} s later",
            stage.name,
            name(stage.node),
            stage.way.name(),
            acted.as_secs_f64(),
            (all - acted).as_secs_f64()
        ));
        self.hits.note(stage.name, stage.way, hit);
        self.hits.took(stage.name, stage.way, all);
    }
}

#[cfg(test)]
mod tests {
    use super::super::points;
    use super::*;

    #[test]
    fn every_point_comes_in_both_ways_before_any_comes_again() {
        let points = points(&["purge".to_owned(), "vote-save".to_owned(), "init-raft".to_owned()]).unwrap();
        let ways = vec![Way::Abort, Way::PowerCut];
        let mut plan = Plan::new(&points, ways.clone(), 1, Hits::default());
        let mut seen = Vec::new();
        for _ in 0..4 {
            let (row, way) = plan.next(|deed| !deed.needs_quiet()).unwrap();
            plan.hits.note(row.name, way, true);
            seen.push((row.name, way));
        }
        seen.sort_unstable();
        let expected = ["purge", "vote-save"].iter().flat_map(|point| ways.iter().map(|way| (*point, *way)));
        assert_eq!(seen, expected.collect::<Vec<_>>());
        assert_eq!(plan.lowest(|deed| !deed.needs_quiet()), Some(1));
        assert_eq!(plan.lowest(Deed::needs_quiet), Some(0), "the third is still to come");
        assert_eq!((plan.fewest_under_load(), plan.hits.fewest()), (1, 0));
    }

    #[test]
    fn what_earlier_runs_have_done_comes_last() {
        let points = points(&["purge".to_owned(), "vote-save".to_owned()]).unwrap();
        let mut earlier = Hits::default();
        earlier.note("purge", Way::Abort, true);
        let mut plan = Plan::new(&points, vec![Way::Abort], 1, earlier);
        let (row, _) = plan.next(|_| true).unwrap();
        assert_eq!(row.name, "vote-save");
    }
}
