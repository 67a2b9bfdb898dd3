//! Making tokens.

use std::collections::BTreeMap;

use conclave_proto::log::Txn;
use conclave_proto::secret::Secret;
use serde_json::{Map, Value};

use super::entry::{TokenEntry, TokenKind};
use super::granted::Grant;
use super::identify::{Identified, TOKEN_BYTES_MAX};
use super::line::ANCESTORS_MAX;
use super::role::{self, Role};
use super::{batch, replaced, store, text};
use crate::duration::format_short_s;
use crate::engine::mount::LEASE_DEFAULT_S;
use crate::error::Error;
use crate::fields;
use crate::identity::mounts::token_accessor;
use crate::identity::{self, Belonging, LoginAlias};
use crate::plan::Context;
use crate::policy::name;
use crate::stored::Stored;

/// Longest display name, in bytes.
const DISPLAY_NAME_BYTES_MAX: usize = 256;
/// Metadata of a token at most: entries, and bytes of all together.
const META_ENTRIES_MAX: usize = 64;
const META_BYTES_MAX: usize = 16 * 1024;
/// Longest shortest own text of a token that a caller chooses, in bytes.
const OWN_ID_BYTES_MIN: usize = 8;
/// Policies of a token at most.
const POLICIES_MAX: usize = 256;

const MS_PER_S: u64 = 1_000;
/// What a lifetime may be at most: a century, so that no sum of times overflows.
const DURATION_S_MAX: u64 = 100 * 366 * 24 * 3_600;

/// What a caller asks for, as Vault's `auth/token/create` takes it.
#[derive(Default)]
pub struct Creation {
    id: Option<Secret<String>>,
    kind: Option<TokenKind>,
    policies: Vec<String>,
    meta: BTreeMap<String, String>,
    no_parent: bool,
    no_default_policy: bool,
    renewable: bool,
    ttl_ms: u64,
    explicit_max_ttl_ms: u64,
    period_ms: u64,
    display_name: String,
    uses: u64,
    entity_alias: Option<String>,
}

/// Who makes a token, and how.
#[derive(Clone, Copy)]
pub struct Maker<'a> {
    pub caller: &'a Identified,
    /// Whether he has `sudo` where he asks.
    pub may_sudo: bool,
    /// Where he asks.
    pub path: &'a str,
    pub role: Option<&'a Stored<Role>>,
}

/// A token that was made, as the caller is told of it.
pub struct Created {
    pub token: Secret<String>,
    pub entry: TokenEntry,
    /// 0: it never ends.
    pub lasts_ms: u64,
    /// What its entity brings it beside its own policies.
    pub identity_policies: Vec<String>,
    pub warnings: Vec<String>,
    pub txn: Txn,
}

/// Fields of `auth/token/create`.
pub(super) const FIELDS: [&str; 15] = [
    "id",
    "policies",
    "meta",
    "no_parent",
    "no_default_policy",
    "renewable",
    "lease",
    "ttl",
    "type",
    "explicit_max_ttl",
    "display_name",
    "num_uses",
    "period",
    "entity_alias",
    "format",
];

impl Creation {
    /// # Errors
    /// [`Error::Invalid`], naming the field.
    pub fn of(body: &Map<String, Value>) -> Result<Self, Error> {
        let kind = match fields::text(body, "type")?.as_deref() {
            None | Some("") => None,
            Some("service") => Some(TokenKind::Service),
            Some("batch") => Some(TokenKind::Batch),
            Some(_) => return Err(Error::invalid("invalid 'token_type' value")),
        };
        let ttl = match fields::duration_s(body, "ttl")? {
            None | Some(0) => fields::duration_s(body, "lease")?,
            given => given,
        };
        Ok(Self {
            id: fields::text(body, "id")?.filter(|id| !id.is_empty()).map(own_id).transpose()?,
            kind,
            policies: policies(fields::texts(body, "policies")?.unwrap_or_default())?,
            meta: meta(fields::object(body, "meta")?)?,
            no_parent: fields::boolean(body, "no_parent")?.unwrap_or_default(),
            no_default_policy: fields::boolean(body, "no_default_policy")?.unwrap_or_default(),
            renewable: fields::boolean(body, "renewable")?.unwrap_or(true),
            ttl_ms: milliseconds("ttl", ttl)?,
            explicit_max_ttl_ms: milliseconds(
                "explicit_max_ttl",
                fields::duration_s(body, "explicit_max_ttl")?,
            )?,
            period_ms: milliseconds("period", fields::duration_s(body, "period")?)?,
            display_name: display_name(&fields::text(body, "display_name")?.unwrap_or_default())?,
            uses: u64::try_from(fields::integer(body, "num_uses")?.unwrap_or_default())
                .map_err(|_| Error::invalid("number of uses cannot be negative"))?,
            entity_alias: fields::text(body, "entity_alias")?.filter(|alias| !alias.is_empty()),
        })
    }

