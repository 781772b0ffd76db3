//! What only a leader does: turn requests into transactions, in one order, and end the sessions whose clients are gone.
//!
//! A request is checked against the tree *and* everything proposed and not applied yet (`Pending`). A request that fails its
//! checks becomes an error transaction: it has a zxid and a place in the order like any other, which is also how the
//! server that the client is connected to learns of the failure.

use crate::client::Phase;
use crate::session::{Owner, Sessions};
use crate::{CLIENTS, Effect, Peer, Reaping};
use bytes::Bytes;
use ensemble_datatree::prep::{self, Request};
use ensemble_datatree::{Access, Pending};
use ensemble_proto::client::OpCode;
use ensemble_proto::jute::Writer;
use ensemble_proto::quorum::{AuthId, ForwardedRequest};
use ensemble_proto::txn::{Txn, TxnRecord};
use ensemble_proto::{ErrorCode, Now, SessionId};
use ensemble_zab::{ConnId, Role, SyncOrigin};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// What a leader keeps while it is in office.
pub(crate) struct Leader {
    pub(crate) sessions: Sessions,
    /// The changes of proposals that are not applied yet.
    pub(crate) pending: Pending,
    /// The records of those proposals, ascending: they need not be decoded again at commit.
    pub(crate) proposed: VecDeque<TxnRecord>,
    /// Requests that came while no more could be outstanding. Bounded by what clients and learners may have in flight.
    pub(crate) waiting: VecDeque<Waiting>,
    /// When to look for empty containers next.
    pub(crate) next_reaping: Duration,
    tick: Duration,
    sync_limit: u32,
    seed: u64,
}

impl Leader {
    /// `sync_limit` is in ticks.
    pub(crate) fn new(tick: Duration, sync_limit: u32, seed: u64) -> Leader {
        // A learner that says nothing is closed within syncLimit; one tick more, and it is the connection that is looked at first.
        let patience = tick * (sync_limit + 1);
        Leader {
            sessions: Sessions::new(tick, patience, seed),
            pending: Pending::new(seed),
            proposed: VecDeque::new(),
            waiting: VecDeque::new(),
            next_reaping: Duration::ZERO,
            tick,
            sync_limit,
            seed,
        }
    }

    /// Forgets everything: an office ended or begins.
    pub(crate) fn reset(&mut self) {
        *self = Leader::new(self.tick, self.sync_limit, self.seed);
    }
}

/// What waits at the leader until zab takes more writes, in the order in which it came.
pub(crate) enum Waiting {
    /// And since when.
    Write(Submission, Duration),
    Sync(SyncOrigin),
}

/// A write on its way into the order.
pub(crate) struct Submission {
    /// Who speaks for the session; `None` is the leader itself: ending a session or a container, or asked by its owner for a
    /// reconfiguration.
    pub(crate) from: Option<Owner>,
    pub(crate) session: SessionId,
    pub(crate) cxid: i32,
    /// The opcode as it came: one that is no write becomes an error transaction.
    pub(crate) op: i32,
    pub(crate) body: Bytes,
    pub(crate) identities: Arc<[AuthId]>,
}

impl Peer {
    /// Puts a write into the order, or has it wait until zab takes more.
    pub(crate) fn submit(&mut self, now: Now, submission: Submission) {
        let measures = &mut self.measures;
        measures.prep_processor_request_queued += 1;
        measures.prep_processor_queue_size.observe(now.elapsed, self.leader.waiting.len() as f64);
        if self.leader.waiting.is_empty() && self.zab.can_propose() {
            self.propose(now, &submission, now.elapsed);
        } else {
            self.leader.waiting.push_back(Waiting::Write(submission, now.elapsed));
        }
    }

    /// Asks for a sync, after every write that waits: it must cover them.
    pub(crate) fn sync_after_waiting(&mut self, now: Now, origin: SyncOrigin) {
        if self.leader.waiting.is_empty() {
            self.zab.sync(now, origin);
        } else {
            self.leader.waiting.push_back(Waiting::Sync(origin));
        }
    }

    /// Proposes what waited, as far as zab takes it, and asks for the syncs between. True when something was done.
    pub(crate) fn submit_waiting(&mut self, now: Now) -> bool {
        let mut done = false;
        while let Some(waiting) = self.leader.waiting.pop_front() {
            match waiting {
                Waiting::Sync(origin) => drop(self.zab.sync(now, origin)),
                Waiting::Write(submission, since) if self.zab.can_propose() => self.propose(now, &submission, since),
                waiting @ Waiting::Write(..) => {
                    self.leader.waiting.push_front(waiting);
                    break;
                }
            }
            done = true;
        }
        done
    }

