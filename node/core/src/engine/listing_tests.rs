//! Lists and scans against what the paths themselves say.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::engine::testing::Bench;
use crate::view::testing::CountedView;

fn bench_with(paths: &BTreeSet<String>) -> Bench {
    let mut bench = Bench::with_mounts();
    for path in paths {
        assert_eq!(bench.send(&format!("POST v1/{path} {{\"x\":1}}")).status, 204);
    }
    bench
}

fn keys_of(bench: &mut Bench, line: &str) -> Vec<String> {
    let answer = bench.send(line);
    let keys = answer.data.get("keys").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    keys.iter().map(|key| key.as_str().unwrap().to_owned()).collect()
}

fn paths() -> impl Strategy<Value = BTreeSet<String>> {
    let path = prop::collection::vec("[abc]|a-|ö", 1..5).prop_map(|segments| segments.join("/"));
    prop::collection::btree_set(path, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_folder_lists_what_is_right_below_it(paths in paths()) {
        let mut bench = bench_with(&paths);
        for folder in ["", "a", "b", "a/a", "a/b", "a-", "c/ö"] {
            let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
            let below: Vec<&str> = paths.iter().filter_map(|path| path.strip_prefix(&prefix)).collect();
            let children: BTreeSet<String> =
                below.iter().map(|path| path.split_inclusive('/').next().unwrap().to_owned()).collect();
            prop_assert_eq!(keys_of(&mut bench, &format!("LIST v1/{prefix}")), Vec::from_iter(children));
            prop_assert_eq!(keys_of(&mut bench, &format!("SCAN v1/{folder}")), below);
        }
    }

    #[test]
    fn pages_cover_every_name_exactly_once_and_in_order(paths in paths(), limit in 1..5_usize) {
        let mut bench = bench_with(&paths);
        for verb in ["LIST", "SCAN"] {
            let all = keys_of(&mut bench, &format!("{verb} v1/"));
            let mut paged: Vec<String> = Vec::new();
            loop {
                let after = paged.last().cloned().unwrap_or_default();
                let page = keys_of(&mut bench, &format!("{verb} v1/?limit={limit}&after={after}"));
                if page.is_empty() {
                    break;
                }
                prop_assert!(page.len() <= limit);
                paged.extend(page);
            }
            prop_assert_eq!(paged, all);
        }
    }
}

#[test]
fn a_list_costs_one_seek_a_child_however_much_is_below() {
    let mut paths = BTreeSet::new();
    for folder in 0..5 {
        for number in 0..50 {
            paths.insert(format!("folder{folder}/deep/{number}"));
        }
    }
    paths.extend(["x".to_owned(), "y".to_owned()]);
    let mut bench = bench_with(&paths);
    let uuid = bench.send("GET sys/mounts/v1").data["uuid"].as_str().unwrap().to_owned();
    let context = bench.context();
    let counted = CountedView::new(context.view);
    let context = Context { view: &counted, ..context };
    let page = Page::default();
    let listing = Listing { kind: Kind::KvV1, root: &[&uuid], prefix: None, page, with_payloads: false };
    assert_eq!(listing.children(&context).unwrap().len(), 7);
    // One to begin with, then one a child.
    assert_eq!(counted.seeks.get(), 8);
}

#[test]
fn a_list_that_would_be_too_large_is_refused_and_a_page_of_it_is_not() {
    let mut whole = Collector::new(Page::default(), false);
    let mut page = Collector::new(Page { after: None, limit: Some(3) }, false);
    let name = "n".repeat(1024 * 1024);
    for number in 0..LIST_BYTES_MAX / name.len() {
        page.add(format!("{number:04}{name}"), Zeroizing::default()).unwrap();
        if let Err(error) = whole.add(format!("{number:04}{name}"), Zeroizing::default()) {
            assert!(matches!(error, Error::TooLarge(_)), "{error}");
            assert_eq!(page.names.len(), 3);
            return;
        }
    }
    panic!("more than {LIST_BYTES_MAX} bytes were kept");
}

#[test]
fn a_list_visits_no_more_records_than_allowed() {
    let mut collector = Collector::new(Page { after: None, limit: Some(1) }, false);
    for _ in 0..LIST_RECORDS_MAX {
        collector.count_visit().unwrap();
    }
    assert!(matches!(collector.count_visit(), Err(Error::TooLarge(_))));
}

#[test]
fn an_answer_escapes_names_as_json() {
    let names = Names::from([("a\"b".to_owned(), None), ("ö/".to_owned(), None)]);
    let reply = keys_reply(&names);
    let data: serde_json::Value = serde_json::from_slice(&reply.data.unwrap()).unwrap();
    assert_eq!(data, json!({"keys": ["a\"b", "ö/"]}));
}
