//! Which devices there are, as the operator's file names them; `options` reads those that were enabled through the API.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use serde::Deserialize;

/// How long a record may take, by default and at most, in milliseconds.
const LIMIT_MS: u64 = 2_000;
const LIMIT_MS_MAX: u64 = 60_000;
/// Longest name of a device, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Devices at most: each is a thread.
const DEVICES_MAX: usize = 16;
/// The name of the device that `audit_file` sets up.
const FILE_DEVICE: &str = "file";
/// Where the trails lie in the data directory, unless another folder is named.
const FOLDER: &str = "audit";

#[derive(Debug, thiserror::Error)]
#[error("audit: {0}")]
pub struct SettingsError(String);

/// The folder of all trails, and the devices.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub folder: PathBuf,
    pub devices: Vec<DeviceSettings>,
}

#[derive(Debug, Clone)]
pub struct DeviceSettings {
    pub name: String,
    pub required: bool,
    /// How long a request waits for it at most.
    pub limit: Duration,
    pub target: Target,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A file in the audit folder. `sync`: on disk before a request goes on, not only with the system.
    File {
        name: String,
        sync: bool,
    },
    Syslog {
        endpoint: Endpoint,
    },
    Socket {
        endpoint: Endpoint,
    },
    /// `authorities`: for TLS.
    Http {
        url: String,
        authorities: Option<Authorities>,
    },
}

impl Target {
    /// What Vault calls it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Syslog { .. } => "syslog",
            Self::Socket { .. } => "socket",
            Self::Http { .. } => "http",
        }
    }
}

/// Where lines are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    Unix(PathBuf),
    Udp(String),
    Tcp(String),
    Tls { authority: String, authorities: Authorities },
}

/// By whom a device's certificate must be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorities {
    /// By those in this file (PEM).
    File(PathBuf),
    /// By these (PEM).
    Text(String),
    /// By whomever the node's system trusts.
    System,
}

impl Authorities {
    /// As PEM; `None`: those of the system.
    pub fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::File(path) => fs::read(path).map(Some),
            Self::Text(text) => Ok(Some(text.clone().into_bytes())),
            Self::System => Ok(None),
        }
    }
}

/// One `[[audit]]` of the settings' file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    pub(super) r#type: Type,
    /// The type's name, if there is one device of it.
    pub(super) name: Option<String>,
    /// A file's name in the audit folder.
    pub(super) path: Option<String>,
    /// `unix:/dev/log`, `udp:host:port`, `tcp:host:port`, `tls:host:port`, or a URL for `http`.
    pub(super) address: Option<String>,
    /// The authorities to trust (PEM), for TLS, in a file of the node's; those of its system, if none are named.
    pub(super) ca_file: Option<PathBuf>,
    /// The same as a text, which is how they come through the API.
    #[serde(skip)]
    pub(super) ca_pem: Option<String>,
    pub(super) required: Option<bool>,
    pub(super) limit_ms: Option<u64>,
    pub(super) sync: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Type {
    File,
    Syslog,
    Socket,
    Http,
}

impl Settings {
    /// `file`: the short way to set up one required file.
    ///
    /// # Errors
    /// [`SettingsError`]: what is written makes no sense.
    pub fn complete(
        folder: Option<PathBuf>,
        file: Option<String>,
        written: Vec<Written>,
        data_dir: &Path,
    ) -> Result<Self, SettingsError> {
        let short = file.map(|name| DeviceSettings {
            name: FILE_DEVICE.to_owned(),
            required: true,
            limit: Duration::from_millis(LIMIT_MS),
            target: Target::File { name, sync: true },
        });
        let devices = short.map(Ok).into_iter().chain(written.into_iter().map(Written::complete));
        let devices: Vec<_> = devices.collect::<Result<_, _>>()?;
        if devices.len() > DEVICES_MAX {
            return Err(SettingsError(format!("there can be at most {DEVICES_MAX} devices")));
        }
        for (index, device) in devices.iter().enumerate() {
            check(device, &devices[..index])?;
        }
        Ok(Self { folder: folder.unwrap_or_else(|| data_dir.join(FOLDER)), devices })
    }
}

