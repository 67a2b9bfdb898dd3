//! What leads to each point, done to a node that is to end there.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use conclave_faults::failpoint::Point;

use super::{Deed, Stage};
use crate::cluster::Health;
use crate::net::Cuts;

/// A node that starts may take so long to serve.
pub(super) const UP_MAX: Duration = Duration::from_secs(20);
/// A deed may take so long until the node ends.
const DEED_MAX: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);
/// How often it is looked whether the node has ended.
const LOOK: Duration = Duration::from_millis(5);
/// Longest wait for a leader that was cut off to be replaced.
const CUT_OFF_MAX: Duration = Duration::from_secs(3);
/// How long the others work without it.
const WITHOUT: Duration = Duration::from_millis(200);
/// How long a leader that comes back may take to give up the entries that nobody else has.
const BACK: Duration = Duration::from_millis(1500);
/// How long a read of a key that bursts write to may take.
const READ_MAX: Duration = Duration::from_millis(300);
const BURST_KEY: &str = "secret/data/burst/0";
/// Bursts that bring the log beyond what is kept behind a snapshot.
const BURSTS_TO_PURGE: u32 = 1;
/// Tries of a deed that takes some luck.
const TRIES: u32 = 5;
/// For a seal to be undone by a peer, if that were so: peers try it four times a second.
const STAYS_SEALED: Duration = Duration::from_millis(600);

