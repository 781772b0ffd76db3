//! The way of an answer to the connection that asked: in slices, each sent before the next is made.

use crate::connection::Connection;
use std::fmt;

/// Bytes that are made before they are sent.
const SLICE_BYTES: usize = 64 << 10;

/// The connection has ended, or takes nothing more.
pub(crate) struct Gone;

/// Takes an answer.
pub(crate) struct Sink<'a> {
    connection: &'a Connection,
    text: String,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Sink<'a> {
        Sink { connection, text: String::new() }
    }

    /// Appends an entry of a list, and lets the server go on when a slice is full.
    ///
    /// # Errors
    /// When nobody is there to take it.
    pub(crate) async fn entry(&mut self, entry: impl fmt::Display) -> Result<(), Gone> {
        fmt::write(&mut self.text, format_args!("{entry}")).map_err(|_| Gone)?;
        if self.text.len() >= SLICE_BYTES { self.send().await } else { Ok(()) }
    }

    /// Sends what there is and waits until most of it is taken.
    ///
    /// # Errors
    /// As [`Sink::entry`].
    pub(crate) async fn send(&mut self) -> Result<(), Gone> {
        self.connection.queue(|waiting| waiting.extend_from_slice(self.text.as_bytes()));
        self.text.clear();
        self.connection.flush();
        tokio::task::yield_now().await;
        while self.connection.is_going_on() && self.connection.waiting_bytes() > SLICE_BYTES {
            self.connection.attention().await;
        }
        if self.connection.is_going_on() { Ok(()) } else { Err(Gone) }
    }
}
