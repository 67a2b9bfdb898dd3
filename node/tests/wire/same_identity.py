"""The same requests about token roles, batch tokens and identity to OpenBao and to Conclave: answers must be the same.

An answer may give a name to something that is each server's own, such as an id; later requests name it as `{name}`, and
in answers it is compared by that name. What differs on purpose stands in DIFFERENT, what only has words of our own in
OWN_WORDS, and either fails when it is no longer so.
"""

import json
import re

from same_answers import OpenBao, leader, plain, refuses_alike
from wire import TOKEN, check, request

ROLE = "/v1/auth/token/roles"
MAKE = "/v1/auth/token/create"
ID = "/v1/identity"
ALL = {"policy": 'path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }'}
CLIENT_TOKEN = "auth.client_token"

# Method, path, body, what the answer gives names to, whose token is used. `None` for what is not there.
STEPS = [
    ("PUT", "/v1/sys/policies/acl/all", ALL),
    # Token roles.
    ("LIST", ROLE), ("GET", ROLE), ("GET", f"{ROLE}/none"), ("DELETE", f"{ROLE}/none"), ("POST", f"{ROLE}/r1", {}), ("GET", f"{ROLE}/r1"),
    ("POST", f"{ROLE}/r2", {"allowed_policies": "a,b", "disallowed_policies": ["C"], "allowed_policies_glob": "x*",
                            "disallowed_policies_glob": "xy*", "orphan": True, "renewable": False, "path_suffix": "suf",
                            "token_bound_cidrs": ["127.0.0.1/8", "10.0.0.1"], "token_explicit_max_ttl": "2h",
                            "token_no_default_policy": True, "token_num_uses": 3, "token_period": "30m",
                            "token_type": "service", "allowed_entity_aliases": "e1,E2*", "bogus": 1}),
    ("GET", f"{ROLE}/r2"), ("POST", f"{ROLE}/r3", {"bound_cidrs": "1.2.3.4", "explicit_max_ttl": 60, "period": 60}), ("GET", f"{ROLE}/r3"),
    ("POST", f"{ROLE}/r4", {"token_type": "batch"}), ("POST", f"{ROLE}/r4", {"token_type": "batch", "orphan": True}),
    ("POST", f"{ROLE}/r4", {"token_type": "batch", "orphan": True, "renewable": False}), ("GET", f"{ROLE}/r4"),
    ("POST", f"{ROLE}/r5", {"token_type": "bogus"}), ("POST", f"{ROLE}/r5", {"token_type": "default-batch"}),
    ("POST", f"{ROLE}/r5", {"token_period": "9h"}), ("POST", f"{ROLE}/r5", {"token_num_uses": 2}), ("POST", f"{ROLE}/r5", {"token_num_uses": -1}),
    ("POST", f"{ROLE}/r5", {"path_suffix": "a/../b"}), ("POST", f"{ROLE}/r5", {"token_period": -1}), ("POST", f"{ROLE}/r5", {"token_bound_cidrs": "zz"}),
    ("POST", f"{ROLE}/UP", {}), ("GET", f"{ROLE}/up"), ("LIST", ROLE), ("DELETE", f"{ROLE}/UP"), ("POST", f"{ROLE}/", {}), ("POST", f"{ROLE}/a/b", {}),
    # Tokens by roles.
    ("POST", f"{MAKE}/none", {}), ("POST", f"{MAKE}/r1", {}), ("POST", f"{MAKE}/r1", {"policies": "a"}, {"t1": CLIENT_TOKEN}),
    ("GET", "/v1/auth/token/lookup-self", None, {}, "{t1}"), ("POST", f"{MAKE}/r1", {"policies": "root"}), ("POST", f"{MAKE}/r1", {"no_parent": True}),
    ("POST", f"{ROLE}/q2", {"allowed_policies": "a,b", "orphan": True, "path_suffix": "suf", "token_period": "30m", "token_num_uses": 3,
                            "renewable": False, "token_bound_cidrs": "127.0.0.0/8"}),
    ("POST", f"{MAKE}/q2", {}), ("POST", f"{MAKE}/q2", {"policies": "c"}), ("POST", f"{MAKE}/q2", {"policies": "a"}, {"t2": CLIENT_TOKEN}),
    ("GET", "/v1/auth/token/lookup-self", None, {}, "{t2}"),
    ("POST", f"{MAKE}/q2", {"policies": "a", "num_uses": 9, "period": "1h", "ttl": "5m", "explicit_max_ttl": "10m", "display_name": "d"}),
    ("POST", f"{ROLE}/q3", {"disallowed_policies": "default,x", "token_explicit_max_ttl": "1h"}), ("POST", f"{MAKE}/q3", {"policies": "x"}),
    ("POST", f"{MAKE}/q3", {"policies": "default"}), ("POST", f"{MAKE}/q3", {"policies": "y", "explicit_max_ttl": "2h"}),
    ("POST", f"{ROLE}/q4", {"allowed_policies_glob": "dev-*", "disallowed_policies_glob": "dev-x*", "token_no_default_policy": True}),
    ("POST", f"{MAKE}/q4", {"policies": "dev-1"}), ("POST", f"{MAKE}/q4", {"policies": "dev-x1"}), ("POST", f"{MAKE}/q4", {"policies": "other"}),
    ("POST", f"{MAKE}/q4", {}), ("POST", f"{MAKE}/q4", {"policies": "root"}),
    ("POST", MAKE, {"policies": "a", "ttl": "90m", "explicit_max_ttl": "1h"}), ("POST", MAKE, {"policies": "a", "explicit_max_ttl": "3601s", "ttl": "99999s"}),
    ("POST", MAKE, {"policies": "a", "period": "2h", "explicit_max_ttl": "1h"}), ("POST", MAKE, {"policies": "a", "period": "9999h"}),
    ("POST", MAKE, {"policies": "a", "id": "s.abcdef"}), ("POST", MAKE, {"role_name": "r1", "policies": "a"}),
    # Batch tokens.
    ("POST", MAKE, {"type": "weird"}), ("POST", MAKE, {"type": "batch"}), ("POST", MAKE, {"type": "batch", "policies": "root"}),
    ("POST", MAKE, {"type": "batch", "policies": "a", "period": "1h"}), ("POST", MAKE, {"type": "batch", "policies": "a", "explicit_max_ttl": "1h"}),
    ("POST", MAKE, {"type": "batch", "policies": "a", "num_uses": 1}), ("POST", MAKE, {"type": "batch", "policies": "a", "renewable": True}),
    ("POST", MAKE, {"type": "batch", "policies": "a", "no_parent": True}), ("POST", MAKE, {"type": "batch", "policies": "a", "ttl": "99999h"}),
    ("POST", f"{MAKE}-orphan", {"type": "batch", "policies": "all"}), ("POST", f"{MAKE}/r4", {"policies": "all"}), ("POST", f"{MAKE}/r4", {"type": "service"}),
    ("POST", MAKE, {"type": "batch", "policies": "all", "ttl": "1h", "meta": {"a": "b"}}, {"batch": CLIENT_TOKEN}),
    ("GET", "/v1/auth/token/lookup-self", None, {}, "{batch}"), ("POST", "/v1/auth/token/lookup", {"token": "{batch}"}),
    ("POST", "/v1/auth/token/renew-self", {}, {}, "{batch}"), ("POST", "/v1/auth/token/renew", {"token": "{batch}"}),
    ("POST", "/v1/auth/token/revoke-self", None, {}, "{batch}"), ("POST", "/v1/auth/token/revoke", {"token": "{batch}"}),
    ("POST", "/v1/auth/token/revoke-orphan", {"token": "{batch}"}), ("POST", MAKE, {}, {}, "{batch}"), ("POST", f"{MAKE}-orphan", {}, {}, "{batch}"),
    ("POST", "/v1/sys/capabilities", {"token": "{batch}", "path": "x"}), ("GET", "/v1/auth/token/lookup-self", None, {}, "{batch}x"),
    ("POST", "/v1/auth/token/lookup", {"token": "b.AAAAAAAAAAAA"}), ("POST", "/v1/auth/token/tidy"), ("GET", "/v1/auth/token/tidy"),
    ("POST", MAKE, {"policies": "all"}, {"parent": CLIENT_TOKEN}), ("POST", MAKE, {"type": "batch", "policies": "all"}, {"child": CLIENT_TOKEN}, "{parent}"),
    ("GET", "/v1/auth/token/lookup-self", None, {}, "{child}"), ("POST", "/v1/auth/token/revoke", {"token": "{parent}"}),
    ("GET", "/v1/auth/token/lookup-self", None, {}, "{child}"),
    # Entities.
    ("LIST", f"{ID}/entity/id"), ("LIST", f"{ID}/entity/name"), ("GET", f"{ID}/entity/id/nope"), ("GET", f"{ID}/entity/name/nope"),
    ("DELETE", f"{ID}/entity/id/nope"), ("DELETE", f"{ID}/entity/name/nope"),
    ("POST", f"{ID}/entity", {"name": "Alice", "metadata": {"a": "b"}, "policies": ["P1", "p2"], "bogus": 1}, {"alice": "data.id"}),
    ("GET", f"{ID}/entity/name/Alice"), ("GET", f"{ID}/entity/id/{{alice}}"), ("POST", f"{ID}/entity", {"name": "alice", "metadata": {"c": "d"}}),
    ("GET", f"{ID}/entity/name/ALICE"), ("POST", f"{ID}/entity/id/{{alice}}", {"name": "bob", "disabled": True}), ("GET", f"{ID}/entity/id/{{alice}}"),
    ("POST", f"{ID}/entity/name/carol", {"metadata": ["x=z"]}, {"carol": "data.id"}), ("GET", f"{ID}/entity/name/carol"),
    ("POST", f"{ID}/entity/id/{{alice}}", {"name": "carol"}), ("POST", f"{ID}/entity", {"id": "0000", "name": "zzz"}), ("POST", f"{ID}/entity/id/0000", {}),
    ("POST", f"{ID}/entity", {"policies": "root"}), ("POST", f"{ID}/entity", {"policies": "Root "}), ("POST", f"{ID}/entity", {"metadata": "k"}),
    ("POST", f"{ID}/entity", {"metadata": {"": "v"}}), ("POST", f"{ID}/entity", {"name": "a/b"}, {"slash": "data.id"}), ("GET", f"{ID}/entity/name/a/b"),
    ("LIST", f"{ID}/entity/id"), ("LIST", f"{ID}/entity/name"), ("GET", f"{ID}/entity"), ("GET", f"{ID}/entity/id"), ("GET", f"{ID}/nothing"), ("GET", ID),
    ("POST", f"{ID}/entity/batch-delete", {}), ("POST", f"{ID}/entity/batch-delete", {"entity_ids": "x,{slash}"}), ("GET", f"{ID}/entity/id/{{slash}}"),
    ("POST", f"{ID}/lookup/entity", {}), ("POST", f"{ID}/lookup/entity", {"name": "carol"}), ("POST", f"{ID}/lookup/entity", {"id": "none"}),
    ("POST", f"{ID}/lookup/entity", {"alias_name": "none"}), ("POST", f"{ID}/lookup/entity", {"alias_name": "none", "alias_mount_accessor": "zz"}),
    ("POST", f"{ID}/lookup/entity", {"name": "none", "id": "x"}),
    # Tokens of entities, by the only mount that both have.
    ("POST", MAKE, {"policies": "a", "entity_alias": "x"}), ("POST", f"{MAKE}/r1", {"policies": "a", "entity_alias": "x"}),
    ("POST", f"{ROLE}/people", {"allowed_entity_aliases": "dave,team-*", "allowed_policies": "all"}), ("POST", f"{MAKE}/people", {"entity_alias": "x"}),
    ("POST", f"{MAKE}/people", {"entity_alias": "Dave"}, {"dave_token": CLIENT_TOKEN, "dave": "auth.entity_id"}),
    ("GET", f"{ID}/entity/id/{{dave}}", None, {"mount": "data.aliases.0.mount_accessor", "dave_alias": "data.aliases.0.id", "dave_name": "data.name"}),
    ("GET", f"{ID}/entity-alias/id/{{dave_alias}}"), ("LIST", f"{ID}/entity-alias/id"), ("LIST", f"{ID}/entity/id"),
    ("POST", f"{ID}/entity/id/{{dave}}", {"policies": "idpol"}),
    ("POST", f"{ID}/group", {"name": "gg", "policies": "gpol", "member_entity_ids": ["{dave}"]}, {"gg": "data.id"}),
    ("GET", "/v1/auth/token/lookup-self", None, {}, "{dave_token}"), ("POST", "/v1/auth/token/renew-self", None, {}, "{dave_token}"),
    ("POST", MAKE, {}, {}, "{dave_token}"), ("POST", f"{MAKE}-orphan", {}, {}, "{dave_token}"), ("POST", MAKE, {"type": "batch"}, {"dave_batch": CLIENT_TOKEN}, "{dave_token}"),
    ("GET", f"{ID}/entity/id/{{dave}}"), ("POST", f"{ID}/entity/id/{{dave}}", {"disabled": True}), ("GET", "/v1/auth/token/lookup-self", None, {}, "{dave_token}"),
    ("GET", "/v1/auth/token/lookup-self", None, {}, "{dave_batch}"), ("POST", "/v1/auth/token/lookup", {"token": "{dave_token}"}),
    ("POST", "/v1/sys/capabilities", {"token": "{dave_token}", "path": "x"}), ("POST", f"{MAKE}/people", {"entity_alias": "dave"}),
    ("POST", f"{ID}/entity/id/{{dave}}", {"disabled": False}), ("GET", "/v1/auth/token/lookup-self", None, {}, "{dave_token}"),
    # Aliases.
    ("POST", f"{ID}/entity-alias", {}), ("POST", f"{ID}/entity-alias", {"name": "u"}), ("POST", f"{ID}/entity-alias", {"name": "u", "mount_accessor": "zz"}),
    ("POST", f"{ID}/entity-alias", {"name": "u", "mount_accessor": "{mount}", "canonical_id": "zz"}),
    ("POST", f"{ID}/entity-alias", {"name": "u", "mount_accessor": "{mount}", "canonical_id": "{carol}"}, {"u": "data.id"}),
    ("POST", f"{ID}/entity-alias", {"name": "u", "mount_accessor": "{mount}"}), ("GET", f"{ID}/entity/id/{{carol}}"),
    ("POST", f"{ID}/entity-alias", {"name": "u2", "mount_accessor": "{mount}", "canonical_id": "{carol}"}),
    ("POST", f"{ID}/entity-alias", {"name": "U", "mount_accessor": "{mount}", "canonical_id": "{alice}"}), ("GET", f"{ID}/entity/id/{{alice}}"),
    ("POST", f"{ID}/entity-alias/id/{{u}}", {"name": "renamed"}), ("POST", f"{ID}/entity-alias/id/{{u}}", {}), ("POST", f"{ID}/entity-alias/id/none", {"name": "r"}),
    ("POST", f"{ID}/entity-alias/id/{{u}}", {"name": "renamed", "mount_accessor": "{mount}", "canonical_id": "{dave}"}),
    ("POST", f"{ID}/lookup/entity", {"alias_id": "{u}"}), ("POST", f"{ID}/lookup/entity", {"alias_name": "renamed", "alias_mount_accessor": "{mount}"}),
    ("GET", f"{ID}/entity-alias/id/none"), ("DELETE", f"{ID}/entity-alias/id/{{u}}"), ("DELETE", f"{ID}/entity-alias/id/{{u}}"), ("GET", f"{ID}/entity/id/{{alice}}"),
    # Groups.
    ("POST", f"{ID}/group", {"name": "G1", "policies": "a,B", "metadata": {"x": "y"}, "member_entity_ids": ["{carol}"]}, {"g1": "data.id"}),
    ("GET", f"{ID}/group/name/g1"), ("POST", f"{ID}/group", {"name": "g1", "policies": "z"}), ("GET", f"{ID}/group/id/{{g1}}"),
    ("POST", f"{ID}/group", {"name": "g2", "policies": "z", "member_group_ids": ["{g1}"]}, {"g2": "data.id"}),
    ("POST", f"{ID}/group/id/{{g1}}", {"member_group_ids": ["{g2}"]}), ("GET", f"{ID}/group/id/{{g1}}"), ("GET", f"{ID}/group/id/{{g2}}"), ("GET", f"{ID}/entity/id/{{carol}}"),
    ("POST", f"{ID}/group", {"name": "ext", "type": "external", "policies": "e"}, {"ext": "data.id"}), ("GET", f"{ID}/group/name/ext"),
    ("POST", f"{ID}/group", {"name": "ext", "member_entity_ids": ["{carol}"]}), ("POST", f"{ID}/group", {"name": "ext", "type": "internal"}),
    ("POST", f"{ID}/group", {"name": "ext3", "type": "weird"}), ("POST", f"{ID}/group", {"name": "ext5", "type": "external", "member_group_ids": ["{g1}"]}),
    ("POST", f"{ID}/group", {"policies": "root"}), ("POST", f"{ID}/group/id/nope", {"policies": "x"}), ("POST", f"{ID}/group", {"id": "{g1}", "name": "g2"}),
    ("POST", f"{ID}/group-alias", {}), ("POST", f"{ID}/group-alias", {"name": "ga"}),
    ("POST", f"{ID}/group-alias", {"name": "ga", "mount_accessor": "{mount}", "canonical_id": "{g1}"}),
    ("POST", f"{ID}/group-alias", {"name": "ga", "mount_accessor": "zz", "canonical_id": "{ext}"}),
    ("POST", f"{ID}/group-alias", {"name": "ga", "mount_accessor": "{mount}", "canonical_id": "nope"}),
    ("POST", f"{ID}/group-alias", {"name": "ga", "mount_accessor": "{mount}", "canonical_id": "{ext}"}, {"ga": "data.id"}),
    ("GET", f"{ID}/group/name/ext"), ("LIST", f"{ID}/group-alias/id"), ("GET", f"{ID}/group-alias/id/{{ga}}"), ("GET", f"{ID}/group-alias/id/nope"),
    ("POST", f"{ID}/group-alias/id/{{ga}}", {"name": "ga3"}), ("POST", f"{ID}/group-alias/id/nope", {"name": "ga3"}),
    ("POST", f"{ID}/group", {"name": "ext2", "type": "external"}, {"ext2": "data.id"}),
    ("POST", f"{ID}/group-alias", {"name": "ga", "mount_accessor": "{mount}", "canonical_id": "{ext2}"}),
    ("LIST", f"{ID}/group/id"), ("LIST", f"{ID}/group/name"), ("POST", f"{ID}/lookup/group", {}), ("POST", f"{ID}/lookup/group", {"name": "g2"}),
    ("POST", f"{ID}/lookup/group", {"alias_id": "{ga}"}), ("POST", f"{ID}/lookup/group", {"name": "nope"}), ("DELETE", f"{ID}/group-alias/id/{{ga}}"),
    ("DELETE", f"{ID}/group-alias/id/nope"), ("POST", f"{ID}/group/name/byname", {"policies": "x"}, {"byname": "data.id"}), ("DELETE", f"{ID}/group/name/byname"),
    ("DELETE", f"{ID}/group/id/{{g1}}"), ("GET", f"{ID}/group/id/{{g2}}"), ("GET", f"{ID}/group/id/{{g1}}"), ("GET", f"{ID}/group"),
    # Merging.
    ("POST", f"{ID}/entity/merge", {}), ("POST", f"{ID}/entity/merge", {"to_entity_id": "{carol}"}), ("POST", f"{ID}/entity/merge", {"from_entity_ids": ["{dave}"]}),
    ("POST", f"{ID}/entity/merge", {"from_entity_ids": ["{carol}"], "to_entity_id": "{carol}"}),
    ("POST", f"{ID}/entity/merge", {"from_entity_ids": ["nope"], "to_entity_id": "{carol}"}),
    ("POST", f"{ID}/entity/merge", {"from_entity_ids": ["{dave}"], "to_entity_id": "nope"}),
    ("POST", f"{ID}/entity/merge", {"from_entity_ids": ["{dave}"], "to_entity_id": "{carol}"}), ("GET", f"{ID}/entity/id/{{carol}}"),
    ("GET", f"{ID}/entity/id/{{dave}}"), ("GET", f"{ID}/group/id/{{gg}}"), ("GET", "/v1/auth/token/lookup-self", None, {}, "{dave_token}"),
    ("DELETE", f"{ID}/entity/id/{{carol}}"), ("GET", "/v1/auth/token/lookup-self", None, {}, "{dave_token}"), ("DELETE", f"{ID}/entity/name/bob"),
]

