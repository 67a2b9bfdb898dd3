//! What a caller may do, told to clients in Vault's shapes.

use serde_json::{Map, Value, json};

use super::acl::{Acl, Grant};
use super::capability::Capability;
use super::constraint::Parameters;
use crate::plan::Operation;

impl Acl {
    /// Whether anything below `folder` may be granted: who can reach nothing in a mount need not know that it is there.
    pub fn reaches_below(&self, folder: &str) -> bool {
        let reaches = |grant: &Grant| {
            let granted = grant.capabilities.effective();
            !granted.is_empty() && !granted.denies() && grant.pattern.reaches_below(folder)
        };
        self.is_root() || self.grants().iter().any(reaches)
    }

    /// Whether `sudo` is granted at `path`.
    pub fn may_sudo(&self, path: &str) -> bool {
        let granted = || self.find(path, Operation::Write).map(|grant| grant.capabilities.effective());
        self.is_root() || granted().is_some_and(|granted| granted.has(Capability::Sudo))
    }

    /// For `sys/capabilities`: what is granted at `path`, in the order of the alphabet; `deny` alone if nothing is, and
    /// `root` alone for root. A path that ends in a slash is looked at as a list's is.
    pub fn capabilities(&self, path: &str) -> Vec<&'static str> {
        if self.is_root() {
            return vec!["root"];
        }
        let relative = path.trim_start_matches('/');
        // Without a slash at its end a path is a secret's, and a list only falls back to it.
        let operation = if relative.ends_with('/') { Operation::List } else { Operation::Read };
        self.find(relative, operation).map_or_else(|| vec![Capability::Deny.name()], granted)
    }

    /// For `sys/internal/ui/resultant-acl`: every rule, by whether it stands for one path or for all that begin so.
    /// Rules with `+` have no place in this shape; the interfaces that ask do not know them.
    pub fn resultant(&self) -> Value {
        if self.is_root() {
            return json!({"root": true});
        }
        let (mut exact, mut glob) = (Map::new(), Map::new());
        for grant in self.grants().iter().filter(|grant| grant.pattern.wildcards() == 0) {
            let paths = if grant.pattern.is_glob() { &mut glob } else { &mut exact };
            paths.insert(grant.pattern.stem(), rule(grant));
        }
        json!({"root": false, "exact_paths": exact, "glob_paths": glob})
    }
}

fn granted(grant: &Grant) -> Vec<&'static str> {
    let names = grant.capabilities.names();
    if names.is_empty() { vec![Capability::Deny.name()] } else { names }
}

fn rule(grant: &Grant) -> Value {
    let mut told = Map::from_iter([("capabilities".to_owned(), json!(granted(grant)))]);
    let constraints = &grant.constraints;
    let mut tell = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            told.insert(name.to_owned(), value);
        }
    };
    tell("min_wrapping_ttl", constraints.wrap.min_s.map(Value::from));
    tell("max_wrapping_ttl", constraints.wrap.max_s.map(Value::from));
    tell("allowed_parameters", parameters(constraints.allowed.as_ref()));
    tell("denied_parameters", parameters(constraints.denied.as_ref()));
    tell("required_parameters", (!constraints.required.is_empty()).then(|| json!(constraints.required)));
    tell("pagination_limit", constraints.list_limit.map(Value::from));
    told.into()
}

fn parameters(parameters: Option<&Parameters>) -> Option<Value> {
    let parameters = parameters.filter(|parameters| !parameters.is_empty())?;
    Some(parameters.iter().map(|(name, values)| (name.clone(), Value::from(values.0.clone()))).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::acl;
    use super::*;

    #[test]
    fn capabilities_of_a_path_are_those_of_its_rule() {
        let acl = acl(&[
            "path \"a/*\" { policy = \"write\" } path \"a/b\" { policy = \"deny\" } path \"a/none\" {}",
            "path \"a/*\" { capabilities = [\"sudo\"] } path \"l\" { capabilities = [\"list\"] }",
        ]);
        for (path, expected) in [
            ("a/x", vec!["create", "delete", "list", "read", "sudo", "update"]),
            ("/a/x", vec!["create", "delete", "list", "read", "sudo", "update"]),
            ("a/b", vec!["deny"]),
            ("a/none", vec!["deny"]),
            ("b", vec!["deny"]),
            ("l", vec!["list"]),
            ("l/", vec!["list"]),
        ] {
            assert_eq!(acl.capabilities(path), expected, "{path}");
        }
        assert_eq!(Acl::root().capabilities("x"), ["root"]);
    }

    #[test]
    fn the_resultant_rules_have_the_shape_that_interfaces_read() {
        let acl = acl(&[r#"
            path "a" { capabilities = ["update"] allowed_parameters = { "x" = [1] } required_parameters = ["x"] }
            path "b/*" { capabilities = ["read"] min_wrapping_ttl = 5 max_wrapping_ttl = 60 denied_parameters = { "y" = [] } }
            path "c/+/d" { policy = "read" }
            path "d" { policy = "deny" }
        "#]);
        assert_eq!(
            acl.resultant(),
            json!({
                "root": false,
                "exact_paths": {
                    "a": {"capabilities": ["update"], "allowed_parameters": {"x": [1]}, "required_parameters": ["x"]},
                    "d": {"capabilities": ["deny"]},
                },
                "glob_paths": {
                    "b/": {
                        "capabilities": ["read"],
                        "min_wrapping_ttl": 5,
                        "max_wrapping_ttl": 60,
                        "denied_parameters": {"y": []},
                    },
                },
            })
        );
        assert_eq!(Acl::root().resultant(), json!({"root": true}));
    }
}
