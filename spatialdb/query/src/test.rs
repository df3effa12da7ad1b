//! Tests of fields: `Metadata.type = "city"`.

use spatialdb_proto::v1::{self, Comparison, constraint::Kind};
use spatialdb_schema::Scalar;

use crate::{
    error::{ParseError, shown},
    lexer::Token,
    literal,
    names::{self, Field},
    parser::Parser,
};

/// The test that is next; a path with a dot in it has been seen.
pub(crate) fn test(parser: &mut Parser<'_>) -> Result<Kind, ParseError> {
    let Token::Path(path) = parser.token else { return Err(parser.unexpected("Component.field")) };
    let field = names::field(parser.schema, path, parser.span)?;
    parser.advance()?;
    let comparison = comparison(parser, &field)?;
    let values = if comparison == Comparison::In {
        parser.in_parentheses(|parser| literal::value(parser, &field))?.0
    } else {
        vec![literal::value(parser, &field)?]
    };
    Ok(Kind::Field(v1::FieldTest {
        component: field.component.id().0,
        component_named: String::new(),
        field: field.path,
        comparison: comparison.into(),
        values,
    }))
}

fn comparison(parser: &mut Parser<'_>, field: &Field<'_>) -> Result<Comparison, ParseError> {
    let span = parser.span;
    let comparison = match parser.token {
        Token::Sign("=" | "==") => Comparison::Equal,
        Token::Sign("!=") => Comparison::NotEqual,
        Token::Sign("<") => Comparison::Less,
        Token::Sign("<=") => Comparison::AtMost,
        Token::Sign(">") => Comparison::Greater,
        Token::Sign(">=") => Comparison::AtLeast,
        Token::Path("in") => Comparison::In,
        Token::Path("not") => {
            let expected = format!("a comparison; what is not meant is `not {} in (...)`", field.path);
            return Err(parser.unexpected(expected));
        }
        _ => return Err(parser.unexpected("one of = != < <= > >= in")),
    };
    let is_order = !matches!(comparison, Comparison::Equal | Comparison::NotEqual | Comparison::In);
    if is_order && matches!(field.scalar, Scalar::Bool | Scalar::Enum(_)) {
        let message = format!("{} is {}, which has no order", shown(&field.path), field.scalar);
        return Err(ParseError::new(span, message).expecting("one of = != in"));
    }
    parser.advance()?;
    Ok(comparison)
}
