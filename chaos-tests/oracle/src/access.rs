//! What is asked about who may do what: tokens, policies, logins, wrapped answers.
//!
//! Everything has a name of its own within the run; no history holds a token or a password.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Makes a token that lasts for `ttl_ms`, and as long again from each renewal on. It ends with its parent, by whom it is
    /// made; one without is made by root.
    CreateToken { token: String, parent: Option<String>, policy: String, ttl_ms: u64 },
    /// By the token itself.
    RenewToken { token: String },
    /// A linearizable read with it.
    UseToken { token: String, what: Use },
    /// With it end all that were made by it.
    RevokeToken { token: String, way: Way },
    /// The policy has its rule from now on.
    Grant { policy: String },
    /// The policy's rule is taken away.
    Withdraw { policy: String },
    /// With the user's password or with another one. The user's name says when he is locked out: see [`crate::lockout`].
    Login { user: String, right: bool },
    /// Lays an answer aside, for so long.
    Wrap { name: String, value: u64, ttl_ms: u64 },
    /// Asks for what was laid aside.
    Unwrap { name: String },
}

/// What a token is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// A secret, which takes the policy's rule.
    Secret,
    /// What it is itself, which every token may ask.
    Itself,
}

/// How the token to be revoked is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    Token,
    Accessor,
    /// It asks itself.
    Own,
}

impl Access {
    /// The token by whose rights it is asked for, if that is not root's.
    #[must_use]
    pub fn bearer(&self) -> Option<&str> {
        match self {
            Self::RenewToken { token } | Self::UseToken { token, .. } => Some(token),
            Self::CreateToken { parent, .. } => parent.as_deref(),
            // What may come of it is nothing but the token's end.
            Self::RevokeToken { .. } => None,
            Self::Grant { .. } | Self::Withdraw { .. } => None,
            Self::Login { .. } | Self::Wrap { .. } | Self::Unwrap { .. } => None,
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateToken { token, parent, policy, ttl_ms } => {
                write!(f, "create token {token} for {ttl_ms} ms with policy {policy}")?;
                parent.as_ref().map_or(Ok(()), |parent| write!(f, " by {parent}"))
            }
            Self::RenewToken { token } => write!(f, "renew token {token}"),
            Self::UseToken { token, what: Use::Secret } => write!(f, "read a secret with token {token}"),
            Self::UseToken { token, what: Use::Itself } => write!(f, "look up token {token} by itself"),
            Self::RevokeToken { token, way } => {
                let way = match way {
                    Way::Token => "",
                    Way::Accessor => " by its accessor",
                    Way::Own => " by itself",
                };
                write!(f, "revoke token {token}{way}")
            }
            Self::Grant { policy } => write!(f, "give policy {policy} its rule"),
            Self::Withdraw { policy } => write!(f, "take the rule of policy {policy} away"),
            Self::Login { user, right: true } => write!(f, "log {user} in"),
            Self::Login { user, right: false } => write!(f, "log {user} in with a wrong password"),
            Self::Wrap { name, value, ttl_ms } => write!(f, "wrap {value} as {name} for {ttl_ms} ms"),
            Self::Unwrap { name } => write!(f, "unwrap {name}"),
        }
    }
}
