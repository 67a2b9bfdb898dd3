"""hvac logs in by AWS IAM at every node. moto stands in for AWS: it makes users, keys and sessions, and checks signatures
as STS does."""

import base64
import json
import os
import socket
import subprocess
import sys
import time

import boto3
import hvac
from hvac.aws_utils import SigV4Auth, generate_sigv4_auth_request

from wire import CA_CERT, NODES, TOKEN, check, equal, request

ACCOUNT = "123456789012"
REGION = "us-east-1"
# Requests that moto takes without a signature, to make whom it then knows: see `people`.
UNSIGNED = 3
START_S = 60


def client(node, token=TOKEN):
    return hvac.Client(url=node["api_addr"], token=token, verify=CA_CERT or True)


def start_moto():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": str(UNSIGNED)}
    moto = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], env=environment,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return moto, f"http://127.0.0.1:{port}"
        check(moto.poll() is None, "moto ended")
        time.sleep(0.05)
    moto.kill()
    sys.exit("FAILED: moto does not answer")


def aws(service, url, key):
    return boto3.client(service, endpoint_url=url, region_name=REGION, aws_access_key_id=key[0], aws_secret_access_key=key[1],
                        aws_session_token=key[2] if len(key) > 2 else None)


def people(url):
    """A user with a key, one of no role, and a session of a role."""
    iam = aws("iam", url, ("any", "any"))
    iam.create_user(UserName="ann")
    may_all = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName="ann", PolicyName="all", PolicyDocument=json.dumps(may_all))
    made = iam.create_access_key(UserName="ann")["AccessKey"]
    ann = (made["AccessKeyId"], made["SecretAccessKey"])
    iam = aws("iam", url, ann)
    iam.create_role(RoleName="web", Path="/services/", AssumeRolePolicyDocument=json.dumps(may_all))
    iam.create_user(UserName="eve")
    made = iam.create_access_key(UserName="eve")["AccessKey"]
    eve = (made["AccessKeyId"], made["SecretAccessKey"])
    role = f"arn:aws:iam::{ACCOUNT}:role/services/web"
    session = aws("sts", url, ann).assume_role(RoleArn=role, RoleSessionName="i-1")["Credentials"]
    return ann, eve, (session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])


def log_in(node, key, role="", header=None):
    stranger = client(node, None)
    made = stranger.auth.aws.iam_login(key[0], key[1], session_token=key[2] if len(key) > 2 else None, header_value=header,
                                       role=role, region=REGION)
    return stranger, made["auth"]


def refused(node, key, sentence, **further):
    try:
        log_in(node, key, **further)
    except hvac.exceptions.InvalidRequest as error:
        check(sentence in str(error), f"{sentence!r} is said, not {error}")
        return
    check(False, f"it is refused: {sentence}")


def signed(key):
    """The fields of a login, as hvac signs them."""
    made = generate_sigv4_auth_request()
    SigV4Auth(key[0], key[1], None, REGION).add_auth(made)
    return made


def fields(made, **changed):
    values = {"url": made.url, "body": made.body, "headers": json.dumps(dict(made.headers)), **changed}
    coded = {f"iam_request_{name}": base64.b64encode(value.encode()).decode() for name, value in values.items()}
    return {"iam_http_request_method": "POST", "role": "ann", **coded}


def tampered(node, ann):
    """What was signed is passed on as it was, or not at all."""
    made = signed(ann)
    url = f"{node['api_addr']}"
    answer = request(url, "POST", "/v1/auth/aws/login", fields(made), token=None)
    equal(answer.status, 200, "untouched it is a login")
    later = dict(made.headers)
    later["X-Amz-Date"] = "20200101T000000Z"
    for changed in [
        {"headers": json.dumps(later)},
        {"headers": json.dumps({**made.headers, "Content-Type": "application/x-www-form-urlencoded"})},
        {"headers": json.dumps({**made.headers, "X-Amz-Target": "x"})},
        {"headers": json.dumps({**made.headers, "Host": "iam.amazonaws.com"})},
        {"body": "Action=AssumeRole&Version=2011-06-15"},
        {"body": made.body + "&Action=GetCallerIdentity"},
        {"url": made.url + "?Action=GetCallerIdentity"},
        {"url": "https://iam.amazonaws.com/"},
    ]:
        answer = request(url, "POST", "/v1/auth/aws/login", fields(made, **changed), token=None)
        equal(answer.status, 400, f"changed: {changed}")


def main():
    moto, url = start_moto()
    try:
        ann, eve, session = people(url)
        root = client(NODES[0])
        root.sys.enable_auth_method("aws", path="aws")
        root.auth.aws.configure(sts_endpoint=url)
        equal(root.auth.aws.read_config()["sts_endpoint"], url, "the setting")
        arn = f"arn:aws:iam::{ACCOUNT}"
        root.auth.aws.create_role("ann", auth_type="iam", bound_iam_principal_arn=f"{arn}:user/ann", resolve_aws_unique_ids=False,
                                  policies=["default"], ttl="10m")
        root.auth.aws.create_role("web", auth_type="iam", bound_iam_principal_arn=f"{arn}:role/web", resolve_aws_unique_ids=False)
        equal(root.auth.aws.list_roles()["keys"], ["ann", "web"], "roles")
        equal(root.auth.aws.read_role("ann")["bound_iam_principal_arn"], [f"{arn}:user/ann"], "the bound principal")
        for node in NODES:
            stranger, auth = log_in(node, ann)
            equal((auth["metadata"]["account_id"], auth["metadata"]["auth_type"], auth["lease_duration"]), (ACCOUNT, "iam", 600), "auth")
            told = stranger.auth.token.lookup_self()["data"]
            equal((told["display_name"], told["path"]), ("aws-ann", "auth/aws/login"), "the token")
            stranger.auth.token.renew_self()
            stranger, _ = log_in(node, session, role="web")
            equal(stranger.auth.token.lookup_self()["data"]["display_name"], "aws-web/i-1", "an assumed role")
            refused(node, (ann[0], "wrong" * 8), "received error code 403 from STS")
            refused(node, ("AKIANOBODY", ann[1]), "received error code 403 from STS")
            refused(node, eve, "entry for the role not found")
            refused(node, eve, "does not belong to the role", role="ann")
            refused(node, session, "does not belong to the role", role="ann")
            tampered(node, ann)
        root.auth.aws.configure(iam_server_id_header_value="vault.example")
        for node in NODES:
            refused(node, ann, "missing header")
            refused(node, ann, "another value", header="other.example")
            log_in(node, ann, header="vault.example")
        root.auth.aws.configure_identity_integration(iam_alias="full_arn")
        equal(root.auth.aws.read_identity_integration()["iam_alias"], "full_arn", "the alias")
        stranger, auth = log_in(NODES[-1], session, role="web", header="vault.example")
        entity = root.secrets.identity.read_entity(auth["entity_id"])["data"]
        equal([alias["name"] for alias in entity["aliases"]], [f"arn:aws:sts::{ACCOUNT}:assumed-role/web/i-1"], "the alias of a session")
        moto.terminate()
        moto.wait()
        try:
            log_in(NODES[0], ann, header="vault.example")
            check(False, "nobody vouches for him")
        except hvac.exceptions.BadGateway:
            pass
        root.auth.aws.delete_role("web")
        try:
            stranger.auth.token.renew_self()
            check(False, "its role is gone")
        except hvac.exceptions.InvalidRequest:
            pass
    finally:
        moto.kill()


main()
