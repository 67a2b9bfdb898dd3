"""The same requests to OpenBao and to Conclave: status and body must be the same, but for what is listed.

OpenBao runs here as one real node with integrated storage. Values that differ from run to run are compared by kind;
a difference that we want stands in DIFFERENT with its reason, and fails when it is no longer one.
"""

import json
import os
import socket
import subprocess
import tempfile
import time

from login_requests import LOGIN_DIFFERENT, LOGIN_OWN_WORDS, LOGINS
from wire import BAO, NODES, TOKEN, check, request

WRAP = {"X-Vault-Wrap-TTL": "60"}
MERGE = {"Content-Type": "application/merge-patch+json"}
KV2 = {"type": "kv", "options": {"version": "2"}}

# Method, path, body, headers. They run in order against both, so that each starts from the same state.
REQUESTS = [
    ("GET", "/v1/sys/init"), ("DELETE", "/v1/sys/init"), ("PUT", "/v1/sys/init", {"secret_shares": 1, "secret_threshold": 1}),
    ("GET", "/v1/sys/health"), ("HEAD", "/v1/sys/health"), ("POST", "/v1/sys/health"), ("GET", "/v1/sys/health?activecode=299"),
    ("GET", "/v1/sys/health?activecode=abc"), ("POST", "/v1/sys/seal-status"), ("PUT", "/v1/sys/unseal", {}),
    ("PUT", "/v1/sys/unseal", {"key": "zz!!"}), ("GET", "/v1/sys/unseal"), ("PUT", "/v1/sys/unseal", "{bad"),
    ("POST", "/v1/sys/leader"),
    ("POST", "/v1/sys/mounts/same", KV2), ("POST", "/v1/sys/mounts/same", KV2), ("POST", "/v1/sys/mounts/same/below", KV2),
    ("POST", "/v1/sys/mounts/deep/er/kv", {"type": "kv"}), ("POST", "/v1/sys/mounts/deep", {"type": "kv"}),
    ("POST", "/v1/sys/mounts/same/", KV2), ("POST", "/v1/sys/mounts/x1", {"type": "nope"}), ("POST", "/v1/sys/mounts/x2", {}),
    ("POST", "/v1/sys/mounts/sys", KV2), ("POST", "/v1/sys/mounts/auth/x", KV2), ("POST", "/v1/sys/mounts/cubbyhole", KV2),
    ("GET", "/v1/sys/mounts/nomount"), ("GET", "/v1/sys/mounts/nomount/tune"), ("DELETE", "/v1/sys/mounts/nomount"),
    ("GET", "/v1/sys/mounts/same/tune"), ("POST", "/v1/sys/mounts/same/tune", {"description": "d", "default_lease_ttl": "30m"}),
    ("GET", "/v1/sys/mounts/same/tune"), ("GET", "/v1/sys/mounts/sys"), ("GET", "/v1/sys/mounts/sys/tune"), ("GET", "/v1/sys/internal/ui/mounts/sys/health"),
    ("POST", "/v1/sys/mounts/sys/tune", {"description": "x"}), ("POST", "/v1/sys/mounts/sys/tune", {"default_lease_ttl": "1h"}), ("DELETE", "/v1/sys/mounts/sys"),
    ("POST", "/v1/sys/remount", {"from": "sys", "to": "x"}),
    ("POST", "/v1/sys/remount", {}), ("POST", "/v1/sys/remount", {"from": "nomount", "to": "x"}),
    ("POST", "/v1/sys/remount", {"from": "same", "to": "sys"}), ("GET", "/v1/sys/remount/status/nope"),
    ("GET", "/v1/sys/internal/ui/mounts/same/a/b"), ("GET", "/v1/sys/internal/ui/mounts/nomount/x"),
    ("GET", "/v1/sys/rotate"), ("DELETE", "/v1/sys/key-status"), ("POST", "/v1/sys/rotate/config", {"interval": "5s"}),
    ("POST", "/v1/sys/rotate/config", {"max_operations": 1}), ("GET", "/v1/sys/rotate/config"),
    ("POST", "/v1/sys/storage/raft/remove-peer", {}), ("GET", "/v1/sys/metrics?format=bogus"), ("POST", "/v1/sys/host-info"),
    ("GET", "/v1/auth/token/lookup-self"), ("POST", "/v1/auth/token/lookup-self", {}),
    ("GET", "/v1/sys/audit"), ("GET", "/v1/sys/audit/x"), ("PUT", "/v1/sys/audit/x", {"type": "file", "options": {"file_path": "/tmp/x.log"}}),
    ("PUT", "/v1/sys/audit/x", {"type": "nope"}), ("DELETE", "/v1/sys/audit/x"), ("GET", "/v1/sys/audit-hash/x"),
    ("POST", "/v1/sys/audit-hash/x", {"input": "a"}), ("POST", "/v1/sys/audit-hash/x", {}), ("POST", "/v1/sys/audit-hash/x", {"input": ""}),
    ("GET", "/v1/sys/nothing"), ("GET", "/v1/nomount/x"), ("GET", "/v1/same/nothing"), ("GET", "/v1/same"), ("GET", "/v1/same/data"),
    ("GET", "/v1/same/data/missing"), ("LIST", "/v1/same/metadata/"), ("LIST", "/v1/same/data/"), ("POST", "/v1/same/data/t/", {"data": {}}),
    ("POST", "/v1/same/data/t", "{bad"), ("POST", "/v1/same/data/t", "[]"), ("POST", "/v1/same/data/t", '"x"'), ("POST", "/v1/same/data/t", "null"),
    ("POST", "/v1/same/data/t", ""), ("POST", "/v1/same/data/t", {}), ("POST", "/v1/same/data/t", {"data": "s"}), ("POST", "/v1/same/data/t", {"data": 1}),
    ("POST", "/v1/same/data/t", {"data": {"a": 1}, "options": {"cas": "x"}}), ("POST", "/v1/same/data/t", {"data": {"a": 1}, "options": {"cas": 5}}),
    ("POST", "/v1/same/data/t", {"data": {"a": 1}, "options": {"cas": 0}}), ("PUT", "/v1/same/data/t", {"data": {"a": 1, "b": {"c": [1, 2]}}, "bogus": 1}),
    ("GET", "/v1/same/data/t"), ("GET", "/v1/same/data/t?version=1"), ("GET", "/v1/same/data/t?version=9"), ("GET", "/v1/same/data/t?version=x"),
    ("PATCH", "/v1/same/data/t", {"data": {"z": 1}}), ("PATCH", "/v1/same/data/t", {"data": {"z": 1, "a": None}}, MERGE), ("GET", "/v1/same/data/t"),
    ("GET", "/v1/same/metadata/t"), ("GET", "/v1/same/subkeys/t"), ("GET", "/v1/same/config"), ("POST", "/v1/same/config", {"max_versions": 5}), ("GET", "/v1/same/config"),
    ("LIST", "/v1/same/metadata/"), ("GET", "/v1/same/metadata/?list=true"), ("GET", "/v1/same/metadata?list=True"), ("LIST", "/v1/same/metadata/nope"),
    ("DELETE", "/v1/same/data/t"), ("GET", "/v1/same/data/t"), ("PUT", "/v1/same/undelete/t", {"versions": ["3"]}), ("PUT", "/v1/same/destroy/t", {"versions": [1]}),
    ("GET", "/v1/same/data/t?version=1"), ("DELETE", "/v1/same/metadata/t"), ("GET", "/v1/same/data/t"),
    ("HEAD", "/v1/same/data/t"), ("BREW", "/v1/same/data/t"), ("GET", "/v2/x"),
    ("POST", "/v1/deep/er/kv/a/b", {"x": "1"}), ("GET", "/v1/deep/er/kv/a/b"), ("LIST", "/v1/deep/er/kv/a"), ("DELETE", "/v1/deep/er/kv/a/b"), ("GET", "/v1/deep/er/kv/a/b"),
    ("DELETE", "/v1/sys/mounts/deep/er/kv"), ("DELETE", "/v1/sys/mounts/same"), ("GET", "/v1/same/data/t"),
]

