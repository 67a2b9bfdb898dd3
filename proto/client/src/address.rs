//! Where a node is, and how an API path becomes a URL of that node.
//!
//! Paths are checked and escaped here, never repaired: a URL parser would fold `a/../b` into `b`, and the request would
//! then be about another secret than the caller named.

use conclave_proto::path::SecretPath;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use crate::error::Error;

/// All that is escaped within one segment of a path: everything but what RFC 3986 calls unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The URL of a node's API, such as `https://node1.example:8200`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address(Url);

impl Address {
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fault = |reason: &str| Error::Configuration(format!("the address \"{text}\" {reason}"));
        let url = Url::parse(text).map_err(|_| fault("is not a URL such as https://node1.example:8200"))?;
        if !url.username().is_empty() || url.password().is_some() {
            // Not quoted: the address holds a password.
            return Err(Error::Configuration("an address must not hold a user name or password".to_owned()));
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fault("must begin with https:// (or http://)"));
        }
        if !url.has_host() || url.query().is_some() || url.fragment().is_some() {
            return Err(fault("must name a host and nothing behind it"));
        }
        Ok(Self(url))
    }

    /// The URL as it was given, without a slash at its end.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    pub fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    pub fn endpoint(&self, path: &EncodedPath, query: &[(String, String)]) -> Url {
        let mut url = self.0.clone();
        let prefix = self.0.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}/v1/{}", path.0));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// An API path below `/v1/`, checked and escaped. It has no `Debug`: paths are secret.
pub(crate) struct EncodedPath(String);

impl EncodedPath {
    /// One slash at the end is kept, since it tells a folder from a secret.
    pub fn parse(path: &str) -> Result<Self, Error> {
        let checked = SecretPath::parse(path.strip_suffix('/').unwrap_or(path))?;
        let segments: Vec<_> =
            checked.segments().map(|segment| utf8_percent_encode(segment, ESCAPED).to_string()).collect();
        let mut encoded = segments.join("/");
        if path.ends_with('/') {
            encoded.push('/');
        }
        Ok(Self(encoded))
    }
}

#[cfg(test)]
mod tests {
    use conclave_proto::path::PathError;

    use super::*;

    fn check(base: &str, path: &str, expect: &str) {
        let address = Address::parse(base).unwrap();
        let path = EncodedPath::parse(path).ok().unwrap();
        assert_eq!(address.endpoint(&path, &[]).as_str(), expect);
    }

    #[test]
    fn paths_are_escaped_segment_by_segment() {
        check("https://h:8200", "secret/data/a", "https://h:8200/v1/secret/data/a");
        check("https://h:8200/", "a b/ö?#%/x", "https://h:8200/v1/a%20b/%C3%B6%3F%23%25/x");
        check("http://[::1]:8200", "a/%2e%2e/b", "http://[::1]:8200/v1/a/%252e%252e/b");
        check("https://h/conclave/", "sys/mounts/", "https://h/conclave/v1/sys/mounts/");
    }

    #[test]
    fn paths_that_a_url_would_fold_are_refused() {
        for path in ["a/../b", "a/./b", "a//b", "/a", ""] {
            let error = EncodedPath::parse(path).err().unwrap();
            assert!(
                matches!(
                    error,
                    Error::Path(PathError::DotSegment | PathError::EmptySegment | PathError::Empty)
                ),
                "{path}"
            );
        }
    }

    #[test]
    fn addresses_that_cannot_be_used_are_named_without_their_password() {
        let sentence = |text: &str| Address::parse(text).unwrap_err().to_string();
        assert!(sentence("node1:8200").contains("https://"));
        assert!(sentence("ftp://node1").contains("must begin with https://"));
        assert!(sentence("https://node1/?a=b").contains("nothing behind it"));
        assert!(!sentence("https://me:canary@node1").contains("canary"));
    }

    #[test]
    fn loopback_is_recognised_in_each_spelling() {
        for (address, expect) in [
            ("http://127.0.0.1:1", true),
            ("http://127.8.8.8:1", true),
            ("http://[::1]:1", true),
            ("http://localhost:1", true),
            ("https://node1.example", false),
        ] {
            assert_eq!(Address::parse(address).unwrap().is_loopback(), expect, "{address}");
        }
    }
}
