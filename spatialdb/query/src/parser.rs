//! How conditions are put together: `and`, `or`, `not`, parentheses.
//!
//! Responsible for: order of precedence, bounds on length, nesting and number of conditions.
//! Not responsible for: single conditions (`condition`).

use spatialdb_proto::v1::{self, constraint::Kind};
use spatialdb_schema::Schema;
use spatialdb_types::Limits;

use crate::{
    condition,
    error::{ParseError, Span, floor, nearest, shown},
    lexer::{Lexer, Token},
};

/// What a text may name, and how large it may be.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Components and their fields.
    pub schema: &'a Schema,
    /// `constraint_text_bytes_max`, `constraint_depth_max`, `constraint_nodes_max`.
    pub limits: &'a Limits,
    /// Whether there is a space.
    pub has_space: &'a dyn Fn(u32) -> bool,
}

/// Parses a text, within the limits that a server has unless told otherwise; it may name any space.
///
/// Components are named by id in the result, so that it needs no schema any more.
///
/// # Errors
/// The first fault of the text.
pub fn parse(text: &str, schema: &Schema) -> Result<v1::Constraint, ParseError> {
    parse_with(text, Known { schema, limits: &Limits::default(), has_space: &|_| true })
}

/// Parses a text that may name what is known.
///
/// # Errors
/// The first fault of the text.
pub fn parse_with(text: &str, known: Known<'_>) -> Result<v1::Constraint, ParseError> {
    let Known { schema, limits, has_space } = known;
    let bytes_max = limits.constraint_text_bytes_max;
    if text.len() as u64 > bytes_max {
        let span = Span { start: floor(text, bytes_max as usize), end: text.len() };
        let bytes = text.len();
        let message = format!("the text has {bytes} bytes; constraint_text_bytes_max = {bytes_max}");
        return Err(ParseError::new(span, message));
    }
    let mut lexer = Lexer::new(text);
    let (token, span) = lexer.next()?;
    let mut parser = Parser { lexer, token, span, schema, limits, has_space, nodes: 0 };
    let node = parser.any(limits.constraint_depth_max)?;
    if parser.token != Token::End {
        return Err(parser.unexpected_between("`and`, `or` or the end"));
    }
    Ok(v1::Constraint { kind: Some(node.kind) })
}

/// A text that is being read, one token ahead.
pub(crate) struct Parser<'a> {
    lexer: Lexer<'a>,
    pub(crate) token: Token<'a>,
    pub(crate) span: Span,
    pub(crate) schema: &'a Schema,
    pub(crate) limits: &'a Limits,
    has_space: &'a dyn Fn(u32) -> bool,
    nodes: u64,
}

/// A constraint, and how deep it is.
struct Node {
    kind: Kind,
    depth: u64,
    deepest: Span,
}

impl<'a> Parser<'a> {
    fn any(&mut self, levels_left: u64) -> Result<Node, ParseError> {
        let mut nodes = vec![self.every(levels_left)?];
        while self.skip_word("or")? {
            nodes.push(self.every(levels_left)?);
        }
        self.list(nodes, Kind::Or)
    }

    fn every(&mut self, levels_left: u64) -> Result<Node, ParseError> {
        let mut nodes = vec![self.one(levels_left)?];
        while self.skip_word("and")? {
            nodes.push(self.one(levels_left)?);
        }
        self.list(nodes, Kind::And)
    }

    /// `levels_left` bounds how deep this calls itself, whatever the constraint becomes.
    fn one(&mut self, levels_left: u64) -> Result<Node, ParseError> {
        let start = self.span;
        let deeper = levels_left.checked_sub(1).ok_or_else(|| self.too_deep(start));
        match self.token {
            Token::Path("not") => {
                let left = deeper?;
                self.advance()?;
                let inner = self.one(left)?;
                let constraint = Box::new(v1::Constraint { kind: Some(inner.kind) });
                self.node(Kind::Not(constraint), inner.depth + 1, inner.deepest)
            }
            Token::Sign("(") => {
                let left = deeper?;
                self.advance()?;
                let inner = self.any(left)?;
                if self.token != Token::Sign(")") {
                    let expected = format!("`and`, `or`, or the `)` of the `(` at {}", start.start);
                    return Err(self.unexpected_between(&expected));
                }
                self.advance()?;
                Ok(inner)
            }
            _ => {
                let kind = condition::condition(self)?;
                self.node(kind, 1, start)
            }
        }
    }

