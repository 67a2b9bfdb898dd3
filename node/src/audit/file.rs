//! The `file` device: lines appended to one file inside the audit folder, which only its owner may read.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use conclave_core::audit::Head;
use rustix::fs::OFlags;

use super::sink::{Lines, Sink};

pub const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// No name in the audit folder may lead out of it.
pub const NO_LINKS: i32 = OFlags::NOFOLLOW.bits() as i32;
/// Longest line that is looked for at the end of a file, in bytes.
const LINE_BYTES_MAX: u64 = 8 * 1024 * 1024;

pub struct FileSink {
    path: PathBuf,
    sync: bool,
    file: File,
    /// Bytes of lines that are known to be whole, if what is behind them could not be removed.
    torn_at: Option<u64>,
    /// A sync failed: what it should have written may be lost, and no later sync would tell.
    lost: bool,
}

impl FileSink {
    /// Opens the file and removes what a crash left of a line that was never acknowledged.
    pub fn open(path: PathBuf, sync: bool) -> io::Result<Self> {
        let file = open_file(&path)?;
        Ok(Self { path, sync, file, torn_at: None, lost: false })
    }

    /// The head of the trail, as the newest line has it. `None`: the file is empty.
    ///
    /// # Errors
    /// The file cannot be read, or its newest line is none of a trail.
    pub fn head(&self) -> io::Result<Option<Head>> {
        let length = self.file.metadata()?.len();
        let begin = length.saturating_sub(LINE_BYTES_MAX);
        let mut end = vec![0; usize::try_from(length - begin).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut end, begin)?;
        let whole = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole < end.len() {
            tracing::warn!(
                bytes = end.len() - whole,
                "removed the rest of an audit record that was never acknowledged"
            );
            self.file.set_len(begin + whole as u64)?;
        }
        let lines = &end[..whole.saturating_sub(1)];
        if whole == 0 {
            return Ok(None);
        }
        let line = lines.iter().rposition(|byte| *byte == b'\n').map_or(lines, |at| &lines[at + 1..]);
        Head::of_line(line)
            .map(Some)
            .ok_or_else(|| io::Error::other("the newest line in the file was changed"))
    }

    fn append(&mut self, lines: &Lines) -> io::Result<()> {
        let mut status = self.file.metadata()?;
        if status.nlink() == 0 {
            tracing::error!("the file of an audit device was removed: writing to a new one");
            self.file = open_file(&self.path)?;
            status = self.file.metadata()?;
            self.torn_at = None;
        }
        let mut length = status.len();
        if let Some(whole) = self.torn_at {
            self.file.set_len(whole)?;
            self.torn_at = None;
            length = whole;
        }
        if let Err(error) = self.file.write_all(lines.all()) {
            if self.file.set_len(length).is_err() {
                self.torn_at = Some(length);
            }
            return Err(error);
        }
        if self.sync
            && let Err(error) = self.file.sync_data()
        {
            self.lost = true;
            return Err(error);
        }
        Ok(())
    }
}

impl Sink for FileSink {
    fn write(&mut self, lines: &Lines) -> io::Result<()> {
        if self.lost {
            return Err(io::Error::other(
                "an earlier sync failed: rotate the file and send SIGHUP, or restart",
            ));
        }
        self.append(lines)
    }

    fn undoes(&self) -> bool {
        // What a failed sync left may be there or not: its numbers are used up.
        !self.lost
    }

    fn reopen(&mut self) -> io::Result<()> {
        *self = Self::open(self.path.clone(), self.sync)?;
        Ok(())
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        // A pipe without a reader would wait for ever.
        .custom_flags(NO_LINKS | OFlags::NONBLOCK.bits() as i32)
        .open(path)?;
    let status = file.metadata()?;
    if !status.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    if status.permissions().mode() & 0o777 != FILE_MODE {
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    }
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

/// Makes the audit folder, if it is not there.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if fs::symlink_metadata(folder).is_ok() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)
}
