//! The figures as one Markdown table. A failure is written beside its figure, never left out.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::arguments::Arguments;
use crate::cores::Cores;
use crate::failover::Failover;
use crate::leases::Leases;
use crate::load::{Rate, Work};
use crate::logins::Logins;
use crate::million::Million;
use crate::throughput::{AUDITED, At, Figure, SECRETS, Throughput};

pub struct Report {
    preamble: String,
    rows: Vec<[String; 5]>,
}

/// What stands where there is nothing to compare.
const NONE: &str = "";

impl Report {
    pub fn new(arguments: &Arguments, cores: Cores) -> anyhow::Result<Self> {
        let version = |program: &std::path::Path, argument: &str| {
            let output = Command::new(program).arg(argument).output();
            let output = output.with_context(|| format!("cannot run {}", program.display()))?;
            let text = String::from_utf8_lossy(&output.stdout);
            anyhow::Ok(text.lines().next().unwrap_or_default().trim().to_owned())
        };
        let conclave = version(&arguments.conclave, "--version")?;
        let openbao = version(&arguments.bao(), "version")?;
        let preamble = format!(
            "{} · {conclave} · {openbao} · {} · three nodes each on loopback, no TLS · load: wrk, {} s \
             a figure, {cores}",
            jiff::Timestamp::now().strftime("%F %H:%M UTC"),
            machine(),
            arguments.seconds
        );
        Ok(Self { preamble, rows: Vec::new() })
    }

    /// Without an audit trail, beside the ceilings.
    pub fn throughput(&mut self, ours: &Throughput, theirs: &Throughput, reads: &Rate, writes: f64) {
        let connections = ours.connections;
        for (Figure { work, at }, (ours, theirs)) in SECRETS.iter().zip(ours.rates.iter().zip(&theirs.rates))
        {
            let ceiling = if *work == Work::Write { writes } else { reads.per_second };
            let share = format!("{:.0} % of {}", 100.0 * ours.per_second / ceiling, thousands(ceiling));
            let figure = format!("{connections} connections: {work} {at}{}, /s", consistency(*work, *at));
            self.rate(&figure, ours, theirs, &share);
        }
        let figure = format!("{connections} connections: ceiling: bare hyper with the same bytes, /s");
        self.row([&figure, &rate_cell(reads), NONE, NONE, NONE]);
        let figure = format!("{connections} connections: ceiling: bare openraft on RocksDB with fsync, /s");
        self.row([&figure, &thousands(writes), NONE, NONE, NONE]);
    }

    /// With an audit trail.
    pub fn audited(&mut self, ours: &Throughput, theirs: &Throughput) {
        let connections = ours.connections;
        for (Figure { work, at }, (ours, theirs)) in AUDITED.iter().zip(ours.rates.iter().zip(&theirs.rates))
        {
            let figure =
                format!("{connections} connections, file audit: {work} {at}{}, /s", consistency(*work, *at));
            self.rate(&figure, ours, theirs, NONE);
        }
    }

    /// What very many logins leave behind.
    pub fn logins(&mut self, ours: &Logins, theirs: &Logins) {
        let with = |what: &str| format!("{} logins: {what}", thousands(f64::from(ours.count)));
        let mut compare = |what: &str, mine: u64, other: u64| {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
            let share = format!("{:.0} % of OpenBao's", 100.0 * mine as f64 / other as f64);
            self.row([&with(what), &mebibytes(mine), &mebibytes(other), &share, NONE]);
        };
        compare("resident memory they added, leader", ours.memory_bytes, theirs.memory_bytes);
        compare("disk they added, a node", ours.disk_bytes, theirs.disk_bytes);
    }

    pub fn failover(&mut self, ours: &Failover, theirs: &Failover) {
        let cell = |gap: Duration, of: &Failover| format!("{} ms ({} kills)", gap.as_millis(), of.gaps.len());
        let mut gap = |figure: &str, pick: fn(&Failover) -> Duration| {
            let (mine, other) = (pick(ours), pick(theirs));
            let ratio = times(other.as_secs_f64() / mine.as_secs_f64());
            self.row([figure, &cell(mine, ours), &cell(other, theirs), &ratio, NONE]);
        };
        gap("write gap after SIGKILL of the leader, median", Failover::median);
        gap("write gap after SIGKILL of the leader, longest", Failover::longest);
        let failed = |of: &Failover| format!("{} of {}", of.patient_failed, of.patient);
        let figure = "writes that failed meanwhile, client retries as `bao` (twice, 1 s apart)";
        self.row([figure, &failed(ours), &failed(theirs), NONE, NONE]);
    }

