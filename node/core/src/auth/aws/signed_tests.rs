//! Each check of a signed request, in the order in which they are made.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20261123/us-east-1/sts/aws4_request, \
                             SignedHeaders=content-type;host;x-amz-date;x-vault-aws-iam-server-id, Signature=0a1b";

/// As hvac and Vault's own client send it.
fn headers() -> Value {
    json!({
        "Authorization": [AUTHORIZATION],
        "Content-Type": ["application/x-www-form-urlencoded; charset=utf-8"],
        "Content-Length": ["43"],
        "Host": ["sts.amazonaws.com"],
        "X-Amz-Date": "20261123T120000Z",
        "X-Vault-AWS-IAM-Server-ID": ["vault.example"],
        "User-Agent": ["not signed"],
    })
}

fn login(url: &str, body: &str, headers: &Value) -> Map<String, Value> {
    let fields = json!({
        "iam_http_request_method": "POST",
        "iam_request_url": BASE64.encode(url),
        "iam_request_body": BASE64.encode(body),
        "iam_request_headers": BASE64.encode(headers.to_string()),
    });
    fields.as_object().unwrap().clone()
}

const URL: &str = "https://sts.amazonaws.com/";
const BODY: &str = "Action=GetCallerIdentity&Version=2011-06-15";

fn good() -> Map<String, Value> {
    login(URL, BODY, &headers())
}

fn read(fields: &Map<String, Value>) -> Result<Signed, Error> {
    Signed::read(fields, &ClientConfig::default())
}

fn sentence(fields: &Map<String, Value>) -> String {
    read(fields).unwrap_err().to_string()
}

/// The headers with one that is set, or taken away by `null`.
fn with(name: &str, value: Value) -> Map<String, Value> {
    let mut headers = headers();
    match value {
        Value::Null => drop(headers.as_object_mut().unwrap().remove(name)),
        value => headers[name] = value,
    }
    login(URL, BODY, &headers)
}

#[test]
fn only_what_the_signature_covers_is_passed_on() {
    let signed = read(&good()).unwrap();
    assert_eq!((signed.host.as_str(), signed.region.as_str()), ("sts.amazonaws.com", "us-east-1"));
    assert_eq!(signed.body, BODY);
    let names: Vec<&str> = signed.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["content-type", "x-amz-date", "x-vault-aws-iam-server-id", "authorization"]);
    assert_eq!(signed.headers[3].1, AUTHORIZATION);
}

#[test]
fn headers_come_as_they_are_or_as_json_in_base64() {
    let expected = read(&good()).unwrap();
    let mut fields = good();
    for form in [headers(), Value::from(headers().to_string())] {
        fields.insert("iam_request_headers".to_owned(), form);
        assert_eq!(read(&fields).unwrap(), expected);
    }
    assert_eq!(read(&with("Content-Length", json!(43))).unwrap(), expected);
    let broken =
        BASE64.encode(headers().to_string()).as_bytes().chunks(60).map(<[u8]>::to_vec).collect::<Vec<_>>();
    fields.insert(
        "iam_request_headers".to_owned(),
        String::from_utf8(broken.join(&b"\r\n"[..])).unwrap().into(),
    );
    assert_eq!(read(&fields).unwrap(), expected);
}

#[test]
fn each_part_must_be_there() {
    for name in ["iam_http_request_method", "iam_request_url", "iam_request_body", "iam_request_headers"] {
        for nothing in [None, Some(Value::Null), Some("".into())] {
            let mut fields = good();
            fields.remove(name);
            fields.extend(nothing.map(|nothing| (name.to_owned(), nothing)));
            assert_eq!(sentence(&fields), format!("missing {name}"));
        }
    }
    assert_eq!(sentence(&login(URL, BODY, &json!({}))), "missing iam_request_headers");
    for name in ["iam_request_url", "iam_request_body", "iam_request_headers"] {
        let mut fields = good();
        fields.insert(name.to_owned(), "%%canary%%".into());
        assert_eq!(sentence(&fields), format!("failed to base64 decode {name}"));
        fields.insert(name.to_owned(), BASE64.encode([0xff, 0xfe]).into());
        assert_eq!(sentence(&fields), format!("failed to base64 decode {name}"));
        fields.insert(name.to_owned(), "A".repeat(FIELD_BYTES_MAX + 4).into());
        assert!(sentence(&fields).contains("at most"));
    }
}

#[test]
fn check_1_the_method_is_post() {
    for method in ["GET", "post", "PUT", "POST ", "DELETE"] {
        let mut fields = good();
        fields.insert("iam_http_request_method".to_owned(), method.into());
        let expected = "invalid iam_http_request_method; currently only 'POST' is supported";
        assert_eq!(sentence(&fields), expected);
    }
}

