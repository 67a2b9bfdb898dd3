//! Bodies of requests that an operator sends to a node: how a new cluster is to be sealed, and when keys rotate.

use std::sync::LazyLock;

use conclave_core::plan::Context;
use conclave_core::seal::shamir::check_split;
use conclave_core::seal::{self, SealConfig, StaticKey};
use conclave_node::service::sys::{init, keys};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Map, Value};

use super::{check_refusal, first_line, object};
use crate::canary;
use crate::sealing::{BARRIER, CLUSTER};
use crate::state::{START_MS, State};

static STATIC_KEY: LazyLock<StaticKey> =
    LazyLock::new(|| StaticKey::new("fuzz", &[9; 32]).expect("a name and 32 bytes"));

/// The endpoint in the first line (`init`, `init static` or `rotate`), then the body.
pub fn bodies(input: &[u8]) {
    let (endpoint, body) = first_line(input);
    let mut body = match object(body) {
        Ok(body) => body,
        Err(failure) => return check_refusal(&failure),
    };
    canary::plant(&mut body, &[]);
    match endpoint {
        b"init" => initialize(&body, None),
        b"init static" => initialize(&body, Some(STATIC_KEY.clone())),
        _ => rotate(&body),
    }
}

/// What the endpoint lets through, the rules can do.
fn initialize(body: &Map<String, Value>, static_key: Option<StaticKey>) {
    let automatic = static_key.is_some();
    let parameters = match init::parameters(body, static_key) {
        Ok(parameters) => parameters,
        Err(failure) => return check_refusal(&failure),
    };
    let (shares, threshold) = (parameters.shares, parameters.threshold);
    assert!(check_split(shares, threshold).is_ok() || (automatic && (shares, threshold) == (0, 0)));
    let mut rng = StdRng::seed_from_u64(9);
    let made = seal::initialize(&parameters, CLUSTER, START_MS, &mut rng).expect("the parameters are good");
    assert_eq!(made.shares.len(), usize::from(shares));
    let stored = SealConfig::from_bytes(&made.config.to_bytes());
    assert_eq!(stored.as_ref(), Ok(&made.config));
    if automatic {
        assert!(made.config.unseal_with(&STATIC_KEY).is_ok());
    }
}

fn rotate(body: &Map<String, Value>) {
    let mut state = State::default();
    let mut rng = StdRng::seed_from_u64(10);
    let mut context = Context { view: &state, barrier: &BARRIER, now_ms: START_MS, rng: &mut rng };
    let txn = match keys::plan_config(&mut context, body) {
        Ok(txn) => txn,
        Err(failure) => return check_refusal(&failure),
    };
    state.commit(txn);
    let context = Context { view: &state, barrier: &BARRIER, now_ms: START_MS, rng: &mut rng };
    let (rotation, _) = keys::Rotation::load(&context).expect("it was just stored");
    assert!(!rotation.is_due(0, START_MS, START_MS), "a fresh key is due at once");
    keys::config(&rotation);
}
