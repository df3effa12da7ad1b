//! A message on its way in: one that is nested too deep to be read does not end the session.

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::{DecodeError, Message};

use crate::v1::ClientMessage;

/// The number of `seq` in [`ClientMessage`].
const SEQ: u32 = 1;

/// What a session sends: on the wire a [`ClientMessage`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incoming {
    /// The message; only its `seq` if it is too deep.
    pub message: ClientMessage,
    /// It nests more messages than protobuf reads.
    pub is_too_deep: bool,
}

impl From<ClientMessage> for Incoming {
    fn from(message: ClientMessage) -> Self {
        Self { message, is_too_deep: false }
    }
}

impl Message for Incoming {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        self.message.encode_raw(buffer);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        self.message.merge_field(tag, wire_type, buffer, context)
    }

    fn merge(&mut self, mut buffer: impl Buf) -> Result<(), DecodeError> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        match self.message.merge(bytes.clone()) {
            Err(error) if error.to_string().contains("recursion limit") => {
                self.message = ClientMessage { seq: seq_of(bytes)?, body: None };
                self.is_too_deep = true;
                Ok(())
            }
            merged => merged,
        }
    }

    fn encoded_len(&self) -> usize {
        self.message.encoded_len()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

fn seq_of(mut bytes: Bytes) -> Result<u64, DecodeError> {
    let mut seq = 0;
    while bytes.has_remaining() {
        match decode_key(&mut bytes)? {
            (SEQ, WireType::Varint) => seq = decode_varint(&mut bytes)?,
            (tag, wire_type) => skip_field(wire_type, tag, &mut bytes, DecodeContext::default())?,
        }
    }
    Ok(seq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Ask, Constraint, Heartbeat, client_message::Body, constraint::Kind};

    #[test]
    fn what_is_too_deep_is_known_by_its_seq() {
        let mut constraint = Constraint::default();
        for _ in 0..200 {
            constraint = Constraint { kind: Some(Kind::Not(Box::new(constraint))) };
        }
        let body = Some(Body::Ask(Ask { constraint: Some(constraint), ..Ask::default() }));
        let deep = ClientMessage { seq: 7, body }.encode_to_vec();
        let read = Incoming::decode(&*deep).expect("read as far as it goes");
        assert_eq!((read.message.seq, read.message.body, read.is_too_deep), (7, None, true));
    }

    #[test]
    fn others_are_read_as_ever() {
        let message = ClientMessage { seq: 7, body: Some(Body::Heartbeat(Heartbeat::default())) };
        assert_eq!(Incoming::decode(&*message.encode_to_vec()), Ok(message.into()));
        assert!(Incoming::decode(&b"\x0a"[..]).is_err());
    }
}