impl Written {
    pub(super) fn complete(self) -> Result<DeviceSettings, SettingsError> {
        let type_name = match self.r#type {
            Type::File => FILE_DEVICE,
            Type::Syslog => "syslog",
            Type::Socket => "socket",
            Type::Http => "http",
        };
        let name = self.name.clone().unwrap_or_else(|| type_name.to_owned());
        let limit_ms = self.limit_ms.unwrap_or(LIMIT_MS);
        if !(1..=LIMIT_MS_MAX).contains(&limit_ms) {
            return Err(fault(&name, &format!("limit_ms must be 1 to {LIMIT_MS_MAX}")));
        }
        Ok(DeviceSettings {
            required: self.required.unwrap_or(true),
            limit: Duration::from_millis(limit_ms),
            target: self.target(&name)?,
            name,
        })
    }

    fn target(self, name: &str) -> Result<Target, SettingsError> {
        let foreign = match self.r#type {
            Type::File => self.address.is_some() || self.ca_file.is_some() || self.ca_pem.is_some(),
            _ => self.path.is_some() || self.sync.is_some(),
        };
        if foreign {
            return Err(fault(name, "it has a setting that its type does not know"));
        }
        if self.r#type == Type::File {
            let path =
                self.path.ok_or_else(|| fault(name, "path is not set: the file's name in audit_dir"))?;
            return Ok(Target::File { name: path, sync: self.sync.unwrap_or(true) });
        }
        let address = self.address.ok_or_else(|| fault(name, "address is not set"))?;
        let named = self.ca_file.map(Authorities::File).or(self.ca_pem.map(Authorities::Text));
        if self.r#type == Type::Http {
            let authorities = match (address.split_once("://"), named) {
                (Some(("https", _)), named) => Some(named.unwrap_or(Authorities::System)),
                (Some(("http", _)), None) => None,
                (Some(("http", _)), Some(_)) => {
                    return Err(fault(name, "http has no authorities to trust: use https"));
                }
                _ => return Err(fault(name, "address must be a URL")),
            };
            return Ok(Target::Http { url: address, authorities });
        }
        let endpoint = endpoint(name, &address, named)?;
        Ok(match self.r#type {
            Type::Syslog => Target::Syslog { endpoint },
            _ => Target::Socket { endpoint },
        })
    }
}

fn endpoint(name: &str, address: &str, named: Option<Authorities>) -> Result<Endpoint, SettingsError> {
    let (scheme, rest) = address.split_once(':').unwrap_or((address, ""));
    let is_host =
        rest.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    match (scheme, named) {
        ("unix", None) if rest.starts_with('/') => Ok(Endpoint::Unix(rest.into())),
        ("udp", None) if is_host => Ok(Endpoint::Udp(rest.to_owned())),
        ("tcp", None) if is_host => Ok(Endpoint::Tcp(rest.to_owned())),
        ("tls", named) if is_host => {
            let authorities = named.unwrap_or(Authorities::System);
            Ok(Endpoint::Tls { authority: rest.to_owned(), authorities })
        }
        (_, Some(_)) => Err(fault(name, "only tls has authorities to trust")),
        _ => Err(fault(name, "address must be unix:/path, udp:host:port, tcp:host:port or tls:host:port")),
    }
}

