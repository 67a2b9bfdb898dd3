//! Finds the key-value mount that a path lies in, and its version, as Vault's own client does: by asking
//! `sys/internal/ui/mounts`.

use conclave_client::{Client, Request};
use serde_json::Value;

use super::trimmed;
use crate::failure::Failure;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One value a key.
    One,
    /// Versioned, with metadata.
    Two,
}

/// A key and the mount it lies in.
pub struct Location {
    mount: String,
    version: Version,
    /// Below the mount; empty for the mount itself.
    key: String,
}

/// The names of one key below a versioned mount.
#[derive(Clone, Copy)]
pub enum Kind {
    Data,
    Metadata,
    Delete,
    Undelete,
    Destroy,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Metadata => "metadata",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
            Self::Destroy => "destroy",
        }
    }
}

impl Location {
    /// `mount`: what `--mount` says; without it, `path` begins with the mount.
    pub async fn find(client: &Client, mount: Option<&str>, path: &str) -> Result<Self, Failure> {
        let path = trimmed(path);
        let asked = mount.map_or(path, trimmed);
        if asked.is_empty() {
            return Err(Failure::usage("the path is empty: name a mount and a key, such as secret/payment"));
        }
        let answer = client.send(Request::get(format!("sys/internal/ui/mounts/{asked}")).unwrapped()).await?;
        Self::from_answer(answer.data(), asked, mount.map(|_| path))
    }

    fn from_answer(data: &Value, asked: &str, below_mount: Option<&str>) -> Result<Self, Failure> {
        let mount = data["path"].as_str().map(trimmed).unwrap_or_default();
        let below = asked.strip_prefix(mount).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let Some(below) = below.filter(|_| !mount.is_empty()) else {
            return Err(Failure::refused("the server did not say which mount the path lies in"));
        };
        let version = match data["options"]["version"].as_str() {
            Some("2") => Version::Two,
            _ => Version::One,
        };
        // With --mount a longer path may be given than the mount's own; the rest belongs to the key.
        let parts = [trimmed(below), below_mount.unwrap_or_default()];
        let key = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        Ok(Self { mount: mount.to_owned(), version, key })
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// Refuses the mount itself: a value needs a key.
    pub fn with_key(self) -> Result<Self, Failure> {
        if self.key.is_empty() {
            return Err(Failure::usage(format!(
                "the path names the mount {}/ itself: add the secret's key",
                self.mount
            )));
        }
        Ok(self)
    }

    /// Refuses a mount without versions.
    pub fn versioned(self) -> Result<Self, Failure> {
        match self.version {
            Version::Two => Ok(self),
            Version::One => Err(Failure::usage(format!(
                "the mount {}/ keeps no versions (key-value version 1): this command needs version 2",
                self.mount
            ))),
        }
    }

    /// The API path of the key.
    pub fn path(&self, kind: Kind) -> String {
        let middle = match self.version {
            Version::One => "",
            Version::Two => kind.as_str(),
        };
        let parts = [self.mount.as_str(), middle, self.key.as_str()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(mount: &str, version: &str, asked: &str, below_mount: Option<&str>, expect: &str) {
        let data = json!({"path": mount, "options": {"version": version}});
        let location = Location::from_answer(&data, asked, below_mount).unwrap();
        assert_eq!(location.path(Kind::Data), expect);
    }

    #[test]
    fn the_kind_goes_between_mount_and_key() {
        check("secret/", "2", "secret/a/b", None, "secret/data/a/b");
        check("deep/er/kv/", "2", "deep/er/kv/a", None, "deep/er/kv/data/a");
        check("secret/", "2", "secret", Some("a"), "secret/data/a");
        check("secret/", "2", "secret", None, "secret/data");
        check("secret/", "2", "secret/data/a", None, "secret/data/data/a");
    }

    #[test]
    fn a_mount_without_versions_has_no_kinds() {
        check("kv1/", "1", "kv1/a", None, "kv1/a");
        let unversioned =
            Location::from_answer(&json!({"path": "kv1/", "options": null}), "kv1/a", None).unwrap();
        assert_eq!(unversioned.version(), Version::One);
        assert_eq!(unversioned.versioned().err().map(|failure| failure.code()), Some(2));
    }

    #[test]
    fn an_answer_about_another_mount_is_not_believed() {
        let data = json!({"path": "sec/", "options": {"version": "2"}});
        assert!(Location::from_answer(&data, "secret/a", None).is_err());
        assert!(Location::from_answer(&json!({}), "secret/a", None).is_err());
    }

    #[test]
    fn a_value_needs_a_key() {
        let data = json!({"path": "secret/", "options": {"version": "2"}});
        let location = Location::from_answer(&data, "secret", None).unwrap();
        assert_eq!(location.with_key().err().map(|failure| failure.code()), Some(2));
    }
}
