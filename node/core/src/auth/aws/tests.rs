use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::testing::{answer, brought, signed};
use crate::auth::testing::{Answer, World};
use crate::errand::Outcome;
use crate::error::Error;

const ACCOUNT: &str = "123456789012";
const WEB: &str = "arn:aws:iam::123456789012:role/web";
const WEB_SESSION: &str = "arn:aws:sts::123456789012:assumed-role/web/i-1";
const ANN: &str = "arn:aws:iam::123456789012:user/ann";

fn role(arn: &str) -> Value {
    json!({ "auth_type": "iam", "bound_iam_principal_arn": arn, "resolve_aws_unique_ids": false, "token_policies": "app" })
}

/// With a role `web` for [`WEB`], and an STS that says that [`WEB_SESSION`] has signed.
fn world() -> World {
    let mut world = World::new();
    world.write("aws/role/web", role(WEB)).unwrap();
    world.elsewhere = answer(WEB_SESSION, ACCOUNT, "AROAEXAMPLE:i-1");
    world
}

fn login_with(world: &mut World, further: Value) -> Result<Answer, Error> {
    let mut body = signed();
    body.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    world.write("aws/login", body)
}

fn login(world: &mut World) -> Result<Answer, Error> {
    login_with(world, json!({}))
}

fn said(answer: Result<Answer, Error>) -> String {
    answer.unwrap_err().to_string()
}

#[test]
fn a_login_gives_a_token_by_the_roles_settings() {
    let mut world = world();
    let made = login(&mut world).unwrap();
    assert_eq!(world.asked.len(), 1);
    let auth = &made.auth;
    assert_eq!(auth["policies"], json!(["app", "default"]));
    let role_id = world.read("aws/role/web").unwrap()["role_id"].clone();
    assert_eq!(auth["metadata"], json!({ "account_id": ACCOUNT, "auth_type": "iam", "role_id": role_id }));
    let known = world.identify(made.token()).unwrap();
    assert_eq!(
        (known.entry.display_name.as_str(), known.entry.path.as_str()),
        ("aws-web/i-1", "auth/aws/login")
    );
    assert_eq!(known.entry.login.as_ref().unwrap().alias, role_id);
    world.elsewhere = answer(ANN, ACCOUNT, "AIDAEXAMPLE");
    world.write("aws/role/ann", role(ANN)).unwrap();
    let ann = login(&mut world).unwrap();
    assert_eq!(world.identify(ann.token()).unwrap().entry.display_name, "aws-ann");
}

#[test]
fn a_role_is_the_principals_name_unless_another_is_named() {
    let mut world = world();
    world.write("aws/role/Other", role(WEB)).unwrap();
    let named = login_with(&mut world, json!({ "role": "OTHER" })).unwrap();
    let other = world.read("aws/role/other").unwrap()["role_id"].clone();
    assert_eq!(named.auth["metadata"]["role_id"], other);
    for nobodys in ["none", "../web", "web/", "wéb", "x@y"] {
        let refused = said(login_with(&mut world, json!({ "role": nobodys })));
        assert_eq!(refused, "entry for the role not found", "{nobodys}");
    }
}

/// Another account's role of the same name is another principal (CVE-2025-11621).
#[test]
fn only_whom_the_role_is_bound_to_logs_in() {
    let mut world = world();
    for (arn, account) in [
        ("arn:aws:sts::210987654321:assumed-role/web/i-1", "210987654321"),
        ("arn:aws-cn:sts::123456789012:assumed-role/web/i-1", ACCOUNT),
        ("arn:aws:iam::123456789012:user/web", ACCOUNT),
        ("arn:aws:iam::123456789012:user/role/web", ACCOUNT),
        ("arn:aws:sts::123456789012:assumed-role/Web/i-1", ACCOUNT),
        ("arn:aws:sts::123456789012:assumed-role/web2/i-1", ACCOUNT),
    ] {
        world.elsewhere = answer(arn, account, "AROAEXAMPLE:i-1");
        let refused = said(login_with(&mut world, json!({ "role": "web" })));
        assert_eq!(refused, "the IAM principal does not belong to the role", "{arn}");
    }
    for (arn, account) in [
        (WEB_SESSION, "210987654321"),
        ("arn:aws:iam::123456789012:root", ACCOUNT),
        ("arn:aws:sts::123456789012:federated-user/web", ACCOUNT),
    ] {
        world.elsewhere = answer(arn, account, "AROAEXAMPLE:i-1");
        assert!(
            said(login_with(&mut world, json!({ "role": "web" }))).starts_with("error parsing arn"),
            "{arn}"
        );
    }
}

