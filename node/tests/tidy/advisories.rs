//! `node/docs/advisories.md` promises a test for each class of mistake: every test that it names is there, and every
//! advisory has its row.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{assert_clean, files, read};

const PAGE: &str = "node/docs/advisories.md";
/// Advisories that the page answers, by their numbers.
const ROWS: std::ops::RangeInclusive<u32> = 1..=90;
/// What a row can say in the place of a test.
const REASONS: [&str; 2] = ["Not here:", "Open:"];

#[test]
fn every_test_that_the_page_of_advisories_names_is_there() {
    let names = |path: &Path| path.extension().is_some_and(|extension| extension == "rs");
    let sources: Vec<(String, String)> = files()
        .iter()
        .filter(|path| names(path))
        .map(|path| (path.to_string_lossy().into_owned(), read(path)))
        .collect();
    assert_clean(&findings(&read(PAGE.as_ref()), &|file, test| {
        sources.iter().any(|(path, text)| path == file && text.contains(&format!("fn {test}(")))
    }));
}

/// What is wrong with the page, if `there` says which tests there are.
fn findings(page: &str, there: &dyn Fn(&str, &str) -> bool) -> Vec<String> {
    let mut findings = Vec::new();
    let mut answered = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let Some(number) = cells.first().and_then(|cell| cell.parse::<u32>().ok()) else { continue };
        if !answered.insert(number) {
            findings.push(format!("row {number} stands there twice"));
        }
        let answer = cells.last().copied().unwrap_or_default();
        let named: Vec<&str> =
            answer.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect();
        if named.is_empty() && !REASONS.iter().any(|reason| answer.starts_with(reason)) {
            findings.push(format!("row {number} names no test and gives no reason"));
        }
        for name in named {
            match name.split_once("::") {
                Some((file, test)) if there(file, test) => {}
                _ => findings.push(format!("row {number}: there is no test {name}")),
            }
        }
    }
    findings.extend(ROWS.filter(|row| !answered.contains(row)).map(|row| format!("row {row} is missing")));
    findings
}

#[test]
fn a_row_without_a_test_or_with_one_that_is_gone_is_found() {
    let row = |number: u32, answer: &str| format!("| {number} | CVE | mistake | {answer} |\n");
    let good: String = ROWS.map(|number| row(number, "`a.rs::b`")).collect();
    let there = |file: &str, test: &str| (file, test) == ("a.rs", "b");
    assert_eq!(findings(&good, &there), Vec::<String>::new());
    for (wrong, finding) in [
        (good.replacen("`a.rs::b`", "`a.rs::c`", 1), "row 1: there is no test a.rs::c"),
        (good.replacen("`a.rs::b`", "we are careful", 1), "row 1 names no test and gives no reason"),
        (good.replacen("| 90 |", "| 89 |", 1), "row 89 stands there twice"),
        (good.replacen(&row(90, "`a.rs::b`"), "", 1), "row 90 is missing"),
    ] {
        assert!(findings(&wrong, &there).contains(&finding.to_owned()), "{finding}");
    }
    assert!(findings(&good.replacen("`a.rs::b`", "Not here: there is no such thing", 1), &there).is_empty());
}
