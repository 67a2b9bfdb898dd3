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
            let (next, state) = self.settle(&mut taken, state);
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
                after.retain(|reached| self.keeps(state, reached));
                for &reached in &after {
                    let mut with = taken.clone();
                    with.take(candidate);
                    open.push((with, reached));
                }
            }
            // The last is tried first.
            open[first..].reverse();
        }
        Found::NoOrder
    }

    /// What is still to be read must not be replaced, for no write writes it again, nor hidden for good.
    fn keeps(&self, state: State, reached: &State) -> bool {
        let hidden = reached.is_deleted() && !self.problem.can_undelete;
        state.value().is_none() || (reached.value() == state.value() && !hidden)
    }

    /// Takes what may be taken at once without losing an order:
    ///
    /// - A read that the register answers as it is. It changes nothing, and no step that it overtakes had returned before it
    ///   was asked.
    /// - Without versions, a write that no read returned, if the register holds something that no read returns any more.
    ///   Wherever an order has it later, what follows there replaces it unseen; and here it replaces nothing that is missed.
    fn settle(&self, taken: &mut Taken, mut state: State) -> (Next, State) {
        if !self.problem.versioned {
            state = state.without_version();
        }
        loop {
            if state.value().is_some_and(|value| !self.is_still_read(taken, value)) {
                state = state.read_out();
            }
            let next = self.next(taken);
            let mut settled = false;
            for &candidate in &next.candidates {
                let settles = match self.problem.steps[candidate as usize].what {
                    What::Read { value, version } => state.answers(value, version),
                    What::Write { value: None, .. } => !self.problem.versioned && state.is_unseen(),
                    _ => false,
                };
                if settles {
                    taken.take(candidate);
                    settled = true;
                }
            }
            if !settled {
                return (next, state);
            }
        }
    }

    /// Whether a step that is not taken yet returns `value`.
    fn is_still_read(&self, taken: &Taken, value: u64) -> bool {
        let steps = &self.problem.steps;
        self.problem.last_read.get(&value).is_some_and(|&last| last >= taken.frontier)
            || taken.skipped.iter().any(|&at| {
                matches!(steps[at as usize].what, What::Read { value: Some(read), .. } if read == value)
            })
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
        // What has to be done first is the likeliest to have been first.
        next.candidates.sort_by_key(|&at| steps[at as usize].returned_us);
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
