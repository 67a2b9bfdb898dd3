//! A version by its number shows what was written as that version, until it is hidden, destroyed or too old.
//!
//! KV v2 keeps the newest [`KEPT_MOST`] versions, or as many as the secret's metadata says. How many there are at a time
//! is known within bounds only, so a version may go early or late by as many writes as are uncertain.

use std::collections::BTreeMap;

use crate::history::Operation;
use crate::place::METADATA;
use crate::register::{Act, Read, Register, Write};
use crate::verdict::Verdict;

/// How many versions a secret keeps of which nothing else was said.
pub const KEPT_MOST: u64 = 10;
/// How many a secret keeps whose metadata clients have written: they set this as `max_versions`.
pub const KEPT_LEAST: u64 = 4;

#[must_use]
pub fn check(registers: &BTreeMap<&str, Register<'_>>) -> Verdict {
    let mut verdict = Verdict::new("versions");
    for register in registers.values() {
        let note = registers.get(format!("{METADATA}/{}", register.key).as_str());
        for read in &register.version_reads {
            verdict.checked += 1;
            let Some(version) = read.version else { continue };
            let found = match read.value {
                Some(value) => shown(register, read, version, value),
                None => missing(register, note, read, version),
            };
            if let Some((reason, operations)) = found {
                verdict.violated(register.key, reason, operations.into_iter().chain([read.operation]));
            }
        }
    }
    verdict
}

type Finding<'h> = (String, Vec<&'h Operation>);

fn shown<'h>(register: &Register<'h>, read: &Read<'h>, version: u64, value: u64) -> Option<Finding<'h>> {
    let Some(writer) = register.writer_of(value) else {
        return Some((format!("version {version} shows {value}, which nobody wrote"), Vec::new()));
    };
    let made = writer.version().filter(|made| writer.effective_by_us().is_some() && *made != version);
    if let Some(made) = made {
        let reason = format!("version {version} shows {value}, which was written as version {made}");
        return Some((reason, writer.attempts.clone()));
    }
    let other = register.writes.iter().find(|write| {
        write.value != value && write.effective_by_us().is_some() && write.version() == Some(version)
    });
    if let Some(other) = other {
        let reason = format!("version {version} shows {value} and was written as {}", other.value);
        return Some((reason, other.attempts.clone()));
    }
    if writer.invoked_us > read.operation.returned_us {
        return Some((format!("version {version} is shown before it was written"), writer.attempts.clone()));
    }
    let destroyed = register.marks.iter().find(|mark| {
        mark.act == Act::Destroy { version }
            && mark.acknowledged_us.is_some_and(|us| us < read.operation.invoked_us)
    });
    if let Some(destroyed) = destroyed {
        // Destroying what is not there yet does nothing.
        let was_there = writer.effective_by_us().is_some_and(|us| us < destroyed.invoked_us);
        if was_there {
            return Some((
                format!("version {version} is shown after it was destroyed"),
                vec![destroyed.operation],
            ));
        }
    }
    let newest = known_before(register, read.operation.invoked_us)?;
    let made = newest.version()?;
    (made >= version.saturating_add(KEPT_MOST)).then(|| {
        (format!("version {version} is shown after version {made} was written"), newest.attempts.clone())
    })
}

/// The write of the highest version that had surely taken effect by then.
fn known_before<'r, 'h>(register: &'r Register<'h>, moment_us: u64) -> Option<&'r Write<'h>> {
    let known =
        register.writes.iter().filter(|write| write.effective_by_us().is_some_and(|us| us < moment_us));
    known.max_by_key(|write| write.version())
}

fn missing<'h>(
    register: &Register<'h>,
    note: Option<&Register<'_>>,
    read: &Read<'h>,
    version: u64,
) -> Option<Finding<'h>> {
    let returned_us = read.operation.returned_us;
    let write = register.writes.iter().find(|write| {
        write.version() == Some(version)
            && write.effective_by_us().is_some_and(|us| us < read.operation.invoked_us)
    })?;
    let hidden = register.marks.iter().any(|mark| {
        let may_hit = match mark.act {
            Act::Delete => true,
            Act::Destroy { version: destroyed } => destroyed == version,
            Act::Undelete { .. } => false,
        };
        let over = mark.acknowledged_us.is_some_and(|us| us < write.invoked_us);
        may_hit && !over && mark.invoked_us <= returned_us
    });
    let noted = note.is_some_and(|note| note.writes.iter().any(|write| write.invoked_us <= returned_us));
    let kept = if noted { KEPT_LEAST } else { KEPT_MOST };
    let asked = register.writes.iter().filter(|write| write.invoked_us <= returned_us).count() as u64;
    let too_old = version.saturating_add(kept) <= asked;
    (!hidden && !too_old).then(|| {
        (format!("version {version} is missing: nothing hid or replaced it"), write.attempts.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::registers;
    use crate::testing::{delete, destroy, ok, on, read_version, unknown, version, write};

    #[track_caller]
    fn expect(history: &[Operation], violations: usize) {
        let verdict = check(&registers(history));
        assert_eq!(verdict.violations.len(), violations, "{verdict:#?}");
    }

    fn made(number: u64) -> Operation {
        version(ok(number * 10..number * 10 + 5, write(number)), number)
    }

    #[test]
    fn a_version_shows_what_was_written_as_it() {
        let history = [made(1), made(2)];
        expect(&[&history[..], &[read_version(40..50, 1, 1), read_version(60..70, 2, 2)]].concat(), 0);
        expect(&[&history[..], &[read_version(40..50, 1, 2)]].concat(), 1);
        expect(&[&history[..], &[read_version(40..50, 1, 9)]].concat(), 1);
    }

    #[test]
    fn what_is_destroyed_stays_so() {
        let history = [made(1), made(2), ok(30..40, destroy(1))];
        expect(&[&history[..], &[read_version(50..60, 1, 1)]].concat(), 1);
        expect(&[&history[..], &[read_version(50..60, 1, None), read_version(70..80, 2, 2)]].concat(), 0);
        expect(&[&history[..2], &[unknown(30..40, destroy(1)), read_version(50..60, 1, 1)]].concat(), 0);
    }

    #[test]
    fn nothing_is_missing_without_a_reason() {
        let history = [made(1), made(2)];
        expect(&[&history[..], &[read_version(50..60, 1, None)]].concat(), 1);
        expect(&[&history[..], &[ok(30..40, delete()), read_version(50..60, 1, None)]].concat(), 0);
        expect(&[&history[..], &[ok(30..40, destroy(2)), read_version(50..60, 1, None)]].concat(), 1);
    }

    #[test]
    fn old_versions_go_when_there_are_more_than_are_kept_and_not_before() {
        let writes = |count: u64| (1..=count).map(made).collect::<Vec<_>>();
        expect(&[writes(10), vec![read_version(500..510, 1, None)]].concat(), 1);
        expect(&[writes(11), vec![read_version(500..510, 1, None)]].concat(), 0);
        expect(&[writes(11), vec![read_version(500..510, 1, 1)]].concat(), 1);
        expect(&[writes(11), vec![read_version(500..510, 2, 2)]].concat(), 0);
    }

    #[test]
    fn metadata_may_let_versions_go_earlier() {
        let note = on("meta/k", ok(3..4, write(77)));
        let writes = |count: u64| (1..=count).map(made).collect::<Vec<_>>();
        expect(&[vec![note.clone()], writes(5), vec![read_version(500..510, 1, None)]].concat(), 0);
        expect(&[vec![note], writes(4), vec![read_version(500..510, 1, None)]].concat(), 1);
    }
}
