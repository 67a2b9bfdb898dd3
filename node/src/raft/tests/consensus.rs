//! What the cluster promises while nodes die, hang behind and come back.

use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::raft::{BarrierError, RaftError, ReadProof};

/// How often a leader is killed until its death takes something with it.
const DEATHS_MAX: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_write_is_read_at_every_node() {
    let cluster = Cluster::start(3).await;
    for round in 0..20 {
        let value = format!("v{round}");
        let revision = cluster.put("key", &value).await;
        for node in cluster.running() {
            let point = node.barrier.read_point(Instant::now() + PATIENCE).await.unwrap();
            assert!(point.index >= revision);
            assert_eq!(node.read_stale("key").as_deref(), Some(value.as_str()), "node {}", node.node_id());
        }
    }
}

/// A crowd keeps proofs on their way all the time: whoever comes later must not be given one that began before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_crowd_of_readers_everyone_sees_what_was_acknowledged_before_they_asked() {
    const WRITES: u64 = 300;
    const READERS: usize = 8;
    let cluster = Cluster::start(3).await;
    cluster.put("key", "0").await;
    let follower = cluster.follower().await;
    let stop = CancellationToken::new();
    let crowd = (0..READERS).map(|_| async {
        while !stop.is_cancelled() {
            follower.barrier.read_point(Instant::now() + PATIENCE).await.unwrap();
        }
    });
    let writer = async {
        let _stop = stop.drop_guard_ref();
        for number in 1..=WRITES {
            let revision = cluster.put("key", &number.to_string()).await;
            let point = follower.barrier.read_point(Instant::now() + PATIENCE).await.unwrap();
            assert!(point.index >= revision, "{} was proven after {revision} was acknowledged", point.index);
        }
    };
    tokio::join!(futures::future::join_all(crowd), writer);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_transactions_share_entries_and_each_gets_its_own_outcome() {
    let cluster = Cluster::start(1).await;
    let leader = cluster.leader().await;
    let writes = (0..500_u32).map(|number| {
        let mut txn = Txn::default();
        // Half of them demand a key that does not stand at that revision.
        txn.require("absent", u64::from(number % 2));
        txn.put(format!("k{number}"), "v");
        leader.proposer.propose(txn, Instant::now() + PATIENCE)
    });
    let outcomes = futures::future::join_all(writes).await;
    let mut revisions = BTreeSet::new();
    for (number, outcome) in outcomes.iter().enumerate() {
        match outcome.as_ref().expect("the only node leads") {
            Outcome::Applied { revision } if number % 2 == 0 => drop(revisions.insert(*revision)),
            Outcome::Conflict { precondition: 0 } if number % 2 == 1 => {}
            other => panic!("transaction {number}: {other:?}"),
        }
    }
    assert!(revisions.len() < 100, "250 transactions took {} entries", revisions.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_survives_its_leader_and_loses_no_acknowledged_write() {
    let mut cluster = Cluster::start(3).await;
    for round in 0..3 {
        let key = format!("k{round}");
        cluster.put(&key, "before").await;
        let leader = cluster.leader().await.node_id();
        cluster.kill(leader).await;
        // The survivors answer, and know what was acknowledged.
        let survivor = cluster.follower().await;
        assert_eq!(survivor.read(&key).await.as_deref(), Some("before"));
        cluster.put(&key, "after").await;
        cluster.restart(leader).await;
        assert_eq!(cluster.node(leader).read(&key).await.as_deref(), Some("after"));
    }
    let leader = cluster.leader().await.reader().clone();
    let expected = leader.state_hash().unwrap();
    for node in cluster.running() {
        node.barrier.read_point(Instant::now() + PATIENCE).await.unwrap();
        // Only entries without content may have been added since.
        eventually("replicas are equal", || {
            let found = node.reader().state_hash().unwrap();
            (found.index >= expected.index && found.hash == expected.hash).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_learns_the_fate_of_what_it_proposed_though_the_leader_dies() {
    let (mut applied, mut not_taken) = (0, 0);
    // The successor may have everything that the dead leader had: then nothing is lost, and it is tried again.
    for _ in 0..DEATHS_MAX {
        let fates = fates_around_the_leaders_death().await;
        applied += fates.0;
        not_taken += fates.1;
        if applied > 0 && not_taken > 0 {
            return;
        }
    }
    panic!("{applied} applied, {not_taken} not taken: nothing was tested");
}

/// How many proposals of a follower were applied and how many not taken, each checked, while the leader was killed.
async fn fates_around_the_leaders_death() -> (usize, usize) {
    let mut cluster = Cluster::start(3).await;
    let proposing = cluster.follower().await;
    let (proposer_id, proposer) = (proposing.node_id(), proposing.proposer.clone());
    let leader = cluster.leader().await.node_id();
    let stop = CancellationToken::new();
    let writers = (0..20_u32).map(|writer| {
        let (proposer, stop) = (proposer.clone(), stop.clone());
        tokio::spawn(async move {
            let mut fates: Vec<(String, _)> = Vec::new();
            // Until the death of the leader is felt; who had only writes that its successor committed feels nothing.
            while !stop.is_cancelled()
                && fates.last().is_none_or(|(_, fate)| *fate != Err(ProposeError::NotTaken))
            {
                let key = format!("{writer}-{}", fates.len());
                let mut txn = Txn::default();
                txn.require(key.clone(), 0);
                txn.put(key.clone(), "v");
                fates.push((key, proposer.propose(txn, Instant::now() + PATIENCE).await));
            }
            fates
        })
    });
    let writers: Vec<_> = writers.collect();
    tokio::time::sleep(Duration::from_millis(30)).await;
    cluster.kill(leader).await;
    // Another one leads and commits.
    cluster.put("after", "v").await;
    stop.cancel();
    let node = cluster.node(proposer_id);
    let (mut applied, mut not_taken) = (0, 0);
    for writer in writers {
        for (key, fate) in writer.await.unwrap() {
            let stored = node.read(&key).await;
            match fate {
                Ok(Outcome::Applied { .. }) => {
                    applied += 1;
                    assert_eq!(stored.as_deref(), Some("v"), "{key} was acknowledged");
                }
                Err(ProposeError::NotTaken) => {
                    not_taken += 1;
                    assert_eq!(stored, None, "{key} was said not to be made");
                }
                other => panic!("{key}: {other:?}: the fate can always be known here"),
            }
        }
    }
    (applied, not_taken)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_read_or_acknowledged() {
    let mut cluster = Cluster::start(3).await;
    cluster.put("key", "v").await;
    let leader = cluster.leader().await.node_id();
    for node_id in [1, 2, 3].into_iter().filter(|node_id| *node_id != leader) {
        cluster.kill(node_id).await;
    }
    let node = cluster.node(leader);
    let mut txn = Txn::default();
    txn.put("key", "unacknowledged");
    let written = node.proposer.propose(txn, Instant::now() + Duration::from_secs(2)).await;
    assert!(
        matches!(written, Err(ProposeError::Unknown | ProposeError::NotTaken)),
        "a write was acknowledged without a quorum"
    );
    let read = node.barrier.read_point(Instant::now() + Duration::from_secs(2)).await;
    assert!(matches!(read, Err(BarrierError::NoLeader | BarrierError::Timeout)), "{read:?}");
    assert!(node.barrier.age().is_some_and(|age| age > Duration::from_secs(1)), "the age stands still");
    // Who asks for stale data still gets it.
    assert_eq!(node.read_stale("key").as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_taken_is_never_made_and_what_is_not_known_is_called_so() {
    const WRITES: u32 = 60;
    const APART: Duration = Duration::from_millis(20);
    let mut cluster = Cluster::start(3).await;
    cluster.put("key", "v").await;
    let leader = cluster.leader().await.node_id();
    let proposer = cluster.node(leader).proposer.clone();
    let writes = tokio::spawn(futures::future::join_all((0..WRITES).map(move |number| {
        let proposer = proposer.clone();
        async move {
            tokio::time::sleep(APART * number).await;
            let mut txn = Txn::default();
            txn.put(format!("k{number}"), "v");
            (number, proposer.propose(txn, Instant::now() + Duration::from_secs(1)).await)
        }
    })));
    tokio::time::sleep(APART * WRITES / 3).await;
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|node_id| *node_id != leader).collect();
    for node_id in &others {
        cluster.kill(*node_id).await;
    }
    let told = writes.await.unwrap();
    for node_id in &others {
        cluster.restart(*node_id).await;
    }
    cluster.put("end", "v").await;
    let judge = cluster.leader().await;
    for (number, told) in &told {
        let there = judge.read(&format!("k{number}")).await.is_some();
        match told {
            Ok(_) => assert!(there, "write {number} was acknowledged and is lost"),
            Err(ProposeError::NotTaken) => assert!(!there, "write {number} was made, and called not taken"),
            Err(ProposeError::Unknown) => {}
            Err(error) => panic!("write {number}: {error}"),
        }
    }
    let unknown = told.iter().filter(|(_, told)| matches!(told, Err(ProposeError::Unknown))).count();
    assert!(unknown > 0, "some were appended when the others died, and nobody could know their fate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_reads_by_its_lease_as_long_as_a_quorum_answers() {
    let mut cluster = Cluster::start(3).await;
    cluster.put("key", "v").await;
    let leader = cluster.leader().await;
    let leader_id = leader.node_id();
    let lease = leader.lease.clone();
    eventually("the leader has a lease", || lease.proven_for()).await;
    for node in cluster.running().filter(|node| node.node_id() != leader_id) {
        assert!(node.lease.proven_for().is_none(), "a follower has a lease");
    }
    for node_id in [1, 2, 3].into_iter().filter(|node_id| *node_id != leader_id) {
        cluster.kill(node_id).await;
    }
    let length = Duration::from_millis(options().election_timeout_min_ms);
    tokio::time::sleep(length).await;
    assert!(lease.proven_for().is_none(), "the lease outlived the quorum");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_began_to_hand_over_has_no_lease_any_more_in_its_term() {
    let mut cluster = Cluster::start(3).await;
    cluster.put("key", "v").await;
    let leader = cluster.leader().await;
    let (leader_id, term) = (leader.node_id(), leader.metrics().current_term);
    eventually("the leader has a lease", || leader.lease.proven_for()).await;
    // The successor is dead, so that this node goes on in its term for a while.
    let successor = cluster.follower().await.node_id();
    cluster.kill(successor).await;
    let leader = cluster.node(leader_id);
    leader.membership.trigger_transfer(successor).await.unwrap();
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until && leader.metrics().current_term == term {
        assert!(leader.lease.proven_for().is_none(), "a lease after handing over");
        tokio::time::sleep(PAUSE).await;
    }
    // Reads go on, by asking a quorum or whoever leads next.
    assert_eq!(leader.read("key").await.as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_leases_every_read_asks_a_quorum() {
    let options = RaftOptions { read_proof: ReadProof::Quorum, ..options() };
    let cluster = Cluster::start_with(3, options).await;
    cluster.put("key", "v").await;
    let leader = cluster.leader().await;
    assert!(leader.lease.proven_for().is_none());
    assert_eq!(leader.read("key").await.as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_just_started_keeps_the_promise_of_its_former_life() {
    let options = RaftOptions { election_timeout_min_ms: 1_000, election_timeout_max_ms: 4_000, ..options() };
    let mut cluster = Cluster::start_with(3, options.clone()).await;
    cluster.put("key", "v").await;
    let leader = cluster.leader().await.node_id();
    let followers: Vec<u64> = [1, 2, 3].into_iter().filter(|node_id| *node_id != leader).collect();
    for node_id in [1, 2, 3] {
        cluster.kill(node_id).await;
    }
    // Both have forgotten in memory what they promised, and would elect at once.
    let started = Instant::now();
    for node_id in &followers {
        cluster.restart(*node_id).await;
    }
    let successor = cluster.leader().await;
    assert!(followers.contains(&successor.node_id()));
    assert!(started.elapsed() >= options.lease_promise(), "elected after {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_for_long_gets_a_snapshot() {
    let options = RaftOptions { snapshot_after_entries: 50, entries_kept: 10, ..options() };
    let mut cluster = Cluster::start_with(3, options).await;
    cluster.put("first", "v").await;
    let away = cluster.follower().await.node_id();
    cluster.kill(away).await;
    let mut last = 0;
    for number in 0..200 {
        last = cluster.put(&format!("k{number}"), "v").await;
    }
    let leader = cluster.leader().await;
    eventually("the log before the snapshot is purged", || {
        leader.metrics().purged.filter(|purged| purged.index() > 100)
    })
    .await;
    cluster.restart(away).await;
    let node = cluster.node(away);
    assert_eq!(node.read("k199").await.as_deref(), Some("v"));
    assert_eq!(node.read("first").await.as_deref(), Some("v"));
    assert!(node.reader().applied_index() >= last);
    let snapshot = node.metrics().snapshot;
    assert!(snapshot.is_some_and(|snapshot| snapshot.index() > 100), "{snapshot:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn time_goes_on_from_the_old_leader_whatever_the_new_ones_clock_says() {
    let mut cluster = Cluster::start(3).await;
    cluster.put("key", "v").await;
    let before = cluster.leader().await.barrier.read_point(Instant::now() + PATIENCE).await.unwrap();
    let leader = cluster.leader().await.node_id();
    cluster.kill(leader).await;
    let after = cluster.leader().await.barrier.read_point(Instant::now() + PATIENCE).await.unwrap();
    assert!(after.time_ms >= before.time_ms);
    let patience_ms = u64::try_from(PATIENCE.as_millis()).unwrap();
    assert!(after.time_ms < before.time_ms + 2 * patience_ms);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_has_heard_of_no_other_since_its_start_goes_on_from_its_voters_time() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    // So slow that the second node, which stays, never stands before the third is elected.
    let slow = RaftOptions { election_timeout_min_ms: 3_000, election_timeout_max_ms: 4_000, ..options() };
    let mut cluster = Cluster::start_with(3, slow).await;
    let first = cluster.leader().await;
    assert_eq!(first.node_id(), 1);
    let before = first.barrier.read_point(Instant::now() + PATIENCE).await.unwrap();
    // It has heard the time, as every member has that serves.
    cluster.node(2).barrier.read_point(Instant::now() + PATIENCE).await.unwrap();
    cluster.kill(3).await;
    cluster.kill(1).await;
    cluster.options = options();
    cluster.member_mut(3).wall = Arc::new(|| crate::raft::clock::wall_clock_ms() + DAY_MS);
    cluster.restart(3).await;
    let leader = cluster.leader().await;
    assert_eq!(leader.node_id(), 3);
    let after = leader.barrier.read_point(Instant::now() + PATIENCE).await.unwrap();
    assert!((before.time_ms..before.time_ms + DAY_MS / 2).contains(&after.time_ms), "{}", after.time_ms);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_its_log_does_not_start_with_an_empty_one() {
    let mut cluster = Cluster::start(3).await;
    cluster.put("key", "v").await;
    let damaged = cluster.follower().await.node_id();
    cluster.node(damaged).read("key").await;
    cluster.kill(damaged).await;
    let member = cluster.member(damaged);
    eventually("the data directory is free", || {
        let lock = std::fs::File::open(member.dir.path().join("LOCK")).unwrap();
        lock.try_lock().ok()
    })
    .await;
    for folder in ["log", "state", "snapshots"] {
        std::fs::remove_dir_all(member.dir.path().join(folder)).unwrap();
    }
    std::fs::remove_file(member.dir.path().join("FORMAT")).unwrap();
    let storage = Store::open(member.dir.path(), &Options::default()).unwrap();
    let started = RaftNode::start(member.config(cluster.options.clone()), storage).await;
    assert!(matches!(started, Err(RaftError::LogLost)));
}
