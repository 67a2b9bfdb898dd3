//! One device: a bounded queue, and the thread that writes what waits in it, many records at once.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use conclave_core::audit::{Chain, Head};
use conclave_faults::{Bug, planted};
use metrics::{Counter, Histogram, counter, gauge, histogram};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::OpenError;
use super::file::{FileSink, make_folder};
use super::heads::HeadFile;
use super::http::HttpSink;
use super::settings::{DeviceSettings, Target};
use super::sink::{Lines, Sink};
use super::socket::SocketSink;
use super::syslog::SyslogSink;

/// Requests that wait for one device at most.
const QUEUE_JOBS: usize = 8_192;
/// Memory for records that wait for one device, in bytes.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of records that are written at once, at most; a single larger one is written alone.
const GROUP_BYTES: usize = 1024 * 1024;

/// Who hands over so many at once comes again at once: what gathers meanwhile is one write and wakes each thread once.
const BUSY_JOBS: usize = 4;
/// How long records gather while many come, before they are written.
const GATHER_PAUSE: Duration = Duration::from_micros(100);

/// The records of one request that are handed over together.
struct Job {
    records: Vec<Vec<u8>>,
    bytes: usize,
    /// Of a device that nobody waits for: `None`.
    taken: Option<oneshot::Sender<bool>>,
}

pub struct Device {
    name: Arc<str>,
    type_name: &'static str,
    required: bool,
    limit: Duration,
    shared: Arc<Shared>,
}

/// What the device shares with its thread.
struct Shared {
    queue: Mutex<Queue>,
    /// There is something in the queue.
    filled: Condvar,
    state: State,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    reopen: bool,
    closed: bool,
}

/// What the device's thread tells.
struct State {
    began: Instant,
    /// When the thread began what it is busy with, in milliseconds since `began`, and one more; 0: it is idle.
    busy_since: AtomicU64,
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
        let head = head.filter(|_| !planted::is(Bug::TrailBegunAnew));
        let chain = Chain::resume(node, &settings.name, head.as_ref());
        let name = settings.name.clone();
        let state = State {
            began: Instant::now(),
            busy_since: AtomicU64::new(0),
            head: Mutex::new(chain.head()),
            records: counter!("conclave_audit_records_total", "device" => name.clone()),
            failures: counter!("conclave_audit_failures_total", "device" => name.clone()),
            seconds: histogram!("conclave_audit_seconds", "device" => name.clone()),
        };
        let shared = Arc::new(Shared { queue: Mutex::default(), filled: Condvar::new(), state });
        let worker = Worker {
            name,
            sink,
            chain,
            lines: Lines::default(),
            heads,
            is_file,
            shared: Arc::clone(&shared),
            failing: false,
        };
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || worker.run())?;
        Ok(Self {
            name: settings.name.as_str().into(),
            type_name: settings.target.type_name(),
            required: settings.required,
            limit: settings.limit,
            shared,
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
        self.shared.state.head.lock().clone()
    }

    /// Puts records into the queue. `None`: nobody waits for this device, or it has no room, or hangs.
    pub fn offer(&self, records: Vec<Vec<u8>>) -> Option<oneshot::Receiver<bool>> {
        let bytes: usize = records.iter().map(Vec::len).sum();
        let count = records.len() as u64;
        let (taken, waits) = self.required.then(oneshot::channel).unzip();
        let offered = !self.shared.state.is_busy_for(self.limit) && {
            let mut queue = self.shared.queue.lock();
            let fits = queue.jobs.len() < QUEUE_JOBS && queue.bytes + bytes <= QUEUE_BYTES;
            if fits {
                queue.bytes += bytes;
                queue.jobs.push_back(Job { records, bytes, taken });
            }
            fits
        };
        if !offered {
            self.shared.state.failures.increment(count);
            return None;
        }
        self.shared.filled.notify_one();
        waits
    }

    /// Whether the device took what was offered, within its limit.
    pub async fn await_taken(&self, taken: Option<oneshot::Receiver<bool>>) -> bool {
        let Some(taken) = taken else { return false };
        match tokio::time::timeout(self.limit, taken).await {
            Ok(taken) => taken.unwrap_or(false),
            Err(_) => {
                self.shared.state.failures.increment(1);
                false
            }
        }
    }

    pub fn reopen(&self) {
        self.shared.queue.lock().reopen = true;
        self.shared.filled.notify_one();
    }

    pub fn observe(&self) {
        let waiting = self.shared.queue.lock().jobs.len();
        gauge!("conclave_audit_queue_length", "device" => self.name.to_string()).set(waiting as f64);
    }
}

