//! Every target over its corpus, and over some thousand variations of it: what `make fuzz` searches at length, the
//! ordinary tests look at for a moment. A crash that was found is mended and its input put into the corpus.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use conclave_fuzz::{TARGETS, Target};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

/// Variations that each target is given.
const VARIATIONS: usize = 2_000;
/// Changes in one variation at most.
const CHANGES_MAX: usize = 6;
/// Longest variation, in bytes.
const INPUT_BYTES_MAX: usize = 8 * 1024;
/// Bytes that mean something to some parser.
const TELLING: &[u8] = b"^/%\"{}[]:,.=&\n #$\\-019\x00\x01\x7f\x80\xff";

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn seeds(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = corpus().join(target.name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

fn check(target: &Target, name: &str, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target.run(input))).is_err() {
        let kept = std::env::temp_dir().join(format!("conclave-fuzz-{}", target.name));
        fs::write(&kept, input).unwrap();
        panic!("target {} fails at {name}: the input is in {}", target.name, kept.display());
    }
}

fn varied(seeds: &[(String, Vec<u8>)], rng: &mut StdRng) -> Vec<u8> {
    let mut input = seeds.choose(rng).map(|(_, seed)| seed.clone()).unwrap_or_default();
    for _ in 0..rng.random_range(1..=CHANGES_MAX) {
        let at = rng.random_range(0..=input.len());
        let end = rng.random_range(at..=input.len().min(at + 32));
        match rng.random_range(0..6) {
            0 => drop(input.drain(at..end)),
            1 => input.insert(at, TELLING.choose(rng).copied().unwrap_or_default()),
            2 => drop(input.splice(at..at, input[at..end].to_vec())),
            3 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
            4 if at < input.len() => input[at] = rng.next_u32().to_le_bytes()[0],
            _ => {
                let other = seeds.choose(rng).map_or(&[][..], |(_, seed)| seed);
                let from = rng.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

#[test]
fn no_seed_breaks_its_target() {
    for target in TARGETS {
        let seeds = seeds(target);
        assert!(seeds.len() >= 2, "{} has too few seeds", target.name);
        for (name, input) in &seeds {
            check(target, name, input);
        }
        check(target, "nothing", b"");
    }
}

#[test]
fn no_variation_of_a_seed_breaks_its_target() {
    for (number, target) in TARGETS.iter().enumerate() {
        let seeds = seeds(target);
        let mut rng = StdRng::seed_from_u64(number as u64);
        for variation in 0..VARIATIONS {
            check(target, &format!("variation {variation}"), &varied(&seeds, &mut rng));
        }
    }
}

#[test]
fn each_target_has_a_corpus_and_each_corpus_a_target() {
    let mut folders: Vec<String> = fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(folders, names, "in the order of the alphabet");
}
