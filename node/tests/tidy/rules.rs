//! The rules for one source file, each a function from its text to findings.
//!
//! They read lines, not syntax: rustfmt has made the layout reliable, and a rule that can be read in a minute
//! is kept. `sources.rs` runs them over the project; the tests here show each what it must catch.

/// Lines beyond which a file says, in its first 20 lines, `//! Long because ...`.
pub const FILE_LINES_MAX: usize = 700;
/// Lines of one function, from its `fn` to its closing brace. A ratchet: lower it, never raise it.
pub const FUNCTION_LINES_MAX: usize = 100;

/// Things whose `Debug` may show a secret or a path, so that no `{:?}` may ever name them.
const SECRET_BEARING: &[&str] = &[
    "request", "req", "entry", "entries", "txn", "txns", "batch", "write", "writes", "body", "header",
    "headers", "secret", "token", "key", "keys", "share", "shares", "plan", "reply", "payload", "value",
    "data",
];

const TRACING: &[&str] = &["trace!(", "debug!(", "info!(", "warn!(", "error!(", "event!(", "span!("];

/// The part of a source file that runs in the program: what stands above its tests.
pub fn program_part(text: &str) -> &str {
    text.find("\n#[cfg(test)]").map_or(text, |at| &text[..at])
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

pub fn length(text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let excused = text.lines().take(20).any(|line| line.starts_with("//! Long because "));
    if lines > FILE_LINES_MAX && !excused {
        return vec![format!("{lines} lines: one idea a file, or a line `//! Long because ...` at its top")];
    }
    Vec::new()
}

pub fn opens_with_its_purpose(text: &str) -> Vec<String> {
    if text.starts_with("//!") {
        Vec::new()
    } else {
        vec!["opens without `//!`: say what the file is for".into()]
    }
}

/// A function ends at the brace that stands as deep as its `fn`.
pub fn function_lengths(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut findings = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let declares = code.split_whitespace().take(6).any(|word| word == "fn") && !is_comment(line);
        if !declares || code.ends_with(';') || code.ends_with('}') {
            continue;
        }
        let closing = format!("{}}}", " ".repeat(indent));
        let Some(length) = lines[start..].iter().position(|line| *line == closing) else { continue };
        if length + 1 > FUNCTION_LINES_MAX {
            findings.push(format!("line {}: a function of {} lines", start + 1, length + 1));
        }
    }
    findings
}

/// Marks of unfinished work. Written in halves, so that this file does not find itself.
pub fn unfinished(text: &str) -> Vec<String> {
    let marks = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("db", "g!("),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
    ];
    let mut findings = Vec::new();
    for (number, line) in numbered(text) {
        for mark in marks.iter().filter(|mark| line.contains(**mark)) {
            findings.push(format!("line {number}: `{mark}`: finish it or leave it out"));
        }
    }
    findings
}

/// Whether `folder` stands in `line` other than in the middle of a longer path, such as one of the API.
fn begins_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| !line[..at].ends_with(|sign: char| sign.is_ascii_alphanumeric()))
}

/// Names of folders that exist on one machine only.
pub fn machine_paths(text: &str) -> Vec<String> {
    let folders =
        [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];
    let mut findings = Vec::new();
    for (number, line) in numbered(text) {
        for folder in folders.iter().filter(|folder| begins_a_path(line, folder)) {
            findings.push(format!("line {number}: `{folder}` is a path of one machine"));
        }
    }
    findings
}

/// `{:?}`, `{x:?}` and `?x` of anything that may hold a secret: never, in any format string (I1).
pub fn secrets_in_text(text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut tracing_depth: Option<String> = None;
    for (number, line) in numbered(text) {
        if is_comment(line) {
            continue;
        }
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let opens = TRACING.iter().any(|name| code.starts_with(name) || code.contains(&format!("::{name}")));
        if opens || tracing_depth.is_some() {
            if code.contains(":?}") {
                findings.push(format!("line {number}: `{{:?}}` in a log line: name fields, ids and sizes"));
            }
            for name in SECRET_BEARING.iter().filter(|name| contains_sigil(code, name)) {
                findings.push(format!("line {number}: `?{name}` in a log line"));
            }
        }
        for name in SECRET_BEARING {
            if code.contains(&format!("{{{name}:?}}")) || code.contains(&format!("{{{name}:#?}}")) {
                findings.push(format!("line {number}: `{{{name}:?}}` prints what may be secret"));
            }
        }
        let instruments = code.starts_with("#[instrument") || code.contains("tracing::instrument");
        if instruments && !code.contains("skip_all") && !code.starts_with("use ") {
            findings.push(format!("line {number}: `#[instrument]` prints its arguments: add `skip_all`"));
        }
        if opens && !code.ends_with(';') && !code.ends_with("),") && !code.ends_with(")") {
            tracing_depth = Some(indent.to_owned());
        } else if tracing_depth.as_deref().is_some_and(|depth| line.starts_with(&format!("{depth})"))) {
            tracing_depth = None;
        }
    }
    findings
}

