use proptest::prelude::*;

use super::*;
use crate::crypto::testing::{CountingRng, seeded};

const KEY: [u8; KEY_BYTES] = *b"a key of exactly 32 bytes, a key";

fn refusal<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("it was taken"),
        Err(Error::Invalid(why)) => why,
        Err(other) => panic!("{other}"),
    }
}

/// The subset of `shares` whose bits are set in `mask`.
fn subset(shares: &[Share], mask: u32) -> Vec<Share> {
    (0..).zip(shares).filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, share)| share.clone()).collect()
}

#[test]
fn every_subset_of_threshold_size_gives_the_key_and_no_other_size_is_taken() {
    for shares in 2..=7 {
        for threshold in 2..=shares {
            let dealt =
                split(&KEY, shares, threshold, &mut seeded(u64::from(shares) * 8 + u64::from(threshold)))
                    .unwrap();
            assert_eq!(dealt.len(), usize::from(shares));
            for mask in 0..1_u32 << shares {
                let chosen = subset(&dealt, mask);
                if chosen.len() == usize::from(threshold) {
                    assert_eq!(
                        combine(&chosen, threshold).unwrap().expose(),
                        &KEY,
                        "{threshold} of {shares}"
                    );
                } else {
                    refusal(combine(&chosen, threshold));
                }
            }
        }
    }
}

#[test]
fn too_few_shares_give_something_else_than_the_key() {
    let dealt = split(&KEY, 5, 3, &mut seeded(1)).unwrap();
    for mask in 0..1_u32 << 5 {
        let chosen = subset(&dealt, mask);
        if chosen.len() == 2 {
            // What an attacker with two shares would compute.
            assert_ne!(combine(&chosen, 2).unwrap().expose(), &KEY);
        }
    }
}

#[test]
fn fewer_shares_than_the_threshold_look_like_chance() {
    // One share of 2 tells nothing if, over many splits, its bytes take every value about equally often, the key's own
    // included: a coefficient that can never be zero would show as a value that never comes.
    const SPLITS: usize = 400;
    let rng = &mut seeded(2);
    let mut differences = [0_u32; 256];
    for _ in 0..SPLITS {
        let share = &split(&KEY, 2, 2, rng).unwrap()[0];
        for (byte, key) in share.y.iter().zip(KEY) {
            differences[usize::from(byte ^ key)] += 1;
        }
    }
    let expected = (SPLITS * KEY_BYTES / 256) as u32;
    for (value, &count) in differences.iter().enumerate() {
        // Binomial with mean 50: outside of 14 to 100 has a chance of less than one in ten million for all 256.
        assert!((expected / 2 - 11..=expected * 2).contains(&count), "difference {value} came {count} times");
    }
}

#[test]
fn the_largest_split_works() {
    let dealt = split(&KEY, SHARES_MAX, SHARES_MAX, &mut seeded(3)).unwrap();
    assert_eq!(dealt.last().unwrap().number(), 255);
    assert_eq!(combine(&dealt, SHARES_MAX).unwrap().expose(), &KEY);
    let dealt = split(&KEY, SHARES_MAX, 2, &mut seeded(4)).unwrap();
    assert_eq!(combine(&[dealt[254].clone(), dealt[17].clone()], 2).unwrap().expose(), &KEY);
}

#[test]
fn one_of_one_is_the_key_itself() {
    let dealt = split(&KEY, 1, 1, &mut seeded(5)).unwrap();
    assert_eq!(dealt.len(), 1);
    assert_eq!(combine(&dealt, 1).unwrap().expose(), &KEY);
}

#[test]
fn impossible_splits_are_refused() {
    for (shares, threshold) in [(0, 0), (0, 1), (1, 0), (1, 2), (2, 1), (5, 1), (5, 6), (255, 1)] {
        refusal(check_split(shares, threshold));
        refusal(split(&KEY, shares, threshold, &mut seeded(6)));
    }
    for (shares, threshold) in [(1, 1), (2, 2), (5, 3), (255, 2), (255, 255)] {
        check_split(shares, threshold).unwrap();
    }
}

#[test]
fn a_share_reads_back_from_base64_and_from_hexadecimal() {
    for share in split(&KEY, 5, 3, &mut seeded(7)).unwrap() {
        let base64 = share.to_base64().expose().clone();
        let hex = share.to_hex().expose().clone();
        for text in [base64.clone(), hex.clone(), hex.to_uppercase(), format!(" {base64}\n")] {
            let back = Share::parse(&text).unwrap();
            assert_eq!((back.number(), back.set_id(), back.y), (share.number(), share.set_id(), share.y));
        }
    }
}