_GENERATE, _GENERATE_TOKEN, _REKEY, _ROTATE = ("/v1/sys/generate-root", "/v1/sys/generate-root-token", "/v1/sys/rekey", "/v1/sys/rotate/root")
_TWO, _THREE = {"secret_shares": 2, "secret_threshold": 2}, {"secret_shares": 3, "secret_threshold": 2}

# What key shares decide, as far as it goes without a share: the two servers have other ones.
REQUESTS += [
    (method, base + path, *body)
    for base in (_GENERATE, _GENERATE_TOKEN)
    for method, path, *body in [
        ("GET", "/attempt"), ("PUT", "/attempt", {"otp": "short"}), ("PUT", "/attempt", {}), ("GET", "/attempt"), ("PUT", "/attempt", {"otp": ""}),
        ("PUT", "/update", {}), ("PUT", "/update", {"nonce": "x"}), ("DELETE", "/attempt"), ("DELETE", "/attempt"), ("GET", "/attempt"),
    ]
] + [
    (method, base + path, *body)
    for base in (_REKEY, _ROTATE)
    for method, path, *body in [
        ("GET", "/init"), ("GET", "/verify"), ("DELETE", "/verify"), ("PUT", "/update", {}), ("PUT", "/verify", {}), ("PUT", "/init", _TWO), ("GET", "/init"),
        ("GET", "/verify"), ("PUT", "/init", _THREE), ("DELETE", "/init"), ("DELETE", "/init"), ("GET", "/init"), ("GET", "/backup"),
    ]
] + [
    ("PUT", f"{_ROTATE}/init", {**_TWO, "bogus": 1}), ("PUT", f"{_ROTATE}/update", {"key": "AAAA"}), ("DELETE", f"{_ROTATE}/init"),
    ("PUT", f"{_REKEY}/init", {"secret_shares": 2, "secret_threshold": 2, "pgp_keys": ["a"]}), ("GET", "/v1/sys/rekey-recovery-key/init"),
]

