//! Groups in groups: which are above one, so that none is ever above itself.

use std::collections::BTreeSet;

use super::belonging::GROUPS_MAX;
use super::record::Group;
use super::store;
use crate::error::Error;
use crate::plan::Context;

/// Groups that a group has in it at most.
pub const MEMBER_GROUPS_MAX: usize = 256;

/// Makes sure that `wanted` can be in `group`: none is it, and none is above it.
///
/// # Errors
/// [`Error::Invalid`].
pub fn check_members(ctx: &Context<'_>, group: &Group, wanted: &BTreeSet<String>) -> Result<(), Error> {
    if wanted.len() > MEMBER_GROUPS_MAX {
        return Err(Error::invalid(format!("a group has at most {MEMBER_GROUPS_MAX} groups in it")));
    }
    if wanted.contains(&group.id) {
        return Err(Error::invalid("a group cannot be in itself"));
    }
    for id in above(ctx, group)? {
        if wanted.contains(&id) {
            let sentence = format!("cyclic relationship detected for member group ID {id:?}");
            return Err(Error::invalid(sentence));
        }
    }
    Ok(())
}

/// All groups that `group` is in, and those that they are in.
fn above(ctx: &Context<'_>, group: &Group) -> Result<BTreeSet<String>, Error> {
    let mut found = BTreeSet::new();
    let mut open = group.parent_group_ids.clone();
    while let Some(id) = open.pop() {
        if !found.insert(id.clone()) {
            continue;
        }
        if found.len() > GROUPS_MAX {
            return Err(Error::invalid(format!("a group is in at most {GROUPS_MAX} groups")));
        }
        if let Some(parent) = store::group(ctx.view, ctx.barrier, &id)? {
            open.extend(parent.value.parent_group_ids);
        }
    }
    Ok(found)
}
