//! Tables and headings.

use serde_json::{Map, Value};

use super::value::cell;

/// Spaces between two columns.
const GAP: usize = 4;

/// Columns under underlined headings.
pub fn columns<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let underline = headings.map(|heading| "-".repeat(heading.len()));
    let headings = headings.map(str::to_owned);
    let all = [&headings, &underline].into_iter().chain(rows);
    let mut widths = [0; N];
    for row in all.clone() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in all {
        for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
            text.push_str(cell);
            if index + 1 < N {
                text.push_str(&" ".repeat(width - cell.chars().count() + GAP));
            }
        }
        text.push('\n');
    }
    text
}

/// A map as two columns, `Key` and `Value`.
pub fn map(map: &Map<String, Value>) -> String {
    let rows: Vec<_> = map.iter().map(|(key, value)| [key.clone(), cell(key, value)]).collect();
    columns(["Key", "Value"], &rows)
}

/// Names in one column.
pub fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let rows: Vec<_> = names.into_iter().map(|name| [name.to_owned()]).collect();
    columns(["Keys"], &rows)
}

/// A map under a heading as wide as it is.
pub fn titled(title: &str, fields: &Map<String, Value>) -> String {
    let key_width = fields.keys().map(|key| key.chars().count()).max().unwrap_or(0);
    format!("{}\n{}", heading(title, key_width + GAP + "Value".len()), map(fields))
}

/// A path under a heading.
pub fn titled_path(title: &str, path: &str) -> String {
    format!("{}\n{path}\n", heading(title, path.chars().count()))
}

/// `== Title ==`, filled on both sides to `width`, with two signs a side when there is no room.
fn heading(title: &str, width: usize) -> String {
    let room = width.saturating_sub(title.chars().count() + 2);
    let signs = if room == 0 { 2 } else { room.div_ceil(2) };
    let side = "=".repeat(signs);
    format!("{side} {title} {side}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows =
            [["secret/".into(), "kv".into(), "n/a".into()], ["ö/".into(), "cubbyhole".into(), "x".into()]];
        let expect = "\
Path       Type         Description
----       ----         -----------
secret/    kv           n/a
ö/         cubbyhole    x
";
        assert_eq!(columns(["Path", "Type", "Description"], &rows), expect);
    }

    #[test]
    fn headings_are_as_wide_as_what_they_head() {
        let metadata = json!({"created_time": "2026-11-22T19:34:22.518484956Z", "custom_metadata": null,
            "deletion_time": "", "destroyed": false, "version": 1});
        let expect = "\
======= Metadata =======
Key                Value
---                -----
created_time       2026-11-22T19:34:22.518484956Z
custom_metadata    <nil>
deletion_time      n/a
destroyed          false
version            1
";
        assert_eq!(titled("Metadata", metadata.as_object().unwrap()), expect);
        assert!(titled("Data", json!({"b": "c"}).as_object().unwrap()).starts_with("== Data ==\n"));
        assert!(titled("Data", json!({"nul": 1}).as_object().unwrap()).starts_with("=== Data ===\n"));
        assert_eq!(titled_path("Secret Path", "secret/data/a"), "== Secret Path ==\nsecret/data/a\n");
        assert_eq!(
            titled_path("Metadata Path", "secret/metadata/a"),
            "= Metadata Path =\nsecret/metadata/a\n"
        );
    }

    #[test]
    fn names_stand_in_one_column() {
        assert_eq!(names(["a", "b/"]), "Keys\n----\na\nb/\n");
    }
}
