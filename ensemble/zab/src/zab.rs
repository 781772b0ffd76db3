//! [`Zab`]: one server of the ensemble as a value. Routes inputs to the role it is in, and changes roles.

use crate::config::{Config, History, HistoryError};
use crate::core::Core;
use crate::effect::{ConnId, Effect, LearnerStatus, Role, SyncOrigin, ZabState};
use crate::following::Following;
use crate::leading::Leading;
use crate::looking::{Decision, Election};
use crate::measures::Measures;
use crate::reconfig::ReconfigRefusal;
use crate::responder;
use crate::transfer::TransferRefusal;
use bytes::Bytes;
use ensemble_proto::durable::{LogSlice, Ticket};
use ensemble_proto::membership::Membership;
use ensemble_proto::quorum::{AuthId, Notification, QuorumPacket, ServerState};
use ensemble_proto::{Epoch, Now, ServerId, SessionId, Zxid};
use std::time::Duration;

/// One server's part in atomic broadcast.
///
/// Methods are getters, `handle_*` (something happened), requests of the owner, and [`Zab::poll_effect`]. After every call
/// that changes something, drain the effects and look at [`Zab::deadline`] again.
#[derive(Debug)]
pub struct Zab {
    core: Core,
    state: State,
}

#[derive(Debug)]
enum State {
    Looking(Election),
    Following(Following),
    Leading(Leading),
}

/// What an input means for the role.
#[derive(Debug)]
#[must_use]
pub(crate) enum Verdict {
    /// Go on.
    Stay,
    /// The role is over, and why: look for a leader.
    Look(&'static str),
    /// The role is over: take the part that the active configuration gives, behind this leader or as this leader, without an election.
    Turn(ServerId),
}

impl Zab {
    /// A server that starts with what its disk holds.
    ///
    /// # Errors
    /// When it must not take part with such a disk.
    pub fn new(config: Config, history: History, now: Now, seed: u64) -> Result<Zab, HistoryError> {
        if !config.standalone && !config.reconfig && !config.membership.servers.contains_key(&config.id) {
            return Err(HistoryError::NotAMember(config.id));
        }
        history.validate(config.standalone)?;
        let complete = history.complete;
        let mut core = Core::new(config, history, now.elapsed, seed);
        core.deliver_to(complete);
        if core.config.standalone {
            let leading = Leading::standalone(&mut core);
            return Ok(Zab { core, state: State::Leading(leading) });
        }
        let (election, decision) = Election::begin(&mut core);
        let mut zab = Zab { core, state: State::Looking(election) };
        zab.decided(decision);
        Ok(zab)
    }

    // ---- getters ----

    /// What this server is, whether it serves yet or not.
    pub fn role(&self) -> Role {
        match &self.state {
            State::Looking(_) => Role::Looking,
            State::Following(following) => following.role(),
            State::Leading(_) => Role::Leading,
        }
    }

    /// How far its term has come.
    pub fn zab_state(&self) -> ZabState {
        match &self.state {
            State::Looking(_) => ZabState::Election,
            State::Following(following) => following.zab_state(),
            State::Leading(leading) => leading.zab_state(),
        }
    }

    /// The leader it follows, or itself.
    pub fn leader(&self) -> Option<ServerId> {
        match self.role() {
            Role::Looking => None,
            Role::Leading => Some(self.core.id()),
            Role::Following { leader } | Role::Observing { leader } => Some(leader),
        }
    }

    /// The epoch whose initial history it holds (`currentEpoch`).
    pub fn epoch(&self) -> Epoch {
        self.core.current_epoch
    }

    /// The epoch it has promised (`acceptedEpoch`).
    pub fn accepted_epoch(&self) -> Epoch {
        self.core.accepted_epoch
    }

    /// The position it votes with: its last logged record; [`Zxid::NONE`] when its store may not vote.
    pub fn last_logged(&self) -> Zxid {
        self.core.position()
    }

