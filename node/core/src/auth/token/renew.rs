//! Making tokens last longer.

use conclave_faults::{Bug, planted};
use conclave_proto::log::Txn;

use super::create::capped;
use super::cubbyhole;
use super::entry::{TokenEntry, TokenKind};
use super::store::{self, Found};
use crate::engine::mount::LEASE_DEFAULT_S;
use crate::error::Error;
use crate::plan::Context;

const MS_PER_S: u64 = 1_000;

/// A token that lasts longer.
pub struct Renewed {
    pub entry: TokenEntry,
    /// From now on.
    pub lasts_ms: u64,
    pub warnings: Vec<String>,
    pub txn: Txn,
}

/// Makes a token last for `increment_ms` from now on (0: as long as the last time), within its limits. A periodic one lasts for
/// its period.
///
/// # Errors
/// [`Error::Invalid`]: it cannot be renewed, or not any more.
pub fn plan_renew(ctx: &mut Context<'_>, token: &Found, increment_ms: u64) -> Result<Renewed, Error> {
    let entry = &token.entry;
    if entry.kind == TokenKind::Batch {
        return Err(Error::invalid("batch tokens cannot be renewed"));
    }
    if !entry.renewable || token.expires_at_ms == 0 {
        return Err(Error::invalid("lease is not renewable"));
    }
    let asked_ms = match (entry.period_ms, increment_ms) {
        (0, 0) if entry.renewed_for_ms > 0 => entry.renewed_for_ms,
        (0, 0) => entry.ttl_ms,
        (0, increment_ms) => increment_ms,
        (period_ms, _) => period_ms.min(LEASE_DEFAULT_S * MS_PER_S),
    };
    let mut ends_ms = ctx.now_ms.saturating_add(asked_ms);
    if planted::is(Bug::RenewalAdded) {
        ends_ms = token.expires_at_ms.saturating_add(asked_ms);
    }
    let mut latest_ms = entry.ends_at_latest_ms();
    if entry.period_ms == 0 {
        let longest_ms = if entry.max_ttl_ms > 0 { entry.max_ttl_ms } else { LEASE_DEFAULT_S * MS_PER_S };
        let longest_ms = entry.created_ms.saturating_add(longest_ms);
        latest_ms = Some(latest_ms.map_or(longest_ms, |latest_ms| latest_ms.min(longest_ms)));
    }
    let mut warnings = Vec::new();
    if let Some(latest_ms) = latest_ms.filter(|latest_ms| *latest_ms < ends_ms) {
        if latest_ms <= ctx.now_ms {
            return Err(Error::invalid("past the max TTL, cannot renew"));
        }
        warnings.push(capped("TTL", asked_ms, latest_ms - ctx.now_ms));
        ends_ms = latest_ms;
    }
    let renewed = TokenEntry { renewed_ms: ctx.now_ms, renewed_for_ms: asked_ms, ..(**entry).clone() };
    let mut txn = Txn::default();
    txn.preconditions.extend(token.preconditions.iter().cloned());
    store::put_again(ctx, &mut txn, &token.hash, &renewed, ends_ms)?;
    store::put_ways(ctx, &mut txn, &token.hash, &renewed, ends_ms)?;
    cubbyhole::prolong(ctx, &mut txn, &token.hash, ends_ms)?;
    Ok(Renewed { entry: renewed, lasts_ms: ends_ms - ctx.now_ms, warnings, txn })
}
