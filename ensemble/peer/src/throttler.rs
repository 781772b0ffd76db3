//! Requests that wait because others are not answered yet (`request_throttle_max_requests`): taken from their connections, and not begun.
//!
//! `globalOutstandingLimit` stops reading from connections that have something unanswered, so that each connection can have one request under way all the same; this
//! limits all of them together. What waits is begun in the order in which it came, as soon as there is room. It is bounded by `globalOutstandingLimit` and one request a
//! connection. A ping never waits, and the client of a request that waits counts as heard.
//!
//! A request that has waited too long can be refused (`throttled_op_wait_time`), or its connection be ended (`request_stale_latency_check`): nothing was done
//! of it. When a connection ends, what it has waiting is dropped, but for a closeSession.
//!
//! Source: `RequestThrottler.java`, `Request.isStale` of Apache ZooKeeper 3.9. Differs from ZooKeeper: there a ping waits too, and its session can end meanwhile;
//! and setWatches can be refused, of which no client library reads the error, so that a client waits for events that nobody will send.

use crate::client::Phase;
use crate::{ClientId, Peer};
use ensemble_proto::client::{OpCode, RequestHeader};
use ensemble_proto::jute::Reader;
use ensemble_proto::{ErrorCode, Now, SessionId};
use std::collections::VecDeque;
use std::time::Duration;

/// How many requests are under way at once, and what becomes of those that wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestThrottle {
    /// Unanswered requests of all clients that keep another one waiting, at least 1 (`request_throttle_max_requests`).
    pub requests_max: usize,
    /// A request that has waited longer than its session's timeout is stale (`request_stale_latency_check`).
    pub has_stale: bool,
    /// A stale request ends its connection (`request_throttle_drop_stale`); else it is begun, and counted.
    pub drops_stale: bool,
    /// A request that has waited longer is answered THROTTLEDOP; `None`: none is (`throttled_op_wait_time`).
    pub wait_max: Option<Duration>,
}

/// A request that waits.
struct Stalled {
    client: ClientId,
    op: i32,
    xid: i32,
    frame: Vec<u8>,
    since: Duration,
}

/// The requests that wait, in the order in which they came.
#[derive(Default)]
pub(crate) struct Throttler {
    stalled: VecDeque<Stalled>,
}

impl Throttler {
    pub(crate) fn len(&self) -> usize {
        self.stalled.len()
    }
}

impl Peer {
    /// A request of an open session, which begins now or waits.
    pub(crate) fn take_in(&mut self, now: Now, id: ClientId, session: SessionId, frame: &[u8]) {
        let Some(throttle) = self.config.admission.request_throttle else {
            return self.request(now, id, session, frame);
        };
        let Ok(RequestHeader { xid, op }) = RequestHeader::decode(&mut Reader::new(frame)) else {
            return self.request(now, id, session, frame);
        };
        let is_free = self.throttler.stalled.is_empty() && self.outstanding < throttle.requests_max;
        if is_free || op == OpCode::Ping.code() {
            self.measures.request_throttle_queue_time_ms.observe_ms(now.elapsed, Duration::ZERO);
            return self.request(now, id, session, frame);
        }
        self.hear(now, id, session);
        if let Some(client) = self.clients.get_mut(id).filter(|client| client.phase == Phase::Open(session)) {
            client.stalled += 1;
            self.measures.request_throttle_wait_count += 1;
            let stalled = Stalled { client: id, op, xid, frame: frame.to_vec(), since: now.elapsed };
            self.throttler.stalled.push_back(stalled);
            self.throttle(id);
        }
    }

    /// Begins what waited, as far as there is room. True when something was done.
    pub(crate) fn release_stalled(&mut self, now: Now) -> bool {
        let Some(throttle) = self.config.admission.request_throttle else { return false };
        let mut done = false;
        while self.outstanding < throttle.requests_max
            && let Some(stalled) = self.throttler.stalled.pop_front()
        {
            done = true;
            self.begin_stalled(now, throttle, stalled);
        }
        done
    }

    fn begin_stalled(&mut self, now: Now, throttle: RequestThrottle, stalled: Stalled) {
        let Stalled { client: id, op, xid, frame, since } = stalled;
        let Some(client) = self.clients.get_mut(id) else { return };
        client.stalled -= 1;
        let Phase::Open(session) = client.phase else { return };
        let waited = now.elapsed.saturating_sub(since);
        let timeout = Duration::from_millis(client.timeout_ms as u64);
        self.measures.request_throttle_queue_time_ms.observe_ms(now.elapsed, waited);
        if throttle.has_stale && waited > timeout && op != OpCode::CloseSession.code() {
            if throttle.drops_stale {
                self.measures.stale_requests_dropped += 1;
                return self.close_client(id);
            }
            self.measures.stale_requests += 1;
        }
        if throttle.wait_max.is_some_and(|most| waited > most) && is_refusable(op) {
            self.measures.throttled_ops += 1;
            return self.answer_error(now, id, xid, ErrorCode::THROTTLED_OP);
        }
        self.request(now, id, session, &frame);
    }

    /// The client has hung up: of what it has waiting only the end of its session is begun.
    pub(crate) fn begin_stalled_close(&mut self, now: Now, id: ClientId) {
        let Some(client) = self.clients.get(id).filter(|client| client.stalled > 0) else { return };
        let Phase::Open(session) = client.phase else { return };
        let closing = |stalled: &&Stalled| stalled.client == id && stalled.op == OpCode::CloseSession.code();
        if let Some(frame) = self.throttler.stalled.iter().find(closing).map(|stalled| stalled.frame.clone()) {
            self.request(now, id, session, &frame);
        }
    }

    /// Drops what a connection has waiting.
    pub(crate) fn drop_stalled(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id).filter(|client| client.stalled > 0) else { return };
        self.measures.stale_requests_dropped += std::mem::take(&mut client.stalled) as u64;
        self.throttler.stalled.retain(|stalled| stalled.client != id);
    }
}

/// Whether somebody reads the error. What a client library sends by itself when it has connected, and the end of a session, must be done.
fn is_refusable(op: i32) -> bool {
    use OpCode as O;
    !matches!(OpCode::try_from(op), Ok(O::CloseSession | O::SetWatches | O::SetWatches2 | O::Auth))
}
