//! Looking for a leader (`FastLeaderElection.java`): which of two votes wins, and when a vote has won.
//!
//! An election is only a hint: it finds the server with the greatest (current epoch, last zxid, id) among those that talk
//! to each other, so that the leader never has to fetch history. That the leader really has everything committed is
//! checked again when its followers acknowledge its epoch (`leading`).
//!
//! Votes are compared by rounds. A server joins a later round, drops votes of earlier ones, and adopts a better candidate
//! when it hears of one; a candidate that a quorum names has won if nothing better comes within `finalize_wait`. A server
//! that comes late learns of a leader in office from a quorum of servers that follow it, the leader among them.
//!
//! A server votes with the last record *on its disk*: it is silent until every write of its former role is durable
//! (ZOOKEEPER-2845, 4712). A server whose store was found empty votes with zxid -1, which nobody counts; it can only join
//! a leader in office.
//!
//! A server that is about to stop does not vote at all: a leader elected by its vote would wait for it in vain, and whoever
//! was late would hear of no quorum that follows.

use crate::core::Core;
use crate::vote::Vote;
use ensemble_proto::quorum::{NOTIFICATION_VERSION, Notification, ServerState};
use ensemble_proto::{Epoch, ServerId, Zxid};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An observer waits for a random part of this before it looks again, so that observers do not come all at once
/// (`zookeeper.observer.election.DelayMs`).
const OBSERVER_DELAY: Duration = Duration::from_millis(200);

/// How an election ended.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) leader: ServerId,
    /// The servers known to agree.
    pub(crate) electors: BTreeSet<ServerId>,
}

#[derive(Debug)]
pub(crate) struct Election {
    stage: Stage,
    initial: Vote,
    proposal: Vote,
    /// The last vote of each voter in this round.
    received: BTreeMap<ServerId, Vote>,
    /// The last vote of each voter that is not looking, of any round.
    in_office: BTreeMap<ServerId, Vote>,
    interval: Duration,
    resend_at: Duration,
    /// When the proposal, which has a quorum, has won.
    decide_at: Option<Duration>,
    /// When it began to look; `None` when the leader was designated.
    began: Option<Duration>,
}

#[derive(Debug)]
enum Stage {
    /// Writes of the former role are on their way to the disk; the last notification of each server waits. Then there is an election,
    /// unless the leader is designated.
    Settling { early: BTreeMap<ServerId, Notification>, designated: Option<ServerId> },
    /// An observer takes its time.
    Waiting { until: Duration },
    /// Electing.
    Open,
    /// This server is about to stop: it votes for nobody and hears nobody.
    Retired,
}

impl Election {
    /// Begins a round as soon as the disk is quiet.
    pub(crate) fn begin(core: &mut Core) -> (Election, Option<Decision>) {
        core.measures.looking_count += u64::from(!core.is_retired);
        Election::begin_unless(core, None)
    }

    /// Ends as soon as the disk is quiet, with a leader that a reconfiguration has designated. This server can be that only with a vote.
    pub(crate) fn skip(core: &mut Core, designated: ServerId) -> (Election, Option<Decision>) {
        let can_be = designated != core.id() || (core.is_candidate() && core.position() != Zxid::NONE);
        Election::begin_unless(core, can_be.then_some(designated))
    }

    fn begin_unless(core: &mut Core, designated: Option<ServerId>) -> (Election, Option<Decision>) {
        core.recover_epoch();
        let initial = initial_vote(core);
        let stage = match core.is_retired {
            true => Stage::Retired,
            false => Stage::Settling { early: BTreeMap::new(), designated },
        };
        let mut election = Election {
            stage,
            initial,
            proposal: initial,
            received: BTreeMap::new(),
            in_office: BTreeMap::new(),
            interval: core.config.notification_interval_min,
            resend_at: core.now,
            decide_at: None,
            began: designated.is_none().then_some(core.now),
        };
        let decision = election.settle(core);
        (election, decision)
    }