# Refusals with the same status whose sentence is Conclave's own: OpenBao repeats the value, or speaks of Go's types.
OWN_WORDS = {
    f"GET {ROLE}", f"GET {ID}/entity", f"GET {ID}/entity/id", f"GET {ID}/group", f"GET {ID}/nothing", f"GET {ID}", "GET /v1/auth/token/tidy",
    f'POST {ROLE}/r5 {{"token_type": "bogus"}}', f'POST {ROLE}/r5 {{"token_period": -1}}', f'POST {ROLE}/r5 {{"token_bound_cidrs": "zz"}}',
    f'POST {ROLE}/r5 {{"token_num_uses": -1}}', f"POST {ROLE}/a/b {{}}",
    f'POST {ID}/entity {{"metadata": "k"}}', f'POST {ID}/entity-alias {{"name": "u", "mount_accessor": "zz"}}',
    f'POST {ID}/group {{"name": "ext3", "type": "weird"}}', f'POST {ID}/group-alias {{"name": "ga", "mount_accessor": "zz", "canonical_id": "{{ext}}"}}',
    'POST /v1/sys/capabilities {"token": "{dave_token}", "path": "x"}', f'POST {MAKE}/people {{"entity_alias": "dave"}}',
}

# What Conclave answers otherwise on purpose, and why.
DIFFERENT = {
    "POST /v1/auth/token/tidy": "the warning says what tidying does here",
    "GET /v1/auth/token/lookup-self as {t2}": "a role's period is the token's own from when it is made, and is shown",
    "GET /v1/auth/token/lookup-self as {batch}x": "a token that was copied wrongly is a stranger's and no fault of the server",
    f"GET {ID}/group/id/{{gg}}": "who is in a group is not written into its record, so that a merge does not change that",
    f'POST {ID}/entity {{"metadata": {{"": "v"}}}}': "whoever sends bad metadata is told so with 400 and not with 500",
}

