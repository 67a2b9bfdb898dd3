//! Values that must never be printed, and the safe `Debug` of wire types that carry them (I1).

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A secret value: wiped when dropped, without `Display`, with a `Debug` that shows only its type.
///
/// The only way to the content is [`Secret::expose`], so that a reader can find every use.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize + AsRef<[u8]>> Secret<T> {
    /// Equality in time that depends on the length only.
    pub fn matches(&self, other: &[u8]) -> bool {
        self.0.as_ref().ct_eq(other).into()
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl fmt::Debug for crate::log::Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "Put({} bytes)", value.len()),
            None => f.write_str("Delete"),
        }
    }
}

impl fmt::Debug for crate::peer::ForwardRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ForwardRequest({}, {} bytes)", self.method, self.body.len())
    }
}

impl fmt::Debug for crate::peer::ForwardResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ForwardResponse({}, {} bytes)", self.status, self.body.len())
    }
}

impl fmt::Debug for crate::peer::Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({})", self.name)
    }
}

impl fmt::Debug for crate::peer::UnsealResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnsealResponse")
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const CANARY: &str = "canary-7f3a";

    #[test]
    fn no_secret_bearing_type_prints_its_content() {
        let header = crate::peer::Header { name: "x-vault-token".into(), value: Bytes::from(CANARY) };
        let printed = [
            format!("{:?}", Secret::new(CANARY.to_owned())),
            format!(
                "{:?}",
                crate::log::Write { key: Bytes::new(), value: Some(Bytes::from(CANARY)), expires_at_ms: 0 }
            ),
            format!("{header:?}"),
            format!(
                "{:?}",
                crate::peer::ForwardRequest {
                    uri: CANARY.into(),
                    headers: vec![header.clone()],
                    body: Bytes::from(CANARY),
                    ..Default::default()
                }
            ),
            format!(
                "{:?}",
                crate::peer::ForwardResponse {
                    body: Bytes::from(CANARY),
                    headers: vec![header],
                    ..Default::default()
                }
            ),
            format!("{:?}", crate::peer::UnsealResponse { root_key: Bytes::from(CANARY) }),
        ];
        for text in printed {
            assert!(!text.contains(CANARY), "{text}");
            // A derived Debug of bytes prints numbers or escapes: look for those too.
            assert!(!text.contains("99, 97, 110"), "{text}");
        }
    }

    #[test]
    fn secrets_compare_by_content() {
        let secret = Secret::new(b"abc".to_vec());
        assert!(secret.matches(b"abc"));
        assert!(!secret.matches(b"abd"));
        assert!(!secret.matches(b"abcd"));
    }
}
