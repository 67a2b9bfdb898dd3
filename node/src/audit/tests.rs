use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::settings::{Endpoint, Target};
use super::*;

/// For what must come in time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// For what must be waited for in vain.
const SHORT: Duration = Duration::from_millis(200);

fn device(name: &str, required: bool, limit: Duration, target: Target) -> DeviceSettings {
    DeviceSettings { name: name.to_owned(), required, limit, target }
}

fn file_device(name: &str) -> DeviceSettings {
    device(name, true, PATIENCE, Target::File { name: format!("{name}.log"), sync: true })
}

fn socket_device(name: &str, required: bool, limit: Duration, endpoint: Endpoint) -> DeviceSettings {
    device(name, required, limit, Target::Socket { endpoint })
}

fn open(folder: &Path, devices: Vec<DeviceSettings>) -> Arc<Trail> {
    Trail::open(&Settings { folder: folder.to_owned(), devices }, "n1").unwrap()
}

fn record(number: usize) -> Vec<u8> {
    format!("{{\"type\":\"request\",\"n\":{number}}}").into_bytes()
}

async fn record_one(trail: &Trail, number: usize) -> Result<(), NotTaken> {
    trail.devices().unwrap().record(|_| vec![record(number)]).await
}

/// The numbers that the records in a file were given by the test, once the trail is found whole.
fn whole(files: &[&Path], head: Option<&Head>) -> Vec<u64> {
    let folder = tempfile::tempdir().unwrap();
    let anchors = folder.path().join("heads");
    fs::write(&anchors, serde_json::to_string(&head.into_iter().collect::<Vec<_>>()).unwrap()).unwrap();
    let paths: Vec<_> = files.iter().map(|path| path.to_path_buf()).collect();
    let report = verify::run(&paths, 1, Some(&anchors)).unwrap();
    assert_eq!(report["findings"], serde_json::json!([]));
    let lines = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect::<String>();
    lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["n"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn many_records_at_once_become_one_whole_trail() {
    let folder = tempfile::tempdir().unwrap();
    let trail = open(folder.path(), vec![file_device("a")]);
    let all = futures::future::join_all((0..500).map(|number| record_one(&trail, number))).await;
    assert!(all.iter().all(Result::is_ok));
    let path = folder.path().join("a.log");
    let mut numbers = whole(&[&path], trail.heads().first());
    numbers.sort_unstable();
    assert_eq!(numbers, (0..500).collect::<Vec<_>>());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_trail_goes_on_after_a_restart_and_drops_what_a_crash_left_of_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    record_one(&open(folder.path(), vec![file_device("a")]), 1).await.unwrap();
    fs::File::options().append(true).open(&path).unwrap().write_all(b"{\"type\":\"requ").unwrap();
    let trail = open(folder.path(), vec![file_device("a")]);
    record_one(&trail, 2).await.unwrap();
    assert_eq!(whole(&[&path], trail.heads().first()), [1, 2]);
}

#[tokio::test]
async fn a_rotated_trail_goes_on_in_the_new_file_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("a.log.1"), folder.path().join("a.log"));
    let trail = open(folder.path(), vec![file_device("a")]);
    record_one(&trail, 1).await.unwrap();
    fs::rename(&new, &old).unwrap();
    trail.reopen();
    record_one(&trail, 2).await.unwrap();
    assert_eq!(whole(&[&old, &new], trail.heads().first()), [1, 2]);
    // Rotated again, and ended before anything is in the new file.
    let oldest = folder.path().join("a.log.2");
    fs::rename(&old, &oldest).unwrap();
    fs::rename(&new, &old).unwrap();
    trail.reopen();
    let began = Instant::now();
    while !new.exists() {
        assert!(began.elapsed() < PATIENCE, "the file was not opened again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(trail);
    let trail = open(folder.path(), vec![file_device("a")]);
    record_one(&trail, 3).await.unwrap();
    assert_eq!(whole(&[&oldest, &old, &new], trail.heads().first()), [1, 2, 3]);
}

#[tokio::test]
async fn a_file_that_was_removed_is_made_again_and_the_gap_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    let trail = open(folder.path(), vec![file_device("a")]);
    record_one(&trail, 1).await.unwrap();
    fs::remove_file(&path).unwrap();
    record_one(&trail, 2).await.unwrap();
    let report = verify::run(&[path], 1, None).unwrap();
    assert!(report["findings"][0]["sentence"].as_str().unwrap().contains("1 line is missing"), "{report}");
}

#[test]
fn no_link_leads_out_of_the_audit_folder() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = elsewhere.path().join("target");
    fs::write(&target, "mine").unwrap();
    symlink(&target, folder.path().join("a.log")).unwrap();
    let settings = Settings { folder: folder.path().to_owned(), devices: vec![file_device("a")] };
    let error = Trail::open(&settings, "n1").err().expect("it is refused").to_string();
    assert!(error.contains("device \"a\" cannot be used"), "{error}");
    assert_eq!(fs::read_to_string(&target).unwrap(), "mine");
}