    fn propose(&mut self, now: Now, submission: &Submission, since: Duration) {
        let waited = now.elapsed.saturating_sub(since);
        self.measures.prep_processor_queue_time_ms.observe_ms(now.elapsed, waited);
        let changes = self.leader.pending.len();
        let zxid = self.zab.next_zxid();
        let Submission { session, cxid, .. } = *submission;
        let mut standing = self.standing(submission);
        let (mut configuration, mut refused) = (None, None);
        if submission.op == OpCode::Reconfig.code() {
            match self.next_configuration(zxid, &submission.body, standing) {
                Ok(next) => configuration = Some(next.to_string()),
                Err(error) => {
                    standing = Err(error.code());
                    refused = Some(error);
                }
            }
        }
        let request = Request {
            session,
            cxid,
            op: submission.op,
            body: &submission.body,
            access: Access { identities: &submission.identities, skip_acl: self.config.skip_acl },
            no_ephemerals: standing.unwrap_or(None),
            extended_types: self.config.extended_types,
            enforce_quota: self.config.enforce_quota,
        };
        let pending = &mut self.leader.pending;
        let record = match standing {
            Ok(_) if let Some(text) = configuration => {
                prep::reconfig(&self.tree, pending, now.wall_ms, zxid, &request, text)
            }
            Ok(_) => prep::prep(&self.tree, pending, now.wall_ms, zxid, &request),
            Err(code) => prep::error(&self.tree, pending, now.wall_ms, zxid, &request, code),
        };
        if let Some(path) = self.leader.pending.take_over_quota() {
            self.measures.quota_exceeded_error_per_namespace.count(&path);
        }
        let pending = &mut self.leader.pending;
        let (record, bytes) = match record.encode() {
            bytes if bytes.len() > self.config.record_bytes_max => {
                let (op, length) = (submission.op, bytes.len());
                tracing::info!(target: CLIENTS, %session, op, length, "refusing a request whose record no log may hold");
                let record = prep::shorten(pending, record);
                let bytes = record.encode();
                (record, bytes)
            }
            bytes => (record, bytes),
        };
        self.track(now, submission, &record);
        self.note_reconfig(submission, &record, refused);
        self.counters.proposals += 1;
        self.measures.proposal_size.observe(bytes.len());
        let queued = self.leader.pending.len().saturating_sub(changes);
        self.measures.outstanding_changes_queued += queued as u64;
        self.zab.propose(now, zxid, bytes);
        self.leader.proposed.push_back(record);
    }

    /// What an ephemeral znode of the session is refused with, if it may write at all (`LeaderSessionTracker.checkSession`).
    fn standing(&mut self, submission: &Submission) -> Result<Option<ErrorCode>, ErrorCode> {
        let session = submission.session;
        let Some(from) = submission.from.filter(|_| submission.op != OpCode::CreateSession.code()) else {
            return Ok(None);
        };
        if submission.op == OpCode::DeleteContainer.code() {
            // Differs from ZooKeeper: clients cannot have containers deleted without rights.
            return Err(ErrorCode::UNIMPLEMENTED);
        }
        match self.leader.sessions.check(session, from) {
            Ok(()) => Ok(None),
            Err(ErrorCode::SESSION_MOVED) if self.mutants.moved_session_writes() => Ok(None),
            Err(ErrorCode::SESSION_EXPIRED) if self.mutants.zkb_25() => Ok(None),
            Err(ErrorCode::SESSION_EXPIRED) if self.is_local(session, from) => Ok(Some(match from {
                Owner::Local => ErrorCode::EPHEMERAL_ON_LOCAL_SESSION,
                Owner::Learner(_) => ErrorCode::SESSION_EXPIRED,
            })),
            Err(code) => Err(code),
        }
    }

    /// Whether a session of which no transaction tells is a local one: of this server, or, as far as one can know, of a learner.
    ///
    /// Differs from ZooKeeper: which lets the late writes of a session pass that has ended on its leader's watch.
    fn is_local(&self, session: SessionId, from: Owner) -> bool {
        match from {
            Owner::Local => self.local.contains(session),
            Owner::Learner(_) => {
                self.config.local_sessions
                    && self.leader.sessions.is_unheard_of(session)
                    && session.server() != self.config.zab.id.0 as u8
            }
        }
    }

    /// Sessions begin and end for the tracker when they are proposed, not when they are applied.
    fn track(&mut self, now: Now, submission: &Submission, record: &TxnRecord) {
        match record.txn {
            Txn::CreateSession { timeout_ms } => {
                self.leader.sessions.track(submission.session, timeout_ms, submission.from, now.elapsed);
            }
            Txn::CloseSession { .. } => self.leader.sessions.closing(submission.session),
            _ => {}
        }
    }

