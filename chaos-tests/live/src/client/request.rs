//! An action as a request of the HTTP API.

use conclave_oracle::history::{Action, Freshness};
use conclave_oracle::place::{FLEETING, PLAIN, Place};
use conclave_oracle::versions::KEPT_LEAST;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::json;

/// The mount of the versioned secrets.
const VERSIONED_MOUNT: &str = "secret";

pub fn request(http: &Client, node_url: &str, action: &Action) -> RequestBuilder {
    let at = |path: String| format!("{node_url}/v1/{path}");
    match action {
        Action::Read { key, freshness } => {
            let request = http.get(at(data(key)));
            match freshness {
                Freshness::Linearizable => request,
                Freshness::Stale { bound_ms } => request
                    .header("X-Conclave-Consistency", "stale")
                    .header("X-Conclave-Max-Stale", format!("{bound_ms}ms")),
            }
        }
        Action::Write { key, value, cas, idempotency_key } => {
            let body = match Place::of(key) {
                Place::Plain { .. } => json!({ "value": value }),
                Place::Metadata { .. } => {
                    json!({"custom_metadata": {"note": value.to_string()}, "max_versions": KEPT_LEAST})
                }
                Place::Versioned { .. } | Place::Fleeting { .. } => {
                    let options = cas.map_or_else(|| json!({}), |version| json!({ "cas": version }));
                    json!({"data": {"value": value}, "options": options})
                }
            };
            let request = http.post(at(data(key))).body(body.to_string());
            match idempotency_key {
                Some(key) => request.header("X-Conclave-Idempotency-Key", key),
                None => request,
            }
        }
        Action::Delete { key } => http.delete(at(data(key))),
        Action::Undelete { key, version } => {
            http.post(at(of_versions("undelete", key))).body(json!({ "versions": [version] }).to_string())
        }
        Action::Destroy { key, version } => {
            http.put(at(of_versions("destroy", key))).body(json!({ "versions": [version] }).to_string())
        }
        Action::ReadVersion { key, version } => http.get(at(data(key))).query(&[("version", version)]),
        Action::List { folder } => {
            let list = Method::from_bytes(b"LIST").expect("LIST is a method");
            http.request(list, at(names(folder)))
        }
        Action::Access(_) => unreachable!("rights are asked for by clients that hold the secrets for it"),
    }
}

fn data(key: &str) -> String {
    match Place::of(key) {
        Place::Versioned { path } => format!("{VERSIONED_MOUNT}/data/{path}"),
        Place::Plain { path } => format!("{PLAIN}/{path}"),
        Place::Metadata { path } => format!("{VERSIONED_MOUNT}/metadata/{path}"),
        Place::Fleeting { after_ms, path } => format!("{FLEETING}{after_ms}/data/{path}"),
    }
}

/// Only versioned secrets are asked for these.
fn of_versions(what: &str, key: &str) -> String {
    format!("{VERSIONED_MOUNT}/{what}/{key}")
}

fn names(folder: &str) -> String {
    match Place::of(folder) {
        Place::Plain { path } => format!("{PLAIN}/{path}"),
        _ => format!("{VERSIONED_MOUNT}/metadata/{folder}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(action: &Action) -> (String, String) {
        let request =
            request(&Client::builder().no_proxy().build().unwrap(), "http://n", action).build().unwrap();
        let path = request.url().as_str().strip_prefix("http://n/v1/").unwrap().to_owned();
        (format!("{} {path}", request.method()), request.headers().len().to_string())
    }

    #[test]
    fn each_kind_of_secret_has_its_path() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let read =
            |key: &str| sent(&Action::Read { key: key.to_owned(), freshness: Freshness::Linearizable }).0;
        assert_eq!(read("e1/k2"), "GET secret/data/e1/k2");
        assert_eq!(read("plain/e1/p2"), "GET plain/e1/p2");
        assert_eq!(read("meta/e1/k2"), "GET secret/metadata/e1/k2");
        assert_eq!(read("lasts-5000/f3"), "GET lasts-5000/data/f3");
        let list = |folder: &str| sent(&Action::List { folder: folder.to_owned() }).0;
        assert_eq!(list("e1"), "LIST secret/metadata/e1");
        assert_eq!(list("plain/e1"), "LIST plain/e1");
        let version = Action::ReadVersion { key: "e1/k2".to_owned(), version: 7 };
        assert_eq!(sent(&version).0, "GET secret/data/e1/k2?version=7");
    }
}
