//! The node's machine and its metrics.

use std::fs;

use conclave_core::plan::Reply;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::metrics;
use crate::service::Service;
use crate::service::answer::Answer;
use crate::service::call::Call;
use crate::service::failure::Failure;

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `sys/host-info`: what Linux tells under `/proc`, and how far this node's state is.
pub async fn host_info(service: &Service, call: &Call) -> Result<Answer, Failure> {
    let data_dir = service.node().config.data_dir.clone();
    let cluster = service.node().cluster();
    let data = tokio::task::spawn_blocking(move || {
        let uname = rustix::system::uname();
        let disk = rustix::fs::statvfs(&data_dir).ok();
        json!({
            "timestamp": conclave_core::engine::time_text(crate::raft::clock::wall_clock_ms()),
            "host": {
                "hostname": uname.nodename().to_string_lossy(),
                "os": "linux",
                "kernelVersion": uname.release().to_string_lossy(),
                "kernelArch": uname.machine().to_string_lossy(),
                "uptime": first_number("/proc/uptime"),
            },
            "cpu": cpus(),
            "memory": memory(),
            "disk": disk.map(|disk| json!([{
                "path": data_dir.display().to_string(),
                "total": disk.f_blocks * disk.f_frsize,
                "free": disk.f_bavail * disk.f_frsize,
            }])),
            "state": cluster.map(|cluster| state(&cluster)),
        })
    })
    .await
    .map_err(Failure::internal)?;
    Ok(Answer::enveloped(&call.request_id, &Reply::json(&data), None))
}

/// Hashes of the state at indexes that all nodes pass, to be compared with other nodes' at the same index (I2).
fn state(cluster: &Cluster) -> Value {
    let hashes = cluster.reader.state_hashes().unwrap_or_else(|error| {
        tracing::error!(%error, "the state's hashes cannot be read");
        Vec::new()
    });
    let hashes: Vec<_> =
        hashes.iter().map(|at| json!({ "index": at.index, "hash": hex::encode(at.hash) })).collect();
    json!({ "applied_index": cluster.reader.applied_index(), "hashes": hashes })
}

fn first_number(path: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?.parse().ok()
}

fn cpus() -> Vec<Value> {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .filter_map(|line| line.strip_prefix("model name"))
        .enumerate()
        .map(|(cpu, rest)| json!({ "cpu": cpu, "modelName": rest.trim_start_matches([' ', '\t', ':']) }))
        .collect()
}

/// `/proc/meminfo` in bytes, under the names that Vault's clients know.
fn memory() -> Value {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    };
    json!({ "total": bytes("MemTotal:"), "available": bytes("MemAvailable:"), "free": bytes("MemFree:") })
}

/// `sys/metrics`: Prometheus text, or a JSON form of the same for clients that ask for none.
pub fn metrics(service: &Service, cluster: &Cluster, call: &Call) -> Result<Answer, Failure> {
    metrics::observe(cluster);
    service.node().audit().observe();
    let text = service.node().prometheus.as_ref().map(metrics_exporter_prometheus::PrometheusHandle::render);
    let text = text.unwrap_or_default();
    match call.query.first("format") {
        Some("prometheus") => Ok(Answer { content_type: PROMETHEUS, ..Answer::new(200, text) }),
        None | Some("") => Ok(Answer::bare(200, &as_json(&text))),
        Some(_) => Err(Failure::invalid("the query parameter 'format' must be 'prometheus' or absent")),
    }
}

/// Each sample as `{"Name", "Value", "Labels"}`, in the place where Vault has its gauges.
fn as_json(text: &str) -> Value {
    let gauges: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (sample, value) = line.rsplit_once(' ')?;
            let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
            let labels: serde_json::Map<_, _> = labels
                .trim_end_matches('}')
                .split(',')
                .filter_map(|label| {
                    let (name, value) = label.split_once('=')?;
                    Some((name.to_owned(), json!(value.trim_matches('"'))))
                })
                .collect();
            Some(json!({ "Name": name, "Value": value.parse::<f64>().ok()?, "Labels": labels }))
        })
        .collect();
    json!({ "Gauges": gauges, "Counters": [], "Samples": [], "Points": [] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_text_becomes_json_samples() {
        let json = as_json("# HELP x\nx_total{operation=\"secret_read\",status=\"2xx\"} 3\ny 1.5\n");
        assert_eq!(json["Gauges"][0]["Labels"]["status"], "2xx");
        assert_eq!(json["Gauges"][1], json!({ "Name": "y", "Value": 1.5, "Labels": {} }));
    }
}
