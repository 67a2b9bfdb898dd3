//! Slow links: a token bucket on what a node sends, to the other nodes and to clients.

use super::Net;

/// How much may be sent at once, and how long a packet may wait before it is dropped.
const BURST: &str = "16kb";
const QUEUE: &str = "500ms";

impl Net {
    /// The node sends no faster than this from now on.
    pub async fn slow(&self, node: usize, kilobits: u64) -> anyhow::Result<()> {
        self.links.lock().await.touched = true;
        let rate = format!("{kilobits}kbit");
        self.tc(
            node,
            &[
                "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", &rate, "burst", BURST, "latency",
                QUEUE,
            ],
        )
        .await?;
        Ok(())
    }

    /// The node sends as fast as it can again. Says how many packets had to wait.
    pub async fn quicken(&self, node: usize) -> anyhow::Result<u64> {
        let listing = self.tc(node, &["-s", "qdisc", "show", "dev", "eth0"]).await?;
        // Fails only if there is none.
        drop(self.tc(node, &["qdisc", "delete", "dev", "eth0", "root"]).await);
        Ok(waited(&listing))
    }

    async fn tc(&self, node: usize, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = tokio::process::Command::new("tc");
        let output = command.args(["-n", &self.space(node)]).args(arguments).output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "tc {}: {}", arguments.join(" "), said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// `overlimits` of a listing of tc's.
fn waited(listing: &str) -> u64 {
    let mut words = listing.split_whitespace();
    let _found = words.find(|word| *word == "overlimits");
    words.next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_that_waited_are_counted_by_tc() {
        let listing = "qdisc tbf 8001: root refcnt 2 rate 1Mbit burst 16Kb lat 500ms\n Sent 9 bytes 1 pkt \
                       (dropped 2, overlimits 31 requeues 0)";
        assert_eq!(waited(listing), 31);
        assert_eq!(waited(""), 0);
    }
}
