use serde_json::json;

use super::api::IdentityRequest as R;
use super::testing::{JWT, UP, World};
use crate::error::Error;
use crate::view::View as _;

#[test]
fn an_entity_is_found_by_its_id_and_by_every_spelling_of_its_name() {
    let mut world = World::new();
    let body = json!({ "name": "Alice", "metadata": { "team": "blue" }, "policies": "b,A" });
    let id = world.make(R::EntityCreate, body);
    for (request, captured) in
        [(R::EntityReadById, id.as_str()), (R::EntityReadByName, "Alice"), (R::EntityReadByName, "aLICE")]
    {
        let told = world.run(request, captured, json!({})).unwrap();
        assert_eq!((&told["id"], &told["name"]), (&json!(id), &json!("Alice")));
        assert_eq!((&told["policies"], &told["metadata"]), (&json!(["a", "b"]), &json!({ "team": "blue" })));
    }
    // A second spelling changes the one that is there, and makes no other.
    world.run(R::EntityCreate, "", json!({ "name": "alice", "disabled": true })).unwrap();
    let told = world.run(R::EntityReadById, &id, json!({})).unwrap();
    assert_eq!(
        (&told["name"], &told["disabled"], &told["policies"]),
        (&json!("alice"), &json!(true), &json!(["a", "b"]))
    );
    let list = world.run(R::EntityListById, "", json!({})).unwrap();
    assert_eq!(list["keys"], json!([id]));
}

#[test]
fn no_name_of_an_entity_stands_in_clear() {
    let mut world = World::new();
    world.make(
        R::EntityCreate,
        json!({ "name": "canary-name", "metadata": { "canary-key": "canary-value" } }),
    );
    world.login(UP, "canary-alias", None).unwrap();
    world.make(R::GroupCreate, json!({ "name": "canary-group" }));
    assert!(!world.state.contains(b"canary"));
}

#[test]
fn a_name_belongs_to_one_entity_and_is_free_when_it_is_given_up() {
    let mut world = World::new();
    let alice = world.make(R::EntityCreate, json!({ "name": "alice" }));
    let bob = world.make(R::EntityCreate, json!({ "name": "bob" }));
    let refusal = world.refused(R::EntityWriteById, &bob, json!({ "name": "ALICE" }));
    assert_eq!(refusal, "entity name is already in use");
    world.run(R::EntityWriteById, &alice, json!({ "name": "carol" })).unwrap();
    world.run(R::EntityWriteById, &bob, json!({ "name": "alice" })).unwrap();
    assert_eq!(world.run(R::EntityReadByName, "alice", json!({})).unwrap()["id"], json!(bob));
    world.run(R::EntityDeleteByName, "alice", json!({})).unwrap();
    assert_eq!(world.run(R::EntityReadByName, "alice", json!({})).unwrap_err(), Error::NotFound);
    assert_eq!(world.run(R::EntityReadById, &bob, json!({})).unwrap_err(), Error::NotFound);
    world.make(R::EntityCreate, json!({ "name": "alice" }));
}

#[test]
fn two_who_make_one_name_at_once_make_one_entity() {
    let mut world = World::new();
    let one = world.ask(R::EntityCreate, "", json!({ "name": "alice" })).unwrap();
    let other = world.ask(R::EntityCreate, "", json!({ "name": "Alice" })).unwrap();
    world.state.apply(&one.txn).unwrap();
    assert!(world.state.apply(&other.txn).is_err());
    let (_, one) = world.plan_login(UP, "bob", None).unwrap();
    let (_, other) = world.plan_login(UP, "Bob", None).unwrap();
    world.state.apply(&one).unwrap();
    assert!(world.state.apply(&other).is_err());
}

#[test]
fn an_entity_never_brings_root() {
    let mut world = World::new();
    for request in [R::EntityCreate, R::GroupCreate] {
        for spelled in ["root", "Root ", " rOOT"] {
            assert_eq!(
                world.refused(request, "", json!({ "policies": [spelled] })),
                "policies cannot contain root"
            );
        }
    }
}

#[test]
fn whoever_logs_in_again_is_the_same_and_costs_no_write() {
    let mut world = World::new();
    let id = world.login(UP, "alice", None).unwrap();
    let (again, txn) = world.plan_login(UP, "ALICE", None).unwrap();
    assert_eq!(again, id, "spellings of one name are one");
    // The mount tells another spelling in its metadata, and that is kept; told the same, nothing is written.
    assert!(!txn.is_empty());
    let (again, txn) = world.plan_login(UP, "alice", None).unwrap();
    assert!(again == id && txn.is_empty() && !txn.preconditions.is_empty());
    assert_ne!(world.login(JWT, "alice", None).unwrap(), id, "another mount knows others by its names");
}

