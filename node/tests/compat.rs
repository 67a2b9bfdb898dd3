//! Clients that were not written for Conclave: OpenBao's `bao` and Python's `hvac`, against three real nodes.
//!
//! The scripts are in `wire/`; each says on its last line what did not hold. `make setup` installs both clients,
//! pinned in `wire/requirements.txt`; without them these tests fail, since a skipped test proves nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

#[test]
fn bao_reads_and_writes_secrets_at_every_node() {
    run("bao_kv.py");
}

#[test]
fn bao_manages_mounts_and_shows_the_cluster() {
    run("bao_sys.py");
}

/// On nodes of its own, as every script that compares lists or needs the one ceremony there is for itself.
#[test]
fn bao_makes_root_tokens_replaces_keys_and_unwraps() {
    run_on(&DevCluster::start(), "bao_roots.py");
}

#[test]
fn hvac_reads_and_writes_secrets_at_every_node() {
    run("hvac_kv.py");
}

#[test]
fn bao_and_hvac_log_in_at_every_node() {
    run("logins.py");
}

#[test]
fn bao_and_hvac_go_through_tokens_policies_leases_wrapping_and_audit_at_every_node() {
    run_on(&DevCluster::start(), "rounds.py");
}

/// Against moto, which makes keys and checks signatures.
#[test]
fn hvac_logs_in_by_aws_iam_at_every_node() {
    run_on(&DevCluster::start(), "aws_logins.py");
}

#[test]
fn answers_are_those_of_openbao_but_for_the_listed_differences() {
    run_on(&DevCluster::start(), "same_answers.py");
}

#[test]
fn token_roles_batch_tokens_and_identity_are_those_of_openbao_but_for_the_listed_differences() {
    run_on(&DevCluster::start(), "same_identity.py");
}

#[test]
fn logins_by_tokens_of_others_are_those_of_openbao_but_for_the_listed_differences() {
    run_on(&DevCluster::start(), "same_jwt.py");
}

#[test]
fn login_mfa_and_certificate_roles_are_those_of_openbao_but_for_the_listed_differences() {
    run_on(&DevCluster::start(), "same_mfa.py");
}

#[test]
fn bao_and_hvac_prove_a_second_factor_and_log_in_by_certificate() {
    run("proofs.py");
}

#[test]
fn leases_are_those_of_openbao_but_for_the_listed_differences_and_bao_works_with_them() {
    run_on(&DevCluster::start(), "same_leases.py");
}

#[track_caller]
fn run(script: &str) {
    run_on(&DevCluster::shared(), script);
}

#[track_caller]
fn run_on(cluster: &DevCluster, script: &str) {
    let venv = venv();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(script);
    let output = Command::new(venv.join("bin/python"))
        .arg(&path)
        .env("CLUSTER_JSON", cluster.folder.path().join("cluster/cluster.json"))
        .env("BAO", venv.join("bin/bao"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // No address or token of the person who runs the tests may leak into them.
        .env_remove("VAULT_ADDR")
        .env_remove("VAULT_TOKEN")
        .env_remove("VAULT_NAMESPACE")
        .env_remove("BAO_ADDR")
        .env_remove("BAO_TOKEN")
        .output()
        .expect("the virtual environment has a Python");
    assert!(
        output.status.success(),
        "{script}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Where `make setup` installs the clients: beside the folder that cargo gives tests.
fn venv() -> PathBuf {
    let target =
        Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("cargo's folder lies in the target folder");
    let venv = target.join("venv");
    for program in ["python", "bao"] {
        let path = venv.join("bin").join(program);
        assert!(path.exists(), "{} is missing: run `make setup`", path.display());
    }
    venv
}

/// Three nodes of `conclave dev`, shared by the tests that run at the same time.
struct DevCluster {
    folder: tempfile::TempDir,
}

impl DevCluster {
    fn shared() -> Arc<Self> {
        static RUNNING: Mutex<Weak<DevCluster>> = Mutex::new(Weak::new());
        // A test that failed has poisoned nothing: the cluster is either there or not.
        let mut running = RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(cluster) = running.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(Self::start());
        *running = Arc::downgrade(&cluster);
        cluster
    }

    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let output = conclave()
            .args(["dev", "--nodes", "3", "--base-port", "0", "--detach", "--json", "--dir"])
            .arg(folder.path().join("cluster"))
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "conclave dev: {}", String::from_utf8_lossy(&output.stderr));
        Self { folder }
    }
}

impl Drop for DevCluster {
    fn drop(&mut self) {
        let stopped = conclave().args(["dev", "--stop"]).arg(self.folder.path().join("cluster")).output();
        assert!(stopped.is_ok_and(|output| output.status.success()) || std::thread::panicking());
    }
}

fn conclave() -> Command {
    Command::new(env!("CARGO_BIN_EXE_conclave"))
}
