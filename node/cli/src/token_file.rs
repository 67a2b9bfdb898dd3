//! The token that a login leaves for later commands: `~/.vault-token`, as Vault's own program keeps it, readable by its
//! owner alone.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use conclave_client::Secret;

use crate::failure::Failure;

const NAME: &str = ".vault-token";
/// Largest file that is taken for a token, in bytes.
const BYTES_MAX: u64 = 4_096;

fn path() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|home| !home.is_empty()).map(|home| PathBuf::from(home).join(NAME))
}

/// The token that was kept, if there is one.
pub fn read() -> Result<Option<Secret<String>>, Failure> {
    path().map_or(Ok(None), |path| read_at(&path))
}

/// Keeps a token.
pub fn store(token: &str) -> Result<(), Failure> {
    let path =
        path().ok_or_else(|| Failure::local("there is no HOME to keep the token in: use --no-store"))?;
    store_at(&path, token)
}

fn read_at(path: &Path) -> Result<Option<Secret<String>>, Failure> {
    let fault = |error: std::io::Error| Failure::local(format!("cannot read {}: {error}", path.display()));
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => file.take(BYTES_MAX).read_to_string(&mut text).map_err(fault)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error)),
    };
    let token = text.trim();
    Ok(if token.is_empty() { None } else { Some(Secret::new(token.to_owned())) })
}

/// In the place of the old one at once: no other command reads half a token.
fn store_at(path: &Path, token: &str) -> Result<(), Failure> {
    let fault = |error: std::io::Error| Failure::local(format!("cannot write {}: {error}", path.display()));
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&fresh).map_err(fault)?;
    let written = file.write_all(token.as_bytes()).and_then(|()| std::fs::rename(&fresh, path));
    if written.is_err() {
        let _gone_or_not = std::fs::remove_file(&fresh);
    }
    written.map_err(fault)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_kept_for_its_owner_alone_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        assert!(read_at(&path).unwrap().is_none());
        std::fs::write(&path, "an older and longer one\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        store_at(&path, "s.new").unwrap();
        assert_eq!(read_at(&path).unwrap().unwrap().expose(), "s.new");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }
}
