//! What all commands share: how to reach the cluster and how to print.

use std::time::Duration;

use conclave_client::{Builder, Client, Environment, Secret, Staleness};

use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::Format;
use crate::token_file;

/// Variables that choose the output, the strongest first.
const FORMAT_VARIABLES: [&str; 3] = ["CONCLAVE_FORMAT", "VAULT_FORMAT", "BAO_FORMAT"];

/// Variables that say for how long answers are wrapped, the strongest first.
const WRAP_TTL_VARIABLES: [&str; 3] = ["CONCLAVE_WRAP_TTL", "VAULT_WRAP_TTL", "BAO_WRAP_TTL"];

pub struct Session {
    pub format: Format,
    pub field: Option<String>,
    global: Global,
}

impl Session {
    /// `can_be_wrapped`: the command shows the token of an answer that was wrapped. The environment is for those only, a
    /// flag for all.
    pub fn new(mut global: Global, can_be_wrapped: bool) -> Result<Self, Failure> {
        let variable = |name: &str| std::env::var(name).ok();
        if can_be_wrapped {
            global.wrap_ttl = global.wrap_ttl.or_else(|| wrap_ttl_from(variable));
        }
        let format = match global.format {
            Some(format) => format,
            None => format_from(variable)?,
        };
        let field = global.field.take();
        Ok(Self { format, field, global })
    }

    /// Whether the answer is to be wrapped.
    pub fn wraps(&self) -> bool {
        self.global.wrap_ttl.is_some()
    }

    /// A client from the flags, and from the environment for what no flag says; its token may be that of a login.
    pub fn client(&self) -> Result<Client, Failure> {
        let mut environment = Environment::read()?;
        if environment.token.is_none() {
            environment.token = token_file::read()?;
        }
        Ok(self.builder()?.environment(environment).build()?)
    }

    /// As [`Session::client`], but with this token or none.
    pub fn client_with(&self, token: Option<Secret<String>>) -> Result<Client, Failure> {
        let environment = Environment { token, ..Environment::read()? };
        Ok(self.builder()?.environment(environment).build()?)
    }

    fn builder(&self) -> Result<Builder, Failure> {
        let mut builder =
            Client::builder().addresses(&self.global.address).skip_verify(self.global.tls_skip_verify);
        if let Some(path) = &self.global.ca_cert {
            builder = builder.ca_cert(path);
        }
        if let Some(path) = &self.global.client_cert {
            builder = builder.client_cert(path);
        }
        if let Some(path) = &self.global.client_key {
            builder = builder.client_key(path);
        }
        if let Some(seconds) = self.global.timeout {
            builder = builder.timeout(Duration::from_secs(seconds));
        }
        if let Some(ttl) = &self.global.wrap_ttl {
            builder = builder.wrap_ttl(ttl);
        }
        if let Some(age) = &self.global.stale {
            builder = builder.stale(staleness(age)?);
        }
        Ok(builder)
    }
}

/// The strongest of the variables that says something, with its name.
fn first_of<const COUNT: usize>(
    names: [&'static str; COUNT],
    variable: impl Fn(&str) -> Option<String>,
) -> Option<(&'static str, String)> {
    names.into_iter().find_map(|name| Some((name, variable(name).filter(|value| !value.is_empty())?)))
}

fn wrap_ttl_from(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    first_of(WRAP_TTL_VARIABLES, variable).map(|(_, ttl)| ttl)
}

fn format_from(variable: impl Fn(&str) -> Option<String>) -> Result<Format, Failure> {
    match first_of(FORMAT_VARIABLES, variable) {
        None => Ok(Format::Table),
        Some((name, value)) => <Format as clap::ValueEnum>::from_str(&value, true)
            .map_err(|_| Failure::usage(format!("{name} must be \"table\" or \"json\""))),
    }
}

/// `any`, or a number of `ms`, `s`, `m` or `h`.
fn staleness(text: &str) -> Result<Staleness, Failure> {
    let fault = || Failure::usage("--stale takes \"any\" or an age such as 500ms, 30s or 5m");
    if text == "any" {
        return Ok(Staleness::Unbounded);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let count: u64 = digits.parse().map_err(|_| fault())?;
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(fault()),
    };
    count.checked_mul(unit_ms).map(|ms| Staleness::AtMost(Duration::from_millis(ms))).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_comes_from_the_environment_when_no_flag_says_it() {
        let format = |name: &'static str, value: &'static str| {
            format_from(move |asked| (asked == name).then(|| value.to_owned()))
                .map_err(|failure| failure.to_string())
        };
        assert_eq!(format("VAULT_FORMAT", "json"), Ok(Format::Json));
        assert_eq!(format("CONCLAVE_FORMAT", ""), Ok(Format::Table));
        assert!(format("BAO_FORMAT", "yaml").unwrap_err().contains("BAO_FORMAT"));
    }

    #[test]
    fn how_long_answers_are_wrapped_comes_from_the_strongest_variable_that_says_it() {
        let wrapped = |set: &[(&str, &str)]| {
            let find = |asked: &str| set.iter().find(|(name, _)| *name == asked);
            wrap_ttl_from(|asked| find(asked).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(wrapped(&[("BAO_WRAP_TTL", "5m"), ("VAULT_WRAP_TTL", "60s")]).as_deref(), Some("60s"));
        assert_eq!(wrapped(&[("CONCLAVE_WRAP_TTL", ""), ("BAO_WRAP_TTL", "5m")]).as_deref(), Some("5m"));
        assert_eq!(wrapped(&[]), None);
    }

    #[test]
    fn an_age_has_a_unit() {
        assert_eq!(staleness("any").ok(), Some(Staleness::Unbounded));
        assert_eq!(staleness("30s").ok(), Some(Staleness::AtMost(Duration::from_secs(30))));
        assert_eq!(staleness("500ms").ok(), Some(Staleness::AtMost(Duration::from_millis(500))));
        for bad in ["30", "s", "", "-1s", "1d", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(staleness(bad).err().map(|failure| failure.code()), Some(2), "{bad}");
        }
    }
}
