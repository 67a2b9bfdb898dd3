//! Roles: which certificates they take, and how tokens are made of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::parsed::{self, Certificate};
use crate::auth::named;
use crate::auth::old_names::OldNames;
use crate::auth::params::{TokenParams, lifetime_s};
use crate::crypto::{Barrier, Kind};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::stored::{self, Stored};

/// Version of the record's form: every field that came later has a default.
const VERSION: u32 = 1;
/// Longest text of a role's certificates, in bytes, and how many there are at most.
const PEM_BYTES_MAX: usize = 128 * 1024;
const CERTIFICATES_MAX: usize = 16;
/// Entries of each list at most, and bytes of each.
const ENTRIES_MAX: usize = 256;
const ENTRY_BYTES_MAX: usize = 1_024;
/// Fields that hold lists of texts, in the order of [`Role::lists`].
const LISTS: [&str; 8] = [
    "allowed_names",
    "allowed_common_names",
    "allowed_dns_sans",
    "allowed_email_sans",
    "allowed_uri_sans",
    "allowed_organizational_units",
    "required_extensions",
    "allowed_metadata_extensions",
];
/// Names that fields had once.
const OLD_NAMES: [&str; 5] = ["policies", "ttl", "max_ttl", "period", "bound_cidrs"];

#[derive(Clone, Serialize, Deserialize)]
pub struct Role {
    version: u32,
    pub name: String,
    /// PEM: authorities, or one certificate that is taken as it is.
    pub certificate: String,
    pub display_name: String,
    #[serde(default)]
    pub allowed_names: Vec<String>,
    #[serde(default)]
    pub common_names: Vec<String>,
    #[serde(default)]
    pub dns_names: Vec<String>,
    #[serde(default)]
    pub emails: Vec<String>,
    #[serde(default)]
    pub uris: Vec<String>,
    #[serde(default)]
    pub units: Vec<String>,
    /// `OID:pattern`.
    #[serde(default)]
    pub required_extensions: Vec<String>,
    /// OIDs whose texts become metadata.
    #[serde(default)]
    pub metadata_extensions: Vec<String>,
    pub params: TokenParams,
    /// The old names under which fields were given, and are shown as well.
    #[serde(default)]
    old_names: OldNames,
}

pub fn prefix(barrier: &Barrier, mount_uuid: &str) -> Vec<u8> {
    barrier.key(Kind::CertRole, [mount_uuid])
}

pub fn key(barrier: &Barrier, mount_uuid: &str, name: &str) -> Vec<u8> {
    barrier.key(Kind::CertRole, [mount_uuid, name])
}

pub fn load(ctx: &Context<'_>, mount_uuid: &str, name: &str) -> Result<Option<Stored<Role>>, Error> {
    let key = key(ctx.barrier, mount_uuid, name);
    match stored::load::<Role>(ctx.view, ctx.barrier, &key, ctx.now_ms)? {
        Some(role) if role.value.version != VERSION => Err(stored::unknown()),
        role => Ok(role),
    }
}

impl Role {
    fn new(name: &str) -> Self {
        Self {
            version: VERSION,
            name: name.to_owned(),
            certificate: String::new(),
            display_name: String::new(),
            allowed_names: Vec::new(),
            common_names: Vec::new(),
            dns_names: Vec::new(),
            emails: Vec::new(),
            uris: Vec::new(),
            units: Vec::new(),
            required_extensions: Vec::new(),
            metadata_extensions: Vec::new(),
            params: TokenParams::default(),
            old_names: OldNames::default(),
        }
    }

    /// In the order of [`LISTS`].
    fn lists(&mut self) -> [&mut Vec<String>; 8] {
        [
            &mut self.allowed_names,
            &mut self.common_names,
            &mut self.dns_names,
            &mut self.emails,
            &mut self.uris,
            &mut self.units,
            &mut self.required_extensions,
            &mut self.metadata_extensions,
        ]
    }

    pub fn show(mut self) -> Map<String, Value> {
        let mut shown = Map::new();
        self.params.show(&mut shown);
        shown.insert("certificate".to_owned(), self.certificate.as_str().into());
        shown.insert("display_name".to_owned(), self.display_name.as_str().into());
        for (name, list) in LISTS.into_iter().zip(self.lists()) {
            shown.insert(name.to_owned(), if list.is_empty() { Value::Null } else { json!(list) });
        }
        for name in ["ocsp_enabled", "ocsp_fail_open", "ocsp_query_all_servers"] {
            shown.insert(name.to_owned(), false.into());
        }
        shown.insert("ocsp_ca_certificates".to_owned(), "".into());
        shown.insert("ocsp_servers_override".to_owned(), Value::Null);
        self.old_names.show(&mut shown);
        shown
    }

