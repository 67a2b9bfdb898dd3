//! The settings of tokens that every login method has (`token_ttl` and so on), read and shown in one place.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::engine::mount::Mount;
use crate::error::Error;
use crate::fields;
use crate::policy::name;

/// Policies of a login at most.
const POLICIES_MAX: usize = 256;
/// Networks of a list at most.
const CIDRS_MAX: usize = 256;
/// What a lifetime may be at most, in seconds: a century, so that no sum of times overflows.
const DURATION_S_MAX: i64 = 100 * 366 * 24 * 3_600;

/// How tokens of a user or role are made. Times in seconds; 0: the mount's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenParams {
    pub bound_cidrs: Vec<IpNet>,
    pub explicit_max_ttl_s: u64,
    pub max_ttl_s: u64,
    pub no_default_policy: bool,
    pub num_uses: u64,
    pub period_s: u64,
    pub policies: Vec<String>,
    pub strictly_bind_ip: bool,
    pub ttl_s: u64,
    #[serde(rename = "token_type")]
    pub kind: AskedKind,
}

/// Which tokens a user or role asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AskedKind {
    /// The mount's.
    #[default]
    Default,
    Service,
    Batch,
}

impl AskedKind {
    fn named(name: &str) -> Option<Self> {
        match name {
            "" | "default" | "default-service" => Some(Self::Default),
            "service" => Some(Self::Service),
            "batch" => Some(Self::Batch),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Service => "service",
            Self::Batch => "batch",
        }
    }
}

impl TokenParams {
    /// The fields under which they are given.
    pub const FIELDS: [&str; 10] = [
        "token_bound_cidrs",
        "token_explicit_max_ttl",
        "token_max_ttl",
        "token_no_default_policy",
        "token_num_uses",
        "token_period",
        "token_policies",
        "token_strictly_bind_ip",
        "token_ttl",
        "token_type",
    ];

    /// Takes over what `body` gives.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the field.
    pub fn apply(&mut self, body: &Map<String, Value>) -> Result<(), Error> {
        if let Some(cidrs) = fields::texts(body, "token_bound_cidrs")? {
            self.bound_cidrs = nets(&cidrs, "token_bound_cidrs")?;
        }
        for (name, seconds) in [
            ("token_explicit_max_ttl", &mut self.explicit_max_ttl_s),
            ("token_max_ttl", &mut self.max_ttl_s),
            ("token_period", &mut self.period_s),
            ("token_ttl", &mut self.ttl_s),
        ] {
            if let Some(given) = fields::duration_s(body, name)? {
                *seconds = lifetime_s(given, name)?;
            }
        }
        if let Some(no_default_policy) = fields::boolean(body, "token_no_default_policy")? {
            self.no_default_policy = no_default_policy;
        }
        if let Some(uses) = fields::integer(body, "token_num_uses")? {
            self.num_uses =
                u64::try_from(uses).map_err(|_| Error::invalid("'token_num_uses' cannot be negative"))?;
        }
        if let Some(policies) = fields::texts(body, "token_policies")? {
            self.policies = policies_of(&policies)?;
        }
        if let Some(strictly_bind_ip) = fields::boolean(body, "token_strictly_bind_ip")? {
            self.strictly_bind_ip = strictly_bind_ip;
        }
        if let Some(kind) = fields::text(body, "token_type")? {
            self.kind = AskedKind::named(&kind).ok_or_else(|| {
                Error::invalid("invalid 'token_type' value: it is \"service\", \"batch\" or \"default\"")
            })?;
        }
        if self.kind == AskedKind::Batch {
            self.check_batch()?;
        }
        if self.max_ttl_s > 0 && self.ttl_s > self.max_ttl_s {
            return Err(Error::invalid("'token_ttl' cannot be greater than 'token_max_ttl'"));
        }
        Ok(())
    }

