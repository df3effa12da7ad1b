//! What decides by itself where an entity belongs, before exceptions.

use spatialdb_types::Position;

/// Where an entity is, and whose.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Home<'a> {
    /// `None`: it has no position.
    pub at: Option<Position>,
    /// Whom its PlayerOwner names; needed where a layer has strategy `client`.
    pub player: Option<&'a str>,
}

impl From<Option<Position>> for Home<'static> {
    fn from(at: Option<Position>) -> Self {
        Self { at, player: None }
    }
}
