//! `conclave login`: from a password, a certificate or a token to the token of all later commands.

use clap::Args;
use conclave_client::{Answer, Client, Request, Secret};
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
    /// How: token, userpass, cert (with --client-cert and --client-key), jwt or kubernetes
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
    /// key=value, key=@file, key=-, or a token; what is missing is asked for, also the passcode of a second factor
    #[arg(value_name = "DATA")]
    data: Vec<String>,
}

pub async fn run(login: Login, session: &Session) -> Result<Report, Failure> {
    let (token, mut report) = match login.method.as_str() {
        "token" => by_token(&login, session).await?,
        "userpass" => by_password(&login, session).await?,
        "cert" => by_certificate(&login, session).await?,
        "jwt" | "kubernetes" => by_data(&login, session).await?,
        _ => {
            return Err(Failure::usage(
                "the method is token, userpass, cert, jwt or kubernetes: others log in with 'conclave write auth/PATH/login'",
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
    let passcode = text(data.remove("passcode"));
    if let Some(other) = data.keys().next() {
        return Err(Failure::usage(format!(
            "a login by userpass takes username, password and passcode, not {other}"
        )));
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
    finished(&client, request, passcode).await
}

async fn by_certificate(login: &Login, session: &Session) -> Result<(Secret<String>, Report), Failure> {
    let mut data = input::data(&login.data, &mut std::io::stdin())?;
    let passcode = text(data.remove("passcode"));
    if let Some(other) = data.keys().find(|key| *key != "name") {
        return Err(Failure::usage(format!("a login by cert takes name and passcode, not {other}")));
    }
    let path = trimmed(login.path.as_deref().unwrap_or("cert"));
    let client = session.client_with(None)?;
    finished(&client, Request::put(format!("auth/{path}/login"), Value::Object(data)), passcode).await
}

fn text(value: Option<Value>) -> Option<String> {
    value?.as_str().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Logs in, with a code of a second factor if one is demanded.
async fn finished(
    client: &Client,
    request: Request,
    passcode: Option<String>,
) -> Result<(Secret<String>, Report), Failure> {
    let mut answer = client.send(request).await?;
    if let Some((id, methods)) = demanded(&answer) {
        let mut payload = Map::new();
        for (method, name) in methods {
            let code = match &passcode {
                Some(code) => code.clone(),
                None => asked(&format!("Passcode of {name} (will be hidden): "))?,
            };
            payload.insert(method, json!([code]));
        }
        let body = json!({ "mfa_request_id": id, "mfa_payload": payload });
        answer = client.send(Request::put("sys/mfa/validate", body)).await?;
    }
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

/// The id of a login that waits, and of each demand the first method that will do, with its name.
fn demanded(answer: &Answer) -> Option<(String, Vec<(String, String)>)> {
    let demanded = answer.auth()?.get("mfa_requirement")?;
    let id = demanded.get("mfa_request_id")?.as_str()?.to_owned();
    let first = |constraint: &Value| {
        let method = constraint.get("any")?.get(0)?;
        let id = method.get("id")?.as_str()?.to_owned();
        let name = method.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        Some((id.clone(), name.map_or(id, str::to_owned)))
    };
    let mut methods: Vec<_> =
        demanded.get("mfa_constraints")?.as_object()?.values().map(first).collect::<Option<_>>()?;
    // A code that two ask for is one code.
    methods.sort_unstable();
    methods.dedup();
    Some((id, methods))
}

fn asked(prompt: &str) -> Result<String, Failure> {
    rpassword::prompt_password(prompt)
        .map_err(|error| Failure::usage(format!("cannot ask for it on this terminal: {error}")))
}
