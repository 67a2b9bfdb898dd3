use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::compact::TOKEN_BYTES_MAX;
use super::testing::{Signer, encode};
use super::*;

const SHORT_RSA: &str = include_str!("vectors/short.txt");
const CERTIFICATE: &str = include_str!("vectors/certificate.txt");
const NOW_S: i64 = 1_800_000_000;

fn given(signers: &[&Signer]) -> KeySet {
    KeySet::given(signers.iter().map(|signer| Key::of_pem(&signer.pem()).unwrap()).collect())
}

fn published(keys: &[Value]) -> KeySet {
    KeySet::published(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn refusal(keys: &KeySet, token: &str) -> Unverified {
    keys.verify(token).expect_err("it is not by any of the keys")
}

#[test]
fn each_kind_of_key_verifies_what_it_signed_and_nothing_that_was_changed() {
    for signer in Signer::all() {
        for algorithm in signer.algorithms() {
            let header = json!({ "alg": algorithm, "kid": "k" });
            let token = signer.sign(&header, r#"{"sub":"ada"}"#);
            for keys in [given(&[&signer]), published(&[signer.jwk("k")])] {
                let (by, claims) = keys.verify(&token).unwrap();
                assert_eq!((by.name(), &claims["sub"]), (*algorithm, &json!("ada")));
                let [head, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else {
                    panic!("3 parts")
                };
                let other = encode(r#"{"sub":"eve"}"#);
                assert_eq!(refusal(&keys, &format!("{head}.{other}.{signature}")), Unverified::Signature);
                let other = encode(json!({ "alg": algorithm, "kid": "k", "x": 1 }).to_string());
                assert_eq!(refusal(&keys, &format!("{other}.{claims}.{signature}")), Unverified::Signature);
            }
        }
    }
}

/// RFC 7515, A.2 and A.3, RFC 8037, A.4: what others signed.
#[test]
fn tokens_of_the_standards_are_verified() {
    let rsa = json!({ "kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddx\
        HmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-\
        bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7a\
        GhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ" });
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb\
        290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujG\
        bds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN938\
        3LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtV\
        rBp0igcN_IoypGlUPQGe77Rw";
    let (_, claims) = published(&[rsa]).verify(token).unwrap();
    assert_eq!(claims["iss"], "joe");
    let ec = json!({ "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" });
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb\
        290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    assert_eq!(published(&[ec]).verify(token).unwrap().1["exp"], 1_300_819_380);
    // Its payload is no object, so that only the signature can be checked.
    let ed = Key::ed25519(
        &hex::decode("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap(),
    );
    let signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "860c98d2297f3060a33f42739672d61b53cf3adefed3d3c672f320dc021b411e9d59b8628dc351e248b88b29468e0e41855b\
        0fb7d83bb15be902bfccb8cd0a02";
    assert!(ed.unwrap().verifies(Algorithm::EdDsa, signed, &hex::decode(signature).unwrap()));
}

/// The class of CVE-2015-9235 and its many kin: whoever has the public key must not be able to sign.
#[test]
fn no_token_chooses_by_what_it_is_verified() {
    let (rsa, p256) = (Signer::rsa(), Signer::p256());
    let claims = encode(r#"{"sub":"eve"}"#);
    for keys in [given(&[&rsa, &p256]), published(&[rsa.jwk("a"), p256.jwk("b")])] {
        for none in
            ["none", "None", "NONE", "nOnE", "", "HS256", "rs256", "RS256 ", "ES512", "ES256K", "RSA-OAEP"]
        {
            let head = encode(json!({ "alg": none }).to_string());
            for signature in ["", "AA"] {
                let token = format!("{head}.{claims}.{signature}");
                assert!(matches!(refusal(&keys, &token), Unverified::Malformed(_)), "{none}");
            }
        }
        for header in [json!({}), json!({ "alg": null }), json!({ "alg": ["RS256"] }), json!({ "alg": 256 })]
        {
            assert!(matches!(refusal(&keys, &rsa.sign(&header, "{}")), Unverified::Malformed(_)), "{header}");
        }
        // With the public key as the secret of an HMAC, in each way in which it is written.
        for secret in [rsa.pem(), rsa.jwk("a")["n"].as_str().unwrap().to_owned()] {
            for alg in ["HS256", "RS256", "PS256", "ES256", "EdDSA"] {
                let signed = format!("{}.{claims}", encode(json!({ "alg": alg, "kid": "a" }).to_string()));
                let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
                mac.update(signed.as_bytes());
                refusal(&keys, &format!("{signed}.{}", encode(mac.finalize().into_bytes())));
            }
        }
        // A signature of the one kind under the name of another, and none at all.
        for (signer, alg) in [(&rsa, "ES256"), (&rsa, "EdDSA"), (&p256, "RS256"), (&p256, "ES384")] {
            assert_eq!(
                refusal(&keys, &signer.sign(&json!({ "alg": alg }), "{}")),
                Unverified::Signature,
                "{alg}"
            );
        }
        let unsigned = format!("{}.{claims}.", encode(r#"{"alg":"RS256"}"#));
        assert_eq!(refusal(&keys, &unsigned), Unverified::Malformed("the token is not signed"));
        // Zeros, as in CVE-2022-21449.
        let zeros = format!("{}.{claims}.{}", encode(r#"{"alg":"ES256"}"#), encode([0; 64]));
        assert_eq!(refusal(&keys, &zeros), Unverified::Signature);
    }
}

#[test]
fn no_token_brings_its_own_key_or_says_where_it_lies() {
    let (known, stranger) = (Signer::p256(), Signer::p256());
    let keys = published(&[known.jwk("k")]);
    for header in [
        json!({ "alg": "ES256", "jwk": stranger.jwk("k") }),
        json!({ "alg": "ES256", "kid": "k", "jwk": stranger.jwk("k") }),
        json!({ "alg": "ES256", "kid": "k", "jku": "https://evil.example/keys" }),
        json!({ "alg": "ES256", "kid": "k", "x5u": "https://evil.example/cert" }),
        json!({ "alg": "ES256", "kid": "k", "x5c": ["MIIB"] }),
    ] {
        assert_eq!(refusal(&keys, &stranger.sign(&header, "{}")), Unverified::Signature, "{header}");
    }
    // An id is compared, and nothing else is ever done with it.
    for id in ["../../dev/null", "k' OR '1'='1", "K", "k ", "", "\u{0}k", "https://evil.example/k"] {
        let token = stranger.sign(&json!({ "alg": "ES256", "kid": id }), "{}");
        assert_eq!(refusal(&keys, &token), Unverified::UnknownKey, "{id}");
    }
    for id in [json!(1), json!(null), json!(["k"]), json!("k".repeat(2_000))] {
        let token = known.sign(&json!({ "alg": "ES256", "kid": id }), "{}");
        assert!(matches!(refusal(&keys, &token), Unverified::Malformed(_)));
    }
}

#[test]
fn what_a_header_demands_and_nobody_knows_is_refused() {
    let signer = Signer::ed25519();
    let keys = given(&[&signer]);
    for header in [
        json!({ "alg": "EdDSA", "crit": ["exp"], "exp": 1 }),
        json!({ "alg": "EdDSA", "crit": [] }),
        json!({ "alg": "EdDSA", "b64": false }),
        json!({ "alg": "EdDSA", "zip": "DEF" }),
    ] {
        assert!(matches!(refusal(&keys, &signer.sign(&header, "{}")), Unverified::Malformed(_)), "{header}");
    }
}

#[test]
fn a_token_is_written_in_one_way() {
    let signer = Signer::ed25519();
    let keys = given(&[&signer]);
    let good = signer.sign(&json!({ "alg": "EdDSA" }), r#"{"sub":"ada"}"#);
    keys.verify(&good).unwrap();
    let last = good.chars().last().unwrap();
    // The last sign of 64 bytes has bits that mean nothing; only one way of setting them is taken.
    let other = char::from(if last == 'A' { b'B' } else { last as u8 + 1 });
    let recoded = format!("{}{other}", &good[..good.len() - 1]);
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        good.replace('.', ""),
        format!("{good}."),
        format!("{good}.x"),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}="),
        recoded,
        good.replacen('.', "+.", 1),
        "x".repeat(TOKEN_BYTES_MAX + 1),
        signer.sign(&json!({ "alg": "EdDSA" }), r#"{"sub":"ada","sub":"eve"}"#),
        signer.sign(&json!({ "alg": "EdDSA" }), r#"{"a":{"b":1,"b":2}}"#),
        signer.sign(&json!({ "alg": "EdDSA" }), r#"["sub"]"#),
        signer.sign(&json!({ "alg": "EdDSA" }), "null"),
        signer.sign(&json!({ "alg": "EdDSA" }), &format!("{{\"a\":{}1{}}}", "[".repeat(40), "]".repeat(40))),
    ] {
        assert!(matches!(refusal(&keys, &bad), Unverified::Malformed(_)), "{bad}");
    }
    let head = encode(r#"{"alg":"EdDSA","alg":"none"}"#);
    let twice = good.replacen(good.split('.').next().unwrap(), &head, 1);
    assert!(matches!(refusal(&keys, &twice), Unverified::Malformed(_)));
}

#[test]
fn a_published_key_is_used_for_what_it_is_published_for() {
    let signer = Signer::rsa();
    let token = signer.token("k", &json!({}));
    for (member, value, is_used) in [
        ("use", json!("sig"), true),
        ("use", json!("enc"), false),
        ("key_ops", json!(["verify"]), true),
        ("key_ops", json!(["encrypt"]), false),
        ("alg", json!("RS256"), true),
        ("alg", json!("PS256"), false),
        ("alg", json!("HS256"), false),
        ("alg", json!("none"), false),
        ("kty", json!("oct"), false),
        ("n", json!("AQAB"), false),
        ("e", json!("AQABAQABAQAB"), false),
        ("x", json!("y"), true),
    ] {
        let mut jwk = signer.jwk("k");
        jwk[member] = value.clone();
        assert_eq!(published(&[jwk]).verify(&token).is_ok(), is_used, "{member} {value}");
    }
    let other_curve = {
        let mut jwk = Signer::p384().jwk("k");
        jwk["crv"] = json!("P-256");
        jwk
    };
    assert_eq!(refusal(&published(&[other_curve]), &token), Unverified::UnknownKey);
    for bad in ["", "[]", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, r#"{"keys":[]"#] {
        assert!(KeySet::published(bad.as_bytes()).is_err(), "{bad}");
    }
    let many = vec![signer.jwk("k"); 65];
    assert!(KeySet::published(json!({ "keys": many }).to_string().as_bytes()).is_err());
}

#[test]
fn keys_are_read_from_certificates_too_and_weak_ones_are_refused() {
    assert_eq!(Key::of_pem(CERTIFICATE), Key::of_pem(&Signer::rsa().pem()));
    for bad in ["", "x", SHORT_RSA, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        assert!(Key::of_pem(bad).is_err(), "{bad}");
    }
    let secret = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(Key::of_pem(secret).is_err());
}

fn check(expected: &Expected<'_>, claims: Value) -> Result<(), &'static str> {
    let claims: Map<String, Value> = serde_json::from_value(claims).unwrap();
    expected.check(Algorithm::Es256, &claims)
}

const ANY: Expected<'static> = Expected {
    algorithms: &[],
    issuer: "",
    subject: "",
    audiences: &[],
    leeways: Leeways { expiration_s: 0, not_before_s: 0, clock_skew_s: 0 },
    needs_time: true,
    now_s: NOW_S,
};

#[test]
fn a_token_holds_from_its_beginning_to_its_end_within_the_leeways() {
    const NOT_YET: Result<(), &str> = Err("invalid not before (nbf) claim: token not yet valid");
    const EXPIRED: Result<(), &str> = Err("invalid expiration time (exp) claim: token is expired");
    let exactly = Leeways { expiration_s: -1, not_before_s: -1, clock_skew_s: -1 };
    let wide = Leeways { expiration_s: 300, not_before_s: 300, clock_skew_s: 10 };
    for (leeways, claims, expected) in [
        (Leeways::default(), json!({ "exp": NOW_S - 60 }), Ok(())),
        (Leeways::default(), json!({ "exp": NOW_S - 61 }), EXPIRED),
        (exactly, json!({ "exp": NOW_S }), Ok(())),
        (exactly, json!({ "exp": NOW_S - 1 }), EXPIRED),
        (wide, json!({ "exp": NOW_S - 10 }), Ok(())),
        (wide, json!({ "exp": NOW_S - 11 }), EXPIRED),
        (Leeways::default(), json!({ "nbf": NOW_S + 60 }), Ok(())),
        (Leeways::default(), json!({ "nbf": NOW_S + 61 }), NOT_YET),
        (exactly, json!({ "nbf": NOW_S + 1, "exp": NOW_S + 9 }), NOT_YET),
        // Without an end it lasts as long as is allowed from its beginning.
        (Leeways::default(), json!({ "iat": NOW_S - 210 }), Ok(())),
        (Leeways::default(), json!({ "iat": NOW_S - 211 }), EXPIRED),
        (exactly, json!({ "iat": NOW_S }), Ok(())),
        (exactly, json!({ "iat": NOW_S - 1 }), EXPIRED),
        (wide, json!({ "iat": NOW_S - 999, "nbf": NOW_S - 310 }), Ok(())),
        (wide, json!({ "iat": NOW_S - 999, "nbf": NOW_S - 311 }), EXPIRED),
        // Without a beginning, it begins so long before its end.
        (Leeways::default(), json!({ "exp": NOW_S + 210 }), Ok(())),
        (Leeways::default(), json!({ "exp": NOW_S + 211 }), NOT_YET),
        (
            Leeways::default(),
            json!({ "iat": NOW_S + 61, "nbf": NOW_S, "exp": NOW_S + 99 }),
            Err("invalid issued at (iat) claim: token issued in the future"),
        ),
        (exactly, json!({ "exp": 0, "iat": NOW_S }), EXPIRED),
        (exactly, json!({ "exp": NOW_S as f64 + 0.5 }), Ok(())),
    ] {
        let found = check(&Expected { leeways, ..ANY }, claims.clone());
        assert_eq!(found, expected, "{leeways:?} {claims}");
    }
    assert!(check(&ANY, json!({})).is_err());
    check(&Expected { needs_time: false, ..ANY }, json!({})).unwrap();
    for time in [json!("1800000000"), json!(-1), json!(1e300), json!(u64::MAX), json!([NOW_S]), json!(true)] {
        for name in ["exp", "nbf", "iat"] {
            assert!(
                check(&ANY, json!({ name: time, "exp": NOW_S })).is_err() || name == "exp",
                "{name} {time}"
            );
            assert!(check(&ANY, json!({ name: time })).is_err(), "{name} {time}");
        }
    }
}

/// CVE-2024-5798: one audience may be a text, and more are a list; a part of a text is none.
#[test]
fn a_token_is_of_whom_about_whom_and_for_whom_it_must_be() {
    let audiences = ["a".to_owned(), "b".to_owned()];
    let expected = Expected {
        issuer: "me",
        subject: "ada",
        audiences: &audiences,
        algorithms: &[Algorithm::Es256],
        ..ANY
    };
    let good = json!({ "iss": "me", "sub": "ada", "aud": ["x", "b"], "exp": NOW_S });
    check(&expected, good.clone()).unwrap();
    for (name, value, is_taken) in [
        ("iss", json!("Me"), false),
        ("iss", json!(["me"]), false),
        ("iss", json!(null), false),
        ("sub", json!("ada "), false),
        ("aud", json!("a"), true),
        ("aud", json!("a,b"), false),
        ("aud", json!([]), false),
        ("aud", json!(null), false),
        ("aud", json!(["a", 1]), false),
        ("aud", json!({ "a": 1 }), false),
    ] {
        let mut claims = good.clone();
        claims[name] = value.clone();
        assert_eq!(check(&expected, claims).is_ok(), is_taken, "{name} {value}");
    }
    let other = Expected { algorithms: &[Algorithm::Rs256], ..ANY };
    assert!(check(&other, good).unwrap_err().contains("unexpected algorithm"));
}