impl Stage<'_> {
    /// Whether the node ended at its point. What goes wrong before is no matter; what does afterwards is an error.
    pub async fn perform(&self, deed: Deed) -> anyhow::Result<bool> {
        match deed {
            Deed::Load => {
                self.arm().await?;
                self.ends().await
            }
            Deed::Snapshot => {
                self.arm().await?;
                self.ends_during(async || self.burst().await).await
            }
            Deed::Election => {
                self.arm().await?;
                self.ends_during(async || self.move_leadership().await).await
            }
            Deed::Truncate => self.truncate().await,
            Deed::Install => self.install().await,
            Deed::Join => self.join().await,
            Deed::Admit => self.admit().await,
            Deed::Fence => {
                self.arm().await?;
                drop(self.cluster.remove(self.node).await);
                let crashed = self.ends().await?;
                self.come_back(crashed).await
            }
            Deed::Leave => {
                let crashed = self.ends_when_asked("sys/cluster/leave").await?;
                self.come_back(crashed).await
            }
            Deed::Forget => {
                for _ in 0..TRIES {
                    self.ask("sys/cluster/leave").await;
                    if !self.cluster.api(self.node).health().await.serves() {
                        break;
                    }
                }
                drop(self.cluster.kill(self.node).await);
                self.arm().await?;
                self.cluster.start(self.node, None)?;
                let crashed = self.ends().await?;
                self.come_back(crashed).await
            }
            Deed::Rotate => self.ends_when_asked("sys/rotate/keyring").await,
            Deed::Seal => {
                self.arm().await?;
                let both = async || {
                    self.ask("sys/seal").await;
                    drop(self.cluster.unseal(self.node).await);
                };
                let crashed = self.ends_during(both).await?;
                self.come_back_sealed_or_not(crashed).await
            }
            // Done when no client works: see the epilogue.
            Deed::Restore | Deed::Init => Ok(false),
        }
    }

    /// Returns when a node that runs has seen it.
    pub async fn arm(&self) -> anyhow::Result<()> {
        self.cluster.arm(self.node, &self.setting()).await
    }

    /// Waits until the node has ended at its point. Afterwards it is armed no more.
    pub async fn ends(&self) -> anyhow::Result<bool> {
        let ended = self.ends_within(DEED_MAX).await?;
        self.disarmed(ended).await
    }

    /// What came of it, once the node cannot end any more.
    async fn disarmed(&self, ended: Option<bool>) -> anyhow::Result<bool> {
        self.cluster.arm(self.node, "").await?;
        if let Some(crashed) = ended {
            return Ok(crashed);
        }
        // It may have met the point until just now.
        Ok(self.ends_within(Duration::ZERO).await?.unwrap_or(false))
    }

    /// Nothing: it did not end so far.
    async fn ends_within(&self, limit: Duration) -> anyhow::Result<Option<bool>> {
        let began = Instant::now();
        loop {
            let ended = self.cluster.has_crashed(self.node, self.way, self.random.clone()).await?;
            if ended.is_some() || began.elapsed() >= limit {
                return Ok(ended);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Repeats the step until the node has ended. A step is not finished then: a node that stands still answers nobody.
    async fn ends_during(&self, step: impl AsyncFn()) -> anyhow::Result<bool> {
        let repeat = async {
            let deadline = Instant::now() + DEED_MAX;
            while Instant::now() < deadline {
                step().await;
                tokio::task::yield_now().await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = self.ends() => ended,
            () = repeat => Ok(false),
        }
    }

    async fn ends_when_asked(&self, path: &str) -> anyhow::Result<bool> {
        self.arm().await?;
        self.ends_during(async || self.ask(path).await).await
    }

    /// After a crash on its way out, a node knows that it is out; then it joins like one that never was in.
    async fn come_back(&self, crashed: bool) -> anyhow::Result<bool> {
        if crashed {
            self.cluster.start(self.node, None)?;
            // Until it has noted durably that it left, it is a node that was removed.
            let wanted = match self.point {
                Point::FenceSave | Point::DraftWritten | Point::FenceSaved | Point::LeaveMark => {
                    Health::Removed
                }
                _ => Health::NotInitialized,
            };
            let is_out = self.waits_for(self.node, |health| health == wanted).await;
            anyhow::ensure!(
                is_out,
                "a node that is out is {:?} and not {wanted:?}",
                self.cluster.api(self.node).health().await
            );
        }
        let member = self.others()[0];
        if let Some(token) = self.token(self.node, member).await {
            self.cluster.wipe(self.node).await?;
            self.cluster.start(self.node, Some((&self.cluster.url(member), &token)))?;
            self.waits_for(self.node, Health::serves).await;
        }
        Ok(crashed)
    }

    /// After a crash while it was sealed or unsealed, a node is sealed where its mark is on disk, and only there; then it is
    /// unsealed by hand.
    async fn come_back_sealed_or_not(&self, crashed: bool) -> anyhow::Result<bool> {
        self.cluster.start(self.node, None)?;
        let here = |health| health == Health::Sealed || Health::serves(health);
        let wanted = match self.point {
            _ if !crashed => None,
            Point::SealMarked | Point::UnsealMark => Some(true),
            Point::UnsealMarked => Some(false),
            // The mark may be there or not: nobody was answered.
            _ => None,
        };
        if wanted == Some(false) {
            anyhow::ensure!(
                self.waits_for(self.node, Health::serves).await,
                "a node that was unsealed stays sealed"
            );
            return Ok(crashed);
        }
        self.waits_for(self.node, here).await;
        if wanted == Some(true) {
            tokio::time::sleep(STAYS_SEALED).await;
            let health = self.cluster.api(self.node).health().await;
            anyhow::ensure!(health == Health::Sealed, "a node that an operator sealed is {health:?}");
        }
        if self.cluster.api(self.node).health().await == Health::Sealed {
            self.cluster.unseal(self.node).await.context("it was sealed by an operator")?;
        }
        Ok(crashed)
    }

    async fn truncate(&self) -> anyhow::Result<bool> {
        self.arm().await?;
        let mut ended = None;
        for _ in 0..TRIES {
            self.lead().await;
            let cuts = Cuts::isolate(self.node, self.cluster.nodes());
            self.cluster.net.cut(self.cut, cuts).await?;
            // What is written to it now nobody else has.
            tokio::select! {
                () = self.is_replaced() => {}
                () = self.burst_at(vec![self.node]) => self.is_replaced().await,
            }
            tokio::time::sleep(WITHOUT).await;
            self.cluster.net.mend(self.cut).await?;
            ended = self.ends_within(BACK).await?;
            if ended.is_some() {
                break;
            }
        }
        self.disarmed(ended).await
    }

    async fn is_replaced(&self) {
        let began = Instant::now();
        while began.elapsed() < CUT_OFF_MAX {
            for other in self.others() {
                if self.cluster.api(other).health().await == Health::Leads {
                    return;
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn install(&self) -> anyhow::Result<bool> {
        let mut ended = None;
        for attempt in 0..TRIES {
            drop(self.cluster.kill(self.node).await);
            for _ in 0..BURSTS_TO_PURGE + attempt {
                self.burst().await;
            }
            self.arm().await?;
            self.cluster.start(self.node, None)?;
            let began = Instant::now();
            while ended.is_none() && began.elapsed() < UP_MAX {
                ended = self.ends_within(POLL).await?;
                // One that answers this has caught up, without a snapshot or with one.
                let read = tokio::time::timeout(READ_MAX, self.value_at(self.node, BURST_KEY)).await;
                if matches!(read, Ok(Ok((200, _)))) {
                    break;
                }
            }
            if ended.is_some() {
                break;
            }
        }
        self.disarmed(ended).await
    }

    async fn join(&self) -> anyhow::Result<bool> {
        let member = self.others()[0];
        let Some(token) = self.token(self.node, member).await else { return Ok(false) };
        self.cluster.wipe(self.node).await?;
        self.arm().await?;
        let url = self.cluster.url(member);
        self.cluster.start(self.node, Some((&url, &token)))?;
        let crashed = self.ends().await?;
        // With the same token: it must get the same place.
        self.cluster.start(self.node, Some((&url, &token)))?;
        let serves = self.waits_for(self.node, Health::serves).await;
        anyhow::ensure!(serves || !crashed, "the node does not join with the same token");
        Ok(crashed)
    }

    async fn admit(&self) -> anyhow::Result<bool> {
        let newcomer = self.others()[0];
        self.lead().await;
        let Some(token) = self.token(newcomer, self.node).await else { return Ok(false) };
        self.cluster.wipe(newcomer).await?;
        self.arm().await?;
        self.cluster.start(newcomer, Some((&self.cluster.url(self.node), &token)))?;
        let crashed = self.ends().await?;
        // The newcomer asks again, with the same token.
        self.cluster.start(self.node, None)?;
        let serves = self.waits_for(newcomer, Health::serves).await;
        anyhow::ensure!(serves || !crashed, "the newcomer does not join with the same token");
        Ok(crashed)
    }
}
