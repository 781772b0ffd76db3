//! Bytes on their way out: what is queued on a connection and not taken by the kernel yet.
//!
//! Small things are copied together, so that a turn's packets leave in one write call. A **block** (a slice of a snapshot) is kept as it is,
//! in its place among them.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;

/// An empty queue keeps this much memory for the next turn.
const KEPT_CAPACITY: usize = 64 << 10;

/// A queue of bytes.
#[derive(Default)]
pub(crate) struct Outgoing {
    /// Leaves first, from `sent` on.
    head: Vec<u8>,
    sent: usize,
    /// Blocks, each with what was queued behind it.
    blocks: VecDeque<(Bytes, Vec<u8>)>,
    /// Everything not sent.
    len: usize,
}

impl Outgoing {
    /// Bytes not sent.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends what `encode` appends.
    pub(crate) fn extend(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let last = self.blocks.back_mut().map_or(&mut self.head, |(_, behind)| behind);
        let before = last.len();
        encode(last);
        self.len += last.len() - before;
    }

    /// Appends a block, without copying it.
    pub(crate) fn push_block(&mut self, block: Bytes) {
        self.len += block.len();
        if !block.is_empty() {
            self.blocks.push_back((block, Vec::new()));
        }
    }

    /// What leaves next; empty only when nothing is queued.
    pub(crate) fn front(&self) -> &[u8] {
        match (&self.head[self.sent..], self.blocks.front()) {
            ([], Some((block, _))) => block,
            (head, _) => head,
        }
    }

    /// Drops the first `count` bytes of [`Outgoing::front`].
    pub(crate) fn advance(&mut self, count: usize) {
        self.len -= count;
        if self.sent < self.head.len() {
            self.sent += count;
            self.tidy();
        } else if let Some((block, behind)) = self.blocks.front_mut() {
            block.advance(count);
            if block.is_empty() {
                (self.head, self.sent) = (std::mem::take(behind), 0);
                self.blocks.pop_front();
            }
        }
    }

    /// Gives back the memory of what is sent, once that is the greater part: so each byte is moved at most once.
    fn tidy(&mut self) {
        if self.sent == self.head.len() {
            self.head.clear();
            self.head.shrink_to(KEPT_CAPACITY);
            self.sent = 0;
        } else if self.sent > KEPT_CAPACITY && self.sent > self.head.len() / 2 {
            self.head.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        *self = Outgoing::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes everything in steps of at most `step` bytes.
    fn drain(queue: &mut Outgoing, step: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while !queue.is_empty() {
            let piece = queue.front()[..step.min(queue.front().len())].to_vec();
            assert!(!piece.is_empty(), "{} bytes are queued and none is in front", queue.len());
            queue.advance(piece.len());
            taken.extend(piece);
        }
        assert_eq!((queue.front().len(), queue.blocks.len()), (0, 0));
        taken
    }

    #[test]
    fn bytes_and_blocks_leave_in_the_order_in_which_they_came() {
        for step in [1, 2, 3, 7, 1000] {
            let mut queue = Outgoing::default();
            queue.push_block(Bytes::from_static(b"snapshot"));
            queue.extend(|out| out.extend_from_slice(b" then"));
            queue.extend(|out| out.extend_from_slice(b" packets,"));
            queue.push_block(Bytes::new());
            queue.push_block(Bytes::from_static(b" another"));
            queue.push_block(Bytes::from_static(b" and another"));
            queue.extend(|out| out.push(b'.'));
            assert_eq!((queue.len(), queue.blocks.len()), (43, 3));
            assert_eq!(drain(&mut queue, step), b"snapshot then packets, another and another.");
            queue.extend(|out| out.extend_from_slice(b"more"));
            assert_eq!(drain(&mut queue, step), b"more");
        }
    }

    #[test]
    fn memory_of_what_was_sent_is_given_back() {
        let mut queue = Outgoing::default();
        for _round in 0..1000 {
            queue.extend(|out| out.extend_from_slice(&[7; 4096]));
            queue.extend(|out| out.extend_from_slice(&[7; 4096]));
            queue.advance(if queue.len() > 200_000 { 8192 } else { 4096 });
        }
        assert!(queue.head.len() < 1 << 20, "{} bytes are kept for {}", queue.head.len(), queue.len());
        drain(&mut queue, usize::MAX);
        assert!(queue.head.capacity() <= KEPT_CAPACITY);
    }
}
