//! What follows from what zab decides: committed transactions are applied, watchers told, clients answered.

use crate::client::{Phase, Slot};
use crate::details::DigestLog;
use crate::session::Owner;
use crate::{ClientId, Effect, LocalWrite, Peer};
use bytes::Bytes;
use ensemble_datatree::{Access, DigestMismatch, Event, EventKind, Loader, Outcome, Walk, acl};
use ensemble_proto::client::{EventType, MultiResult, OpCode, WatcherEvent, reply};
use ensemble_proto::jute::Writer;
use ensemble_proto::quorum::SNAPSHOT_SIGNATURE;
use ensemble_proto::txn::{Txn, TxnRecord};
use ensemble_proto::{Acl, ErrorCode, Now, Zxid};
use ensemble_zab::{ConnId, Effect as Zab, Role, SyncOrigin};

impl Peer {
    /// Carries out what zab wants, until it wants nothing more, and lets clients go on for whom there is room now.
    pub(crate) fn pump(&mut self, now: Now) {
        loop {
            while let Some(effect) = self.zab.poll_effect() {
                if !self.halted {
                    self.carry_out(now, effect);
                }
            }
            if self.halted || !(self.submit_waiting(now) | self.release_stalled(now)) {
                break;
            }
        }
        self.watch_search(now);
        self.resume_readers();
    }

    fn carry_out(&mut self, now: Now, effect: Zab) {
        match effect {
            Zab::Notify { to, notification } => self.effects.push_back(Effect::Notify { to, notification }),
            Zab::Connect { leader, attempt } => self.effects.push_back(Effect::Connect { leader, attempt }),
            Zab::Send { conn, packet } => self.effects.push_back(Effect::Send { conn, packet }),
            Zab::Close { conn } => {
                self.forget_transfer(conn);
                self.effects.push_back(Effect::Close { conn });
            }
            Zab::Persist { ticket, write } => self.effects.push_back(Effect::Persist { ticket, write }),
            Zab::SendSnapshot { conn } => self.send_snapshot(now, conn),
            Zab::ReadLog { conn, after } => self.effects.push_back(Effect::ReadLog { conn, after }),
            Zab::AwaitWritable { conn } => self.effects.push_back(Effect::AwaitWritable { conn }),
            Zab::Deliver { zxid, payload } => self.deliver(now, zxid, &payload),
            Zab::ReceiveSnapshot { conn, zxid } => self.loading = Some((conn, Loader::new(self.seed, zxid))),
            Zab::Install { zxid } => self.install(zxid),
            Zab::Role(role) => self.take_office(now, role),
            Zab::Stopped => self.leave_office(now),
            Zab::Forwarded { learner, request, auth, .. } => match self.office {
                Some(Role::Leading) => self.forwarded(now, learner, &request, auth),
                _ => self.pass_on(now, learner, request, auth),
            },
            Zab::Touched { learner, asked, sessions } => match self.office {
                Some(Role::Leading) => self.learner_answered(now, learner, asked, &sessions),
                _ => sessions.into_iter().for_each(|(session, timeout_ms)| self.zab.touch(session, timeout_ms)),
            },
            Zab::Revalidate { learner, session, timeout_ms } if self.office != Some(Role::Leading) => {
                self.ask_for_observer(learner, session, timeout_ms);
            }
            Zab::Revalidate { learner, session, timeout_ms } => {
                let owner = Owner::Learner(learner);
                let valid = self.take_up(now, session, timeout_ms, owner);
                self.zab.answer_revalidate(learner, session, valid);
            }
            Zab::Revalidated { session, valid } => self.answer_who_asked(now, session, valid),
            Zab::SyncReleased { origin: SyncOrigin::Local(token) } => self.sync_done(now, Some(token)),
            Zab::SyncReleased { origin: SyncOrigin::Learner(_) } => {}
            Zab::SyncAnswered => self.sync_done(now, None),
            Zab::Membership(membership) => {
                self.publish_config();
                self.effects.push_back(Effect::Membership(membership));
            }
            Zab::LearnerLost { learner } => self.leader.sessions.owner_lost(learner, now.elapsed),
        }
    }

