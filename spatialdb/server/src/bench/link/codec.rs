//! Messages to bytes and back; a body that is sent often is encoded only once.

use bytes::{BufMut, Bytes};
use prost::{Message, encoding::uint64};
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
}

/// Encodes a body, to be sent under any sequence number.
pub(in crate::bench) fn prebuilt(body: Body) -> Bytes {
    // A sequence number of 0 takes no bytes, so these are the bytes of the body alone.
    ClientMessage { seq: 0, body: Some(body) }.encode_to_vec().into()
}

/// How a session's stream is read and written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codec;

impl tonic::codec::Codec for Codec {
    type Encode = Outgoing;
    type Decode = ServerMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Codec {
    type Item = Outgoing;
    type Error = Status;

    fn encode(&mut self, item: Outgoing, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        put(item, buffer)
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, BUFFER_BYTES)
    }
}

impl Decoder for Codec {
    type Item = ServerMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<ServerMessage>, Status> {
        let message = ServerMessage::decode(buffer);
        message.map(Some).map_err(|error| Status::internal(format!("a message that does not parse: {error}")))
    }
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