#[test]
fn whom_sts_does_not_vouch_for_gets_nothing() {
    let mut world = world();
    let refused: Outcome = brought(403, "text/xml", "<ErrorResponse>canary</ErrorResponse>");
    world.elsewhere = refused;
    let error = login(&mut world).unwrap_err();
    assert_eq!(error, Error::invalid("error making upstream request: received error code 403 from STS"));
    for failing in
        [brought(302, "text/html", ""), brought(200, "text/html", "<p>"), Err("no answer".to_owned())]
    {
        world.elsewhere = failing;
        assert!(matches!(login(&mut world), Err(Error::Upstream(_))));
    }
}

#[test]
fn a_request_that_is_not_that_question_is_never_sent() {
    let mut world = world();
    let fields = [
        json!({ "iam_http_request_method": "GET" }),
        json!({ "iam_request_url": BASE64.encode("https://sts.amazonaws.com/?Action=AssumeRole") }),
        json!({ "iam_request_url": BASE64.encode("https://iam.amazonaws.com/") }),
        json!({ "iam_request_body": BASE64.encode("Action=AssumeRoleWithWebIdentity&Version=2011-06-15") }),
        json!({ "iam_request_headers": BASE64.encode("{\"Accept\": \"application/json\"}") }),
        json!({ "pkcs7": "x" }),
        json!({ "identity": "x", "signature": "y" }),
    ];
    for wrong in fields {
        assert!(matches!(login_with(&mut world, wrong.clone()), Err(Error::Invalid(_))), "{wrong}");
    }
    assert_eq!(
        said(world.write("aws/login", json!({ "role": "web" }))),
        "didn't supply required authentication values"
    );
    assert!(world.asked.is_empty());
}

#[test]
fn the_server_that_requests_are_for_can_be_named() {
    let mut world = world();
    world.write("aws/config/client", json!({ "iam_server_id_header_value": "vault.example" })).unwrap();
    assert!(said(login(&mut world)).contains("missing header"));
    assert!(world.asked.is_empty());
}

#[test]
fn an_alias_is_made_as_the_mount_says() {
    let mut world = world();
    let role_id = world.read("aws/role/web").unwrap()["role_id"].as_str().unwrap().to_owned();
    let mut entities = Vec::new();
    for (kind, alias) in [
        ("role_id", role_id.as_str()),
        ("unique_id", "AROAEXAMPLE"),
        ("canonical_arn", WEB),
        ("full_arn", WEB_SESSION),
    ] {
        world.write("aws/config/identity", json!({ "iam_alias": kind })).unwrap();
        let made = login(&mut world).unwrap();
        let entry = world.identify(made.token()).unwrap().entry.clone();
        assert_eq!(entry.login.as_ref().unwrap().alias, alias);
        assert!(!entities.contains(&entry.entity_id), "each alias is another entity's");
        entities.push(entry.entity_id.clone());
    }
    world.elsewhere = answer("arn:aws:sts::123456789012:assumed-role/web/i-2", ACCOUNT, "AROAEXAMPLE:i-2");
    for (kind, entity) in
        [("unique_id", Some(&entities[1])), ("canonical_arn", Some(&entities[2])), ("full_arn", None)]
    {
        world.write("aws/config/identity", json!({ "iam_alias": kind })).unwrap();
        let made = login(&mut world).unwrap();
        let other = world.identify(made.token()).unwrap().entry.entity_id.clone();
        assert_eq!(
            entity.is_some_and(|entity| *entity == other),
            entity.is_some(),
            "{kind}: another session"
        );
    }
}

