//! One cell of a table as the JSON that a field takes.

use std::borrow::Cow;

use serde_json::{Number, Value};

use super::{map::RuleKeys, shape::Shape};

// Beyond these a double holds no whole number exactly.
const WHOLE_ABS_MAX: f64 = 9_007_199_254_740_992.0;

/// What a table has under a column.
#[derive(Clone, Debug)]
pub(super) enum Cell<'a> {
    Missing,
    Text(Cow<'a, str>),
    Json(Cow<'a, Value>),
}

impl Cell<'_> {
    fn is_missing(&self) -> bool {
        match self {
            Self::Missing => true,
            Self::Text(text) => text.trim().is_empty(),
            Self::Json(value) => value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty()),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Missing => String::new(),
            Self::Text(text) => text.clone().into_owned(),
            Self::Json(value) => match value.as_ref() {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            },
        }
    }
}

/// The value of a field by its rule; `None` leaves it at its default.
///
/// # Errors
/// What is expected, and what is there.
pub(super) fn value(
    rule: &RuleKeys,
    shape: Shape,
    is_list: bool,
    cell: &Cell<'_>,
) -> Result<Option<Value>, String> {
    if let Some(constant) = &rule.constant {
        return Ok(Some(from_toml(constant)));
    }
    if cell.is_missing() {
        return Ok(rule.default.as_ref().map(from_toml));
    }
    if let Some(other) = rule.values.get(cell.text().trim()) {
        return Ok(Some(from_toml(other)));
    }
    match (&rule.split, is_list) {
        (Some(between), _) => {
            let text = cell.text();
            let parts = text.split(between.as_str()).map(str::trim).filter(|part| !part.is_empty());
            let values = parts.map(|part| scalar(rule, shape, &Cell::Text(Cow::Borrowed(part))));
            Ok(Some(Value::Array(values.collect::<Result<_, _>>()?)))
        }
        (None, true) => json(cell).map(Some),
        (None, false) => scalar(rule, shape, cell).map(Some),
    }
}

/// A number, e.g. of a position; `None` if there is none.
///
/// # Errors
/// What is expected, and what is there.
pub(super) fn number(rule: &RuleKeys, cell: &Cell<'_>) -> Result<Option<f64>, String> {
    let value = value(rule, Shape::Float, false, cell)?;
    value.map(|value| value.as_f64().ok_or_else(|| expected("a number", &value.to_string()))).transpose()
}

fn scalar(rule: &RuleKeys, shape: Shape, cell: &Cell<'_>) -> Result<Value, String> {
    let text = cell.text();
    let text = text.trim();
    match shape {
        // Only the outside of a cell is not its own.
        Shape::Text => Ok(Value::String(cell.text())),
        Shape::Json => json(cell),
        Shape::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" => Ok(Value::Bool(true)),
            "false" | "f" | "no" | "n" | "0" => Ok(Value::Bool(false)),
            _ => Err(expected("true or false", text)),
        },
        Shape::Float => {
            let number = float(text).map(|number| scaled(rule, number));
            number.and_then(Number::from_f64).map(Value::Number).ok_or_else(|| expected("a number", text))
        }
        Shape::Whole => whole(rule, text).map(Value::String),
        Shape::Enum => Ok(text.parse::<i32>().map_or_else(|_| Value::from(text), Value::from)),
    }
}

fn whole(rule: &RuleKeys, text: &str) -> Result<String, String> {
    if rule.scale.is_none()
        && rule.offset.is_none()
        && let Ok(number) = text.parse::<i128>()
    {
        return Ok(number.to_string());
    }
    let number = float(text).map(|number| scaled(rule, number));
    let is_scaled = rule.scale.is_some() || rule.offset.is_some();
    match number.map(|number| if is_scaled { number.round() } else { number }) {
        Some(number) if number.fract() == 0.0 && number.abs() <= WHOLE_ABS_MAX => {
            Ok(format!("{}", number as i64))
        }
        _ => Err(expected("a whole number", text)),
    }
}

fn float(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn scaled(rule: &RuleKeys, number: f64) -> f64 {
    number * rule.scale.unwrap_or(1.0) + rule.offset.unwrap_or(0.0)
}

fn json(cell: &Cell<'_>) -> Result<Value, String> {
    match cell {
        Cell::Json(value) if !value.is_string() => Ok(value.clone().into_owned()),
        other => {
            let text = other.text();
            serde_json::from_str(&text).map_err(|_| expected("JSON", &text))
        }
    }
}

fn from_toml(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::from(*number),
        toml::Value::Boolean(truth) => Value::from(*truth),
        toml::Value::Datetime(time) => Value::from(time.to_string()),
        toml::Value::Array(values) => values.iter().map(from_toml).collect(),
        toml::Value::Table(table) => {
            table.iter().map(|(key, value)| (key.clone(), from_toml(value))).collect()
        }
    }
}

fn expected(what: &str, found: &str) -> String {
    let shown: String = found.chars().take(80).collect();
    format!("{what} is expected, found {shown:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rule: &str, shape: Shape, text: &str) -> Result<Option<Value>, String> {
        let rule: RuleKeys = toml::from_str(rule).unwrap();
        value(&rule, shape, rule.split.is_some(), &Cell::Text(Cow::Borrowed(text)))
    }

    #[test]
    fn cells_become_what_the_field_takes() {
        use serde_json::json;
        let cases = [
            ("", Shape::Text, " a ", json!(" a ")),
            ("", Shape::Float, "1e3", json!(1000.0)),
            ("scale = 0.3048", Shape::Float, "1000", json!(304.8)),
            ("scale = 10\noffset = 5", Shape::Whole, "1.26", json!("18")),
            ("", Shape::Whole, "9007199254740993", json!("9007199254740993")),
            ("", Shape::Whole, "12.0", json!("12")),
            ("", Shape::Bool, "Yes", json!(true)),
            ("values = { X = true }", Shape::Bool, "X", json!(true)),
            ("", Shape::Enum, "2", json!(2)),
            ("split = \";\"", Shape::Whole, "1; 2;", json!(["1", "2"])),
            ("", Shape::Json, "{\"a\":1}", json!({"a": 1})),
            ("constant = [1, \"b\"]", Shape::Json, "", json!([1, "b"])),
            ("default = 7", Shape::Float, "  ", json!(7)),
        ];
        for (rule, shape, text, expected) in cases {
            assert_eq!(of(rule, shape, text), Ok(Some(expected)), "{rule} {text}");
        }
        assert_eq!(of("", Shape::Float, " "), Ok(None));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let cases = [
            (Shape::Float, "x", "a number is expected, found \"x\""),
            (Shape::Float, "NaN", "a number is expected, found \"NaN\""),
            (Shape::Whole, "1.5", "a whole number is expected, found \"1.5\""),
            (Shape::Bool, "maybe", "true or false is expected, found \"maybe\""),
            (Shape::Json, "{", "JSON is expected, found \"{\""),
        ];
        for (shape, text, expected) in cases {
            assert_eq!(of("", shape, text), Err(expected.to_owned()));
        }
    }
}
