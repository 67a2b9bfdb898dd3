//! KV v2 against a model in memory that knows no records, keys or encryption: the same requests must come to the same
//! answers, whatever their order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::engine::testing::Bench;

const PATHS: [&str; 6] = ["a", "a/b", "a/b/c", "a-b", "b/a", "c"];

#[derive(Debug, Clone)]
enum Step {
    Put { path: usize, value: u64, cas: Option<u64> },
    Patch { path: usize, name: u8, value: Option<u64> },
    DeleteCurrent { path: usize },
    Delete { path: usize, versions: Vec<u64> },
    Undelete { path: usize, versions: Vec<u64> },
    Destroy { path: usize, versions: Vec<u64> },
    DeleteMetadata { path: usize },
    KeepVersions { path: usize, versions: u32 },
    DeleteAfter { path: usize, seconds: u64 },
    Wait { seconds: u64 },
}

#[derive(Default, Clone)]
struct Secret {
    versions: BTreeMap<u64, Version>,
    current: u64,
    keep: u32,
    delete_after_s: u64,
}

#[derive(Clone)]
struct Version {
    data: Option<Value>,
    deletion_ms: Option<u64>,
}

impl Secret {
    fn deletion(&self, now_ms: u64) -> Option<u64> {
        (self.delete_after_s > 0).then(|| now_ms + self.delete_after_s * 1_000)
    }

    fn push(&mut self, data: Value, now_ms: u64) {
        self.current += 1;
        let deletion_ms = self.deletion(now_ms);
        self.versions.insert(self.current, Version { data: Some(data), deletion_ms });
        let keep = if self.keep == 0 { 10 } else { u64::from(self.keep) };
        let current = self.current;
        self.versions.retain(|number, _| number + keep > current);
    }

    fn readable(&self, number: u64, now_ms: u64) -> Option<&Value> {
        let version = self.versions.get(&number)?;
        if version.deletion_ms.is_some_and(|deletion_ms| deletion_ms <= now_ms) {
            None
        } else {
            version.data.as_ref()
        }
    }
}

