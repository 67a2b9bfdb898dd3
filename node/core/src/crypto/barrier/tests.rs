use std::collections::HashSet;

use proptest::prelude::*;

use super::super::plain_key;
use super::super::testing::{CountingRng, seeded};
use super::*;

const CLUSTER: ClusterId = [0xc1; 16];
const CANARY: &str = "canary-51d0";

fn barrier() -> Barrier {
    Barrier::new(CLUSTER, Keyring::generate(&mut seeded(1), 1_000))
}

fn refusal(result: Result<Opened, Error>) -> String {
    match result {
        Ok(_) => panic!("it opened"),
        Err(Error::Corrupt(why)) => why,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_record_comes_back_with_its_path() {
    let barrier = barrier();
    let key = barrier.key(Kind::KvV1, ["mount", "a", "b"]);
    for (path, payload) in [("a/b", &b"value"[..]), ("", b""), ("ö/日本", &[0; 1000])] {
        let sealed = barrier.seal(&key, path, payload, &mut seeded(2)).unwrap();
        assert_eq!(sealed.len(), SEALED_OVERHEAD_BYTES + path.len() + payload.len());
        let opened = barrier.open(&key, &sealed).unwrap();
        assert_eq!((opened.path.as_str(), opened.payload.as_slice()), (path, payload));
    }
}

/// The vector was computed by another implementation of the format, not by this program.
#[test]
fn the_sealed_format_and_the_keys_are_fixed() {
    let rng = &mut CountingRng::default();
    let barrier = Barrier::new(CLUSTER, Keyring::generate(rng, 0));
    let key = barrier.key(Kind::KvData, ["mount", "payment", "api_key"]);
    let sealed = barrier.seal(&key, "payment/api_key", b"value", rng).unwrap();
    let printed = format!("{}\n{}\n", hex::encode(&key), hex::encode(&sealed));
    assert_eq!(printed, include_str!("../vectors/record.hex"));
    // The vector is also a file of an earlier version: it must stay readable.
    let lines: Vec<_> =
        include_str!("../vectors/record.hex").lines().map(|line| hex::decode(line).unwrap()).collect();
    assert_eq!(barrier.open(&lines[0], &lines[1]).unwrap().payload.as_slice(), b"value");
}

#[test]
fn neither_path_nor_value_can_be_found_in_key_or_record() {
    let barrier = barrier();
    let key = barrier.key(Kind::KvV1, ["mount", CANARY]);
    let sealed = barrier.seal(&key, CANARY, CANARY.as_bytes(), &mut seeded(2)).unwrap();
    for bytes in [key, sealed] {
        assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
    }
}

#[test]
fn any_two_records_that_change_places_are_both_refused() {
    let barrier = barrier();
    let places = [
        barrier.key(Kind::KvV1, ["m", "a"]),
        barrier.key(Kind::KvV1, ["m", "b"]),
        barrier.key(Kind::KvV1, ["n", "a"]),
        barrier.key(Kind::KvData, ["m", "a"]),
        barrier.key(Kind::KvV1, ["m"]),
        barrier.key(Kind::KvV1, ["m", "a", "b"]),
        plain_key(Kind::Mounts),
    ];
    let rng = &mut seeded(2);
    let sealed: Vec<_> = places.iter().map(|key| barrier.seal(key, "p", b"v", rng).unwrap()).collect();
    for (from, record) in sealed.iter().enumerate() {
        for (to, key) in places.iter().enumerate() {
            if from == to {
                barrier.open(key, record).unwrap();
            } else {
                assert!(refusal(barrier.open(key, record)).contains("does not belong"), "{from} put at {to}");
            }
        }
    }
}

#[test]
fn a_record_of_another_cluster_is_refused_even_under_the_same_keys() {
    let keyring = Keyring::generate(&mut seeded(1), 0);
    let here = Barrier::new(CLUSTER, keyring.clone());
    let there = Barrier::new([0xc2; 16], keyring);
    let key = here.key(Kind::KvV1, ["m", "a"]);
    assert_eq!(key, there.key(Kind::KvV1, ["m", "a"]), "the test needs equal keys");
    refusal(there.open(&key, &here.seal(&key, "p", b"v", &mut seeded(2)).unwrap()));
}

#[test]
fn a_record_relabelled_with_another_term_is_refused() {
    let rng = &mut seeded(1);
    let first = Keyring::generate(rng, 0);
    let old = Barrier::new(CLUSTER, first.clone());
    let new = Barrier::new(CLUSTER, first.rotate(rng, 1).unwrap());
    let key = old.key(Kind::KvV1, ["m", "a"]);
    assert_eq!(key, new.key(Kind::KvV1, ["m", "a"]), "a rotation moves no record");

    let sealed_old = old.seal(&key, "p", b"old", rng).unwrap();
    let sealed_new = new.seal(&key, "p", b"new", rng).unwrap();
    assert_eq!((sealed_old[4], sealed_new[4]), (1, 2));
    assert_eq!(new.open(&key, &sealed_old).unwrap().payload.as_slice(), b"old");
    assert_eq!(new.open(&key, &sealed_new).unwrap().payload.as_slice(), b"new");
    assert!(refusal(old.open(&key, &sealed_new)).contains("term 2 is not in the keyring"));

    for (sealed, other_term) in [(sealed_old, 2), (sealed_new, 1)] {
        for term in [other_term, 0, 3, 255] {
            let mut relabelled = sealed.clone();
            relabelled[4] = term;
            refusal(new.open(&key, &relabelled));
        }
    }
}

#[test]
fn a_truncated_or_flipped_record_is_refused() {
    let barrier = barrier();
    let key = barrier.key(Kind::KvV1, ["m", "a"]);
    let sealed = barrier.seal(&key, "path", b"value", &mut seeded(2)).unwrap();
    for length in 0..sealed.len() {
        refusal(barrier.open(&key, &sealed[..length]));
        refusal(barrier.open(&key, &sealed[sealed.len() - length..]));
    }
    for position in 0..sealed.len() {
        for bit in 0..8 {
            let mut flipped = sealed.clone();
            flipped[position] ^= 1 << bit;
            refusal(barrier.open(&key, &flipped));
        }
    }
    let mut longer = sealed.clone();
    longer.push(0);
    refusal(barrier.open(&key, &longer));
}

#[test]
fn a_record_that_is_too_large_is_refused_before_it_is_sealed() {
    let barrier = barrier();
    let key = plain_key(Kind::Mounts);
    let largest = vec![0; RECORD_BYTES_MAX - SEALED_OVERHEAD_BYTES - 1];
    let sealed = barrier.seal(&key, "p", &largest, &mut seeded(2)).unwrap();
    assert_eq!(sealed.len(), RECORD_BYTES_MAX);
    let too_large = barrier.seal(&key, "pp", &largest, &mut seeded(2));
    assert!(matches!(too_large, Err(Error::TooLarge(_))));
    let long_path = "p".repeat(usize::from(u16::MAX) + 1);
    assert!(matches!(barrier.seal(&key, &long_path, b"", &mut seeded(2)), Err(Error::TooLarge(_))));
    assert_eq!(barrier.seals_done(), 1, "a refused record uses no nonce");
}

#[test]
fn equal_records_are_sealed_to_different_bytes() {
    let barrier = barrier();
    let rng = &mut seeded(2);
    let mut seen = HashSet::new();
    for _ in 0..100 {
        assert!(
            seen.insert(barrier.seal(&[1], "p", b"v", rng).unwrap()[5..17].to_vec()),
            "a nonce came twice"
        );
    }
}

#[test]
fn a_worn_out_term_refuses_to_seal_but_still_opens() {
    let barrier = barrier();
    let sealed = barrier.seal(&[1], "p", b"v", &mut seeded(2)).unwrap();
    let barrier = barrier.counting_from(SEALS_PER_TERM_LIMIT - 1);
    barrier.seal(&[1], "p", b"v", &mut seeded(3)).unwrap();
    assert_eq!(barrier.seals_done(), SEALS_PER_TERM_LIMIT);
    let refused = barrier.seal(&[1], "p", b"v", &mut seeded(4)).unwrap_err();
    assert!(refused.to_string().contains("rotate"), "{refused}");
    barrier.open(&[1], &sealed).unwrap();
}

#[test]
fn a_key_extends_the_key_of_its_folder() {
    let barrier = barrier();
    let folder = barrier.key(Kind::KvV1, ["m", "a"]);
    let leaf = barrier.key(Kind::KvV1, ["m", "a", "b"]);
    assert_eq!((folder.len(), leaf.len()), (key_len_of(2), key_len_of(3)));
    assert!(leaf.starts_with(&folder));
    assert_eq!(barrier.key(Kind::Mounts, []), plain_key(Kind::Mounts));
    let other_kind = barrier.key(Kind::KvData, ["m", "a", "b"]);
    assert_ne!(leaf[1..17], other_kind[1..17], "tokens of different kinds cannot be compared");
    let same_name_elsewhere = barrier.key(Kind::KvV1, ["m", "c", "b"]);
    assert_ne!(leaf[33..], same_name_elsewhere[33..], "nor those of equal names in different folders");
}

#[test]
fn hashes_for_different_purposes_differ() {
    let barrier = barrier();
    let token_hash = barrier.token_hash(b"x");
    assert_eq!(token_hash.len(), 64);
    let audit_hash = |device: &str, value: &str| barrier.audit_salt(device).hash(value);
    assert_ne!(audit_hash("file", "x"), format!("hmac-sha256:{token_hash}"));
    assert_ne!(token_hash[..32], hex::encode(&barrier.key(Kind::Token, ["x"])[1..]));
    let mut mac = barrier.snapshot_mac();
    mac.update(b"x");
    assert_ne!(audit_hash("file", "x"), format!("hmac-sha256:{}", hex::encode(mac.finish())));
    assert_eq!(audit_hash("file", "x"), audit_hash("file", "x"));
    assert_ne!(audit_hash("file", "x"), audit_hash("file", "y"));
    assert_ne!(audit_hash("file", "x"), audit_hash("syslog", "x"));
}

#[test]
fn debug_shows_no_content() {
    let barrier = barrier();
    let sealed = barrier.seal(&[1], CANARY, CANARY.as_bytes(), &mut seeded(2)).unwrap();
    let opened = barrier.open(&[1], &sealed).unwrap();
    assert_eq!(format!("{opened:?}"), "Opened(11 bytes)");
    assert_eq!(format!("{barrier:?}"), "Barrier(term 1)");
    assert_eq!(format!("{:?}", barrier.snapshot_mac()), "SnapshotMac");
}

proptest! {
    #[test]
    fn different_segments_never_share_a_key(
        one in prop::collection::vec("[ab/]{0,3}", 0..5),
        other in prop::collection::vec("[ab/]{0,3}", 0..5),
    ) {
        let barrier = barrier();
        let key_of = |segments: &[String]| barrier.key(Kind::KvV1, segments.iter().map(String::as_str));
        prop_assert_eq!(one == other, key_of(&one) == key_of(&other));
    }

    #[test]
    fn whatever_is_sealed_opens_the_same(path in ".{0,64}", payload: Vec<u8>, seed: u64) {
        let barrier = barrier();
        let sealed = barrier.seal(&[9], &path, &payload, &mut seeded(seed)).unwrap();
        let opened = barrier.open(&[9], &sealed).unwrap();
        prop_assert_eq!(opened.path, path);
        prop_assert_eq!(opened.payload.to_vec(), payload);
    }

    #[test]
    fn no_bytes_make_open_panic(bytes: Vec<u8>) {
        prop_assert!(barrier().open(&[9], &bytes).is_err());
    }
}
