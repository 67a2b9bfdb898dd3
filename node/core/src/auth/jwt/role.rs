//! Roles: whose tokens log in by them, what of a token becomes known of its holder, and how tokens of ours are made.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::claims::{Comparison, listed};
use super::config::bounded;
use super::provider::URL_BYTES_MAX;
use crate::auth::jose::{CLOCK_SKEW_S_MAX, LEEWAY_S_MAX, Leeways};
use crate::auth::named;
use crate::auth::old_names::OldNames;
use crate::auth::params::{TokenParams, lifetime_s};
use crate::crypto::{Barrier, Kind};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::stored::{self, Stored};

/// Version of the record's form: every field that came later has a default.
const VERSION: u32 = 1;
/// Entries of a list or map at most.
const ENTRIES_MAX: usize = 256;
/// Longest text, in bytes.
const TEXT_BYTES_MAX: usize = 2_048;
/// What every token's metadata says.
const RESERVED_METADATA: &str = "role";

/// Fields that are taken only with what they mean here anyway, and that value.
const FIXED: [(&str, &[&str]); 6] = [
    ("callback_mode", &["client"]),
    ("oauth2_metadata", &[]),
    ("oidc_disable_confirmation", &["false"]),
    ("poll_interval", &["0"]),
    ("token_policies_template_claims", &["false"]),
    ("verbose_oidc_logging", &["false"]),
];

/// By what people or programs log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleType {
    /// They show a token.
    Jwt,
    /// They are sent to the signer.
    Oidc,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Role {
    version: u32,
    pub role_type: RoleType,
    pub leeways: Leeways,
    pub bound_audiences: Option<Vec<String>>,
    pub bound_subject: String,
    pub comparison: Comparison,
    pub bound_claims: Option<BTreeMap<String, Value>>,
    pub claim_mappings: Option<BTreeMap<String, String>>,
    pub user_claim: String,
    pub user_claim_is_pointer: bool,
    pub groups_claim: String,
    pub scopes: Option<Vec<String>>,
    pub redirect_uris: Option<Vec<String>>,
    /// How long ago somebody may have logged in at the signer, in seconds; 0: any time.
    pub max_age_s: u64,
    pub params: TokenParams,
    /// The old names under which fields were given, and are shown as well.
    #[serde(default)]
    old_names: OldNames,
}

pub fn prefix(barrier: &Barrier, mount_uuid: &str) -> Vec<u8> {
    barrier.key(Kind::JwtRole, [mount_uuid])
}

pub fn key(barrier: &Barrier, mount_uuid: &str, name: &str) -> Vec<u8> {
    barrier.key(Kind::JwtRole, [mount_uuid, name])
}

pub fn load(ctx: &Context<'_>, mount: &Mount, name: &str) -> Result<Option<Stored<Role>>, Error> {
    let key = key(ctx.barrier, mount.uuid(), name);
    match stored::load::<Role>(ctx.view, ctx.barrier, &key, ctx.now_ms)? {
        Some(role) if role.value.version != VERSION => Err(stored::unknown()),
        role => Ok(role),
    }
}

/// Makes a role, or changes one.
pub fn write(
    ctx: &mut Context<'_>,
    mount: &Mount,
    name: &str,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    let found = load(ctx, mount, name)?;
    let revision = found.as_ref().map_or(0, |found| found.revision);
    let mut role = found.map_or_else(Role::new, |found| found.value);
    role.apply(body)?;
    role.check()?;
    let txn = named::put(ctx, mount, key(ctx.barrier, mount.uuid(), name), name, revision, &role)?;
    let mut warnings = Vec::new();
    if role.params.max_ttl_s > mount.effective_max_lease_s() {
        let sentence = "token max ttl is greater than the system or backend mount's maximum TTL value; issued tokens' \
                        max TTL value will be truncated";
        warnings.push(sentence.to_owned());
        warnings.extend(fields::unknown_warning(body.keys().map(String::as_str), &known_fields()));
    }
    let status = if warnings.is_empty() { 204 } else { 200 };
    Ok(Plan { txn, reply: Reply { warnings, ..Reply::empty(status) } })
}

