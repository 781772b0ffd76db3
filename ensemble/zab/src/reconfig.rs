//! How the ensemble changes while it serves (`QuorumPeer.processReconfig`; Shraer et al., "Dynamic Reconfiguration of
//! Primary/Backup Clusters", ATC 2012), and why nothing is lost by it.
//!
//! ```text
//!            propose z            a quorum of C and a quorum of C'             activate C'
//! C ─────────────┬───────────── have z and everything before it ──────────────────┬──────────▶ C'
//!       C counts │              C and C' count ("joint")                          │ C' counts
//! ```
//!
//! A reconfiguration is a transaction `z` whose payload holds the new configuration C', of version `z`. Zab looks into no other
//! payload. A server has one **active** configuration, known to be committed, and at most one **pending** one: the one that its
//! history holds (in the log behind what is delivered, or in a snapshot it was sent) and that it does not know to be committed.
//! While one is pending, a quorum is a quorum of both, for everything that needs one: elections, the gates A, B and C, syncs, the
//! liveness of a leader, and commits from `z` on. What was proposed before `z` needs C alone. From the moment in which `z` is
//! committed, C' alone counts.
//!
//! # Rules
//!
//! 1. A leader proposes `z` only when nothing is pending with it.
//! 2. Whoever logs `z` makes C' durable as its last seen configuration first, in the same queue of writes, so before its ACK.
//! 3. C' is activated by who knows that `z` is committed: the leader that counts it, a follower that is told so by an established
//!    leader, whoever is established or called up to date with `z` in its history; and by a server that looks for a leader when
//!    another says that C' is active with it.
//! 4. A history holds a reconfiguration only behind a *committed* one, by rule 1. So who logs the next one activates the one
//!    before it.
//!
//! # Why a committed transaction is never lost
//!
//! Let `C0, C1, ...` be the committed configurations in order, and t a transaction committed in epoch e. A leader L of a later
//! epoch has passed its gates with quorums of its active configuration `Cj` and of its pending one, if it has one. Gate B shows that
//! its history is not behind that of anybody in these quorums. Let `Ck` be the latest committed configuration in L's history.
//!
//! * L's gates count a quorum of `Ck`. By rules 3 and 4, `Ck` is active with L, or pending, or an older one than L's active one.
//!   The last cannot be: a quorum of the active one had the transaction that made it, so by gate B L's history has it too.
//! * If t was counted in `Ck`, the quorums meet, and L has t.
//! * If t was counted in configurations before `Ck` only, then t comes before `zk` in the history of the leader that proposed `zk`,
//!   which every holder of `zk` shares up to there.
//! * If t was counted in configurations after `Ck` only, then `z(k+1)`, which made the next one, is committed, and was counted in `Ck`
//!   too (joint). So L has it, by the second point: then `Ck` was not the latest in its history.
//!
//! Java's gates A and B count the active configuration alone. Differs from ZooKeeper: here every gate is joint. With the active one
//! alone, a leader whose active configuration was replaced long ago would be kept from its office by the election only.
//!
//! # When a leader dies while a reconfiguration is pending
//!
//! The history of the next leader decides, as for any transaction.
//!
//! * It has `z`: its gates were joint, so all its history is committed, `z` with it; it activates C'. NEWLEADER tells C', and its
//!   learners activate it when they are called up to date.
//! * It does not have `z`: then `z` was not committed, since a quorum of C would have had it, and never will be: the promises of
//!   gate A keep the old leader from committing anything. Who has `z` in its log is told to cut it off, and then it is pending there
//!   no more. What is left is a last seen configuration that no log holds. It counts for nothing: not having acknowledged `z`, or
//!   having cut it off, this server is in no quorum that could have committed it. So a configuration that only some have seen stops
//!   nobody and is never activated. It is overwritten when its server is in sync with a leader of a later epoch.
//! * Nobody can be elected: a quorum of C is there, but none of C', and a server with `z` in its log is needed, or has the greatest
//!   history. That lasts until a quorum of C' is there again. It cannot be helped, since such a quorum may have been there and have
//!   committed `z`. This is why a reconfiguration is refused unless a quorum of C' is connected and in sync.
//!
//! The only server that has the greatest history may be one that is in C' alone, and those without `z` would know nothing of it. So who
//! looks for a leader tells what is pending with it, in comments of the configuration in its notifications. Differs from ZooKeeper: there
//! such a server cannot be elected, and what it alone has is lost even if it is committed. (Java's servers skip comments. While
//! enough of those do not know `z`, nobody is elected until they do.)
//!
//! Whom to follow is no matter of safety, so a server joins a leader in office whom a quorum of its active configuration follows,
//! whatever is pending with it.
//!
//! # A restart
//!
//! The log tells what was pending. When the transaction is in a snapshot that was received, the snapshot's own `/zookeeper/config` tells, if the
//! last seen configuration is the same: it is written before a received snapshot too. A state that came from elsewhere (a
//! backup, a volume moved to another ensemble) says nothing about who is in this ensemble.
//!
//! # Who leads C'
//!
//! A leader goes on when it votes in C' at the address that it has. Otherwise it designates, at the commit, the voter of C' that has the
//! most of what was proposed, tells everybody with the commit, and commits nothing more. Everybody takes the part it has in C', behind
//! that leader, without an election ([`crate::zab::Verdict::Turn`]): but not before the reconfiguration is delivered, so that the client
//! that asked for it is answered. Election is what happens when that fails. Who is not in C' goes on as a follower without a vote,
//! until it is stopped.
//!
//! # A learner that comes while a reconfiguration is pending
//!
//! Differs from ZooKeeper: an established leader tells the active configuration in NEWLEADER, and proposes the pending one to the
//! newcomer after UPTODATE. Java tells the pending one, and the learner activates it before it is committed. From a leader that does
//! so, the configuration is taken for what it is: it is activated when its transaction is committed.

