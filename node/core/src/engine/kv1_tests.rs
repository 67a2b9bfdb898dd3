//! KV v1 as its clients see it; every line was compared with OpenBao 2.7.2, except where a test says that it differs.

use super::super::testing::Bench;

#[test]
fn a_secret_is_written_read_overwritten_and_deleted() {
    Bench::with_mounts().check(
        r#"
        GET v1/foo
        -> 404
        PUT v1/foo {"a":1,"b":"<&>é"}
        -> 204
        GET v1/foo
        -> 200 {"a":1,"b":"<&>é"}
        POST v1/foo {"c":null}
        -> 204
        GET v1/foo
        -> 200 {"c":null}
        DELETE v1/foo
        -> 204
        GET v1/foo
        -> 404
        DELETE v1/foo
        -> 204
        "#,
    );
}

#[test]
fn what_cannot_be_is_refused_as_vault_refuses_it() {
    Bench::with_mounts().check(
        r#"
        POST v1/foo {}
        -> 400 missing data fields
        POST v1 {"a":1}
        -> 400 missing path
        POST v1/ {"a":1}
        -> 400 missing path
        POST v1/foo/ {"a":1}
        -> 400 cannot write to a path ending in '/'
        PATCH v1/foo {"a":1}
        -> 405
        GET v1
        -> 404
        GET v1/foo/
        -> 404
        GET v1/a/../b
        -> 400
        GET nowhere/foo
        -> 404
        "#,
    );
}

#[test]
fn every_digit_is_kept() {
    let mut bench = Bench::with_mounts();
    let text = r#"{"big":123456789012345678901234567890,"e":1e400,"f":1.50,"n":9007199254740993}"#;
    assert_eq!(bench.send(&format!("POST v1/n {text}")).status, 204);
    assert_eq!(bench.send("GET v1/n").data_text, text.replace("1e400", "1e+400"));
}

#[test]
fn the_lease_is_what_the_secret_says_or_the_mount() {
    let mut bench = Bench::with_mounts();
    for (body, lease_s) in [
        (r#"{"a":1}"#, 2_764_800),
        (r#"{"ttl":"1h"}"#, 3_600),
        (r#"{"ttl":90}"#, 90),
        (r#"{"ttl":"bad"}"#, 2_764_800),
        (r#"{"lease":"1h30m"}"#, 5_400),
        (r#"{"ttl":"9999h"}"#, 35_996_400),
        (r#"{"ttl":0}"#, 0),
        (r#"{"ttl":1.5}"#, 2_764_800),
        (r#"{"ttl":null}"#, 0),
        // OpenBao answers -5, which no client can mean.
        (r#"{"ttl":-5}"#, 0),
    ] {
        assert_eq!(bench.send(&format!("POST v1/ttl {body}")).status, 204);
        let answer = bench.send("GET v1/ttl");
        assert_eq!((answer.lease_duration_s, answer.data_text.as_str()), (lease_s, body));
    }
    bench.send(r#"POST sys/mounts/v1/tune {"default_lease_ttl":"30m"}"#);
    bench.send(r#"POST v1/ttl {"a":1}"#);
    assert_eq!(bench.send("GET v1/ttl").lease_duration_s, 1_800);
}

#[test]
fn names_are_listed_and_scanned() {
    let mut bench = Bench::with_mounts();
    for path in ["foo", "ttl", "d", "d/e/f"] {
        assert_eq!(bench.send(&format!("POST v1/{path} {{\"x\":1}}")).status, 204);
    }
    bench.check(
        r#"
        LIST v1/
        -> 200 {"keys":["d","d/","foo","ttl"]}
        LIST v1
        -> 200 {"keys":["d","d/","foo","ttl"]}
        LIST v1/d
        -> 200 {"keys":["e/"]}
        LIST v1/d/
        -> 200 {"keys":["e/"]}
        LIST v1/foo
        -> 404
        LIST v1/none
        -> 404
        SCAN v1
        -> 200 {"keys":["d","d/e/f","foo","ttl"]}
        SCAN v1/d
        -> 200 {"keys":["e/f"]}
        SCAN v1/none
        -> 200 {}
        LIST v1/?after=d&limit=2
        -> 200 {"keys":["d/","foo"]}
        LIST v1/?limit=x
        -> 400 error converting input for field "limit": expected an integer
        LIST v1/?bogus=1
        -> 200 ! Endpoint ignored these unrecognized parameters: [bogus]
        "#,
    );
}

#[test]
fn a_secret_that_is_too_large_is_refused() {
    let mut bench = Bench::with_mounts();
    let body = serde_json::json!({"a": "x".repeat(conclave_proto::wire::RECORD_BYTES_MAX)});
    assert_eq!(bench.send(&format!("POST v1/big {body}")).status, 413);
    assert_eq!(bench.send("GET v1/big").status, 404);
}