    /// The last record it knows to be committed.
    pub fn last_committed(&self) -> Zxid {
        match &self.state {
            State::Looking(_) => self.core.delivered,
            State::Following(following) if following.zab_state() == ZabState::Broadcast => following.committed(),
            State::Following(_) => self.core.delivered,
            State::Leading(leading) => leading.committed().max(self.core.delivered),
        }
    }

    /// The last record it has delivered: the tree's position.
    pub fn last_delivered(&self) -> Zxid {
        self.core.delivered
    }

    /// How many committed records it keeps to bring learners up to date, beside those that follow a snapshot on its way.
    pub fn committed_log_len(&self) -> usize {
        self.core.committed_log.len()
    }

    /// The ensemble: the active configuration.
    pub fn membership(&self) -> &Membership {
        &self.core.config.membership
    }

    /// The configuration that is proposed, logged here and not known to be committed.
    pub fn pending_membership(&self) -> Option<&Membership> {
        self.core.pending.as_ref()
    }

    /// Whether a reconfiguration to this membership may be proposed now, as [`Zab::propose`] does with any transaction. Its payload holds
    /// the configuration ([`ensemble_proto::reconfig`]), of the version that is its zxid.
    ///
    /// # Errors
    /// Why not.
    pub fn can_reconfigure(&self, next: &Membership) -> Result<(), ReconfigRefusal> {
        match &self.state {
            State::Leading(leading) => leading.can_reconfigure(&self.core, next),
            State::Looking(_) | State::Following(_) => Err(ReconfigRefusal::NotLeading),
        }
    }

    /// The learners that have said who they are: those that follow this leader, or the observers of this follower.
    pub fn learners(&self) -> impl Iterator<Item = LearnerStatus> + '_ {
        let (leading, observers) = match &self.state {
            State::Leading(leading) => (Some(leading), None),
            State::Following(following) => (None, following.observers.as_ref()),
            State::Looking(_) => (None, None),
        };
        let observers = observers.into_iter().flat_map(|observers| observers.learners(&self.core));
        leading.into_iter().flat_map(|leading| leading.learners(&self.core)).chain(observers)
    }

    /// What it has counted and measured since it started.
    pub fn measures(&self) -> &Measures {
        &self.core.measures
    }

    // ---- inputs ----

    /// Another server told its vote.
    pub fn handle_notification(&mut self, now: Now, from: ServerId, notification: Notification) {
        self.at(now);
        if from == self.core.id() {
            return;
        }
        self.adopt(&notification);
        let state = self.server_state();
        if !responder::answer(&mut self.core, from, &notification, state) {
            return;
        }
        match &mut self.state {
            State::Looking(election) => {
                let decision = election.handle_notification(&mut self.core, from, &notification);
                self.decided(decision);
            }
            State::Following(_) => {}
            State::Leading(leading) if notification.state == ServerState::Looking => {
                let verdict = leading.handle_looking_voter(&mut self.core, from, &notification);
                self.judge(verdict);
            }
            State::Leading(_) => {}
        }
    }

    /// The election connection to a server is new: it hears our vote again.
    pub fn handle_election_link(&mut self, now: Now, server: ServerId) {
        self.at(now);
        self.core.unlinked.remove(&server);
        self.core.answers.forget(server);
        if let State::Looking(election) = &self.state {
            election.handle_link(&mut self.core, server);
        }
    }

    /// The election connection to a server has ended, and no other has taken its place.
    pub fn handle_election_link_lost(&mut self, now: Now, server: ServerId) {
        self.at(now);
        self.core.unlinked.insert(server);
        self.core.answers.forget(server);
        match &mut self.state {
            State::Looking(election) => {
                let decision = election.handle_link_lost(&mut self.core, server);
                self.decided(decision);
            }
            State::Leading(leading) => {
                let verdict = leading.handle_link_lost(&self.core);
                self.judge(verdict);
            }
            State::Following(_) => {}
        }
    }

    /// Somebody connected to our quorum port. Closed at once unless leading.
    pub fn handle_learner_accepted(&mut self, now: Now, conn: ConnId) {
        self.at(now);
        match &mut self.state {
            State::Leading(leading) => leading.handle_accepted(&mut self.core, conn),
            State::Looking(_) | State::Following(_) => self.core.close(conn, "not a leader"),
        }
    }

