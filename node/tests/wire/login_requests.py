"""Requests about auth mounts, userpass and approle for same_answers.py, and where Conclave answers otherwise on purpose."""

UP = "/v1/auth/same-up"
AP = "/v1/auth/same-ap"
LONG = "a" * 73
BCRYPT = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"

LOGINS = [
    # auth mounts
    ("POST", "/v1/sys/auth/same-up", {"type": "userpass", "description": "people"}), ("POST", "/v1/sys/auth/same-up", {"type": "userpass"}),
    ("POST", "/v1/sys/auth/same-up/below", {"type": "userpass"}), ("POST", "/v1/sys/auth/token", {"type": "userpass"}),
    ("POST", "/v1/sys/auth/x", {}), ("POST", "/v1/sys/auth/x", {"type": "token"}), ("POST", "/v1/sys/auth/x", {"type": "bogus"}),
    ("POST", "/v1/sys/auth/x", {"type": "userpass", "config": {"token_type": "bogus"}}),
    ("POST", "/v1/sys/auth/deep/er", {"type": "approle", "config": {"default_lease_ttl": "1h", "token_type": "service"}, "local": True}),
    ("POST", "/v1/sys/auth/same-ap", {"type": "approle"}), ("GET", "/v1/sys/auth"), ("GET", "/v1/sys/auth/token"), ("GET", "/v1/sys/auth/token/tune"),
    ("GET", "/v1/sys/auth/same-up"), ("GET", "/v1/sys/auth/deep/er"), ("GET", "/v1/sys/auth/none"), ("GET", "/v1/sys/auth/none/tune"),
    ("GET", "/v1/sys/mounts/auth/same-up"), ("GET", "/v1/sys/mounts/auth/same-up/tune"), ("DELETE", "/v1/sys/mounts/auth/same-up"),
    ("DELETE", "/v1/sys/auth/token"), ("DELETE", "/v1/sys/auth/none"), ("POST", "/v1/sys/auth/none/tune", {"description": "x"}),
    ("POST", "/v1/sys/auth/same-up/tune", {"default_lease_ttl": "1h", "max_lease_ttl": "2h", "description": "hi", "options": {"a": "b"}}),
    ("POST", "/v1/sys/auth/same-up/tune", {"token_type": "bogus"}), ("POST", "/v1/sys/auth/same-up/tune", {"token_type": "service", "listing_visibility": "unauth"}),
    ("POST", "/v1/sys/auth/same-up/tune", {"user_lockout_config": {"lockout_threshold": "3", "lockout_duration": "10m"}}),
    ("GET", "/v1/sys/auth/same-up/tune"), ("GET", "/v1/sys/auth/same-up"), ("GET", "/v1/sys/internal/ui/mounts/auth/same-up/users"),
    ("POST", "/v1/sys/remount", {"from": "auth/same-up", "to": "x"}), ("POST", "/v1/sys/remount", {"from": "auth/none", "to": "auth/x"}),
    ("POST", "/v1/auth/none/login", {}), ("GET", "/v1/auth/none"),
    # userpass
    ("LIST", f"{UP}/users"), ("GET", f"{UP}/users/bob"), ("POST", f"{UP}/users/bob", {}), ("POST", f"{UP}/users/bob", {"token_policies": "p"}),
    ("POST", f"{UP}/users/bob", {"password": "hunter2", "token_policies": "p1,p2", "bogus": 1}), ("GET", f"{UP}/users/bob"), ("GET", f"{UP}/users/BOB"),
    ("POST", f"{UP}/users/Alice", {"password": "x", "policies": "Old"}), ("GET", f"{UP}/users/alice"), ("LIST", f"{UP}/users"), ("LIST", f"{UP}/users/"),
    ("POST", f"{UP}/login/bob", {"password": "hunter2"}), ("POST", f"{UP}/login/BOB", {"password": "hunter2"}), ("POST", f"{UP}/login/bob", {"password": "wrong"}),
    ("POST", f"{UP}/login/nobody", {"password": "wrong"}), ("POST", f"{UP}/login/bob", {}), ("GET", f"{UP}/login/bob"), ("POST", f"{UP}/login", {}),
    ("POST", f"{UP}/users/bob/password", {"password": "new"}), ("POST", f"{UP}/users/bob/password", {}), ("POST", f"{UP}/users/none/password", {"password": "new"}),
    ("POST", f"{UP}/users/bob/policies", {"token_policies": "a,b"}), ("POST", f"{UP}/users/bob/policies", {"policies": "a,c"}), ("GET", f"{UP}/users/bob"),
    ("POST", f"{UP}/users/bob/policies", {}), ("POST", f"{UP}/users/none/policies", {"token_policies": "a"}), ("POST", f"{UP}/login/bob", {"password": "new"}),
    ("POST", f"{UP}/users/bob", {"token_ttl": "5m", "token_max_ttl": "10m", "token_num_uses": 4, "token_no_default_policy": True,
                                 "token_bound_cidrs": ["127.0.0.1/32"], "token_explicit_max_ttl": "8m", "token_type": "service"}),
    ("GET", f"{UP}/users/bob"), ("POST", f"{UP}/login/bob", {"password": "new"}),
    ("POST", f"{UP}/users/carl", {"password": "x", "token_period": "10m"}), ("POST", f"{UP}/login/carl", {"password": "x"}),
    ("POST", f"{UP}/users/dora", {"password": "x", "token_bound_cidrs": "10.0.0.0/8"}), ("POST", f"{UP}/login/dora", {"password": "x"}),
    ("POST", f"{UP}/users/emil", {"password": "x", "token_ttl": "3h"}), ("POST", f"{UP}/login/emil", {"password": "x"}),
    ("POST", f"{UP}/users/fred", {"password": "x", "token_policies": "root"}), ("POST", f"{UP}/login/fred", {"password": "x"}),
    ("POST", f"{UP}/users/hash", {"password_hash": BCRYPT}), ("POST", f"{UP}/users/hash", {"password_hash": "nohash"}),
    ("POST", f"{UP}/users/hash", {"password": "a", "password_hash": BCRYPT}), ("POST", f"{UP}/login/hash", {"password": "wrong"}),
    ("POST", f"{UP}/users/long", {"password": LONG}), ("POST", f"{UP}/users/a@b.c", {"password": "x"}), ("POST", f"{UP}/users/-a", {"password": "x"}),
    ("GET", f"{UP}/users/bob/policies"), ("DELETE", f"{UP}/users/none"), ("DELETE", f"{UP}/users/bob"), ("GET", f"{UP}/users/bob"),
    ("POST", f"{UP}/login/carl", {"password": "1"}), ("POST", f"{UP}/login/carl", {"password": "2"}), ("POST", f"{UP}/login/carl", {"password": "3"}),
    ("POST", f"{UP}/login/carl", {"password": "4"}), ("POST", f"{UP}/login/carl", {"password": "x"}),
    ("GET", "/v1/sys/locked-users"), ("GET", "/v1/sys/locked-users?mount_accessor=none"), ("POST", "/v1/sys/locked-users/none/unlock/carl"),
    # approle
    ("LIST", f"{AP}/role"), ("GET", f"{AP}/role/r"), ("DELETE", f"{AP}/role/r"),
    ("POST", f"{AP}/role/r", {"token_policies": "p1,p2", "token_ttl": "1h", "token_max_ttl": "4h", "secret_id_num_uses": 3, "role_id": "the-role", "bogus": 1}),
    ("GET", f"{AP}/role/r"), ("GET", f"{AP}/role/R"), ("LIST", f"{AP}/role"), ("GET", f"{AP}/role/r/role-id"), ("GET", f"{AP}/role/none/role-id"),
    ("POST", f"{AP}/role/r/secret-id", {"metadata": "{\"a\":\"b\"}", "ttl": "10m", "num_uses": 2, "cidr_list": "127.0.0.1/32", "token_bound_cidrs": "127.0.0.0/8"}),
    ("LIST", f"{AP}/role/none/secret-id"), ("POST", f"{AP}/role/none/secret-id"),
    ("POST", f"{AP}/role/r/custom-secret-id", {"secret_id": "the-secret", "metadata": "{\"a\":\"b\"}"}), ("POST", f"{AP}/role/r/custom-secret-id", {"secret_id": "the-secret"}),
    ("POST", f"{AP}/role/r/custom-secret-id", {}), ("POST", f"{AP}/role/r/secret-id/lookup", {"secret_id": "the-secret"}),
    ("POST", f"{AP}/role/r/secret-id/lookup", {"secret_id": "none"}), ("POST", f"{AP}/role/r/secret-id/lookup", {}),
    ("POST", f"{AP}/role/none/secret-id/lookup", {"secret_id": "none"}),
    ("POST", f"{AP}/role/r/secret-id-accessor/lookup", {"secret_id_accessor": "none"}), ("POST", f"{AP}/role/r/secret-id-accessor/lookup", {}),
    ("POST", f"{AP}/login", {"role_id": "the-role", "secret_id": "the-secret"}), ("POST", f"{AP}/role/r/secret-id/lookup", {"secret_id": "the-secret"}),
    ("POST", f"{AP}/login", {"role_id": "none", "secret_id": "the-secret"}), ("POST", f"{AP}/login", {"role_id": "the-role", "secret_id": "none"}),
    ("POST", f"{AP}/login", {"role_id": "the-role"}), ("POST", f"{AP}/login", {}), ("POST", f"{AP}/login", "{bad"),
    ("POST", f"{AP}/login", {"role_id": "the-role", "secret_id": "the-secret"}), ("POST", f"{AP}/login", {"role_id": "the-role", "secret_id": "the-secret"}),
    ("POST", f"{AP}/login", {"role_id": "the-role", "secret_id": "the-secret"}),
    ("POST", f"{AP}/role/r/secret-id", {"metadata": "x"}), ("POST", f"{AP}/role/r/secret-id", {"num_uses": 9}), ("POST", f"{AP}/role/r/secret-id", {"num_uses": -1}),
    ("POST", f"{AP}/role/r/secret-id", {"num_uses": 0}), ("POST", f"{AP}/role/r/secret-id", {"cidr_list": "zz"}),
    ("POST", f"{AP}/role/r/secret-id/destroy", {"secret_id": "none"}), ("POST", f"{AP}/role/r/secret-id/destroy", {}),
    ("POST", f"{AP}/role/r/secret-id-accessor/destroy", {"secret_id_accessor": "none"}), ("POST", f"{AP}/role/r/secret-id-accessor/destroy", {}),
    ("POST", f"{AP}/role/q", {"bind_secret_id": False}), ("POST", f"{AP}/role/q", {"bind_secret_id": False, "secret_id_bound_cidrs": "127.0.0.1/32"}),
    ("GET", f"{AP}/role/q"), ("POST", f"{AP}/role/q/secret-id"), ("POST", f"{AP}/role/q", {"role_id": "the-role"}),
    ("POST", f"{AP}/role/s", {"secret_id_num_uses": -1}), ("POST", f"{AP}/role/s", {"token_ttl": "5h", "token_max_ttl": "1h"}),
    ("POST", f"{AP}/role/s", {"token_num_uses": -1}), ("POST", f"{AP}/role/s", {"token_type": "bogus"}), ("POST", f"{AP}/role/s", {"token_bound_cidrs": "zz"}),
    ("POST", f"{AP}/role/s", {"token_max_ttl": "9000h"}), ("GET", f"{AP}/role/s"), ("POST", f"{AP}/role/s", {"local_secret_ids": True}),
    ("POST", f"{AP}/role/r/token-ttl", {"token_ttl": "2h"}), ("POST", f"{AP}/role/r/token-ttl", {"token_ttl": "5h"}), ("POST", f"{AP}/role/r/token-ttl", {}),
    ("GET", f"{AP}/role/r/token-ttl"), ("DELETE", f"{AP}/role/r/token-ttl"), ("GET", f"{AP}/role/r/token-ttl"),
    ("POST", f"{AP}/role/r/period", {"token_period": "20m"}), ("GET", f"{AP}/role/r/period"), ("POST", f"{AP}/role/r/period", {"period": "30m"}), ("GET", f"{AP}/role/r/period"),
    ("POST", f"{AP}/role/r/policies", {"token_policies": ["a", "B"]}), ("GET", f"{AP}/role/r/policies"), ("DELETE", f"{AP}/role/r/policies"), ("GET", f"{AP}/role/r/policies"),
    ("GET", f"{AP}/role/none/policies"), ("DELETE", f"{AP}/role/none/policies"), ("GET", f"{AP}/role/r/local-secret-ids"),
    ("POST", f"{AP}/role/r/secret-id-bound-cidrs", {"secret_id_bound_cidrs": "10.0.0.0/8"}), ("GET", f"{AP}/role/r/secret-id-bound-cidrs"),
    ("POST", f"{AP}/role/r/secret-id", {"cidr_list": "127.0.0.1/32"}), ("POST", f"{AP}/role/r/secret-id", {"cidr_list": "10.1.0.0/16"}),
    ("DELETE", f"{AP}/role/r/secret-id-bound-cidrs"), ("GET", f"{AP}/role/r/secret-id-bound-cidrs"),
    ("POST", f"{AP}/role/r/secret-id-num-uses", {"secret_id_num_uses": -4}), ("DELETE", f"{AP}/role/r/secret-id-num-uses"), ("GET", f"{AP}/role/r/secret-id-num-uses"),
    ("POST", f"{AP}/role/r/secret-id-ttl", {"secret_id_ttl": "7m"}), ("GET", f"{AP}/role/r/secret-id-ttl"), ("POST", f"{AP}/role/r/secret-id", {"ttl": "20m"}),
    ("GET", f"{AP}/role/r/token-bound-cidrs"), ("POST", f"{AP}/role/r/token-bound-cidrs", {"token_bound_cidrs": "10.0.0.0/8,127.0.0.1"}),
    ("GET", f"{AP}/role/r/token-bound-cidrs"), ("GET", f"{AP}/role/r/token-num-uses"), ("GET", f"{AP}/role/r/token-max-ttl"), ("GET", f"{AP}/role/r"),
    ("POST", f"{AP}/role/t", {"role_id": "tt", "token_period": "5m", "token_explicit_max_ttl": "1m", "secret_id_ttl": "9000h"}),
    ("GET", f"{AP}/role/t/secret-id-ttl"), ("POST", f"{AP}/role/t/custom-secret-id", {"secret_id": "s", "metadata": "a=b,c=d", "bogus": 1}),
    ("POST", f"{AP}/login", {"role_id": "tt", "secret_id": "s", "bogus": 1}), ("LIST", f"{AP}/role?limit=1"), ("LIST", f"{AP}/role?after=q"), ("LIST", f"{AP}/role?after=zz"),
    ("POST", f"{AP}/role", {}), ("GET", f"{AP}/role/r/custom-secret-id"), ("DELETE", f"{AP}/role/r/role-id"),
    ("POST", f"{AP}/role/r/role-id", {"role_id": ""}), ("POST", f"{AP}/role/r/role-id", {"role_id": "another"}), ("GET", f"{AP}/role/r/role-id"),
    ("GET", f"{AP}/role/r/bind-secret-id"), ("GET", f"{AP}/nothing"), ("DELETE", f"{AP}/role/r"), ("GET", f"{AP}/role/r"),
    ("POST", f"{AP}/tidy/secret-id"), ("GET", f"{AP}/tidy/secret-id"), ("DELETE", "/v1/sys/auth/deep/er"), ("DELETE", "/v1/sys/auth/same-up"), ("DELETE", "/v1/sys/auth/same-ap"), ("GET", f"{UP}/users/alice"),
]

