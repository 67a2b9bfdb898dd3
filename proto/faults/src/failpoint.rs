//! Where a test can stop a server: before and after every durable step.
//!
//! The actions are those of the crate `fail`, with three meanings of `return`: `log-synced=2*off->1*return(abort)` ends the
//! process at the third hit as a crash would, without running anything more; `return(kill)` is the same by a signal that no
//! handler sees; `return(stop)` stops all of its threads for good, so that the power can be cut from outside while it stands
//! right there. `pause` and `sleep(ms)` hold the one thread.
//!
//! They are read from the variable [`SETTING`] when the server starts, and from the file that [`FILE`] names: then, and
//! whenever it says something else. So a node need not be restarted to end where it is wanted.

pub use crate::points::{Leaves, POINTS, Point, PointRow};

/// Names points and what happens there.
pub const SETTING: &str = "FAILPOINTS";
/// Names a file that says the same, and may say something else at any time.
pub const FILE: &str = "FAILPOINTS_FILE";

/// Whether this build has the points at all.
pub const BUILT_IN: bool = cfg!(feature = "fail-points");

/// What [`SETTING`] or [`FILE`] says cannot be used: a server must not start with it, or a harness would wait for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSetting(String);

impl BadSetting {
    #[cfg(feature = "fail-points")]
    pub(crate) fn new(sentence: &str) -> Self {
        Self(sentence.to_owned())
    }
}

impl std::fmt::Display for BadSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FAILPOINTS: {}", self.0)
    }
}

impl std::error::Error for BadSetting {}

/// Checks that a setting (`name=actions;name=actions`) names points that there are.
///
/// # Errors
/// [`BadSetting`].
pub fn check(setting: &str) -> Result<(), BadSetting> {
    for part in setting.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let Some((name, _)) = part.split_once('=') else {
            return Err(BadSetting(format!("`{part}` is not name=actions")));
        };
        if !POINTS.iter().any(|row| row.name == name.trim()) {
            let names: Vec<&str> = POINTS.iter().map(|row| row.name).collect();
            return Err(BadSetting(format!("there is no point `{name}`. There are: {}", names.join(", "))));
        }
    }
    Ok(())
}

/// Passes a point.
#[cfg(not(feature = "fail-points"))]
#[inline(always)]
pub const fn hit(_point: Point) {}

/// Nothing to keep.
#[cfg(not(feature = "fail-points"))]
pub struct Unarmed;

/// Sets the points up as the environment says, until what is returned is dropped.
///
/// # Errors
/// [`BadSetting`].
#[cfg(not(feature = "fail-points"))]
pub const fn arm() -> Result<Unarmed, BadSetting> {
    Ok(Unarmed)
}

#[cfg(feature = "fail-points")]
pub use crate::armed::{Armed, arm, hit, watch};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_names_no_point_is_refused() {
        assert_eq!(check(""), Ok(()));
        assert_eq!(check("log-synced=2*off->1*return(abort); vote-written=pause"), Ok(()));
        for bad in ["log-sinked=off", "log-synced"] {
            let refusal = check(bad).unwrap_err().to_string();
            assert!(refusal.contains(bad.split('=').next().unwrap()), "{refusal}");
        }
    }

    /// This test program again, to pass points in a process of its own.
    #[cfg(feature = "fail-points")]
    fn this_program_passing(test: &str) -> std::process::Command {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("failpoint::tests::{test}")]);
        command
    }

    /// Harmless by itself; tests below run it again with points armed.
    #[cfg(feature = "fail-points")]
    #[test]
    fn a_point_is_passed_three_times() {
        let _armed = arm().unwrap();
        (0..3).for_each(|_| hit(Point::LogSynced));
    }

    #[cfg(feature = "fail-points")]
    #[test]
    fn a_process_ends_at_the_very_hit_that_was_asked_for() {
        use std::os::unix::process::ExitStatusExt as _;
        const ABORTED: i32 = 6;
        const KILLED: i32 = 9;
        for (setting, signal) in [
            ("log-synced=2*off->1*return(abort)", Some(ABORTED)),
            ("log-synced=2*off->1*return(kill)", Some(KILLED)),
            ("log-synced=3*off->1*return(abort)", None),
            ("vote-synced=return(abort)", None),
        ] {
            let ended = this_program_passing("a_point_is_passed_three_times").env(SETTING, setting).output();
            let ended = ended.unwrap();
            assert_eq!(ended.status.signal(), signal, "{setting}");
            assert_eq!(ended.status.success(), signal.is_none(), "{setting}");
        }
    }

    /// Waits for the process to be stopped by a signal, or to end.
    #[cfg(feature = "fail-points")]
    fn stopped(child: &std::process::Child) -> bool {
        use rustix::process::{Pid, Signal, WaitOptions, waitpid};
        let (_, status) = waitpid(Some(Pid::from_child(child)), WaitOptions::UNTRACED).unwrap().unwrap();
        status.stopping_signal() == Some(Signal::STOP.as_raw())
    }

    #[cfg(feature = "fail-points")]
    #[test]
    fn a_process_that_is_stopped_at_a_point_goes_no_further_even_if_it_is_told_to_go_on() {
        use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
        let mut command = this_program_passing("a_point_is_passed_three_times");
        let mut child = command.env(SETTING, "log-synced=return(stop)").spawn().unwrap();
        assert!(stopped(&child));
        kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
        let ended = waitpid(Some(Pid::from_child(&child)), WaitOptions::NOHANG).unwrap();
        assert!(ended.is_none(), "it has not ended");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Without a file there is nothing to wait for; the test below runs it again with one.
    #[cfg(feature = "fail-points")]
    #[test]
    fn a_point_is_passed_until_the_process_ends_there() {
        let _armed = arm().unwrap();
        while std::env::var_os(FILE).is_some() {
            hit(Point::LogSynced);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    #[cfg(feature = "fail-points")]
    #[test]
    fn a_running_process_is_armed_and_disarmed_by_what_its_file_says() {
        use std::os::unix::process::ExitStatusExt as _;
        let file = std::env::temp_dir().join(format!("conclave-fail-points-{}", std::process::id()));
        // What it says when the process starts holds from the beginning; what is said instead takes its place.
        for (first, then, signal) in [
            ("", "log-synced=return(kill)", 9),
            ("vote-synced=return(abort)", "log-synced=return(abort)", 6),
            ("log-synced=return(kill)", "", 9),
            ("", "log-synced=nonsense", 6),
        ] {
            std::fs::write(&file, first).unwrap();
            let mut command = this_program_passing("a_point_is_passed_until_the_process_ends_there");
            let mut child = command.env(FILE, &file).stderr(std::process::Stdio::null()).spawn().unwrap();
            if !then.is_empty() {
                std::thread::sleep(std::time::Duration::from_millis(200));
                assert!(child.try_wait().unwrap().is_none(), "{first} ends nothing");
                std::fs::write(&file, then).unwrap();
            }
            assert_eq!(child.wait().unwrap().signal(), Some(signal), "{first}, then {then}");
        }
        std::fs::remove_file(file).unwrap();
    }
}
