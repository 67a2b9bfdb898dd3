//! Cuts the power of disks: from that moment nothing reaches them, and what was not synced is gone.
//!
//! `EXT4_IOC_SHUTDOWN` stops a file system at once, without writing anything back. Calling it takes foreign code, which
//! this workspace does not write; Perl, a part of every Debian, has `ioctl` as a function. One process cuts all disks,
//! so that they stop within microseconds of each other.
//!
//! One thing it does that no power cut does: a sync that is under way in that moment may be reported as done and be lost
//! (seen in 1 of 20 cuts under a process that syncs all the time, on Linux 6.18). So whoever uses the disk must stand
//! still before.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::tool::tool;
use super::{Disk, Disks, text};
use crate::random::Random;

/// `EXT4_IOC_SHUTDOWN` for all paths, after all have been opened.
const SCRIPT: &str = r#"
my $flag = pack("L", shift);
my @disks = map { sysopen(my $disk, $_, 0) or die "$_: $!\n"; $disk } @ARGV;
for (@disks) { ioctl($_, 0x8004587d, $flag) or die "this is no ext4 file system: $!\n" }
"#;
/// Written and synced when the disk is mounted: must be there after a cut.
const SYNCED: &str = "synced";
/// Written just before a cut and not synced: must be gone afterwards, or there was no cut. Nothing is synced at that time: it
/// would write the file system's journal, and with it all that the server has renamed and not synced.
const UNSYNCED: &str = "unsynced";
const MARK: &[u8] = b"on disk";
/// How often a file is synced just before the cut, in percent: what the server wrote last is then there in part.
const SYNCED_PERCENT: u64 = 20;

/// What becomes of what the file system itself still holds back, its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// It is lost as well.
    Nothing,
    /// It reaches the disk: names and sizes of files are there, and not what was written to them.
    Journal,
}

impl Disks {
    /// Cuts the power of all these nodes' disks at once.
    pub async fn cut(&self, nodes: &[usize], flush: Flush) -> anyhow::Result<()> {
        let flag = match flush {
            Flush::Journal => "1",
            Flush::Nothing => "2",
        };
        let mut arguments = vec!["-e", SCRIPT, flag];
        for node in nodes {
            let mount = &self.disks[*node].mount;
            mark(mount, UNSYNCED)?;
            arguments.push(text(mount)?);
        }
        tool("perl", &arguments).await.map(drop)
    }

    /// Syncs some of the node's files, so that a cut finds a mixture of old and new.
    pub async fn sync_some(&self, node: usize, mut random: Random) -> anyhow::Result<()> {
        let data = self.data(node);
        let sync = move || {
            for path in files(&data) {
                if random.chance(SYNCED_PERCENT) {
                    // The server may have removed it meanwhile.
                    drop(File::open(path).and_then(|file| file.sync_data()));
                }
            }
        };
        Ok(tokio::task::spawn_blocking(sync).await?)
    }

    /// After [`Disks::remount`]: whether what was synced before the cut is there, and what was not is gone.
    pub fn was_cut(&self, node: usize) -> Result<(), String> {
        self.disks[node].found.lock().clone()
    }

    /// What a disk that was just mounted shows of a cut. Afterwards it is ready for another.
    pub(super) fn look(&self, node: usize) -> anyhow::Result<()> {
        let Disk { mount, found, .. } = &self.disks[node];
        let whole = |name| std::fs::read(mount.join(name)).is_ok_and(|bytes| bytes == MARK);
        *found.lock() = match (whole(SYNCED), whole(UNSYNCED)) {
            (true, false) => Ok(()),
            (false, _) => Err("the disk lost what was synced".to_owned()),
            (true, true) => Err("the disk kept what was not synced".to_owned()),
        };
        drop(std::fs::remove_file(mount.join(UNSYNCED)));
        mark(mount, SYNCED)?.sync_all()?;
        Ok(File::open(mount)?.sync_all()?)
    }
}

