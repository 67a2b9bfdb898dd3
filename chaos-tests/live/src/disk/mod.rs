//! A disk for each node: a file system in a file, mounted through a loop device, whose power can be cut.
//!
//! Mounts live below a folder that only this run uses, and which is shared with the mount namespaces that other
//! programs make meanwhile: what is unmounted here must not live on in a copy there, or the disk would never be read
//! afresh.

mod cut;
pub mod damage;
mod leftover;
mod probe;
mod tool;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate};

use crate::cluster::name;
use crate::net;
use tool::tool;

pub use cut::Flush;
pub use leftover::remove_leftovers;
pub use probe::limit;

/// Folders of mounts, one a run.
const MOUNTS: &str = "/run/conclave-chaos-disks";
/// Size of a node's file system; the file is sparse.
const IMAGE_BYTES: u64 = 512 * 1024 * 1024;
/// Longest wait until the kernel has let go of a file system that nobody uses any more.
const RELEASE_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
/// Takes all free space while a disk is to be full.
const BALLAST: &str = "ballast";
/// Free space is taken in ever smaller pieces, down to a block.
const PIECES_BYTES: [u64; 4] = [64 << 20, 4 << 20, 256 << 10, 4 << 10];
/// Where the server's data lies on its disk.
const DATA: &str = "data";
/// Where its audit trail lies: beside its data, so that it outlives whatever is done to that.
const TRAILS: &str = "audit";
/// Where a copy of it lies, for going back to.
const OLDER: &str = "older";

/// All disks of a run. Dropping it unmounts them; the images stay.
pub struct Disks {
    run: String,
    disks: Vec<Disk>,
    /// Held while the run lives, as for its network. Nothing where the disks are plain folders.
    lock: Option<File>,
}

struct Disk {
    image: PathBuf,
    mount: PathBuf,
    /// What it showed of a cut when it was last mounted.
    found: Mutex<Result<(), String>>,
}

impl Disk {
    fn new(image: PathBuf, mount: PathBuf) -> Self {
        Self { image, mount, found: Mutex::new(Ok(())) }
    }
}

impl Disks {
    /// Makes and mounts an image a node, which lie in `folder`.
    pub async fn new(run: &str, nodes: usize, folder: &Path) -> anyhow::Result<Self> {
        let base = Path::new(MOUNTS).join(run);
        let disk = |node| Disk::new(image(folder, node), base.join(name(node)));
        let lock = net::lock(&leftover::lock_name(run))?.context("another run has this run's number")?;
        let disks = Self { run: run.to_owned(), disks: (0..nodes).map(disk).collect(), lock: Some(lock) };
        std::fs::create_dir_all(&base)?;
        tool("mount", &["-t", "tmpfs", "-o", "size=1m", "conclave-chaos", text(&base)?]).await?;
        tool("mount", &["--make-shared", text(&base)?]).await?;
        for (node, disk) in disks.disks.iter().enumerate() {
            std::fs::create_dir(&disk.mount)?;
            File::create(&disk.image)?.set_len(IMAGE_BYTES)?;
            // Nothing kept back for root, since the server under test may be root; no journal larger than needed.
            tool("mkfs.ext4", &["-q", "-F", "-m", "0", text(&disk.image)?]).await?;
            disks.mount(node).await?;
        }
        Ok(disks)
    }

    /// Folders in `folder` instead of file systems: nothing can be cut or filled.
    pub fn plain(nodes: usize, folder: &Path) -> anyhow::Result<Self> {
        let disk = |node| Disk::new(PathBuf::new(), folder.join(name(node)));
        let disks = Self { run: String::new(), disks: (0..nodes).map(disk).collect(), lock: None };
        disks.disks.iter().try_for_each(|disk| std::fs::create_dir_all(&disk.mount))?;
        Ok(disks)
    }

    /// The server's data directory.
    pub fn data(&self, node: usize) -> PathBuf {
        self.disks[node].mount.join(DATA)
    }

    /// The folder of the server's audit trail.
    pub fn trails(&self, node: usize) -> PathBuf {
        self.disks[node].mount.join(TRAILS)
    }

    /// Where a copy of the server's data directory is kept.
    pub fn older(&self, node: usize) -> PathBuf {
        self.disks[node].mount.join(OLDER)
    }

    /// Reads the node's disk afresh, as after a start of the machine. Nothing may use it any more.
    pub async fn remount(&self, node: usize) -> anyhow::Result<()> {
        let disk = &self.disks[node];
        let deadline = Instant::now() + RELEASE_MAX;
        while mounted(&disk.mount)? {
            let unmounted = tool("umount", &[text(&disk.mount)?]).await;
            if let Err(error) = unmounted {
                anyhow::ensure!(Instant::now() < deadline, "{error:#}");
            }
            tokio::time::sleep(POLL).await;
        }
        // A copy of the mount elsewhere would keep the file system as it was.
        while !tool("losetup", &["-j", text(&disk.image)?]).await?.trim().is_empty() {
            anyhow::ensure!(Instant::now() < deadline, "{} is still in use", disk.image.display());
            tokio::time::sleep(POLL).await;
        }
        self.mount(node).await
    }

    /// Removes the server's data directory for good: a power cut later does not bring it back.
    pub fn wipe(&self, node: usize) -> anyhow::Result<()> {
        match std::fs::remove_dir_all(self.data(node)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(File::open(&self.disks[node].mount)?.sync_all()?),
        }
    }

    async fn mount(&self, node: usize) -> anyhow::Result<()> {
        let disk = &self.disks[node];
        // Another program may take the free loop device first.
        let deadline = Instant::now() + RELEASE_MAX;
        let arguments = ["-o", "loop,noatime", text(&disk.image)?, text(&disk.mount)?];
        while let Err(error) = tool("mount", &arguments).await {
            anyhow::ensure!(Instant::now() < deadline, "{error:#}");
            tokio::time::sleep(POLL).await;
        }
        self.look(node)
    }

    /// Takes all free space of the node's disk; says how much that was.
    pub fn fill(&self, node: usize) -> anyhow::Result<u64> {
        let ballast = File::create(self.disks[node].mount.join(BALLAST))?;
        let mut taken = 0;
        for piece in PIECES_BYTES {
            while fallocate(&ballast, FallocateFlags::empty(), taken, piece).is_ok() {
                taken += piece;
            }
        }
        Ok(taken)
    }

    /// Gives back what [`Disks::fill`] took.
    pub fn drain(&self, node: usize) -> anyhow::Result<()> {
        match std::fs::remove_file(self.disks[node].mount.join(BALLAST)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        if self.lock.is_some() {
            leftover::remove(&self.run);
        }
    }
}

/// Removes what the node's disk left in the run's folder.
pub fn remove(folder: &Path, node: usize) -> anyhow::Result<()> {
    let (image, plain) = (image(folder, node), folder.join(name(node)));
    if image.exists() {
        std::fs::remove_file(image)?
    } else {
        std::fs::remove_dir_all(plain)?
    }
    Ok(())
}

fn image(folder: &Path, node: usize) -> PathBuf {
    folder.join(format!("{}.ext4", name(node)))
}

fn mounted(path: &Path) -> anyhow::Result<bool> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(mounts.lines().any(|line| line.split(' ').nth(4).is_some_and(|at| Path::new(at) == path)))
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not text", path.display()))
}
