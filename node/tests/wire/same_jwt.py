"""Logins by tokens of others at OpenBao and at Conclave: the same requests, the same signer, the same answers.

As in same_identity.py, what differs on purpose stands in DIFFERENT, what only has words of our own in OWN_WORDS, and
either fails when it is no longer so.
"""

import json
import time
import urllib.parse

from same_answers import OpenBao, leader, refuses_alike
from same_identity import Server
from signer import CERTIFICATE, Signer, public_key, sign
from wire import TOKEN, check

J, K, O = "/v1/auth/j", "/v1/auth/k", "/v1/auth/o"
NOW = int(time.time())
CLAIMS = {"iss": "https://issuer.example", "aud": "me", "sub": "ada", "iat": NOW, "exp": NOW + 3_600, "groups": ["g1", "g2"], "level": 3,
          "org": {"name": "blue", "roles": ["r1", "r2"]}}
POD = {"aud": ["api", "vault"], "sub": "system:serviceaccount:prod:app", "iat": NOW, "exp": NOW + 3_600,
       "kubernetes.io": {"namespace": "prod", "serviceaccount": {"name": "app", "uid": "u1"}, "pod": {"name": "p", "uid": "u2"}}}


def pod(**more):
    return {**POD, "kubernetes.io": {**POD["kubernetes.io"], **more}}


# Tokens by the names under which requests send them.
TOKENS = {
    "good": sign(CLAIMS), "eve": sign({**CLAIMS, "sub": "eve"}), "expired": sign({**CLAIMS, "exp": NOW - 61, "iat": NOW - 999}),
    "late": sign({**CLAIMS, "exp": NOW - 30, "iat": NOW - 999}), "early": sign({**CLAIMS, "nbf": NOW + 600}),
    "future": sign({**CLAIMS, "iat": NOW + 600, "nbf": NOW}), "timeless": sign({"sub": "ada", "aud": "me"}), "old": sign({"sub": "ada", "aud": "me", "iat": NOW - 300}),
    "other_aud": sign({**CLAIMS, "aud": "you"}), "auds": sign({**CLAIMS, "aud": ["you", "me"]}), "no_aud": sign({**CLAIMS, "aud": []}),
    "level": sign({**CLAIMS, "level": 4}), "no_groups": sign({**CLAIMS, "groups": 5}), "number": sign({**CLAIMS, "sub": 7}),
    "unknown": sign(CLAIMS, kid="other"), "hmac": sign(CLAIMS, alg="HS256"), "none": sign(CLAIMS, alg="none"), "rs512": sign(CLAIMS, alg="RS512"),
    "bad": sign(CLAIMS)[:-6] + "AAAAAA", "two": ".".join(sign(CLAIMS).split(".")[:2]),
    "pod": sign(POD), "pod_aud": sign({**POD, "aud": ["api"]}), "pod_name": sign(pod(serviceaccount={"name": "x", "uid": "u1"})),
    "pod_space": sign(pod(namespace="test")), "pod_expired": sign({**POD, "exp": NOW - 61}), "pod_gone": sign({**POD, "iat": NOW - 1}),
    "pod_bad": sign(POD)[:-6] + "AAAAAA",
}
KEY = public_key()
BOUND = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "me"}
PLACE = {"redirect_uri": "http://localhost:8250/oidc/callback"}
CODE_FLOW = {"oidc_discovery_url": "{web}", "oidc_client_id": "client", "oidc_client_secret": "s3cret"}
ACCOUNT = {"bound_service_account_names": "app,web-*", "bound_service_account_namespaces": "prod", "audience": "vault"}


def logins(*names, role="r"):
    return [("POST", f"{J}/login", {"role": role, "jwt": f"{{{name}}}"}) for name in names]


