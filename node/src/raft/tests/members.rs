//! Nodes come, move, take over and go.

use std::collections::{BTreeMap, BTreeSet};

use conclave_storage::types::{self, EntryPayload};

use super::*;
use crate::raft::{BarrierError, MembershipError, PeerError, Role};

#[tokio::test(flavor = "multi_thread")]
async fn members_are_listed_with_their_role_and_progress() {
    let mut cluster = Cluster::start(2).await;
    cluster.boot(3).await;
    let info = cluster.info(3);
    let leader = cluster.leader().await;
    leader.membership.add_learner(3, info.clone()).await.unwrap();
    cluster.put("key", "v").await;
    let leader = cluster.leader().await;
    let members = eventually("all members have answered the leader", || {
        let members = leader.membership.members();
        members.iter().all(|member| member.last_contact.is_some()).then_some(members)
    })
    .await;
    let roles: Vec<_> = members.iter().map(|member| member.role).collect();
    assert_eq!(roles.iter().filter(|role| **role == Role::Leader).count(), 1);
    assert_eq!(members[2].role, Role::Learner);
    assert_eq!(members[2].node, info);
}

/// It reads of a cluster that none of today's members was in, long before it reads of itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_a_cluster_whose_founder_is_gone() {
    let mut cluster = Cluster::start(1).await;
    for number in 0..6 {
        cluster.put(&format!("large-{number}"), &"x".repeat(1024 * 1024)).await;
    }
    cluster.add(2).await;
    cluster.add(3).await;
    cluster.change(|membership| async move { membership.remove(1).await }).await;
    cluster.kill(1).await;
    cluster.add(4).await;
    assert!(cluster.node(4).read("large-0").await.is_some());
    let members = cluster.leader().await.membership.members();
    assert_eq!(members.iter().map(|member| member.node_id).collect::<Vec<_>>(), [2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_can_be_repeated() {
    let mut cluster = Cluster::start(2).await;
    cluster.boot(3).await;
    let info = cluster.info(3);
    let leader = cluster.leader().await.membership.clone();
    for _ in 0..2 {
        leader.add_learner(3, info.clone()).await.unwrap();
    }
    cluster.change(|membership| async move { membership.promote(3).await }).await;
    cluster.change(|membership| async move { membership.promote(3).await }).await;
    for _ in 0..2 {
        cluster.change(|membership| async move { membership.remove(3).await }).await;
    }
    let leader = cluster.leader().await;
    assert_eq!(leader.membership.promote(3).await, Err(MembershipError::NotMember(3)));
    assert_eq!(leader.membership.members().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_leader_changes_the_membership_and_the_last_voter_stays() {
    let cluster = Cluster::start(2).await;
    let follower = cluster.follower().await;
    assert_eq!(follower.membership.remove(1).await, Err(MembershipError::NotLeader));
    let single = Cluster::start(1).await;
    assert_eq!(single.leader().await.membership.remove(1).await, Err(MembershipError::LastVoter));
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_on_request() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let begun = Instant::now();
    leader.membership.transfer_leadership().await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(cluster.options.election_timeout_max_ms));
    let successor = cluster.leader().await;
    assert_ne!(successor.node_id(), leader.node_id());
    let back = leader.node_id();
    successor.membership.transfer_leadership_to(back).await.unwrap();
    eventually("leadership came back", || cluster.node(back).raft().is_leader().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_removes_itself_hands_over_first() {
    let cluster = Cluster::start(3).await;
    let leaving = cluster.leader().await.node_id();
    assert_eq!(cluster.node(leaving).membership.remove(leaving).await, Err(MembershipError::NotLeader));
    cluster.change(|membership| async move { membership.remove(leaving).await }).await;
    assert_ne!(cluster.leader().await.node_id(), leaving);
    cluster.put("key", "v").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_refused_fenced_and_stays_so() {
    let mut cluster = Cluster::start(3).await;
    cluster.put("key", "v").await;
    let removed = cluster.follower().await.node_id();
    // Its connections are open and in use.
    cluster.node(removed).read("key").await;
    cluster.change(|membership| async move { membership.remove(removed).await }).await;

    let leader = cluster.leader().await.node_id();
    let node = cluster.node(removed);
    let asked = node.peers.status(leader, Instant::now() + PATIENCE).await;
    assert!(matches!(asked, Err(PeerError::Refused(_))), "{asked:?}");
    eventually("the node is fenced", || node.fence.is_fenced().then_some(())).await;
    let read = node.barrier.read_point(Instant::now() + PATIENCE).await;
    assert_eq!(read, Err(BarrierError::Fenced));

    cluster.kill(removed).await;
    cluster.restart(removed).await;
    let read = cluster.node(removed).barrier.read_point(Instant::now() + PATIENCE).await;
    assert_eq!(read, Err(BarrierError::Fenced), "a restart lifted the fence");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_removed_while_it_was_down_learns_it_when_it_comes_back() {
    let mut cluster = Cluster::start(3).await;
    let removed = cluster.follower().await.node_id();
    cluster.node(removed).read("key").await;
    cluster.kill(removed).await;
    cluster.change(|membership| async move { membership.remove(removed).await }).await;
    cluster.put("key", "after it left").await;
    cluster.restart(removed).await;
    let node = cluster.node(removed);
    eventually("the node is fenced", || node.fence.is_fenced().then_some(())).await;
    assert_eq!(node.read_stale("key"), None, "it got data after it was removed");
    // And those who stayed were not disturbed.
    cluster.put("key", "again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_moved_is_found_at_its_new_address() {
    let mut cluster = Cluster::start(3).await;
    let moving = cluster.follower().await.node_id();
    cluster.kill(moving).await;
    cluster.restart_elsewhere(moving).await;
    let info = cluster.info(moving);
    cluster
        .change(|membership| {
            let info = info.clone();
            async move { membership.update_address(moving, info).await }
        })
        .await;
    cluster.put("key", "v").await;
    assert_eq!(cluster.node(moving).read("key").await.as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_accepts_a_leader_it_never_heard_of() {
    let mut cluster = Cluster::start(3).await;
    let away = cluster.follower().await.node_id();
    cluster.kill(away).await;
    cluster.add(4).await;
    let other = cluster.leader().await.node_id();
    if other != 4 {
        cluster.change(|membership| async move { membership.transfer_leadership_to(4).await }).await;
        eventually("node 4 leads", || cluster.node(4).raft().is_leader().then_some(())).await;
    }
    cluster.put("key", "by a stranger").await;
    cluster.restart(away).await;
    assert_eq!(cluster.node(away).read("key").await.as_deref(), Some("by a stranger"));
}

/// A leader that dies between the two steps of a change leaves both memberships in force, and nobody is left to promote.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_a_leader_left_half_made_is_completed_by_the_next() {
    let mut cluster = Cluster::start(3).await;
    let written = cluster.put("key", "v").await;
    eventually("all have all", || {
        cluster.running().all(|node| node.reader().applied_index() >= written).then_some(())
    })
    .await;
    for node_id in 1..=3 {
        cluster.kill(node_id).await;
    }
    let joint = vec![BTreeSet::from([1, 2]), BTreeSet::from([1, 2, 3])];
    let nodes: BTreeMap<u64, Node> = (1..=3).map(|node_id| (node_id, cluster.info(node_id))).collect();
    let membership = types::Membership::new(joint, nodes).unwrap();
    for node_id in 1..=3 {
        cluster.append(node_id, EntryPayload::Membership(membership.clone())).await;
    }
    for node_id in 1..=3 {
        cluster.restart(node_id).await;
    }
    assert_eq!(cluster.leader().await.membership.quorum_sets().len(), 2);
    cluster.change(|membership| async move { membership.promote_ready().await.map(drop) }).await;
    assert_eq!(cluster.leader().await.membership.quorum_sets(), [BTreeSet::from([1, 2, 3])]);
}
