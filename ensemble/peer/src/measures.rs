//! What a server counts and measures of its clients and its requests, under ZooKeeper's names where it has one
//! (`ServerMetrics.java`). Nothing here decides anything. Times are those of the inputs: what happens within one input takes none, but for
//! reads, which take as long as their turn ([`crate::Peer::end_turn`]).

use crate::namespaces::{Namespaces, Refusals};
use ensemble_proto::Summary;
use std::time::Duration;

/// Counted since the start; times in milliseconds.
#[derive(Clone, Default, Debug)]
pub struct Measures {
    /// Requests that became a transaction, or wait to.
    pub prep_processor_request_queued: u64,
    /// Leader: changes of proposals that were not applied yet.
    pub outstanding_changes_queued: u64,
    /// Leader: of these, those that were applied since.
    pub outstanding_changes_removed: u64,
    /// Clients that asked for a session that they had before.
    pub connection_revalidate_count: u64,
    /// Learner: sessions that the leader was asked about.
    pub revalidate_count: u64,
    /// Connections that were closed because no handshake came.
    pub sessionless_connections_expired: u64,
    /// Times that a connection was not read on because there were too many unanswered requests, or that a request had to wait for that.
    pub request_throttle_wait_count: u64,
    /// Auth packets that failed.
    pub auth_failed_count: u64,
    /// Handshakes that were refused because there were too many.
    pub connections_throttled: u64,
    /// The chance of a handshake to be refused by chance, 0 to 1.
    pub connection_drop_probability: f64,
    /// Tokens that are missing in the bucket of handshakes, after each that was taken.
    pub connection_token_deficit: Summary,
    /// How long each request waited because there were too many, where that is limited.
    pub request_throttle_queue_time_ms: Summary,
    /// Requests that were refused because they had waited too long.
    pub throttled_ops: u64,
    /// Requests that had waited for longer than their session's timeout, and were begun.
    pub stale_requests: u64,
    /// Requests that waited, and were dropped with their connection.
    pub stale_requests_dropped: u64,
    /// Requests that ended their connection because they were large, and others too.
    pub large_requests_rejected: u64,
    /// Auth packets of scheme `ensemble` with a name of this ensemble.
    pub ensemble_auth_success: u64,
    /// With the name of another.
    pub ensemble_auth_fail: u64,
    /// With no name, or where any is taken.
    pub ensemble_auth_skip: u64,
    /// Bytes to clients, framed, watch events included.
    pub response_bytes: u64,
    /// Bytes of watch events, framed.
    pub watch_bytes: u64,
    /// Sessions that began on a connection of this server.
    pub sessions_created: u64,
    /// Local sessions that ended for silence.
    pub local_sessions_expired: u64,
    /// Sessions that their clients, on connections of this server, ended.
    pub sessions_closed: u64,
    /// Sessions that were taken up again on a connection of this server.
    pub sessions_revalidated: u64,
    /// Leader: sessions whose clients went from one server to another.
    pub sessions_moved: u64,
    /// Lengths of answers to clients, without the four bytes that say so.
    pub client_response_size: Sizes,
    /// Lengths of proposals.
    pub proposal_size: Sizes,
    /// From the arrival of a read to the turn's end that answered it.
    pub readlatency: Summary,
    /// From the arrival of a client's write here to its application here.
    pub updatelatency: Summary,
    /// From the time that the leader gave a transaction to its application here, on the clocks of the two machines.
    pub propagation_latency: Summary,
    /// From the loss of an office, or the start, to the next office.
    pub unavailable_time: Summary,
    /// The same, when this server leads then.
    pub leader_unavailable_time: Summary,
    /// Requests that wait to become a transaction when one more comes.
    pub prep_processor_queue_size: Summary,
    /// How long they waited.
    pub prep_processor_queue_time_ms: Summary,
    /// Unanswered requests of a connection when one more waits.
    pub requests_in_session_queue: Summary,
    /// Reads that were answered at once when a write before them was.
    pub reads_after_write_in_session_queue: Summary,
    /// How long reads waited behind a write of their connection.
    pub read_commitproc_time_ms: Summary,
    /// Bytes of path and answer of each successful read of a znode.
    pub read_per_namespace: Namespaces,
    /// Bytes of path and data of each change that was applied here.
    pub write_per_namespace: Namespaces,
    /// Leader: requests that a quota refused.
    pub quota_exceeded_error_per_namespace: Refusals,
    /// Connections told that a znode was created.
    pub node_created_watch_count: Summary,
    /// That one was deleted.
    pub node_deleted_watch_count: Summary,
    /// That its data changed.
    pub node_changed_watch_count: Summary,
    /// That its children changed.
    pub node_children_watch_count: Summary,
    /// Reads of this turn that were answered within it.
    pub(crate) reads_of_turn: u64,
}

impl Measures {
    /// The turn is over: this is how long it took, and so did each read that was answered in it.
    pub(crate) fn end_turn(&mut self, began: Duration, now: Duration) {
        let (reads, took) = (std::mem::take(&mut self.reads_of_turn), now.saturating_sub(began));
        self.readlatency.observe_times(now, took.as_secs_f64() * 1000.0, reads);
    }
}

/// Lengths in bytes: the last, the least and the greatest; `None` before the first (`BufferStats.java`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Sizes(Option<Extremes>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Extremes {
    last: usize,
    min: usize,
    max: usize,
}

impl Sizes {
    pub(crate) fn observe(&mut self, bytes: usize) {
        let Extremes { min, max, .. } = self.0.unwrap_or(Extremes { last: bytes, min: bytes, max: bytes });
        self.0 = Some(Extremes { last: bytes, min: min.min(bytes), max: max.max(bytes) });
    }

    /// Last, least and greatest; -1 before the first.
    pub fn last_min_max(&self) -> [i64; 3] {
        self.0.map_or([-1; 3], |Extremes { last, min, max }| [last, min, max].map(|bytes| bytes as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_unknown_before_the_first() {
        let mut sizes = Sizes::default();
        assert_eq!(sizes.last_min_max(), [-1, -1, -1]);
        for bytes in [30, 10, 20] {
            sizes.observe(bytes);
        }
        assert_eq!(sizes.last_min_max(), [20, 10, 30]);
    }

    #[test]
    fn each_read_takes_as_long_as_its_turn() {
        let mut measures = Measures { reads_of_turn: 3, ..Measures::default() };
        let at = Duration::from_millis;
        measures.end_turn(at(10), at(12));
        measures.end_turn(at(20), at(50));
        assert_eq!((measures.readlatency.count(), measures.readlatency.sum()), (3, 6.0));
    }
}
