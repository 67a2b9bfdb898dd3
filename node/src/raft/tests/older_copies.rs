//! A node whose data directory was replaced by an older copy of itself: whole, and ignorant of what it has promised.

use std::path::Path;
use std::process::Command;

use super::*;

impl Cluster {
    /// Waits until the killed node has let go of its directory, and copies it.
    async fn copy_of(&self, node_id: u64) -> tempfile::TempDir {
        let dir = self.member(node_id).dir.path();
        let copy = tempfile::tempdir().unwrap();
        eventually("the data directory is free", || {
            std::fs::File::open(dir.join("LOCK")).unwrap().try_lock().ok()
        })
        .await;
        copy_to(dir, copy.path());
        copy
    }

    /// Puts the copy in the place of the killed node's directory.
    async fn put_back(&self, node_id: u64, copy: &tempfile::TempDir) {
        let dir = self.member(node_id).dir.path();
        eventually("the data directory is free", || {
            std::fs::File::open(dir.join("LOCK")).unwrap().try_lock().ok()
        })
        .await;
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
        }
        copy_to(copy.path(), dir);
    }
}

fn copy_to(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(copied.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_lost_nothing_is_not_contradicted() {
    let mut cluster = Cluster::start(3).await;
    let victim = cluster.follower().await.node_id();
    for round in 0..3 {
        cluster.put(&format!("key-{round}"), "v").await;
        cluster.kill(victim).await;
        cluster.put(&format!("while-away-{round}"), "v").await;
        assert_eq!(cluster.restart_and_recall(victim).await, None);
        assert!(cluster.node(victim).read(&format!("while-away-{round}")).await.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_is_noticed_by_the_starts_that_others_heard_of() {
    let mut cluster = Cluster::start(3).await;
    let victim = cluster.follower().await.node_id();
    cluster.kill(victim).await;
    let copy = cluster.copy_of(victim).await;
    // It starts, tells so, and does nothing else: neither its log nor its vote moves.
    assert_eq!(cluster.restart_and_recall(victim).await, None);
    cluster.kill(victim).await;
    cluster.put_back(victim, &copy).await;
    let reason = cluster.restart_and_recall(victim).await.expect("an older copy takes part");
    assert!(reason.contains("start"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_is_noticed_by_what_was_acknowledged_to_the_leader() {
    let mut cluster = Cluster::start(3).await;
    let victim = cluster.follower().await.node_id();
    cluster.kill(victim).await;
    let copy = cluster.copy_of(victim).await;
    // Nobody hears of this start.
    cluster.restart(victim).await;
    let revision = cluster.put("later", "v").await;
    assert!(cluster.node(victim).read("later").await.is_some());
    eventually("the leader knows that it is stored there", || {
        let leader = cluster.running().find(|node| node.raft().is_leader())?;
        let member = leader.membership.members().into_iter().find(|member| member.node_id == victim)?;
        member.last_log_index.filter(|index| *index >= revision)
    })
    .await;
    cluster.kill(victim).await;
    cluster.put_back(victim, &copy).await;
    let reason = cluster.restart_and_recall(victim).await.expect("an older copy takes part");
    assert!(reason.contains("acknowledged to the leader"), "{reason}");
}

/// The witnesses may be gone. What is then not noticed must at least not bring the leader down.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_survives_a_follower_whose_log_went_back() {
    let mut cluster = Cluster::start(3).await;
    let victim = cluster.follower().await.node_id();
    cluster.kill(victim).await;
    let copy = cluster.copy_of(victim).await;
    cluster.restart(victim).await;
    for number in 0..20 {
        cluster.put(&format!("later-{number}"), "v").await;
    }
    assert!(cluster.node(victim).read("later-19").await.is_some());
    let leader = cluster.leader().await.node_id();
    cluster.kill(victim).await;
    cluster.put_back(victim, &copy).await;
    cluster.restart(victim).await;
    cluster.put("after", "v").await;
    assert!(cluster.node(leader).metrics().running_state.is_ok(), "the leader's Raft has ended");
    for key in ["later-0", "later-19", "after"] {
        assert!(cluster.node(victim).read(key).await.is_some(), "{key}");
    }
}
