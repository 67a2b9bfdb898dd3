//! The server's settings: a TOML file, each key also a flag and a `CONCLAVE_*` variable.
//!
//! A flag wins over the environment, the environment over the file, the file over the default. Unknown keys are an
//! error, so that a misspelt one cannot pass unseen. Nothing here is a secret but `join_token` and the seal key file's
//! content, which is read where it is used.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use conclave_proto::secret::Secret;
use serde::Deserialize;

use crate::audit;
use crate::raft::ReadProof;

/// Longest name of a node, in bytes.
const NODE_NAME_BYTES_MAX: usize = 64;
/// How long a request waits for a leader, by default.
const REQUEST_WAIT_MS: u64 = 5_000;
/// Share of memory given to RocksDB's block cache, by default.
const BLOCK_CACHE_MIB: usize = 64;

/// A sentence about a setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// What a server runs with, checked and complete.
#[derive(Debug)]
pub struct Config {
    pub node_name: String,
    pub data_dir: PathBuf,
    pub api_listen: SocketAddr,
    /// The URL at which clients reach this node.
    pub api_addr: String,
    pub cluster_listen: SocketAddr,
    /// `host:port` at which the other nodes reach this node.
    pub cluster_addr: String,
    pub tls: ApiTls,
    pub join: Option<Join>,
    pub seal: SealSetting,
    pub peer_unseal: bool,
    pub request_wait: Duration,
    pub read_proof: ReadProof,
    pub heartbeat_ms: Option<u64>,
    pub election_timeout_min_ms: Option<u64>,
    pub election_timeout_max_ms: Option<u64>,
    pub snapshot_after_entries: Option<u64>,
    pub entries_kept: Option<u64>,
    pub block_cache_bytes: usize,
    pub log_level: String,
    pub log_format: LogFormat,
    pub audit: audit::Settings,
    /// The root token that `init` makes; only `conclave dev` sets it.
    pub dev_root_token: Option<Secret<String>>,
}

/// Where the API's certificate comes from.
#[derive(Debug, Clone)]
pub enum ApiTls {
    /// Issued and rotated by the cluster's own authority.
    Cluster,
    /// The operator's files, read again when they change.
    Files { certificate: PathBuf, key: PathBuf },
    /// Plain HTTP: for tests and behind a TLS proxy on the same host.
    Disabled,
}

/// An existing cluster to join at first start.
#[derive(Debug)]
pub struct Join {
    pub addr: String,
    pub token: Secret<String>,
}