# Members whose values belong to one server or one moment.
MOMENTS = {"creation_time", "last_update_time", "issue_time", "expire_time", "last_renewal", "last_renewal_time", "ttl", "accessor", "client_token"}
# The last part of the id of a token's lease.
HASH = re.compile(r"\bh[0-9a-f]{64}\b")
# Said of a token that has lasted for a second already.
CAPPED = "exceeded the effective max_ttl"
# Lists whose order is that of ids.
UNORDERED = {"keys", "group_ids", "direct_group_ids", "inherited_group_ids", "member_entity_ids", "member_group_ids"}


class Server:
    """One of the two, and what its answers gave names to."""

    def __init__(self, address, token):
        self.address = address
        self.token = token
        self.names = {}

    def fill(self, text):
        for name, value in self.names.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    def ask(self, step):
        method, path, body, gives, token, *more = (*step, *(None, {}, None)[len(step) - 2:])
        body = body if body is None else self.fill(json.dumps(body))
        answer = self.send(method, self.fill(path), body, self.fill(token) if token else self.token, *more)
        for name, at in gives.items():
            value = answer.json
            try:
                for member in at.split("."):
                    value = value[int(member)] if isinstance(value, list) else value[member]
            except (KeyError, TypeError, IndexError):
                # It was refused: the comparison tells by whom.
                value = f"no {name}"
            self.names[name] = value
        return answer

    def send(self, method, path, body, token):
        return request(self.address, method, path, body, token)

    def seen(self, answer):
        text = answer.body.decode(errors="replace")
        # The longest first: one name may stand in another's value.
        for name, value in sorted(self.names.items(), key=lambda pair: -len(pair[1])):
            text = text.replace(json.dumps(value)[1:-1], f"{{{name}}}")
        return answer.status, timeless(plain(json.loads(text))) if text else None


