//! New key shares for the same root key: `sys/rekey`, and `sys/rotate/root` as OpenBao names it.
//!
//! Where verification was asked for, the new shares open nothing before a quorum of them was shown; until then the old ones
//! do. The seal's configuration is replaced by one write, so that at any moment exactly one set is valid.

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::config::SealConfig;
use super::super::init::replace_shares;
use super::super::shamir::Share;
use super::quorum::{Shown, recognise};
use super::{
    CEREMONY_MS, Caller, Ceremony, Form, Running, Seal, Step, begun_by, cancel, check_cancel, key_in, load,
    new_nonce, nonce_in, plan_end, plan_keep, warned,
};
use crate::crypto::{Kind, plain_key};
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Operation, Plan, Reply};
use crate::stored::Stored;

const INIT_FIELDS: [&str; 7] = [
    "secret_shares",
    "secret_threshold",
    "stored_shares",
    "pgp_keys",
    "backup",
    "require_verification",
    "key",
];
const UPDATE_FIELDS: [&str; 2] = ["key", "nonce"];

/// Shares that are being replaced.
#[derive(Clone, Serialize, Deserialize)]
struct Rekey {
    nonce: String,
    shares: u8,
    threshold: u8,
    verify: bool,
    /// The hash of the token that began it.
    begun_by: Option<String>,
    shown: Shown,
    made: Option<Made>,
}

/// New shares that were handed out and have to be shown before they count.
#[derive(Clone, Serialize, Deserialize)]
struct Made {
    nonce: String,
    /// The seal as it will be, as it is stored. Holds no secret.
    config: String,
    shown: Shown,
}