# Each token's own place, and answers that are wrapped.
REQUESTS += [
    ("GET", "/v1/cubbyhole/x"), ("LIST", "/v1/cubbyhole/"), ("POST", "/v1/cubbyhole/x", {"a": 1, "ttl": "1h"}), ("GET", "/v1/cubbyhole/x"),
    ("POST", "/v1/cubbyhole/y/z", {"b": "2"}), ("LIST", "/v1/cubbyhole"), ("GET", "/v1/cubbyhole/?list=true"), ("LIST", "/v1/cubbyhole/y/"),
    ("GET", "/v1/cubbyhole/?scan=true"), ("POST", "/v1/cubbyhole/", {"a": 1}), ("POST", "/v1/cubbyhole/x/", {"a": 1}), ("GET", "/v1/cubbyhole/x/"),
    ("PATCH", "/v1/cubbyhole/x", {"a": 2}, MERGE), ("GET", "/v1/cubbyhole/x?bogus=1"), ("GET", "/v1/cubbyhole/?list=true&after=x&limit=1"),
    ("POST", "/v1/cubbyhole", {"a": 1}), ("POST", "/v1/cubbyhole/q", {}), ("GET", "/v1/cubbyhole"), ("DELETE", "/v1/cubbyhole/none"),
    ("DELETE", "/v1/cubbyhole/"), ("DELETE", "/v1/cubbyhole/x"), ("GET", "/v1/cubbyhole/x"), ("DELETE", "/v1/cubbyhole/y/z"),
    ("GET", "/v1/sys/mounts/cubbyhole"), ("GET", "/v1/sys/mounts/cubbyhole/tune"), ("DELETE", "/v1/sys/mounts/cubbyhole"),
    ("POST", "/v1/sys/remount", {"from": "cubbyhole", "to": "x"}), ("POST", "/v1/sys/mounts/cubbyhole/tune", {"description": "x"}),
    ("POST", "/v1/sys/mounts/cubbyhole/tune", {}), ("POST", "/v1/sys/mounts/sys/tune", {}), ("GET", "/v1/sys/internal/ui/mounts/cubbyhole/x"),
    ("POST", "/v1/sys/mounts/wrapped", {"type": "kv"}), ("POST", "/v1/wrapped/x", {"a": "b"}),
    ("GET", "/v1/wrapped/x", None, WRAP), ("GET", "/v1/wrapped/none", None, WRAP), ("POST", "/v1/wrapped/y", {"a": 1}, WRAP), ("LIST", "/v1/wrapped", None, WRAP),
    ("GET", "/v1/wrapped/x", None, {"X-Vault-Wrap-TTL": "0"}), ("GET", "/v1/wrapped/x?a", None, {"X-Vault-Wrap-TTL": "abc"}), ("GET", "/v1/wrapped/x?b", None, {"X-Vault-Wrap-TTL": "-5"}),
    ("POST", "/v1/sys/wrapping/wrap", {"a": "b"}), ("POST", "/v1/sys/wrapping/wrap", {"a": "b", "c": {}}, WRAP),
    ("GET", "/v1/sys/wrapping/wrap"),
    *((method, f"/v1/sys/wrapping/{what}", {"token": token}) for method, what in (("POST", "unwrap"), ("POST", "rewrap"), ("POST", "lookup")) for token in ("", "s.nonesuch")),
]

