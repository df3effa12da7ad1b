//! What is wrong with a text, and where.

use std::fmt;

use spatialdb_types::{Error, Reason};

/// Characters of the line that are shown on each side of the fault.
const SHOWN_BEFORE: usize = 60;
const SHOWN_AFTER: usize = 40;

/// Names in messages are cut to this many characters: they come from outside.
const NAME_CHARS_MAX: usize = 64;

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseError {
    /// Where the fault starts, in bytes; the end of the text if something is missing there. Between two characters.
    pub at: usize,
    /// How long the part at fault is, in bytes; 0 at the end of the text.
    pub length: usize,
    /// `COMPONENT_UNKNOWN`, `FIELD_UNKNOWN`, `SPACE_UNKNOWN`, or `QUERY_INVALID` for anything else.
    pub reason: Reason,
    /// What is wrong with it.
    pub message: String,
    /// What could stand there instead; empty where `message` says it.
    pub expected: String,
}

/// A part of the text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    /// From the start of this to the end of another.
    pub(crate) fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end }
    }
}

impl ParseError {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Self {
            at: span.start,
            length: span.end - span.start,
            reason: Reason::QueryInvalid,
            message: message.into(),
            expected: String::new(),
        }
    }

    pub(crate) fn expecting(mut self, expected: impl Into<String>) -> Self {
        self.expected = expected.into();
        self
    }

    /// Says what was perhaps meant, instead of all that could be.
    pub(crate) fn hint(mut self, hint: &str) -> Self {
        self.message = format!("{}; {hint}", self.message);
        self.expected.clear();
        self
    }

    pub(crate) fn because(mut self, reason: Reason) -> Self {
        self.reason = reason;
        self
    }

    /// What a server said of the text, told again: its error knows where the fault starts, not how long it is.
    pub fn told(error: &Error) -> Option<Self> {
        let (at, message) = error.detail.strip_prefix("at ")?.split_once(": ")?;
        let span = Span { start: at.parse().ok()?, end: at.parse().ok()? };
        Some(Self::new(span, message).because(error.reason))
    }

    /// The message, the line of the text that it is about, and a caret below each character at fault.
    ///
    /// # Shape
    /// Three lines without a last line end. A long line is cut on both sides.
    pub fn render(&self, text: &str) -> String {
        // A text other than the one that was parsed must not be a panic.
        let at = floor(text, self.at);
        let start = text[..at].rfind('\n').map_or(0, |before| before + 1);
        let end = text[at..].find('\n').map_or(text.len(), |length| at + length);
        let fault_end = floor(text, self.at.saturating_add(self.length)).clamp(at, end);
        let before: Vec<char> = text[start..at].chars().collect();
        let after: Vec<char> = text[at..end].chars().collect();
        let carets = text[at..fault_end].chars().count().clamp(1, SHOWN_AFTER);
        let cut = before.len().saturating_sub(SHOWN_BEFORE);
        let head = if cut > 0 { "..." } else { "" };
        let tail = if after.len() > SHOWN_AFTER { "..." } else { "" };
        let shown = before.iter().skip(cut).chain(after.iter().take(SHOWN_AFTER));
        // Carets stand below only if every character is one column wide.
        let line: String = shown.map(|&c| if c.is_control() { ' ' } else { c }).collect();
        let indent = " ".repeat(head.len() + before.len() - cut);
        format!("{self}\n  {head}{line}{tail}\n  {indent}{}", "^".repeat(carets))
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: {}", self.at, self.message)?;
        if !self.expected.is_empty() {
            write!(f, "; expected {}", self.expected)?;
        }
        Ok(())
    }
}

impl std::error::Error for ParseError {}

impl From<ParseError> for Error {
    fn from(error: ParseError) -> Self {
        Self::new(error.reason, error.to_string())
    }
}

/// The last place between two characters that is not behind `at`.
pub(crate) fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// A part of the text as it can be shown: short, and on one line.
pub(crate) fn shown(part: &str) -> String {
    let short: String = part.chars().take(NAME_CHARS_MAX).collect();
    let cut = if short.len() < part.len() { "..." } else { "" };
    format!("`{}{cut}`", short.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'"))
}

/// Of these names the one that was perhaps meant.
pub(crate) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: String = name.chars().take(NAME_CHARS_MAX).flat_map(char::to_lowercase).collect();
    let distance = |other: &str| strsim::damerau_levenshtein(&name, &other.to_lowercase());
    // A third of the letters: otherwise every short name is near every other.
    let reach = (name.chars().count() / 3).clamp(1, 3);
    names
        .into_iter()
        .map(|other| (distance(other), other))
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_below_the_fault() {
        let error = ParseError::new(Span { start: 12, end: 15 }, "why").expecting("another");
        assert_eq!(
            error.render("all and\n\té bad more"),
            "at 12: why; expected another\n   é bad more\n     ^^^"
        );
        let long = format!("{} bad {}", "x".repeat(200), "y".repeat(200));
        let error = ParseError::new(Span { start: 201, end: 204 }, "why");
        let lines = error.render(&long);
        let lines: Vec<&str> = lines.lines().collect();
        assert!(lines[1].starts_with("  ...") && lines[1].ends_with("...") && lines[1].len() < 115);
        let caret = lines[2].find('^').expect("a caret");
        assert_eq!(&lines[1][caret..caret + 3], "bad");
    }

    #[test]
    fn another_text_is_no_panic() {
        let error = ParseError::new(Span { start: 5, end: 90 }, "why");
        for text in ["", "é", "ééééé", "a\nb\nc\nd\n"] {
            assert_eq!(error.render(text).lines().count(), 3, "{text:?}");
        }
    }

    #[test]
    fn names_that_were_meant_are_near() {
        assert_eq!(nearest("spere", ["box", "sphere"]), Some("sphere"));
        assert_eq!(nearest("AND", ["and", "or"]), Some("and"));
        assert_eq!(nearest("x", ["box", "sphere"]), None);
    }
}
