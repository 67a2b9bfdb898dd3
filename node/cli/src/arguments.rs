//! The command line: what can be said, and how it is spelled.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::command::audit::Audit;
use crate::command::auth::Auth;
use crate::command::cluster::{Join, JoinToken};
use crate::command::kv::Kv;
use crate::command::lease::Lease;
use crate::command::logical::{List, Path, Read, Unwrap, Write};
use crate::command::login::Login;
use crate::command::operator::Operator;
use crate::command::policy::Policy;
use crate::command::secrets::Secrets;
use crate::command::token::Token;
use crate::dev::Dev;
use crate::output::Format;

/// A distributed, replicated secrets cluster.
#[derive(Parser)]
#[command(
    name = "conclave",
    version,
    after_help = "Exit codes: 0 done, 1 the server said no, 2 a usage error or no answer."
)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Args)]
pub struct Global {
    /// A node's address; several with commas between them, tried in turn [env: CONCLAVE_ADDR, VAULT_ADDR, BAO_ADDR]
    /// [default: https://127.0.0.1:8200]
    #[arg(long, global = true, value_name = "URL", help_heading = "Connection")]
    pub address: Vec<String>,
    /// A PEM file of the authorities to trust [env: CONCLAVE_CACERT, VAULT_CACERT, BAO_CACERT]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub ca_cert: Option<PathBuf>,
    /// A PEM file of the certificate to show in handshakes [env: CONCLAVE_CLIENT_CERT, VAULT_CLIENT_CERT, BAO_CLIENT_CERT]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub client_cert: Option<PathBuf>,
    /// A PEM file of its key [env: CONCLAVE_CLIENT_KEY, VAULT_CLIENT_KEY, BAO_CLIENT_KEY]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub client_key: Option<PathBuf>,
    /// Do not check the server's certificate: whoever answers gets the token
    #[arg(long, global = true, help_heading = "Connection")]
    pub tls_skip_verify: bool,
    /// How long to try, in seconds [default: 60]
    #[arg(long, global = true, value_name = "SECONDS", help_heading = "Connection")]
    pub timeout: Option<u64>,
    /// Let a node answer reads from its own state, not older than AGE (30s) or of "any" age
    #[arg(long, global = true, value_name = "AGE", help_heading = "Connection")]
    pub stale: Option<String>,
    /// Wrap the answer for so long (60s), and show the token that hands it over once [env: CONCLAVE_WRAP_TTL,
    /// VAULT_WRAP_TTL, BAO_WRAP_TTL]
    #[arg(long, global = true, value_name = "DURATION", help_heading = "Connection")]
    pub wrap_ttl: Option<String>,
    /// How to print [env: CONCLAVE_FORMAT, VAULT_FORMAT, BAO_FORMAT] [default: table]
    #[arg(long, global = true, value_enum, help_heading = "Output")]
    pub format: Option<Format>,
    /// Print only this field, without a newline behind it
    #[arg(long, global = true, value_name = "NAME", help_heading = "Output")]
    pub field: Option<String>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run one node (conclave server --help tells its flags)
    #[command(disable_help_flag = true)]
    Server {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        args: Vec<OsString>,
    },
    /// Run a whole cluster on this machine, for development
    Dev(Dev),
    /// Read and write secrets in a key-value engine
    #[command(subcommand)]
    Kv(Kv),
    /// List, enable and configure secrets engines
    #[command(subcommand)]
    Secrets(Secrets),
    /// List, enable and configure login methods
    #[command(subcommand)]
    Auth(Auth),
    /// Log in, and keep the token for later commands
    Login(Login),
    /// Make, look at, renew and end tokens
    #[command(subcommand)]
    Token(Token),
    /// Look at, renew and end what was given for a time
    #[command(subcommand)]
    Lease(Lease),
    /// Say who may do what
    #[command(subcommand)]
    Policy(Policy),
    /// Initialise, unseal, back up and maintain a cluster
    #[command(subcommand)]
    Operator(Operator),
    /// List, enable and disable audit devices, and find what was changed in a trail
    #[command(subcommand)]
    Audit(Audit),
    /// Show the seal and leadership of a node (exit code 1: sealed)
    Status,
    /// List the cluster's nodes
    Members,
    /// Make a token with which one new node can join
    JoinToken(JoinToken),
    /// Make the addressed node, which must be new, join a cluster
    Join(Join),
    /// Take the addressed node out of its cluster
    Leave,
    /// Read any path of the API
    Read(Read),
    /// Write to any path of the API
    Write(Write),
    /// Delete any path of the API
    Delete(Path),
    /// List the names below any path of the API
    List(List),
    /// Get a wrapped answer, which can be had once
    Unwrap(Unwrap),
}

