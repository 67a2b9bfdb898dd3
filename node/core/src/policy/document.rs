//! A document of rules, written in HCL or JSON, as one tree. Bounded before anything is parsed.

use std::collections::BTreeSet;
use std::fmt;

use hcl_edit::Number;
use hcl_edit::expr::{Expression, ObjectKey, UnaryOperator};
use hcl_edit::structure::{Body, Structure};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::layout::{ITEMS_MAX, Layout, NESTING_MAX};

/// Longest document, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// Why a text is no policy. Names the line, if it is known, and no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentError {
    /// Counted from 1.
    pub line: Option<u32>,
    pub sentence: String,
}

impl DocumentError {
    pub fn at(line: u32, sentence: impl Into<String>) -> Self {
        Self { line: (line > 0).then_some(line), sentence: sentence.into() }
    }

    pub fn whole(sentence: impl Into<String>) -> Self {
        Self { line: None, sentence: sentence.into() }
    }
}

impl std::error::Error for DocumentError {}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.sentence),
            None => f.write_str(&self.sentence),
        }
    }
}

/// A value of the document.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Text, number, boolean or null.
    Scalar(Value),
    List(Vec<Node>),
    /// In the order of the document. Blocks may repeat a name, nothing else.
    Map(Vec<Entry>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub name: String,
    /// Counted from 1; 0 in JSON, where it is not known.
    pub line: u32,
    pub node: Node,
}

impl Node {
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    pub fn into_json(self) -> Value {
        match self {
            Self::Scalar(value) => value,
            Self::List(items) => items.into_iter().map(Self::into_json).collect(),
            Self::Map(entries) => {
                entries.into_iter().map(|entry| (entry.name, entry.node.into_json())).collect()
            }
        }
    }
}

/// Reads a document: JSON if its first character is a brace, HCL otherwise.
///
/// # Errors
/// The text has neither form, repeats a name, or goes over a bound.
pub fn parse(text: &str) -> Result<Vec<Entry>, DocumentError> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(DocumentError::whole(format!("the document is longer than {DOCUMENT_BYTES_MAX} bytes")));
    }
    if text.trim_start().starts_with('{') { parse_json(text) } else { parse_hcl(text) }
}

fn parse_hcl(text: &str) -> Result<Vec<Entry>, DocumentError> {
    let layout = Layout::of(text)?;
    let body = hcl_edit::parser::parse_body(&layout.text).map_err(|error| {
        // Its own message may quote the text.
        DocumentError::at(
            layout.line(error.location().line()),
            "this is no HCL: a value, a comma or a sign is missing, wrong or repeated",
        )
    })?;
    HclReader { layout: &layout }.body(&body)
}

struct HclReader<'a> {
    layout: &'a Layout,
}

