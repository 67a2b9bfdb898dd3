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
mod options;
mod settings;
mod sink;
mod socket;
mod syslog;
pub mod verify;
mod wire;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use conclave_core::audit::{DeviceTable, Enabled, Head, Salt};
use conclave_core::crypto::Barrier;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;

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
    settings: Settings,
    node: String,
    /// Those of the settings.
    configured: Vec<Arc<Device>>,
    /// Those that were enabled through the API, by their accessors. Held while devices come and go.
    enabled: Mutex<Vec<(String, Arc<Device>)>>,
    /// Of the table that they were opened by.
    revision: AtomicU64,
    /// `None`: there is no device.
    devices: ArcSwapOption<Devices>,
}

/// All devices of one node, as they stand. Whoever writes records keeps the same ones from the first to the last.
pub struct Devices {
    list: Vec<Arc<Device>>,
    /// A required device that is enabled cannot be opened here.
    lacking: bool,
}

/// The salts of some devices, in their order.
pub struct Salts {
    /// Whose they are. It does not keep them: a device that was disabled must let go of its trail.
    devices: Weak<Devices>,
    list: Vec<Salt>,
}

impl Trail {
    /// # Errors
    /// [`OpenError`]: a device of the settings cannot be opened.
    pub fn open(settings: &Settings, node: &str) -> Result<Arc<Self>, OpenError> {
        let open = |device| Device::open(device, &settings.folder, node).map(Arc::new);
        let configured = settings.devices.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let trail = Self {
            settings: settings.clone(),
            node: node.to_owned(),
            configured,
            enabled: Mutex::default(),
            revision: AtomicU64::new(0),
            devices: ArcSwapOption::empty(),
        };
        trail.assemble(&[], false);
        Ok(Arc::new(trail))
    }

    /// Whether the operator's file has a device of this name.
    pub fn is_configured(&self, name: &str) -> bool {
        self.settings.devices.iter().any(|device| device.name == name)
    }

    /// The revision of the table that was adopted.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Opens a device that is to be enabled beside those of `table`, so that it is there when the state has it. One that is
    /// required must take a record first: else no request could be answered any more, not even the one that disables it.
    ///
    /// # Errors
    /// Why it cannot be: for whoever asked.
    pub async fn prepare(
        self: &Arc<Self>,
        enabled: Enabled,
        table: DeviceTable,
        probe: Vec<u8>,
    ) -> Result<(), String> {
        let trail = Arc::clone(self);
        let accessor = enabled.accessor.clone();
        let open = move || {
            let mut before = trail.settings.devices.clone();
            before.extend(table.devices.iter().filter_map(|other| trail.settings_of(other).ok()));
            let settings = trail.settings_of(&enabled).map_err(|error| error.to_string())?;
            settings::check(&settings, &before).map_err(|error| error.to_string())?;
            trail.open_device(&settings).map_err(|error| error.to_string())
        };
        let opened = tokio::task::spawn_blocking(open).await.unwrap_or_else(|error| Err(error.to_string()));
        let device = opened?;
        let taken = device.offer(vec![probe]);
        if device.is_required() && !device.await_taken(taken).await {
            return Err("the audit device takes no record: see the node's log for why".to_owned());
        }
        self.enabled.lock().push((accessor, device));
        Ok(())
    }

    /// Uses the devices of the settings and of `table` from now on. One that cannot be opened is lacking, and tried again.
    pub async fn adopt(self: &Arc<Self>, table: DeviceTable) {
        let trail = Arc::clone(self);
        // Opening waits for files.
        let adopted = tokio::task::spawn_blocking(move || trail.adopt_now(&table)).await;
        if let Err(error) = adopted {
            tracing::error!(%error, "the audit devices that are enabled could not be opened");
        }
    }

    fn adopt_now(&self, table: &DeviceTable) {
        let mut opened = self.enabled.lock();
        if table.revision < self.revision() {
            return;
        }
        let mut lacking = false;
        let mut used: Vec<(String, Arc<Device>)> = Vec::new();
        for enabled in table.devices.iter().filter(|enabled| !self.is_configured(&enabled.name)) {
            if let Some(known) = opened.iter().find(|(accessor, _)| *accessor == enabled.accessor) {
                used.push(known.clone());
                continue;
            }
            let settings = self.settings_of(enabled);
            let required = settings.as_ref().map_or(true, |settings| settings.required);
            let device = settings.map_err(|error| error.to_string()).and_then(|settings| {
                // Each node's configuration may differ.
                settings::check(&settings, &self.settings.devices).map_err(|error| error.to_string())?;
                self.open_device(&settings).map_err(|error| error.to_string())
            });
            match device {
                Ok(device) => used.push((enabled.accessor.clone(), device)),
                Err(error) => {
                    // Once, and not whenever it is tried again.
                    if table.revision > self.revision() {
                        let device = enabled.name.as_str();
                        tracing::error!(device, error, "an audit device that is enabled cannot be used here");
                    }
                    lacking |= required;
                }
            }
        }
        *opened = used;
        self.assemble(&opened, lacking);
        self.revision.store(table.revision, Ordering::Release);
    }

    fn settings_of(&self, enabled: &Enabled) -> Result<DeviceSettings, SettingsError> {
        options::settings(enabled, &self.settings.folder)
    }

    fn open_device(&self, settings: &DeviceSettings) -> Result<Arc<Device>, OpenError> {
        Device::open(settings, &self.settings.folder, &self.node).map(Arc::new)
    }

    fn assemble(&self, enabled: &[(String, Arc<Device>)], lacking: bool) {
        let mut list = self.configured.clone();
        list.extend(enabled.iter().map(|(_, device)| Arc::clone(device)));
        let some = !list.is_empty() || lacking;
        self.devices.store(some.then(|| Arc::new(Devices { list, lacking })));
    }

    /// Whether an enabled device should be tried again.
    pub fn is_lacking(&self) -> bool {
        self.devices.load().as_ref().is_some_and(|devices| devices.lacking)
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
        if let Some(salts) =
            cache.load_full().filter(|salts| Weak::as_ptr(&salts.devices) == Arc::as_ptr(self))
        {
            return salts;
        }
        let list = self.list.iter().map(|device| barrier.audit_salt(device.name())).collect();
        let salts = Arc::new(Salts { devices: Arc::downgrade(self), list });
        cache.store(Some(Arc::clone(&salts)));
        salts
    }

    /// Has every device take what `records` makes for it, given its position.
    ///
    /// # Errors
    /// [`NotTaken`]: there are required devices, and none has taken it within its limit.
    pub async fn record(&self, mut records: impl FnMut(usize) -> Vec<Vec<u8>>) -> Result<(), NotTaken> {
        if let ([device], false) = (&self.list[..], self.lacking) {
            let taken = device.offer(records(0));
            return done(!device.is_required() || device.await_taken(taken).await);
        }
        let mut waits = FuturesUnordered::new();
        let mut required = self.lacking;
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
mod enabled_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
