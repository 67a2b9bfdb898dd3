//! One simulation: a cluster is founded, worked on and broken, healed, and judged.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail, ensure};
use conclave_node::identity::ClusterCa;
use conclave_oracle::judge::{Judgement, judge};
use conclave_storage::types::Node as Address;
use http::Method;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::clients::Clients;
use crate::disk::{Bug, SimDisk};
use crate::faults::{Faults, Schedule};
use crate::host::{Host, Settings, name};
use crate::invariants::{Checked, Invariants};
use crate::net::Net;
use crate::random::Dice;
use crate::request;

/// The simulation moves on by this much at a time.
const TICK_US: u64 = 1_000;
/// How long founding may take, and healing.
const FOUNDING_US: u64 = 60_000_000;
const HEALING_US: u64 = 60_000_000;
/// The key that unseals the simulated nodes.
const SEAL_KEY: [u8; 32] = [7; 32];

/// What a seed is run with.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    /// How long faults go on, in milliseconds of simulated time.
    pub trouble_ms: u64,
    pub bug: Option<Bug>,
}

/// What came of a seed. Two runs of one plan give the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Report {
    pub seed: u64,
    pub nodes: u64,
    /// Why it is not clean.
    pub violation: Option<String>,
    pub trace: u64,
    pub simulated_ms: u64,
    pub operations: u64,
    pub ok: u64,
    pub unknown: u64,
    pub frames: u64,
    pub broken_calls: u64,
    pub syncs: u64,
    pub faults: Faults,
    pub checked: Checked,
}

struct World {
    now_us: u64,
    hosts: Vec<Host>,
    net: Arc<Net>,
    settings: Settings,
    dice: Dice,
    invariants: Invariants,
}

/// Runs a seed in `directory`, which must be empty.
///
/// # Errors
/// The simulation itself failed.
pub fn run(plan: Plan, directory: &Path) -> Result<Report> {
    let mut world = World::new(plan, directory)?;
    let mut report = Report { seed: plan.seed, nodes: world.hosts.len() as u64, ..Report::default() };
    let mut clients = Clients::new(5, 4, &mut world.dice);
    let violation = world.live(plan, &mut clients, &mut report);
    let passed = world.net.summary();
    report.simulated_ms = world.now_us / 1_000;
    report.checked = world.invariants.checked;
    (report.frames, report.broken_calls) = (passed.frames, passed.broken_calls);
    report.faults.snapshots_sent = passed.snapshots_sent;
    report.faults.lost_nodes = world.hosts.iter().filter(|host| host.lost).count() as u64;
    for host in &world.hosts {
        let (syncs, lost) = host.disk.counts();
        report.syncs += syncs;
        report.faults.lost_writes += lost;
    }
    let judged = judge(&clients.history);
    (report.operations, report.ok) = (judged.operations as u64, judged.ok as u64);
    report.unknown = judged.unknown as u64;
    let mut all = world.invariants.trace;
    all.note(&[passed.trace, report.operations, report.ok, report.unknown]);
    report.trace = all.0;
    report.violation = match violation {
        Err(error) => Some(format!("{error:#}")),
        Ok(()) if judged.judgement() != Judgement::Clean => Some(judged.to_string()),
        Ok(()) => None,
    };
    Ok(report)
}

impl World {
    fn new(plan: Plan, directory: &Path) -> Result<Self> {
        let mut dice = Dice::new(plan.seed);
        let net = Net::new(dice.split());
        let count = if dice.chance(250) { 5 } else { 3 };
        let mut hosts = Vec::new();
        for node_id in 1..=count {
            let home = directory.join(name(node_id));
            std::fs::create_dir_all(&home)?;
            std::fs::write(directory.join("seal-key"), SEAL_KEY)?;
            hosts.push(Host::new(node_id, home, Arc::clone(&net), SimDisk::new(dice.split(), plan.bug)));
        }
        let settings =
            Settings { snapshot_after_entries: dice.range(20, 200), entries_kept: dice.range(1, 60) };
        Ok(Self { now_us: 0, hosts, net, settings, dice, invariants: Invariants::default() })
    }

    fn live(&mut self, plan: Plan, clients: &mut Clients, report: &mut Report) -> Result<()> {
        self.found().context("founding the cluster")?;
        let mut schedule = Schedule::new(self.dice.split(), self.now_us);
        let until = self.now_us + plan.trouble_ms * 1_000;
        while self.now_us < until {
            schedule.step(self.now_us, &mut self.hosts, &self.net, &self.settings)?;
            report.faults = schedule.done;
            self.tick(Some((clients, true)))?;
        }
        schedule.end(self.now_us, &mut self.hosts, &self.net, &self.settings)?;
        self.heal(clients)
    }

    /// Everything that happens in one tick.
    fn tick(&mut self, clients: Option<(&mut Clients, bool)>) -> Result<()> {
        self.now_us += TICK_US;
        self.net.deliver(self.now_us);
        if let Some((clients, asking)) = clients {
            clients.step(self.now_us, &self.hosts, asking)?;
        }
        let first = self.dice.range(0, self.hosts.len() as u64) as usize;
        for at in 0..self.hosts.len() {
            let place = (first + at) % self.hosts.len();
            self.hosts[place].step(self.now_us)?;
        }
        self.invariants.check(self.now_us, &self.hosts)
    }

