//! What a quorum of key shares decides: a new root token, and new key shares.
//!
//! A ceremony is a record of the replicated state, so it goes on under another leader and at any node. Nothing of a share
//! is kept in it: each share is checked by itself against the hash that the seal's configuration has of it, and only its
//! number is noted. An unsealed node has the root key, so the shares need not be put together; what they prove is who
//! asks. Every step is one transaction that requires the ceremony and the seal as they stood: of two last shares that come
//! at once, one ends the ceremony and the other finds none.
//!
//! Only who began a ceremony may end it without its result, or who has `sudo` there.

mod quorum;
mod rekey;
mod root_generation;
#[cfg(test)]
mod tests;

use conclave_proto::log::Txn;
use rand::CryptoRng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use self::quorum::Shown;
use super::config::{SealConfig, SealType};
use super::keys::load_config;
use crate::crypto::{Kind, RootKey, plain_key};
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Operation, Plan, Reply};
use crate::stored::{self, Stored};

/// How long a ceremony may take, in milliseconds: its people need not be in one room.
const CEREMONY_MS: u64 = 24 * 3_600_000;
/// Bytes of the name of one ceremony.
const NONCE_BYTES: usize = 16;

/// A path of a ceremony.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Look at, begin or cancel the making of a root token.
    RootAttempt,
    /// Give a share for it.
    RootUpdate,
    /// Look at, begin or cancel the replacement of the shares.
    RekeyInit(Target),
    /// Give one of the old shares for it.
    RekeyUpdate(Target),
    /// Look at, begin again or go on with showing the new shares.
    RekeyVerify(Target),
}

/// Which shares are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// Those that unseal.
    Unseal,
    /// Those of a cluster that unseals by itself.
    Recovery,
}

/// Whose spelling the answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Fields alone.
    Vault,
    /// In an envelope, with other names for the same.
    OpenBao,
}

/// Who asks.
pub enum Caller {
    /// The holder of a token that may ask it.
    Token { hash: String, may_sudo: bool },
    /// Somebody without a token, who shows a key share (`key`) instead: who lost every token must get one again.
    Keeper,
}

/// What is asked.
pub struct Ceremony<'a> {
    pub step: Step,
    pub form: Form,
    pub operation: Operation,
    pub caller: Caller,
    /// To wrap it anew.
    pub root_key: &'a RootKey,
}

/// Plans one step.
///
/// # Errors
/// [`Error::Invalid`]: the step does not fit, or the share is wrong, and then which and why; nothing is lost by it.
/// [`Error::Denied`]: the caller has not shown who he is, or it is not his to cancel.
pub fn handle(
    ctx: &mut Context<'_>,
    ceremony: &Ceremony<'_>,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    let (config, revision) =
        load_config(ctx.view)?.ok_or_else(|| Error::Corrupt("the seal is missing".to_owned()))?;
    let seal = Seal { config, revision };
    if matches!(ceremony.caller, Caller::Keeper) {
        let share = key_in(body)?.ok_or(Error::Denied)?;
        let takes_new_shares = matches!(ceremony.step, Step::RekeyVerify(_));
        // A new share is looked at where it is taken.
        if !(takes_new_shares && ceremony.operation == Operation::Write) {
            quorum::recognise(&seal.config, &share)?;
        }
    }
    match ceremony.step {
        Step::RootAttempt | Step::RootUpdate => root_generation::handle(ctx, ceremony, &seal, body),
        Step::RekeyInit(target) | Step::RekeyUpdate(target) | Step::RekeyVerify(target) => {
            let is_recovery = seal.config.seal_type() == SealType::Static;
            match target {
                Target::Unseal if is_recovery => Err(Error::invalid(
                    "this cluster unseals by a static key: its recovery keys are replaced at sys/rekey-recovery-key",
                )),
                Target::Recovery if !is_recovery => Err(Error::invalid("recovery rekeying not supported")),
                _ => rekey::handle(ctx, ceremony, &seal, body),
            }
        }
    }
}

/// The seal as it stands.
struct Seal {
    config: SealConfig,
    revision: u64,
}

