//! `identity/group`: making, changing, showing and deleting groups.

use std::collections::BTreeSet;

use conclave_proto::log::Txn;
use serde_json::{Map, Value, json};

use super::entity::{Which, bounded, listed};
use super::mounts::AuthMounts;
use super::record::{Group, GroupKind};
use super::{clear, graph, json, member, name, policies, store};
use crate::crypto::Kind;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::stored::{self, Stored};

const FIELDS: [&str; 7] =
    ["id", "name", "type", "metadata", "policies", "member_entity_ids", "member_group_ids"];

/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn find(ctx: &Context<'_>, which: Which<'_>) -> Result<Option<Stored<Group>>, Error> {
    match which {
        Which::Any => Ok(None),
        Which::Id(id) => store::group(ctx.view, ctx.barrier, id),
        Which::Name(name) => store::group_by_name(ctx, name),
    }
}

/// Makes a group, or changes what the body names of one.
///
/// # Errors
/// [`Error::Invalid`].
pub fn write(ctx: &mut Context<'_>, which: Which<'_>, body: &Map<String, Value>) -> Result<Plan, Error> {
    let in_body = |field| Ok::<_, Error>(fields::text(body, field)?.filter(|text| !text.is_empty()));
    let (body_id, body_name) = (in_body("id")?, in_body("name")?);
    let (id, given_name) = match which {
        Which::Any => (body_id.as_deref(), body_name.as_deref()),
        Which::Id(id) => (Some(id), body_name.as_deref()),
        Which::Name(name) => (None, Some(name)),
    };
    if let Some(given) = given_name {
        name::checked(given)?;
    }
    let before = match (id, given_name) {
        (Some(id), _) => {
            let found = store::group(ctx.view, ctx.barrier, id)?;
            Some(found.ok_or_else(|| Error::invalid("invalid group ID"))?)
        }
        (None, Some(name)) => store::group_by_name(ctx, name)?,
        (None, None) => None,
    };
    let kind = asked_kind(body, before.as_ref().map(|before| before.value.kind))?;
    let mut after = match &before {
        Some(before) => Group { updated_ms: ctx.now_ms, ..before.value.clone() },
        None => fresh(ctx, given_name, kind),
    };
    if let Some(given) = given_name {
        let holder = store::group_by_name(ctx, given)?;
        if holder.is_some_and(|holder| holder.value.id != after.id) {
            return Err(Error::invalid("group name is already in use"));
        }
        given.clone_into(&mut after.name);
    }
    if let Some(metadata) = name::metadata(body, "metadata")? {
        after.metadata = metadata;
    }
    if let Some(policies) = policies::given(body)? {
        after.policies = policies;
    }
    let mut txn = Txn::default();
    change_members(ctx, &mut txn, before.as_ref(), &mut after, body)?;
    after.modify_index += 1;
    store::put_group(ctx, &mut txn, before.as_ref(), &after)?;
    store::begin_group_epoch(ctx, &mut txn)?;
    if before.is_some() {
        return Ok(Plan { txn, reply: Reply::no_content() });
    }
    let warnings = fields::unknown_warning(body.keys().map(String::as_str), &FIELDS);
    let reply = Reply::json(&json!({ "id": after.id, "name": after.name }));
    Ok(Plan { txn, reply: Reply { warnings, ..reply } })
}

/// A group that is not stored yet.
pub fn fresh(ctx: &mut Context<'_>, given_name: Option<&str>, kind: GroupKind) -> Group {
    let name = given_name.map_or_else(|| name::generated(ctx, "group"), str::to_owned);
    Group::new(name::new_id(ctx), name, kind, ctx.now_ms)
}

fn asked_kind(body: &Map<String, Value>, present: Option<GroupKind>) -> Result<GroupKind, Error> {
    let asked = match fields::text(body, "type")?.as_deref() {
        None | Some("") => return Ok(present.unwrap_or(GroupKind::Internal)),
        Some("internal") => GroupKind::Internal,
        Some("external") => GroupKind::External,
        Some(_) => return Err(Error::invalid("invalid group type: it is \"internal\" or \"external\"")),
    };
    if present.is_some_and(|present| present != asked) {
        return Err(Error::invalid("group type cannot be changed"));
    }
    Ok(asked)
}

