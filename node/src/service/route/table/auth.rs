//! Tokens, auth mounts, and answers that lie under a token.

use conclave_core::auth::token::TokenRequest;
use conclave_core::auth::wrapping::WrappingRequest;
use conclave_core::plan::Operation::{self, Delete, List, Read, Write};

use super::super::{Action, AuthMountRequest, Place, Route};
use super::token;

const fn wrapping(
    request: WrappingRequest,
    operations: &'static [Operation],
    pattern: &'static str,
    summary: &'static str,
) -> Route {
    token(Action::Wrapping(request), operations, pattern, Place::State, summary)
}

pub(super) const ROUTES: &[Route] = &[
    token(
        Action::Token(TokenRequest::Accessors),
        &[List],
        "auth/token/accessors",
        Place::State,
        "Accessors of all tokens.",
    ),
    token(
        Action::Token(TokenRequest::CreateOrphan),
        &[Write],
        "auth/token/create-orphan",
        Place::State,
        "Make a token that outlives yours.",
    ),
    token(Action::Token(TokenRequest::Create), &[Write], "auth/token/create", Place::State, "Make a token."),
    token(
        Action::Token(TokenRequest::LookupSelf),
        &[Read, Write],
        "auth/token/lookup-self",
        Place::State,
        "The caller's own token.",
    ),
    token(
        Action::Token(TokenRequest::LookupAccessor),
        &[Write],
        "auth/token/lookup-accessor",
        Place::State,
        "The token with this accessor.",
    ),
    token(Action::Token(TokenRequest::Lookup), &[Read, Write], "auth/token/lookup", Place::State, "A token."),
    token(
        Action::Token(TokenRequest::RenewSelf),
        &[Write],
        "auth/token/renew-self",
        Place::State,
        "Make the caller's own token last longer.",
    ),
    token(
        Action::Token(TokenRequest::RenewAccessor),
        &[Write],
        "auth/token/renew-accessor",
        Place::State,
        "Make the token with this accessor last longer.",
    ),
    token(
        Action::Token(TokenRequest::Renew),
        &[Write],
        "auth/token/renew",
        Place::State,
        "Make a token last longer.",
    ),
    token(
        Action::Token(TokenRequest::RevokeSelf),
        &[Write],
        "auth/token/revoke-self",
        Place::State,
        "End the caller's own token and all made with it.",
    ),
    token(
        Action::Token(TokenRequest::RevokeAccessor),
        &[Write],
        "auth/token/revoke-accessor",
        Place::State,
        "End the token with this accessor and all made with it.",
    ),
    token(
        Action::Token(TokenRequest::RevokeOrphan),
        &[Write],
        "auth/token/revoke-orphan",
        Place::State,
        "End a token, and let those made with it live on.",
    ),
    token(
        Action::Token(TokenRequest::Revoke),
        &[Write],
        "auth/token/revoke",
        Place::State,
        "End a token and all made with it.",
    ),
    wrapping(WrappingRequest::Wrap, &[Write], "sys/wrapping/wrap", "Wrap what is sent."),
    wrapping(WrappingRequest::Unwrap, &[Write], "sys/wrapping/unwrap", "Hand over a wrapped answer, once."),
    wrapping(WrappingRequest::Rewrap, &[Write], "sys/wrapping/rewrap", "Wrap an answer anew."),
    // The token that is looked up is all that one needs.
    Route {
        open: true,
        ..wrapping(WrappingRequest::Lookup, &[Read, Write], "sys/wrapping/lookup", "What a token wraps.")
    },
    token(Action::AuthMount(AuthMountRequest::List), &[Read], "sys/auth", Place::State, "All auth mounts."),
    token(
        Action::AuthMount(AuthMountRequest::ReadTune),
        &[Read],
        "sys/auth/*/tune",
        Place::State,
        "An auth mount's settings.",
    ),
    token(
        Action::AuthMount(AuthMountRequest::Tune),
        &[Write],
        "sys/auth/*/tune",
        Place::State,
        "Change an auth mount's settings.",
    ),
    token(Action::AuthMount(AuthMountRequest::Read), &[Read], "sys/auth/*", Place::State, "One auth mount."),
    token(
        Action::AuthMount(AuthMountRequest::Enable),
        &[Write],
        "sys/auth/*",
        Place::State,
        "Enable a login method at a path.",
    ),
    token(
        Action::AuthMount(AuthMountRequest::Disable),
        &[Delete],
        "sys/auth/*",
        Place::State,
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
    token(
        Action::Token(TokenRequest::CreateByRole),
        &[Write],
        "auth/token/create/:id",
        Place::State,
        "Make a token by a role.",
    ),
    token(
        Action::Token(TokenRequest::Tidy),
        &[Write],
        "auth/token/tidy",
        Place::State,
        "Go through all tokens for what is left of those that have ended.",
    ),
    token(
        Action::Token(TokenRequest::RoleList),
        &[List],
        "auth/token/roles",
        Place::State,
        "Names of all token roles.",
    ),
    token(
        Action::Token(TokenRequest::RoleRead),
        &[Read],
        "auth/token/roles/:id",
        Place::State,
        "A token role.",
    ),
    token(
        Action::Token(TokenRequest::RoleWrite),
        &[Write],
        "auth/token/roles/:id",
        Place::State,
        "Write a token role.",
    ),
    token(
        Action::Token(TokenRequest::RoleDelete),
        &[Delete],
        "auth/token/roles/:id",
        Place::State,
        "Delete a token role.",
    ),
];