    /// Something became durable.
    pub(crate) fn settle(&mut self, core: &mut Core) -> Option<Decision> {
        let Stage::Settling { early, designated } = &mut self.stage else { return None };
        if !core.is_settled() {
            return None;
        }
        if let Some(leader) = *designated {
            core.vote = Vote { leader, zxid: core.position(), ..self.initial };
            return Some(Decision { leader, electors: BTreeSet::new() });
        }
        let early = std::mem::take(early);
        if !core.is_voter() && core.round > 0 {
            self.stage = Stage::Waiting { until: core.now + core.random_below(OBSERVER_DELAY) };
            return None;
        }
        self.open(core, early)
    }

    fn open(&mut self, core: &mut Core, early: BTreeMap<ServerId, Notification>) -> Option<Decision> {
        self.stage = Stage::Open;
        core.round += 1;
        self.initial.round = core.round;
        self.resend_at = core.now + self.interval;
        tracing::debug!(round = core.round, zxid = %self.initial.zxid, epoch = self.initial.peer_epoch.0, "looking");
        self.propose(core, self.initial);
        for (from, notification) in early {
            if let Some(decision) = self.handle_notification(core, from, &notification) {
                return Some(decision);
            }
        }
        self.count(core)
    }

    /// When it began to look for a leader; `None` when one was designated.
    pub(crate) fn began(&self) -> Option<Duration> {
        self.began
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        match self.stage {
            Stage::Settling { .. } | Stage::Retired => None,
            Stage::Waiting { until } => Some(until),
            Stage::Open => Some(self.decide_at.map_or(self.resend_at, |at| at.min(self.resend_at))),
        }
    }

    pub(crate) fn handle_timeout(&mut self, core: &mut Core) -> Option<Decision> {
        match self.stage {
            Stage::Settling { .. } | Stage::Retired => None,
            Stage::Waiting { until } if until <= core.now => self.open(core, BTreeMap::new()),
            Stage::Waiting { .. } => None,
            Stage::Open => {
                if self.decide_at.is_some_and(|at| at <= core.now) {
                    return Some(self.decide(core));
                }
                if self.resend_at <= core.now {
                    self.interval = (self.interval * 2).min(core.config.notification_interval_max);
                    self.resend_at = core.now + self.interval;
                    return self.stand_or_repeat(core);
                }
                None
            }
        }
    }

    /// The election connection to a server is new: it may not know our vote.
    pub(crate) fn handle_link(&self, core: &mut Core, to: ServerId) {
        if matches!(self.stage, Stage::Open) && to != core.id() && core.voters.contains(to) {
            core.notify(to, &self.proposal, core.round, ServerState::Looking);
        }
    }

    /// The election connection to a server has ended: perhaps nobody else is waited for. What it said counts no more, for it is most likely
    /// gone, and tells its vote again when it is not ([`Election::handle_link`]); as a candidate it gives way, unless others that are heard still name it.
    ///
    /// Differs from ZooKeeper: where a server whose peers all die in the middle of an election may follow one of them.
    pub(crate) fn handle_link_lost(&mut self, core: &mut Core, server: ServerId) -> Option<Decision> {
        if let Stage::Settling { early, .. } = &mut self.stage {
            early.remove(&server);
        }
        if !matches!(self.stage, Stage::Open) {
            return None;
        }
        self.received.remove(&server);
        self.in_office.remove(&server);
        if self.proposal.leader == server {
            let others =
                self.received.iter().filter(|(id, vote)| **id != core.id() && vote.state == ServerState::Looking);
            let initial = Vote { round: core.round, ..self.initial };
            let best = others.fold(initial, |best, (_, vote)| if is_better(core, vote, &best) { *vote } else { best });
            self.propose(core, best);
        }
        self.count(core)
    }

