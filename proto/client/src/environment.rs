//! Settings from the environment: Conclave's own names first, then Vault's, then OpenBao's.

use std::path::PathBuf;

use conclave_proto::secret::Secret;

use crate::error::Error;

/// Prefixes of the variables, the strongest first.
const PREFIXES: [&str; 3] = ["CONCLAVE_", "VAULT_", "BAO_"];

/// What the environment says; a variable that is unset or empty says nothing.
#[derive(Debug, Default)]
pub struct Environment {
    /// `*_ADDR`: one address, or several with commas between them.
    pub addresses: Vec<String>,
    /// `*_TOKEN`.
    pub token: Option<Secret<String>>,
    /// `*_CACERT`: a PEM file.
    pub ca_cert: Option<PathBuf>,
    /// `*_CLIENT_CERT` and `*_CLIENT_KEY`: PEM files of what this client shows of itself.
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    /// `*_SKIP_VERIFY`.
    pub skip_verify: bool,
}

impl Environment {
    pub fn read() -> Result<Self, Error> {
        Self::from(|name| std::env::var(name).ok())
    }

    /// As [`Environment::read`], from any source of variables.
    pub fn from(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let first = |suffix: &str| {
            PREFIXES.iter().find_map(|prefix| {
                let name = format!("{prefix}{suffix}");
                let value = variable(&name)?;
                (!value.is_empty()).then_some((name, value))
            })
        };
        let skip_verify = match first("SKIP_VERIFY") {
            None => false,
            Some((name, value)) => {
                truth(&value).ok_or_else(|| Error::Configuration(format!("{name} must be true or false")))?
            }
        };
        Ok(Self {
            addresses: first("ADDR").map(|(_, list)| split_addresses(&list)).unwrap_or_default(),
            token: first("TOKEN").map(|(_, token)| Secret::new(token.trim().to_owned())),
            ca_cert: first("CACERT").map(|(_, path)| path.into()),
            client_cert: first("CLIENT_CERT").map(|(_, path)| path.into()),
            client_key: first("CLIENT_KEY").map(|(_, path)| path.into()),
            skip_verify,
        })
    }
}

/// The spellings that Go's `ParseBool` takes, as Vault's own client does.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

pub(crate) fn split_addresses(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|address| !address.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Result<Environment, Error> {
        Environment::from(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn conclave_wins_over_vault_and_vault_over_bao() {
        let found = environment(&[
            ("BAO_ADDR", "https://b"),
            ("VAULT_ADDR", "https://v"),
            ("CONCLAVE_ADDR", ""),
            ("BAO_TOKEN", "s.b"),
            ("VAULT_CACERT", "/v.pem"),
            ("CONCLAVE_CACERT", "/c.pem"),
        ])
        .unwrap();
        assert_eq!(found.addresses, ["https://v"]);
        assert_eq!(found.token.unwrap().expose(), "s.b");
        assert_eq!(found.ca_cert.unwrap(), PathBuf::from("/c.pem"));
        assert!(!found.skip_verify);
    }

    #[test]
    fn several_addresses_stand_between_commas() {
        let found = environment(&[("CONCLAVE_ADDR", "https://a:8200, https://b:8200,")]).unwrap();
        assert_eq!(found.addresses, ["https://a:8200", "https://b:8200"]);
    }

    #[test]
    fn a_switch_that_is_neither_true_nor_false_is_an_error() {
        assert!(environment(&[("VAULT_SKIP_VERIFY", "1")]).unwrap().skip_verify);
        assert!(
            environment(&[("VAULT_SKIP_VERIFY", "yes")])
                .unwrap_err()
                .to_string()
                .contains("VAULT_SKIP_VERIFY")
        );
    }

    #[test]
    fn the_token_is_never_printed() {
        let found = environment(&[("VAULT_TOKEN", "canary-token")]).unwrap();
        assert!(!format!("{found:?}").contains("canary"));
    }
}
