//! `identity/mfa/*`: what can be asked of methods, secrets and enforcements.

use serde_json::{Map, Value};

use super::{enforcement, method, secret};
use crate::error::Error;
use crate::fields;
use crate::identity::AuthMounts;
use crate::plan::{Context, Plan};

/// What can be asked. What is asked by id or by name has it in its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MfaRequest {
    MethodList,
    MethodRead,
    TotpList,
    TotpRead,
    TotpCreate,
    TotpWrite,
    TotpDelete,
    Generate,
    AdminGenerate,
    AdminDestroy,
    EnforcementList,
    EnforcementRead,
    EnforcementWrite,
    EnforcementDelete,
}

/// Who asks, and what for.
pub struct Asked<'a> {
    pub mounts: &'a AuthMounts,
    /// The entity of the caller; empty: it is not known.
    pub entity_id: &'a str,
    /// The id or the name in the path.
    pub captured: &'a str,
    pub body: &'a Map<String, Value>,
}

/// Plans what was asked. The caller has been permitted to ask it.
///
/// # Errors
/// [`Error`].
pub fn handle(ctx: &mut Context<'_>, request: MfaRequest, asked: &Asked<'_>) -> Result<Plan, Error> {
    use MfaRequest as R;
    let Asked { mounts, captured, body, .. } = *asked;
    match request {
        // There is one type of methods.
        R::MethodList | R::TotpList => method::list(ctx),
        R::MethodRead | R::TotpRead => method::read(ctx, captured),
        R::TotpCreate => method::write(ctx, None, body),
        R::TotpWrite => method::write(ctx, Some(captured), body),
        R::TotpDelete => method::delete(ctx, captured),
        R::Generate => secret::generate(ctx, asked.entity_id, body),
        R::AdminGenerate => {
            let entity = fields::text(body, "entity_id")?.unwrap_or_default();
            secret::generate(ctx, &entity, body)
        }
        R::AdminDestroy => secret::destroy(ctx, body),
        R::EnforcementList => enforcement::list(ctx),
        R::EnforcementRead => enforcement::read(ctx, captured),
        R::EnforcementWrite => enforcement::write(ctx, mounts, captured, body),
        R::EnforcementDelete => enforcement::delete(ctx, captured),
    }
}
