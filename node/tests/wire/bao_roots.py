"""`bao operator generate-root`, `rekey` and `rotate-keys`, and wrapping: as operators type it, at changing nodes."""

from wire import CLUSTER, NODES, bao, bao_json, check, equal


def main():
    keys = CLUSTER["unseal_keys"]
    token = root_token(keys[:3])
    equal(bao_json(NODES[1], "token", "lookup", token)["data"]["policies"], ["root"], "the new token's policies")
    for command in ("rekey", "rotate-keys"):
        keys = verified(command, keys[:needed(command)])
    keys = at_once(keys[:2])
    check(len(keys) == 1, "one key for all")
    cancelled()
    wrapped()


def operator(node, *arguments):
    return bao_json(node, "operator", *arguments)


def root_token(keys):
    otp = bao(NODES[0], "operator", "generate-root", "-generate-otp").strip()
    nonce = operator(NODES[0], "generate-root", "-init", f"-otp={otp}")["nonce"]
    answers = [operator(NODES[number % 3], "generate-root", f"-nonce={nonce}", key) for number, key in enumerate(keys)]
    equal([answer["progress"] for answer in answers], [1, 2, 3], "progress over three nodes")
    check(answers[-1]["complete"] and not operator(NODES[2], "generate-root", "-status")["started"], "it is done")
    return bao(NODES[0], "operator", "generate-root", f"-decode={answers[-1]['encoded_token']}", f"-otp={otp}").strip()


def needed(command):
    return operator(NODES[0], command, "-status")["required"]


def verified(command, keys):
    nonce = operator(NODES[0], command, "-init", "-key-shares=3", "-key-threshold=2", "-verify")["nonce"]
    answers = [operator(NODES[number % 3], command, f"-nonce={nonce}", key) for number, key in enumerate(keys)]
    new, verification = answers[-1]["keys_base64"], answers[-1]["verification_nonce"]
    bao(NODES[1], "operator", command, "-verify", f"-nonce={verification}", new[0])
    bao(NODES[2], "operator", command, "-verify", f"-nonce={verification}", keys[0], code=2)
    bao(NODES[2], "operator", command, "-verify", f"-nonce={verification}", new[2])
    check(not operator(NODES[0], command, "-status")["started"], "it is done")
    return new


def at_once(keys):
    nonce = operator(NODES[2], "rekey", "-init", "-key-shares=1", "-key-threshold=1")["nonce"]
    answers = [operator(NODES[number], "rekey", f"-nonce={nonce}", key) for number, key in enumerate(keys)]
    return answers[-1]["keys_base64"]


def cancelled():
    for command in (["rekey", "-key-shares=1", "-key-threshold=1"], ["generate-root"]):
        operator(NODES[0], command[0], "-init", *command[1:])
        bao(NODES[1], "operator", command[0], "-cancel")
        check(not operator(NODES[2], command[0], "-status")["started"], "it was given up")


def wrapped():
    bao(NODES[0], "kv", "put", "secret/wrapped", "a=b")
    # Its `kv get` takes a wrapped answer for none.
    token = bao(NODES[0], "read", "-wrap-ttl=60s", "-field=wrapping_token", "secret/data/wrapped").strip()
    equal(bao_json(NODES[1], "unwrap", token)["data"]["data"], {"a": "b"}, "what was wrapped")
    bao(NODES[2], "unwrap", token, code=2)
    token = bao(NODES[2], "write", "-wrap-ttl=60s", "-field=wrapping_token", "sys/wrapping/wrap", "c=d").strip()
    equal(bao(NODES[0], "unwrap", "-field=c", token).strip(), "d", "what was sent to be wrapped")
    token = bao(NODES[1], "token", "create", "-wrap-ttl=60s", "-field=wrapping_token").strip()
    check(bao_json(NODES[0], "unwrap", token)["auth"]["client_token"].startswith("s."), "a wrapped token")


main()
