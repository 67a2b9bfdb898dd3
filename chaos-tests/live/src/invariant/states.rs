//! Nodes that have applied the same entries have the same state: their hashes are equal at equal indexes.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::Value;

use crate::cluster::{Cluster, name};

/// What a node counts that has found its state to differ from a peer's.
const MISMATCHES: &str = "conclave_state_hash_mismatches_total";

/// What was compared, and what was wrong.
#[derive(Debug, Default)]
pub struct Compared {
    /// Pairs of hashes at one index.
    pub pairs: u64,
    pub violations: Vec<String>,
}

pub async fn compare(cluster: &Cluster) -> Compared {
    let mut compared = Compared::default();
    let mut hashes = Vec::new();
    for node in 0..cluster.nodes() {
        match cluster.api(node).metric(MISMATCHES).await {
            Ok(count) if count > 0.0 => {
                compared.violations.push(format!("{}: its state differs from a peer's", name(node)));
            }
            Ok(_) => {}
            Err(error) => compared.violations.push(format!("{error:#}")),
        }
        match cluster.api(node).call(Method::GET, "sys/host-info", None).await {
            Ok(answer) => hashes.push((name(node), by_index(&answer["data"]["state"]["hashes"]))),
            Err(error) => compared.violations.push(format!("{error:#}")),
        }
    }
    compare_hashes(&hashes, &mut compared);
    compared
}

fn by_index(hashes: &Value) -> BTreeMap<u64, String> {
    let hashes = hashes.as_array().into_iter().flatten();
    hashes.filter_map(|at| Some((at["index"].as_u64()?, at["hash"].as_str()?.to_owned()))).collect()
}

fn compare_hashes(nodes: &[(String, BTreeMap<u64, String>)], compared: &mut Compared) {
    for (place, (first, ours)) in nodes.iter().enumerate() {
        for (second, theirs) in &nodes[place + 1..] {
            for (index, hash) in ours {
                let Some(other) = theirs.get(index) else { continue };
                compared.pairs += 1;
                if hash != other {
                    let found = format!("the states of {first} and {second} differ at index {index}");
                    compared.violations.push(found);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hashes_are_compared_where_both_nodes_have_one() {
        let node = |name: &str, hashes: Value| (name.to_owned(), by_index(&hashes));
        let hash = |index: u64, hash: &str| json!({"index": index, "hash": hash});
        let nodes = [
            node("n1", json!([hash(1, "a"), hash(2, "b")])),
            node("n2", json!([hash(2, "b"), hash(3, "c")])),
            node("n3", json!([hash(3, "x")])),
        ];
        let mut compared = Compared::default();
        compare_hashes(&nodes, &mut compared);
        assert_eq!(compared.pairs, 2);
        assert_eq!(compared.violations, ["the states of n2 and n3 differ at index 3"]);
    }
}
