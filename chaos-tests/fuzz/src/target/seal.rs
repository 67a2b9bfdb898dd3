//! What people and nodes show to be let in (tokens, join tokens, key shares), and the sealed records behind it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use conclave_core::Error;
use conclave_core::auth::token::{self as tokens, TokenCaches};
use conclave_core::crypto::{Keyring, Kind, RootKey};
use conclave_core::plan::Context;
use conclave_core::seal::join_token::JoinToken;
use conclave_core::seal::{
    self, Initialized, Parameters, Progress, SealConfig, Share, StaticKey, UnsealProgress,
};
use conclave_proto::log::Txn;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::first_line;
use crate::canary::{self, planted};
use crate::sealing::{
    BARRIER, CLUSTER, TERM_BYTES, TERMS_AT, commit, root_key, sealed_record, wrapped_keyring,
};
use crate::state::{START_MS, State};

const LINES_MAX: usize = 24;
const THRESHOLD: u8 = 3;

/// A cluster of five shares, three of which open it.
static SHARED: LazyLock<Initialized> = LazyLock::new(|| {
    let parameters = Parameters { shares: 5, threshold: THRESHOLD, static_key: None };
    let mut rng = StdRng::seed_from_u64(3);
    seal::initialize(&parameters, CLUSTER, START_MS, &mut rng).expect("five and three fit")
});

/// A join token's text.
pub fn join_token(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match JoinToken::parse(&planted(text)) {
        Ok(token) => {
            assert_eq!(token.to_text().expose(), text.trim(), "a token has one spelling");
            assert_eq!(format!("{token:?}"), "JoinToken");
            let mut rng = StdRng::seed_from_u64(4);
            let state = State::default();
            let context = Context { view: &state, barrier: &BARRIER, now_ms: START_MS, rng: &mut rng };
            let redeemed = seal::join_token::redeem(&context, &token, [0; 32]);
            assert_eq!(redeemed.map(|_| ()), Err(Error::Denied), "nobody made this token");
        }
        Err(error) => check_invalid(&error),
    }
}

/// Key shares, one a line; `#n` stands for the real share `n`, and `reset` forgets those given.
pub fn key_shares(input: &[u8]) {
    let mut rng = StdRng::seed_from_u64(5);
    let mut attempt = UnsealProgress::new(SHARED.config.clone());
    let mut given = BTreeSet::new();
    for line in String::from_utf8_lossy(input).lines().take(LINES_MAX) {
        if line == "reset" {
            attempt.reset();
            given.clear();
            continue;
        }
        let real = line.strip_prefix('#').and_then(|number| number.parse::<usize>().ok());
        let real = real.and_then(|number| SHARED.shares.get(number.checked_sub(1)?));
        let text = real.map_or_else(|| planted(line), |share| share.to_base64().expose().clone());
        check_share(&text);
        match attempt.submit(&text, &mut rng) {
            Ok(progress) => {
                let share = Share::parse(&text).expect("it was taken");
                given.insert(share.number());
                match progress {
                    Progress::Waiting { progress, .. } => assert_eq!(usize::from(progress), given.len()),
                    Progress::Unsealed(root_key) => {
                        assert_eq!(given.len(), usize::from(THRESHOLD), "opened by too few");
                        assert!(SHARED.config.is_root_key(&root_key));
                        given.clear();
                    }
                }
            }
            Err(error) => check_invalid(&error),
        }
        assert_eq!(usize::from(attempt.progress()), given.len());
    }
}

fn check_share(text: &str) {
    match Share::parse(text) {
        Ok(share) => {
            for again in [share.to_base64(), share.to_hex()] {
                let again = Share::parse(again.expose()).expect("what is printed is read");
                assert_eq!(again.hash(), share.hash());
            }
            assert!(share.number() > 0);
        }
        Err(error) => check_invalid(&error),
    }
}

