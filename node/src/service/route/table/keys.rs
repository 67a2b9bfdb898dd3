//! Keys: their terms, new shares, and root tokens by a quorum of shares.

use conclave_core::plan::Operation::{self, Delete, Read, Write};
use conclave_core::seal::ceremony::{self, Step, Target};

use super::super::{Action, Place, Route};
use super::token;

/// A path where key shares decide. Whoever has no token shows a share in its place; the handler decides.
const fn shares(
    step: Step,
    form: ceremony::Form,
    operations: &'static [Operation],
    pattern: &'static str,
    summary: &'static str,
) -> Route {
    token(Action::Ceremony(step, form), operations, pattern, Place::State, summary)
}

const VAULT: ceremony::Form = ceremony::Form::Vault;
const OPENBAO: ceremony::Form = ceremony::Form::OpenBao;
const RWD: &[Operation] = &[Read, Write, Delete];
const MAKE_ROOT: &str = "Make a root token with key shares.";
const GIVE_SHARE: &str = "Give a key share.";
const REKEY: &str = "Replace the key shares.";
const VERIFY: &str = "Show the new key shares before they replace the old ones.";

pub(super) const ROUTES: &[Route] = &[
    token(Action::KeyStatus, &[Read], "sys/key-status", Place::State, "The active key term."),
    token(
        Action::ReadRotateConfig,
        &[Read],
        "sys/rotate/config",
        Place::State,
        "When keys rotate by themselves.",
    ),
    token(Action::WriteRotateConfig, &[Write], "sys/rotate/config", Place::State, "Set when keys rotate."),
    token(Action::ReadRotateConfig, &[Read], "sys/rotate/keyring/config", Place::State, "When keys rotate."),
    token(
        Action::WriteRotateConfig,
        &[Write],
        "sys/rotate/keyring/config",
        Place::State,
        "Set when keys rotate.",
    ),
    token(Action::RotateKeyring, &[Write], "sys/rotate/keyring", Place::State, "Begin a new key term."),
    token(Action::RotateKeyring, &[Write], "sys/rotate", Place::State, "Begin a new key term."),
    shares(Step::RootAttempt, VAULT, RWD, "sys/generate-root/attempt", MAKE_ROOT),
    shares(Step::RootUpdate, VAULT, &[Write], "sys/generate-root/update", GIVE_SHARE),
    shares(Step::RootAttempt, OPENBAO, RWD, "sys/generate-root-token/attempt", MAKE_ROOT),
    shares(Step::RootUpdate, OPENBAO, &[Write], "sys/generate-root-token/update", GIVE_SHARE),
    shares(Step::RekeyInit(Target::Unseal), VAULT, RWD, "sys/rekey/init", REKEY),
    shares(Step::RekeyUpdate(Target::Unseal), VAULT, &[Write], "sys/rekey/update", GIVE_SHARE),
    shares(Step::RekeyVerify(Target::Unseal), VAULT, RWD, "sys/rekey/verify", VERIFY),
    shares(Step::RekeyInit(Target::Recovery), VAULT, RWD, "sys/rekey-recovery-key/init", REKEY),
    shares(Step::RekeyUpdate(Target::Recovery), VAULT, &[Write], "sys/rekey-recovery-key/update", GIVE_SHARE),
    shares(Step::RekeyVerify(Target::Recovery), VAULT, RWD, "sys/rekey-recovery-key/verify", VERIFY),
    shares(Step::RekeyInit(Target::Unseal), OPENBAO, RWD, "sys/rotate/root/init", REKEY),
    shares(Step::RekeyUpdate(Target::Unseal), OPENBAO, &[Write], "sys/rotate/root/update", GIVE_SHARE),
    shares(Step::RekeyVerify(Target::Unseal), OPENBAO, RWD, "sys/rotate/root/verify", VERIFY),
    shares(Step::RekeyInit(Target::Recovery), OPENBAO, RWD, "sys/rotate/recovery/init", REKEY),
    shares(Step::RekeyUpdate(Target::Recovery), OPENBAO, &[Write], "sys/rotate/recovery/update", GIVE_SHARE),
    shares(Step::RekeyVerify(Target::Recovery), OPENBAO, RWD, "sys/rotate/recovery/verify", VERIFY),
];
