//! `conclave login`: from a password, or a token, to the token of all later commands.

use clap::Args;
use conclave_client::{Answer, Request, Secret};
use serde_json::{Map, Value, json};

use super::{logical, trimmed};
use crate::failure::Failure;
use crate::input;
use crate::output::Report;
use crate::session::Session;
use crate::token_file;

const STORED: &str = "\
Success! You are now authenticated. The token information displayed below is
already stored in the token helper. You do NOT need to run \"conclave login\"
again. Future requests will automatically use this token.

";
const NOT_STORED: &str = "\
Success! You are now authenticated. The token was not stored in the token
helper. Set CONCLAVE_TOKEN or run the desired command with it.

";

#[derive(Args)]
pub struct Login {
    /// How: token, userpass, jwt or kubernetes
    #[arg(long, value_name = "METHOD", default_value = "token")]
    method: String,
    /// Where the method is mounted [default: its name]
    #[arg(long)]
    path: Option<String>,
    /// Do not keep the token
    #[arg(long)]
    no_store: bool,
    /// Do not show the token
    #[arg(long)]
    no_print: bool,
    /// Show the token alone, and do not keep it
    #[arg(long)]
    token_only: bool,
    /// key=value, key=@file, key=-, or a token; what is missing is asked for
    #[arg(value_name = "DATA")]
    data: Vec<String>,
}

pub async fn run(login: Login, session: &Session) -> Result<Report, Failure> {
    let (token, mut report) = match login.method.as_str() {
        "token" => by_token(&login, session).await?,
        "userpass" => by_password(&login, session).await?,
        "jwt" | "kubernetes" => by_data(&login, session).await?,
        _ => {
            return Err(Failure::usage(
                "the method is token, userpass, jwt or kubernetes: others log in with 'conclave write auth/PATH/login'",
            ));
        }
    };
    if login.token_only {
        return Ok(Report::text(token.expose().clone()));
    }
    if !login.no_store {
        token_file::store(token.expose())?;
    }
    if login.no_print {
        return Ok(Report::done("Success! You are now authenticated."));
    }
    report.lead(if login.no_store { NOT_STORED } else { STORED });
    Ok(report)
}

/// Proves a token by looking it up.
async fn by_token(login: &Login, session: &Session) -> Result<(Secret<String>, Report), Failure> {
    let token = match login.data.as_slice() {
        [] => asked("Token (will be hidden): ")?,
        [token] if token == "-" => input::line(std::io::stdin().lock())?,
        [token] => token.strip_prefix("token=").unwrap_or(token).to_owned(),
        _ => return Err(Failure::usage("a login by token takes one token")),
    };
    let token = Secret::new(token);
    let client = session.client_with(Some(token.clone()))?;
    let answer = client.send(Request::get("auth/token/lookup-self")).await?;
    Ok((token, logical::report(&answer)))
}

async fn by_password(login: &Login, session: &Session) -> Result<(Secret<String>, Report), Failure> {
    let mut data = input::data(&login.data, &mut std::io::stdin())?;
    let name = match data.remove("username") {
        Some(Value::String(name)) if !name.is_empty() => name,
        _ => return Err(Failure::usage("Must supply username=NAME")),
    };
    let password = match data.remove("password") {
        // Of a file or of standard input, whose last line has an end.
        Some(Value::String(password)) => password.trim_end_matches(['\r', '\n']).to_owned(),
        _ => asked("Password (will be hidden): ")?,
    };
    if let Some(other) = data.keys().next() {
        return Err(Failure::usage(format!("a login by userpass takes username and password, not {other}")));
    }
    let path = trimmed(login.path.as_deref().unwrap_or("userpass"));
    // The name goes into a path as it is, so it must be one that a user can have.
    if name.contains(['/', '?', '#', '%']) {
        return Err(Failure::usage("no user has such a name"));
    }
    let body = Map::from_iter([("password".to_owned(), json!(password))]);
    // Whoever logs in shows no token.
    let client = session.client_with(None)?;
    let request = Request::put(format!("auth/{path}/login/{name}"), Value::Object(body));
    let answer = client.send(request).await?;
    Ok((token_of(&answer)?, logical::report(&answer)))
}

fn token_of(answer: &Answer) -> Result<Secret<String>, Failure> {
    let token = answer.auth().and_then(|auth| auth.get("client_token")?.as_str());
    let token = token.ok_or_else(|| Failure::refused("the answer has no token"))?;
    Ok(Secret::new(token.to_owned()))
}

/// By what the method itself takes, such as a role and a token of somebody else.
async fn by_data(login: &Login, session: &Session) -> Result<(Secret<String>, Report), Failure> {
    let mut data = input::data(&login.data, &mut std::io::stdin())?;
    for text in data.values_mut() {
        if let Value::String(text) = text {
            // Of a file or of standard input, whose last line has an end.
            text.truncate(text.trim_end_matches(['\r', '\n']).len());
        }
    }
    let path = trimmed(login.path.as_deref().unwrap_or(&login.method));
    let client = session.client_with(None)?;
    let answer = client.send(Request::put(format!("auth/{path}/login"), Value::Object(data))).await?;
    let token = token_of(&answer)?;
    Ok((token, logical::report(&answer)))
}

fn asked(prompt: &str) -> Result<String, Failure> {
    rpassword::prompt_password(prompt)
        .map_err(|error| Failure::usage(format!("cannot ask for it on this terminal: {error}")))
}
