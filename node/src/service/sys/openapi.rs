//! The API's description, made from the route table, so that it cannot say what is not there.

use conclave_core::plan::Operation;
use serde_json::{Map, Value, json};

use crate::node::VERSION;
use crate::service::route::routes;

/// The operations of a KV engine, per mount type, below `/{mount}`.
const ENGINE_PATHS: &[(&str, &[Operation], &str)] = &[
    (
        "/{secret_mount_path}/data/{path}",
        &[Operation::Read, Operation::Write, Operation::Patch, Operation::Delete],
        "KV v2: a secret's versions.",
    ),
    ("/{secret_mount_path}/delete/{path}", &[Operation::Write], "KV v2: delete versions, recoverably."),
    ("/{secret_mount_path}/undelete/{path}", &[Operation::Write], "KV v2: recover deleted versions."),
    ("/{secret_mount_path}/destroy/{path}", &[Operation::Write], "KV v2: destroy versions for good."),
    (
        "/{secret_mount_path}/metadata/{path}",
        &[Operation::Read, Operation::Write, Operation::Patch, Operation::Delete, Operation::List],
        "KV v2: a secret's metadata, and listing.",
    ),
    (
        "/{secret_mount_path}/subkeys/{path}",
        &[Operation::Read],
        "KV v2: a secret's keys without their values.",
    ),
    ("/{secret_mount_path}/config", &[Operation::Read, Operation::Write], "KV v2: the mount's defaults."),
    (
        "/cubbyhole/{path}",
        &[Operation::Read, Operation::Write, Operation::Delete, Operation::List],
        "What the caller's token keeps for itself.",
    ),
    (
        "/{secret_mount_path}/{path}",
        &[Operation::Read, Operation::Write, Operation::Delete, Operation::List],
        "KV v1: a secret, and listing.",
    ),
];

/// The operations of login methods, below `/auth/{mount}`, and whether they need no token.
const AUTH_PATHS: &[(&str, &[Operation], bool, &str)] = &[
    ("/auth/{userpass_mount_path}/login/{username}", &[Operation::Write], true, "userpass: log in."),
    ("/auth/{userpass_mount_path}/users", &[Operation::List], false, "userpass: names of all users."),
    (
        "/auth/{userpass_mount_path}/users/{username}",
        &[Operation::Read, Operation::Write, Operation::Delete],
        false,
        "userpass: a user.",
    ),
    (
        "/auth/{userpass_mount_path}/users/{username}/password",
        &[Operation::Write],
        false,
        "userpass: another password.",
    ),
    (
        "/auth/{userpass_mount_path}/users/{username}/policies",
        &[Operation::Write],
        false,
        "userpass: other policies.",
    ),
    ("/auth/{approle_mount_path}/login", &[Operation::Write], true, "approle: log in."),
    ("/auth/{approle_mount_path}/role", &[Operation::List], false, "approle: names of all roles."),
    (
        "/auth/{approle_mount_path}/role/{role_name}",
        &[Operation::Read, Operation::Write, Operation::Delete],
        false,
        "approle: a role.",
    ),
    (
        "/auth/{approle_mount_path}/role/{role_name}/{field}",
        &[Operation::Read, Operation::Write, Operation::Delete],
        false,
        "approle: one setting of a role.",
    ),
    (
        "/auth/{approle_mount_path}/role/{role_name}/secret-id",
        &[Operation::Write, Operation::List],
        false,
        "approle: a new secret id, and accessors of all.",
    ),
    (
        "/auth/{approle_mount_path}/role/{role_name}/custom-secret-id",
        &[Operation::Write],
        false,
        "approle: a secret id of your own.",
    ),
    (
        "/auth/{approle_mount_path}/role/{role_name}/secret-id/lookup",
        &[Operation::Write],
        false,
        "approle: what is known of a secret id.",
    ),
    (
        "/auth/{approle_mount_path}/role/{role_name}/secret-id/destroy",
        &[Operation::Write, Operation::Delete],
        false,
        "approle: end a secret id.",
    ),
    (
        "/auth/{approle_mount_path}/role/{role_name}/secret-id-accessor/lookup",
        &[Operation::Write],
        false,
        "approle: what is known of the secret id with this accessor.",
    ),
    (
        "/auth/{approle_mount_path}/role/{role_name}/secret-id-accessor/destroy",
        &[Operation::Write, Operation::Delete],
        false,
        "approle: end the secret id with this accessor.",
    ),
    ("/auth/{approle_mount_path}/tidy/secret-id", &[Operation::Write], false, "approle: nothing to do."),
    (
        "/auth/{jwt_mount_path}/config",
        &[Operation::Read, Operation::Write],
        false,
        "jwt: whose tokens are taken.",
    ),
    ("/auth/{jwt_mount_path}/role", &[Operation::List], false, "jwt: names of all roles."),
    (
        "/auth/{jwt_mount_path}/role/{name}",
        &[Operation::Read, Operation::Write, Operation::Delete],
        false,
        "jwt: a role.",
    ),
    (
        "/auth/{jwt_mount_path}/login",
        &[Operation::Write],
        true,
        "jwt: log in with a token of a trusted signer.",
    ),
    (
        "/auth/{jwt_mount_path}/oidc/auth_url",
        &[Operation::Write],
        true,
        "jwt: where to log in at the provider.",
    ),
    ("/auth/{jwt_mount_path}/oidc/callback", &[Operation::Read], true, "jwt: back from the provider."),
    (
        "/auth/{kubernetes_mount_path}/config",
        &[Operation::Read, Operation::Write],
        false,
        "kubernetes: which cluster is asked.",
    ),
    ("/auth/{kubernetes_mount_path}/role", &[Operation::List], false, "kubernetes: names of all roles."),
    (
        "/auth/{kubernetes_mount_path}/role/{name}",
        &[Operation::Read, Operation::Write, Operation::Delete],
        false,
        "kubernetes: a role.",
    ),
    (
        "/auth/{kubernetes_mount_path}/login",
        &[Operation::Write],
        true,
        "kubernetes: log in with a service account's token.",
    ),
    ("/auth/{cert_mount_path}/login", &[Operation::Write], true, "cert: log in."),
    ("/auth/{cert_mount_path}/certs", &[Operation::List], false, "cert: names of all roles."),
    (
        "/auth/{cert_mount_path}/certs/{name}",
        &[Operation::Read, Operation::Write, Operation::Delete],
        false,
        "cert: a role.",
    ),
    ("/auth/{cert_mount_path}/config", &[Operation::Read, Operation::Write], false, "cert: settings."),
    ("/auth/{cert_mount_path}/crls", &[Operation::List], false, "cert: names of all CRLs."),
    (
        "/auth/{cert_mount_path}/crls/{name}",
        &[Operation::Read, Operation::Write, Operation::Delete],
        false,
        "cert: certificates that were revoked.",
    ),
];