    /// This server took office: every session starts afresh.
    pub(crate) fn take_office(&mut self, now: Now, role: Role) {
        self.leader.reset();
        // Received, and not needed: this server's log went further.
        self.incoming = None;
        self.office = Some(role);
        if let Some(since) = self.unavailable_since.take() {
            let unavailable = now.elapsed.saturating_sub(since);
            self.measures.unavailable_time.observe_ms(now.elapsed, unavailable);
            if role == Role::Leading {
                self.measures.leader_unavailable_time.observe_ms(now.elapsed, unavailable);
            }
        }
        if role == Role::Leading {
            self.leader.next_reaping = now.elapsed + self.config.reaping.interval;
            let heard = if self.mutants.clocks_do_not_restart() { Duration::ZERO } else { now.elapsed };
            if self.mutants.unheard_learner() {
                self.leader.sessions.lose_patience();
            }
            for (&session, &timeout_ms) in self.tree.sessions() {
                self.leader.sessions.track(session, timeout_ms, None, heard);
            }
        }
        self.effects.push_back(Effect::Office(Some(role)));
    }

    /// Called more than half a tick too late, this server has stood still (a paused process or machine): what its clients and
    /// learners have sent waits in its sockets. They get a tick to be heard before anybody is said to be silent.
    ///
    /// Differs from ZooKeeper: whose leader ends sessions first and reads afterwards.
    pub(crate) fn notice_standstill(&mut self, now: Now) {
        if now.elapsed > self.deadline() + self.config.zab.tick / 2 {
            self.no_expiry_before = now.elapsed + self.config.zab.tick;
        }
    }

    /// Ends every session whose client has been silent for too long.
    pub(crate) fn expire(&mut self, now: Now) {
        if now.elapsed < self.no_expiry_before {
            return;
        }
        self.speak_for_paused(now);
        for client in self.idle.expired(now.elapsed) {
            let is_sessionless = self.clients.get(client).is_some_and(|client| client.phase == Phase::New);
            self.measures.sessionless_connections_expired += u64::from(is_sessionless);
            self.close_client(client);
        }
        self.expire_local_sessions(now);
        self.end_silent_sessions(now);
    }

    /// A learner has answered the PING of `asked`. What it has not heard of until then is silent.
    pub(crate) fn learner_answered(&mut self, now: Now, learner: ConnId, asked: Duration, heard: &[(SessionId, i32)]) {
        for (session, timeout_ms) in heard {
            self.leader.sessions.reported(*session, *timeout_ms, Owner::Learner(learner), now.elapsed);
        }
        // One that is full may leave sessions for the next.
        if heard.len() < ensemble_zab::TOUCHED_MAX {
            self.leader.sessions.answered(learner, asked);
            self.end_silent_sessions(now);
        }
    }

    fn end_silent_sessions(&mut self, now: Now) {
        if self.office != Some(Role::Leading) || now.elapsed < self.no_expiry_before {
            return;
        }
        for session in self.leader.sessions.expired(now.elapsed) {
            tracing::info!(target: CLIENTS, %session, "session expired");
            self.counters.sessions_expired += 1;
            self.leader.sessions.closing(session);
            self.submit(
                now,
                Submission {
                    from: None,
                    session,
                    cxid: 0,
                    op: OpCode::CloseSession.code(),
                    body: Bytes::new(),
                    identities: Arc::new([]),
                },
            );
        }
    }

    /// Asks for the end of container znodes that are empty and of TTL znodes that are too old.
    pub(crate) fn reap(&mut self, now: Now) {
        if self.office != Some(Role::Leading) || now.elapsed < self.leader.next_reaping {
            return;
        }
        let Reaping { interval, count_max, never_used_max } = self.config.reaping;
        self.leader.next_reaping = now.elapsed + interval;
        for path in self.tree.reapable(now.wall_ms, never_used_max, count_max) {
            tracing::debug!(path, "deleting an empty container");
            let mut body = Vec::new();
            body.string(&path);
            self.submit(
                now,
                Submission {
                    from: None,
                    session: SessionId(0),
                    cxid: 0,
                    op: OpCode::DeleteContainer.code(),
                    body: body.into(),
                    identities: Arc::new([]),
                },
            );
        }
    }

    /// A REQUEST from a learner. One that cannot be read ends the connection: the learner is not to be trusted.
    pub(crate) fn forwarded(&mut self, now: Now, learner: ConnId, request: &Bytes, auth: Vec<AuthId>) {
        match ForwardedRequest::decode(request) {
            Ok(request) if request.op == OpCode::Sync.code() => {
                self.sync_after_waiting(now, SyncOrigin::Learner(learner));
            }
            Ok(ForwardedRequest { session, cxid, op, body }) => {
                self.leader.sessions.touch(session, None, now.elapsed);
                let from = Some(Owner::Learner(learner));
                self.submit(now, Submission { from, session, cxid, op, body, identities: auth.into() });
            }
            Err(error) => {
                tracing::debug!(%error, "request from a learner does not decode");
                self.effects.push_back(Effect::Close { conn: learner });
                self.zab.handle_closed(now, learner);
            }
        }
    }
}
