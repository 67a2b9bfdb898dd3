//! `identity/entity/merge`: what was taken for several was one.
//!
//! The one that stays gets the aliases and the places in groups of the others, but not their policies: nobody gains a
//! right by being merged that no group gives him. Tokens of the others are then his.

use std::collections::BTreeSet;

use conclave_proto::log::Txn;
use serde_json::{Map, Value};

use super::record::Entity;
use super::{alias, member, store};
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::stored::Stored;

/// Entities that one request merges at most.
const SOURCES_MAX: usize = 100;
/// Entities that were ever merged into one at most.
const MERGED_MAX: usize = 1_000;

/// # Errors
/// [`Error::Invalid`].
pub fn merge(ctx: &mut Context<'_>, body: &Map<String, Value>) -> Result<Plan, Error> {
    let to = fields::text(body, "to_entity_id")?.unwrap_or_default();
    if to.is_empty() {
        return Err(Error::invalid("missing entity id to merge to"));
    }
    let from: BTreeSet<String> =
        fields::texts(body, "from_entity_ids")?.unwrap_or_default().into_iter().collect();
    if from.is_empty() {
        return Err(Error::invalid("missing entity ids to merge from"));
    }
    if from.len() > SOURCES_MAX {
        return Err(Error::invalid(format!("at most {SOURCES_MAX} entities can be merged at once")));
    }
    if from.contains(&to) {
        return Err(Error::invalid("to_entity_id should not be present in from_entity_ids"));
    }
    let kept = fields::texts(body, "conflicting_alias_ids_to_keep")?.unwrap_or_default();
    if kept.len() > alias::ALIASES_MAX {
        return Err(Error::invalid(format!("at most {} aliases can be kept", alias::ALIASES_MAX)));
    }
    // There are no secrets of second factors yet that it could be about.
    fields::boolean(body, "force")?;
    let target =
        store::entity(ctx, &to)?.ok_or_else(|| Error::invalid("entity id to merge to is invalid"))?;
    let mut after = Entity { updated_ms: ctx.now_ms, ..target.value.clone() };
    let mut txn = Txn::default();
    for id in &from {
        let source =
            store::entity(ctx, id)?.ok_or_else(|| Error::invalid("entity id to merge from is invalid"))?;
        absorb(ctx, &mut txn, &mut after, &source, &kept)?;
    }
    if after.merged_ids.len() > MERGED_MAX {
        return Err(Error::invalid(format!("at most {MERGED_MAX} entities can be merged into one")));
    }
    store::put_entity(ctx, &mut txn, Some(&target), &after)?;
    Ok(Plan { txn, reply: Reply::no_content() })
}

/// Takes over what `source` has, and says of it where it has gone.
fn absorb(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    target: &mut Entity,
    source: &Stored<Entity>,
    kept: &[String],
) -> Result<(), Error> {
    store::delete_entity_ways(ctx, txn, &source.value);
    for alias in &source.value.aliases {
        if let Some(rival) = target.alias_at(&alias.mount_accessor) {
            match (kept.contains(&rival.id), kept.contains(&alias.id)) {
                (true, false) => continue,
                (false, true) => target.aliases.retain(|one| one.mount_accessor != alias.mount_accessor),
                _ => {
                    return Err(Error::invalid(
                        "the entities have aliases at the same mount: name in conflicting_alias_ids_to_keep which of \
                         them stays, or delete the other",
                    ));
                }
            }
        }
        let mut moved = alias.clone();
        moved.merged_from.push(source.value.id.clone());
        moved.updated_ms = ctx.now_ms;
        alias::add(target, moved)?;
    }
    for group in &source.value.group_ids {
        txn.delete(member::key(ctx.barrier, group, &source.value.id));
        member::add(ctx, txn, target, group)?;
    }
    store::put_merged(ctx, txn, &source.value.id, &target.id, Some(source.revision))?;
    for earlier in &source.value.merged_ids {
        store::put_merged(ctx, txn, earlier, &target.id, None)?;
    }
    target.merged_ids.push(source.value.id.clone());
    target.merged_ids.extend(source.value.merged_ids.iter().cloned());
    Ok(())
}
