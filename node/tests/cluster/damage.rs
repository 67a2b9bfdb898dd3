//! A node whose disk lost, changed or forgot something comes back by itself, and never with a wrong value (I12).
//!
//! Each test damages a follower that was killed, while the others go on; starts it again; and waits until it votes under
//! another Raft id and holds everything that was acknowledged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use conclave_node::identity::NodeKey;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::harness::{Cluster, eventually};
use super::load::{check_all_there, write_until};

/// What happens to a data directory.
struct Damage {
    name: &'static str,
    /// Whether the node is to have been restarted before, so that its data lies in data files.
    in_files: bool,
    harm: fn(&Path),
}

const fn damage(name: &'static str, harm: fn(&Path)) -> Damage {
    Damage { name, in_files: false, harm }
}

const fn damage_in_files(name: &'static str, harm: fn(&Path)) -> Damage {
    Damage { name, in_files: true, harm }
}

/// The files of a folder whose names have this beginning and end.
fn files(folder: &Path, start: &str, end: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with(start) && name.ends_with(end)
        })
        .collect();
    assert!(!found.is_empty(), "{} has no {start}*{end}", folder.display());
    found.sort();
    found
}

fn change(paths: Vec<PathBuf>, change: impl Fn(&mut Vec<u8>)) {
    for path in paths {
        let mut content = fs::read(&path).unwrap();
        change(&mut content);
        fs::write(&path, content).unwrap();
    }
}

fn flip_in_the_middle(content: &mut [u8]) {
    let middle = content.len() / 2;
    content[middle] ^= 0x40;
}

fn halve(content: &mut Vec<u8>) {
    content.truncate(content.len() / 2);
}

/// The Raft id under which the node of that name is a member, as another node says.
async fn raft_id(cluster: &Cluster, asked: usize, name: &str) -> Option<u64> {
    let answer = cluster.call(asked, "GET", "sys/cluster/members", Value::Null).await;
    let members = answer.json()["data"]["members"].as_array().cloned().unwrap_or_default();
    members.iter().find(|member| member["id"] == name)?["raft_id"].as_u64()
}

fn set_aside(data_dir: &Path) -> usize {
    let names = fs::read_dir(data_dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("damaged-")).count()
}

/// Waits until the node `victim` votes again, under another id than `former`, while others write; then reads everything
/// from it.
async fn heals(cluster: Cluster, victim: usize, former: u64, what: &str) -> Cluster {
    let others: Vec<usize> = (0..3).filter(|node| *node != victim).collect();
    let name = cluster.nodes[victim].id.clone();
    let shared = Arc::new(cluster);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (cluster, stop, others) = (Arc::clone(&shared), Arc::clone(&stop), others.clone());
        let load = what.replace(' ', "-");
        async move { write_until(cluster, &load, others, stop).await }
    });
    eventually(&format!("{what}: the node has another id"), async || {
        raft_id(&shared, others[0], &name).await.is_some_and(|id| id != former)
    })
    .await;
    shared.wait_for_voters(others[0], 3).await;
    shared.wait_for_health(victim, &[200, 429]).await;
    stop.store(true, Ordering::Relaxed);
    let report = writer.await.unwrap();
    assert_eq!(report.failed, Vec::<String>::new(), "{what}");
    check_all_there(&shared, victim, &report).await;
    Arc::into_inner(shared).expect("the writer has ended")
}

