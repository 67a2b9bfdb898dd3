//! Durations as Vault's clients write them: Go's notation (`1h30m`), whole seconds as a number or as text.
//!
//! Everything is kept in whole seconds, as Vault keeps it; a fraction of a second is cut off.

use serde_json::Value;

/// Longest duration, in seconds: what fits into Go's 64-bit nanoseconds, about 292 years.
const DURATION_S_MAX: u128 = (i64::MAX / 1_000_000_000) as u128;
const NANOSECONDS_PER_S: u128 = 1_000_000_000;
/// Digits before or after a decimal point; more cannot change a whole number of seconds that fits.
const DIGITS_MAX: usize = 18;

/// The text or value is no duration. Says nothing of the value, which belongs to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a duration is written as 90, \"90\", \"90s\" or \"1h30m\"")]
pub struct DurationError;

/// Seconds of a JSON value: a whole number, or text for [`parse_s`].
pub fn from_json_s(value: &Value) -> Result<i64, DurationError> {
    match value {
        Value::Number(number) => within(number.as_i64().ok_or(DurationError)?),
        Value::String(text) => parse_s(text),
        _ => Err(DurationError),
    }
}

/// Seconds of Go's notation with the further unit `d`, or of a whole number. Empty text is 0, as for Vault.
pub fn parse_s(text: &str) -> Result<i64, DurationError> {
    if text.is_empty() {
        return Ok(0);
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return within(seconds);
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if unsigned.is_empty() {
        return Err(DurationError);
    }
    let mut total_ns: u128 = 0;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let (part_ns, after) = leading_part_ns(rest)?;
        total_ns = total_ns.checked_add(part_ns).ok_or(DurationError)?;
        rest = after;
    }
    let seconds = total_ns / NANOSECONDS_PER_S;
    if seconds > DURATION_S_MAX {
        return Err(DurationError);
    }
    let seconds = i64::try_from(seconds).map_err(|_| DurationError)?;
    Ok(if negative { -seconds } else { seconds })
}

fn within(seconds: i64) -> Result<i64, DurationError> {
    if u128::from(seconds.unsigned_abs()) > DURATION_S_MAX { Err(DurationError) } else { Ok(seconds) }
}

/// The first number with its unit, such as `1.5h`, in nanoseconds, and what follows it.
fn leading_part_ns(text: &str) -> Result<(u128, &str), DurationError> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(DurationError)?;
    let (number, rest) = text.split_at(number_end);
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, after) = rest.split_at(unit_end);
    let unit_ns = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => NANOSECONDS_PER_S,
        "m" => 60 * NANOSECONDS_PER_S,
        "h" => 3_600 * NANOSECONDS_PER_S,
        "d" => 86_400 * NANOSECONDS_PER_S,
        _ => return Err(DurationError),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = whole.len() + fraction.len();
    if digits == 0 || whole.len() > DIGITS_MAX || fraction.len() > DIGITS_MAX {
        return Err(DurationError);
    }
    let value_of = |digits: &str| match digits {
        "" => Ok(0_u128),
        digits => digits.parse::<u128>().map_err(|_| DurationError),
    };
    // 18 digits times a day in nanoseconds stay far below 128 bits.
    let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| DurationError)?);
    Ok((value_of(whole)? * unit_ns + value_of(fraction)? * unit_ns / scale, after))
}

/// As Go prints a duration of whole seconds: `0s`, `1m30s`, `24h0m0s`, `-1s`.
pub fn format_s(seconds: i64) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    let total = seconds.unsigned_abs();
    let (hours, minutes, seconds) = (total / 3_600, total / 60 % 60, total % 60);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn go_durations_and_numbers_of_seconds_are_read() {
        for (text, seconds) in [
            ("", 0),
            ("0", 0),
            ("90", 90),
            ("-5", -5),
            ("90s", 90),
            ("1h30m", 5_400),
            ("1h30m0s", 5_400),
            ("1.5h", 5_400),
            (".5m", 30),
            ("1.m", 60),
            ("100ms", 0),
            ("1500ms", 1),
            ("999999us1ns", 0),
            ("-1s", -1),
            ("+2m", 120),
            ("1d", 86_400),
            ("3µs", 0),
        ] {
            assert_eq!(parse_s(text), Ok(seconds), "{text:?}");
        }
        assert_eq!(from_json_s(&json!(90)), Ok(90));
        assert_eq!(from_json_s(&json!("2h")), Ok(7_200));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "x",
            "1",
            "s",
            "1y",
            "1 h",
            "h1",
            ".",
            "-",
            "+",
            "1.2.3s",
            "--1s",
            "1h-1m",
            "1.5",
            "99999999999h",
        ] {
            let expect = if text == "1" { Ok(1) } else { Err(DurationError) };
            assert_eq!(parse_s(text), expect, "{text:?}");
        }
        for value in [json!(1.5), json!(true), json!([1]), json!({}), json!(u64::MAX), json!(i64::MIN)] {
            assert_eq!(from_json_s(&value), Err(DurationError), "{value}");
        }
    }

    #[test]
    fn seconds_are_printed_as_go_prints_them() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m0s"),
            (90, "1m30s"),
            (300, "5m0s"),
            (3_600, "1h0m0s"),
            (5_400, "1h30m0s"),
            (86_400, "24h0m0s"),
            (-1, "-1s"),
        ] {
            assert_eq!(format_s(seconds), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(seconds in -9_000_000_000_i64..9_000_000_000) {
            prop_assert_eq!(parse_s(&format_s(seconds)), Ok(seconds));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[-+0-9.a-zµ]{0,40}") {
            let _ = parse_s(&text);
        }
    }
}
