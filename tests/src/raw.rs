//! Bytes sent as they are where messages belong.

use bytes::{Buf, BufMut, Bytes};
use spatialdb_proto::v1::ServerMessage;
use tonic::{
    Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::World;

/// Attaches with these as the bytes of its messages, and gives the status with which the stream ends.
///
/// # Panics
/// If it ends well, or not in time.
pub async fn attach_raw(world: &World, messages: Vec<Bytes>) -> Status {
    let mut grpc = Grpc::new(world.channel().await);
    grpc.ready().await.expect("it answers");
    let request = tonic::Request::new(tokio_stream::iter(messages));
    let path = "/spatialdb.v1.WorkerService/Attach".parse().expect("a path");
    let mut stream = match grpc.streaming(request, path, Raw).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return status,
    };
    let read = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended well"),
                Err(status) => return status,
            }
        }
    };
    tokio::time::timeout(crate::DEADLINE, read).await.expect("it ends in time")
}

/// Sends bytes as they are, reads messages.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = ServerMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ServerMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<ServerMessage>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let message = prost::Message::decode(bytes);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