    fn list(
        &mut self,
        mut nodes: Vec<Node>,
        kind: fn(v1::ConstraintList) -> Kind,
    ) -> Result<Node, ParseError> {
        if nodes.len() == 1 {
            return Ok(nodes.remove(0));
        }
        let deepest = nodes.iter().max_by_key(|node| node.depth).map(|node| (node.depth, node.deepest));
        let (depth, deepest) = deepest.unwrap_or((0, self.span));
        let constraints = nodes.into_iter().map(|node| v1::Constraint { kind: Some(node.kind) }).collect();
        self.node(kind(v1::ConstraintList { constraints }), depth + 1, deepest)
    }

    fn node(&mut self, kind: Kind, depth: u64, deepest: Span) -> Result<Node, ParseError> {
        self.nodes += 1;
        let nodes_max = self.limits.constraint_nodes_max;
        if self.nodes > nodes_max {
            return Err(ParseError::new(
                deepest,
                format!("more than constraint_nodes_max = {nodes_max} conditions"),
            ));
        }
        if depth > self.limits.constraint_depth_max {
            return Err(self.too_deep(deepest));
        }
        Ok(Node { kind, depth, deepest })
    }

    fn too_deep(&self, span: Span) -> ParseError {
        let depth_max = self.limits.constraint_depth_max;
        ParseError::new(span, format!("nested deeper than constraint_depth_max = {depth_max}"))
    }
}

/// What the rules of the grammar are made of.
impl<'a> Parser<'a> {
    /// Whether the world has this space.
    pub(crate) fn has_space(&self, space: u32) -> bool {
        (self.has_space)(space)
    }

    /// Goes on by one token and gives the place of the one before.
    pub(crate) fn advance(&mut self) -> Result<Span, ParseError> {
        let before = self.span;
        (self.token, self.span) = self.lexer.next()?;
        Ok(before)
    }

    /// Goes past this word, if it is next.
    pub(crate) fn skip_word(&mut self, word: &str) -> Result<bool, ParseError> {
        let is_next = matches!(self.token, Token::Path(path) if path == word);
        if is_next {
            self.advance()?;
        }
        Ok(is_next)
    }

    /// Goes past this sign, if it is next.
    pub(crate) fn skip_sign(&mut self, sign: &str) -> Result<bool, ParseError> {
        let is_next = matches!(self.token, Token::Sign(found) if found == sign);
        if is_next {
            self.advance()?;
        }
        Ok(is_next)
    }

    /// Goes past this sign, which must be next, and gives its place.
    pub(crate) fn sign(&mut self, sign: &str) -> Result<Span, ParseError> {
        let span = self.span;
        if self.skip_sign(sign)? { Ok(span) } else { Err(self.unexpected(format!("`{sign}`"))) }
    }

    /// Goes past this word, which must be next.
    pub(crate) fn word(&mut self, word: &str) -> Result<(), ParseError> {
        if self.skip_word(word)? { Ok(()) } else { Err(self.unexpected(format!("`{word}`"))) }
    }

    /// Items between parentheses, with commas between them. Gives the place of all of it too.
    pub(crate) fn in_parentheses<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, ParseError>,
    ) -> Result<(Vec<T>, Span), ParseError> {
        let open = self.sign("(")?;
        let mut items = Vec::new();
        while items.is_empty() && self.token != Token::Sign(")")
            || !items.is_empty() && self.skip_sign(",")?
        {
            items.push(item(self)?);
        }
        if self.token != Token::Sign(")") {
            return Err(self.unexpected("`,` or `)`"));
        }
        Ok((items, open.to(self.advance()?)))
    }

    /// The error of a token that cannot stand here.
    pub(crate) fn unexpected(&self, expected: impl Into<String>) -> ParseError {
        let message = match self.token {
            Token::End if self.lexer.text().trim().is_empty() => "the text is empty".to_owned(),
            Token::End => "the text ends here".to_owned(),
            _ => format!("unexpected {}", shown(&self.lexer.text()[self.span.start..self.span.end])),
        };
        ParseError::new(self.span, message).expecting(expected)
    }

    /// The same, where two conditions meet.
    fn unexpected_between(&self, expected: &str) -> ParseError {
        let error = self.unexpected(expected);
        match self.token {
            Token::Path(word) => match nearest(word, ["and", "or"]) {
                Some(meant) => error.hint(&format!("did you mean `{meant}`?")),
                None => error,
            },
            _ => error,
        }
    }
}
