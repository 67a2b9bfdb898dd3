use super::*;
use crate::crypto::testing::seeded;
use crate::seal::testing::{CLUSTER, NOW_MS, shamir, static_key};
use crate::seal::{Parameters, initialize, replace_shares};

fn texts(shares: &[Share]) -> Vec<String> {
    shares.iter().map(|share| share.to_base64().expose().clone()).collect()
}

fn progress_of(progress: Progress) -> u8 {
    match progress {
        Progress::Waiting { progress, .. } => progress,
        Progress::Unsealed(_) => panic!("unsealed too early"),
    }
}

fn unsealed(progress: Progress) -> RootKey {
    match progress {
        Progress::Unsealed(root_key) => root_key,
        Progress::Waiting { progress, .. } => panic!("still waiting at {progress}"),
    }
}

fn refusal(result: Result<Progress, Error>) -> String {
    match result {
        Err(Error::Invalid(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[test]
fn enough_shares_in_any_order_give_the_root_key() {
    let made = shamir(5, 3);
    let texts = texts(&made.shares);
    let rng = &mut seeded(1);
    for order in [[0, 1, 2], [4, 2, 0], [3, 4, 1]] {
        let mut attempt = UnsealProgress::new(made.config.clone());
        assert_eq!(progress_of(attempt.submit(&texts[order[0]], rng).unwrap()), 1);
        assert_eq!(progress_of(attempt.submit(&texts[order[1]], rng).unwrap()), 2);
        let root_key = unsealed(attempt.submit(&texts[order[2]], rng).unwrap());
        assert_eq!(root_key.expose(), made.root_key.expose());
        assert_eq!((attempt.progress(), attempt.nonce()), (0, ""), "the attempt is over");
    }
}

#[test]
fn a_share_given_twice_counts_once() {
    let made = shamir(3, 2);
    let texts = texts(&made.shares);
    let rng = &mut seeded(2);
    let mut attempt = UnsealProgress::new(made.config);
    for _ in 0..5 {
        assert_eq!(progress_of(attempt.submit(&texts[0], rng).unwrap()), 1);
    }
    let hex = made.shares[0].to_hex();
    assert_eq!(
        progress_of(attempt.submit(hex.expose(), rng).unwrap()),
        1,
        "the same share in another spelling"
    );
    unsealed(attempt.submit(&texts[2], rng).unwrap());
}

#[test]
fn a_wrong_share_is_named_and_the_others_stay() {
    let made = shamir(5, 3);
    let texts = texts(&made.shares);
    let rng = &mut seeded(3);
    let mut attempt = UnsealProgress::new(made.config.clone());
    attempt.submit(&texts[0], rng).unwrap();
    attempt.submit(&texts[1], rng).unwrap();
    let nonce = attempt.nonce().to_owned();

    let mut mistyped = texts[2].clone();
    let other = if &mistyped[30..31] == "A" { "B" } else { "A" };
    mistyped.replace_range(30..31, other);
    assert!(refusal(attempt.submit(&mistyped, rng)).contains("mistyped"));

    let other_cluster = initialize(
        &Parameters { shares: 5, threshold: 3, static_key: None },
        [0xc2; 16],
        NOW_MS,
        &mut seeded(99),
    )
    .unwrap();
    let why = refusal(attempt.submit(other_cluster.shares[3].to_base64().expose(), rng));
    assert!(why.contains("key share 4") && why.contains("another cluster"), "{why}");

    assert!(refusal(attempt.submit("", rng)).contains("bytes"));
    assert_eq!((attempt.progress(), attempt.nonce()), (2, nonce.as_str()));
    unsealed(attempt.submit(&texts[4], rng).unwrap());
}

#[test]
fn a_forged_share_of_the_right_set_is_named() {
    // A forger who knows the set id and the checksum can make a share that parses. Without the hashes it would spoil
    // the attempt of all others.
    let made = shamir(3, 2);
    let rng = &mut seeded(4);
    let forged = |share: &Share, position: usize, value: u8| {
        let hex = share.to_hex();
        let mut body = hex::decode(hex.expose()).unwrap();
        body.truncate(crate::seal::shamir::SHARE_BYTES - 4);
        body[position] = value;
        let sum = {
            use sha2::{Digest, Sha256};
            Sha256::new().chain_update(b"conclave/share-checksum/1").chain_update(&body).finalize()
        };
        body.extend_from_slice(&sum[..4]);
        hex::encode(body)
    };
    let mut attempt = UnsealProgress::new(made.config);
    attempt.submit(made.shares[0].to_base64().expose(), rng).unwrap();
    let number = 9;
    for (position, value, named) in
        [(number, 2, "key share 2"), (number, 200, "key share 200"), (12, 0xee, "key share 1")]
    {
        let why = refusal(attempt.submit(&forged(&made.shares[0], position, value), rng));
        assert!(why.contains(named) && why.contains("not one that was made"), "{why}");
    }
    unsealed(attempt.submit(made.shares[2].to_base64().expose(), rng).unwrap());
}

#[test]
fn replaced_shares_open_nothing_any_more() {
    let made = shamir(3, 2);
    let rng = &mut seeded(5);
    let (config, new_shares) = replace_shares(&made.config, &made.root_key, 4, 3, NOW_MS + 1, rng).unwrap();
    let mut attempt = UnsealProgress::new(config);
    let why = refusal(attempt.submit(made.shares[0].to_base64().expose(), rng));
    assert!(why.contains("replaced since"), "{why}");
    for share in &new_shares[..2] {
        progress_of(attempt.submit(share.to_base64().expose(), rng).unwrap());
    }
    let root_key = unsealed(attempt.submit(new_shares[3].to_base64().expose(), rng).unwrap());
    assert_eq!(
        root_key.expose(),
        made.root_key.expose(),
        "the root key is the same, so no record is touched"
    );
}

#[test]
fn one_share_of_one_unseals_at_once() {
    let made = shamir(1, 1);
    let mut attempt = UnsealProgress::new(made.config);
    let root_key = unsealed(attempt.submit(made.shares[0].to_base64().expose(), &mut seeded(6)).unwrap());
    assert_eq!(root_key.expose(), made.root_key.expose());
}

#[test]
fn an_attempt_can_be_forgotten_and_then_has_another_name() {
    let made = shamir(3, 2);
    let texts = texts(&made.shares);
    let rng = &mut seeded(7);
    let mut attempt = UnsealProgress::new(made.config);
    assert_eq!(attempt.nonce(), "");
    attempt.submit(&texts[0], rng).unwrap();
    let first = attempt.nonce().to_owned();
    assert!(uuid::Uuid::parse_str(&first).is_ok());
    attempt.reset();
    assert_eq!((attempt.progress(), attempt.nonce()), (0, ""));
    assert_eq!(progress_of(attempt.submit(&texts[1], rng).unwrap()), 1);
    assert_ne!(attempt.nonce(), first);
}

#[test]
fn shares_beside_a_static_key_unseal_without_it() {
    let parameters = Parameters { shares: 3, threshold: 2, static_key: Some(static_key(1)) };
    let made = initialize(&parameters, CLUSTER, NOW_MS, &mut seeded(8)).unwrap();
    let rng = &mut seeded(9);
    let mut attempt = UnsealProgress::new(made.config);
    attempt.submit(made.shares[2].to_base64().expose(), rng).unwrap();
    let root_key = unsealed(attempt.submit(made.shares[0].to_base64().expose(), rng).unwrap());
    assert_eq!(root_key.expose(), made.root_key.expose());
}

#[test]
fn a_cluster_without_shares_says_so() {
    let parameters = Parameters { shares: 0, threshold: 0, static_key: Some(static_key(1)) };
    let made = initialize(&parameters, CLUSTER, NOW_MS, &mut seeded(10)).unwrap();
    let mut attempt = UnsealProgress::new(made.config);
    assert!(refusal(attempt.submit("AAAA", &mut seeded(11))).contains("static key"));
}

#[test]
fn debug_shows_no_share_and_no_key() {
    let made = shamir(3, 2);
    let rng = &mut seeded(12);
    let mut attempt = UnsealProgress::new(made.config);
    attempt.submit(made.shares[0].to_base64().expose(), rng).unwrap();
    assert_eq!(format!("{attempt:?}"), "UnsealProgress(1 of 2)");
    let done = attempt.submit(made.shares[1].to_base64().expose(), rng).unwrap();
    assert_eq!(format!("{done:?}"), "Unsealed(RootKey)");
}
