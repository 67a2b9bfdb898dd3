//! Tokens, auth mounts, and answers that lie under a token.

use conclave_core::auth::token::TokenRequest as T;
use conclave_core::auth::wrapping::WrappingRequest;
use conclave_core::plan::Operation::{self, Delete, List, Read, Write};

use super::super::{Action, AuthMountRequest, Place, Route};
use super::token;

const fn of(
    request: T,
    operations: &'static [Operation],
    pattern: &'static str,
    summary: &'static str,
) -> Route {
    token(Action::Token(request), operations, pattern, Place::State, summary)
}

const fn mount(
    request: AuthMountRequest,
    operations: &'static [Operation],
    pattern: &'static str,
    summary: &'static str,
) -> Route {
    token(Action::AuthMount(request), operations, pattern, Place::State, summary)
}

const fn wrapping(
    request: WrappingRequest,
    operations: &'static [Operation],
    pattern: &'static str,
    summary: &'static str,
) -> Route {
    token(Action::Wrapping(request), operations, pattern, Place::State, summary)
}

pub(super) const ROUTES: &[Route] = &[
    of(T::Accessors, &[List], "auth/token/accessors", "Accessors of all tokens."),
    of(T::CreateOrphan, &[Write], "auth/token/create-orphan", "Make a token that outlives yours."),
    of(T::Create, &[Write], "auth/token/create", "Make a token."),
    of(T::LookupSelf, &[Read, Write], "auth/token/lookup-self", "The caller's own token."),
    of(T::LookupAccessor, &[Write], "auth/token/lookup-accessor", "The token with this accessor."),
    of(T::Lookup, &[Read, Write], "auth/token/lookup", "A token."),
    of(T::RenewSelf, &[Write], "auth/token/renew-self", "Make the caller's own token last longer."),
    of(
        T::RenewAccessor,
        &[Write],
        "auth/token/renew-accessor",
        "Make the token with this accessor last longer.",
    ),
    of(T::Renew, &[Write], "auth/token/renew", "Make a token last longer."),
    of(T::RevokeSelf, &[Write], "auth/token/revoke-self", "End the caller's own token and all made with it."),
    of(
        T::RevokeAccessor,
        &[Write],
        "auth/token/revoke-accessor",
        "End the token with this accessor and all made with it.",
    ),
    of(
        T::RevokeOrphan,
        &[Write],
        "auth/token/revoke-orphan",
        "End a token, and let those made with it live on.",
    ),
    of(T::Revoke, &[Write], "auth/token/revoke", "End a token and all made with it."),
    wrapping(WrappingRequest::Wrap, &[Write], "sys/wrapping/wrap", "Wrap what is sent."),
    wrapping(WrappingRequest::Unwrap, &[Write], "sys/wrapping/unwrap", "Hand over a wrapped answer, once."),
    wrapping(WrappingRequest::Rewrap, &[Write], "sys/wrapping/rewrap", "Wrap an answer anew."),
    // The token that is looked up is all that one needs.
    Route {
        open: true,
        ..wrapping(WrappingRequest::Lookup, &[Read, Write], "sys/wrapping/lookup", "What a token wraps.")
    },
    mount(AuthMountRequest::List, &[Read], "sys/auth", "All auth mounts."),
    mount(AuthMountRequest::ReadTune, &[Read], "sys/auth/*/tune", "An auth mount's settings."),
    mount(AuthMountRequest::Tune, &[Write], "sys/auth/*/tune", "Change an auth mount's settings."),
    mount(AuthMountRequest::Read, &[Read], "sys/auth/*", "One auth mount."),
    mount(AuthMountRequest::Enable, &[Write], "sys/auth/*", "Enable a login method at a path."),
    mount(
        AuthMountRequest::Disable,
        &[Delete],
        "sys/auth/*",
        "Disable an auth mount, and end all tokens of its logins.",
    ),
    token(Action::LockedUsers, &[Read], "sys/locked-users", Place::State, "Users who are locked out."),
    token(
        Action::UnlockUser,
        &[Write],
        "sys/locked-users/*",
        Place::State,
        "Let a user in again: MOUNT_ACCESSOR/unlock/NAME.",
    ),
    of(T::CreateByRole, &[Write], "auth/token/create/:id", "Make a token by a role."),
    of(
        T::Tidy,
        &[Write],
        "auth/token/tidy",
        "Go through all tokens for what is left of those that have ended.",
    ),
    of(T::RoleList, &[List], "auth/token/roles", "Names of all token roles."),
    of(T::RoleRead, &[Read], "auth/token/roles/:id", "A token role."),
    of(T::RoleWrite, &[Write], "auth/token/roles/:id", "Write a token role."),
    of(T::RoleDelete, &[Delete], "auth/token/roles/:id", "Delete a token role."),
];
