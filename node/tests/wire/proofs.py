"""`bao` and hvac at every node: a second factor for logins by password, and logins by client certificates."""

import os
import subprocess
import tempfile

import hvac

from same_mfa import HOUR_S, code
from wire import CA_CERT, NODES, TOKEN, bao, bao_json, check, equal, request


def client(node, token=TOKEN, cert=None):
    return hvac.Client(url=node["api_addr"], token=token, verify=CA_CERT or True, cert=cert)


def second_factor(number, node):
    path = f"mfa-people{number}"
    bao(node, "auth", "enable", f"-path={path}", "userpass")
    bao(node, "write", f"auth/{path}/users/ann", "password=secret1", "token_policies=default")
    accessor = bao_json(node, "auth", "list")[f"{path}/"]["accessor"]
    entity = bao_json(node, "login", "-no-store", "-method=userpass", f"-path={path}", "username=ann", "password=secret1")["auth"]["entity_id"]
    name = f"phone{number}"
    method = bao_json(node, "write", "identity/mfa/method/totp", f"method_name={name}", "issuer=Conclave", f"period={HOUR_S}")["data"]["method_id"]
    made = bao_json(node, "write", "identity/mfa/method/totp/admin-generate", f"method_id={method}", f"entity_id={entity}")["data"]
    check(made["barcode"].startswith("iVBOR"), "the barcode is a PNG")
    bao(node, "write", f"identity/mfa/login-enforcement/e{number}", f"mfa_method_ids={method}", f"auth_method_accessors={accessor}")
    equal(bao_json(node, "read", f"identity/mfa/login-enforcement/e{number}")["data"]["auth_method_accessors"], [accessor], "the enforcement")
    # Two steps: begun at one node, finished at another, by hvac's raw adapter.
    stranger = client(node, None)
    begun = stranger.auth.userpass.login("ann", "secret1", mount_point=path, use_token=False)["auth"]
    equal(begun["client_token"], "", "no token yet")
    other = client(NODES[(number + 1) % len(NODES)], None)
    body = {"mfa_request_id": begun["mfa_requirement"]["mfa_request_id"], "mfa_payload": {method: [code(made["url"], 0)]}}
    done = other.adapter.post("/v1/sys/mfa/validate", json=body)["auth"]
    check(client(node, done["client_token"]).is_authenticated(), "the token holds at every node")
    # One step: bao sends the code with the login.
    direct = bao_json(node, "write", f"-mfa={name}:{code(made['url'], 1)}", f"auth/{path}/login/ann", "password=secret1")["auth"]
    check(client(node, direct["client_token"]).is_authenticated(), "the token of a login in one step")
    again = request(node["api_addr"], "POST", f"/v1/auth/{path}/login/ann", {"password": "secret1"}, None, {"X-Vault-MFA": f"{name}:{code(made['url'], 1)}"})
    equal(again.status, 403, "a code is taken once")
    bao(node, "delete", f"identity/mfa/login-enforcement/e{number}")
    bao(node, "delete", f"identity/mfa/method/totp/{method}")
    bao(node, "auth", "disable", f"{path}/")


def openssl(folder, *arguments):
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"openssl {arguments[0]}: {done.stderr}")


def authority(folder):
    """An authority and a client of it, as files."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=clients", "-days", "2",
            "-addext", "basicConstraints=critical,CA:TRUE")
    openssl(folder, "req", *key, "-keyout", "client.key", "-out", "client.csr", "-subj", "/CN=ann/OU=ops")
    with open(os.path.join(folder, "ext"), "w", encoding="utf-8") as file:
        file.write("extendedKeyUsage=clientAuth\nsubjectAltName=DNS:ann.example\n")
    openssl(folder, "x509", "-req", "-in", "client.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "client.pem", "-days", "2", "-extfile", "ext")
    return [os.path.join(folder, name) for name in ("ca.pem", "client.pem", "client.key")]


def by_certificate(number, node, files):
    ca, cert, key = files
    path = f"certs{number}"
    bao(node, "auth", "enable", f"-path={path}", "cert")
    bao(node, "write", f"auth/{path}/certs/web", f"certificate=@{ca}", "display_name=web", "policies=default", "allowed_dns_sans=*.example")
    equal(bao_json(node, "list", f"auth/{path}/certs"), ["web"], "roles")
    root = client(node)
    equal(root.auth.cert.read_ca_certificate_role("web", mount_point=path)["data"]["display_name"], "web", "a role by hvac")
    for other in NODES:
        made = bao_json(other, "login", "-no-store", "-method=cert", f"-path={path}", f"-client-cert={cert}", f"-client-key={key}", "name=web")
        equal(made["auth"]["metadata"]["common_name"], "ann", "the name in the certificate")
        stranger = client(other, None)
        login = stranger.auth.cert.login(name="web", cert_pem=cert, key_pem=key, mount_point=path)
        token = login["auth"]["client_token"] if isinstance(login, dict) else login
        # Renewed with the certificate, and not without.
        client(other, token, cert=(cert, key)).auth.token.renew_self()
        try:
            client(other, token).auth.token.renew_self()
            check(False, "renewed without the certificate")
        except hvac.exceptions.InvalidRequest:
            pass
        refused = request(other["api_addr"], "POST", f"/v1/auth/{path}/login", {}, None, {"X-Client-Cert": "canary", "client-certificate": "canary"})
        equal((refused.status, refused.json["errors"]), (400, ["client certificate must be supplied"]), "a header is no certificate")
    bao(node, "delete", f"auth/{path}/certs/web")
    bao(node, "auth", "disable", f"{path}/")


def main():
    with tempfile.TemporaryDirectory(prefix="conclave-wire-") as folder:
        files = authority(folder)
        for number, node in enumerate(NODES):
            second_factor(number, node)
            by_certificate(number, node, files)


main()
