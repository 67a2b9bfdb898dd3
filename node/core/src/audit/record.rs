//! What a record says, in Vault's schema: who asked for what, from where, and what came of it.
//!
//! A request has two records, before its effect and before its answer. Both say who asked for what, so that part is
//! made once ([`Asked::write`]) for each device, with that device's hashes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::hash::Salt;
use crate::auth::token::TokenEntry;
use crate::identity::Belonging;
use crate::plan::Operation;

/// Longest data of a request or an answer in a record, in bytes; longer data is left out, and the record says so.
const DATA_BYTES_MAX: usize = 1024 * 1024;
/// What a record without data takes, at a guess, in bytes.
const RECORD_BYTES_EXPECTED: usize = 1536;
/// Stands for data that is left out.
const OMITTED: &[u8] = b"{\"omitted\":true}";

/// Who called, as far as a valid token told.
pub struct Caller<'a> {
    pub entry: &'a TokenEntry,
    /// Whose token it is, if that is known.
    pub belonging: Option<&'a Belonging>,
    /// The policies that allowed it; `None`: it was not.
    pub granted_by: Option<&'a [Arc<str>]>,
}

impl Caller<'_> {
    /// All policies that count for him.
    fn policies(&self) -> BTreeSet<&str> {
        let further = self.belonging.map_or(&[][..], |belonging| &belonging.policies);
        self.entry.policies.iter().chain(further).map(String::as_str).collect()
    }
}

/// The mount that the path leads to.
#[derive(Default)]
pub struct MountPoint<'a> {
    pub path: &'a str,
    pub engine_type: &'a str,
    pub accessor: &'a str,
    /// Members of a request's data whose strings its owner wants to read in the trail.
    pub plain_request_keys: &'a [String],
}

/// A request, as its records tell it.
pub struct Asked<'a> {
    pub id: &'a str,
    pub operation: &'static str,
    pub path: &'a str,
    pub client: Option<SocketAddr>,
    pub token: Option<&'a str>,
    pub caller: Option<Caller<'a>>,
    pub mount: Option<MountPoint<'a>>,
    /// The body as JSON, known to be well formed; never a stranger's.
    pub body: Option<&'a [u8]>,
    pub query: &'a [(String, String)],
}

/// What came of a request.
pub struct Answered<'a> {
    pub status: u16,
    /// The point in the log that the answer was made from, or at which its effect stands.
    pub index: Option<u64>,
    /// The answer's data as JSON.
    pub data: Option<&'a [u8]>,
    /// The token that it hands out, as JSON.
    pub auth: Option<&'a [u8]>,
    /// The token that it lies under instead, as JSON.
    pub wrap_info: Option<&'a [u8]>,
    /// Why it was refused, in the words that the caller got.
    pub refusal: Option<&'a str>,
}

/// The records of one request for one device: what both have in common, made once.
pub struct Record {
    common: Vec<u8>,
    mount: Vec<u8>,
}

/// What Vault calls an operation. Whether a write creates or updates is not known before it is decided.
pub fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Read => "read",
        Operation::Write => "update",
        Operation::Patch => "patch",
        Operation::Delete => "delete",
        Operation::List => "list",
        Operation::Scan => "scan",
    }
}

