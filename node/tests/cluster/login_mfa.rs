//! A second factor, at every node and through the loss of leaders: what was taken, counted or demanded at one node is so at
//! all. Codes hold for an hour here, so that no test waits for the next.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::harness::{Answer, Cluster};

const PERIOD_S: u64 = 3_600;
const ATTEMPTS: usize = 5;
/// Sent without a token.
const NOBODY: (&str, &str) = ("X-Vault-Token", "");

/// What a user's device has been told.
struct Device {
    method: String,
    secret: Vec<u8>,
}

impl Device {
    /// The code so many periods from now.
    fn code(&self, periods: u64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("any length");
        mac.update(&(now / PERIOD_S + periods).to_be_bytes());
        let mac = mac.finalize().into_bytes();
        let at = usize::from(mac[31] & 15);
        let number = u32::from_be_bytes(mac[at..at + 4].try_into().expect("four bytes")) & 0x7fff_ffff;
        format!("{:06}", number % 1_000_000)
    }

    /// A code that is not taken for hours.
    fn wrong(&self) -> String {
        let near: Vec<String> = (0..4).map(|periods| self.code(periods)).collect();
        (0..).map(|number| format!("{number:06}")).find(|code| !near.contains(code)).expect("one of many")
    }
}

async fn ask(cluster: &Cluster, node: usize, path: &str, body: Value, more: &[(&str, &str)]) -> Answer {
    let headers = [&[NOBODY][..], more].concat();
    cluster.try_call(node, "POST", path, body, &headers).await.expect("the node answers")
}

async fn login(cluster: &Cluster, node: usize, more: &[(&str, &str)]) -> Answer {
    ask(cluster, node, "auth/userpass/login/bob", json!({ "password": "hunter2" }), more).await
}

/// A login that is accepted, and waits.
async fn begin(cluster: &Cluster, node: usize) -> String {
    let auth = login(cluster, node, &[]).await.expect(200).json()["auth"].clone();
    assert_eq!(auth["client_token"], json!(""));
    auth["mfa_requirement"]["mfa_request_id"].as_str().expect("an id").to_owned()
}

async fn finish(cluster: &Cluster, node: usize, id: &str, code: &str) -> Answer {
    let body = json!({ "mfa_request_id": id, "mfa_payload": { "phone": [code] } });
    ask(cluster, node, "sys/mfa/validate", body, &[]).await
}

async fn holds(cluster: &Cluster, node: usize, answer: &Answer) -> bool {
    let token = answer.json()["auth"]["client_token"].as_str().expect("a token").to_owned();
    cluster.call_as(node, &token, "GET", "auth/token/lookup-self", Value::Null).await.status == 200
}

/// A cluster whose user `bob` proves more than his password.
async fn start() -> (Cluster, Device) {
    let cluster = Cluster::start(3);
    let given = |answer: Answer, field: &str| {
        answer.expect(200).json()["data"][field].as_str().expect("text").to_owned()
    };
    cluster.call(0, "POST", "sys/auth/userpass", json!({ "type": "userpass" })).await.expect(204);
    let user = json!({ "password": "hunter2", "token_policies": "default" });
    cluster.call(1, "POST", "auth/userpass/users/bob", user).await.expect(204);
    let entity = login(&cluster, 2, &[]).await.expect(200).json()["auth"]["entity_id"].clone();
    let body = json!({
        "issuer": "Conclave", "method_name": "phone", "algorithm": "SHA256", "period": PERIOD_S,
        "max_validation_attempts": ATTEMPTS,
    });
    let method = given(cluster.call(0, "POST", "identity/mfa/method/totp", body).await, "method_id");
    let body = json!({ "method_id": method, "entity_id": entity });
    let url = given(cluster.call(1, "POST", "identity/mfa/method/totp/admin-generate", body).await, "url");
    let secret = url.rsplit("secret=").next().expect("a secret").to_owned();
    let secret = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).expect("base32");
    let body = json!({ "mfa_method_ids": [method], "auth_method_types": ["userpass"] });
    cluster.call(2, "POST", "identity/mfa/login-enforcement/all", body).await.expect(204);
    (cluster, Device { method, secret })
}