#[test]
fn the_text_of_a_share_is_fixed() {
    // The key is given, then the set id is 00 to 07 and the coefficients follow.
    let dealt = split(&KEY, 3, 2, &mut CountingRng::default()).unwrap();
    let printed: String = dealt.iter().map(|share| format!("{}\n", share.to_base64().expose())).collect();
    assert_eq!(printed, include_str!("vectors/shares.txt"));
    let read: Vec<_> =
        include_str!("vectors/shares.txt").lines().map(|line| Share::parse(line).unwrap()).collect();
    assert_eq!(combine(&read[1..], 2).unwrap().expose(), &KEY);
}

#[test]
fn every_single_mistyped_character_is_found() {
    let share = &split(&KEY, 3, 2, &mut seeded(8)).unwrap()[0];
    for text in [share.to_base64().expose().clone(), share.to_hex().expose().clone()] {
        for position in 0..text.len() {
            for wrong in ['A', 'b', '7', '!'] {
                let mut typed: Vec<char> = text.chars().collect();
                if typed[position].eq_ignore_ascii_case(&wrong) {
                    continue;
                }
                typed[position] = wrong;
                refusal(Share::parse(&typed.iter().collect::<String>()));
            }
        }
    }
}

#[test]
fn what_is_not_a_share_is_refused_with_a_reason() {
    let share = &split(&KEY, 3, 2, &mut seeded(9)).unwrap()[0];
    let with = |change: fn(&mut Vec<u8>)| {
        // With a checksum that is right, so that only what was changed is wrong.
        let mut body = share.to_bytes()[..SHARE_BYTES - CHECKSUM_BYTES].to_vec();
        change(&mut body);
        let sum = checksum(&body);
        BASE64.encode([body, sum.to_vec()].concat())
    };
    Share::parse(&with(|_| {})).unwrap();
    assert!(refusal(Share::parse(&with(|body| body[0] = 2))).contains("version 2"));
    assert!(refusal(Share::parse(&with(|body| body[1 + SET_ID_BYTES] = 0))).contains("number 0"));
    assert!(refusal(Share::parse(&with(|body| body.truncate(20)))).contains("24 bytes"));
    assert!(refusal(Share::parse("")).contains("0 bytes"));
    assert!(refusal(Share::parse("not base64 at all")).contains("neither"));
    assert!(refusal(Share::parse(&"A".repeat(100_000))).contains("neither"));
}

#[test]
fn no_refusal_repeats_the_share() {
    let mut text = split(&KEY, 3, 2, &mut seeded(10)).unwrap()[0].to_base64().expose().clone();
    text.replace_range(20..21, "!");
    let why = refusal(Share::parse(&text));
    assert!(!why.contains(&text[..12]) && !why.contains(&text[30..42]), "{why}");
}

#[test]
fn shares_that_do_not_belong_together_are_refused() {
    let one = split(&KEY, 3, 2, &mut seeded(11)).unwrap();
    let other = split(&KEY, 3, 2, &mut seeded(12)).unwrap();
    assert!(refusal(combine(&[one[0].clone(), other[1].clone()], 2)).contains("another split"));
    assert!(refusal(combine(&[one[0].clone(), one[0].clone()], 2)).contains("given twice"));
    refusal(combine(&one, 2));
    refusal(combine(&[], 0));
}

#[test]
fn debug_shows_the_number_only() {
    let share = Share { set_id: [1; 8], x: 3, y: [0xab; KEY_BYTES] };
    assert_eq!(format!("{share:?}"), "Share(3)");
    assert_eq!(format!("{:?}", share.to_base64()), "Secret");
}

proptest! {
    #[test]
    fn any_threshold_of_any_split_gives_the_key_in_any_order(
        key: [u8; KEY_BYTES],
        (shares, threshold) in (2_u8..=40).prop_flat_map(|shares| (Just(shares), 2..=shares)),
        order in any::<prop::sample::Index>(),
        seed: u64,
    ) {
        let mut dealt = split(&key, shares, threshold, &mut seeded(seed)).unwrap();
        let start = order.index(dealt.len());
        dealt.rotate_left(start);
        dealt.truncate(usize::from(threshold));
        dealt.reverse();
        prop_assert!(combine(&dealt, threshold).unwrap().matches(&key));
    }

    #[test]
    fn no_text_makes_parse_panic(text in ".{0,200}") {
        prop_assert!(Share::parse(&text).is_err());
    }
}
