//! The audit trail: every request leaves a record before its effect and one before its answer (I9).
//!
//! ```text
//! service/recorded.rs -> Devices::record -> each device's queue -> its thread: chain, write, sync once for many
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

use arc_swap::ArcSwapOption;
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

/// The trail of one node.
pub struct Trail {
    /// `None`: there is no device.
    devices: ArcSwapOption<Devices>,
}

/// All devices of one node, as they stand. Whoever writes records keeps the same ones from the first to the last.
pub struct Devices {
    list: Vec<Arc<Device>>,
}

/// The salts of some devices, in their order.
pub struct Salts {
    /// Whose they are.
    devices: Arc<Devices>,
    list: Vec<Salt>,
}

impl Trail {
    /// # Errors
    /// [`OpenError`]: a required device cannot be opened.
    pub fn open(settings: &Settings, node: &str) -> Result<Arc<Self>, OpenError> {
        let open = |device| Device::open(device, &settings.folder, node).map(Arc::new);
        let list = settings.devices.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let devices = (!list.is_empty()).then(|| Arc::new(Devices { list }));
        Ok(Arc::new(Self { devices: devices.into() }))
    }

    /// The devices, if there are any.
    pub fn devices(&self) -> Option<Arc<Devices>> {
        self.devices.load_full()
    }

    /// Has every device open again what it writes to: after a rotation.
    pub fn reopen(&self) {
        self.each(Device::reopen);
    }

    /// Where each trail stands: what to note elsewhere, so that a trail that was written anew or cut is found.
    pub fn heads(&self) -> Vec<Head> {
        let mut heads = Vec::new();
        self.each(|device| heads.push(device.head()));
        heads
    }

    /// Reads the gauges, just before they are written out.
    pub fn observe(&self) {
        self.each(Device::observe);
    }

    fn each(&self, visit: impl FnMut(&Device)) {
        if let Some(devices) = &*self.devices.load() {
            devices.list.iter().map(Arc::as_ref).for_each(visit);
        }
    }
}

impl Devices {
    /// What each device is, without where it leads.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'static str, bool)> {
        self.list.iter().map(|device| (device.name(), device.type_name(), device.is_required()))
    }

    /// How many devices there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The salts of these devices: from the cache, if it has them.
    pub fn salts(self: &Arc<Self>, barrier: &Barrier, cache: &ArcSwapOption<Salts>) -> Arc<Salts> {
        if let Some(salts) = cache.load_full().filter(|salts| Arc::ptr_eq(&salts.devices, self)) {
            return salts;
        }
        let list = self.list.iter().map(|device| barrier.audit_salt(device.name())).collect();
        let salts = Arc::new(Salts { devices: Arc::clone(self), list });
        cache.store(Some(Arc::clone(&salts)));
        salts
    }

    /// Has every device take what `records` makes for it, given its position.
    ///
    /// # Errors
    /// [`NotTaken`]: there are required devices, and none has taken it within its limit.
    pub async fn record(&self, mut records: impl FnMut(usize) -> Vec<Vec<u8>>) -> Result<(), NotTaken> {
        if let [device] = &self.list[..] {
            let taken = device.offer(records(0));
            return done(!device.is_required() || device.await_taken(taken).await);
        }
        let mut waits = FuturesUnordered::new();
        let mut required = false;
        for (position, device) in self.list.iter().enumerate() {
            let taken = device.offer(records(position));
            if device.is_required() {
                required = true;
                waits.push(device.await_taken(taken));
            }
        }
        done(!required || first_success(&mut waits).await)
    }
}

impl Salts {
    pub fn list(&self) -> &[Salt] {
        &self.list
    }
}

fn done(taken: bool) -> Result<(), NotTaken> {
    if taken { Ok(()) } else { Err(NotTaken) }
}

async fn first_success<F>(waits: &mut FuturesUnordered<F>) -> bool
where
    F: Future<Output = bool>,
{
    while let Some(taken) = waits.next().await {
        if taken {
            return true;
        }
    }
    false
}

/// What this machine's clock says, Unix nanoseconds: a record tells when things happened here.
pub fn wall_clock_ns() -> i128 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since_epoch.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests;