impl Running for Rekey {
    const KIND: Kind = Kind::Rekey;

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
    let current = load::<Rekey>(ctx, seal)?;
    let words = Words(ceremony.form);
    match (ceremony.step, ceremony.operation) {
        (Step::RekeyInit(_), Operation::Read) => {
            Ok(status(current.as_ref().map(|found| &found.value), ceremony.form, seal).into())
        }
        (Step::RekeyInit(_), Operation::Write) => begin(ctx, ceremony, seal, current.is_some(), body),
        (Step::RekeyInit(_), Operation::Delete) => cancel(ctx, ceremony, seal, current.as_ref()),
        (Step::RekeyUpdate(_), Operation::Write) => update(ctx, ceremony, seal, current, body),
        (Step::RekeyVerify(_), Operation::Read) => {
            Ok(verify_status(&current.ok_or_else(|| words.no_configuration())?.value).into())
        }
        (Step::RekeyVerify(_), Operation::Write) => verify(ctx, ceremony, seal, current, body),
        (Step::RekeyVerify(_), Operation::Delete) => restart_verify(ctx, ceremony, seal, current),
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
    refuse_unsupported(body)?;
    let (shares, threshold) = split_in(body)?;
    if is_running {
        return Err(Words(ceremony.form).already());
    }
    let rekey = Rekey {
        nonce: new_nonce(ctx.rng),
        shares,
        threshold,
        verify: fields::boolean(body, "require_verification")?.unwrap_or_default(),
        begun_by: begun_by(&ceremony.caller),
        shown: Shown::none_of(&seal.config)?,
        made: None,
    };
    let txn = plan_keep(ctx, seal, &rekey, ctx.now_ms + CEREMONY_MS)?;
    Ok(Plan {
        txn,
        reply: warned(status(Some(&rekey), ceremony.form, seal), ceremony.form, body, &INIT_FIELDS),
    })
}

fn refuse_unsupported(body: &Map<String, Value>) -> Result<(), Error> {
    if fields::texts(body, "pgp_keys")?.is_some_and(|keys| !keys.is_empty()) {
        return Err(Error::invalid(
            "pgp_keys is not supported: the new keys are shown to whoever gives the last share",
        ));
    }
    if fields::boolean(body, "backup")? == Some(true) {
        return Err(Error::invalid("backup is not supported: keys are stored nowhere"));
    }
    if fields::integer(body, "stored_shares")?.is_some_and(|stored| stored != 0) {
        return Err(Error::invalid("stored_shares is not supported: keys are stored nowhere"));
    }
    Ok(())
}

fn split_in(body: &Map<String, Value>) -> Result<(u8, u8), Error> {
    let shares = fields::integer(body, "secret_shares")?.unwrap_or_default();
    let threshold = fields::integer(body, "secret_threshold")?.unwrap_or_default();
    let wrong = |why: &str| Error::invalid(format!("invalid rekey seal configuration: {why}"));
    match (shares, threshold) {
        (..=0, _) => Err(wrong("shares must be at least one")),
        (_, ..=0) => Err(wrong("threshold must be at least one")),
        (shares, threshold) if threshold > shares => Err(wrong("threshold cannot be larger than shares")),
        (2.., 1) => Err(wrong("threshold must be greater than one for multiple shares")),
        (shares, threshold) => match (u8::try_from(shares), u8::try_from(threshold)) {
            (Ok(shares), Ok(threshold)) => Ok((shares, threshold)),
            _ => Err(wrong("shares must be less than 256")),
        },
    }
}

fn update(
    ctx: &mut Context<'_>,
    ceremony: &Ceremony<'_>,
    seal: &Seal,
    current: Option<Stored<Rekey>>,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    let words = Words(ceremony.form);
    let share = key_in(body)?.ok_or_else(|| words.no_key())?;
    let current = current.ok_or_else(|| words.none_running())?;
    let mut rekey = current.value;
    if let Some(made) = &rekey.made {
        return Err(words.already_made(&made.nonce));
    }
    words.check_nonce(&nonce_in(body)?.unwrap_or_default(), &rekey.nonce)?;
    if !rekey.shown.take(&seal.config, &share, words.repeated())? {
        let txn = plan_keep(ctx, seal, &rekey, current.expires_at_ms)?;
        let reply = status(Some(&rekey), ceremony.form, seal);
        return Ok(Plan { txn, reply: warned(reply, ceremony.form, body, &UPDATE_FIELDS) });
    }
    let (config, shares) =
        replace_shares(&seal.config, ceremony.root_key, rekey.shares, rekey.threshold, ctx.now_ms, ctx.rng)?;
    let txn = if rekey.verify {
        let shown = Shown::none_of(&config)?;
        let config = String::from_utf8(config.to_bytes()).expect("JSON is text");
        rekey.made = Some(Made { nonce: new_nonce(ctx.rng), config, shown });
        plan_keep(ctx, seal, &rekey, current.expires_at_ms)?
    } else {
        plan_seal(ctx, seal, config.to_bytes())?
    };
    let reply = handed_out(&rekey, &shares, ceremony.form);
    Ok(Plan { txn, reply: warned(reply, ceremony.form, body, &UPDATE_FIELDS) })
}

fn verify(
    ctx: &mut Context<'_>,
    ceremony: &Ceremony<'_>,
    seal: &Seal,
    current: Option<Stored<Rekey>>,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    let words = Words(ceremony.form);
    let share = key_in(body)?.ok_or_else(|| words.no_key())?;
    if matches!(ceremony.caller, Caller::Keeper) {
        check_keeper(seal, current.as_ref().map(|found| &found.value), &share)?;
    }
    let current = current.ok_or_else(|| words.none_running())?;
    let mut rekey = current.value;
    let made = rekey.made.as_mut().ok_or_else(|| words.none_to_verify())?;
    let nonce = nonce_in(body)?.unwrap_or_default();
    if nonce != made.nonce {
        return Err(Error::invalid(format!(
            "incorrect nonce supplied; nonce for this verify operation is \"{}\"",
            made.nonce
        )));
    }
    let config = SealConfig::from_bytes(made.config.as_bytes())?;
    let repeated = "given key has already been provided during this verify operation";
    let (txn, reply) = if made.shown.take(&config, &share, repeated)? {
        let reply = Reply::json(&json!({ "nonce": made.nonce, "complete": true }));
        (plan_seal(ctx, seal, made.config.as_bytes().to_vec())?, reply)
    } else {
        (plan_keep(ctx, seal, &rekey, current.expires_at_ms)?, verify_status(&rekey))
    };
    Ok(Plan { txn, reply: warned(reply, ceremony.form, body, &UPDATE_FIELDS) })
}

/// From here on the new shares open the seal, and the old ones do not.
fn plan_seal(ctx: &Context<'_>, seal: &Seal, config: Vec<u8>) -> Result<Txn, Error> {
    let mut txn = plan_end::<Rekey>(ctx, seal)?;
    txn.put(plain_key(Kind::SealConfig), config);
    Ok(txn)
}

/// A stranger is told nothing of what is going on: only who has a share of either set.
fn check_keeper(seal: &Seal, rekey: Option<&Rekey>, share: &str) -> Result<(), Error> {
    if recognise(&seal.config, share).is_ok() {
        return Ok(());
    }
    let made = rekey.and_then(|rekey| rekey.made.as_ref()).ok_or(Error::Denied)?;
    let config = SealConfig::from_bytes(made.config.as_bytes())?;
    recognise(&config, share).map(drop).map_err(|_| Error::Denied)
}

/// The shares that were shown so far are forgotten; who would show them must know the new nonce.
fn restart_verify(
    ctx: &mut Context<'_>,
    ceremony: &Ceremony<'_>,
    seal: &Seal,
    current: Option<Stored<Rekey>>,
) -> Result<Plan, Error> {
    let words = Words(ceremony.form);
    let current = current.ok_or_else(|| words.no_configuration())?;
    let mut rekey = current.value;
    check_cancel(&ceremony.caller, rekey.begun_by.as_deref())?;
    let Some(made) = rekey.made.as_mut() else { return Ok(verify_status(&rekey).into()) };
    made.shown = Shown::none_of(&SealConfig::from_bytes(made.config.as_bytes())?)?;
    made.nonce = new_nonce(ctx.rng);
    let txn = plan_keep(ctx, seal, &rekey, current.expires_at_ms)?;
    Ok(Plan { txn, reply: verify_status(&rekey) })
}

fn status(rekey: Option<&Rekey>, form: Form, seal: &Seal) -> Reply {
    let required = seal.config.threshold();
    let Some(rekey) = rekey else {
        return Reply::json(&match form {
            Form::OpenBao => json!({ "n": 0, "required": required, "started": false, "t": 0 }),
            Form::Vault => json!({
                "nonce": "", "started": false, "t": 0, "n": 0, "progress": 0, "required": required,
                "pgp_fingerprints": null, "backup": false, "verification_required": false,
            }),
        });
    };
    let mut told = json!({
        "nonce": rekey.nonce,
        "started": true,
        "t": rekey.threshold,
        "n": rekey.shares,
        // Those that were shown are spent when the new ones are there.
        "progress": if rekey.made.is_some() { 0 } else { rekey.shown.count() },
        "required": required,
        "verification_required": rekey.verify,
    });
    if form == Form::Vault {
        told["pgp_fingerprints"] = Value::Null;
        told["backup"] = false.into();
    }
    add_verification_nonce(&mut told, rekey, form);
    Reply::json(&told)
}

/// The only time that the new shares are shown.
fn handed_out(rekey: &Rekey, shares: &[Share], form: Form) -> Reply {
    let hex: Vec<_> = shares.iter().map(|share| share.to_hex().expose().clone()).collect();
    let base64: Vec<_> = shares.iter().map(|share| share.to_base64().expose().clone()).collect();
    let mut told = json!({
        "nonce": rekey.nonce,
        "complete": true,
        "keys": hex,
        "keys_base64": base64,
        "pgp_fingerprints": null,
        "backup": false,
        "verification_required": rekey.verify,
    });
    add_verification_nonce(&mut told, rekey, form);
    Reply::json(&told)
}

fn add_verification_nonce(told: &mut Value, rekey: &Rekey, form: Form) {
    match (&rekey.made, form) {
        (Some(made), _) => told["verification_nonce"] = made.nonce.as_str().into(),
        (None, Form::OpenBao) => told["verification_nonce"] = "".into(),
        (None, Form::Vault) => {}
    }
}

fn verify_status(rekey: &Rekey) -> Reply {
    let made = rekey.made.as_ref();
    Reply::json(&json!({
        "nonce": made.map_or("", |made| &made.nonce),
        "started": made.is_some(),
        "t": rekey.threshold,
        "n": rekey.shares,
        "progress": made.map_or(0, |made| made.shown.count()),
    }))
}

/// The same refusals, as each API spells them.
struct Words(Form);

impl Words {
    fn pick(&self, vault: &str, openbao: &str) -> Error {
        Error::invalid(match self.0 {
            Form::Vault => vault,
            Form::OpenBao => openbao,
        })
    }

