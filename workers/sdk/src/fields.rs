//! Cutting a payload down to named top-level fields.
//!
//! Responsible for: partial updates from a whole value: the server refuses a payload field that is not listed.
//! Not responsible for: what the fields mean.

use bytes::Bytes;
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, decode_key, skip_field},
};

/// The encoding of `message`, with only those of its fields whose numbers are listed.
pub(crate) fn encode_only(message: &impl Message, fields: &[u32]) -> Bytes {
    let whole = Bytes::from(message.encode_to_vec());
    // What prost encoded decodes again; if it ever did not, the server is the one to say so.
    keep_fields(&whole, fields).unwrap_or(whole)
}

fn keep_fields(whole: &Bytes, fields: &[u32]) -> Result<Bytes, DecodeError> {
    let mut kept = Vec::new();
    let mut rest = whole.clone();
    while !rest.is_empty() {
        let start = whole.len() - rest.len();
        let (number, wire_type) = decode_key(&mut rest)?;
        skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
        if fields.contains(&number) {
            kept.extend_from_slice(&whole[start..whole.len() - rest.len()]);
        }
    }
    Ok(kept.into())
}

#[cfg(test)]
mod tests {
    use spatialdb_proto::v1::{Metadata, Position};

    use super::*;

    #[test]
    fn only_listed_fields_remain() {
        let metadata = Metadata { r#type: "a".into(), name: "b".into() };
        let name_only = Metadata { name: "b".into(), ..Default::default() };
        assert_eq!(encode_only(&metadata, &[2]), name_only.encode_to_vec());
        assert_eq!(encode_only(&metadata, &[1, 2]), metadata.encode_to_vec());
        assert!(encode_only(&metadata, &[9]).is_empty());
    }

    #[test]
    fn a_listed_default_is_absent_and_so_clears() {
        let position = Position { space: 3, x: 0.0, y: 1.0, z: 0.0 };
        assert!(encode_only(&position, &[2]).is_empty());
        assert_eq!(Position::decode(encode_only(&position, &[3])).map(|p| (p.space, p.y)), Ok((0, 1.0)));
    }
}
