//! The outgoing half of a connection, and the signals between the driver and the task that reads from it.
//!
//! The driver writes: it knows when a turn is over, so that everything a turn has to say to a connection leaves in one
//! write call. What the kernel does not take waits here, bounded, and the connection's task sends it when the socket takes
//! more. Only that task ends a connection; everybody else asks it to.
//!
//! [`ReadHalf`] and [`WriteHalf`] are the seam where TLS will sit.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

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
    waiting: RefCell<Vec<u8>>,
    waiting_bytes_max: usize,
    paused: Cell<bool>,
    ending: Cell<Ending>,
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
    /// Splits a stream. More than `waiting_bytes_max` unsent bytes end the connection.
    pub(crate) fn new(stream: TcpStream, address: SocketAddr, waiting_bytes_max: usize) -> (Connection, ReadHalf) {
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let connection = Connection {
            address,
            write: WriteHalf::Plain(write),
            waiting: RefCell::default(),
            waiting_bytes_max,
            paused: Cell::new(false),
            ending: Cell::new(Ending::No),
            attention: Notify::new(),
        };
        (connection, ReadHalf::Plain(read))
    }

    /// Bytes that the other side has not taken.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Appends to what is sent by the next [`Connection::flush`].
    pub(crate) fn queue(&self, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.ending.get() == Ending::No {
            encode(&mut self.waiting.borrow_mut());
        }
    }

    /// Sends what was queued.
    pub(crate) fn flush(&self) {
        let mut waiting = self.waiting.borrow_mut();
        match self.write_some(&waiting) {
            Some(sent) => drop(waiting.drain(..sent)),
            None => waiting.clear(),
        }
        self.settle(&mut waiting);
    }

    /// Sends `bytes` now, after what was queued; what the kernel does not take is queued. `bytes` is empty afterwards.
    pub(crate) fn send(&self, bytes: &mut Vec<u8>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.is_empty() {
            if waiting.len() > self.waiting_bytes_max {
                tracing::warn!(address = %self.address, bytes = waiting.len(), "closing a connection that reads too slowly");
                self.end();
            }
            waiting.append(bytes);
        } else if let Some(sent) = self.write_some(bytes)
            && sent < bytes.len()
        {
            waiting.extend_from_slice(&bytes[sent..]);
        }
        bytes.clear();
        self.settle(&mut waiting);
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

    fn settle(&self, waiting: &mut Vec<u8>) {
        const KEPT_CAPACITY: usize = 64 << 10;
        if waiting.is_empty() {
            waiting.shrink_to(KEPT_CAPACITY);
            if self.ending.get() == Ending::AfterFlush {
                self.end();
            }
        } else {
            self.attention.notify_one();
        }
    }

    /// Ends the connection once everything queued is sent.
    pub(crate) fn end_after_flush(&self) {
        if self.ending.get() == Ending::No {
            self.ending.set(Ending::AfterFlush);
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
        tokio::select! {
            writable = self.write.writable() => match writable {
                Ok(()) => self.flush(),
                Err(_) => self.end(),
            },
            () = self.attention.notified() => {}
        }
    }
}