    /// An observer connected to our observer master's port. Closed at once unless following and up to date.
    pub fn handle_observer_accepted(&mut self, now: Now, conn: ConnId) {
        self.at(now);
        match &mut self.state {
            State::Following(Following { observers: Some(observers), .. }) => {
                observers.handle_accepted(&mut self.core, conn);
            }
            State::Looking(_) | State::Following(_) | State::Leading(_) => self.core.close(conn, "not following"),
        }
    }

    /// [`Effect::Connect`] succeeded.
    pub fn handle_leader_connected(&mut self, now: Now, attempt: u64, conn: ConnId) {
        self.at(now);
        match &mut self.state {
            State::Following(following) => following.handle_connected(&mut self.core, attempt, conn),
            State::Looking(_) | State::Leading(_) => self.core.close(conn, "not following"),
        }
    }

    /// [`Effect::Connect`] failed.
    pub fn handle_leader_unreachable(&mut self, now: Now, attempt: u64) {
        self.at(now);
        if let State::Following(following) = &mut self.state {
            let verdict = following.handle_unreachable(&mut self.core, attempt);
            self.judge(verdict);
        }
    }

    /// A packet arrived. Packets of connections that are closed are dropped.
    pub fn handle_packet(&mut self, now: Now, conn: ConnId, packet: QuorumPacket) {
        self.at(now);
        tracing::trace!(conn = conn.0, kind = ?packet.kind, zxid = %packet.zxid, "packet");
        match &mut self.state {
            State::Following(following) if following.conn() == Some(conn) => {
                let verdict = following.handle_packet(&mut self.core, conn, packet);
                self.judge(verdict);
            }
            State::Leading(leading) => {
                let verdict = leading.handle_packet(&mut self.core, conn, packet);
                self.judge(verdict);
            }
            State::Following(following) => {
                if let Some((observers, committed)) = following.observers_and_committed() {
                    observers.handle_packet(&mut self.core, conn, committed, packet);
                }
            }
            State::Looking(_) => {}
        }
    }

    /// A part of a packet or snapshot arrived, or the other side took a part of what was waiting for it: it is alive, though
    /// nothing is complete yet.
    pub fn handle_progress(&mut self, now: Now, conn: ConnId) {
        self.at(now);
        match &mut self.state {
            State::Following(following) if following.conn() == Some(conn) => following.handle_progress(&self.core),
            State::Leading(leading) => leading.handle_progress(&self.core, conn),
            State::Following(Following { observers: Some(observers), .. }) => {
                observers.handle_progress(&self.core, conn)
            }
            State::Looking(_) | State::Following(_) => {}
        }
    }

    /// A part of the snapshot after SNAP arrived: the bytes up to the terminating "/" in any number of parts.
    pub fn handle_snapshot_part(&mut self, now: Now, conn: ConnId, bytes: Bytes) {
        self.at(now);
        if let State::Following(following) = &mut self.state
            && following.conn() == Some(conn)
        {
            let verdict = following.handle_snapshot_part(&mut self.core, bytes);
            self.judge(verdict);
        }
    }

    /// The snapshot after SNAP arrived, whole, its signature checked, and it is a tree. `configuration` is what its state holds, if that
    /// can be read.
    pub fn handle_snapshot_end(&mut self, now: Now, conn: ConnId, configuration: Option<Membership>) {
        self.at(now);
        if let State::Following(following) = &mut self.state
            && following.conn() == Some(conn)
        {
            let verdict = following.handle_snapshot_end(&mut self.core, configuration);
            self.judge(verdict);
        }
    }