#[tokio::test]
async fn a_peer_that_takes_nothing_holds_nobody_up_for_longer_than_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    // Never accepted, never read.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = || Endpoint::Tcp(listener.local_addr().unwrap().to_string());
    let large = vec![b'x'; 1024 * 1024];
    let record = || [b"{\"n\":\"", large.as_slice(), b"\"}"].concat();

    let alone = open(folder.path(), vec![socket_device("alone", true, SHORT, endpoint())]);
    let mut outcome = Ok(());
    for _ in 0..50 {
        let began = Instant::now();
        outcome = alone.devices().unwrap().record(|_| vec![record()]).await;
        assert!(began.elapsed() < PATIENCE);
        if outcome.is_err() {
            break;
        }
    }
    assert_eq!(outcome, Err(NotTaken), "the system cannot have kept so much for a peer that reads nothing");

    // Where another required device works, and where it is not required, nobody notices.
    let both = vec![socket_device("hanging", true, PATIENCE, endpoint()), file_device("b")];
    let beside = open(folder.path(), both);
    let unneeded = open(folder.path(), vec![socket_device("unneeded", false, PATIENCE, endpoint())]);
    for _ in 0..30 {
        beside.devices().unwrap().record(|_| vec![record()]).await.unwrap();
        unneeded.devices().unwrap().record(|_| vec![record()]).await.unwrap();
    }
}

#[tokio::test]
async fn datagrams_carry_one_line_each() {
    let folder = tempfile::tempdir().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let unix_path = folder.path().join("log");
    let unix = UnixDatagram::bind(&unix_path).unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    let to_udp = Endpoint::Udp(udp.local_addr().unwrap().to_string());
    let to_unix = device("log", true, PATIENCE, Target::Syslog { endpoint: Endpoint::Unix(unix_path) });
    let trail = open(folder.path(), vec![socket_device("udp", true, PATIENCE, to_udp), to_unix]);
    record_one(&trail, 7).await.unwrap();
    let mut buffer = [0; 2048];
    let length = udp.recv(&mut buffer).unwrap();
    assert!(Head::of_line(buffer[..length].trim_ascii_end()).is_some());
    let length = unix.recv(&mut buffer).unwrap();
    let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
    let (head, line) = message.split_once(" audit - ").unwrap();
    assert!(head.starts_with("<38>1 20") && head.contains("Z n1 conclave "), "{head}");
    assert!(Head::of_line(line.as_bytes()).is_some());
}

#[tokio::test]
async fn a_stream_of_syslog_counts_octets_and_is_made_again_after_it_broke() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap().to_string());
    let trail = open(folder.path(), vec![device("log", true, PATIENCE, Target::Syslog { endpoint })]);
    record_one(&trail, 1).await.unwrap();
    let (stream, _) = listener.accept().unwrap();
    assert!(counted_message(stream).starts_with(b"<38>1 "));
    // The system tells of the closed connection with the second write after it, at the latest.
    listener.set_nonblocking(true).unwrap();
    let began = Instant::now();
    let again = loop {
        let _lost = record_one(&trail, 2).await;
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(_) => assert!(began.elapsed() < PATIENCE, "no new connection was made"),
        }
    };
    again.set_nonblocking(false).unwrap();
    assert!(counted_message(again).ends_with(b"\"}}"));
}

fn counted_message(mut stream: TcpStream) -> Vec<u8> {
    let mut count = Vec::new();
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() && byte[0] != b' ' {
        count.push(byte[0]);
    }
    let mut message = vec![0; String::from_utf8(count).unwrap().parse().unwrap()];
    stream.read_exact(&mut message).unwrap();
    message
}

#[tokio::test]
async fn an_http_device_has_taken_lines_when_the_other_side_says_so() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/trail", listener.local_addr().unwrap());
    let answers = std::thread::spawn(move || {
        ["204 No Content", "500 Internal Server Error"].map(|status| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            body
        })
    });
    let trail =
        open(folder.path(), vec![device("web", true, PATIENCE, Target::Http { url, authorities: None })]);
    assert_eq!(record_one(&trail, 1).await, Ok(()));
    assert_eq!(record_one(&trail, 2).await, Err(NotTaken));
    for body in answers.join().unwrap() {
        assert!(Head::of_line(body.trim_ascii_end()).is_some());
    }
}

#[tokio::test]
async fn a_full_disk_refuses_records_and_leaves_a_whole_trail() {
    let folder = tempfile::tempdir().unwrap();
    let mount = |args: &[&str]| std::process::Command::new("mount").args(args).arg(folder.path()).output();
    if !mount(&["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).is_ok_and(|output| output.status.success()) {
        println!("skipped: mounting a small disk is not permitted here");
        return;
    }
    let trail = open(folder.path(), vec![file_device("a")]);
    let large = |number: usize| format!("{{\"n\":{number},\"x\":\"{}\"}}", "x".repeat(30_000)).into_bytes();
    let mut taken = Vec::new();
    let mut number = 0;
    while trail.devices().unwrap().record(|_| vec![large(number)]).await.is_ok() {
        taken.push(number as u64);
        number += 1;
        assert!(number < 100, "the disk does not fill");
    }
    let path = folder.path().join("a.log");
    let kept = whole(&[&path], trail.heads().first());
    // There is room for a small one, and then for large ones again: the numbers go on without a gap.
    record_one(&trail, 1000).await.unwrap();
    let after = whole(&[&path], trail.heads().first());
    drop(trail);
    let unmounted = std::process::Command::new("umount").arg("-l").arg(folder.path()).status();
    assert!(unmounted.is_ok_and(|status| status.success()), "the small disk stays mounted");
    assert_eq!(kept, taken);
    assert_eq!(after.last(), Some(&1000));
}
