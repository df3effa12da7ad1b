//! Messages to bytes and back; a body that is sent often is encoded only once.

use std::marker::PhantomData;

use bytes::{Buf as _, BufMut, Bytes};
use prost::{DecodeError, Message, encoding::uint64};
use spatialdb_proto::v1::{ClientMessage, ServerMessage, client_message::Body};
use tonic::{
    Status,
    codec::{BufferSettings, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

// Room for a large message, so that the buffer does not grow while one is written.
const BUFFER_BYTES: usize = 128 << 10;

// The field number of ClientMessage.seq.
const SEQ_FIELD: u32 = 1;

/// A message on its way to the server.
pub(super) enum Outgoing {
    /// Not yet encoded.
    Message(Box<ClientMessage>),
    /// Encoded but for its number.
    Prebuilt {
        /// Its sequence number.
        seq: u64,
        /// What [`prebuilt`] made.
        body: Bytes,
    },
    /// Encoded, of whatever kind.
    Whole(Bytes),
}

/// Encodes a body, to be sent under any sequence number.
pub(in crate::bench) fn prebuilt(body: Body) -> Bytes {
    // A sequence number of 0 takes no bytes, so these are the bytes of the body alone.
    ClientMessage { seq: 0, body: Some(body) }.encode_to_vec().into()
}

/// What a session's reader gets of a message.
pub(in crate::bench) trait Incoming: Sized + Send + Sync + 'static {
    /// Takes the message from the stream.
    fn take(buffer: &mut DecodeBuf<'_>) -> Result<Self, DecodeError>;

    /// All of it, built.
    fn built(self) -> Result<ServerMessage, DecodeError>;
}

impl Incoming for ServerMessage {
    fn take(buffer: &mut DecodeBuf<'_>) -> Result<Self, DecodeError> {
        Self::decode(buffer)
    }

    fn built(self) -> Result<Self, DecodeError> {
        Ok(self)
    }
}

/// The bytes alone: whoever reads a lot of them reads them in place.
impl Incoming for Bytes {
    fn take(buffer: &mut DecodeBuf<'_>) -> Result<Self, DecodeError> {
        Ok(buffer.copy_to_bytes(buffer.remaining()))
    }

    fn built(self) -> Result<ServerMessage, DecodeError> {
        ServerMessage::decode(self)
    }
}

/// How a session's stream is read and written.
pub(super) struct Codec<T>(PhantomData<fn() -> T>);

impl<T> Codec<T> {
    /// The codec.
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Incoming> tonic::codec::Codec for Codec<T> {
    type Encode = Outgoing;
    type Decode = T;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::new()
    }

    fn decoder(&mut self) -> Self {
        Self::new()
    }
}

impl<T> Encoder for Codec<T> {
    type Item = Outgoing;
    type Error = Status;

    fn encode(&mut self, item: Outgoing, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        put(item, buffer)
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, BUFFER_BYTES)
    }
}

impl<T: Incoming> Decoder for Codec<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        T::take(buffer).map(Some).map_err(|error| malformed(&error))
    }
}

/// The error of a message that does not parse.
pub(super) fn malformed(error: &DecodeError) -> Status {
    Status::internal(format!("a message that does not parse: {error}"))
}

// Fields may stand in any order, and seq comes first here as it would from any encoder.
fn put(item: Outgoing, buffer: &mut impl BufMut) -> Result<(), Status> {
    match item {
        Outgoing::Message(message) => {
            message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
        }
        Outgoing::Prebuilt { seq, body } => {
            uint64::encode(SEQ_FIELD, &seq, buffer);
            buffer.put(body);
            Ok(())
        }
        Outgoing::Whole(message) => {
            buffer.put(message);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use spatialdb_proto::v1::{PositionColumn, Update};

    use super::*;

    #[test]
    fn a_prebuilt_message_is_the_same_bytes() {
        let column = PositionColumn {
            entities: vec![1, 300],
            x: vec![1.5, -2.0],
            y: vec![0.0, 9.0],
            ..Default::default()
        };
        let body = Body::Update(Update { positions: vec![column], ..Default::default() });
        for seq in [1, 127, 128, 1 << 40] {
            let whole = ClientMessage { seq, body: Some(body.clone()) };
            let mut found = Vec::new();
            put(Outgoing::Prebuilt { seq, body: prebuilt(body.clone()) }, &mut found).expect("memory");
            assert_eq!(found, whole.encode_to_vec());
        }
    }
}
