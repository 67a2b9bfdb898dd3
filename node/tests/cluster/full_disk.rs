//! A disk without space ends the node on it, with a sentence, and nothing else: the cluster goes on, and so does the node
//! once there is space (I12).

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{Cluster, eventually};

/// Room for a node that has just joined, with the space that RocksDB takes ahead.
const DISK_MIB: u32 = 160;
/// Bytes of one value: a few dozen fill what was taken ahead.
const VALUE_BYTES: usize = 512 * 1024;
const VALUES_MAX: usize = 400;

/// A file system of its own, in memory; it goes with this.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` where mounting is not permitted.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={DISK_MIB}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { folder }),
            _ => {
                println!("skipped: mounting a small disk is not permitted here");
                None
            }
        }
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }

    /// Leaves no byte free.
    fn fill(&self) {
        let mut file = File::create(self.ballast()).unwrap();
        for bytes in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![0; bytes]).is_ok() {}
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.folder.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the small disk stays mounted");
    }
}

/// Three voters, of which the last has its data at `data_dir`.
async fn cluster_with(data_dir: &Path) -> Cluster {
    let mut cluster = Cluster::start(2);
    let answer = cluster.call(0, "POST", "sys/cluster/join-token", Value::Null).await.expect(200);
    let token = answer.json()["data"]["token"].as_str().unwrap().to_owned();
    let small = cluster.add_node("n3");
    data_dir.clone_into(&mut cluster.nodes[small].data_dir);
    let member = cluster.nodes[0].api_addr.clone();
    cluster.restart_with(small, &["--join-addr", &member, "--join-token", &token]);
    cluster.wait_for_voters(0, 3).await;
    cluster.wait_for_health(small, &[200, 429]).await;
    cluster
}

fn value(write: usize) -> String {
    format!("{write}-").repeat(VALUE_BYTES / 4)
}

/// Fills the small disk by writing through the other nodes until the node on it has ended. Returns what was acknowledged.
async fn write_until_it_ends(cluster: &mut Cluster, small: usize) -> Vec<usize> {
    let mut acknowledged = Vec::new();
    for write in 0..VALUES_MAX {
        let body = json!({ "data": { "value": value(write) } });
        let path = format!("secret/data/full/{write}");
        for attempt in 0.. {
            let node = (write + attempt) % 2;
            let answer = cluster.try_call(node, "POST", &path, body.clone(), &[]).await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                acknowledged.push(write);
                break;
            }
            assert!(attempt < 20, "the others do not go on");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        if cluster.has_ended(small) {
            return acknowledged;
        }
    }
    panic!("the node with the full disk still runs after {VALUES_MAX} values");
}

/// While the third node is away, there is nobody else to hand leadership to.
async fn make_leader(cluster: &mut Cluster, small: usize) {
    let leader = cluster.leader().await;
    if leader == small {
        return;
    }
    let third = 1 - leader;
    cluster.stop(third).await;
    eventually("the node leads", async || {
        if cluster.leader().await == leader {
            cluster.call(leader, "POST", "sys/step-down", Value::Null).await;
        }
        cluster.leader().await == small
    })
    .await;
    cluster.restart(third);
    cluster.wait_for_health(third, &[200, 429]).await;
}

async fn recovers(leads: bool) {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut cluster = cluster_with(&disk.folder.path().join("data")).await;
    let small = 2;
    if leads {
        make_leader(&mut cluster, small).await;
    }
    disk.fill();
    let acknowledged = write_until_it_ends(&mut cluster, small).await;
    let log = cluster.log_of(small);
    assert!(log.contains("this node cannot go on") && log.contains("No space left"), "{log}");
    // The others have a leader among them and take writes.
    eventually("a write without the node", async || {
        let body = json!({ "data": { "value": "1" } });
        let answer = cluster.try_call(0, "POST", "secret/data/after", body, &[]).await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    // Full as it is, it cannot start; that is no damage.
    disk.empty();
    cluster.restart(small);
    cluster.wait_for_health(small, &[200, 429]).await;
    cluster.wait_for_voters(0, 3).await;
    for write in acknowledged {
        assert!(
            cluster.get(small, &format!("full/{write}")).await == Some(value(write)),
            "value {write} is lost"
        );
    }
    assert_eq!(cluster.get(small, "after").await.as_deref(), Some("1"));
    assert!(!cluster.log_of(small).contains("set aside"), "a full disk was taken for damage");
}

#[tokio::test]
async fn a_follower_whose_disk_is_full_ends_and_comes_back_when_there_is_space() {
    recovers(false).await;
}

#[tokio::test]
async fn a_leader_whose_disk_is_full_ends_and_another_one_takes_over() {
    recovers(true).await;
}