/// Vault's own spelling of long flags has one dash (`-mount=secret`): takes it too.
pub fn with_two_dashes(args: Vec<OsString>) -> Vec<OsString> {
    let mut plain = false;
    args.into_iter()
        .map(|argument| {
            plain |= argument == "--";
            match argument.to_str() {
                Some(text) if !plain && is_long_flag_with_one_dash(text) => format!("-{text}").into(),
                _ => argument,
            }
        })
        .collect()
}

fn is_long_flag_with_one_dash(text: &str) -> bool {
    let Some(name) = text.strip_prefix('-').and_then(|rest| rest.split('=').next()) else { return false };
    name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        let args = line.split_whitespace().map(OsString::from).collect();
        Arguments::try_parse_from(with_two_dashes(args))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn vaults_spellings_are_understood() {
        for line in [
            "conclave kv put -mount=secret -cas=0 foo bar=baz",
            "conclave kv put secret/foo bar=-",
            "conclave kv put secret/foo -",
            "conclave kv get -field=bar -format=json secret/foo",
            "conclave kv get --version 2 secret/foo",
            "conclave kv delete -versions=1,2 secret/foo",
            "conclave kv patch -method=rw -remove-data=a -remove-data=b secret/foo x=y",
            "conclave kv metadata put -cas-required -max-versions=5 -custom-metadata=a=b secret/foo",
            "conclave kv metadata put -cas-required=false -delete-version-after=3h25m19s secret/foo",
            "conclave secrets enable -path=secret -version=2 kv",
            "conclave secrets tune -max-lease-ttl=30m secret/",
            "conclave auth list -detailed",
            "conclave auth enable -path=people -default-lease-ttl=1h userpass",
            "conclave auth disable people/",
            "conclave auth tune -max-lease-ttl=30m -token-type=service -user-lockout-threshold=3 people/",
            "conclave login",
            "conclave login s.token",
            "conclave login -method=userpass username=bob",
            "conclave login -method=userpass -path=people -no-store -token-only username=bob password=-",
            "conclave operator init -n 5 -t 3",
            "conclave operator init -key-shares=5 -key-threshold=3",
            "conclave operator raft snapshot save backup.snap",
            "conclave operator snapshot restore -force backup.snap",
            "conclave operator unseal",
            "conclave operator generate-root -generate-otp",
            "conclave operator generate-root -init -otp=abc",
            "conclave operator generate-root -decode=abc -otp=abc",
            "conclave operator generate-root -nonce=n KEY",
            "conclave operator rekey -init -key-shares=3 -key-threshold=2 -verify",
            "conclave operator rekey -init -n 3 -t 2 -target=recovery",
            "conclave operator rekey -verify -nonce=n KEY",
            "conclave operator rotate-keys -cancel",
            "conclave lease lookup auth/approle/login/h1",
            "conclave lease renew -increment=60 auth/approle/login/h1",
            "conclave lease revoke auth/approle/login/h1",
            "conclave lease revoke -force -prefix auth/approle",
            "conclave lease revoke -sync -prefix auth/approle",
            "conclave read -wrap-ttl=5m secret/foo",
            "conclave unwrap",
            "conclave unwrap -field=a s.token",
            "conclave audit enable -path=all -description=x file file_path=audit.log required=false",
            "conclave audit disable all/",
            "conclave audit verify -from=5 -anchors=heads.json audit.log.1 audit.log",
            "conclave -address=https://n1:8200 status",
            "conclave write -f sys/rotate",
            "conclave dev --nodes 3 --dir D --base-port 0 --no-tls --root-token T --detach --json",
            "conclave dev --stop D",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn usage_errors_exit_with_2_and_help_with_0() {
        assert_eq!(parse("conclave bogus").err().unwrap().exit_code(), 2);
        assert_eq!(parse("conclave kv get").err().unwrap().exit_code(), 2);
        assert_eq!(parse("conclave kv get --version x secret/a").err().unwrap().exit_code(), 2);
        assert_eq!(parse("conclave dev --stop D --detach").err().unwrap().exit_code(), 2);
        assert_eq!(parse("conclave kv --help").err().unwrap().exit_code(), 0);
    }

    #[test]
    fn values_are_not_taken_for_flags() {
        let before: Vec<OsString> =
            ["-", "-5", "-f", "a=-b", "-Mount=x", "--", "-mount"].into_iter().map(OsString::from).collect();
        assert_eq!(with_two_dashes(before.clone()), before);
        assert_eq!(with_two_dashes(vec!["-mount=-x".into()]), ["--mount=-x"]);
    }
}