# Refusals with the same status whose sentence is Conclave's own.
LOGIN_OWN_WORDS = {
    'POST /v1/sys/auth/x {"type": "bogus"}', f'POST {AP}/login "{{bad"', f'POST {AP}/role/r/secret-id {{"metadata": "x"}}',
    f'POST {AP}/role/s {{"token_type": "bogus"}}', f'POST {AP}/role/s {{"token_bound_cidrs": "zz"}}', f'POST {AP}/role/r/token-ttl {{"token_ttl": "5h"}}',
    f"POST {AP}/role {{}}", f"GET {AP}/role/r/custom-secret-id", f"DELETE {AP}/role/r/role-id", f"GET {AP}/tidy/secret-id",
}

_BLAME = "what is wrong with a request is the caller's matter: 400 and the sentence alone, where OpenBao answers 500"
_NOTHING = "nothing is at such a path: 404 without a sentence"
LOGIN_DIFFERENT = {
    **dict.fromkeys([
        f'POST {UP}/login/bob {{}}', f'POST {UP}/users/none/password {{"password": "new"}}', f'POST {UP}/users/none/policies {{"token_policies": "a"}}',
        f'POST {AP}/login {{}}', f'POST {AP}/role/none/secret-id/lookup {{"secret_id": "none"}}', f'POST {AP}/role/r/secret-id {{"cidr_list": "zz"}}',
        f'POST {AP}/role/r/custom-secret-id {{"secret_id": "the-secret"}}', f'POST {AP}/role/r/secret-id-accessor/destroy {{"secret_id_accessor": "none"}}',
        f'POST {AP}/role/q {{"bind_secret_id": false}}', f'POST {AP}/role/q {{"role_id": "the-role"}}', f'POST {AP}/role/r/secret-id {{"cidr_list": "127.0.0.1/32"}}',
    ], _BLAME),
    **dict.fromkeys([
        f'POST {UP}/users/a@b.c {{"password": "x"}}', f'POST {UP}/users/-a {{"password": "x"}}', f'POST {UP}/login {{}}', f"GET {AP}/nothing",
        f"POST {AP}/role/none/secret-id",
    ], _NOTHING),
    f'POST {UP}/users/long {{"password": "{LONG}"}}': "argon2id takes longer passwords than bcrypt",
    f"GET {UP}/users/bob/policies": "the sentence alone",
    f'POST {AP}/role/r/secret-id-accessor/lookup {{"secret_id_accessor": "none"}}': "no sentence repeats what was sent",
    f"GET {AP}/role/r/bind-secret-id": "as Vault has it",
    f"POST {AP}/tidy/secret-id": "secret ids end by themselves, and nothing is started",
}
