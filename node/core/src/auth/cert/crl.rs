//! `crls`: certificates that were revoked, by who issued them and their numbers. As in Vault an operator brings the list,
//! so that its signature is not looked at, nor whether it is old.

use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::config::{self, Settings};
use super::parsed::Certificate;
use crate::auth::method::{self, MethodRequest};
use crate::crypto::{Barrier, Kind};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Operation, Plan, Query, Reply};
use crate::stored;

/// Version of the record's form: every field that came later has a default.
const VERSION: u32 = 1;
/// Lists of a mount at most: a login looks at all of them.
const CRLS_MAX: usize = 16;

/// One list.
#[derive(Serialize, Deserialize)]
struct Crl {
    version: u32,
    /// The issuer's name as it stands there, in hex.
    issuer: String,
    /// In decimal, each between blanks: a list may be long, and a login looks for one.
    serials: String,
}

impl Crl {
    fn has(&self, certificate: &Certificate) -> bool {
        self.issuer == certificate.issuer && self.serials.contains(&format!(" {} ", certificate.serial))
    }
}

/// All lists of a mount.
pub struct Revoked(Vec<Crl>);

impl Revoked {
    pub fn load(ctx: &Context<'_>, mount_uuid: &str, settings: &Settings) -> Result<Self, Error> {
        let one = |name: &String| find(ctx, mount_uuid, name)?.ok_or_else(stored::unknown);
        settings.crls.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    pub fn has(&self, certificate: &Certificate) -> bool {
        self.0.iter().any(|crl| crl.has(certificate))
    }
}

fn key(barrier: &Barrier, mount_uuid: &str, name: &str) -> Vec<u8> {
    barrier.key(Kind::CertCrl, [mount_uuid, name])
}

fn find(ctx: &Context<'_>, mount_uuid: &str, name: &str) -> Result<Option<Crl>, Error> {
    let found = stored::load::<Crl>(ctx.view, ctx.barrier, &key(ctx.barrier, mount_uuid, name), 0)?;
    match found {
        Some(found) if found.value.version != VERSION => Err(stored::unknown()),
        found => Ok(found.map(|found| found.value)),
    }
}

pub fn list(ctx: &Context<'_>, mount: &Mount, query: &Query) -> Result<Plan, Error> {
    let names = config::load(ctx, mount.uuid())?.crls;
    Ok(Reply::json(&json!({ "keys": method::page(names, query)? })).into())
}

/// # Errors
/// As the rules say.
pub fn handle(
    ctx: &mut Context<'_>,
    mount: &Mount,
    name: &str,
    request: &MethodRequest<'_>,
) -> Result<Plan, Error> {
    let no_such = || Error::invalid(format!("no such CRL {name}"));
    let mut settings = config::load(ctx, mount.uuid())?;
    match request.operation {
        Operation::Read => {
            let crl = find(ctx, mount.uuid(), name)?.ok_or_else(no_such)?;
            let serials: Map<String, Value> =
                crl.serials.split_whitespace().map(|serial| (serial.to_owned(), json!({}))).collect();
            Ok(Reply::json(&json!({ "cdp": null, "serials": serials })).into())
        }
        Operation::Write => {
            let crl = parse(request.body)?;
            if let Err(at) = settings.crls.binary_search_by(|known| known.as_str().cmp(name)) {
                settings.crls.insert(at, name.to_owned());
            }
            if settings.crls.len() > CRLS_MAX {
                return Err(Error::invalid(format!("a mount has at most {CRLS_MAX} CRLs")));
            }
            let mut txn = mount.guarded_txn(ctx);
            settings.put(ctx, &mut txn, mount.uuid())?;
            let key = key(ctx.barrier, mount.uuid(), name);
            let path = format!("{}/{name}", mount.uuid());
            stored::put(ctx, &mut txn, &key, &path, &crl, 0).map_err(|error| match error {
                Error::TooLarge(_) => Error::TooLarge("the CRL is too large: split it".to_owned()),
                error => error,
            })?;
            Ok(Plan { txn, reply: Reply::no_content() })
        }
        Operation::Delete => {
            let at = settings.crls.iter().position(|known| known == name).ok_or_else(no_such)?;
            settings.crls.remove(at);
            let mut txn = mount.guarded_txn(ctx);
            settings.put(ctx, &mut txn, mount.uuid())?;
            txn.delete(key(ctx.barrier, mount.uuid(), name));
            Ok(Plan { txn, reply: Reply::no_content() })
        }
        _ => Err(Error::Unsupported),
    }
}

fn parse(body: &Map<String, Value>) -> Result<Crl, Error> {
    let Some(text) = fields::text(body, "crl")? else {
        if body.contains_key("url") {
            return Err(Error::invalid("fetching a CRL is not supported: send it as 'crl'"));
        }
        return Err(Error::invalid("one of 'crl' or 'url' must be provided"));
    };
    let failed = || Error::invalid("failed to parse CRL: it must be one, in PEM");
    let mut found = CertificateRevocationListDer::pem_slice_iter(text.as_bytes());
    let der = found.next().and_then(Result::ok).ok_or_else(failed)?;
    if found.next().is_some() {
        return Err(failed());
    }
    let (rest, parsed) = x509_parser::parse_x509_crl(&der).map_err(|_| failed())?;
    if !rest.is_empty() {
        return Err(failed());
    }
    let mut serials = String::from(" ");
    for revoked in parsed.iter_revoked_certificates() {
        serials.push_str(&revoked.serial().to_string());
        serials.push(' ');
    }
    Ok(Crl { version: VERSION, issuer: hex::encode(parsed.issuer().as_raw()), serials })
}