    fn send_snapshot(&mut self, now: Now, conn: ConnId) {
        self.tree.begin_snapshot(walk(conn));
        self.streams.insert(conn);
        self.send_slice(now, conn);
    }

    /// Sends the next slice of the snapshot for this learner, if it is sent one.
    pub(crate) fn send_slice(&mut self, now: Now, conn: ConnId) {
        if !self.streams.contains(&conn) {
            return;
        }
        match self.tree.snapshot_slice(walk(conn), self.config.snapshot_slice_bytes) {
            Some(bytes) => self.effects.push_back(Effect::SendBytes { conn, bytes }),
            None => {
                self.end_stream(conn);
                let mut signature = Vec::new();
                signature.string(SNAPSHOT_SIGNATURE);
                self.effects.push_back(Effect::SendBytes { conn, bytes: Bytes::from(signature) });
                self.zab.handle_snapshot_sent(now, conn);
            }
        }
    }

    /// No more of a snapshot is sent or received here.
    pub(crate) fn forget_transfer(&mut self, conn: ConnId) {
        self.end_stream(conn);
        self.loading.take_if(|(from, _)| *from == conn);
    }

    /// No more is sent to this learner of a snapshot.
    fn end_stream(&mut self, conn: ConnId) {
        if self.streams.remove(&conn) {
            self.tree.abort_snapshot(walk(conn));
        }
    }

    fn install(&mut self, zxid: Zxid) {
        match self.incoming.take() {
            Some(tree) => {
                assert_eq!(tree.last_zxid(), zxid, "the snapshot installed is the one that was received");
                self.tree = tree;
                self.digest_log = DigestLog::default();
                self.publish_config();
            }
            None => self.halt(format!("no snapshot was received that could be installed at {zxid}")),
        }
    }

    fn halt(&mut self, reason: String) {
        self.halted = true;
        self.effects.push_back(Effect::Halt { reason });
    }

    /// The office ended: nobody is served, and what was on its way is for the next leader to decide.
    fn leave_office(&mut self, now: Now) {
        self.office = None;
        self.unavailable_since.get_or_insert(now.elapsed);
        self.leader.reset();
        self.give_up_reconfig();
        self.local.clear();
        self.local_writes.clear();
        self.syncs.clear();
        self.revalidations.clear();
        self.paused.clear();
        for id in self.clients.ids() {
            self.close_client(id);
        }
        self.effects.push_back(Effect::Office(None));
    }

    /// Applies a committed transaction: the tree, then the watchers, then the session's end, then the client's answer.
    ///
    /// Whose answer it is tell the session and the xid that the client gave the request. There are clients (kazoo) that count anew on
    /// each connection, and a session that moves here may have a write on its way through the server that it left, under the
    /// same xid as its first one here. If this is the leader, that write was proposed before the session was taken up here, so it was
    /// logged here by then: what was logged when a request was sent answers something else. A learner has waited for it, see
    /// [`Peer::revalidated`].
    ///
    /// Differs from ZooKeeper: which takes the other write's outcome for the answer, and so may acknowledge a write that then fails (seen with 3.9.5).
    fn deliver(&mut self, now: Now, zxid: Zxid, payload: &Bytes) {
        let record = match self.leader.proposed.pop_front() {
            Some(record) => record,
            None => match TxnRecord::decode(payload) {
                Ok(record) => record,
                Err(error) => return self.halt(format!("committed transaction {zxid} cannot be decoded: {error}")),
            },
        };
        assert_eq!(record.header.zxid, zxid, "a transaction is delivered under its own zxid");
        let outcome = self.tree.apply(&record);
        let changes = self.leader.pending.len();
        self.leader.pending.applied(zxid);
        self.measures.outstanding_changes_removed += (changes - self.leader.pending.len()) as u64;
        self.measure_applied(now, &record);
        self.note_reconfigured(zxid);
        self.counters.commits += 1;
        self.digest_log.applied(zxid, self.tree.proven_digest());
        if let Some(mismatch) = &outcome.digest_mismatch {
            self.digest_mismatch(zxid, mismatch);
        }
        let is_late = self.mutants.answer_before_event();
        if !is_late {
            outcome.events.iter().for_each(|event| self.fire(now, event, zxid));
        }
        let ended = outcome.closed_session;
        if let Some(session) = ended {
            self.leader.sessions.remove(session);
            if self.config.local_sessions {
                self.leader.sessions.remember_end(session);
            }
            self.audit_end(session, &outcome);
        }
        let header = &record.header;
        let is_answer = |head: &LocalWrite| {
            (head.session, head.cxid) == (header.session, header.cxid)
                && zxid > head.after
                && (ended.is_none() || head.op == OpCode::CloseSession.code())
        };
        if self.local_writes.front().is_some_and(is_answer)
            && let Some(write) = self.local_writes.pop_front()
        {
            if let Some(asked) = write.asked {
                self.audit_write(*asked, &record, &outcome);
            }
            if let Some(client) = write.client {
                self.measures.sessions_closed += u64::from(ended.is_some() && outcome.error.is_ok());
                self.complete(now, client, &record, &outcome);
            }
        }
        if is_late {
            outcome.events.iter().for_each(|event| self.fire(now, event, zxid));
        }
        if let Some(client) = ended.and_then(|session| self.clients.bound(session)) {
            self.close_client(client);
        }
    }

