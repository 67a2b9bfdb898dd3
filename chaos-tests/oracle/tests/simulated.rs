//! Histories of a simulated cluster: what a correct one answers is accepted, what a broken one answers is refused.

mod simulation;

use std::time::{Duration, Instant};

use conclave_oracle::history::{Action, Operation, Outcome};
use conclave_oracle::judge::{Judgement, judge};
use simulation::{Bug, Scenario, run};

/// Seeds of each kind of run.
const SEEDS: u64 = 60;
/// Of the runs in which a bug changed anything, how many must be refused.
const REFUSED_PERCENT_MIN: usize = 95;

/// Of more than a thousand operations so many are shown as contradicting each other, mostly.
const SHOWN_MEDIAN_MAX: usize = 5;
/// What a judgement of 100,000 operations may take on a busy machine, in a build for tests.
const JUDGEMENT_MAX: Duration = Duration::from_secs(30);

#[track_caller]
fn accepted(scenario: &Scenario) {
    let history = run(scenario).history;
    let report = judge(&history);
    assert_eq!(report.judgement(), Judgement::Clean, "{scenario:?}\n{report}");
}

/// `checker` alone refuses nearly all runs that were bitten by `bug`.
fn refused(bug: Bug, versioned: bool, checker: &str) {
    let (mut bitten, mut refused) = (0, 0);
    let mut shown = Vec::new();
    for seed in 0..SEEDS {
        let scenario = Scenario { bug: Some(bug), versioned, operations: 1_500, ..Scenario::new(seed) };
        let run = run(&scenario);
        if run.bitten > 0 {
            bitten += 1;
            let report = judge(&run.history);
            let verdict = report.verdicts.iter().find(|verdict| verdict.checker == checker).unwrap();
            refused += usize::from(!verdict.violations.is_empty());
            shown.extend(verdict.violations.iter().map(|violation| violation.operations.len()));
        }
    }
    println!("{bug:?}, versions {versioned}: {refused} of {bitten} refused by {checker}");
    assert!(bitten * 2 > SEEDS as usize, "{bug:?} hardly ever did anything: {bitten} of {SEEDS}");
    assert!(refused * 100 >= bitten * REFUSED_PERCENT_MIN, "{bug:?}: only {refused} of {bitten} refused");
    shown.sort_unstable();
    assert!(shown[0] > 0 && shown[shown.len() / 2] <= SHOWN_MEDIAN_MAX, "not a few operations: {shown:?}");
}

#[test]
fn what_a_correct_cluster_answers_is_accepted() {
    for seed in 0..SEEDS {
        accepted(&Scenario::new(seed));
    }
}

#[test]
fn also_without_versions() {
    for seed in 0..SEEDS {
        accepted(&Scenario { versioned: false, ..Scenario::new(seed) });
    }
}

#[test]
fn also_when_most_outcomes_are_unknown() {
    for seed in 0..SEEDS {
        accepted(&Scenario { unknown_percent: 60, ..Scenario::new(seed) });
        accepted(&Scenario { unknown_percent: 60, versioned: false, ..Scenario::new(seed) });
    }
}

#[test]
fn also_with_many_clients_on_one_key() {
    for seed in 0..SEEDS / 4 {
        let crowded = Scenario { clients: 30, keys: 1, operations: 2_000, ..Scenario::new(seed) };
        accepted(&crowded);
        accepted(&Scenario { versioned: false, ..crowded });
    }
}

#[test]
fn a_follower_that_answers_without_asking_the_leader_is_refused() {
    refused(Bug::StaleFollower, true, "linearizable");
    refused(Bug::StaleFollower, false, "linearizable");
    refused(Bug::StaleFollower, true, "monotonic");
}

#[test]
fn a_lost_acknowledged_write_is_refused() {
    refused(Bug::LostWrite, true, "linearizable");
    refused(Bug::LostWrite, false, "linearizable");
    refused(Bug::LostWrite, true, "monotonic");
    refused(Bug::LostWrite, true, "acknowledged");
}

#[test]
fn a_write_applied_twice_is_refused() {
    refused(Bug::DoubleApply, true, "linearizable");
    refused(Bug::DoubleApply, true, "idempotency");
}

#[test]
fn a_cas_checked_against_an_old_version_is_refused() {
    refused(Bug::OldCas, true, "linearizable");
    refused(Bug::OldCas, true, "cas");
}

#[test]
fn a_stale_answer_that_lies_about_its_age_is_refused() {
    refused(Bug::FalseAge, true, "stale");
    refused(Bug::FalseAge, false, "stale");
}

/// Many small runs as one history, each with a key and clients of its own.
fn side_by_side(runs: u64, scenario: &Scenario) -> Vec<Operation> {
    let mut history = Vec::new();
    for number in 0..runs {
        let mut part = run(&Scenario { seed: scenario.seed + number, ..scenario.clone() }).history;
        for operation in &mut part {
            operation.client += u32::try_from(number).unwrap() * (scenario.clients + 1);
            match &mut operation.action {
                Action::Read { key, .. }
                | Action::Delete { key }
                | Action::Undelete { key, .. }
                | Action::Destroy { key, .. }
                | Action::ReadVersion { key, .. } => {
                    *key = format!("{number}-{key}");
                }
                Action::Write { key, idempotency_key, .. } => {
                    *key = format!("{number}-{key}");
                    *idempotency_key = idempotency_key.take().map(|name| format!("{number}-{name}"));
                }
                Action::List { .. } | Action::Access(_) => {}
            }
            // Each run has a sequence of indexes of its own.
            if let Outcome::Ok(answer) = &mut operation.outcome {
                answer.index = None;
            }
        }
        history.extend(part);
    }
    history
}

#[test]
fn a_hundred_thousand_operations_are_judged_in_seconds() {
    for (versioned, unknown_percent) in [(true, 3), (true, 20), (false, 3), (false, 20)] {
        let scenario = Scenario {
            clients: 10,
            keys: 1,
            operations: 1_000,
            versioned,
            unknown_percent,
            ..Scenario::new(1_000)
        };
        let history = side_by_side(100, &scenario);
        let began = Instant::now();
        let report = judge(&history);
        let took = began.elapsed();
        println!("{} operations, {} unknown: {took:?}", report.operations, report.unknown);
        assert_eq!(report.judgement(), Judgement::Clean, "{report}");
        assert!(report.operations >= 100_000 && took < JUDGEMENT_MAX, "{took:?}");
    }
}

#[test]
fn one_key_may_have_a_hundred_thousand_operations() {
    accepted(&Scenario { clients: 10, keys: 1, operations: 100_000, ..Scenario::new(3) });
    accepted(&Scenario { clients: 10, keys: 1, operations: 100_000, versioned: false, ..Scenario::new(3) });
}
