use serde_json::{Value, json};

use crate::auth::jose::testing::Signer;
use crate::auth::testing::{Answer, World};
use crate::errand::Task;
use crate::error::Error;

const REVIEWS: &str = "https://k8s:6443/apis/authentication.k8s.io/v1/tokenreviews";
const CERTIFICATE: &str = include_str!("../jose/vectors/certificate.txt");

fn world() -> World {
    let mut world = World::new();
    let settings = json!({ "kubernetes_host": "https://k8s:6443/", "kubernetes_ca_cert": CERTIFICATE });
    world.write("kubernetes/config", settings).unwrap();
    let role = json!({
        "bound_service_account_names": "app,web-*", "bound_service_account_namespaces": ["prod"],
        "audience": "vault", "token_policies": "p",
    });
    world.write("kubernetes/role/app", role).unwrap();
    world
}

fn claims(more: Value) -> Value {
    let mut claims = json!({
        "aud": ["vault", "api"], "sub": "system:serviceaccount:prod:app",
        "kubernetes.io": { "namespace": "prod", "serviceaccount": { "name": "app", "uid": "u1" }, "pod": { "name": "x" } },
    });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

fn review(world: &mut World, status: u16, more: Value) {
    let mut said = json!({
        "authenticated": true, "audiences": ["vault"],
        "user": { "username": "system:serviceaccount:prod:app", "uid": "u1", "groups": [] },
    });
    said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = json!({ "kind": "TokenReview", "status": said }).to_string();
    world.web.insert(REVIEWS.to_owned(), (status, answer));
}

fn login(world: &mut World, claims: &Value) -> Result<Answer, Error> {
    let token = Signer::rsa().token("k", claims);
    world.write("kubernetes/login", json!({ "role": "app", "jwt": token }))
}

#[test]
fn an_account_logs_in_that_the_cluster_knows() {
    let mut world = world();
    review(&mut world, 201, json!({}));
    let answer = login(&mut world, &claims(json!({}))).unwrap();
    assert_eq!(
        answer.auth["metadata"],
        json!({
            "role": "app", "service_account_name": "app", "service_account_namespace": "prod",
            "service_account_secret_name": "", "service_account_uid": "u1",
        })
    );
    assert_eq!(world.identify(answer.token()).unwrap().entry.display_name, "kubernetes-prod-app");
    let [errand] = &world.asked[..] else { panic!("the cluster is asked once") };
    let Task::Post(body) = &errand.task else { panic!("a review is a POST") };
    let body: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(body["spec"]["audiences"], json!(["vault"]));
    let token = body["spec"]["token"].as_str().unwrap();
    let bearer = &errand.headers.iter().find(|(name, _)| name == "authorization").unwrap().1;
    assert_eq!(bearer.as_str(), format!("Bearer {token}"), "nothing else was given");
    assert_eq!(errand.authorities, CERTIFICATE);
}

#[test]
fn an_account_is_known_by_its_id_or_by_its_name() {
    let mut world = world();
    review(&mut world, 200, json!({}));
    let first = login(&mut world, &claims(json!({}))).unwrap().auth["entity_id"].clone();
    let other =
        json!({ "kubernetes.io": { "namespace": "prod", "serviceaccount": { "name": "app", "uid": "u2" } } });
    review(&mut world, 200, json!({ "user": { "username": "system:serviceaccount:prod:app", "uid": "u2" } }));
    let again = login(&mut world, &claims(other.clone())).unwrap().auth["entity_id"].clone();
    assert_ne!(first, again, "an account that was made anew is another");
    world.write("kubernetes/role/app", json!({ "alias_name_source": "serviceaccount_name" })).unwrap();
    let named = login(&mut world, &claims(other)).unwrap();
    let known = world.identify(named.token()).unwrap();
    assert_eq!(known.entry.login.as_ref().unwrap().alias, "prod/app");
}

#[test]
fn what_a_role_is_not_for_never_gets_to_the_cluster() {
    let mut world = world();
    review(&mut world, 200, json!({}));
    let of = |namespace: &str, name: &str| json!({ "kubernetes.io": { "namespace": namespace, "serviceaccount": { "name": name, "uid": "u1" } } });
    for (more, words) in [
        (
            json!({ "aud": ["api"] }),
            "invalid audience (aud) claim: audience claim does not match any expected audience",
        ),
        (json!({ "exp": 1 }), "invalid expiration time (exp) claim: token is expired"),
        (of("prod", "other"), "service account name not authorized"),
        (of("prod", "App"), "service account name not authorized"),
        (of("test", "app"), "namespace not authorized"),
        (of("prod", ""), "service account name not authorized"),
        (
            json!({ "kubernetes.io": { "namespace": "prod", "serviceaccount": { "name": "app" } } }),
            "could not parse UID",
        ),
        (json!({ "kubernetes.io": [] }), "permission denied"),
        (json!({ "kubernetes.io": { "namespace": 1 } }), "permission denied"),
    ] {
        let refused = login(&mut world, &claims(more.clone())).unwrap_err();
        assert!(matches!(refused, Error::Refused(_) | Error::Denied), "{more}");
        assert!(refused.to_string().starts_with(words), "{more}: {refused}");
        assert!(world.asked.is_empty(), "{more}");
    }
    for (body, error) in [
        (json!({ "jwt": "x" }), Error::invalid("missing role")),
        (json!({ "role": "app" }), Error::invalid("missing jwt")),
        (json!({ "role": "none", "jwt": "x" }), Error::invalid("invalid role name \"none\"")),
        (json!({ "role": "app", "jwt": "garbage" }), Error::Denied),
    ] {
        assert_eq!(world.write("kubernetes/login", body).unwrap_err(), error);
    }
}

#[test]
fn the_clusters_word_is_what_counts() {
    for (status, more) in [
        (200, json!({ "authenticated": false })),
        (200, json!({ "authenticated": "true" })),
        (200, json!({ "error": "expired" })),
        (200, json!({ "audiences": ["api"] })),
        (200, json!({ "audiences": null })),
        (200, json!({ "user": { "username": "system:serviceaccount:prod:app", "uid": "u2" } })),
        (200, json!({ "user": { "username": "system:serviceaccount:prod:web-1", "uid": "u1" } })),
        (200, json!({ "user": { "username": "system:serviceaccount:test:app", "uid": "u1" } })),
        (200, json!({ "user": { "username": "system:serviceaccount:prod:app:x", "uid": "u1" } })),
        (200, json!({ "user": { "username": "system:node:prod:app", "uid": "u1" } })),
        (200, json!({ "user": null })),
        (401, json!({})),
        (500, json!({})),
        (302, json!({})),
    ] {
        let mut world = world();
        review(&mut world, status, more.clone());
        assert_eq!(login(&mut world, &claims(json!({}))).unwrap_err(), Error::Denied, "{status} {more}");
    }
    let mut world = world();
    assert_eq!(login(&mut world, &claims(json!({}))).unwrap_err(), Error::Denied, "it cannot be reached");
    world
        .web
        .insert(REVIEWS.to_owned(), (200, r#"{"status":{"authenticated":true},"status":{}}"#.to_owned()));
    assert_eq!(login(&mut world, &claims(json!({}))).unwrap_err(), Error::Denied);
}

#[test]
fn with_keys_a_token_is_verified_before_the_cluster_is_asked() {
    let mut world = world();
    review(&mut world, 200, json!({}));
    let settings = |signer: &Signer| {
        json!({
            "kubernetes_host": "https://k8s:6443", "kubernetes_ca_cert": CERTIFICATE, "pem_keys": [signer.pem()],
            "token_reviewer_jwt": "reviewer", "disable_iss_validation": false, "issuer": "https://k8s",
        })
    };
    world.write("kubernetes/config", settings(&Signer::rsa())).unwrap();
    let refused = login(&mut world, &claims(json!({}))).unwrap_err();
    assert_eq!(refused, Error::refused("invalid issuer (iss) claim"));
    login(&mut world, &claims(json!({ "iss": "https://k8s" }))).unwrap();
    let bearer = &world.asked[0].headers.iter().find(|(name, _)| name == "authorization").unwrap().1;
    assert_eq!(bearer.as_str(), "Bearer reviewer");
    world.write("kubernetes/config", settings(&Signer::p256())).unwrap();
    assert_eq!(login(&mut world, &claims(json!({ "iss": "https://k8s" }))).unwrap_err(), Error::Denied);
    assert!(world.asked.is_empty());
    let shown = world.read("kubernetes/config").unwrap();
    assert!(!shown.to_string().contains("\"reviewer\"") && shown["token_reviewer_jwt_set"] == true);
}

#[test]
fn tokens_of_the_old_kind_are_known_too() {
    let mut world = world();
    world.write("kubernetes/role/app", json!({ "audience": "" })).unwrap();
    let old = json!({
        "iss": "kubernetes/serviceaccount", "kubernetes.io/serviceaccount/namespace": "prod",
        "kubernetes.io/serviceaccount/secret.name": "web-1-token", "sub": "system:serviceaccount:prod:web-1",
        "kubernetes.io/serviceaccount/service-account.name": "web-1",
        "kubernetes.io/serviceaccount/service-account.uid": "u7",
    });
    let user = json!({ "username": "system:serviceaccount:prod:web-1", "uid": "u7" });
    review(&mut world, 200, json!({ "audiences": null, "user": user }));
    let answer = login(&mut world, &old).unwrap();
    assert_eq!(answer.auth["metadata"]["service_account_secret_name"], "web-1-token");
}

#[test]
fn what_a_mount_or_a_role_cannot_be_is_refused() {
    let mut world = World::new();
    for (body, words) in [
        (json!({}), "no host provided"),
        (json!({ "kubernetes_host": "https://k" }), "kubernetes_ca_cert must be given"),
        (
            json!({ "kubernetes_host": "https://k", "disable_local_ca_jwt": true }),
            "kubernetes_ca_cert must be given when",
        ),
        (json!({ "kubernetes_host": "https://k", "kubernetes_ca_cert": "x" }), "kubernetes_ca_cert holds no"),
        (
            json!({ "kubernetes_host": "file:///x", "kubernetes_ca_cert": CERTIFICATE }),
            "kubernetes_host must be a URL",
        ),
        (
            json!({ "kubernetes_host": "https://k", "kubernetes_ca_cert": CERTIFICATE, "pem_keys": "x" }),
            "data does not contain any valid public keys",
        ),
    ] {
        let refused = world.write("kubernetes/config", body.clone()).unwrap_err().to_string();
        assert!(refused.starts_with(words), "{body}: {refused}");
    }
    for (body, words) in [
        (json!({}), "\"bound_service_account_names\" can not be empty"),
        (
            json!({ "bound_service_account_names": "a" }),
            "\"bound_service_account_namespaces\" can not be empty if",
        ),
        (json!({ "bound_service_account_names": "a,*" }), "can not mix \"*\" with values"),
        (
            json!({ "bound_service_account_names": "*", "bound_service_account_namespaces": ["*", "b"] }),
            "can not mix \"*\" with values",
        ),
        (
            json!({
                "bound_service_account_names": "*", "bound_service_account_namespaces": "*",
                "alias_name_source": "name",
            }),
            "invalid alias_name_source",
        ),
        (
            json!({
                "bound_service_account_names": "*", "bound_service_account_namespace_selector": "{}",
            }),
            "bound_service_account_namespace_selector is not supported",
        ),
    ] {
        let refused = world.write("kubernetes/role/x", body.clone()).unwrap_err().to_string();
        assert!(refused.starts_with(words), "{body}: {refused}");
    }
    assert_eq!(world.list("kubernetes/role").unwrap_err(), Error::NotFound);
}
