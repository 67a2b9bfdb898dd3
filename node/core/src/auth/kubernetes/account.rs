//! A service account, as its token tells of it: a token that a pod was given, or an old one that lay in a secret.

use serde_json::{Map, Value};

use crate::auth::jose::audiences;

#[derive(Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    /// Of the old kind: the secret that it lay in.
    pub secret_name: String,
    pub audiences: Vec<String>,
}

impl Account {
    /// `None`: a claim is of a form that it never has.
    pub fn of(claims: &Map<String, Value>) -> Option<Self> {
        let old = |name: &str| text(claims, &format!("kubernetes.io/serviceaccount/{name}"));
        let audiences = audiences(claims)?.into_iter().map(str::to_owned).collect();
        let mut account = Self {
            name: old("service-account.name")?,
            namespace: old("namespace")?,
            uid: old("service-account.uid")?,
            secret_name: old("secret.name")?,
            audiences,
        };
        match claims.get("kubernetes.io") {
            None | Some(Value::Null) => {}
            Some(Value::Object(given)) => {
                account.namespace = text(given, "namespace")?;
                match given.get("serviceaccount") {
                    None | Some(Value::Null) => {}
                    Some(Value::Object(own)) => {
                        (account.name, account.uid) = (text(own, "name")?, text(own, "uid")?);
                    }
                    Some(_) => return None,
                }
            }
            Some(_) => return None,
        }
        Some(account)
    }
}

/// Empty: there is none.
fn text(object: &Map<String, Value>, name: &str) -> Option<String> {
    match object.get(name) {
        None | Some(Value::Null) => Some(String::new()),
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => None,
    }
}