impl Drop for Device {
    /// Its thread ends once it has written what waits.
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.filled.notify_one();
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
        Target::Http { url, authorities } => {
            let sink = HttpSink::new(url, authorities.as_ref(), settings.limit)?;
            (Box::new(sink), heads.read(), false)
        }
    })
}

struct Worker {
    name: String,
    sink: Box<dyn Sink>,
    chain: Chain,
    /// Empty: its memory is used again.
    lines: Lines,
    heads: HeadFile,
    /// Its own lines tell where it stands.
    is_file: bool,
    shared: Arc<Shared>,
    failing: bool,
}

/// What the thread found to do.
struct Found {
    /// To be written at once.
    jobs: Vec<Job>,
    bytes: usize,
    /// Before that.
    reopen: bool,
}

impl Shared {
    /// Waits for something to do; `None`: there will be nothing more.
    fn next(&self) -> Option<Found> {
        let mut queue = self.queue.lock();
        while queue.jobs.is_empty() && !queue.reopen {
            if queue.closed {
                return None;
            }
            self.filled.wait(&mut queue);
        }
        // Under the lock: whoever finds room in the queue finds out as well since when the thread is busy.
        self.state.busy_since.store(self.state.now_ms(), Ordering::Relaxed);
        let mut found = Found { jobs: Vec::new(), bytes: 0, reopen: std::mem::take(&mut queue.reopen) };
        while found.bytes < GROUP_BYTES
            && let Some(job) = queue.jobs.pop_front()
        {
            found.bytes += job.bytes;
            found.jobs.push(job);
        }
        queue.bytes -= found.bytes;
        Some(found)
    }
}

impl Worker {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        while let Some(found) = shared.next() {
            if found.reopen {
                self.reopen();
            }
            let many = found.jobs.len() >= BUSY_JOBS;
            self.write(found.jobs);
            shared.state.busy_since.store(0, Ordering::Relaxed);
            if many {
                std::thread::sleep(GATHER_PAUSE);
            }
        }
    }

    fn write(&mut self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let before = self.chain.clone();
        let mut lines = std::mem::take(&mut self.lines);
        let mut waits = Vec::with_capacity(jobs.len());
        for Job { records, taken, .. } in jobs {
            for record in records {
                lines.add(|bytes| self.chain.link(&record, bytes));
            }
            waits.extend(taken);
        }
        let began = Instant::now();
        let written = self.sink.write(&lines);
        let state = &self.shared.state;
        state.seconds.record(began.elapsed().as_secs_f64());
        match &written {
            Ok(()) => {
                state.records.increment(lines.count() as u64);
                *state.head.lock() = self.chain.head();
                if !self.is_file {
                    self.note_head();
                }
                if std::mem::take(&mut self.failing) {
                    tracing::warn!(device = self.name, "an audit device works again");
                }
            }
            Err(error) => {
                state.failures.increment(lines.count() as u64);
                if self.sink.undoes() {
                    self.chain = before;
                }
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(device = self.name, %error, "an audit device fails");
                }
            }
        }
        for wait in waits {
            // Who gave up waiting has told its caller already.
            let _gave_up = wait.send(written.is_ok());
        }
        lines.clear(GROUP_BYTES);
        self.lines = lines;
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
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;
    use crate::audit::settings::Endpoint;

    /// Takes nothing until it is let go.
    struct Hanging(Receiver<()>);

    impl Sink for Hanging {
        fn write(&mut self, _lines: &Lines) -> io::Result<()> {
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
        assert!(!device.await_taken(Some(first)).await);
        while let Some(taken) = device.offer(record()) {
            assert!(!device.await_taken(Some(taken)).await);
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
