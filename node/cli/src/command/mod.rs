//! The commands, one file a subject: each turns arguments into requests and answers into a report.

pub mod audit;
pub mod auth;
pub mod cluster;
mod generate_root;
pub mod kv;
mod kv_metadata;
mod kv_patch;
pub mod lease;
pub mod logical;
pub mod login;
mod mount;
pub mod operator;
pub mod policy;
mod quorum;
mod raft;
mod recover;
mod rekey;
pub mod secrets;
mod snapshot;
mod status;
pub mod token;

use conclave_client::{Client, Method, Request};
use serde_json::Value;

use crate::Local;
use crate::arguments::Command;
use crate::dev;
use crate::failure::Failure;
use crate::output::Report;
use crate::session::Session;

pub async fn run(command: Command, session: &Session, local: &Local) -> Result<Report, Failure> {
    if session.wraps() && !can_be_wrapped(&command) {
        return Err(Failure::usage("what this command answers cannot be wrapped: leave --wrap-ttl out"));
    }
    match command {
        Command::Server { .. } => Err(Failure::usage("the server takes no flags before the word \"server\"")),
        Command::Dev(dev) => dev::run(dev, session.format).await,
        Command::Kv(kv) => kv::run(kv, &session.client()?).await,
        Command::Secrets(secrets) => secrets::run(secrets, &session.client()?).await,
        Command::Auth(auth) => auth::run(auth, &session.client()?).await,
        Command::Login(login) => login::run(login, session).await,
        Command::Token(token) => token::run(token, &session.client()?).await,
        Command::Lease(lease) => lease::run(lease, &session.client()?).await,
        Command::Policy(policy) => policy::run(policy, &session.client()?).await,
        Command::Operator(operator) => operator::run(operator, session, local.recover).await,
        Command::Unwrap(args) => logical::unwrap(args, &session.client()?).await,
        Command::Audit(audit) => audit::run(audit, session, local.audit_verify).await,
        Command::Status => status::run(&session.client()?).await,
        Command::Members => cluster::members(&session.client()?).await,
        Command::JoinToken(join_token) => cluster::join_token(join_token, &session.client()?).await,
        Command::Join(join) => cluster::join(join, &session.client()?).await,
        Command::Leave => cluster::leave(&session.client()?).await,
        Command::Read(read) => logical::read(read, &session.client()?).await,
        Command::Write(write) => logical::write(write, &session.client()?).await,
        Command::Delete(path) => logical::delete(path, &session.client()?).await,
        Command::List(list) => logical::list(list, &session.client()?).await,
    }
}

/// Whether the command shows the token of an answer that was wrapped.
pub fn can_be_wrapped(command: &Command) -> bool {
    match command {
        Command::Read(_) | Command::Write(_) | Command::List(_) | Command::Unwrap(_) => true,
        Command::Kv(command) => matches!(command, kv::Kv::Get(_)),
        Command::Token(command) => matches!(command, token::Token::Create(_)),
        _ => false,
    }
}

/// Asks one node about or for itself: never another one instead, and never twice once it may have heard.
async fn ask_node(client: &Client, method: Method, path: &str, body: Value) -> Result<Value, Failure> {
    let request = match method {
        Method::Put => Request::put(path, body),
        _ => Request::post(path, body),
    };
    Ok(client.first_node().send(request.once()).await?.into_body())
}

/// A path as users write it, with slashes around it or not.
fn trimmed(path: &str) -> &str {
    path.trim_matches('/')
}
