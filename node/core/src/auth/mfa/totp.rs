//! Codes of RFC 6238, which are those of RFC 4226 with the time for a counter.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

const MS_PER_S: u64 = 1_000;

/// The hash below the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    #[serde(rename = "SHA1")]
    Sha1,
    #[serde(rename = "SHA256")]
    Sha256,
    #[serde(rename = "SHA512")]
    Sha512,
}

impl Algorithm {
    pub fn named(name: &str) -> Option<Self> {
        [Self::Sha1, Self::Sha256, Self::Sha512].into_iter().find(|algorithm| algorithm.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }
}

/// How codes are made and compared. What a device was told once stays so for its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheme {
    pub algorithm: Algorithm,
    /// 6 or 8.
    pub digits: u32,
    pub period_s: u64,
    /// Steps before and behind the present one whose codes are taken too: 0 or 1.
    pub skew: u64,
}

impl Scheme {
    /// The step of the time in which `now_ms` lies (Unix milliseconds).
    pub fn step_at(&self, now_ms: u64) -> u64 {
        now_ms / MS_PER_S / self.period_s.max(1)
    }

    /// The step whose code this is, of those that are taken at `now_ms`. All are compared, and each in constant time. Of
    /// two steps with the same code it is the later one: the code of an earlier one would else be taken twice.
    pub fn step_of(&self, secret: &[u8], now_ms: u64, passcode: &str) -> Option<u64> {
        let now = self.step_at(now_ms);
        let mut found = 0;
        let mut is_found = Choice::from(0);
        for step in now.saturating_sub(self.skew)..=now.saturating_add(self.skew) {
            let code = format!("{:0width$}", self.code(secret, step), width = self.digits as usize);
            let is_same = code.as_bytes().ct_eq(passcode.as_bytes());
            found.conditional_assign(&step, is_same);
            is_found |= is_same;
        }
        bool::from(is_found).then_some(found)
    }

    pub fn code(&self, secret: &[u8], step: u64) -> u32 {
        let counter = step.to_be_bytes();
        let truncated = match self.algorithm {
            Algorithm::Sha1 => truncate(&mac::<Hmac<Sha1>>(secret, counter)),
            Algorithm::Sha256 => truncate(&mac::<Hmac<Sha256>>(secret, counter)),
            Algorithm::Sha512 => truncate(&mac::<Hmac<Sha512>>(secret, counter)),
        };
        truncated % 10_u32.pow(self.digits)
    }
}

fn mac<M: Mac + KeyInit>(secret: &[u8], counter: [u8; 8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(&counter);
    mac.finalize().into_bytes().to_vec()
}

/// RFC 4226, 5.3: four bytes from where the last half byte says, without the sign.
fn truncate(mac: &[u8]) -> u32 {
    let at = usize::from(mac[mac.len() - 1] & 0x0f);
    let bytes: [u8; 4] = mac[at..at + 4].try_into().expect("four bytes were taken");
    u32::from_be_bytes(bytes) & 0x7fff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme(algorithm: Algorithm, digits: u32) -> Scheme {
        Scheme { algorithm, digits, period_s: 30, skew: 1 }
    }

    fn seed(length: usize) -> Vec<u8> {
        b"1234567890".iter().copied().cycle().take(length).collect()
    }

    /// RFC 6238, appendix B.
    #[test]
    fn codes_are_those_of_the_standard() {
        for (time_s, sha1, sha256, sha512) in [
            (59, 94_287_082, 46_119_246, 90_693_936),
            (1_111_111_109, 7_081_804, 68_084_774, 25_091_201),
            (1_111_111_111, 14_050_471, 67_062_674, 99_943_326),
            (1_234_567_890, 89_005_924, 91_819_424, 93_441_116),
            (2_000_000_000, 69_279_037, 90_698_825, 38_618_901),
            (20_000_000_000, 65_353_130, 77_737_706, 47_863_826),
        ] {
            for (algorithm, length, expected) in [
                (Algorithm::Sha1, 20, sha1),
                (Algorithm::Sha256, 32, sha256),
                (Algorithm::Sha512, 64, sha512),
            ] {
                let scheme = scheme(algorithm, 8);
                let step = scheme.step_at(time_s * MS_PER_S);
                assert_eq!(scheme.code(&seed(length), step), expected, "{algorithm:?} at {time_s}");
            }
        }
    }

    /// RFC 4226, appendix D.
    #[test]
    fn codes_of_six_digits_are_those_of_the_standard() {
        let expected =
            [755_224, 287_082, 359_152, 969_429, 338_314, 254_676, 287_922, 162_583, 399_871, 520_489];
        for (step, code) in (0..).zip(expected) {
            assert_eq!(scheme(Algorithm::Sha1, 6).code(&seed(20), step), code);
        }
    }

    #[test]
    fn a_code_is_taken_one_step_early_or_late_and_no_more() {
        let (secret, now_ms) = (seed(20), 1_000_000_015_000);
        let scheme = scheme(Algorithm::Sha1, 6);
        let now = scheme.step_at(now_ms);
        for (step, is_taken) in
            [(now - 2, false), (now - 1, true), (now, true), (now + 1, true), (now + 2, false)]
        {
            let code = format!("{:06}", scheme.code(&secret, step));
            assert_eq!(scheme.step_of(&secret, now_ms, &code), is_taken.then_some(step), "{step} at {now}");
        }
        let strict = Scheme { skew: 0, ..scheme };
        let code = format!("{:06}", scheme.code(&secret, now - 1));
        assert_eq!(strict.step_of(&secret, now_ms, &code), None);
    }

    /// CVE-2025-6014: a code with blanks around it is another text for the same code.
    #[test]
    fn a_code_has_one_spelling() {
        let (secret, now_ms) = (seed(20), 59_000);
        let scheme = scheme(Algorithm::Sha1, 8);
        assert_eq!(scheme.step_of(&secret, now_ms, "94287082"), Some(1));
        for other in
            [" 94287082", "94287082 ", "9428 7082", "+94287082", "094287082", "4287082", "", "٩4287082"]
        {
            assert_eq!(scheme.step_of(&secret, now_ms, other), None, "{other}");
        }
    }
}
