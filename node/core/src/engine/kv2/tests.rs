//! KV v2 as its clients see it. The scripts were compared with OpenBao 2.7.2; where Conclave differs, a test says so.

use serde_json::json;

use crate::engine::testing::Bench;
use crate::plan::{Context, Operation, Query, Request};
use crate::policy::testing::access;
use crate::policy::{Identity, authorize};
use crate::view::testing::CountedView;

mod model;
mod settings;

/// The fields of an answer about one version that depend on time, left out.
fn version_of(bench: &mut Bench, line: &str) -> (u16, u64, bool, bool) {
    let answer = bench.send(line);
    let metadata = if answer.data["metadata"].is_object() { &answer.data["metadata"] } else { &answer.data };
    let deleted = metadata["deletion_time"] != "";
    (answer.status, metadata["version"].as_u64().unwrap_or(0), deleted, metadata["destroyed"] == true)
}

#[test]
fn a_version_is_written_and_read_with_its_metadata() {
    Bench::with_mounts().check(
        r#"
        GET v2/data/foo
        -> 404
        POST v2/data/foo {"data":{"a":1}}
        -> 200 {"created_time":"2023-11-14T22:13:20.004Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}
        GET v2/data/foo
        -> 200 {"data":{"a":1},"metadata":{"created_time":"2023-11-14T22:13:20.004Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}}
        POST v2/metadata/foo {"custom_metadata":{"k":"v"}}
        -> 204
        POST v2/data/foo {"data":{}}
        -> 200 {"created_time":"2023-11-14T22:13:20.007Z","custom_metadata":{"k":"v"},"deletion_time":"","destroyed":false,"version":2}
        GET v2/data/foo?version=1
        -> 200 {"data":{"a":1},"metadata":{"created_time":"2023-11-14T22:13:20.004Z","custom_metadata":{"k":"v"},"deletion_time":"","destroyed":false,"version":1}}
        GET v2/metadata/foo
        -> 200 {"cas_required":false,"created_time":"2023-11-14T22:13:20.004Z","current_metadata_version":1,"current_version":2,"custom_metadata":{"k":"v"},"delete_version_after":"0s","max_versions":0,"metadata_cas_required":false,"oldest_version":0,"updated_time":"2023-11-14T22:13:20.007Z","versions":{"1":{"created_time":"2023-11-14T22:13:20.004Z","deletion_time":"","destroyed":false},"2":{"created_time":"2023-11-14T22:13:20.007Z","deletion_time":"","destroyed":false}}}
        "#,
    );
}

#[test]
fn a_version_is_chosen_by_number_and_zero_means_the_current_one() {
    let mut bench = Bench::with_mounts();
    for number in 1..=3 {
        bench.send(&format!("POST v2/data/foo {{\"data\":{{\"n\":{number}}}}}"));
    }
    for (query, version) in [("1", 1), ("2", 2), ("3", 3), ("0", 3), ("-1", 3), ("", 3)] {
        let answer = bench.send(&format!("GET v2/data/foo?version={query}"));
        assert_eq!((answer.status, &answer.data["data"]["n"]), (200, &json!(version)), "{query}");
    }
    bench.check(
        r#"
        GET v2/data/foo?version=99
        -> 404
        GET v2/data/foo?version=x
        -> 400
        GET v2/data/foo?version=1.0
        -> 400
        GET v2/data/foo?version=1&version=2
        -> 400
        GET v2/data/foo?bogus=1
        -> 200 ! Endpoint ignored these unrecognized parameters: [bogus]
        "#,
    );
}

#[test]
fn every_digit_is_kept_where_openbao_rounds() {
    let mut bench = Bench::with_mounts();
    let text = r#"{"big":123456789012345678901234567890,"f":1.50,"n":9007199254740993}"#;
    bench.send(&format!("POST v2/data/n {{\"data\":{text}}}"));
    let read = bench.send("GET v2/data/n");
    assert!(read.data_text.starts_with(&format!("{{\"data\":{text},")), "{}", read.data_text);
    bench.send(r#"PATCH v2/data/n {"data":{"m":1.10}}"#);
    let patched = r#"{"big":123456789012345678901234567890,"f":1.50,"m":1.10,"n":9007199254740993}"#;
    let read = bench.send("GET v2/data/n");
    assert!(read.data_text.starts_with(&format!("{{\"data\":{patched},")), "{}", read.data_text);
}

#[test]
fn check_and_set_compares_with_the_current_version() {
    Bench::with_mounts().check(
        r#"
        POST v2/data/foo {"data":{"a":1},"options":{"cas":1}}
        -> 400 check-and-set parameter did not match the current version
        POST v2/data/foo {"data":{"a":1},"options":{"cas":0}}
        -> 200
        POST v2/data/foo {"data":{"a":2},"options":{"cas":0}}
        -> 400 check-and-set parameter did not match the current version
        POST v2/data/foo {"data":{"a":2},"options":{"cas":"1"}}
        -> 200
        POST v2/data/foo {"data":{"a":3},"options":{"cas":2.0}}
        -> 400 error parsing check-and-set parameter
        POST v2/data/foo {"data":{"a":3},"options":{"cas":"x"}}
        -> 400 error parsing check-and-set parameter
        POST v2/data/foo {"data":{"a":3},"options":{"cas":-1}}
        -> 400 check-and-set parameter did not match the current version
        POST v2/data/foo {"data":{"a":3},"options":{"cas":null}}
        -> 400 check-and-set parameter did not match the current version
        POST v2/data/foo {"data":{"a":3},"options":{"bogus":1}}
        -> 200
        POST v2/data/foo {"data":{"a":3},"options":null}
        -> 200
        POST v2/config {"cas_required":true}
        -> 204
        POST v2/data/foo {"data":{"a":1}}
        -> 400 check-and-set parameter required for this call
        PATCH v2/data/foo {"data":{"a":1},"options":{}}
        -> 400 check-and-set parameter required for this call
        PATCH v2/data/foo {"data":{"b":1},"options":{"cas":4}}
        -> 200
        POST v2/metadata/foo {"cas_required":false}
        -> 200 ! "cas_required" set to false, but is mandated by backend config. This value will be ignored.
        POST v2/config {"cas_required":"false"}
        -> 204
        POST v2/data/foo {"data":{"a":1}}
        -> 200
        POST v2/metadata/foo {"cas_required":true}
        -> 204
        POST v2/data/foo {"data":{"a":1}}
        -> 400 check-and-set parameter required for this call
        "#,
    );
}

#[test]
fn data_must_be_an_object_or_null() {
    Bench::with_mounts().check(
        r#"
        POST v2/data/foo {"a":3}
        -> 400 no data provided
        POST v2/data/foo {}
        -> 400 no data provided
        PATCH v2/data/foo {}
        -> 400 no data provided
        POST v2/data/foo {"data":"str"}
        -> 400 error converting input for field "data": expected an object
        POST v2/data/foo {"data":[1]}
        -> 400 error converting input for field "data": expected an object
        POST v2/data/foo {"data":{"a":1},"options":"x"}
        -> 400 error converting input for field "options": expected an object
        POST v2/data/foo {"data":null}
        -> 200
        GET v2/data/foo
        -> 200 {"data":null,"metadata":{"created_time":"2023-11-14T22:13:20.009Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}}
        POST v2/data/foo {"data":{"a":5},"bogus":3,"zeta":1,"version":3}
        -> 200 ! Endpoint ignored these unrecognized parameters: [bogus zeta]
        "#,
    );
}

#[test]
fn deleted_and_destroyed_versions_are_404_with_a_body() {
    let mut bench = Bench::with_mounts();
    for _ in 0..3 {
        bench.send(r#"POST v2/data/foo {"data":{"a":1}}"#);
    }
    bench.check(
        r#"
        DELETE v2/data/foo
        -> 204
        GET v2/data/foo
        -> 404 {"data":null,"metadata":{"created_time":"2023-11-14T22:13:20.005Z","custom_metadata":null,"deletion_time":"2023-11-14T22:13:20.006Z","destroyed":false,"version":3}}
        DELETE v2/data/foo
        -> 204
        GET v2/data/foo
        -> 404 {"data":null,"metadata":{"created_time":"2023-11-14T22:13:20.005Z","custom_metadata":null,"deletion_time":"2023-11-14T22:13:20.006Z","destroyed":false,"version":3}}
        POST v2/undelete/foo {"versions":["3"]}
        -> 204
        "#,
    );
    assert_eq!(version_of(&mut bench, "GET v2/data/foo"), (200, 3, false, false));
    bench.send(r#"POST v2/delete/foo {"versions":[1,"2",99,0,-1]}"#);
    assert_eq!(version_of(&mut bench, "GET v2/data/foo?version=1"), (404, 1, true, false));
    assert_eq!(version_of(&mut bench, "GET v2/data/foo?version=2"), (404, 2, true, false));
    bench.send(r#"POST v2/destroy/foo {"versions":"1,3"}"#);
    assert_eq!(version_of(&mut bench, "GET v2/data/foo?version=1"), (404, 1, true, true));
    assert_eq!(version_of(&mut bench, "GET v2/data/foo"), (404, 3, false, true));
    bench.send(r#"POST v2/undelete/foo {"versions":[1,2,3]}"#);
    assert_eq!(version_of(&mut bench, "GET v2/data/foo?version=1"), (404, 1, true, true));
    assert_eq!(version_of(&mut bench, "GET v2/data/foo?version=2"), (200, 2, false, false));
    assert_eq!(version_of(&mut bench, "GET v2/data/foo"), (404, 3, false, true));
    // The table, the metadata and the one version that is left.
    assert_eq!(bench.view.len(), 3);
    // A destroyed current version still counts for check-and-set.
    assert_eq!(bench.send(r#"POST v2/data/foo {"data":{},"options":{"cas":0}}"#).status, 400);
    assert_eq!(bench.send(r#"POST v2/data/foo {"data":{},"options":{"cas":3}}"#).data["version"], 4);
}

#[test]
fn versions_are_named_by_a_list_a_number_or_text() {
    Bench::with_mounts().check(
        r#"
        POST v2/delete/foo {"versions":[]}
        -> 400 No version number provided
        POST v2/undelete/foo {}
        -> 400 No version number provided
        POST v2/destroy/foo {"versions":null}
        -> 400 no version number provided
        POST v2/delete/foo {"versions":["x"]}
        -> 400 error converting input for field "versions": expected a list of integers
        POST v2/delete/foo {"versions":[1.5]}
        -> 400 error converting input for field "versions": expected a list of integers
        POST v2/delete/nope {"versions":[1]}
        -> 204
        POST v2/undelete/nope {"versions":1}
        -> 204
        POST v2/destroy/nope {"versions":"1,2"}
        -> 204
        DELETE v2/data/nope
        -> 204
        GET v2/delete/foo
        -> 405
        DELETE v2/destroy/foo
        -> 405
        PATCH v2/undelete/foo {"versions":[1]}
        -> 405
        "#,
    );
}

#[test]
fn a_patch_merges_into_the_current_version() {
    let mut bench = Bench::with_mounts();
    bench.check(
        r#"
        PATCH v2/data/pp {"data":{"a":1}}
        -> 404
        POST v2/data/pp {"data":{"a":1,"b":{"c":1,"d":2}}}
        -> 200
        PATCH v2/data/pp {"data":{"a":null,"b":{"c":3,"e":{"x":null,"y":1}},"l":[1,null]},"bogus":1}
        -> 200 ! Endpoint ignored these unrecognized parameters: [bogus]
        PATCH v2/data/pp {"data":{"z":1},"options":{"cas":99}}
        -> 400 check-and-set parameter did not match the current version
        "#,
    );
    let merged = json!({"b": {"c": 3, "d": 2, "e": {"y": 1}}, "l": [1, null]});
    assert_eq!(bench.send("GET v2/data/pp").data["data"], merged);
    bench.send("DELETE v2/data/pp");
    assert_eq!(version_of(&mut bench, r#"PATCH v2/data/pp {"data":{"z":1}}"#), (404, 2, true, false));
    bench.send(r#"POST v2/destroy/pp {"versions":[2]}"#);
    assert_eq!(version_of(&mut bench, r#"PATCH v2/data/pp {"data":{"z":1}}"#), (404, 2, true, true));
    // OpenBao fails with 500 here; RFC 7396 says that what is no object counts as an empty one.
    bench.send(r#"POST v2/data/pn {"data":null}"#);
    bench.send(r#"PATCH v2/data/pn {"data":{"z":{"a":null},"q":null}}"#);
    assert_eq!(bench.send("GET v2/data/pn").data["data"], json!({"z": {}}));
}

#[test]
fn subkeys_show_names_without_values() {
    let mut bench = Bench::with_mounts();
    bench.send(r#"POST v2/data/sk {"data":{"a":{"b":{"c":1}},"s":"x"}}"#);
    let subkeys = |bench: &mut Bench, query: &str| {
        let answer = bench.send(&format!("GET v2/subkeys/sk{query}"));
        (answer.status, answer.data["subkeys"].clone())
    };
    assert_eq!(subkeys(&mut bench, ""), (200, json!({"a": {"b": {"c": null}}, "s": null})));
    assert_eq!(subkeys(&mut bench, "?depth=0&version=1"), (200, json!({"a": {"b": {"c": null}}, "s": null})));
    assert_eq!(subkeys(&mut bench, "?depth=1"), (200, json!({"a": null, "s": null})));
    assert_eq!(subkeys(&mut bench, "?depth=-1"), (200, json!({"a": null, "s": null})));
    assert_eq!(subkeys(&mut bench, "?depth=x").0, 400);
    assert_eq!(subkeys(&mut bench, "?version=9").0, 404);
    bench.send("DELETE v2/data/sk");
    assert_eq!(subkeys(&mut bench, ""), (404, json!(null)));
    assert_eq!(version_of(&mut bench, "GET v2/subkeys/sk"), (404, 1, true, false));
    assert_eq!(bench.send("GET v2/subkeys/nope").status, 404);
    assert_eq!(bench.send("POST v2/subkeys/sk {}").status, 405);
}

#[test]
fn names_are_listed_scanned_and_paged() {
    let mut bench = Bench::with_mounts();
    for path in ["a", "a/b", "a/b/c", "a-b", "z/y", "m"] {
        bench.send(&format!("POST v2/data/{path} {{\"data\":{{}}}}"));
    }
    bench.check(
        r#"
        LIST v2/metadata/
        -> 200 {"keys":["a","a-b","a/","m","z/"]}
        LIST v2/metadata
        -> 200 {"keys":["a","a-b","a/","m","z/"]}
        LIST v2/metadata/a
        -> 200 {"keys":["b","b/"]}
        LIST v2/metadata/nope
        -> 404
        LIST v2/metadata/?after=a&limit=2
        -> 200 {"keys":["a-b","a/"]}
        LIST v2/metadata/?after=a/&limit=1
        -> 200 {"keys":["m"]}
        LIST v2/metadata/?after=zzz
        -> 404
        LIST v2/metadata/?limit=-1
        -> 200 {"keys":["a","a-b","a/","m","z/"]}
        SCAN v2/metadata/
        -> 200 {"keys":["a","a-b","a/b","a/b/c","m","z/y"]}
        SCAN v2/metadata/a
        -> 200 {"keys":["b","b/c"]}
        SCAN v2/metadata/nope
        -> 200 {}
        SCAN v2/metadata?after=a/b&limit=2
        -> 200 {"keys":["a/b/c","m"]}
        DELETE v2/data/m
        -> 204
        LIST v2/metadata/?after=a/
        -> 200 {"keys":["m","z/"]}
        DELETE v2/metadata/m
        -> 204
        DELETE v2/metadata/a
        -> 204
        LIST v2/metadata/
        -> 200 {"keys":["a-b","a/","z/"]}
        LIST v2/detailed-metadata/nope
        -> 404
        GET v2/detailed-metadata/a
        -> 405
        LIST v2/data/
        -> 405
        "#,
    );
    let details = bench.send("LIST v2/detailed-metadata/").data;
    assert_eq!(details["keys"], json!(["a-b", "a/", "z/"]));
    assert_eq!(details["key_info"].as_object().unwrap().keys().collect::<Vec<_>>(), ["a-b"]);
    assert_eq!(details["key_info"]["a-b"], bench.send("GET v2/metadata/a-b").data);
    let scanned = bench.send("SCAN v2/detailed-metadata/").data;
    assert_eq!(scanned["key_info"]["a/b/c"]["current_version"], 1);
}

#[test]
fn paths_that_a_versioned_mount_does_not_have_say_what_to_do() {
    let get = "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to \
               use. If using the Conclave CLI, use 'conclave kv get' for this operation.";
    let root = "Non-listing operations on the root of a K/V v2 mount are not supported.";
    Bench::with_mounts().check(&format!(
        r#"
        GET v2/foo
        -> 404 ! {get}
        GET v2
        -> 404 ! {get}
        GET v2/bogus/foo
        -> 404 ! {get}
        LIST v2/foo
        -> 404 ! {}
        GET v2/data
        -> 404 ! {root}
        POST v2/metadata {{"max_versions":1}}
        -> 404 ! {root}
        GET v2/data/
        -> 404
        POST v2/data/ {{"data":{{}}}}
        -> 400 cannot write to a path ending in '/'
        POST v2/data/foo/ {{"data":{{}}}}
        -> 400 cannot write to a path ending in '/'
        GET v2/data/foo/
        -> 404
        "#,
        get.replace("kv get", "kv list"),
    ));
}

#[test]
fn a_version_that_is_too_large_is_refused_and_leaves_nothing() {
    let mut bench = Bench::with_mounts();
    let body = json!({"data": {"a": "x".repeat(conclave_proto::wire::RECORD_BYTES_MAX)}});
    assert_eq!(bench.send(&format!("POST v2/data/big {body}")).status, 413);
    assert_eq!(bench.send("GET v2/data/big").status, 404);
}

#[test]
fn of_two_writes_decided_from_one_view_the_second_plans_again() {
    let mut bench = Bench::with_mounts();
    bench.send(r#"POST v2/data/foo {"data":{"a":0}}"#);
    let writes = [
        r#"POST v2/data/foo {"data":{"a":1}}"#,
        r#"PATCH v2/data/foo {"data":{"a":2}}"#,
        "DELETE v2/data/foo",
        r#"POST v2/destroy/foo {"versions":[1]}"#,
        r#"POST v2/metadata/foo {"max_versions":3}"#,
        "DELETE v2/metadata/foo",
    ];
    for first in writes {
        for second in writes {
            let plans = [bench.plan(first).unwrap(), bench.plan(second).unwrap()];
            let mut view = bench.view.clone();
            assert!(view.apply(&plans[0].txn).is_ok(), "{first}");
            assert!(view.apply(&plans[1].txn).is_err(), "{first} then {second}");
        }
    }
    // The same for a secret that does not exist yet.
    let plans = [r#"POST v2/data/new {"data":{}}"#; 2].map(|line| bench.plan(line).unwrap());
    assert!(bench.view.apply(&plans[0].txn).is_ok());
    assert!(bench.view.apply(&plans[1].txn).is_err());
}

#[test]
fn a_damaged_or_missing_record_is_never_taken_for_a_missing_secret() {
    let mut bench = Bench::with_mounts();
    bench.send(r#"POST v2/data/foo {"data":{"a":1}}"#);
    let keys: Vec<Vec<u8>> = bench.view.records().map(|(key, _)| key.clone()).collect();
    let data_key = keys.iter().find(|key| key[0] == crate::crypto::Kind::KvData.byte()).unwrap();
    let mut txn = conclave_proto::log::Txn::default();
    txn.delete(data_key.clone());
    bench.view.apply(&txn).unwrap();
    assert_eq!(bench.send("GET v2/data/foo").status, 500);
}

#[test]
fn a_read_costs_two_gets_and_a_write_one_get_and_two_seals() {
    let mut bench = Bench::with_mounts();
    for _ in 0..20 {
        bench.send(r#"POST v2/data/a/b/c {"data":{"a":1}}"#);
    }
    let table = bench.table();
    let (mount, _) = table.resolve("v2/").unwrap();
    let body = serde_json::Map::from_iter([("data".to_owned(), json!({"a": 2}))]);
    for (operation, gets, seals) in [(Operation::Read, 2, 0), (Operation::Write, 1, 2)] {
        let context = bench.context();
        let counted = CountedView::new(context.view);
        let mut context = Context { view: &counted, ..context };
        let sealed_before = context.barrier.seals_done();
        let permit = authorize(&Identity::root(), &access(operation, "v2/x")).unwrap();
        let request = Request { operation, path: "data/a/b/c", query: &Query::default(), body: &body };
        let plan = crate::engine::handle(&mut context, &permit, mount, &request).unwrap();
        assert_eq!(plan.reply.status, 200);
        let sealed = context.barrier.seals_done() - sealed_before;
        assert_eq!((counted.gets.get(), counted.seeks.get(), sealed), (gets, 0, seals), "{operation:?}");
    }
}

#[test]
fn a_permit_is_good_for_its_own_operation_only() {
    let mut bench = Bench::with_mounts();
    let table = bench.table();
    let (mount, _) = table.resolve("v2/data/foo").unwrap();
    let permit = authorize(&Identity::root(), &access(Operation::Read, "v2/x")).unwrap();
    let body = serde_json::Map::from_iter([("data".to_owned(), json!({}))]);
    let request =
        Request { operation: Operation::Write, path: "data/foo", query: &Query::default(), body: &body };
    let refused = crate::engine::handle(&mut bench.context(), &permit, mount, &request);
    assert_eq!(refused.err(), Some(crate::Error::Denied));
}
