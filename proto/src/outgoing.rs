//! A message on its way out, of which a part is encoded already.

use std::fmt;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use prost::{DecodeError, Message};

use crate::v1::{Frame, ServerMessage, server_message::Body};

/// Encoded fields of a [`Frame`], shared by all who send them.
pub type Encoded = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// The number of `frame` in [`ServerMessage`].
const FRAME: u32 = 4;

/// What a server sends to a session: on the wire a [`ServerMessage`].
#[derive(Clone, Default)]
pub struct Outgoing {
    message: ServerMessage,
    /// Fields of the message's frame behind those that it has itself.
    shared: Vec<Encoded>,
    shared_bytes: usize,
}

impl Outgoing {
    /// A frame with further fields of it.
    pub fn frame(frame: Frame, shared: Vec<Encoded>) -> Self {
        let shared_bytes = shared.iter().map(|fields| (**fields).as_ref().len()).sum();
        Self { message: ServerMessage { body: Some(Body::Frame(frame)) }, shared, shared_bytes }
    }

    fn shared_frame(&self) -> Option<&Frame> {
        match &self.message.body {
            Some(Body::Frame(frame)) if !self.shared.is_empty() => Some(frame),
            _ => None,
        }
    }
}

impl From<ServerMessage> for Outgoing {
    fn from(message: ServerMessage) -> Self {
        Self { message, ..Self::default() }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, shared_bytes, .. } = self;
        f.debug_struct("Outgoing").field("message", message).field("shared_bytes", shared_bytes).finish()
    }
}

impl Message for Outgoing {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        let Some(frame) = self.shared_frame() else { return self.message.encode_raw(buffer) };
        encode_key(FRAME, WireType::LengthDelimited, buffer);
        encode_varint((frame.encoded_len() + self.shared_bytes) as u64, buffer);
        frame.encode_raw(buffer);
        self.shared.iter().for_each(|fields| buffer.put_slice((**fields).as_ref()));
    }

    fn encoded_len(&self) -> usize {
        let Some(frame) = self.shared_frame() else { return self.message.encoded_len() };
        let length = frame.encoded_len() + self.shared_bytes;
        key_len(FRAME) + encoded_len_varint(length as u64) + length
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

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::PositionColumn;

    #[test]
    fn shared_fields_are_fields_of_the_frame() {
        let column = |entity| PositionColumn {
            entities: vec![entity],
            x: vec![1.0],
            y: vec![2.0],
            ..Default::default()
        };
        let of = |column| Frame { positions: vec![column], ..Frame::default() };
        let shared: Vec<Encoded> =
            (2..4).map(|e| Arc::new(of(column(e)).encode_to_vec()) as Encoded).collect();
        let own = Frame { frame: 7, more: true, ..of(column(1)) };
        let outgoing = Outgoing::frame(own.clone(), shared);
        let bytes = outgoing.encode_to_vec();
        assert_eq!(bytes.len(), outgoing.encoded_len());
        let whole = Frame { positions: (1..4).map(column).collect(), ..own };
        let expected = ServerMessage { body: Some(Body::Frame(whole)) };
        assert_eq!(ServerMessage::decode(&*bytes), Ok(expected));
    }

    #[test]
    fn what_has_nothing_shared_is_the_message_itself() {
        let message = ServerMessage { body: Some(Body::Frame(Frame { frame: 3, ..Frame::default() })) };
        assert_eq!(Outgoing::from(message.clone()).encode_to_vec(), message.encode_to_vec());
    }
}
