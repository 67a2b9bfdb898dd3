//! From a hyper request to a [`Call`]: every bound is checked before the memory it bounds is taken.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use conclave_core::audit;
use conclave_core::auth::mfa::Codes;
use conclave_core::auth::wrapping::WRAP_S_MAX;
use conclave_core::plan::{Operation, Query};
use conclave_proto::path::{PathError, SecretPath, decode_percent};
use conclave_proto::secret::Secret;
use conclave_proto::wire;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{HeaderMap, Method, Request, Uri};
use parking_lot::Mutex;

use super::method;
use crate::service::{Body, BodyPlace, Budget, Call, CallHeaders, Consistency, Failure};

/// Longest query string, in bytes.
const QUERY_BYTES_MAX: usize = 8 * 1024;
/// How old a stale answer may be when the caller names no bound.
const STALE_DEFAULT: Duration = Duration::from_secs(3600);
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest request id taken from a client.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Parses one request; its body is counted in `budget` until it is answered.
pub async fn parse(
    request: Request<Incoming>,
    client: SocketAddr,
    request_id: String,
    budget: &Arc<Budget>,
) -> Result<Call, Failure> {
    let (head, body) = request.into_parts();
    let mut call = parse_head(&head.method, &head.uri, &head.headers, request_id)?;
    call.client = Some(client);
    if is_upload(call.operation, &call.path) {
        // Read by its handler, once the caller has shown that it may send so much.
        call.upload = Mutex::new(Some(body));
    } else if !body.is_end_stream() {
        // Apart, so that requests without a body, which are most, stay small.
        let read = Box::pin(tokio::time::timeout(BODY_TIMEOUT, read_body(body, budget))).await;
        let late = || Failure::invalid(format!("the body took longer than {} s", BODY_TIMEOUT.as_secs()));
        call.body = read.map_err(|_| late())??;
    }
    Ok(call)
}

/// Everything of a request but its body.
pub fn parse_head(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    request_id: String,
) -> Result<Call, Failure> {
    let path = canonical_path(uri.path())?;
    let query = parse_query(uri.query().unwrap_or_default())?;
    let operation = operation(method, &query)?;
    check_target(operation, &path)?;
    Ok(Call {
        operation,
        head: method == Method::HEAD,
        path,
        uri: uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string),
        query,
        headers: parse_headers(headers)?,
        body: Body::default(),
        upload: Mutex::default(),
        client: None,
        certificates: None,
        request_id,
        attempt: OnceLock::new(),
        password: Default::default(),
        errands: Default::default(),
        trace: None,
    })
}

/// As records name what could not be understood.
pub fn asked_for(method: &Method, path: &str) -> (&'static str, String) {
    let operation = method::operation(method.as_str()).map_or("unknown", audit::operation_name);
    (operation, path.strip_prefix("/v1/").unwrap_or(path).to_owned())
}

/// Whether a request's id is harmless in a log, in a header and in JSON.
pub fn is_request_id(id: &str) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The client's id if it is harmless, else a new one.
pub fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(wire::HEADER_REQUEST_ID).and_then(|id| id.to_str().ok());
    match given.filter(|id| is_request_id(id)) {
        Some(id) => id.to_owned(),
        None => uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string(),
    }
}

/// The path below `/v1/`, decoded and checked. A list's trailing slash stays.
pub fn canonical_path(raw: &str) -> Result<String, Failure> {
    let Some(below) = raw.strip_prefix("/v1/") else {
        return Err(Failure::NoRoute { path: raw.trim_start_matches('/').to_owned() });
    };
    let path = decode_percent(below).map_err(bad_path)?;
    match SecretPath::parse_prefix(&path).map_err(bad_path)? {
        Some(_) => Ok(path),
        None => Err(Failure::NoRoute { path: String::new() }),
    }
}

/// Refuses a change of what is a folder by its name.
pub fn check_target(operation: Operation, path: &str) -> Result<(), Failure> {
    if path.ends_with('/') && operation.changes() {
        return Err(Failure::invalid("cannot write to a path ending in '/'"));
    }
    Ok(())
}

/// A key that is not too long to be remembered.
pub fn idempotency_key(key: &str) -> Result<String, Failure> {
    let max = wire::IDEMPOTENCY_KEY_BYTES_MAX;
    if key.is_empty() || key.len() > max {
        return Err(Failure::invalid(format!("X-Conclave-Idempotency-Key must have 1 to {max} bytes")));
    }
    Ok(key.to_owned())
}

fn is_upload(operation: Operation, path: &str) -> bool {
    operation == Operation::Write && path == "sys/storage/raft/snapshot"
}

fn bad_path(error: PathError) -> Failure {
    Failure::invalid(error.to_string())
}

/// What the method asks for; a GET may ask for a list by its query.
fn operation(method: &Method, query: &Query) -> Result<Operation, Failure> {
    match method::operation(method.as_str())? {
        Operation::Read if flag(query, "list")? => Ok(Operation::List),
        Operation::Read if flag(query, "scan")? => Ok(Operation::Scan),
        operation => Ok(operation),
    }
}

