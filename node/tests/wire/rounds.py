"""What operators and programs do with tokens, policies, leases, wrapped answers and audit devices, by `bao` and by hvac, at every
node in turn: two of three are followers.
"""

import hvac

from wire import CA_CERT, NODES, TOKEN, bao, bao_json, check, equal

READ = 'path "secret/data/round" { capabilities = ["read"] }'


def main():
    for number, node in enumerate(NODES):
        other = NODES[(number + 1) % len(NODES)]
        name = f"round{number}"
        for one_round in (policies, tokens, leases, wrapping, audit):
            one_round(node, other, name)
        client = hvac.Client(url=node["api_addr"], token=TOKEN, verify=CA_CERT or True)
        for one_round in (hvac_policies, hvac_tokens, hvac_leases, hvac_wrapping, hvac_audit):
            one_round(client, f"h{name}")


def policies(node, other, name):
    bao(node, "write", f"sys/policies/acl/{name}", f"policy={READ}")
    check(READ in bao(other, "policy", "read", name), "the policy as it was written")
    check(name in bao_json(node, "policy", "list"), "a policy among all")
    token = bao(node, "token", "create", f"-policy={name}", "-ttl=1h", "-field=token").strip()
    equal(bao(other, "token", "capabilities", token, "secret/data/round").strip(), "read", "what its holder may do")
    equal(bao(other, "token", "capabilities", token, "secret/data/other").strip(), "deny", "and what not")
    bao(node, "policy", "delete", name)
    equal(bao(other, "token", "capabilities", token, "secret/data/round").strip(), "deny", "what a policy that is gone allows")
    bao(node, "token", "revoke", token)


def tokens(node, other, name):
    made = bao_json(node, "token", "create", "-ttl=1h", "-display-name", name, "-metadata", "team=a")["auth"]
    token, accessor = made["client_token"], made["accessor"]
    found = bao_json(other, "token", "lookup", token)["data"]
    equal((found["display_name"], found["meta"]), (f"token-{name}", {"team": "a"}), "a token")
    equal(bao_json(other, "token", "lookup", "-accessor", accessor)["data"]["accessor"], accessor, "the same by its accessor")
    check(bao_json(node, "token", "renew", "-increment=30m", token)["auth"]["lease_duration"] > 1_000, "it is renewed")
    check(accessor in bao_json(node, "list", "auth/token/accessors"), "an accessor among all")
    child = bao_json(node, "write", "-force", "auth/token/create-orphan")["auth"]["client_token"]
    bao(other, "token", "revoke", "-mode=orphan", child)
    bao(other, "token", "revoke", "-accessor", accessor)
    bao(node, "token", "lookup", token, code=2)
    bao(node, "write", f"auth/token/roles/{name}", "allowed_policies=default", "token_period=20m")
    of_role = bao_json(other, "token", "create", f"-role={name}")["auth"]
    equal(of_role["lease_duration"], 1_200, "the role's period")
    bao(node, "delete", f"auth/token/roles/{name}")
    bao(node, "token", "revoke", of_role["client_token"])


def leases(node, other, name):
    bao(node, "auth", "enable", f"-path={name}", "userpass")
    bao(node, "write", f"auth/{name}/users/ann", "password=x", "token_ttl=1h")
    token = bao_json(other, "write", f"auth/{name}/login/ann", "password=x")["auth"]["client_token"]
    [lease] = bao_json(node, "list", f"sys/leases/lookup/auth/{name}/login/ann")
    equal(bao_json(other, "lease", "lookup", f"auth/{name}/login/ann/{lease}")["data"]["path"], f"auth/{name}/login/ann", "a lease")
    bao(node, "lease", "revoke", f"auth/{name}/login/ann/{lease}")
    bao(other, "token", "lookup", token, code=2)
    bao(node, "auth", "disable", name)


def wrapping(node, other, name):
    bao(node, "kv", "put", f"secret/{name}", "a=b")
    token = bao(node, "read", "-wrap-ttl=60s", "-field=wrapping_token", f"secret/data/{name}").strip()
    equal(bao_json(other, "write", "sys/wrapping/lookup", f"token={token}")["data"]["creation_path"], f"secret/data/{name}", "its origin")
    again = bao_json(node, "write", "sys/wrapping/rewrap", f"token={token}")["wrap_info"]["token"]
    equal(bao_json(other, "unwrap", again)["data"]["data"], {"a": "b"}, "what lay there")
    for gone in (token, again):
        bao(node, "unwrap", gone, code=2)