/// A ceremony that is under way, as its record keeps it.
trait Running: Serialize + DeserializeOwned {
    const KIND: Kind;

    /// The shares that were shown so far.
    fn shown(&self) -> &Shown;

    /// The hash of the token that began it.
    fn begun_by(&self) -> Option<&str>;
}

/// The ceremony that is under way, if there is one.
fn load<T: Running>(ctx: &Context<'_>, seal: &Seal) -> Result<Option<Stored<T>>, Error> {
    let found = stored::load::<T>(ctx.view, ctx.barrier, &plain_key(T::KIND), ctx.now_ms)?;
    // Shares that were replaced since prove nothing.
    Ok(found.filter(|found| found.value.shown().is_of(&seal.config)))
}

/// Writes a ceremony as it stands now.
fn plan_keep<T: Running>(ctx: &mut Context<'_>, seal: &Seal, now: &T, ends_ms: u64) -> Result<Txn, Error> {
    let key = plain_key(T::KIND);
    let mut txn = txn_guarded_by(ctx, seal, &key)?;
    stored::put(ctx, &mut txn, &key, "", now, ends_ms)?;
    Ok(txn)
}

/// Ends a ceremony without its result. Where there is none, nothing has to be done.
fn cancel<T: Running>(
    ctx: &Context<'_>,
    ceremony: &Ceremony<'_>,
    seal: &Seal,
    current: Option<&Stored<T>>,
) -> Result<Plan, Error> {
    let Some(current) = current else { return Ok(Reply::no_content().into()) };
    check_cancel(&ceremony.caller, current.value.begun_by())?;
    Ok(Plan { txn: plan_end::<T>(ctx, seal)?, reply: Reply::no_content() })
}

/// Takes the ceremony's record away.
fn plan_end<T: Running>(ctx: &Context<'_>, seal: &Seal) -> Result<Txn, Error> {
    let key = plain_key(T::KIND);
    let mut txn = txn_guarded_by(ctx, seal, &key)?;
    txn.delete(key);
    Ok(txn)
}

/// With what OpenBao warns of: fields that it does not know.
fn warned(reply: Reply, form: Form, body: &Map<String, Value>, known: &[&str]) -> Reply {
    let warnings = match form {
        Form::OpenBao => fields::unknown_warning(body.keys().map(String::as_str), known),
        Form::Vault => Vec::new(),
    };
    Reply { warnings, ..reply }
}

/// A transaction that fails if the seal, or the ceremony at `key`, is not what it was.
fn txn_guarded_by(ctx: &Context<'_>, seal: &Seal, key: &[u8]) -> Result<Txn, Error> {
    let mut txn = Txn::default();
    txn.require(plain_key(Kind::SealConfig), seal.revision);
    txn.require(key.to_vec(), ctx.view.stamp(key)?.map_or(0, |stamp| stamp.revision));
    Ok(txn)
}

/// Whether the caller may end what `begun_by` began.
fn check_cancel(caller: &Caller, begun_by: Option<&str>) -> Result<(), Error> {
    match caller {
        Caller::Token { may_sudo: true, .. } => Ok(()),
        Caller::Token { hash, .. } if begun_by == Some(hash) => Ok(()),
        Caller::Keeper if begun_by.is_none() => Ok(()),
        _ => Err(Error::Denied),
    }
}

fn begun_by(caller: &Caller) -> Option<String> {
    match caller {
        Caller::Token { hash, .. } => Some(hash.clone()),
        Caller::Keeper => None,
    }
}

fn key_in(body: &Map<String, Value>) -> Result<Option<zeroize::Zeroizing<String>>, Error> {
    Ok(fields::text(body, "key")?.filter(|key| !key.is_empty()).map(zeroize::Zeroizing::new))
}

fn nonce_in(body: &Map<String, Value>) -> Result<Option<String>, Error> {
    Ok(fields::text(body, "nonce")?.filter(|nonce| !nonce.is_empty()))
}

fn new_nonce(rng: &mut dyn CryptoRng) -> String {
    let mut nonce = [0; NONCE_BYTES];
    rng.fill_bytes(&mut nonce);
    uuid::Builder::from_random_bytes(nonce).into_uuid().to_string()
}
