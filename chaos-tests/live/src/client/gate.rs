//! Lets clients work or stand still together: what must not overlap their requests waits until none is on its way.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// More than the longest wait of a client for an answer.
const IDLE_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

#[derive(Default)]
pub struct Gate {
    shut: AtomicBool,
    inside: AtomicU64,
}

/// A request on its way.
pub struct Inside<'g>(&'g Gate);

impl Gate {
    /// Nothing while the gate is shut.
    pub fn enter(&self) -> Option<Inside<'_>> {
        self.inside.fetch_add(1, Ordering::SeqCst);
        let inside = Inside(self);
        // Looked at after it was counted: whoever shuts the gate either is seen here or waits for this one.
        (!self.shut.load(Ordering::SeqCst)).then_some(inside)
    }

    /// Returns when no request is on its way any more.
    pub async fn shut(&self) -> anyhow::Result<()> {
        self.shut.store(true, Ordering::SeqCst);
        let began = Instant::now();
        while self.inside.load(Ordering::SeqCst) > 0 {
            anyhow::ensure!(began.elapsed() < IDLE_MAX, "clients still wait for answers after {IDLE_MAX:?}");
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    pub fn open(&self) {
        self.shut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gate_is_shut_when_the_last_has_left() {
        let gate = Gate::default();
        let inside = gate.enter().expect("it is open");
        let shut = gate.shut();
        tokio::pin!(shut);
        assert!(tokio::time::timeout(POLL * 3, &mut shut).await.is_err());
        assert!(gate.enter().is_none());
        drop(inside);
        shut.await.unwrap();
        gate.open();
        assert!(gate.enter().is_some());
    }
}