/// A boolean as Go's `ParseBool` takes it, since Vault's clients send any of these.
fn flag(query: &Query, name: &str) -> Result<bool, Failure> {
    match query.first(name) {
        None | Some("" | "0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some(_) => Err(Failure::invalid(format!("the query parameter '{name}' must be true or false"))),
    }
}

pub fn parse_query(raw: &str) -> Result<Query, Failure> {
    if raw.len() > QUERY_BYTES_MAX {
        return Err(Failure::invalid(format!("the query is longer than {QUERY_BYTES_MAX} bytes")));
    }
    let mut pairs = Vec::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((decode_form(name)?, decode_form(value)?));
    }
    Ok(Query(pairs))
}

/// In a query, unlike in a path, `+` is a space and an encoded slash is just a character.
fn decode_form(text: &str) -> Result<String, Failure> {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Failure::invalid("the query is not valid UTF-8"))
}

fn parse_headers(headers: &HeaderMap) -> Result<CallHeaders, Failure> {
    let text = |name: &str| -> Result<Option<&str>, Failure> {
        headers
            .get(name)
            .map(|value| {
                value.to_str().map_err(|_| Failure::invalid(format!("the header {name} is not plain text")))
            })
            .transpose()
    };
    refuse_unfinished(text("x-vault-namespace")?, text("x-vault-wrap-format")?)?;
    let bearer = text(AUTHORIZATION.as_str())?.and_then(|value| value.strip_prefix("Bearer "));
    let token = text(wire::HEADER_TOKEN)?.filter(|token| !token.is_empty()).or(bearer);
    Ok(CallHeaders {
        token: token.map(|token| Secret::new(token.to_owned())),
        consistency: consistency(text(wire::HEADER_CONSISTENCY)?, text(wire::HEADER_MAX_STALE)?)?,
        idempotency_key: text(wire::HEADER_IDEMPOTENCY_KEY)?.map(idempotency_key).transpose()?,
        merge_patch: text(CONTENT_TYPE.as_str())?
            .and_then(|value| value.split(';').next())
            .is_some_and(|mime| mime.trim().eq_ignore_ascii_case("application/merge-patch+json")),
        wrap_ttl_s: text(wire::HEADER_WRAP_TTL)?.map(wrap_ttl_s).transpose()?.flatten(),
        codes: codes(headers)?,
    })
}

/// The codes of other factors: a header each.
fn codes(headers: &HeaderMap) -> Result<Codes, Failure> {
    let mut codes = Codes::default();
    for value in headers.get_all(wire::HEADER_MFA) {
        let value =
            value.to_str().map_err(|_| Failure::invalid("the header x-vault-mfa is not plain text"))?;
        codes.add_header(value)?;
    }
    Ok(codes)
}

/// How long an answer is to lie wrapped; `None`: it is not.
pub fn wrap_ttl_s(text: &str) -> Result<Option<u64>, Failure> {
    if matches!(text, "" | "0" | "0s") {
        return Ok(None);
    }
    let refuse = |why: &str| Failure::invalid(format!("error parsing X-Vault-Wrap-TTL header: {why}"));
    let seconds = conclave_core::duration::parse_s(text).map_err(|error| refuse(&error.to_string()))?;
    match u64::try_from(seconds) {
        Err(_) => Err(refuse("requested wrap ttl cannot be negative")),
        // Who asks for it to be wrapped must not get it bare.
        Ok(0) => Err(refuse("it is less than a second")),
        Ok(seconds) if seconds > WRAP_S_MAX => Err(refuse(&format!("it is more than {WRAP_S_MAX} s"))),
        Ok(seconds) => Ok(Some(seconds)),
    }
}

/// A client that asks for a namespace or for another form of wrapping tokens must not be served as if it had not.
fn refuse_unfinished(namespace: Option<&str>, wrap_format: Option<&str>) -> Result<(), Failure> {
    if namespace.is_some_and(|name| !matches!(name.trim_matches('/'), "" | "root")) {
        return Err(Failure::invalid("namespaces are not supported: leave X-Vault-Namespace out"));
    }
    if wrap_format.is_some_and(|format| !format.is_empty()) {
        return Err(Failure::invalid("wrapping tokens have one form: leave X-Vault-Wrap-Format out"));
    }
    Ok(())
}

fn consistency(mode: Option<&str>, bound: Option<&str>) -> Result<Consistency, Failure> {
    match mode {
        None | Some("" | "linearizable") => Ok(Consistency::Linearizable),
        Some("stale") => Ok(Consistency::Stale {
            bound: match bound {
                None => STALE_DEFAULT,
                Some(text) => conclave_core::duration::parse_s(text)
                    .ok()
                    .and_then(|seconds| u64::try_from(seconds).ok())
                    .map(Duration::from_secs)
                    .ok_or_else(|| Failure::invalid("X-Conclave-Max-Stale must be a duration such as 30s"))?,
            },
        }),
        Some(_) => Err(Failure::invalid("X-Conclave-Consistency must be 'linearizable' or 'stale'")),
    }
}

