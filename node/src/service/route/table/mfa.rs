//! Login MFA: methods, what devices share, enforcements, and finishing a login.

use conclave_core::auth::mfa::MfaRequest as M;
use conclave_core::plan::Operation::{self, Delete, List, Read, Write};

use super::super::{Action, Place, Route};
use super::{open, token};

const fn of(
    request: M,
    operations: &'static [Operation],
    pattern: &'static str,
    summary: &'static str,
) -> Route {
    token(Action::Mfa(request), operations, pattern, Place::State, summary)
}

pub(super) const ROUTES: &[Route] = &[
    // The id of the login that waits is all that one needs, beside the codes.
    open(
        Action::MfaValidate,
        &[Write],
        "sys/mfa/validate",
        Place::State,
        "Finish a login with codes of other factors.",
    ),
    of(M::Generate, &[Write], "identity/mfa/method/totp/generate", "A secret for the caller's own device."),
    of(
        M::AdminGenerate,
        &[Write],
        "identity/mfa/method/totp/admin-generate",
        "A secret for the device of an entity.",
    ),
    of(
        M::AdminDestroy,
        &[Write],
        "identity/mfa/method/totp/admin-destroy",
        "Forget what the device of an entity shares.",
    ),
    of(M::TotpList, &[List], "identity/mfa/method/totp", "Ids of all TOTP methods."),
    of(M::TotpCreate, &[Write], "identity/mfa/method/totp", "Make a TOTP method."),
    of(M::TotpRead, &[Read], "identity/mfa/method/totp/:id", "A TOTP method."),
    of(M::TotpWrite, &[Write], "identity/mfa/method/totp/:id", "Write a TOTP method."),
    of(M::TotpDelete, &[Delete], "identity/mfa/method/totp/:id", "Delete a TOTP method."),
    of(M::MethodList, &[List], "identity/mfa/method", "Ids of all MFA methods."),
    of(M::MethodRead, &[Read], "identity/mfa/method/:id", "An MFA method."),
    of(M::EnforcementList, &[List], "identity/mfa/login-enforcement", "Names of all login enforcements."),
    of(M::EnforcementRead, &[Read], "identity/mfa/login-enforcement/:id", "A login enforcement."),
    of(M::EnforcementWrite, &[Write], "identity/mfa/login-enforcement/:id", "Write a login enforcement."),
    of(M::EnforcementDelete, &[Delete], "identity/mfa/login-enforcement/:id", "Delete a login enforcement."),
];
