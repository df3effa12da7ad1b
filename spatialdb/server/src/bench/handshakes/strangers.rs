//! Strangers: each says Hello with a token that nobody made, is refused, and tries again some times over the
//! same connection, as clients of gRPC do.
//!
//! They come at a steady pace from one thread, which writes HTTP/2 by hand: what a stranger costs the tool should be
//! little beside what it costs the server.

mod http2;

use std::{
    collections::VecDeque,
    io::{self, BufReader, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use prost::Message;
use spatialdb_proto::v1::{ClientMessage, Hello, client_message::Body};

use super::super::error::{BenchError, cannot};

/// They come in groups, so often.
const TICK: Duration = Duration::from_millis(5);

/// How many connections there are at most: fewer than a server has room for.
const CONNECTIONS_MAX: usize = 200;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The thread that they come from.
pub(super) struct Strangers {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Result<u32, BenchError>>,
}

/// How they behave.
#[derive(Clone, Copy)]
pub(super) struct Habits {
    /// Calls of all of them a second.
    pub(super) calls_per_second: u64,
    /// Calls that one connection is used for.
    pub(super) calls_per_connection: u64,
}

/// A connection.
struct Stranger {
    stream: BufReader<TcpStream>,
    calls: u64,
}

impl Strangers {
    /// Lets them come.
    pub(super) fn start(server: SocketAddr, habits: Habits) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let told = is_over.clone();
        let thread = thread::spawn(move || come(server, habits, &told));
        Self { is_over, thread }
    }

    /// Lets no more come. Returns how many calls were refused.
    ///
    /// # Errors
    /// One was not refused, or got no answer.
    pub(super) fn stop(self) -> Result<u32, BenchError> {
        self.is_over.store(true, Ordering::Relaxed);
        let crashed = |_| BenchError::unexpected("a stranger", "to be refused", "a panic of the load tool");
        self.thread.join().map_err(crashed)?
    }
}

fn come(server: SocketAddr, habits: Habits, is_over: &AtomicBool) -> Result<u32, BenchError> {
    let begun = Instant::now();
    let hello = hello();
    let (mut called, mut refused) = (0, 0);
    let (mut idle, mut waiting) = (VecDeque::new(), VecDeque::new());
    while !is_over.load(Ordering::Relaxed) {
        let due = (begun.elapsed().as_secs_f64() * habits.calls_per_second as f64) as u64;
        while called < due && waiting.len() < CONNECTIONS_MAX {
            let mut stranger = idle.pop_front().map_or_else(|| Stranger::connect(server), Ok)?;
            stranger.call(server, &hello)?;
            waiting.push_back(stranger);
            called += 1;
        }
        // Most have their answer after it.
        thread::sleep(TICK);
        for mut stranger in waiting.drain(..) {
            stranger.hear()?;
            refused += 1;
            idle.extend((stranger.calls < habits.calls_per_connection).then_some(stranger));
        }
    }
    Ok(refused)
}

impl Stranger {
    fn connect(server: SocketAddr) -> Result<Self, BenchError> {
        let connect = || -> io::Result<_> {
            let stream = TcpStream::connect(server)?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            Ok(BufReader::new(stream))
        };
        Ok(Self { stream: connect().map_err(cannot("come as a stranger"))?, calls: 0 })
    }

    fn call(&mut self, server: SocketAddr, hello: &[u8]) -> Result<(), BenchError> {
        let mut said = if self.calls == 0 { http2::opening() } else { Vec::new() };
        self.calls += 1;
        http2::call(&mut said, self.calls, &server.to_string(), hello);
        self.stream.get_mut().write_all(&said).map_err(cannot("call as a stranger"))
    }

    /// Reads up to the end of the answer.
    fn hear(&mut self) -> Result<(), BenchError> {
        let answer = http2::end_of_answer(&mut self.stream, self.calls);
        let headers = answer.map_err(cannot("read what a stranger is answered"))?;
        if http2::is_unauthenticated(&headers) {
            return Ok(());
        }
        let found = String::from_utf8_lossy(&headers).into_owned();
        Err(BenchError::unexpected("a stranger", "UNAUTHENTICATED", found))
    }
}

fn hello() -> Vec<u8> {
    let hello = Hello {
        protocol_min: 1,
        protocol_max: 1,
        worker_type: "bench".to_owned(),
        name: "stranger".to_owned(),
        token: format!("sdb_{}_{}", "0".repeat(16), "0".repeat(64)),
        ..Hello::default()
    };
    ClientMessage { seq: 1, body: Some(Body::Hello(hello)) }.encode_to_vec()
}
