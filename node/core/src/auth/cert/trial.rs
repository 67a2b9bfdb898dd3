//! Which role takes a certificate: one that names an authority of it, or one that names it as it is. Whoever has no token may
//! ask this, so that what it costs is bounded, and what costs most is done last and once.

use std::collections::BTreeMap;

use super::config::Settings;
use super::crl::Revoked;
use super::role::{self, Role};
use super::trust::{Shown, untrusted};
use crate::error::Error;
use crate::plan::Context;
use crate::stored::{self, Stored};

/// Roles that are tried for a login that names none.
const ROLES_TRIED_MAX: usize = 256;
/// Sets of authorities of which paths to them are looked for, for one login.
const PATHS_SOUGHT_MAX: usize = 8;

/// What is known of one login so far.
struct Trial<'t, 'c> {
    ctx: &'t Context<'c>,
    mount_uuid: &'t str,
    shown: &'t Shown,
    settings: &'t Settings,
    /// Read for the first role that could take it.
    revoked: Option<Revoked>,
    /// Whether a path leads to the authorities of a role, by these: many roles have the same.
    issued: BTreeMap<String, bool>,
}

/// The first role that takes what was shown: the one of this name, or of all in the order of their names.
///
/// # Errors
/// [`Error::Invalid`]: none does.
pub fn role(
    ctx: &Context<'_>,
    mount_uuid: &str,
    shown: &Shown,
    settings: &Settings,
    name: Option<&str>,
) -> Result<Stored<Role>, Error> {
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => {
            let prefix = role::prefix(ctx.barrier, mount_uuid);
            stored::first_names_below(ctx.view, ctx.barrier, &prefix, ctx.now_ms, ROLES_TRIED_MAX + 1)?
        }
    };
    if names.len() > ROLES_TRIED_MAX {
        let sentence = format!("there are more than {ROLES_TRIED_MAX} roles: log in with the name of one");
        return Err(Error::invalid(sentence));
    }
    let mut trial = Trial { ctx, mount_uuid, shown, settings, revoked: None, issued: BTreeMap::new() };
    let mut is_known = false;
    for name in names {
        let Some(role) = role::load(ctx, mount_uuid, &name)? else { continue };
        if !trial.is_known_to(&role.value)? {
            continue;
        }
        is_known = true;
        if shown.satisfies(&role.value) && !trial.revoked()?.has(&shown.leaf) {
            return Ok(role);
        }
    }
    Err(if is_known { unsuitable() } else { untrusted() })
}

impl Trial<'_, '_> {
    /// Whether the role knows the certificate's authority, or it itself; what it says is another question.
    fn is_known_to(&mut self, role: &Role) -> Result<bool, Error> {
        let certificates = role.certificates()?;
        match certificates.first() {
            Some(first) if !first.is_ca => return Ok(self.shown.is(first)),
            Some(_) if self.shown.names_one_of(&certificates) => {}
            _ => return Ok(false),
        }
        if let Some(known) = self.issued.get(&role.certificate) {
            return Ok(*known);
        }
        if self.issued.len() >= PATHS_SOUGHT_MAX {
            let sentence =
                "too many roles name an authority of this certificate: log in with the name of one";
            return Err(Error::invalid(sentence));
        }
        let shown = self.shown;
        let is_issued = shown.is_issued_by(&certificates, self.revoked()?);
        self.issued.insert(role.certificate.clone(), is_issued);
        Ok(is_issued)
    }

    fn revoked(&mut self) -> Result<&Revoked, Error> {
        if self.revoked.is_none() {
            self.revoked = Some(Revoked::load(self.ctx, self.mount_uuid, self.settings)?);
        }
        self.revoked.as_ref().ok_or_else(stored::unknown)
    }
}

fn unsuitable() -> Error {
    Error::invalid("no chain matching all constraints could be found for this login certificate")
}
