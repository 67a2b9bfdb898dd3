//! `config`: the settings of a whole mount. They lie in the mount table, so that using them costs no read.

use serde_json::{Map, Value, json};

use super::metadata_fields;
use crate::engine::mount::{KvConfig, Mount, MountTable};
use crate::engine::text::JsonText;
use crate::error::Error;
use crate::plan::{Context, Operation, Plan, Reply, Request};
use crate::{duration, fields};

const KNOWN_PARAMETERS: [&str; 4] =
    ["cas_required", "delete_version_after", "max_versions", "metadata_cas_required"];

pub(super) fn handle(context: &mut Context<'_>, mount: &Mount, request: &Request<'_>) -> Result<Plan, Error> {
    match request.operation {
        Operation::Read => {
            let mut reply = read(mount.kv_config());
            reply.warnings = fields::unknown_warning(request.query.names(), &KNOWN_PARAMETERS);
            Ok(reply.into())
        }
        Operation::Write => write(context, mount, request.body),
        _ => Err(Error::Unsupported),
    }
}

fn read(config: &KvConfig) -> Reply {
    let json = json!({
        "cas_required": config.cas_required,
        "delete_version_after": duration::format_s(config.delete_version_after_s),
        "max_versions": config.max_versions,
        "metadata_cas_required": config.metadata_cas_required,
    });
    JsonText::of(&json).reply(200)
}

fn write(context: &mut Context<'_>, mount: &Mount, body: &Map<String, Value>) -> Result<Plan, Error> {
    let mut config = *mount.kv_config();
    config.max_versions = metadata_fields::max_versions(body)?.unwrap_or(config.max_versions);
    config.cas_required = fields::boolean(body, "cas_required")?.unwrap_or(config.cas_required);
    config.metadata_cas_required =
        fields::boolean(body, "metadata_cas_required")?.unwrap_or(config.metadata_cas_required);
    if let Some(seconds) = fields::duration_s(body, "delete_version_after")? {
        // Every negative time means the same: never delete by itself, whatever a secret says.
        config.delete_version_after_s = seconds.max(-1);
    }
    if config == *mount.kv_config() {
        return Ok(Reply::no_content().into());
    }
    let mut table = MountTable::load(context.view, context.barrier)?;
    table.change(mount.uuid(), |mount| mount.set_kv_config(config))?;
    Ok(Plan { txn: table.into_txn(context)?, reply: Reply::no_content() })
}