use crate::core::Core;
use crate::effect::Effect;
use crate::quorum::{Quorum, Voters};
use bytes::Bytes;
use ensemble_proto::durable::Write;
use ensemble_proto::membership::Membership;
use ensemble_proto::quorum::Notification;
use ensemble_proto::{Epoch, ServerId, Zxid, reconfig};
use thiserror::Error;

/// Begins the lines of a pending configuration in a notification.
const PENDING: &str = "#pending ";

/// Why a leader cannot propose a reconfiguration now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ReconfigRefusal {
    /// This server is not an established leader.
    #[error("not leading")]
    NotLeading,
    /// Another is not committed yet.
    #[error("a reconfiguration is in progress")]
    InProgress,
    /// No quorum of the new configuration is connected and in sync.
    #[error("no quorum of the new configuration is in sync")]
    NoQuorum,
}

/// A notification's configuration with what is pending behind it: each line as a comment, which Java's servers do not read.
pub(crate) fn with_pending(active: &Membership, pending: &Membership) -> Bytes {
    let comments: String = pending.to_string().lines().map(|line| format!("\n{PENDING}{line}")).collect();
    Bytes::from(format!("{active}{comments}"))
}

fn pending_in(config: &[u8]) -> Option<Membership> {
    let text = std::str::from_utf8(config).ok()?;
    let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(PENDING)).collect();
    (!lines.is_empty()).then(|| reconfig::parse(lines.join("\n").as_bytes()).ok())?
}

impl Core {
    /// Whether what the log says of configurations is this server's business. A standalone server may stand on a copy of an ensemble's files, and has no place
    /// for any.
    fn follows_configurations(&self) -> bool {
        self.config.reconfig && !self.config.standalone
    }

    /// At the start: what the log, the last seen configuration and the state say about the active one.
    pub(crate) fn recover_configurations(&mut self, last_seen: Option<Membership>, held: Option<Membership>) {
        if !self.follows_configurations() {
            return;
        }
        self.last_seen = last_seen.filter(|seen| seen.version > self.config_version());
        let is_in_state = |seen: &Membership| held.is_some_and(|held| held.version == seen.version);
        self.pending = self.last_seen.clone().filter(is_in_state);
        for (_, payload) in self.tail.clone() {
            self.note_logged(&payload);
        }
        self.count_anew();
    }

    /// A record is about to be appended.
    pub(crate) fn note_logged(&mut self, payload: &Bytes) {
        if !self.follows_configurations() {
            return;
        }
        // Who takes records from others has refused one that cannot be read.
        let Ok(Some(next)) = reconfig::proposed(payload) else { return };
        if next.version <= self.config_version() {
            return;
        }
        match self.pending.take() {
            Some(before) if before.version < next.version => self.activate(before),
            // A snapshot may hold what comes behind it.
            Some(held) => return self.pending = Some(held),
            None => {}
        }
        self.see(next.clone());
        if self.mutants().activate_uncommitted() {
            return self.activate(next);
        }
        self.pending = Some(next);
        self.count_anew();
    }

    /// The log ends at `to` now.
    pub(crate) fn note_cut(&mut self, to: Zxid) {
        if self.pending.as_ref().is_some_and(|pending| pending.version > to) {
            self.pending = None;
            self.count_anew();
        }
    }