async fn survives(damages: &[Damage]) {
    let mut cluster = Cluster::start(3);
    for (round, damage) in damages.iter().enumerate() {
        let what = damage.name;
        let victim = cluster.follower().await;
        let other = (victim + 1) % 3;
        for write in 0..20 {
            cluster
                .put(victim, &format!("before/{round}/{write}"), &format!("{what}-{write}"))
                .await
                .expect(200);
        }
        if damage.in_files {
            cluster.kill(victim).await;
            cluster.restart(victim);
            cluster.wait_for_health(victim, &[200, 429]).await;
        }
        let former = raft_id(&cluster, other, &cluster.nodes[victim].id).await.unwrap();
        cluster.kill(victim).await;
        (damage.harm)(&cluster.nodes[victim].data_dir);
        cluster.put(other, &format!("meanwhile/{round}"), what).await.expect(200);
        cluster.restart(victim);
        cluster = heals(cluster, victim, former, what).await;
        for write in 0..20 {
            let value = cluster.get(victim, &format!("before/{round}/{write}")).await;
            assert_eq!(value, Some(format!("{what}-{write}")), "{what}");
        }
        assert_eq!(cluster.get(victim, &format!("meanwhile/{round}")).await.as_deref(), Some(what));
        assert!((1..=2).contains(&set_aside(&cluster.nodes[victim].data_dir)), "{what}");
    }
}

#[tokio::test]
async fn a_damaged_log_is_noticed_at_the_start_and_the_node_rejoins_by_itself() {
    survives(&[
        damage("a shortened write-ahead log", |dir| change(files(&dir.join("log"), "", ".log"), halve)),
        damage("a flipped bit in the write-ahead log", |dir| {
            change(files(&dir.join("log"), "", ".log"), |content| flip_in_the_middle(content));
        }),
        damage_in_files("a flipped bit in the data files of the log", |dir| {
            change(files(&dir.join("log"), "", ".sst"), |content| flip_in_the_middle(content));
        }),
        damage("the log is gone", |dir| fs::remove_dir_all(dir.join("log")).unwrap()),
    ])
    .await;
}

#[tokio::test]
async fn damaged_or_missing_files_of_either_instance_are_noticed_and_the_node_rejoins_by_itself() {
    survives(&[
        damage("a flipped bit in the manifest of the log", |dir| {
            change(files(&dir.join("log"), "MANIFEST", ""), |content| flip_in_the_middle(content));
        }),
        damage("CURRENT of the log is gone", |dir| fs::remove_file(dir.join("log/CURRENT")).unwrap()),
        damage_in_files("the data files of the state are gone", |dir| {
            let folder = fs::read_to_string(dir.join("state/ACTIVE")).unwrap();
            for file in files(&dir.join("state").join(folder.trim()), "", ".sst") {
                fs::remove_file(file).unwrap();
            }
        }),
        damage("the state is gone", |dir| fs::remove_dir_all(dir.join("state")).unwrap()),
        damage("all that was stored is gone", |dir| {
            for name in ["log", "state", "snapshots"] {
                fs::remove_dir_all(dir.join(name)).unwrap();
            }
            fs::remove_file(dir.join("FORMAT")).unwrap();
        }),
    ])
    .await;
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success(), "{} could not be copied", from.display());
}

#[tokio::test]
async fn a_data_directory_that_was_put_back_in_time_is_noticed_and_the_node_rejoins_by_itself() {
    let mut cluster = Cluster::start(3);
    for paused in [false, true] {
        let victim = cluster.follower().await;
        let other = (victim + 1) % 3;
        let data_dir = cluster.nodes[victim].data_dir.clone();
        let older = cluster.dir.path().join(format!("older-{paused}"));
        cluster.put(other, "x", "older").await.expect(200);
        assert_eq!(cluster.get(victim, "x").await.as_deref(), Some("older"));
        if paused {
            // Within one start: only the leader can tell.
            cluster.signal(victim, Signal::STOP);
            copy(&data_dir, &older);
            cluster.signal(victim, Signal::CONT);
        } else {
            cluster.kill(victim).await;
            copy(&data_dir, &older);
            cluster.restart(victim);
        }
        cluster.wait_for_health(victim, &[200, 429]).await;
        // Another may lead by now; what counts is that this one follows and has acknowledged.
        let former = raft_id(&cluster, other, &cluster.nodes[victim].id).await.unwrap();
        for write in 0..20 {
            cluster.put(other, "x", &format!("newer-{write}")).await.expect(200);
        }
        assert_eq!(cluster.get(victim, "x").await.as_deref(), Some("newer-19"));
        cluster.kill(victim).await;
        fs::remove_dir_all(&data_dir).unwrap();
        copy(&older, &data_dir);
        cluster.restart(victim);
        cluster = heals(cluster, victim, former, if paused { "paused copy" } else { "older copy" }).await;
        assert_eq!(cluster.get(victim, "x").await.as_deref(), Some("newer-19"));
        assert!(cluster.log_of(victim).contains("older than the node"), "noticed by something else");
    }
}

