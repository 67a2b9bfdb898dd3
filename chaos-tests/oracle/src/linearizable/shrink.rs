//! From a register that has no order to the few facts that exclude one.
//!
//! A fact is an answer: what a read returned, or that a change was acknowledged. Forgetting one leaves a weaker history: a
//! read less, or a change whose outcome is unknown. Each order of the stronger history is one of the weaker. So whatever
//! facts still contradict each other contradict each other in the whole history, and the fewer, the easier to see.

use super::problem::Problem;
use super::search::{Found, search};
use crate::history::Operation;
use crate::register::Register;

/// Places that all searches on the way may visit together, and operations they are prepared from: what is left when they
/// are used up is shown as it is.
const SHRINK_STEPS_MAX: u64 = 10_000_000;
/// Places that one of them may visit.
const TRIAL_STEPS_MAX: u64 = 200_000;

#[derive(Clone, Copy)]
enum Fact {
    Read(usize),
    Write(usize),
    Mark(usize),
}

struct Shrink<'r, 'h> {
    register: &'r Register<'h>,
    /// By the time the answer was there.
    facts: Vec<Fact>,
    steps_left: u64,
}

/// The answers that contradict each other, with the writes whose values were read.
pub fn contradiction<'h>(register: &Register<'h>) -> Vec<&'h Operation> {
    let mut shrink = Shrink { register, facts: facts(register), steps_left: SHRINK_STEPS_MAX };
    let all = 0..shrink.facts.len();
    let end = shrink.boundary(all.end, |end| 0..end);
    let skipped = end - shrink.boundary(end, |length| end - length..end);
    let mut kept: Vec<Fact> = shrink.facts[skipped..end].to_vec();
    shrink.thin_out(&mut kept);
    shown(register, &kept)
}

fn facts(register: &Register<'_>) -> Vec<Fact> {
    let reads = register.reads.iter().enumerate().filter(|(_, read)| read.is_linearizable());
    let reads = reads.map(|(at, read)| (read.operation.returned_us, Fact::Read(at)));
    let writes = register.writes.iter().enumerate();
    let writes = writes.filter_map(|(at, write)| Some((write.acknowledged_us?, Fact::Write(at))));
    let marks = register.marks.iter().enumerate();
    let marks = marks.filter_map(|(at, mark)| Some((mark.acknowledged_us?, Fact::Mark(at))));
    let mut facts: Vec<(u64, Fact)> = reads.chain(writes).chain(marks).collect();
    facts.sort_by_key(|(returned_us, _)| *returned_us);
    facts.into_iter().map(|(_, fact)| fact).collect()
}

impl Shrink<'_, '_> {
    /// The smallest length for which `range` of it still contradicts itself; more facts never contradict less.
    fn boundary(&mut self, longest: usize, range: impl Fn(usize) -> std::ops::Range<usize>) -> usize {
        let (mut enough, mut too_few) = (longest, 0);
        while enough - too_few > 1 {
            let middle = too_few + (enough - too_few) / 2;
            let facts = self.facts[range(middle)].to_vec();
            if self.contradicts(&facts) { enough = middle } else { too_few = middle }
        }
        enough
    }

    /// Takes away ever smaller pieces while what is left still contradicts itself.
    fn thin_out(&mut self, kept: &mut Vec<Fact>) {
        let mut piece = kept.len().div_ceil(2);
        while piece > 0 && self.steps_left > 0 {
            let mut at = 0;
            while at < kept.len() && self.steps_left > 0 {
                let mut fewer = kept.clone();
                fewer.drain(at..(at + piece).min(kept.len()));
                if !fewer.is_empty() && self.contradicts(&fewer) { *kept = fewer } else { at += piece }
            }
            piece /= 2;
        }
    }

    fn contradicts(&mut self, facts: &[Fact]) -> bool {
        let weak = weakened(self.register, facts);
        self.steps_left = self.steps_left.saturating_sub((weak.writes.len() + weak.reads.len()) as u64);
        let budget = self.steps_left.min(TRIAL_STEPS_MAX);
        let (found, left) = search(&Problem::of(&weak), budget);
        self.steps_left -= budget - left;
        found == Found::NoOrder
    }
}

/// The register of which only `facts` are known.
fn weakened<'h>(register: &Register<'h>, facts: &[Fact]) -> Register<'h> {
    let mut weak = register.clone();
    weak.writes.iter_mut().for_each(|write| {
        write.acknowledged_us = None;
        write.acknowledged_version = None;
    });
    weak.marks.iter_mut().for_each(|mark| mark.acknowledged_us = None);
    weak.reads.clear();
    for &fact in facts {
        match fact {
            Fact::Read(at) => weak.reads.push(register.reads[at].clone()),
            Fact::Mark(at) => weak.marks[at].acknowledged_us = register.marks[at].acknowledged_us,
            Fact::Write(at) => {
                weak.writes[at].acknowledged_us = register.writes[at].acknowledged_us;
                weak.writes[at].acknowledged_version = register.writes[at].acknowledged_version;
            }
        }
    }
    weak.connect();
    weak
}

fn shown<'h>(register: &Register<'h>, facts: &[Fact]) -> Vec<&'h Operation> {
    let mut shown = Vec::new();
    for &fact in facts {
        match fact {
            Fact::Mark(at) => shown.push(register.marks[at].operation),
            Fact::Write(at) => shown.extend(&register.writes[at].attempts),
            Fact::Read(at) => {
                let read = &register.reads[at];
                shown.push(read.operation);
                let writer = read.value.and_then(|value| register.writer_of(value));
                shown.extend(writer.into_iter().flat_map(|write| &write.attempts));
            }
        }
    }
    shown
}
