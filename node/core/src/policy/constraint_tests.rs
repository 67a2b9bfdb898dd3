//! Parameters, wrapping and pages, decided one by one and after merging.

use serde_json::json;

use super::super::Acl;
use super::super::decide::Access;
use super::super::testing::{access, acl};
use super::*;

fn writes(acl: &Acl, body: Value) -> bool {
    let body = body.as_object().unwrap().clone();
    acl.decide(&Access { parameters: &body, ..access(Operation::Write, "a") }).is_ok()
}

fn rule(settings: &str) -> String {
    format!("path \"a\" {{ capabilities = [\"update\", \"read\", \"list\"] {settings} }}")
}

#[track_caller]
fn check(settings: &[&str], cases: &[(Value, bool)]) {
    let texts: Vec<String> = settings.iter().map(|settings| rule(settings)).collect();
    let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for _ in 0..2 {
        let acl = acl(&texts);
        for (body, expected) in cases {
            assert_eq!(writes(&acl, body.clone()), *expected, "{body} under {settings:?}");
        }
        texts.reverse();
    }
}

#[test]
fn allowed_parameters_leave_out_all_others() {
    check(
        &[r#"allowed_parameters = { "bar" = ["zip", "za*", "*p!"] "any" = [] }"#],
        &[
            (json!({}), true),
            (json!({"bar": "zip"}), true),
            (json!({"bar": "zap"}), true),
            (json!({"bar": "up!"}), true),
            (json!({"bar": "zop"}), false),
            (json!({"BAR": "zip"}), true),
            (json!({"BAR": "zop"}), false),
            (json!({"any": {"x": [1]}}), true),
            (json!({"other": 1}), false),
            (json!({"bar": "zip", "other": 1}), false),
        ],
    );
    check(
        &[r#"allowed_parameters = { "bar" = ["zip"] "*" = [] }"#],
        &[(json!({"other": 1}), true), (json!({"bar": "zop"}), false), (json!({"bar": "zip", "x": 1}), true)],
    );
    check(&["allowed_parameters = {}"], &[(json!({"x": 1}), true)]);
    check(&[r#"allowed_parameters = { "*" = ["a"] }"#], &[(json!({"x": "b"}), true)]);
}

#[test]
fn denied_parameters_come_before_allowed_ones() {
    check(
        &[r#"denied_parameters = { "bar" = ["zip"] "never" = [] } allowed_parameters = { "*" = [] }"#],
        &[
            (json!({"bar": "zap"}), true),
            (json!({"bar": "zip"}), false),
            (json!({"never": null}), false),
            (json!({"NEVER": 1}), false),
            (json!({"x": 1}), true),
        ],
    );
    check(&[r#"denied_parameters = { "*" = [] }"#], &[(json!({}), true), (json!({"x": 1}), false)]);
}

/// Endpoints take `5` and `"5"` alike, so that a bound on one must hold for the other. OpenBao compares types too, and
/// lets a number pass where a text is denied.
#[test]
fn values_are_compared_by_what_they_mean() {
    check(
        &[r#"denied_parameters = { "n" = [5, "7", true] "list" = ["root"] "all" = ["*"] }"#],
        &[
            (json!({"n": 5}), false),
            (json!({"n": 5.0}), false),
            (json!({"n": "5"}), false),
            (json!({"n": 7}), false),
            (json!({"n": true}), false),
            (json!({"n": "true"}), false),
            (json!({"n": 6}), true),
            (json!({"n": false}), true),
            (json!({"list": ["a", "root"]}), false),
            (json!({"list": ["a", ["root"]]}), false),
            (json!({"list": ["a"]}), true),
            (json!({"all": "x"}), false),
        ],
    );
    check(
        &[r#"allowed_parameters = { "n" = [5, [1, 2], "*"] }"#],
        &[
            (json!({"n": "5"}), true),
            (json!({"n": [1, 2]}), true),
            (json!({"n": [1]}), false),
            (json!({"n": "x"}), false),
            (json!({"n": "*"}), true),
        ],
    );
}

#[test]
fn required_parameters_must_be_there() {
    check(
        &[r#"required_parameters = ["ID", "name"]"#],
        &[
            (json!({"id": 1, "name": 2, "x": 3}), true),
            (json!({"id": 1}), false),
            (json!({}), false),
            // The engine would not see it either.
            (json!({"ID": 1, "name": 2}), false),
        ],
    );
}

#[test]
fn parameters_of_several_policies_unite() {
    check(
        &[r#"allowed_parameters = { "x" = ["1"] }"#, r#"allowed_parameters = { "x" = ["2"] "y" = [] }"#],
        &[
            (json!({"x": "1"}), true),
            (json!({"x": "2"}), true),
            (json!({"x": "3"}), false),
            (json!({"y": 1}), true),
            (json!({"z": 1}), false),
        ],
    );
    // A list of none means any value, and stays so.
    check(
        &[r#"allowed_parameters = { "x" = [] }"#, r#"allowed_parameters = { "x" = ["2"] }"#],
        &[(json!({"x": "9"}), true), (json!({"y": 1}), false)],
    );
    // A rule without a list does not lift that of another.
    check(
        &[r#"allowed_parameters = { "x" = [] }"#, ""],
        &[(json!({"x": 1}), true), (json!({"y": 1}), false)],
    );
    check(
        &[r#"denied_parameters = { "x" = ["1"] }"#, r#"denied_parameters = { "x" = ["2"] "y" = [] }"#],
        &[
            (json!({"x": "1"}), false),
            (json!({"x": "2"}), false),
            (json!({"x": "3"}), true),
            (json!({"y": 1}), false),
        ],
    );
    check(
        &[r#"required_parameters = ["x"]"#, r#"required_parameters = ["y", "x"]"#],
        &[(json!({"x": 1}), false), (json!({"x": 1, "y": 1}), true)],
    );
}

#[test]
fn reads_are_held_to_their_query_and_deletes_and_lists_are_not() {
    let acl = acl(&[r#"path "a" { capabilities = ["read", "delete", "list"] required_parameters = ["x"] }"#]);
    let query = json!({"x": "1"}).as_object().unwrap().clone();
    assert!(acl.decide(&Access { parameters: &query, ..access(Operation::Read, "a") }).is_ok());
    assert!(acl.decide(&access(Operation::Read, "a")).is_err());
    assert!(acl.decide(&access(Operation::Delete, "a")).is_ok());
    assert!(acl.decide(&access(Operation::List, "a/")).is_ok());
}

#[test]
fn answers_are_wrapped_within_bounds() {
    let bounds = |settings: &[&str], ttl: Option<u64>| {
        let texts: Vec<String> = settings.iter().map(|settings| rule(settings)).collect();
        let acl = acl(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        acl.decide(&Access { wrap_ttl_s: ttl, ..access(Operation::Read, "a") })
            .map_err(|denial| format!("{:?}", denial.reason))
    };
    let both = ["min_wrapping_ttl = 60 max_wrapping_ttl = \"2m\""];
    for (ttl, expected) in [
        (None, Some("MustBeWrapped")),
        (Some(59), Some("WrapTooShort { min_s: 60 }")),
        (Some(60), None),
        (Some(120), None),
        (Some(121), Some("WrapTooLong { max_s: 120 }")),
    ] {
        assert_eq!(bounds(&both, ttl).err().as_deref(), expected, "{ttl:?}");
    }
    assert!(bounds(&["max_wrapping_ttl = 60"], None).is_err());
    // The lesser bound of either kind holds, so that bounds may leave nothing.
    let merged =
        ["max_wrapping_ttl = 60", "min_wrapping_ttl = 90", "min_wrapping_ttl = 100 max_wrapping_ttl = 200"];
    assert_eq!(bounds(&merged, Some(70)), Err("WrapBoundsContradict".to_owned()));
    assert!(bounds(&["min_wrapping_ttl = 10", "min_wrapping_ttl = 20"], Some(15)).is_ok());
}

#[test]
fn pages_are_no_longer_than_allowed() {
    let page = |settings: &[&str], limit: Option<&str>| {
        let texts: Vec<String> = settings.iter().map(|settings| rule(settings)).collect();
        let acl = acl(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        acl.decide(&Access { list_limit: limit, ..access(Operation::List, "a/") })
            .map(|allowed| allowed.page)
            .map_err(drop)
    };
    let ten: &[&str] = &["pagination_limit = 10"];
    for (limit, expected) in [
        (None, Ok(Some(10))),
        (Some("max"), Ok(Some(10))),
        (Some("0"), Ok(Some(10))),
        (Some("3"), Ok(Some(3))),
        (Some("10"), Ok(Some(10))),
        (Some("11"), Err(())),
        (Some("-1"), Err(())),
        (Some("ten"), Err(())),
        (Some(""), Err(())),
        (Some("99999999999999999999"), Err(())),
    ] {
        assert_eq!(page(ten, limit), expected, "{limit:?}");
    }
    assert_eq!(page(&["pagination_limit = 10", "pagination_limit = 4", ""], None), Ok(Some(4)));
    let noticed: &[&str] = &[r#"pagination_limit = 10 required_parameters = ["limit"]"#];
    assert_eq!((page(noticed, None), page(noticed, Some("max"))), (Err(()), Ok(Some(10))));
    assert_eq!(page(&[""], Some("1000000")), Ok(None));
}
