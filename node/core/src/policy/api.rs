//! `sys/policies/acl` and its older form `sys/policy`: reading and writing policies as OpenBao does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::{lint, name, store};
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyRequest {
    List,
    Read,
    Write,
    Delete,
}

/// Under which name answers and bodies have the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// `sys/policies/acl`: `policy`.
    Policies,
    /// `sys/policy`: `rules`, and in bodies `policy` as well.
    Policy,
}

/// Plans what was asked of the policy `named`. `versioned`: the paths of KV v2 mounts, for warnings.
///
/// # Errors
/// [`Error`].
pub fn handle(
    ctx: &mut Context<'_>,
    request: PolicyRequest,
    form: Form,
    named: &str,
    body: &Map<String, Value>,
    versioned: &[&str],
) -> Result<Plan, Error> {
    match request {
        PolicyRequest::List => {
            let keys: Vec<String> = store::names(ctx.view, ctx.barrier)?
                .into_iter()
                .filter(|policy| policy != name::RESPONSE_WRAPPING)
                .collect();
            let data = match form {
                Form::Policies => json!({ "keys": keys }),
                Form::Policy => json!({ "keys": keys, "policies": keys }),
            };
            Ok(Reply::json(&data).into())
        }
        PolicyRequest::Read => {
            let named = name::normalised(named)?;
            let told = store::told(ctx.view, ctx.barrier, &named)?.ok_or(Error::NotFound)?;
            let mut data = json!({ "name": named, "version": told.version });
            data[form.text_field()] = told.text.into();
            if let Some(modified) = told.modified {
                data["modified"] = modified.into();
            }
            Ok(Reply::json(&data).into())
        }
        PolicyRequest::Write => {
            let named = name::normalised(named)?;
            let text = text_in(form, body)?;
            let (policy, txn) = store::plan_write(ctx, &named, &text)?;
            let warnings = lint::lint(&policy, versioned, ctx.now_ms);
            let status = if warnings.is_empty() { 204 } else { 200 };
            Ok(Plan { txn, reply: Reply { warnings, ..Reply::empty(status) } })
        }
        PolicyRequest::Delete => {
            let txn = store::plan_delete(ctx, &name::normalised(named)?)?;
            Ok(Plan { txn, reply: Reply::no_content() })
        }
    }
}

impl Form {
    fn text_field(self) -> &'static str {
        match self {
            Self::Policies => "policy",
            Self::Policy => "rules",
        }
    }
}

/// The text, which may come in base64.
fn text_in(form: Form, body: &Map<String, Value>) -> Result<String, Error> {
    let own = fields::text(body, form.text_field())?.filter(|text| !text.is_empty());
    let text = match own {
        Some(text) => Some(text),
        None => fields::text(body, "policy")?.filter(|text| !text.is_empty()),
    };
    let text = text.ok_or_else(|| Error::invalid("'policy' parameter not supplied or empty"))?;
    Ok(decoded(text))
}

/// A text that may come in base64.
pub(super) fn decoded(text: String) -> String {
    let decoded = BASE64.decode(text.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.unwrap_or(text)
}