/// Deletes a role. No such role is no fault.
pub fn delete(ctx: &Context<'_>, mount: &Mount, name: &str) -> Result<Plan, Error> {
    let found = load(ctx, mount, name)?;
    Ok(named::delete(ctx, mount, key(ctx.barrier, mount.uuid(), name), found.as_ref()))
}

fn known_fields() -> Vec<&'static str> {
    let own = [
        "role_type",
        "expiration_leeway",
        "not_before_leeway",
        "clock_skew_leeway",
        "bound_audiences",
        "bound_subject",
        "bound_claims_type",
        "bound_claims",
        "claim_mappings",
        "user_claim",
        "user_claim_json_pointer",
        "groups_claim",
        "oidc_scopes",
        "allowed_redirect_uris",
        "max_age",
    ];
    let fixed = FIXED.iter().map(|(name, _)| *name);
    own.into_iter().chain(fixed).chain(TokenParams::FIELDS).chain(OldNames::ALL).collect()
}

impl Role {
    fn new() -> Self {
        Self {
            version: VERSION,
            role_type: RoleType::Oidc,
            leeways: Leeways::default(),
            bound_audiences: None,
            bound_subject: String::new(),
            comparison: Comparison::String,
            bound_claims: None,
            claim_mappings: None,
            user_claim: String::new(),
            user_claim_is_pointer: false,
            groups_claim: String::new(),
            scopes: None,
            redirect_uris: None,
            max_age_s: 0,
            params: TokenParams::default(),
            old_names: OldNames::default(),
        }
    }

    /// Takes over what `body` gives. What kind of role it is and how claims are compared are said anew each time.
    fn apply(&mut self, body: &Map<String, Value>) -> Result<(), Error> {
        self.role_type = match fields::text(body, "role_type")?.as_deref() {
            None | Some("" | "oidc") => RoleType::Oidc,
            Some("jwt") => RoleType::Jwt,
            Some(_) => return Err(Error::invalid("invalid 'role_type': it is jwt or oidc")),
        };
        self.old_names.apply(&mut self.params, body, &OldNames::ALL)?;
        for (name, seconds, max_s) in [
            ("expiration_leeway", &mut self.leeways.expiration_s, LEEWAY_S_MAX),
            ("not_before_leeway", &mut self.leeways.not_before_s, LEEWAY_S_MAX),
            ("clock_skew_leeway", &mut self.leeways.clock_skew_s, CLOCK_SKEW_S_MAX),
        ] {
            match fields::duration_s(body, name)? {
                Some(given) if given > max_s => {
                    return Err(Error::invalid(format!("{name} is at most {max_s} seconds")));
                }
                Some(given) => *seconds = given,
                None => {}
            }
        }
        for (name, list) in [
            ("bound_audiences", &mut self.bound_audiences),
            ("oidc_scopes", &mut self.scopes),
            ("allowed_redirect_uris", &mut self.redirect_uris),
        ] {
            if let Some(given) = fields::texts(body, name)? {
                if given.len() > ENTRIES_MAX || given.iter().any(|text| text.len() > URL_BYTES_MAX) {
                    return Err(Error::invalid(format!("{name} has too many or too long entries")));
                }
                *list = Some(given);
            }
        }
        for (name, text) in [
            ("bound_subject", &mut self.bound_subject),
            ("user_claim", &mut self.user_claim),
            ("groups_claim", &mut self.groups_claim),
        ] {
            if body.contains_key(name) {
                *text = bounded(body, name, TEXT_BYTES_MAX)?;
            }
        }
        if let Some(is_pointer) = fields::boolean(body, "user_claim_json_pointer")? {
            self.user_claim_is_pointer = is_pointer;
        }
        if let Some(max_age_s) = fields::duration_s(body, "max_age")? {
            self.max_age_s = lifetime_s(max_age_s, "max_age")?;
        }
        self.apply_claims(body)?;
        FIXED.iter().try_for_each(|(name, values)| fixed(body, name, values))
    }

