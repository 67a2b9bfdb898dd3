use serde_json::{Value, json};

use crate::auth::Method;
use crate::auth::jose::testing::Signer;
use crate::auth::testing::{Answer, World};
use crate::errand::Task;
use crate::error::Error;
use crate::identity::{self, AuthMounts, IdentityRequest};
use crate::plan::Query;

const MINUTE_MS: u64 = 60_000;

/// Who signs, and a mount that believes it: its key was given.
fn given() -> (World, Signer) {
    let (mut world, signer) = (World::new(), Signer::p256());
    world.write("jwt/config", json!({ "jwt_validation_pubkeys": [signer.pem()] })).unwrap();
    (world, signer)
}

fn role(world: &mut World, more: Value) -> Result<Answer, Error> {
    let mut role = json!({ "role_type": "jwt", "user_claim": "sub", "bound_audiences": "me" });
    role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.write("jwt/role/app", role)
}

fn claims(world: &World, more: Value) -> Value {
    let now_s = world.now_ms / 1_000;
    let mut claims =
        json!({ "sub": "ada", "aud": "me", "iss": "https://s", "iat": now_s, "exp": now_s + 300 });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

fn login(world: &mut World, token: &str) -> Result<Answer, Error> {
    world.write("jwt/login", json!({ "role": "app", "jwt": token }))
}

fn sentence(result: Result<Answer, Error>) -> String {
    match result {
        Ok(_) => "it is taken".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_login_gives_a_token_by_the_roles_settings() {
    let (mut world, signer) = given();
    let more = json!({
        "token_policies": ["p2", "P1"], "ttl": "1h", "token_num_uses": 3,
        "claim_mappings": { "/team/name": "team", "missing": "nothing" },
    });
    role(&mut world, more).unwrap();
    let token = signer.token("k", &claims(&world, json!({ "team": { "name": "blue" } })));
    let answer = login(&mut world, &token).unwrap();
    let auth = &answer.auth;
    assert_eq!(auth["policies"], json!(["default", "p1", "p2"]));
    assert_eq!(auth["metadata"], json!({ "role": "app", "team": "blue" }));
    assert_eq!((&auth["lease_duration"], &auth["num_uses"]), (&json!(3_600), &json!(3)));
    let known = world.identify(answer.token()).unwrap();
    assert_eq!((known.entry.display_name.as_str(), known.entry.path.as_str()), ("jwt-ada", "auth/jwt/login"));
    let again = login(&mut world, &token).unwrap();
    assert_eq!(again.auth["entity_id"], auth["entity_id"], "he is the same");
    assert!(!world.state.contains(token.as_bytes()) && !world.state.contains(b"ada"));
}

#[test]
fn the_same_method_has_two_names() {
    let (mut world, signer) = (World::new(), Signer::ed25519());
    world
        .write("oidc/config", json!({ "jwt_validation_pubkeys": signer.pem(), "default_role": "App" }))
        .unwrap();
    let body = json!({ "role_type": "jwt", "user_claim": "sub", "bound_subject": "ada" });
    world.write("oidc/role/app", body).unwrap();
    let now_s = world.now_ms / 1_000;
    let token = signer.token("k", &json!({ "sub": "ada", "exp": now_s + 100 }));
    let answer = world.write("oidc/login", json!({ "jwt": token })).unwrap();
    assert_eq!(world.identify(answer.token()).unwrap().entry.display_name, "oidc-ada");
    assert!(login(&mut world, &token).is_err(), "the other mount has its own settings");
}

#[test]
fn whoever_is_not_who_the_role_is_for_is_refused() {
    let (mut world, signer) = given();
    let bound = json!({
        "bound_subject": "ada", "bound_claims": { "/org/name": ["x", "y"], "level": 3 }, "groups_claim": "groups",
        "token_bound_cidrs": "10.0.0.0/8",
    });
    role(&mut world, bound).unwrap();
    world
        .write("jwt/config", json!({ "jwt_validation_pubkeys": signer.pem(), "bound_issuer": "https://s" }))
        .unwrap();
    world.from("10.1.2.3");
    let good = json!({ "org": { "name": "y" }, "level": 3, "groups": ["g"] });
    let token = |world: &World, more: Value| {
        let mut all = claims(world, good.clone());
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        signer.token("k", &all)
    };
    let right = token(&world, json!({}));
    login(&mut world, &right).unwrap();
    for (more, words) in [
        (json!({ "sub": "eve" }), "error validating token: invalid subject (sub) claim"),
        (json!({ "iss": "https://t" }), "error validating token: invalid issuer (iss) claim"),
        (json!({ "aud": "you" }), "error validating token: invalid audience (aud) claim"),
        (
            json!({ "exp": 1 }),
            "error validating token: invalid expiration time (exp) claim: token is expired",
        ),
        (
            json!({ "org": { "name": "z" } }),
            "error validating claims: claim \"/org/name\" does not match any",
        ),
        (json!({ "org": null }), "error validating claims: claim \"/org/name\" is missing"),
        (json!({ "level": "3" }), "error validating claims: claim \"level\" does not match any"),
        (json!({ "groups": null }), "failed to fetch groups: \"groups\" claim not found in token"),
        (json!({ "groups": [{}] }), "a value in groups claim could not be parsed as string"),
    ] {
        let token = token(&world, more.clone());
        let found = sentence(login(&mut world, &token));
        assert!(found.starts_with(words), "{more}: {found}");
    }
    assert_eq!(login(world.from("192.168.0.1"), &right).unwrap_err(), Error::Denied);
    world.from("10.1.2.3");
    let stranger = Signer::p256().token("k", &claims(&world, good.clone()));
    let words = "error validating token: error verifying token signature: no known key successfully validated the \
                 token signature";
    assert_eq!(sentence(login(&mut world, &stranger)), words);
    for (body, words) in [
        (json!({ "role": "app" }), "missing token"),
        (json!({ "jwt": right }), "missing role"),
        (json!({ "jwt": right, "role": "none" }), "role \"none\" could not be found"),
        (json!({ "jwt": right, "role": "a/b" }), "no role has such a name"),
    ] {
        assert_eq!(sentence(world.write("jwt/login", body)), words);
    }
    world.now_ms += 10 * MINUTE_MS;
    assert!(sentence(login(&mut world, &right)).contains("token is expired"));
}

/// CVE-2024-5798: what a role does not bind is not taken for granted.
#[test]
fn a_token_for_others_is_not_for_a_role_without_audiences() {
    let (mut world, signer) = given();
    role(&mut world, json!({ "bound_audiences": "", "bound_subject": "ada" })).unwrap();
    let token = signer.token("k", &claims(&world, json!({})));
    let words = "audience claim found in JWT but no audiences bound to the role";
    assert_eq!(sentence(login(&mut world, &token)), words);
    let token = signer.token("k", &claims(&world, json!({ "aud": null })));
    login(&mut world, &token).unwrap();
}

#[test]
fn only_what_the_mount_allows_is_signed_by() {
    let (mut world, signer) = given();
    role(&mut world, json!({})).unwrap();
    let settings = json!({ "jwt_validation_pubkeys": signer.pem(), "jwt_supported_algs": "RS256,EdDSA" });
    world.write("jwt/config", settings).unwrap();
    let token = signer.token("k", &claims(&world, json!({})));
    assert!(sentence(login(&mut world, &token)).contains("unexpected algorithm"));
    for bad in ["none", "HS256", "ES512", "RS256,none"] {
        let settings = json!({ "jwt_validation_pubkeys": signer.pem(), "jwt_supported_algs": bad });
        assert!(
            sentence(world.write("jwt/config", settings)).starts_with("invalid jwt_supported_algs"),
            "{bad}"
        );
    }
}

#[test]
fn a_login_follows_the_groups_that_it_is_told_of() {
    let (mut world, signer) = given();
    role(&mut world, json!({ "groups_claim": "/realm/groups" })).unwrap();
    let accessor = world.table().find("auth/jwt").unwrap().accessor().to_owned();
    for (group, policy) in [("ops", "p-ops"), ("dev", "p-dev")] {
        let mut identity = |request, body: Value| {
            let table = world.table();
            let body = body.as_object().unwrap();
            let handle = |ctx: &mut crate::plan::Context<'_>| {
                identity::handle(ctx, request, &AuthMounts::of(ctx.barrier, &table), "", body)
            };
            let told = world.commit(handle).unwrap().data.unwrap();
            serde_json::from_slice::<Value>(&told).unwrap()["id"].clone()
        };
        let body = json!({ "name": group, "type": "external", "policies": policy });
        let id = identity(IdentityRequest::GroupCreate, body);
        let body = json!({ "name": group, "mount_accessor": accessor, "canonical_id": id });
        identity(IdentityRequest::GroupAliasCreate, body);
    }
    for (groups, policies) in [
        (json!(["ops", "unknown", ""]), json!(["p-ops"])),
        (json!(["dev", "ops"]), json!(["p-dev", "p-ops"])),
        (json!("dev"), json!(["p-dev"])),
        (json!([]), json!(null)),
    ] {
        let token = signer.token("k", &claims(&world, json!({ "realm": { "groups": groups } })));
        let answer = login(&mut world, &token).unwrap();
        assert_eq!(answer.auth["identity_policies"], policies, "{groups}");
    }
}

#[test]
fn keys_that_a_signer_publishes_are_read_when_they_are_needed() {
    let (mut world, old, new) = (World::new(), Signer::p256(), Signer::rsa());
    let url = "https://s/keys";
    let keys = |keys: &[Value]| (200, json!({ "keys": keys }).to_string());
    let settings = json!({ "jwks_url": url });
    assert_eq!(sentence(world.write("jwt/config", settings.clone())), "error checking jwks URL");
    let skipped = json!({ "jwks_url": url, "skip_jwks_validation": true });
    assert_eq!(world.write("jwt/config", skipped).unwrap().warnings, ["error checking jwks URL"]);
    world.web.insert(url.to_owned(), keys(&[old.jwk("old")]));
    world.write("jwt/config", settings).unwrap();
    role(&mut world, json!({})).unwrap();
    let (by_old, by_new) =
        (old.token("old", &claims(&world, json!({}))), new.token("new", &claims(&world, json!({}))));
    login(&mut world, &by_old).unwrap();
    assert_eq!(world.asked.len(), 1);
    let words =
        "error validating token: error verifying token signature: failed to verify id token signature";
    assert_eq!(sentence(login(&mut world, &by_new)), words);
    let anew: Vec<bool> =
        world.asked.iter().map(|errand| matches!(errand.task, Task::Document { anew: true })).collect();
    assert_eq!(anew, [false, true], "it may have another key by now");
    // A signature that is wrong asks nobody again.
    let forged = Signer::p256().token("old", &claims(&world, json!({})));
    assert_eq!(sentence(login(&mut world, &forged)), words);
    assert_eq!(world.asked.len(), 1);
    world.web.insert(url.to_owned(), keys(&[new.jwk("new")]));
    login(&mut world, &by_new).unwrap();
    world.web.clear();
    assert!(sentence(login(&mut world, &by_new)).contains("fetching keys: it cannot be reached"));
}

/// A provider at `https://p`, and a mount that sends people there.
fn with_provider() -> (World, Signer) {
    let (mut world, signer) = (World::new(), Signer::rsa());
    let document = json!({
        "issuer": "https://p", "jwks_uri": "https://p/keys", "authorization_endpoint": "https://p/auth?x=y",
        "token_endpoint": "https://p/token", "userinfo_endpoint": "https://p/user",
    });
    world.web.insert("https://p/.well-known/openid-configuration".to_owned(), (200, document.to_string()));
    world.web.insert("https://p/keys".to_owned(), (200, json!({ "keys": [signer.jwk("k")] }).to_string()));
    let settings = json!({
        "oidc_discovery_url": "https://p", "oidc_client_id": "us", "oidc_client_secret": "s3cret/+",
        "default_role": "people",
    });
    world.write("oidc/config", settings).unwrap();
    let people = json!({
        "user_claim": "email", "allowed_redirect_uris": "http://localhost:8250/oidc/callback", "oidc_scopes": "email",
        "groups_claim": "groups", "max_age": "1h",
    });
    world.write("oidc/role/people", people).unwrap();
    (world, signer)
}

/// Sends somebody to the provider: the parameters that he goes with.
fn send(world: &mut World, more: Value) -> std::collections::BTreeMap<String, String> {
    let mut body = json!({ "redirect_uri": "http://localhost:9999/oidc/callback" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = world.write("oidc/oidc/auth_url", body).unwrap();
    let url = url::Url::parse(answer.data["auth_url"].as_str().unwrap()).unwrap();
    assert!(url.as_str().starts_with("https://p/auth?x=y&"));
    url.query_pairs().into_owned().collect()
}

/// What the provider gives for a code.
fn grant(world: &mut World, signer: &Signer, sent: &std::collections::BTreeMap<String, String>, more: Value) {
    let now_s = world.now_ms / 1_000;
    let mut claims = json!({
        "iss": "https://p", "aud": "us", "sub": "1", "exp": now_s + 60, "iat": now_s, "nonce": sent["nonce"],
        "auth_time": now_s - 10,
    });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer =
        json!({ "access_token": "at", "id_token": signer.token("k", &claims), "token_type": "Bearer" });
    world.web.insert("https://p/token".to_owned(), (200, answer.to_string()));
    let user = json!({ "sub": "1", "email": "ada@p", "groups": ["x"], "iss": "other" });
    world.web.insert("https://p/user".to_owned(), (200, user.to_string()));
}

fn back(world: &mut World, state: &str) -> Result<Answer, Error> {
    world.visit("oidc/oidc/callback", &[("state", state), ("code", "c0de")])
}

/// By which rate limits know him, whatever else he names.
fn role_of_who_is_back(world: &mut World, state: &str) -> Option<String> {
    let table = world.table();
    let (mount, rest) = table.resolve("auth/oidc/oidc/callback").unwrap();
    let query = Query(vec![("state".to_owned(), state.to_owned())]);
    let body = json!({ "role": "another" });
    world.plan(|ctx| Method::Oidc.role_of(ctx, mount, rest, &query, body.as_object().unwrap())).unwrap()
}

#[test]
fn whoever_comes_back_from_the_provider_with_a_code_is_logged_in_once() {
    let (mut world, signer) = with_provider();
    let sent = send(&mut world, json!({}));
    assert_eq!((sent["scope"].as_str(), sent["max_age"].as_str()), ("openid email", "3600"));
    assert_eq!((sent["client_id"].as_str(), sent["code_challenge_method"].as_str()), ("us", "S256"));
    grant(&mut world, &signer, &sent, json!({}));
    assert_eq!(role_of_who_is_back(&mut world, &sent["state"]).as_deref(), Some("people"));
    let answer = back(&mut world, &sent["state"]).unwrap();
    assert_eq!(role_of_who_is_back(&mut world, "made-up"), None);
    assert_eq!(answer.auth["metadata"], json!({ "role": "people" }));
    assert_eq!(world.identify(answer.token()).unwrap().entry.display_name, "oidc-ada@p");
    let exchange = world.asked.iter().find_map(|errand| match &errand.task {
        Task::Post(form) => Some((errand, String::from_utf8(form.to_vec()).unwrap())),
        _ => None,
    });
    let (errand, form) = exchange.unwrap();
    let form: std::collections::BTreeMap<String, String> =
        url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    assert_eq!(
        (form["code"].as_str(), form["redirect_uri"].as_str()),
        ("c0de", sent["redirect_uri"].as_str())
    );
    use base64::Engine as _;
    use sha2::Digest as _;
    let challenge = sha2::Sha256::digest(form["code_verifier"].as_bytes());
    let url_safe = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    assert_eq!(url_safe.encode(challenge), sent["code_challenge"]);
    let basic = errand.headers.iter().find(|(name, _)| name == "authorization").unwrap().1.as_str();
    // us:s3cret%2F%2B
    assert_eq!(basic, "Basic dXM6czNjcmV0JTJGJTJC");
    assert_eq!(sentence(back(&mut world, &sent["state"])), "login failed: Expired or missing OAuth state.");
}

/// CVE-2026-33758: nothing that came with the request is repeated.
#[test]
fn a_flow_that_went_wrong_gives_nothing_and_leaves_nothing() {
    for (query, more, words) in [
        (json!({ "error": "access_denied" }), json!({}), "login failed: access_denied"),
        (json!({ "error": "<b>x</b>" }), json!({}), "login failed: An unknown error occurred"),
        (json!({ "code": "" }), json!({}), "login failed: No code or id_token received."),
        (json!({ "client_nonce": "other" }), json!({}), "invalid client_nonce"),
        (json!({}), json!({ "nonce": "other" }), "login failed: invalid ID token nonce."),
        (json!({}), json!({ "nonce": null }), "login failed: invalid ID token nonce."),
        (json!({}), json!({ "aud": "them" }), "Token verification failed. invalid audience (aud) claim"),
        (
            json!({}),
            json!({ "aud": ["us", "them"] }),
            "Token verification failed. the token was made for another",
        ),
        (json!({}), json!({ "azp": "them" }), "Token verification failed. the token was made for another"),
        (json!({}), json!({ "iss": "https://q" }), "Token verification failed. invalid issuer (iss) claim"),
        (json!({}), json!({ "exp": 1 }), "Token verification failed. invalid expiration time (exp) claim"),
        (json!({}), json!({ "auth_time": 1 }), "Token verification failed. the user logged in too long ago"),
        (
            json!({}),
            json!({ "auth_time": null }),
            "Token verification failed. the user logged in too long ago",
        ),
        (json!({}), json!({ "sub": "2" }), "login failed: claim \"email\" not found in token"),
    ] {
        let (mut world, signer) = with_provider();
        let sent = send(&mut world, json!({ "client_nonce": "mine" }));
        grant(&mut world, &signer, &sent, more.clone());
        let mut all = json!({ "state": sent["state"], "code": "c0de", "client_nonce": "mine" });
        all.as_object_mut().unwrap().extend(query.as_object().unwrap().clone());
        let given: Vec<(&str, &str)> = all
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .collect();
        let before = world.state.len();
        let found = sentence(world.visit("oidc/oidc/callback", &given));
        assert!(found.starts_with(words), "{query} {more}: {found}");
        assert_eq!(world.state.len(), before, "{query} {more}");
    }
}

#[test]
fn a_state_ends_in_its_time_and_belongs_to_its_mount() {
    let (mut world, signer) = with_provider();
    let sent = send(&mut world, json!({}));
    grant(&mut world, &signer, &sent, json!({}));
    let missing = "login failed: Expired or missing OAuth state.";
    world.enable("other", json!({ "type": "oidc" })).unwrap();
    let settings = json!({
        "oidc_discovery_url": "https://p", "oidc_client_id": "us", "oidc_client_secret": "s3cret",
    });
    world.write("other/config", settings).unwrap();
    let given = [("state", sent["state"].as_str()), ("code", "c0de")];
    assert_eq!(sentence(world.visit("other/oidc/callback", &given)), missing);
    for state in ["", "x", &sent["nonce"]] {
        assert_eq!(sentence(back(&mut world, state)), missing);
    }
    world.now_ms += 10 * MINUTE_MS;
    assert_eq!(sentence(back(&mut world, &sent["state"])), missing);
}

#[test]
fn nobody_is_sent_where_he_must_not_come_back_from() {
    let (mut world, _) = with_provider();
    let before = world.state.len();
    for uri in
        ["https://evil.example/cb", "http://localhost:1/other", "http://localhost@evil.example/oidc/callback"]
    {
        let answer = world.write("oidc/oidc/auth_url", json!({ "redirect_uri": uri })).unwrap();
        assert_eq!(answer.data, json!({ "auth_url": "" }));
    }
    for (body, words) in [
        (json!({}), "missing redirect_uri"),
        (json!({ "role": "none", "redirect_uri": "http://localhost/" }), "role \"none\" could not be found"),
    ] {
        assert_eq!(sentence(world.write("oidc/oidc/auth_url", body)), words);
    }
    assert_eq!(world.state.len(), before, "nothing is kept of it");
    let (mut world, _) = given();
    let refused = world.write("jwt/oidc/auth_url", json!({ "redirect_uri": "http://localhost/" }));
    assert_eq!(sentence(refused), "OIDC login is not configured for this mount");
}

#[test]
fn a_provider_says_who_it_is_and_does_not_go_on_in_clear() {
    let well_known = "https://p/.well-known/openid-configuration";
    for document in [
        json!({ "issuer": "https://q", "jwks_uri": "https://p/keys" }),
        json!({ "issuer": "https://p/", "jwks_uri": "https://p/keys" }),
        json!({ "issuer": "https://p", "jwks_uri": "http://p/keys" }),
        json!({ "issuer": "https://p", "jwks_uri": "file:///etc/passwd" }),
        json!({ "issuer": "https://p" }),
        json!({ "issuer": "https://p", "jwks_uri": "https://p/keys", "token_endpoint": "http://p/token" }),
        json!([]),
    ] {
        let mut world = World::new();
        world.web.insert(well_known.to_owned(), (200, document.to_string()));
        let refused = world.write("jwt/config", json!({ "oidc_discovery_url": "https://p" }));
        assert_eq!(sentence(refused), "error checking oidc discovery URL", "{document}");
    }
}

#[test]
fn settings_are_shown_without_the_secret_and_with_whether_they_work() {
    let (mut world, _) = with_provider();
    let shown = world.read("oidc/config").unwrap();
    assert!(!shown.to_string().contains("s3cret"));
    assert_eq!((&shown["oidc_client_id"], &shown["status"]), (&json!("us"), &json!("valid")));
    world.web.clear();
    assert_eq!(world.read("oidc/config").unwrap()["status"], "invalid");
    let mut world = World::new();
    assert_eq!(world.read("jwt/config").unwrap_err(), Error::NotFound);
    let key = Signer::p256().pem();
    for (body, words) in [
        (json!({}), "exactly one of"),
        (json!({ "jwt_validation_pubkeys": key, "jwks_url": "https://s" }), "exactly one of"),
        (json!({ "jwt_validation_pubkeys": "x" }), "error parsing public key"),
        (json!({ "jwt_validation_pubkeys": key, "oidc_client_id": "a" }), "both 'oidc_client_id' and"),
        (
            json!({ "jwt_validation_pubkeys": key, "oidc_client_id": "a", "oidc_client_secret": "b" }),
            "'oidc_discovery_url' must be set for OIDC",
        ),
        (json!({ "jwks_url": "https://s", "jwks_ca_pem": "x" }), "error checking jwks_ca_pem"),
        (json!({ "jwks_url": "file:///etc/passwd" }), "error checking jwks URL"),
        (
            json!({ "jwt_validation_pubkeys": key, "oidc_response_mode": "form_post" }),
            "invalid response_mode",
        ),
        (
            json!({ "jwt_validation_pubkeys": key, "oidc_response_types": "id_token" }),
            "invalid response_types",
        ),
        (
            json!({ "jwt_validation_pubkeys": key, "provider_config": { "a": 1 } }),
            "provider_config is not supported",
        ),
        (json!({ "jwt_validation_pubkeys": key, "override_allowed_server_names": "a" }), "override_allowed"),
        (json!({ "jwt_validation_pubkeys": key, "default_role": "a b" }), "no role can have"),
    ] {
        let found = sentence(world.write("jwt/config", body.clone()));
        assert!(found.starts_with(words), "{body}: {found}");
    }
}

#[test]
fn what_a_role_cannot_be_is_refused() {
    let (mut world, _) = given();
    for (more, words) in [
        (json!({ "role_type": "bogus" }), "invalid 'role_type'"),
        (json!({ "role_type": "" }), "'allowed_redirect_uris' must be set"),
        (json!({ "user_claim": "" }), "a user claim must be defined on the role"),
        (json!({ "bound_audiences": "" }), "must have at least one bound constraint"),
        (json!({ "bound_claims_type": "regex" }), "invalid 'bound_claims_type'"),
        (json!({ "bound_claims_type": "glob", "bound_claims": { "a": 1 } }), "claim is not a string"),
        (json!({ "claim_mappings": { "a": "role" } }), "metadata key \"role\" is reserved"),
        (json!({ "claim_mappings": { "a": "x", "b": "x" } }), "multiple keys are mapped"),
        (json!({ "callback_mode": "direct" }), "callback_mode can only be client"),
        (json!({ "callback_mode": "device" }), "callback_mode can only be client"),
        (json!({ "oauth2_metadata": "id_token" }), "oauth2_metadata can only be empty"),
        (
            json!({ "token_policies_template_claims": true }),
            "token_policies_template_claims can only be false",
        ),
        (json!({ "verbose_oidc_logging": true }), "verbose_oidc_logging can only be false"),
        (json!({ "expiration_leeway": "25h" }), "expiration_leeway is at most"),
        (json!({ "clock_skew_leeway": "2h" }), "clock_skew_leeway is at most"),
        (json!({ "ttl": -1 }), "'ttl' cannot be negative"),
        (json!({ "num_uses": -1 }), "'num_uses' cannot be negative"),
    ] {
        let found = sentence(role(&mut world, more.clone()));
        assert!(found.starts_with(words), "{more}: {found}");
    }
    assert_eq!(world.read("jwt/role/app").unwrap_err(), Error::NotFound, "none was made");
    role(&mut world, json!({ "policies": "a", "expiration_leeway": -1 })).unwrap();
    let shown = world.read("jwt/role/App").unwrap();
    assert_eq!((&shown["policies"], &shown["token_policies"]), (&json!(["a"]), &json!(["a"])));
    assert_eq!((&shown["expiration_leeway"], &shown["bound_claims"]), (&json!(-1), &Value::Null));
    assert_eq!(world.list("jwt/role").unwrap(), json!(["app"]));
    world.delete("jwt/role/app").unwrap();
    assert_eq!(world.list("jwt/role").unwrap_err(), Error::NotFound);
}

#[test]
fn a_login_falls_with_what_it_was_decided_from() {
    type Change = fn(&mut World);
    let changes: [(&str, Change); 3] = [
        ("the role is another", |world| drop(role(world, json!({ "token_policies": "less" })).unwrap())),
        ("the key is another", |world| {
            let other = Signer::p256().pem();
            drop(world.write("jwt/config", json!({ "jwt_validation_pubkeys": other })).unwrap());
        }),
        ("the mount is gone", |world| drop(world.disable("jwt").unwrap())),
    ];
    for (what, change) in changes {
        let (mut world, signer) = given();
        role(&mut world, json!({ "token_policies": "more" })).unwrap();
        let body = json!({ "role": "app", "jwt": signer.token("k", &claims(&world, json!({}))) });
        let decided = world.decide(crate::plan::Operation::Write, "jwt/login", &body, None);
        let Ok(crate::auth::Step::Done(plan)) = decided else { panic!("it is right") };
        change(&mut world);
        assert!(world.state.apply(&plan.txn).is_err(), "{what}");
    }
}
