//! Whether this machine lets file systems be mounted from files, and their power be cut.

use super::{Disks, Flush};

/// A sentence about what cannot be exercised; nothing if all can. It is tried, on a disk that is thrown away.
pub async fn limit() -> Option<String> {
    let run = format!("{}-probe", std::process::id());
    let folder = std::env::temp_dir().join(format!("conclave-chaos-{run}"));
    let tried = attempt(&run, &folder).await;
    drop(std::fs::remove_dir_all(folder));
    tried.err().map(|error| {
        format!(
            "no disks of the nodes' own, so no power cuts, full disks and I/O errors: {error:#} (it needs root, loop \
             devices, ext4, and the packages mount, e2fsprogs and perl-base)"
        )
    })
}

async fn attempt(run: &str, folder: &std::path::Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let disks = Disks::new(run, 1, folder).await?;
    disks.cut(&[0], Flush::Nothing).await?;
    disks.remount(0).await?;
    disks.was_cut(0).map_err(anyhow::Error::msg)
}
