//! `conclave auth`: which login method is mounted where.

use clap::{Args, Subcommand};
use conclave_client::{Client, Request};
use serde_json::{Map, Value, json};

use super::secrets::{Settings, detailed_mounts, short_mounts};
use super::trimmed;
use crate::failure::Failure;
use crate::output::Report;

#[derive(Subcommand)]
pub enum Auth {
    /// List the login methods and where they are mounted
    List {
        /// Show all settings
        #[arg(long)]
        detailed: bool,
    },
    /// Mount a login method
    Enable(Enable),
    /// Unmount a login method and end all tokens of its logins
    Disable { path: String },
    /// Change a login method's settings
    Tune(Tune),
}

#[derive(Args)]
pub struct Enable {
    /// Where to mount it [default: the type]
    #[arg(long)]
    path: Option<String>,
    /// The method, such as userpass or approle
    #[arg(value_name = "TYPE")]
    method: String,
    #[command(flatten)]
    settings: AuthSettings,
}

#[derive(Args)]
pub struct Tune {
    path: String,
    #[command(flatten)]
    settings: AuthSettings,
    /// Wrong passwords in a row that lock a user out
    #[arg(long, value_name = "NUMBER")]
    user_lockout_threshold: Option<u64>,
    /// How long a user is locked out
    #[arg(long, value_name = "DURATION")]
    user_lockout_duration: Option<String>,
    /// After how long without a wrong password counting begins anew
    #[arg(long, value_name = "DURATION")]
    user_lockout_counter_reset_duration: Option<String>,
    /// Lock nobody out
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    user_lockout_disable: Option<bool>,
}

#[derive(Args)]
struct AuthSettings {
    #[command(flatten)]
    settings: Settings,
    /// The tokens that its logins give: service or default-service
    #[arg(long, value_name = "TYPE")]
    token_type: Option<String>,
}

impl AuthSettings {
    fn config(&self) -> Map<String, Value> {
        let mut config = self.settings.config();
        if let Some(kind) = &self.token_type {
            config.insert("token_type".to_owned(), json!(kind));
        }
        config
    }
}

impl Enable {
    fn body(&self) -> Result<Value, Failure> {
        let mut body = Map::from_iter([("type".to_owned(), json!(self.method))]);
        self.settings.settings.describe(&mut body)?;
        let config = self.settings.config();
        if !config.is_empty() {
            body.insert("config".to_owned(), Value::Object(config));
        }
        Ok(Value::Object(body))
    }
}

impl Tune {
    fn body(&self) -> Result<Value, Failure> {
        let mut body = self.settings.config();
        self.settings.settings.describe(&mut body)?;
        let lockout: Map<String, Value> = [
            ("lockout_threshold", self.user_lockout_threshold.map(|count| json!(count.to_string()))),
            ("lockout_duration", self.user_lockout_duration.as_ref().map(|text| json!(text))),
            (
                "lockout_counter_reset_duration",
                self.user_lockout_counter_reset_duration.as_ref().map(|text| json!(text)),
            ),
            ("lockout_disable", self.user_lockout_disable.map(|disable| json!(disable))),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
        if !lockout.is_empty() {
            body.insert("user_lockout_config".to_owned(), Value::Object(lockout));
        }
        Ok(Value::Object(body))
    }
}

pub async fn run(auth: Auth, client: &Client) -> Result<Report, Failure> {
    match auth {
        Auth::List { detailed } => {
            let answer = client.send(Request::get("sys/auth")).await?;
            let mounts = answer.data();
            Ok(Report::new(if detailed { detailed_mounts(mounts) } else { short_mounts(mounts) }, mounts))
        }
        Auth::Enable(args) => {
            let path = trimmed(args.path.as_deref().unwrap_or(&args.method)).to_owned();
            client.send(Request::post(format!("sys/auth/{path}"), args.body()?)).await?;
            Ok(Report::done(format!("Success! Enabled {} auth method at: {path}/", args.method)))
        }
        Auth::Disable { path } => {
            let path = trimmed(&path);
            client.send(Request::delete(format!("sys/auth/{path}"))).await?;
            Ok(Report::done(format!("Success! Disabled the auth method (if it existed) at: {path}/")))
        }
        Auth::Tune(args) => {
            let path = trimmed(&args.path);
            client.send(Request::post(format!("sys/auth/{path}/tune"), args.body()?)).await?;
            Ok(Report::done(format!("Success! Tuned the auth method at: {path}/")))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        auth: Auth,
    }

    fn body(line: &str) -> Value {
        match Line::try_parse_from(format!("auth {line}").split_whitespace()).unwrap().auth {
            Auth::Enable(enable) => enable.body().unwrap(),
            Auth::Tune(tune) => tune.body().unwrap(),
            _ => panic!("it has no body"),
        }
    }

    #[test]
    fn only_settings_that_were_named_are_sent() {
        assert_eq!(body("enable userpass"), json!({ "type": "userpass" }));
        assert_eq!(
            body("enable --description=d --token-type=service --max-lease-ttl=1h approle"),
            json!({ "type": "approle", "description": "d",
                "config": { "token_type": "service", "max_lease_ttl": "1h" } })
        );
        assert_eq!(
            body("tune --default-lease-ttl=1h --user-lockout-threshold=3 --user-lockout-disable up/"),
            json!({ "default_lease_ttl": "1h",
                "user_lockout_config": { "lockout_threshold": "3", "lockout_disable": true } })
        );
    }
}
