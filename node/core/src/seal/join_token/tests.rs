use proptest::prelude::*;

use super::*;
use crate::crypto::testing::seeded;
use crate::seal::testing::{NOW_MS, barrier};
use crate::view::testing::MemoryView;

const CA: &[u8] = b"a certificate";
const TTL_MS: u64 = JOIN_TOKEN_TTL_MS_DEFAULT;

fn created(ca: &[u8]) -> (MemoryView, Barrier, JoinToken) {
    let (mut state, barrier) = (MemoryView::default(), barrier());
    let (token, txn) = {
        let mut rng = seeded(1);
        let mut ctx = Context { view: &state, barrier: &barrier, now_ms: NOW_MS, rng: &mut rng };
        plan_create(&mut ctx, ca, TTL_MS).unwrap()
    };
    state.apply(&txn).unwrap();
    (state, barrier, token)
}

const NODE: Holder = [1; 32];
const OTHER: Holder = [2; 32];

/// What `holder` gets for the token: the transaction that uses it for node 7, or the id it was used for.
fn show(
    state: &MemoryView,
    barrier: &Barrier,
    token: &JoinToken,
    holder: Holder,
    now_ms: u64,
) -> Result<Result<Txn, u64>, Error> {
    let mut rng = seeded(2);
    let mut ctx = Context { view: state, barrier, now_ms, rng: &mut rng };
    match redeem(&ctx, token, holder)? {
        Redemption::First(unused) => {
            let mut txn = Txn::default();
            unused.use_up(&mut ctx, 7, &mut txn)?;
            Ok(Ok(txn))
        }
        Redemption::Again { node_id } => Ok(Err(node_id)),
    }
}

#[test]
fn a_join_token_lets_one_node_in() {
    let (mut state, barrier, token) = created(CA);
    let txn = show(&state, &barrier, &token, NODE, NOW_MS + 1).unwrap().unwrap();
    let raced = show(&state, &barrier, &token, OTHER, NOW_MS + 1).unwrap().unwrap();
    state.apply(&txn).unwrap();
    assert_eq!(state.apply(&raced), Err(0), "of two nodes that show it at once, one gets in");
    assert_eq!(show(&state, &barrier, &token, OTHER, NOW_MS + 2).unwrap_err(), Error::Denied);
}

#[test]
fn the_node_that_used_it_gets_the_same_id_again_until_the_token_ends() {
    let (mut state, barrier, token) = created(CA);
    let txn = show(&state, &barrier, &token, NODE, NOW_MS + 1).unwrap().unwrap();
    state.apply(&txn).unwrap();
    for _ in 0..2 {
        assert_eq!(show(&state, &barrier, &token, NODE, NOW_MS + TTL_MS - 1).unwrap(), Err(7));
    }
    assert_eq!(show(&state, &barrier, &token, NODE, NOW_MS + TTL_MS).unwrap_err(), Error::Denied);
}

#[test]
fn a_join_token_ends_at_its_time() {
    let (state, barrier, token) = created(CA);
    assert!(show(&state, &barrier, &token, NODE, NOW_MS + TTL_MS - 1).unwrap().is_ok());
    assert_eq!(show(&state, &barrier, &token, NODE, NOW_MS + TTL_MS).unwrap_err(), Error::Denied);
}

#[test]
fn a_guessed_token_or_one_for_another_ca_is_denied() {
    let (state, barrier, token) = created(CA);
    let (_, _, elsewhere) = created(b"another certificate");
    assert_eq!(elsewhere.credential.expose(), token.credential.expose(), "only the pinned CA differs");
    assert_eq!(show(&state, &barrier, &elsewhere, NODE, NOW_MS).unwrap_err(), Error::Denied);
    let guessed = JoinToken { credential: Secret::new([0; CREDENTIAL_BYTES]), ..token };
    assert_eq!(show(&state, &barrier, &guessed, NODE, NOW_MS).unwrap_err(), Error::Denied);
}

#[test]
fn the_token_is_stored_nowhere() {
    let (state, _, token) = created(CA);
    assert_eq!(state.len(), 1);
    assert!(!state.contains(token.credential.expose()));
    assert!(!state.contains(&token.to_text().expose().as_bytes()[TEXT_BYTES - 22..]));
}

#[test]
fn the_lifetime_is_bounded() {
    let (state, barrier) = (MemoryView::default(), barrier());
    let mut rng = seeded(3);
    let mut ctx = Context { view: &state, barrier: &barrier, now_ms: NOW_MS, rng: &mut rng };
    for (ttl_ms, good) in
        [(0, false), (1, true), (JOIN_TOKEN_TTL_MS_MAX, true), (JOIN_TOKEN_TTL_MS_MAX + 1, false)]
    {
        assert_eq!(plan_create(&mut ctx, CA, ttl_ms).is_ok(), good, "{ttl_ms}");
    }
}

#[test]
fn the_text_is_fixed_and_reads_back() {
    let token = JoinToken { ca_sha256: [0xaa; 32], credential: Secret::new([0xbb; CREDENTIAL_BYTES]) };
    let text = token.to_text();
    assert_eq!(text.expose(), "cj1.qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo.u7u7u7u7u7u7u7u7u7u7uw");
    let back = JoinToken::parse(&format!(" {}\n", text.expose())).unwrap();
    assert_eq!((back.ca_sha256, back.credential.expose()), (token.ca_sha256, token.credential.expose()));
}

#[test]
fn a_node_knows_the_ca_before_it_says_anything() {
    let (_, _, token) = created(CA);
    let token = JoinToken::parse(token.to_text().expose()).unwrap();
    assert!(token.pins(CA));
    assert!(!token.pins(b"a certificate of somebody in between"));
}

#[test]
fn what_is_not_a_join_token_is_refused_without_repeating_it() {
    let (_, _, token) = created(CA);
    let text = token.to_text().expose().clone();
    let wrong = [
        String::new(),
        text.replace("cj1.", "cj2."),
        text.replace('.', ","),
        text[..text.len() - 1].to_owned(),
        format!("{text}A"),
        format!("{}!", &text[..text.len() - 1]),
        "x".repeat(100_000),
    ];
    for text in wrong {
        let why = JoinToken::parse(&text).unwrap_err().to_string();
        assert!(why.contains("not a join token") && why.len() < 100, "{why}");
    }
}

#[test]
fn debug_shows_no_token() {
    let (_, _, token) = created(CA);
    assert_eq!(format!("{token:?} {:?}", token.to_text()), "JoinToken Secret");
}

proptest! {
    #[test]
    fn no_text_makes_parse_panic(text in "(cj1)?[.A-Za-z0-9_-]{60,72}|.{0,80}") {
        let _ = JoinToken::parse(&text);
    }

    #[test]
    fn every_token_reads_back(ca_sha256: [u8; 32], credential: [u8; CREDENTIAL_BYTES]) {
        let token = JoinToken { ca_sha256, credential: Secret::new(credential) };
        let back = JoinToken::parse(token.to_text().expose()).unwrap();
        prop_assert_eq!(back.ca_sha256, ca_sha256);
        prop_assert!(back.credential.matches(&credential));
    }
}