    fn apply_claims(&mut self, body: &Map<String, Value>) -> Result<(), Error> {
        self.comparison = match fields::text(body, "bound_claims_type")?.as_deref() {
            None | Some("string") => Comparison::String,
            Some("glob") => Comparison::Glob,
            Some(_) => return Err(Error::invalid("invalid 'bound_claims_type': it is string or glob")),
        };
        if let Some(bound) = fields::object(body, "bound_claims")? {
            if bound.len() > ENTRIES_MAX {
                return Err(Error::invalid(format!("bound_claims has at most {ENTRIES_MAX} entries")));
            }
            let is_text = |value: &Value| listed(value).is_some_and(|list| list.iter().all(Value::is_string));
            if self.comparison == Comparison::Glob && !bound.values().all(is_text) {
                return Err(Error::invalid("claim is not a string or list of strings"));
            }
            self.bound_claims =
                Some(bound.iter().map(|(name, value)| (name.clone(), value.clone())).collect());
        }
        if let Some(mappings) = fields::pairs(body, "claim_mappings")? {
            let mut targets = BTreeSet::new();
            for target in mappings.values() {
                if target == RESERVED_METADATA {
                    let sentence = "metadata key \"role\" is reserved and may not be a mapping destination";
                    return Err(Error::invalid(sentence));
                }
                if !targets.insert(target) {
                    return Err(Error::invalid(format!(
                        "multiple keys are mapped to metadata key {target:?}"
                    )));
                }
            }
            if targets.len() > ENTRIES_MAX {
                return Err(Error::invalid(format!("claim_mappings has at most {ENTRIES_MAX} entries")));
            }
            self.claim_mappings = Some(mappings);
        }
        Ok(())
    }

    /// That whoever logs in by it is bound by something.
    fn check(&self) -> Result<(), Error> {
        if self.user_claim.is_empty() {
            return Err(Error::invalid("a user claim must be defined on the role"));
        }
        let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
        if self.role_type == RoleType::Oidc && is_empty(&self.redirect_uris) {
            return Err(Error::invalid(
                "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.",
            ));
        }
        let is_unbound = is_empty(&self.bound_audiences)
            && self.params.bound_cidrs.is_empty()
            && self.bound_subject.is_empty()
            && self.bound_claims.as_ref().is_none_or(BTreeMap::is_empty);
        if self.role_type == RoleType::Jwt && is_unbound {
            let sentence = "must have at least one bound constraint when creating/updating a role";
            return Err(Error::invalid(sentence));
        }
        Ok(())
    }

    pub fn show(&self) -> Map<String, Value> {
        let own = json!({
            "allowed_redirect_uris": self.redirect_uris,
            "bound_audiences": self.bound_audiences,
            "bound_claims": self.bound_claims,
            "bound_claims_type": self.comparison,
            "bound_subject": self.bound_subject,
            "callback_mode": "client",
            "claim_mappings": self.claim_mappings,
            "clock_skew_leeway": self.leeways.clock_skew_s,
            "expiration_leeway": self.leeways.expiration_s,
            "groups_claim": self.groups_claim,
            "max_age": self.max_age_s,
            "not_before_leeway": self.leeways.not_before_s,
            "oauth2_metadata": Value::Null,
            "oidc_disable_confirmation": false,
            "oidc_scopes": self.scopes,
            "role_type": self.role_type,
            "token_policies_template_claims": false,
            "user_claim": self.user_claim,
            "user_claim_json_pointer": self.user_claim_is_pointer,
            "verbose_oidc_logging": false,
        });
        let mut shown = Map::new();
        self.params.show(&mut shown);
        self.old_names.show(&mut shown);
        if let Value::Object(own) = own {
            shown.extend(own);
        }
        shown
    }
}

/// That a field which is not supported asks for nothing.
fn fixed(body: &Map<String, Value>, name: &str, values: &[&str]) -> Result<(), Error> {
    let asks_for_nothing = match body.get(name) {
        None | Some(Value::Null | Value::Bool(false)) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::String(text)) => text.is_empty() || values.contains(&text.as_str()),
        Some(Value::Number(number)) => values.contains(&number.to_string().as_str()),
        Some(_) => false,
    };
    let only = values.first().copied().unwrap_or("empty");
    if asks_for_nothing { Ok(()) } else { Err(Error::invalid(format!("{name} can only be {only}"))) }
}
