use super::*;
use crate::crypto::testing::seeded;
use crate::seal::testing::{CLUSTER, NOW_MS, shamir, static_key};
use crate::seal::{Parameters, Progress, UnsealProgress, initialize, replace_static_key};

fn both() -> (SealConfig, RootKey) {
    let parameters = Parameters { shares: 3, threshold: 2, static_key: Some(static_key(1)) };
    let made = initialize(&parameters, CLUSTER, NOW_MS, &mut seeded(1)).unwrap();
    (made.config, made.root_key)
}

fn corrupt(bytes: &[u8]) -> String {
    match SealConfig::from_bytes(bytes).unwrap_err() {
        Error::Corrupt(why) => why,
        other => panic!("{other}"),
    }
}

#[test]
fn a_stored_configuration_reads_back_the_same() {
    for config in [both().0, shamir(5, 3).config, shamir(1, 1).config, shamir(255, 255).config] {
        assert_eq!(SealConfig::from_bytes(&config.to_bytes()).unwrap(), config);
    }
}

/// The files were made by another implementation of the format, not by this program.
#[test]
fn a_configuration_of_version_1_stays_readable() {
    let config = SealConfig::from_bytes(include_bytes!("vectors/config-1.json")).unwrap();
    assert_eq!((config.seal_type(), config.shares(), config.threshold()), (SealType::Static, 3, 2));
    assert_eq!((config.cluster_id, config.created_ms), (CLUSTER, NOW_MS));
    let root_key = config.unseal_with(&static_key(1)).unwrap();

    let shares: Vec<_> = include_str!("vectors/shares-1.txt").lines().collect();
    for pair in [[0, 1], [2, 0], [1, 2]] {
        let mut attempt = UnsealProgress::new(config.clone());
        attempt.submit(shares[pair[0]], &mut seeded(1)).unwrap();
        match attempt.submit(shares[pair[1]], &mut seeded(1)).unwrap() {
            Progress::Unsealed(by_shares) => assert_eq!(by_shares.expose(), root_key.expose()),
            Progress::Waiting { .. } => panic!("two shares are enough"),
        }
    }
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    let good = String::from_utf8(both().0.to_bytes()).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} must be there to be changed");
        corrupt(good.replacen(from, to, 1).as_bytes())
    };
    assert!(changed("\"version\":1", "\"version\":2").contains("version"));
    assert!(changed("\"threshold\":2", "\"threshold\":9").contains("threshold"));
    assert!(changed("\"threshold\":2", "\"threshold\":0").contains("threshold"));
    assert!(changed("\"shares\":3", "\"shares\":4").contains("not complete"));
    assert!(changed("\"wrapped_root_key\":\"01", "\"wrapped_root_key\":\"").contains("not complete"));
    assert!(corrupt(b"").contains("cannot be read"));
    assert!(corrupt(&good.as_bytes()[..good.len() - 1]).contains("cannot be read"));

    let mut nothing: serde_json::Value = serde_json::from_str(&good).unwrap();
    nothing["shares"] = serde_json::Value::Null;
    nothing["static_key"] = serde_json::Value::Null;
    assert!(corrupt(nothing.to_string().as_bytes()).contains("nothing opens it"));
}

#[test]
fn a_configuration_holds_no_secret() {
    let parameters = Parameters { shares: 3, threshold: 2, static_key: Some(static_key(0xab)) };
    let made = initialize(&parameters, CLUSTER, NOW_MS, &mut seeded(2)).unwrap();
    let stored = String::from_utf8(made.config.to_bytes()).unwrap();
    let debug = format!("{:?}", made.config);
    let mut secrets = vec![hex::encode(made.root_key.expose()), hex::encode([0xab; 32])];
    for share in &made.shares {
        let text = share.to_hex();
        // The whole share, and its content without number and checksum.
        secrets.push(text.expose().clone());
        secrets.push(text.expose()[20..84].to_owned());
    }
    for secret in secrets {
        assert!(!stored.contains(&secret) && !debug.contains(&secret));
    }
}

#[test]
fn only_the_right_static_key_opens_the_seal() {
    let (config, root_key) = both();
    assert_eq!(config.unseal_with(&static_key(1)).unwrap().expose(), root_key.expose());

    let refusal = |config: &SealConfig, key: &StaticKey| config.unseal_with(key).unwrap_err().to_string();
    assert!(refusal(&config, &static_key(2)).contains("not the one"));
    let misnamed = StaticKey::new("key-2", &[1; 32]).unwrap();
    assert!(refusal(&config, &misnamed).contains("\"key-2\" was given"));
    assert!(refusal(&shamir(3, 2).config, &static_key(1)).contains("not sealed by a static key"));
}

#[test]
fn a_wrapped_root_key_of_another_cluster_does_not_open() {
    let (mut config, root_key) = both();
    config.cluster_id = [0xc2; 16];
    config.unseal_with(&static_key(1)).unwrap_err();
    assert!(!config.is_root_key(&root_key));
}

#[test]
fn a_root_key_that_is_not_the_committed_one_is_refused() {
    // The slot opens, but to the root key of another cluster: taken over from its configuration.
    let (config, _) = both();
    let (mut other, other_root_key) = (both().0, RootKey::generate(&mut seeded(9)));
    other.root_key_commitment = other_root_key.commitment(&CLUSTER);
    let other = replace_static_key(&other, &other_root_key, &static_key(1), &mut seeded(3)).unwrap();
    let mixed = SealConfig { static_key: other.static_key, ..config };
    assert!(mixed.unseal_with(&static_key(1)).is_err());
}

#[test]
fn a_flipped_bit_in_a_wrapped_root_key_is_found() {
    let (config, _) = both();
    for position in 0..WRAPPED_BYTES {
        let mut damaged = config.clone();
        damaged.static_key.as_mut().unwrap().wrapped_root_key[position] ^= 1;
        damaged.unseal_with(&static_key(1)).unwrap_err();
    }
}

#[test]
fn a_poor_static_key_is_refused() {
    for (id, key) in [
        ("", &[1; 32][..]),
        ("has space", &[1; 32]),
        ("k", &[1; 31]),
        ("k", &[1; 33]),
        ("k", &[0; 32]),
        (&"k".repeat(KEY_ID_BYTES_MAX + 1), &[1; 32]),
    ] {
        assert!(matches!(StaticKey::new(id, key), Err(Error::Invalid(_))), "{id:?}, {} bytes", key.len());
    }
}

#[test]
fn debug_shows_no_static_key() {
    assert_eq!(format!("{:?}", static_key(0xab)), "StaticKey(key-1)");
}

#[test]
fn unsealing_by_peers_is_on_unless_it_was_switched_off_and_that_is_remembered() {
    let mut config = shamir(3, 2).config;
    assert!(SealConfig::from_bytes(&config.to_bytes()).unwrap().peer_unseal);
    config.peer_unseal = false;
    assert!(!SealConfig::from_bytes(&config.to_bytes()).unwrap().peer_unseal);
}