/// A caller's token in the first line, then what is stored under it.
pub fn token(input: &[u8]) {
    let (token, payload) = first_line(input);
    let Ok(token) = str::from_utf8(token) else { return };
    let mut state = State::default();
    if !payload.is_empty() {
        let hash = BARRIER.token_hash(token.as_bytes());
        let key = BARRIER.key(Kind::Token, [hash.as_str()]);
        let mut rng = StdRng::seed_from_u64(6);
        let mut txn = Txn::default();
        let sealed = BARRIER.seal(&key, &hash, payload, &mut rng).expect("inputs are short");
        txn.put(key, sealed);
        state.commit(txn);
    }
    let caches = TokenCaches::default();
    match tokens::identify(&state, &BARRIER, &caches, START_MS, token, None) {
        Ok(identified) => {
            let is_root = identified.entry.policies.iter().any(|policy| policy == "root");
            assert_eq!(identified.identity.is_root(), is_root);
            let found = tokens::find(&state, &BARRIER, &identified.hash(), START_MS);
            let found = found.expect("it was just read").expect("it was just there");
            let data = tokens::lookup_data(
                &found.entry,
                token,
                found.is_orphan(),
                found.expires_at_ms,
                START_MS,
                &[],
            );
            assert_eq!(data["id"], token);
            let mut rng = StdRng::seed_from_u64(7);
            let txn = {
                let mut ctx = Context { view: &state, barrier: &BARRIER, now_ms: START_MS, rng: &mut rng };
                tokens::plan_revoke(&mut ctx, &found).expect("keys have seals left")
            };
            state.commit(txn);
            let revoked = tokens::identify(&state, &BARRIER, &caches, START_MS, token, None);
            assert!(matches!(revoked, Err(Error::Denied)), "a revoked token works");
        }
        Err(error) => {
            assert!(matches!(error, Error::Denied | Error::Corrupt(_)), "{error}");
            assert!(!payload.is_empty() || error == Error::Denied, "a stranger learns more than a refusal");
        }
    }
}

/// A stored record: the first byte says whether the rest is the record, or the plaintext of one that is sealed well.
pub fn record(input: &[u8]) {
    const KEY: &[u8] = b"\x22sixteen byte key";
    let Some((&kind, rest)) = input.split_first() else { return };
    if kind & 1 == 0 {
        // Without the key nobody makes one that opens.
        let refused = BARRIER.open(KEY, rest).map(|_| ());
        assert!(matches!(refused, Err(Error::Corrupt(_))));
        return;
    }
    let sealed = sealed_record(KEY, rest);
    let expected = rest.split_first_chunk::<2>().and_then(|(length, rest)| {
        let (path, payload) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        Some((str::from_utf8(path).ok()?, payload))
    });
    match (BARRIER.open(KEY, &sealed), expected) {
        (Ok(opened), Some((path, payload))) => {
            assert_eq!((opened.path.as_str(), opened.payload.as_slice()), (path, payload));
            assert!(BARRIER.open(b"\x22another key", &sealed).is_err(), "it opens in another place");
        }
        (Err(Error::Corrupt(_)), None) => {}
        _ => panic!("the program and the format's description disagree"),
    }
}

/// A keyring: the first byte says whether the rest is one as it is stored, or what the root key wraps.
pub fn keyring(input: &[u8]) {
    let Some((&kind, rest)) = input.split_first() else { return };
    let wrapped = match kind & 3 {
        0 => rest.to_vec(),
        1 => wrapped_keyring(rest),
        _ => {
            let mut plain = rest.to_vec();
            commit(&mut plain);
            wrapped_keyring(&plain)
        }
    };
    match Keyring::unwrap(&root_key(), &CLUSTER, &wrapped) {
        Ok(keyring) => {
            assert!(kind & 3 != 0, "forged without the root key");
            let terms = (rest.len() - TERMS_AT) / TERM_BYTES;
            assert_eq!(usize::try_from(keyring.active_term()), Ok(terms));
            let mut rng = StdRng::seed_from_u64(7);
            let rotated = keyring.rotate(&mut rng, START_MS).expect("inputs are short of the most terms");
            let back = rotated.wrap(&root_key(), &CLUSTER, &mut rng);
            let back = Keyring::unwrap(&root_key(), &CLUSTER, &back).expect("it reads its own");
            assert_eq!((back.active_term(), back.active_since_ms()), (rotated.active_term(), START_MS));
        }
        Err(error) => assert!(matches!(error, Error::Corrupt(_)), "{error}"),
    }
}

/// The seal's configuration, as it is stored.
pub fn config(input: &[u8]) {
    let config = match SealConfig::from_bytes(input) {
        Ok(config) => config,
        Err(error) => return assert!(matches!(error, Error::Corrupt(_)), "{error}"),
    };
    assert_eq!(SealConfig::from_bytes(&config.to_bytes()).as_ref(), Ok(&config));
    assert!(config.threshold() <= config.shares());
    let mut rng = StdRng::seed_from_u64(8);
    let key_id = config.static_key_id().unwrap_or("none");
    if let Ok(key) = StaticKey::new(key_id, &[7; 32]) {
        assert!(config.unseal_with(&key).is_err(), "a key that nobody chose opens the cluster");
    }
    let known = RootKey::from_bytes(&[7; 32]).expect("32 bytes");
    assert!(!config.is_root_key(&known));
    let mut attempt = UnsealProgress::new(config);
    for share in &SHARED.shares {
        let taken = attempt.submit(share.to_base64().expose(), &mut rng);
        let opened = matches!(taken, Ok(Progress::Unsealed(_)));
        assert!(!opened || attempt.config().cluster_id == CLUSTER, "another cluster's shares open it");
    }
}

#[track_caller]
fn check_invalid(error: &Error) {
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    canary::assert_absent(&error.to_string());
}
