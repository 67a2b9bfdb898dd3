//! What must stand in a token that was verified: who made it, about whom, for whom, and when it holds.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::algorithm::Algorithm;

/// Seconds that are allowed where a role says 0.
const EXPIRATION_LEEWAY_S: i64 = 150;
const NOT_BEFORE_LEEWAY_S: i64 = 150;
const CLOCK_SKEW_LEEWAY_S: i64 = 60;
/// What a role can allow at most, in seconds.
pub const LEEWAY_S_MAX: i64 = 24 * 3_600;
pub const CLOCK_SKEW_S_MAX: i64 = 3_600;
/// Times beyond this are none, in Unix seconds: no sum of them overflows.
const TIME_S_MAX: i64 = 1 << 52;

/// How far times may be off, as roles have it, in seconds. 0: the default. Negative: not at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leeways {
    /// How long a token without an end is taken for.
    pub expiration_s: i64,
    /// How long before its end a token without a beginning begins.
    pub not_before_s: i64,
    /// By how much the clocks differ.
    pub clock_skew_s: i64,
}

/// What is expected. Empty: nothing.
pub struct Expected<'a> {
    pub algorithms: &'a [Algorithm],
    pub issuer: &'a str,
    pub subject: &'a str,
    /// One of them.
    pub audiences: &'a [String],
    pub leeways: Leeways,
    /// Whether a token without any time is refused.
    pub needs_time: bool,
    /// The cluster's time, Unix seconds.
    pub now_s: i64,
}

impl Expected<'_> {
    /// Checks what a verified token claims. The sentences are those of OpenBao.
    ///
    /// # Errors
    /// A sentence that repeats nothing of the token.
    pub fn check(&self, algorithm: Algorithm, claims: &Map<String, Value>) -> Result<(), &'static str> {
        if !self.algorithms.is_empty() && !self.algorithms.contains(&algorithm) {
            return Err("invalid algorithm (alg) header parameter: token signed with unexpected algorithm");
        }
        let is_text = |name: &str, text: &str| claims.get(name).and_then(Value::as_str) == Some(text);
        if !self.issuer.is_empty() && !is_text("iss", self.issuer) {
            return Err("invalid issuer (iss) claim");
        }
        if !self.subject.is_empty() && !is_text("sub", self.subject) {
            return Err("invalid subject (sub) claim");
        }
        let audiences = audiences(claims).ok_or("invalid audience (aud) claim: it is malformed")?;
        if !self.audiences.is_empty() && !self.audiences.iter().any(|one| audiences.contains(&one.as_str())) {
            return Err("invalid audience (aud) claim: audience claim does not match any expected audience");
        }
        self.check_times(claims)
    }

    fn check_times(&self, claims: &Map<String, Value>) -> Result<(), &'static str> {
        let issued = time(claims, "iat").map_err(|()| "invalid issued at (iat) claim: it is no time")?;
        let begins = time(claims, "nbf").map_err(|()| "invalid not before (nbf) claim: it is no time")?;
        let ends = time(claims, "exp").map_err(|()| "invalid expiration time (exp) claim: it is no time")?;
        let Leeways { expiration_s, not_before_s, clock_skew_s } = self.leeways;
        let ends = match (ends, issued.max(begins)) {
            (Some(ends), _) => ends,
            (None, Some(latest)) => latest + leeway_s(expiration_s, EXPIRATION_LEEWAY_S),
            (None, None) if self.needs_time => {
                return Err("no issued at (iat), not before (nbf), or expiration time (exp) claims in token");
            }
            (None, None) => return Ok(()),
        };
        let begins = begins.or(issued).unwrap_or(ends - leeway_s(not_before_s, NOT_BEFORE_LEEWAY_S));
        let skew_s = leeway_s(clock_skew_s, CLOCK_SKEW_LEEWAY_S);
        if self.now_s + skew_s < begins {
            return Err("invalid not before (nbf) claim: token not yet valid");
        }
        if self.now_s - skew_s > ends {
            return Err("invalid expiration time (exp) claim: token is expired");
        }
        if issued.is_some_and(|issued| self.now_s + skew_s < issued) {
            return Err("invalid issued at (iat) claim: token issued in the future");
        }
        Ok(())
    }
}

/// For whom a token is; `None`: what stands there is neither a text nor a list of texts.
pub fn audiences(claims: &Map<String, Value>) -> Option<Vec<&str>> {
    match claims.get("aud") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(one)) => Some(vec![one]),
        Some(Value::Array(list)) => list.iter().map(Value::as_str).collect(),
        Some(_) => None,
    }
}

fn leeway_s(given_s: i64, default_s: i64) -> i64 {
    match given_s {
        0 => default_s,
        seconds => seconds.max(0),
    }
}

/// Seconds; parts of one are cut off.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, ()> {
    let number = match claims.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number,
        Some(_) => return Err(()),
    };
    let is_time = |seconds: &i64| (0..=TIME_S_MAX).contains(seconds);
    let of_float = || number.as_f64().filter(|float| float.is_finite() && float.abs() <= TIME_S_MAX as f64);
    let seconds = number.as_i64().or_else(|| of_float().map(|float| float as i64));
    seconds.filter(is_time).map(Some).ok_or(())
}
