//! A login by the certificate that was shown in the handshake.

use std::collections::BTreeMap;

use super::config;
use super::parsed::Certificate;
use super::role::{self, Role};
use super::trial;
use super::trust::Shown;
use crate::auth::login::{Accepted, plan_login};
use crate::auth::method::{self, Method, MethodRequest};
use crate::auth::token::LoginOrigin;
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::fields::{self, unknown_warning};
use crate::plan::{Context, Plan};

/// Fields of a login.
const FIELDS: [&str; 1] = ["name"];

/// Plans the login.
///
/// # Errors
/// [`Error::Invalid`]: nothing was shown, or no role takes it. [`Error::Denied`]: not from there.
pub fn login(ctx: &mut Context<'_>, mount: &Mount, request: &MethodRequest<'_>) -> Result<Plan, Error> {
    let settings = config::load(ctx, mount.uuid())?;
    let shown = Shown::read(request.certificates, ctx.now_ms)?;
    let name = fields::text(request.body, "name")?.filter(|name| !name.is_empty());
    // What no role can be called leads to none.
    let name = name.map(|name| method::subject(&name).unwrap_or_default());
    let role = trial::role(ctx, mount.uuid(), &shown, &settings, name.as_deref())?;
    let leaf = &shown.leaf;
    if leaf.common_name.is_empty() {
        return Err(Error::invalid("missing name in alias: the certificate has no common name"));
    }
    let accepted = Accepted {
        origin: LoginOrigin {
            method: Method::Cert,
            mount_uuid: mount.uuid().to_owned(),
            mount_accessor: mount.accessor().to_owned(),
            alias: leaf.common_name.clone(),
            subject: role.value.name.clone(),
            principal: String::new(),
        },
        display_name: &role.value.display_name,
        meta: metadata(leaf, &role.value),
        alias_meta: BTreeMap::new(),
        groups: None,
        params: &role.value.params,
        bound_cidrs: &[],
        path: request.full_path,
        from: request.from,
        warnings: unknown_warning(request.body.keys().map(String::as_str), &FIELDS),
    };
    let mut plan = plan_login(ctx, mount, accepted)?;
    if let Some(ready) = &mut plan.reply.login {
        ready.entry.certificate_key.clone_from(&leaf.key_fingerprint);
    }
    plan.txn.require(role::key(ctx.barrier, mount.uuid(), &role.value.name), role.revision);
    settings.require(ctx, &mut plan.txn, mount.uuid());
    Ok(plan)
}

fn metadata(leaf: &Certificate, role: &Role) -> BTreeMap<String, String> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    let mut metadata = BTreeMap::from([
        ("cert_name".to_owned(), role.name.clone()),
        ("common_name".to_owned(), leaf.common_name.clone()),
        ("serial_number".to_owned(), leaf.serial.clone()),
        ("subject_key_id".to_owned(), hex(&leaf.subject_key_id)),
        ("authority_key_id".to_owned(), hex(&leaf.authority_key_id)),
    ]);
    for oid in &role.metadata_extensions {
        if let Some(text) = leaf.extensions.get(oid) {
            metadata.insert(oid.replace('.', "-"), text.clone());
        }
    }
    metadata
}