#[derive(Debug, Clone)]
pub enum SealSetting {
    Shamir,
    /// A 32-byte key in a file, raw, hex or base64.
    Static {
        key_file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// `conclave server`: run one node.
#[derive(clap::Parser)]
#[command(name = "conclave server", about = "Run one Conclave node")]
pub struct ServerArgs {
    /// The configuration file (TOML).
    #[arg(long, env = "CONCLAVE_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// Every setting, as it may stand in the file, in a flag or in the environment.
#[derive(clap::Args, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// This node's name, unique in the cluster [default: the host's name].
    #[arg(long, env = "CONCLAVE_NODE_NAME")]
    node_name: Option<String>,
    /// Where the node keeps its data.
    #[arg(long, env = "CONCLAVE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Address to listen on for the API [default: 0.0.0.0:8200].
    #[arg(long, env = "CONCLAVE_API_LISTEN")]
    api_listen: Option<SocketAddr>,
    /// URL at which clients reach this node [default: made from --api-listen].
    #[arg(long, env = "CONCLAVE_API_ADDR")]
    api_addr: Option<String>,
    /// Address to listen on for the other nodes [default: 0.0.0.0:8201].
    #[arg(long, env = "CONCLAVE_CLUSTER_LISTEN")]
    cluster_listen: Option<SocketAddr>,
    /// host:port at which the other nodes reach this node [default: made from --cluster-listen].
    #[arg(long, env = "CONCLAVE_CLUSTER_ADDR")]
    cluster_addr: Option<String>,
    /// Serve the API over plain HTTP.
    #[arg(long, env = "CONCLAVE_TLS_DISABLE", num_args = 0..=1, default_missing_value = "true")]
    tls_disable: Option<bool>,
    /// Certificate chain for the API (PEM) [default: one issued by the cluster].
    #[arg(long, env = "CONCLAVE_TLS_CERT_FILE", requires = "tls_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// Key of the API's certificate (PEM).
    #[arg(long, env = "CONCLAVE_TLS_KEY_FILE", requires = "tls_cert_file")]
    tls_key_file: Option<PathBuf>,
    /// Member to join at the first start (https://NODE:8200).
    #[arg(long, env = "CONCLAVE_JOIN_ADDR", requires = "join_token")]
    join_addr: Option<String>,
    /// Join token, from `conclave join-token` on a member.
    #[arg(long, env = "CONCLAVE_JOIN_TOKEN", hide_env_values = true)]
    join_token: Option<String>,
    /// File with a 32-byte key that unseals this cluster by itself (static seal).
    #[arg(long, env = "CONCLAVE_SEAL_KEY_FILE")]
    seal_key_file: Option<PathBuf>,
    /// Let unsealed members unseal this node when it restarts, and the reverse [default: true].
    #[arg(long, env = "CONCLAVE_PEER_UNSEAL", num_args = 0..=1, default_missing_value = "true")]
    peer_unseal: Option<bool>,
    /// How long a request waits for a leader, in milliseconds [default: 5000].
    #[arg(long, env = "CONCLAVE_REQUEST_WAIT_MS")]
    request_wait_ms: Option<u64>,
    /// How a leader proves before a read that it still leads: by its lease, or by asking a quorum [default: lease].
    #[arg(long, env = "CONCLAVE_READ_PROOF", value_enum)]
    read_proof: Option<ReadProof>,
    /// Raft heartbeat interval, in milliseconds.
    #[arg(long, env = "CONCLAVE_HEARTBEAT_MS")]
    heartbeat_ms: Option<u64>,
    /// Shortest election timeout, in milliseconds.
    #[arg(long, env = "CONCLAVE_ELECTION_TIMEOUT_MIN_MS")]
    election_timeout_min_ms: Option<u64>,
    /// Longest election timeout, in milliseconds.
    #[arg(long, env = "CONCLAVE_ELECTION_TIMEOUT_MAX_MS")]
    election_timeout_max_ms: Option<u64>,
    /// Log entries after which a snapshot is made and the log is compacted.
    #[arg(long, env = "CONCLAVE_SNAPSHOT_AFTER_ENTRIES")]
    snapshot_after_entries: Option<u64>,
    /// Log entries kept behind a snapshot, for nodes that were away only for a moment.
    #[arg(long, env = "CONCLAVE_ENTRIES_KEPT")]
    entries_kept: Option<u64>,
    /// Memory for RocksDB's block cache, in MiB [default: 64].
    #[arg(long, env = "CONCLAVE_BLOCK_CACHE_MIB")]
    block_cache_mib: Option<usize>,
    /// What to log: error, warn, info, debug, or a filter such as `info,conclave_node::task=debug` [default: info].
    #[arg(long, env = "CONCLAVE_LOG_LEVEL")]
    log_level: Option<String>,
    /// How to log [default: text].
    #[arg(long, env = "CONCLAVE_LOG_FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// Where the audit trails lie that are files [default: `audit` in the data directory].
    #[arg(long, env = "CONCLAVE_AUDIT_DIR")]
    audit_dir: Option<PathBuf>,
    /// Keep an audit trail in this file of the audit directory, without which no request is answered. Other devices stand
    /// in the configuration file as [[audit]].
    #[arg(long, env = "CONCLAVE_AUDIT_FILE")]
    audit_file: Option<String>,
    #[arg(skip)]
    audit: Option<Vec<audit::Written>>,
    #[arg(long, env = "CONCLAVE_DEV_ROOT_TOKEN", hide = true, hide_env_values = true)]
    #[serde(skip)]
    dev_root_token: Option<String>,
}

impl Settings {
    /// What is set here, filled up from `lower`.
    fn or(self, lower: Self) -> Self {
        macro_rules! merge {
            ($($field:ident),*) => { Self { $($field: self.$field.or(lower.$field)),* } };
        }
        merge!(
            node_name,
            data_dir,
            api_listen,
            api_addr,
            cluster_listen,
            cluster_addr,
            tls_disable,
            tls_cert_file,
            tls_key_file,
            join_addr,
            join_token,
            seal_key_file,
            peer_unseal,
            request_wait_ms,
            read_proof,
            heartbeat_ms,
            election_timeout_min_ms,
            election_timeout_max_ms,
            snapshot_after_entries,
            entries_kept,
            block_cache_mib,
            log_level,
            log_format,
            audit_dir,
            audit_file,
            audit,
            dev_root_token
        )
    }
}

impl Config {
    pub fn load(args: ServerArgs) -> Result<Self, ConfigError> {
        let file = match &args.config {
            Some(path) => read_file(path)?,
            None => Settings::default(),
        };
        Self::complete(args.settings.or(file))
    }

    fn complete(settings: Settings) -> Result<Self, ConfigError> {
        let tls = match (settings.tls_disable, settings.tls_cert_file, settings.tls_key_file) {
            (Some(true), None, None) => ApiTls::Disabled,
            (Some(true), _, _) => {
                return Err(fault("tls_disable contradicts tls_cert_file: set only one of them"));
            }
            (_, Some(certificate), Some(key)) => ApiTls::Files { certificate, key },
            (_, None, None) => ApiTls::Cluster,
            _ => return Err(fault("tls_cert_file and tls_key_file belong together: set both or neither")),
        };
        let api_listen = settings.api_listen.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 8200)));
        let cluster_listen =
            settings.cluster_listen.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 8201)));
        let host = host_name();
        let scheme = if matches!(tls, ApiTls::Disabled) { "http" } else { "https" };
        let join = match (settings.join_addr, settings.join_token) {
            (Some(addr), Some(token)) => Some(Join { addr, token: Secret::new(token) }),
            (None, None) => None,
            _ => return Err(fault("join_addr and join_token belong together: set both or neither")),
        };
        let data_dir = settings
            .data_dir
            .ok_or_else(|| fault("data_dir is not set: say where the node keeps its data"))?;
        let audit = audit::Settings::complete(
            settings.audit_dir,
            settings.audit_file,
            settings.audit.unwrap_or_default(),
            &data_dir,
        )
        .map_err(|error| ConfigError(error.to_string()))?;
        let config = Self {
            node_name: settings.node_name.unwrap_or_else(|| host.clone()),
            data_dir,
            audit,
            api_addr: settings
                .api_addr
                .unwrap_or_else(|| format!("{scheme}://{}", reachable(api_listen, &host))),
            api_listen,
            cluster_addr: settings.cluster_addr.unwrap_or_else(|| reachable(cluster_listen, &host)),
            cluster_listen,
            tls,
            join,
            seal: match settings.seal_key_file {
                Some(key_file) => SealSetting::Static { key_file },
                None => SealSetting::Shamir,
            },
            peer_unseal: settings.peer_unseal.unwrap_or(true),
            request_wait: Duration::from_millis(settings.request_wait_ms.unwrap_or(REQUEST_WAIT_MS)),
            read_proof: settings.read_proof.unwrap_or_default(),
            heartbeat_ms: settings.heartbeat_ms,
            election_timeout_min_ms: settings.election_timeout_min_ms,
            election_timeout_max_ms: settings.election_timeout_max_ms,
            snapshot_after_entries: settings.snapshot_after_entries,
            entries_kept: settings.entries_kept,
            block_cache_bytes: settings.block_cache_mib.unwrap_or(BLOCK_CACHE_MIB) * 1024 * 1024,
            log_level: settings.log_level.unwrap_or_else(|| "info".to_owned()),
            log_format: settings.log_format.unwrap_or(LogFormat::Text),
            dev_root_token: settings.dev_root_token.map(Secret::new),
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if !is_node_name(&self.node_name) {
            return Err(fault("node_name must be 1 to 64 letters, digits, '-', '_' or '.'"));
        }
        if !self.api_addr.starts_with("http://") && !self.api_addr.starts_with("https://") {
            return Err(fault("api_addr must be a URL such as https://node1.example:8200"));
        }
        if self.cluster_addr.contains("://") || !self.cluster_addr.contains(':') {
            return Err(fault("cluster_addr must be host:port, such as node1.example:8201"));
        }
        Ok(())
    }

    /// Host of the API's URL, for the certificate.
    pub fn api_host(&self) -> &str {
        let rest = self.api_addr.split_once("://").map_or(self.api_addr.as_str(), |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or(rest);
        match authority.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or(v6),
            None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
        }
    }
}