/// Some signs are those of ASCII in lower case: where names are given out freely, that is another's name.
#[test]
fn whoever_is_called_by_signs_that_only_look_alike_is_nobody_else() {
    let mut world = World::new();
    world.login(JWT, "kim", None).unwrap();
    assert_eq!(world.login(JWT, "\u{212a}im", None), Err(Error::Denied));
    world.login(JWT, "Kim", None).unwrap();
}

#[test]
fn a_login_of_somebody_who_is_disabled_is_denied() {
    let mut world = World::new();
    let id = world.login(UP, "alice", None).unwrap();
    let (_, in_between) = world.plan_login(UP, "alice", None).unwrap();
    world.run(R::EntityWriteById, &id, json!({ "disabled": true })).unwrap();
    assert_eq!(world.login(UP, "alice", None), Err(Error::Denied));
    assert!(world.state.apply(&in_between).is_err(), "what was decided before is not done");
    assert!(world.brings(&id).unwrap().entity.disabled);
}

#[test]
fn a_name_at_a_mount_belongs_to_one_entity_and_an_entity_has_one_there() {
    let mut world = World::new();
    let alice = world.make(R::EntityCreate, json!({ "name": "alice" }));
    let bob = world.make(R::EntityCreate, json!({ "name": "bob" }));
    let alias = |name: &str, accessor: &str, owner: &str| json!({ "name": name, "mount_accessor": accessor, "canonical_id": owner });
    let id = world.make(R::EntityAliasCreate, alias("al", UP, &alice));
    assert_eq!(world.login(UP, "AL", None).unwrap(), alice);
    let refusal = world.refused(R::EntityAliasCreate, "", alias("other", UP, &alice));
    assert_eq!(refusal, "Alias already exists for requested entity and mount accessor");
    // The name moves, and whoever comes by it is another from then on.
    let moved = world.run(R::EntityAliasCreate, "", alias("AL", UP, &bob)).unwrap();
    assert_eq!(moved, json!({ "canonical_id": bob, "id": id }));
    assert_eq!(world.login(UP, "al", None).unwrap(), bob);
    assert_eq!(world.run(R::EntityReadById, &alice, json!({})).unwrap()["aliases"], json!([]));
    let told = world.run(R::EntityAliasRead, &id, json!({})).unwrap();
    assert_eq!((&told["mount_type"], &told["mount_path"]), (&json!("userpass"), &json!("auth/userpass/")));
    assert_eq!(
        world.refused(R::EntityAliasCreate, "", alias("x", "auth_none", &bob)),
        "invalid mount accessor"
    );
    world.run(R::EntityAliasDelete, &id, json!({})).unwrap();
    assert_ne!(world.login(UP, "al", None).unwrap(), bob);
}

/// CVE-2021-43998 and CVE-2022-40186: one alias taken for that of another mount.
#[test]
fn aliases_of_one_name_at_two_mounts_stay_apart() {
    let mut world = World::new();
    let (one, other) = (world.login(UP, "alice", None).unwrap(), world.login(JWT, "alice", None).unwrap());
    let told = world.run(R::EntityReadById, &one, json!({})).unwrap();
    assert_eq!(told["aliases"][0]["mount_accessor"], json!(UP));
    let found = json!({ "alias_name": "Alice", "alias_mount_accessor": JWT });
    assert_eq!(world.run(R::EntityLookup, "", found).unwrap()["id"], json!(other));
}

#[test]
fn groups_give_their_policies_to_all_that_is_in_them() {
    let mut world = World::new();
    let alice = world.make(R::EntityCreate, json!({ "name": "alice", "policies": "own" }));
    let ops =
        world.make(R::GroupCreate, json!({ "name": "ops", "policies": "ops", "member_entity_ids": [alice] }));
    let body =
        json!({ "name": "all", "policies": "all", "metadata": { "floor": "3" }, "member_group_ids": [ops] });
    let all = world.make(R::GroupCreate, body);
    assert_eq!(world.policies(&alice), ["own", "all", "ops"]);
    let told = world.run(R::EntityReadById, &alice, json!({})).unwrap();
    assert_eq!((&told["direct_group_ids"], &told["inherited_group_ids"]), (&json!([ops]), &json!([all])));
    let subject = &world.brings(&alice).unwrap().subject;
    assert!(subject.groups.iter().any(|group| group.name == "all" && group.metadata["floor"] == "3"));
    world.run(R::GroupWriteById, &all, json!({ "policies": "others" })).unwrap();
    assert_eq!(world.policies(&alice), ["own", "ops", "others"]);
    world.run(R::GroupWriteById, &all, json!({ "member_group_ids": [] })).unwrap();
    assert_eq!(world.policies(&alice), ["own", "ops"]);
    world.run(R::GroupWriteById, &ops, json!({ "member_entity_ids": [] })).unwrap();
    assert_eq!(world.policies(&alice), ["own"]);
}

