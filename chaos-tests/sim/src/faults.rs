//! What goes wrong, and when: drawn from the seed.

use crate::host::{Host, Settings};
use crate::net::{Net, Weather};
use crate::random::Dice;

/// Between two faults.
const CALM_US: (u64, u64) = (50_000, 1_500_000);
/// How long a node stays down, paused, or cut off.
const LASTING_US: (u64, u64) = (20_000, 3_000_000);
/// How far a wall clock may be set off, milliseconds: a day.
const WALL_OFFSET_MS: u64 = 86_400_000;

/// How often each happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Faults {
    pub kills: u64,
    pub leader_kills: u64,
    pub power_cuts: u64,
    pub power_cuts_of_all: u64,
    pub partitions: u64,
    pub one_way: u64,
    pub pauses: u64,
    pub leader_pauses: u64,
    pub storms: u64,
    pub clock_jumps: u64,
    pub transfers: u64,
    pub lost_writes: u64,
    /// Nodes that gave up what a power cut had left: see `Host::lost`.
    pub lost_nodes: u64,
    pub snapshots_sent: u64,
}

pub struct Schedule {
    dice: Dice,
    next_us: u64,
    /// What is to be undone, and when.
    undo: Vec<(u64, Undo)>,
    pub done: Faults,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undo {
    Start(u64),
    Resume(u64),
    Heal,
    FairWeather,
}

impl Schedule {
    pub fn new(dice: Dice, begins_us: u64) -> Self {
        Self { dice, next_us: begins_us, undo: Vec::new(), done: Faults::default() }
    }

    /// # Errors
    /// A node does not start again.
    pub fn step(
        &mut self,
        now_us: u64,
        hosts: &mut [Host],
        net: &Net,
        settings: &Settings,
    ) -> anyhow::Result<()> {
        let (due, later) = self.undo.iter().copied().partition(|(at, _)| *at <= now_us);
        self.undo = later;
        for (_, undo) in due as Vec<(u64, Undo)> {
            self.undo_one(undo, now_us, hosts, net, settings)?;
        }
        if now_us >= self.next_us {
            self.next_us = now_us + self.dice.range(CALM_US.0, CALM_US.1);
            self.break_something(now_us, hosts, net);
        }
        Ok(())
    }

    /// Undoes everything now.
    ///
    /// # Errors
    /// A node does not start again.
    pub fn end(
        &mut self,
        now_us: u64,
        hosts: &mut [Host],
        net: &Net,
        settings: &Settings,
    ) -> anyhow::Result<()> {
        for (_, undo) in std::mem::take(&mut self.undo) {
            self.undo_one(undo, now_us, hosts, net, settings)?;
        }
        Ok(())
    }

    fn undo_one(
        &mut self,
        undo: Undo,
        now_us: u64,
        hosts: &mut [Host],
        net: &Net,
        settings: &Settings,
    ) -> anyhow::Result<()> {
        match undo {
            Undo::Heal => net.heal(),
            Undo::FairWeather => net.set_weather(Weather::FAIR),
            Undo::Start(node_id) => {
                for host in hosts.iter_mut().filter(|host| host.node_id == node_id && !host.is_up()) {
                    host.start(settings, now_us)?;
                }
            }
            Undo::Resume(node_id) => {
                net.freeze(node_id, false);
                for host in hosts.iter_mut().filter(|host| host.node_id == node_id) {
                    host.paused = false;
                }
            }
        }
        Ok(())
    }

    fn break_something(&mut self, now_us: u64, hosts: &mut [Host], net: &Net) {
        let until = now_us + self.dice.range(LASTING_US.0, LASTING_US.1);
        match self.dice.range(0, 100) {
            0..18 => self.crash_one(now_us, until, hosts, false),
            18..36 => self.crash_one(now_us, until, hosts, true),
            36..42 => self.cut_power_of_all(until, hosts),
            42..60 => self.part(until, hosts, net),
            60..78 => self.pause(until, hosts, net),
            78..88 => self.storm(until, net),
            88..94 => self.set_clock(hosts),
            _ => self.hand_over(hosts),
        }
    }