# Wrapped at both, then looked at, wrapped anew, and unwrapped twice.
WRAPPED = [
    ("GET", "/v1/wrapped/x"), ("LIST", "/v1/wrapped/"), ("GET", "/v1/sys/mounts/wrapped"), ("POST", "/v1/sys/wrapping/wrap", {"a": {"b": [1, None]}}),
    ("POST", "/v1/auth/token/create", {"ttl": "1h", "policies": ["default"]}), ("GET", "/v1/wrapped/x?bogus=1"),
]

# Requests without a token, or with one that does not exist.
STRANGERS = [("GET", "/v1/sys/mounts"), ("GET", "/v1/same/data/t"), ("GET", "/v1/nomount/x"), ("GET", "/v1/sys/nothing"),
             ("GET", "/v1/sys/audit"), ("PUT", "/v1/sys/audit/x", {"type": "file"}), ("POST", "/v1/sys/audit-hash/x", {"input": "a"}),
             ("GET", "/v1/auth/token/lookup-self"), ("PUT", "/v1/sys/seal"), ("GET", "/v1/sys/metrics"), ("GET", "/v1/sys/storage/raft/configuration")]

# Refusals with the same status whose sentence is Conclave's own: OpenBao says nothing there, or speaks of Go's types.
OWN_WORDS = {
    "DELETE /v1/sys/init", "POST /v1/sys/health", "GET /v1/sys/health?activecode=abc", "POST /v1/sys/seal-status",
    "GET /v1/sys/unseal", "POST /v1/sys/leader", "GET /v1/sys/rotate", "DELETE /v1/sys/key-status", "POST /v1/sys/host-info",
    "GET /v1/sys/metrics?format=bogus", "GET /v1/sys/nothing", "LIST /v1/same/data/", "GET /v1/same/data/t?version=x",
    "BREW /v1/same/data/t", "GET /v2/x", 'PUT /v1/sys/unseal "{bad"', 'POST /v1/sys/mounts/x1 {"type": "nope"}',
    'POST /v1/same/data/t "{bad"', 'POST /v1/same/data/t "[]"', 'POST /v1/same/data/t "\\"x\\""',
    'POST /v1/same/data/t {"data": "s"}', 'POST /v1/same/data/t {"data": 1}', 'PATCH /v1/same/data/t {"data": {"z": 1}}',
    'POST /v1/sys/rotate/config {"max_operations": 1}',
    'PUT /v1/sys/generate-root/attempt {"otp": ""}', 'PUT /v1/sys/generate-root-token/attempt {"otp": ""}',
    'PUT /v1/sys/rekey/init {"secret_shares": 2, "secret_threshold": 2, "pgp_keys": ["a"]}',
    "GET /v1/cubbyhole/?scan=true", 'PATCH /v1/cubbyhole/x {"a": 2}', "GET /v1/sys/wrapping/wrap",
    "GET /v1/wrapped/x?a null", 'POST /v1/sys/wrapping/unwrap {"token": ""}', 'POST /v1/sys/wrapping/rewrap {"token": ""}',
    'POST /v1/sys/wrapping/lookup {"token": ""}',
    "GET /v1/sys/audit/x", "GET /v1/sys/audit-hash/x", 'PUT /v1/sys/audit/x {"type": "nope"}',
    'PUT /v1/sys/audit/x {"type": "file", "options": {"file_path": "/tmp/x.log"}}',
}

