//! `conclave token`: what a token is and may live.

use clap::Subcommand;
use conclave_client::{Client, Request};

use super::kv::object;
use crate::failure::Failure;
use crate::output::{Report, table};

#[derive(Subcommand)]
pub enum Token {
    /// Show the token that this program uses
    Lookup,
}

pub async fn run(token: Token, client: &Client) -> Result<Report, Failure> {
    match token {
        Token::Lookup => {
            let answer = client.send(Request::get("auth/token/lookup-self")).await?;
            Ok(Report::answer(&answer, table::map(object(answer.data()))))
        }
    }
}
