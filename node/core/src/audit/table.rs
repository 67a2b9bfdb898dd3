//! The audit devices that were enabled through the API: one record of the replicated state, so that every node opens the
//! same ones. What their options mean is for the server to say.

use std::collections::BTreeMap;

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::crypto::{Barrier, Kind, plain_key};
use crate::error::Error;
use crate::fields;
use crate::plan::Context;
use crate::stored;
use crate::view::View;

/// Devices that can be enabled at most: each is a thread at every node.
const DEVICES_MAX: usize = 16;
/// Options of one device at most, and the longest of their names, values and of a description, in bytes.
const OPTIONS_MAX: usize = 32;
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// What the record is sealed with for a path.
const PATH: &str = "audit-devices";
const IN_USE: &str = "path already in use at";

/// A device, as it was asked for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enabled {
    /// Tells it from others that had its name before.
    pub accessor: String,
    pub name: String,
    pub r#type: String,
    pub description: String,
    pub options: BTreeMap<String, String>,
}

/// All of them.
#[derive(Default)]
pub struct DeviceTable {
    /// 0: there has never been any.
    pub revision: u64,
    pub devices: Vec<Enabled>,
}

impl Enabled {
    /// Reads a request to enable the device `name`.
    ///
    /// # Errors
    /// [`Error::Invalid`]: fields of other kinds, or one that is not supported.
    pub fn asked(
        name: &str,
        body: &Map<String, Value>,
        rng: &mut dyn rand::CryptoRng,
    ) -> Result<Self, Error> {
        const KNOWN: [&str; 4] = ["type", "description", "options", "local"];
        if let Some(unknown) = body.keys().find(|field| !KNOWN.contains(&field.as_str())) {
            return Err(Error::invalid(format!("the field {unknown:?} is not supported for audit devices")));
        }
        if fields::boolean(body, "local")?.unwrap_or(false) {
            return Err(Error::invalid("an audit device of one node only is set in its configuration file"));
        }
        let r#type = fields::text(body, "type")?.filter(|text| !text.is_empty());
        let r#type = r#type.ok_or_else(|| Error::invalid("the type of the audit device is missing"))?;
        let mut options = BTreeMap::new();
        for (option, value) in fields::object(body, "options")?.into_iter().flatten() {
            let text = match value {
                Value::Bool(value) => value.to_string(),
                value => fields::text_of(value)
                    .ok_or_else(|| Error::invalid(format!("the option {option:?} must be text")))?,
            };
            options.insert(option.clone(), text);
        }
        let description = fields::text(body, "description")?.unwrap_or_default();
        let texts = options.iter().flat_map(|(option, value)| [option, value]).chain([&description, &r#type]);
        if options.len() > OPTIONS_MAX || texts.into_iter().any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(Error::invalid("the audit device has too many options, or too long ones"));
        }
        let accessor = format!("audit_{type}_{:08x}", rng.next_u32());
        Ok(Self { accessor, name: name.to_owned(), r#type, description, options })
    }
}

/// Where the record is.
pub fn devices_key() -> Vec<u8> {
    plain_key(Kind::AuditDevices)
}

/// All devices that are enabled.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`]: the record cannot be read.
pub fn devices(view: &dyn View, barrier: &Barrier) -> Result<DeviceTable, Error> {
    let found = stored::load(view, barrier, &devices_key(), 0)?;
    Ok(found.map_or_else(DeviceTable::default, |found| DeviceTable {
        revision: found.revision,
        devices: found.value,
    }))
}

/// Enables `device`.
///
/// # Errors
/// [`Error::Invalid`]: there is one of its name, or there are too many. Else as [`devices`].
pub fn plan_enable(ctx: &mut Context<'_>, device: &Enabled) -> Result<Txn, Error> {
    let mut table = devices(ctx.view, ctx.barrier)?;
    if table.devices.iter().any(|other| other.name == device.name) {
        return Err(in_use(&device.name));
    }
    if table.devices.len() >= DEVICES_MAX {
        return Err(Error::invalid(format!("at most {DEVICES_MAX} audit devices can be enabled")));
    }
    table.devices.push(device.clone());
    write(ctx, &table)
}

/// Disables the device of this name; `None`: there is none.
///
/// # Errors
/// As [`devices`].
pub fn plan_disable(ctx: &mut Context<'_>, name: &str) -> Result<Option<Txn>, Error> {
    let mut table = devices(ctx.view, ctx.barrier)?;
    let before = table.devices.len();
    table.devices.retain(|device| device.name != name);
    (table.devices.len() < before).then(|| write(ctx, &table)).transpose()
}

/// Why there cannot be another device of this name.
pub fn in_use(name: &str) -> Error {
    Error::invalid(format!("{IN_USE} {name}/"))
}

fn write(ctx: &mut Context<'_>, table: &DeviceTable) -> Result<Txn, Error> {
    let key = devices_key();
    let mut txn = Txn::default();
    txn.require(key.clone(), table.revision);
    stored::put(ctx, &mut txn, &key, PATH, &table.devices, 0)?;
    Ok(txn)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crypto::testing::seeded;
    use crate::engine::testing::Bench;

    fn asked(name: &str, body: Value) -> Result<Enabled, Error> {
        Enabled::asked(name, body.as_object().unwrap(), &mut seeded(1))
    }

    fn file(name: &str) -> Enabled {
        asked(name, json!({ "type": "file", "options": { "file_path": "a.log", "sync": false } })).unwrap()
    }

    fn names(bench: &mut Bench) -> Vec<String> {
        let ctx = bench.context();
        devices(ctx.view, ctx.barrier).unwrap().devices.into_iter().map(|device| device.name).collect()
    }

    #[test]
    fn a_device_is_there_from_being_enabled_until_it_is_disabled() {
        let mut bench = Bench::new();
        for name in ["a", "b"] {
            let txn = plan_enable(&mut bench.context(), &file(name)).unwrap();
            bench.view.apply(&txn).unwrap();
        }
        assert_eq!(names(&mut bench), ["a", "b"]);
        assert_eq!(plan_enable(&mut bench.context(), &file("a")).unwrap_err(), in_use("a"));
        let txn = plan_disable(&mut bench.context(), "a").unwrap().unwrap();
        bench.view.apply(&txn).unwrap();
        assert_eq!(names(&mut bench), ["b"]);
        assert!(plan_disable(&mut bench.context(), "a").unwrap().is_none());
    }

    #[test]
    fn of_two_changes_at_once_neither_undoes_the_other() {
        let mut bench = Bench::new();
        let one = plan_enable(&mut bench.context(), &file("a")).unwrap();
        let other = plan_enable(&mut bench.context(), &file("b")).unwrap();
        assert!(bench.view.apply(&one).is_ok());
        assert!(bench.view.apply(&other).is_err());
    }

    #[test]
    fn what_is_not_supported_is_refused_and_never_ignored() {
        assert_eq!(file("a").options["sync"], "false");
        for body in [
            json!({}),
            json!({ "type": "" }),
            json!({ "type": "file", "local": true }),
            json!({ "type": "file", "seal_wrap": true }),
            json!({ "type": "file", "options": { "file_path": ["a"] } }),
            json!({ "type": "file", "options": "file_path=a" }),
            json!({ "type": "file", "description": "x".repeat(TEXT_BYTES_MAX + 1) }),
        ] {
            assert!(asked("a", body.clone()).is_err(), "{body}");
        }
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let mut bench = Bench::new();
        for number in 0..DEVICES_MAX {
            let txn = plan_enable(&mut bench.context(), &file(&format!("d{number}"))).unwrap();
            bench.view.apply(&txn).unwrap();
        }
        assert!(plan_enable(&mut bench.context(), &file("more")).is_err());
    }
}
