"""`bao secrets`, `bao status`, `bao operator` and `bao token` at every node: what they need is answered as they expect."""

from wire import NODES, TOKEN, bao, bao_json, check, equal, eventually


def main():
    for number, node in enumerate(NODES):
        other = NODES[(number + 1) % len(NODES)]
        mounts(node, other, f"kv-{number}")
        versioned_and_not(node, other, f"plain-{number}")
        cluster(node)
        tokens(node)
    # A busy machine may move it between two questions.
    eventually(lambda: len({bao_json(node, "status")["leader_address"] for node in NODES}) == 1, "all nodes name one leader")


def mounts(node, other, name):
    bao(node, "secrets", "enable", f"-path={name}", "-version=2", "-description=for tests", "kv")
    listed = bao_json(other, "secrets", "list")
    equal(listed[f"{name}/"]["options"], {"version": "2"}, "the mount's options at another node")
    equal(listed[f"{name}/"]["description"], "for tests", "its description")
    check("secret/" in listed and "sys/" in listed, "the other mounts are listed too")
    bao(node, "secrets", "tune", "-description=changed", f"{name}/")
    equal(bao_json(other, "secrets", "list")[f"{name}/"]["description"], "changed", "the tuned description")
    bao(node, "kv", "put", f"-mount={name}", "a", "x=1")
    bao(node, "secrets", "move", f"{name}/", f"{name}-moved/")
    equal(bao(other, "kv", "get", f"-mount={name}-moved", "-field=x", "a"), "1", "a secret after its mount moved")
    bao(node, "secrets", "disable", f"{name}-moved/")
    check(f"{name}-moved/" not in bao_json(other, "secrets", "list"), "a disabled mount is gone at another node")
    check("already in use" in bao(node, "secrets", "enable", "-path=secret", "kv", code=2), "a path in use says so")


def versioned_and_not(node, other, name):
    bao(node, "secrets", "enable", f"-path={name}", "-version=1", "kv")
    bao(node, "kv", "put", f"-mount={name}", "a/b", "x=1")
    equal(bao_json(other, "kv", "get", f"-mount={name}", "a/b")["data"], {"x": "1"}, "an unversioned secret")
    equal(bao_json(other, "kv", "list", f"-mount={name}", "a"), ["b"], "its list")
    bao(node, "kv", "delete", f"-mount={name}", "a/b")
    bao(other, "kv", "get", f"-mount={name}", "a/b", code=2)
    bao(node, "secrets", "disable", f"{name}/")


def cluster(node):
    status = bao_json(node, "status")
    equal((status["initialized"], status["sealed"], status["ha_enabled"]), (True, False, True), "bao status")
    peers = bao_json(node, "operator", "raft", "list-peers")["data"]["config"]["servers"]
    equal(len(peers), len(NODES), "bao operator raft list-peers")
    check(all(peer["voter"] for peer in peers), "every node votes")
    eventually(lambda: leaders_among_peers(node) == 1, "leaders among the peers")
    eventually(lambda: active_members(node) == 1, "active nodes in bao operator members")
    before = bao_json(node, "operator", "key-status")["term"]
    bao(node, "operator", "rotate")
    check(bao_json(node, "operator", "key-status")["term"] > before, "bao operator rotate begins a new term")


def leaders_among_peers(node):
    return sum(peer["leader"] for peer in bao_json(node, "operator", "raft", "list-peers")["data"]["config"]["servers"])


def active_members(node):
    return sum(member["active_node"] for member in bao_json(node, "operator", "members")["Nodes"])


def tokens(node):
    found = bao_json(node, "token", "lookup")["data"]
    equal((found["id"], found["policies"], found["expire_time"]), (TOKEN, ["root"], None), "bao token lookup")


main()
