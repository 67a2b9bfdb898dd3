//! No secret, no path, no token and no key share in clear: in no file of any data directory, log or report, and in no
//! metrics. In audit trails stand paths, and nothing else of this.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use conclave_oracle::place::PLAIN;
use reqwest::Method;
use serde_json::json;

use crate::cluster::{Cluster, name};
use crate::random::Random;

use super::trails::TRAIL_ENDING;

/// Bytes of a file that are looked at at a time.
const WINDOW_BYTES: usize = 1024 * 1024;

/// What a canary's path is called in a finding.
const PATH: &str = "a canary path";

/// Words that must be found nowhere. It has no `Debug`: it holds the root token.
pub struct Canary {
    words: Vec<(&'static str, String)>,
}

impl Canary {
    /// Writes secrets whose values and paths nobody can mistake for anything else.
    pub async fn plant(cluster: &Cluster, seed: u64) -> anyhow::Result<Self> {
        let mark = format!("{:016x}", Random::part(seed, u64::from(u32::MAX)).next());
        let word = |what: &str| format!("canary-{what}-{mark}");
        let (path, value, note) = (word("path"), word("value"), word("note"));
        let api = cluster.api(0);
        let data = json!({"data": {"password": value}});
        api.call(Method::POST, &format!("secret/data/{path}/leaf"), Some(&data)).await?;
        let metadata = json!({"custom_metadata": {"owner": note}});
        api.call(Method::POST, &format!("secret/metadata/{path}/leaf"), Some(&metadata)).await?;
        let plain = json!({"password": value});
        api.call(Method::POST, &format!("{PLAIN}/{path}"), Some(&plain)).await?;
        let mut words = vec![
            (PATH, path),
            ("a canary value", value),
            ("a canary note", note),
            ("the root token", cluster.token().to_owned()),
        ];
        words.extend(cluster.shares().iter().map(|share| ("a key share", share.clone())));
        Ok(Self { words })
    }

    /// The canary is still there, at every node; and no node's metrics show any of the words.
    pub async fn look(&self, cluster: &Cluster) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for node in 0..cluster.nodes() {
            let api = cluster.api(node);
            let path = format!("secret/data/{}/leaf", self.words[0].1);
            let answer = api.call(Method::GET, &path, None).await.context("the canary is not served")?;
            anyhow::ensure!(answer["data"]["data"]["password"] == self.words[1].1, "the canary has changed");
            for form in ["sys/metrics?format=prometheus", "sys/metrics", "sys/host-info"] {
                let text = api.text(form).await?;
                found.extend(self.in_bytes(text.as_bytes(), &format!("{form} of {}", name(node))));
            }
        }
        Ok(found)
    }

    /// Searches every file below `folder`; says in how many bytes.
    pub fn search(&self, folder: &Path) -> anyhow::Result<(u64, Vec<String>)> {
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                match entry.file_type()? {
                    kind if kind.is_dir() => folders.push(entry.path()),
                    kind if kind.is_file() => bytes += self.search_file(&entry.path(), &mut found)?,
                    _ => {}
                }
            }
        }
        Ok((bytes, found))
    }

    fn search_file(&self, path: &PathBuf, found: &mut Vec<String>) -> anyhow::Result<u64> {
        let mut file = File::open(path)?;
        let overlap = self.words.iter().map(|(_, word)| word.len()).max().unwrap_or(0);
        let (mut window, mut read) = (Vec::new(), 0);
        loop {
            let kept = window.len().min(overlap);
            window.drain(..window.len() - kept);
            let more = file.by_ref().take(WINDOW_BYTES as u64).read_to_end(&mut window)? as u64;
            read += more;
            if more == 0 {
                return Ok(read);
            }
            let mut news = self.in_bytes(&window, &path.display().to_string());
            if path.to_string_lossy().ends_with(TRAIL_ENDING) {
                news.retain(|new| !new.starts_with(PATH));
            }
            // What lies in the overlap is found twice.
            found.extend(news.into_iter().filter(|new| !found.contains(new)).collect::<Vec<_>>());
        }
    }

    fn in_bytes(&self, bytes: &[u8], place: &str) -> Vec<String> {
        let words = self.words.iter().filter(|(_, word)| holds(bytes, word.as_bytes()));
        words.map(|(what, _)| format!("{what} stands in clear in {place}")).collect()
    }
}

fn holds(bytes: &[u8], word: &[u8]) -> bool {
    let Some((first, rest)) = word.split_first() else { return false };
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| byte == first) {
        from += at + 1;
        if bytes[from..].starts_with(rest) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_path_may_stand_in_an_audit_trail_and_a_value_may_not() {
        let (path, value) = ("canary-path-1".to_owned(), "canary-value-1".to_owned());
        let canary = Canary { words: vec![(PATH, path), ("a canary value", value)] };
        let folder = std::env::temp_dir().join(format!("conclave-chaos-trails-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["n1.audit.log", "n1.log"] {
            std::fs::write(folder.join(name), "canary-path-1 canary-value-1").unwrap();
        }
        let mut found = canary.search(&folder).unwrap().1;
        found.sort_unstable();
        let places: Vec<&str> = found.iter().map(|found| found.rsplit('/').next().unwrap()).collect();
        assert_eq!(places, ["n1.log", "n1.audit.log", "n1.log"], "{found:?}");
        assert!(found[0].starts_with(PATH) && found[1].starts_with("a canary value"), "{found:?}");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_word_is_found_wherever_it_lies_in_a_file_and_named_without_being_told() {
        let canary = Canary { words: vec![("a canary value", "canary-value-1".to_owned())] };
        let folder = std::env::temp_dir().join(format!("conclave-chaos-secrecy-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("n1/log")).unwrap();
        for before in [0, 5, WINDOW_BYTES - 7, WINDOW_BYTES, 2 * WINDOW_BYTES - 13] {
            let path = folder.join("n1/log/000001.sst");
            let mut file = File::create(&path).unwrap();
            file.write_all(&vec![b'c'; before]).unwrap();
            assert!(canary.search(&folder).unwrap().1.is_empty());
            file.write_all(b"canary-value-1 and more").unwrap();
            let (bytes, found) = canary.search(&folder).unwrap();
            assert_eq!(bytes, before as u64 + 23);
            assert_eq!(found, [format!("a canary value stands in clear in {}", path.display())]);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
