//! A single condition.

use spatialdb_proto::v1::{self, constraint::Kind};
use spatialdb_types::{EntityId, Reason};

use crate::{
    error::{ParseError, nearest, shown},
    lexer::Token,
    names,
    parser::Parser,
    shape, test,
};

/// What starts a condition.
const WORDS: [&str; 11] =
    ["all", "none", "has", "in", "id", "near", "owned", "box", "sphere", "cylinder", "not"];

const CONDITION: &str = "a condition: all, none, has, in space, id in, near, owned, box, sphere, cylinder, not, or a test of Component.field";

/// The condition that is next.
pub(crate) fn condition(parser: &mut Parser<'_>) -> Result<Kind, ParseError> {
    let Token::Path(word) = parser.token else { return Err(parser.unexpected(CONDITION)) };
    match word {
        "all" => parser.advance().map(|_| Kind::All(v1::All {})),
        "none" => parser.advance().map(|_| Kind::Or(v1::ConstraintList::default())),
        "has" => has(parser),
        "in" => space(parser).map(|space| Kind::Space(v1::Space { space })),
        "id" => ids(parser),
        "near" => near(parser),
        "owned" => owned(parser),
        "box" => shape::a_box(parser),
        "sphere" => shape::sphere(parser),
        "cylinder" => shape::cylinder(parser),
        path if path.contains('.') => test::test(parser),
        word => Err(unknown(parser, word)),
    }
}

/// `in space 2`.
pub(crate) fn space(parser: &mut Parser<'_>) -> Result<u32, ParseError> {
    parser.word("in")?;
    parser.word("space")?;
    let span = parser.span;
    let space = whole(parser, "the number of a space")?;
    let space =
        u32::try_from(space).map_err(|_| ParseError::new(span, "numbers of spaces are below 4294967296"))?;
    if parser.has_space(space) {
        return Ok(space);
    }
    Err(ParseError::new(span, format!("the world has no space {space}")).because(Reason::SpaceUnknown))
}

/// A whole number that is not negative: an id.
fn whole(parser: &mut Parser<'_>, what: &str) -> Result<u64, ParseError> {
    let Token::Number(digits) = parser.token else { return Err(parser.unexpected(what)) };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = format!("{} is no whole number from 0 up", shown(digits));
        return Err(ParseError::new(parser.span, message).expecting(what));
    }
    let Ok(number) = digits.parse() else {
        return Err(ParseError::new(parser.span, format!("{} has more than 64 bits", shown(digits))));
    };
    parser.advance()?;
    Ok(number)
}

fn has(parser: &mut Parser<'_>) -> Result<Kind, ParseError> {
    parser.advance()?;
    let Token::Path(name) = parser.token else { return Err(parser.unexpected("the name of a component")) };
    let component = names::component(parser.schema, name, parser.span)?;
    let kind = Kind::HasComponent(component.id().0);
    parser.advance()?;
    Ok(kind)
}

fn ids(parser: &mut Parser<'_>) -> Result<Kind, ParseError> {
    parser.advance()?;
    let one = |parser: &mut Parser<'_>| {
        let span = parser.span;
        let entity = EntityId(whole(parser, "the id of an entity")?);
        if entity.is_valid() {
            return Ok(entity.0);
        }
        Err(ParseError::new(span, "ids of entities are above 0 and below 2^53".to_owned()))
    };
    let entities = match parser.token {
        Token::Sign("=" | "==") => {
            parser.advance()?;
            vec![one(parser)?]
        }
        Token::Path("in") => {
            parser.advance()?;
            parser.in_parentheses(one)?.0
        }
        Token::Sign("!=") => {
            return Err(parser.unexpected("`=` or `in`; what is not meant is `not id = 7`"));
        }
        _ => return Err(parser.unexpected("`=` or `in`, as in `id in (7, 8)`")),
    };
    Ok(Kind::EntityIds(v1::EntityIds { entities }))
}

fn near(parser: &mut Parser<'_>) -> Result<Kind, ParseError> {
    parser.advance()?;
    let entity = whole(parser, "the id of an entity, as in `near 7 within 5km`")?;
    parser.word("within")?;
    let radius_m = shape::radius(parser)?;
    Ok(Kind::Near(v1::Near { entity, radius_m }))
}

fn owned(parser: &mut Parser<'_>) -> Result<Kind, ParseError> {
    parser.advance()?;
    if parser.token != Token::Path("in") {
        return Ok(Kind::Owned(v1::Owned::default()));
    }
    parser.advance()?;
    parser.word("layer")?;
    let layer = match &parser.token {
        Token::Path(name) => (*name).to_owned(),
        Token::Quoted(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => return Err(parser.unexpected("the name of a layer")),
    };
    parser.advance()?;
    Ok(Kind::Owned(v1::Owned { layer }))
}

/// A word that starts no condition: perhaps mistyped, perhaps a component.
fn unknown(parser: &Parser<'_>, word: &str) -> ParseError {
    let error = parser.unexpected(CONDITION);
    if let Ok(component) = names::component(parser.schema, word, parser.span) {
        error.hint(&format!("{} is a component: write `has {word}`", component.name()))
    } else if let Some(meant) = nearest(word, WORDS) {
        error.hint(&format!("did you mean `{meant}`?"))
    } else {
        error
    }
}
