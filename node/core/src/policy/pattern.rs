//! The path of a rule: as written, with its templates, and as it is matched.

use super::template::{Subject, Unusable, Variable, is_plain};

/// Longest path of a rule, in bytes, as written and once its templates have values.
pub const PATTERN_BYTES_MAX: usize = conclave_proto::path::PATH_BYTES_MAX;
/// Most segments of a rule's path.
pub const PATTERN_SEGMENTS_MAX: usize = conclave_proto::path::PATH_SEGMENTS_MAX;

/// A rule's path as its author wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    text: String,
    pieces: Vec<Piece>,
    is_glob: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(Variable),
}

/// One part of a path between slashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// `+`: any one segment, an empty one too.
    Any,
    Literal(Box<str>),
}

/// A path that can be matched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    segments: Vec<Segment>,
    /// It ends in `*`: whatever begins so is matched.
    is_glob: bool,
}

impl PathTemplate {
    /// # Errors
    /// A sentence: braces do not match, `+*`, too long, too many segments.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > PATTERN_BYTES_MAX || text.split('/').count() > PATTERN_SEGMENTS_MAX {
            return Err("the path of a rule is too long");
        }
        if text.chars().any(char::is_control) {
            return Err("the path of a rule holds a control character");
        }
        if text.contains("+*") {
            return Err(
                "`+*` is forbidden in the path of a rule: `+` stands for a segment, and `*` for all that follows",
            );
        }
        let relative = text.strip_prefix('/').unwrap_or(text);
        let mut pieces = pieces(relative)?;
        let mut is_glob = false;
        if let Some(Piece::Text(last)) = pieces.last_mut()
            && let Some(stem) = last.strip_suffix('*')
        {
            *last = stem.to_owned();
            is_glob = true;
        }
        Ok(Self { text: relative.to_owned(), pieces, is_glob })
    }

    /// As written, without a leading slash.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn is_templated(&self) -> bool {
        self.variables().next().is_some()
    }

    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable(variable) => Some(variable),
            Piece::Text(_) => None,
        })
    }

    /// A `*` that is no glob, because it does not stand at the end.
    pub fn has_star_inside(&self) -> bool {
        let ends = usize::from(self.is_glob);
        self.text.matches('*').count() > ends
    }

    /// What it matches for `subject`. In a rule that denies, a value that could not grant is taken literally: the rule
    /// must not vanish because of what somebody is called.
    ///
    /// # Errors
    /// A template has no value, or one that must not stand in a rule that grants.
    pub fn resolve(&self, subject: &Subject, denies: bool) -> Result<Pattern, Unusable> {
        let mut segments = Segments::default();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => segments.push(text, true),
                Piece::Variable(variable) => {
                    let value = variable.value(subject)?;
                    if !denies && !is_plain(value) {
                        return Err(Unusable::Forbidden);
                    }
                    segments.push(value, false);
                }
            }
        }
        let pattern = Pattern { segments: segments.finish(), is_glob: self.is_glob };
        if pattern.segments.len() > PATTERN_SEGMENTS_MAX { Err(Unusable::Forbidden) } else { Ok(pattern) }
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, &'static str> {
    const UNBALANCED: &str = "the braces of a template do not match: it is written {{name}}";
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        let (before, after) = rest.split_at(at);
        let (name, following) = after[2..].split_once("}}").ok_or(UNBALANCED)?;
        if before.contains("}}") || name.contains("{{") {
            return Err(UNBALANCED);
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(Piece::Variable(Variable::parse(name).ok_or("the name of a template is too long")?));
        rest = following;
    }
    if rest.contains("}}") {
        return Err(UNBALANCED);
    }
    if !rest.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

/// Collects segments; only what the author wrote can become a wildcard.
#[derive(Default)]
struct Segments {
    done: Vec<Segment>,
    current: String,
    has_value: bool,
}

