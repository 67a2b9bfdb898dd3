//! Where a device's lines go. A sink may wait: it has its device's thread to itself.

use std::io;

/// Lines that are written at once, each with its newline.
#[derive(Default)]
pub struct Lines {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Lines {
    /// Adds the line that `write` appends.
    pub fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    pub fn all(&self) -> &[u8] {
        &self.bytes
    }

    pub fn count(&self) -> usize {
        self.ends.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.bytes[begin..*end])
    }

    /// Keeps the memory, up to `kept_bytes` of it.
    pub fn clear(&mut self, kept_bytes: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(kept_bytes);
        self.ends.clear();
    }
}

/// Takes lines, whole and in order.
pub trait Sink: Send {
    /// Writes all lines, so that they outlast what the sink is set to outlast.
    ///
    /// # Errors
    /// What the system says; then see [`Sink::undoes`].
    fn write(&mut self, lines: &Lines) -> io::Result<()>;

    /// Whether lines that could not be written have left nothing behind, so that others may take their numbers.
    fn undoes(&self) -> bool {
        false
    }

    /// Begins anew with what it writes to.
    ///
    /// # Errors
    /// What the system says; then it goes on as before.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}
