//! Runs the rules over every file of the project, each where it holds.

use std::path::Path;

use crate::{assert_clean, files, read, rules};

/// The clock and the random source: arguments, never calls (I2).
const CLOCK_AND_CHANCE: &[&str] = &[
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "rand::rng",
    "rand::random",
    "thread_rng",
    "OsRng",
    "SysRng",
    "getrandom",
    "new_v4",
    "now_v7",
];

const PRINTS: &[&str] = &["println!(", "eprintln!(", "print!(", "eprint!("];

/// Runs `rule` over the files that `holds` picks.
#[track_caller]
fn check(holds: fn(&str) -> bool, rule: impl Fn(&str) -> Vec<String>) {
    let mut findings = Vec::new();
    let mut checked = 0;
    for path in files() {
        let name = path.to_string_lossy();
        if !holds(&name) {
            continue;
        }
        checked += 1;
        findings.extend(rule(&read(&path)).into_iter().map(|finding| format!("{name}: {finding}")));
    }
    assert!(checked > 0, "the rule looked at no file: the tree has moved away from it");
    assert_clean(&findings);
}

fn is_rust(name: &str) -> bool {
    name.ends_with(".rs")
}

/// Sources of the program, without its tests: by these names they are compiled for tests only.
fn is_program(name: &str) -> bool {
    let tests = ["/tests.rs", "_tests.rs", "/testing.rs"].iter().any(|end| name.ends_with(end));
    is_rust(name) && name.contains("src/") && !tests && !name.contains("/tests/")
}

fn is_text(name: &str) -> bool {
    const KINDS: &[&str] = &["rs", "toml", "md", "proto", "py", "sh", "json", "txt", "yml", "yaml"];
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    extension.is_none_or(|extension| KINDS.contains(&extension))
}

#[test]
fn files_are_short_or_say_why_not() {
    check(is_rust, rules::length);
}

#[test]
fn functions_are_short() {
    check(is_rust, rules::function_lengths);
}

#[test]
fn every_source_file_opens_with_its_purpose() {
    // A `tests.rs` lies beside what it tests and needs no purpose of its own.
    check(|name| is_rust(name) && !name.ends_with("/tests.rs"), rules::opens_with_its_purpose);
}

#[test]
fn nothing_is_left_unfinished() {
    check(is_text, rules::unfinished);
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    check(is_text, rules::machine_paths);
}

#[test]
fn no_secret_reaches_a_log_line_or_an_error_text() {
    check(is_program, |text| rules::secrets_in_text(rules::program_part(text)));
}

#[test]
fn the_program_does_not_unwrap() {
    check(is_program, rules::unwraps);
}

#[test]
fn no_secret_is_compared_sign_by_sign() {
    check(is_program, rules::comparisons_of_secrets);
}

#[test]
fn relaxed_lints_carry_their_reason() {
    check(is_rust, rules::relaxed_lints);
}

#[test]
fn nothing_is_named_get() {
    check(is_rust, rules::getters);
}

#[test]
fn pure_rules_and_apply_know_neither_clock_nor_chance() {
    let pure = |name: &str| {
        is_program(name) && (name.starts_with("node/core/src/") || name.starts_with("storage/src/apply"))
    };
    check(pure, |text| rules::banned_words(text, CLOCK_AND_CHANCE, "is an argument here, never a call (I2)"));
}

#[test]
fn rocksdb_is_named_only_in_storage() {
    let elsewhere = |name: &str| is_program(name) && !name.starts_with("storage/");
    check(elsewhere, |text| rules::banned_words(text, &["rocksdb::"], "only storage knows RocksDB"));
}

#[test]
fn the_pure_rules_know_no_web_and_no_tasks() {
    let core = |name: &str| is_program(name) && name.starts_with("node/core/src/");
    let words = ["axum::", "tonic::", "tokio::", "hyper::", "http::", "async fn", ".await"];
    check(core, |text| rules::banned_words(text, &words, "core is one computation on its arguments"));
}

#[test]
fn servers_log_and_do_not_print() {
    let server = |name: &str| {
        let rooms = ["node/src/", "node/core/src/", "storage/src/", "proto/src/", "proto/client/src/"];
        // The entry says why a node cannot start, before there is a log.
        let entry = matches!(name, "node/src/main.rs" | "node/src/server.rs");
        is_program(name) && !entry && rooms.iter().any(|room| name.starts_with(room))
    };
    check(server, |text| {
        rules::banned_words(text, PRINTS, "use tracing: what is printed is lost and unfiltered")
    });
}
