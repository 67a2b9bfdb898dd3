use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

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
    let deadline = Instant::now() + Duration::from_secs(3_600);
    let outcome = messenger.run_at(&errand, deadline, now).await.unwrap();
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
        now += ANEW_PAUSE;
    }
    now += FRESH;
    assert_eq!(read(&messenger, &server.url, false, now).await, "200 4");
    assert_eq!(server.asked.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_document_outlives_its_server_for_a_while() {
    let (messenger, server, mut now) = (Messenger::default(), server(), Instant::now());
    assert_eq!(read(&messenger, &server.url, false, now).await, "200 1");
    server.is_up.store(false, Ordering::Relaxed);
    now += FRESH;
    for _ in 0..5 {
        assert_eq!(read(&messenger, &server.url, false, now).await, "200 1");
    }
    assert_eq!(server.asked.load(Ordering::Relaxed), 2, "it is not asked again at once");
    now += USABLE;
    assert_eq!(read(&messenger, &server.url, false, now).await, "503 3");
    server.is_up.store(true, Ordering::Relaxed);
    now += FAILED_PAUSE;
    assert_eq!(read(&messenger, &server.url, false, now).await, "200 4");
}

#[tokio::test]
async fn what_is_asked_for_one_request_is_asked_each_time() {
    let (messenger, server) = (Messenger::default(), server());
    for number in 1..=3 {
        let errand = Errand { task: Task::Get, ..Errand::document(&server.url, "", false) };
        let outcome = messenger.run(&errand, Instant::now() + Duration::from_secs(3_600)).await.unwrap();
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
