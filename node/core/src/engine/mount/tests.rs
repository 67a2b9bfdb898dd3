//! The mount table as its clients see it; compared with OpenBao 2.7.2 line by line.

use serde_json::{Value, json};

use super::housekeeping::{BATCH_RECORDS_MAX, next_batch};
use crate::engine::testing::Bench;

#[test]
fn mounts_are_enabled_where_nothing_is() {
    Bench::new().check(
        r#"
        POST sys/mounts/a {"type":"kv"}
        -> 204
        POST sys/mounts/b {"type":"kv","options":{"version":2}}
        -> 204
        POST sys/mounts/x/y/z {"type":"kv-v2","description":"d"}
        -> 204
        POST sys/mounts/a {"type":"kv"}
        -> 400 path is already in use at a/
        POST sys/mounts/a/b {"type":"kv"}
        -> 400 path is already in use at a/
        POST sys/mounts/x/y {"type":"kv"}
        -> 400 path is already in use at x/y/z/
        POST sys/mounts/aa {"type":"kv","config":null,"options":null,"description":null}
        -> 204
        POST sys/mounts/sys {"type":"kv"}
        -> 400 cannot mount "sys/"
        POST sys/mounts/auth/x {"type":"kv"}
        -> 400 cannot mount "auth/x/"
        POST sys/mounts/cubbyhole/x {"type":"kv"}
        -> 400 cannot mount "cubbyhole/x/"
        POST sys/mounts/identity {"type":"kv"}
        -> 400 cannot mount "identity/"
        POST sys/mounts/n {}
        -> 400 backend type must be specified as a string
        POST sys/mounts/n {"type":""}
        -> 400 backend type must be specified as a string
        POST sys/mounts/n {"type":"cubbyhole"}
        -> 400 mount type of "cubbyhole" is not mountable
        POST sys/mounts/n {"type":"nope"}
        -> 400
        POST sys/mounts/n {"type":"kv","options":{"version":"3"}}
        -> 400
        POST sys/mounts/n {"type":"kv","config":{"default_lease_ttl":"1h","max_lease_ttl":"30m"}}
        -> 400 given default lease TTL greater than given max lease TTL
        POST sys/mounts/n {"type":"kv","config":{"default_lease_ttl":"9000h"}}
        -> 400 given default lease TTL greater than system max lease TTL of 2764800
        POST sys/mounts/n {"type":"kv","config":{"default_lease_ttl":"abc"}}
        -> 400
        POST sys/mounts/n {"type":"kv","config":{"listing_visibility":"bogus"}}
        -> 400
        POST sys/mounts/n {"type":"kv","local":"yes"}
        -> 400
        "#,
    );
}

#[test]
fn a_mount_is_shown_with_what_was_set() {
    let mut bench = Bench::new();
    bench.check(
        r#"
        POST sys/mounts/b {"type":"kv-v2","description":"d","config":{"default_lease_ttl":"1h","max_lease_ttl":"3h","listing_visibility":"unauth","force_no_cache":true,"audit_non_hmac_request_keys":["a"],"passthrough_request_headers":["X-A"],"allowed_response_headers":"X-B"},"seal_wrap":true}
        -> 204
        GET sys/mounts/b/tune
        -> 200 {"allowed_response_headers":["X-B"],"audit_non_hmac_request_keys":["a"],"default_lease_ttl":3600,"description":"d","force_no_cache":true,"listing_visibility":"unauth","max_lease_ttl":10800,"options":{"version":"2"},"passthrough_request_headers":["X-A"]}
        POST sys/mounts/a {"type":"kv"}
        -> 204
        GET sys/mounts/a/tune
        -> 200 {"default_lease_ttl":2764800,"description":"","force_no_cache":false,"max_lease_ttl":2764800}
        GET sys/mounts/nope
        -> 400 No secret engine mount at nope/
        GET sys/mounts/nope/tune
        -> 400 cannot fetch sysview for path "nope/"
        "#,
    );
    let shown = bench.send("GET sys/mounts/b").data;
    let all = bench.send("GET sys/mounts").data;
    assert_eq!(all["b/"], shown);
    assert_eq!(
        all.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["a/", "b/", "cubbyhole/", "identity/", "sys/"]
    );
    let fields = shown.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(
        fields,
        [
            "accessor",
            "config",
            "deprecation_status",
            "description",
            "external_entropy_access",
            "local",
            "options",
            "plugin_version",
            "running_plugin_version",
            "running_sha256",
            "seal_wrap",
            "type",
            "uuid"
        ]
    );
    assert_eq!((&shown["type"], &shown["options"]), (&json!("kv"), &json!({"version": "2"})));
    let accessor = shown["accessor"].as_str().unwrap();
    assert!(accessor.starts_with("kv_") && accessor.len() == 11);
    assert!(shown["uuid"].as_str().unwrap().parse::<uuid::Uuid>().is_ok());
}