    /// Any node that runs; often the leader, which matters most.
    fn victim<'h>(&mut self, hosts: &'h mut [Host]) -> Option<(&'h mut Host, bool)> {
        let leads = |host: &Host| host.cluster().is_some_and(|cluster| cluster.raft().raft().is_leader());
        let up: Vec<usize> = (0..hosts.len()).filter(|at| hosts[*at].runs()).collect();
        let leader = up.iter().copied().find(|at| leads(&hosts[*at]));
        let place = match leader {
            Some(leader) if self.dice.chance(500) => leader,
            _ if up.is_empty() => return None,
            _ => *self.dice.pick(&up),
        };
        Some((&mut hosts[place], leader == Some(place)))
    }

    fn crash_one(&mut self, _now_us: u64, until: u64, hosts: &mut [Host], power: bool) {
        let Some((host, leads)) = self.victim(hosts) else { return };
        host.crash(power);
        let node_id = host.node_id;
        self.undo.push((until, Undo::Start(node_id)));
        self.done.kills += u64::from(!power);
        self.done.power_cuts += u64::from(power);
        self.done.leader_kills += u64::from(leads);
    }

    fn cut_power_of_all(&mut self, until: u64, hosts: &mut [Host]) {
        for host in hosts.iter_mut().filter(|host| host.is_up()) {
            host.crash(true);
            self.undo.push((until + self.dice.range(0, 500_000), Undo::Start(host.node_id)));
        }
        self.done.power_cuts_of_all += 1;
    }

    fn part(&mut self, until: u64, hosts: &[Host], net: &Net) {
        let mut ids: Vec<u64> = hosts.iter().map(|host| host.node_id).collect();
        self.dice.shuffle(&mut ids);
        let (some, others) = ids.split_at(self.dice.range(1, ids.len() as u64) as usize);
        let one_way = self.dice.chance(350);
        for (one, other) in some.iter().flat_map(|one| others.iter().map(move |other| (*one, *other))) {
            net.block(one, other);
            if !one_way {
                net.block(other, one);
            }
        }
        self.done.partitions += u64::from(!one_way);
        self.done.one_way += u64::from(one_way);
        self.undo.push((until, Undo::Heal));
    }

    fn pause(&mut self, until: u64, hosts: &mut [Host], net: &Net) {
        let Some((host, leads)) = self.victim(hosts) else { return };
        host.paused = true;
        net.freeze(host.node_id, true);
        self.done.pauses += 1;
        self.done.leader_pauses += u64::from(leads);
        let node_id = host.node_id;
        self.undo.push((until, Undo::Resume(node_id)));
    }

    fn storm(&mut self, until: u64, net: &Net) {
        let slowest = self.dice.range(2_000, 120_000);
        net.set_weather(Weather {
            delay_us: (100, slowest),
            lost_in_thousand: self.dice.range(0, 80),
            breaking_in_million: self.dice.range(0, 5_000),
        });
        self.done.storms += 1;
        self.undo.push((until, Undo::FairWeather));
    }

    fn set_clock(&mut self, hosts: &[Host]) {
        let offset_ms = self.dice.range(0, 2 * WALL_OFFSET_MS).cast_signed() - WALL_OFFSET_MS.cast_signed();
        self.dice.pick(hosts).set_wall_offset_ms(offset_ms);
        self.done.clock_jumps += 1;
    }

    fn hand_over(&mut self, hosts: &[Host]) {
        for host in hosts.iter().filter(|host| host.runs()) {
            let Some(cluster) = host.cluster() else { continue };
            if cluster.raft().raft().is_leader() {
                let membership = cluster.membership.clone();
                host.spawn(async move {
                    let _not_taken = membership.transfer_leadership().await;
                });
                self.done.transfers += 1;
            }
        }
    }
}