def audit(node, other, name):
    bao(node, "audit", "enable", f"-path={name}", "file", f"file_path={name}.log")
    check(f"{name}/" in bao_json(other, "audit", "list"), "a device among all")
    hashed = bao(other, "write", "-field=hash", f"sys/audit-hash/{name}", "input=canary").strip()
    check(hashed.startswith("hmac-sha256:"), hashed)
    equal(bao(node, "write", "-field=hash", f"sys/audit-hash/{name}", "input=canary").strip(), hashed, "the same hash at another node")
    bao(node, "audit", "disable", name)


def hvac_policies(client, name):
    client.sys.create_or_update_policy(name, READ)
    check(READ in client.sys.read_policy(name)["data"]["rules"] and name in client.sys.list_policies()["data"]["policies"], "a policy")
    client.sys.create_or_update_acl_policy(name, READ)
    check(name in client.sys.list_acl_policies()["data"]["keys"], "the same by its other name")
    equal(client.get_policy(name, parse=False).strip(), READ, "the policy as it was written")
    client.sys.delete_acl_policy(name)


def hvac_tokens(client, name):
    token = client.auth.token
    made = token.create(policies=["default"], ttl="1h", display_name=name)["auth"]
    found = token.lookup(made["client_token"])["data"]
    equal(token.lookup_accessor(made["accessor"])["data"]["display_name"], found["display_name"], "a token by its accessor")
    check(token.renew(made["client_token"], increment="30m")["auth"]["lease_duration"] > 1_000, "it is renewed")
    check(made["accessor"] in token.list_accessors()["data"]["keys"], "an accessor among all")
    check(client.sys.get_capabilities(["secret/x"], token=made["client_token"])["data"]["secret/x"] == ["deny"], "its rights")
    token.revoke_accessor(made["accessor"])
    try:
        token.lookup(made["client_token"])
    except hvac.exceptions.Forbidden:
        pass
    else:
        check(False, "a revoked token is looked up")
    token.create_or_update_role(name, allowed_policies=["default"], token_period="30m")
    equal(token.create(role_name=name)["auth"]["lease_duration"], 1_800, "the role's period")
    check(name in token.list_roles()["data"]["keys"], "a role among all")
    token.delete_role(name)


def hvac_leases(client, name):
    client.sys.enable_auth_method("approle", path=name)
    client.auth.approle.create_or_update_approle("r", bind_secret_id=False, secret_id_bound_cidrs=["127.0.0.0/8"],
                                                 token_ttl="1h", mount_point=name)
    role_id = client.auth.approle.read_role_id("r", mount_point=name)["data"]["role_id"]
    tokens_made = [client.auth.approle.login(role_id, use_token=False, mount_point=name)["auth"]["client_token"] for _ in range(3)]
    ids = client.sys.list_leases(f"auth/{name}/login")["data"]["keys"]
    equal(len(ids), 3, "leases of logins")
    lease = f"auth/{name}/login/{ids[0]}"
    check(client.sys.read_lease(lease)["data"]["ttl"] > 3_000, "a lease")
    client.sys.revoke_lease(lease)
    client.sys.revoke_prefix(f"auth/{name}")
    for one in tokens_made:
        check(not hvac.Client(url=client.url, token=one, verify=CA_CERT or True).is_authenticated(), "a token whose lease is revoked")
    client.sys.disable_auth_method(name)


def hvac_wrapping(client, _name):
    wrapped = client.sys.wrap({"zip": "zap"}, ttl=60)["wrap_info"]["token"]
    equal(client.sys.unwrap(wrapped)["data"], {"zip": "zap"}, "what lay there")
    try:
        client.sys.unwrap(wrapped)
    except hvac.exceptions.InvalidRequest:
        return
    check(False, "an answer is handed over twice")


def hvac_audit(client, name):
    client.sys.enable_audit_device("file", path=name, options={"file_path": f"{name}.log"})
    check(f"{name}/" in client.sys.list_enabled_audit_devices()["data"], "a device among all")
    check(client.sys.calculate_hash(name, "canary")["data"]["hash"].startswith("hmac-sha256:"), "a hash")
    client.sys.disable_audit_device(name)


if __name__ == "__main__":
    main()
