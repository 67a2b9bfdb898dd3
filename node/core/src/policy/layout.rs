//! Brings a policy into the layout that the HCL parser expects, and bounds it before that parser sees it.
//!
//! Policies are written in the first version of HCL, which asks for no line breaks: `path "a" { policy = "read" } path
//! "b" {...}` may stand on one line, names may be quoted, a map may go without `=`. Its successor, which the parser
//! speaks, is stricter there. Here the text becomes tokens, and these are written out again, an item a line. What a
//! policy never needs (functions, operators, interpolation, here-documents) is refused on the way.

use super::document::DocumentError;

/// Deepest nesting of braces and brackets.
pub const NESTING_MAX: usize = 8;
/// Names with a value, at all depths together.
pub const ITEMS_MAX: usize = 20_000;

/// Names in one map: the parser compares each with all before it.
pub const MAP_ITEMS_MAX: usize = 1_000;

/// The text, an item a line, and where each of its lines came from.
pub struct Layout {
    pub text: String,
    /// Where each line begins, and its line in the original.
    lines: Vec<(usize, u32)>,
}

impl Layout {
    /// The line of the original that stands at `offset` of the text.
    pub fn line_at(&self, offset: usize) -> u32 {
        self.line(self.lines.partition_point(|(start, _)| *start <= offset))
    }

    /// The line of the original for one of the text, both counted from 1.
    pub fn line(&self, line: usize) -> u32 {
        self.lines.get(line.saturating_sub(1)).or(self.lines.last()).map_or(1, |(_, line)| *line)
    }

    /// # Errors
    /// The text is no policy by its mere form, or goes over a bound.
    pub fn of(source: &str) -> Result<Self, DocumentError> {
        let mut writer = Writer {
            text: String::with_capacity(source.len() + source.len() / 4),
            lines: vec![(0, 1)],
            stack: vec![Frame { context: Context::Body, expects: Awaiting::Item, items: 0 }],
            items: 0,
            line: 1,
        };
        let mut tokens = Tokens { rest: source, line: 1 };
        while let Some(token) = tokens.next()? {
            writer.line = token.line;
            writer.take(&token)?;
        }
        if writer.stack.len() > 1 {
            return Err(DocumentError::at(tokens.line, "a brace or bracket is not closed"));
        }
        if writer.stack.last().is_some_and(|frame| frame.expects != Awaiting::Item) {
            return Err(DocumentError::at(tokens.line, "a name without a value"));
        }
        writer.text.push('\n');
        Ok(Self { text: writer.text, lines: writer.lines })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenKind {
    /// With its quotes, as it stands.
    Quoted,
    /// A name or a number.
    Word,
    /// One of `{}[]=:,`.
    Sign,
}

struct Token<'a> {
    kind: TokenKind,
    text: &'a str,
    line: u32,
}

struct Tokens<'a> {
    rest: &'a str,
    line: u32,
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Result<Option<Token<'a>>, DocumentError> {
        self.skip_blank()?;
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let (kind, end) = match first {
            '"' => (TokenKind::Quoted, self.quoted_end()?),
            '{' | '}' | '[' | ']' | '=' | ':' | ',' => (TokenKind::Sign, 1),
            _ if is_word(first) => {
                (TokenKind::Word, self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len()))
            }
            '<' => return Err(self.error("here-documents are not supported: write the text in quotes")),
            _ => return Err(self.error("a character that means nothing here")),
        };
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(Some(Token { kind, text, line: self.line }))
    }

    fn error(&self, sentence: &'static str) -> DocumentError {
        DocumentError::at(self.line, sentence)
    }

    fn advance(&mut self, bytes: usize) {
        let (skipped, rest) = self.rest.split_at(bytes);
        let breaks = skipped.bytes().filter(|&byte| byte == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(breaks).unwrap_or(u32::MAX));
        self.rest = rest;
    }

    fn skip_blank(&mut self) -> Result<(), DocumentError> {
        loop {
            let blank =
                self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{feff}']).len();
            self.advance(blank);
            if self.rest.starts_with('#') || self.rest.starts_with("//") {
                self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                let end = self.rest.find("*/").ok_or_else(|| self.error("a comment is not closed"))?;
                self.advance(end + 2);
            } else {
                return Ok(());
            }
        }
    }

    /// Where the text that begins here ends, after its closing quote.
    fn quoted_end(&self) -> Result<usize, DocumentError> {
        let mut escaped = false;
        for (at, byte) in self.rest.bytes().enumerate().skip(1) {
            match byte {
                b'\n' => break,
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => return Ok(at + 1),
                _ => {}
            }
        }
        Err(self.error("a text is not closed"))
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '+')
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    Body,
    Object,
    Array,
}

