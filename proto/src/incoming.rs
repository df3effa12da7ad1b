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

/// Messages of a session without a stream: on the wire a `SendRequest`, whose messages are yet to be read.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct IncomingSend {
    /// Whose messages.
    #[prost(string, tag = "1")]
    pub session_key: String,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    messages: Vec<Bytes>,
}

impl IncomingSend {
    /// Reads its messages.
    ///
    /// # Errors
    /// One is none.
    pub fn read(self) -> Result<Vec<Incoming>, DecodeError> {
        self.messages.into_iter().map(Incoming::decode).collect()
    }
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
    use crate::v1::{Ask, Constraint, Heartbeat, SendRequest, client_message::Body, constraint::Kind};

    fn deep(seq: u64) -> ClientMessage {
        let mut constraint = Constraint::default();
        for _ in 0..200 {
            constraint = Constraint { kind: Some(Kind::Not(Box::new(constraint))) };
        }
        let body = Some(Body::Ask(Ask { constraint: Some(constraint), ..Ask::default() }));
        ClientMessage { seq, body }
    }

    #[test]
    fn what_is_too_deep_is_known_by_its_seq() {
        let read = Incoming::decode(&*deep(7).encode_to_vec()).expect("read as far as it goes");
        assert_eq!((read.message.seq, read.message.body, read.is_too_deep), (7, None, true));
    }

    #[test]
    fn messages_in_one_call_are_read_each_for_itself() {
        let beat = |seq| ClientMessage { seq, body: Some(Body::Heartbeat(Heartbeat::default())) };
        let request = SendRequest { session_key: "key".into(), messages: vec![beat(3), deep(4), beat(5)] };
        let sent = IncomingSend::decode(&*request.encode_to_vec()).expect("read");
        assert_eq!(sent.session_key, "key");
        let read = sent.read().expect("messages");
        let told: Vec<_> = read.iter().map(|incoming| (incoming.message.seq, incoming.is_too_deep)).collect();
        assert_eq!(told, [(3, false), (4, true), (5, false)]);

        let sent = IncomingSend { session_key: String::new(), messages: vec![Bytes::from_static(b"\x0a")] };
        assert!(sent.read().is_err());
    }

    #[test]
    fn others_are_read_as_ever() {
        let message = ClientMessage { seq: 7, body: Some(Body::Heartbeat(Heartbeat::default())) };
        assert_eq!(Incoming::decode(&*message.encode_to_vec()), Ok(message.into()));
        assert!(Incoming::decode(&b"\x0a"[..]).is_err());
    }
}
