//! The settings of mounts and secrets, and what they do: compared with OpenBao 2.7.2 like the other scripts.

use serde_json::json;

use super::version_of;
use crate::engine::testing::Bench;

#[test]
fn only_so_many_versions_are_kept_as_secret_mount_or_default_say() {
    let mut bench = Bench::with_mounts();
    let known = |bench: &mut Bench| {
        let data = bench.send("GET v2/metadata/foo").data;
        let numbers: Vec<String> = data["versions"].as_object().unwrap().keys().cloned().collect();
        (numbers.len(), data["oldest_version"].as_u64().unwrap(), data["current_version"].as_u64().unwrap())
    };
    let put = |bench: &mut Bench| assert_eq!(bench.send(r#"POST v2/data/foo {"data":{"a":1}}"#).status, 200);
    for _ in 0..12 {
        put(&mut bench);
    }
    assert_eq!(known(&mut bench), (10, 3, 12));
    bench.send(r#"POST v2/config {"max_versions":3}"#);
    assert_eq!(known(&mut bench), (10, 3, 12));
    put(&mut bench);
    assert_eq!(known(&mut bench), (3, 11, 13));
    bench.send(r#"POST v2/metadata/foo {"max_versions":5}"#);
    put(&mut bench);
    assert_eq!(known(&mut bench), (4, 11, 14));
    bench.send(r#"POST v2/metadata/foo {"max_versions":1}"#);
    put(&mut bench);
    assert_eq!(known(&mut bench), (1, 15, 15));
    assert_eq!(bench.send("GET v2/data/foo?version=14").status, 404);
    assert_eq!(bench.view.len(), 3, "the table, the metadata and one version");
}

#[test]
fn versions_are_deleted_by_themselves_after_the_shorter_time() {
    let mut bench = Bench::with_mounts();
    let deletion = |bench: &mut Bench| {
        bench.send(r#"POST v2/data/dv {"data":{"a":1}}"#).data["deletion_time"].as_str().unwrap().to_owned()
    };
    bench.send(r#"POST v2/metadata/dv {"delete_version_after":"1s"}"#);
    assert_eq!(deletion(&mut bench), "2023-11-14T22:13:21.004Z");
    assert_eq!(version_of(&mut bench, "GET v2/data/dv"), (200, 1, true, false));
    bench.now_ms += 1_000;
    assert_eq!(version_of(&mut bench, "GET v2/data/dv"), (404, 1, true, false));
    // Undeleting counts from now.
    bench.send(r#"POST v2/undelete/dv {"versions":[1]}"#);
    assert_eq!(version_of(&mut bench, "GET v2/data/dv"), (200, 1, true, false));

    bench.send(r#"POST v2/config {"delete_version_after":"10s"}"#);
    assert_eq!(deletion(&mut bench), "2023-11-14T22:13:22.01Z");
    bench.send(r#"POST v2/metadata/dv {"delete_version_after":"20s"}"#);
    assert_eq!(deletion(&mut bench), "2023-11-14T22:13:31.012Z");
    bench.send(r#"POST v2/metadata/dv {"delete_version_after":"0s"}"#);
    assert_eq!(deletion(&mut bench), "2023-11-14T22:13:31.014Z");
    bench.send(r#"POST v2/config {"delete_version_after":"-5s"}"#);
    bench.send(r#"POST v2/metadata/dv {"delete_version_after":"20s"}"#);
    assert_eq!(deletion(&mut bench), "");
    assert_eq!(bench.send("GET v2/config").data["delete_version_after"], "-1s");
}

#[test]
fn the_mounts_settings_are_read_and_changed() {
    Bench::with_mounts().check(
        r#"
        GET v2/config
        -> 200 {"cas_required":false,"delete_version_after":"0s","max_versions":0,"metadata_cas_required":false}
        POST v2/config {"max_versions":"5","cas_required":true,"delete_version_after":"1h30m"}
        -> 204
        GET v2/config
        -> 200 {"cas_required":true,"delete_version_after":"1h30m0s","max_versions":5,"metadata_cas_required":false}
        POST v2/config {"delete_version_after":90,"max_versions":null,"metadata_cas_required":true}
        -> 204
        POST v2/config {"delete_version_after":null,"bogus":1}
        -> 204
        GET v2/config
        -> 200 {"cas_required":true,"delete_version_after":"1m30s","max_versions":0,"metadata_cas_required":true}
        POST v2/config {}
        -> 204
        POST v2/config {"cas_required":"bogus"}
        -> 400
        POST v2/config {"max_versions":-1}
        -> 400 error converting input for field "max_versions": expected 0 to 10000
        POST v2/config {"max_versions":10001}
        -> 400
        POST v2/config {"delete_version_after":1.5}
        -> 400
        DELETE v2/config
        -> 405
        PATCH v2/config {"max_versions":3}
        -> 405
        LIST v2/config
        -> 404
        "#,
    );
}

#[test]
fn metadata_is_made_changed_patched_and_deleted() {
    Bench::with_mounts().check(
        r#"
        GET v2/metadata/m
        -> 404
        DELETE v2/metadata/m
        -> 204
        PATCH v2/metadata/m {"max_versions":2}
        -> 404
        POST v2/metadata/m {}
        -> 204
        GET v2/metadata/m
        -> 404
        POST v2/metadata/m {"custom_metadata":{"a":5,"t":true},"delete_version_after":"2s","max_versions":4,"cas_required":true}
        -> 204
        GET v2/metadata/m
        -> 200 {"cas_required":true,"created_time":"2023-11-14T22:13:20.008Z","current_metadata_version":1,"current_version":0,"custom_metadata":{"a":"5","t":"1"},"delete_version_after":"2s","max_versions":4,"metadata_cas_required":false,"oldest_version":0,"updated_time":"2023-11-14T22:13:20.008Z","versions":{}}
        GET v2/data/m
        -> 404
        POST v2/metadata/m {"custom_metadata":{"b":"2","c":"3"}}
        -> 204
        PATCH v2/metadata/m {"custom_metadata":{"b":null,"d":"4"},"max_versions":null}
        -> 204
        PATCH v2/metadata/m {"bogus":1}
        -> 204
        GET v2/metadata/m
        -> 200 {"cas_required":true,"created_time":"2023-11-14T22:13:20.008Z","current_metadata_version":3,"current_version":0,"custom_metadata":{"c":"3","d":"4"},"delete_version_after":"2s","max_versions":0,"metadata_cas_required":false,"oldest_version":0,"updated_time":"2023-11-14T22:13:20.012Z","versions":{}}
        PATCH v2/metadata/m {"custom_metadata":null,"cas_required":null,"delete_version_after":null}
        -> 204
        GET v2/metadata/m
        -> 200 {"cas_required":false,"created_time":"2023-11-14T22:13:20.008Z","current_metadata_version":4,"current_version":0,"custom_metadata":null,"delete_version_after":"2s","max_versions":0,"metadata_cas_required":false,"oldest_version":0,"updated_time":"2023-11-14T22:13:20.015Z","versions":{}}
        POST v2/data/m {"data":{"a":1},"options":{"cas":0}}
        -> 200
        DELETE v2/metadata/m
        -> 204
        GET v2/data/m
        -> 404
        GET v2/metadata/m
        -> 404
        POST v2/metadata/m {"delete_version_after":"-1s"}
        -> 400 error converting input for field "delete_version_after": cannot provide negative value
        POST v2/metadata/m {"max_versions":"bad"}
        -> 400
        "#,
    );
}

#[test]
fn deleting_metadata_leaves_no_record() {
    let mut bench = Bench::with_mounts();
    for _ in 0..5 {
        bench.send(r#"POST v2/data/foo {"data":{"a":1}}"#);
    }
    bench.send(r#"POST v2/destroy/foo {"versions":[2]}"#);
    bench.send("DELETE v2/metadata/foo");
    assert_eq!(bench.view.len(), 1, "only the mount table is left");
}

#[test]
fn custom_metadata_is_limited_and_its_content_is_never_in_a_refusal() {
    let mut bench = Bench::with_mounts();
    let keys =
        |count: usize| (0..count).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>();
    let mut post = |method: &str, custom: serde_json::Value| {
        let answer = bench.send(&format!("{method} v2/metadata/m {}", json!({"custom_metadata": custom})));
        assert!(!answer.error.contains("canary"), "{}", answer.error);
        (answer.status, answer.error)
    };
    assert_eq!(post("POST", json!(keys(64))).0, 204);
    let (status, sentence) = post("POST", json!(keys(65)));
    assert_eq!(status, 400);
    assert_eq!(
        sentence,
        "custom_metadata validation failed: payload must contain at most 64 keys, provided 65"
    );
    assert_eq!(post("PATCH", json!({"one more": "v"})).0, 400);
    assert_eq!(post("PATCH", json!({"one more": "v", "k0": null})).0, 204);
    assert_eq!(post("POST", json!({"canary": "é".repeat(256)})).0, 204);
    for bad in [
        json!({"canary": "x".repeat(513)}),
        json!({"canary".repeat(22): "x"}),
        json!({"canary": ""}),
        json!({"canary": null}),
        json!({"": "canary"}),
        json!({"canary": "x\ny"}),
        json!({"canary": {"x": 1}}),
        json!("canary"),
        json!(["canary=y"]),
    ] {
        assert_eq!(post("POST", bad).0, 400);
    }
}

#[test]
fn metadata_has_its_own_check_and_set() {
    Bench::with_mounts().check(
        r#"
        POST v2/metadata/mc {"metadata_cas":1,"max_versions":2}
        -> 400 metadata_cas must be 0 when creating new metadata
        POST v2/metadata/mc {"metadata_cas":0,"max_versions":2}
        -> 204
        POST v2/metadata/mc {"metadata_cas":0,"max_versions":3}
        -> 400 metadata check-and-set parameter does not match the current version
        POST v2/metadata/mc {"metadata_cas":"1","metadata_cas_required":true}
        -> 204
        POST v2/metadata/mc {"max_versions":4}
        -> 400 metadata check-and-set parameter required for this call
        PATCH v2/metadata/mc {"max_versions":4}
        -> 400 metadata check-and-set parameter required for this call
        PATCH v2/metadata/mc {"metadata_cas":null,"max_versions":4}
        -> 400 metadata check-and-set parameter does not match the current version
        PATCH v2/metadata/mc {"max_versions":4,"metadata_cas":2,"metadata_cas_required":null}
        -> 204
        POST v2/metadata/mc {"max_versions":5}
        -> 204
        POST v2/config {"metadata_cas_required":true}
        -> 204
        POST v2/metadata/new {"max_versions":2}
        -> 400 metadata check-and-set parameter required for this call
        POST v2/metadata/new {"metadata_cas_required":false,"metadata_cas":0}
        -> 200 ! "metadata_cas_required" set to false, but is mandated by backend config. This value will be ignored.
        "#,
    );
}
