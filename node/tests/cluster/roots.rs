//! Key shares decide: new root tokens and new shares, through failovers, and whoever else is about.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use super::harness::{Answer, Cluster};

const ATTEMPT: &str = "sys/generate-root/attempt";
const UPDATE: &str = "sys/generate-root/update";

fn decoded(encoded: &Value, otp: &Value) -> String {
    let mixed = STANDARD_NO_PAD.decode(encoded.as_str().expect("text")).expect("base64");
    let otp = otp.as_str().expect("text").bytes();
    mixed.into_iter().zip(otp).map(|(mixed, otp)| char::from(mixed ^ otp)).collect()
}

async fn put(cluster: &Cluster, node: usize, path: &str, body: Value) -> Answer {
    cluster.call(node, "PUT", path, body).await
}

/// A token that may do all below these paths, without `sudo`.
async fn operator(cluster: &Cluster) -> String {
    let text = r#"path "sys/generate-root/*" { capabilities = ["read", "update", "delete"] }
                  path "sys/rekey/*" { capabilities = ["read", "update", "delete"] }"#;
    let policy = json!({ "policy": text });
    cluster.call(0, "PUT", "sys/policies/acl/operator", policy).await.expect(204);
    let body = json!({ "policies": ["operator"] });
    let made = cluster.call(0, "POST", "auth/token/create", body).await.expect(200).json();
    made["auth"]["client_token"].as_str().expect("a token").to_owned()
}

async fn as_nobody(cluster: &Cluster, node: usize, method: &str, path: &str, body: Value) -> Answer {
    let path = format!("/v1/{path}");
    cluster.raw(node, method, &path, body.to_string().into_bytes(), &[]).await.expect("an answer")
}

#[tokio::test]
async fn a_root_token_is_made_though_the_leader_dies_between_two_shares() {
    let mut cluster = Cluster::start(3);
    let begun = put(&cluster, 0, ATTEMPT, json!({})).await.expect(200).json();
    let share = |cluster: &Cluster, index: usize| json!({ "key": cluster.unseal_keys[index], "nonce": begun["nonce"] });
    let leader = cluster.leader().await;
    put(&cluster, leader, UPDATE, share(&cluster, 0)).await.expect(200);
    cluster.kill(leader).await;
    let next = cluster.leader().await;
    let status = cluster.call(next, "GET", ATTEMPT, Value::Null).await.expect(200).json();
    assert_eq!((&status["progress"], &status["nonce"]), (&json!(1), &begun["nonce"]));
    let told = put(&cluster, next, UPDATE, share(&cluster, 1)).await.expect(200).json();
    assert_eq!((&told["progress"], &told["complete"]), (&json!(2), &json!(false)));
    let follower = cluster.follower().await;
    let told = put(&cluster, follower, UPDATE, share(&cluster, 4)).await.expect(200).json();
    let token = decoded(&told["encoded_token"], &begun["otp"]);
    let own = cluster.call_as(next, &token, "GET", "auth/token/lookup-self", Value::Null).await.expect(200);
    assert_eq!(own.json()["data"]["policies"], json!(["root"]));
}

#[tokio::test]
async fn of_last_shares_that_come_at_once_to_all_nodes_one_makes_the_token() {
    let cluster = Cluster::start(3);
    let begun = put(&cluster, 0, ATTEMPT, json!({})).await.expect(200).json();
    let share = |index: usize| json!({ "key": cluster.unseal_keys[index], "nonce": begun["nonce"] });
    for index in 0..2 {
        put(&cluster, index, UPDATE, share(index)).await.expect(200);
    }
    let asked = (2..5).map(|index| put(&cluster, index - 2, UPDATE, share(index)));
    let answers = futures::future::join_all(asked).await;
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(made.len(), 1, "{:?}", answers.iter().map(|answer| &answer.text).collect::<Vec<_>>());
    let accessors = cluster.call(0, "LIST", "auth/token/accessors", Value::Null).await.expect(200).json();
    assert_eq!(
        accessors["data"]["keys"].as_array().map(Vec::len),
        Some(2),
        "the first root token and this one"
    );
}