fn change_members(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    before: Option<&Stored<Group>>,
    after: &mut Group,
    body: &Map<String, Value>,
) -> Result<(), Error> {
    let ids = |field| Ok::<_, Error>(fields::texts(body, field)?.map(BTreeSet::<String>::from_iter));
    let (groups, entities) = (ids("member_group_ids")?, ids("member_entity_ids")?);
    if after.kind == GroupKind::External {
        if groups.is_some_and(|groups| !groups.is_empty()) {
            return Err(Error::invalid("member groups can't be set for external groups"));
        }
        if entities.is_some_and(|entities| !entities.is_empty()) {
            return Err(Error::invalid("member entities can't be set manually for external groups"));
        }
        return Ok(());
    }
    if let Some(wanted) = groups {
        graph::check_members(ctx, after, &wanted)?;
        let present: BTreeSet<String> = before
            .map_or_else(BTreeSet::new, |before| before.value.member_group_ids.iter().cloned().collect());
        for id in wanted.difference(&present) {
            let child = store::group(ctx.view, ctx.barrier, id)?;
            let child = child.ok_or_else(|| Error::invalid("invalid member group ID"))?;
            link(ctx, txn, &child, |parents| parents.push(after.id.clone()))?;
        }
        for id in present.difference(&wanted) {
            if let Some(child) = store::group(ctx.view, ctx.barrier, id)? {
                link(ctx, txn, &child, |parents| parents.retain(|parent| *parent != after.id))?;
            }
        }
        after.member_group_ids = wanted.into_iter().collect();
    }
    match entities {
        Some(wanted) => member::plan_change(ctx, txn, &after.id, &wanted),
        None => Ok(()),
    }
}

/// Changes in which groups a group is.
fn link(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    child: &Stored<Group>,
    change: impl FnOnce(&mut Vec<String>),
) -> Result<(), Error> {
    let mut after = child.value.clone();
    change(&mut after.parent_group_ids);
    after.parent_group_ids.sort_unstable();
    after.modify_index += 1;
    store::put_group(ctx, txn, Some(child), &after)
}

/// # Errors
/// [`Error::NotFound`].
pub fn read(ctx: &Context<'_>, mounts: &AuthMounts, which: Which<'_>) -> Result<Plan, Error> {
    let found = find(ctx, which)?.ok_or(Error::NotFound)?;
    Ok(Reply::json(&told(ctx, mounts, &found.value)?).into())
}

/// All that is told of a group.
///
/// # Errors
/// [`Error::TooLarge`]: it has more members than one answer can name.
pub fn told(ctx: &Context<'_>, mounts: &AuthMounts, group: &Group) -> Result<Value, Error> {
    let members = member::ids(ctx, &group.id, member::SHOWN_MAX)?;
    if members.len() > member::SHOWN_MAX {
        return Err(Error::TooLarge(format!("the group has more than {} members", member::SHOWN_MAX)));
    }
    Ok(json::group(group, &members, mounts))
}

/// Deletes a group. It gives nothing to anybody from then on; that its members were in it is cleared away later. One that
/// there is not is no error.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn delete(ctx: &mut Context<'_>, which: Which<'_>) -> Result<Plan, Error> {
    let mut txn = Txn::default();
    let Some(group) = find(ctx, which)? else { return Ok(Plan { txn, reply: Reply::no_content() }) };
    let id = group.value.id.clone();
    store::delete_group(ctx, &mut txn, &group);
    for child in &group.value.member_group_ids {
        if let Some(child) = store::group(ctx.view, ctx.barrier, child)? {
            link(ctx, &mut txn, &child, |parents| parents.retain(|parent| *parent != id))?;
        }
    }
    for parent in &group.value.parent_group_ids {
        if let Some(parent) = store::group(ctx.view, ctx.barrier, parent)? {
            let mut after = parent.value.clone();
            after.member_group_ids.retain(|member| *member != id);
            store::put_group(ctx, &mut txn, Some(&parent), &after)?;
        }
    }
    clear::put(ctx, &mut txn, &id)?;
    store::begin_group_epoch(ctx, &mut txn)?;
    Ok(Plan { txn, reply: Reply::no_content() })
}

/// # Errors
/// [`Error::NotFound`]: there are none.
pub fn list(ctx: &Context<'_>, mounts: &AuthMounts, by_name: bool) -> Result<Plan, Error> {
    let mut keys = Vec::new();
    let mut info = Map::new();
    each(ctx, |group| {
        if by_name {
            keys.push(group.name);
        } else {
            let members = member::count(ctx, &group.id, member::SHOWN_MAX)?;
            info.insert(group.id.clone(), json::listed_group(&group, members, mounts));
            keys.push(group.id);
        }
        bounded(keys.len())
    })?;
    listed(keys, info, by_name)
}

/// Calls `visit` with all groups, in the order of nothing.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`], and what `visit` says.
pub fn each(ctx: &Context<'_>, visit: impl FnMut(Group) -> Result<(), Error>) -> Result<(), Error> {
    stored::each::<Group>(ctx.view, ctx.barrier, Kind::Group, 0, visit)
}
