//! Damages files as bad disks and wrong restores do.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::cut::files;
use crate::random::Random;

/// Bits that are flipped in one file, at most.
const FLIPS_MAX: u64 = 8;

/// What a server has set aside once it had noticed damage: it never reads that again.
const SET_ASIDE: &str = "damaged-";

/// Which of the server's files, by the names that RocksDB and the server give them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A write-ahead log, of the Raft log or of the state.
    Log,
    Table,
    Manifest,
    Current,
    Snapshot,
}

pub const PARTS: [Part; 5] = [Part::Log, Part::Table, Part::Manifest, Part::Current, Part::Snapshot];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Flip,
    Truncate,
    /// The file as it was some time ago.
    Older,
    Remove,
}

pub const WAYS: [Way; 4] = [Way::Flip, Way::Truncate, Way::Older, Way::Remove];

/// Damages one file of that part, and says which. Nothing if there is none, or nothing about it changed.
///
/// `older` is a copy of `data` from before.
pub fn damage(data: &Path, older: &Path, part: Part, way: Way, random: &mut Random) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = files(data).into_iter().filter(|path| is_part(path, part)).collect();
    found.retain(|path| {
        !is_set_aside(path) && std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)
    });
    while !found.is_empty() {
        let path = found.swap_remove(random.index(found.len()));
        let before = std::fs::read(&path).ok()?;
        match way {
            Way::Flip => flip(&path, &before, random)?,
            Way::Truncate => {
                OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .ok()?
                    .set_len(random.below(before.len() as u64))
                    .ok()?;
            }
            Way::Older => {
                // A file that is new has no older copy; then another one is taken.
                let Ok(copy) = path.strip_prefix(data).map(|name| older.join(name)) else { continue };
                if std::fs::copy(copy, &path).is_err() {
                    continue;
                }
            }
            Way::Remove => std::fs::remove_file(&path).ok()?,
        }
        if std::fs::read(&path).ok().is_none_or(|after| after != before) {
            return Some(path);
        }
    }
    None
}

fn is_set_aside(path: &Path) -> bool {
    path.components().any(|folder| folder.as_os_str().to_string_lossy().starts_with(SET_ASIDE))
}

fn is_part(path: &Path, part: Part) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let numbered = |ending: &str| {
        name.strip_suffix(ending).is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let in_snapshot = path.components().any(|folder| folder.as_os_str() == "snapshots");
    match part {
        Part::Snapshot => in_snapshot,
        _ if in_snapshot => false,
        Part::Log => numbered(".log"),
        Part::Table => numbered(".sst"),
        Part::Manifest => name.starts_with("MANIFEST-"),
        Part::Current => name == "CURRENT",
    }
}

fn flip(path: &Path, bytes: &[u8], random: &mut Random) -> Option<()> {
    let file = OpenOptions::new().write(true).open(path).ok()?;
    for _ in 0..=random.below(FLIPS_MAX) {
        let at = random.index(bytes.len());
        let bit = 1 << random.below(8);
        file.write_all_at(&[bytes[at] ^ bit], at as u64).ok()?;
    }
    Some(())
}

/// Copies a folder. Nothing may write to it meanwhile.
pub fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(entry.path())?, target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Names and contents of two folders are the same.
pub fn same(left: &Path, right: &Path) -> bool {
    let content = |folder: &Path| -> Vec<(PathBuf, Option<Vec<u8>>)> {
        let paths = files(folder).into_iter();
        let named = paths.map(|path| {
            let name = path.strip_prefix(folder).map(Path::to_owned).unwrap_or_default();
            (name, std::fs::read(path).ok())
        });
        named.collect()
    };
    content(left) == content(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(test: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("conclave-chaos-damage-{test}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        for (name, bytes) in [
            ("data/log/000004.log", &[1; 300][..]),
            ("data/state/1/000009.sst", &[2; 300]),
            ("data/log/CURRENT", b"MANIFEST-000005\n"),
            ("data/log/LOG", b"RocksDB's own words"),
            ("data/snapshots/7/000009.sst", &[3; 300]),
            ("older/log/000004.log", &[1; 200]),
        ] {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        folder
    }

    #[test]
    fn each_way_changes_a_file_of_the_part_and_no_other() {
        for way in WAYS {
            let folder = folder(&format!("{way:?}"));
            let (data, before, older) = (folder.join("data"), folder.join("before"), folder.join("older"));
            copy(&data, &before).unwrap();
            assert!(same(&data, &before));
            let hit = damage(&data, &older, Part::Log, way, &mut Random::new(3));
            assert_eq!(hit, Some(data.join("log/000004.log")));
            assert!(!same(&data, &before));
            std::fs::copy(before.join("log/000004.log"), data.join("log/000004.log")).unwrap();
            assert!(same(&data, &before), "only that file");
            std::fs::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn what_the_server_set_aside_is_left_alone() {
        let folder = folder("aside");
        let (data, older) = (folder.join("data"), folder.join("older"));
        std::fs::create_dir_all(data.join("damaged-20261123T080300Z/state")).unwrap();
        std::fs::write(data.join("damaged-20261123T080300Z/state/MANIFEST-000007"), [1; 300]).unwrap();
        assert_eq!(damage(&data, &older, Part::Manifest, Way::Flip, &mut Random::new(1)), None);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn damage_that_cannot_be_done_is_none() {
        let folder = folder("none");
        let (data, older) = (folder.join("data"), folder.join("older"));
        let random = &mut Random::new(1);
        assert_eq!(damage(&data, &older, Part::Manifest, Way::Flip, random), None, "there is no such file");
        assert_eq!(damage(&data, &older, Part::Table, Way::Older, random), None, "there is no older copy");
        let snapshot = damage(&data, &older, Part::Snapshot, Way::Truncate, random);
        assert_eq!(snapshot, Some(data.join("snapshots/7/000009.sst")));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