#[test]
fn the_servers_own_paths_are_shown_and_cannot_be_changed() {
    let mut bench = Bench::new();
    let all = bench.send("GET sys/mounts").data;
    let shown = &all["sys/"];
    assert_eq!((&shown["type"], &shown["options"]), (&json!("system"), &Value::Null));
    assert!(shown["uuid"].as_str().unwrap().parse::<uuid::Uuid>().is_ok());
    assert!(shown["accessor"].as_str().unwrap().starts_with("system_"));
    assert_eq!(shown.get("deprecation_status"), None);
    assert_eq!(&bench.send("GET sys/mounts/sys").data, shown);
    let mut served = bench.send("GET sys/internal/ui/mounts/sys/health").data;
    assert_eq!(served.as_object_mut().unwrap().remove("path"), Some(json!("sys/")));
    assert_eq!(&served, shown);
    bench.check(
        r#"
        GET sys/mounts/sys/tune
        -> 200 {"default_lease_ttl":2764800,"description":"system endpoints used for control, policy and debugging","force_no_cache":false,"max_lease_ttl":2764800,"passthrough_request_headers":["Accept"]}
        POST sys/mounts/sys/tune {"description":"x"}
        -> 400 cannot tune parameter description of sys/
        POST sys/mounts/sys/tune {"default_lease_ttl":"1h","description":"x"}
        -> 400 cannot tune parameter default_lease_ttl of sys/
        POST sys/mounts/sys/tune {"options":{"version":"2"}}
        -> 400 cannot tune parameter options of sys/
        DELETE sys/mounts/sys
        -> 400 cannot unmount "sys/"
        POST sys/mounts/sys {"type":"kv"}
        -> 400 cannot mount "sys/"
        POST sys/mounts/a {"type":"kv"}
        -> 204
        POST sys/remount {"from":"sys","to":"b"}
        -> 400 cannot remount "sys/"
        POST sys/remount {"from":"a","to":"sys"}
        -> 400 cannot remount to destination sys/
        "#,
    );
    // It is in no record: what is stored now shows it once, and unchanged.
    assert_eq!(bench.send("GET sys/mounts").data["sys/"], *shown);
    assert_eq!(bench.table().iter().map(|mount| mount.path().to_owned()).collect::<Vec<_>>(), ["a/"]);
}