STEPS = [
    ("POST", "/v1/sys/auth/j", {"type": "jwt"}), ("POST", "/v1/sys/auth/o", {"type": "oidc"}), ("POST", "/v1/sys/auth/k", {"type": "kubernetes"}),
    # The settings.
    ("GET", f"{J}/config"), ("POST", f"{J}/login", {"role": "r", "jwt": "x"}), ("POST", f"{J}/config", {}),
    ("POST", f"{J}/config", {"jwks_url": "{web}/keys", "jwt_validation_pubkeys": KEY}), ("POST", f"{J}/config", {"jwt_validation_pubkeys": "x"}),
    ("POST", f"{J}/config", {"jwt_validation_pubkeys": KEY, "oidc_client_id": "a"}),
    ("POST", f"{J}/config", {"jwt_validation_pubkeys": KEY, "oidc_client_id": "a", "oidc_client_secret": "b"}),
    ("POST", f"{J}/config", {"jwt_validation_pubkeys": KEY, "jwt_supported_algs": "HS256"}),
    ("POST", f"{J}/config", {"jwt_validation_pubkeys": KEY, "oidc_response_mode": "bogus"}),
    ("POST", f"{J}/config", {"jwt_validation_pubkeys": KEY, "oidc_response_types": "bogus"}),
    ("POST", f"{J}/config", {"jwks_url": "{web}/nothing"}), ("POST", f"{J}/config", {"jwks_url": "{web}/nothing", "skip_jwks_validation": True}),
    ("POST", f"{J}/config", {"jwks_url": "{web}/keys", "jwks_ca_pem": "x"}), ("POST", f"{J}/config", {"oidc_discovery_url": "{web}/nothing"}),
    ("POST", f"{J}/config", {"oidc_discovery_url": "{web}/.well-known/openid-configuration"}),
    ("POST", f"{J}/config", {"oidc_discovery_url": "{web}", "bogus": 1, "default_role": "R"}), ("GET", f"{J}/config"),
    ("POST", f"{J}/config", {"jwks_url": "{web}/keys", "bound_issuer": "https://issuer.example", "default_role": "r"}), ("GET", f"{J}/config"),
    ("LIST", f"{J}/config"), ("DELETE", f"{J}/config"),
    # Roles.
    ("LIST", f"{J}/role"), ("GET", f"{J}/role/r"), ("DELETE", f"{J}/role/r"), ("POST", f"{J}/role/r", {}), ("POST", f"{J}/role/r", {"role_type": "x"}),
    ("POST", f"{J}/role/r", {"role_type": "jwt"}), ("POST", f"{J}/role/r", {"role_type": "jwt", "user_claim": "sub"}),
    ("POST", f"{J}/role/r", {"user_claim": "sub"}), ("POST", f"{J}/role/r", {**BOUND, "bound_claims_type": "x"}),
    ("POST", f"{J}/role/r", {**BOUND, "claim_mappings": {"a": "role"}}), ("POST", f"{J}/role/r", {**BOUND, "claim_mappings": {"a": "b", "c": "b"}}),
    ("POST", f"{J}/role/r", {**BOUND, "bound_claims_type": "glob", "bound_claims": {"a": 1}}), ("POST", f"{J}/role/r", {**BOUND, "callback_mode": "x"}),
    ("POST", f"{J}/role/r", {**BOUND, "oauth2_metadata": "x"}), ("POST", f"{J}/role/r", {**BOUND, "token_ttl": "2h", "token_max_ttl": "1h"}),
    ("POST", f"{J}/role/r", {**BOUND, "bogus": 1}), ("GET", f"{J}/role/r"),
    ("POST", f"{J}/role/r", {**BOUND, "token_policies": "p1,p2", "ttl": "1h", "max_ttl": "9000h", "num_uses": 9, "policies": "a", "bound_cidrs": "127.0.0.0/8",
                             "claim_mappings": {"/org/name": "org", "none": "none"}, "groups_claim": "groups", "max_age": "1h", "oidc_scopes": "a,b",
                             "allowed_redirect_uris": "http://a", "expiration_leeway": "1m", "not_before_leeway": -1, "clock_skew_leeway": "30s"}),
    ("GET", f"{J}/role/r"), ("GET", f"{J}/role/R"), ("LIST", f"{J}/role"), ("LIST", f"{J}/role/"), ("POST", f"{J}/role/Two", BOUND), ("LIST", f"{J}/role"),
    ("POST", f"{J}/role/a/b", BOUND), ("GET", f"{J}/role"), ("POST", f"{J}/nothing", {}), ("GET", f"{J}/nothing"),
    # Logins.
    *logins("good"), ("POST", f"{J}/login", {"jwt": "{good}", "bogus": 1}), ("POST", f"{J}/login", {}), ("POST", f"{J}/login", {"role": "none", "jwt": "{good}"}),
    ("GET", f"{J}/login"), ("POST", f"{J}/role/r", {**BOUND, "clock_skew_leeway": 0, "expiration_leeway": 0}),
    *logins("good", "expired", "late", "early", "future", "timeless", "old", "other_aud", "auds", "no_aud", "number", "unknown", "hmac", "none", "rs512", "bad",
            "two", "no_groups"),
    ("POST", f"{J}/role/s", {"role_type": "jwt", "user_claim": "/org/name", "user_claim_json_pointer": True, "bound_subject": "ada"}), *logins("good", "eve", "no_aud", role="s"),
    ("POST", f"{J}/role/c", {**BOUND, "bound_claims": {"level": 3, "/org/roles": ["r2", "r9"]}}), *logins("good", "level", "timeless", role="c"),
    ("POST", f"{J}/role/c", {"bound_claims_type": "glob", "role_type": "jwt", "bound_claims": {"/org/name": "bl*"}}), ("GET", f"{J}/role/c"), *logins("good", role="c"),
    ("POST", f"{J}/role/c", {"bound_claims_type": "glob", "role_type": "jwt", "bound_claims": {"/org/name": "re*"}}), *logins("good", role="c"),
    ("POST", f"{J}/role/m", {**BOUND, "claim_mappings": {"level": "l"}}), *logins("good", role="m"),
    ("POST", f"{J}/role/n", {**BOUND, "token_bound_cidrs": "10.0.0.0/8"}), *logins("good", role="n"),
    ("POST", f"{J}/config", {"jwt_validation_pubkeys": [KEY]}), ("GET", f"{J}/config"), *logins("good", "unknown", "bad", "hmac"),
    ("POST", f"{J}/config", {"oidc_discovery_url": "{web}", "bound_issuer": "https://other.example"}), *logins("good"),
    ("POST", f"{J}/config", {"oidc_discovery_url": "{web}", "jwt_supported_algs": "ES256"}), *logins("good"),
    ("POST", f"{J}/oidc/auth_url", {**PLACE, "role": "r"}), ("DELETE", f"{J}/role/r"), ("GET", f"{J}/role/r"),
    # Where people are sent.
    ("POST", f"{O}/oidc/auth_url", PLACE), ("GET", f"{O}/oidc/callback?state=x&code=y"), ("POST", f"{O}/config", {**CODE_FLOW, "default_role": "people"}),
    ("GET", f"{O}/config"), ("POST", f"{O}/oidc/auth_url", PLACE), ("POST", f"{O}/role/people", {"user_claim": "email"}),
    ("POST", f"{O}/role/people", {"user_claim": "email", "allowed_redirect_uris": PLACE["redirect_uri"]}), ("GET", f"{O}/role/people"),
    ("POST", f"{O}/oidc/auth_url", {}), ("POST", f"{O}/oidc/auth_url", {"redirect_uri": "https://evil.example/cb"}),
    ("POST", f"{O}/oidc/auth_url", {**PLACE, "role": "none"}), ("GET", f"{O}/oidc/callback?state=x&code=y"), ("GET", f"{O}/oidc/callback"),
    ("GET", f"{O}/oidc/auth_url"), ("POST", f"{O}/login", {"role": "people", "jwt": "{good}"}),
    # Kubernetes.
    ("GET", f"{K}/config"), ("POST", f"{K}/login", {"role": "r", "jwt": "x"}), ("POST", f"{K}/config", {}),
    ("POST", f"{K}/config", {"kubernetes_host": "{web}", "disable_local_ca_jwt": True}),
    ("POST", f"{K}/config", {"kubernetes_host": "{web}", "kubernetes_ca_cert": CERTIFICATE, "pem_keys": "x"}),
    ("POST", f"{K}/config", {"kubernetes_host": "{web}", "kubernetes_ca_cert": CERTIFICATE, "disable_local_ca_jwt": True}), ("GET", f"{K}/config"),
    ("LIST", f"{K}/role"), ("GET", f"{K}/role/r"), ("DELETE", f"{K}/role/r"), ("POST", f"{K}/role/r", {}), ("POST", f"{K}/role/r", {"bound_service_account_names": "a"}),
    ("POST", f"{K}/role/r", {"bound_service_account_names": "a,*", "bound_service_account_namespaces": "b"}),
    ("POST", f"{K}/role/r", {**ACCOUNT, "alias_name_source": "x"}), ("POST", f"{K}/role/r", {**ACCOUNT, "policies": "a", "ttl": "10m", "bogus": 1}),
    ("GET", f"{K}/role/r"), ("LIST", f"{K}/role"), ("POST", f"{K}/login", {}), ("POST", f"{K}/login", {"role": "r"}), ("POST", f"{K}/login", {"role": "none", "jwt": "x"}),
    *(("POST", f"{K}/login", {"role": "r", "jwt": f"{{{name}}}"}) for name in ("pod", "pod_aud", "pod_name", "pod_space", "pod_expired", "pod_gone", "two", "good")),
    ("POST", f"{K}/role/n", {**ACCOUNT, "alias_name_source": "serviceaccount_name", "audience": ""}), ("POST", f"{K}/login", {"role": "n", "jwt": "{pod}"}),
    ("POST", f"{K}/config", {"kubernetes_host": "{web}/", "kubernetes_ca_cert": CERTIFICATE, "disable_local_ca_jwt": True, "pem_keys": [KEY], "token_reviewer_jwt": "reviewer"}),
    ("GET", f"{K}/config"), *(("POST", f"{K}/login", {"role": "r", "jwt": f"{{{name}}}"}) for name in ("pod", "pod_bad")),
    ("POST", f"{K}/config", {"kubernetes_host": "{web}", "kubernetes_ca_cert": CERTIFICATE, "disable_local_ca_jwt": True, "token_reviewer_jwt": "wrong"}),
    ("POST", f"{K}/login", {"role": "r", "jwt": "{pod}"}), ("DELETE", f"{K}/role/r"), ("GET", f"{K}/role/r"),
]