#[test]
fn check_2_the_url_names_a_server_and_asks_nothing() {
    for url in [
        "https://sts.amazonaws.com/?Action=AssumeRole",
        "https://sts.amazonaws.com/?",
        "https://sts.amazonaws.com/#x",
        "https://sts.amazonaws.com/path",
        "https://sts.amazonaws.com//",
        "https://user@sts.amazonaws.com/",
        "https://user:canary@sts.amazonaws.com/",
        "ftp://sts.amazonaws.com/",
        "file:///etc/passwd",
        "sts.amazonaws.com",
        "//sts.amazonaws.com/",
        "https://",
        "https://sts.amazonaws.com/\r\nX: y",
        "https://sts.\u{430}mazonaws.com/",
        "https://sts.amazonaws.com:99999/",
        "javascript:alert(1)",
    ] {
        let said = sentence(&login(url, BODY, &headers()));
        assert!(
            said.starts_with("error parsing iam_request_url") && !said.contains("canary"),
            "{url}: {said}"
        );
    }
}

#[test]
fn check_3_the_body_asks_who_the_caller_is_and_nothing_else() {
    for body in [
        "Action=AssumeRole&Version=2011-06-15",
        "Action=GetCallerIdentity",
        "Version=2011-06-15",
        "Action=GetCallerIdentity&Action=GetCallerIdentity&Version=2011-06-15",
        "Action=GetCallerIdentity&Action=AssumeRole&Version=2011-06-15",
        "Action=GetCallerIdentity&Version=2011-06-15&Version=2011-06-15",
        "Action=GetCallerIdentity&Version=2012-01-01",
        "Action=GetCallerIdentity&Version=2011-06-15&WebIdentityToken=x",
        "action=GetCallerIdentity&Version=2011-06-15",
        "Action=getcalleridentity&Version=2011-06-15",
        "Action=GetCallerIdentity%00&Version=2011-06-15",
        "Action=%47etCallerIdentity&Version=2011-06-15",
        "Action=GetCallerIdentity&Version=2011-06-15;Action=AssumeRole",
        "Action=GetCallerIdentity&Version=2011-06-15&",
        " Action=GetCallerIdentity&Version=2011-06-15",
        "{\"Action\":\"GetCallerIdentity\"}",
    ] {
        let refused = read(&login(URL, body, &headers()));
        // An empty pair asks nothing, and is what some clients end with.
        if body.ends_with('&') {
            assert!(refused.is_ok());
        } else {
            assert_eq!(refused.unwrap_err().to_string(), "iam request body is invalid", "{body}");
        }
    }
}

#[test]
fn check_4_headers_of_aws_are_those_of_a_signature_or_were_allowed() {
    for name in ["X-Amz-Target", "x-amz-copy-source", "X-AMZ-User-Agent", "X-Amz-"] {
        assert!(sentence(&with(name, json!("x"))).starts_with("invalid request header: an X-Amz header"));
    }
    for name in AMZ_ALLOWED {
        // Without `X-Amz-Date` twice.
        assert!(name == "x-amz-date" || read(&with(name, json!("x"))).is_ok(), "{name}");
    }
    let allowing = ClientConfig {
        allowed_sts_header_values: vec!["X-Amz-User-Agent".to_owned()],
        ..ClientConfig::default()
    };
    assert!(Signed::read(&with("x-amz-user-agent", json!("x")), &allowing).is_ok());
    assert!(Signed::read(&with("x-amz-target", json!("x")), &allowing).is_err());
}

#[test]
fn check_5_the_servers_name_is_there_equal_and_signed() {
    let wanting =
        ClientConfig { iam_server_id_header_value: "vault.example".to_owned(), ..ClientConfig::default() };
    let said =
        |fields: &Map<String, Value>| Signed::read(fields, &wanting).map_err(|error| error.to_string());
    assert!(said(&good()).is_ok());
    let error = |what: &str| Err(format!("error validating {SERVER_ID} header: {what}"));
    assert_eq!(said(&with(SERVER_ID, Value::Null)), error(&format!("missing header {SERVER_ID:?}")));
    for wrong in ["vault.example.org", "VAULT.EXAMPLE", "vault.example,vault.example"] {
        assert_eq!(said(&with(SERVER_ID, json!(wrong))), error("it has another value than is expected"));
    }
    let unsigned = AUTHORIZATION.replace(";x-vault-aws-iam-server-id", "");
    assert_eq!(said(&with("Authorization", json!(unsigned))), error("vault header wasn't signed"));
    let like = AUTHORIZATION.replace("server-id", "server-idx");
    assert_eq!(said(&with("Authorization", json!(like))), error("vault header wasn't signed"));
    assert_eq!(said(&with("Authorization", Value::Null)), error("missing Authorization header"));
    let mut twice = headers();
    twice["x-vault-aws-iam-server-id"] = json!("vault.example");
    assert!(said(&login(URL, BODY, &twice)).unwrap_err().contains("twice"));
}