pub fn document() -> Value {
    let mut paths = Map::new();
    for route in routes() {
        let path = format!("/{}", route.pattern().replace('*', "{path}").replace(":id", "{id}"));
        describe(&mut paths, &path, route.operations(), route.summary, route.open);
    }
    for (path, operations, summary) in ENGINE_PATHS {
        describe(&mut paths, path, operations, summary, false);
    }
    for (path, operations, open, summary) in AUTH_PATHS {
        describe(&mut paths, path, operations, summary, *open);
    }
    json!({
        "openapi": "3.0.2",
        "info": {
            "title": "Conclave API",
            "description": "Vault-compatible HTTP API of a Conclave cluster. All paths are below `/v1`.",
            "version": VERSION,
            "license": { "name": "Apache-2.0" },
        },
        "paths": paths,
    })
}

fn describe(paths: &mut Map<String, Value>, path: &str, operations: &[Operation], summary: &str, open: bool) {
    let item = paths.entry(path).or_insert_with(|| json!({ "parameters": parameters(path) }));
    let Some(item) = item.as_object_mut() else { return };
    for operation in operations {
        let method = match operation {
            Operation::Read | Operation::List | Operation::Scan => "get",
            Operation::Write => "post",
            Operation::Patch => "patch",
            Operation::Delete => "delete",
        };
        item.insert(
            method.to_owned(),
            json!({
                "summary": summary,
                "tags": [tag(path)],
                "security": if open { json!([]) } else { json!([{ "token": [] }]) },
                "responses": { "200": { "description": "OK" } },
            }),
        );
    }
}

fn tag(path: &str) -> &'static str {
    match path.split('/').nth(1) {
        Some("sys") => "system",
        Some("auth") => "auth",
        _ => "secrets",
    }
}

fn parameters(path: &str) -> Vec<Value> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described() {
        let document = document();
        for route in routes() {
            let path = format!("/{}", route.pattern().replace('*', "{path}").replace(":id", "{id}"));
            assert!(document["paths"][&path].is_object(), "{path}");
        }
        assert_eq!(document["paths"]["/sys/mounts/{path}"]["delete"]["tags"][0], "system");
        assert_eq!(document["paths"]["/sys/health"]["get"]["security"], json!([]));
    }
}
