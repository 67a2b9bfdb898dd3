//! Wall clocks of single nodes, bent by libfaketime while they run. Monotonic clocks stay right.
//!
//! Each node's library reads how far its clock is off from a file, at every look at the clock. Drift is made of many small
//! steps: the library's own rates would bend what waits, too.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

/// Where Debian's package has it, below a folder for the architecture.
const LIBRARIES: &str = "/usr/lib";
/// Where Linux has named shared memory and semaphores.
const SHARED_MEMORY: &str = "/dev/shm";
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

pub struct Clocks {
    library: PathBuf,
    files: Vec<PathBuf>,
}

/// The library, if it is installed.
pub fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir(LIBRARIES).ok()?;
    folders.filter_map(|folder| Some(folder.ok()?.path().join(LIBRARY))).find(|library| library.is_file())
}

impl Clocks {
    pub fn new(folder: &Path, nodes: usize) -> anyhow::Result<Self> {
        let library = library().context("clocks are bent by libfaketime: apt-get install libfaketime")?;
        let files = (1..=nodes).map(|number| folder.join(format!("n{number}.clock"))).collect();
        let clocks = Self { library, files };
        clocks.right_all()?;
        Ok(clocks)
    }

    /// The command's process will see the node's clock.
    pub fn bend(&self, command: &mut Command, node: usize) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.files[node])
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }

    /// The node's clock is off by so much from now on.
    pub fn set(&self, node: usize, off_ms: i64) -> anyhow::Result<()> {
        let file = &self.files[node];
        let new = file.with_extension("clock-new");
        std::fs::write(&new, offset(off_ms))?;
        // Nobody ever reads half of it.
        std::fs::rename(&new, file)?;
        Ok(())
    }

    pub fn right_all(&self) -> anyhow::Result<()> {
        (0..self.files.len()).try_for_each(|node| self.set(node, 0))
    }
}

/// Removes what the library keeps for a process and leaves behind if that is killed. A later process with the same number
/// would wait for it for ever.
pub fn forget_clock(process: u32) {
    for name in [format!("faketime_shm_{process}"), format!("sem.faketime_sem_{process}")] {
        drop(std::fs::remove_file(Path::new(SHARED_MEMORY).join(name)));
    }
}

/// As the library reads it, in seconds.
fn offset(off_ms: i64) -> String {
    let sign = if off_ms < 0 { '-' } else { '+' };
    let ms = off_ms.unsigned_abs();
    format!("{sign}{}.{:03}\n", ms / 1000, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_written_in_seconds() {
        assert_eq!(offset(0), "+0.000\n");
        assert_eq!(offset(-100), "-0.100\n");
        assert_eq!(offset(86_400_001), "+86400.001\n");
    }
}
