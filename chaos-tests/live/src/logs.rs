//! What must not stand in a server's log.

use std::io::{BufRead as _, BufReader};
use std::path::Path;

/// Words of a server that is wrong, whatever its clients saw.
const ALARMS: &[&str] =
    &["panicked at", "state differs from a peer's", "assertion", "RUST_BACKTRACE", "is damaged", PATH];
/// Begins the path of every secret that the clients ask for: paths are secret too.
const PATH: &str = "secret/data/e";
/// Lines of one log that are told.
const TOLD_MAX: usize = 5;

pub fn search(log: &Path) -> anyhow::Result<Vec<String>> {
    let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for line in BufReader::new(std::fs::File::open(log)?).lines() {
        let line = line?;
        if ALARMS.iter().any(|alarm| line.contains(alarm)) && found.len() < TOLD_MAX {
            found.push(format!("{name}: {line}"));
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
        std::fs::write(&log, "INFO fine\nthread 'main' panicked at src/x.rs:1\n").unwrap();
        assert_eq!(search(&log).unwrap(), ["n1.log: thread 'main' panicked at src/x.rs:1"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
