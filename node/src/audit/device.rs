//! One device: a bounded queue, and the thread that writes what waits in it, many records at once.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use conclave_core::audit::{Chain, Head};
use metrics::{Counter, Histogram, counter, gauge, histogram};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::OpenError;
use super::file::{FileSink, make_folder};
use super::heads::HeadFile;
use super::http::HttpSink;
use super::settings::{DeviceSettings, Target};
use super::sink::Sink;
use super::socket::SocketSink;
use super::syslog::SyslogSink;

/// Requests that wait for one device at most.
const QUEUE_JOBS: usize = 8_192;
/// Memory for records that wait for one device, in bytes.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of records that are written at once, at most; a single larger one is written alone.
const GROUP_BYTES: usize = 1024 * 1024;

/// Requests whose records are written at once, at most.
const GROUP_JOBS: usize = 1_024;

enum Job {
    Write { records: Vec<Vec<u8>>, bytes: usize, taken: oneshot::Sender<bool> },
    Reopen,
}

pub struct Device {
    name: Arc<str>,
    type_name: &'static str,
    required: bool,
    limit: Duration,
    queue: SyncSender<Job>,
    state: Arc<State>,
}

/// What the device's thread tells.
struct State {
    began: Instant,
    /// When the thread began what it is busy with, in milliseconds since `began`, and one more; 0: it is idle.
    busy_since: AtomicU64,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    head: Mutex<Head>,
    records: Counter,
    failures: Counter,
    seconds: Histogram,
}

impl Device {
    pub fn open(settings: &DeviceSettings, folder: &Path, node: &str) -> Result<Self, OpenError> {
        let fault = |error: io::Error| OpenError { device: settings.name.clone(), reason: error.to_string() };
        make_folder(folder).map_err(fault)?;
        let heads = HeadFile::open(folder, &settings.name).map_err(fault)?;
        let opened = open_sink(settings, folder, node, &heads).map_err(fault)?;
        Self::start(settings, node, heads, opened).map_err(fault)
    }

    fn start(settings: &DeviceSettings, node: &str, heads: HeadFile, opened: Opened) -> io::Result<Self> {
        let (sink, head, is_file) = opened;
        let chain = Chain::resume(node, &settings.name, head.as_ref());
        let name = settings.name.clone();
        let state = Arc::new(State {
            began: Instant::now(),
            busy_since: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            head: Mutex::new(chain.head()),
            records: counter!("conclave_audit_records_total", "device" => name.clone()),
            failures: counter!("conclave_audit_failures_total", "device" => name.clone()),
            seconds: histogram!("conclave_audit_seconds", "device" => name.clone()),
        });
        let (queue, jobs) = sync_channel(QUEUE_JOBS);
        let worker = Worker { name, sink, chain, heads, is_file, state: Arc::clone(&state), failing: false };
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || worker.run(&jobs))?;
        Ok(Self {
            name: settings.name.as_str().into(),
            type_name: settings.target.type_name(),
            required: settings.required,
            limit: settings.limit,
            queue,
            state,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn type_name(&self) -> &'static str {
        self.type_name
    }

    pub fn is_required(&self) -> bool {
        self.required
    }

    pub fn head(&self) -> Head {
        self.state.head.lock().clone()
    }

    /// Puts records into the queue. `None`: there is no room, or the device hangs.
    pub fn offer(&self, records: Vec<Vec<u8>>) -> Option<oneshot::Receiver<bool>> {
        let bytes: usize = records.iter().map(Vec::len).sum();
        let state = &self.state;
        if state.is_busy_for(self.limit) || state.waiting_bytes.load(Ordering::Relaxed) + bytes > QUEUE_BYTES
        {
            state.failures.increment(records.len() as u64);
            return None;
        }
        let (taken, waits) = oneshot::channel();
        let count = records.len() as u64;
        state.waiting.fetch_add(1, Ordering::Relaxed);
        state.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.queue.try_send(Job::Write { records, bytes, taken }).is_err() {
            state.left(bytes);
            state.failures.increment(count);
            return None;
        }
        Some(waits)
    }

    /// Whether the device took what was offered, within its limit.
    pub async fn await_taken(&self, taken: oneshot::Receiver<bool>) -> bool {
        match tokio::time::timeout(self.limit, taken).await {
            Ok(taken) => taken.unwrap_or(false),
            Err(_) => {
                self.state.failures.increment(1);
                false
            }
        }
    }

    pub fn reopen(&self) {
        if self.queue.try_send(Job::Reopen).is_err() {
            tracing::error!(device = %self.name, "an audit device has no room to be told to reopen: send SIGHUP again");
        }
    }

    pub fn observe(&self) {
        let waiting = self.state.waiting.load(Ordering::Relaxed);
        gauge!("conclave_audit_queue_length", "device" => self.name.to_string()).set(waiting as f64);
    }
}

impl State {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Whoever comes after the first that waited in vain need not wait as well.
    fn is_busy_for(&self, limit: Duration) -> bool {
        let since = self.busy_since.load(Ordering::Relaxed);
        since != 0
            && self.now_ms().saturating_sub(since) > u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
    }