    /// Everything of the snapshot that [`Effect::SendSnapshot`] asked for has been handed over.
    pub fn handle_snapshot_sent(&mut self, now: Now, conn: ConnId) {
        self.at(now);
        match &mut self.state {
            State::Leading(leading) => leading.handle_snapshot_sent(&mut self.core, conn),
            State::Following(following) => {
                if let Some((observers, committed)) = following.observers_and_committed() {
                    observers.handle_snapshot_sent(&mut self.core, conn, committed);
                }
            }
            State::Looking(_) => {}
        }
    }

    /// Leader, or master of observers: a part of the log, as [`Effect::ReadLog`] asked; `None` when the log does not go back so far, or is too long to be sent.
    pub fn handle_log(&mut self, now: Now, conn: ConnId, slice: Option<LogSlice>) {
        self.at(now);
        match &mut self.state {
            State::Leading(leading) => leading.handle_log(&mut self.core, conn, slice),
            State::Following(following) => {
                if let Some((observers, committed)) = following.observers_and_committed() {
                    observers.handle_log(&mut self.core, conn, slice, committed);
                }
            }
            State::Looking(_) => {}
        }
    }

    /// The same: [`Effect::AwaitWritable`] has come true.
    pub fn handle_writable(&mut self, now: Now, conn: ConnId) {
        self.at(now);
        match &mut self.state {
            State::Leading(leading) => leading.handle_writable(&mut self.core, conn),
            State::Following(Following { observers: Some(observers), .. }) => {
                observers.handle_writable(&mut self.core, conn);
            }
            State::Looking(_) | State::Following(_) => {}
        }
    }

    /// A quorum connection ended. Reporting one that we closed is allowed and changes nothing.
    pub fn handle_closed(&mut self, now: Now, conn: ConnId) {
        self.at(now);
        match &mut self.state {
            State::Following(following) if following.conn() == Some(conn) => {
                let verdict = following.handle_closed(&mut self.core);
                self.judge(verdict);
            }
            State::Leading(leading) => {
                leading.handle_closed(&mut self.core, conn);
                let verdict = leading.advance(&mut self.core);
                self.judge(verdict);
            }
            State::Following(Following { observers: Some(observers), .. }) => {
                observers.handle_closed(&mut self.core, conn);
            }
            State::Looking(_) | State::Following(_) => {}
        }
    }

    /// Every write up to `ticket` is durable.
    ///
    /// # Panics
    /// When the ticket was never issued.
    pub fn handle_persisted(&mut self, now: Now, ticket: Ticket) {
        self.at(now);
        let before = self.core.durable;
        self.core.handle_persisted(ticket);
        match &mut self.state {
            State::Looking(election) => {
                let decision = election.settle(&mut self.core);
                self.decided(decision);
            }
            State::Following(following) => {
                following.measure_durable(&mut self.core, before);
                if let Some(conn) = following.conn() {
                    let verdict = following.handle_persisted(&mut self.core, conn);
                    self.judge(verdict);
                }
            }
            State::Leading(leading) => {
                leading.measure_durable(&mut self.core, before);
                let verdict = leading.advance(&mut self.core);
                self.judge(verdict);
            }
        }
    }

