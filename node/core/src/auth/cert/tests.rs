use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CustomExtension,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use serde_json::{Value, json};

use crate::auth::method;
use crate::auth::testing::World;
use crate::error::Error;
use crate::plan::Operation;

const UNTRUSTED: &str = "invalid certificate or no client certificate supplied";
const UNSUITABLE: &str = "no chain matching all constraints could be found for this login certificate";
const OID: [u64; 5] = [1, 2, 3, 4, 5];

/// An authority with a key of its own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    fn new(name: &str) -> Self {
        Self(CertifiedIssuer::self_signed(Self::params(name), KeyPair::generate().unwrap()).unwrap())
    }

    fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::signed_by(Self::params(name), key, &self.0).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn der(&self) -> Bytes {
        Bytes::copy_from_slice(self.0.der())
    }

    fn issue(&self, params: &CertificateParams) -> Bytes {
        self.issue_for(params, &KeyPair::generate().unwrap())
    }

    fn issue_for(&self, params: &CertificateParams, key: &KeyPair) -> Bytes {
        Bytes::copy_from_slice(params.signed_by(key, &self.0).unwrap().der())
    }

    fn crl(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2034, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

/// A client's certificate, valid far around the time of the tests.
fn client(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(SerialNumber::from(7_u64));
    params.use_authority_key_identifier_extension = true;
    params
}

fn pem(der: &Bytes) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

impl World {
    fn role(&mut self, name: &str, body: Value) {
        self.write(&format!("cert/certs/{name}"), body).unwrap();
    }

    /// Logs in with what is shown; tells the role that took it.
    fn show(&mut self, certificates: &[Bytes]) -> Result<String, String> {
        self.show_to(certificates, json!({}))
            .map(|auth| auth["metadata"]["cert_name"].as_str().unwrap().to_owned())
    }

    fn show_to(&mut self, certificates: &[Bytes], body: Value) -> Result<Value, String> {
        self.certificates = Some(certificates.to_vec());
        self.write("cert/login", body).map(|answer| answer.auth).map_err(|error| error.to_string())
    }
}

fn refused(sentence: &str) -> Result<String, String> {
    Err(sentence.to_owned())
}

#[test]
fn whoever_shows_a_certificate_of_an_authority_is_known_by_its_common_name() {
    let (mut world, authority) = (World::new(), Authority::new("root"));
    world.role("web", json!({ "certificate": authority.pem(), "token_policies": "p", "display_name": "w" }));
    let auth = world.show_to(&[authority.issue(&client("alice"))], json!({})).unwrap();
    let holder = world.identify(auth["client_token"].as_str().unwrap()).unwrap();
    assert_eq!(holder.entry.policies, ["default", "p"]);
    assert_eq!(holder.entry.display_name, "cert-w");
    let alias = &holder.belonging.unwrap().entity.aliases[0];
    assert_eq!(alias.name, "alice");
    let told = &auth["metadata"];
    assert_eq!((&told["common_name"], &told["serial_number"]), (&json!("alice"), &json!("7")));
    assert!(told["authority_key_id"].as_str().unwrap().contains(':'));
}

#[test]
fn without_a_certificate_nobody_is_anybody() {
    let (mut world, authority) = (World::new(), Authority::new("root"));
    world.role("web", json!({ "certificate": authority.pem() }));
    assert_eq!(world.write("cert/login", json!({})).unwrap_err(), Error::invalid("tls connection required"));
    assert_eq!(world.show(&[]), refused("client certificate must be supplied"));
    assert_eq!(world.show(&[Bytes::from_static(b"canary")]), refused(UNTRUSTED));
    let many = vec![authority.issue(&client("alice")); 9];
    assert!(world.show(&many).unwrap_err().contains("at most"));
    // With no role there is nobody to trust.
    world.delete("cert/certs/web").unwrap();
    assert_eq!(world.show(&[authority.issue(&client("alice"))]), refused(UNTRUSTED));
}

#[test]
fn a_path_to_the_authority_is_followed_through_what_else_is_shown() {
    let (mut world, root) = (World::new(), Authority::new("root"));
    let middle = root.below("middle");
    world.role("web", json!({ "certificate": root.pem() }));
    let leaf = middle.issue(&client("alice"));
    assert_eq!(world.show(std::slice::from_ref(&leaf)), refused(UNTRUSTED));
    assert_eq!(world.show(&[leaf.clone(), middle.der()]), Ok("web".to_owned()));
    // An authority in the middle can be all that a role trusts.
    world.role("web", json!({ "certificate": middle.pem() }));
    assert_eq!(world.show(&[leaf]), Ok("web".to_owned()));
}

#[test]
fn what_others_have_signed_is_not_taken() {
    let (mut world, root) = (World::new(), Authority::new("root"));
    world.role("web", json!({ "certificate": root.pem() }));
    let namesake = Authority::new("root");
    assert_eq!(world.show(&[namesake.issue(&client("alice"))]), refused(UNTRUSTED));
    // A client's certificate signs nobody else's.
    let key = KeyPair::generate().unwrap();
    let params = client("alice");
    let forger = CertifiedIssuer::signed_by(params, key, &root.0).unwrap();
    let forged = client("root-admin").signed_by(&KeyPair::generate().unwrap(), &forger).unwrap();
    let shown = [Bytes::copy_from_slice(forged.der()), Bytes::copy_from_slice(forger.der())];
    assert_eq!(world.show(&shown), refused(UNTRUSTED));
}

#[test]
fn a_certificate_must_hold_now_and_be_for_clients() {
    let (mut world, root) = (World::new(), Authority::new("root"));
    world.role("web", json!({ "certificate": root.pem() }));
    let mut old = client("alice");
    old.not_after = date_time_ymd(2020, 1, 1);
    let mut early = client("alice");
    early.not_before = date_time_ymd(3000, 1, 1);
    for params in [old, early] {
        assert!(world.show(&[root.issue(&params)]).unwrap_err().contains("expired"));
    }
    let mut server = client("alice");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    assert_eq!(world.show(&[root.issue(&server)]), refused(UNTRUSTED));
    let mut plain = client("alice");
    plain.extended_key_usages = Vec::new();
    assert_eq!(world.show(&[root.issue(&plain)]), Ok("web".to_owned()));
    let mut expired = Authority::params("old root");
    expired.not_after = date_time_ymd(2020, 1, 1);
    let expired = Authority(CertifiedIssuer::self_signed(expired, KeyPair::generate().unwrap()).unwrap());
    world.role("web", json!({ "certificate": expired.pem() }));
    assert_eq!(world.show(&[expired.issue(&client("alice"))]), refused(UNTRUSTED));
}

/// CVE-2024-2048 and CVE-2025-6037: another certificate taken for one that was named.
#[test]
fn a_certificate_that_is_named_is_taken_as_it_is() {
    let (mut world, root) = (World::new(), Authority::new("root"));
    let key = KeyPair::generate().unwrap();
    let leaf = root.issue_for(&client("alice"), &key);
    world.role("one", json!({ "certificate": pem(&leaf) }));
    assert_eq!(world.show(std::slice::from_ref(&leaf)), Ok("one".to_owned()));
    // The same names, number and authority with another key; the same key with another name.
    for other in [root.issue(&client("alice")), root.issue_for(&client("bob"), &key)] {
        assert_eq!(world.show(&[other]), refused(UNTRUSTED));
    }
    world.role("one", json!({ "allowed_common_names": "bob" }));
    assert_eq!(world.show(&[leaf]), refused(UNSUITABLE));
    let mut server = client("alice");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let refusal = world.write("cert/certs/two", json!({ "certificate": pem(&root.issue(&server)) }));
    assert!(refusal.unwrap_err().to_string().contains("client authentication"));
}

#[test]
fn a_role_says_what_must_stand_in_a_certificate() {
    let (mut world, root) = (World::new(), Authority::new("root"));
    let mut params = client("alice.corp");
    params.distinguished_name.push(DnType::OrganizationalUnitName, "ops");
    params.subject_alt_names = vec![
        SanType::DnsName("a.example".try_into().unwrap()),
        SanType::Rfc822Name("alice@example".try_into().unwrap()),
        SanType::URI("spiffe://corp/alice".try_into().unwrap()),
    ];
    params.custom_extensions = vec![CustomExtension::from_oid_content(&OID, b"\x0c\x06canary".to_vec())];
    let leaf = root.issue(&params);
    for (body, is_taken) in [
        (json!({}), true),
        (json!({ "allowed_common_names": "x,alice.*" }), true),
        (json!({ "allowed_common_names": "ALICE.corp" }), false),
        (json!({ "allowed_common_names": "alice" }), false),
        (json!({ "allowed_common_names": "a.example" }), false),
        (json!({ "allowed_names": "a.example" }), true),
        (json!({ "allowed_names": "alice@*" }), true),
        (json!({ "allowed_names": "spiffe://*" }), false),
        (json!({ "allowed_dns_sans": "*.example" }), true),
        (json!({ "allowed_dns_sans": "alice.corp" }), false),
        (json!({ "allowed_email_sans": "alice@example" }), true),
        (json!({ "allowed_email_sans": "*@corp" }), false),
        (json!({ "allowed_uri_sans": "spiffe://corp/*" }), true),
        (json!({ "allowed_uri_sans": "spiffe://corp" }), false),
        (json!({ "allowed_organizational_units": "ops" }), true),
        (json!({ "allowed_organizational_units": "dev" }), false),
        (json!({ "required_extensions": "1.2.3.4.5:can*" }), true),
        (json!({ "required_extensions": "1.2.3.4.5:other" }), false),
        (json!({ "required_extensions": "1.2.3.4.6:*" }), false),
        (json!({ "allowed_dns_sans": "*.example", "allowed_organizational_units": "dev" }), false),
    ] {
        world.delete("cert/certs/web").unwrap();
        let mut whole = body.clone();
        whole["certificate"] = root.pem().into();
        world.role("web", whole);
        let expected = if is_taken { Ok("web".to_owned()) } else { refused(UNSUITABLE) };
        assert_eq!(world.show(std::slice::from_ref(&leaf)), expected, "{body}");
    }
    world.role("web", json!({ "allowed_dns_sans": "", "allowed_organizational_units": "", "allowed_metadata_extensions": "1.2.3.4.5" }));
    let auth = world.show_to(&[leaf], json!({})).unwrap();
    assert_eq!(auth["metadata"]["1-2-3-4-5"], json!("canary"));
}

#[test]
fn a_certificate_that_can_be_read_in_two_ways_is_not_taken() {
    let (mut world, root) = (World::new(), Authority::new("root"));
    world.role("web", json!({ "certificate": root.pem() }));
    let mut nameless = CertificateParams::default();
    nameless.distinguished_name = rcgen::DistinguishedName::new();
    nameless.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    assert!(world.show(&[root.issue(&nameless)]).unwrap_err().contains("no common name"));
    for name in [" alice", "alice\u{0}", "alice\n"] {
        assert!(world.show(&[root.issue(&client(name))]).is_err());
    }
    let mut shown = root.issue(&client("alice")).to_vec();
    shown.push(0);
    assert_eq!(world.show(&[shown.into()]), refused(UNTRUSTED));
}

#[test]
fn the_first_role_that_fits_is_taken_or_the_one_that_is_named() {
    let (mut world, root) = (World::new(), Authority::new("root"));
    world.role("b", json!({ "certificate": root.pem() }));
    world.role("a", json!({ "certificate": root.pem(), "allowed_common_names": "bob" }));
    let leaf = [root.issue(&client("alice"))];
    assert_eq!(world.show(&leaf), Ok("b".to_owned()));
    let named = |world: &mut World, name: &str| {
        world.show_to(&leaf, json!({ "name": name })).map(|auth| auth["metadata"]["cert_name"].clone())
    };
    assert_eq!(named(&mut world, "B"), Ok(json!("b")));
    assert_eq!(named(&mut world, "a"), Err(UNSUITABLE.to_owned()));
    for none in ["none", "../b", "b/"] {
        assert_eq!(named(&mut world, none), Err(UNTRUSTED.to_owned()));
    }
}

#[test]
fn what_was_revoked_leads_nowhere_and_only_that() {
    let (mut world, root) = (World::new(), Authority::new("root"));
    let (middle, other) = (root.below("middle"), Authority::new("other"));
    world.role("web", json!({ "certificate": format!("{}{}", root.pem(), other.pem()) }));
    let direct = root.issue(&client("alice"));
    let through = [middle.issue(&client("bob")), middle.der()];
    let of_other = other.issue(&client("carol"));
    let crl = json!({ "crl": root.crl(&[7]) });
    // A login that was decided before does not come in behind it.
    world.certificates = Some(vec![direct.clone()]);
    let early = world.decide(Operation::Write, "cert/login", &json!({}), None).unwrap();
    world.write("cert/crls/first", crl).unwrap();
    let crate::auth::Step::Done(early) = early else { panic!("it was accepted") };
    assert!(world.state.apply(&early.txn).is_err());
    assert_eq!(world.show(std::slice::from_ref(&direct)), refused(UNSUITABLE));
    // Number 7 of another authority is another certificate.
    assert_eq!(world.show(&[of_other]), Ok("web".to_owned()));
    assert_eq!(world.show(&through), Ok("web".to_owned()));
    assert_eq!(world.read("cert/crls/first").unwrap()["serials"], json!({ "7": {} }));
    assert_eq!(world.list("cert/crls").unwrap(), json!(["first"]));
    world.delete("cert/crls/first").unwrap();
    assert_eq!(world.show(&[direct]), Ok("web".to_owned()));
    assert_eq!(world.delete("cert/crls/first").unwrap_err(), Error::invalid("no such CRL first"));
}

#[test]
fn an_authority_that_was_revoked_vouches_for_nobody() {
    let (mut world, root) = (World::new(), Authority::new("root"));
    let mut params = Authority::params("middle");
    params.serial_number = Some(SerialNumber::from(9_u64));
    let middle =
        Authority(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root.0).unwrap());
    let shown = [middle.issue(&client("alice")), middle.der()];
    for certificate in [root.pem(), middle.pem()] {
        world.role("web", json!({ "certificate": certificate }));
        assert_eq!(world.show(&shown), Ok("web".to_owned()));
        world.write("cert/crls/roots", json!({ "crl": root.crl(&[9]) })).unwrap();
        assert_eq!(world.show(&shown), refused(UNTRUSTED));
        world.delete("cert/crls/roots").unwrap();
    }
}

