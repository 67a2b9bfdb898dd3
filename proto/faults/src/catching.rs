//! Showing that a check notices a bug: one test of the calling test program, run again in processes of its own, once as it
//! is and once with the bug on. It must pass the first time and fail the second.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Bug, planted};

/// A check that does not end by then has failed: the bug makes it wait for what never comes.
const CHECK_TIMEOUT: Duration = Duration::from_secs(120);
const POLL_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    /// There is no such test, or more than one.
    NotOne,
}

/// Asserts that the test of this name in the calling test program notices `bug`.
///
/// # Panics
/// It does not, or it fails without the bug as well, or there is no such test.
#[track_caller]
pub fn assert_caught(bug: Bug, test: &str) {
    assert_eq!(run(test, None), Verdict::Passed, "{test} without a bug");
    assert_eq!(run(test, Some(bug)), Verdict::Failed, "{test} with {bug:?}");
}

fn run(test: &str, bug: Option<Bug>) -> Verdict {
    let program = std::env::current_exe().expect("a running program has a path");
    let mut command = Command::new(program);
    command.args(["--exact", test, "--test-threads", "1"]).stdout(Stdio::piped()).stderr(Stdio::null());
    command.env_remove(planted::VARIABLE);
    if let Some(bug) = bug {
        let row = crate::BUGS.iter().find(|row| row.bug == bug).expect("every bug has its row");
        command.env(planted::VARIABLE, row.name);
    }
    let child = command.spawn().expect("a test program runs");
    let Some(output) = output_within(child, CHECK_TIMEOUT) else { return Verdict::Failed };
    if !output.contains("running 1 test") {
        return Verdict::NotOne;
    }
    if output.contains("1 passed; 0 failed") { Verdict::Passed } else { Verdict::Failed }
}

/// What a child wrote; `None` if it had to be ended. A test that fails writes far less than a pipe holds.
fn output_within(mut child: Child, limit: Duration) -> Option<String> {
    let deadline = Instant::now() + limit;
    while child.try_wait().expect("a child can be waited for").is_none() {
        if Instant::now() >= deadline {
            child.kill().expect("a child can be ended");
            child.wait().expect("a child can be waited for");
            return None;
        }
        std::thread::sleep(POLL_PAUSE);
    }
    let output = child.wait_with_output().expect("what a child wrote can be read");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
