"""`bao` and hvac log in at every node: auth mounts, userpass and approle, each round at another node than the one before."""

import hvac

from wire import CA_CERT, NODES, TOKEN, bao, bao_json, check, equal, run_bao


def client(node, token=TOKEN):
    return hvac.Client(url=node["api_addr"], token=token, verify=CA_CERT or True)


def by_bao(number, node):
    path = f"people{number}"
    bao(node, "auth", "enable", f"-path={path}", "-description=d", "userpass")
    check(f"{path}/" in bao_json(node, "auth", "list"), "the new mount is listed")
    bao(node, "auth", "tune", "-default-lease-ttl=30m", f"{path}/")
    bao(node, "write", f"auth/{path}/users/ann", "password=secret1", "token_policies=default")
    for other in NODES:
        made = bao_json(other, "login", "-no-store", "-method=userpass", f"-path={path}", "username=ann", "password=secret1")
        equal(made["auth"]["lease_duration"], 1800, "the mount's lifetime")
        refused = run_bao(other, "login", "-no-store", "-method=userpass", f"-path={path}", "username=ann", "password=wrong")
        check(refused.returncode == 2, "a wrong password is refused")
    bao(node, "write", "-f", "auth/token/lookup-self")
    bao(node, "auth", "disable", f"{path}/")
    check(f"{path}/" not in bao_json(node, "auth", "list"), "it is gone")


def by_hvac_userpass(number, node):
    path, root = f"users{number}", client(node)
    root.sys.enable_auth_method("userpass", path=path, description="d", config={"default_lease_ttl": "1h"})
    equal(root.sys.list_auth_methods()["data"][f"{path}/"]["type"], "userpass", "the mount's type")
    root.sys.tune_auth_method(path, max_lease_ttl="2h")
    equal(root.sys.read_auth_method_tuning(path)["data"]["max_lease_ttl"], 7200, "the tuned lifetime")
    root.auth.userpass.create_or_update_user("bob", password="one", policies="p1", mount_point=path)
    root.auth.userpass.update_password_on_user("bob", "two", mount_point=path)
    equal(root.auth.userpass.list_user(mount_point=path)["data"]["keys"], ["bob"], "users")
    equal(root.auth.userpass.read_user("bob", mount_point=path)["data"]["token_policies"], ["p1"], "policies")
    tokens = []
    for other in NODES:
        stranger = client(other, None)
        login = stranger.auth.userpass.login("bob", "two", mount_point=path)
        equal(login["auth"]["metadata"], {"username": "bob"}, "metadata")
        told = stranger.auth.token.lookup_self()["data"]
        equal((told["display_name"], told["path"], told["orphan"]), (f"{path}-bob", f"auth/{path}/login/bob", True), "the token")
        stranger.auth.token.renew_self()
        tokens.append(stranger.token)
        try:
            client(other, None).auth.userpass.login("bob", "one", mount_point=path)
            check(False, "the old password holds no more")
        except hvac.exceptions.InvalidRequest:
            pass
    root.auth.userpass.delete_user("bob", mount_point=path)
    root.sys.disable_auth_method(path)
    for other in NODES:
        for token in tokens:
            check(not client(other, token).is_authenticated(), "a token of a mount that is gone")


def by_hvac_approle(number, node):
    path, root = f"roles{number}", client(node)
    root.sys.enable_auth_method("approle", path=path)
    roles = root.auth.approle
    roles.create_or_update_approle("app", token_policies=["default"], token_ttl="10m", secret_id_num_uses=len(NODES), mount_point=path)
    equal(roles.list_roles(mount_point=path)["data"]["keys"], ["app"], "roles")
    equal(roles.read_role("app", mount_point=path)["data"]["token_ttl"], 600, "a role's setting")
    role_id = roles.read_role_id("app", mount_point=path)["data"]["role_id"]
    made = roles.generate_secret_id("app", metadata={"a": "b"}, mount_point=path)["data"]
    for other in NODES:
        stranger = client(other, None)
        login = stranger.auth.approle.login(role_id, made["secret_id"], mount_point=path)
        equal(login["auth"]["metadata"], {"a": "b", "role_name": "app"}, "metadata")
        check(stranger.is_authenticated(), "the token holds")
    try:
        client(node, None).auth.approle.login(role_id, made["secret_id"], mount_point=path)
        check(False, "the secret id is used up")
    except hvac.exceptions.InvalidRequest:
        pass
    roles.create_custom_secret_id("app", "chosen", mount_point=path)
    accessors = roles.list_secret_id_accessors("app", mount_point=path)["data"]["keys"]
    equal(len(accessors), 1, "secret ids")
    by_accessor = roles.read_secret_id_accessor("app", accessors[0], mount_point=path)["data"]
    equal(by_accessor["secret_id_num_uses"], len(NODES), "uses")
    equal(roles.read_secret_id("app", "chosen", mount_point=path)["data"]["secret_id_accessor"], accessors[0], "the accessor")
    roles.destroy_secret_id_accessor("app", accessors[0], mount_point=path)
    roles.update_role_id("app", f"own-{number}", mount_point=path)
    equal(roles.read_role_id("app", mount_point=path)["data"]["role_id"], f"own-{number}", "the role's own id")
    roles.delete_role("app", mount_point=path)
    root.sys.disable_auth_method(path)


def main():
    for number, node in enumerate(NODES):
        by_bao(number, node)
        by_hvac_userpass(number, node)
        by_hvac_approle(number, node)


main()
