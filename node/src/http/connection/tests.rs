use bytes::Bytes;
use http_body_util::{Empty, Full};
use hyper::client::conn::http2;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;

/// Long enough for anything that must happen, on a machine busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);
const NEVER: Duration = Duration::from_secs(3600);

fn endless() -> Bounds {
    Bounds { head: NEVER, ping_interval: NEVER, ping_timeout: NEVER, idle: NEVER, close: NEVER }
}

type Served = JoinHandle<Result<(), Ended>>;

/// Serves one connection; its answers take as long as `work`.
fn serve(bounds: Bounds, work: Duration) -> (DuplexStream, watch::Sender<bool>, Served) {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let (stop, stopping) = watch::channel(false);
    let handler = move |_request| async move {
        tokio::time::sleep(work).await;
        Response::new(Either::Left(Full::from("answer")))
    };
    let served = tokio::spawn(async move { Server::new(bounds).serve(server, stopping, handler).await });
    (client, stop, served)
}

async fn end_of(served: Served) -> Result<(), Ended> {
    tokio::time::timeout(PATIENCE, served).await.expect("the connection ends").unwrap()
}

async fn http2_client(stream: DuplexStream) -> http2::SendRequest<Empty<Bytes>> {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask(sender: &mut http2::SendRequest<Empty<Bytes>>) -> Bytes {
    let request = Request::get("http://x/").body(Empty::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn a_client_that_sends_nothing_or_only_half_of_a_beginning_is_left() {
    for first in ["", "P", "PRI * HTTP/2.0\r\n"] {
        let bounds = Bounds { head: Duration::from_millis(50), ..endless() };
        let (mut client, _stop, served) = serve(bounds, Duration::ZERO);
        client.write_all(first.as_bytes()).await.unwrap();
        assert!(matches!(end_of(served).await, Err(Ended::Silent)), "{first:?}");
    }
}

#[tokio::test]
async fn half_a_head_and_an_idle_http1_connection_are_left() {
    for first in ["GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let bounds = Bounds { head: Duration::from_millis(100), ..endless() };
        let (mut client, _stop, served) = serve(bounds, Duration::ZERO);
        client.write_all(first.as_bytes()).await.unwrap();
        let _either = end_of(served).await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.contains("answer"), first.ends_with("\r\n\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn an_http2_client_that_answers_no_ping_is_left() {
    let bounds = Bounds {
        ping_interval: Duration::from_millis(50),
        ping_timeout: Duration::from_millis(50),
        ..endless()
    };
    let (mut client, _stop, served) = serve(bounds, Duration::ZERO);
    // The preface and empty settings: a connection that is open and dumb from then on.
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    assert!(matches!(end_of(served).await, Err(Ended::Broken(_))));
}

#[tokio::test]
async fn an_idle_http2_client_is_sent_away_though_it_answers_pings() {
    let bounds =
        Bounds { ping_interval: Duration::from_millis(20), idle: Duration::from_millis(200), ..endless() };
    let (client, _stop, served) = serve(bounds, Duration::ZERO);
    let mut sender = http2_client(client).await;
    assert_eq!(ask(&mut sender).await, "answer");
    let _whoever_closes_first = end_of(served).await;
}

#[tokio::test]
async fn a_client_that_ignores_that_it_is_sent_away_is_cut_off() {
    let bounds = Bounds { idle: Duration::from_millis(50), close: Duration::from_millis(50), ..endless() };
    let (mut client, _stop, served) = serve(bounds, Duration::ZERO);
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    assert!(matches!(end_of(served).await, Err(Ended::Idle)));
}

#[tokio::test]
async fn a_request_that_takes_long_is_not_idleness() {
    let bounds = Bounds { idle: Duration::from_millis(20), ..endless() };
    let (client, _stop, served) = serve(bounds, Duration::from_millis(300));
    let began = Instant::now();
    assert_eq!(ask(&mut http2_client(client).await).await, "answer");
    assert!(began.elapsed() >= Duration::from_millis(300));
    drop(served);
}

#[tokio::test]
async fn a_request_under_way_is_finished_when_the_node_stops() {
    let (client, stop, served) = serve(endless(), Duration::from_millis(200));
    let mut sender = http2_client(client).await;
    let asked = tokio::spawn(async move { ask(&mut sender).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.send_replace(true);
    assert_eq!(asked.await.unwrap(), "answer");
    assert!(end_of(served).await.is_ok());
}

#[tokio::test]
async fn a_client_that_has_said_nothing_yet_does_not_hold_up_the_stop() {
    let (_client, stop, served) = serve(endless(), Duration::ZERO);
    stop.send_replace(true);
    assert!(end_of(served).await.is_ok());
}