impl Segments {
    fn push(&mut self, text: &str, by_author: bool) {
        for (number, part) in text.split('/').enumerate() {
            if number > 0 {
                self.end_segment();
            }
            self.current.push_str(part);
            self.has_value |= !by_author;
        }
    }

    fn end_segment(&mut self) {
        let text = std::mem::take(&mut self.current);
        let is_any = text == "+" && !std::mem::take(&mut self.has_value);
        self.has_value = false;
        self.done.push(if is_any { Segment::Any } else { Segment::Literal(text.into()) });
    }

    fn finish(mut self) -> Vec<Segment> {
        self.end_segment();
        self.done
    }
}

impl Pattern {
    pub fn is_glob(&self) -> bool {
        self.is_glob
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether it may match something below `folder`.
    pub fn reaches_below(&self, folder: &str) -> bool {
        let names: Vec<&str> = folder.trim_end_matches('/').split('/').collect();
        for (at, name) in names.iter().enumerate() {
            match self.segments.get(at) {
                None => return false,
                Some(Segment::Any) => {}
                Some(Segment::Literal(text)) if self.is_glob && at + 1 == self.segments.len() => {
                    return name.starts_with(&**text);
                }
                Some(Segment::Literal(text)) if **text == **name => {}
                Some(Segment::Literal(_)) => return false,
            }
        }
        self.segments.len() > names.len()
    }

    /// Whether it matches one path only.
    pub fn is_exact(&self) -> bool {
        !self.is_glob && self.wildcards() == 0
    }

    /// How many segments are `+`.
    pub fn wildcards(&self) -> usize {
        self.segments.iter().filter(|segment| **segment == Segment::Any).count()
    }

    /// As it is written, without a closing `*`.
    pub fn stem(&self) -> String {
        self.joined(&self.segments)
    }

    /// What every path that it matches begins with: all up to the first `+`.
    pub fn head(&self) -> String {
        match self.segments.iter().position(|segment| *segment == Segment::Any) {
            None => self.stem(),
            Some(0) => String::new(),
            Some(at) => self.joined(&self.segments[..at]) + "/",
        }
    }

    /// The segments from the first `+` on; none without one.
    pub fn tail(&self) -> &[Segment] {
        let at = self.segments.iter().position(|segment| *segment == Segment::Any);
        at.map_or(&[], |at| &self.segments[at..])
    }

    fn joined(&self, segments: &[Segment]) -> String {
        let texts: Vec<&str> = segments
            .iter()
            .map(|segment| match segment {
                Segment::Any => "+",
                Segment::Literal(text) => text,
            })
            .collect();
        texts.join("/")
    }

    /// Whether `rest`, what follows its [`head`](Self::head) in a path, is matched by the segments after it.
    pub fn matches_tail(&self, rest: &str) -> bool {
        let tail = self.tail();
        if tail.is_empty() {
            return self.is_glob || rest.is_empty();
        }
        let mut parts = rest.split('/');
        for (number, segment) in tail.iter().enumerate() {
            let Some(part) = parts.next() else { return false };
            match segment {
                Segment::Any => {}
                Segment::Literal(text) if self.is_glob && number + 1 == tail.len() => {
                    return part.starts_with(&**text);
                }
                Segment::Literal(text) if part == &**text => {}
                Segment::Literal(_) => return false,
            }
        }
        parts.next().is_none()
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.stem(), if self.is_glob { "*" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::super::template::testing::alice;
    use super::*;

    fn pattern(text: &str) -> Pattern {
        PathTemplate::parse(text).unwrap().resolve(&alice(), false).unwrap()
    }

    fn matches(text: &str, path: &str) -> bool {
        let pattern = pattern(text);
        path.strip_prefix(&pattern.head()).is_some_and(|rest| pattern.matches_tail(rest))
    }

    #[test]
    fn paths_are_matched_as_documented() {
        for (text, path, expected) in [
            ("a/b", "a/b", true),
            ("/a/b", "a/b", true),
            ("a/b", "a/b/", false),
            ("a/b", "a/bc", false),
            ("a/b*", "a/b", true),
            ("a/b*", "a/bc/d", true),
            ("a/b*", "a/c", false),
            ("*", "anything/at/all", true),
            ("a/+", "a/b", true),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("a/+", "a/b/c", false),
            ("a/+/c", "a/b/c", true),
            ("a/+/c", "a/b/d", false),
            ("a/+/c*", "a/b/cd/e", true),
            ("a/+/*", "a/b/", true),
            ("a/+/*", "a/b", false),
            ("+/b", "a/b", true),
            ("+", "a", true),
            ("+", "a/b", false),
            ("+/+/c", "a/b/c", true),
            // No segment of its own, so no wildcard.
            ("a/+b", "a/+b", true),
            ("a/+b", "a/xb", false),
            ("a/b+", "a/bc", false),
            ("a/*/c", "a/*/c", true),
            ("a/*/c", "a/b/c", false),
        ] {
            assert_eq!(matches(text, path), expected, "{text} on {path}");
        }
    }

    #[test]
    fn templates_get_their_values() {
        for (text, expected) in [
            ("secret/{{identity.entity.name}}/*", "secret/alice/*"),
            ("{{identity.entity.id}}", "e-1"),
            ("a/{{ identity.entity.name }}-{{identity.groups.ids.g-1.name}}*", "a/alice-ops*"),
            ("a/+/{{identity.entity.metadata.team}}", "a/+/blue"),
        ] {
            assert_eq!(pattern(text).to_string(), expected);
        }
    }

    /// GHSA-59w7-v8rr-pr4p: what somebody is called must not become a pattern.
    #[test]
    fn a_value_never_becomes_a_wildcard_nor_a_path() {
        for key in ["star", "plus", "up"] {
            let text = format!("secret/{{{{identity.entity.metadata.{key}}}}}");
            let template = PathTemplate::parse(&text).unwrap();
            assert_eq!(template.resolve(&alice(), false), Err(Unusable::Forbidden), "{key}");
        }
        let absent = PathTemplate::parse("secret/{{identity.entity.metadata.height}}").unwrap();
        assert_eq!(absent.resolve(&alice(), true), Err(Unusable::Absent));
    }

    #[test]
    fn a_rule_that_denies_takes_such_a_value_literally() {
        let denied = |key: &str, path: &str| {
            let template = PathTemplate::parse(&format!("s/{{{{identity.entity.metadata.{key}}}}}")).unwrap();
            let pattern = template.resolve(&alice(), true).unwrap();
            path.strip_prefix(&pattern.head()).is_some_and(|rest| pattern.matches_tail(rest))
        };
        assert!(denied("star", "s/a*") && !denied("star", "s/ab"));
        assert!(denied("plus", "s/+") && !denied("plus", "s/x"));
        assert!(denied("up", "s/x/y") && !denied("up", "s/x"));
    }

    #[test]
    fn what_cannot_be_a_path_is_refused() {
        for text in [
            "a/+*",
            "a+*",
            "a/{{x",
            "a/x}}",
            "a/{{x{{y}}",
            "}}{{x}}",
            "a\0b",
            &"x".repeat(PATTERN_BYTES_MAX + 1),
        ] {
            assert!(PathTemplate::parse(text).is_err(), "{text}");
        }
        assert!(PathTemplate::parse(&"/".repeat(PATTERN_SEGMENTS_MAX)).is_err());
        assert!(PathTemplate::parse("").is_ok());
    }

    #[test]
    fn heads_and_stems() {
        for (text, head, wildcards) in [
            ("a/b", "a/b", 0),
            ("a/b*", "a/b", 0),
            ("a/+/c", "a/", 1),
            ("+/a", "", 1),
            ("+", "", 1),
            ("a/+/+", "a/", 2),
        ] {
            assert_eq!((pattern(text).head().as_str(), pattern(text).wildcards()), (head, wildcards));
            assert_eq!(pattern(text).to_string(), text);
        }
    }
}