impl HclReader<'_> {
    fn line(&self, spanned: &impl hcl_edit::Span) -> u32 {
        spanned.span().map_or(0, |span| self.layout.line_at(span.start))
    }

    fn body(&self, body: &Body) -> Result<Vec<Entry>, DocumentError> {
        body.iter()
            .map(|structure| match structure {
                Structure::Attribute(attribute) => Ok(Entry {
                    name: attribute.key.as_str().to_owned(),
                    line: self.line(structure),
                    node: self.value(&attribute.value)?,
                }),
                Structure::Block(block) => {
                    let line = self.line(structure);
                    let mut node = Node::Map(self.body(&block.body)?);
                    for label in block.labels.iter().rev() {
                        node = Node::Map(vec![Entry { name: label.as_str().to_owned(), line, node }]);
                    }
                    Ok(Entry { name: block.ident.as_str().to_owned(), line, node })
                }
            })
            .collect()
    }

    fn value(&self, value: &Expression) -> Result<Node, DocumentError> {
        let line = self.line(value);
        let refuse =
            || DocumentError::at(line, "a value is a text in quotes, a number, true, false, a list or a map");
        Ok(match value {
            Expression::Null(_) => Node::Scalar(Value::Null),
            Expression::Bool(value) => Node::Scalar(Value::Bool(*value.value())),
            Expression::String(value) => Node::Scalar(Value::String(value.value().clone())),
            Expression::Number(value) => Node::Scalar(number(value.value(), false).ok_or_else(refuse)?),
            Expression::UnaryOp(operation) => match &operation.expr {
                Expression::Number(value) if *operation.operator.value() == UnaryOperator::Neg => {
                    Node::Scalar(number(value.value(), true).ok_or_else(refuse)?)
                }
                _ => return Err(refuse()),
            },
            Expression::Array(items) => {
                Node::List(items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?)
            }
            Expression::Object(object) => {
                let mut entries = Vec::with_capacity(object.len());
                let mut names = BTreeSet::new();
                for (key, value) in object {
                    let name = match key {
                        ObjectKey::Ident(name) => name.as_str().to_owned(),
                        ObjectKey::Expression(Expression::String(name)) => name.value().clone(),
                        ObjectKey::Expression(_) => return Err(refuse()),
                    };
                    // The parser takes a name with quotes for another than the same without.
                    if !names.insert(name.clone()) {
                        return Err(DocumentError::at(line, "a map names a key twice"));
                    }
                    entries.push(Entry { name, line, node: self.value(value.expr())? });
                }
                Node::Map(entries)
            }
            _ => return Err(refuse()),
        })
    }
}

fn number(number: &Number, negative: bool) -> Option<Value> {
    if let Some(whole) = number.as_i64() {
        return Some(Value::from(if negative { whole.checked_neg()? } else { whole }));
    }
    let fraction = number.as_f64()?;
    plain_number(if negative { -fraction } else { fraction })
}

/// One spelling for one number: 1.0 is 1.
fn plain_number(number: f64) -> Option<Value> {
    /// Up to here every whole number has a floating-point number of its own.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < WHOLE_MAX {
        return Some(Value::from(number as i64));
    }
    serde_json::Number::from_f64(number).map(Value::Number)
}

fn parse_json(text: &str) -> Result<Vec<Entry>, DocumentError> {
    let too_deep = json_depth(text) > NESTING_MAX + 2;
    if too_deep {
        return Err(DocumentError::whole("the document is nested too deeply"));
    }
    match serde_json::from_str(text) {
        Ok(Node::Map(entries)) => Ok(entries),
        Ok(_) => Err(DocumentError::whole("the document is no object")),
        Err(error) => {
            let line = u32::try_from(error.line()).unwrap_or(0);
            let sentence = match error.classify() {
                serde_json::error::Category::Data => "an object names a key twice, or has too many",
                _ => "this is no JSON",
            };
            Err(DocumentError::at(line, sentence))
        }
    }
}

/// Deepest nesting outside of texts.
fn json_depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

const NUMBER_IN_DISGUISE: &str = "$serde_json::private::Number";

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        serde_json::Number::from_f64(value)
            .map(|number| Node::Scalar(number.into()))
            .ok_or_else(|| E::custom("number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut names = BTreeSet::new();
        while let Some((name, node)) = items.next_entry::<String, Node>()? {
            // serde_json hands over a number of any precision as an object with this one name.
            if entries.is_empty() && name == NUMBER_IN_DISGUISE {
                let number = node.as_text().and_then(|text| text.parse::<serde_json::Number>().ok());
                let number = number.and_then(|number| match number.as_i64() {
                    Some(whole) => Some(Value::from(whole)),
                    None => plain_number(number.as_f64()?),
                });
                return number.map(Node::Scalar).ok_or_else(|| de::Error::custom("number"));
            }
            if !names.insert(name.clone()) || names.len() > ITEMS_MAX {
                return Err(de::Error::custom("duplicate"));
            }
            entries.push(Entry { name, line: 0, node });
        }
        Ok(Node::Map(entries))
    }
}
