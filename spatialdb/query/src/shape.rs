//! Shapes in space: `box(...)`, `sphere(...)`, `cylinder(...)`, each with `in space N` or without.

use spatialdb_proto::v1::{self, constraint::Kind};

use crate::{
    condition,
    error::{ParseError, Span, shown},
    lexer::Token,
    number::{finite, shortest},
    parser::Parser,
};

const BOX: &str = "a box is box(x1, y1, x2, y2) or box(x1, y1, x2, y2, z1..z2)";
const SPHERE: &str = "a sphere is sphere(x, y, radius) or sphere(x, y, z, radius)";
const CYLINDER: &str = "a cylinder is cylinder(x, y, radius) or cylinder(x, y, radius, z1..z2)";

/// What stands between the parentheses of a shape.
#[derive(Clone, Copy)]
enum Argument {
    /// Metres; may be infinite.
    Length(f64, Span),
    /// From here to there, in metres; open ends are infinite.
    Heights(f64, f64),
}

/// `box(x1, y1, x2, y2, z1..z2)`.
pub(crate) fn a_box(parser: &mut Parser<'_>) -> Result<Kind, ParseError> {
    use Argument::{Heights, Length};
    let (arguments, span) = arguments(parser)?;
    let (x1, y1, x2, y2, heights) = match arguments[..] {
        [Length(x1, _), Length(y1, _), Length(x2, a), Length(y2, b)] => (x1, y1, (x2, a), (y2, b), None),
        [Length(x1, _), Length(y1, _), Length(x2, a), Length(y2, b), Heights(from, to)] => {
            (x1, y1, (x2, a), (y2, b), Some((from, to)))
        }
        _ => return Err(ParseError::new(span, BOX)),
    };
    rising("x", x1, x2)?;
    rising("y", y1, y2)?;
    let corner = |x, y, z| Some(v1::Point { x, y, z });
    Ok(Kind::Box(v1::Box {
        min: corner(x1, y1, heights.map(|(from, _)| from)),
        max: corner(x2.0, y2.0, heights.map(|(_, to)| to)),
        space: space(parser)?,
    }))
}

/// `sphere(x, y, z, radius)`.
pub(crate) fn sphere(parser: &mut Parser<'_>) -> Result<Kind, ParseError> {
    use Argument::Length;
    let (arguments, span) = arguments(parser)?;
    let (x, y, z, radius) = match arguments[..] {
        [Length(x, a), Length(y, b), Length(r, d)] => ((x, a), (y, b), (0.0, b), (r, d)),
        [Length(x, a), Length(y, b), Length(z, c), Length(r, d)] => ((x, a), (y, b), (z, c), (r, d)),
        _ => return Err(ParseError::new(span, SPHERE)),
    };
    let [x, y, z] = centre(parser, [x, y, z])?;
    let radius_m = checked_radius(parser, radius)?;
    let center = Some(v1::Point { x, y, z: Some(z) });
    Ok(Kind::Sphere(v1::Sphere { center, radius_m, space: space(parser)? }))
}

/// `cylinder(x, y, radius, z1..z2)`.
pub(crate) fn cylinder(parser: &mut Parser<'_>) -> Result<Kind, ParseError> {
    use Argument::{Heights, Length};
    let (arguments, span) = arguments(parser)?;
    let (x, y, radius, heights) = match arguments[..] {
        [Length(x, a), Length(y, b), Length(r, d)] => ((x, a), (y, b), (r, d), None),
        [Length(x, a), Length(y, b), Length(r, d), Heights(from, to)] => {
            ((x, a), (y, b), (r, d), Some((from, to)))
        }
        _ => return Err(ParseError::new(span, CYLINDER)),
    };
    let [center_x, center_y] = centre(parser, [x, y])?;
    Ok(Kind::Cylinder(v1::Cylinder {
        center_x,
        center_y,
        radius_m: checked_radius(parser, radius)?,
        min_z: heights.map(|(from, _)| from),
        max_z: heights.map(|(_, to)| to),
        space: space(parser)?,
    }))
}

