//! `conclave audit verify`: reads the files of a trail and says what was changed in them. Works on this machine's disk.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use conclave_core::audit::{Head, Place, Verifier};
use serde::Deserialize;
use serde_json::{Value, json};

/// Longest line that is read, in bytes: twice what a record may take.
const LINE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Longest list of heads, in bytes.
const ANCHORS_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Says whether the trail in `files`, the oldest first, is whole from the line numbered `from` on, and compares it with
/// the heads in `anchors`: what `sys/audit-anchors` answers, a JSON list, or one JSON object a line.
///
/// # Errors
/// A sentence: a file cannot be read, or the list of heads is none.
pub fn run(files: &[PathBuf], from: u64, anchors: Option<&Path>) -> Result<Value, String> {
    let anchors = anchors.map(read_anchors).transpose()?.unwrap_or_default();
    let mut verifier = Verifier::new(from, anchors);
    for (index, path) in files.iter().enumerate() {
        let fault = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
        let mut reader = BufReader::new(File::open(path).map_err(fault)?);
        let mut place = Place { file: index + 1, line: 0 };
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(fault)?;
            if read == 0 {
                break;
            }
            place.line += 1;
            let text = line.strip_suffix(b"\n");
            verifier.line(place, text.unwrap_or(&line), text.is_some());
        }
    }
    let verdict = verifier.end();
    let whole = verdict.is_whole();
    let mut report = serde_json::to_value(verdict).map_err(|error| error.to_string())?;
    report["whole"] = whole.into();
    report["files"] = json!(files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>());
    Ok(report)
}

fn read_anchors(path: &Path) -> Result<Vec<Head>, String> {
    let fault =
        |error: &dyn std::fmt::Display| format!("cannot read the heads in {}: {error}", path.display());
    /// As `sys/audit-anchors` answers.
    #[derive(Deserialize)]
    struct Answer {
        data: Anchors,
    }
    #[derive(Deserialize)]
    struct Anchors {
        anchors: Vec<Head>,
    }
    let mut text = String::new();
    let file = File::open(path).map_err(|error| fault(&error))?;
    file.take(ANCHORS_BYTES_MAX).read_to_string(&mut text).map_err(|error| fault(&error))?;
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(&text).map_err(|error| fault(&error));
    }
    if let Ok(answer) = serde_json::from_str::<Answer>(&text) {
        return Ok(answer.data.anchors);
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| serde_json::from_str(line).map_err(|error| fault(&error))).collect()
}