    /// An orphan, whatever was asked for.
    #[must_use]
    pub fn as_orphan(self) -> Self {
        Self { no_parent: true, ..self }
    }

    /// Within the limits of a role. Of two limits the tighter holds.
    fn within(mut self, role: &Role, warnings: &mut Vec<String>) -> Self {
        let mut limit = |what: &str, asked_ms: u64, role_ms: u64| {
            if asked_ms == 0 || role_ms == 0 {
                return asked_ms.max(role_ms);
            }
            let lesser_ms = asked_ms.min(role_ms);
            warnings.push(format!(
                "{what} specified both during creation call and in role; using the lesser value of {} seconds",
                lesser_ms / MS_PER_S
            ));
            lesser_ms
        };
        self.explicit_max_ttl_ms =
            limit("Explicit max TTL", self.explicit_max_ttl_ms, role.explicit_max_ttl_ms);
        self.period_ms = limit("Period", self.period_ms, role.period_ms);
        self.uses = match (self.uses, role.num_uses) {
            (0, uses) | (uses, 0) => uses,
            (asked, uses) => asked.min(uses),
        };
        self.renewable &= role.renewable;
        // Whether it is one is the role's to say.
        self.no_parent = role.orphan;
        self.kind = Some(role.kind_for(self.kind));
        self
    }

    /// Nothing is written of a batch token, so that nothing can be counted or made to last longer.
    fn check_batch(&self) -> Result<(), Error> {
        for (is_set, field) in [
            (self.explicit_max_ttl_ms > 0, "explicit_max_ttl"),
            (self.uses > 0, "num_uses"),
            (self.period_ms > 0, "period"),
            (self.id.is_some(), "id"),
        ] {
            if is_set {
                return Err(Error::invalid(format!("batch tokens cannot have {field:?} set")));
            }
        }
        Ok(())
    }
}

/// Makes a token with the caller's as its parent.
///
/// # Errors
/// [`Error::Invalid`]: the caller may not make such a token, or nobody can. [`Error::Denied`]: whom it is to belong to is
/// disabled.
pub fn plan_create(ctx: &mut Context<'_>, asked: Creation, maker: Maker<'_>) -> Result<Created, Error> {
    let Maker { caller, may_sudo, path, role } = maker;
    check_maker(&asked, maker)?;
    let mut warnings = Vec::new();
    let limits = role.map(|role| &role.value);
    let is_batch =
        limits.map_or(asked.kind, |role| Some(role.kind_for(asked.kind))) == Some(TokenKind::Batch);
    if is_batch {
        asked.check_batch()?;
    }
    let creation = match limits {
        Some(role) => asked.within(role, &mut warnings),
        None => asked,
    };
    if is_batch && (creation.period_ms > 0 || creation.uses > 0) {
        return Err(Error::invalid("batch tokens cannot be made by a role with a period or a count of uses"));
    }
    if !creation.no_parent && caller.ancestors >= ANCESTORS_MAX {
        return Err(Error::invalid(format!("a token has at most {ANCESTORS_MAX} ancestors")));
    }
    let policies = Grant {
        asked: &creation.policies,
        no_default_policy: creation.no_default_policy,
        maker: caller,
        may_sudo,
        role: limits,
    }
    .policies()?;
    let is_root = policies.iter().any(|policy| policy == name::ROOT);
    if is_batch && is_root {
        return Err(Error::invalid("batch tokens cannot be root tokens"));
    }
    let lasts_ms = lasts_ms(ctx, &creation, caller, is_root, &mut warnings)?;
    let mut txn = Txn::default();
    if let Some(role) = role {
        txn.require(role::key(ctx.barrier, &role.value.name), role.revision);
    }
    let (entity_id, identity_policies) = owner(ctx, &mut txn, &creation, maker)?;
    let bound_cidrs = match limits {
        Some(role) => role.bound_cidrs.clone(),
        None if creation.no_parent => Vec::new(),
        // Or it could be carried to where its maker may not use his.
        None => caller.entry.bound_cidrs.clone(),
    };
    let mut entry = TokenEntry {
        ttl_ms: lasts_ms,
        explicit_max_ttl_ms: creation.explicit_max_ttl_ms,
        period_ms: creation.period_ms,
        uses_left: creation.uses,
        renewable: creation.renewable && lasts_ms > 0 && !is_batch,
        display_name: creation.display_name,
        parent: (!creation.no_parent).then(|| caller.hash()),
        meta: creation.meta,
        role: limits.map(|role| role.name.clone()).unwrap_or_default(),
        entity_id,
        bound_cidrs,
        ..TokenEntry::new(String::new(), policies, &path_of(path, limits), ctx.now_ms)
    };
    let token = if is_batch {
        entry.kind = TokenKind::Batch;
        batch::seal(ctx.barrier, &entry, ctx.rng)?
    } else {
        entry.accessor = text::accessor(ctx.rng);
        let token = match creation.id {
            Some(chosen) => {
                replaced::note(ctx, &mut txn)?;
                chosen
            }
            None => text::service(ctx.rng),
        };
        let hash = ctx.barrier.token_hash(token.expose().as_bytes());
        let ends_ms = if lasts_ms > 0 { ctx.now_ms.saturating_add(lasts_ms) } else { 0 };
        store::put_new(ctx, &mut txn, &hash, &entry, ends_ms)?;
        token
    };
    Ok(Created { token, entry, lasts_ms, identity_policies, warnings, txn })
}