    fn already(&self) -> Error {
        self.pick("rekey already in progress", "rotation already in progress")
    }

    fn none_running(&self) -> Error {
        self.pick("no barrier rekey in progress", "no rotation in progress")
    }

    fn no_configuration(&self) -> Error {
        self.pick("no rekey configuration found", "no rotation configuration found")
    }

    fn none_to_verify(&self) -> Error {
        self.pick("no rekey verification in progress", "no rotation verification in progress")
    }

    fn no_key(&self) -> Error {
        self.pick("'key' must be specified in request body as JSON", "missing required field 'key'")
    }

    fn repeated(&self) -> &'static str {
        match self.0 {
            Form::Vault => "given key has already been provided during this generation operation",
            Form::OpenBao => "given key has already been provided during this rotation",
        }
    }

    fn already_made(&self, nonce: &str) -> Error {
        let what = match self.0 {
            Form::Vault => "rekey operation",
            Form::OpenBao => "rotation",
        };
        Error::invalid(format!(
            "{what} already finished; verification must be performed; nonce for the verification operation is \"{nonce}\""
        ))
    }

    fn check_nonce(&self, given: &str, expected: &str) -> Result<(), Error> {
        match (self.0, given) {
            (_, given) if given == expected => Ok(()),
            (Form::OpenBao, "") => Err(Error::invalid("missing required field 'nonce'")),
            (Form::Vault, _) => Err(Error::invalid(format!(
                "incorrect nonce supplied; nonce for this rekey operation is \"{expected}\""
            ))),
            (Form::OpenBao, _) => {
                Err(Error::invalid(format!("incorrect nonce supplied; nonce for rotation is \"{expected}\"")))
            }
        }
    }
}
