//! The tables against the world: each row has its place in the code, and the documents say what the tables say.

use std::fs;
use std::path::{Path, PathBuf};

use conclave_faults::BUGS;
use conclave_faults::failpoint::POINTS;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The program's sources below these folders, without this crate's own.
fn sources() -> String {
    let mut all = String::new();
    let mut folders = ["node/src", "node/core/src", "storage/src"].map(|folder| root().join(folder)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                all.push_str(text.split("\n#[cfg(test)]").next().unwrap_or_default());
            }
        }
    }
    all
}

/// How often `call(Kind::Name)` stands in the sources.
fn calls(sources: &str, call: &str, variant: &str) -> usize {
    sources.matches(&format!("{call}({variant})")).count()
}

/// Compares a document with what it must say, and leaves the right one to be taken over.
#[track_caller]
fn assert_document(path: &str, wanted: &str) {
    if fs::read_to_string(root().join(path)).unwrap_or_default() != wanted {
        let right = Path::new(env!("CARGO_TARGET_TMPDIR")).join(Path::new(path).file_name().unwrap());
        fs::write(&right, wanted).unwrap();
        panic!("{path} does not say what the table says: replace it by {}", right.display());
    }
}

#[test]
fn every_bug_has_its_place_in_the_code() {
    let sources = sources();
    let missing =
        BUGS.iter().filter(|row| calls(&sources, "planted::is", &format!("Bug::{:?}", row.bug)) == 0);
    assert_eq!(missing.map(|row| row.name).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn the_document_of_the_planted_bugs_is_the_table() {
    let mut text = String::from(
        "# Planted bugs\n\nA harness is only worth believing if it catches known bugs. A server that is built with the \
         Cargo feature\n`planted-bugs` and started with `CONCLAVE_PLANTED_BUG=<name>` has exactly one of these; without the \
         feature none of them is\ncompiled in, and `conclave --version` tells a server that has it. `on` says where it must \
         be switched on to be seen, \"caught\nby\" which checkers have to notice: any of them is enough. `make chaos-mutants` \
         plants one after another and shows who noticed.\n\nThe table is made from `proto/faults/src/bugs.rs`; a test keeps the two equal.\n\n| name | on | what it breaks | needs | caught by \
         |\n|---|---|---|---|---|\n",
    );
    for row in BUGS {
        let checkers: Vec<&str> = row.caught_by.iter().map(|checker| checker.name()).collect();
        text.push_str(&format!(
            "| `{}` | {} | {} | {} | {} |\n",
            row.name,
            row.scope.name(),
            row.breaks,
            row.needs,
            checkers.join(", ")
        ));
    }
    assert_document("chaos-tests/PLANTED.md", &text);
}

#[test]
fn every_fail_point_is_passed_at_one_place() {
    let sources = sources();
    let count = |row: &conclave_faults::failpoint::PointRow| {
        calls(&sources, "hit", &format!("Point::{:?}", row.point))
    };
    let wrong = POINTS.iter().filter(|row| count(row) != 1);
    assert_eq!(wrong.map(|row| row.name).collect::<Vec<_>>(), Vec::<&str>::new());
    assert_eq!(sources.matches("hit(Point::").count(), POINTS.len(), "a place names a point of the table");
}

#[test]
fn the_document_of_the_fail_points_is_the_table() {
    let mut text = String::from(
        "# Fail points\n\nA server that is built with the Cargo feature `fail-points` can be stopped before and after each \
         durable step. The variable\n`FAILPOINTS`, or the file that `FAILPOINTS_FILE` names, says where and how: \
         `log-synced=2*off->1*return(abort)` ends it at the third\ntime it passes. With `kill` instead of `abort` it ends by \
         SIGKILL, with `stop` all of it stands still right there, so that its power can be\ncut; `sleep(ms)` holds the one thread. \
         The file is looked at all the time, so that a server need not be restarted. Without the feature\nnothing of it is \
         compiled in.\n\n`make chaos-crashes` ends nodes at each point while clients work, in two ways by turns, and judges what \
         the clients saw, what the\nnodes then serve, and whether their states are equal:\n\n\
         - **abort**: the process ends there. What it has written is there, synced or not.\n\
         - **power cut**: the process stops there, its disk is cut off (the ext4 shutdown call on a loop device), it is killed, \
         and the disk is\n  mounted afresh. What was not synced is gone; of that, by the seed, the file system's own journal or \
         some files have got to the disk\n  before. A cut counts only if a file that was synced before is there and one that was \
         not is gone. \"On disk\" in the table says what it\n  leaves of the point's step.\n\n\
         The table is made from `proto/faults/src/points.rs`; a test keeps the two \
         equal and finds each point in the code.\n\n| name | where | on disk | what a crash there proves |\n|---|---|---|---|\n",
    );
    for row in POINTS {
        text.push_str(&format!("| `{}` | {} | {} | {} |\n", row.name, row.at, row.leaves.name(), row.proves));
    }
    assert_document("chaos-tests/FAILPOINTS.md", &text);
}
