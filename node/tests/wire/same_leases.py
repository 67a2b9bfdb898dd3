"""The same requests about leases to OpenBao and to Conclave, and leases by the `bao` command line at every node.

Requests, names in answers and comparisons are those of same_identity.py.
"""

import same_identity
from same_identity import CLIENT_TOKEN, MAKE, compare
from wire import NODES, bao, bao_json, check, equal, request

L = "/v1/sys/leases"
UP = "/v1/auth/leases-up"
AP = "/v1/auth/leases-ap"
CREATED = "data.keys.0"
ALL = {"policy": 'path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }'}
SOME = {"policy": 'path "sys/*" { capabilities = ["create", "read", "update", "delete", "list"] }'}

STEPS = [
    ("PUT", "/v1/sys/policies/acl/all", ALL), ("PUT", "/v1/sys/policies/acl/some", SOME),
    ("LIST", f"{L}/lookup/auth/token/create"), ("LIST", f"{L}/lookup/none"), ("GET", f"{L}/lookup"), ("GET", f"{L}/lookup/none"),
    # One of a token.
    ("POST", MAKE, {"policies": "all", "ttl": "1h"}, {"t1": CLIENT_TOKEN}), ("LIST", f"{L}/lookup/auth/token/create", None, {"l1": CREATED}),
    ("LIST", f"{L}/lookup/auth/token/create/"), ("GET", f"{L}/lookup/auth/token?list=true"), ("LIST", f"{L}/lookup/auth/tok"), ("LIST", f"{L}/lookup/auth"),
    ("PUT", f"{L}/lookup", {"lease_id": "auth/token/create/{l1}"}), ("POST", f"{L}/lookup", {"lease_id": "auth/token/create/{l1}", "bogus": 1}),
    ("PUT", f"{L}/lookup", {}), ("PUT", f"{L}/lookup", {"lease_id": ""}), ("PUT", f"{L}/lookup", {"lease_id": "none"}), ("PUT", f"{L}/lookup", {"lease_id": "{l1}"}),
    ("PUT", f"{L}/lookup", {"lease_id": "auth/token/{l1}"}), ("PUT", f"{L}/lookup", {"lease_id": "{t1}"}), ("PUT", f"{L}/lookup/auth/token/create/{{l1}}", {}),
    ("PUT", f"{L}/renew", {"lease_id": "auth/token/create/{l1}", "increment": 60}), ("PUT", f"{L}/renew/auth/token/create/{{l1}}", {"increment": "2h"}),
    ("PUT", f"{L}/renew", {}), ("PUT", f"{L}/renew", {"lease_id": "none"}), ("PUT", f"{L}/renew/none", {}), ("PUT", f"{L}/renew", {"lease_id": "none", "increment": "x"}),
    ("POST", MAKE, {"policies": "all", "ttl": "1h", "renewable": False}, {"t2": CLIENT_TOKEN}), ("LIST", f"{L}/lookup/auth/token/create"),
    ("POST", "/v1/auth/token/renew-self", {"increment": "2h"}, {}, "{t1}"), ("PUT", f"{L}/lookup", {"lease_id": "auth/token/create/{l1}"}),
    # Who may.
    ("POST", MAKE, {"policies": "some", "ttl": "1h"}, {"some": CLIENT_TOKEN}),
    *((method, path, body, {}, "{some}") for method, path, body in [
        ("LIST", f"{L}/lookup/auth/token/create", None), ("LIST", f"{L}/lookup", None), ("GET", L, None), ("GET", f"{L}?type=irrevocable", None),
        ("PUT", f"{L}/revoke-prefix/none", {}), ("PUT", f"{L}/revoke-force/none", {}), ("GET", f"{L}/count?type=irrevocable", None),
        ("PUT", f"{L}/lookup", {"lease_id": "none"}), ("PUT", f"{L}/revoke", {"lease_id": "none"}), ("PUT", f"{L}/renew", {"lease_id": "none"}),
    ]),
    # Revoking one.
    ("PUT", f"{L}/revoke", {}), ("PUT", f"{L}/revoke", {"lease_id": "none"}), ("PUT", f"{L}/revoke", {"lease_id": "none", "sync": False}), ("PUT", f"{L}/revoke/none", {}),
    ("PUT", f"{L}/revoke/none", {"sync": False}), ("PUT", f"{L}/revoke", {"lease_id": "none", "sync": "x"}), ("PUT", f"{L}/revoke/none", {"lease_id": "other"}),
    ("PUT", f"{L}/renew/none", {"lease_id": "other"}), ("GET", f"{L}/revoke"), ("DELETE", f"{L}/revoke/none"),
    ("PUT", f"{L}/revoke", {"lease_id": "auth/token/create/{l1}"}), ("GET", "/v1/auth/token/lookup-self", None, {}, "{t1}"), ("PUT", f"{L}/lookup", {"lease_id": "auth/token/create/{l1}"}),
    ("GET", "/v1/auth/token/lookup-self", None, {}, "{t2}"),
    # Of logins, and by prefix.
    ("POST", "/v1/sys/auth/leases-up", {"type": "userpass"}), ("POST", f"{UP}/users/bob", {"password": "x"}), ("POST", f"{UP}/login/bob", {"password": "x"}, {"b1": CLIENT_TOKEN}),
    ("POST", f"{UP}/login/bob", {"password": "x"}, {"b2": CLIENT_TOKEN}), ("LIST", f"{L}/lookup/auth/leases-up"), ("LIST", f"{L}/lookup/auth/leases-up/login"),
    ("POST", f"{UP}/login/BoB", {"password": "x"}, {"b3": CLIENT_TOKEN}), ("LIST", f"{L}/lookup/auth/leases-up/login/"),
    ("POST", "/v1/auth/token/revoke-self", None, {}, "{b3}"),
    ("LIST", f"{L}/lookup/auth/leases-up/login/bob", None, {"lb": CREATED}), ("PUT", f"{L}/lookup", {"lease_id": "auth/leases-up/login/bob/{lb}"}),
    ("PUT", f"{L}/revoke-prefix/auth/leases-up/log", {}), ("GET", "/v1/auth/token/lookup-self", None, {}, "{b1}"),
    ("PUT", f"{L}/revoke-prefix/auth/leases-up/login", {}), ("GET", "/v1/auth/token/lookup-self", None, {}, "{b1}"), ("GET", "/v1/auth/token/lookup-self", None, {}, "{b2}"),
    ("LIST", f"{L}/lookup/auth/leases-up/login/bob"), ("LIST", f"{L}/lookup/auth/leases-up"), ("PUT", f"{L}/revoke-prefix/none", {"sync": False}), ("PUT", f"{L}/revoke-prefix/none", {}),
    ("PUT", f"{L}/revoke-force/none", {}), ("PUT", f"{L}/revoke-prefix", {}), ("PUT", f"{L}/revoke-force", {}), ("GET", f"{L}/revoke-prefix/none"),
    ("POST", "/v1/sys/auth/leases-ap", {"type": "approle"}),
    ("POST", f"{AP}/role/r", {"role_id": "leases-role", "bind_secret_id": False, "secret_id_bound_cidrs": "127.0.0.1/32", "token_ttl": "1h"}),
    ("POST", f"{AP}/login", {"role_id": "leases-role"}, {"a1": CLIENT_TOKEN}), ("LIST", f"{L}/lookup/auth/leases-ap/login", None, {"la": CREATED}),
    ("PUT", f"{L}/revoke-prefix/auth/leases-ap/login/{{la}}", {"sync": True}), ("GET", "/v1/auth/token/lookup-self", None, {}, "{a1}"),
    # None of batch tokens; one of a wrapped answer and of a root token.
    ("POST", f"{AP}/login", {"role_id": "leases-role"}), ("POST", f"{L}/revoke-force/auth/leases-ap", {}), ("LIST", f"{L}/lookup/auth/leases-ap"),
    ("POST", MAKE, {"type": "batch", "policies": "all"}), ("POST", "/v1/auth/token/create-orphan", {"policies": "all", "ttl": "1h"}, {"o1": CLIENT_TOKEN}),
    ("LIST", f"{L}/lookup/auth/token/create-orphan"), ("POST", "/v1/auth/token/revoke-self", None, {}, "{o1}"), ("LIST", f"{L}/lookup/auth/token/create-orphan"),
    ("POST", "/v1/auth/token/roles/leases", {"path_suffix": "a"}), ("POST", f"{MAKE}/leases", {"policies": "all"}), ("LIST", f"{L}/lookup/auth/token/create/leases"),
    ("LIST", f"{L}/lookup/auth/token/create/leases/a"),
    ("POST", MAKE, {"policies": "root"}, {"root": CLIENT_TOKEN}), ("PUT", f"{L}/revoke-prefix/auth/token/create", {}), ("GET", "/v1/auth/token/lookup-self", None, {}, "{root}"),
    # Those that cannot be revoked, counts, tidying.
    ("GET", L), ("GET", f"{L}?type=irrevocable"), ("GET", f"{L}?type=x"), ("GET", f"{L}?type=irrevocable&limit=none"), ("GET", f"{L}?type=irrevocable&limit=x"),
    ("GET", f"{L}/count"), ("GET", f"{L}/count?type=irrevocable"), ("GET", f"{L}/count?type=x"), ("GET", f"{L}/tidy"), ("PUT", f"{L}/tidy"), ("GET", f"{L}/none"),
    ("DELETE", "/v1/sys/auth/leases-up"), ("DELETE", "/v1/sys/auth/leases-ap"),
    # Rate limits for a role.
    ("POST", "/v1/sys/auth/leases-q", {"type": "approle"}), ("POST", "/v1/sys/auth/leases-p", {"type": "userpass"}),
    *(("POST", "/v1/sys/quotas/rate-limit/q", {"rate": 1000, **more}) for more in [
        {"role": "r"}, {"role": "r", "path": "sys"}, {"role": "r", "path": "auth/leases-p"}, {"role": "r", "path": "auth/leases-q/login"},
        {"role": "r", "path": "auth/leases-q"},
    ]),
    ("GET", "/v1/sys/quotas/rate-limit/q"), ("POST", "/v1/sys/quotas/rate-limit/q2", {"rate": 9, "role": "r", "path": "auth/leases-q"}),
    ("DELETE", "/v1/sys/quotas/rate-limit/q"), ("DELETE", "/v1/sys/auth/leases-q"), ("DELETE", "/v1/sys/auth/leases-p"),
]

