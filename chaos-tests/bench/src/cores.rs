//! Who runs where while rates are measured: the load has cores of its own, and the servers have the rest.
//!
//! A client's processor time is not the server's, and people's clients run on other machines. On shared cores the
//! load takes from each server in proportion to how many answers that server gives: the faster one is measured as
//! slower than it is. Both systems and both ceilings get the same cores.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A quarter of the cores is the load's, and at least one.
const LOAD_SHARE: usize = 4;

#[derive(Clone, Copy)]
pub struct Cores {
    servers: CpuSet,
    load: CpuSet,
    /// Whether the two are the same cores.
    shared: bool,
}

impl Cores {
    /// All to all where they must be shared: on demand, or because there is but one.
    pub fn divide(shared: bool) -> anyhow::Result<Self> {
        let all = sched_getaffinity(None)?;
        let numbers: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|number| all.is_set(*number)).collect();
        if shared || numbers.len() < 2 {
            return Ok(Self { servers: all, load: all, shared: true });
        }
        let (load, servers) = numbers.split_at((numbers.len() / LOAD_SHARE).max(1));
        Ok(Self { servers: set_of(servers), load: set_of(load), shared: false })
    }

    /// How many threads the load may keep busy.
    pub fn load_threads(&self) -> u32 {
        if self.shared { 1 } else { self.load.count() }
    }

    /// Runs `work` on a thread that, with all that it starts, has the servers' cores.
    pub fn as_server<T: Send>(&self, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        on(&self.servers, work)
    }

    /// Runs `work` on a thread that, with all that it starts, has the load's cores.
    pub fn as_load<T: Send>(&self, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        on(&self.load, work)
    }
}

impl std::fmt::Display for Cores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.shared {
            return f.write_str("on the servers' cores");
        }
        write!(f, "on {} of the cores, the servers on the other {}", self.load.count(), self.servers.count())
    }
}

fn set_of(numbers: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    for number in numbers {
        set.set(*number);
    }
    set
}

/// Linux hands a thread's cores down to the threads and processes that it starts.
fn on<T: Send>(cores: &CpuSet, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            sched_setaffinity(None, cores)?;
            work()
        });
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> anyhow::Result<u32> {
        Ok(sched_getaffinity(None)?.count())
    }

    #[test]
    fn load_and_servers_have_all_cores_and_none_in_common() {
        let cores = Cores::divide(false).unwrap();
        let all = allowed().unwrap();
        if all < 2 {
            return assert!(cores.shared);
        }
        assert_eq!(cores.load.count() + cores.servers.count(), all);
        assert!((0..CpuSet::MAX_CPU).all(|n| !(cores.load.is_set(n) && cores.servers.is_set(n))));
    }

    #[test]
    fn what_a_server_starts_has_the_servers_cores() {
        let cores = Cores::divide(false).unwrap();
        let of_a_thread_below = cores.as_server(|| std::thread::spawn(allowed).join().unwrap()).unwrap();
        assert_eq!(of_a_thread_below, cores.servers.count());
    }

    #[test]
    fn shared_cores_are_all_to_both() {
        let cores = Cores::divide(true).unwrap();
        assert_eq!(cores.as_load(allowed).unwrap(), allowed().unwrap());
    }
}