    /// Takes over what `body` gives, also under the names that the fields had once.
    fn apply(&mut self, body: &Map<String, Value>) -> Result<(), Error> {
        refuse_ocsp(body)?;
        if let Some(certificate) = fields::text(body, "certificate")? {
            self.certificate = certificate;
        }
        if let Some(display_name) = fields::text(body, "display_name")? {
            if display_name.len() > ENTRY_BYTES_MAX || display_name.chars().any(char::is_control) {
                return Err(Error::invalid("display_name is too long, or has control characters"));
            }
            self.display_name = display_name;
        }
        for (name, list) in LISTS.into_iter().zip(self.lists()) {
            let Some(given) = fields::texts(body, name)? else { continue };
            if given.len() > ENTRIES_MAX || given.iter().any(|entry| entry.len() > ENTRY_BYTES_MAX) {
                let sentence = format!("{name} has at most {ENTRIES_MAX} entries of {ENTRY_BYTES_MAX} bytes");
                return Err(Error::invalid(sentence));
            }
            *list = given;
        }
        if !self.required_extensions.iter().all(|required| required.contains(':')) {
            return Err(Error::invalid("each of required_extensions is an OID, a colon and a pattern"));
        }
        self.apply_params(body)
    }

    fn apply_params(&mut self, body: &Map<String, Value>) -> Result<(), Error> {
        self.old_names.apply(&mut self.params, body, &OLD_NAMES)?;
        // The oldest name of all.
        if !body.contains_key("token_ttl")
            && !body.contains_key("ttl")
            && let Some(lease_s) = fields::integer(body, "lease")?
        {
            self.params.ttl_s = lifetime_s(lease_s, "lease")?;
        }
        Ok(())
    }

    /// What it takes, read.
    ///
    /// # Errors
    /// [`Error::Invalid`]: it cannot be.
    pub fn certificates(&self) -> Result<Vec<Certificate>, Error> {
        let failed = || Error::invalid("failed to parse certificate");
        let parsed = parsed::all_of_pem(&self.certificate).ok_or_else(failed)?;
        if parsed.is_empty() {
            return Err(failed());
        }
        Ok(parsed)
    }

    fn check(&self) -> Result<(), Error> {
        if self.certificate.len() > PEM_BYTES_MAX {
            return Err(Error::invalid(format!("certificate has at most {PEM_BYTES_MAX} bytes")));
        }
        let certificates = self.certificates()?;
        if certificates.len() > CERTIFICATES_MAX {
            return Err(Error::invalid(format!("a role has at most {CERTIFICATES_MAX} certificates")));
        }
        let first = &certificates[0];
        if !first.is_ca && !first.is_for_clients {
            return Err(Error::invalid(
                "nonCA certificates should have TLS client authentication set as an extended key usage",
            ));
        }
        Ok(())
    }

    fn warnings(&self, mount: &Mount) -> Vec<String> {
        let (default_s, max_s) = (mount.effective_default_lease_s(), mount.effective_max_lease_s());
        let TokenParams { ttl_s, max_ttl_s, period_s, .. } = self.params;
        let mut warnings = Vec::new();
        if ttl_s > default_s {
            warnings.push(format!(
                "Given ttl of {ttl_s} seconds is greater than current mount/system default of {default_s} seconds"
            ));
        }
        if max_ttl_s > max_s {
            warnings.push(format!(
                "Given max_ttl of {max_ttl_s} seconds is greater than current mount/system default of {max_s} seconds"
            ));
        }
        if period_s > max_s {
            warnings.push(format!(
                "Given period of {period_s} seconds is greater than the backend's maximum TTL of {max_s} seconds"
            ));
        }
        warnings
    }
}

/// Asking other servers whether a certificate was revoked is not supported: who wants it must not believe to have it.
fn refuse_ocsp(body: &Map<String, Value>) -> Result<(), Error> {
    let is_on = |field| Ok::<_, Error>(fields::boolean(body, field)?.unwrap_or(false));
    let is_given = |field| Ok::<_, Error>(fields::texts(body, field)?.is_some_and(|list| !list.is_empty()));
    if is_on("ocsp_enabled")?
        || is_on("ocsp_fail_open")?
        || is_on("ocsp_query_all_servers")?
        || is_given("ocsp_servers_override")?
        || is_given("ocsp_ca_certificates")?
    {
        return Err(Error::invalid("OCSP is not supported: revoke certificates by crls/NAME of this mount"));
    }
    Ok(())
}

/// Makes a role, or changes one.
///
/// # Errors
/// [`Error::Invalid`].
pub fn write(
    ctx: &mut Context<'_>,
    mount: &Mount,
    name: &str,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    let found = load(ctx, mount.uuid(), name)?;
    let revision = found.as_ref().map_or(0, |found| found.revision);
    let mut role = found.map_or_else(|| Role::new(name), |found| found.value);
    role.apply(body)?;
    if role.display_name.is_empty() {
        name.clone_into(&mut role.display_name);
    }
    role.check()?;
    let txn = named::put(ctx, mount, key(ctx.barrier, mount.uuid(), name), name, revision, &role)?;
    let warnings = role.warnings(mount);
    let status = if warnings.is_empty() { 204 } else { 200 };
    Ok(Plan { txn, reply: Reply { warnings, ..Reply::empty(status) } })
}

/// Deletes a role. Its tokens last on, and are renewed no more. No such role is no fault.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn delete(ctx: &Context<'_>, mount: &Mount, name: &str) -> Result<Plan, Error> {
    let found = load(ctx, mount.uuid(), name)?;
    Ok(named::delete(ctx, mount, key(ctx.barrier, mount.uuid(), name), found.as_ref()))
}
