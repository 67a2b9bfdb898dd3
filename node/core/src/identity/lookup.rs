//! `identity/lookup`: entities and groups by whatever is known of them.

use serde_json::{Map, Value};

use super::mounts::AuthMounts;
use super::{entity, group, store};
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};

/// What is known.
enum Known {
    Id(String),
    Name(String),
    AliasId(String),
    Alias { accessor: String, name: String },
}

impl Known {
    fn of(body: &Map<String, Value>) -> Result<Self, Error> {
        let text = |field| Ok::<_, Error>(fields::text(body, field)?.filter(|text| !text.is_empty()));
        let (id, name, alias_id) = (text("id")?, text("name")?, text("alias_id")?);
        let alias = match (text("alias_name")?, text("alias_mount_accessor")?) {
            (Some(name), Some(accessor)) => Some(Self::Alias { accessor, name }),
            (None, None) => None,
            _ => {
                return Err(Error::invalid("both 'alias_name' and 'alias_mount_accessor' needs to be set"));
            }
        };
        let given = [id.map(Self::Id), name.map(Self::Name), alias_id.map(Self::AliasId), alias];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(Error::invalid("query parameter not supplied")),
            (Some(_), Some(_)) => Err(Error::invalid(
                "query parameter conflict; please supply distinct set of query parameters",
            )),
        }
    }
}

/// # Errors
/// [`Error::Invalid`]. That there is none is no error.
pub fn find_entity(ctx: &Context<'_>, mounts: &AuthMounts, body: &Map<String, Value>) -> Result<Plan, Error> {
    let found = match Known::of(body)? {
        Known::Id(id) => store::entity(ctx, &id)?,
        Known::Name(name) => store::entity_by_name(ctx, &name)?,
        Known::AliasId(id) => store::entity_by_alias_id(ctx, &id)?,
        Known::Alias { accessor, name } => store::entity_by_alias(ctx, &accessor, &name)?,
    };
    let told = found.map_or(Ok(None), |found| entity::told(ctx, mounts, &found.value.id))?;
    Ok(told.map_or_else(Reply::no_content, |told| Reply::json(&told)).into())
}

/// # Errors
/// [`Error::Invalid`]. That there is none is no error.
pub fn find_group(ctx: &Context<'_>, mounts: &AuthMounts, body: &Map<String, Value>) -> Result<Plan, Error> {
    let found = match Known::of(body)? {
        Known::Id(id) => store::group(ctx.view, ctx.barrier, &id)?,
        Known::Name(name) => store::group_by_name(ctx, &name)?,
        Known::AliasId(id) => store::group_by_alias_id(ctx, &id)?,
        Known::Alias { accessor, name } => store::group_by_alias(ctx, &accessor, &name)?,
    };
    let told = found.map(|found| group::told(ctx, mounts, &found.value)).transpose()?;
    Ok(told.map_or_else(Reply::no_content, |told| Reply::json(&told)).into())
}
