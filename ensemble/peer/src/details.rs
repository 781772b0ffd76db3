//! What a server shows of single connections, sessions and watches, for the lists that people ask for (`cons`, `dump`, `wchc`).
//!
//! Each accessor takes little at once, so that whoever lists a hundred thousand of something can let the server go on in between:
//! the ids first, then one connection after the other. What is gone by then is left out.

use crate::expiry::ExpiryQueue;
use crate::{ClientId, Latency, Peer, Sizes};
use ensemble_proto::{Now, SessionId, Zxid};
use ensemble_zab::Role;
use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

/// Every so many transactions the tree's digest is remembered (`DataTree.DIGEST_LOG_INTERVAL`).
const DIGEST_INTERVAL: i64 = 128;
/// As many digests are remembered; then the oldest goes (`DataTree.DIGEST_LOG_LIMIT`).
const DIGESTS_MAX: usize = 1024;

/// What was answered on a connection, since it began or since that was reset (`ServerCnxn.updateStatsForResponse`).
#[derive(Clone, Copy, Debug)]
pub struct Activity {
    /// The opcode that was answered last; `None` before the first.
    pub op: Option<i32>,
    /// The last xid of the client's own, which a ping has not; `None` before the first.
    pub cxid: Option<i32>,
    /// The last applied transaction at the last answer; [`Zxid::NONE`] before the first.
    pub zxid: Zxid,
    /// When that was, on the elapsed clock; zero before the first.
    pub answered_at: Duration,
    /// How long the last answer took, in milliseconds.
    pub latency_last_ms: u64,
    /// The shortest time that one took, in milliseconds; 0 before the first.
    pub latency_min_ms: u64,
    /// The longest.
    pub latency_max_ms: u64,
    latency_total_ms: u64,
    count: u64,
}

impl Default for Activity {
    fn default() -> Activity {
        Activity {
            op: None,
            cxid: None,
            zxid: Zxid::NONE,
            answered_at: Duration::ZERO,
            latency_last_ms: 0,
            latency_min_ms: 0,
            latency_max_ms: 0,
            latency_total_ms: 0,
            count: 0,
        }
    }
}

impl Activity {
    fn record(&mut self, op: i32, xid: i32, zxid: Zxid, answered_at: Duration, took: Duration) {
        let took_ms = took.as_millis() as u64;
        self.op = Some(op);
        self.cxid = if xid >= 0 { Some(xid) } else { self.cxid };
        (self.zxid, self.answered_at, self.latency_last_ms) = (zxid, answered_at, took_ms);
        self.latency_min_ms = if self.count == 0 { took_ms } else { self.latency_min_ms.min(took_ms) };
        self.latency_max_ms = self.latency_max_ms.max(took_ms);
        self.latency_total_ms += took_ms;
        self.count += 1;
    }

    /// The mean time that an answer took, in whole milliseconds; 0 before the first.
    pub fn latency_avg_ms(&self) -> u64 {
        self.latency_total_ms.checked_div(self.count).unwrap_or(0)
    }
}

/// The tree's digests at some of the transactions that were applied, the oldest first.
#[derive(Default)]
pub(crate) struct DigestLog(VecDeque<(Zxid, u64)>);

impl DigestLog {
    /// The tree has this digest after a transaction; nothing when it has none, or none that is proven.
    pub(crate) fn applied(&mut self, zxid: Zxid, digest: Option<u64>) {
        let Some(digest) = digest.filter(|_| zxid.0 % DIGEST_INTERVAL == 0) else { return };
        if self.0.len() == DIGESTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((zxid, digest));
    }
}

/// When sessions or connections expire: each moment on the elapsed clock with who does then, both ascending.
pub type Expiries<K> = Vec<(Duration, Vec<K>)>;

fn expiries<K: Copy + Ord + Hash>(queue: &ExpiryQueue<K>) -> Expiries<K> {
    queue.buckets().map(|(at, keys)| (at, keys.iter().copied().collect())).collect()
}

/// How many watches of data there are (`wchs`). Of children alone is no word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WatchSummary {
    /// Connections that have one.
    pub connections: usize,
    /// Paths that have one.
    pub paths: usize,
    /// Pairs of both.
    pub total: usize,
}

