use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// Answers one request after the other with what `answer` makes of its head, until nobody asks any more.
fn server(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head = head_of(&mut stream);
            drop(stream.write_all(answer(&head).as_bytes()));
        }
    });
    url
}

fn head_of(stream: &mut impl Read) -> String {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
    head
}

fn answer(status: &str, further: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{further}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn outbound(redirects_max: usize) -> Outbound {
    Outbound::new(&Settings { trust: Trust::Nobody, limit: PATIENCE, redirects_max }).unwrap()
}

#[tokio::test]
async fn an_answer_of_any_status_is_an_answer() {
    let url = server(|_| answer("403 Forbidden", "X-Why: no\r\n", "{}"));
    let answered = outbound(0).get(&url).await.unwrap();
    assert_eq!((answered.status, answered.header("x-why")), (403, Some("no")));
    assert!(!answered.is_success() && answered.body == b"{}");
}

#[tokio::test]
async fn an_answer_is_not_read_beyond_its_bound() {
    let url = server(|_| answer("200 OK", "", &"x".repeat(1_000)));
    let ask = |bytes_max| {
        let (outbound, url) = (outbound(0), url.clone());
        async move { outbound.ask(Method::GET, &url, HeaderMap::new(), Vec::new(), bytes_max).await }
    };
    assert_eq!(ask(999).await.err(), Some(OutboundError::TooLarge(999)));
    assert_eq!(ask(1_000).await.unwrap().body.len(), 1_000);
}

#[tokio::test]
async fn redirects_are_followed_as_often_as_was_said() {
    let url = server(|head| match head.split(' ').nth(1) {
        Some("/2") => answer("302 Found", "Location: /1\r\n", ""),
        Some("/1") => answer("302 Found", "Location: /0\r\n", ""),
        _ => answer("200 OK", "", "here"),
    });
    for (redirects_max, status) in [(0, 302), (1, 302), (2, 200)] {
        assert_eq!(outbound(redirects_max).get(&format!("{url}/2")).await.unwrap().status, status);
    }
}

#[tokio::test]
async fn errors_say_what_happened_and_name_no_url() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = outbound(0).get(&format!("http://user:hunter2@127.0.0.1:{port}/x")).await.err().unwrap();
    let sentence = refused.to_string();
    assert!(sentence.to_lowercase().contains("refused"), "{sentence}");
    assert!(!sentence.contains("hunter2") && !sentence.contains(&port.to_string()), "{sentence}");
    // It takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = Settings { trust: Trust::Nobody, limit: Duration::from_millis(200), redirects_max: 0 };
    let url = format!("http://{}", silent.local_addr().unwrap());
    let late = Outbound::new(&settings).unwrap().get(&url).await.err().unwrap();
    assert_eq!(late, OutboundError::Unanswered("it took too long".to_owned()));
}

#[test]
fn authorities_that_are_none_are_refused() {
    let pem = |text: &str| tls(Trust::Authorities(text.as_bytes())).err();
    assert_eq!(pem(""), Some(OutboundError::Authorities));
    assert_eq!(pem("no certificate"), Some(OutboundError::Authorities));
    let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(pem(odd), Some(OutboundError::Authorities));
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    assert_eq!(pem(&params.self_signed(&key).unwrap().pem()), None);
}
