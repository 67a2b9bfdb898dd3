//! Audit trails of a run with kills, damaged as somebody might who has something to hide: `conclave audit verify` finds each
//! damage and says where it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// How the trails are called that a run keeps.
const TRAIL_ENDING: &str = ".audit.log";
/// Lines behind it that a trail needs for all ways to be different.
const LINES_MIN: usize = 20;
/// Verification says so when it finds something.
const EXIT_CHANGED: i32 = 1;

type Lines = Vec<String>;

/// What was done, and where that must be found: the file, the line and a part of the sentence.
struct Damage {
    way: &'static str,
    files: Vec<Lines>,
    found: (u64, u64, &'static str),
}

/// Damages the trail in each way; says in how many.
pub fn damaged_in_all_ways(conclave: &Path, out: &Path) -> Result<usize, String> {
    let trails = trails(out)?;
    let [trail, other, ..] = &trails[..] else { return Err("there are fewer than two".to_owned()) };
    let (trail, other) = (lines(trail)?, lines(other)?);
    let folder = out.join("damaged");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let checker = Checker { conclave, folder };
    let (whole, report) = checker.verify(std::slice::from_ref(&trail), None)?;
    if !whole {
        return Err(format!("a trail that nobody has touched is not whole: {report}"));
    }
    // As an auditor has noted it, where nobody who holds the trail can change it.
    let noted = json!([report["head"]]);
    let damages = damages(&trail, &other);
    for damage in &damages {
        let (whole, report) = checker.verify(&damage.files, Some(&noted))?;
        let (file, line, sentence) = damage.found;
        let findings = report["findings"].as_array().into_iter().flatten();
        let told = findings.into_iter().any(|found| {
            let place = (found["file"].as_u64(), found["line"].as_u64());
            let says = found["sentence"].as_str().is_some_and(|told| told.contains(sentence));
            place == (Some(file), Some(line)) && says
        });
        if whole || !told {
            let wanted = format!("file {file}, line {line}: ...{sentence}...");
            return Err(format!("{}: wanted {wanted}, found {}", damage.way, report["findings"]));
        }
    }
    Ok(damages.len())
}

/// All of a trail but for what was changed in the middle of it.
fn damages(trail: &Lines, other: &Lines) -> Vec<Damage> {
    let middle = trail.len() / 2;
    // Lines are counted from 1.
    let at = middle as u64 + 1;
    let changed = |change: &dyn Fn(&mut Lines)| {
        let mut lines = trail.clone();
        change(&mut lines);
        vec![lines]
    };
    let one = |way, found: (u64, &'static str), change: &dyn Fn(&mut Lines)| Damage {
        way,
        files: changed(change),
        found: (1, found.0, found.1),
    };
    let thirds = || trail.chunks(trail.len().div_ceil(3)).map(<[String]>::to_vec).collect::<Vec<_>>();
    let (mut without_first, mut emptied) = (thirds(), thirds());
    without_first.remove(0);
    emptied[1].clear();
    vec![
        one("a line is edited", (at, "was changed"), &|lines| {
            lines[middle] = lines[middle].replacen("\"type\":\"re", "\"type\":\"Re", 1);
        }),
        one("a line is deleted", (at, "1 line is missing"), &|lines| drop(lines.remove(middle))),
        one("a line is put in", (at, "is no record of a trail"), &|lines| {
            lines.insert(middle, "{\"type\":\"request\"}\n".to_owned());
        }),
        one("two lines are swapped", (at + 1, "it was moved, or put in"), &|lines| {
            lines.swap(middle, middle + 1)
        }),
        one("the first lines are cut off", (1, "missing before this one, the first"), &|lines| {
            drop(lines.drain(..middle));
        }),
        one("the last lines are cut off", (at - 1, "its end is missing"), &|lines| lines.truncate(middle)),
        one("a digit of the chain is flipped", (at, "was changed"), &|lines| {
            flip_previous(&mut lines[middle])
        }),
        one("a line is there twice", (at + 1, "it was moved, or put in"), &|lines| {
            lines.insert(middle, lines[middle].clone());
        }),
        one("a line of another node is put in", (at, "is of another trail"), &|lines| {
            lines.insert(middle, other[other.len() / 2].clone());
        }),
        one("the end of the last line is cut off", (trail.len() as u64, "is cut"), &|lines| {
            let last = lines.last_mut().expect("it has lines");
            last.truncate(last.len() / 2);
        }),
        one("two lines are made one", (at, "is no record of a trail"), &|lines| {
            // What stands at the end of the first is lost, and its newline with it.
            let half = lines[middle].len() / 2;
            lines[middle].truncate(half);
            let next = lines.remove(middle + 1);
            lines[middle].push_str(&next[..next.len() / 2]);
            lines[middle].push('\n');
        }),
        Damage {
            way: "the oldest file is removed",
            files: without_first,
            found: (1, 1, "missing before this one, the first"),
        },
        Damage {
            way: "a file between others is emptied",
            files: emptied,
            found: (3, 1, "lines are missing"),
        },
    ]
}

/// Changes one digit of the hash that the line states for the one before it.
fn flip_previous(line: &mut String) {
    const MARK: &str = "\"previous\":\"";
    let at = line.rfind(MARK).expect("each line is linked to the one before") + MARK.len();
    let digit = if line[at..].starts_with('0') { "1" } else { "0" };
    line.replace_range(at..=at, digit);
}

struct Checker<'a> {
    conclave: &'a Path,
    folder: PathBuf,
}

impl Checker<'_> {
    /// Whether the files are one whole trail, and all that is said of it.
    fn verify(&self, files: &[Lines], noted: Option<&Value>) -> Result<(bool, Value), String> {
        let fault = |error: std::io::Error| error.to_string();
        let mut command = Command::new(self.conclave);
        command.args(["audit", "verify", "--format", "json"]);
        if let Some(noted) = noted {
            let path = self.folder.join("noted.json");
            std::fs::write(&path, noted.to_string()).map_err(fault)?;
            command.arg("--anchors").arg(path);
        }
        for (number, lines) in files.iter().enumerate() {
            let path = self.folder.join(format!("{number}.log"));
            std::fs::write(&path, lines.concat()).map_err(fault)?;
            command.arg(path);
        }
        let output = command.output().map_err(fault)?;
        let report = serde_json::from_slice(&output.stdout)
            .map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?;
        match output.status.code() {
            Some(0) => Ok((true, report)),
            Some(EXIT_CHANGED) => Ok((false, report)),
            code => Err(format!("verification ended with {code:?}")),
        }
    }
}

/// The trails of one run's nodes, in order.
fn trails(out: &Path) -> Result<Vec<PathBuf>, String> {
    let runs = std::fs::read_dir(out).map_err(|error| error.to_string())?;
    for run in runs.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let files = std::fs::read_dir(&run).map_err(|error| error.to_string())?.flatten();
        let mut trails: Vec<PathBuf> = files
            .map(|entry| entry.path())
            .filter(|path| path.to_string_lossy().ends_with(TRAIL_ENDING))
            .collect();
        if !trails.is_empty() {
            trails.sort();
            return Ok(trails);
        }
    }
    Err("no run has left any".to_owned())
}

/// Each with its newline.
fn lines(trail: &Path) -> Result<Lines, String> {
    let text = std::fs::read_to_string(trail).map_err(|error| error.to_string())?;
    let lines: Lines = text.split_inclusive('\n').map(str::to_owned).collect();
    if lines.len() < LINES_MIN {
        return Err(format!("{} has no more than {} lines", trail.display(), lines.len()));
    }
    Ok(lines)
}
