//! Where a test can stop a server: before and after every durable step.
//!
//! The actions are those of the crate `fail`, read from the variable `FAILPOINTS` when the server starts, with two meanings of
//! `return`: `log-synced=2*off->1*return(abort)` ends the process at the third hit as a crash would, without running anything
//! more; `return(kill)` is the same by a signal that no handler sees.
//! `pause` and `sleep(ms)` hold the thread, so that the power can be cut from outside.

pub use crate::points::{POINTS, Point, PointRow};

/// Whether this build has the points at all.
pub const BUILT_IN: bool = cfg!(feature = "fail-points");

/// `FAILPOINTS` cannot be used: a server must not start with it, or a harness would wait for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSetting(String);

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
pub use armed::{arm, hit, watch};

#[cfg(feature = "fail-points")]
mod armed {
    use super::{BadSetting, POINTS, Point, check};

    /// Sets the points up as the environment says, until what is returned is dropped.
    ///
    /// # Errors
    /// [`BadSetting`].
    pub fn arm() -> Result<fail::FailScenario<'static>, BadSetting> {
        check(&std::env::var("FAILPOINTS").unwrap_or_default())?;
        Ok(fail::FailScenario::setup())
    }

    /// Has `told` called whenever the point is passed, while points are armed.
    ///
    /// # Panics
    /// `told` cannot be kept, which the crate `fail` does not let happen.
    pub fn watch(point: Point, told: impl Fn(Point) + Send + Sync + 'static) {
        fail::cfg_callback(name(point), move || told(point)).expect("a callback needs no parsing");
    }

    fn name(point: Point) -> &'static str {
        POINTS.iter().find(|row| row.point == point).expect("every point has its row").name
    }

    /// Passes a point.
    pub fn hit(point: Point) {
        if let Some(how) = fail::eval(name(point), |argument| argument) {
            die(how.as_deref());
        }
    }

    #[allow(clippy::disallowed_methods, reason = "to skip every drop is what a crash does")]
    fn die(how: Option<&str>) {
        match how {
            Some("kill") => {
                let itself = rustix::process::getpid();
                let _dead = rustix::process::kill_process(itself, rustix::process::Signal::KILL);
            }
            _ => std::process::abort(),
        }
    }
}

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

    /// Harmless by itself; the test below runs it again with points armed.
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
            let ended = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "failpoint::tests::a_point_is_passed_three_times"])
                .env("FAILPOINTS", setting)
                .output()
                .unwrap();
            assert_eq!(ended.status.signal(), signal, "{setting}");
            assert_eq!(ended.status.success(), signal.is_none(), "{setting}");
        }
    }
}