# Refusals with the same status whose sentence is Conclave's own.
OWN_WORDS = {
    # OpenBao wraps these sentences in a list of one.
    f"GET {L}/lookup", f"GET {L}/lookup/none", f"PUT {L}/lookup/auth/token/create/{{l1}} {{}}", f"GET {L}/revoke", f"DELETE {L}/revoke/none",
    f"GET {L}/revoke-prefix/none", f"GET {L}/tidy", f"LIST {L}/lookup/auth/token/create as {{some}}", f"LIST {L}/lookup as {{some}}", f"GET {L} as {{some}}",
    f"GET {L}?type=irrevocable as {{some}}", f"PUT {L}/revoke-prefix/none {{}} as {{some}}", f"PUT {L}/revoke-force/none {{}} as {{some}}",
    # It names the path that there is not, as everywhere.
    f"PUT {L}/revoke-prefix {{}}", f"PUT {L}/revoke-force {{}}", f"GET {L}/none",
    # OpenBao speaks of Go's types.
    f'PUT {L}/renew {{"lease_id": "none", "increment": "x"}}', f'PUT {L}/revoke {{"lease_id": "none", "sync": "x"}}',
    # It is refused by either, and by ours for naming two.
    f'PUT {L}/renew/none {{"lease_id": "other"}}',
}

