//! Writes of many streams over one connection, gathered.
//!
//! HTTP/2 writes each frame of data by itself. Where a publish is told to many sessions of a connection, that is a call of
//! the system for each of them, and often enough its reader wakes for each. What is written here waits until the other
//! tasks that are ready have had their turn, or until it is much.
//!
//! Only for who flushes whenever it is polled, as HTTP does: a flush is done before all is written, and the task is woken to
//! flush again.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::Connected;

/// So many bytes wait at most.
const WAITING_BYTES_MAX: usize = 64 << 10;

/// What is written in one piece of this size or more gains nothing by waiting.
const LARGE: usize = 32 << 10;

/// A connection whose writes are gathered.
pub(super) struct Gather<Io> {
    io: Io,
    waiting: Vec<u8>,
    /// So many of the bytes that wait have been written.
    written: usize,
    /// Rings once others have had their turn.
    bell: Option<Arc<Bell>>,
}

struct Bell {
    has_rung: AtomicBool,
    task: Waker,
}

/// Gathers the writes of all connections that come.
pub(super) fn writes<Io: Send + 'static>(
    connections: mpsc::Receiver<io::Result<Io>>,
) -> impl Stream<Item = io::Result<Gather<Io>>> {
    ReceiverStream::new(connections).map(|accepted| accepted.map(Gather::new))
}

impl<Io> Gather<Io> {
    const fn new(io: Io) -> Self {
        Self { io, waiting: Vec::new(), written: 0, bell: None }
    }

    fn is_waiting(&self) -> bool {
        self.written < self.waiting.len()
    }

    /// Whether what waits is to be written now. If not, the task is woken when it is.
    fn is_due(&mut self, cx: &Context<'_>) -> bool {
        // What was begun is not put off again.
        if self.written > 0 {
            return true;
        }
        match &self.bell {
            Some(bell) if bell.has_rung.load(Ordering::Acquire) => true,
            Some(bell) if bell.task.will_wake(cx.waker()) => false,
            _ => {
                self.bell = Some(Bell::after_the_others(cx.waker()));
                false
            }
        }
    }
}

impl<Io: AsyncWrite + Unpin> Gather<Io> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bell = None;
        while self.is_waiting() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.waiting[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        // Most connections have little to say: memory is for those that have.
        self.waiting = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Makes room for so many bytes more to wait. Returns whether they may; they are written at once if not.
    fn poll_room(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<io::Result<bool>> {
        if self.waiting.len() + bytes > WAITING_BYTES_MAX {
            ready!(self.poll_drain(cx))?;
        }
        Poll::Ready(Ok(self.is_waiting() || bytes < LARGE))
    }
}

impl Bell {
    /// One that rings once the tasks that are ready now have had their turn.
    fn after_the_others(task: &Waker) -> Arc<Self> {
        let bell = Arc::new(Self { has_rung: AtomicBool::new(false), task: task.clone() });
        let turn = pin!(tokio::task::yield_now());
        // Asked once: from then on the runtime has the bell.
        let _ = turn.poll(&mut Context::from_waker(&Waker::from(bell.clone())));
        bell
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl<Io: Connected> Connected for Gather<Io> {
    type ConnectInfo = Io::ConnectInfo;

    fn connect_info(&self) -> Io::ConnectInfo {
        self.io.connect_info()
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Gather<Io> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Gather<Io> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !ready!(this.poll_room(cx, bytes.len()))? {
            return Pin::new(&mut this.io).poll_write(cx, bytes);
        }
        this.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        all: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = all.iter().map(|bytes| bytes.len()).sum();
        if !ready!(this.poll_room(cx, count))? {
            return Pin::new(&mut this.io).poll_write_vectored(cx, all);
        }
        this.waiting.reserve(count);
        all.iter().for_each(|bytes| this.waiting.extend_from_slice(bytes));
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Ready before all is written: the task is woken to flush what waits.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_waiting() {
            if !this.is_due(cx) {
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_drain(cx))?;
        }
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;

    use super::*;

    /// What was written at once, as far as there is room.
    #[derive(Default)]
    struct Paper {
        writes: Vec<Vec<u8>>,
        room: usize,
    }

    impl AsyncWrite for Paper {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            if this.room == 0 {
                return Poll::Pending;
            }
            let count = bytes.len().min(this.room);
            this.room -= count;
            this.writes.push(bytes[..count].to_vec());
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn paper(room: usize) -> Gather<Paper> {
        Gather::new(Paper { room, ..Paper::default() })
    }

    #[tokio::test]
    async fn what_is_written_in_one_turn_goes_out_together_after_it() {
        let mut gather = paper(usize::MAX);
        for byte in 0..10 {
            gather.write_all(&[byte; 100]).await.expect("room");
            gather.flush().await.expect("no error");
        }
        assert!(gather.io.writes.is_empty());
        tokio::task::yield_now().await;
        gather.flush().await.expect("no error");
        let expected: Vec<u8> = (0..10).flat_map(|byte| [byte; 100]).collect();
        assert_eq!(gather.io.writes, [expected]);
    }

    #[tokio::test]
    async fn the_task_is_woken_for_what_waits() {
        let mut gather = paper(usize::MAX);
        gather.write_all(b"a frame").await.expect("room");
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            let flushed = Pin::new(&mut gather).poll_flush(cx);
            if gather.is_waiting() { Poll::Pending } else { flushed }
        })
        .await
        .expect("no error");
        assert_eq!((polls, gather.io.writes.len()), (2, 1));
    }

    #[tokio::test]
    async fn much_does_not_wait_and_what_waits_is_bounded() {
        for (frame, room) in
            [(vec![7; 16 << 10], 100_000), (vec![7; 1 << 20], 2_500_000), (vec![7; 60_000], 1)]
        {
            let mut gather = paper(room);
            let mut taken = 0;
            poll_fn(|cx| {
                while let Poll::Ready(written) = Pin::new(&mut gather).poll_write(cx, &frame) {
                    taken += written.expect("no error");
                    assert!(gather.waiting.len() <= WAITING_BYTES_MAX, "{}", gather.waiting.len());
                }
                Poll::Ready(())
            })
            .await;
            // What was begun goes on as soon as there is room, and then no memory is kept.
            gather.io.room = usize::MAX;
            gather.flush().await.expect("no error");
            tokio::task::yield_now().await;
            gather.flush().await.expect("no error");
            assert_eq!(gather.io.writes.concat(), vec![7; taken]);
            assert_eq!(gather.waiting.capacity(), 0);
        }
    }

    #[tokio::test]
    async fn nothing_is_left_behind_at_the_end() {
        let mut gather = paper(usize::MAX);
        gather.write_all(b"goodbye").await.expect("room");
        gather.shutdown().await.expect("no error");
        assert_eq!(gather.io.writes, [b"goodbye".to_vec()]);
    }
}
