//! Codes as a caller sends them, by the id or the name of a method: in `X-Vault-MFA`, or in the body of
//! `sys/mfa/validate`.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::error::Error;

/// Methods that one request names at most, and codes of each.
const METHODS_MAX: usize = 16;
const CODES_MAX: usize = 4;
/// Longest text of one method's name or code, in bytes.
const TEXT_BYTES_MAX: usize = 512;
const PASSCODE: &str = "passcode=";

/// What was sent, by method.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct Codes(BTreeMap<String, Vec<Zeroizing<String>>>);

/// No code in a log.
impl fmt::Debug for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Codes")
    }
}

impl Codes {
    /// Takes in one value of `X-Vault-MFA`: `METHOD:CODE`, or a method's name alone.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn add_header(&mut self, value: &str) -> Result<(), Error> {
        if value.is_empty() {
            return Ok(());
        }
        let Some((method, code)) = value.split_once(':') else { return self.add(value, None) };
        if method.is_empty() {
            return Err(Error::invalid("invalid data in header \"X-Vault-MFA\"; missing method name or ID"));
        }
        if code.is_empty() {
            return Err(Error::invalid("invalid data in header \"X-Vault-MFA\"; missing method value"));
        }
        self.add(method, Some(code))
    }

    /// `mfa_payload`: an object of lists of texts.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn of_body(body: &Map<String, Value>) -> Result<Self, Error> {
        let invalid = || Error::invalid("invalid mfa payload");
        let payload = match body.get("mfa_payload") {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Object(payload)) => payload,
            Some(_) => return Err(invalid()),
        };
        let mut codes = Self::default();
        for (method, listed) in payload {
            let listed = match listed {
                Value::Null => &[][..],
                Value::Array(listed) => listed,
                _ => return Err(invalid()),
            };
            codes.add(method, None)?;
            for code in listed {
                codes.add(method, Some(code.as_str().ok_or_else(invalid)?))?;
            }
        }
        Ok(codes)
    }

    fn add(&mut self, method: &str, code: Option<&str>) -> Result<(), Error> {
        let is_known = self.0.contains_key(method);
        if method.len() > TEXT_BYTES_MAX || (!is_known && self.0.len() >= METHODS_MAX) {
            return Err(Error::invalid(format!("a request names at most {METHODS_MAX} MFA methods")));
        }
        let listed = self.0.entry(method.to_owned()).or_default();
        if let Some(code) = code {
            if code.len() > TEXT_BYTES_MAX || listed.len() >= CODES_MAX {
                return Err(Error::invalid(format!("at most {CODES_MAX} codes are sent for an MFA method")));
            }
            listed.push(Zeroizing::new(code.to_owned()));
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As header values, which [`Codes::add_header`] reads.
    pub fn to_headers(&self) -> Vec<Zeroizing<String>> {
        let value = |method: &str, code: &str| Zeroizing::new(format!("{method}:{code}"));
        self.0
            .iter()
            .flat_map(|(method, codes)| match codes.as_slice() {
                [] => vec![Zeroizing::new(method.clone())],
                codes => codes.iter().map(|code| value(method, code)).collect(),
            })
            .collect()
    }

    /// What was sent for a method, by its id or else by its name.
    pub fn of_method(&self, id: &str, name: &str) -> Option<&[Zeroizing<String>]> {
        let by_name = || self.0.get(name).filter(|_| !name.is_empty());
        self.0.get(id).or_else(by_name).map(Vec::as_slice)
    }
}

/// The one passcode among what was sent.
///
/// # Errors
/// Why there is none, or more than one.
pub fn passcode(sent: &[Zeroizing<String>]) -> Result<&str, &'static str> {
    let mut found = None;
    for text in sent.iter().filter(|text| !text.is_empty()) {
        let code = match text.strip_prefix(PASSCODE) {
            Some("") => return Err("failed to parse MFA factor, invalid passcode"),
            Some(code) => code,
            None if text.contains('=') => {
                return Err("failed to parse MFA factor, found an invalid MFA cred");
            }
            None => text,
        };
        if found.replace(code).is_some() {
            return Err("failed to parse MFA factor, found multiple passcodes for the same MFA method");
        }
    }
    found.ok_or("MFA credentials not supplied")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(payload: Value) -> Result<Codes, Error> {
        Codes::of_body(json!({ "mfa_payload": payload }).as_object().unwrap())
    }

    #[test]
    fn codes_come_in_headers_and_bodies_and_travel_as_they_came() {
        let mut codes = Codes::default();
        for value in ["m1:123456", "m2:passcode=654321", "m3", ""] {
            codes.add_header(value).unwrap();
        }
        assert_eq!(codes, body(json!({ "m1": ["123456"], "m2": ["passcode=654321"], "m3": [] })).unwrap());
        let mut back = Codes::default();
        for value in codes.to_headers() {
            back.add_header(&value).unwrap();
        }
        assert_eq!(back, codes);
        assert_eq!(passcode(codes.of_method("m1", "").unwrap()), Ok("123456"));
        assert_eq!(passcode(codes.of_method("none", "m2").unwrap()), Ok("654321"));
        assert!(codes.of_method("none", "").is_none());
    }

    #[test]
    fn what_is_no_code_is_refused_and_never_repeated() {
        for value in [":canary", "canary:"] {
            let refusal = Codes::default().add_header(value).unwrap_err().to_string();
            assert!(!refusal.contains("canary"), "{refusal}");
        }
        for payload in
            [json!("canary"), json!({ "m": "canary" }), json!({ "m": [1] }), json!({ "m": [["canary"]] })]
        {
            assert!(!body(payload).unwrap_err().to_string().contains("canary"));
        }
        for sent in [&[][..], &[""], &["passcode="], &["1", "2"], &["1", "passcode=2"], &["canary=1"]] {
            let sent: Vec<_> = sent.iter().map(|text| Zeroizing::new((*text).to_owned())).collect();
            assert!(!passcode(&sent).unwrap_err().contains("canary"));
        }
    }

    #[test]
    fn a_request_names_so_many_and_no_more() {
        let mut codes = Codes::default();
        for number in 0..METHODS_MAX {
            codes.add_header(&format!("m{number}:1")).unwrap();
        }
        assert!(codes.add_header("another:1").is_err());
        for _ in 1..CODES_MAX {
            codes.add_header("m0:1").unwrap();
        }
        assert!(codes.add_header("m0:1").is_err());
        assert!(Codes::default().add_header(&"x".repeat(TEXT_BYTES_MAX + 1)).is_err());
    }
}
