//! The login methods: which there are, and how a request below an auth mount finds its own.
//!
//! ```text
//! login:  MountTable::resolve -> is_login -> login(...)            no token: the login itself is the proof
//! others: MountTable::resolve -> policy -> Permit -> handle(...)   users, roles, secret ids
//! ```

use std::net::IpAddr;

use bytes::Bytes;
use conclave_proto::log::{Precondition, Txn};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::mfa::{self, Codes};
use super::password::{PasswordDone, PasswordWork};
use super::token::TokenEntry;
use super::{approle, aws, cert, jwt, kubernetes, userpass};
use crate::engine::mount::Mount;
use crate::errand::{Errand, Errands, Halt};
use crate::error::Error;
use crate::plan::{Context, LIMIT, Operation, Plan, Query};
use crate::policy::Permit;

/// A login method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    AppRole,
    Cert,
    Userpass,
    Aws,
    Jwt,
    /// Another name of the same.
    Oidc,
    Kubernetes,
}

/// A request below an auth mount.
pub struct MethodRequest<'a> {
    pub operation: Operation,
    /// Below the mount; lists may end in one slash.
    pub path: &'a str,
    /// With the mount.
    pub full_path: &'a str,
    pub query: &'a Query,
    /// Empty when there is none.
    pub body: &'a Map<String, Value>,
    /// The client's address, if it is known.
    pub from: Option<IpAddr>,
    /// What came of the work that an earlier decision of this request asked for.
    pub password: Option<&'a PasswordDone>,
    /// What came of the errands that earlier decisions of this request asked for.
    pub errands: &'a Errands,
    /// Of other factors, sent with a login.
    pub codes: &'a Codes,
    /// What the client has shown in the TLS handshake, its own first; `None`: there was none.
    pub certificates: Option<&'a [Bytes]>,
}

/// What a decision comes to.
pub enum Step {
    Done(Plan),
    /// The answer is no, and that it was asked is remembered.
    Refused(Txn, Error),
    /// It cannot be decided before this is done.
    Work(Work),
}

/// What must be done before something can be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    Password(PasswordWork),
    /// Another server is to be asked.
    Errand(Errand),
}

impl From<PasswordWork> for Work {
    fn from(work: PasswordWork) -> Self {
        Self::Password(work)
    }
}

impl From<Errand> for Work {
    fn from(errand: Errand) -> Self {
        Self::Errand(errand)
    }
}

impl From<Plan> for Step {
    fn from(plan: Plan) -> Self {
        Self::Done(plan)
    }
}

impl Step {
    /// A decision that may need an errand first.
    pub(super) fn of(planned: Result<Plan, Halt>) -> Result<Self, Error> {
        match planned {
            Ok(plan) => Ok(Self::Done(plan)),
            Err(Halt::Refused(error)) => Err(error),
            Err(Halt::Errand(errand)) => Ok(Self::Work(errand.into())),
        }
    }
}

impl Method {
    const ALL: [Self; 7] =
        [Self::AppRole, Self::Cert, Self::Userpass, Self::Aws, Self::Jwt, Self::Oidc, Self::Kubernetes];

