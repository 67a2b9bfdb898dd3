"""hvac, as a Python service would use it, at every node."""

import hvac

from wire import CA_CERT, NODES, TOKEN, check, equal


def main():
    for number, node in enumerate(NODES):
        other = client(NODES[(number + 1) % len(NODES)])
        secrets(client(node), other)
        system(client(node), number)
        refusals(node)


def client(node, token=TOKEN):
    return hvac.Client(url=node["api_addr"], token=token, verify=CA_CERT or True)


def secrets(here, there):
    check(here.is_authenticated(), "the root token is known")
    kv = here.secrets.kv.v2
    kv.create_or_update_secret(path="payment/api_key", secret={"api_key": "sk-1", "retries": 3})
    answer = there.secrets.kv.v2.read_secret_version(path="payment/api_key", raise_on_deleted_version=True)
    equal(answer["data"]["data"], {"api_key": "sk-1", "retries": 3}, "read_secret_version at another node")
    version = answer["data"]["metadata"]["version"]

    kv.patch(path="payment/api_key", secret={"retries": 4})
    equal(there.secrets.kv.v2.read_secret(path="payment/api_key", raise_on_deleted_version=True)["data"]["data"],
          {"api_key": "sk-1", "retries": 4}, "after patch")
    equal(there.secrets.kv.v2.list_secrets(path="payment")["data"]["keys"], ["api_key"], "list_secrets")
    metadata = there.secrets.kv.v2.read_secret_metadata(path="payment/api_key")["data"]
    equal(metadata["current_version"], version + 1, "read_secret_metadata")

    kv.delete_latest_version_of_secret(path="payment/api_key")
    deleted = there.secrets.kv.v2.read_secret_version(path="payment/api_key", raise_on_deleted_version=False)
    check(deleted["data"]["data"] is None, "a deleted version has no data")
    kv.undelete_secret_versions(path="payment/api_key", versions=[version + 1])
    kv.destroy_secret_versions(path="payment/api_key", versions=[version])
    versions = there.secrets.kv.v2.read_secret_metadata(path="payment/api_key")["data"]["versions"]
    check(versions[str(version)]["destroyed"] and not versions[str(version + 1)]["destroyed"], "one is destroyed")
    kv.delete_metadata_and_all_versions(path="payment/api_key")
    try:
        there.secrets.kv.v2.read_secret_version(path="payment/api_key", raise_on_deleted_version=True)
    except hvac.exceptions.InvalidPath:
        return
    check(False, "a secret whose metadata was deleted is still there")


def system(here, number):
    check(here.sys.is_initialized() and not here.sys.is_sealed(), "the node is initialised and unsealed")
    check(here.sys.read_health_status(method="GET").status_code in (200, 429) if number else True, "health")
    here.sys.enable_secrets_engine("kv", path=f"hvac-{number}", options={"version": "1"})
    here.secrets.kv.v1.create_or_update_secret(path="a", secret={"x": "y"}, mount_point=f"hvac-{number}")
    equal(here.secrets.kv.v1.read_secret(path="a", mount_point=f"hvac-{number}")["data"], {"x": "y"}, "kv version 1")
    check(f"hvac-{number}/" in here.sys.list_mounted_secrets_engines()["data"], "the mount is listed")
    here.sys.disable_secrets_engine(path=f"hvac-{number}")
    equal(here.sys.read_leader_status()["ha_enabled"], True, "read_leader_status")
    check(here.sys.read_raft_config()["data"]["config"]["servers"], "read_raft_config")


def refusals(node):
    try:
        client(node, "s.thistokendoesnotexist0000").secrets.kv.v2.list_secrets(path="")
    except hvac.exceptions.Forbidden:
        return
    check(False, "a token that does not exist was let in")


main()