    /// Nothing is written of a batch token, so that nothing can be counted or made to last longer.
    ///
    /// # Errors
    /// [`Error::Invalid`]: such tokens were asked for.
    pub fn check_batch(&self) -> Result<(), Error> {
        let refuse = |what: &str| {
            Err(Error::invalid(format!(
                "'token_type' cannot be 'batch' or 'default_batch' when set to generate {what}"
            )))
        };
        if self.period_s > 0 {
            return refuse("periodic tokens");
        }
        if self.num_uses > 0 {
            return refuse("tokens with limited use count");
        }
        Ok(())
    }

    /// The fields with their values, as they are answered.
    pub fn show(&self, shown: &mut Map<String, Value>) {
        let fields = json!({
            "token_bound_cidrs": net_texts(&self.bound_cidrs),
            "token_explicit_max_ttl": self.explicit_max_ttl_s,
            "token_max_ttl": self.max_ttl_s,
            "token_no_default_policy": self.no_default_policy,
            "token_num_uses": self.num_uses,
            "token_period": self.period_s,
            "token_policies": self.policies,
            "token_strictly_bind_ip": self.strictly_bind_ip,
            "token_ttl": self.ttl_s,
            "token_type": self.kind.name(),
        });
        if let Value::Object(fields) = fields {
            shown.extend(fields);
        }
    }

    /// What an operator should know of these settings.
    pub fn warnings(&self, mount: &Mount) -> Vec<String> {
        let is_cut = self.max_ttl_s > mount.effective_max_lease_s();
        let sentence = "token_max_ttl is greater than the backend mount's maximum TTL value; issued tokens' max TTL \
                        value will be truncated";
        if is_cut { vec![sentence.to_owned()] } else { Vec::new() }
    }
}

/// Policies by name, in order, each once.
///
/// # Errors
/// [`Error::Invalid`]: too many, or no names.
pub fn policies_of(given: &[String]) -> Result<Vec<String>, Error> {
    if given.len() > POLICIES_MAX {
        return Err(Error::invalid(format!("a login has at most {POLICIES_MAX} policies")));
    }
    let mut policies: Vec<String> =
        given.iter().map(|policy| name::normalised(policy.trim())).collect::<Result<_, _>>()?;
    if policies.iter().any(|policy| !name::is_assignable(policy)) {
        return Err(Error::invalid("one of these policies cannot be assigned"));
    }
    policies.sort_unstable();
    policies.dedup();
    Ok(policies)
}

/// Networks, or single addresses.
///
/// # Errors
/// [`Error::Invalid`]: one is neither.
pub fn nets(given: &[String], field: &str) -> Result<Vec<IpNet>, Error> {
    if given.len() > CIDRS_MAX {
        return Err(Error::invalid(format!("{field} has at most {CIDRS_MAX} entries")));
    }
    let net = |text: &String| {
        let text = text.trim();
        text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
    };
    let nets: Result<Vec<IpNet>, _> = given.iter().map(net).collect();
    nets.map_err(|_| {
        Error::invalid(format!("error parsing {field}: each is a network such as 10.0.0.0/8, or an address"))
    })
}

/// Networks as texts; one of a single address as that address.
pub fn net_texts(nets: &[IpNet]) -> Vec<String> {
    let text = |net: &IpNet| {
        if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
    };
    nets.iter().map(text).collect()
}

/// Whether `from` lies in one of `nets`. Of a caller whose address is not known, nothing is believed.
pub fn is_within(nets: &[IpNet], from: Option<IpAddr>) -> bool {
    from.is_some_and(|from| {
        let from = from.to_canonical();
        nets.iter().any(|net| net.contains(&from))
    })
}

/// # Errors
/// [`Error::Invalid`]: negative, or beyond all reason.
pub fn lifetime_s(seconds: i64, field: &str) -> Result<u64, Error> {
    let fits = u64::try_from(seconds).ok().filter(|_| seconds <= DURATION_S_MAX);
    fits.ok_or_else(|| {
        let what = if seconds < 0 { "cannot be negative" } else { "is too long" };
        Error::invalid(format!("'{field}' {what}"))
    })
}
