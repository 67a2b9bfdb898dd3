//! Policies, and what somebody may do by them.

use conclave_core::auth::rights::RightsRequest;
use conclave_core::plan::Operation::{Delete, List, Read, Write};
use conclave_core::policy::api::{Form, PolicyRequest};
use conclave_core::policy::password_api::PasswordRequest;

use super::super::{Action, Place, Route};
use super::token;

pub(super) const ROUTES: &[Route] = &[
    token(
        Action::Policy(PolicyRequest::List, Form::Policies),
        &[List],
        "sys/policies/acl",
        Place::State,
        "Names of all policies.",
    ),
    token(
        Action::Policy(PolicyRequest::Read, Form::Policies),
        &[Read],
        "sys/policies/acl/*",
        Place::State,
        "A policy.",
    ),
    token(
        Action::Policy(PolicyRequest::Write, Form::Policies),
        &[Write],
        "sys/policies/acl/*",
        Place::State,
        "Write a policy.",
    ),
    token(
        Action::Policy(PolicyRequest::Delete, Form::Policies),
        &[Delete],
        "sys/policies/acl/*",
        Place::State,
        "Delete a policy.",
    ),
    token(
        Action::Policy(PolicyRequest::List, Form::Policy),
        &[Read, List],
        "sys/policy",
        Place::State,
        "Names of all policies.",
    ),
    token(
        Action::Policy(PolicyRequest::Read, Form::Policy),
        &[Read],
        "sys/policy/*",
        Place::State,
        "A policy.",
    ),
    token(
        Action::Policy(PolicyRequest::Write, Form::Policy),
        &[Write],
        "sys/policy/*",
        Place::State,
        "Write a policy.",
    ),
    token(
        Action::Policy(PolicyRequest::Delete, Form::Policy),
        &[Delete],
        "sys/policy/*",
        Place::State,
        "Delete a policy.",
    ),
    token(
        Action::Password(PasswordRequest::List),
        &[List],
        "sys/policies/password",
        Place::State,
        "Names of all password policies.",
    ),
    token(
        Action::Password(PasswordRequest::Generate),
        &[Read],
        "sys/policies/password/*/generate",
        Place::State,
        "A password made by a policy.",
    ),
    token(
        Action::Password(PasswordRequest::Read),
        &[Read],
        "sys/policies/password/*",
        Place::State,
        "A password policy.",
    ),
    token(
        Action::Password(PasswordRequest::Write),
        &[Write],
        "sys/policies/password/*",
        Place::State,
        "Write a password policy.",
    ),
    token(
        Action::Password(PasswordRequest::Delete),
        &[Delete],
        "sys/policies/password/*",
        Place::State,
        "Delete a password policy.",
    ),
    token(
        Action::Rights(RightsRequest::Capabilities),
        &[Write],
        "sys/capabilities",
        Place::State,
        "What a token may do at paths.",
    ),
    token(
        Action::Rights(RightsRequest::CapabilitiesSelf),
        &[Write],
        "sys/capabilities-self",
        Place::State,
        "What the caller may do at paths.",
    ),
    token(
        Action::Rights(RightsRequest::CapabilitiesAccessor),
        &[Write],
        "sys/capabilities-accessor",
        Place::State,
        "What the token with this accessor may do at paths.",
    ),
    token(
        Action::Rights(RightsRequest::Explain),
        &[Write],
        "sys/policies/explain",
        Place::State,
        "Which rule decides a request, and what would allow it.",
    ),
    token(
        Action::Rights(RightsRequest::ResultantAcl),
        &[Read],
        "sys/internal/ui/resultant-acl",
        Place::State,
        "All rules of the caller's policies.",
    ),
];
