//! Listing by skip-scan: keys are hashed tokens, so a child's name comes from inside one record below it.
//!
//! ```text
//! seek -> a/b/c   name the child (a/), then seek past the whole subtree of a
//! seek -> d       name the child (d),  then look right behind it: something below d makes d/ as well
//! ```
//!
//! Tokens have no order that names have, so every child is visited and the names are sorted. Work and memory are
//! bounded; a page bounds what is kept, not what is visited.

use std::collections::BTreeMap;

use conclave_proto::path::SecretPath;
use zeroize::Zeroizing;

use super::text::JsonText;
use crate::crypto::{Kind, after_prefix, child_key};
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, LIMIT, Query, Reply};
use crate::stored::has_expired;
use crate::view::Record;

/// Most records that one list or scan visits.
pub const LIST_RECORDS_MAX: usize = 1_000_000;
/// Most bytes of names and payloads that one list or scan keeps for its answer.
pub const LIST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The names that were found, in order, each with its record's payload if that was asked for.
pub(crate) type Names = BTreeMap<String, Option<Zeroizing<Vec<u8>>>>;

/// What to list.
pub(crate) struct Listing<'a> {
    pub(crate) kind: Kind,
    /// What comes before all paths, as a mount's uuid does before those of its secrets.
    pub(crate) root: &'a [&'a str],
    /// `None`: the top.
    pub(crate) prefix: Option<SecretPath>,
    pub(crate) page: Page,
    pub(crate) with_payloads: bool,
}

/// Which part of the names to give: those after a name, and so many at most.
#[derive(Default)]
pub(crate) struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

impl Page {
    /// Query parameters that a page is made from.
    pub(crate) const PARAMETERS: [&'static str; 2] = ["after", LIMIT];

    /// `limit` of 0 or less means no limit, as for OpenBao.
    pub(crate) fn of(query: &Query) -> Result<Self, Error> {
        let limit = fields::query_integer(query, LIMIT)?
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|&limit| limit > 0);
        Ok(Self { after: query.first("after").filter(|after| !after.is_empty()).map(str::to_owned), limit })
    }
}

impl Listing<'_> {
    /// The names right below the prefix: `name` for a record, `name/` if there is something below it.
    pub(crate) fn children(self, context: &Context<'_>) -> Result<Names, Error> {
        let parent = self.parent_key(context);
        let depth = self.depth();
        let mut collector = Collector::new(self.page, self.with_payloads);
        let mut cursor = context.view.cursor();
        let mut found = cursor.seek(&right_after(&parent))?;
        while let Some((key, record)) = found.take() {
            let Some(child) = child_key(&parent, &key).map(<[u8]>::to_vec) else { break };
            collector.count_visit()?;
            if has_expired(record.expires_at_ms, context.now_ms) {
                found = cursor.seek(&right_after(&key))?;
                continue;
            }
            let (mut segments, payload) = open(context, &key, &record, depth)?;
            segments.truncate(segments.find('/').unwrap_or(segments.len()));
            let name = segments;

            let mut has_children = key.len() > child.len();
            if !has_children {
                found = cursor.seek(&right_after(&child))?;
                has_children = found.as_ref().is_some_and(|(next, _)| next.starts_with(&child));
                collector.add(name.clone(), payload)?;
            }
            if has_children {
                collector.add(name + "/", Zeroizing::default())?;
                found = match after_prefix(&child) {
                    Some(beyond) => cursor.seek(&beyond)?,
                    None => None,
                };
            }
        }
        Ok(collector.names)
    }

    /// The names of all records below the prefix, at any depth.
    pub(super) fn descendants(self, context: &Context<'_>) -> Result<Names, Error> {
        let parent = self.parent_key(context);
        let depth = self.depth();
        let mut collector = Collector::new(self.page, self.with_payloads);
        let mut cursor = context.view.cursor();
        let mut from = right_after(&parent);
        while let Some((key, record)) = cursor.seek(&from)? {
            if !key.starts_with(&parent) {
                break;
            }
            collector.count_visit()?;
            let (name, payload) = open(context, &key, &record, depth)?;
            collector.add(name, payload)?;
            from = right_after(&key);
        }
        Ok(collector.names)
    }

    fn parent_key(&self, context: &Context<'_>) -> Vec<u8> {
        let below = self.prefix.iter().flat_map(SecretPath::segments);
        context.barrier.key(self.kind, self.root.iter().copied().chain(below))
    }

    /// Segments of the parent's own path inside a sealed record: the root and the prefix.
    fn depth(&self) -> usize {
        self.root.len() + self.prefix.as_ref().map_or(0, |prefix| prefix.segments().count())
    }
}

/// The answer of a LIST or SCAN without details: `{"keys": [...]}`.
pub(crate) fn keys_reply(names: &Names) -> Reply {
    let mut text = JsonText::with_capacity(names.keys().map(|name| name.len() + 4).sum::<usize>() + 16);
    text.push(b"{\"keys\":");
    text.push_json(&names.keys().collect::<Vec<_>>());
    text.push(b"}");
    text.reply(200)
}

/// The smallest key that is greater than `key`.
pub(crate) fn right_after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// The path below the first `depth` segments, and the payload.
fn open(
    context: &Context<'_>,
    key: &[u8],
    record: &Record,
    depth: usize,
) -> Result<(String, Zeroizing<Vec<u8>>), Error> {
    let opened = context.barrier.open(key, &record.sealed)?;
    let below = opened.path.splitn(depth + 1, '/').nth(depth);
    let below =
        below.ok_or_else(|| Error::Corrupt("its path is shorter than its key".to_owned()))?.to_owned();
    Ok((below, opened.payload))
}

struct Collector {
    names: Names,
    page: Page,
    with_payloads: bool,
    visited: usize,
    kept_bytes: usize,
}

impl Collector {
    fn new(page: Page, with_payloads: bool) -> Self {
        Self { names: Names::new(), page, with_payloads, visited: 0, kept_bytes: 0 }
    }

    fn count_visit(&mut self) -> Result<(), Error> {
        self.visited += 1;
        if self.visited > LIST_RECORDS_MAX {
            return Err(Error::TooLarge(format!(
                "more than {LIST_RECORDS_MAX} entries lie under this path: list its parts"
            )));
        }
        Ok(())
    }

    fn add(&mut self, name: String, payload: Zeroizing<Vec<u8>>) -> Result<(), Error> {
        if self.page.after.as_deref().is_some_and(|after| name.as_str() <= after) {
            return Ok(());
        }
        let payload = if self.with_payloads && !name.ends_with('/') { Some(payload) } else { None };
        self.kept_bytes += size(&name, payload.as_ref());
        self.names.insert(name, payload);
        if self.page.limit.is_some_and(|limit| self.names.len() > limit)
            && let Some((name, payload)) = self.names.pop_last()
        {
            self.kept_bytes -= size(&name, payload.as_ref());
        }
        if self.kept_bytes > LIST_BYTES_MAX {
            return Err(Error::TooLarge(format!(
                "the answer would be larger than {LIST_BYTES_MAX} bytes: use 'limit' and 'after'"
            )));
        }
        Ok(())
    }
}

fn size(name: &str, payload: Option<&Zeroizing<Vec<u8>>>) -> usize {
    name.len() + payload.map_or(0, |payload| payload.len())
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
