//! Where a trail stood, beside the trail: so that its chain goes on after a restart even if its lines went elsewhere.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use conclave_core::audit::Head;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Length of the file: a head with room to grow, overwritten in place.
const HEAD_BYTES: usize = 512;

/// How long the one that had the trail before may take to let go of it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Two nodes that wrote to one trail would break its chain.
fn lock(file: &File) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if began.elapsed() < LOCK_TIMEOUT => std::thread::sleep(LOCK_PAUSE),
            Err(Errno::WOULDBLOCK) => return Err(io::Error::other("another node writes to this trail")),
            locked => return Ok(locked?),
        }
    }
}

/// The file that holds one device's head, and whose lock is the trail's. It is not synced: after a loss of power the chain may go back, and
/// verification then says so.
pub struct HeadFile {
    file: File,
}

impl HeadFile {
    pub fn open(folder: &Path, device: &str) -> io::Result<Self> {
        let path: PathBuf = folder.join(format!("{device}.head"));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(super::file::FILE_MODE)
            .custom_flags(super::file::NO_LINKS)
            .open(path)?;
        lock(&file)?;
        Ok(Self { file })
    }

    /// `None`: nothing was noted, or it cannot be read.
    pub fn read(&self) -> Option<Head> {
        let mut text = [0; HEAD_BYTES];
        self.file.read_exact_at(&mut text, 0).ok()?;
        serde_json::from_slice(text.trim_ascii()).ok()
    }

    pub fn write(&self, head: &Head) -> io::Result<()> {
        let mut text = serde_json::to_vec(head)?;
        if text.len() > HEAD_BYTES {
            return Err(io::Error::other("the head does not fit its file"));
        }
        text.resize(HEAD_BYTES, b' ');
        self.file.write_all_at(&text, 0)
    }
}
