//! Permits, and who gets one.

use std::sync::Arc;

use super::testing::{access, acl};
use super::*;

const OPERATIONS: [Operation; 6] = [
    Operation::Read,
    Operation::Write,
    Operation::Patch,
    Operation::Delete,
    Operation::List,
    Operation::Scan,
];

#[test]
fn root_may_do_everything_and_the_permit_names_it() {
    for operation in OPERATIONS {
        let access = Access { root_protected: true, ..access(operation, "sys/raw/x") };
        assert_eq!(authorize(&Identity::root(), &access).unwrap().operation(), operation);
    }
}

#[test]
fn who_has_no_policy_may_do_nothing() {
    let nobody = Identity::holding(Arc::new(acl(&[])));
    for operation in OPERATIONS {
        assert_eq!(authorize(&nobody, &access(operation, "secret/x")).unwrap_err(), Error::Denied);
        assert_eq!(nobody.screen(&access(operation, "secret/x")), Err(Error::Denied));
    }
}

#[test]
fn each_operation_needs_its_own_capability() {
    let needed = ["read", "update", "patch", "delete", "list", "scan"];
    for (operation, name) in OPERATIONS.into_iter().zip(needed) {
        let others: Vec<&str> = needed.into_iter().filter(|other| *other != name).collect();
        let only =
            Identity::holding(Arc::new(acl(&[&format!("path \"a/*\" {{ capabilities = [{name:?}] }}")])));
        let all_but =
            Identity::holding(Arc::new(acl(&[&format!("path \"a/*\" {{ capabilities = {others:?} }}")])));
        assert_eq!(authorize(&only, &access(operation, "a/b")).unwrap().operation(), operation);
        assert!(authorize(&all_but, &access(operation, "a/b")).is_err(), "{name}");
    }
}

#[test]
fn a_screen_lets_through_what_only_the_parameters_can_decide() {
    let text = "path \"a\" { capabilities = [\"update\"] required_parameters = [\"x\"] }";
    let holder = Identity::holding(Arc::new(acl(&[text])));
    let write = access(Operation::Write, "a");
    assert_eq!(holder.screen(&write), Ok(()));
    assert_eq!(authorize(&holder, &write).unwrap_err(), Error::Denied);
}

#[test]
fn the_permit_of_a_list_carries_the_size_of_its_page() {
    let holder = Identity::holding(Arc::new(acl(&[
        "path \"a/*\" { capabilities = [\"list\"] pagination_limit = 5 }",
    ])));
    assert_eq!(authorize(&holder, &access(Operation::List, "a/b/")).unwrap().page(), Some(5));
}
