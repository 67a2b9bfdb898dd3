//! What must not stand in a server's log.

use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::path::Path;

/// Words of a server that is wrong, whatever its clients saw.
const ALARMS: &[&str] =
    &["panicked at", "a task panicked", "state differs from a peer's", "assertion", "RUST_BACKTRACE"];
/// Words that are right only where a fault has damaged the server's disk.
const COMPLAINTS: &[&str] = &["is damaged"];
/// Lines of one log that are told.
const TOLD_MAX: usize = 5;

/// Lines that are alarming, or complain outside the places where there is reason to.
pub fn search(log: &Path, excused: &[Range<u64>]) -> anyhow::Result<Vec<String>> {
    let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    let mut at = 0;
    for line in BufReader::new(std::fs::File::open(log)?).split(b'\n') {
        let line = line?;
        let (place, text) = (at, String::from_utf8_lossy(&line));
        at += line.len() as u64 + 1;
        let excused = excused.iter().any(|range| range.contains(&place));
        let alarming = ALARMS.iter().any(|alarm| text.contains(alarm));
        let complains = !excused && COMPLAINTS.iter().any(|complaint| text.contains(complaint));
        if (alarming || complains) && found.len() < TOLD_MAX {
            found.push(format!("{name}: {text}"));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_log_is_found_with_the_name_of_the_log() {
        let folder = std::env::temp_dir().join(format!("conclave-chaos-logs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let log = folder.join("n1.log");
        std::fs::write(&log, "INFO fine\nERROR a task panicked: this is a bug\n").unwrap();
        assert_eq!(search(&log, &[]).unwrap().len(), 1, "in the server's own words");
        std::fs::write(&log, "INFO fine\nthread 'main' panicked at src/x.rs:1\n").unwrap();
        assert_eq!(search(&log, &[]).unwrap(), ["n1.log: thread 'main' panicked at src/x.rs:1"]);
        let everywhere = 0..u64::MAX;
        assert_eq!(search(&log, &[everywhere]).unwrap().len(), 1, "nothing excuses a panic");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_complaint_of_damage_is_excused_where_the_disk_was_damaged_and_nowhere_else() {
        let folder = std::env::temp_dir().join(format!("conclave-chaos-complaints-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let log = folder.join("n1.log");
        let line = "the stored data is damaged: x\n";
        std::fs::write(&log, line.repeat(2)).unwrap();
        let length = line.len() as u64;
        let both = [0..length, length..2 * length];
        assert_eq!(search(&log, &[]).unwrap().len(), 2);
        assert_eq!(search(&log, &both[..1]).unwrap().len(), 1);
        assert_eq!(search(&log, &both).unwrap(), Vec::<String>::new());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
