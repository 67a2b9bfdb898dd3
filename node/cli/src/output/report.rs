//! What a command has to say: as a table, as JSON, and field by field.

use conclave_client::Answer;
use serde_json::{Map, Value, json};

use super::envelope::{envelope, pretty};
use super::{Format, table, value};
use crate::failure::Failure;

/// A command's result. It has no `Debug`, since most hold secrets.
pub struct Report {
    table: String,
    json: String,
    fields: Map<String, Value>,
    warnings: Vec<String>,
    code: u8,
}

impl Report {
    pub fn new(table: impl Into<String>, json: &Value) -> Self {
        Self {
            table: table.into(),
            json: pretty(json),
            fields: json.as_object().cloned().unwrap_or_default(),
            warnings: Vec::new(),
            code: 0,
        }
    }

    /// That something was done, of which there is nothing to show.
    pub fn done(sentence: impl Into<String>) -> Self {
        Self::new(sentence.into() + "\n", &json!({}))
    }

    /// Text that is the same in every format.
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { json: text.trim_end().to_owned(), ..Self::new(text, &Value::Null) }
    }

    /// Nothing more to say.
    pub fn silent() -> Self {
        Self { json: String::new(), ..Self::new("", &Value::Null) }
    }

    /// An answer with its envelope, its data as `table`.
    pub fn answer(answer: &Answer, table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            json: envelope(answer.body()),
            fields: answer.data().as_object().cloned().unwrap_or_default(),
            warnings: answer.warnings().into_iter().map(str::to_owned).collect(),
            code: 0,
        }
    }

    /// The names of a list.
    pub fn names(answer: &Answer) -> Self {
        let names = answer.keys();
        Self { fields: Map::new(), ..Self::new(table::names(names.iter().copied()), &json!(names)) }
    }

    /// Looks for `--field` here instead of in the data.
    #[must_use]
    pub fn with_fields(mut self, fields: Map<String, Value>) -> Self {
        self.fields = fields;
        self
    }

    /// Says `text` before a table.
    pub fn lead(&mut self, text: &str) {
        self.table.insert_str(0, text);
    }

    #[must_use]
    pub fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    pub fn code(&self) -> u8 {
        self.code
    }

    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What goes to standard output. A field has no newline behind it, so that it can be piped as it is.
    pub fn render(&self, format: Format, field: Option<&str>) -> Result<String, Failure> {
        match (field, format) {
            (None, Format::Table) => Ok(self.table.clone()),
            (None, Format::Json) if self.json.is_empty() => Ok(String::new()),
            (None, Format::Json) => Ok(format!("{}\n", self.json)),
            (Some(name), _) => {
                let found = self.fields.get(name).filter(|found| !found.is_null());
                let found = found
                    .ok_or_else(|| Failure::refused(format!("Field \"{name}\" not present in the answer")))?;
                Ok(if format == Format::Json { pretty(found) } else { value::plain(found) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report::new("table\n", &json!({"text": "a\nb", "map": {"k": 1}, "nothing": null}))
    }

    #[test]
    fn a_field_is_printed_as_it_is() {
        assert_eq!(report().render(Format::Table, Some("text")).unwrap(), "a\nb");
        assert_eq!(report().render(Format::Table, Some("map")).unwrap(), "map[k:1]");
        assert_eq!(report().render(Format::Json, Some("text")).unwrap(), "\"a\\nb\"");
        assert_eq!(report().render(Format::Json, Some("map")).unwrap(), "{\n  \"k\": 1\n}");
    }

    #[test]
    fn a_field_that_is_not_there_is_a_no() {
        for name in ["nothing", "other"] {
            let failure = report().render(Format::Table, Some(name)).unwrap_err();
            assert_eq!(failure.code(), 1);
            assert!(failure.to_string().contains(name));
        }
    }

    #[test]
    fn without_data_json_is_still_json() {
        assert_eq!(Report::done("Success!").render(Format::Json, None).unwrap(), "{}\n");
        assert_eq!(Report::done("Success!").render(Format::Table, None).unwrap(), "Success!\n");
    }
}
