//! What is cut: the links between nodes as data, and as rules for each node's own firewall.
//!
//! Faults overlap, so each keeps its own cuts; the rules of a node are the union, written as a whole in one transaction.
//! A packet is dropped where it arrives: to cut one way is to drop at one end only.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// All packets of a link, in thousandths.
pub const EVERY: u16 = 1000;

/// What happens to packets from one node to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    pub from: usize,
    pub to: usize,
    /// How many of a thousand packets are lost.
    pub lost: u16,
}

/// The cuts of one fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cuts(pub Vec<Cut>);

impl Cuts {
    /// No packet between the groups, either way.
    pub fn between(left: &[usize], right: &[usize]) -> Self {
        let pairs = left.iter().flat_map(|from| right.iter().map(move |to| (*from, *to)));
        let both = pairs.flat_map(|(a, b)| [(a, b), (b, a)]);
        Self(both.map(|(from, to)| Cut { from, to, lost: EVERY }).collect())
    }

    /// The node is apart from all others.
    pub fn isolate(node: usize, nodes: usize) -> Self {
        let others: Vec<usize> = (0..nodes).filter(|other| *other != node).collect();
        Self::between(&[node], &others)
    }

    /// The node is heard but does not hear.
    pub fn deafen(node: usize, nodes: usize) -> Self {
        let others = (0..nodes).filter(|other| *other != node);
        Self(others.map(|from| Cut { from, to: node, lost: EVERY }).collect())
    }

    /// The node hears but is not heard.
    pub fn mute(node: usize, nodes: usize) -> Self {
        let others = (0..nodes).filter(|other| *other != node);
        Self(others.map(|to| Cut { from: node, to, lost: EVERY }).collect())
    }

    /// Two halves that do not see each other, and one node that sees both. `order` begins with that node.
    pub fn bridge(order: &[usize]) -> Self {
        let Some((_, rest)) = order.split_first() else { return Self::default() };
        let (left, right) = rest.split_at(rest.len() / 2);
        Self::between(left, right)
    }

    /// Each node sees only its two neighbours; with fewer than four nodes that cuts nothing.
    pub fn ring(order: &[usize]) -> Self {
        let mut cuts = Vec::new();
        for (place, from) in order.iter().enumerate() {
            for (other, to) in order.iter().enumerate() {
                let apart = place.abs_diff(other);
                if apart > 1 && apart < order.len() - 1 {
                    cuts.push(Cut { from: *from, to: *to, lost: EVERY });
                }
            }
        }
        Self(cuts)
    }

    /// No packet between any two nodes.
    pub fn everywhere(nodes: usize) -> Self {
        Self::loss(nodes, EVERY)
    }

    /// Every link loses some packets.
    pub fn loss(nodes: usize, lost: u16) -> Self {
        let pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
        Self(pairs.filter(|(from, to)| from != to).map(|(from, to)| Cut { from, to, lost }).collect())
    }
}

/// The whole ruleset of the node `to`, to be loaded in one transaction.
pub fn ruleset(
    table: &str,
    to: usize,
    cuts: &BTreeMap<u64, Cuts>,
    address: impl Fn(usize) -> Ipv4Addr,
) -> String {
    // Named before it is deleted: deleting a table that is not there is an error.
    let mut text = format!("table inet {table}\ndelete table inet {table}\n");
    let _infallible = writeln!(text, "table inet {table} {{");
    text.push_str("  chain input {\n    type filter hook input priority 0; policy accept;\n");
    for (fault, cuts) in cuts {
        for cut in cuts.0.iter().filter(|cut| cut.to == to) {
            let some = match cut.lost {
                EVERY.. => String::new(),
                lost => format!("numgen random mod {EVERY} < {lost} "),
            };
            // The comment says which fault's packets were counted.
            let _infallible = writeln!(
                text,
                "    ip saddr {} {some}counter drop comment \"{}\"",
                address(cut.from),
                mark(*fault)
            );
        }
    }
    text.push_str("  }\n}\n");
    text
}

/// How many packets a fault's rules have dropped, in a listing of the ruleset.
pub fn dropped(listing: &str, fault: u64) -> u64 {
    let mark = format!("comment \"{}\"", mark(fault));
    let lines = listing.lines().filter(|line| line.contains(&mark));
    let counters =
        lines.filter_map(|line| line.split_once("packets ")?.1.split(' ').next()?.parse::<u64>().ok());
    counters.sum()
}

fn mark(fault: u64) -> String {
    format!("fault {fault}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(cuts: &Cuts) -> Vec<(usize, usize)> {
        let mut pairs: Vec<_> = cuts.0.iter().map(|cut| (cut.from, cut.to)).collect();
        pairs.sort_unstable();
        pairs
    }

    #[test]
    fn an_isolated_node_neither_hears_nor_is_heard() {
        assert_eq!(pairs(&Cuts::isolate(1, 3)), [(0, 1), (1, 0), (1, 2), (2, 1)]);
    }

    #[test]
    fn one_way_cuts_one_direction_only() {
        assert_eq!(pairs(&Cuts::deafen(0, 3)), [(1, 0), (2, 0)]);
        assert_eq!(pairs(&Cuts::mute(0, 3)), [(0, 1), (0, 2)]);
    }

    #[test]
    fn the_bridge_sees_both_halves() {
        let cuts = Cuts::bridge(&[4, 0, 1, 2, 3]);
        assert!(pairs(&cuts).iter().all(|(from, to)| *from != 4 && *to != 4));
        assert_eq!(cuts.0.len(), 8);
    }

    #[test]
    fn in_a_ring_of_five_each_node_keeps_two_neighbours() {
        let cuts = Cuts::ring(&[0, 1, 2, 3, 4]);
        for node in 0..5 {
            assert_eq!(cuts.0.iter().filter(|cut| cut.to == node).count(), 2);
        }
        assert_eq!(Cuts::ring(&[0, 1, 2]), Cuts::default());
    }

    #[test]
    fn the_rules_of_a_node_are_the_union_of_all_faults() {
        let cuts = BTreeMap::from([(1, Cuts::isolate(0, 3)), (2, Cuts::loss(3, 150))]);
        let text = ruleset("t", 0, &cuts, |node| Ipv4Addr::new(10, 0, 0, node as u8));
        assert!(text.contains("ip saddr 10.0.0.1 counter drop comment \"fault 1\""), "{text}");
        assert!(text.contains("ip saddr 10.0.0.2 numgen random mod 1000 < 150 counter drop"), "{text}");
        assert!(!text.contains("10.0.0.0"), "{text}");
    }

    #[test]
    fn dropped_packets_are_counted_for_the_fault_that_dropped_them() {
        let listing = "ip saddr 10.0.0.1 counter packets 12 bytes 720 drop comment \"fault 1\"\n\
                       ip saddr 10.0.0.2 counter packets 3 bytes 180 drop comment \"fault 1\"\n\
                       ip saddr 10.0.0.2 counter packets 40 bytes 9 drop comment \"fault 12\"";
        assert_eq!([1, 12, 2].map(|fault| dropped(listing, fault)), [15, 40, 0]);
    }
}
