//! Keeps the history: in memory for the judge, and line by line in a file, so that it survives a run that is ended.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

use conclave_oracle::history::Operation;
use parking_lot::Mutex;

pub struct Recorder {
    began: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    operations: Vec<Operation>,
    file: BufWriter<File>,
}

impl Recorder {
    pub fn new(path: &Path) -> anyhow::Result<Self> {
        let inner = Inner { operations: Vec::new(), file: BufWriter::new(File::create(path)?) };
        Ok(Self { began: Instant::now(), inner: Mutex::new(inner) })
    }

    /// Microseconds since the run began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).expect("no run lasts for ages")
    }

    pub fn record(&self, operation: Operation) -> anyhow::Result<()> {
        let line = serde_json::to_vec(&operation)?;
        let mut inner = self.inner.lock();
        inner.file.write_all(&line)?;
        inner.file.write_all(b"\n")?;
        inner.operations.push(operation);
        Ok(())
    }

    /// All so far, on disk too.
    pub fn operations(&self) -> anyhow::Result<Vec<Operation>> {
        let mut inner = self.inner.lock();
        inner.file.flush()?;
        Ok(inner.operations.clone())
    }
}
