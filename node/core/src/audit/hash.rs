//! What stands in the trail for a secret: a keyed hash, under which equal values are equal and nothing else is told.
//!
//! JSON is rewritten as it is read, without a tree of values in between: every string that is a value is replaced, names
//! of members, numbers, `true`, `false` and `null` stay, as in Vault's records. What is not understood is refused and
//! never copied.

use std::borrow::Cow;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Begins every hash, as in Vault's records.
const PREFIX: &str = "hmac-sha256:";

/// The key of one device's hashes.
#[derive(Clone)]
pub struct Salt(Hmac<Sha256>);

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt")
    }
}

/// JSON that cannot be rewritten: it is not well formed, or its record would be too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRewritten;

impl Salt {
    pub fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    /// What stands for `text`.
    pub fn hash(&self, text: &str) -> String {
        format!("{PREFIX}{}", hex::encode(self.mac(text)))
    }

    /// Appends `text`'s hash as a JSON string.
    pub fn write_hash(&self, text: &str, out: &mut Vec<u8>) {
        let mut digits = [0; 64];
        hex::encode_to_slice(self.mac(text), &mut digits).expect("two digits for each of 32 bytes");
        out.push(b'"');
        out.extend_from_slice(PREFIX.as_bytes());
        out.extend_from_slice(&digits);
        out.push(b'"');
    }

    fn mac(&self, text: &str) -> [u8; 32] {
        self.0.clone().chain_update(text).finalize().into_bytes().into()
    }

    /// Appends `json` with a hash for every string that is a value, but for the members of the outermost object that
    /// `plain` names; at most `max_bytes` of it.
    ///
    /// # Errors
    /// `NotRewritten`; `out` is as it was.
    pub fn rewrite(
        &self,
        json: &[u8],
        plain: &[String],
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), NotRewritten> {
        let begin = out.len();
        let done = self.try_rewrite(json, plain, begin + max_bytes, out);
        if done.is_err() {
            out.truncate(begin);
        }
        done
    }

    fn try_rewrite(
        &self,
        json: &[u8],
        plain: &[String],
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), NotRewritten> {
        let mut scanner = Scanner::new(json);
        let mut is_plain = false;
        while let Some(token) = scanner.next()? {
            match token {
                Token::Mark(byte) => out.push(byte),
                Token::Plain(text) => out.extend_from_slice(text),
                Token::Name(text) => {
                    if scanner.depth() == 1 {
                        let name = decoded(text)?;
                        is_plain = plain.iter().any(|plain| *plain == name);
                    }
                    out.extend_from_slice(text);
                }
                Token::Text(text) if is_plain => {
                    decoded(text)?;
                    out.extend_from_slice(text);
                }
                Token::Text(text) => self.write_hash(&decoded(text)?, out),
            }
            if out.len() > limit {
                return Err(NotRewritten);
            }
        }
        Ok(())
    }
}

fn decoded(text: &[u8]) -> Result<Cow<'_, str>, NotRewritten> {
    if !text.contains(&b'\\') {
        let inner = text.get(1..text.len() - 1).ok_or(NotRewritten)?;
        return std::str::from_utf8(inner).map(Cow::Borrowed).map_err(|_| NotRewritten);
    }
    serde_json::from_slice::<String>(text).map(Cow::Owned).map_err(|_| NotRewritten)
}

/// The members `names` of the object that `json` is, as they are written there. Looks no further than it must.
pub fn members<'j, const COUNT: usize>(json: &'j [u8], names: [&str; COUNT]) -> [Option<&'j [u8]>; COUNT] {
    let mut found = [None; COUNT];
    let mut scanner = Scanner::new(json);
    let mut open: Option<(usize, usize)> = None;
    while let Ok(Some(token)) = scanner.next() {
        match token {
            Token::Name(text) if scanner.depth() == 1 => {
                let name = text.get(1..text.len() - 1).unwrap_or_default();
                let wanted = names.iter().position(|wanted| wanted.as_bytes() == name);
                // Behind the colon.
                let Ok(Some(Token::Mark(b':'))) = scanner.next() else { break };
                open = wanted.map(|wanted| (wanted, scanner.at));
            }
            Token::Mark(mark)
                if (mark == b',' && scanner.depth() == 1) || (mark == b'}' && scanner.depth() == 0) =>
            {
                if let Some((wanted, begin)) = open.take() {
                    found[wanted] = json.get(begin..scanner.at - 1);
                    if found.iter().all(Option::is_some) {
                        break;
                    }
                }
            }
            _ => {}
        }
    }
    found
}

