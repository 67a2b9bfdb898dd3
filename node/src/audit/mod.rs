//! The audit trail: every request leaves a record before its effect and one before its answer (I9).
//!
//! ```text
//! service/recorded.rs -> Trail::record -> each device's queue -> its thread: chain, write, sync once for many
//! ```
//!
//! A device is a thread of its own with a bounded queue, so whatever it waits for, nobody waits for it longer than its
//! limit. A request goes on as soon as one required device has taken its record, and fails if none has.

mod device;
mod file;
mod heads;
mod http;
mod settings;
mod sink;
mod socket;
mod syslog;
pub mod verify;
mod wire;

use std::future::Future;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use conclave_core::audit::{Head, Salt};
use conclave_core::crypto::Barrier;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use device::Device;
pub use settings::{DeviceSettings, Settings, SettingsError, Written};

/// Why the trail cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the audit device \"{device}\" cannot be used: {reason}")]
pub struct OpenError {
    device: String,
    reason: String,
}

/// No required device took a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotTaken;

/// All devices of one node.
pub struct Trail {
    devices: Vec<Device>,
}

impl Trail {
    /// `None`: no device is set.
    ///
    /// # Errors
    /// [`OpenError`]: a required device cannot be opened.
    pub fn open(settings: &Settings, node: &str) -> Result<Option<Arc<Self>>, OpenError> {
        if settings.devices.is_empty() {
            return Ok(None);
        }
        let open = |device| Device::open(device, &settings.folder, node);
        let devices = settings.devices.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Some(Arc::new(Self { devices })))
    }

    /// The salts of all devices, in their order.
    pub fn salts(&self, barrier: &Barrier) -> Vec<Salt> {
        self.devices.iter().map(|device| barrier.audit_salt(device.name())).collect()
    }

    /// What each device is, without where it leads.
    pub fn devices(&self) -> impl Iterator<Item = (&str, &'static str, bool)> {
        self.devices.iter().map(|device| (device.name(), device.type_name(), device.is_required()))
    }

    /// How many devices there are.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// Has every device take what `records` makes for it, given its position.
    ///
    /// # Errors
    /// [`NotTaken`]: there are required devices, and none has taken it within its limit.
    pub async fn record(&self, mut records: impl FnMut(usize) -> Vec<Vec<u8>>) -> Result<(), NotTaken> {
        let mut waits = FuturesUnordered::new();
        let mut required = false;
        for (position, device) in self.devices.iter().enumerate() {
            required |= device.is_required();
            let taken = device.offer(records(position));
            if device.is_required() {
                waits.extend(taken.map(|taken| device.await_taken(taken)));
            }
        }
        if !required {
            return Ok(());
        }
        first_success(&mut waits).await
    }

    /// Has every device open again what it writes to: after a rotation.
    pub fn reopen(&self) {
        for device in &self.devices {
            device.reopen();
        }
    }

    /// Where each trail stands: what to note elsewhere, so that a trail that was written anew or cut is found.
    pub fn heads(&self) -> Vec<Head> {
        self.devices.iter().map(Device::head).collect()
    }

    /// Reads the gauges, just before they are written out.
    pub fn observe(&self) {
        for device in &self.devices {
            device.observe();
        }
    }
}

async fn first_success<F>(waits: &mut FuturesUnordered<F>) -> Result<(), NotTaken>
where
    F: Future<Output = bool>,
{
    while let Some(taken) = waits.next().await {
        if taken {
            return Ok(());
        }
    }
    Err(NotTaken)
}

/// What this machine's clock says, Unix nanoseconds: a record tells when things happened here.
pub fn wall_clock_ns() -> i128 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since_epoch.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests;