#[tokio::test]
async fn a_login_is_finished_at_any_node_and_outlives_the_leader() {
    let (mut cluster, phone) = start().await;
    let leader = cluster.leader().await;
    let (first, second) = ((leader + 1) % 3, (leader + 2) % 3);
    let (id, other) = (begin(&cluster, leader).await, begin(&cluster, first).await);
    cluster.kill(leader).await;
    let code = phone.code(0);
    let answer = finish(&cluster, first, &id, &code).await.expect(200);
    assert!(holds(&cluster, second, &answer).await);
    // It is finished everywhere, and the code is spent everywhere.
    finish(&cluster, second, &id, &phone.code(1)).await.expect(400);
    for node in [first, second] {
        assert!(finish(&cluster, node, &other, &code).await.expect(403).errors().contains("already used"));
        login(&cluster, node, &[("X-Vault-MFA", &format!("phone:{code}"))]).await.expect(403);
    }
    cluster.restart(leader);
    cluster.wait_for_health(leader, &[200, 429]).await;
    finish(&cluster, leader, &other, &code).await.expect(403);
    finish(&cluster, leader, &other, &phone.code(1)).await.expect(200);
}

#[tokio::test]
async fn of_all_who_show_one_code_at_once_one_comes_in() {
    let (cluster, phone) = start().await;
    let mut ids = Vec::new();
    for node in 0..9 {
        ids.push(begin(&cluster, node % 3).await);
    }
    let code = phone.code(0);
    let (cluster, code) = (&cluster, code.as_str());
    let tries =
        ids.iter().enumerate().map(|(at, id)| async move { finish(cluster, at % 3, id, code).await.status });
    let mut statuses = futures::future::join_all(tries).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [[200].as_slice(), &[403; 8]].concat());
}

#[tokio::test]
async fn guesses_are_counted_over_all_nodes_and_through_a_change_of_leader() {
    let (cluster, phone) = start().await;
    let wrong = phone.wrong();
    let id = begin(&cluster, 0).await;
    for guess in 0..ATTEMPTS {
        if guess == 2 {
            let leader = cluster.leader().await;
            cluster.call(leader, "PUT", "sys/step-down", Value::Null).await.expect(204);
        }
        match guess % 2 {
            0 => finish(&cluster, guess % 3, &id, &wrong).await.expect(403),
            _ => login(&cluster, guess % 3, &[("X-Vault-MFA", &format!("{}:{wrong}", phone.method))])
                .await
                .expect(403),
        };
    }
    for node in 0..3 {
        let refusal = finish(&cluster, node, &id, &phone.code(0)).await.expect(403).errors();
        assert!(refusal.contains("maximum TOTP validation attempts"), "{refusal}");
        let other = begin(&cluster, node).await;
        finish(&cluster, node, &other, &phone.code(0)).await.expect(403);
    }
}

#[tokio::test]
async fn no_way_of_logging_in_leads_past_it() {
    let (cluster, phone) = start().await;
    // Laid aside, it is still no token.
    let wrapped =
        login(&cluster, 0, &[("X-Vault-Wrap-TTL", "60s")]).await.expect(200).json()["wrap_info"].clone();
    let token = wrapped["token"].as_str().expect("a wrapping token").to_owned();
    let auth = cluster
        .call_as(1, &token, "POST", "sys/wrapping/unwrap", Value::Null)
        .await
        .expect(200)
        .json()["auth"]
        .clone();
    assert_eq!(auth["client_token"], json!(""));
    let id = auth["mfa_requirement"]["mfa_request_id"].as_str().expect("an id").to_owned();
    // A repeat under the name of an earlier login proves what that did.
    let named = |code: &str| {
        [("X-Conclave-Idempotency-Key", "k".to_owned()), ("X-Vault-MFA", format!("phone:{code}"))]
    };
    let with = async |headers: [(&str, String); 2]| {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        login(&cluster, 2, &headers).await
    };
    let first = with(named(&phone.code(0))).await.expect(200);
    assert!(holds(&cluster, 0, &first).await);
    with(named(&phone.wrong())).await.expect(400);
    login(&cluster, 2, &[("X-Conclave-Idempotency-Key", "k")]).await.expect(400);
    // Finished under wrapping, the token is in the wrapping alone.
    let body = json!({ "mfa_request_id": id, "mfa_payload": { "phone": [phone.code(1)] } });
    let answer =
        ask(&cluster, 1, "sys/mfa/validate", body, &[("X-Vault-Wrap-TTL", "60s")]).await.expect(200).json();
    assert_eq!(answer["auth"], Value::Null);
    let token = answer["wrap_info"]["token"].as_str().expect("a wrapping token").to_owned();
    let answer = cluster.call_as(2, &token, "POST", "sys/wrapping/unwrap", Value::Null).await.expect(200);
    assert!(holds(&cluster, 0, &answer).await);
}