/// `?name` as tracing spells "by Debug": at the start of an argument.
fn contains_sigil(code: &str, name: &str) -> bool {
    let sigil = format!("?{name}");
    code.match_indices(&sigil).any(|(at, _)| {
        let before = code[..at].trim_end();
        let after = code[at + sigil.len()..].chars().next();
        let argument = before.is_empty() || before.ends_with(['(', ',', '=']);
        argument && !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// `unwrap` gives a panic without a reason; `expect` says which invariant makes it impossible.
pub fn unwraps(text: &str) -> Vec<String> {
    let word = concat!(".unwr", "ap()");
    let hits = numbered(program_part(text)).filter(|(_, line)| line.contains(word) && !is_comment(line));
    hits.map(|(number, _)| format!("line {number}: `{word}`: an error, or `expect` with the invariant"))
        .collect()
}

/// `==` ends at the first sign that differs, and so tells by its time how many were right.
pub fn comparisons_of_secrets(text: &str) -> Vec<String> {
    let exposed = concat!(".expo", "se()");
    let compares = |line: &str| {
        let line =
            line.replace(&format!("{exposed}.len()"), "").replace(&format!("{exposed}.is_empty()"), "");
        line.contains(exposed) && (line.contains("==") || line.contains("!="))
    };
    let hits = numbered(program_part(text)).filter(|(_, line)| !is_comment(line) && compares(line));
    hits.map(|(number, _)| format!("line {number}: a secret compared by its text: use `Secret::matches`"))
        .collect()
}

/// A relaxed lint carries its reason.
pub fn relaxed_lints(text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in numbered(text) {
        let code = line.trim_start();
        let opens =
            ["#[allow(", "#![allow(", "#[expect(", "#![expect("].iter().any(|form| code.starts_with(form));
        if !opens {
            continue;
        }
        let attribute: String = text.lines().skip(number - 1).take(6).collect::<Vec<_>>().join(" ");
        let end = attribute.find(")]").unwrap_or(attribute.len());
        if !attribute[..end].contains("reason") {
            findings.push(format!("line {number}: a relaxed lint without `reason = \"...\"`"));
        }
    }
    findings
}

pub fn getters(text: &str) -> Vec<String> {
    let forms = ["pub fn get_", "pub(crate) fn get_", "pub async fn get_", "pub(crate) async fn get_"];
    let hits =
        numbered(text).filter(|(_, line)| forms.iter().any(|form| line.trim_start().starts_with(form)));
    hits.map(|(number, _)| format!("line {number}: name the thing, without `get_`")).collect()
}

/// Words that must not stand in the program part of some file, such as the clock in pure rules.
pub fn banned_words(text: &str, words: &[&str], reason: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in numbered(program_part(text)).filter(|(_, line)| !is_comment(line)) {
        for word in words.iter().filter(|word| line.contains(**word)) {
            findings.push(format!("line {number}: `{word}`: {reason}"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: fn(&str) -> Vec<String>, good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(rule(text), Vec::<String>::new(), "{text}");
        }
        for text in bad {
            assert!(!rule(text).is_empty(), "not found: {text}");
        }
    }

    #[test]
    fn a_long_file_needs_a_reason() {
        let long = "x\n".repeat(FILE_LINES_MAX + 1);
        check(length, &["x\n", &format!("//! Long because of its table.\n{long}")], &[&long]);
    }

    #[test]
    fn a_long_function_is_found_wherever_it_stands() {
        let body = "        x();\n".repeat(FUNCTION_LINES_MAX);
        check(
            function_lengths,
            &["fn f() {\n    x();\n}\n", "fn f();\n", "impl A {\n    fn f() {}\n}\n"],
            &[
                &format!("fn f() {{\n{body}}}\n"),
                &format!(
                    "impl A {{\n    pub(crate) async fn f(\n        a: u8,\n    ) {{\n{body}    }}\n}}\n"
                ),
            ],
        );
    }

    #[test]
    fn unfinished_work_and_machine_paths_are_found() {
        check(unfinished, &["let done = 1;"], &[concat!("// TO", "DO later"), concat!("to", "do!()")]);
        check(
            machine_paths,
            &["/etc/conclave", concat!("\"sys/rotate/ro", "ot/init\"")],
            &[concat!("let p = \"/ro", "ot/x\";")],
        );
    }

    #[test]
    fn a_debug_of_something_secret_is_found() {
        check(
            secrets_in_text,
            &[
                "info!(node, index, \"applied\");",
                "let x = format!(\"{path:?}\");",
                "warn!(\n    error = %error,\n    \"lost\"\n);\nlet y = format!(\"{z:?}\");",
                "let found = map.find(name)?;",
            ],
            &[
                "info!(\"{:?}\", x);",
                "debug!(?request, \"got\");",
                "tracing::warn!(id, body = ?body);",
                "info!(\n    a,\n    \"{x:?}\"\n);",
                "let text = format!(\"{txn:?}\");",
                "#[instrument]",
            ],
        );
    }

    #[test]
    fn an_unwrap_is_found_in_the_program_but_not_in_its_tests() {
        let unwrap = concat!("a.unwr", "ap();");
        check(unwraps, &["a.expect(\"why\");", &format!("\n#[cfg(test)]\nmod t {{ {unwrap} }}")], &[unwrap]);
    }

    #[test]
    fn a_secret_that_is_compared_by_its_text_is_found() {
        check(
            comparisons_of_secrets,
            &["a.matches(b)\n", "x.expose().len() == 5\n", "// a.expose() == b\n", "f(a.expose());\n"],
            &["if a.expose() == b {\n", "b != a.expose().as_str()\n", "a.expose().as_bytes() == x && y\n"],
        );
    }

    #[test]
    fn a_relaxed_lint_without_a_reason_is_found() {
        check(
            relaxed_lints,
            &["#[allow(x, reason = \"y\")]", "#[expect(\n    x,\n    reason = \"y\"\n)]"],
            &["#[allow(x)]", "#![allow(\n    x,\n    y\n)]\nlet reason = 1;"],
        );
    }

    #[test]
    fn purpose_getters_and_banned_words_are_found() {
        check(opens_with_its_purpose, &["//! For x.\n"], &["use x;\n", ""]);
        check(getters, &["fn get_log_state() {}", "pub fn name() {}"], &["    pub fn get_name() {}"]);
        check(
            |text| banned_words(text, &["SystemTime"], "no clock"),
            &["// SystemTime"],
            &["SystemTime::now()"],
        );
    }
}