pub(super) fn check(device: &DeviceSettings, before: &[DeviceSettings]) -> Result<(), SettingsError> {
    let name = device.name.as_str();
    // It stands in every line, in metrics and in a file's name.
    if !is_plain_name(name) {
        return Err(fault(
            name,
            "a name must be 1 to 64 letters, digits, '-', '_' or '.', and begin with none of those",
        ));
    }
    if before.iter().any(|other| other.name == name) {
        return Err(fault(name, "there is another device of this name"));
    }
    if let Target::File { name: path, .. } = &device.target {
        if !is_plain_name(path) || path.ends_with(".head") {
            return Err(fault(
                name,
                "path must be a plain file name: the file lies in audit_dir and nowhere else",
            ));
        }
        let same =
            |other: &DeviceSettings| matches!(&other.target, Target::File { name, .. } if name == path);
        if before.iter().any(same) {
            return Err(fault(name, "another device writes to the same file"));
        }
    }
    Ok(())
}

fn is_plain_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && name.as_bytes()[0].is_ascii_alphanumeric()
}

pub(super) fn fault(name: &str, sentence: &str) -> SettingsError {
    SettingsError(format!("device \"{name}\": {sentence}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        audit: Vec<Written>,
    }

    fn settings(text: &str) -> Result<Settings, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        Settings::complete(None, None, file.audit, Path::new("/d")).map_err(|error| error.to_string())
    }

    #[test]
    fn devices_are_required_unless_it_is_said_otherwise() {
        let text = "[[audit]]\ntype = 'file'\npath = 'a.log'\n[[audit]]\ntype = 'syslog'\naddress = 'unix:/dev/log'\n\
                    required = false\nlimit_ms = 50";
        let settings = settings(text).unwrap();
        assert_eq!(settings.folder, Path::new("/d/audit"));
        let [file, syslog] = &settings.devices[..] else { panic!("two devices") };
        assert!(file.required && !syslog.required);
        assert_eq!(file.target, Target::File { name: "a.log".to_owned(), sync: true });
        assert_eq!((syslog.name.as_str(), syslog.limit), ("syslog", Duration::from_millis(50)));
    }

    #[test]
    fn the_short_way_is_one_required_file() {
        let settings =
            Settings::complete(None, Some("a.log".to_owned()), Vec::new(), Path::new("/d")).unwrap();
        assert!(settings.devices[0].required);
        assert!(Settings::complete(None, Some("../a".to_owned()), Vec::new(), Path::new("/d")).is_err());
    }

    #[test]
    fn a_file_lies_in_the_audit_folder_and_nowhere_else() {
        for path in ["/etc/x", "../x", "a/b", ".", "..", "", ".hidden", "file.head", "a\\u0000b"] {
            let sentence = settings(&format!("[[audit]]\ntype = 'file'\npath = \"{path}\"")).unwrap_err();
            assert!(sentence.contains("plain file name"), "{path}: {sentence}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            ("type = 'file'", "path is not set"),
            ("type = 'pipe'", "unknown variant"),
            ("type = 'file'\npath = 'a'\npaht = 'b'", "unknown field"),
            ("type = 'file'\npath = 'a'\naddress = 'tcp:a:1'", "does not know"),
            ("type = 'socket'", "address is not set"),
            ("type = 'socket'\naddress = 'tcp:nowhere'", "host:port"),
            ("type = 'syslog'\naddress = 'tcp:a:1'\nca_file = 'a.pem'", "only tls"),
            ("type = 'syslog'\naddress = 'tls:a:1'\nca_pem = 'a'", "unknown field"),
            ("type = 'http'\naddress = 'http://a'\nca_file = 'a.pem'", "use https"),
            ("type = 'http'\naddress = 'ftp://a'", "URL"),
            ("type = 'file'\npath = 'a'\nlimit_ms = 0", "limit_ms"),
            ("type = 'file'\npath = 'a'\nname = 'a b'", "name must be"),
            ("type = 'file'\npath = 'a'\n[[audit]]\ntype = 'file'\npath = 'b'", "of this name"),
            ("type = 'file'\npath = 'a'\n[[audit]]\ntype = 'file'\nname = 'c'\npath = 'a'", "same file"),
        ] {
            let sentence = settings(&format!("[[audit]]\n{text}")).unwrap_err();
            assert!(sentence.contains(words), "{text}: {sentence}");
        }
    }
}