    /// Differs from ZooKeeper: what a server catches up with before it serves is not measured; it was not meant to be here before.
    fn measure_applied(&mut self, now: Now, record: &TxnRecord) {
        if self.office.is_none() {
            return;
        }
        if let Some(Ok(took_ms)) = now.wall_ms.checked_sub(record.header.time_ms).map(u64::try_from) {
            self.measures.propagation_latency.observe(now.elapsed, took_ms as f64);
        }
        self.measures.write_per_namespace.observe_txn(now.elapsed, &record.txn);
    }

    /// The tree is not what the leader's was, or what the snapshot was said to become. Counted each time, told the first time:
    /// every later transaction differs too.
    fn digest_mismatch(&mut self, zxid: Zxid, mismatch: &DigestMismatch) {
        let DigestMismatch { expected, actual } = mismatch;
        if self.counters.digest_mismatches == 0 {
            tracing::error!(%zxid, "the tree has digest {actual:x}, expected is {expected:x}: this server differs from its leader");
        }
        self.counters.digest_mismatches += 1;
    }

    // ---- watches ----

    fn fire(&mut self, now: Now, event: &Event<'_>, zxid: Zxid) {
        let kind = match event.kind {
            EventKind::Created => EventType::NodeCreated,
            EventKind::DataChanged => EventType::NodeDataChanged,
            EventKind::Deleted => EventType::NodeDeleted,
        };
        let told = self.watches.take_data(&event.path);
        self.notify(now, &told, kind, &event.path, &event.acl, zxid);
        if event.kind == EventKind::Deleted {
            let mut others = self.watches.take_child(&event.path);
            others.retain(|client| !told.contains(client));
            self.notify(now, &others, kind, &event.path, &event.acl, zxid);
        }
        if let Some(acl) = &event.parent_acl {
            let parent = event.parent_path();
            let watchers = self.watches.take_child(parent);
            self.notify(now, &watchers, EventType::NodeChildrenChanged, parent, acl, zxid);
        }
    }

    /// Tells each watcher that may read the znode; the others have used up their watch all the same (CVE-2024-23944).
    fn notify(&mut self, now: Now, watchers: &[ClientId], kind: EventType, path: &str, list: &[Acl], zxid: Zxid) {
        if watchers.is_empty() {
            return;
        }
        let measures = &mut self.measures;
        let told = match kind {
            EventType::NodeCreated => &mut measures.node_created_watch_count,
            EventType::NodeDeleted => &mut measures.node_deleted_watch_count,
            EventType::NodeDataChanged => &mut measures.node_changed_watch_count,
            EventType::NodeChildrenChanged => &mut measures.node_children_watch_count,
        };
        told.observe(now.elapsed, watchers.len() as f64);
        let mut frame = Vec::new();
        WatcherEvent::notify(&mut frame, kind, path, zxid);
        for &id in watchers {
            let Some(client) = self.clients.get_mut(id) else { continue };
            let access = Access { identities: &client.identities, skip_acl: self.config.skip_acl };
            if acl::check(list, Acl::READ, access) {
                client.output.extend_from_slice(&frame);
                self.measures.watch_bytes += frame.len() as u64;
                client.sent += 1;
                self.counters.sent += 1;
                self.announce(id);
            }
        }
    }

