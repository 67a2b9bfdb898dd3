use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const PATIENCE: Duration = Duration::from_secs(3_600);
/// More than any test takes: what it does moves its clock on.
const SLACK: Duration = Duration::from_secs(60);

/// Answers each request with the next number, as long as `is_up`.
struct Server {
    url: String,
    asked: Arc<AtomicUsize>,
    is_up: Arc<std::sync::atomic::AtomicBool>,
}

fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let is_up = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (count, up) = (Arc::clone(&asked), Arc::clone(&is_up));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {}
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            let status = if up.load(Ordering::Relaxed) { "200 OK" } else { "503 No" };
            let body = number.to_string();
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            drop(stream.write_all(format!("{head}{body}").as_bytes()));
        }
    });
    Server { url, asked, is_up }
}

async fn read(messenger: &Messenger, url: &str, anew: bool, now: Instant) -> String {
    let errand = Errand::document(url, "", anew);
    let outcome = messenger.document(&errand, anew, PATIENCE, now).await.unwrap();
    match &*outcome {
        Ok(brought) => format!("{} {}", brought.status, String::from_utf8_lossy(&brought.body)),
        Err(sentence) => sentence.clone(),
    }
}

#[tokio::test]
async fn a_document_is_read_once_for_all_who_need_it() {
    let (messenger, server, mut now) = (Messenger::default(), server(), Instant::now());
    let all = (0..20).map(|_| read(&messenger, &server.url, false, now));
    assert!(futures::future::join_all(all).await.iter().all(|answer| answer == "200 1"));
    // Whoever lacks something in it has it read again, but not as often as he likes.
    for number in [2, 3] {
        let all = (0..20).map(|_| read(&messenger, &server.url, true, now));
        let answers = futures::future::join_all(all).await;
        assert!(answers.iter().all(|answer| *answer == format!("200 {number}")), "{answers:?}");
        now += ANEW_PAUSE + SLACK;
    }
    now += FRESH + SLACK;
    assert_eq!(read(&messenger, &server.url, false, now).await, "200 4");
    assert_eq!(server.asked.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_document_outlives_its_server_for_a_while() {
    let (messenger, server, mut now) = (Messenger::default(), server(), Instant::now());
    assert_eq!(read(&messenger, &server.url, false, now).await, "200 1");
    server.is_up.store(false, Ordering::Relaxed);
    now += FRESH + SLACK;
    for _ in 0..5 {
        assert_eq!(read(&messenger, &server.url, false, now).await, "200 1");
    }
    assert_eq!(server.asked.load(Ordering::Relaxed), 2, "it is not asked again at once");
    now += USABLE + SLACK;
    assert_eq!(read(&messenger, &server.url, false, now).await, "503 3");
    server.is_up.store(true, Ordering::Relaxed);
    now += FAILED_PAUSE + SLACK;
    assert_eq!(read(&messenger, &server.url, false, now).await, "200 4");
}

#[tokio::test]
async fn what_is_asked_for_one_request_is_asked_each_time() {
    let (messenger, server) = (Messenger::default(), server());
    for number in 1..=3 {
        let errand = Errand { task: Task::Get, ..Errand::document(&server.url, "", false) };
        let outcome = messenger.run(&errand, Instant::now() + PATIENCE).await.unwrap();
        assert_eq!(outcome.as_ref().as_ref().unwrap().body.as_slice(), number.to_string().as_bytes());
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_no_more_than_the_requests_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let errand = Errand::document(&format!("http://{}/", silent.local_addr().unwrap()), "", false);
    let messenger = Messenger::default();
    let outcome =
        messenger.run(&errand, Instant::now() + TIME_LEFT + Duration::from_millis(200)).await.unwrap();
    assert_eq!(outcome.as_ref().as_ref().err().unwrap(), "the server did not answer in time");
}

/// A server that gives a document once and then says nothing any more.
fn falls_silent() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {}
            if count.fetch_add(1, Ordering::Relaxed) == 0 {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1";
                stream.write_all(answer).unwrap();
            } else {
                kept.push(stream);
            }
        }
    });
    Server { url, asked, is_up: Arc::default() }
}

#[tokio::test]
async fn a_document_outlives_a_server_that_hangs_and_nobody_waits_for_it_longer_than_he_can() {
    let (messenger, server, mut now) = (Messenger::default(), falls_silent(), Instant::now());
    assert_eq!(read(&messenger, &server.url, false, now).await, "200 1");
    now += FRESH + SLACK;
    let all = (0..20).map(|_| read(&messenger, &server.url, false, now));
    assert!(futures::future::join_all(all).await.iter().all(|answer| answer == "200 1"));
    assert_eq!(server.asked.load(Ordering::Relaxed), 2, "one of them has asked");
    // Whose own time is shorter than that of the server gets the copy as well.
    now += ANEW_PAUSE + SLACK;
    let errand = Errand::document(&server.url, "", false);
    let outcome = messenger.document(&errand, false, Duration::from_millis(50), now).await.unwrap();
    assert!(outcome.is_ok());
}

#[tokio::test]
async fn whoever_lacks_something_holds_up_nobody_who_does_not() {
    let (messenger, server, now) = (Messenger::default(), falls_silent(), Instant::now());
    assert_eq!(read(&messenger, &server.url, false, now).await, "200 1");
    let lacks = read(&messenger, &server.url, true, now);
    let others = async {
        while server.asked.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        let errand = Errand::document(&server.url, "", false);
        messenger.document(&errand, false, Duration::ZERO, now).await.unwrap()
    };
    let (lacking, other) = tokio::join!(lacks, others);
    assert!(other.is_ok() && lacking == "200 1", "{lacking}");
}

#[test]
fn a_server_that_hangs_takes_no_other_servers_place() {
    let turns = Turns::default();
    let of_one: Vec<_> =
        (0..AT_ONCE_OF_ONE_MAX).map(|at| turns.take(&format!("https://a/{at}")).unwrap()).collect();
    assert!(turns.take("https://a?x").is_none());
    let other = turns.take("https://b").unwrap();
    drop(of_one);
    assert_eq!(turns.0.lock().len(), 1);
    drop(other);
    assert!(turns.0.lock().is_empty());
    let all: Vec<_> = (0..AT_ONCE_MAX).map(|at| turns.take(&format!("https://{at}")).unwrap()).collect();
    assert!(turns.take("https://c").is_none());
    drop(all);
}

#[tokio::test]
async fn of_too_many_documents_those_go_that_were_read_longest_ago() {
    let (messenger, server, now) = (Messenger::default(), server(), Instant::now());
    assert_eq!(read(&messenger, &server.url, false, now).await, "200 1");
    for number in 0..2 * DOCUMENTS_MAX {
        messenger.place(&Errand::document(&format!("http://{number}/"), "", false));
    }
    assert_eq!(messenger.documents.lock().len(), DOCUMENTS_MAX);
    assert_eq!(read(&messenger, &server.url, false, now).await, "200 1", "what was never read goes first");
}
