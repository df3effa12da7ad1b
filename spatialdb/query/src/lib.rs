//! The text form of constraints: `has earth.City and sphere(950000, 5267000, 50km)`.
//!
//! Responsible for: one grammar for server, command line and editors; errors that point at the place; printing what was
//! parsed. `docs/query-language.md` tells the grammar.
//! Not responsible for: answering queries.

mod condition;
mod error;
mod lexer;
mod literal;
mod names;
mod number;
mod parser;
mod printer;
mod shape;
mod test;

pub use error::ParseError;
pub use parser::{Known, parse, parse_with};
pub use printer::to_text;
