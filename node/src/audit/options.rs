//! A device that was enabled through the API: its options, named as Vault names them, as settings. What would let a client
//! choose a file outside the audit folder, read a file of the node, or weaken the trail is refused.

use std::path::Path;

use conclave_core::audit::Enabled;

use super::settings::{DeviceSettings, SettingsError, Type, Written, fault};
use crate::outbound::{self, Trust};

/// What a record always is: options of Vault's that may be given if they say just that.
const FIXED: [(&str, &[&str]); 6] = [
    ("format", &["json"]),
    ("mode", &["0600", "600"]),
    ("log_raw", &["false", "0"]),
    ("hmac_accessor", &["true", "1"]),
    ("elide_list_responses", &["false", "0"]),
    ("prefix", &[""]),
];

/// The settings of `enabled`, whose file, if it is one, lies in `folder`.
///
/// # Errors
/// [`SettingsError`]: an option is not known, not supported, or not possible.
pub fn settings(enabled: &Enabled, folder: &Path) -> Result<DeviceSettings, SettingsError> {
    let name = enabled.name.as_str();
    let r#type = match enabled.r#type.as_str() {
        "file" => Type::File,
        "syslog" => Type::Syslog,
        "socket" => Type::Socket,
        "http" => Type::Http,
        _ => return Err(fault(name, "its type must be file, syslog, socket or http")),
    };
    let mut written = Written {
        r#type,
        name: Some(name.to_owned()),
        path: None,
        address: None,
        ca_file: None,
        ca_pem: None,
        required: None,
        limit_ms: None,
        sync: None,
    };
    let mut socket_type = None;
    for (option, value) in &enabled.options {
        match option.as_str() {
            "file_path" | "path" if r#type == Type::File => written.path = Some(within(folder, value)),
            "address" | "uri" if r#type != Type::File => written.address = Some(value.clone()),
            "socket_type" if r#type == Type::Socket => socket_type = Some(value.as_str()),
            "ca_pem" if r#type != Type::File => written.ca_pem = Some(trusted(name, value)?),
            "required" => written.required = Some(truth(name, option, value)?),
            "sync" if r#type == Type::File => written.sync = Some(truth(name, option, value)?),
            "limit_ms" => {
                let limit = value.parse().map_err(|_| fault(name, "limit_ms must be a whole number"))?;
                written.limit_ms = Some(limit);
            }
            _ => fixed(name, option, value)?,
        }
    }
    if let (Some(scheme), Some(address)) = (socket_type, &mut written.address) {
        *address = format!("{scheme}:{address}");
    }
    if matches!(written.path.as_deref(), Some("stdout" | "discard")) {
        return Err(fault(name, "a trail goes to a file that is kept: stdout and discard are not supported"));
    }
    written.complete()
}

/// The file's name in the folder, also if it was given with the folder; else what was given, which is then refused.
fn within(folder: &Path, given: &str) -> String {
    let rest = Path::new(given).strip_prefix(folder).ok().and_then(Path::to_str);
    rest.unwrap_or(given).to_owned()
}

fn trusted(name: &str, pem: &str) -> Result<String, SettingsError> {
    outbound::tls(Trust::Authorities(pem.as_bytes())).map_err(|error| fault(name, &error.to_string()))?;
    Ok(pem.to_owned())
}

fn truth(name: &str, option: &str, value: &str) -> Result<bool, SettingsError> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(fault(name, &format!("the option {option:?} must be true or false"))),
    }
}

fn fixed(name: &str, option: &str, value: &str) -> Result<(), SettingsError> {
    match FIXED.iter().find(|(known, _)| *known == option) {
        Some((_, values)) if values.contains(&value) => Ok(()),
        Some(_) => Err(fault(name, &format!("the option {option:?} is supported with its default only"))),
        None => Err(fault(name, &format!("the option {option:?} is not supported for its type"))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::settings::{Authorities, Endpoint, Target, check};
    use super::*;

    fn read(r#type: &str, options: &[(&str, &str)]) -> Result<DeviceSettings, String> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let enabled = Enabled {
            accessor: String::new(),
            name: "a".to_owned(),
            r#type: r#type.to_owned(),
            description: String::new(),
            options,
        };
        let settings = settings(&enabled, Path::new("/var/log/trails")).map_err(|error| error.to_string())?;
        check(&settings, &[]).map_err(|error| error.to_string())?;
        Ok(settings)
    }

    #[test]
    fn options_mean_what_the_configuration_means() {
        for path in ["a.log", "/var/log/trails/a.log"] {
            let file = read("file", &[("file_path", path), ("sync", "false"), ("mode", "0600")]).unwrap();
            assert_eq!(file.target, Target::File { name: "a.log".to_owned(), sync: false });
            assert!(file.required);
        }
        let socket = [("address", "h:1"), ("socket_type", "udp"), ("required", "false"), ("limit_ms", "9")];
        let socket = read("socket", &socket).unwrap();
        assert_eq!(socket.target, Target::Socket { endpoint: Endpoint::Udp("h:1".to_owned()) });
        assert_eq!((socket.required, socket.limit), (false, Duration::from_millis(9)));
        read("syslog", &[("address", "unix:/dev/log")]).unwrap();
        read("http", &[("uri", "http://h/trail")]).unwrap();
    }

    fn authority() -> String {
        rcgen::generate_simple_self_signed(["logs".to_owned()]).unwrap().cert.pem()
    }

    #[test]
    fn tls_is_spoken_with_whom_the_option_or_else_the_system_trusts() {
        let authority = authority();
        let named = read("http", &[("uri", "https://h/"), ("ca_pem", &authority)]).unwrap();
        let authorities = Some(Authorities::Text(authority));
        assert_eq!(named.target, Target::Http { url: "https://h/".to_owned(), authorities });
        let unnamed = read("socket", &[("address", "h:1"), ("socket_type", "tls")]).unwrap();
        let endpoint = Endpoint::Tls { authority: "h:1".to_owned(), authorities: Authorities::System };
        assert_eq!(unnamed.target, Target::Socket { endpoint });
    }

    #[test]
    fn no_client_names_a_file_outside_the_folder_or_weakens_the_trail() {
        let authority = &authority();
        for (r#type, options) in [
            ("file", &[("file_path", "/etc/cron.d/x")][..]),
            ("file", &[("file_path", "/var/log/trails/../x")]),
            ("file", &[("file_path", "../x")]),
            ("file", &[("file_path", "/var/log/trails")]),
            ("file", &[("file_path", "stdout")]),
            ("file", &[("file_path", "discard")]),
            ("file", &[("file_path", "a"), ("mode", "0755")]),
            ("file", &[("file_path", "a"), ("prefix", "#!/bin/sh")]),
            ("file", &[("file_path", "a"), ("log_raw", "true")]),
            ("file", &[("file_path", "a"), ("hmac_accessor", "false")]),
            ("file", &[("file_path", "a"), ("format", "jsonx")]),
            ("file", &[("file_path", "a"), ("address", "h:1")]),
            ("file", &[]),
            ("socket", &[("address", "tls:h:1"), ("ca_file", "/etc/shadow")]),
            ("socket", &[("address", "tls:h:1"), ("ca_pem", "/etc/shadow")]),
            ("socket", &[("address", "h:1"), ("socket_type", "tls"), ("ca_pem", "")]),
            ("http", &[("uri", "http://h/"), ("ca_pem", authority)]),
            ("file", &[("file_path", "a"), ("ca_pem", authority)]),
            ("syslog", &[("facility", "AUTH")]),
            ("pipe", &[]),
        ] {
            assert!(read(r#type, options).is_err(), "{type} {options:?}");
        }
    }
}