#[test]
fn no_group_is_above_itself() {
    let mut world = World::new();
    let mut above = world.make(R::GroupCreate, json!({ "name": "g0" }));
    let first = above.clone();
    for number in 1..5 {
        let body = json!({ "name": format!("g{number}"), "member_group_ids": [above] });
        above = world.make(R::GroupCreate, body);
    }
    let refusal = world.refused(R::GroupWriteById, &first, json!({ "member_group_ids": [above] }));
    assert!(refusal.contains("cyclic"), "{refusal}");
    let refusal = world.refused(R::GroupWriteById, &first, json!({ "member_group_ids": [first] }));
    assert!(refusal.contains("itself"), "{refusal}");
}

#[test]
fn two_changes_at_once_make_no_circle_of_groups() {
    let mut world = World::new();
    let one = world.make(R::GroupCreate, json!({ "name": "one" }));
    let other = world.make(R::GroupCreate, json!({ "name": "other" }));
    let down = world.ask(R::GroupWriteById, &one, json!({ "member_group_ids": [other] })).unwrap();
    let up = world.ask(R::GroupWriteById, &other, json!({ "member_group_ids": [one] })).unwrap();
    world.state.apply(&down.txn).unwrap();
    assert!(world.state.apply(&up.txn).is_err());
}

#[test]
fn a_group_that_is_gone_gives_nothing_and_lets_its_members_go() {
    let mut world = World::new();
    let alice = world.make(R::EntityCreate, json!({ "name": "alice" }));
    let members: Vec<String> = std::iter::once(alice.clone())
        .chain((0..600).map(|number| world.make(R::EntityCreate, json!({ "name": format!("e{number}") }))))
        .collect();
    let body = json!({ "name": "ops", "policies": "ops", "member_entity_ids": members });
    let group = world.make(R::GroupCreate, body);
    let before = world.state.len();
    assert_eq!(world.policies(&alice), ["ops"]);
    let listed = world.run(R::GroupListById, "", json!({})).unwrap();
    assert_eq!(listed["key_info"][&group]["num_member_entities"], json!(601));
    world.run(R::GroupDeleteByName, "OPS", json!({})).unwrap();
    assert!(world.policies(&alice).is_empty());
    assert_eq!(world.clear_all(), 3);
    assert!(world.brings(&alice).unwrap().entity.group_ids.is_empty());
    assert_eq!(world.state.len(), before - 601 - 2, "memberships, the group and its name");
    assert_eq!(world.run(R::GroupReadById, &group, json!({})).unwrap_err(), Error::NotFound);
}

#[test]
fn an_external_group_has_those_of_whom_its_mount_says_so() {
    let mut world = World::new();
    let group = world.make(R::GroupCreate, json!({ "name": "ext", "type": "external", "policies": "ext" }));
    let inside = world.make(R::GroupCreate, json!({ "name": "inside", "policies": "inside" }));
    let alias = json!({ "name": "Admins", "mount_accessor": JWT, "canonical_id": group });
    world.make(R::GroupAliasCreate, alias);
    let alice = world.login(JWT, "alice", Some(&["admins", "unknown"])).unwrap();
    world.run(R::GroupWriteById, &inside, json!({ "member_entity_ids": [alice] })).unwrap();
    assert_eq!(world.policies(&alice), ["ext", "inside"]);
    let told = world.run(R::GroupReadById, &group, json!({})).unwrap();
    assert_eq!(told["member_entity_ids"], json!([alice]));
    let (_, txn) = world.plan_login(JWT, "alice", Some(&["admins"])).unwrap();
    assert!(txn.is_empty(), "told the same, nothing is written");
    world.login(JWT, "alice", None).unwrap();
    assert_eq!(world.policies(&alice), ["ext", "inside"], "who knows of no groups takes none away");
    let (_, early) = world.plan_login(JWT, "bob", Some(&["admins"])).unwrap();
    let told = world.run(R::GroupReadById, &group, json!({})).unwrap();
    let moved = json!({ "name": "others", "mount_accessor": JWT, "canonical_id": group });
    world.run(R::GroupAliasWrite, told["alias"]["id"].as_str().unwrap(), moved).unwrap();
    assert!(world.state.apply(&early).is_err(), "it was decided when the group had another name there");
    let back = json!({ "name": "admins", "mount_accessor": JWT, "canonical_id": group });
    world.run(R::GroupAliasWrite, told["alias"]["id"].as_str().unwrap(), back).unwrap();
    world.login(JWT, "alice", Some(&[])).unwrap();
    assert_eq!(world.policies(&alice), ["inside"]);
    let refusal = world.refused(R::GroupWriteById, &group, json!({ "member_entity_ids": [alice] }));
    assert!(refusal.contains("external groups"), "{refusal}");
    let alias = json!({ "name": "x", "mount_accessor": JWT, "canonical_id": inside });
    assert_eq!(world.refused(R::GroupAliasCreate, "", alias), "alias can't be set on an internal group");
}

