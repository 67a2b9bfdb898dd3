//! `conclave lease`: looking at, renewing and ending what was given for a time.

use clap::{Args, Subcommand};
use conclave_client::{Client, Request};
use serde_json::{Value, json};

use super::kv::object;
use super::{logical, trimmed};
use crate::failure::Failure;
use crate::output::{Report, table};

#[derive(Subcommand)]
pub enum Lease {
    /// Show a lease
    Lookup {
        /// The lease's id
        id: String,
    },
    /// Make a lease last longer
    Renew(Renew),
    /// End a lease, or all below a path
    Revoke(Revoke),
}

#[derive(Args)]
pub struct Renew {
    /// The lease's id
    id: String,
    /// For how long from now on
    #[arg(long, short, value_name = "DURATION")]
    increment: Option<String>,
}

#[derive(Args)]
pub struct Revoke {
    /// The lease's id, or with --prefix the path below which all end
    #[arg(value_name = "ID")]
    id: String,
    /// What is given is a path
    #[arg(long)]
    prefix: bool,
    /// Even if what was given cannot be taken back where it holds
    #[arg(long, short, requires = "prefix")]
    force: bool,
    /// Wait until it is done
    #[arg(long)]
    sync: bool,
}

pub async fn run(lease: Lease, client: &Client) -> Result<Report, Failure> {
    match lease {
        Lease::Lookup { id } => {
            let answer =
                client.send(Request::post("sys/leases/lookup", json!({ "lease_id": id.trim() }))).await?;
            Ok(Report::answer(&answer, table::map(object(answer.data()))))
        }
        Lease::Renew(renew) => {
            let answer = client.send(Request::post("sys/leases/renew", renew.body())).await?;
            Ok(logical::report(&answer))
        }
        Lease::Revoke(revoke) => {
            let (path, body, done) = revoke.request();
            let answer = client.send(Request::put(path, body)).await?;
            // Told if there was more than could be waited for.
            Ok(if answer.body()["warnings"].is_array() {
                Report::answer(&answer, done + "\n")
            } else {
                Report::done(done)
            })
        }
    }
}

impl Renew {
    fn body(&self) -> Value {
        let mut body = json!({ "lease_id": self.id.trim() });
        if let Some(increment) = &self.increment {
            body["increment"] = json!(increment);
        }
        body
    }
}

impl Revoke {
    /// Where what is asked, and what is said when it is done.
    fn request(&self) -> (String, Value, String) {
        let id = trimmed(self.id.trim());
        if self.force {
            let done = format!("Success! Force revoked any leases with prefix: {id}");
            return (format!("sys/leases/revoke-force/{id}"), Value::Null, done);
        }
        let (path, what) = match self.prefix {
            true => ("revoke-prefix", "any leases with prefix"),
            false => ("revoke", "lease"),
        };
        let done = match self.sync {
            true => format!("Success! Revoked {what}: {id}"),
            false => QUEUED.to_owned(),
        };
        (format!("sys/leases/{path}/{id}"), json!({ "sync": self.sync }), done)
    }
}

const QUEUED: &str = "All revocation operations queued successfully!";

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        revoke: Revoke,
    }

    fn asked(line: &str) -> (String, String) {
        let line = Line::try_parse_from(format!("revoke {line}").split_whitespace()).unwrap();
        let (path, _, done) = line.revoke.request();
        (path, done)
    }

    #[test]
    fn each_way_of_revoking_asks_for_its_own_path() {
        let (path, done) = asked("auth/approle/login/h1");
        assert_eq!((path.as_str(), done.as_str()), ("sys/leases/revoke/auth/approle/login/h1", QUEUED));
        let (path, done) = asked("--sync --prefix auth/approle/");
        assert_eq!(path, "sys/leases/revoke-prefix/auth/approle");
        assert_eq!(done, "Success! Revoked any leases with prefix: auth/approle");
        assert_eq!(asked("--force --prefix auth/approle").0, "sys/leases/revoke-force/auth/approle");
        assert!(Line::try_parse_from(["revoke", "--force", "x"]).is_err());
    }
}
