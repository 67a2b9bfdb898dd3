//! Finds what was changed in a trail since it was written: an edited, deleted, inserted, reordered or cut line.
//!
//! What it cannot see by the lines alone is a trail that was written anew from some line on, or cut between two lines at
//! its end: for that it takes heads that were noted elsewhere while the trail grew.

use std::collections::BTreeMap;

use serde::Serialize;

use super::chain::{self, HASH_BYTES, Head, Link};

/// Findings told at most; more are only counted.
const FINDINGS_MAX: usize = 100;

/// A line's place: the position of its file, and of the line in it, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Place {
    pub file: usize,
    pub line: u64,
}

/// Something that was changed, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    #[serde(flatten)]
    pub place: Place,
    pub sentence: String,
}

/// What there is to say of a trail.
#[derive(Debug, Serialize)]
pub struct Verdict {
    pub lines: u64,
    /// Number of the first line.
    pub first: Option<u64>,
    pub head: Option<Head>,
    /// Noted heads that were compared with a line.
    pub anchors_met: usize,
    pub findings: Vec<Finding>,
    /// Findings beyond those that are told.
    pub more: u64,
}

impl Verdict {
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Takes the lines of one trail, in order, from the oldest file to the newest.
pub struct Verifier {
    /// Number that the first line must have.
    from: u64,
    anchors: BTreeMap<u64, Head>,
    trail: Option<(String, String)>,
    /// The newest line that was in its place: its number, and the hashes that the next may name.
    last: Option<(u64, [[u8; HASH_BYTES]; 2])>,
    /// Lines since then whose number is not known.
    unreadable: u64,
    end: Place,
    verdict: Verdict,
}

impl Verifier {
    /// `from`: the number of the first line, 1 unless older files are kept elsewhere.
    pub fn new(from: u64, anchors: Vec<Head>) -> Self {
        Self {
            from,
            anchors: anchors.into_iter().map(|anchor| (anchor.number, anchor)).collect(),
            trail: None,
            last: None,
            unreadable: 0,
            end: Place { file: 1, line: 0 },
            verdict: Verdict {
                lines: 0,
                first: None,
                head: None,
                anchors_met: 0,
                findings: Vec::new(),
                more: 0,
            },
        }
    }

    /// The next line, without its newline. `ended`: there was one.
    pub fn line(&mut self, place: Place, line: &[u8], ended: bool) {
        self.end = place;
        self.verdict.lines += 1;
        if !ended {
            self.find(place, "this line is cut: it has no end");
        }
        let Some(chain::Read { link, computed, ends_as_written }) = chain::read(line) else {
            if ended {
                self.find(place, "this line is no record of a trail: it was changed or put in");
            }
            self.unreadable += 1;
            return;
        };
        if link.hash != computed || !ends_as_written {
            self.find(place, "this line was changed: it does not have the hash that it states");
            // It stands where the next is expected, whatever it says of itself.
            let number = self.expected() + self.unreadable;
            self.move_to(place, number, [link.hash, computed]);
        } else if self.is_of_this_trail(place, &link) {
            self.verdict.first.get_or_insert(link.number);
            self.judge_place(place, &link);
        }
    }

    fn is_of_this_trail(&mut self, place: Place, link: &Link) -> bool {
        let (node, device) = self.trail.get_or_insert_with(|| (link.node.clone(), link.device.clone()));
        if (node.as_str(), device.as_str()) == (link.node.as_str(), link.device.as_str()) {
            return true;
        }
        let sentence = format!(
            "this line is of another trail, that of the device {} at {}: it was put in",
            link.device, link.node
        );
        self.find(place, sentence);
        false
    }

    fn expected(&self) -> u64 {
        self.last.map_or(self.from, |(number, _)| number + 1)
    }

    fn judge_place(&mut self, place: Place, link: &Link) {
        let expected = self.expected();
        if link.number < expected {
            let sentence = format!(
                "line number {} stands behind number {}: it was moved, or put in",
                link.number,
                expected - 1
            );
            self.find(place, sentence);
            return;
        }
        let missing = (link.number - expected).saturating_sub(self.unreadable);
        if missing > 0 {
            self.find(place, missing_sentence(missing, self.last.is_none()));
        } else if let Some((_, hashes)) = &self.last {
            if link.number == expected && !hashes.contains(&link.previous) {
                self.find(
                    place,
                    "this line does not follow from the one before: one of the two was replaced",
                );
            }
        } else if link.number == 1 && link.previous != [0; HASH_BYTES] {
            self.find(place, "this line says that it is the first, and names one before it");
        }
        self.move_to(place, link.number, [link.hash; 2]);
    }

    fn move_to(&mut self, place: Place, number: u64, hashes: [[u8; HASH_BYTES]; 2]) {
        self.unreadable = 0;
        self.last = Some((number, hashes));
        let Some((node, device)) = self.trail.clone() else { return };
        if let Some(anchor) = self.anchors.get(&number)
            && (anchor.node.as_str(), anchor.device.as_str()) == (node.as_str(), device.as_str())
        {
            self.verdict.anchors_met += 1;
            if !hashes.contains(&anchor.hash) {
                let sentence = format!(
                    "line number {number} is not the one that was noted elsewhere: the trail was written anew up to here"
                );
                self.find(place, sentence);
            }
        }
        self.verdict.head = Some(Head { node, device, number, hash: hashes[0] });
    }

    pub fn end(mut self) -> Verdict {
        let newest = self.last.map_or(0, |(number, _)| number);
        let trail = self.trail.clone();
        let noted = self.anchors.values().rev().find(|anchor| {
            trail.as_ref().is_none_or(|(node, device)| anchor.node == *node && anchor.device == *device)
        });
        if let Some(number) = noted.map(|anchor| anchor.number).filter(|number| *number > newest) {
            let sentence = format!(
                "the trail ends with line number {newest}, and was noted elsewhere up to number {number}: its end is missing"
            );
            self.find(self.end, sentence);
        }
        self.verdict
    }

    fn find(&mut self, place: Place, sentence: impl Into<String>) {
        if self.verdict.findings.len() < FINDINGS_MAX {
            self.verdict.findings.push(Finding { place, sentence: sentence.into() });
        } else {
            self.verdict.more += 1;
        }
    }
}

fn missing_sentence(missing: u64, at_begin: bool) -> String {
    let lines =
        if missing == 1 { "1 line is missing".to_owned() } else { format!("{missing} lines are missing") };
    if at_begin {
        format!(
            "{lines} before this one, the first: older files come first, or name with --from where this begins"
        )
    } else {
        format!("{lines} before this one")
    }
}

#[cfg(test)]
mod tests;
