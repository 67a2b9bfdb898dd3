//! The quorum is taken away: without a majority nobody may promise anything, and everybody must say so in time.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::json;

use super::{Fault, Noted, Scene};
use crate::cluster::{Probe, name};
use crate::net::Cuts;

/// A leader that has lost its followers may answer from its lease for a moment; after this it is long over.
const LEASE_OVER: Duration = Duration::from_secs(2);
/// How long a request waits at most, as the server states it by its settings, and what a busy machine may add.
const STATED_WAIT: Duration = Duration::from_secs(5);
const SLACK: Duration = Duration::from_secs(3);

const STATUS_UNAVAILABLE: u16 = 503;
const STATUS_UNKNOWN: u16 = 504;

#[derive(Debug, Clone, Copy)]
enum Way {
    Kill,
    Pause,
    Cut,
}

pub struct NoQuorum {
    way: Way,
    lost: Vec<usize>,
    asked: usize,
    noted: Noted,
}

impl Default for NoQuorum {
    fn default() -> Self {
        Self { way: Way::Kill, lost: Vec::new(), asked: 0, noted: Noted::default() }
    }
}

impl NoQuorum {
    async fn take_away(&mut self, scene: &Scene<'_>) -> anyhow::Result<()> {
        let cluster = scene.cluster;
        let mut random = scene.random();
        self.way = [Way::Kill, Way::Pause, Way::Cut][random.index(3)];
        let majority = cluster.nodes() / 2 + 1;
        self.lost = random.order(cluster.nodes()).into_iter().take(majority).collect();
        match self.way {
            Way::Kill => {
                for node in &self.lost {
                    cluster.kill(*node).await?;
                }
            }
            Way::Pause => {
                for node in &self.lost {
                    cluster.pause(*node).await?;
                }
            }
            Way::Cut => cluster.net.cut(scene.planned.id, Cuts::everywhere(cluster.nodes())).await?,
        }
        Ok(())
    }

    /// Asks every node that is left for everything that needs a quorum.
    async fn ask(&mut self, scene: &Scene<'_>) {
        let cut = matches!(self.way, Way::Cut);
        let left: Vec<usize> =
            (0..scene.cluster.nodes()).filter(|node| cut || !self.lost.contains(node)).collect();
        let probes = left.iter().map(|node| async move {
            let api = scene.cluster.api(*node);
            let body = json!({"data": {"value": 0}});
            let list = Method::from_bytes(b"LIST").expect("LIST is a method");
            let max = STATED_WAIT + SLACK;
            let answers = futures::future::join_all([
                api.probe(max, Method::GET, "secret/data/no-quorum/a", None),
                api.probe(max, list, "secret/metadata/no-quorum", None),
                api.probe(max, Method::POST, "secret/data/no-quorum/a", Some(&body)),
            ])
            .await;
            (*node, answers)
        });
        for (node, answers) in futures::future::join_all(probes).await {
            for (what, answer) in ["a read", "a list", "a write"].into_iter().zip(answers) {
                self.asked += 1;
                if let Some(wrong) = wrong(what, &answer) {
                    self.noted.violations.push(format!("without a quorum {}: {wrong}", name(node)));
                }
                self.noted.waits_ms.extend(answer.map(|answer| answer.waited_ms));
            }
        }
    }
}

/// What is wrong with an answer, or with there being none.
fn wrong(what: &str, answer: &Option<Probe>) -> Option<String> {
    let Some(answer) = answer else {
        return Some(format!("{what} was not answered within {:?}", STATED_WAIT + SLACK));
    };
    match (answer.status, answer.retry_after) {
        (STATUS_UNAVAILABLE, true) => None,
        (STATUS_UNAVAILABLE, false) => Some(format!("{what} was refused without Retry-After")),
        // It was on its way when the quorum was lost: nobody knows.
        (STATUS_UNKNOWN, _) if what == "a write" => None,
        (status, _) => Some(format!("{what} was answered with {status}")),
    }
}

impl Fault for NoQuorum {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            self.take_away(scene).await?;
            tokio::time::sleep(LEASE_OVER).await;
            self.ask(scene).await;
            Ok(())
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            scene.cluster.net.mend(scene.planned.id).await?;
            for node in &self.lost {
                scene.cluster.resume(*node)?;
                scene.cluster.start(*node, None)?;
            }
            Ok(())
        }
        .boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        if self.asked == 0 { Err("nobody was left to be asked".to_owned()) } else { Ok(()) }
    }

    fn noted(&mut self) -> Noted {
        self.noted.met.push(format!("the quorum was lost by {:?}", self.way).to_lowercase());
        std::mem::take(&mut self.noted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_that_says_when_to_come_back_is_right() {
        let probe = |status, retry_after| Some(Probe { status, retry_after, waited_ms: 1 });
        assert_eq!(wrong("a read", &probe(503, true)), None);
        assert!(wrong("a read", &probe(503, false)).is_some());
        assert!(wrong("a read", &probe(200, false)).is_some());
        assert!(wrong("a read", &probe(504, true)).is_some());
        assert!(wrong("a read", &None).is_some());
        assert_eq!(wrong("a write", &probe(504, false)), None);
        assert!(wrong("a write", &probe(204, false)).is_some());
    }
}
