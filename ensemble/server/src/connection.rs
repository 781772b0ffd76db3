//! The outgoing half of a connection, and the signals between the driver and the task that reads from it.
//!
//! The driver writes: it knows when a turn is over, so that everything a turn has to say to a connection leaves in one
//! write call. What the kernel does not take waits here, bounded, and the connection's task sends it when the socket takes
//! more. Only that task ends a connection; everybody else asks it to.
//!
//! [`ReadHalf`] and [`WriteHalf`] are the seam where TLS will sit.

use crate::outgoing::Outgoing;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a connection that is to end may take to deliver what is queued on it.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// What may be left of a block when the next one is asked for, so that the other side does not wait for it.
const BLOCK_REST_BYTES: usize = 64 << 10;

/// The incoming half.
pub(crate) enum ReadHalf {
    Plain(OwnedReadHalf),
}

/// The outgoing half.
enum WriteHalf {
    Plain(OwnedWriteHalf),
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    No,
    AfterFlush,
    Now,
}

/// The outgoing half of a connection and what its task must know.
pub(crate) struct Connection {
    pub(crate) address: SocketAddr,
    write: WriteHalf,
    /// Bytes that the kernel did not take yet.
    waiting: RefCell<Outgoing>,
    /// A block was queued, or room is waited for, and nobody has asked since whether there is room for the next.
    is_fed: Cell<bool>,
    waiting_bytes_max: usize,
    /// Unsent bytes of the turn that found the connection idle; all of them until it is flushed.
    burst_bytes: Cell<usize>,
    paused: Cell<bool>,
    ending: Cell<Ending>,
    /// When a connection that ends after a flush ends without it.
    flush_deadline: Cell<Option<Instant>>,
    attention: Notify,
}

impl ReadHalf {
    /// Reads what is there into `scratch`; 0 is the end of the stream.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(scratch);
        let polled = match self {
            ReadHalf::Plain(half) => Pin::new(half).poll_read(cx, &mut buffer),
        };
        polled.map(|result| result.map(|()| buffer.filled().len()))
    }
}

impl WriteHalf {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            WriteHalf::Plain(half) => half.try_write(bytes),
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            WriteHalf::Plain(half) => half.writable().await,
        }
    }
}

impl Connection {
    /// Splits a stream. More than `waiting_bytes_max` unsent bytes end the connection, not counting those of the turn that found
    /// it idle: an answer or a synchronisation may be longer.
    pub(crate) fn new(stream: TcpStream, address: SocketAddr, waiting_bytes_max: usize) -> (Connection, ReadHalf) {
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let connection = Connection {
            address,
            write: WriteHalf::Plain(write),
            waiting: RefCell::default(),
            is_fed: Cell::new(false),
            waiting_bytes_max,
            burst_bytes: Cell::new(0),
            paused: Cell::new(false),
            ending: Cell::new(Ending::No),
            flush_deadline: Cell::new(None),
            attention: Notify::new(),
        };
        (connection, ReadHalf::Plain(read))
    }

    /// Bytes that the other side has not taken.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Has [`Connection::takes_next_block`] say when there is room.
    pub(crate) fn await_room(&self) {
        self.is_fed.set(true);
        self.attention.notify_one();
    }

    /// Whether it is time for the block after the one that was queued last: little of that is left. Says so once a block.
    pub(crate) fn takes_next_block(&self) -> bool {
        self.waiting_bytes() <= BLOCK_REST_BYTES && self.is_fed.take()
    }

    /// Appends to what is sent by the next [`Connection::flush`].
    pub(crate) fn queue(&self, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.may_queue() {
            self.waiting.borrow_mut().extend(encode);
        }
    }

    /// As [`Connection::queue`], for something large that need not be copied.
    pub(crate) fn queue_block(&self, block: Bytes) {
        if self.may_queue() {
            self.is_fed.set(true);
            self.waiting.borrow_mut().push_block(block);
        }
    }

    /// Whether the connection goes on and is within its limit; one that is not ends.
    fn may_queue(&self) -> bool {
        let waiting = self.waiting_bytes();
        if waiting == 0 {
            self.burst_bytes.set(usize::MAX);
        }
        if waiting > self.burst_bytes.get().saturating_add(self.waiting_bytes_max) {
            self.end_slow(waiting);
        }
        self.ending.get() == Ending::No
    }

    fn end_slow(&self, waiting: usize) {
        if self.ending.get() != Ending::Now {
            tracing::warn!(address = %self.address, bytes = waiting, "closing a connection that reads too slowly");
            self.end();
        }
    }

    /// Sends what was queued.
    pub(crate) fn flush(&self) {
        let mut waiting = self.waiting.borrow_mut();
        loop {
            match self.write_some(waiting.front()) {
                Some(sent) => {
                    let is_all = sent == waiting.front().len();
                    waiting.advance(sent);
                    // Behind a part that is sent another may follow at once.
                    if is_all && !waiting.is_empty() {
                        continue;
                    }
                }
                None => waiting.clear(),
            }
            break;
        }
        self.burst_bytes.set(self.burst_bytes.get().min(waiting.len()));
        self.settle(&waiting);
    }