#[test]
fn metadata_is_what_the_mount_lets_be_told() {
    let mut world = world();
    let told = |world: &mut World, names: Value| {
        world.write("aws/config/identity", json!({ "iam_metadata": names })).unwrap();
        let mut metadata = login(world).unwrap().auth["metadata"].take();
        metadata.as_object_mut().unwrap().remove("role_id");
        metadata
    };
    assert_eq!(told(&mut world, json!([])), json!({}));
    assert_eq!(
        told(&mut world, json!(["canonical_arn", "client_arn", "client_user_id"])),
        json!({ "canonical_arn": WEB, "client_arn": WEB_SESSION, "client_user_id": "AROAEXAMPLE" })
    );
    assert_eq!(told(&mut world, json!("default")), json!({ "account_id": ACCOUNT, "auth_type": "iam" }));
    for bad in [json!({ "iam_metadata": "ami_id" }), json!({ "iam_metadata": "default,auth_type" })] {
        assert!(world.write("aws/config/identity", bad).is_err());
    }
}

#[test]
fn settings_are_read_as_they_were_written() {
    let mut world = World::new();
    assert_eq!(world.read("aws/config/client").unwrap_err(), Error::NotFound);
    let identity = json!({
        "iam_alias": "role_id", "iam_metadata": ["account_id", "auth_type"],
        "ec2_alias": "role_id", "ec2_metadata": ["account_id", "auth_type"],
    });
    assert_eq!(world.read("aws/config/identity").unwrap(), identity);
    let given = json!({
        "sts_endpoint": "https://sts.eu-west-1.amazonaws.com", "sts_region": "eu-west-1",
        "iam_server_id_header_value": "v", "allowed_sts_header_values": ["X-Own"], "use_sts_region_from_client": false,
    });
    world.write("aws/config/client", given.clone()).unwrap();
    let read = world.read("aws/config/client").unwrap();
    for (name, value) in given.as_object().unwrap() {
        assert_eq!(&read[name], value, "{name}");
    }
    world.write("aws/config/client", json!({ "sts_region": "" })).unwrap();
    assert_eq!(
        world.read("aws/config/client").unwrap()["sts_endpoint"],
        given["sts_endpoint"],
        "the rest stays"
    );
    world.delete("aws/config/client").unwrap();
    world.delete("aws/config/client").unwrap();
    assert_eq!(world.read("aws/config/client").unwrap_err(), Error::NotFound);
    for bad in [
        json!({ "iam_alias": "canary" }),
        json!({ "ec2_alias": "image_id" }),
        json!({ "ec2_metadata": ["ami_id"] }),
    ] {
        let refused = world.write("aws/config/identity", bad).unwrap_err();
        assert!(matches!(refused, Error::Invalid(said) if !said.contains("canary")));
    }
}

#[test]
fn roles_are_made_listed_changed_and_deleted() {
    let mut world = world();
    world.write("aws/role/Ann", role(ANN)).unwrap();
    for path in ["aws/role", "aws/roles", "aws/role/"] {
        assert_eq!(world.list(path).unwrap(), json!(["ann", "web"]));
    }
    let before = world.read("aws/role/ANN").unwrap();
    assert_eq!(before["bound_iam_principal_arn"], json!([ANN]));
    assert_eq!((&before["auth_type"], &before["resolve_aws_unique_ids"]), (&json!("iam"), &json!(false)));
    assert_eq!((&before["bound_ami_id"], &before["role_tag"]), (&json!([]), &json!("")));
    world.write("aws/role/ann", json!({ "bound_iam_principal_arn": [ANN, WEB], "ttl": "5m" })).unwrap();
    let after = world.read("aws/role/ann").unwrap();
    assert_eq!((&after["bound_iam_principal_arn"], &after["ttl"]), (&json!([ANN, WEB]), &json!(300)));
    assert_eq!(
        (&after["role_id"], &after["token_policies"]),
        (&before["role_id"], &before["token_policies"])
    );
    world.delete("aws/role/ann").unwrap();
    world.delete("aws/role/ann").unwrap();
    assert_eq!(world.read("aws/role/ann").unwrap_err(), Error::NotFound);
    world.write("aws/role/ann", role(ANN)).unwrap();
    assert_ne!(world.read("aws/role/ann").unwrap()["role_id"], before["role_id"], "it is another role");
}