#[test]
fn the_preflight_of_clients_finds_the_mount_of_any_path() {
    let mut bench = Bench::new();
    bench.send(r#"POST sys/mounts/x/y {"type":"kv-v2"}"#);
    for path in ["x/y", "x/y/", "x/y/data/foo"] {
        let answer = bench.send(&format!("GET sys/internal/ui/mounts/{path}"));
        assert_eq!(answer.data["path"], "x/y/", "{path}");
        assert_eq!(answer.data["options"]["version"], "2");
    }
    for path in ["x", "x/", "x/yy", "other"] {
        assert_eq!(bench.send(&format!("GET sys/internal/ui/mounts/{path}")).status, 403, "{path}");
    }
}

#[test]
fn paths_resolve_to_their_mount_and_what_is_below() {
    let mut bench = Bench::new();
    for path in ["a", "a-b", "b/c", "z"] {
        bench.send(&format!("POST sys/mounts/{path} {{\"type\":\"kv\"}}"));
    }
    let table = bench.table();
    let resolved =
        |path: &'static str| table.resolve(path).map(|(mount, rest)| (mount.path().to_owned(), rest));
    let expect = |mount: &str, rest| Some((mount.to_owned(), rest));
    assert_eq!(resolved("a/x/y"), expect("a/", "x/y"));
    assert_eq!(resolved("a"), expect("a/", ""));
    assert_eq!(resolved("a/"), expect("a/", ""));
    assert_eq!(resolved("a-b/x"), expect("a-b/", "x"));
    assert_eq!(resolved("b/c/"), expect("b/c/", ""));
    assert_eq!(resolved("b/cc"), None);
    assert_eq!(resolved("b"), None);
    assert_eq!(resolved("zz/x"), None);
    assert_eq!(resolved(""), None);
}

#[test]
fn tuning_changes_what_is_given_and_nothing_else() {
    Bench::with_mounts().check(
        r#"
        POST sys/mounts/v1/tune {"default_lease_ttl":"30m"}
        -> 204
        POST sys/mounts/v1/tune {"description":"new"}
        -> 204
        POST sys/mounts/v1/tune {"max_lease_ttl":"10m"}
        -> 400 backend max lease TTL of 600 would be less than backend default lease TTL of 1800
        GET sys/mounts/v1/tune
        -> 200 {"default_lease_ttl":1800,"description":"new","force_no_cache":false,"max_lease_ttl":2764800,"options":{"version":"1"}}
        POST sys/mounts/v1/tune {"default_lease_ttl":"system","options":{"foo":"bar"}}
        -> 204
        POST sys/mounts/v1/tune {"listing_visibility":"hidden","audit_non_hmac_request_keys":["a","b"]}
        -> 204
        GET sys/mounts/v1/tune
        -> 200 {"audit_non_hmac_request_keys":["a","b"],"default_lease_ttl":2764800,"description":"new","force_no_cache":false,"listing_visibility":"hidden","max_lease_ttl":2764800,"options":{"foo":"bar","version":"1"}}
        POST sys/mounts/v1/tune {"options":{"foo":""},"audit_non_hmac_request_keys":[],"listing_visibility":""}
        -> 204
        GET sys/mounts/v1/tune
        -> 200 {"default_lease_ttl":2764800,"description":"new","force_no_cache":false,"max_lease_ttl":2764800,"options":{"version":"1"}}
        POST sys/mounts/v1/tune {}
        -> 204
        POST sys/mounts/nope/tune {"description":"x"}
        -> 400 tune of path "nope/" failed: no mount entry found
        POST sys/mounts/v1/tune {"token_type":"service"}
        -> 400 'token_type' can only be modified on auth mounts
        POST sys/mounts/v2/tune {"options":{"version":"1"}}
        -> 400 cannot downgrade mount from version 2
        POST sys/mounts/v2/tune {"options":{"version":"2"}}
        -> 204
        POST sys/mounts/v1/tune {"options":{"version":"3"}}
        -> 400
        "#,
    );
}

#[test]
fn a_move_keeps_all_data_and_reports_success() {
    let mut bench = Bench::with_mounts();
    bench.send(r#"POST v2/data/foo {"data":{"a":1}}"#);
    let answer = bench.send(r#"POST sys/remount {"from":"v2","to":"new/place/"}"#);
    assert_eq!((answer.status, answer.warnings.len()), (200, 1));
    let id = answer.data["migration_id"].as_str().unwrap().to_owned();
    let status = bench.send(&format!("GET sys/remount/status/{id}"));
    assert_eq!(status.data["migration_info"]["status"], "success");
    assert_eq!(bench.send("GET new/place/data/foo").data["data"], json!({"a": 1}));
    bench.check(
        r#"
        GET v2/data/foo
        -> 404
        GET sys/remount/status/other
        -> 404
        POST sys/remount {"from":"nope","to":"a34"}
        -> 400 no matching mount at "nope/"
        POST sys/remount {"from":"v1","to":"new/place"}
        -> 400 path already in use at "new/place/"
        POST sys/remount {"from":"v1","to":"v1"}
        -> 400 path already in use at "v1/"
        POST sys/remount {"from":"v1","to":"new"}
        -> 400 path already in use at "new/place/"
        POST sys/remount {"from":"v1","to":"sys/x"}
        -> 400 cannot remount to destination sys/x/
        POST sys/remount {"from":"sys","to":"x9"}
        -> 400 cannot remount "sys/"
        POST sys/remount {"from":"v1"}
        -> 400 both 'from' and 'to' path must be specified as a string
        "#,
    );
}

#[test]
fn a_disabled_mount_is_unreachable_at_once_and_its_records_go_later() {
    let mut bench = Bench::with_mounts();
    let secrets = BATCH_RECORDS_MAX + 10;
    for number in 0..secrets {
        bench.send(&format!("POST v1/dir{}/s{number} {{\"a\":1}}", number % 7));
    }
    bench.send(r#"POST v2/data/kept {"data":{"a":1}}"#);
    bench.check(
        r#"
        DELETE sys/mounts/v1
        -> 204
        GET v1/dir0/s0
        -> 404
        DELETE sys/mounts/v1
        -> 204
        DELETE sys/mounts/sys
        -> 400 cannot unmount "sys/"
        POST sys/mounts/v1 {"type":"kv"}
        -> 204
        GET v1/dir0/s0
        -> 404
        LIST v1/
        -> 404
        "#,
    );
    assert!(bench.view.len() > secrets);
    assert_eq!(bench.housekeep(), 3, "two batches of records, one of the table");
    // The table, and the two records of the secret in the other mount.
    assert_eq!(bench.view.len(), 3);
    assert_eq!(bench.send("GET v2/data/kept").status, 200);
    assert_eq!(bench.housekeep(), 0);
}

#[test]
fn a_write_decided_before_a_mount_was_disabled_does_not_land() {
    let mut bench = Bench::with_mounts();
    for line in [
        r#"POST v1/foo {"a":1}"#,
        r#"POST v2/data/foo {"data":{"a":1}}"#,
        r#"POST v2/config {"max_versions":3}"#,
    ] {
        let mut bench = bench.fork();
        let plan = bench.plan(line).unwrap();
        let mount = &line[5..7];
        assert_eq!(bench.send(&format!("DELETE sys/mounts/{mount}")).status, 204);
        assert!(bench.view.apply(&plan.txn).is_err(), "{line}");
    }
    // Two changes of the table decided from the same revision: the second must plan again.
    let first = bench.plan(r#"POST sys/mounts/a {"type":"kv"}"#).unwrap();
    let second = bench.plan(r#"POST sys/mounts/a/b {"type":"kv"}"#).unwrap();
    assert!(bench.view.apply(&first.txn).is_ok());
    assert!(bench.view.apply(&second.txn).is_err());
}

#[test]
fn an_upgraded_mount_keeps_every_secret_as_its_first_version() {
    let mut bench = Bench::with_mounts();
    let secrets = BATCH_RECORDS_MAX + 5;
    for number in 0..secrets {
        bench.send(&format!("POST v1/dir/s{number} {{\"n\":9007199254740993,\"number\":{number}}}"));
    }
    bench.send(r#"POST v1/dir {"a":1}"#);
    let late = bench.plan(r#"POST v1/late {"a":1}"#).unwrap();
    bench.check(
        r#"
        POST sys/mounts/v1/tune {"options":{"version":"2"}}
        -> 200 ! Upgrading mount from version 1 to version 2. This mount will be unavailable for a brief period and will resume service shortly.
        GET v1/data/dir
        -> 400 Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period and will resume service shortly.
        POST sys/mounts/v1/tune {"options":{"version":"1"}}
        -> 400 cannot downgrade mount from version 2
        "#,
    );
    assert!(bench.view.apply(&late.txn).is_err(), "a late KV v1 write must not be lost");
    assert!(bench.housekeep() >= 3);
    for number in [0, 1, secrets - 1] {
        let answer = bench.send(&format!("GET v1/data/dir/s{number}"));
        assert_eq!(
            answer.data_text.split(",\"metadata\"").next().unwrap(),
            format!("{{\"data\":{{\"n\":9007199254740993,\"number\":{number}}}")
        );
        assert_eq!(answer.data["metadata"]["version"], 1);
    }
    assert_eq!(bench.send("GET v1/metadata/dir").data["oldest_version"], 1);
    assert_eq!(bench.send("SCAN v1/metadata").data["keys"].as_array().unwrap().len(), secrets + 1);
    assert_eq!(bench.send(r#"POST v1/data/dir {"data":{"a":2},"options":{"cas":1}}"#).data["version"], 2);
    // The table and two records a secret, and one more of the second version: nothing of KV v1 is left.
    assert_eq!(bench.view.len(), 1 + (secrets + 1) * 2 + 1);
}

#[test]
fn housekeeping_from_an_old_view_conflicts() {
    let mut bench = Bench::with_mounts();
    bench.send(r#"POST v1/foo {"a":1}"#);
    bench.send(r#"POST sys/mounts/v1/tune {"options":{"version":"2"}}"#);
    let table = bench.table();
    let batch = next_batch(&mut bench.context(), &table).unwrap().unwrap();
    bench.send("DELETE sys/mounts/v1");
    assert!(bench.view.apply(&batch).is_err());
}

#[test]
fn nothing_readable_is_stored() {
    let mut bench = Bench::new();
    bench.send(r#"POST sys/mounts/canary-mount {"type":"kv-v2","description":"canary-description"}"#);
    bench.send(r#"POST canary-mount/data/canary-dir/canary-name {"data":{"canary-key":"canary-value"}}"#);
    bench.send(
        r#"POST canary-mount/metadata/canary-dir/canary-name {"custom_metadata":{"canary-a":"canary-b"}}"#,
    );
    assert_eq!(bench.view.len(), 3);
    for (key, record) in bench.view.records() {
        for bytes in [&key[..], &record.sealed[..]] {
            assert!(!bytes.windows(6).any(|window| window == b"canary"));
        }
    }
    let answer = bench.send("GET canary-mount/data/canary-dir/canary-name");
    assert_eq!(answer.data["data"]["canary-key"], Value::from("canary-value"));
}
