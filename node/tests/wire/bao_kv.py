"""`bao kv ...` at every node, each read made at another node than the write before it: no node may be stale."""

import json

from wire import NODES, bao, bao_json, check, equal, run_bao


def main():
    for number, node in enumerate(NODES):
        other = NODES[(number + 1) % len(NODES)]
        versions(node, other, f"compat/{node['id']}/password")
        metadata(node, other, f"compat/{node['id']}/described")
        lists(node, other, f"compat/{node['id']}/tree")
        refusals(node)


def versions(node, other, path):
    made = bao_json(node, "kv", "put", "-mount=secret", path, "user=ada", "password=first")
    equal(made["data"]["version"], 1, "the first version")
    read = bao_json(other, "kv", "get", "-mount=secret", path)
    equal(read["data"]["data"], {"user": "ada", "password": "first"}, "read at another node")
    equal(read["data"]["metadata"]["version"], 1, "its version")
    equal(bao(other, "kv", "get", "-field=password", f"secret/{path}"), "first", "the path with its mount")

    bao(node, "kv", "patch", "-mount=secret", path, "password=second")
    equal(bao_json(other, "kv", "get", "-mount=secret", path)["data"]["data"],
          {"user": "ada", "password": "second"}, "after patch")
    bao(node, "kv", "patch", "-method=rw", "-mount=secret", path, "password=third")
    equal(bao(other, "kv", "get", "-mount=secret", "-field=password", "-version=2", path), "second", "an old version")

    bao(node, "kv", "put", "-mount=secret", "-cas=3", path, "password=fourth")
    refused = bao(other, "kv", "put", "-mount=secret", "-cas=3", path, "password=fifth", code=2)
    check("check-and-set parameter did not match" in refused, f"a wrong cas says why: {refused}")

    bao(node, "kv", "rollback", "-mount=secret", "-version=1", path)
    equal(bao(other, "kv", "get", "-mount=secret", "-field=password", path), "first", "after rollback")

    bao(node, "kv", "delete", "-mount=secret", path)
    gone = bao_json_of_missing(other, path)
    check(gone["data"]["data"] is None and gone["data"]["metadata"]["deletion_time"], "a deleted version says when")
    bao(node, "kv", "undelete", "-mount=secret", "-versions=5", path)
    equal(bao(other, "kv", "get", "-mount=secret", "-field=password", path), "first", "after undelete")
    bao(node, "kv", "destroy", "-mount=secret", "-versions=4,5", path)
    check(bao_json_of_missing(other, path)["data"]["metadata"]["destroyed"], "a destroyed version says so")
    shown = bao_json(other, "kv", "metadata", "get", "-mount=secret", path)["data"]
    equal([shown["versions"][str(n)]["destroyed"] for n in range(1, 6)], [False, False, False, True, True], "destroyed")
    bao(node, "kv", "metadata", "delete", "-mount=secret", path)
    check("No value found" in bao(other, "kv", "get", "-mount=secret", path, code=2), "all versions are gone")


def bao_json_of_missing(node, path):
    """`bao kv get` of a deleted version prints its metadata all the same."""
    done = run_bao(node, "kv", "get", "-mount=secret", path, form="json")
    check(done.stdout.strip(), f"bao prints the metadata of a deleted version: {done.stderr}")
    return json.loads(done.stdout)


def metadata(node, other, path):
    bao(node, "kv", "metadata", "put", "-mount=secret", "-max-versions=2", "-custom-metadata=team=payment",
        "-delete-version-after=3h", path)
    for word in ("one", "two", "three"):
        bao(node, "kv", "put", "-mount=secret", path, f"word={word}")
    shown = bao_json(other, "kv", "metadata", "get", "-mount=secret", path)["data"]
    equal(shown["custom_metadata"], {"team": "payment"}, "custom metadata")
    equal(shown["max_versions"], 2, "max_versions")
    equal(shown["delete_version_after"], "3h0m0s", "delete_version_after")
    equal((shown["current_version"], shown["oldest_version"]), (3, 2), "old versions are dropped")
    equal(sorted(shown["versions"]), ["2", "3"], "the versions that are kept")
    bao(node, "kv", "metadata", "patch", "-mount=secret", "-custom-metadata=stage=test", path)
    equal(bao_json(other, "kv", "metadata", "get", "-mount=secret", path)["data"]["custom_metadata"],
          {"team": "payment", "stage": "test"}, "patched custom metadata")
    bao(node, "kv", "metadata", "delete", "-mount=secret", path)


def lists(node, other, folder):
    for name in ("a", "b/c", "b/d/e"):
        bao(node, "kv", "put", "-mount=secret", f"{folder}/{name}", "x=1")
    equal(bao_json(other, "kv", "list", "-mount=secret", folder), ["a", "b/"], "kv list")
    equal(sorted(bao_json(other, "kv", "scan", "-mount=secret", folder)), ["a", "b/c", "b/d/e"], "kv scan")
    for name in ("a", "b/c", "b/d/e"):
        bao(node, "kv", "metadata", "delete", "-mount=secret", f"{folder}/{name}")
    bao(other, "kv", "list", "-mount=secret", folder, code=2)


def refusals(node):
    check("No value found" in bao(node, "kv", "get", "-mount=secret", "compat/nothing", code=2), "a missing secret")
    check("preflight capability check returned 403" in bao(node, "kv", "get", "nomount/x", code=2), "a missing mount")


main()
