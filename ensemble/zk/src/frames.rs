//! Frames on a socket: an int of length, then so many bytes. A read that takes too long loses nothing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The longest frame that is taken: more than any server sends by its own limits.
const FRAME_BYTES_MAX: usize = 64 << 20;
const READ_LEN: usize = 64 << 10;

/// The reading half of a connection.
pub(crate) struct Frames {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Frames {
    /// Connects. A read waits for `patience` at most, a write ten times as long.
    pub(crate) fn connect(address: SocketAddr, timeout: Duration, patience: Duration) -> io::Result<Frames> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience * 10))?;
        Ok(Frames { stream, buffer: Vec::new() })
    }

    /// The writing half.
    pub(crate) fn writer(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next frame; `None` when it has not come yet.
    ///
    /// # Errors
    /// When the connection has ended, or the length is none.
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(length) = self.buffer.first_chunk::<4>() {
                let length = u32::from_be_bytes(*length) as usize;
                if length > FRAME_BYTES_MAX {
                    return Err(io::Error::new(ErrorKind::InvalidData, format!("a frame of {length} bytes")));
                }
                if self.buffer.len() >= 4 + length {
                    let behind = self.buffer.split_off(4 + length);
                    let mut frame = std::mem::replace(&mut self.buffer, behind);
                    frame.drain(..4);
                    return Ok(Some(frame));
                }
            }
            let filled = self.buffer.len();
            self.buffer.resize(filled + READ_LEN, 0);
            let read = self.stream.read(&mut self.buffer[filled..]);
            self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
