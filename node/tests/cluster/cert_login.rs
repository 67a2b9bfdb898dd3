//! Logins by client certificates, over real handshakes at every node.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use reqwest::{Client, Identity};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::harness::Cluster;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate and its key.
struct Holder {
    certificate: String,
    key: KeyPair,
}

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "clients");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn holder(authority: &Authority, name: &str) -> Holder {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    Holder { certificate: params.signed_by(&key, authority).expect("a certificate").pem(), key }
}

/// Shows the holder's certificate in its handshakes.
fn client(cluster: &Cluster, holder: &Holder) -> Client {
    let ca = std::fs::read(cluster.ca_cert()).expect("the authority's certificate");
    let identity = format!("{}{}", holder.certificate, holder.key.serialize_pem());
    Client::builder()
        .add_root_certificate(reqwest::Certificate::from_pem(&ca).expect("a certificate"))
        .identity(Identity::from_pem(identity.as_bytes()).expect("an identity"))
        .build()
        .expect("a client")
}

async fn post(cluster: &Cluster, client: &Client, node: usize, path: &str, token: &str) -> (u16, Value) {
    let url = format!("{}/v1/{path}", cluster.nodes[node].api_addr);
    let answer = client.post(url).header("X-Vault-Token", token).body("{}").send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

async fn start(authority: &Authority) -> Cluster {
    let cluster = Cluster::start(3);
    cluster.call(0, "POST", "sys/auth/cert", json!({ "type": "cert" })).await.expect(204);
    let role =
        json!({ "certificate": authority.pem(), "token_policies": "default", "allowed_common_names": "a*" });
    cluster.call(1, "POST", "auth/cert/certs/web", role).await.expect(204);
    cluster
}

#[tokio::test]
async fn whoever_shows_a_certificate_in_the_handshake_logs_in_at_any_node() {
    let authority = authority();
    let cluster = start(&authority).await;
    let (alice, anna, bob) =
        (holder(&authority, "alice"), holder(&authority, "anna"), holder(&authority, "bob"));
    let mut entities = Vec::new();
    for node in 0..3 {
        let (status, answer) = post(&cluster, &client(&cluster, &alice), node, "auth/cert/login", "").await;
        assert_eq!((status, &answer["auth"]["metadata"]["common_name"]), (200, &json!("alice")), "{answer}");
        entities.push(answer["auth"]["entity_id"].clone());
        let token = answer["auth"]["client_token"].as_str().expect("a token").to_owned();
        let elsewhere = (node + 1) % 3;
        // Renewed with the key of the login, and with no other, and not without.
        let renew = "auth/token/renew-self";
        assert_eq!(post(&cluster, &client(&cluster, &alice), elsewhere, renew, &token).await.0, 200);
        assert_eq!(post(&cluster, &client(&cluster, &anna), elsewhere, renew, &token).await.0, 400);
        cluster.call_as(elsewhere, &token, "POST", renew, json!({})).await.expect(400);
        // Used it is without: the token is the proof from now on.
        cluster.call_as(elsewhere, &token, "GET", "auth/token/lookup-self", Value::Null).await.expect(200);
        assert_eq!(post(&cluster, &client(&cluster, &bob), node, "auth/cert/login", "").await.0, 400);
        let other = holder(&self::authority(), "alice");
        assert_eq!(post(&cluster, &client(&cluster, &other), node, "auth/cert/login", "").await.0, 400);
    }
    entities.dedup();
    assert_eq!(entities.len(), 1, "one name is one entity, wherever it logs in");
}

/// CVE-2020-16251 and its like: a proof that comes in a header is none.
#[tokio::test]
async fn a_certificate_in_a_header_proves_nothing() {
    let authority = authority();
    let cluster = start(&authority).await;
    let alice = holder(&authority, "alice").certificate.replace('\n', "");
    for name in [
        "client-certificate",
        "Client-Cert",
        "X-Forwarded-Client-Cert",
        "X-Tls-Client-Cert",
        "X-SSL-Client-Cert",
    ] {
        for node in 0..3 {
            let headers = [("X-Vault-Token", ""), (name, alice.as_str())];
            let answer = cluster.try_call(node, "POST", "auth/cert/login", json!({}), &headers).await;
            assert_eq!(
                answer.expect("an answer").expect(400).errors(),
                "client certificate must be supplied"
            );
        }
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_ends_the_handshake() {
    let authority = authority();
    let cluster = start(&authority).await;
    let alice = holder(&authority, "alice");
    let stolen = CertificateDer::from_pem_slice(alice.certificate.as_bytes()).expect("a certificate");
    let provider = rustls::crypto::ring::default_provider();
    for (key, is_owner) in [(&KeyPair::generate().expect("a key"), false), (&alice.key, true)] {
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("a key");
        let key = provider.key_provider.load_private_key(key).expect("a key for signing");
        let mut roots = rustls::RootCertStore::empty();
        let ca = std::fs::read(cluster.ca_cert()).expect("the authority's certificate");
        roots.add(CertificateDer::from_pem_slice(&ca).expect("a certificate")).expect("an authority");
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_client_cert_resolver(
            Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![stolen.clone()], key))),
        );
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = "localhost".try_into().expect("a name");
        let mut answer = Vec::new();
        let asked = async {
            let mut stream = connector.connect(name, cluster.open_tcp(0).await).await?;
            stream.write_all(b"POST /v1/auth/cert/login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}").await?;
            stream.read_to_end(&mut answer).await
        };
        let _ended = asked.await;
        let answer = String::from_utf8_lossy(&answer);
        assert_eq!(answer.starts_with("HTTP/1.1 200"), is_owner, "{answer}");
    }
}

#[tokio::test]
async fn a_role_that_is_gone_takes_nobody_at_any_node() {
    let authority = authority();
    let cluster = start(&authority).await;
    let alice = holder(&authority, "alice");
    assert_eq!(post(&cluster, &client(&cluster, &alice), 0, "auth/cert/login", "").await.0, 200);
    cluster.call(1, "DELETE", "auth/cert/certs/web", Value::Null).await.expect(204);
    for node in 0..3 {
        assert_eq!(post(&cluster, &client(&cluster, &alice), node, "auth/cert/login", "").await.0, 400);
    }
}
