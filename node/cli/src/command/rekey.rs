//! `conclave operator rekey`: new key shares, by a quorum of the old ones.

use clap::{Args, ValueEnum};
use conclave_client::{Client, Request};
use serde_json::{Value, json};

use super::quorum;
use crate::failure::Failure;
use crate::output::Report;

const TITLES: [(&str, &str); 7] = [
    ("Nonce", "nonce"),
    ("Started", "started"),
    ("Progress", quorum::PROGRESS),
    ("New Shares", "n"),
    ("New Threshold", "t"),
    ("Verification Required", "verification_required"),
    ("Verification Nonce", "verification_nonce"),
];
const VERIFY_TITLES: [(&str, &str); 5] = [
    ("Started", "started"),
    ("New Shares", "n"),
    ("New Threshold", "t"),
    ("Verification Nonce", "nonce"),
    ("Verification Progress", quorum::PROGRESS),
];

#[derive(Args)]
pub struct Rekey {
    /// Begin
    #[arg(long)]
    init: bool,
    /// How many new unseal keys to make
    #[arg(long, short = 'n', default_value_t = 5, value_name = "NUMBER")]
    key_shares: u32,
    /// How many of them unseal a node
    #[arg(long, short = 't', default_value_t = 3, value_name = "NUMBER")]
    key_threshold: u32,
    /// With --init: the new keys must be shown before they replace the old ones. With a key: it is a new one. With --status
    /// and --cancel: about the showing
    #[arg(long)]
    verify: bool,
    /// Show how far it is
    #[arg(long)]
    status: bool,
    /// Give it up; the old keys stay
    #[arg(long)]
    cancel: bool,
    /// Which keys: of a cluster that unseals by itself they are called recovery keys
    #[arg(long, value_enum, default_value_t = Target::Barrier)]
    target: Target,
    /// What --init named it [default: ask the server, which needs a token]
    #[arg(long, value_name = "NONCE")]
    nonce: Option<String>,
    /// An unseal key; "-": read it from standard input; without it the terminal asks. With --init or --cancel it proves who
    /// you are when you have no token
    key: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Target {
    Barrier,
    Recovery,
}

impl Target {
    fn path(self, step: &str) -> String {
        match self {
            Self::Barrier => format!("sys/rekey/{step}"),
            Self::Recovery => format!("sys/rekey-recovery-key/{step}"),
        }
    }
}

pub async fn run(args: Rekey, client: &Client) -> Result<Report, Failure> {
    let step = if args.verify && !args.init { "verify" } else { "init" };
    let path = args.target.path(step);
    if args.init {
        let mut body = quorum::shown(args.key.as_deref());
        body["secret_shares"] = args.key_shares.into();
        body["secret_threshold"] = args.key_threshold.into();
        body["require_verification"] = args.verify.into();
        return Ok(report(&client.send(Request::put(path, body)).await?.into_body(), false));
    }
    if args.status {
        return Ok(report(&client.send(Request::get(path)).await?.into_body(), args.verify));
    }
    if args.cancel {
        let body = quorum::shown(args.key.as_deref());
        client.send(Request::delete(path).body(body)).await?;
        return Ok(Report::done(if args.verify {
            "Success! The showing of the new keys begins again"
        } else {
            "Success! Canceled rekeying (if it was started)"
        }));
    }
    let nonce = match args.nonce {
        Some(nonce) => nonce,
        None => running(client, path).await?,
    };
    let body = json!({ "key": quorum::key(args.key)?, "nonce": nonce });
    let update = args.target.path(if args.verify { "verify" } else { "update" });
    let answer = client.send(Request::put(update, body)).await?.into_body();
    Ok(match (answer["complete"] == true, args.verify) {
        (true, true) => Report::new("Success! The new keys have replaced the old ones.\n", &answer),
        (true, false) => new_keys(&answer),
        (false, verify) => report(&answer, verify),
    })
}

async fn running(client: &Client, path: String) -> Result<String, Failure> {
    let status = client.send(Request::get(path)).await?.into_body();
    match status["nonce"].as_str().filter(|nonce| !nonce.is_empty()) {
        Some(nonce) => Ok(nonce.to_owned()),
        None => Err(Failure::refused("no keys are being replaced: begin with --init")),
    }
}

fn report(answer: &Value, verify: bool) -> Report {
    let (required, titles) = if verify { ("t", &VERIFY_TITLES[..]) } else { ("required", &TITLES[..]) };
    quorum::report(answer, required, titles)
}

/// The only time that the new keys are shown.
fn new_keys(answer: &Value) -> Report {
    let mut text = String::new();
    for (index, key) in answer["keys_base64"].as_array().into_iter().flatten().enumerate() {
        text.push_str(&format!("Key {}: {}\n", index + 1, key.as_str().unwrap_or_default()));
    }
    match answer["verification_nonce"].as_str() {
        Some(nonce) => text.push_str(&format!(
            "\nThe old keys stay valid until enough of the new ones have been shown:\n\
             conclave operator rekey --verify --nonce={nonce}\n"
        )),
        None => text.push_str(
            "\nThe old keys are worthless from now on. These are shown only now: give them to people who keep them apart.\n",
        ),
    }
    Report::new(text, answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    #[test]
    fn new_keys_are_shown_with_what_is_left_to_do() {
        let mut answer =
            json!({"complete": true, "keys_base64": ["qg==", "uw=="], "verification_nonce": "n-1"});
        let text = new_keys(&answer).render(Format::Table, None).unwrap();
        assert!(text.starts_with("Key 1: qg==\nKey 2: uw==\n\nThe old keys stay valid"), "{text}");
        assert!(text.contains("--nonce=n-1"), "{text}");
        answer.as_object_mut().unwrap().remove("verification_nonce");
        assert!(new_keys(&answer).render(Format::Table, None).unwrap().contains("worthless"));
    }

    #[test]
    fn progress_is_shown_of_what_runs() {
        let answer = json!({"nonce": "n-1", "started": true, "t": 2, "n": 3, "progress": 1, "required": 3,
            "verification_required": true});
        let text = report(&answer, false).render(Format::Table, None).unwrap();
        assert!(
            text.contains("Progress") && text.contains("1/3") && !text.contains("Verification Nonce"),
            "{text}"
        );
        let answer = json!({"nonce": "n-2", "started": true, "t": 2, "n": 3, "progress": 1});
        let text = report(&answer, true).render(Format::Table, None).unwrap();
        assert!(text.contains("1/2"), "{text}");
    }
}
