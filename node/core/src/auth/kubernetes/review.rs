//! Asking a Kubernetes cluster whether a token of it still holds, and whose it is (TokenReview of
//! `authentication.k8s.io/v1`).

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::account::Account;
use super::config::Config;
use crate::auth::jose::json::object;
use crate::errand::{Errand, Outcome, Task};

const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// The question.
pub fn question(config: &Config, token: &str, audiences: &[String]) -> Errand {
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": { "token": token, "audiences": audiences },
    });
    let bearer = if config.reviewer_token.is_empty() { token } else { &config.reviewer_token };
    let header = |name: &str, value: &str| (name.to_owned(), Zeroizing::new(value.to_owned()));
    Errand {
        url: format!("{}{PATH}", config.host.trim_end_matches('/')),
        authorities: config.ca_cert.clone(),
        headers: vec![
            header("authorization", &format!("Bearer {bearer}")),
            header("content-type", "application/json"),
            header("accept", "application/json"),
        ],
        task: Task::Post(Zeroizing::new(review.to_string().into_bytes())),
    }
}

/// Whether the cluster says that the token holds, for one of these audiences, and is this account's.
pub fn confirms(outcome: &Outcome, account: &Account, audiences: &[String]) -> bool {
    let Some(review) = outcome.as_ref().ok().filter(|brought| brought.is_success()) else { return false };
    let Some(review) = object(&review.body).map(Value::Object) else { return false };
    let status = &review["status"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let is_for = |audience: &String| {
        status["audiences"].as_array().is_some_and(|list| list.iter().any(|one| one == audience.as_str()))
    };
    let user = format!("system:serviceaccount:{}:{}", account.namespace, account.name);
    // A name with a colon could be taken for a namespace and a name.
    let is_plain = !account.namespace.contains(':') && !account.name.contains(':');
    status["authenticated"] == true
        && text(&status["error"]).is_empty()
        && (audiences.is_empty() || audiences.iter().any(is_for))
        && is_plain
        && text(&status["user"]["username"]) == user
        && text(&status["user"]["uid"]) == account.uid
}
