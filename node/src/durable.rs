//! Small files beside the storage whose content must be whole after a crash: either the old one or the new one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use conclave_faults::failpoint::{Point, hit};

/// Replaces `path`. The draft lies beside it, so one writer at a time.
///
/// # Errors
/// What the disk says; the old content then still stands.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".next");
    let draft = Path::new(&draft);
    let mut file = File::create(draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    hit(Point::DraftWritten);
    fs::rename(draft, path)?;
    sync_parent(path)
}

/// The content, or `None` when there is no such file.
///
/// # Errors
/// What the disk says.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes `path`, if it is there.
///
/// # Errors
/// What the disk says.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_parent(path),
    }
}

/// Makes what was created, renamed or removed at `path` outlast a crash.
///
/// # Errors
/// What the disk says.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