/// What only some may ask for.
fn check_maker(asked: &Creation, maker: Maker<'_>) -> Result<(), Error> {
    let Maker { caller, may_sudo, path, role } = maker;
    if caller.entry.kind == TokenKind::Batch {
        return Err(Error::invalid("batch tokens cannot create more tokens"));
    }
    if caller.entry.uses_left > 0 {
        return Err(Error::invalid("restricted use token cannot generate child tokens"));
    }
    if asked.id.is_some() && !may_sudo {
        return Err(Error::invalid("root or sudo privileges required to specify token id"));
    }
    if asked.period_ms > 0 && !may_sudo {
        return Err(Error::invalid("root or sudo privileges required to create periodic token"));
    }
    if asked.no_parent && role.is_none() && !may_sudo && path != "auth/token/create-orphan" {
        return Err(Error::invalid("root or sudo privileges required to create orphan token"));
    }
    Ok(())
}

/// The entity that the token belongs to, and the policies that it has of it: its maker's, if it ends with him, or one that
/// its role lets him name.
fn owner(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    creation: &Creation,
    maker: Maker<'_>,
) -> Result<(String, Vec<String>), Error> {
    let Some(alias) = &creation.entity_alias else {
        let inherited = maker.caller.belonging.as_ref().filter(|_| !creation.no_parent);
        return Ok(inherited.map_or_else(Default::default, |belonging| {
            (belonging.entity.id.clone(), belonging.policies.clone())
        }));
    };
    let Some(role) = maker.role else {
        return Err(Error::invalid("'entity_alias' is only allowed in combination with token role"));
    };
    if !role.value.allows_alias(alias) {
        return Err(Error::invalid("invalid 'entity_alias' value"));
    }
    let accessor = token_accessor(ctx.barrier);
    let login =
        LoginAlias { mount_accessor: &accessor, name: alias, metadata: BTreeMap::new(), groups: None };
    let id = identity::plan_login(ctx, txn, &login)?.id;
    // One that this transaction makes brings nothing yet.
    let policies = Belonging::load(ctx.view, ctx.barrier, &id)?.map(|belonging| belonging.policies);
    Ok((id, policies.unwrap_or_default()))
}

/// Where it was made, as Vault spells it.
fn path_of(path: &str, role: Option<&Role>) -> String {
    match role.map(|role| role.path_suffix.as_str()) {
        None | Some("") => path.to_owned(),
        Some(suffix) => format!("{path}/{suffix}"),
    }
}