fn fault(sentence: &str) -> ConfigError {
    ConfigError(sentence.to_owned())
}

fn read_file(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError(format!("cannot read the configuration {}: {error}", path.display())))?;
    // The parser's message quotes the offending line, which could hold the join token: name only the place.
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
        ConfigError(format!("the configuration {}, line {line}: {}", path.display(), error.message()))
    })
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A listening address as others can dial it: an unspecified one becomes the host's name.
fn reachable(listen: SocketAddr, host: &str) -> String {
    if listen.ip().is_unspecified() { format!("{host}:{}", listen.port()) } else { listen.to_string() }
}

/// Whether `name` can be that of a node: it stands in logs, addresses and tables.
pub fn is_node_name(name: &str) -> bool {
    (1..=NODE_NAME_BYTES_MAX).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn load(args: &[&str]) -> Result<Config, ConfigError> {
        let args = ["conclave server"].iter().chain(args);
        Config::load(ServerArgs::try_parse_from(args).expect("the arguments parse"))
    }

    fn with_file(text: &str, args: &[&str]) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut all = vec!["--config", file.path().to_str().unwrap()];
        all.extend(args);
        load(&all)
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let text = "data_dir = '/d'\nnode_name = 'file'\nrequest_wait_ms = 7";
        let config = with_file(text, &["--node-name", "flag"]).unwrap();
        assert_eq!(config.node_name, "flag");
        assert_eq!(config.request_wait, Duration::from_millis(7));
    }

    #[test]
    fn addresses_follow_from_where_the_node_listens() {
        let config = load(&["--data-dir", "/d", "--api-listen", "127.0.0.1:9000"]).unwrap();
        assert_eq!(config.api_addr, "https://127.0.0.1:9000");
        assert_eq!(config.api_host(), "127.0.0.1");
        let plain = load(&["--data-dir", "/d", "--tls-disable", "--api-listen", "[::1]:9000"]).unwrap();
        assert_eq!(plain.api_addr, "http://[::1]:9000");
        assert_eq!(plain.api_host(), "::1");
    }

    #[test]
    fn mistakes_are_named() {
        let sentence = |result: Result<Config, ConfigError>| result.unwrap_err().to_string();
        assert!(sentence(load(&[])).contains("data_dir is not set"));
        assert!(sentence(with_file("data_dirr = '/d'", &[])).contains("data_dirr"));
        assert!(sentence(load(&["--data-dir", "/d", "--node-name", "a b"])).contains("node_name"));
        assert!(
            sentence(load(&["--data-dir", "/d", "--cluster-addr", "https://x:1"])).contains("cluster_addr")
        );
        assert!(
            sentence(with_file("data_dir = '/d'\njoin_token = 'canary'", &[])).contains("belong together")
        );
        assert!(!sentence(with_file("data_dir = '/d'\njoin_token = 'canary", &[])).contains("canary"));
    }
}
