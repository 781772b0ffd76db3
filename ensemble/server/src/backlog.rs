//! What waits for a learner: how many packets, and for how long (`LearnerHandler.java`, `learner_handler_qp_size` and `learner_handler_qp_time_ms`).
//!
//! The kernel takes bytes. Which packets these were is known by where each ends in the stream; packets that are queued in one turn leave together, and count as one
//! batch here. Only what the kernel has not taken waits: what is on its way, or unread by the other side, does not.

use ensemble_proto::Summary;
use std::collections::VecDeque;
use std::time::Duration;

/// Batches that are told apart; of a learner that takes nothing the later ones are one.
const BATCHES_MAX: usize = 4096;

/// What waits on one connection, and what has waited.
#[derive(Default)]
pub(crate) struct Backlog {
    /// Bytes that were ever queued.
    queued_bytes: u64,
    batches: VecDeque<Batch>,
    /// Whether the last batch may still grow: nothing was sent since.
    is_open: bool,
    waiting: usize,
    waits: Waits,
}

/// Packets that were queued together.
struct Batch {
    /// Where they end in the stream.
    end: u64,
    packets: usize,
    since: Duration,
}

/// How much has waited, and for how long.
#[derive(Clone, Default, Debug)]
pub(crate) struct Waits {
    /// Packets that waited, those that were then sent included, whenever some were sent.
    pub(crate) size: Summary,
    /// Milliseconds from queueing a batch until the kernel had taken it.
    pub(crate) time_ms: Summary,
}

impl Backlog {
    /// A packet of so many bytes was queued. What time it is, is asked once a batch.
    pub(crate) fn queue(&mut self, now: impl FnOnce() -> Duration, bytes: usize) {
        self.queued_bytes += bytes as u64;
        self.waiting += 1;
        let is_joined = self.is_open || self.batches.len() == BATCHES_MAX;
        match self.batches.back_mut().filter(|_| is_joined) {
            Some(last) => {
                last.end = self.queued_bytes;
                last.packets += 1;
            }
            None => self.batches.push_back(Batch { end: self.queued_bytes, packets: 1, since: now() }),
        }
        self.is_open = true;
    }

    /// Bytes were queued that are no packet: of a snapshot.
    pub(crate) fn queue_bytes(&mut self, bytes: usize) {
        self.queued_bytes += bytes as u64;
    }

    /// The kernel was offered what waits, and has left so many bytes.
    pub(crate) fn sent(&mut self, now: Duration, left_bytes: usize) {
        self.is_open = false;
        let taken = self.queued_bytes.saturating_sub(left_bytes as u64);
        let before = self.waiting;
        while let Some(batch) = self.batches.pop_front_if(|batch| batch.end <= taken) {
            self.waiting -= batch.packets;
            self.waits.time_ms.observe_ms(now, now.saturating_sub(batch.since));
        }
        if self.waiting < before {
            self.waits.size.observe(now, before as f64);
        }
    }

    pub(crate) fn waits(&self) -> &Waits {
        &self.waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Samples, sum and maximum.
    fn told(summary: &Summary) -> (u64, f64, f64) {
        (summary.count(), summary.sum(), summary.max())
    }

    #[test]
    fn packets_wait_until_the_kernel_has_taken_their_bytes() {
        let mut backlog = Backlog::default();
        for bytes in [10, 20] {
            backlog.queue(|| ms(1), bytes);
        }
        backlog.sent(ms(1), 5);
        assert_eq!(told(&backlog.waits().size), (0, 0.0, 0.0), "none is sent as a whole, for they count together");
        backlog.queue_bytes(100);
        backlog.queue(|| ms(3), 7);
        backlog.sent(ms(4), 107);
        assert_eq!((told(&backlog.waits().size), told(&backlog.waits().time_ms)), ((1, 3.0, 3.0), (1, 3.0, 3.0)));
        backlog.sent(ms(5), 107);
        backlog.sent(ms(9), 0);
        assert_eq!((told(&backlog.waits().size), told(&backlog.waits().time_ms)), ((2, 4.0, 3.0), (2, 9.0, 6.0)));
        backlog.sent(ms(10), 0);
        assert_eq!(backlog.waits().size.count(), 2, "nothing waited");
    }

    #[test]
    fn who_takes_nothing_costs_no_more_than_so_many_batches() {
        let mut backlog = Backlog::default();
        for _ in 0..2 * BATCHES_MAX {
            backlog.queue(|| ms(0), 1);
            backlog.sent(ms(0), usize::MAX);
        }
        assert_eq!(backlog.batches.len(), BATCHES_MAX);
        backlog.sent(ms(1), 0);
        let packets = 2.0 * BATCHES_MAX as f64;
        assert_eq!((backlog.waiting, told(&backlog.waits().size)), (0, (1, packets, packets)));
    }
}
