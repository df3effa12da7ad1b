//! Values that fields are compared with, each checked against what the field holds.

use spatialdb_proto::v1::{FieldValue, field_value::Kind};
use spatialdb_schema::Scalar;

use crate::{
    error::{ParseError, Span, nearest, shown},
    lexer::Token,
    names::{Field, listed},
    number::finite,
    parser::Parser,
};

/// Up to here every whole number is one of floating point too.
const EXACT_MAX: f64 = (1_u64 << 53) as f64;

/// The value that is next.
pub(crate) fn value(parser: &mut Parser<'_>, field: &Field<'_>) -> Result<FieldValue, ParseError> {
    let span = parser.span;
    let kind = match (&field.scalar, &parser.token) {
        (Scalar::Bool, Token::Path("true")) => Kind::Boolean(true),
        (Scalar::Bool, Token::Path("false")) => Kind::Boolean(false),
        (Scalar::Integer { min, max }, Token::Number(text)) => {
            integer(text, i128::from(*min)..=i128::from(*max), span)?
        }
        (Scalar::Number, Token::Number("-inf")) => Kind::Number(f64::NEG_INFINITY),
        (Scalar::Number, Token::Path("inf")) => Kind::Number(f64::INFINITY),
        (Scalar::Number, Token::Path("nan")) => Kind::Number(f64::NAN),
        (Scalar::Number, Token::Number(text)) => match finite(text) {
            Some(number) => Kind::Number(number),
            None => return Err(ParseError::new(span, "the number is too large")),
        },
        (Scalar::Enum(names), Token::Path(name)) => Kind::Text(enum_name(names, name, span)?),
        (Scalar::Enum(names), Token::Quoted(bytes)) => {
            Kind::Text(enum_name(names, &String::from_utf8_lossy(bytes), span)?)
        }
        (Scalar::Enum(_), Token::Number(text)) => {
            integer(text, i128::from(i32::MIN)..=i128::from(i32::MAX), span)?
        }
        (Scalar::Text, Token::Quoted(bytes)) => match String::from_utf8(bytes.clone()) {
            Ok(text) => Kind::Text(text),
            Err(_) => {
                return Err(ParseError::new(span, "the field holds a text, and these bytes are not UTF-8"));
            }
        },
        (Scalar::Bytes, Token::Quoted(bytes)) => Kind::Data(bytes.clone().into()),
        (scalar, _) => return Err(wrong(parser, field, scalar)),
    };
    parser.advance()?;
    // A unit would be part of the name of the field.
    if let Token::Path("m" | "km") = parser.token {
        let message =
            "only places and distances have units: this is a plain number, in the unit of the field";
        return Err(ParseError::new(parser.span, message));
    }
    Ok(FieldValue { kind: Some(kind) })
}

/// What else may follow is said by the type of the field.
fn wrong(parser: &Parser<'_>, field: &Field<'_>, scalar: &Scalar) -> ParseError {
    let path = format!("{}.{}", field.component.name(), field.path);
    let expected = match scalar {
        Scalar::Enum(names) => format!("{}, for {path}", names_of(names)),
        Scalar::Text | Scalar::Bytes => format!("{scalar} in quotes, for {path}"),
        scalar => format!("{scalar}, for {path}"),
    };
    if let (Scalar::Text | Scalar::Bytes, Token::Path(word)) = (scalar, &parser.token) {
        let message = format!("{path} is compared with {scalar} in quotes; did you mean \"{word}\"?");
        return ParseError::new(parser.span, message);
    }
    parser.unexpected(expected)
}

/// Whole numbers may be written as 1e6 too.
fn integer(text: &str, range: std::ops::RangeInclusive<i128>, span: Span) -> Result<Kind, ParseError> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let number = if is_plain {
        text.parse::<i128>().ok()
    } else {
        let number = finite(text).filter(|number| number.abs() <= EXACT_MAX);
        if number.is_some_and(|number| number.fract() != 0.0) {
            let message = format!("{} is no whole number, and the field holds none but such", shown(text));
            return Err(ParseError::new(span, message));
        }
        number.map(|number| number as i128)
    };
    let (min, max) = (range.start(), range.end());
    let Some(number) = number.filter(|number| range.contains(number)) else {
        return Err(ParseError::new(span, format!("{} is not between {min} and {max}", shown(text))));
    };
    Ok(match i64::try_from(number) {
        Ok(number) => Kind::Integer(number),
        // The range ends below 2^64.
        Err(_) => Kind::Unsigned(number as u64),
    })
}

fn enum_name(names: &[(String, i32)], name: &str, span: Span) -> Result<String, ParseError> {
    if names.iter().any(|(known, _)| known == name) {
        return Ok(name.to_owned());
    }
    let error = ParseError::new(span, format!("the enum has no name {}", shown(name)));
    // MOOD_CALM is often called CALM.
    let ending = |known: &&str| known.to_lowercase().ends_with(&format!("_{}", name.to_lowercase()));
    let mut known = names.iter().map(|(known, _)| known.as_str());
    let meant = known.clone().find(ending).or_else(|| nearest(name, &mut known));
    Err(match meant {
        Some(meant) => error.hint(&format!("did you mean {meant}?")),
        None => error.expecting(names_of(names)),
    })
}

fn names_of(names: &[(String, i32)]) -> String {
    listed(&names.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>())
}
