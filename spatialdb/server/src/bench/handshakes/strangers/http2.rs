//! As much HTTP/2 as one call of `Attach` needs.

use std::io::{self, Read};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// HEADER_TABLE_SIZE 0: every answer spells its headers out.
const NO_HEADER_TABLE: [u8; 6] = [0, 1, 0, 0, 0, 0];

/// `16`, UNAUTHENTICATED, as a value of two bytes in Huffman code.
const UNAUTHENTICATED: [u8; 3] = [0x82, 0x0b, 0x9f];

/// What a connection begins with.
pub(super) fn opening() -> Vec<u8> {
    let mut said = PREFACE.to_vec();
    frame(&mut said, SETTINGS, 0, 0, &NO_HEADER_TABLE);
    said
}

/// Call number `n` of a connection, from 1, with its first message. The caller would say more.
pub(super) fn call(said: &mut Vec<u8>, n: u64, authority: &str, message: &[u8]) {
    frame(said, HEADERS, END_HEADERS, stream(n), &headers(authority));
    // A message of gRPC: not compressed, its length.
    let mut data = vec![0];
    data.extend((message.len() as u32).to_be_bytes());
    data.extend(message);
    frame(said, DATA, 0, stream(n), &data);
}

/// Reads to the last frame of the answer to call `n`: its headers.
///
/// # Errors
/// The connection ends before.
pub(super) fn end_of_answer(from: &mut impl Read, n: u64) -> io::Result<Vec<u8>> {
    loop {
        let mut head = [0; FRAME_HEAD_BYTES];
        from.read_exact(&mut head)?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        from.read_exact(&mut payload)?;
        if kind == HEADERS && flags & END_STREAM != 0 && u32::from_be_bytes(id) == stream(n) {
            return Ok(payload);
        }
    }
}

/// Whether the last headers of an answer say so.
pub(super) fn is_unauthenticated(headers: &[u8]) -> bool {
    headers.windows(UNAUTHENTICATED.len()).any(|bytes| bytes == UNAUTHENTICATED)
}

fn stream(n: u64) -> u32 {
    2 * n as u32 - 1
}

fn frame(said: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    said.extend(&(payload.len() as u32).to_be_bytes()[1..]);
    said.extend([kind, flags]);
    said.extend(stream.to_be_bytes());
    said.extend(payload);
}

/// In HPACK, by its static table and plain literals.
fn headers(authority: &str) -> Vec<u8> {
    // :method POST, :scheme http
    let mut block = vec![0x83, 0x86];
    let mut literal = |name: Result<u8, &str>, value: &str| {
        match name {
            Ok(index) => block.push(index),
            Err(name) => {
                block.extend([0, name.len() as u8]);
                block.extend(name.bytes());
            }
        }
        block.push(value.len() as u8);
        block.extend(value.bytes());
    };
    literal(Ok(1), authority);
    literal(Ok(4), "/spatialdb.v1.WorkerService/Attach");
    literal(Err("content-type"), "application/grpc");
    literal(Err("te"), "trailers");
    block
}
