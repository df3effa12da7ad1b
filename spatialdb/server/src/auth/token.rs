//! The text of a token: `sdb_ID_SECRET`. The server keeps the id and a hash of the secret.

use sha2::{Digest, Sha256};

use crate::random;

const PREFIX: &str = "sdb";

/// A token as its owner has it. Never printed but when it is made.
#[derive(Clone)]
pub(crate) struct Token {
    id: String,
    secret: String,
}

impl Token {
    /// A new one. The secret has 256 bits, so that a plain hash of it tells nothing.
    pub(crate) fn random() -> Self {
        Self { id: random::hex(&random::bytes::<8>()), secret: random::hex(&random::bytes::<32>()) }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().splitn(3, '_');
        let (prefix, id, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let is_hex =
            |text: &str| !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        (prefix == PREFIX && is_hex(id) && is_hex(secret))
            .then(|| Self { id: id.to_owned(), secret: secret.to_owned() })
    }

    pub(crate) fn text(&self) -> String {
        format!("{PREFIX}_{}_{}", self.id, self.secret)
    }

    /// Which entry of the token file it is.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// SHA-256 of the secret. Comparing hashes takes a time that says nothing of the secret.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_comes_back_and_anything_else_is_none() {
        let token = Token::random();
        let again = Token::parse(&token.text()).expect("a token");
        assert_eq!((again.id(), again.hash()), (token.id(), token.hash()));
        for bad in ["", "sdb", "sdb_a", "sdb__", "xdb_aa_bb", "sdb_aa_zz", "sdb_aa_bb_cc", &"sdb_".repeat(99)]
        {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
    }
}