    /// A notification of a voter.
    pub(crate) fn handle_notification(
        &mut self,
        core: &mut Core,
        from: ServerId,
        notification: &Notification,
    ) -> Option<Decision> {
        match &mut self.stage {
            Stage::Settling { early, .. } => {
                early.insert(from, notification.clone());
                return None;
            }
            Stage::Waiting { .. } | Stage::Retired => return None,
            Stage::Open => {}
        }
        let vote = Vote::of(notification);
        if !core.voters.contains(vote.leader) {
            // It votes for nobody yet. It may be in a later round all the same, and drop votes of this one.
            let is_later = vote.state == ServerState::Looking && vote.round > core.round;
            return if is_later { self.join_round(core, vote.round, None) } else { None };
        }
        match vote.state {
            ServerState::Looking => self.handle_looking(core, from, vote),
            ServerState::Following | ServerState::Leading => self.handle_in_office(core, from, vote),
            ServerState::Observing => None,
        }
    }

    fn handle_looking(&mut self, core: &mut Core, from: ServerId, vote: Vote) -> Option<Decision> {
        if vote.round < core.round {
            core.notify(from, &self.proposal, core.round, ServerState::Looking);
            return None;
        }
        if self.initial.zxid == Zxid::NONE || vote.zxid == Zxid::NONE {
            return None;
        }
        if vote.round > core.round {
            return self.join_round(core, vote.round, Some((from, vote)));
        }
        // Who was still in office when our vote came has not kept it, and begins with its own: it need not wait until we repeat ours.
        let missed_ours = self.in_office.remove(&from).is_some();
        if is_better(core, &vote, &self.proposal) {
            self.propose(core, vote);
        } else if missed_ours {
            core.notify(from, &self.proposal, core.round, ServerState::Looking);
        }
        self.received.insert(from, vote);
        self.count(core)
    }

    /// Begins again in a later round, with the vote that told of it if it names anybody.
    fn join_round(&mut self, core: &mut Core, round: i64, told: Option<(ServerId, Vote)>) -> Option<Decision> {
        core.round = round;
        self.received.clear();
        let initial = Vote { round, ..self.initial };
        let better = told.map(|(_, vote)| vote).filter(|vote| is_better(core, vote, &initial));
        self.propose(core, better.unwrap_or(initial));
        self.received.extend(told);
        self.count(core)
    }

    /// No leader yet. Who votes only in the configuration that is pending lets the others lead, but may be the only one that has the
    /// whole history, and then nobody else can.
    ///
    /// Differs from ZooKeeper: where such a server never stands for election.
    fn stand_or_repeat(&mut self, core: &mut Core) -> Option<Decision> {
        let own = own_vote(core);
        let knows_more = (own.peer_epoch, own.zxid) > (self.proposal.peer_epoch, self.proposal.zxid);
        if self.initial.leader != own.leader && core.is_candidate() && own.zxid != Zxid::NONE && knows_more {
            self.propose(core, own);
            return self.count(core);
        }
        self.tell_everybody(core);
        None
    }

    /// Makes this the candidate, and everybody hear of it.
    fn propose(&mut self, core: &mut Core, candidate: Vote) {
        self.proposal =
            Vote { round: core.round, state: ServerState::Looking, version: NOTIFICATION_VERSION, ..candidate };
        self.decide_at = None;
        if core.is_voter() && self.initial.zxid != Zxid::NONE {
            self.received.insert(core.id(), self.proposal);
        }
        self.tell_everybody(core);
    }

    fn tell_everybody(&self, core: &mut Core) {
        let others: Vec<_> = core.voters.voters().filter(|id| *id != core.id()).collect();
        for to in others {
            core.notify(to, &self.proposal, core.round, ServerState::Looking);
        }
    }

    /// Whether the candidate has won, or will have after a quiet while.
    ///
    /// Differs from ZooKeeper: nothing better can come, and the wait is skipped, when every voter names the candidate, those apart whose
    /// election connection has ended: a vote of theirs would have to come by a new one. Whoever comes back within the wait with a better
    /// history is too late then, as it would be a moment later: what it alone has was never committed.
    fn count(&mut self, core: &mut Core) -> Option<Decision> {
        let supporters = supporters(core, &self.received, &self.proposal);
        if core.voters.weight(self.proposal.leader) == 0 || !core.voters.has_quorum(|id| supporters.contains(&id)) {
            self.decide_at = None;
            return None;
        }
        if core.voters.voters().all(|id| supporters.contains(&id) || core.unlinked.contains(&id)) {
            return Some(self.decide(core));
        }
        if self.decide_at.is_none() {
            self.decide_at = Some(core.now + core.config.finalize_wait);
        }
        None
    }