    // ---- answers to writes ----

    /// Answers the client whose write this was.
    fn complete(&mut self, now: Now, id: ClientId, record: &TxnRecord, outcome: &Outcome<'_>) {
        if record.txn.op() == OpCode::CreateSession {
            if self.clients.get(id).is_some_and(|client| client.phase == Phase::Resolving) {
                self.measures.sessions_created += 1;
                let began = self.clients.get(id).map_or(now, |client| client.established);
                self.note_answer(now, id, OpCode::CreateSession.code(), 0, began.elapsed);
                self.answer_connect(now, id, Some(record.header.session));
            }
            return;
        }
        let moved = |result: &MultiResult| matches!(result, MultiResult::Error(ErrorCode::SESSION_MOVED));
        if outcome.error == ErrorCode::SESSION_MOVED || outcome.multi.iter().any(moved) {
            return self.close_client(id);
        }
        let refusal = Refusal { is_local: self.local.contains(record.header.session) };
        let Some(client) = self.clients.get_mut(id) else { return };
        let Some(slot) = client.slots.iter_mut().find(|slot| matches!(slot, Slot::InFlight { .. })) else { return };
        let Slot::InFlight { xid, op, since, large_bytes } = *slot else { return };
        assert_eq!(xid, record.header.cxid, "answers to writes come in the order of the writes");
        let mut bytes = Vec::with_capacity(128);
        reply(&mut bytes, xid, record.header.zxid, refusal.code(op, outcome.error), |out| {
            if outcome.error.is_ok() {
                write_body(out, op, record, outcome, refusal);
            }
        });
        *slot = Slot::Done { reply: bytes };
        self.large_bytes -= large_bytes;
        let took = now.elapsed.saturating_sub(since);
        self.counters.latency.record(took);
        self.measures.updatelatency.observe_ms(now.elapsed, took);
        self.note_answer(now, id, op, xid, since);
        self.drain(now, id);
    }
}

fn walk(conn: ConnId) -> Walk {
    Walk(conn.0 + 1)
}

/// Whose refusal a client is told.
#[derive(Clone, Copy)]
struct Refusal {
    /// The session is one that only this server knows. To the leader it is none, so it says that it has expired when the session wants
    /// an ephemeral znode.
    is_local: bool,
}

impl Refusal {
    /// Differs from ZooKeeper: in a multi too, where a client of a follower is told that its living session has expired.
    fn code(self, op: i32, code: ErrorCode) -> ErrorCode {
        use OpCode as O;
        let may_create = matches!(OpCode::try_from(op), Ok(O::Create | O::Create2 | O::Multi));
        match code {
            ErrorCode::SESSION_EXPIRED if self.is_local && may_create => ErrorCode::EPHEMERAL_ON_LOCAL_SESSION,
            code => code,
        }
    }
}

/// What a successful write answers: create its path, create2 path and Stat, setData and setACL the Stat, reconfig the new configuration and
/// the Stat, multi a result for each entry, the others nothing.
fn write_body(out: &mut Vec<u8>, op: i32, record: &TxnRecord, outcome: &Outcome<'_>, refusal: Refusal) {
    if op == OpCode::Multi.code() {
        let told = |result: &MultiResult| match result {
            MultiResult::Error(code) => MultiResult::Error(refusal.code(op, *code)),
            result => result.clone(),
        };
        return match refusal.is_local {
            true => MultiResult::encode_all(&outcome.multi.iter().map(told).collect::<Vec<_>>(), out),
            false => MultiResult::encode_all(&outcome.multi, out),
        };
    }
    if let Some(path) = outcome.path {
        out.string(path);
    }
    if let Txn::Reconfig(set) = &record.txn {
        out.buffer(set.data.as_deref());
    }
    if op != OpCode::Create.code()
        && let Some(stat) = &outcome.stat
    {
        stat.encode(out);
    }
}