    /// Sends `bytes` now, after what was queued; what the kernel does not take is queued. `bytes` is empty afterwards.
    pub(crate) fn send(&self, bytes: &mut Vec<u8>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.is_empty() {
            if waiting.len() > self.waiting_bytes_max {
                self.end_slow(waiting.len());
            }
            waiting.extend(|waiting| waiting.append(bytes));
        } else if let Some(sent) = self.write_some(bytes)
            && sent < bytes.len()
        {
            waiting.extend(|waiting| waiting.extend_from_slice(&bytes[sent..]));
        }
        bytes.clear();
        self.settle(&waiting);
    }

    /// One write call; `None` when the connection is broken.
    fn write_some(&self, bytes: &[u8]) -> Option<usize> {
        if bytes.is_empty() {
            return Some(0);
        }
        match self.write.try_write(bytes) {
            Ok(sent) => Some(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(0),
            Err(_) => {
                self.end();
                None
            }
        }
    }

    fn settle(&self, waiting: &Outgoing) {
        if waiting.is_empty() {
            if self.ending.get() == Ending::AfterFlush {
                self.end();
            }
            if self.is_fed.get() {
                self.attention.notify_one();
            }
        } else {
            self.attention.notify_one();
        }
    }

    /// Ends the connection once everything queued is sent, or [`FLUSH_TIMEOUT`] is over.
    pub(crate) fn end_after_flush(&self) {
        if self.ending.get() == Ending::No {
            self.ending.set(Ending::AfterFlush);
            self.flush_deadline.set(Some(Instant::now() + FLUSH_TIMEOUT));
            self.attention.notify_one();
        }
    }

    /// Ends the connection, whatever is queued.
    pub(crate) fn end(&self) {
        self.ending.set(Ending::Now);
        self.attention.notify_one();
    }

    /// Stops or resumes reading.
    pub(crate) fn pause(&self, on: bool) {
        self.paused.set(on);
        self.attention.notify_one();
    }

    /// Whether the task may read.
    pub(crate) fn is_readable(&self) -> bool {
        !self.paused.get() && self.ending.get() == Ending::No
    }

    /// Whether more may be queued.
    pub(crate) fn is_going_on(&self) -> bool {
        self.ending.get() == Ending::No
    }

    /// Whether the task must stop.
    pub(crate) fn is_ended(&self) -> bool {
        match self.ending.get() {
            Ending::No => false,
            Ending::AfterFlush => self.waiting.borrow().is_empty(),
            Ending::Now => true,
        }
    }

    /// Waits for a change of anything above, sending what waits meanwhile.
    pub(crate) async fn attention(&self) {
        if self.waiting_bytes() == 0 {
            return self.attention.notified().await;
        }
        let flush_timeout = async {
            match self.flush_deadline.get() {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = flush_timeout => self.end(),
            writable = self.write.writable() => match writable {
                Ok(()) => self.flush(),
                Err(_) => self.end(),
            },
            () = self.attention.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const LIMIT: usize = 1000;
    /// More than the kernel takes for somebody who does not read.
    const LARGE: usize = 64 << 20;

    /// Runs a test with a connection whose other end does not read.
    fn with_silent_peer<F: Future<Output = ()>>(test: impl FnOnce(Connection) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (theirs, address) = listener.accept().await.unwrap();
            let (connection, _read) = Connection::new(ours, address, LIMIT);
            test(connection).await;
            drop(theirs);
        });
    }

    #[test]
    fn a_turn_that_finds_the_connection_idle_may_queue_anything_and_later_ones_up_to_the_limit() {
        with_silent_peer(|connection| async move {
            connection.queue(|waiting| waiting.resize(LARGE, 1));
            connection.queue_block(Bytes::from(vec![2; LARGE]));
            connection.queue(|waiting| waiting.push(3));
            connection.flush();
            let burst = connection.waiting_bytes();
            assert!(burst > LARGE && !connection.takes_next_block());
            for _later_turn in 0..2 {
                connection.queue(|waiting| waiting.resize(waiting.len() + LIMIT, 4));
                assert!(!connection.is_ended());
            }
            connection.queue(|waiting| waiting.push(5));
            assert!(connection.is_ended());
            assert_eq!(connection.waiting_bytes(), burst + 2 * LIMIT, "nothing is queued on what has ended");
        });
    }

    #[test]
    fn the_next_block_is_asked_for_when_little_is_left_of_the_last() {
        with_silent_peer(|connection| async move {
            assert!(!connection.takes_next_block(), "nobody has begun");
            connection.queue_block(Bytes::from(vec![1; 100]));
            connection.flush();
            assert!(connection.takes_next_block(), "the kernel took it");
            assert!(!connection.takes_next_block(), "it was asked for");
            connection.queue_block(Bytes::from(vec![2; LARGE]));
            connection.flush();
            assert!(!connection.takes_next_block(), "{} bytes wait", connection.waiting_bytes());
        });
    }

    #[test]
    fn a_connection_that_is_to_end_ends_though_the_other_side_takes_nothing() {
        with_silent_peer(|connection| async move {
            connection.queue_block(Bytes::from(vec![7; LARGE]));
            connection.flush();
            connection.end_after_flush();
            let begun = Instant::now();
            while !connection.is_ended() {
                connection.attention().await;
            }
            assert_eq!(begun.elapsed().as_secs(), FLUSH_TIMEOUT.as_secs());
        });
    }
}