/// A distance: `5km`.
pub(crate) fn radius(parser: &mut Parser<'_>) -> Result<f64, ParseError> {
    let radius = length(parser)?;
    checked_radius(parser, radius)
}

fn arguments(parser: &mut Parser<'_>) -> Result<(Vec<Argument>, Span), ParseError> {
    let word = parser.advance()?;
    let (arguments, parentheses) = parser.in_parentheses(argument)?;
    Ok((arguments, word.to(parentheses)))
}

/// `5km`, `0..3km`, `0..`, `..3km`, `..`.
fn argument(parser: &mut Parser<'_>) -> Result<Argument, ParseError> {
    let first = if parser.token == Token::Sign("..") { None } else { Some(length(parser)?) };
    let dots = parser.span;
    if !parser.skip_sign("..")? {
        let (value, span) = first.unwrap_or((0.0, dots));
        return Ok(Argument::Length(value, span));
    }
    let is_open = matches!(parser.token, Token::Sign("," | ")"));
    let last = if is_open { (f64::INFINITY, dots) } else { length(parser)? };
    let from = first.map_or(f64::NEG_INFINITY, |(from, _)| from);
    rising("z", from, last)?;
    Ok(Argument::Heights(from, last.0))
}

/// A number with or without a unit, in metres.
fn length(parser: &mut Parser<'_>) -> Result<(f64, Span), ParseError> {
    const EXPECTED: &str = "a number of metres, such as 50, 50km or -inf";
    let span = parser.span;
    let number = match parser.token {
        Token::Path("inf") => Some(f64::INFINITY),
        Token::Number("-inf") => Some(f64::NEG_INFINITY),
        Token::Number(number) => finite(number),
        _ => return Err(parser.unexpected(EXPECTED)),
    };
    let Some(number) = number else { return Err(ParseError::new(span, "the number is too large")) };
    parser.advance()?;
    let metres = match parser.token {
        Token::Path("m") => 1.0,
        Token::Path("km") => 1000.0,
        Token::Path("in" | "and" | "or") => return Ok((number, span)),
        Token::Path(unit) if span.end == parser.span.start => {
            let message = format!("there is no unit {}", shown(unit));
            return Err(ParseError::new(parser.span, message).expecting("m, km, or no unit for metres"));
        }
        _ => return Ok((number, span)),
    };
    let unit = parser.advance()?;
    Ok((number * metres, span.to(unit)))
}

fn space(parser: &mut Parser<'_>) -> Result<u32, ParseError> {
    if parser.token == Token::Path("in") { condition::space(parser) } else { Ok(0) }
}

fn rising(axis: &str, from: f64, (to, span): (f64, Span)) -> Result<(), ParseError> {
    if from <= to {
        return Ok(());
    }
    let (from, to) = (shortest(from), shortest(to));
    Err(ParseError::new(span, format!("{axis} runs from {from} to {to}: the smaller number comes first")))
}

/// Beyond this, squares of distances lose their meaning.
fn distance_max(parser: &Parser<'_>) -> f64 {
    4.0 * parser.limits.position_abs_m_max as f64
}

fn centre<const N: usize>(parser: &Parser<'_>, axes: [(f64, Span); N]) -> Result<[f64; N], ParseError> {
    let max = distance_max(parser);
    for (value, span) in axes {
        if value.abs() > max {
            let max = shortest(max);
            return Err(ParseError::new(span, format!("the centre is further out than {max} m")));
        }
    }
    Ok(axes.map(|(value, _)| value))
}

fn checked_radius(parser: &Parser<'_>, (radius_m, span): (f64, Span)) -> Result<f64, ParseError> {
    let max = distance_max(parser);
    if (0.0..=max).contains(&radius_m) {
        return Ok(radius_m);
    }
    Err(ParseError::new(span, format!("the radius is not between 0 and {} m", shortest(max))))
}
