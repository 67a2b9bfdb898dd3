//! Where a device's lines go. A sink may wait: it has its device's thread to itself.

use std::io;

/// Takes lines, whole and in order.
pub trait Sink: Send {
    /// Writes all lines, each with its newline, so that they outlast what the sink is set to outlast.
    ///
    /// # Errors
    /// What the system says; then see [`Sink::undoes`].
    fn write(&mut self, lines: &[Vec<u8>]) -> io::Result<()>;

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