# What Conclave answers otherwise on purpose, and why.
_HEALTH = "performance_standby is there as in Vault; there is no performance replication to be primary of"
_HINT = "the hint names our own command"
_BLAME = "the caller's fault is told with 400"
_NO_BACKUP = "there is no backup of keys, so there is no such path"
DIFFERENT = {
    "GET /v1/sys/health": _HEALTH,
    "GET /v1/sys/health?activecode=299": _HEALTH,
    'PUT /v1/sys/unseal {"key": "zz!!"}': "a node that is unsealed does not look at keys",
    "GET /v1/sys/rotate/config": "key terms rotate earlier: 2^31 instead of 0.9 * 2^32 seals",
    "GET /v1/same/nothing": _HINT,
    "GET /v1/same": _HINT,
    'POST /v1/cubbyhole {"a": 1}': _BLAME,
    "POST /v1/cubbyhole/q {}": _BLAME,
    "GET /v1/cubbyhole": _BLAME,
    "DELETE /v1/cubbyhole/": "only a list's path ends in a slash",
    "GET /v1/sys/rekey/backup": _NO_BACKUP,
    "GET /v1/sys/rotate/root/backup": _NO_BACKUP,
    "HEAD /v1/same/data/t": "HEAD answers as GET would, without the body",
}

OWN_WORDS |= LOGIN_OWN_WORDS
DIFFERENT |= LOGIN_DIFFERENT

# Members whose values belong to one server or one moment.
VOLATILE = {"request_id", "uuid", "accessor", "created_time", "updated_time", "deletion_time", "server_time_utc", "version",
            "cluster_name", "cluster_id", "running_plugin_version", "id", "creation_time", "commit_date", "nonce", "otp", "token",
            "wrapped_accessor", "client_token", "secret_id", "secret_id_accessor", "mount_accessor", "expiration_time",
            "last_updated_time"}
# Numbers of the same sort: how many shares a server was made with, and how long its tokens are.
NUMBERS_OF_ONE_SERVER = {"server_time_utc", "creation_time", "required", "otp_length"}

# The listed names that were met.
COMPARED = set()


def kind(value):
    return f"<{type(value).__name__}>" if value not in ("", None) else value


def plain(value, key=None):
    """The value with what may differ replaced by its kind. The version of a secret is compared as it is."""
    if isinstance(value, dict):
        return {name: plain(member, name) for name, member in sorted(value.items())}
    if isinstance(value, list):
        return [plain(member) for member in value]
    if key == "entity_id":
        return None  # identities are not there yet
    if key in VOLATILE and not isinstance(value, int):
        return kind(value)
    if key in NUMBERS_OF_ONE_SERVER:
        return kind(value)
    return value