/// What may come next in a context.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaiting {
    Item,
    /// After a name: a value, or labels and a block.
    Assignment,
    /// After a label.
    Block,
    Value,
}

/// A brace or bracket that is open; the first stands for the document.
struct Frame {
    context: Context,
    expects: Awaiting,
    items: usize,
}

struct Writer {
    text: String,
    lines: Vec<(usize, u32)>,
    stack: Vec<Frame>,
    items: usize,
    line: u32,
}

impl Writer {
    fn take(&mut self, token: &Token<'_>) -> Result<(), DocumentError> {
        let top = self.stack.last();
        let (context, awaiting) =
            top.map_or((Context::Body, Awaiting::Item), |frame| (frame.context, frame.expects));
        match (context, awaiting, token.kind) {
            (Context::Array, ..) => self.in_array(token),
            (_, Awaiting::Value, TokenKind::Sign) => match token.text {
                "[" => self.open(Context::Array, " ["),
                "{" => self.open(Context::Object, " {"),
                _ => Err(self.error("a value is missing")),
            },
            (_, Awaiting::Value, _) => {
                self.text.push(' ');
                self.push_value(token);
                self.now(Awaiting::Item);
                Ok(())
            }
            (_, Awaiting::Item, TokenKind::Sign) => match token.text {
                "}" => self.close(context),
                "," => Ok(()),
                _ => Err(self.error("a name is missing")),
            },
            (_, Awaiting::Item, _) => self.begin_item(context, token),
            (Context::Body, Awaiting::Assignment | Awaiting::Block, TokenKind::Quoted | TokenKind::Word) => {
                self.text.push(' ');
                self.push_value(token);
                self.now(Awaiting::Block);
                Ok(())
            }
            (_, _, TokenKind::Sign) => match (token.text, awaiting) {
                ("=" | ":", Awaiting::Assignment) => {
                    self.text.push_str(" =");
                    self.now(Awaiting::Value);
                    Ok(())
                }
                ("{", Awaiting::Block) => self.open(Context::Body, " {"),
                // A map without its `=`.
                ("{", _) => self.open(Context::Object, " = {"),
                _ => Err(self.error("`=` or `{` is missing after a name")),
            },
            _ => Err(self.error("`=` is missing after a name")),
        }
    }

    fn in_array(&mut self, token: &Token<'_>) -> Result<(), DocumentError> {
        match (token.kind, token.text) {
            (TokenKind::Sign, "[") => self.open(Context::Array, "["),
            (TokenKind::Sign, "{") => self.open(Context::Object, "{"),
            (TokenKind::Sign, "]") => self.close(Context::Array),
            (TokenKind::Sign, ",") => {
                self.text.push_str(", ");
                Ok(())
            }
            (TokenKind::Sign, _) => Err(self.error("a list holds values with commas between them")),
            _ => {
                self.push_value(token);
                self.text.push(' ');
                Ok(())
            }
        }
    }

    fn begin_item(&mut self, context: Context, token: &Token<'_>) -> Result<(), DocumentError> {
        self.items += 1;
        if self.items > ITEMS_MAX {
            return Err(self.error("the document has too many items"));
        }
        self.break_line();
        match (context, token.kind) {
            (Context::Object, TokenKind::Quoted) => self.push_value(token),
            (_, TokenKind::Quoted) if is_name(&token.text[1..token.text.len() - 1]) => {
                self.text.push_str(&token.text[1..token.text.len() - 1]);
            }
            (_, TokenKind::Word) if is_name(token.text) => self.text.push_str(token.text),
            _ => return Err(self.error("a name has letters, digits, `_` and `-`")),
        }
        if context == Context::Object {
            self.count_in_map()?;
        }
        self.now(Awaiting::Assignment);
        Ok(())
    }

    fn count_in_map(&mut self) -> Result<(), DocumentError> {
        let Some(map) = self.stack.last_mut() else { return Ok(()) };
        map.items += 1;
        if map.items > MAP_ITEMS_MAX { Err(self.error("a map has too many names")) } else { Ok(()) }
    }

