//! Secrets as they stand on a command line: `key=value`, `key=@file`, `key=-` for standard input, and a lone `@file` or
//! `-` for a JSON object. The same rules as Vault's.
//!
//! No sentence here repeats an argument: it may be the secret.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Read};

use serde_json::{Map, Value};

use crate::failure::Failure;

/// The largest file or input that is read, in bytes: the server takes no larger request.
const INPUT_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The longest line that is read, in bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Builds the data that `arguments` describe. A key that is given twice becomes a list.
pub fn data(arguments: &[String], stdin: &mut dyn Read) -> Result<Map<String, Value>, Failure> {
    let mut input = Input { stdin: Some(stdin) };
    let mut data = Map::new();
    for (index, argument) in arguments.iter().enumerate() {
        let number = index + 1;
        if argument == "-" {
            merge(&mut data, object(&input.standard()?, "standard input")?);
        } else if let Some(file) = argument.strip_prefix('@') {
            merge(&mut data, object(&read_file(file)?, &format!("the file {file}"))?);
        } else {
            let (key, value) =
                argument.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
                    Failure::usage(format!("data argument {number} is neither key=value nor @file nor -"))
                })?;
            let value = match value {
                "-" => input.standard()?,
                _ => match (value.strip_prefix('@'), value.strip_prefix("\\@")) {
                    (Some(file), _) => read_file(file)?,
                    (None, Some(rest)) => format!("@{rest}"),
                    (None, None) => value.to_owned(),
                },
            };
            add(&mut data, key, Value::String(value));
        }
    }
    Ok(data)
}

/// As [`data`], but at least one pair must be given.
pub fn some_data(arguments: &[String], stdin: &mut dyn Read) -> Result<Map<String, Value>, Failure> {
    if arguments.is_empty() {
        return Err(Failure::usage("Must supply data: key=value, key=@file, key=-, @file or -"));
    }
    data(arguments, stdin)
}

/// Reads `key=value` pairs whose values stand for themselves, such as mount options.
pub fn pairs(arguments: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |argument: &String| {
        let (key, value) = argument.split_once('=')?;
        (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    };
    arguments.iter().map(pair).collect::<Option<_>>().ok_or_else(|| Failure::usage("expected key=value"))
}

/// The first line of a source, without the spaces around it: a key or a token.
pub fn line(source: impl std::io::BufRead) -> Result<String, Failure> {
    let mut text = String::new();
    source
        .take(LINE_BYTES_MAX)
        .read_line(&mut text)
        .map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
    match text.trim() {
        "" => Err(Failure::usage("standard input is empty")),
        line => Ok(line.to_owned()),
    }
}

/// Standard input, which can be read once.
struct Input<'a> {
    stdin: Option<&'a mut dyn Read>,
}

impl Input<'_> {
    fn standard(&mut self) -> Result<String, Failure> {
        let stdin =
            self.stdin.take().ok_or_else(|| Failure::usage("standard input can be used only once"))?;
        read(stdin, "standard input")
    }
}

fn read_file(path: &str) -> Result<String, Failure> {
    let file = std::fs::File::open(path)
        .map_err(|error| Failure::usage(format!("cannot read the file {path}: {error}")))?;
    read(file, &format!("the file {path}"))
}

fn read(source: impl Read, name: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    source
        .take(INPUT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::usage(format!("cannot read {name}: {error}")))?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(Failure::usage(format!("{name} is larger than {INPUT_BYTES_MAX} bytes")));
    }
    // JSON cannot carry other bytes, and replacing them would store something else than was given.
    String::from_utf8(bytes).map_err(|_| {
        Failure::usage(format!("{name} is not UTF-8 text: encode it first, for example with base64"))
    })
}

fn object(text: &str, name: &str) -> Result<Map<String, Value>, Failure> {
    // Not the parser's own message, which may quote the input.
    serde_json::from_str(text).map_err(|error| {
        Failure::usage(format!(
            "{name} is not a JSON object (line {}, column {})",
            error.line(),
            error.column()
        ))
    })
}

fn merge(data: &mut Map<String, Value>, more: Map<String, Value>) {
    for (key, value) in more {
        add(data, &key, value);
    }
}

fn add(data: &mut Map<String, Value>, key: &str, value: Value) {
    match data.get_mut(key) {
        None => {
            data.insert(key.to_owned(), value);
        }
        Some(Value::Array(list)) => list.push(value),
        Some(single) => {
            let first = single.take();
            *single = Value::Array(vec![first, value]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;

    use super::*;

    fn parse(arguments: &[&str], stdin: &str) -> Result<Value, String> {
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        some_data(&arguments, &mut stdin.as_bytes()).map(Value::Object).map_err(|failure| failure.to_string())
    }

    fn check(arguments: &[&str], stdin: &str, expect: Value) {
        assert_eq!(parse(arguments, stdin).unwrap(), expect, "{arguments:?}");
    }

    #[test]
    fn values_stand_for_themselves() {
        check(&["a=b", "n=1"], "", json!({"a": "b", "n": "1"}));
        check(&["a=b=c", "d=", "e= f "], "", json!({"a": "b=c", "d": "", "e": " f "}));
    }

    #[test]
    fn a_key_given_twice_is_a_list() {
        check(&["x=1", "x=2", "x=3"], "", json!({"x": ["1", "2", "3"]}));
    }

    #[test]
    fn values_come_from_files_and_standard_input_as_they_are() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"line\n").unwrap();
        let from_file = format!("f=@{}", file.path().display());
        check(&[&from_file, "s=-", "l=\\@x"], "input\n", json!({"f": "line\n", "s": "input\n", "l": "@x"}));
    }

    #[test]
    fn a_lone_dash_or_file_is_a_json_object() {
        let text = r#"{"n": 12345678901234567890.50, "m": {"k": null}}"#;
        let expect: Value =
            serde_json::from_str(r#"{"n":12345678901234567890.50,"m":{"k":null},"a":"b"}"#).unwrap();
        check(&["-", "a=b"], text, expect.clone());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        check(&[&format!("@{}", file.path().display()), "a=b"], "", expect);
    }

    #[test]
    fn mistakes_are_named_without_the_secret() {
        let sentence = |arguments: &[&str], stdin: &str| parse(arguments, stdin).unwrap_err();
        assert!(sentence(&[], "").contains("Must supply data"));
        assert!(sentence(&["a=b", "canary"], "").contains("data argument 2"));
        assert!(!sentence(&["canary"], "").contains("canary"));
        assert!(sentence(&["=canary"], "").contains("neither key=value"));
        assert!(sentence(&["a=@/nonexistent"], "").contains("/nonexistent"));
        assert!(sentence(&["a=-", "b=-"], "").contains("only once"));
        let broken = sentence(&["-"], "{\"a\": canary}");
        assert!(broken.contains("line 1") && !broken.contains("canary"), "{broken}");
        assert!(sentence(&["-"], "[1]").contains("not a JSON object"));
    }

    #[test]
    fn a_line_is_trimmed_and_not_empty() {
        assert_eq!(line("  key \nmore".as_bytes()).unwrap(), "key");
        assert_eq!(line("\nkey".as_bytes()).err().map(|failure| failure.code()), Some(2));
    }

    #[test]
    fn bytes_that_json_cannot_carry_are_refused_not_replaced() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [0xff, 0xfe]).unwrap();
        let sentence = parse(&[&format!("a=@{}", file.path().display())], "").unwrap_err();
        assert!(sentence.contains("base64"), "{sentence}");
    }
}