#[test]
fn check_6_the_signature_is_one_for_sts() {
    assert_eq!(sentence(&with("Authorization", Value::Null)), "missing Authorization header");
    for wrong in [
        "Bearer x".to_owned(),
        "AWS4-HMAC-SHA256".to_owned(),
        AUTHORIZATION.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
        AUTHORIZATION.replace("/sts/", "/iam/"),
        AUTHORIZATION.replace("aws4_request", "aws3_request"),
        AUTHORIZATION.replace("/us-east-1", ""),
        AUTHORIZATION.replace("/us-east-1/", "//"),
        AUTHORIZATION.replace("us-east-1", "us-east-1/x"),
        AUTHORIZATION.replace(", Signature=0a1b", ""),
        AUTHORIZATION.replace("0a1b", ""),
        AUTHORIZATION.replace("host;", ""),
        AUTHORIZATION.replace("host", "Host"),
        AUTHORIZATION.replace("host;", "host;;"),
        format!("{AUTHORIZATION}, SignedHeaders=host"),
        format!("{AUTHORIZATION}, Else=x"),
    ] {
        let said = sentence(&with("Authorization", json!(wrong)));
        assert_eq!(said, "invalid Authorization header: it is no signature for STS", "{wrong}");
    }
}

#[test]
fn check_7_what_was_signed_is_sent_and_carries_nothing_else() {
    let signing =
        |name: &str| with("Authorization", json!(AUTHORIZATION.replace("host;", &format!("host;{name};"))));
    assert_eq!(sentence(&signing("x-own")), "a header that was signed is missing");
    assert!(sentence(&signing("x-amz-date")).contains("signed twice"));
    for name in CARRYING {
        let said = sentence(&signing(name));
        assert_eq!(said, "invalid request header: it says how the request is carried", "{name}");
    }
    assert!(read(&with("Transfer-Encoding", json!("chunked"))).is_ok(), "not signed, so not passed on");
    assert!(sentence(&with("Host", json!("elsewhere.example"))).contains("Host"));
}

#[test]
fn a_header_is_one_line_of_one_text() {
    for (name, value) in [
        ("X-Own", json!("a\r\nX-Amz-Target: b")),
        ("X-Own", json!("a\u{0}")),
        ("X-Own", json!("ü")),
        ("X-Own", json!("")),
        ("X-Own", json!(" ")),
        ("X-Own", json!(["a", "b"])),
        ("X-Own", json!([])),
        ("X-Own", json!([["a"]])),
        ("X-Own", json!(true)),
        ("X-Own", json!("x".repeat(HEADER_BYTES_MAX + 1))),
        ("X Own", json!("a")),
        ("X-Own:", json!("a")),
        ("", json!("a")),
        ("X-Öwn", json!("a")),
    ] {
        assert!(
            sentence(&with(name, value.clone())).starts_with("invalid request header: each has"),
            "{name:?}"
        );
    }
    let many: Map<String, Value> =
        (0..=HEADERS_MAX).map(|number| (format!("h{number}"), json!("x"))).collect();
    assert!(sentence(&login(URL, BODY, &Value::Object(many))).contains("at most"));
}

#[test]
fn headers_that_two_readers_could_read_in_two_ways_are_refused() {
    let raw = |text: &str| {
        let mut fields = good();
        fields.insert("iam_request_headers".to_owned(), BASE64.encode(text).into());
        sentence(&fields)
    };
    assert!(raw(r#"{"Host": "a", "host": "b"}"#).contains("twice"));
    assert!(raw(r#"{"Host": "a", "Host": "b"}"#).contains("twice"));
    assert!(raw(r#"{"Host": "a", "\u0048ost": "b"}"#).contains("twice"));
    let unreadable = "failed to JSON decode iam_request_headers";
    for text in [
        "[]",
        "null",
        "{",
        r#"{"a": {"b": "c"}}"#,
        r#"{"a": {"$serde_json::private::Number": "1"}}"#,
        r#"{"a": "b"} x"#,
        r#"{"a": 'b'}"#,
    ] {
        assert_eq!(raw(text), unreadable, "{text}");
    }
    assert_eq!(raw(&format!("{{\"a\": {}1{}}}", "[".repeat(400), "]".repeat(400))), unreadable);
}

proptest! {
    #[test]
    fn no_field_makes_the_reader_panic_or_repeats_itself(
        url in "(https://)?[a-z/?#@:.\\[\\]]{0,20}canary",
        body in "[A-Za-z=&%;+0-9]{0,30}canary",
        headers in "[{}\\[\\]\",:a-z\\\\]{0,40}canary",
        authorization in "AWS4-HMAC-SHA256 [A-Za-z=;,/ ]{0,60}canary",
    ) {
        for fields in [
            login(&url, BODY, &self::headers()),
            login(URL, &body, &self::headers()),
            login(URL, BODY, &Value::from(headers)),
            with("Authorization", json!(authorization)),
        ] {
            if let Err(error) = read(&fields) {
                prop_assert!(!error.to_string().contains("canary"));
            }
        }
    }
}
