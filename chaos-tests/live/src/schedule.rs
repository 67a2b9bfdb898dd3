//! From a seed, what is done to the cluster: episodes of one fault or of overlapping ones, each healed at its end.

use std::time::Duration;

use serde::Serialize;

use crate::fault::{Aim, Kind, Planned};
use crate::random::Random;

/// Which part of the seed's chance is the schedule's.
const PART: u64 = 1;
/// How often an episode has two faults at a time, and three, in percent.
const TWO_PERCENT: u64 = 40;
const THREE_PERCENT: u64 = 10;
/// How often a fault is meant for the leader, in percent.
const LEADER_PERCENT: u64 = 65;
const LASTS_MIN: Duration = Duration::from_millis(100);
const LASTS_MAX: Duration = Duration::from_secs(6);
/// Now and then a fault lasts longer: long enough for everything that waits to give up.
const LONG_PERCENT: u64 = 5;
const LONG_MAX: Duration = Duration::from_secs(25);
const VERY_LONG_MAX: Duration = Duration::from_secs(60);
/// A second fault begins within this time of the first.
const STAGGER_MAX: Duration = Duration::from_secs(3);
/// The cluster runs undisturbed for so long between two episodes.
const REST_MIN: Duration = Duration::from_millis(500);
const REST_MAX: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Serialize)]
pub struct Episode {
    pub number: u64,
    pub rest_ms: u64,
    pub faults: Vec<Planned>,
}

/// Endless: a run takes as many episodes as it has time for.
pub struct Schedule {
    random: Random,
    kinds: Vec<Kind>,
    episodes: u64,
    faults: u64,
}

impl Schedule {
    /// `kinds` must not be empty.
    pub fn new(seed: u64, nodes: usize, kinds: &[Kind]) -> Self {
        let kinds = kinds.iter().copied().filter(|kind| kind.nodes_min() <= nodes).collect();
        Self { random: Random::part(seed, PART), kinds, episodes: 0, faults: 0 }
    }

    pub fn next(&mut self) -> Episode {
        let draw = self.random.below(100);
        let count = match draw {
            _ if draw < THREE_PERCENT => 3,
            _ if draw < THREE_PERCENT + TWO_PERCENT => 2,
            _ => 1,
        };
        let mut faults: Vec<Planned> = Vec::new();
        for place in 0..count {
            let fault = self.fault(place > 0);
            if faults.iter().all(|other| fault.kind.goes_with(other.kind)) {
                faults.push(fault);
            }
        }
        self.episodes += 1;
        let rest_ms = milliseconds(self.random.between(REST_MIN, REST_MAX));
        Episode { number: self.episodes, rest_ms, faults }
    }

    fn fault(&mut self, staggered: bool) -> Planned {
        self.faults += 1;
        let random = &mut self.random;
        let kind = self.kinds[random.index(self.kinds.len())];
        let leader = random.chance(LEADER_PERCENT) || kind.is_for_leaders();
        let aim = if leader { Aim::Leader } else { Aim::Follower };
        let after = if staggered { random.between(Duration::ZERO, STAGGER_MAX) } else { Duration::ZERO };
        let longest = if kind.lasts_long() { VERY_LONG_MAX } else { LONG_MAX };
        let most = if random.chance(LONG_PERCENT) { longest } else { LASTS_MAX };
        Planned {
            id: self.faults,
            kind,
            aim,
            after_ms: milliseconds(after),
            lasts_ms: milliseconds(random.between(LASTS_MIN, most)),
            seed: random.next(),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("all durations here are seconds")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: &[Kind] = &[Kind::Kill, Kind::Pause, Kind::Isolate, Kind::Ring];

    fn text(seed: u64) -> String {
        let mut schedule = Schedule::new(seed, 3, KINDS);
        let episodes: Vec<Episode> = (0..200).map(|_| schedule.next()).collect();
        serde_json::to_string(&episodes).unwrap()
    }

    #[test]
    fn a_seed_is_a_schedule() {
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }

    #[test]
    fn what_needs_the_cluster_for_itself_is_alone() {
        let kinds = [Kind::Kill, Kind::KillAll, Kind::ClockOff, Kind::ClockJump, Kind::Restore];
        let mut schedule = Schedule::new(1, 3, &kinds);
        let episodes: Vec<Episode> = (0..400).map(|_| schedule.next()).collect();
        let together = |one: Kind, other: Kind| {
            let has = |episode: &Episode, kind| episode.faults.iter().any(|fault| fault.kind == kind);
            episodes.iter().any(|episode| has(episode, one) && has(episode, other))
        };
        assert!(together(Kind::Kill, Kind::ClockOff));
        assert!(!together(Kind::KillAll, Kind::ClockOff) && !together(Kind::ClockOff, Kind::ClockJump));
        assert!(kinds.iter().all(|kind| *kind == Kind::Restore || !together(*kind, Kind::Restore)));
        assert!(together(Kind::Restore, Kind::Restore));
    }

    #[test]
    fn every_kind_comes_and_some_overlap_but_none_that_needs_more_nodes() {
        let mut schedule = Schedule::new(1, 3, KINDS);
        let episodes: Vec<Episode> = (0..200).map(|_| schedule.next()).collect();
        let faults: Vec<&Planned> = episodes.iter().flat_map(|episode| &episode.faults).collect();
        for kind in [Kind::Kill, Kind::Pause, Kind::Isolate] {
            assert!(faults.iter().any(|fault| fault.kind == kind));
        }
        assert!(faults.iter().all(|fault| fault.kind != Kind::Ring));
        assert!(episodes.iter().any(|episode| episode.faults.len() == 2));
    }
}