impl Asked<'_> {
    /// `salt`: that of the device; `None` while the node is sealed, and then nothing that would need it is told.
    pub fn write(&self, salt: Option<&Salt>) -> Record {
        let mut out = Vec::with_capacity(RECORD_BYTES_EXPECTED);
        let token = hashed(salt, self.token);
        let accessor = hashed(salt, self.caller.as_ref().map(|caller| caller.entry.accessor.as_str()));
        out.extend_from_slice(b"\"auth\":");
        self.write_auth(&token, &accessor, &mut out);
        out.extend_from_slice(b",\"request\":{\"id\":");
        text(self.id, &mut out);
        member("operation", self.operation, &mut out);
        let mount = self.mount();
        out.extend_from_slice(&mount);
        for (name, hash) in [("client_token", &token), ("client_token_accessor", &accessor)] {
            if !hash.is_empty() {
                raw(name, hash, &mut out);
            }
        }
        out.extend_from_slice(b",\"namespace\":{\"id\":\"root\"}");
        member("path", self.path, &mut out);
        if let Some(salt) = salt {
            self.write_data(salt, &mut out);
        }
        if let Some(client) = self.client {
            // An address within IPv6 that is IPv4's own is told as that.
            member("remote_address", &client.ip().to_canonical().to_string(), &mut out);
            number("remote_port", client.port().into(), &mut out);
        }
        out.push(b'}');
        Record { common: out, mount }
    }

    fn mount(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(mount) = &self.mount {
            member("mount_point", mount.path, &mut out);
            member("mount_type", mount.engine_type, &mut out);
            if !mount.accessor.is_empty() {
                member("mount_accessor", mount.accessor, &mut out);
            }
            let class = if mount.path.starts_with("auth/") { "auth" } else { "secret" };
            member("mount_class", class, &mut out);
        }
        out
    }

    /// `token`, `accessor`: their hashes, empty where there is none.
    fn write_auth(&self, token: &[u8], accessor: &[u8], out: &mut Vec<u8>) {
        let Some(caller) = self.caller.as_ref().filter(|_| !token.is_empty()) else {
            out.extend_from_slice(b"{\"token_type\":\"default\"}");
            return;
        };
        out.extend_from_slice(b"{\"client_token\":");
        out.extend_from_slice(token);
        // Batch tokens have none.
        if !accessor.is_empty() {
            raw("accessor", accessor, out);
        }
        let entry = caller.entry;
        member("display_name", &entry.display_name, out);
        member("policies", &caller.policies(), out);
        member("token_policies", &entry.policies, out);
        if let Some(belonging) = caller.belonging {
            if !belonging.policies.is_empty() {
                member("identity_policies", &belonging.policies, out);
            }
            member("entity_id", &belonging.entity.id, out);
        }
        write_verdict(caller.granted_by, out);
        if !entry.meta.is_empty() {
            member("metadata", &entry.meta, out);
        }
        if entry.uses_left > 0 {
            number("remaining_uses", entry.uses_left, out);
        }
        member("token_type", &entry.kind, out);
        if entry.ttl_ms > 0 {
            number("token_ttl", entry.ttl_ms / 1000, out);
        }
        member("token_issue_time", &crate::engine::time_text(entry.created_ms / 1000 * 1000), out);
        out.push(b'}');
    }

    /// The body, or the query of a request that has none.
    fn write_data(&self, salt: &Salt, out: &mut Vec<u8>) {
        if let Some(body) =
            self.body.map(<[u8]>::trim_ascii).filter(|body| !body.is_empty() && *body != b"null")
        {
            out.extend_from_slice(b",\"data\":");
            let plain = self.mount.as_ref().map_or(&[][..], |mount| mount.plain_request_keys);
            data(salt, body, plain, out);
            return;
        }
        let mut shown = self.query.iter().filter(|(name, _)| name != "list" && name != "scan").peekable();
        if shown.peek().is_none() {
            return;
        }
        out.extend_from_slice(b",\"data\":{");
        for (index, (name, value)) in shown.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            text(name, out);
            out.push(b':');
            salt.write_hash(value, out);
        }
        out.push(b'}');
    }
}

/// What policies said, and which of them.
fn write_verdict(granted_by: Option<&[Arc<str>]>, out: &mut Vec<u8>) {
    let Some(policies) = granted_by else {
        return out.extend_from_slice(b",\"policy_results\":{\"allowed\":false}");
    };
    out.extend_from_slice(b",\"policy_results\":{\"allowed\":true");
    for (index, policy) in policies.iter().enumerate() {
        let before = if index == 0 { ",\"granting_policies\":[" } else { "," };
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(b"{\"name\":");
        text(&**policy, out);
        out.extend_from_slice(b",\"namespace_id\":\"root\",\"type\":\"acl\"}");
    }
    out.extend_from_slice(if policies.is_empty() { "}" } else { "]}" }.as_bytes());
}

