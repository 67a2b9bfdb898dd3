use proptest::prelude::*;

use super::super::chain::Chain;
use super::*;

const LINES: u64 = 12;

fn trail() -> Vec<Vec<u8>> {
    let mut chain = Chain::begin("n1", "file");
    let record =
        |number| format!("{{\"type\":\"request\",\"n\":{number},\"chain\":{{\"a\":1}}}}").into_bytes();
    (1..=LINES).map(|number| line(&mut chain, &record(number))).collect()
}

fn line(chain: &mut Chain, record: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    chain.link(record, &mut line);
    line
}

fn head_of(lines: &[Vec<u8>]) -> Head {
    Head::of_line(lines[lines.len() - 1].trim_ascii_end()).unwrap()
}

fn judge(bytes: &[u8], anchors: Vec<Head>) -> Verdict {
    let mut verifier = Verifier::new(1, anchors);
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let ended = line.ends_with(b"\n");
        let text = if ended { &line[..line.len() - 1] } else { line };
        verifier.line(Place { file: 1, line: index as u64 + 1 }, text, ended);
    }
    verifier.end()
}

#[track_caller]
fn finds(lines: &[Vec<u8>], at_line: u64, words: &str) {
    let verdict = judge(&lines.concat(), vec![head_of(&trail())]);
    let found = verdict
        .findings
        .iter()
        .any(|finding| finding.place.line == at_line && finding.sentence.contains(words));
    assert!(found, "{:?}", verdict.findings);
}

#[test]
fn a_whole_trail_is_found_whole() {
    let lines = trail();
    let verdict = judge(&lines.concat(), vec![head_of(&lines), head_of(&lines[..4])]);
    assert_eq!(verdict.findings, []);
    assert_eq!((verdict.lines, verdict.first, verdict.anchors_met), (LINES, Some(1), 2));
    assert_eq!(verdict.head, Some(head_of(&lines)));
}

#[test]
fn each_kind_of_change_is_named_with_its_line() {
    let change = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut lines = trail();
        change(&mut lines);
        lines
    };
    finds(&change(&|lines| lines[4][3] = b'X'), 5, "was changed");
    finds(&change(&|lines| drop(lines.remove(4))), 5, "1 line is missing");
    finds(&change(&|lines| lines.swap(4, 5)), 6, "was moved");
    finds(&change(&|lines| lines.insert(6, lines[2].clone())), 7, "was moved, or put in");
    finds(&change(&|lines| lines.insert(6, b"{\"type\":\"request\"}\n".to_vec())), 7, "no record");
    finds(&change(&|lines| lines.truncate(9)), 9, "its end is missing");
    finds(&change(&|lines| drop(lines.drain(..3))), 1, "3 lines are missing");
    finds(&change(&|lines| lines[11].truncate(40)), 12, "is cut");
    finds(
        &change(&|lines| {
            let mut other = Chain::begin("n2", "file");
            lines.insert(3, line(&mut other, b"{\"a\":1}"));
        }),
        4,
        "another trail",
    );
}

#[test]
fn a_hash_that_is_only_spelled_otherwise_is_a_change() {
    for line in 0..LINES as usize {
        let mut lines = trail();
        let text = String::from_utf8(lines[line].clone()).unwrap();
        let (before, hash) = text.split_at(text.rfind("\"hash\":\"").unwrap() + 8);
        lines[line] = format!("{before}{}", hash.to_ascii_uppercase()).into_bytes();
        if lines[line] != text.as_bytes() {
            finds(&lines, line as u64 + 1, "was changed");
        }
    }
}

#[test]
fn only_what_was_changed_is_found() {
    for at in 0..LINES as usize {
        let mut lines = trail();
        lines[at][9] ^= 1;
        let places: Vec<_> =
            judge(&lines.concat(), vec![head_of(&trail())]).findings.iter().map(|f| f.place.line).collect();
        assert_eq!(places, [at as u64 + 1]);
    }
}

#[test]
fn a_trail_written_anew_is_found_by_a_head_that_was_noted() {
    let mut chain = Chain::begin("n1", "file");
    let forged: Vec<_> =
        (1..=LINES).map(|n| line(&mut chain, format!("{{\"forged\":{n}}}").as_bytes())).collect();
    assert!(judge(&forged.concat(), Vec::new()).is_whole());
    finds(&forged, LINES, "written anew");
}

#[test]
fn a_trail_may_begin_later_if_that_is_said() {
    let lines = trail();
    let mut verifier = Verifier::new(5, Vec::new());
    for (index, line) in lines[4..].iter().enumerate() {
        verifier.line(Place { file: 2, line: index as u64 + 1 }, line.trim_ascii_end(), true);
    }
    assert!(verifier.end().is_whole());
}

#[test]
fn a_chain_goes_on_where_it_stood() {
    let mut lines = trail();
    let head = head_of(&lines);
    lines.push(line(&mut Chain::resume("n1", "file", Some(&head)), b"{\"a\":1}"));
    assert!(judge(&lines.concat(), Vec::new()).is_whole());
    assert_eq!(Chain::resume("n2", "file", Some(&head)).head().number, 0);
}

proptest! {
    #[test]
    fn any_single_change_is_found(at in 0usize..100_000, byte in any::<u8>(), kind in 0..5, to in 0..LINES as usize) {
        let whole = trail();
        let mut lines = whole.clone();
        let line = at % lines.len();
        match kind {
            0 => {
                let mut bytes = whole.concat();
                let at = at % bytes.len();
                prop_assume!(bytes[at] != byte);
                bytes[at] = byte;
                lines = vec![bytes];
            }
            1 => drop(lines.remove(line)),
            2 => {
                let copy = lines[line].clone();
                lines.insert(to, copy);
            }
            3 => {
                prop_assume!(line != to);
                lines.swap(line, to);
            }
            _ => {
                let mut bytes = whole.concat();
                bytes.truncate(at % bytes.len());
                lines = vec![bytes];
            }
        }
        prop_assert!(!judge(&lines.concat(), vec![head_of(&whole)]).is_whole());
    }
}