/// Reads a body, refusing it at the first byte that is too much.
async fn read_body<B>(mut body: B, budget: &Arc<Budget>) -> Result<Body, Failure>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let too_large = || {
        let max = wire::BODY_BYTES_MAX / (1024 * 1024);
        Failure::TooLarge(format!("the request's body is larger than {max} MiB"))
    };
    let announced = body.size_hint().lower();
    if announced > wire::BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let mut whole = BytesMut::new();
    let mut place = BodyPlace::of(budget);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::invalid("the request's body ended early"))?;
        let Ok(chunk) = frame.into_data() else { continue };
        if whole.len() + chunk.len() > wire::BODY_BYTES_MAX {
            return Err(too_large());
        }
        place.grow(chunk.len())?;
        if whole.is_empty() && body.is_end_stream() {
            return Ok(Body::new(chunk, place));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(Body::new(whole.freeze(), place))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_path_is_taken_as_one_canonical_path_or_refused(raw in "/v1/([a-z./%0-9A-F \\\\\u{0}\u{e9}-]|%2[eEfF]){0,40}") {
            if let Ok(path) = canonical_path(&raw) {
                prop_assert!(!path.contains("//") && !path.contains('\0'), "{path}");
                prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{path}");
            }
        }

        #[test]
        fn any_query_is_parsed_or_refused(raw in "[a-z=&%+0-9A-F]{0,60}") {
            if let Ok(query) = parse_query(&raw) {
                prop_assert!(query.0.len() <= raw.matches('&').count() + 1);
            }
        }
    }

    #[test]
    fn paths_are_below_v1_and_canonical() {
        assert_eq!(canonical_path("/v1/secret/data/a%20b").unwrap(), "secret/data/a b");
        assert_eq!(canonical_path("/v1/secret/metadata/").unwrap(), "secret/metadata/");
        for (raw, status) in [
            ("/", 404),
            ("/v1", 404),
            ("/v1/", 404),
            ("/v2/x", 404),
            ("/v1/a//b", 400),
            ("/v1/a/../b", 400),
            ("/v1/a/%2e%2e/b", 400),
            ("/v1/a%2fb", 400),
            ("/v1/a%00b", 400),
            ("/v1/%ff", 400),
        ] {
            assert_eq!(canonical_path(raw).unwrap_err().status(), status, "{raw}");
        }
    }

    #[test]
    fn lists_are_asked_for_as_go_spells_booleans() {
        let ask = |query: &str| operation(&Method::GET, &parse_query(query).unwrap());
        assert_eq!(ask("list=True").unwrap(), Operation::List);
        assert_eq!(ask("list=1").unwrap(), Operation::List);
        assert_eq!(ask("list=false").unwrap(), Operation::Read);
        assert_eq!(ask("scan=true").unwrap(), Operation::Scan);
        assert_eq!(ask("list=yes").unwrap_err().status(), 400);
    }

    #[test]
    fn what_is_not_built_is_refused_rather_than_ignored() {
        let headers = |name: &'static str, value: &str| {
            let mut map = HeaderMap::new();
            map.insert(name, value.parse().unwrap());
            parse_headers(&map).map(|_| ())
        };
        assert!(headers("x-vault-namespace", "team/").is_err());
        assert!(headers("x-vault-namespace", "root").is_ok());
        assert!(headers("x-vault-wrap-format", "jwt").is_err());
        for ttl in ["abc", "-5", "500ms", "3162240001"] {
            assert!(headers("x-vault-wrap-ttl", ttl).is_err(), "{ttl}");
        }
        for (ttl, expect) in
            [("", None), ("0", None), ("60", Some(60)), ("1m30s", Some(90)), ("1500ms", Some(1))]
        {
            assert_eq!(wrap_ttl_s(ttl), Ok(expect));
        }
        assert!(headers("x-conclave-consistency", "eventual").is_err());
        assert!(headers("x-conclave-idempotency-key", &"k".repeat(257)).is_err());
    }

    #[tokio::test]
    async fn a_body_in_many_parts_comes_whole_and_one_that_is_too_large_is_refused_on_the_way() {
        let budget = Arc::<Budget>::default();
        let parts = |count: usize| {
            let part = Bytes::from(vec![b'x'; 1024 * 1024]);
            let frames = (0..count).map(move |_| Ok::<_, Infallible>(hyper::body::Frame::data(part.clone())));
            http_body_util::StreamBody::new(futures::stream::iter(frames))
        };
        assert_eq!(read_body(parts(3), &budget).await.unwrap().len(), 3 * 1024 * 1024);
        assert_eq!(read_body(parts(33), &budget).await.map(|_| ()).unwrap_err().status(), 413);
        let kept: Vec<_> = futures::future::join_all((0..6).map(|_| read_body(parts(32), &budget))).await;
        assert!(kept.iter().all(Result::is_ok));
        assert_eq!(read_body(parts(1), &budget).await.map(|_| ()).unwrap_err().status(), 503);
        drop(kept);
        assert!(read_body(parts(1), &budget).await.is_ok(), "what was answered is still counted");
    }
}