impl Record {
    /// The record before the request's effect. `error`: it is already known to be refused.
    pub fn request(&self, time_ns: i128, error: Option<&str>) -> Vec<u8> {
        let mut out = self.begin(time_ns, "request");
        if let Some(error) = error {
            member("error", error, &mut out);
        }
        out.push(b'}');
        out
    }

    /// The record before the answer.
    pub fn response(
        &self,
        time_ns: i128,
        salt: Option<&Salt>,
        plain_keys: &[String],
        answered: &Answered<'_>,
    ) -> Vec<u8> {
        let mut out = self.begin(time_ns, "response");
        out.extend_from_slice(b",\"response\":{");
        let begin = out.len();
        if let Some(salt) = salt {
            if let Some(granted) = answered.auth.and_then(|auth| serde_json::from_slice(auth).ok()) {
                write_granted(salt, &granted, &mut out);
            }
            if let Some(wrapped) = answered.wrap_info.and_then(|info| serde_json::from_slice(info).ok()) {
                write_wrapped(salt, &wrapped, &mut out);
            }
            if let Some(refusal) = answered.refusal {
                out.extend_from_slice(b",\"data\":{\"error\":");
                salt.write_hash(refusal, &mut out);
                out.push(b'}');
            } else if let Some(json) = answered.data.filter(|json| json.trim_ascii() != b"null") {
                out.extend_from_slice(b",\"data\":");
                data(salt, json, plain_keys, &mut out);
            }
        }
        out.extend_from_slice(&self.mount);
        if out.get(begin) == Some(&b',') {
            out.remove(begin);
        }
        out.push(b'}');
        number("status", answered.status.into(), &mut out);
        if let Some(index) = answered.index {
            number("index", index, &mut out);
        }
        if answered.refusal.is_some() {
            member("error", error_of(answered.status), &mut out);
        }
        out.push(b'}');
        out
    }

    fn begin(&self, time_ns: i128, kind: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.common.len() + RECORD_BYTES_EXPECTED);
        out.extend_from_slice(b"{\"time\":");
        let time = jiff::Timestamp::from_nanosecond(time_ns).unwrap_or(jiff::Timestamp::MIN);
        text(&time.to_string(), &mut out);
        member("type", kind, &mut out);
        out.push(b',');
        out.extend_from_slice(&self.common);
        out
    }
}

/// A token that an answer hands out.
#[derive(Deserialize)]
struct Granted<'a> {
    client_token: Cow<'a, str>,
    accessor: Cow<'a, str>,
    policies: Vec<String>,
    token_policies: Vec<String>,
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    num_uses: u64,
    token_type: Cow<'a, str>,
    lease_duration: u64,
}

fn write_granted(salt: &Salt, granted: &Granted<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"auth\":{\"client_token\":");
    salt.write_hash(&granted.client_token, out);
    raw("accessor", &hashed(Some(salt), Some(&granted.accessor)), out);
    member("policies", &granted.policies, out);
    member("token_policies", &granted.token_policies, out);
    if let Some(metadata) = granted.metadata.as_ref().filter(|metadata| !metadata.is_empty()) {
        member("metadata", metadata, out);
    }
    if granted.num_uses > 0 {
        number("num_uses", granted.num_uses, out);
    }
    member("token_type", &granted.token_type, out);
    if granted.lease_duration > 0 {
        number("token_ttl", granted.lease_duration, out);
    }
    out.push(b'}');
}

/// A token under which an answer lies.
#[derive(Deserialize)]
struct Wrapped<'a> {
    token: Cow<'a, str>,
    accessor: Cow<'a, str>,
    ttl: u64,
    creation_time: Cow<'a, str>,
    creation_path: Cow<'a, str>,
    wrapped_accessor: Option<Cow<'a, str>>,
}

