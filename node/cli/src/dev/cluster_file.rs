//! `DIR/cluster.json`: all that other programs need to use the cluster, and `conclave dev` to start it again.
//!
//! It holds the unseal keys and the root token, so only its owner may read it. It is replaced as a whole.

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::process;
use crate::failure::Failure;

const FILE_NAME: &str = "cluster.json";
/// Rights of a folder that only its owner may enter.
const MODE_PRIVATE_FOLDER: u32 = 0o700;

/// It has no `Debug`: it holds secrets.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct ClusterFile {
    /// The authority of the nodes' certificates (PEM); null without TLS.
    pub ca_cert: Option<PathBuf>,
    pub root_token: String,
    /// Base64.
    pub unseal_keys: Vec<String>,
    pub nodes: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: String,
    pub api_addr: String,
    pub cluster_addr: String,
    /// Null when it was stopped.
    pub pid: Option<u32>,
    pub data_dir: PathBuf,
    pub log: PathBuf,
}

impl ClusterFile {
    /// Nothing, if the folder holds no cluster.
    pub fn load(folder: &Path) -> Result<Option<Self>, Failure> {
        let path = folder.join(FILE_NAME);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::local(format!("cannot read {}: {error}", path.display()))),
        };
        // Not the parser's message: it may quote a key.
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            Failure::local(format!(
                "{} is damaged (line {}, column {})",
                path.display(),
                error.line(),
                error.column()
            ))
        })
    }

    pub fn save(&self, folder: &Path) -> Result<(), Failure> {
        let path = folder.join(FILE_NAME);
        let write = || {
            // Made with mode 0600.
            let mut file = tempfile::Builder::new().prefix(".cluster-").tempfile_in(folder)?;
            file.write_all(self.to_json().as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)
        };
        write()
            .map(|_| ())
            .map_err(|error| Failure::local(format!("cannot write {}: {error}", path.display())))
    }

    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("texts and numbers make JSON");
        text.push('\n');
        text
    }
}

impl Node {
    /// The node's process, if it lives and is this node's server.
    pub fn running_pid(&self) -> Option<u32> {
        self.pid.filter(|pid| process::is_server_of(*pid, &self.data_dir))
    }
}

pub fn make_private_folder(path: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(MODE_PRIVATE_FOLDER)
        .create(path)
        .map_err(|error| Failure::local(format!("cannot make the folder {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::{Value, json};

    use super::*;

    fn file() -> ClusterFile {
        ClusterFile {
            ca_cert: Some("/d/ca.pem".into()),
            root_token: "s.root".into(),
            unseal_keys: vec!["qg==".into()],
            nodes: vec![Node {
                id: "n1".into(),
                api_addr: "https://127.0.0.1:8200".into(),
                cluster_addr: "127.0.0.1:8201".into(),
                pid: Some(7),
                data_dir: "/d/n1".into(),
                log: "/d/n1.log".into(),
            }],
        }
    }

    #[test]
    fn the_file_has_the_fields_that_other_programs_read() {
        let expect = json!({"ca_cert": "/d/ca.pem", "root_token": "s.root", "unseal_keys": ["qg=="], "nodes": [
            {"id": "n1", "api_addr": "https://127.0.0.1:8200", "cluster_addr": "127.0.0.1:8201", "pid": 7,
             "data_dir": "/d/n1", "log": "/d/n1.log"}]});
        assert_eq!(serde_json::from_str::<Value>(&file().to_json()).unwrap(), expect);
    }

    #[test]
    fn what_is_saved_is_loaded_and_only_the_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(ClusterFile::load(folder.path()).unwrap().is_none());
        file().save(folder.path()).unwrap();
        let loaded = ClusterFile::load(folder.path()).unwrap().unwrap();
        assert_eq!(loaded.to_json(), file().to_json());
        let mode = std::fs::metadata(folder.path().join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_named_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE_NAME), "{\"root_token\": canary").unwrap();
        let sentence = ClusterFile::load(folder.path()).err().unwrap().to_string();
        assert!(sentence.contains("cluster.json") && !sentence.contains("canary"), "{sentence}");
    }

    #[test]
    fn a_number_that_another_process_has_now_is_not_the_nodes() {
        let mut node = file().nodes.remove(0);
        node.pid = Some(std::process::id());
        assert_eq!(node.running_pid(), None);
    }
}