fn mark(mount: &Path, name: &str) -> anyhow::Result<File> {
    let mut file = File::create(mount.join(name))?;
    file.write_all(MARK)?;
    Ok(file)
}

/// All files below a folder, as far as they can be seen, in a fixed order.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| !path.is_symlink());
    paths.sort();
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    paths.into_iter().flat_map(below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::limit;

    /// One disk of a run of this test's own; nothing, with the reason, where that cannot be had.
    async fn disk(test: u32) -> Option<(Disks, PathBuf)> {
        if let Some(limit) = limit().await {
            println!("skipped: {limit}");
            return None;
        }
        let run = format!("{}{test}", std::process::id());
        let folder = std::env::temp_dir().join(format!("conclave-chaos-disk-{run}"));
        std::fs::create_dir_all(&folder).unwrap();
        let disks = Disks::new(&run, 1, &folder).await.unwrap();
        std::fs::create_dir(disks.data(0)).unwrap();
        Some((disks, folder))
    }

    #[tokio::test]
    async fn a_cut_takes_what_was_not_synced_and_leaves_what_was() {
        let Some((disks, folder)) = disk(1).await else { return };
        for flush in [Flush::Nothing, Flush::Journal] {
            let (lost, kept) = (disks.data(0).join("lost"), disks.data(0).join("kept"));
            std::fs::write(&kept, "kept").unwrap();
            File::open(&kept).unwrap().sync_all().unwrap();
            File::open(disks.data(0)).unwrap().sync_all().unwrap();
            std::fs::write(&lost, "lost").unwrap();
            assert_eq!(std::fs::read(&lost).unwrap(), b"lost");
            disks.cut(&[0], flush).await.unwrap();
            assert!(std::fs::write(&kept, "later").is_err(), "a disk without power takes nothing");
            disks.remount(0).await.unwrap();
            assert_eq!(disks.was_cut(0), Ok(()));
            assert_eq!(std::fs::read(&kept).unwrap(), b"kept");
            assert!(!std::fs::read(&lost).is_ok_and(|bytes| bytes == b"lost"));
        }
        drop(disks);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_cut_syncs_nothing_by_itself_not_even_a_name() {
        let Some((disks, folder)) = disk(4).await else { return };
        let (file, draft) = (disks.data(0).join("file"), disks.data(0).join("draft"));
        let synced = |path: &Path, content: &str| {
            std::fs::write(path, content).unwrap();
            File::open(path).unwrap().sync_all().unwrap();
        };
        synced(&file, "old");
        File::open(disks.data(0)).unwrap().sync_all().unwrap();
        synced(&draft, "new");
        std::fs::rename(&draft, &file).unwrap();
        disks.cut(&[0], Flush::Nothing).await.unwrap();
        disks.remount(0).await.unwrap();
        assert_eq!(disks.was_cut(0), Ok(()));
        assert_eq!(std::fs::read(&file).unwrap(), b"old", "the folder was not synced after the renaming");
        drop(disks);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_disk_that_was_not_cut_is_not_taken_for_one_that_was() {
        let Some((disks, folder)) = disk(2).await else { return };
        mark(&disks.disks[0].mount, UNSYNCED).unwrap();
        disks.remount(0).await.unwrap();
        assert_eq!(disks.was_cut(0), Err("the disk kept what was not synced".to_owned()));
        drop(disks);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_takes_nothing_until_it_is_drained() {
        let Some((disks, folder)) = disk(3).await else { return };
        assert!(disks.fill(0).unwrap() > super::super::IMAGE_BYTES / 2);
        let path = disks.data(0).join("more");
        let full = std::fs::write(&path, [7; 65536]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        disks.drain(0).unwrap();
        std::fs::write(&path, [7; 65536]).unwrap();
        drop(disks);
        assert!(!Path::new(super::super::MOUNTS).join(format!("{}3", std::process::id())).exists());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
