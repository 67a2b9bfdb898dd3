//! Where a request goes, and which settings are taken.

use serde_json::json;

use super::*;

fn applied(body: Value) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::default();
    config.apply(body.as_object().unwrap()).map(|()| config)
}

fn signed(host: &str, region: &str) -> Signed {
    Signed { host: host.to_owned(), region: region.to_owned(), headers: Vec::new(), body: String::new() }
}

fn asked(config: &ClientConfig, host: &str, region: &str) -> Result<String, Error> {
    config.errand(signed(host, region)).map(|errand| errand.url)
}

#[test]
fn the_request_goes_to_the_configured_server_whatever_it_names() {
    let plain = ClientConfig::default();
    let here = applied(json!({ "sts_endpoint": "http://127.0.0.1:5000" })).unwrap();
    for host in ["sts.amazonaws.com", "sts.eu-west-1.amazonaws.com", "sts-fips.us-east-1.amazonaws.com"] {
        assert_eq!(asked(&plain, host, "us-east-1").unwrap(), "https://sts.amazonaws.com/");
        assert_eq!(asked(&here, host, "us-east-1").unwrap(), "http://127.0.0.1:5000/");
    }
    let errand = here.errand(signed("sts.amazonaws.com", "us-east-1")).unwrap();
    let host = errand.headers.iter().find(|(name, _)| name == "host").unwrap();
    assert_eq!(host.1.as_str(), "sts.amazonaws.com", "the signature covers it");
}

/// A server with many names would let the caller choose who answers.
#[test]
fn a_host_that_is_no_sts_is_not_passed_on() {
    let here = applied(json!({ "sts_endpoint": "https://sts.example:8443" })).unwrap();
    assert!(asked(&here, "sts.example:8443", "us-east-1").is_ok());
    for host in [
        "sts.example",
        "iam.amazonaws.com",
        "s3.amazonaws.com",
        "evil.example",
        "sts.amazonaws.com.evil.example",
        "sts.us-east-1.amazonaws.com.evil.example",
        "sts.us-east-1.evil.example",
        "sts.evil.us-east-1.amazonaws.com",
        "xsts.amazonaws.com",
        "sts.cn-north-1.amazonaws.com",
        "sts.amazonaws.com:444",
        "bucket.s3.us-east-1.amazonaws.com",
        "",
    ] {
        assert!(asked(&here, host, "us-east-1").is_err(), "{host}");
    }
    assert!(asked(&here, "sts.cn-north-1.amazonaws.com.cn", "cn-north-1").is_ok());
}

#[test]
fn the_region_of_a_request_leads_to_sts_there_and_nowhere_else() {
    let config =
        applied(json!({ "use_sts_region_from_client": true, "sts_endpoint": "https://x.example" })).unwrap();
    let ask = |region| asked(&config, "sts.amazonaws.com", region);
    assert_eq!(ask("eu-central-1").unwrap(), "https://sts.eu-central-1.amazonaws.com/");
    assert_eq!(ask("us-gov-west-1").unwrap(), "https://sts.us-gov-west-1.amazonaws.com/");
    assert_eq!(ask("cn-north-1").unwrap(), "https://sts.cn-north-1.amazonaws.com.cn/");
    for region in [
        "",
        "x",
        "us-east",
        "us-east-1.evil.example",
        "us-east-1/x",
        "evil.example#-1",
        "US-EAST-1",
        "us--1",
        "a@b-cd-1",
        "us-east-100",
    ] {
        assert!(ask(region).is_err(), "{region}");
    }
}

#[test]
fn a_request_for_another_region_than_the_configured_one_is_refused() {
    let config = json!({ "sts_endpoint": "https://sts.eu-west-1.amazonaws.com", "sts_region": "eu-west-1" });
    let config = applied(config).unwrap();
    assert!(asked(&config, "sts.eu-west-1.amazonaws.com", "eu-west-1").is_ok());
    assert!(asked(&config, "sts.eu-west-1.amazonaws.com", "us-east-1").is_err());
    for bad in [
        json!({ "sts_region": "eu-west-1" }),
        json!({ "sts_region": "x", "sts_endpoint": "https://x.example" }),
    ] {
        assert!(applied(bad).is_err());
    }
}

#[test]
fn an_endpoint_is_secret_or_on_this_machine() {
    for good in [
        "https://sts.example",
        "https://sts.example:8443/",
        "http://127.0.0.1:1",
        "http://[::1]:1",
        "http://localhost:1",
    ] {
        assert!(applied(json!({ "sts_endpoint": good })).is_ok(), "{good}");
    }
    for bad in [
        "http://sts.example",
        "http://10.0.0.1",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "ftp://127.0.0.1",
        "https://user:canary@sts.example",
        "https://sts.example/path",
        "https://sts.example/?q",
        "https://sts.example/#f",
        "sts.example",
        " https://sts.example",
        "https://sts.example\n",
    ] {
        let said = applied(json!({ "sts_endpoint": bad })).unwrap_err().to_string();
        assert!(!said.contains("canary"), "{said}");
    }
}

#[test]
fn what_is_not_supported_is_refused_and_not_forgotten() {
    for name in NOT_USED {
        let said = applied(json!({ name: "canary" })).unwrap_err().to_string();
        assert!(said.contains(name) && !said.contains("canary"), "{said}");
        assert!(applied(json!({ name: "" })).is_ok());
    }
    assert!(applied(json!({ "max_retries": -1 })).is_ok() && applied(json!({ "max_retries": 3 })).is_err());
    let allowed = applied(json!({ "allowed_sts_header_values": "x-custom-ID, X-Other" })).unwrap();
    assert_eq!(allowed.allowed_sts_header_values, ["X-Custom-Id", "X-Other"]);
    assert!(allowed.allows_header("x-custom-id") && !allowed.allows_header("x-custom"));
}
