//! Logins that others vouch for: with a signer that publishes its keys, and a provider that people are sent to. Whichever
//! nodes are asked, and whatever becomes of them meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::harness::{Answer, Cluster};

/// Sent without a token.
const NOBODY: &[(&str, &str)] = &[("X-Vault-Token", "")];
const REDIRECT: &str = "http://localhost:8250/oidc/callback";
const SECRET: &str = "canary-client-secret-5f";

/// A provider with a key that can be replaced. The nonce of its tokens is the code that they are given for.
struct Provider {
    url: String,
    key: Arc<Mutex<(String, KeyPair)>>,
}

impl Provider {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let key = Arc::new(Mutex::new(fresh("first")));
        let provider = Self { url: url.clone(), key: Arc::clone(&key) };
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let served = Self { url: url.clone(), key: Arc::clone(&key) };
                tokio::spawn(async move { served.serve(stream).await });
            }
        });
        provider
    }

    async fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while stream.read_line(&mut head).await.ok()? > 2 {}
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length:")
                .and_then(|value| value.trim().parse().ok())
        });
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await.ok()?;
        let form: BTreeMap<String, String> = pairs(&String::from_utf8_lossy(&body));
        let told = match head.split(' ').nth(1)? {
            "/.well-known/openid-configuration" => json!({
                "issuer": self.url, "jwks_uri": format!("{}/keys", self.url), "token_endpoint": format!("{}/token", self.url),
                "authorization_endpoint": format!("{}/authorize", self.url),
            }),
            "/keys" => {
                let key = self.key.lock();
                let x = URL_SAFE_NO_PAD.encode(key.1.der_bytes());
                json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": key.0, "x": x }] })
            }
            "/token" => json!({ "id_token": self.token(&json!({ "aud": "us", "nonce": form.get("code") })) }),
            _ => json!({}),
        };
        let body = told.to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.ok()
    }

    /// A token about `ada`.
    fn token(&self, more: &Value) -> String {
        let now_s =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        let mut claims =
            json!({ "iss": self.url, "sub": "ada", "aud": "me", "iat": now_s, "exp": now_s + 600 });
        claims.as_object_mut().expect("claims").extend(more.as_object().expect("claims").clone());
        let key = self.key.lock();
        let header = json!({ "alg": "EdDSA", "kid": key.0 });
        let text = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", text(&header), text(&claims));
        let signature = key.1.sign(signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// From now on it has another key, and no more the one of before.
    fn replace_key(&self) {
        *self.key.lock() = fresh("second");
    }
}

fn fresh(id: &str) -> (String, KeyPair) {
    (id.to_owned(), KeyPair::generate_for(&PKCS_ED25519).expect("a key"))
}

fn pairs(form: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    form.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

async fn start(provider: &Provider) -> Cluster {
    let cluster = Cluster::start(3);
    let flow = json!({
        "oidc_discovery_url": provider.url, "oidc_client_id": "us", "oidc_client_secret": SECRET, "default_role": "people",
    });
    for (path, body) in [
        ("sys/auth/jwt", json!({ "type": "jwt" })),
        ("auth/jwt/config", json!({ "jwks_url": format!("{}/keys", provider.url) })),
        ("auth/jwt/role/app", json!({ "role_type": "jwt", "user_claim": "sub", "bound_audiences": "me" })),
        ("sys/auth/oidc", json!({ "type": "oidc" })),
        ("auth/oidc/config", flow),
        ("auth/oidc/role/people", json!({ "user_claim": "sub", "allowed_redirect_uris": REDIRECT })),
    ] {
        cluster.call(1, "POST", path, body).await.expect(204);
    }
    cluster
}

async fn by_token(cluster: &Cluster, node: usize, token: &str) -> Answer {
    let body = json!({ "role": "app", "jwt": token });
    cluster.try_call(node, "POST", "auth/jwt/login", body, NOBODY).await.expect("the node answers")
}

/// Where somebody is sent: the parameters.
async fn sent(cluster: &Cluster, node: usize) -> BTreeMap<String, String> {
    let body = json!({ "redirect_uri": REDIRECT });
    let answer =
        cluster.try_call(node, "POST", "auth/oidc/oidc/auth_url", body, NOBODY).await.expect("an answer");
    let url = answer.expect(200).json()["data"]["auth_url"].as_str().expect("a URL").to_owned();
    pairs(url.split_once('?').expect("parameters").1)
}

async fn back(cluster: &Cluster, node: usize, sent: &BTreeMap<String, String>) -> Answer {
    let path = format!("auth/oidc/oidc/callback?state={}&code={}", sent["state"], sent["nonce"]);
    cluster.try_call(node, "GET", &path, Value::Null, NOBODY).await.expect("the node answers")
}

fn entity(answer: Answer) -> String {
    answer.expect(200).json()["auth"]["entity_id"].as_str().expect("an entity").to_owned()
}

#[tokio::test]
async fn a_token_of_a_signer_logs_in_at_every_node_and_after_its_key_was_replaced() {
    let provider = Provider::start().await;
    let cluster = start(&provider).await;
    let token = provider.token(&json!({}));
    let known = entity(by_token(&cluster, 0, &token).await);
    for node in 0..3 {
        assert_eq!(entity(by_token(&cluster, node, &token).await), known);
        let refused = by_token(&cluster, node, &provider.token(&json!({ "aud": "you" }))).await.expect(400);
        assert!(refused.errors().contains("invalid audience (aud) claim"), "{}", refused.text);
    }
    provider.replace_key();
    let renewed = provider.token(&json!({}));
    for node in 0..3 {
        assert_eq!(entity(by_token(&cluster, node, &renewed).await), known);
        by_token(&cluster, node, &token).await.expect(400);
    }
}

#[tokio::test]
async fn whoever_is_sent_by_one_node_may_come_back_to_another_and_once() {
    let provider = Provider::start().await;
    let cluster = start(&provider).await;
    for round in 0..3 {
        let sent = sent(&cluster, round).await;
        back(&cluster, (round + 1) % 3, &sent).await.expect(200);
        for node in 0..3 {
            let refused = back(&cluster, node, &sent).await.expect(400);
            assert_eq!(refused.errors(), "login failed: Expired or missing OAuth state.");
        }
    }
    for _ in 0..5 {
        let sent = sent(&cluster, 0).await;
        let all = futures::future::join_all((0..6).map(|client| back(&cluster, client % 3, &sent))).await;
        let taken = all.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(taken, 1, "{:?}", all.iter().map(|answer| answer.status).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn whoever_was_sent_may_come_back_after_the_leader_is_gone_and_no_file_tells_of_it() {
    let provider = Provider::start().await;
    let mut cluster = start(&provider).await;
    let leader = cluster.leader().await;
    let (first, second) = (sent(&cluster, leader).await, sent(&cluster, leader).await);
    back(&cluster, leader, &first).await.expect(200);
    cluster.kill(leader).await;
    let other = (leader + 1) % 3;
    back(&cluster, other, &first).await.expect(400);
    let token = back(&cluster, other, &second).await.expect(200).json();
    let token = token["auth"]["client_token"].as_str().expect("a token").to_owned();
    cluster.call_as(other, &token, "GET", "auth/token/lookup-self", Value::Null).await.expect(200);
    let canaries = [SECRET, &first["state"], &second["state"], &second["nonce"], &token, &provider.url];
    for node in &cluster.nodes {
        let mut files = vec![node.log.clone()];
        super::logins::collect(&node.data_dir, &mut files);
        for file in files {
            let Ok(bytes) = std::fs::read(&file) else { continue };
            for canary in canaries {
                let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
                assert!(!found, "{canary} in {}", file.display());
            }
        }
    }
}