/// Bytes of a value that fills more than a block of a data file.
const LARGE_VALUE_BYTES: usize = 16 * 1024;

fn large(write: usize) -> String {
    format!("{write:04}").repeat(LARGE_VALUE_BYTES / 4)
}

#[tokio::test]
async fn a_state_that_is_found_damaged_while_it_runs_ends_the_node_and_it_rejoins() {
    let mut cluster = Cluster::start(3);
    let victim = cluster.follower().await;
    for write in 0..50 {
        cluster.put(victim, &format!("cold/{write}"), &large(write)).await.expect(200);
    }
    // So that everything lies in data files and nothing in memory.
    cluster.kill(victim).await;
    cluster.restart(victim);
    cluster.wait_for_health(victim, &[200, 429]).await;
    let former = raft_id(&cluster, (victim + 1) % 3, &cluster.nodes[victim].id).await.unwrap();
    cluster.kill(victim).await;
    let folder = fs::read_to_string(cluster.nodes[victim].data_dir.join("state/ACTIVE")).unwrap();
    let state = cluster.nodes[victim].data_dir.join("state").join(folder.trim());
    // One of two may be what a compaction that was killed left behind, which nothing reads: the values lie in the other.
    let holding: Vec<_> = files(&state, "", ".sst")
        .into_iter()
        .filter(|file| fs::metadata(file).unwrap().len() > 20 * LARGE_VALUE_BYTES as u64)
        .collect();
    assert!(!holding.is_empty(), "the values lie somewhere else");
    // Blocks of records only: what is read at the start lies behind them.
    change(holding, |content| {
        let half = content.len() / 2;
        content[..half].iter_mut().for_each(|byte| *byte ^= 0x40);
    });
    cluster.restart(victim);
    // What it needs itself may be among it: then it ends at once, otherwise when somebody reads.
    eventually("the node is up, or has ended", async || {
        cluster.has_ended(victim) || matches!(cluster.health(victim).await, Some(200 | 429))
    })
    .await;
    for write in 0..50 {
        let path = format!("secret/data/cold/{write}");
        let answer = cluster.try_call(victim, "GET", &path, Value::Null, &[]).await;
        if let Ok(answer) = answer.map(|answer| (answer.status == 200).then(|| answer.json()))
            && let Some(answer) = answer
        {
            assert!(answer["data"]["data"]["value"] == large(write), "a wrong value");
        }
    }
    eventually("the node ends", async || cluster.has_ended(victim)).await;
    assert!(cluster.log_of(victim).contains("this node cannot go on"));
    cluster.restart(victim);
    let cluster = heals(cluster, victim, former, "damaged state").await;
    for write in 0..50 {
        assert!(cluster.get(victim, &format!("cold/{write}")).await == Some(large(write)), "{write} is lost");
    }
}