# What Conclave answers otherwise on purpose, and why.
DIFFERENT = {
    f'PUT {L}/revoke/none {{"lease_id": "other"}}': "one of two ids is a mistake, and nobody knows which: neither is revoked",
    f"LIST {L}/lookup/auth/leases-up/login/": "a user's logins lie below one path, however his name was typed",
    f"GET {L}?type=irrevocable&limit=x": "whoever asks for a bad limit is told so with 400 and not with 500",
    f"PUT {L}/tidy": "the warning says what tidying does here",
}


def at_every_node():
    """Looks at, renews and revokes leases of tokens with `bao`, at each node those that another one made."""
    role = {"bind_secret_id": False, "secret_id_bound_cidrs": "127.0.0.1/32", "token_ttl": "1h", "role_id": "cli-role"}
    first = NODES[0]
    bao(first, "auth", "enable", "-path=leases-cli", "approle")
    check(request(first["api_addr"], "POST", "/v1/auth/leases-cli/role/r", role).status < 300, "the role is made")
    for number, node in enumerate(NODES):
        other = NODES[(number + 1) % len(NODES)]
        for _ in range(2):
            check(request(other["api_addr"], "POST", "/v1/auth/leases-cli/login", {"role_id": "cli-role"}, None).status == 200, "a login")
        ids = bao_json(node, "list", "sys/leases/lookup/auth/leases-cli/login")
        equal(len(ids), 2, "leases of logins")
        told = bao_json(node, "lease", "lookup", f"auth/leases-cli/login/{ids[0]}")["data"]
        check(3500 < told["ttl"] <= 3600 and told["path"] == "auth/leases-cli/login", f"a lease: {told}")
        bao(node, "lease", "renew", f"auth/leases-cli/login/{ids[0]}", code=2)
        bao(node, "lease", "revoke", f"auth/leases-cli/login/{ids[0]}")
        equal(bao_json(other, "list", "sys/leases/lookup/auth/leases-cli/login"), ids[1:], "what is left")
        bao(node, "lease", "revoke", "-sync", "-prefix", "auth/leases-cli")
        check(request(other["api_addr"], "LIST", "/v1/sys/leases/lookup/auth/leases-cli").status == 404, "nothing is left")
        bao(node, "lease", "revoke", "-force", "-prefix", "auth/leases-cli")
        bao(node, "lease", "revoke", "-prefix", "auth/leases-cli")
        bao(node, "lease", "revoke", "none")
    bao(first, "auth", "disable", "leases-cli")


if __name__ == "__main__":
    same_identity.UNORDERED.add("leases")
    at_every_node()
    compare(STEPS, OWN_WORDS, DIFFERENT)