    fn decide(&self, core: &mut Core) -> Decision {
        let electors = supporters(core, &self.received, &self.proposal);
        core.vote = self.proposal;
        Decision { leader: self.proposal.leader, electors }
    }

    fn handle_in_office(&mut self, core: &mut Core, from: ServerId, vote: Vote) -> Option<Decision> {
        if vote.round == core.round {
            // stored without a version: then only the leader is compared (see `Vote::agrees_with`)
            self.received.insert(from, Vote { version: 0, ..vote });
            if let Some(electors) = is_led(core, &self.received, &vote) {
                return Some(join(core, vote, electors));
            }
        }
        self.in_office.insert(from, vote);
        let electors = is_led(core, &self.in_office, &vote)?;
        core.round = vote.round;
        Some(join(core, vote, electors))
    }
}

fn initial_vote(core: &Core) -> Vote {
    match core.voters.active.contains(core.id()) {
        true => own_vote(core),
        false => {
            Vote { leader: ServerId(i64::MIN), zxid: Zxid(i64::MIN), peer_epoch: Epoch(i64::MIN), ..own_vote(core) }
        }
    }
}

fn own_vote(core: &Core) -> Vote {
    Vote {
        leader: core.id(),
        zxid: core.position(),
        round: core.round,
        peer_epoch: core.current_epoch,
        state: ServerState::Looking,
        version: NOTIFICATION_VERSION,
    }
}

/// Whether a vote replaces another: by [`Vote::beats`], among those who have weight (`FastLeaderElection.totalOrderPredicate`).
///
/// Differs from ZooKeeper: where a server without weight that has the greatest history stays with its own vote, and finds a leader
/// only when one is in office. And of two with the same history one that can lead the active configuration is better: servers that do
/// not know what is pending know no other.
fn is_better(core: &Core, vote: &Vote, than: &Vote) -> bool {
    let has_weight = |vote: &Vote| core.voters.weight(vote.leader) > 0;
    let history = |vote: &Vote| (vote.peer_epoch, vote.zxid, core.voters.active.weight(vote.leader) > 0);
    // Who names nobody yet names nobody whose history is behind its own.
    let is_behind = (vote.peer_epoch, vote.zxid) < (core.current_epoch, core.position());
    match history(vote).cmp(&history(than)) {
        _ if !has_weight(vote) || (is_behind && core.is_candidate()) => false,
        _ if !has_weight(than) => true,
        Ordering::Equal => vote.beats(than),
        order => order == Ordering::Greater,
    }
}

fn supporters(core: &Core, votes: &BTreeMap<ServerId, Vote>, candidate: &Vote) -> BTreeSet<ServerId> {
    core.voters.voters().filter(|id| votes.get(id).is_some_and(|vote| vote.agrees_with(candidate))).collect()
}

/// Who agrees that this leader is in office, if they are a quorum and the leader itself says so. A server whose store was lost
/// may be said to lead by those who followed it before: it must not. What is pending here does not matter: see [`crate::reconfig`].
fn is_led(core: &Core, votes: &BTreeMap<ServerId, Vote>, vote: &Vote) -> Option<BTreeSet<ServerId>> {
    let agreeing = supporters(core, votes, vote);
    let says_so = match vote.leader == core.id() {
        true => vote.round == core.round && core.position() != Zxid::NONE,
        false => votes.get(&vote.leader).is_some_and(|vote| vote.state == ServerState::Leading),
    };
    (says_so && core.voters.active.has_quorum(|id| agreeing.contains(&id))).then_some(agreeing)
}

fn join(core: &mut Core, vote: Vote, electors: BTreeSet<ServerId>) -> Decision {
    core.vote = vote;
    Decision { leader: vote.leader, electors }
}