async fn token_to_replace(cluster: &Cluster, asked: usize, name: &str) -> String {
    let body = json!({ "replace": name });
    let answer = cluster.call(asked, "POST", "sys/cluster/join-token", body).await.expect(200).json();
    assert_eq!(answer["data"]["replaces"], name);
    answer["data"]["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_wiped_node_comes_back_under_its_name_with_one_command() {
    let mut cluster = Cluster::start(3);
    cluster.put(0, "x", "1").await.expect(200);
    let victim = cluster.follower().await;
    let other = (victim + 1) % 3;
    let name = cluster.nodes[victim].id.clone();
    let former = raft_id(&cluster, other, &name).await.unwrap();
    let body = json!({ "replace": "nobody" });
    cluster.call(other, "POST", "sys/cluster/join-token", body).await.expect(400);
    let token = token_to_replace(&cluster, other, &name).await;
    let member = cluster.nodes[other].api_addr.clone();

    // While the node runs, nobody takes its place.
    let request = json!({
        "token": token, "csr": NodeKey::generate().unwrap().csr_pem().unwrap(), "name": name, "names": [],
        "api_addr": "https://127.0.0.1:1", "cluster_addr": "127.0.0.1:1",
    });
    let body = request.to_string().into_bytes();
    let answer = cluster.raw(other, "POST", "/v1/sys/cluster/join", body, &[]).await.unwrap().expect(400);
    assert!(answer.errors().contains("runs and answers"), "{}", answer.text);
    assert_eq!(raft_id(&cluster, other, &name).await, Some(former));

    cluster.kill(victim).await;
    fs::remove_dir_all(&cluster.nodes[victim].data_dir).unwrap();
    cluster.restart_with(victim, &["--join-addr", &member, "--join-token", &token]);
    let cluster = heals(cluster, victim, former, "wiped").await;
    assert_eq!(cluster.get(victim, "x").await.as_deref(), Some("1"));
    assert_eq!(cluster.members(other).await.iter().filter(|(id, _)| *id == name).count(), 1);
}

#[tokio::test]
async fn a_removed_node_does_not_come_back_by_losing_its_data() {
    let mut cluster = Cluster::start(3);
    let victim = cluster.follower().await;
    let other = (victim + 1) % 3;
    let name = cluster.nodes[victim].id.clone();
    cluster.kill(victim).await;
    cluster
        .call(other, "POST", "sys/storage/raft/remove-peer", json!({ "server_id": name }))
        .await
        .expect(204);
    fs::remove_dir_all(cluster.nodes[victim].data_dir.join("log")).unwrap();
    cluster.restart(victim);
    eventually("it is told why it is refused", async || {
        let answer = cluster.try_call(victim, "GET", "sys/health", Value::Null, &[]).await;
        answer.is_ok_and(|answer| answer.status == 503 && answer.text.contains("removed from its cluster"))
    })
    .await;
    assert_eq!(raft_id(&cluster, other, &name).await, None);
    let answer = cluster.call(victim, "GET", "secret/data/x", Value::Null).await.expect(503);
    assert!(answer.errors().contains("waits to be taken back"), "{}", answer.text);
    // Nor does it become a cluster of its own.
    cluster
        .call(victim, "POST", "sys/init", json!({ "secret_shares": 1, "secret_threshold": 1 }))
        .await
        .expect(503);
}

#[tokio::test]
async fn a_node_without_a_cluster_to_heal_it_stops_and_says_so() {
    let mut alone = Cluster::start(1);
    alone.kill(0).await;
    fs::remove_dir_all(alone.nodes[0].data_dir.join("log")).unwrap();
    alone.restart(0);
    eventually("the node ends", async || alone.has_ended(0)).await;
    assert!(alone.log_of(0).contains("no other member that could take it back"), "{}", alone.log_of(0));

    // Of two, the other cannot commit anything alone: the node waits, and its member is not taken away.
    let mut pair = Cluster::start(2);
    let victim = pair.follower().await;
    let other = 1 - victim;
    pair.kill(victim).await;
    fs::remove_dir_all(pair.nodes[victim].data_dir.join("log")).unwrap();
    pair.restart(victim);
    eventually("it says what it waits for", async || {
        let answer = pair.try_call(victim, "GET", "sys/health", Value::Null, &[]).await;
        answer.is_ok_and(|answer| answer.status == 503 && answer.json()["rejoining"].is_string())
    })
    .await;
    assert!(pair.is_running(other));
}