# What a provider says of whoever was sent there, what else comes with the code, and by whom he says that he was sent.
RETURNS = [
    ({}, {}), ({}, {"code": ""}), ({}, {"code": "made-up"}), ({}, {"error": "access_denied"}), ({}, {"error": "bogus"}), ({"nonce": "x"}, {}),
    ({"aud": "them"}, {}), ({"iss": "https://other"}, {}), ({"exp": NOW - 600}, {}), ({}, {"client_nonce": "other"}),
]



def named(method, path, body=None):
    """As a request stands in the lists below."""
    name = f"{method} {path}" + (f" {json.dumps(body)}" if body is not None else "")
    return name.replace(json.dumps(KEY)[1:-1], "KEY").replace(json.dumps(CERTIFICATE)[1:-1], "CERT")


# Refusals with the same status whose sentence is Conclave's own: OpenBao repeats the value, or speaks of Go's types.
OWN_WORDS = {
    *(named("POST", f"{J}/config", {"jwt_validation_pubkeys": KEY, **more})
      for more in ({"jwt_supported_algs": "HS256"}, {"oidc_response_mode": "bogus"}, {"oidc_response_types": "bogus"})),
    *(named("POST", f"{J}/role/r", {**BOUND, **more})
      for more in ({"bound_claims_type": "x"}, {"bound_claims_type": "glob", "bound_claims": {"a": 1}}, {"callback_mode": "x"}, {"oauth2_metadata": "x"})),
    named("POST", f"{J}/role/r", {"role_type": "x"}), f"DELETE {J}/config", f"GET {J}/role",
    *(named(*step) for step in logins("number", "hmac", "none", "two", "no_groups")),
    *(f"first return {json.dumps(claims)} {json.dumps(query)}" for claims, query in (
        ({}, {"code": "made-up"}), ({"nonce": "x"}, {}), ({"aud": "them"}, {}), ({"iss": "https://other"}, {}), ({"exp": NOW - 600}, {}),
        ({}, {"code": ""}), ({}, {"error": "access_denied"}), ({}, {"error": "bogus"}))),
    # What was refused may be asked again: the state of a flow that failed is not noted as used.
    *(f"second return {json.dumps(claims)} {json.dumps(query)}" for claims, query in RETURNS),
    f"GET {O}/oidc/callback?state=x&code=y", f"GET {O}/oidc/callback",
    *(named("POST", f"{J}/config", body) for body in ({}, {"jwks_url": "{web}/keys", "jwt_validation_pubkeys": KEY},
      {"oidc_discovery_url": "{web}/nothing"}, {"oidc_discovery_url": "{web}/.well-known/openid-configuration"})),
}

