//! The `conclave` program's commands, all but the server itself.
//!
//! A command asks a cluster through `conclave-client` and makes a `Report`, which is printed as a
//! table or as JSON in one place. Commands are spelled as Vault spells them. Exit codes: 0 done, 1 the server said no,
//! 2 a usage error or no answer.
//!
//! What this crate must never do: decide anything that the server decides, or print a secret that was not asked for; a
//! token or a secret never stands in an error's sentence.

#![allow(rustdoc::bare_urls, reason = "the doc comments of arguments are the help texts that users read")]

mod arguments;
mod command;
mod dev;
mod failure;
mod input;
mod output;
pub mod ports;
mod session;
#[cfg(test)]
mod tests;
mod token_file;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use serde_json::Value;

use arguments::{Arguments, Command};
use failure::Failure;
use output::Report;
use session::Session;

/// What the binary is besides a client: its version, and what it does on this machine itself.
pub struct Local {
    /// That of the whole binary.
    pub version: &'static str,
    /// `conclave server ...`: takes the arguments behind the word `server`, unparsed.
    pub server: fn(Vec<OsString>) -> ExitCode,
    /// `conclave operator recover`: says what recovering the member in this data directory means, and does it if told
    /// to; or says in a sentence why not.
    pub recover: Recover,
    /// `conclave audit verify`: says what was changed in the trail that these files are, from a line's number on, given
    /// heads that were noted elsewhere; or says in a sentence why that cannot be told.
    pub audit_verify: AuditVerify,
}

type Recover = fn(&Path, bool) -> Result<Value, String>;
type AuditVerify = fn(&[PathBuf], u64, Option<&Path>) -> Result<Value, String>;

/// Runs the program. `args` begins with the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>, local: &Local) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    // Before clap sees them: the server's flags are the server's business.
    if args.get(1).is_some_and(|word| word == "server") {
        return (local.server)(args.into_iter().skip(2).collect());
    }
    let parsed = Arguments::command()
        .version(local.version)
        .try_get_matches_from(arguments::with_two_dashes(args))
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing is left to tell the user if even this cannot be printed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(failure::CODE_USAGE));
        }
    };
    let Arguments { global, command } = arguments;
    if let Command::Server { args } = command {
        return (local.server)(args);
    }
    let outcome = Session::new(global, command::can_be_wrapped(&command)).and_then(|session| {
        let report = evaluate(command, &session, local)?;
        print(&report, &session)?;
        Ok(report.code())
    });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn evaluate(command: Command, session: &Session, local: &Local) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local(format!("cannot start: {error}")))?;
    runtime.block_on(command::run(command, session, local))
}

fn print(report: &Report, session: &Session) -> Result<(), Failure> {
    let text = report.render(session.format, session.field.as_deref())?;
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    for warning in report.warnings() {
        eprintln!("Warning: {warning}");
    }
    match written {
        // The reader of a pipe has seen enough.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::local(format!("cannot print: {error}")))
        }
        _ => Ok(()),
    }
}
