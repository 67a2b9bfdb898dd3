//! A node's wall clock is wrong: off by a tenth of a second to a day, at once or by drifting or jumping. What measures
//! spans of time stays right, so nothing that the cluster promises may depend on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::task::JoinHandle;

use super::{Fault, Kind, Noted, Scene};
use crate::cluster::{Api, Clocks};
use crate::random::Random;

/// From a tenth of a second to a day: each of these, up to ten times as much, is as likely as the others.
const DECADES_MS: [u64; 6] = [100, 1_000, 10_000, 100_000, 1_000_000, 8_640_000];
/// A drifting clock runs so many thousandths as fast as a right one.
const RATES: std::ops::Range<u64> = 500..2000;
const DRIFT_STEP: Duration = Duration::from_millis(40);
const JUMP_PAUSE: std::ops::Range<u64> = 150..1200;
const HOUR_MS: u64 = 3_600_000;
const MINUTE_MS: u64 = 60_000;

pub struct Clock {
    kind: Kind,
    bending: Option<JoinHandle<()>>,
    /// How far the node's clock was off for sure, as the node itself told.
    seen_off_ms: Option<i64>,
}

impl Clock {
    pub fn new(kind: Kind) -> Self {
        Self { kind, bending: None, seen_off_ms: None }
    }

    async fn measure(&mut self, scene: &Scene<'_>) {
        let seen = surely_off(&scene.cluster.api(scene.node)).await.unwrap_or(0);
        let known = self.seen_off_ms.map_or(0, i64::unsigned_abs);
        if seen.unsigned_abs() > known {
            self.seen_off_ms = Some(seen);
        }
    }
}

impl Fault for Clock {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            let clocks = Arc::clone(scene.cluster.clocks().context("the run does not bend clocks")?);
            let mut random = scene.random();
            let node = scene.node;
            match self.kind {
                Kind::ClockDrift => self.bending = Some(tokio::spawn(drift(clocks, node, random))),
                Kind::ClockJump => self.bending = Some(tokio::spawn(jump(clocks, node, random))),
                Kind::ClockBoot => {
                    scene.cluster.kill(node).await?;
                    clocks.set(node, off_ms(&mut random))?;
                    scene.cluster.start(node, None)?;
                }
                _ => clocks.set(node, off_ms(&mut random))?,
            }
            self.measure(scene).await;
            Ok(())
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            self.measure(scene).await;
            if let Some(bending) = self.bending.take() {
                bending.abort();
                // So that its last step does not come after the clock is right again.
                drop(bending.await);
            }
            scene.cluster.clocks().context("the run does not bend clocks")?.set(scene.node, 0)
        }
        .boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        self.seen_off_ms.map(drop).ok_or_else(|| "the node never told a wrong time".to_owned())
    }

    fn noted(&mut self) -> Noted {
        let met = self.seen_off_ms.map(|off_ms| {
            let how_far = match off_ms.unsigned_abs() {
                HOUR_MS.. => "more than an hour",
                MINUTE_MS.. => "a minute to an hour",
                1000.. => "a second to a minute",
                _ => "less than a second",
            };
            let way = if off_ms > 0 { "ahead" } else { "behind" };
            format!("a node's clock was {how_far} {way}")
        });
        Noted { met: met.into_iter().collect(), ..Noted::default() }
    }
}

fn off_ms(random: &mut Random) -> i64 {
    let least = DECADES_MS[random.index(DECADES_MS.len())];
    let off = i64::try_from(least + random.below(9 * least)).unwrap_or(0);
    if random.chance(50) { off } else { -off }
}

async fn drift(clocks: Arc<Clocks>, node: usize, mut random: Random) {
    let rate = i64::try_from(RATES.start + random.below(RATES.end - RATES.start)).unwrap_or(1000);
    let began = Instant::now();
    loop {
        let elapsed = i64::try_from(began.elapsed().as_millis()).unwrap_or(0);
        if clocks.set(node, elapsed * (rate - 1000) / 1000).is_err() {
            return;
        }
        tokio::time::sleep(DRIFT_STEP).await;
    }
}

async fn jump(clocks: Arc<Clocks>, node: usize, mut random: Random) {
    while clocks.set(node, off_ms(&mut random)).is_ok() {
        let pause = JUMP_PAUSE.start + random.below(JUMP_PAUSE.end - JUMP_PAUSE.start);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// How far the node's clock is off at least; nothing if it may be right.
async fn surely_off(api: &Api) -> Option<i64> {
    let before = now_ms();
    let told = api.wall_clock_ms().await.ok()?;
    let after = now_ms();
    match (*told.start(), *told.end()) {
        (least, _) if least > after => Some(least - after),
        (_, most) if most < before - 1 => Some(most - before),
        _ => None,
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_off_by_a_tenth_of_a_second_to_a_day_both_ways() {
        const DAY_MS: u64 = 86_400_000;
        let mut random = Random::new(1);
        let drawn: Vec<i64> = (0..2000).map(|_| off_ms(&mut random)).collect();
        assert!(drawn.iter().all(|off| (100..=DAY_MS).contains(&off.unsigned_abs())));
        for sign in [1, -1] {
            assert!(drawn.iter().any(|off| off * sign > 20 * 3_600_000));
            assert!(drawn.iter().any(|off| (100..1000).contains(&(off * sign))));
        }
    }
}
