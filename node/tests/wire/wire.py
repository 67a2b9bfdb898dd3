"""What the scripts beside this file share: the cluster under test, `bao` against one of its nodes, plain requests.

A check that does not hold ends the script with a sentence and exit code 1.
"""

import atexit
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

TIMEOUT_S = 30

with open(os.environ["CLUSTER_JSON"], encoding="utf-8") as _file:
    CLUSTER = json.load(_file)
BAO = os.environ["BAO"]
NODES = CLUSTER["nodes"]
TOKEN = CLUSTER["root_token"]
CA_CERT = CLUSTER["ca_cert"]
_HOME = tempfile.mkdtemp(prefix="conclave-wire-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)


def check(holds, sentence):
    if not holds:
        sys.exit(f"FAILED: {sentence}")


def equal(found, expected, what):
    check(found == expected, f"{what}: expected {expected!r}, found {found!r}")


def eventually(ask, sentence):
    """For what a change of leaders may make untrue for a moment."""
    deadline = time.monotonic() + TIMEOUT_S
    while not ask():
        check(time.monotonic() < deadline, sentence)
        time.sleep(0.2)


def environment(node):
    values = {"BAO_ADDR": node["api_addr"], "BAO_TOKEN": TOKEN, "HOME": _HOME}
    if CA_CERT:
        values["BAO_CACERT"] = CA_CERT
    return {**os.environ, **values}


def run_bao(node, *arguments, form="table"):
    return subprocess.run([BAO, *arguments], env={**environment(node), "BAO_FORMAT": form}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def bao(node, *arguments, code=0, form="table"):
    """Runs `bao` against one node and gives what it printed; the exit code must be as expected."""
    done = run_bao(node, *arguments, form=form)
    line = "bao " + " ".join(arguments)
    check(done.returncode == code, f"{line} at {node['id']}: exit code {done.returncode}, expected {code}\n"
                                   f"{done.stdout}{done.stderr}")
    return done.stdout if code == 0 else done.stderr


def bao_json(node, *arguments):
    return json.loads(bao(node, *arguments, form="json"))


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body) if self.body else None


def request(address, method, path, body=None, token=TOKEN, headers=None):
    """One plain request; `body` is sent as it is when it is text, else as JSON."""
    data = body if body is None or isinstance(body, str) else json.dumps(body)
    call = urllib.request.Request(f"{address}{path}", None if data is None else data.encode(), method=method)
    call.add_header("X-Vault-Request", "true")
    if token:
        call.add_header("X-Vault-Token", token)
    for name, value in (headers or {}).items():
        call.add_header(name, value)
    tls = ssl.create_default_context(cafile=CA_CERT) if CA_CERT and address.startswith("https") else None
    try:
        with urllib.request.urlopen(call, timeout=TIMEOUT_S, context=tls) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())
