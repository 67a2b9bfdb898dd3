//! `conclave-oracle [FILE...]`: judges published histories, one operation as JSON a line; without a file, standard input.
//!
//! Several files are parts of one history. Exit status: 0 clean, 1 violated, 2 undecided or not readable.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::ExitCode;

use anyhow::Context as _;
use conclave_oracle::history::Operation;
use conclave_oracle::judge::{Judgement, judge};

const VIOLATED: u8 = 1;
const UNDECIDED: u8 = 2;

fn main() -> ExitCode {
    match history() {
        Ok(history) => {
            let report = judge(&history);
            print!("{report}");
            match report.judgement() {
                Judgement::Clean => ExitCode::SUCCESS,
                Judgement::Violated => ExitCode::from(VIOLATED),
                Judgement::Undecided => ExitCode::from(UNDECIDED),
            }
        }
        Err(error) => {
            eprintln!("conclave-oracle: {error:#}");
            ExitCode::from(UNDECIDED)
        }
    }
}

fn history() -> anyhow::Result<Vec<Operation>> {
    let mut history = Vec::new();
    let mut files = std::env::args_os().skip(1).peekable();
    if files.peek().is_none() {
        read(std::io::stdin().lock(), &mut history).context("standard input")?;
    }
    for file in files {
        let name = file.display().to_string();
        let opened = File::open(&file).with_context(|| name.clone())?;
        read(BufReader::new(opened), &mut history).context(name)?;
    }
    Ok(history)
}

fn read(lines: impl BufRead, history: &mut Vec<Operation>) -> anyhow::Result<()> {
    for (number, line) in lines.lines().enumerate() {
        let line = line?;
        if !line.trim().is_empty() {
            let operation = serde_json::from_str(&line).with_context(|| format!("line {}", number + 1))?;
            history.push(operation);
        }
    }
    Ok(())
}
