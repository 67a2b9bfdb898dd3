//! The request that a caller has signed for STS, as he hands it over. What is passed on is only what makes it that one
//! question, and of its headers only what the signature covers.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use url::Url;

use super::client::{ClientConfig, SERVER_ID};
use crate::error::Error;
use crate::fields;

/// Longest field of the request before it is decoded, in bytes.
const FIELD_BYTES_MAX: usize = 64 * 1024;
/// Headers at most.
const HEADERS_MAX: usize = 64;
/// Longest value of one, in bytes: a session's token has some thousand.
const HEADER_BYTES_MAX: usize = 16 * 1024;
const METHOD: &str = "POST";
const ACTION: &str = "GetCallerIdentity";
/// The only version of STS's interface, and so of its answers.
const VERSION: &str = "2011-06-15";
const SERVICE: &str = "sts";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SCOPE_END: &str = "aws4_request";
/// Headers that mean something to AWS begin so.
const AMZ_PREFIX: &str = "x-amz-";
/// Those that belong to a signature.
const AMZ_ALLOWED: [&str; 7] = [
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];
/// They say how a message is carried from one to the next, which is not the caller's to say.
const CARRYING: [&str; 11] = [
    "connection",
    "content-encoding",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Made anew by whoever sends: they follow from the URL and the body.
const MADE_ANEW: [&str; 2] = ["host", "content-length"];

/// What is left of the request once it is certain what it asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    /// With a port, if it is not the usual one.
    pub host: String,
    /// For which it is signed.
    pub region: String,
    /// In lower case, each once.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// It can be shown again for a quarter of an hour by whoever sees it.
impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signed")
    }
}

impl Signed {
    /// Reads the request from the fields of a login.
    ///
    /// # Errors
    /// [`Error::Invalid`]: it is not that question, asked as the settings of the mount want it.
    pub fn read(fields: &Map<String, Value>, config: &ClientConfig) -> Result<Self, Error> {
        match field(fields, "iam_http_request_method")?.as_str() {
            METHOD => {}
            _ => {
                let sentence = "invalid iam_http_request_method; currently only 'POST' is supported";
                return Err(Error::invalid(sentence));
            }
        }
        let url = decoded(&field(fields, "iam_request_url")?, "iam_request_url")?;
        let host = host_of(&url)?;
        let body = decoded(&field(fields, "iam_request_body")?, "iam_request_body")?;
        check_body(&body)?;
        let headers = headers_of(fields)?;
        let find = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
        let authorization =
            find("authorization").ok_or_else(|| Error::invalid("missing Authorization header"));
        let authorization = authorization.and_then(|text| Authorization::parse(text));
        if !config.iam_server_id_header_value.is_empty() {
            let wrong = |what: &str| Error::invalid(format!("error validating {SERVER_ID} header: {what}"));
            let given = find(&SERVER_ID.to_ascii_lowercase());
            let given = given.ok_or_else(|| wrong(&format!("missing header {SERVER_ID:?}")))?;
            if *given != config.iam_server_id_header_value {
                return Err(wrong("it has another value than is expected"));
            }
            let signed = authorization.as_ref().map_err(|error| wrong(&error.to_string()))?;
            if !signed.covers(SERVER_ID) {
                return Err(wrong("vault header wasn't signed"));
            }
        }
        let is_strange = |name: &String| {
            name.starts_with(AMZ_PREFIX)
                && !AMZ_ALLOWED.contains(&name.as_str())
                && !config.allows_header(name)
        };
        if headers.iter().any(|(name, _)| is_strange(name)) {
            return Err(Error::invalid(
                "invalid request header: an X-Amz header that allowed_sts_header_values does not name",
            ));
        }
        let authorization = authorization?;
        if find("host").is_some_and(|given| !given.eq_ignore_ascii_case(&host)) {
            return Err(Error::invalid("invalid request header: Host is not that of iam_request_url"));
        }
        let region = authorization.region.to_owned();
        let headers = authorization.covered(&headers)?;
        Ok(Self { host, region, headers, body })
    }
}

fn field(fields: &Map<String, Value>, name: &str) -> Result<String, Error> {
    let given = fields::text(fields, name)?.filter(|text| !text.is_empty());
    let given = given.ok_or_else(|| Error::invalid(format!("missing {name}")))?;
    if given.len() > FIELD_BYTES_MAX {
        return Err(Error::invalid(format!("{name} has at most {FIELD_BYTES_MAX} bytes")));
    }
    Ok(given)
}

fn decoded(text: &str, name: &str) -> Result<String, Error> {
    let text: String = text.chars().filter(|sign| !matches!(sign, '\r' | '\n')).collect();
    let bytes = BASE64.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    bytes.ok_or_else(|| Error::invalid(format!("failed to base64 decode {name}")))
}

/// The server that the caller wanted to ask. What else a URL can say could say something else to ask.
fn host_of(url: &str) -> Result<String, Error> {
    let invalid = |what: &str| Error::invalid(format!("error parsing iam_request_url: {what}"));
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid("it is no URL"));
    }
    let url = Url::parse(url).map_err(|_| invalid("it is no URL"))?;
    if !matches!(url.scheme(), "https" | "http") || !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("it is https://HOST/ and no more"));
    }
    if url.query().is_some() || url.fragment().is_some() || url.path() != "/" {
        return Err(invalid("it must have no path, no query and no fragment"));
    }
    let host = url.host_str().ok_or_else(|| invalid("it names no server"))?;
    Ok(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// It asks who the caller is, and nothing else.
fn check_body(body: &str) -> Result<(), Error> {
    let invalid = || Error::invalid("iam request body is invalid");
    let (mut actions, mut versions) = (0, 0);
    for (name, value) in url::form_urlencoded::parse(body.as_bytes()) {
        match (&*name, &*value) {
            ("Action", ACTION) => actions += 1,
            ("Version", VERSION) => versions += 1,
            _ => return Err(invalid()),
        }
    }
    // Another reader of forms may part them at other signs.
    let is_plain =
        body.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b'&' | b'-'));
    if (actions, versions) == (1, 1) && is_plain { Ok(()) } else { Err(invalid()) }
}

