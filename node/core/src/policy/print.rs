//! A policy as text again: one spelling for one meaning.

use std::fmt::{self, Display, Formatter};

use serde_json::Value;

use super::constraint::Parameters;
use super::parse::{Policy, Rule};
use crate::engine::text::time_text;

impl Display for Policy {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (number, rule) in self.rules.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{rule}")?;
        }
        Ok(())
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // The first slash is taken for the root of the API.
        let slash = if self.path.text().starts_with('/') { "/" } else { "" };
        writeln!(f, "path {} {{", quoted(&format!("{slash}{}", self.path.text())))?;
        writeln!(f, "  capabilities = {}", list(self.capabilities.names()))?;
        let constraints = &self.constraints;
        parameters(f, "allowed_parameters", constraints.allowed.as_ref())?;
        parameters(f, "denied_parameters", constraints.denied.as_ref())?;
        if !constraints.required.is_empty() {
            let names = constraints.required.iter().map(String::as_str);
            writeln!(f, "  required_parameters = {}", list(names))?;
        }
        for (name, seconds) in
            [("min_wrapping_ttl", constraints.wrap.min_s), ("max_wrapping_ttl", constraints.wrap.max_s)]
        {
            if let Some(seconds) = seconds {
                writeln!(f, "  {name} = {seconds}")?;
            }
        }
        if let Some(limit) = constraints.list_limit {
            writeln!(f, "  pagination_limit = {limit}")?;
        }
        if let Some(expires_ms) = self.expires_ms {
            writeln!(f, "  expiration = {}", quoted(&time_text(expires_ms)))?;
        }
        if let Some(comment) = &self.comment {
            writeln!(f, "  comment = {}", quoted(comment))?;
        }
        f.write_str("}\n")
    }
}

fn parameters(f: &mut Formatter<'_>, name: &str, parameters: Option<&Parameters>) -> fmt::Result {
    let Some(parameters) = parameters else { return Ok(()) };
    writeln!(f, "  {name} = {{")?;
    for (parameter, values) in parameters {
        let values: Vec<String> = values.0.iter().map(value).collect();
        writeln!(f, "    {} = [{}]", quoted(parameter), values.join(", "))?;
    }
    f.write_str("  }\n")
}

fn value(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(self::value).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields =
                fields.iter().map(|(name, field)| format!("{} = {}", quoted(name), self::value(field)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => quoted(text),
        scalar => scalar.to_string(),
    }
}

/// In quotes, as HCL and JSON both read it.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    format!("[{}]", items.into_iter().map(quoted).collect::<Vec<_>>().join(", "))
}
