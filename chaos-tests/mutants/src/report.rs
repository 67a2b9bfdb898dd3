//! The table of planted bugs and who caught them, for people and for programs.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::check::Finding;

#[derive(Serialize)]
pub struct Report<'a> {
    pub version: String,
    pub findings: &'a [Finding],
    /// Ways that do not work: they prove nothing.
    pub broken: &'a [String],
}

impl Report<'_> {
    /// Whether every way caught its bug.
    pub fn is_good(&self) -> bool {
        self.broken.is_empty() && self.findings.iter().all(|finding| finding.caught)
    }

    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::write(folder.join("mutants.json"), serde_json::to_vec_pretty(self)?)?;
        std::fs::write(folder.join("mutants.md"), self.markdown())?;
        Ok(())
    }

    pub fn markdown(&self) -> String {
        let mut bugs: Vec<&str> = self.findings.iter().map(|finding| finding.bug).collect();
        bugs.dedup();
        let missed = self.findings.iter().filter(|finding| !finding.caught).count();
        let mut text = format!(
            "# Planted bugs: {} of them, {} ways, {missed} missed\n\n- version: {}\n\n",
            bugs.len(),
            self.findings.len(),
            self.version
        );
        text.push_str(
            "| bug | tried by | caught | after | operations | what was seen |\n|---|---|---|---|---|---|\n",
        );
        for finding in self.findings {
            let operations = finding.operations.map_or_else(String::new, |count| count.to_string());
            let caught = if finding.caught { "yes" } else { "**missed**" };
            // Writing to a text does not fail.
            let _infallible = writeln!(
                text,
                "| `{}` | {} | {caught} | {:.1} s | {operations} | {} |",
                finding.bug, finding.way, finding.seconds, finding.said
            );
        }
        for broken in self.broken {
            let _infallible = writeln!(text, "\n**Proves nothing:** {broken}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(caught: bool) -> Finding {
        let (way, said) = ("test a b".to_owned(), "lost".to_owned());
        Finding { bug: "ack-before-fsync", way, caught, said, seconds: 1.0, operations: None }
    }

    #[test]
    fn one_bug_that_was_missed_is_no_success_and_stands_out() {
        let findings = [finding(true), finding(false)];
        let report = Report { version: String::new(), findings: &findings, broken: &[] };
        assert!(!report.is_good());
        assert!(report.markdown().contains("1 of them, 2 ways, 1 missed"), "{}", report.markdown());
        assert!(report.markdown().contains("**missed**"));
        assert!(Report { findings: &findings[..1], ..report }.is_good());
    }

    #[test]
    fn a_way_that_proves_nothing_is_no_success() {
        let broken = ["it fails without a bug".to_owned()];
        assert!(!Report { version: String::new(), findings: &[finding(true)], broken: &broken }.is_good());
    }
}
