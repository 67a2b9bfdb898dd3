//! The one canonicaliser of secret and mount paths: it rejects, it never repairs.
//!
//! Policy, audit, routing and storage all see the same bytes, so no two spellings can name one secret.

use std::fmt;

/// Longest path, in bytes, with its mount.
pub const PATH_BYTES_MAX: usize = 4096;
/// Deepest path, in segments.
pub const PATH_SEGMENTS_MAX: usize = 128;

/// A path of one or more segments, such as `payment/api_key`: no empty segment, no `.` or `..`, no control
/// character, no backslash, no slash at either end.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretPath(String);

/// Why a path is refused; the sentence is made for the client and never repeats the path, which may be secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path is empty")]
    Empty,
    #[error("the path is longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
    #[error("the path has more than {PATH_SEGMENTS_MAX} segments")]
    TooDeep,
    #[error("the path has an empty segment: remove doubled, leading or trailing slashes")]
    EmptySegment,
    #[error("the path has a segment '.' or '..', which is not allowed")]
    DotSegment,
    #[error("the path has a control character, which is not allowed")]
    ControlCharacter,
    #[error("the path has a backslash, which is not allowed")]
    Backslash,
    #[error("the path has a segment that begins or ends with a space, which is not allowed")]
    OuterSpace,
    #[error("the path is not valid UTF-8")]
    NotUtf8,
    #[error("the path has an encoded slash or backslash (%2F, %5C), which is not allowed")]
    EncodedSlash,
    #[error("the path has a malformed percent escape")]
    BadEscape,
}

impl SecretPath {
    pub fn parse(path: &str) -> Result<Self, PathError> {
        if path.is_empty() {
            return Err(PathError::Empty);
        }
        if path.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        let mut segments = 0;
        for segment in path.split('/') {
            check_segment(segment)?;
            segments += 1;
        }
        if segments > PATH_SEGMENTS_MAX {
            return Err(PathError::TooDeep);
        }
        Ok(Self(path.to_owned()))
    }

    /// A prefix to list under: as [`SecretPath::parse`], but empty means the top, and one trailing slash is allowed.
    pub fn parse_prefix(path: &str) -> Result<Option<Self>, PathError> {
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.is_empty() { Ok(None) } else { Self::parse(path).map(Some) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

/// Paths are secret too: a `Debug` of one must not put it into a log.
impl fmt::Debug for SecretPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretPath({} bytes)", self.0.len())
    }
}

fn check_segment(segment: &str) -> Result<(), PathError> {
    match segment {
        "" => return Err(PathError::EmptySegment),
        "." | ".." => return Err(PathError::DotSegment),
        _ => {}
    }
    if segment.chars().any(char::is_control) {
        return Err(PathError::ControlCharacter);
    }
    // Encoded it is refused, since some take it for a slash: then it has no spelling at all.
    if segment.contains('\\') {
        return Err(PathError::Backslash);
    }
    if segment.starts_with(char::is_whitespace) || segment.ends_with(char::is_whitespace) {
        return Err(PathError::OuterSpace);
    }
    Ok(())
}

/// Decodes the percent escapes of a request's path. Escapes that would change the path's structure are refused.
pub fn decode_percent(raw: &str) -> Result<String, PathError> {
    if !raw.contains('%') {
        return Ok(raw.to_owned());
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let hex =
            |digit: Option<u8>| digit.and_then(|d| char::from(d).to_digit(16)).ok_or(PathError::BadEscape);
        let high = hex(bytes.next())?;
        let low = hex(bytes.next())?;
        match u8::try_from(high * 16 + low).map_err(|_| PathError::BadEscape)? {
            b'/' | b'\\' => return Err(PathError::EncodedSlash),
            decoded_byte => decoded.push(decoded_byte),
        }
    }
    String::from_utf8(decoded).map_err(|_| PathError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expect: Result<(), PathError>) {
        assert_eq!(SecretPath::parse(path).map(|_| ()), expect, "{path:?}");
    }

    #[test]
    fn good_paths_are_taken_as_they_are() {
        for path in ["a", "a/b", "payment/api_key", "weird name/ö/日本", "a.b/..c/.d", "x%y", "a:b@c=d"] {
            assert_eq!(SecretPath::parse(path).unwrap().as_str(), path);
        }
    }

    #[test]
    fn bad_paths_are_refused_not_repaired() {
        check("", Err(PathError::Empty));
        check("/a", Err(PathError::EmptySegment));
        check("a/", Err(PathError::EmptySegment));
        check("a//b", Err(PathError::EmptySegment));
        check("a/../b", Err(PathError::DotSegment));
        check("./a", Err(PathError::DotSegment));
        check("a\0b", Err(PathError::ControlCharacter));
        check("a\nb", Err(PathError::ControlCharacter));
        check("a\u{85}b", Err(PathError::ControlCharacter));
        check(" a", Err(PathError::OuterSpace));
        check("a/b ", Err(PathError::OuterSpace));
        check("a\\b", Err(PathError::Backslash));
        check(&"x".repeat(PATH_BYTES_MAX + 1), Err(PathError::TooLong));
        check(&vec!["x"; PATH_SEGMENTS_MAX + 1].join("/"), Err(PathError::TooDeep));
        check(&vec!["x"; PATH_SEGMENTS_MAX].join("/"), Ok(()));
    }

    #[test]
    fn escapes_are_decoded_once_and_never_make_a_slash() {
        assert_eq!(decode_percent("a%20b/%C3%B6").unwrap(), "a b/ö");
        assert_eq!(decode_percent("a%252Fb").unwrap(), "a%2Fb");
        assert_eq!(decode_percent("a%2Fb"), Err(PathError::EncodedSlash));
        assert_eq!(decode_percent("a%5cb"), Err(PathError::EncodedSlash));
        assert_eq!(decode_percent("a%ff"), Err(PathError::NotUtf8));
        assert_eq!(decode_percent("a%2"), Err(PathError::BadEscape));
        assert_eq!(decode_percent("a%zz"), Err(PathError::BadEscape));
    }

    #[test]
    fn a_prefix_may_be_empty_and_may_end_in_one_slash() {
        assert_eq!(SecretPath::parse_prefix("").unwrap(), None);
        assert_eq!(SecretPath::parse_prefix("a/b/").unwrap().unwrap().as_str(), "a/b");
        assert_eq!(SecretPath::parse_prefix("a//"), Err(PathError::EmptySegment));
    }

    #[test]
    fn debug_does_not_show_a_path() {
        assert_eq!(format!("{:?}", SecretPath::parse("payment/api_key").unwrap()), "SecretPath(15 bytes)");
    }
}