# What Conclave answers otherwise on purpose, and why.
_NOTHING = "nothing is at such a path: 404 without a sentence"
DIFFERENT = {
    **dict.fromkeys([named("POST", f"{J}/role/a/b", BOUND), named("POST", f"{J}/nothing", {}), f"GET {J}/nothing"], _NOTHING),
    f"LIST {J}/config": "there is something at this path, but no list: 405",
}


def compare(name, servers, answers, met):
    theirs, ours = (server.seen(answer) for server, answer in zip(servers, answers))
    listed = name in DIFFERENT or name in OWN_WORDS
    if listed:
        met.add(name)
    if theirs == ours:
        return [f"{name} is no longer different: take it off the list"] if listed else []
    if name in DIFFERENT or (name in OWN_WORDS and refuses_alike(*answers)):
        return []
    return [f"{name}\n    OpenBao  {json.dumps(theirs, sort_keys=True)}\n    Conclave {json.dumps(ours, sort_keys=True)}"]


def sent_and_back(signer, servers, claims, query, met):
    """Somebody is sent to the provider and comes back, and then comes back again."""
    ways = []
    for server in servers:
        answer = server.ask(("POST", f"{O}/oidc/auth_url", {**PLACE, "client_nonce": "mine"}))
        check(answer.status == 200 and answer.json["data"]["auth_url"].startswith(f"{signer.url}/authorize?"), f"a way to the provider: {answer.body}")
        state, code = signer.promise(answer.json["data"]["auth_url"], claims)
        ways.append(urllib.parse.urlencode({"state": state, "code": code, "client_nonce": "mine", **query}))
    findings = []
    for time_of in ("first", "second"):
        answers = [server.ask(("GET", f"{O}/oidc/callback?{way}")) for server, way in zip(servers, ways)]
        findings += compare(f"{time_of} return {json.dumps(claims)} {json.dumps(query)}", servers, answers, met)
    return findings


def main():
    findings, met = [], set()
    with OpenBao() as openbao, Signer() as signer:
        signer.gone.add(TOKENS["pod_gone"])
        servers = [Server(openbao.address, openbao.token), Server(leader(), TOKEN)]
        for server in servers:
            server.names = {"web": signer.url, **TOKENS}
        for step in STEPS:
            findings += compare(named(*step), servers, [server.ask(step) for server in servers], met)
        for claims, query in RETURNS:
            findings += sent_and_back(signer, servers, claims, query, met)
    unused = (OWN_WORDS | set(DIFFERENT)) - met
    check(not unused, f"listed but never asked: {sorted(unused)}")
    check(not findings, f"{len(findings)} answers differ:\n  " + "\n  ".join(findings))


if __name__ == "__main__":
    main()