#[tokio::test]
async fn strangers_can_neither_see_nor_cancel_nor_disturb_it() {
    let cluster = Cluster::start(3);
    let operator = operator(&cluster).await;
    for (path, update, body) in [
        (ATTEMPT, UPDATE, json!({})),
        ("sys/rekey/init", "sys/rekey/update", json!({ "secret_shares": 3, "secret_threshold": 2 })),
    ] {
        let begun = put(&cluster, 0, path, body).await.expect(200).json();
        let share = json!({ "key": cluster.unseal_keys[0], "nonce": begun["nonce"] });
        cluster.call_as(1, &operator, "PUT", update, share).await.expect(200);
        for node in 0..3 {
            cluster.call_as(node, &operator, "DELETE", path, Value::Null).await.expect(403);
            for (method, path) in [("GET", path), ("PUT", path), ("DELETE", path), ("PUT", update)] {
                as_nobody(&cluster, node, method, path, json!({})).await.expect(403);
            }
            let wrong = json!({ "key": "x", "nonce": begun["nonce"] });
            as_nobody(&cluster, node, "PUT", update, wrong).await.expect(400);
        }
        // Not even a share gives a right over what another began.
        let share = json!({ "key": cluster.unseal_keys[1] });
        as_nobody(&cluster, 2, "DELETE", path, share).await.expect(403);
        let status = cluster.call_as(2, &operator, "GET", path, Value::Null).await.expect(200).json();
        assert_eq!((&status["started"], &status["progress"]), (&json!(true), &json!(1)));
        cluster.call(2, "DELETE", path, Value::Null).await.expect(204);
        let status = cluster.call(1, "GET", path, Value::Null).await.expect(200).json();
        assert_eq!(status["started"], false);
    }
}

#[tokio::test]
async fn who_lost_every_token_makes_one_with_shares_alone() {
    let cluster = Cluster::start(3);
    let keys = &cluster.unseal_keys;
    let begun = as_nobody(&cluster, 1, "PUT", ATTEMPT, json!({ "key": keys[3] })).await.expect(200).json();
    let mut told = Value::Null;
    for (node, key) in keys.iter().take(3).enumerate() {
        let share = json!({ "key": key, "nonce": begun["nonce"] });
        told = as_nobody(&cluster, node, "PUT", UPDATE, share).await.expect(200).json();
    }
    let token = decoded(&told["encoded_token"], &begun["otp"]);
    cluster.call_as(0, &token, "GET", "sys/mounts", Value::Null).await.expect(200);
}

#[tokio::test]
async fn a_sealed_node_unseals_with_the_new_shares_and_not_with_the_old_ones() {
    let mut cluster = Cluster::start(3);
    let sealed = cluster.follower().await;
    cluster.call(sealed, "PUT", "sys/seal", Value::Null).await.expect(204);
    let leader = cluster.leader().await;
    let body = json!({ "secret_shares": 3, "secret_threshold": 2, "require_verification": true });
    let begun = put(&cluster, leader, "sys/rekey/init", body).await.expect(200).json();
    let old = cluster.unseal_keys.clone();
    let mut told = Value::Null;
    for key in &old[..3] {
        let share = json!({ "key": key, "nonce": begun["nonce"] });
        told = put(&cluster, leader, "sys/rekey/update", share).await.expect(200).json();
    }
    let new: Vec<String> = serde_json::from_value(told["keys_base64"].clone()).expect("keys");
    let unseal = async |key: &str| cluster.call(sealed, "PUT", "sys/unseal", json!({ "key": key })).await;
    assert_eq!(
        unseal(&old[0]).await.expect(200).json()["progress"],
        1,
        "they are valid until the new ones are shown"
    );
    let refused = unseal(&new[0]).await.expect(400);
    assert!(refused.errors().contains("share 1"), "{}", refused.text);
    // A crash of the leader in the middle leaves the old ones valid.
    let next = (leader + 1) % 3;
    let next = if next == sealed { (next + 1) % 3 } else { next };
    let verify = |index: usize| json!({ "key": new[index], "nonce": told["verification_nonce"] });
    put(&cluster, leader, "sys/rekey/verify", verify(0)).await.expect(200);
    cluster.call(leader, "PUT", "sys/step-down", Value::Null).await.expect(204);
    let done = put(&cluster, next, "sys/rekey/verify", verify(2)).await.expect(200).json();
    assert_eq!(done["complete"], true);

    super::harness::eventually("the sealed node has the new seal", async || {
        let status = cluster.call(sealed, "GET", "sys/seal-status", Value::Null).await.expect(200).json();
        (&status["t"], &status["n"]) == (&json!(2), &json!(3))
    })
    .await;
    let refused = unseal(&old[0]).await.expect(400);
    assert!(refused.errors().contains("share 1"), "{}", refused.text);
    for key in &new[1..3] {
        unseal(key).await.expect(200);
    }
    cluster.wait_for_health(sealed, &[200, 429]).await;

    // All at once, as after a power cut.
    for node in 0..3 {
        cluster.kill(node).await;
    }
    for node in 0..3 {
        cluster.restart(node);
    }
    for node in 0..3 {
        cluster.wait_for_health(node, &[503]).await;
    }
    for key in &new[..2] {
        put(&cluster, 0, "sys/unseal", json!({ "key": key })).await.expect(200);
    }
    for node in 0..3 {
        cluster.wait_for_health(node, &[200, 429]).await;
    }
}