/// Names with values, in the order and as often as they stand there.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

/// The headers: an object of texts or lists of one, as it is or as JSON in base64.
fn headers_of(fields: &Map<String, Value>) -> Result<Vec<(String, String)>, Error> {
    const NAME: &str = "iam_request_headers";
    let missing = || Error::invalid(format!("missing {NAME}"));
    let pairs = match fields.get(NAME) {
        None | Some(Value::Null) => return Err(missing()),
        Some(Value::Object(object)) => {
            object.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
        }
        Some(_) => {
            let given = field(fields, NAME)?;
            let text = if given.starts_with('{') { given } else { decoded(&given, NAME)? };
            let pairs =
                Some(&text).filter(|text| is_flat(text)).map(|text| serde_json::from_str::<Pairs>(text));
            let unreadable = || Error::invalid(format!("failed to JSON decode {NAME}"));
            pairs.and_then(Result::ok).ok_or_else(unreadable)?.0
        }
    };
    if pairs.is_empty() {
        return Err(missing());
    }
    if pairs.len() > HEADERS_MAX {
        return Err(Error::invalid(format!("{NAME} has at most {HEADERS_MAX} headers")));
    }
    let mut headers: Vec<(String, String)> = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let name = name.to_ascii_lowercase();
        let value = value_of(&value).filter(|value| value.len() <= HEADER_BYTES_MAX);
        let value = value.filter(|_| is_token(&name)).ok_or_else(|| {
            Error::invalid("invalid request header: each has a name and one text of visible signs")
        })?;
        if headers.iter().any(|(other, _)| *other == name) {
            return Err(Error::invalid("invalid request header: one stands there twice"));
        }
        headers.push((name, value));
    }
    Ok(headers)
}

/// One object, in which there are no others: nothing that is deep, nor that a reader could take for something else.
fn is_flat(text: &str) -> bool {
    let (mut opened, mut in_string, mut escaped) = (0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' if !in_string => opened += 1,
            _ => {}
        }
    }
    opened == 1
}

fn value_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => match &items[..] {
            [Value::String(text)] => text.clone(),
            _ => return None,
        },
        _ => return None,
    };
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    // As a signer trims it.
    (is_visible && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// A name that a header can have.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/sts/aws4_request, SignedHeaders=a;b, Signature=HEX`
struct Authorization<'a> {
    text: &'a str,
    region: &'a str,
    signed: Vec<&'a str>,
}

impl<'a> Authorization<'a> {
    fn parse(text: &'a str) -> Result<Self, Error> {
        let unsigned = || Error::invalid("invalid Authorization header: it is no signature for STS");
        let rest =
            text.strip_prefix(ALGORITHM).and_then(|rest| rest.strip_prefix(' ')).ok_or_else(unsigned)?;
        let mut parts = [("Credential", None), ("SignedHeaders", None), ("Signature", None)];
        for part in rest.split(',') {
            let (name, value) = part.trim().split_once('=').ok_or_else(unsigned)?;
            let known = parts.iter_mut().find(|(known, found)| *known == name && found.is_none());
            known.ok_or_else(unsigned)?.1 = Some(value);
        }
        let [(_, Some(credential)), (_, Some(signed)), (_, Some(signature))] = parts else {
            return Err(unsigned());
        };
        let scope: Vec<&str> = credential.split('/').collect();
        let [key, date, region, SERVICE, SCOPE_END] = scope[..] else { return Err(unsigned()) };
        let signed: Vec<&str> = signed.split(';').collect();
        let is_whole = [key, date, region, signature].iter().all(|part| !part.is_empty())
            && signed
                .iter()
                .all(|name| is_token(name) && !name.bytes().any(|byte| byte.is_ascii_uppercase()))
            && signed.contains(&"host");
        if is_whole { Ok(Self { text, region, signed }) } else { Err(unsigned()) }
    }

    fn covers(&self, header: &str) -> bool {
        self.signed.iter().any(|name| name.eq_ignore_ascii_case(header))
    }

    /// What is passed on: the headers that the signature covers, and the signature.
    fn covered(&self, headers: &[(String, String)]) -> Result<Vec<(String, String)>, Error> {
        if self.signed.iter().any(|name| CARRYING.contains(name)) {
            return Err(Error::invalid("invalid request header: it says how the request is carried"));
        }
        let named = |wanted: &&str| headers.iter().find(|(name, _)| name == wanted);
        let mut covered = Vec::new();
        for name in self.signed.iter().filter(|name| !MADE_ANEW.contains(*name) && **name != "authorization")
        {
            let pair = named(name).ok_or_else(|| Error::invalid("a header that was signed is missing"))?;
            if covered.contains(pair) {
                return Err(Error::invalid("invalid Authorization header: a header is signed twice"));
            }
            covered.push(pair.clone());
        }
        if !covered.iter().any(|(name, _)| name == "content-type") {
            let kind = "application/x-www-form-urlencoded";
            covered.push(("content-type".to_owned(), kind.to_owned()));
        }
        covered.push(("authorization".to_owned(), self.text.to_owned()));
        Ok(covered)
    }
}

#[cfg(test)]
#[path = "signed_tests.rs"]
mod tests;
