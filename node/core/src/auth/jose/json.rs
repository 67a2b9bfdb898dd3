//! JSON of others, read strictly: no name stands twice in an object, and nothing is nested deeply. What two readers could
//! take for two things is refused (RFC 8725, 3.1 and 3.11).

use serde_json::{Map, Value};

/// Objects and lists within each other at most.
const DEPTH_MAX: usize = 16;

/// Reads `bytes` as one object. `None`: it is none, or could be understood in more ways than one.
pub fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.skip_blanks();
    match value {
        Value::Object(object) if reader.at == text.len() => Some(object),
        _ => None,
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        match self.peek()? {
            b'{' | b'[' if depth == DEPTH_MAX => None,
            b'{' => self.members(depth + 1).map(Value::Object),
            b'[' => self.items(depth + 1).map(Value::Array),
            b'"' => self.string().map(Value::String),
            _ => self.scalar(),
        }
    }

    fn members(&mut self, depth: usize) -> Option<Map<String, Value>> {
        let mut members = Map::new();
        self.expect(b'{')?;
        if self.take(b'}') {
            return Some(members);
        }
        loop {
            self.peek()?;
            let name = self.string()?;
            self.expect(b':')?;
            let value = self.value(depth)?;
            if members.insert(name, value).is_some() {
                return None;
            }
            if self.take(b'}') {
                return Some(members);
            }
            self.expect(b',')?;
        }
    }

    fn items(&mut self, depth: usize) -> Option<Vec<Value>> {
        let mut items = Vec::new();
        self.expect(b'[')?;
        if self.take(b']') {
            return Some(items);
        }
        loop {
            items.push(self.value(depth)?);
            if self.take(b']') {
                return Some(items);
            }
            self.expect(b',')?;
        }
    }

    /// A literal in quotes; what is in it is the parser's matter.
    fn string(&mut self) -> Option<String> {
        let bytes = self.rest().as_bytes();
        if bytes.first() != Some(&b'"') {
            return None;
        }
        let mut end = 1;
        while *bytes.get(end)? != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        self.parse(end + 1)
    }

    fn scalar(&mut self) -> Option<Value> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let length = self.rest().find(|c| !is_part(c)).unwrap_or(self.rest().len());
        self.parse(length)
    }

    fn parse<T: serde::de::DeserializeOwned>(&mut self, length: usize) -> Option<T> {
        let literal = self.rest().get(..length)?;
        self.at += length;
        serde_json::from_str(literal).ok()
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        let blanks = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.at += self.rest().bytes().take_while(blanks).count();
    }

    fn peek(&mut self) -> Option<u8> {
        self.skip_blanks();
        self.rest().bytes().next()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_read_as_any_reader_reads_them() {
        let text = r#" { "a" : [ 1 , -2.5e3, true, null, "x\"\\\u00e9" ] , "b":{ } , "":[] } "#;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(Value::Object(object(text.as_bytes()).unwrap()), expected);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"sub":"a","sub":"b"}}"#,
            r#"[{"a":1}]"#,
            r#"{"a":1}{"#,
            r#"{"a":1} x"#,
            r#"{"a":1,}"#,
            r#"{"a":01}"#,
            r#"{"a":NaN}"#,
            r#"{'a':1}"#,
            r#"{"a"}"#,
            r#"{"a":"\"#,
            r#"{"a":"x"#,
            "",
            "null",
            &deep,
        ] {
            assert_eq!(object(text.as_bytes()), None, "{text}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), None);
    }

    #[test]
    fn a_name_that_the_parser_keeps_for_itself_is_a_name_like_others() {
        let text = r#"{"a":{"$serde_json::private::Number":"1"}}"#;
        let read = object(text.as_bytes()).unwrap();
        assert!(read["a"].is_object());
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_what_any_reader_reads(text in r#"[{}\[\]",:0-9.eE+a\\ u-]{0,40}"#) {
            if let Some(read) = object(text.as_bytes()) {
                let other: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(Value::Object(read), other);
            }
        }

        #[test]
        fn what_was_written_is_read(values in proptest::collection::btree_map(".{0,6}", ".{0,6}", 0..5)) {
            let text = json!({ "a": values, "b": [values] });
            prop_assert_eq!(object(text.to_string().as_bytes()).map(Value::Object), Some(text));
        }
    }
}
