//! A token as it is written: three parts in base64url, with dots between them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::json;

/// Longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// Longest id of a key, in bytes.
const KEY_ID_BYTES_MAX: usize = 1024;
/// Members of a header that change what the rest means, and are not known here.
const NOT_KNOWN: [&str; 4] = ["crit", "b64", "zip", "enc"];

/// A token that was taken apart. Nothing of it is proven.
pub struct Compact<'t> {
    pub algorithm: Algorithm,
    pub key_id: Option<String>,
    /// What the signature is over.
    pub signed: &'t [u8],
    pub signature: Vec<u8>,
    claims: Map<String, Value>,
}

impl<'t> Compact<'t> {
    /// # Errors
    /// A sentence: it is no signed token, or of a kind that is not taken.
    pub fn parse(token: &'t str) -> Result<Self, &'static str> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err("the token is too long");
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("a signed token has three parts");
        };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "the token is not base64url");
        let head = json::object(&decode(header)?).ok_or("the token's header is malformed")?;
        if NOT_KNOWN.iter().any(|name| head.contains_key(*name)) {
            return Err("the token's header demands what is not known here");
        }
        let algorithm = head.get("alg").and_then(Value::as_str).and_then(Algorithm::named);
        let algorithm = algorithm.ok_or("the token is not signed by a supported algorithm")?;
        let key_id = match head.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= KEY_ID_BYTES_MAX => Some(id.clone()),
            Some(_) => return Err("the token's header is malformed"),
        };
        let claims = json::object(&decode(payload)?).ok_or("the token's claims are malformed")?;
        let signature = decode(signature)?;
        if signature.is_empty() {
            return Err("the token is not signed");
        }
        let signed = &token.as_bytes()[..header.len() + 1 + payload.len()];
        Ok(Self { algorithm, key_id, signed, signature, claims })
    }

    /// What it claims, whoever wrote it: only for who has that proven by another.
    pub fn unproven_claims(self) -> Map<String, Value> {
        self.claims
    }
}