    /// A snapshot is about to replace the log. Its state holds this configuration.
    pub(crate) fn note_installed(&mut self, held: Option<Membership>) {
        self.pending = held.filter(|held| self.config.reconfig && held.version > self.config_version());
        if let Some(held) = self.pending.clone() {
            // What was seen before and is not in this state will not be in this history.
            self.last_seen = Some(held.clone());
            self.persist(Write::LastSeen(held));
        }
        self.count_anew();
    }

    /// Everything up to here is committed, as far as it is in the history.
    pub(crate) fn note_committed(&mut self, limit: Zxid) {
        if let Some(pending) = self.pending.take_if(|pending| pending.version <= limit) {
            self.activate(pending);
        }
    }

    /// Makes a configuration durable as the last seen one.
    pub(crate) fn see(&mut self, membership: Membership) {
        let version = membership.version;
        let newest = self.last_seen.as_ref().map_or(self.config_version(), |seen| seen.version);
        if version <= newest {
            return;
        }
        self.last_seen = Some(membership.clone());
        self.count_anew();
        if !self.mutants().last_seen_in_memory() {
            self.persist(Write::LastSeen(membership));
        }
    }

    /// Counts by this configuration from now on. The owner is told as soon as the transaction that made it is delivered.
    pub(crate) fn activate(&mut self, membership: Membership) {
        let version = membership.version;
        assert!(version > self.config_version(), "the active configuration only gets newer");
        tracing::info!(server = self.id().0, %version, "activating a configuration");
        self.last_seen.take_if(|seen| seen.version <= version);
        self.pending.take_if(|pending| pending.version <= version);
        self.persist(Write::Membership(membership.clone()));
        self.config.membership = membership;
        self.count_anew();
        self.is_unannounced = true;
        self.announce_configuration();
    }

    /// Tells the owner of the active configuration, if it is new and nothing of it is still to be delivered.
    pub(crate) fn announce_configuration(&mut self) {
        let version = self.config_version();
        let is_open = || self.tail.iter().any(|(zxid, _)| *zxid == version);
        if self.is_unannounced && !is_open() {
            self.is_unannounced = false;
            self.effects.push_back(Effect::Membership(self.config.membership.clone()));
        }
    }

    /// This server shares the history of an established leader of this epoch: a configuration that was seen before it and is not part
    /// of it never will be.
    pub(crate) fn forget_unseen(&mut self, epoch: Epoch) {
        let is_void = |seen: &mut Membership| seen.version.epoch() < epoch;
        if self.pending.is_none() && self.last_seen.take_if(is_void).is_some() {
            self.count_anew();
            self.persist(Write::LastSeen(self.config.membership.clone()));
        }
    }

    fn count_anew(&mut self) {
        self.config_text = Bytes::from(self.config.membership.to_string());
        if !self.config.standalone {
            let active = Quorum::new(&self.config.membership);
            let pending = self.pending.as_ref().map(Quorum::new);
            self.voters = Voters { active, pending, seen: self.last_seen.as_ref().map(Quorum::new) };
        }
    }

    /// Whether this server only observes. One that the configuration does not name follows without a vote.
    pub(crate) fn is_observer(&self) -> bool {
        self.config.membership.is_observer(self.id())
    }

    /// The configuration of a notification, if it is a later one than the active one here.
    pub(crate) fn later_configuration(&self, notification: &Notification) -> Option<Membership> {
        if !self.config.reconfig || notification.config.is_empty() || notification.config == self.config_text {
            return None;
        }
        let told = reconfig::parse(&notification.config).ok()?;
        (told.version > self.config_version()).then_some(told)
    }

    /// Another server that looks for a leader has a reconfiguration pending. Here it counts for nothing, but its voters may be elected.
    pub(crate) fn hear_of_pending(&mut self, notification: &Notification) {
        if self.config.reconfig
            && let Some(pending) = pending_in(&notification.config)
        {
            self.see(pending);
        }
    }

    /// Who leads the new configuration, of those that have its transaction (`Leader.getDesignatedLeader`): this server, unless it has
    /// no vote in it or another address; otherwise the voter with the most of what was proposed.
    pub(crate) fn designate(&self, next: &Membership, acked: impl Iterator<Item = (ServerId, Zxid)>) -> ServerId {
        let own = self.id();
        let voters = Quorum::new(next);
        let (now, then) = (self.config.membership.servers.get(&own), next.servers.get(&own));
        let stays = voters.weight(own) > 0
            && now.zip(then).is_some_and(|(now, then)| (&now.host, now.quorum_port) == (&then.host, then.quorum_port));
        let has_it = |(id, acked): &(ServerId, Zxid)| *id != own && voters.weight(*id) > 0 && *acked >= next.version;
        let best = acked.filter(has_it).max_by_key(|(id, acked)| (*acked, *id));
        match best {
            Some((id, _)) if !stays => id,
            _ => own,
        }
    }
}