    /// Waits for `done`, in simulated time.
    fn until(
        &mut self,
        limit_us: u64,
        what: &str,
        mut done: impl FnMut(&Self) -> Result<bool>,
    ) -> Result<()> {
        let deadline = self.now_us + limit_us;
        while !done(self)? {
            ensure!(self.now_us < deadline, "never came true: {what}");
            self.tick(None)?;
        }
        Ok(())
    }

    /// Asks until the answer is a success.
    fn insist(&mut self, host: usize, method: &Method, path: &str, body: &Value) -> Result<Value> {
        let deadline = self.now_us + FOUNDING_US;
        loop {
            let slot = self.hosts[host].ask(request::call(method, path, &[], body)?);
            self.until(FOUNDING_US, path, |_| Ok(slot.lock().is_some()))?;
            let Some(answer) = slot.lock().take() else { bail!("an answer was taken twice") };
            let said = request::json_of(&answer)?;
            if (200..300).contains(&answer.status) {
                return Ok(said);
            }
            ensure!(self.now_us < deadline, "{path} is refused: {} {said}", answer.status);
        }
    }

    fn found(&mut self) -> Result<()> {
        for host in &mut self.hosts {
            host.start(&self.settings, self.now_us)?;
        }
        self.insist(0, &Method::PUT, "sys/init", &json!({}))?;
        let cluster = self.hosts[0].cluster().context("no cluster after init")?;
        // Nobody checks certificates here, so any authority of that cluster's name will do.
        let ca = ClusterCa::generate(cluster.cluster_id, SystemTime::now())?;
        for at in 1..self.hosts.len() {
            self.hosts[at].join(&ca)?;
            let node_id = self.hosts[at].node_id;
            let address = Address {
                name: name(node_id),
                api_addr: format!("http://{}", name(node_id)),
                cluster_addr: format!("{}:1", name(node_id)),
            };
            let (membership, told) = (cluster.membership.clone(), Arc::new(Mutex::new(None)));
            let tell = Arc::clone(&told);
            self.hosts[0].spawn(async move {
                let added = membership.add_learner(node_id, address).await;
                *tell.lock() = Some(added);
            });
            self.until(FOUNDING_US, "a node is added", |_| Ok(told.lock().is_some()))?;
            let added = told.lock().take();
            added.context("no answer")??;
        }
        let voters = self.hosts.len() - 1;
        self.until(FOUNDING_US, "all nodes vote and are unsealed", |world| {
            let sealed = |host: &Host| host.cluster().is_none_or(|cluster| cluster.seal.is_sealed());
            Ok(cluster.other_voters().len() == voters && !world.hosts.iter().any(sealed))
        })?;
        let mount = json!({ "type": "kv", "options": { "version": "2" } });
        self.insist(0, &Method::POST, "sys/mounts/secret", &mount)?;
        Ok(())
    }

    /// Without faults, every node serves everything again.
    fn heal(&mut self, clients: &mut Clients) -> Result<()> {
        let deadline = self.now_us + HEALING_US;
        while !clients.is_idle() {
            ensure!(self.now_us < deadline, "clients still wait");
            self.tick(Some((clients, false)))?;
        }
        let healthy = |host: &Host| {
            host.cluster().is_some_and(|cluster| !cluster.seal.is_sealed() && cluster.leader().is_some())
        };
        self.until(HEALING_US, "every node is unsealed and has a leader", |world| {
            Ok(world.hosts.iter().filter(|host| !host.lost).all(healthy))
        })?;
        // The last answer was told in this tick: what is asked from now on came after it.
        self.tick(None)?;
        // A read that is refused proves nothing yet: it is asked again.
        loop {
            let mut reads = clients.final_reads(self.now_us, &self.hosts)?;
            let mut refused = false;
            while !reads.is_empty() {
                ensure!(self.now_us < deadline + HEALING_US, "final reads are not answered");
                self.tick(None)?;
                let mut waiting = Vec::new();
                for read in reads {
                    match read.collect(self.now_us)? {
                        Some(operation) => {
                            refused |= !matches!(operation.outcome, conclave_oracle::history::Outcome::Ok(_));
                            clients.history.push(operation);
                        }
                        None => waiting.push(read),
                    }
                }
                reads = waiting;
            }
            if !refused {
                break;
            }
        }
        let applied = |host: &Host| host.cluster().map(|cluster| cluster.reader.applied_index());
        self.until(HEALING_US, "every node has applied everything", |world| {
            let mut applied = world.hosts.iter().filter(|host| !host.lost).map(applied);
            let first = applied.next();
            Ok(applied.all(|other| Some(other) == first))
        })?;
        let members = self.hosts.iter().filter(|host| !host.lost);
        let hashes: Result<Vec<_>> =
            members.map(|host| Ok(host.cluster().context("down")?.reader.state_hash()?)).collect();
        ensure!(hashes?.windows(2).all(|pair| pair[0] == pair[1]), "the states differ in the end");
        Ok(())
    }
}