#[test]
fn what_a_role_cannot_be_is_refused() {
    let mut world = World::new();
    for (name, value) in [
        ("auth_type", json!("ec2")),
        ("resolve_aws_unique_ids", json!(true)),
        ("resolve_aws_unique_ids", Value::Null),
        ("bound_iam_principal_arn", json!([])),
        ("bound_iam_principal_arn", json!("*")),
        ("bound_iam_principal_arn", json!("arn:aws:iam::123456789012:role/*")),
        ("bound_iam_principal_arn", json!("arn:aws:iam::123456789012:role/path/web")),
        ("bound_iam_principal_arn", json!(WEB_SESSION)),
        ("bound_iam_principal_arn", json!("arn:aws:iam::123456789012:root")),
        ("bound_iam_principal_arn", json!(vec![WEB; 257])),
        ("bound_ami_id", json!("ami-1")),
        ("bound_region", json!(["us-east-1"])),
        ("inferred_entity_type", json!("ec2_instance")),
        ("allow_instance_migration", json!(true)),
        ("role_tag", json!("x")),
        ("token_bound_cidrs", json!("zz")),
    ] {
        let mut body = role(WEB);
        if value.is_null() {
            body.as_object_mut().unwrap().remove(name);
        } else {
            body[name] = value;
        }
        assert!(matches!(world.write("aws/role/web", body.clone()), Err(Error::Invalid(_))), "{body}");
    }
    assert_eq!(world.read("aws/role/web").unwrap_err(), Error::NotFound, "none was made");
    for name in ["-a", "a/b", "a b", "é"] {
        assert_eq!(world.write(&format!("aws/role/{name}"), role(WEB)).unwrap_err(), Error::NotFound);
    }
}

#[test]
fn a_login_falls_with_what_it_was_decided_by() {
    for change in [
        ("aws/role/web", json!({ "bound_iam_principal_arn": ANN })),
        ("aws/config/client", json!({ "iam_server_id_header_value": "v" })),
        ("aws/config/identity", json!({ "iam_alias": "full_arn" })),
    ] {
        let mut world = world();
        let txn = planned(&mut world);
        world.write(change.0, change.1).unwrap();
        assert!(world.state.apply(&txn).is_err(), "{}", change.0);
    }
}

#[test]
fn a_token_can_be_renewed_as_long_as_its_role_is_for_its_holder() {
    let mut world = world();
    let token = login(&mut world).unwrap().token().to_owned();
    let renew = |world: &mut World| {
        let entry = world.identify(&token).unwrap().entry;
        world.plan(|ctx| crate::auth::method::holds(ctx, &entry).map(drop))
    };
    renew(&mut world).unwrap();
    world.write("aws/role/web", json!({ "bound_iam_principal_arn": ANN })).unwrap();
    let unbound = Error::invalid("the role is no longer bound to this IAM principal, cannot renew");
    assert_eq!(renew(&mut world).unwrap_err(), unbound);
    world.delete("aws/role/web").unwrap();
    world.write("aws/role/web", role(WEB)).unwrap();
    let gone = Error::invalid("the role of this token no longer exists, cannot renew");
    assert_eq!(renew(&mut world).unwrap_err(), gone, "one of the same name is another");
}

/// The transaction of a login of which STS has been asked.
fn planned(world: &mut World) -> conclave_proto::log::Txn {
    use crate::auth::{Step, Work};
    use crate::plan::Operation;
    loop {
        match world.decide(Operation::Write, "aws/login", &signed(), None).unwrap() {
            Step::Work(Work::Errand(errand)) => world.run(errand),
            Step::Done(plan) => return plan.txn,
            _ => panic!("neither asked nor done"),
        }
    }
}