fn write_wrapped(salt: &Salt, wrapped: &Wrapped<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"wrap_info\":{\"ttl\":");
    out.extend_from_slice(wrapped.ttl.to_string().as_bytes());
    for (name, secret) in [
        ("token", Some(&wrapped.token)),
        ("accessor", Some(&wrapped.accessor)),
        ("wrapped_accessor", wrapped.wrapped_accessor.as_ref()),
    ] {
        if let Some(secret) = secret {
            raw(name, &hashed(Some(salt), Some(secret)), out);
        }
    }
    member("creation_time", &wrapped.creation_time, out);
    member("creation_path", &wrapped.creation_path, out);
    out.push(b'}');
}

/// What stands in clear of a refusal: never the sentence itself, which may tell of what was sent.
pub fn error_of(status: u16) -> &'static str {
    match status {
        400 => "invalid request",
        403 => "permission denied",
        404 => "unsupported path",
        405 => "unsupported operation",
        413 | 415 | 429 => "request refused",
        503 => "unavailable",
        504 => "unknown outcome",
        _ => "internal error",
    }
}

fn data(salt: &Salt, json: &[u8], plain: &[String], out: &mut Vec<u8>) {
    if salt.rewrite(json, plain, DATA_BYTES_MAX, out).is_err() {
        out.extend_from_slice(OMITTED);
    }
}

/// The hash of `text` as a JSON string; empty if there is nothing to hash, or nothing to hash with.
fn hashed(salt: Option<&Salt>, text: Option<&str>) -> Vec<u8> {
    let mut hash = Vec::new();
    if let (Some(salt), Some(text)) = (salt, text) {
        salt.write_hash(text, &mut hash);
    }
    hash
}

fn raw(name: &str, json: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(json);
}

fn text(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("text always becomes JSON");
}

fn member(name: &str, value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    text(value, out);
}

