//! `conclave operator generate-root`: a new root token, by a quorum of key shares.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use clap::Args;
use conclave_client::{Client, Request};
use serde_json::{Value, json};

use super::quorum;
use crate::failure::Failure;
use crate::input;
use crate::output::Report;

const ATTEMPT: &str = "sys/generate-root/attempt";
const UPDATE: &str = "sys/generate-root/update";
const OTP_CHARACTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Random values below this are fair: the largest multiple of 62 that a byte can hold.
const FAIR: u8 = 248;
/// Longest password that is made, in bytes.
const OTP_BYTES_MAX: usize = 1_024;

const TITLES: [(&str, &str); 7] = [
    ("Nonce", "nonce"),
    ("Started", "started"),
    ("Progress", quorum::PROGRESS),
    ("Complete", "complete"),
    ("Encoded Token", "encoded_token"),
    ("OTP", "otp"),
    ("OTP Length", "otp_length"),
];

#[derive(Args)]
pub struct GenerateRoot {
    /// Begin; without --otp the server makes the password and shows it now
    #[arg(long)]
    init: bool,
    /// The one-time password that the token will be hidden with
    #[arg(long, value_name = "PASSWORD")]
    otp: Option<String>,
    /// Make a password for --otp
    #[arg(long)]
    generate_otp: bool,
    /// Show how far it is
    #[arg(long)]
    status: bool,
    /// Give it up
    #[arg(long)]
    cancel: bool,
    /// Turn the encoded token into the token; "-": read it from standard input
    #[arg(long, value_name = "TEXT", requires = "otp")]
    decode: Option<String>,
    /// What --init named it [default: ask the server, which needs a token]
    #[arg(long, value_name = "NONCE")]
    nonce: Option<String>,
    /// An unseal key; "-": read it from standard input; without it the terminal asks. With --init or --cancel it proves who
    /// you are when you have no token
    key: Option<String>,
}

pub async fn run(args: GenerateRoot, client: &Client) -> Result<Report, Failure> {
    if let (Some(encoded), Some(otp)) = (&args.decode, &args.otp) {
        return decode(encoded, otp);
    }
    if args.generate_otp {
        return generate_otp(client).await;
    }
    if args.status {
        return Ok(report(&client.send(Request::get(ATTEMPT)).await?.into_body()));
    }
    if args.init {
        let mut body = quorum::shown(args.key.as_deref());
        if let Some(otp) = args.otp {
            body["otp"] = otp.into();
        }
        return Ok(report(&client.send(Request::put(ATTEMPT, body)).await?.into_body()));
    }
    if args.cancel {
        let body = quorum::shown(args.key.as_deref());
        client.send(Request::delete(ATTEMPT).body(body)).await?;
        return Ok(Report::done("Success! Root token generation canceled (if it was started)"));
    }
    let nonce = match args.nonce {
        Some(nonce) => nonce,
        None => running(client).await?,
    };
    let body = json!({ "key": quorum::key(args.key)?, "nonce": nonce });
    Ok(report(&client.send(Request::put(UPDATE, body)).await?.into_body()))
}

fn report(answer: &Value) -> Report {
    quorum::report(answer, "required", &TITLES)
}

async fn running(client: &Client) -> Result<String, Failure> {
    let status = client.send(Request::get(ATTEMPT)).await?.into_body();
    match status["nonce"].as_str().filter(|nonce| !nonce.is_empty()) {
        Some(nonce) => Ok(nonce.to_owned()),
        None => Err(Failure::refused("no root token is being made: begin with --init")),
    }
}

async fn generate_otp(client: &Client) -> Result<Report, Failure> {
    let status = client.send(Request::get(ATTEMPT)).await?.into_body();
    let length = status["otp_length"].as_u64().and_then(|length| usize::try_from(length).ok());
    let length = length
        .filter(|length| (1..=OTP_BYTES_MAX).contains(length))
        .ok_or_else(|| Failure::refused("the server did not say how long a password must be"))?;
    Ok(Report::text(one_time_password(length) + "\n"))
}

fn one_time_password(length: usize) -> String {
    let mut password = String::with_capacity(length);
    while password.len() < length {
        let byte: u8 = rand::random();
        if byte < FAIR {
            password.push(char::from(OTP_CHARACTERS[usize::from(byte) % OTP_CHARACTERS.len()]));
        }
    }
    password
}

fn decode(encoded: &str, otp: &str) -> Result<Report, Failure> {
    let from_input = (encoded == "-").then(|| input::line(std::io::stdin().lock())).transpose()?;
    let encoded = from_input.as_deref().unwrap_or(encoded).trim_end_matches('=');
    let mixed =
        STANDARD_NO_PAD.decode(encoded).map_err(|_| Failure::usage("the encoded token is not base64"))?;
    if mixed.len() != otp.len() {
        return Err(Failure::usage("the password is not the one that the token was hidden with"));
    }
    let token: Vec<u8> = mixed.iter().zip(otp.bytes()).map(|(mixed, otp)| mixed ^ otp).collect();
    match String::from_utf8(token) {
        Ok(token) if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Report::text(token + "\n")),
        _ => Err(Failure::usage("the password is not the one that the token was hidden with")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    #[test]
    fn a_token_is_decoded_as_it_was_hidden() {
        let (token, otp) = ("s.abcdefghijklmnop", "0123456789ABCDEFGH");
        let mixed: Vec<u8> = token.bytes().zip(otp.bytes()).map(|(token, otp)| token ^ otp).collect();
        for encoded in [STANDARD_NO_PAD.encode(&mixed), STANDARD_NO_PAD.encode(&mixed) + "="] {
            let shown = decode(&encoded, otp).ok().unwrap().render(Format::Table, None).unwrap();
            assert_eq!(shown.trim_end(), token);
        }
        assert!(decode("!!", otp).is_err() && decode(&STANDARD_NO_PAD.encode(&mixed), "short").is_err());
    }

    #[test]
    fn passwords_have_the_length_that_was_asked_for() {
        for length in [1, 26, 51] {
            let password = one_time_password(length);
            assert!(password.len() == length && password.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
        assert_ne!(one_time_password(51), one_time_password(51));
    }
}