/// CVE-2026-39388: a token renewed by whoever has any certificate of the authority.
#[test]
fn a_token_is_renewed_by_who_shows_the_key_of_its_login() {
    let (mut world, root) = (World::new(), Authority::new("root"));
    world.role("web", json!({ "certificate": root.pem() }));
    let key = KeyPair::generate().unwrap();
    let leaf = root.issue_for(&client("alice"), &key);
    let auth = world.show_to(std::slice::from_ref(&leaf), json!({})).unwrap();
    let entry = world.identify(auth["client_token"].as_str().unwrap()).unwrap().entry;
    let renew = |world: &mut World, shown: Option<&[Bytes]>| {
        world.plan(|ctx| method::may_renew(ctx, &entry, shown)).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(renew(&mut world, Some(std::slice::from_ref(&leaf))), Ok(()));
    // Issued anew for the same key and name, it is the same.
    assert_eq!(renew(&mut world, Some(&[root.issue_for(&client("alice"), &key)])), Ok(()));
    let other = "client identity during renewal not matching client identity used during login";
    for shown in [root.issue(&client("alice")), root.issue_for(&client("bob"), &key)] {
        assert_eq!(renew(&mut world, Some(&[shown])), Err(other.to_owned()));
    }
    assert!(renew(&mut world, Some(&[])).is_err() && renew(&mut world, None).is_err());
    world.role("web", json!({ "allowed_common_names": "bob" }));
    assert_eq!(renew(&mut world, Some(std::slice::from_ref(&leaf))), Err(UNSUITABLE.to_owned()));
    world.write("cert/config", json!({ "disable_binding": true })).unwrap();
    assert_eq!(renew(&mut world, None), Ok(()));
    world.role("web", json!({ "token_policies": "other" }));
    assert!(renew(&mut world, None).unwrap_err().contains("policies have changed"));
    world.delete("cert/certs/web").unwrap();
    assert!(renew(&mut world, None).unwrap_err().contains("no longer exists"));
}

#[test]
fn a_role_is_shown_as_it_was_given_and_bad_ones_are_refused() {
    let (mut world, root) = (World::new(), Authority::new("root"));
    let body =
        json!({ "certificate": root.pem(), "policies": "a,b", "ttl": "1h", "allowed_dns_sans": "x,y" });
    world.role("Web", body);
    let told = world.read("cert/certs/web").unwrap();
    assert_eq!((&told["token_policies"], &told["policies"]), (&json!(["a", "b"]), &json!(["a", "b"])));
    assert_eq!((&told["token_ttl"], &told["display_name"]), (&json!(3_600), &json!("web")));
    assert_eq!((&told["allowed_dns_sans"], &told["allowed_names"]), (&json!(["x", "y"]), &Value::Null));
    assert_eq!(world.list("cert/certs").unwrap(), json!(["web"]));
    for body in [
        json!({}),
        json!({ "certificate": "canary" }),
        json!({ "certificate": "-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n" }),
        json!({ "certificate": root.pem().repeat(17) }),
        json!({ "certificate": root.pem(), "ocsp_enabled": true }),
        json!({ "certificate": root.pem(), "ocsp_servers_override": "http://canary" }),
        json!({ "certificate": root.pem(), "required_extensions": "canary" }),
        json!({ "certificate": root.pem(), "allowed_names": vec!["canary"; 257] }),
        json!({ "certificate": root.pem(), "token_type": "canary" }),
    ] {
        let refusal = world.write("cert/certs/bad", body).unwrap_err().to_string();
        assert!(!refusal.contains("canary"), "{refusal}");
    }
    for body in [json!({ "enable_identity_alias_metadata": true }), json!({ "ocsp_cache_size": 100 })] {
        assert!(world.write("cert/config", body).unwrap_err().to_string().contains("not supported"));
    }
    for body in [json!({}), json!({ "url": "http://canary" }), json!({ "crl": "canary" })] {
        let refusal = world.write("cert/crls/x", body).unwrap_err().to_string();
        assert!(!refusal.contains("canary"), "{refusal}");
    }
    assert_eq!(world.read("cert/certs/bad").unwrap_err(), Error::NotFound);
}
