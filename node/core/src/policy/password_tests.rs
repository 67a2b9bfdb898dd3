//! Password policies, and that what they make is as they say and as random as it looks.

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;

const USUAL: &str = r##"
    length = 20
    rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" min-chars = 1 }
    rule "charset" { charset = "ABCDEFGHIJKLMNOPQRSTUVWXYZ" min-chars = 1 }
    rule "charset" { charset = "0123456789" min-chars = 2 }
    rule "charset" { charset = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" }
"##;

fn policy(text: &str) -> PasswordPolicy {
    PasswordPolicy::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn every_password_keeps_the_rules() {
    let policy = policy(USUAL);
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..500 {
        let password = policy.generate(&mut rng).unwrap();
        assert_eq!(password.chars().count(), 20);
        assert!(
            password.chars().any(|c| c.is_ascii_lowercase())
                && password.chars().any(|c| c.is_ascii_uppercase())
        );
        assert!(password.chars().filter(char::is_ascii_digit).count() >= 2);
        assert!(password.chars().all(|c| c.is_ascii_graphic()));
    }
}

#[test]
fn json_is_read_as_well_in_both_forms() {
    let hcl = policy("length = 8 rule \"charset\" { charset = \"abc\" min-chars = 1 }");
    for json in [
        r#"{"length": 8, "rule": {"charset": {"charset": "abc", "min-chars": 1}}}"#,
        r#"{"length": 8, "rule": [{"charset": [{"charset": "cbaa", "min-chars": 1}]}]}"#,
    ] {
        assert_eq!(policy(json), hcl, "{json}");
    }
}

/// Each character as often as any other, within six standard deviations.
#[test]
fn characters_are_drawn_without_bias() {
    // 63 is no divisor of a power of two: whoever takes remainders prefers the first characters.
    let alphabet: String = ('a'..='z').chain('A'..='Z').chain('0'..='9').chain(['-']).collect();
    let policy = policy(&format!("length = 100 rule \"charset\" {{ charset = \"{alphabet}\" }}"));
    let mut rng = StdRng::seed_from_u64(2);
    let mut counts = std::collections::BTreeMap::new();
    const PASSWORDS: usize = 6_300;
    for _ in 0..PASSWORDS {
        policy.generate(&mut rng).unwrap().chars().for_each(|c| *counts.entry(c).or_insert(0_i64) += 1);
    }
    let expected = i64::try_from(PASSWORDS * 100 / 63).unwrap();
    assert_eq!(counts.len(), 63);
    for (character, count) in counts {
        assert!((count - expected).abs() < 600, "{character}: {count} of {expected}");
    }
}

#[test]
fn rules_that_hardly_anything_keeps_are_refused_in_the_end() {
    let rare = policy(
        r#"length = 100 rule "charset" { charset = "0" min-chars = 100 } rule "charset" { charset = "abcdefghijklm" }"#,
    );
    assert!(matches!(rare.generate(&mut StdRng::seed_from_u64(3)), Err(Error::Invalid(_))));
}

#[test]
fn what_makes_no_password_is_refused() {
    for (text, part) in [
        ("rule \"charset\" { charset = \"abc\" }", "between 4 and 100"),
        ("length = 3 rule \"charset\" { charset = \"abc\" }", "between 4 and 100"),
        ("length = 101 rule \"charset\" { charset = \"abc\" }", "between 4 and 100"),
        ("length = -5", "whole number"),
        ("length = \"20\"", "whole number"),
        ("length = 20", "needs a rule"),
        ("length = 20 rule \"charset\" { charset = \"\" }", "needs a charset"),
        ("length = 20 rule \"charset\" {}", "needs a charset"),
        ("length = 20 rule \"charset\" { charset = \"a\\nb\" }", "cannot be seen"),
        ("length = 20 rule \"charset\" { charset = \"a\\u200bb\" }", "cannot be seen"),
        ("length = 4 rule \"charset\" { charset = \"abc\" min-chars = 5 }", "at least 5"),
        ("length = 20 rule \"regex\" { charset = \"abc\" }", "there is: charset"),
        ("length = 20 rule \"charset\" { chars = \"abc\" }", "charset, min-chars"),
        ("size = 20", "length, rule"),
    ] {
        let sentence =
            PasswordPolicy::parse(text).err().unwrap_or_else(|| panic!("taken: {text}")).to_string();
        assert!(sentence.contains(part), "{text}: {sentence}");
    }
    let large: String = (0x4e00..0x4e00 + 257).filter_map(char::from_u32).collect();
    let text = format!("length = 20 rule \"charset\" {{ charset = \"{large}\" }}");
    assert!(PasswordPolicy::parse(&text).unwrap_err().to_string().contains("different characters"));
}
