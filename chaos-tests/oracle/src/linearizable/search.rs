//! The search for an order (Wing and Gong), with the places already seen remembered (Lowe).
//!
//! A place is a set of steps already taken together with the register they leave. The set is kept as a frontier, behind
//! which everything was taken, but for a short list: as many as overlap, not as many as there are. Which operations remain
//! depends on the set alone, so the same set with the same register and no fewer unknown operations left need not be
//! tried again.

use std::collections::HashMap;

use super::problem::{Problem, What};
use super::state::{Content, State, Used};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Order,
    NoOrder,
    /// The budget was used up before either was certain.
    Exhausted,
}

#[derive(Debug)]
pub struct Search<'p> {
    problem: &'p Problem,
    seen: HashMap<(Taken, Content), Vec<Used>>,
    steps_left: u64,
}

/// The steps before `frontier` without `skipped`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Taken {
    frontier: u32,
    skipped: Vec<u32>,
}

/// What can come next.
struct Next {
    candidates: Vec<u32>,
    /// No step that was asked later can come before all that returned by now.
    by_us: u64,
    /// The lowest version that a step not taken yet needs to find.
    needed: u64,
}

/// Whether `problem` has an order, in at most `budget` places; and how many of these are left.
pub fn search(problem: &Problem, budget: u64) -> (Found, u64) {
    assert!(u32::try_from(problem.steps.len()).is_ok(), "a register has fewer operations than 2^32");
    let mut search = Search { problem, seen: HashMap::new(), steps_left: budget };
    let found = search.run();
    (found, search.steps_left)
}

impl Search<'_> {
    fn run(&mut self) -> Found {
        let mut open = vec![(Taken { frontier: 0, skipped: Vec::new() }, State::EMPTY)];
        let mut after = Vec::new();
        while let Some((mut taken, state)) = open.pop() {
            if self.steps_left == 0 {
                return Found::Exhausted;
            }
            self.steps_left -= 1;
            let next = self.settle(&mut taken, state);
            if taken.skipped.is_empty() && taken.frontier as usize == self.problem.steps.len() {
                return Found::Order;
            }
            if state.version() > next.needed || !self.is_new(&taken, state) {
                continue;
            }
            let first = open.len();
            for &candidate in &next.candidates {
                let what = self.problem.steps[candidate as usize].what;
                after.clear();
                state.after(what, self.problem, next.by_us, next.needed, &mut after);
                for &reached in &after {
                    let mut with = taken.clone();
                    with.take(candidate);
                    open.push((with, reached));
                }
            }
            // The last is tried first: candidates stand in the order they were asked, and the earliest is the likeliest.
            open[first..].reverse();
        }
        Found::NoOrder
    }

    /// Takes the reads that the register answers as it is. A read that can stand here and is answered here may always do
    /// so: it changes nothing, and no step that it overtakes had returned before it was asked.
    fn settle(&self, taken: &mut Taken, state: State) -> Next {
        loop {
            let next = self.next(taken);
            let before = next.candidates.len();
            let mut left = Vec::with_capacity(before);
            for &candidate in &next.candidates {
                match self.problem.steps[candidate as usize].what {
                    What::Read { value, version } if state.answers(value, version) => taken.take(candidate),
                    _ => left.push(candidate),
                }
            }
            if left.len() == before {
                return next;
            }
        }
    }

    fn next(&self, taken: &Taken) -> Next {
        let steps = &self.problem.steps;
        let mut next = Next { candidates: taken.skipped.clone(), by_us: u64::MAX, needed: u64::MAX };
        for &at in &taken.skipped {
            let step = &steps[at as usize];
            next.by_us = next.by_us.min(step.returned_us);
            next.needed = next.needed.min(step.what.needs());
        }
        let mut at = taken.frontier;
        while let Some(step) = steps.get(at as usize).filter(|step| step.invoked_us <= next.by_us) {
            next.by_us = next.by_us.min(step.returned_us);
            next.candidates.push(at);
            at += 1;
        }
        next.needed = next.needed.min(self.problem.needed_from[taken.frontier as usize]);
        next.candidates.retain(|&at| steps[at as usize].invoked_us <= next.by_us);
        next
    }

    fn is_new(&mut self, taken: &Taken, state: State) -> bool {
        let seen = self.seen.entry((taken.clone(), state.register)).or_default();
        if seen.iter().any(|used| used.at_most(&state.used)) {
            return false;
        }
        seen.retain(|used| !state.used.at_most(used));
        seen.push(state.used);
        true
    }
}

impl Taken {
    fn take(&mut self, step: u32) {
        if step < self.frontier {
            self.skipped.retain(|&skipped| skipped != step);
        } else {
            self.skipped.extend(self.frontier..step);
            self.frontier = step + 1;
        }
    }
}