/// How long the token lasts without being renewed; 0: for ever.
fn lasts_ms(
    ctx: &Context<'_>,
    creation: &Creation,
    caller: &Identified,
    is_root: bool,
    warnings: &mut Vec<String>,
) -> Result<u64, Error> {
    let (asked_ms, what) = match creation.period_ms {
        0 => (creation.ttl_ms, "TTL"),
        period_ms => (period_ms, "period"),
    };
    if is_root && asked_ms == 0 && creation.explicit_max_ttl_ms == 0 {
        return if caller.expires_at_ms == 0 {
            Ok(0)
        } else {
            Err(Error::invalid("expiring root tokens cannot create non-expiring root tokens"))
        };
    }
    let mut longest_ms = LEASE_DEFAULT_S * MS_PER_S;
    let mut lasts_ms = if asked_ms > 0 { asked_ms } else { longest_ms };
    if creation.explicit_max_ttl_ms > 0 {
        longest_ms = longest_ms.min(creation.explicit_max_ttl_ms);
    }
    if lasts_ms > longest_ms {
        warnings.push(capped(what, lasts_ms, longest_ms));
        lasts_ms = longest_ms;
    }
    debug_assert!(ctx.now_ms.checked_add(lasts_ms).is_some());
    Ok(lasts_ms)
}

/// That somebody does not get as long as he asked for.
pub(super) fn capped(what: &str, asked_ms: u64, longest_ms: u64) -> String {
    let short = |ms: u64| format_short_s(i64::try_from(ms / MS_PER_S).unwrap_or(i64::MAX));
    format!(
        "{what} of \"{}\" exceeded the effective max_ttl of \"{}\"; {what} value is capped accordingly",
        short(asked_ms),
        short(longest_ms)
    )
}

fn own_id(id: String) -> Result<Secret<String>, Error> {
    if id.starts_with("s.") {
        return Err(Error::invalid("custom token ID cannot have the 's.' prefix"));
    }
    if id.contains('.') {
        return Err(Error::invalid("custom token ID cannot contain \".\""));
    }
    let is_usable =
        (OWN_ID_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    if !is_usable {
        return Err(Error::invalid(format!(
            "a custom token ID has {OWN_ID_BYTES_MIN} to {TOKEN_BYTES_MAX} printable ASCII characters"
        )));
    }
    Ok(Secret::new(id))
}

fn policies(asked: Vec<String>) -> Result<Vec<String>, Error> {
    if asked.len() > POLICIES_MAX {
        return Err(Error::invalid(format!("a token has at most {POLICIES_MAX} policies")));
    }
    let named: Vec<String> =
        asked.iter().map(|policy| name::normalised(policy.trim())).collect::<Result<_, _>>()?;
    match named.iter().find(|policy| !name::is_assignable(policy)) {
        Some(policy) => Err(Error::invalid(format!("cannot assign policy {policy:?}"))),
        None => Ok(named),
    }
}

fn meta(given: Option<&Map<String, Value>>) -> Result<BTreeMap<String, String>, Error> {
    let refuse = || Error::invalid("the metadata of a token is an object of texts");
    let mut meta = BTreeMap::new();
    for (name, value) in given.into_iter().flatten() {
        meta.insert(name.clone(), fields::text_of(value).ok_or_else(refuse)?);
    }
    let bytes: usize = meta.iter().map(|(name, value)| name.len() + value.len()).sum();
    if meta.len() > META_ENTRIES_MAX || bytes > META_BYTES_MAX {
        return Err(Error::invalid(format!(
            "the metadata of a token has at most {META_ENTRIES_MAX} entries and {META_BYTES_MAX} bytes"
        )));
    }
    Ok(meta)
}

/// `token`, and behind it what was asked for, with signs that logs and paths can have.
fn display_name(asked: &str) -> Result<String, Error> {
    if asked.len() > DISPLAY_NAME_BYTES_MAX {
        return Err(Error::invalid(format!("a display name has at most {DISPLAY_NAME_BYTES_MAX} bytes")));
    }
    let usable = |sign: char| if sign.is_ascii_alphanumeric() { sign } else { '-' };
    let name: String = asked.chars().map(usable).collect();
    let name = name.trim_end_matches('-');
    Ok(if name.is_empty() { "token".to_owned() } else { format!("token-{name}") })
}

pub(super) fn milliseconds(field: &str, seconds: Option<i64>) -> Result<u64, Error> {
    let seconds = u64::try_from(seconds.unwrap_or_default())
        .map_err(|_| Error::invalid(format!("{field} must not be negative")))?;
    if seconds > DURATION_S_MAX {
        return Err(Error::invalid(format!("{field} must not be longer than {DURATION_S_MAX} s")));
    }
    Ok(seconds * MS_PER_S)
}