fn number(name: &str, value: u64, out: &mut Vec<u8>) {
    member(name, &value, out);
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use serde_json::{Value, json};

    use super::*;

    const CANARY: &str = "canary-5d1f";

    fn entry() -> TokenEntry {
        let policies = vec!["root".to_owned()];
        let mut entry = TokenEntry::new(CANARY.to_owned(), policies, "auth/token/root", 1_700_000_000_123);
        entry.display_name = "root".to_owned();
        entry
    }

    static ROOT: LazyLock<Vec<Arc<str>>> = LazyLock::new(|| vec!["root".into()]);

    fn asked<'a>(body: &'a [u8], query: &'a [(String, String)], entry: &'a TokenEntry) -> Asked<'a> {
        Asked {
            id: "r-1",
            operation: operation_name(Operation::Write),
            path: "secret/data/\"quoted\"",
            client: Some("[::ffff:10.1.2.3]:4000".parse().unwrap()),
            token: Some(CANARY),
            caller: Some(Caller { entry, belonging: None, granted_by: Some(&ROOT) }),
            mount: Some(MountPoint {
                path: "secret/",
                engine_type: "kv",
                accessor: "kv_1",
                plain_request_keys: &[],
            }),
            body: Some(body),
            query,
        }
    }

    fn parsed(record: &[u8]) -> Value {
        serde_json::from_slice(record)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(record)))
    }

    /// The members and their order are those that OpenBao 2.7.2 writes, but for those of what we do not have.
    #[test]
    fn a_record_has_the_shape_of_openbaos() {
        let salt = Salt::new(b"k");
        let entry = entry();
        let body = format!("{{\"data\":{{\"a\":\"{CANARY}\",\"n\":1}}}}");
        let record = asked(body.as_bytes(), &[], &entry).write(Some(&salt));
        let request = record.request(1_700_000_000_120_000_000, None);
        let hash = salt.hash(CANARY);
        let expected = format!(
            "{{\"time\":\"2023-11-14T22:13:20.12Z\",\"type\":\"request\",\"auth\":{{\"client_token\":\"{hash}\",\
             \"accessor\":\"{hash}\",\"display_name\":\"root\",\"policies\":[\"root\"],\"token_policies\":[\"root\"],\
             \"policy_results\":{{\"allowed\":true,\"granting_policies\":[{{\"name\":\"root\",\
             \"namespace_id\":\"root\",\"type\":\"acl\"}}]}},\"token_type\":\"service\",\
             \"token_issue_time\":\"2023-11-14T22:13:20Z\"}},\"request\":{{\"id\":\"r-1\",\"operation\":\"update\",\
             \"mount_point\":\"secret/\",\"mount_type\":\"kv\",\"mount_accessor\":\"kv_1\",\"mount_class\":\"secret\",\
             \"client_token\":\"{hash}\",\"client_token_accessor\":\"{hash}\",\"namespace\":{{\"id\":\"root\"}},\
             \"path\":\"secret/data/\\\"quoted\\\"\",\"data\":{{\"data\":{{\"a\":\"{hash}\",\"n\":1}}}},\
             \"remote_address\":\"10.1.2.3\",\"remote_port\":4000}}}}"
        );
        assert_eq!(String::from_utf8(request).unwrap(), expected);

        let answered = Answered {
            status: 200,
            index: Some(7),
            data: Some(b"{\"version\":1}"),
            auth: None,
            wrap_info: None,
            refusal: None,
        };
        let response = parsed(&record.response(0, Some(&salt), &[], &answered));
        assert_eq!(response["type"], "response");
        assert_eq!(response["request"], parsed(&record.request(0, None))["request"]);
        assert_eq!(response["response"]["data"], json!({ "version": 1 }));
        assert_eq!(response["response"]["mount_accessor"], "kv_1");
        assert_eq!((&response["status"], &response["index"]), (&json!(200), &json!(7)));
        assert_eq!(response.get("error"), None);
    }

    #[test]
    fn a_refusal_tells_its_kind_and_hides_its_sentence() {
        let salt = Salt::new(b"k");
        let entry = entry();
        let stranger = Asked { caller: None, body: None, ..asked(b"", &[], &entry) };
        let record = stranger.write(Some(&salt));
        let request = parsed(&record.request(0, Some("permission denied")));
        assert_eq!(request["auth"], json!({ "token_type": "default" }));
        assert_eq!(request["error"], "permission denied");
        assert_eq!(request["request"].get("client_token_accessor"), None);
        let answered = Answered {
            status: 400,
            index: None,
            data: None,
            auth: None,
            wrap_info: None,
            refusal: Some(CANARY),
        };
        let response = record.response(0, Some(&salt), &[], &answered);
        assert!(!String::from_utf8_lossy(&response).contains(CANARY));
        assert_eq!(parsed(&response)["error"], "invalid request");
        assert_eq!(parsed(&response)["response"]["data"], json!({ "error": salt.hash(CANARY) }));
    }

    /// As OpenBao 2.7.2 tells of a token that was made, but for its display name, which no answer has.
    #[test]
    fn a_token_that_is_handed_out_is_told_of_and_not_told() {
        let salt = Salt::new(b"k");
        let (caller, body) = (entry(), b"{}");
        let auth = format!(
            "{{\"client_token\":\"{CANARY}\",\"accessor\":\"{CANARY}\",\"policies\":[\"a\"],\"token_policies\":[\"a\"],\
             \"metadata\":{{\"who\":\"me\"}},\"lease_duration\":3600,\"renewable\":true,\"entity_id\":\"\",\
             \"token_type\":\"service\",\"orphan\":false,\"mfa_requirement\":null,\"num_uses\":3}}"
        );
        let answered = Answered {
            status: 200,
            index: None,
            data: None,
            auth: Some(auth.as_bytes()),
            wrap_info: None,
            refusal: None,
        };
        let record = asked(body, &[], &caller).write(Some(&salt));
        let response = record.response(0, Some(&salt), &[], &answered);
        assert!(!String::from_utf8_lossy(&response).contains(CANARY));
        let hash = salt.hash(CANARY);
        let expected = json!({
            "client_token": hash, "accessor": hash, "policies": ["a"], "token_policies": ["a"],
            "metadata": { "who": "me" }, "num_uses": 3, "token_type": "service", "token_ttl": 3600,
        });
        assert_eq!(parsed(&response)["response"]["auth"], expected);
        let sealed = asked(body, &[], &caller).write(None).response(0, None, &[], &answered);
        assert_eq!(parsed(&sealed)["response"].get("auth"), None);
    }

    #[test]
    fn an_answer_that_is_wrapped_is_told_of_and_its_token_is_not_told() {
        let salt = Salt::new(b"k");
        let info = format!(
            "{{\"token\":\"{CANARY}\",\"accessor\":\"{CANARY}\",\"ttl\":60,\"creation_time\":\"t\",\
             \"creation_path\":\"kv/a\",\"wrapped_accessor\":\"{CANARY}\"}}"
        );
        let (caller, wrap_info) = (entry(), Some(info.as_bytes()));
        let answered =
            Answered { status: 200, index: None, data: None, auth: None, wrap_info, refusal: None };
        let response = asked(b"", &[], &caller).write(Some(&salt)).response(0, Some(&salt), &[], &answered);
        assert!(!String::from_utf8_lossy(&response).contains(CANARY));
        let hash = salt.hash(CANARY);
        let expected = json!({
            "ttl": 60, "token": hash, "accessor": hash, "wrapped_accessor": hash, "creation_time": "t",
            "creation_path": "kv/a",
        });
        assert_eq!(parsed(&response)["response"]["wrap_info"], expected);
    }

    #[test]
    fn a_callers_metadata_and_uses_are_told() {
        let salt = Salt::new(b"k");
        let mut caller = entry();
        caller.meta = [("who".to_owned(), "me".to_owned())].into();
        (caller.uses_left, caller.ttl_ms) = (3, 3_600_000);
        let auth = &parsed(&asked(b"", &[], &caller).write(Some(&salt)).request(0, None))["auth"];
        assert_eq!((&auth["metadata"], &auth["remaining_uses"]), (&json!({ "who": "me" }), &json!(3)));
        assert_eq!(auth["token_ttl"], 3600);
    }

    #[test]
    fn a_sealed_node_tells_nothing_that_would_have_to_be_hashed() {
        let body = format!("{{\"key\":\"{CANARY}\"}}");
        let query = [("q".to_owned(), CANARY.to_owned())];
        let record = asked(body.as_bytes(), &query, &entry()).write(None);
        let answered = Answered {
            status: 503,
            index: None,
            data: Some(body.as_bytes()),
            auth: None,
            wrap_info: None,
            refusal: Some(CANARY),
        };
        for text in [record.request(0, None), record.response(0, None, &[], &answered)] {
            assert!(!String::from_utf8_lossy(&text).contains(CANARY));
            assert_eq!(parsed(&text)["request"]["remote_port"], 4000);
        }
    }

    #[test]
    fn what_is_asked_by_query_is_told_without_what_makes_it_a_list() {
        let salt = Salt::new(b"k");
        let query = [("list".to_owned(), "true".to_owned()), ("version".to_owned(), "2".to_owned())];
        let record = asked(b"null", &query, &entry()).write(Some(&salt));
        assert_eq!(parsed(&record.request(0, None))["request"]["data"], json!({ "version": salt.hash("2") }));
    }

    #[test]
    fn data_that_is_too_long_is_left_out_and_that_is_said() {
        let salt = Salt::new(b"k");
        let body = format!("[{}\"{CANARY}\"]", "1,".repeat(DATA_BYTES_MAX / 2));
        let record = asked(body.as_bytes(), &[], &entry()).write(Some(&salt));
        assert_eq!(parsed(&record.request(0, None))["request"]["data"], json!({ "omitted": true }));
    }
}
