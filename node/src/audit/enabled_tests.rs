//! Devices that come and go while a node runs.

use std::fs;
use std::path::Path;

use super::*;

/// How long a thread may take to get its turn on a busy machine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
const PROBE: &[u8] = b"{\"probe\":1}";

fn trail(folder: &Path) -> Arc<Trail> {
    Trail::open(&Settings { folder: folder.to_owned(), devices: Vec::new() }, "n1").unwrap()
}

fn enabled(name: &str, r#type: &str, option: (&str, &str)) -> Enabled {
    Enabled {
        accessor: format!("audit_{name}_{option:?}"),
        name: name.to_owned(),
        r#type: r#type.to_owned(),
        description: String::new(),
        options: [(option.0.to_owned(), option.1.to_owned())].into(),
    }
}

fn table(revision: u64, devices: &[&Enabled]) -> DeviceTable {
    DeviceTable { revision, devices: devices.iter().copied().cloned().collect() }
}

async fn record(trail: &Trail) -> Result<(), NotTaken> {
    trail.devices().expect("a device").record(|_| vec![b"{\"a\":1}".to_vec()]).await
}

fn numbers(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| Head::of_line(line.as_bytes()).expect("a whole line").number).collect()
}

#[tokio::test]
async fn a_device_takes_records_while_it_is_enabled_and_its_chain_goes_on_when_it_is_again() {
    let folder = tempfile::tempdir().unwrap();
    let (trail, path) = (trail(folder.path()), folder.path().join("a.log"));
    assert!(trail.devices().is_none());
    let device = enabled("a", "file", ("file_path", "a.log"));
    trail.prepare(device.clone(), DeviceTable::default(), PROBE.to_vec()).await.unwrap();
    assert!(trail.devices().is_none(), "it is not enabled yet");
    trail.adopt(table(1, &[&device])).await;
    record(&trail).await.unwrap();
    trail.adopt(table(2, &[])).await;
    assert!(trail.devices().is_none());
    let again = Enabled { accessor: "another".to_owned(), ..device };
    trail.adopt(table(3, &[&again])).await;
    // Older news that comes late undoes nothing.
    trail.adopt(table(2, &[])).await;
    assert_eq!(trail.revision(), 3);
    record(&trail).await.unwrap();
    // The first is the probe.
    assert_eq!(numbers(&path), [1, 2, 3]);
}

#[tokio::test]
async fn where_a_required_device_cannot_be_opened_only_another_required_one_can_stand_in() {
    let folder = tempfile::tempdir().unwrap();
    let trail = trail(folder.path());
    fs::create_dir(folder.path().join("a.log")).unwrap();
    let bad = enabled("a", "file", ("file_path", "a.log"));
    assert!(trail.prepare(bad.clone(), DeviceTable::default(), PROBE.to_vec()).await.is_err());
    trail.adopt(table(1, &[&bad])).await;
    assert!(trail.is_lacking());
    assert_eq!(record(&trail).await, Err(NotTaken));
    let good = enabled("b", "file", ("file_path", "b.log"));
    trail.adopt(table(2, &[&bad, &good])).await;
    assert_eq!(record(&trail).await, Ok(()));
    // Tried again once it can be opened.
    fs::remove_dir(folder.path().join("a.log")).unwrap();
    trail.adopt(table(2, &[&bad, &good])).await;
    assert!(!trail.is_lacking());
    record(&trail).await.unwrap();
    // The other one may have been the first to take it.
    let began = std::time::Instant::now();
    while numbers(&folder.path().join("a.log")) != [1] {
        assert!(began.elapsed() < PATIENCE, "the device that was opened again took nothing");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn no_two_devices_write_to_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let trail = trail(folder.path());
    let one = enabled("one", "file", ("file_path", "a.log"));
    let other = enabled("other", "file", ("file_path", "a.log"));
    let error = trail.prepare(other, table(1, &[&one]), PROBE.to_vec()).await.unwrap_err();
    assert!(error.contains("same file"), "{error}");
}

#[tokio::test]
async fn a_required_device_that_takes_nothing_is_not_enabled() {
    let folder = tempfile::tempdir().unwrap();
    let trail = trail(folder.path());
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut device = enabled("far", "socket", ("address", &format!("tcp:{closed}")));
    let error = trail.prepare(device.clone(), DeviceTable::default(), PROBE.to_vec()).await.unwrap_err();
    assert!(error.contains("takes no record"), "{error}");
    device.options.insert("required".to_owned(), "false".to_owned());
    trail.prepare(device, DeviceTable::default(), PROBE.to_vec()).await.unwrap();
}
