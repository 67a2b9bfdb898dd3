//! One thing that is asked about rights, with the secrets that it takes, as a request of the HTTP API.

use conclave_oracle::access::{Access, Use, Way};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

/// The secret that the rule of these clients' policies is about.
pub const HELD: &str = "secret/data/harness/held";
const MS_PER_S: u64 = 1_000;

/// It has no `Debug`: it holds tokens and passwords.
pub struct Step {
    pub access: Access,
    /// The token it is asked with. Logins need none.
    pub bearer: String,
    /// What the body names: a token, an accessor or a password.
    pub named: String,
    /// Of a token that is made: all that it is made by.
    pub ancestors: Vec<String>,
    /// Whether it can be renewed without end.
    pub periodic: bool,
}

impl Step {
    pub fn new(access: Access, bearer: &str) -> Self {
        let (named, ancestors) = (String::new(), Vec::new());
        Self { access, bearer: bearer.to_owned(), named, ancestors, periodic: false }
    }

    pub fn naming(self, named: &str) -> Self {
        Self { named: named.to_owned(), ..self }
    }

    pub fn request(&self, http: &Client, node_url: &str) -> RequestBuilder {
        let (method, path, body) = self.parts();
        let mut request = http.request(method, format!("{node_url}/v1/{path}"));
        if !self.bearer.is_empty() {
            request = request.header("X-Vault-Token", &self.bearer);
        }
        if let Access::Wrap { ttl_ms, .. } = &self.access {
            request = request.header("X-Vault-Wrap-TTL", seconds(*ttl_ms));
        }
        if body.is_null() { request } else { request.body(body.to_string()) }
    }

    fn parts(&self) -> (Method, String, Value) {
        let get = |path: &str| (Method::GET, path.to_owned(), Value::Null);
        let post = |path: &str, body: Value| (Method::POST, path.to_owned(), body);
        match &self.access {
            Access::CreateToken { policy, ttl_ms, .. } => {
                let time = if self.periodic { "period" } else { "ttl" };
                post("auth/token/create", json!({"policies": [policy], time: seconds(*ttl_ms)}))
            }
            Access::RenewToken { .. } => post("auth/token/renew-self", Value::Null),
            Access::UseToken { what: Use::Secret, .. } => get(HELD),
            Access::UseToken { what: Use::Itself, .. } => get("auth/token/lookup-self"),
            Access::RevokeToken { way: Way::Token, .. } => {
                post("auth/token/revoke", json!({ "token": self.named }))
            }
            Access::RevokeToken { way: Way::Accessor, .. } => {
                post("auth/token/revoke-accessor", json!({ "accessor": self.named }))
            }
            Access::RevokeToken { way: Way::Own, .. } => post("auth/token/revoke-self", Value::Null),
            Access::Grant { policy } => post(&acl(policy), json!({ "policy": rules(true) })),
            Access::Withdraw { policy } => post(&acl(policy), json!({ "policy": rules(false) })),
            Access::Login { user, .. } => post(&of_user(user, "login"), json!({ "password": self.named })),
            Access::Wrap { value, .. } => post("sys/wrapping/wrap", json!({ "value": value })),
            Access::Unwrap { .. } => post("sys/wrapping/unwrap", Value::Null),
        }
    }
}

fn seconds(ms: u64) -> String {
    format!("{}s", ms / MS_PER_S)
}

fn acl(policy: &str) -> String {
    format!("sys/policies/acl/{policy}")
}

/// Where a user's mount has what is asked about him.
pub fn of_user(user: &str, what: &str) -> String {
    let (mount, name) = user.split_once('/').unwrap_or(("userpass", user));
    format!("auth/{mount}/{what}/{name}")
}

/// What a policy of these clients says: who holds it may make tokens, and with its rule read the secret.
fn rules(with_rule: bool) -> String {
    let make = r#"path "auth/token/create" { capabilities = ["create", "update"] }"#;
    let read = format!(r#"path "{HELD}" {{ capabilities = ["read"] }}"#);
    if with_rule { format!("{make}\n{read}\n") } else { format!("{make}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(access: Access) -> (String, Value) {
        let (method, path, body) = Step::new(access, "root").naming("it").parts();
        (format!("{method} {path}"), body)
    }

    #[test]
    fn each_thing_is_asked_as_vault_spells_it() {
        let token = || "t1".to_owned();
        let revoke = |way| sent(Access::RevokeToken { token: token(), way });
        assert_eq!(revoke(Way::Token).1, json!({"token": "it"}));
        assert_eq!(
            revoke(Way::Accessor),
            ("POST auth/token/revoke-accessor".to_owned(), json!({"accessor": "it"}))
        );
        assert_eq!(revoke(Way::Own).0, "POST auth/token/revoke-self");
        let login = sent(Access::Login { user: "locks-3-9000/u1".to_owned(), right: true });
        assert_eq!(login, ("POST auth/locks-3-9000/login/u1".to_owned(), json!({"password": "it"})));
        let create =
            Access::CreateToken { token: token(), parent: None, policy: "p".to_owned(), ttl_ms: 5_000 };
        assert_eq!(sent(create).1, json!({"policies": ["p"], "ttl": "5s"}));
    }

    #[test]
    fn only_with_its_rule_a_policy_opens_the_secret() {
        assert!(rules(true).contains(HELD) && !rules(false).contains(HELD));
    }
}
