//! A quorum that is lost for good: what is left begins anew, when an operator says so.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::harness::{CONCLAVE, Cluster};

fn recover(data_dir: &Path, more: &[&str]) -> Output {
    Command::new(CONCLAVE)
        .args(["operator", "recover", "--format", "json", "--data-dir"])
        .arg(data_dir)
        .args(more)
        .output()
        .unwrap()
}

#[track_caller]
fn refused(output: &Output, why: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(why), "{text}");
}

#[tokio::test]
async fn the_one_member_that_is_left_goes_on_with_everything_it_has_and_others_join_anew() {
    let mut cluster = Cluster::start(3);
    for key in ["a", "b", "c"] {
        cluster.put(1, key, key).await.expect(200);
    }
    let dirs: Vec<_> = cluster.nodes.iter().map(|node| node.data_dir.clone()).collect();
    refused(&recover(&dirs[0], &["--apply"]), "in use");
    cluster.stop(0).await;
    refused(&recover(&dirs[0], &["--apply"]), "n2");
    cluster.kill(1).await;
    refused(&recover(&dirs[0], &["--apply"]), "n3");
    cluster.kill(2).await;

    let plan = recover(&dirs[0], &[]);
    assert!(plan.status.success(), "{}", String::from_utf8_lossy(&plan.stderr));
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!((&plan["recovered"], &plan["node"]), (&false.into(), &"n1".into()));
    assert_eq!(plan["excluded"].as_array().map(Vec::len), Some(2));
    let again: Value = serde_json::from_slice(&recover(&dirs[0], &[]).stdout).unwrap();
    assert_eq!(again, plan, "a plan changes nothing");

    assert!(recover(&dirs[0], &["--apply"]).status.success());
    cluster.restart(0);
    cluster.wait_for_health(0, &[503]).await;
    for key in &cluster.unseal_keys.clone()[..3] {
        cluster.call(0, "PUT", "sys/unseal", json!({ "key": key })).await.expect(200);
    }
    cluster.wait_for_health(0, &[200]).await;
    for key in ["a", "b", "c"] {
        assert_eq!(cluster.get(0, key).await.as_deref(), Some(key));
    }
    cluster.put(0, "d", "d").await.expect(200);
    assert!(cluster.log_of(0).contains("recovered without its quorum"), "every start tells of it");

    // What was left out is refused with its old data, and welcome without it.
    cluster.restart(1);
    cluster.wait_for_health(1, &[503]).await;
    cluster.put(1, "e", "e").await.expect(503);
    cluster.put(0, "e", "e").await.expect(200);
    cluster.kill(1).await;
    std::fs::remove_dir_all(&dirs[1]).unwrap();
    // Its admission of a moment ago still holds its name.
    let name = json!({ "server_id": cluster.nodes[1].id });
    cluster.call(0, "POST", "sys/storage/raft/remove-peer", name).await.expect(204);
    let token = cluster.call(0, "POST", "sys/cluster/join-token", Value::Null).await.json();
    let token = token["data"]["token"].as_str().unwrap().to_owned();
    let member = cluster.nodes[0].api_addr.clone();
    cluster.restart_with(1, &["--join-addr", &member, "--join-token", &token]);
    cluster.wait_for_health(1, &[429, 200]).await;
    for key in ["a", "d", "e"] {
        assert_eq!(cluster.get(1, key).await.as_deref(), Some(key));
    }
}

#[test]
fn a_directory_that_is_no_members_is_refused_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    refused(&recover(folder.path(), &["--apply"]), "not the data directory of a cluster's member");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