    /// [`Zab::deadline`] has come. Called earlier it changes nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        self.at(now);
        match &mut self.state {
            State::Looking(election) => {
                let decision = election.handle_timeout(&mut self.core);
                self.decided(decision);
            }
            State::Following(following) => {
                let verdict = following.handle_timeout(&mut self.core);
                self.judge(verdict);
            }
            State::Leading(leading) => {
                let verdict = leading.handle_timeout(&mut self.core);
                self.judge(verdict);
            }
        }
    }

    // ---- requests ----

    /// The zxid that the next proposal must have; [`Zxid::NONE`] unless leading.
    pub fn next_zxid(&self) -> Zxid {
        match &self.state {
            State::Leading(leading) => leading.next_zxid(&self.core),
            State::Looking(_) | State::Following(_) => Zxid::NONE,
        }
    }

    /// Whether a proposal would be taken: leading, established, not too many outstanding, zxids left.
    pub fn can_propose(&self) -> bool {
        matches!(&self.state, State::Leading(leading) if leading.can_propose(&self.core))
    }

    /// Puts a transaction into the order. False, and nothing done, unless [`Zab::can_propose`].
    ///
    /// # Panics
    /// When `zxid` is not [`Zab::next_zxid`], or it is a reconfiguration while another one is pending ([`Zab::can_reconfigure`]).
    pub fn propose(&mut self, now: Now, zxid: Zxid, payload: Bytes) -> bool {
        self.at(now);
        let can = self.can_propose();
        if let State::Leading(leading) = &mut self.state
            && can
        {
            leading.propose(&mut self.core, zxid, payload);
        }
        can
    }

    /// The follower that would be the best to hand the office over to; `None` unless leading with one in sync.
    pub fn best_successor(&self) -> Option<ServerId> {
        match &self.state {
            State::Leading(leading) => leading.best_successor(&self.core),
            State::Looking(_) | State::Following(_) => None,
        }
    }

    /// To whom the office is being handed over. It is over when this server does not lead any more, or given up when it still does.
    pub fn transferring_to(&self) -> Option<ServerId> {
        match &self.state {
            State::Leading(leading) => leading.transfer.as_ref().map(|transfer| transfer.to),
            State::Looking(_) | State::Following(_) => None,
        }
    }

    /// Leader: hands the office over to a follower, as soon as everything proposed is committed and on that follower's disk, within a
    /// tick. Until then nothing is proposed. `payload` is a transaction that changes nothing, with the zxid
    /// [`Zab::next_zxid`]: the last of this leader, and known to the successor alone.
    ///
    /// # Errors
    /// When it cannot be; nothing has happened then.
    pub fn transfer(&mut self, now: Now, to: ServerId, payload: Bytes) -> Result<(), TransferRefusal> {
        self.at(now);
        let State::Leading(leading) = &mut self.state else { return Err(TransferRefusal::NotLeading) };
        leading.can_transfer(&self.core, to)?;
        let verdict = leading.begin_transfer(&mut self.core, to, payload);
        self.judge(verdict);
        Ok(())
    }

    /// This server is about to stop. A term that it has may end as it would; it takes part in no election after it, whose leader would
    /// have to do without it at once: it tells nobody a vote, and hears none.
    pub fn retire(&mut self, now: Now) {
        self.at(now);
        self.core.is_retired = true;
        if let State::Looking(_) = self.state {
            let (election, decision) = Election::begin(&mut self.core);
            self.state = State::Looking(election);
            self.decided(decision);
        }
    }

    /// Learner: sends a client's request ([`ensemble_proto::quorum::ForwardedRequest`]) to the leader. False, and nothing
    /// done, unless serving behind one: then [`Effect::Stopped`] is on its way.
    pub fn forward(&mut self, now: Now, request: Bytes, auth: Vec<AuthId>) -> bool {
        self.at(now);
        match &mut self.state {
            State::Following(following) => following.forward(&mut self.core, request, auth),
            State::Looking(_) | State::Leading(_) => false,
        }
    }

    /// Learner: asks the leader whether a session may be served here; [`Effect::Revalidated`] answers. False as
    /// [`Zab::forward`].
    pub fn revalidate(&mut self, session: SessionId, timeout_ms: i32) -> bool {
        match &mut self.state {
            State::Following(following) => following.revalidate(&mut self.core, session, timeout_ms),
            State::Looking(_) | State::Leading(_) => false,
        }
    }

    /// Answers [`Effect::Revalidate`]. Nothing is done if the learner is gone.
    pub fn answer_revalidate(&mut self, conn: ConnId, session: SessionId, valid: bool) {
        match &mut self.state {
            State::Leading(leading) => leading.answer_revalidate(&mut self.core, conn, session, valid),
            State::Following(Following { observers: Some(observers), .. }) => {
                observers.answer_revalidate(&mut self.core, conn, session, valid);
            }
            State::Looking(_) | State::Following(_) => {}
        }
    }

    /// Follower: a sync that was forwarded for one of its observers is complete. Nothing is done if the observer is gone.
    pub fn answer_sync(&mut self, conn: ConnId) {
        if let State::Following(Following { observers: Some(observers), .. }) = &self.state {
            observers.answer_sync(&mut self.core, conn);
        }
    }

    /// Leader: answers when everything committed anywhere before now is committed here, and a quorum has confirmed that
    /// this is still its leader. False, and nothing done, unless established.
    pub fn sync(&mut self, now: Now, origin: SyncOrigin) -> bool {
        self.at(now);
        match &mut self.state {
            State::Leading(leading) => leading.sync(&mut self.core, origin),
            State::Looking(_) | State::Following(_) => false,
        }
    }

    /// Learner: a session's client has been heard; the leader is told with the next PING. One entry a session.
    pub fn touch(&mut self, session: SessionId, timeout_ms: i32) {
        if let State::Following(following) = &mut self.state {
            following.touch(session, timeout_ms);
        }
    }

    // ---- outputs ----

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.core.effects.pop_front()
    }

    /// When [`Zab::handle_timeout`] must be called, on the elapsed clock; [`Duration::MAX`] when only an input can change
    /// anything.
    pub fn deadline(&self) -> Duration {
        match &self.state {
            State::Looking(election) => election.deadline(),
            State::Following(following) => Some(following.deadline()),
            State::Leading(leading) => leading.deadline(),
        }
        .unwrap_or(Duration::MAX)
    }

    // ---- roles ----

    fn at(&mut self, now: Now) {
        self.core.now = self.core.now.max(now.elapsed);
    }

    fn server_state(&self) -> ServerState {
        match self.role() {
            Role::Looking => ServerState::Looking,
            Role::Following { .. } => ServerState::Following,
            Role::Leading => ServerState::Leading,
            Role::Observing { .. } => ServerState::Observing,
        }
    }

    /// Takes over a later configuration that another server has activated, while there is no leader here who could tell of it. Nobody
    /// is asked whether it is true: see docs/hazards.md on who may reach the election port.
    fn adopt(&mut self, notification: &Notification) {
        if !matches!(self.state, State::Looking(_)) {
            return;
        }
        self.core.hear_of_pending(notification);
        let Some(later) = self.core.later_configuration(notification) else { return };
        let restarts = !later.same_members(self.membership());
        self.core.activate(later);
        if restarts {
            let (election, decision) = Election::begin(&mut self.core);
            self.state = State::Looking(election);
            self.decided(decision);
        }
    }

    fn judge(&mut self, verdict: Verdict) {
        let (reason, designated) = match verdict {
            Verdict::Stay => return,
            Verdict::Look(reason) => (reason, None),
            Verdict::Turn(leader) => ("the configuration designates a leader", Some(leader)),
        };
        tracing::info!(server = self.core.id().0, reason, role = ?self.role(), "role is over");
        match &mut self.state {
            State::Looking(_) => {}
            State::Following(following) => {
                if let Some(conn) = following.conn() {
                    self.core.close(conn, reason);
                }
                if let Some(observers) = &mut following.observers {
                    observers.stop(&mut self.core);
                }
            }
            State::Leading(leading) => leading.stop(&mut self.core),
        }
        self.core.stop();
        let (election, decision) = match designated {
            Some(leader) => Election::skip(&mut self.core, leader),
            None => Election::begin(&mut self.core),
        };
        self.state = State::Looking(election);
        self.decided(decision);
    }

    fn decided(&mut self, decision: Option<Decision>) {
        let Some(Decision { leader, electors }) = decision else { return };
        tracing::debug!(leader = leader.0, round = self.core.round, "elected");
        if let State::Looking(election) = &self.state
            && let Some(began) = election.began()
        {
            let now = self.core.now;
            self.core.measures.election_time.observe_ms(now, now.saturating_sub(began));
        }
        if leader != self.core.id() {
            self.state = State::Following(Following::begin(&mut self.core, leader));
            return;
        }
        let mut leading = Leading::begin(&mut self.core, electors);
        let verdict = leading.advance(&mut self.core);
        self.state = State::Leading(leading);
        self.judge(verdict);
    }
}