    pub fn million(&mut self, million: &Million) {
        let with = |what: &str| format!("{} secrets: {what}", thousands(million.secrets as f64));
        let mut own = |what: &str, value: String| self.row([&with(what), &value, NONE, NONE, NONE]);
        own("time to write them", format!("{:.0} s", million.fill.as_secs_f64()));
        own("resident memory, largest node", mebibytes(million.resident_bytes));
        own("disk a node, with log", mebibytes(million.disk_bytes));
        own(
            "killed node started until its first linearizable read",
            format!("{} ms", million.restart.as_millis()),
        );
        let takeover = &million.takeover;
        let kills = takeover.gaps.len();
        own(
            "write gap after SIGKILL, median",
            format!("{} ms ({kills} kills)", takeover.median().as_millis()),
        );
        own("write gap after SIGKILL, longest", format!("{} ms", takeover.longest().as_millis()));
        own("writes that failed meanwhile", format!("{} of {}", takeover.patient_failed, takeover.patient));
    }

    pub fn leases(&mut self, leases: &Leases) {
        let with = [thousands(0.0), thousands(leases.leases as f64)];
        let mut own = |of: &str, what: &str, value: String| {
            self.row([&format!("{of} leases of tokens: {what}"), &value, NONE, NONE, NONE]);
        };
        let rate = leases.leases as f64 / leases.fill.as_secs_f64();
        own(&with[1], "AppRole logins, /s, all nodes", thousands(rate));
        for (of, resident_bytes) in with.iter().zip(leases.resident_bytes) {
            own(of, "resident memory, largest follower", mebibytes(resident_bytes));
        }
        for (of, takeover) in with.iter().zip(&leases.takeover) {
            let kills = takeover.gaps.len();
            let median = format!("{} ms ({kills} kills)", takeover.median().as_millis());
            own(of, "write gap after SIGKILL, median", median);
            own(of, "write gap after SIGKILL, longest", format!("{} ms", takeover.longest().as_millis()));
            let failed = format!("{} of {}", takeover.patient_failed, takeover.patient);
            own(of, "writes that failed meanwhile", failed);
        }
    }

    fn rate(&mut self, figure: &str, ours: &Rate, theirs: &Rate, share: &str) {
        let ratio = times(ours.per_second / theirs.per_second);
        self.row([figure, &rate_cell(ours), &rate_cell(theirs), &ratio, share]);
    }

    fn row(&mut self, cells: [&str; 5]) {
        self.rows.push(cells.map(str::to_owned));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.preamble)?;
        writeln!(f, "| figure | Conclave | OpenBao | ratio | of the ceiling |")?;
        writeln!(f, "|---|---|---|---|---|")?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        Ok(())
    }
}

/// Said where the two systems do not answer the same question.
fn consistency(work: Work, at: At) -> &'static str {
    match (work, at) {
        (Work::Read, At::Follower(_)) => " (Conclave linearizable, OpenBao stale)",
        _ => NONE,
    }
}

fn rate_cell(rate: &Rate) -> String {
    let failed = if rate.failed == 0 { String::new() } else { format!(", **{} FAILED**", rate.failed) };
    format!("{} (p50 {}, p99 {}{failed})", thousands(rate.per_second), rate.median, rate.p99)
}

fn times(ratio: f64) -> String {
    format!("**{ratio:.1}x**")
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", thousands((bytes / (1024 * 1024)) as f64))
}

/// `1234567.8` as `1,234,568`.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Cores, memory and processor, as far as Linux tells.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let line = |file: &str, mark: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(mark)).map(str::to_owned);
        line.and_then(|line| line.split_once(':').map(|(_, value)| value.trim().to_owned()))
            .unwrap_or_default()
    };
    let memory_kib: u64 = line("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    format!("{cores} cores ({}), {} GiB", line("/proc/cpuinfo", "model name"), memory_kib / (1024 * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!([0.0, 999.4, 1000.0, 1_234_567.8].map(thousands), ["0", "999", "1,000", "1,234,568"]);
    }

    #[test]
    fn a_failed_request_stands_beside_the_rate() {
        let mut rate = Rate { per_second: 2070.0, median: "1ms".into(), p99: "2ms".into(), failed: 0 };
        assert_eq!(rate_cell(&rate), "2,070 (p50 1ms, p99 2ms)");
        rate.failed = 3;
        assert!(rate_cell(&rate).contains("3 FAILED"));
    }
}
