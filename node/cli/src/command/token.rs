//! `conclave token`: making, looking at, renewing and ending tokens.

use clap::{Args, Subcommand};
use conclave_client::{Client, Request};
use serde_json::{Map, Value, json};

use super::kv::object;
use super::logical;
use crate::failure::Failure;
use crate::input;
use crate::output::{Report, table, value};

#[derive(Subcommand)]
pub enum Token {
    /// Make a token
    Create(Create),
    /// Show a token, or the one that this program uses
    Lookup(Which),
    /// Make a token last longer, or the one that this program uses
    Renew(Renew),
    /// End a token and all that were made with it
    Revoke(Revoke),
    /// Show what a token, or the one that this program uses, may do at a path
    Capabilities(Capabilities),
}

#[derive(Args)]
pub struct Create {
    /// A policy of the token; can be given several times [default: those of the token that makes it]
    #[arg(long = "policy", value_name = "NAME")]
    policies: Vec<String>,
    /// How long it lasts without being renewed
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// When it ends however often it is renewed
    #[arg(long, value_name = "DURATION")]
    explicit_max_ttl: Option<String>,
    /// It lasts as long as it is renewed this often
    #[arg(long, value_name = "DURATION")]
    period: Option<String>,
    /// Whether it can be renewed
    #[arg(long, value_name = "BOOL")]
    renewable: Option<bool>,
    /// It does not end with the token that makes it
    #[arg(long)]
    orphan: bool,
    /// Without the policy default
    #[arg(long)]
    no_default_policy: bool,
    /// How often it can be used
    #[arg(long, value_name = "NUMBER")]
    use_limit: Option<u64>,
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// Something to know of it; can be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    metadata: Vec<String>,
    /// The token itself, instead of a random one
    #[arg(long, value_name = "TOKEN")]
    id: Option<String>,
    /// How it is kept: service
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
}

#[derive(Args)]
pub struct Which {
    /// The token, or its accessor
    token: Option<String>,
    /// What is given is an accessor
    #[arg(long)]
    accessor: bool,
}

#[derive(Args)]
pub struct Renew {
    #[command(flatten)]
    which: Which,
    /// For how long from now on
    #[arg(long, short, value_name = "DURATION")]
    increment: Option<String>,
}

#[derive(Args)]
pub struct Revoke {
    #[command(flatten)]
    which: Which,
    /// The token that this program uses
    #[arg(long = "self", conflicts_with = "token")]
    own: bool,
    /// What else ends with it: orphan lets those that were made with it live on
    #[arg(long, value_name = "MODE", value_parser = ["orphan"])]
    mode: Option<String>,
}

#[derive(Args)]
pub struct Capabilities {
    /// The path, or the token and the path
    #[arg(value_name = "[TOKEN] PATH", num_args = 1..=2)]
    words: Vec<String>,
    /// What is given is an accessor
    #[arg(long)]
    accessor: bool,
}

pub async fn run(token: Token, client: &Client) -> Result<Report, Failure> {
    match token {
        Token::Create(create) => {
            let path = if create.orphan { "auth/token/create-orphan" } else { "auth/token/create" };
            let answer = client.send(Request::post(path, create.body()?)).await?;
            Ok(logical::report(&answer))
        }
        Token::Lookup(which) => {
            let answer = client.send(which.request("lookup", Map::new())?).await?;
            Ok(Report::answer(&answer, table::map(object(answer.data()))))
        }
        Token::Renew(Renew { which, increment }) => {
            let increment = increment.map(|increment| ("increment".to_owned(), json!(increment)));
            let answer = client.send(which.request("renew", increment.into_iter().collect())?).await?;
            Ok(logical::report(&answer))
        }
        Token::Revoke(revoke) => {
            client.send(revoke.request()?).await?;
            Ok(Report::done("Success! Revoked token (if it existed)"))
        }
        Token::Capabilities(capabilities) => {
            let answer = client.send(capabilities.request()?).await?;
            let names = value::cell("", &answer.data()["capabilities"]);
            Ok(Report::answer(&answer, names.trim_matches(['[', ']']).replace(' ', ", ") + "\n"))
        }
    }
}

impl Create {
    fn body(&self) -> Result<Value, Failure> {
        let mut body = Map::new();
        let mut set = |name: &str, value: Value| {
            body.insert(name.to_owned(), value);
        };
        if !self.policies.is_empty() {
            set("policies", json!(self.policies));
        }
        let texts = [
            ("ttl", &self.ttl),
            ("explicit_max_ttl", &self.explicit_max_ttl),
            ("period", &self.period),
            ("display_name", &self.display_name),
            ("id", &self.id),
            ("type", &self.kind),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                set(name, json!(text));
            }
        }
        if let Some(renewable) = self.renewable {
            set("renewable", json!(renewable));
        }
        if self.no_default_policy {
            set("no_default_policy", json!(true));
        }
        if let Some(uses) = self.use_limit {
            set("num_uses", json!(uses));
        }
        if !self.metadata.is_empty() {
            set("meta", json!(input::pairs(&self.metadata)?));
        }
        Ok(Value::Object(body))
    }
}

impl Which {
    /// Asks `verb` of the token that was named, or of this program's own.
    fn request(self, verb: &str, mut body: Map<String, Value>) -> Result<Request, Failure> {
        let path = match (self.token, self.accessor) {
            (None, true) => return Err(Failure::usage("Must name an accessor")),
            (None, false) if verb == "lookup" => return Ok(Request::get("auth/token/lookup-self")),
            (None, false) => format!("auth/token/{verb}-self"),
            (Some(accessor), true) => {
                body.insert("accessor".to_owned(), json!(accessor));
                format!("auth/token/{verb}-accessor")
            }
            (Some(token), false) => {
                body.insert("token".to_owned(), json!(token));
                format!("auth/token/{verb}")
            }
        };
        Ok(Request::post(path, Value::Object(body)))
    }
}

impl Revoke {
    fn request(self) -> Result<Request, Failure> {
        match (self.which.token.is_some(), self.own, self.mode) {
            (false, false, _) => Err(Failure::usage("Must name a token or an accessor, or say --self")),
            (_, _, None) => self.which.request("revoke", Map::new()),
            (true, false, Some(_)) if !self.which.accessor => {
                let body = json!({ "token": self.which.token });
                Ok(Request::post("auth/token/revoke-orphan", body))
            }
            _ => Err(Failure::usage("Only a token that is named can leave orphans")),
        }
    }
}

impl Capabilities {
    fn request(self) -> Result<Request, Failure> {
        let mut words = self.words.into_iter();
        let (path, body) = match (words.next(), words.next(), self.accessor) {
            (Some(accessor), Some(path), true) => {
                ("sys/capabilities-accessor", json!({ "accessor": accessor, "path": path }))
            }
            (Some(token), Some(path), false) => ("sys/capabilities", json!({ "token": token, "path": path })),
            (Some(path), None, false) => ("sys/capabilities-self", json!({ "path": path })),
            _ => return Err(Failure::usage("Must name a path, and before it the accessor")),
        };
        Ok(Request::post(path, body))
    }
}