/// CVE-2021-41802: policies taken over by a merge.
#[test]
fn a_merge_takes_over_names_and_groups_and_no_policies() {
    let mut world = World::new();
    let alice = world.make(R::EntityCreate, json!({ "name": "alice", "policies": "a" }));
    let (second, third) = (world.login(UP, "al", None).unwrap(), world.login(JWT, "ally", None).unwrap());
    world.run(R::EntityWriteById, &second, json!({ "policies": "b" })).unwrap();
    world.make(R::GroupCreate, json!({ "name": "ops", "policies": "ops", "member_entity_ids": [second] }));
    let body = json!({ "to_entity_id": second, "from_entity_ids": [third] });
    world.run(R::EntityMerge, "", body).unwrap();
    let body = json!({ "to_entity_id": alice, "from_entity_ids": [second] });
    world.run(R::EntityMerge, "", body).unwrap();
    assert_eq!(world.policies(&alice), ["a", "ops"]);
    // Tokens of all three are tokens of the one that is left, however often it was merged on.
    for former in [&second, &third] {
        assert_eq!(world.brings(former).unwrap().entity.id, alice);
        assert_eq!(world.run(R::EntityReadById, former, json!({})).unwrap_err(), Error::NotFound);
    }
    assert_eq!(world.login(UP, "al", None).unwrap(), alice);
    assert_eq!(world.login(JWT, "ally", None).unwrap(), alice);
    let told = world.run(R::EntityReadById, &alice, json!({})).unwrap();
    assert_eq!(told["merged_entity_ids"], json!([second, third]));
    world.run(R::EntityDeleteById, &alice, json!({})).unwrap();
    assert!([&alice, &second, &third].iter().all(|id| world.brings(id).is_none()));
    let left: Vec<_> = world.state.records().map(|(key, _)| key[0]).collect();
    assert_eq!(left.len(), 3, "the group, its name and the epoch of groups: {left:?}");
}

#[test]
fn a_merge_asks_which_of_two_names_at_one_mount_stays() {
    let mut world = World::new();
    let (one, other) = (world.login(UP, "one", None).unwrap(), world.login(UP, "other", None).unwrap());
    let mut body = json!({ "to_entity_id": one, "from_entity_ids": [other] });
    assert!(world.refused(R::EntityMerge, "", body.clone()).contains("conflicting_alias_ids_to_keep"));
    let told = world.run(R::EntityReadById, &other, json!({})).unwrap();
    body["conflicting_alias_ids_to_keep"] = json!([told["aliases"][0]["id"]]);
    world.run(R::EntityMerge, "", body).unwrap();
    assert_eq!(world.login(UP, "other", None).unwrap(), one);
    assert_ne!(world.login(UP, "one", None).unwrap(), one);
}

#[test]
fn bad_fields_are_refused_and_never_repeated() {
    let mut world = World::new();
    let many: serde_json::Map<_, _> = (0..65).map(|n| (format!("canary{n}"), json!(""))).collect();
    for body in [
        json!({ "name": " canary" }),
        json!({ "name": "canary\u{0}" }),
        json!({ "name": "canary".repeat(100) }),
        json!({ "metadata": many }),
        json!({ "metadata": { "canary".repeat(30): "" } }),
        json!({ "metadata": { "": "canary" } }),
        json!({ "metadata": "canary" }),
        json!({ "policies": ["canary*"] }),
        json!({ "disabled": "canary" }),
        json!({ "id": "canary" }),
    ] {
        let refusal = world.refused(R::EntityCreate, "", body);
        assert!(!refusal.contains("canary"), "{refusal}");
    }
    for body in [
        json!({ "type": "canary" }),
        json!({ "member_entity_ids": ["canary"] }),
        json!({ "member_group_ids": ["canary"] }),
        json!({ "id": "canary" }),
    ] {
        let refusal = world.refused(R::GroupCreate, "", body);
        assert!(!refusal.contains("canary"), "{refusal}");
    }
    assert_eq!(world.state.len(), 0);
}

#[test]
fn an_entity_whose_groups_did_not_change_is_looked_up_by_revisions_alone() {
    let mut world = World::new();
    let alice = world.make(R::EntityCreate, json!({ "name": "alice" }));
    world.make(R::GroupCreate, json!({ "name": "ops", "member_entity_ids": [alice] }));
    world.brings(&alice);
    let counted = crate::view::testing::CountedView::new(&world.state);
    world.cache.resolve(&counted, &world.barrier, &alice).unwrap().unwrap();
    assert_eq!((counted.gets.get(), counted.seeks.get()), (2, 0));
    assert!(world.state.stamp(&super::store::group_epoch_key()).unwrap().is_some());
}