    pub fn name(self) -> &'static str {
        match self {
            Self::AppRole => "approle",
            Self::Aws => "aws",
            Self::Cert => "cert",
            Self::Userpass => "userpass",
            Self::Jwt => "jwt",
            Self::Oidc => "oidc",
            Self::Kubernetes => "kubernetes",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    pub fn names() -> [&'static str; 7] {
        Self::ALL.map(Self::name)
    }

    /// Which method answers below a mount; `None`: it is none for logins.
    pub fn of(mount: &Mount) -> Option<Self> {
        if mount.is_auth() { Self::named(mount.engine_type()) } else { None }
    }

    /// Whether whoever has no token may ask this, because it is how one gets one.
    pub fn is_login(self, path: &str) -> bool {
        match self {
            Self::AppRole | Self::Aws | Self::Cert | Self::Kubernetes => path == "login",
            Self::Userpass => path.strip_prefix("login/").is_some_and(|name| !name.is_empty()),
            Self::Jwt | Self::Oidc => jwt::is_login(path),
        }
    }

    /// Whether logins name a role, so that they can be limited by it.
    pub fn has_roles(self) -> bool {
        self != Self::Userpass
    }

    /// The role that a login at `path` would be by, as far as can be told without its proof, spelled as its token names it
    /// ([`LoginOrigin::subject`](super::token::LoginOrigin)).
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::View`].
    pub fn role_of(
        self,
        ctx: &Context<'_>,
        mount: &Mount,
        path: &str,
        query: &Query,
        body: &Map<String, Value>,
    ) -> Result<Option<String>, Error> {
        let named = |field| crate::fields::text(body, field).ok().flatten().filter(|name| !name.is_empty());
        let name = match self {
            Self::AppRole => approle::role_of(ctx, mount, body)?,
            Self::Jwt | Self::Oidc => jwt::role_of(ctx, mount, path, query, named("role"))?,
            Self::Aws | Self::Kubernetes => named("role"),
            Self::Cert => named("name"),
            Self::Userpass => None,
        };
        Ok(name.and_then(|name| subject(&name).ok()))
    }

    /// Whether a write to `path` would make something that is not there yet, so that policies must allow `create`.
    ///
    /// # Errors
    /// [`Error::View`].
    pub fn creates(self, ctx: &Context<'_>, mount: &Mount, path: &str) -> Result<bool, Error> {
        match self {
            Self::AppRole => approle::creates(ctx, mount, path),
            Self::Aws => aws::creates(ctx, mount, path),
            Self::Cert => cert::creates(ctx, mount, path),
            Self::Userpass => userpass::creates(ctx, mount, path),
            Self::Jwt | Self::Oidc => jwt::creates(ctx, mount, path),
            Self::Kubernetes => kubernetes::creates(ctx, mount, path),
        }
    }

    /// Plans a login.
    ///
    /// # Errors
    /// [`Error`]: it is refused, and nothing is remembered of it.
    pub fn login(
        self,
        ctx: &mut Context<'_>,
        mount: &Mount,
        request: &MethodRequest<'_>,
    ) -> Result<Step, Error> {
        let step = match self {
            // Whoever is sent back from a provider comes with a GET.
            Self::Jwt | Self::Oidc => jwt::login(ctx, mount, self, request),
            _ if request.operation != Operation::Write => Err(Error::Unsupported),
            Self::AppRole => approle::login(ctx, mount, request).map(Step::Done),
            Self::Cert => cert::login(ctx, mount, request).map(Step::Done),
            Self::Userpass => userpass::login(ctx, mount, request),
            Self::Aws => Step::of(aws::login(ctx, mount, request)),
            Self::Kubernetes => Step::of(kubernetes::login(ctx, mount, request)),
        }?;
        // Whatever has accepted it: no token is made but here.
        mfa::settle(ctx, mount, request, step)
    }

    /// Plans what is not a login.
    ///
    /// # Errors
    /// [`Error::Denied`]: the permit is for another operation. [`Error::NotFound`], [`Error::Unsupported`],
    /// [`Error::Invalid`]: as the method's rules say.
    pub fn handle(
        self,
        ctx: &mut Context<'_>,
        permit: &Permit,
        mount: &Mount,
        request: &MethodRequest<'_>,
    ) -> Result<Step, Error> {
        if permit.operation() != request.operation {
            return Err(Error::Denied);
        }
        match self {
            Self::AppRole => approle::handle(ctx, mount, request).map(Step::Done),
            Self::Aws => aws::handle(ctx, mount, request).map(Step::Done),
            Self::Cert => cert::handle(ctx, mount, request).map(Step::Done),
            Self::Userpass => userpass::handle(ctx, mount, request),
            Self::Jwt | Self::Oidc => jwt::handle(ctx, mount, request),
            Self::Kubernetes => kubernetes::handle(ctx, mount, request).map(Step::Done),
        }
    }
}

/// That a token's user or role still is what it was made by, so that it may be renewed; and what that was decided from.
///
/// # Errors
/// [`Error::Invalid`]: it is not.
pub fn holds(ctx: &Context<'_>, entry: &TokenEntry) -> Result<Option<Precondition>, Error> {
    let Some(origin) = &entry.login else { return Ok(None) };
    match origin.method {
        Method::AppRole => approle::holds(ctx, origin),
        Method::Aws => aws::holds(ctx, origin, entry),
        Method::Cert => cert::holds(ctx, origin, entry),
        Method::Userpass => userpass::holds(ctx, origin, entry),
        Method::Jwt | Method::Oidc => jwt::holds(ctx, origin),
        Method::Kubernetes => kubernetes::holds(ctx, origin),
    }
    .map(Some)
}

/// As [`holds`], and that whoever shows these certificates may have it renewed.
///
/// # Errors
/// [`Error::Invalid`]: it is not so.
pub fn may_renew(
    ctx: &Context<'_>,
    entry: &TokenEntry,
    certificates: Option<&[Bytes]>,
) -> Result<Vec<Precondition>, Error> {
    let shown = match &entry.login {
        Some(origin) if origin.method == Method::Cert => {
            Some(cert::may_renew(ctx, origin, entry, certificates)?)
        }
        _ => None,
    };
    Ok(holds(ctx, entry)?.into_iter().chain(shown).collect())
}

/// The name of a user or role, as it is kept: in lower case, and of signs that nobody takes for others.
///
/// # Errors
/// [`Error::NotFound`]: no user or role can have it.
pub fn subject(name: &str) -> Result<String, Error> {
    /// Longest name, in bytes.
    const NAME_BYTES_MAX: usize = 256;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let ends_in_words = name.bytes().next().is_some_and(is_word) && name.bytes().last().is_some_and(is_word);
    let is_usable = name.bytes().all(|byte| is_word(byte) || matches!(byte, b'-' | b'.'));
    if !ends_in_words || !is_usable || name.len() > NAME_BYTES_MAX {
        return Err(Error::NotFound);
    }
    Ok(name.to_ascii_lowercase())
}

/// `after` and `limit` of a list.
///
/// # Errors
/// [`Error::Invalid`]: `limit` is no number.
pub fn page(mut names: Vec<String>, query: &Query) -> Result<Vec<String>, Error> {
    if let Some(after) = query.first("after") {
        names.retain(|name| name.as_str() > after);
    }
    let limit = crate::fields::query_integer(query, LIMIT)?.and_then(|limit| usize::try_from(limit).ok());
    names.truncate(limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX));
    if names.is_empty() { Err(Error::NotFound) } else { Ok(names) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_signs_that_nobody_takes_for_others() {
        for (name, kept) in [("bob", "bob"), ("Bob.B-1_", "bob.b-1_"), ("_", "_"), ("A", "a")] {
            assert_eq!(subject(name).unwrap(), kept);
        }
        for name in ["", "-a", "a-", ".a", "a b", "a@b", "a:b", "a/b", "é", "a\u{212a}", "Ａ", "a%62"] {
            assert_eq!(subject(name), Err(Error::NotFound), "{name}");
        }
        assert!(subject(&"x".repeat(257)).is_err());
    }

    #[test]
    fn only_logins_are_for_whoever_has_no_token() {
        for (method, path) in [
            (Method::AppRole, "role/x"),
            (Method::AppRole, "login/"),
            (Method::AppRole, "login/x"),
            (Method::AppRole, ""),
            (Method::Userpass, "login"),
            (Method::Userpass, "login/"),
            (Method::Userpass, "users/login"),
            (Method::Userpass, "xlogin/bob"),
        ] {
            assert!(!method.is_login(path), "{path}");
        }
        assert!(Method::AppRole.is_login("login") && Method::Userpass.is_login("login/bob"));
    }
}
