//! A new root token, for those who hold a quorum of key shares: `sys/generate-root`, and `sys/generate-root-token` as
//! OpenBao names it.
//!
//! The token leaves XORed with a one-time password that only who began knows, so that whoever gives the last share, and
//! everybody on his line, does not get it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use conclave_proto::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::quorum::Shown;
use super::{
    CEREMONY_MS, Ceremony, Form, Running, Seal, Step, begun_by, cancel, key_in, load, new_nonce, nonce_in,
    plan_end, plan_keep, warned,
};
use crate::auth::token;
use crate::crypto::Kind;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Operation, Plan, Reply};
use crate::stored::Stored;

const ATTEMPT_FIELDS: [&str; 3] = ["otp", "pgp_key", "key"];
const UPDATE_FIELDS: [&str; 2] = ["key", "nonce"];
const REPEATED: &str = "given key has already been provided during this generation operation";

/// A root token that is being made.
#[derive(Clone, Serialize, Deserialize)]
struct Generation {
    nonce: String,
    /// As long as the token will be.
    otp: String,
    /// The hash of the token that began it.
    begun_by: Option<String>,
    shown: Shown,
}

impl Running for Generation {
    const KIND: Kind = Kind::RootGeneration;

    fn shown(&self) -> &Shown {
        &self.shown
    }

    fn begun_by(&self) -> Option<&str> {
        self.begun_by.as_deref()
    }
}

pub(super) fn handle(
    ctx: &mut Context<'_>,
    ceremony: &Ceremony<'_>,
    seal: &Seal,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    let current = load::<Generation>(ctx, seal)?;
    match (ceremony.step, ceremony.operation) {
        (Step::RootAttempt, Operation::Read) => {
            let told = Told { generation: current.map(|found| found.value), ..Told::default() };
            Ok(told.reply(ceremony.form, seal).into())
        }
        (Step::RootAttempt, Operation::Write) => begin(ctx, ceremony, seal, current.is_some(), body),
        (Step::RootAttempt, Operation::Delete) => cancel(ctx, ceremony, seal, current.as_ref()),
        (Step::RootUpdate, Operation::Write) => update(ctx, ceremony, seal, current, body),
        _ => Err(Error::Unsupported),
    }
}

fn begin(
    ctx: &mut Context<'_>,
    ceremony: &Ceremony<'_>,
    seal: &Seal,
    is_running: bool,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    if fields::text(body, "pgp_key")?.is_some_and(|key| !key.is_empty()) {
        return Err(Error::invalid("pgp_key is not supported: use a one-time password ('otp')"));
    }
    let given = fields::text(body, "otp")?.filter(|otp| !otp.is_empty());
    if given.as_ref().is_some_and(|otp| otp.len() != token::TOKEN_CHARACTERS) {
        return Err(Error::invalid("OTP string has incorrect length"));
    }
    if is_running {
        return Err(Error::invalid("root generation already in progress"));
    }
    let shown = Shown::none_of(&seal.config)?;
    let made = given.is_none().then(|| token::one_time_password(ctx.rng));
    let otp = given.or_else(|| made.clone()).unwrap_or_default();
    let generation =
        Generation { nonce: new_nonce(ctx.rng), otp, begun_by: begun_by(&ceremony.caller), shown };
    let txn = plan_keep(ctx, seal, &generation, ctx.now_ms + CEREMONY_MS)?;
    let told = Told { generation: Some(generation), otp: made, ..Told::default() };
    Ok(Plan { txn, reply: warned(told.reply(ceremony.form, seal), ceremony.form, body, &ATTEMPT_FIELDS) })
}

fn update(
    ctx: &mut Context<'_>,
    ceremony: &Ceremony<'_>,
    seal: &Seal,
    current: Option<Stored<Generation>>,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    let (share, nonce) = match (ceremony.form, key_in(body)?, nonce_in(body)?) {
        (Form::OpenBao, _, None) => return Err(Error::invalid("nonce is required")),
        (Form::OpenBao, None, _) => return Err(Error::invalid("key is required")),
        (Form::Vault, None, _) => {
            return Err(Error::invalid("'key' must be specified in request body as JSON"));
        }
        (_, Some(share), nonce) => (share, nonce.unwrap_or_default()),
    };
    let current = current.ok_or_else(|| Error::invalid("no root generation in progress"))?;
    let mut generation = current.value;
    if nonce != generation.nonce {
        return Err(Error::invalid(format!(
            "incorrect nonce supplied; nonce for this root generation operation is \"{}\"",
            generation.nonce
        )));
    }
    let mut told = Told { is_update: true, ..Told::default() };
    let txn = if generation.shown.take(&seal.config, &share, REPEATED)? {
        let (root_token, made) = token::plan_root_token(ctx, None)?;
        let mut txn = plan_end::<Generation>(ctx, seal)?;
        txn.preconditions.extend(made.preconditions);
        txn.writes.extend(made.writes);
        told.encoded_token = Some(encode(&root_token, &generation.otp));
        txn
    } else {
        plan_keep(ctx, seal, &generation, current.expires_at_ms)?
    };
    told.generation = Some(generation);
    Ok(Plan { txn, reply: warned(told.reply(ceremony.form, seal), ceremony.form, body, &UPDATE_FIELDS) })
}

/// As `bao operator generate-root -decode` reads it.
fn encode(token: &Secret<String>, otp: &str) -> String {
    let mixed: Zeroizing<Vec<u8>> =
        Zeroizing::new(token.expose().bytes().zip(otp.bytes()).map(|(token, otp)| token ^ otp).collect());
    debug_assert_eq!(mixed.len(), token.expose().len());
    STANDARD_NO_PAD.encode(&*mixed)
}

/// What is told of a generation.
#[derive(Default)]
struct Told {
    generation: Option<Generation>,
    is_update: bool,
    /// Made here: told once, to who began.
    otp: Option<String>,
    encoded_token: Option<String>,
}

impl Told {
    fn reply(&self, form: Form, seal: &Seal) -> Reply {
        let nonce = self.generation.as_ref().map(|generation| generation.nonce.as_str());
        let progress = self.generation.as_ref().map_or(0, |generation| generation.shown.count());
        let encoded = self.encoded_token.as_deref().unwrap_or_default();
        let otp_length = if self.is_update { 0 } else { token::TOKEN_CHARACTERS };
        let otp = self.otp.as_deref().unwrap_or_default();
        let mut told = json!({
            "started": nonce.is_some(),
            "progress": progress,
            "required": seal.config.threshold(),
            "complete": self.encoded_token.is_some(),
        });
        let fields = told.as_object_mut().expect("made as an object");
        let mut add = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        match form {
            Form::Vault => {
                add("nonce", nonce.unwrap_or_default().into());
                add("encoded_token", encoded.into());
                add("encoded_root_token", encoded.into());
                add("pgp_fingerprint", "".into());
                add("otp", otp.into());
                add("otp_length", otp_length.into());
            }
            Form::OpenBao => {
                if let Some(nonce) = nonce {
                    add("nonce", nonce.into());
                    add("pgp_fingerprint", "".into());
                }
                if self.is_update {
                    add("encoded_token", encoded.into());
                } else {
                    add("otp", otp.into());
                    add("otp_length", otp_length.into());
                }
            }
        }
        Reply::json(&told)
    }
}