impl Peer {
    /// A request was answered to its client.
    pub(crate) fn note_answer(&mut self, now: Now, id: ClientId, op: i32, xid: i32, since: Duration) {
        let zxid = self.tree.last_zxid();
        if let Some(client) = self.clients.get_mut(id) {
            client.activity.record(op, xid, zxid, now.elapsed, now.elapsed.saturating_sub(since));
        }
    }

    /// A client said a four-letter word instead of a handshake: it counts as a packet, and no session follows.
    pub fn handle_four_letter_word(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id) {
            (client.received, client.has_said_word) = (client.received + 1, true);
            self.counters.received += 1;
        }
    }

    /// Begins anew to count requests, their latency, and the sizes of answers and proposals (`srst`).
    pub fn reset_statistics(&mut self) {
        (self.counters.received, self.counters.sent, self.counters.latency) = (0, 0, Latency::default());
        (self.measures.client_response_size, self.measures.proposal_size) = (Sizes::default(), Sizes::default());
    }

    /// Begins anew to count what happens on a connection (`crst`).
    pub fn reset_connection_statistics(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id) {
            (client.received, client.sent) = (0, 0);
            client.activity = Activity::default();
        }
    }

    /// Every connection's id, ascending.
    pub fn client_ids(&self) -> Vec<ClientId> {
        self.clients.ids()
    }

    /// The paths on which a connection watches data: by exists, getData and addWatch; in no order, a path that is watched in two ways twice.
    pub fn watched_paths(&self, id: ClientId) -> Vec<Arc<str>> {
        self.watches.data_paths(id)
    }

    /// How many there are; `None` where that takes a look at every connection, for there are watches of addWatch.
    pub fn watch_summary(&self) -> Option<WatchSummary> {
        self.watches.summary()
    }

    /// When the sessions of the ensemble expire, as this server's leader or a standalone server knows it; `None` elsewhere.
    pub fn session_expiries(&self) -> Option<Expiries<SessionId>> {
        (self.office == Some(Role::Leading)).then(|| self.leader.sessions.expiries())
    }

    /// When the sessions expire that only this server knows; `None` when it has none of the kind.
    pub fn local_session_expiries(&self) -> Option<Expiries<SessionId>> {
        self.begins_local_sessions().then(|| expiries(self.local.expiry()))
    }

    /// When the connections expire on which nothing is heard.
    pub fn connection_expiries(&self) -> Expiries<ClientId> {
        expiries(&self.idle)
    }

    /// The tree's digest at every 128th transaction that was applied, of the last 1024, the oldest first.
    pub fn digest_log(&self) -> impl ExactSizeIterator<Item = (Zxid, u64)> {
        self.digest_log.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_does_not_replace_the_xid_of_the_last_request() {
        let mut activity = Activity::default();
        let ms = Duration::from_millis;
        assert_eq!((activity.cxid, activity.zxid, activity.latency_avg_ms()), (None, Zxid::NONE, 0));
        activity.record(1, 4, Zxid(7), ms(100), ms(3));
        activity.record(11, -2, Zxid(9), ms(200), ms(8));
        assert_eq!((activity.op, activity.cxid, activity.zxid), (Some(11), Some(4), Zxid(9)));
        let latency = (activity.latency_last_ms, activity.latency_min_ms, activity.latency_max_ms);
        assert_eq!((latency, activity.latency_avg_ms(), activity.answered_at), ((8, 3, 8), 5, ms(200)));
    }

    #[test]
    fn every_128th_digest_is_remembered_and_the_oldest_forgotten() {
        let mut log = DigestLog::default();
        for zxid in 0..=DIGEST_INTERVAL * DIGESTS_MAX as i64 {
            log.applied(Zxid(zxid), Some(zxid as u64 + 1));
        }
        log.applied(Zxid(DIGEST_INTERVAL * 5000), None);
        assert_eq!((log.0.len(), log.0[0]), (DIGESTS_MAX, (Zxid(128), 129)));
        assert_eq!(log.0.back(), Some(&(Zxid(131_072), 131_073)));
    }
}