#[derive(Default)]
struct Model(BTreeMap<&'static str, Secret>);

impl Model {
    /// What the request must be answered with: its line, and the status.
    fn take(&mut self, step: &Step, now_ms: u64) -> (String, u16) {
        match step {
            Step::Put { path, value, cas } => {
                let path = PATHS[*path];
                let body = match cas {
                    Some(cas) => json!({"data": {"v": value}, "options": {"cas": cas}}),
                    None => json!({"data": {"v": value}}),
                };
                let current = self.0.get(path).map_or(0, |secret| secret.current);
                let status = if cas.is_some_and(|cas| cas != current) { 400 } else { 200 };
                if status == 200 {
                    self.0.entry(path).or_default().push(json!({"v": value}), now_ms);
                }
                (format!("POST v2/data/{path} {body}"), status)
            }
            Step::Patch { path, name, value } => {
                let path = PATHS[*path];
                let name = format!("p{name}");
                let line = format!("PATCH v2/data/{path} {}", json!({"data": {(&name): value}}));
                let Some(secret) = self.0.get_mut(path) else { return (line, 404) };
                let Some(Value::Object(mut data)) = secret.readable(secret.current, now_ms).cloned() else {
                    return (line, 404);
                };
                match value {
                    Some(value) => data.insert(name, json!(value)),
                    None => data.remove(&name),
                };
                secret.push(Value::Object(data), now_ms);
                (line, 200)
            }
            Step::DeleteCurrent { path } => {
                let path = PATHS[*path];
                if let Some(secret) = self.0.get_mut(path) {
                    let current = secret.current;
                    soft_delete(secret, &[current], now_ms);
                }
                (format!("DELETE v2/data/{path}"), 204)
            }
            Step::Delete { path, versions } => {
                let path = PATHS[*path];
                if let Some(secret) = self.0.get_mut(path) {
                    soft_delete(secret, versions, now_ms);
                }
                (format!("POST v2/delete/{path} {}", json!({"versions": versions})), 204)
            }
            Step::Undelete { path, versions } => {
                let path = PATHS[*path];
                if let Some(secret) = self.0.get_mut(path) {
                    let deletion_ms = secret.deletion(now_ms);
                    for number in versions {
                        if let Some(version) = secret.versions.get_mut(number)
                            && version.data.is_some()
                        {
                            version.deletion_ms = deletion_ms;
                        }
                    }
                }
                (format!("POST v2/undelete/{path} {}", json!({"versions": versions})), 204)
            }
            Step::Destroy { path, versions } => {
                let path = PATHS[*path];
                if let Some(secret) = self.0.get_mut(path) {
                    for number in versions {
                        if let Some(version) = secret.versions.get_mut(number) {
                            version.data = None;
                        }
                    }
                }
                (format!("POST v2/destroy/{path} {}", json!({"versions": versions})), 204)
            }
            Step::DeleteMetadata { path } => {
                self.0.remove(PATHS[*path]);
                (format!("DELETE v2/metadata/{}", PATHS[*path]), 204)
            }
            Step::KeepVersions { path, versions } => {
                self.0.entry(PATHS[*path]).or_default().keep = *versions;
                (format!("POST v2/metadata/{} {}", PATHS[*path], json!({"max_versions": versions})), 204)
            }
            Step::DeleteAfter { path, seconds } => {
                self.0.entry(PATHS[*path]).or_default().delete_after_s = *seconds;
                let body = json!({"delete_version_after": format!("{seconds}s")});
                (format!("POST v2/metadata/{} {body}", PATHS[*path]), 204)
            }
            Step::Wait { .. } => unreachable!("waiting is no request"),
        }
    }

    fn children(&self, prefix: &str) -> Vec<String> {
        let names = self.0.keys().filter_map(|path| path.strip_prefix(prefix)).map(|below| {
            let end = below.find('/').map_or(below.len(), |slash| slash + 1);
            below[..end].to_owned()
        });
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

fn soft_delete(secret: &mut Secret, numbers: &[u64], now_ms: u64) {
    for number in numbers {
        if secret.readable(*number, now_ms).is_some()
            && let Some(version) = secret.versions.get_mut(number)
        {
            version.deletion_ms = Some(now_ms);
        }
    }
}

fn compare(bench: &mut Bench, model: &Model) {
    for path in PATHS {
        let secret = model.0.get(path);
        let current = secret.map_or(0, |secret| secret.current);
        for number in 1..=current + 1 {
            let answer = bench.send(&format!("GET v2/data/{path}?version={number}"));
            let expect = secret.and_then(|secret| secret.readable(number, bench.now_ms));
            assert_eq!(answer.status, if expect.is_some() { 200 } else { 404 }, "{path} version {number}");
            assert_eq!(
                answer.data.get("data").filter(|data| !data.is_null()),
                expect,
                "{path} version {number}"
            );
            let known = secret.is_some_and(|secret| secret.versions.contains_key(&number));
            assert_eq!(answer.data.is_object(), known, "{path} version {number}");
        }
        let metadata = bench.send(&format!("GET v2/metadata/{path}"));
        assert_eq!(metadata.status, if secret.is_some() { 200 } else { 404 }, "{path}");
        if let Some(secret) = secret {
            assert_eq!(metadata.data["current_version"], secret.current);
            let numbers =
                metadata.data["versions"].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
            assert_eq!(numbers, secret.versions.keys().map(u64::to_string).collect());
        }
    }
    for (line, prefix) in
        [("LIST v2/metadata", ""), ("LIST v2/metadata/a", "a/"), ("LIST v2/metadata/a/b", "a/b/")]
    {
        let expect = model.children(prefix);
        let answer = bench.send(line);
        assert_eq!(answer.status, if expect.is_empty() { 404 } else { 200 });
        if !expect.is_empty() {
            assert_eq!(answer.data["keys"], json!(expect));
        }
    }
    // No record is left behind: the mount table, one of metadata a secret, one of data a version that has some.
    let versions = model.0.values().flat_map(|secret| secret.versions.values());
    let records = 1 + model.0.len() + versions.filter(|version| version.data.is_some()).count();
    assert_eq!(bench.view.len(), records);
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let path = || 0..PATHS.len();
    let versions = || prop::collection::vec(0..8_u64, 1..4);
    let step = prop_oneof![
        6 => (path(), any::<u64>(), prop::option::of(0..4_u64))
            .prop_map(|(path, value, cas)| Step::Put { path, value, cas }),
        2 => (path(), 0..3_u8, prop::option::of(any::<u64>()))
            .prop_map(|(path, name, value)| Step::Patch { path, name, value }),
        1 => path().prop_map(|path| Step::DeleteCurrent { path }),
        1 => (path(), versions()).prop_map(|(path, versions)| Step::Delete { path, versions }),
        1 => (path(), versions()).prop_map(|(path, versions)| Step::Undelete { path, versions }),
        1 => (path(), versions()).prop_map(|(path, versions)| Step::Destroy { path, versions }),
        1 => path().prop_map(|path| Step::DeleteMetadata { path }),
        1 => (path(), 0..4_u32).prop_map(|(path, versions)| Step::KeepVersions { path, versions }),
        1 => (path(), 0..5_u64).prop_map(|(path, seconds)| Step::DeleteAfter { path, seconds }),
        1 => (0..4_u64).prop_map(|seconds| Step::Wait { seconds }),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_requests_come_to_what_the_model_says(steps in steps()) {
        let mut bench = Bench::with_mounts();
        let mut model = Model::default();
        for step in &steps {
            if let Step::Wait { seconds } = step {
                bench.now_ms += seconds * 1_000;
                continue;
            }
            let (line, status) = model.take(step, bench.now_ms + 1);
            let answer = bench.send(&line);
            prop_assert_eq!(answer.status, status, "{}: {}", line, answer.error);
        }
        compare(&mut bench, &model);
    }
}