def timeless(value, key=None):
    if isinstance(value, dict):
        # OpenBao has either for nothing, depending on where it took the entity from.
        if not value and key in ("custom_metadata", "metadata"):
            return None
        return {name: timeless(member, name) for name, member in value.items()}
    if isinstance(value, list):
        members = [timeless(member) for member in value if not (key == "warnings" and CAPPED in member)]
        if key == "warnings":
            return members or None
        return sorted(members) if key in UNORDERED else members
    if key == "lease_duration":
        # A second may have passed since the token was made, at one of the two.
        return round(value / 60) * 60
    if key in MOMENTS and value not in ("", None, 0):
        return f"<{key}>"
    # What names the lease of a token, where nothing was given a name to.
    return HASH.sub("<hash>", value) if isinstance(value, str) else value


def compare(steps, own_words, different, server=Server):
    # Of a request that is made more than once it is enough that one answer differs.
    findings, met, differed = [], set(), set()
    with OpenBao() as openbao:
        servers = [server(openbao.address, openbao.token), server(leader(), TOKEN)]
        for step in steps:
            name = f"{step[0]} {step[1]}" + (f" {json.dumps(step[2])}" if len(step) > 2 and step[2] is not None else "")
            name += f" as {step[4]}" if len(step) > 4 and step[4] else ""
            name += f" with {' '.join(step[5])}" if len(step) > 5 else ""
            answers = [server.ask(step) for server in servers]
            theirs, ours = (server.seen(answer) for server, answer in zip(servers, answers))
            listed = name in different or name in own_words
            if listed:
                met.add(name)
            if theirs == ours:
                continue
            differed.add(name)
            if name not in different and not (name in own_words and refuses_alike(*answers)):
                findings.append(f"{name}\n    OpenBao  {json.dumps(theirs, sort_keys=True)}\n    Conclave {json.dumps(ours, sort_keys=True)}")
    unused = (own_words | set(different)) - met
    check(not unused, f"listed but never asked: {sorted(unused)}")
    findings += [f"{name} is no longer different: take it off the list" for name in sorted(met - differed)]
    check(not findings, f"{len(findings)} answers differ:\n  " + "\n  ".join(findings))


if __name__ == "__main__":
    compare(STEPS, OWN_WORDS, DIFFERENT)
