//! Fail points of a build that has them: armed by the environment or by a file that is looked at all the time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use crate::failpoint::{BadSetting, FILE, POINTS, Point, SETTING, check};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Points are armed until this is dropped.
pub struct Armed {
    _scenario: fail::FailScenario<'static>,
    over: Arc<AtomicBool>,
}

impl Drop for Armed {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Sets the points up as the environment says, until what is returned is dropped.
///
/// # Errors
/// [`BadSetting`].
pub fn arm() -> Result<Armed, BadSetting> {
    check(&std::env::var(SETTING).unwrap_or_default())?;
    let armed = Armed { _scenario: fail::FailScenario::setup(), over: Arc::default() };
    if let Some(path) = std::env::var_os(FILE).map(PathBuf::from) {
        // What is passed while the process starts must find it armed.
        let seen = follow(&path, "")?;
        let over = armed.over.clone();
        std::thread::spawn(move || {
            let mut seen = seen;
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK_EVERY);
                match follow(&path, &seen) {
                    Ok(now) => seen = now,
                    Err(bad) => {
                        eprintln!("{bad}");
                        die(None)
                    }
                }
            }
        });
    }
    Ok(armed)
}

/// Arms what the file says, if that is not what it said before; says what it says.
fn follow(path: &Path, seen: &str) -> Result<String, BadSetting> {
    let now = std::fs::read_to_string(path).unwrap_or_default();
    if now == seen {
        return Ok(now);
    }
    check(&now)?;
    let named = |text: &'static str| BadSetting::new(text);
    parts(seen).filter_map(|part| part.split_once('=')).for_each(|(name, _)| fail::remove(name));
    for (name, actions) in parts(&now).filter_map(|part| part.split_once('=')) {
        fail::cfg(name, actions).map_err(|_| named("the file has an action that there is not"))?;
    }
    Ok(now)
}

fn parts(setting: &str) -> impl Iterator<Item = &str> {
    setting.split(';').map(str::trim).filter(|part| !part.is_empty())
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
fn die(how: Option<&str>) -> ! {
    let signal = match how {
        Some("kill") => Signal::KILL,
        Some("stop") => Signal::STOP,
        _ => std::process::abort(),
    };
    let _sent = kill_process(getpid(), signal);
    // The signal may reach other threads first, and this one is not to go a step further, come what may.
    loop {
        std::thread::park();
    }
}