    fn left(&self, bytes: usize) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

type Opened = (Box<dyn Sink>, Option<Head>, bool);

/// The sink, where its trail stands, and whether that can be read from the trail itself.
fn open_sink(settings: &DeviceSettings, folder: &Path, node: &str, heads: &HeadFile) -> io::Result<Opened> {
    Ok(match &settings.target {
        Target::File { name, sync } => {
            let sink = FileSink::open(folder.join(name), *sync)?;
            let head = match sink.head() {
                Ok(head) => head.or_else(|| heads.read()),
                Err(error) => {
                    tracing::error!(%error, device = settings.name, "a trail begins anew: verify what is there");
                    None
                }
            };
            (Box::new(sink), head, true)
        }
        Target::Syslog { endpoint } => {
            (Box::new(SyslogSink::new(endpoint.clone(), settings.limit, node)), heads.read(), false)
        }
        Target::Socket { endpoint } => {
            (Box::new(SocketSink::new(endpoint.clone(), settings.limit)), heads.read(), false)
        }
        Target::Http { url, ca_file } => {
            let sink = HttpSink::new(url, ca_file.as_deref(), settings.limit)?;
            (Box::new(sink), heads.read(), false)
        }
    })
}

struct Worker {
    name: String,
    sink: Box<dyn Sink>,
    chain: Chain,
    heads: HeadFile,
    /// Its own lines tell where it stands.
    is_file: bool,
    state: Arc<State>,
    failing: bool,
}

/// Records that are written at once, and who waits for them.
#[derive(Default)]
struct Group {
    lines: Vec<Vec<u8>>,
    bytes: usize,
    waits: Vec<oneshot::Sender<bool>>,
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            self.state.busy_since.store(self.state.now_ms(), Ordering::Relaxed);
            let before = self.chain.clone();
            let mut group = Group::default();
            let mut next = Some(first);
            let mut reopen = false;
            while let Some(job) = next.take() {
                match job {
                    Job::Write { records, bytes, taken } => {
                        self.state.left(bytes);
                        group.bytes += bytes;
                        group.lines.extend(records.into_iter().map(|record| self.chain.link(record)));
                        group.waits.push(taken);
                    }
                    Job::Reopen => {
                        reopen = true;
                        break;
                    }
                }
                if group.bytes < GROUP_BYTES && group.waits.len() < GROUP_JOBS {
                    next = jobs.try_recv().ok();
                }
            }
            self.write(group, before);
            if reopen {
                self.reopen();
            }
            self.state.busy_since.store(0, Ordering::Relaxed);
        }
    }

    fn write(&mut self, group: Group, before: Chain) {
        if group.lines.is_empty() {
            return;
        }
        let began = Instant::now();
        let written = self.sink.write(&group.lines);
        self.state.seconds.record(began.elapsed().as_secs_f64());
        match &written {
            Ok(()) => {
                self.state.records.increment(group.lines.len() as u64);
                *self.state.head.lock() = self.chain.head();
                if !self.is_file {
                    self.note_head();
                }
                if std::mem::take(&mut self.failing) {
                    tracing::warn!(device = self.name, "an audit device works again");
                }
            }
            Err(error) => {
                self.state.failures.increment(group.lines.len() as u64);
                if self.sink.undoes() {
                    self.chain = before;
                }
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(device = self.name, %error, "an audit device fails");
                }
            }
        }
        for wait in group.waits {
            // Who gave up waiting has told its caller already.
            let _gave_up = wait.send(written.is_ok());
        }
    }

    fn note_head(&self) {
        if let Err(error) = self.heads.write(&self.chain.head()) {
            tracing::warn!(device = self.name, %error, "where an audit trail stands could not be noted");
        }
    }

    fn reopen(&mut self) {
        // The new file may be empty when the node ends.
        self.note_head();
        match self.sink.reopen() {
            Ok(()) => tracing::info!(device = self.name, "an audit device was opened again"),
            Err(error) => {
                tracing::error!(device = self.name, %error, "an audit device cannot be opened again")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::settings::Endpoint;

    /// Takes nothing until it is let go.
    struct Hanging(Receiver<()>);

    impl Sink for Hanging {
        fn write(&mut self, _lines: &[Vec<u8>]) -> io::Result<()> {
            self.0.recv().map_err(io::Error::other)
        }
    }

    fn hanging(limit: Duration) -> (tempfile::TempDir, SyncSender<()>, Device) {
        let folder = tempfile::tempdir().unwrap();
        let settings = DeviceSettings {
            name: "a".to_owned(),
            required: true,
            limit,
            target: Target::Socket { endpoint: Endpoint::Tcp("nowhere:1".to_owned()) },
        };
        let (release, released) = sync_channel(1);
        let heads = HeadFile::open(folder.path(), "a").unwrap();
        let device =
            Device::start(&settings, "n1", heads, (Box::new(Hanging(released)), None, false)).unwrap();
        (folder, release, device)
    }

    fn record() -> Vec<Vec<u8>> {
        vec![b"{\"a\":1}".to_vec()]
    }

    #[tokio::test]
    async fn once_a_device_hangs_nobody_waits_for_it_until_it_moves_again() {
        let (_folder, release, device) = hanging(Duration::from_millis(50));
        let first = device.offer(record()).unwrap();
        assert!(!device.await_taken(first).await);
        while let Some(taken) = device.offer(record()) {
            assert!(!device.await_taken(taken).await);
        }
        for _ in 0..1000 {
            assert!(device.offer(record()).is_none(), "it was waited for again");
        }
        drop(release);
        while device.offer(record()).is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn what_waits_for_a_device_is_bounded_in_number_and_in_bytes() {
        let (_folder, _release, device) = hanging(Duration::from_secs(3600));
        let fits = (0..2 * QUEUE_JOBS).take_while(|_| device.offer(record()).is_some()).count();
        // The thread may have taken some of them before it began to hang.
        assert!((QUEUE_JOBS..2 * QUEUE_JOBS).contains(&fits), "{fits}");
        let (_folder, _release, device) = hanging(Duration::from_secs(3600));
        let large = || vec![[b"{\"a\":1", vec![b' '; 8 * 1024 * 1024].as_slice(), b"}"].concat()];
        assert!((7..=16).contains(&(0..100).take_while(|_| device.offer(large()).is_some()).count()));
    }
}