    /// A value or label. `${` and `%{` mean nothing in a policy, so the parser must not see them.
    fn push_value(&mut self, token: &Token<'_>) {
        if token.kind == TokenKind::Quoted && (token.text.contains("${") || token.text.contains("%{")) {
            self.text.push_str(&token.text.replace("${", "\\u0024{").replace("%{", "\\u0025{"));
        } else {
            self.text.push_str(token.text);
        }
    }

    fn open(&mut self, context: Context, written: &str) -> Result<(), DocumentError> {
        if self.stack.len() > NESTING_MAX {
            return Err(self.error("the document is nested too deeply"));
        }
        // What encloses it goes on with its next item.
        self.now(Awaiting::Item);
        self.text.push_str(written);
        self.stack.push(Frame { context, expects: Awaiting::Item, items: 0 });
        Ok(())
    }

    fn close(&mut self, context: Context) -> Result<(), DocumentError> {
        if self.stack.len() == 1 {
            return Err(self.error("a brace is closed that was not opened"));
        }
        self.stack.pop();
        if context == Context::Array {
            self.text.push(']');
        } else {
            self.break_line();
            self.text.push('}');
        }
        Ok(())
    }

    fn now(&mut self, awaiting: Awaiting) {
        if let Some(top) = self.stack.last_mut() {
            top.expects = awaiting;
        }
    }

    fn break_line(&mut self) {
        self.text.push('\n');
        self.lines.push((self.text.len(), self.line));
    }

    fn error(&self, sentence: &'static str) -> DocumentError {
        DocumentError::at(self.line, sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(source: &str) -> String {
        Layout::of(source).unwrap().text.trim().to_owned()
    }

    #[test]
    fn what_stands_on_one_line_gets_a_line_each() {
        let expected = "path \"a\" {\ncapabilities = [\"read\" ]\nmin_wrapping_ttl = 1\n}\npath \"b\" {\n}";
        assert_eq!(
            laid_out("path \"a\" { \"capabilities\" = [\"read\"] min_wrapping_ttl = 1 } path \"b\" {}"),
            expected
        );
        assert_eq!(
            laid_out(
                "// x\n\"path\" \"a\"\n{ /* y\n */ capabilities=[\"read\"], # z\n min_wrapping_ttl\n=1}path \"b\"{}"
            ),
            expected
        );
    }

    #[test]
    fn a_map_may_go_without_its_equals_sign_and_its_commas() {
        assert_eq!(laid_out("m { \"*\" = [] x: 1 }"), "m = {\n\"*\" = []\nx = 1\n}");
    }

    #[test]
    fn interpolation_stays_plain_text() {
        assert_eq!(laid_out(r#"a = "${b}%{c}""#), r#"a = "\u0024{b}\u0025{c}""#);
    }

    #[test]
    fn lines_are_those_of_the_original() {
        let layout = Layout::of("\n\npath \"a\" { x = 1 y = 2\n\n z = 3 }").unwrap();
        let line_of = |what: &str| layout.line_at(layout.text.find(what).unwrap());
        assert_eq!((line_of("path"), line_of("y ="), line_of("z =")), (3, 3, 5));
    }

    #[test]
    fn what_a_policy_never_needs_is_refused_with_its_line() {
        for (source, line) in [
            ("a = f(1)", 1),
            ("\na = 1 ? 2 : 3", 2),
            ("a = <<EOF\nx\nEOF", 1),
            ("a = \"x\ny\"", 1),
            ("a = {", 1),
            ("a = 1 }", 1),
            ("path \"a\"", 1),
            ("a", 1),
            ("a =", 1),
            ("= 1", 1),
            ("/* x", 1),
            ("\"a b\" = 1", 1),
            ("a = [=]", 1),
        ] {
            let error = Layout::of(source).err().unwrap_or_else(|| panic!("{source} is taken"));
            assert_eq!(error.line, Some(line), "{source}: {error}");
        }
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let nested = |depth: usize| format!("a = {}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Layout::of(&nested(NESTING_MAX)).is_ok());
        assert!(Layout::of(&nested(NESTING_MAX + 1)).is_err());
        assert!(Layout::of(&"a = 1\n".repeat(ITEMS_MAX)).is_ok());
        assert!(Layout::of(&"a = 1\n".repeat(ITEMS_MAX + 1)).is_err());
        let map = |items: usize| format!("a = {{ {} }}", "b = 1 ".repeat(items));
        assert!(Layout::of(&map(MAP_ITEMS_MAX)).is_ok());
        assert!(Layout::of(&map(MAP_ITEMS_MAX + 1)).is_err());
    }
}
