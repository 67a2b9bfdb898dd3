//! What `conclave dev` prints when the cluster is ready.

use std::path::Path;

use super::cluster_file::ClusterFile;
use crate::output::Report;

pub fn report(folder: &Path, file: &ClusterFile, json: bool) -> Report {
    Report::text(if json { file.to_json() } else { summary(folder, file) })
}

fn summary(folder: &Path, file: &ClusterFile) -> String {
    let mut text = format!("A cluster of {} nodes runs in {}:\n\n", file.nodes.len(), folder.display());
    for node in &file.nodes {
        let pid = node.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        text.push_str(&format!("  {}  {}  pid {pid}  log {}\n", node.id, node.api_addr, node.log.display()));
    }
    text.push_str("\nTo use it from this terminal (conclave, bao or vault):\n\n");
    let first = file.nodes.first().map(|node| node.api_addr.as_str()).unwrap_or_default();
    text.push_str(&format!("  export VAULT_ADDR={}\n", quoted(first)));
    let secure = first.starts_with("https://");
    if let Some(ca_cert) = file.ca_cert.as_ref().filter(|_| secure) {
        text.push_str(&format!("  export VAULT_CACERT={}\n", quoted(&ca_cert.to_string_lossy())));
    }
    text.push_str(&format!("  export VAULT_TOKEN={}\n\n", quoted(&file.root_token)));
    text.push_str(&format!("To stop it: conclave dev --stop {}\n", quoted(&folder.to_string_lossy())));
    text
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+@,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::cluster_file::Node;
    use super::*;

    #[test]
    fn the_summary_says_how_to_use_and_to_stop_the_cluster() {
        let node = Node {
            id: "n1".into(),
            api_addr: "https://127.0.0.1:8200".into(),
            cluster_addr: "127.0.0.1:8201".into(),
            pid: Some(7),
            data_dir: "/a b/n1".into(),
            log: "/a b/n1.log".into(),
        };
        let file = ClusterFile {
            ca_cert: Some("/a b/ca.pem".into()),
            root_token: "s.root".into(),
            unseal_keys: vec!["canary".into()],
            nodes: vec![node],
        };
        let expect = "\
A cluster of 1 nodes runs in /a b:

  n1  https://127.0.0.1:8200  pid 7  log /a b/n1.log

To use it from this terminal (conclave, bao or vault):

  export VAULT_ADDR=https://127.0.0.1:8200
  export VAULT_CACERT='/a b/ca.pem'
  export VAULT_TOKEN=s.root

To stop it: conclave dev --stop '/a b'
";
        assert_eq!(summary(Path::new("/a b"), &file), expect);
    }

    #[test]
    fn a_shell_reads_every_word_as_it_is() {
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("/a-b/c_d.e:1"), "/a-b/c_d.e:1");
    }
}