def seen(answer):
    kind_of_body = answer.headers.get("Content-Type", "").split(";")[0] if answer.body else None
    try:
        body = plain(answer.json)
    except json.JSONDecodeError:
        body = answer.body.decode(errors="replace")
    return answer.status, kind_of_body, body


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class OpenBao:
    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="conclave-wire-")
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        data = os.path.join(self.folder.name, "data")
        os.mkdir(data)
        config = os.path.join(self.folder.name, "bao.hcl")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f'storage "raft" {{\n path = "{data}"\n node_id = "n1"\n}}\n'
                       f'listener "tcp" {{\n address = "127.0.0.1:{port}"\n cluster_address = "127.0.0.1:{free_port()}"\n tls_disable = true\n'
                       # What needs no token there needs one here; answers are the same.
                       ' disable_unauthed_rekey_endpoints = false\n disable_unauthed_generate_root_endpoints = false\n}\n'
                       f'api_addr = "{self.address}"\ncluster_addr = "https://127.0.0.1:{free_port()}"\n')
        self.process = subprocess.Popen([BAO, "server", f"-config={config}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait(lambda: request(self.address, "GET", "/v1/sys/init", token=None).status == 200)
        made = request(self.address, "PUT", "/v1/sys/init", {"secret_shares": 1, "secret_threshold": 1}, token=None).json
        self.token = made["root_token"]
        request(self.address, "PUT", "/v1/sys/unseal", {"key": made["keys_base64"][0]}, token=None)
        self.wait(lambda: request(self.address, "GET", "/v1/sys/health", token=None).status == 200)
        return self

    def wait(self, holds):
        deadline = time.monotonic() + 60
        while True:
            try:
                if holds():
                    return
            except OSError:
                pass
            check(time.monotonic() < deadline, "OpenBao does not start")
            time.sleep(0.1)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.folder.cleanup()


def leader():
    for node in NODES:
        if request(node["api_addr"], "GET", "/v1/sys/health", token=None).status == 200:
            return node["api_addr"]
    check(False, "no Conclave node says that it leads")
    return None


def send(address, token, step):
    method, path, *rest = step
    answer = request(address, method, path, rest[0] if rest else None, token, rest[1] if len(rest) > 1 else None)
    # A mount that OpenBao has just made may not answer yet: it says so, and every client asks again.
    for _ in range(50):
        if answer.status != 400 or b"Upgrading from non-versioned" not in answer.body:
            break
        time.sleep(0.1)
        answer = request(address, method, path, rest[0] if rest else None, token, rest[1] if len(rest) > 1 else None)
    return answer


def compare(who, step, theirs, ours):
    method, path, *rest = step
    name = f"{who}{method} {path}" + (f" {json.dumps(rest[0])}" if rest else "")
    same = seen(theirs) == seen(ours)
    if name in DIFFERENT or name in OWN_WORDS:
        COMPARED.add(name)
        if same:
            return [f"{name} is no longer different: take it off the list"]
        if name in DIFFERENT or refuses_alike(theirs, ours):
            return []
    if same:
        return []
    return [f"{name}\n    OpenBao  {describe(theirs)}\n    Conclave {describe(ours)}"]


def unwrapped_alike(step, servers):
    """What one step's answer becomes when it is wrapped and unwrapped, by whom it was wrapped and by its own token."""
    method, path, *rest = step
    findings = []

    def both(name, ask):
        theirs, ours = (ask(number, address, token) for number, (address, token) in enumerate(servers))
        same = seen(theirs) == seen(ours)
        findings.extend([] if same else [f"{name} of {method} {path}\n    OpenBao  {describe(theirs)}\n    Conclave {describe(ours)}"])
        return [answer.json for answer in (theirs, ours)]

    def wrapped():
        infos = both("wrapped", lambda _, address, token: request(address, method, path, rest[0] if rest else None, token, WRAP))
        return [info["wrap_info"]["token"] for info in infos]

    def named(what, tokens):
        return both(what, lambda number, address, token: request(address, "POST", f"/v1/sys/wrapping/{what}", {"token": tokens[number]}, token))

    tokens = wrapped()
    named("lookup", tokens)
    both("lookup without a token", lambda number, address, _: request(address, "POST", "/v1/sys/wrapping/lookup", {"token": tokens[number]}, None))
    again = [told["wrap_info"]["token"] for told in named("rewrap", tokens)]
    named("unwrap", tokens)
    named("unwrap", again)
    named("unwrap", again)
    own = wrapped()
    for _ in range(2):
        both("unwrap by itself", lambda number, address, _: request(address, "POST", "/v1/sys/wrapping/unwrap", None, own[number]))
    other = wrapped()
    refused = [request(address, "POST", "/v1/cubbyhole/other", {"a": 1}, other[number]) for number, (address, _) in enumerate(servers)]
    check(refuses_alike(*refused), f"a wrapping token may do nothing else: {describe(refused[1])}")
    return findings


def refuses_alike(theirs, ours):
    """The same status, and a sentence of ours that says why."""
    sentences = (ours.json or {}).get("errors") or []
    return theirs.status == ours.status >= 400 and len(sentences) == 1 and len(sentences[0]) > 10


def describe(answer):
    status, kind_of_body, body = seen(answer)
    return f"{status} {kind_of_body or ''} {json.dumps(body, sort_keys=True)}"


def main():
    findings = []
    conclave = leader()
    with OpenBao() as openbao:
        for step in REQUESTS + LOGINS:
            findings += compare("", step, send(openbao.address, openbao.token, step), send(conclave, TOKEN, step))
        servers = ((openbao.address, openbao.token), (conclave, TOKEN))
        for step in WRAPPED:
            findings += unwrapped_alike(step, servers)
        for token in (None, "s.thistokendoesnotexist0000"):
            for step in STRANGERS:
                findings += compare("stranger ", step, send(openbao.address, token, step), send(conclave, token, step))
    unused = (OWN_WORDS | set(DIFFERENT)) - COMPARED
    check(not unused, f"listed but never asked: {sorted(unused)}")
    check(not findings, f"{len(findings)} answers differ:\n  " + "\n  ".join(findings))


if __name__ == "__main__":
    main()