enum Token<'j> {
    /// One of `{}[],:`.
    Mark(u8),
    /// A member's name, with its quotes.
    Name(&'j [u8]),
    /// A string, with its quotes.
    Text(&'j [u8]),
    /// A number, `true`, `false` or `null`.
    Plain(&'j [u8]),
}

/// Cuts JSON into tokens. It checks just enough to know a name from a value.
struct Scanner<'j> {
    json: &'j [u8],
    at: usize,
    /// Whether each open bracket is an object's.
    open: Vec<bool>,
    /// The next string is a name.
    expects_name: bool,
}

impl<'j> Scanner<'j> {
    fn new(json: &'j [u8]) -> Self {
        Self { json, at: 0, open: Vec::new(), expects_name: false }
    }

    fn depth(&self) -> usize {
        self.open.len()
    }

    fn next(&mut self) -> Result<Option<Token<'j>>, NotRewritten> {
        while self.json.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        let Some(&byte) = self.json.get(self.at) else {
            return if self.open.is_empty() { Ok(None) } else { Err(NotRewritten) };
        };
        match byte {
            b'"' => self.string().map(Some),
            b'{' | b'[' | b'}' | b']' | b',' | b':' => self.mark(byte).map(Some),
            _ => self.plain().map(Some),
        }
    }

    fn mark(&mut self, byte: u8) -> Result<Token<'j>, NotRewritten> {
        self.at += 1;
        match byte {
            b'{' | b'[' => self.open.push(byte == b'{'),
            b'}' | b']' => {
                let object = self.open.pop().ok_or(NotRewritten)?;
                if object != (byte == b'}') {
                    return Err(NotRewritten);
                }
            }
            _ => {}
        }
        let in_object = self.open.last() == Some(&true);
        self.expects_name = in_object && matches!(byte, b'{' | b',');
        Ok(Token::Mark(byte))
    }

    fn string(&mut self) -> Result<Token<'j>, NotRewritten> {
        let begin = self.at;
        self.at += 1;
        loop {
            match self.json.get(self.at).ok_or(NotRewritten)? {
                b'"' => break,
                b'\\' => self.at += 2,
                // A line of the trail must stay one line.
                0..0x20 => return Err(NotRewritten),
                _ => self.at += 1,
            }
        }
        self.at += 1;
        let text = &self.json[begin..self.at];
        if self.expects_name {
            self.expects_name = false;
            std::str::from_utf8(text).map_err(|_| NotRewritten)?;
            return Ok(Token::Name(text));
        }
        Ok(Token::Text(text))
    }

    fn plain(&mut self) -> Result<Token<'j>, NotRewritten> {
        let begin = self.at;
        while self.json.get(self.at).is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
        {
            self.at += 1;
        }
        let text = &self.json[begin..self.at];
        let is_number = text.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-')
            && text.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte));
        if is_number || matches!(text, b"true" | b"false" | b"null") {
            return Ok(Token::Plain(text));
        }
        Err(NotRewritten)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const PLENTY: usize = 1 << 20;

    fn rewritten(salt: &Salt, json: &str) -> Result<String, NotRewritten> {
        let mut out = Vec::new();
        salt.rewrite(json.as_bytes(), &[], PLENTY, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    /// What OpenBao 2.7.2 wrote for this body, with the salt that it had made for its device.
    #[test]
    fn hashes_are_those_of_openbao() {
        let salt = Salt::new(b"91106db0-0049-3515-a64a-e2c330460fcb");
        let body = r#"{"data":{"a":"canary","b":true,"z":null,"arr":["x",2,{"k":"v"}],"o":{"in":"deep"},"e":"","uni":"héß"},"options":{"cas":0}}"#;
        let theirs: Value = json!({
            "data": {
                "a": "hmac-sha256:a93b80d0e42caa5f887411622f6bbabe269481dbee91baa5687447805e6ff2fd",
                "arr": [
                    "hmac-sha256:90b21e3a407174db8521bc1dbe0e9bf7aec2a17beecab6c008ae968dec35d775",
                    2,
                    { "k": "hmac-sha256:81ec8952b89e02f648a640a2cb653520b25ccefc75129ba438acc4e6cf73884c" },
                ],
                "b": true,
                "e": "hmac-sha256:0747d9a50289fa70c046c36123f21a3f1ad85762db881077fced1fe9bc4218ed",
                "o": { "in": "hmac-sha256:2d0363285e981cdfeb100af2445f87b7d49ad95d1082e568ab365387f2874907" },
                "uni": "hmac-sha256:5b42df736858f252f4fc1c31b8d4a18d9814a095148d76a46d52e34776e113db",
                "z": null,
            },
            "options": { "cas": 0 },
        });
        let ours: Value = serde_json::from_str(&rewritten(&salt, body).unwrap()).unwrap();
        assert_eq!(ours, theirs);
        // Its root token's text was "root".
        let root = "hmac-sha256:6bc8dc9900c5a067e5451c3af2f14fdf13f30239f87e2ae1cc44cd6e16e3d4da";
        assert_eq!(salt.hash("root"), root);
    }

    #[test]
    fn a_string_is_hashed_as_what_it_means_and_not_as_it_is_spelled() {
        let salt = Salt::new(b"k");
        assert_eq!(rewritten(&salt, r#""a\u0062c\n""#).unwrap(), format!("\"{}\"", salt.hash("abc\n")));
        assert_eq!(rewritten(&salt, "[ 1.50 , -2e9,true ]").unwrap(), "[1.50,-2e9,true]");
    }

    #[test]
    fn members_that_a_mount_names_stay_as_they_are_and_only_the_outermost() {
        let salt = Salt::new(b"k");
        let mut out = Vec::new();
        let json = br#"{"a":"x","b":{"a":"y","b":"z"},"c":["x"]}"#;
        salt.rewrite(json, &["a".to_owned(), "c".to_owned()], PLENTY, &mut out).unwrap();
        let expected =
            format!(r#"{{"a":"x","b":{{"a":"{}","b":"{}"}},"c":["x"]}}"#, salt.hash("y"), salt.hash("z"));
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_is_not_json_is_not_copied() {
        let salt = Salt::new(b"k");
        for bad in [r#"{"a":canary}"#, r#"{"a":"x"#, "[1", "{]", "12canary", "\"a\nb\"", "}"] {
            assert_eq!(rewritten(&salt, bad), Err(NotRewritten), "{bad}");
        }
        let mut out = b"before".to_vec();
        assert!(salt.rewrite(br#"["long","longer"]"#, &[], 90, &mut out).is_err());
        assert_eq!(out, b"before");
    }

    #[test]
    fn members_are_found_in_their_own_object_only() {
        let text = br#"{"x":{"data":1},"y":"data", "data" : {"data":[2,"}"]} ,"z":null}"#;
        let [z, none, data] = members(text, ["z", "none", "data"]);
        assert_eq!(data.map(<[u8]>::trim_ascii), Some(&br#"{"data":[2,"}"]}"#[..]));
        assert_eq!((z, none), (Some(&b"null"[..]), None));
        assert_eq!(members(b"[1]", ["x"]), [None]);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z\"\\\\ ]{0,6}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// The same, on a tree of values.
    fn by_tree(salt: &Salt, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::from(salt.hash(text)),
            Value::Array(items) => items.iter().map(|item| by_tree(salt, item)).collect(),
            Value::Object(map) => {
                Value::Object(map.iter().map(|(name, value)| (name.clone(), by_tree(salt, value))).collect())
            }
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn any_json_is_rewritten_as_its_tree_would_be(value in any_json()) {
            let salt = Salt::new(b"k");
            let text = rewritten(&salt, &value.to_string()).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), by_tree(&salt, &value));
        }

        #[test]
        fn no_bytes_make_it_fail_badly(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut out = Vec::new();
            let _ = Salt::new(b"k").rewrite(&bytes, &[], PLENTY, &mut out);
            let _ = members(&bytes, ["data"]);
        }
    }
}
