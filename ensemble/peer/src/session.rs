//! How a session expires, and who may speak for it (`SessionTrackerImpl.java`, `LeaderSessionTracker.java`).
//!
//! Only the leader (or a standalone server) tracks sessions. It learns of their activity from its own clients, and
//! from the tables that learners send with their answers to PING. When a new leader takes office every session that
//! the tree knows starts with a full timeout and no owner; the first server that speaks for it becomes its owner, and
//! a re-attach elsewhere moves it. When the connection to its owner ends, a re-attach alone gives it another one: a server that its client has
//! left before may still have requests of it. A session that is closing answers no touch: it ends by exactly one transaction.
//!
//! **A learner that cannot be heard is no silent client.** When the time of a session comes whose client is connected to a
//! learner, what the learner has heard may be on its way, or held up with the connection. So the session is *overdue*, and ends
//! when its owner has answered a PING that was sent afterwards without naming it: an answer names every session heard since the one
//! before. An owner that does not answer is given up after `syncLimit`, and then its clients have nobody to speak for them: each gets a
//! full timeout to find another server, as after an election. A session whose client died with its server therefore ends at most
//! `syncLimit` later than one whose client died alone; no session ends while the server that its client is connected to is in sync and
//! hears it.
//!
//! Differs from ZooKeeper: whose leader ends sessions that are alive at a follower which it does not hear for as long as their timeout.

use crate::Expiries;
use crate::expiry::ExpiryQueue;
use ensemble_proto::{ErrorCode, SessionId};
use ensemble_zab::ConnId;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The server that a session's client is connected to, as the leader knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// The leader's own client port.
    Local,
    /// A learner, by its connection: a learner that comes back is another owner.
    Learner(ConnId),
}

struct Tracked {
    timeout: Duration,
    owner: Option<Owner>,
    /// It had an owner, whose connection has ended.
    orphaned: bool,
    closing: bool,
    /// Its time came then, and its owner may have heard of it.
    overdue: Option<Duration>,
}

/// Every global session of the ensemble, on the leader.
pub(crate) struct Sessions {
    tracked: HashMap<SessionId, Tracked, FixedState>,
    expiry: ExpiryQueue<SessionId>,
    /// Those that wait for their owner's word, by the time since when.
    overdue: BTreeSet<(Duration, SessionId)>,
    /// When the PING was sent that each learner answered last, of those answers that named all that it had heard.
    answered: BTreeMap<ConnId, Duration>,
    /// An owner's word is waited for no longer.
    patience: Duration,
    /// Sessions that have ended, the newest last: with local sessions, one that is not known is not known to have ended.
    ended: VecDeque<SessionId>,
    has_ended: HashSet<SessionId, FixedState>,
}

/// As many ends are remembered. A request of an ended session can be on its way only from a learner that has not applied the end yet.
const ENDED_MAX: usize = 1 << 16;

impl Sessions {
    /// No session yet; deadlines are rounded to `tick`. A learner that does not answer within `patience` loses its connection otherwise.
    pub(crate) fn new(tick: Duration, patience: Duration, seed: u64) -> Sessions {
        Sessions {
            tracked: HashMap::with_hasher(FixedState::with_seed(seed)),
            expiry: ExpiryQueue::new(tick, seed),
            overdue: BTreeSet::new(),
            answered: BTreeMap::new(),
            patience,
            ended: VecDeque::new(),
            has_ended: HashSet::with_hasher(FixedState::with_seed(seed)),
        }
    }

    /// The mutant's: owners are not asked.
    pub(crate) fn lose_patience(&mut self) {
        self.patience = Duration::ZERO;
    }

    /// Begins to track a session, with a full timeout.
    pub(crate) fn track(&mut self, session: SessionId, timeout_ms: i32, owner: Option<Owner>, now: Duration) {
        let timeout = timeout(timeout_ms);
        self.forgive(session);
        self.tracked.insert(session, Tracked { timeout, owner, orphaned: false, closing: false, overdue: None });
        self.expiry.touch(session, now, timeout);
    }

    /// Heard of the session's client. False when the session is unknown or closing.
    pub(crate) fn touch(&mut self, session: SessionId, timeout_ms: Option<i32>, now: Duration) -> bool {
        self.forgive(session);
        match self.tracked.get_mut(&session) {
            Some(tracked) if !tracked.closing => {
                tracked.timeout = timeout_ms.map_or(tracked.timeout, timeout);
                self.expiry.touch(session, now, tracked.timeout);
                true
            }
            _ => false,
        }
    }

    /// A learner has heard of the session's client, with the timeout that it agreed on. That of a learner which the session has left does
    /// not count: it may be shorter than the present one.
    pub(crate) fn reported(&mut self, session: SessionId, timeout_ms: i32, from: Owner, now: Duration) {
        let owner = self.tracked.get(&session).and_then(|tracked| tracked.owner);
        self.touch(session, owner.is_none_or(|owner| owner == from).then_some(timeout_ms), now);
    }

    /// Whether the session's client is connected, or was until that server was lost, to another server.
    pub(crate) fn is_elsewhere(&self, session: SessionId, than: Owner) -> bool {
        let tracked = self.tracked.get(&session);
        tracked.is_some_and(|tracked| tracked.orphaned || tracked.owner.is_some_and(|owner| owner != than))
    }

    /// Moves the session to `owner` after a re-attach there. False when the session is unknown or closing.
    pub(crate) fn attach(&mut self, session: SessionId, timeout_ms: i32, owner: Owner, now: Duration) -> bool {
        let alive = self.touch(session, Some(timeout_ms), now);
        if alive && let Some(tracked) = self.tracked.get_mut(&session) {
            tracked.owner = Some(owner);
        }
        alive
    }

    /// Whether a request of `session` that came through `from` may go on; the first to speak for a session owns it, unless it had an owner.
    ///
    /// # Errors
    /// `SESSION_EXPIRED` when unknown or closing, `SESSION_MOVED` when another server owns it, or owned it last.
    pub(crate) fn check(&mut self, session: SessionId, from: Owner) -> Result<(), ErrorCode> {
        match self.tracked.get_mut(&session) {
            Some(tracked) if !tracked.closing => match tracked.owner {
                Some(owner) if owner != from => Err(ErrorCode::SESSION_MOVED),
                None if tracked.orphaned => Err(ErrorCode::SESSION_MOVED),
                _ => {
                    tracked.owner = Some(from);
                    Ok(())
                }
            },
            _ => Err(ErrorCode::SESSION_EXPIRED),
        }
    }

    /// Marks the session as closing: its closeSession has been proposed.
    pub(crate) fn closing(&mut self, session: SessionId) {
        self.forgive(session);
        if let Some(tracked) = self.tracked.get_mut(&session) {
            tracked.closing = true;
            self.expiry.remove(session);
        }
    }

    /// The session's end has been applied.
    pub(crate) fn remove(&mut self, session: SessionId) {
        self.forgive(session);
        self.tracked.remove(&session);
        self.expiry.remove(session);
    }

    /// The session has ended and will not be taken for a local one of another server.
    pub(crate) fn remember_end(&mut self, session: SessionId) {
        if self.has_ended.insert(session) {
            self.ended.push_back(session);
        }
        if self.ended.len() > ENDED_MAX
            && let Some(oldest) = self.ended.pop_front()
        {
            self.has_ended.remove(&oldest);
        }
    }

    /// Whether the session is neither known nor known to have ended.
    pub(crate) fn is_unheard_of(&self, session: SessionId) -> bool {
        !self.tracked.contains_key(&session) && !self.has_ended.contains(&session)
    }

    /// It is not overdue, or not any more.
    fn forgive(&mut self, session: SessionId) {
        if let Some(since) = self.tracked.get_mut(&session).and_then(|tracked| tracked.overdue.take()) {
            self.overdue.remove(&(since, session));
        }
    }

    /// A learner has answered the PING of `asked`, and has said of which sessions it has heard: all of them.
    pub(crate) fn answered(&mut self, learner: ConnId, asked: Duration) {
        self.answered.insert(learner, asked);
    }

    /// A learner's connection has ended: nobody speaks for the sessions of its clients until they are attached elsewhere.
    pub(crate) fn owner_lost(&mut self, learner: ConnId, now: Duration) {
        self.answered.remove(&learner);
        let owner = Some(Owner::Learner(learner));
        for (session, tracked) in
            self.tracked.iter_mut().filter(|(_, tracked)| tracked.owner == owner && !tracked.closing)
        {
            (tracked.owner, tracked.orphaned) = (None, true);
            if let Some(since) = tracked.overdue.take() {
                self.overdue.remove(&(since, *session));
            }
            self.expiry.touch(*session, now, tracked.timeout);
        }
    }

    /// Takes the sessions whose time has come and whose owner has not heard of them; each must be closed by a transaction.
    pub(crate) fn expired(&mut self, now: Duration) -> Vec<SessionId> {
        let mut expired = Vec::new();
        for session in self.expiry.expired(now) {
            let Some(tracked) = self.tracked.get_mut(&session) else { continue };
            match tracked.owner {
                Some(Owner::Learner(_)) => {
                    tracked.overdue = Some(now);
                    self.overdue.insert((now, session));
                }
                Some(Owner::Local) | None => expired.push(session),
            }
        }
        let (tracked, answered, patience) = (&self.tracked, &self.answered, self.patience);
        let is_silent = |&(since, session): &(Duration, SessionId)| {
            let owner = tracked.get(&session).and_then(|tracked| tracked.owner);
            let answered = match owner {
                Some(Owner::Learner(conn)) => answered.get(&conn).is_some_and(|asked| *asked >= since),
                Some(Owner::Local) | None => true,
            };
            answered || since + patience <= now
        };
        let silent: Vec<_> = self.overdue.iter().filter(|overdue| is_silent(overdue)).copied().collect();
        for (_, session) in silent {
            self.forgive(session);
            expired.push(session);
        }
        expired
    }

    /// When each session's time comes, or came where its owner's word is waited for.
    pub(crate) fn expiries(&self) -> Expiries<SessionId> {
        let mut moments: BTreeMap<Duration, Vec<SessionId>> = BTreeMap::new();
        for (since, session) in &self.overdue {
            moments.entry(*since).or_default().push(*session);
        }
        for (at, sessions) in self.expiry.buckets() {
            moments.entry(at).or_default().extend(sessions);
        }
        moments.into_iter().collect()
    }

    /// When the next session may expire.
    pub(crate) fn next_expiry(&self) -> Option<Duration> {
        let overdue = self.overdue.first().map(|(since, _)| *since + self.patience);
        [self.expiry.next(), overdue].into_iter().flatten().min()
    }
}

fn timeout(timeout_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0))
}

/// Ids skipped after a clock was set back: as many as a server may have given in 256 ms of its base, each millisecond being 2^16.
const SKIPPED_MIN: u64 = 1 << 24;
/// And up to an hour more, at random.
const SKIPPED_MASK: u64 = (1 << 38) - 1;

/// Gives every new session of this server an id that no other session has or had
/// (`SessionTrackerImpl.initializeNextSessionId`): the server's id in the top byte, 40 bits of time, 16 of counter.
pub(crate) struct SessionIds {
    next: i64,
}

impl SessionIds {
    /// Starts above the present time and above every session of this server that `known` names.
    ///
    /// Differs from ZooKeeper: the time is the wall clock's, and where a living session is ahead of it, as after a restart with a
    /// clock that was set back, ids go on well above that session, by a distance drawn from `seed`: between them may be ids of
    /// sessions that have ended, whose clients must not find somebody else's session under their id and password.
    pub(crate) fn new(server: u8, wall_ms: i64, known: impl Iterator<Item = SessionId>, seed: u64) -> SessionIds {
        let top = u64::from(server) << 56;
        let by_time = top | (((wall_ms as u64) << 24) >> 8);
        let newest = known.map(|id| id.0 as u64).filter(|id| id >> 56 == top >> 56).max();
        let next = match newest.filter(|newest| *newest >= by_time) {
            None => by_time,
            Some(newest) => top | ((newest + SKIPPED_MIN + (seed & SKIPPED_MASK)) & (u64::MAX >> 8)),
        };
        SessionIds { next: next as i64 }
    }

    /// The next id.
    pub(crate) fn next(&mut self) -> SessionId {
        if self.next == i64::MIN || self.next == 0 {
            self.next += 1; // 0x8000000000000000 marks container znodes and 0 is no session
        }
        let id = SessionId(self.next);
        self.next = self.next.wrapping_add(1);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SessionId = SessionId(0xa);
    const ELSEWHERE: Owner = Owner::Learner(ConnId(7));

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn sessions() -> Sessions {
        let mut sessions = Sessions::new(at(1000), at(11_000), 0);
        sessions.track(A, 4000, None, at(0));
        sessions
    }

    #[test]
    fn the_first_server_to_speak_for_a_session_owns_it_and_a_re_attach_moves_it() {
        let mut sessions = sessions();
        assert_eq!(sessions.check(A, Owner::Local), Ok(()));
        assert_eq!(sessions.check(A, ELSEWHERE), Err(ErrorCode::SESSION_MOVED));
        assert!(sessions.attach(A, 4000, ELSEWHERE, at(10)));
        assert_eq!(sessions.check(A, Owner::Local), Err(ErrorCode::SESSION_MOVED));
        assert_eq!(sessions.check(A, ELSEWHERE), Ok(()));
    }

    #[test]
    fn after_its_owner_is_lost_a_session_must_be_taken_up_before_anybody_speaks_for_it() {
        const LEFT_BEFORE: Owner = Owner::Learner(ConnId(6));
        let mut sessions = sessions();
        assert!(sessions.attach(A, 4000, ELSEWHERE, at(10)));
        sessions.owner_lost(ConnId(7), at(20));
        for from in [LEFT_BEFORE, Owner::Local] {
            assert_eq!(sessions.check(A, from), Err(ErrorCode::SESSION_MOVED), "{from:?}");
        }
        assert!(sessions.attach(A, 4000, Owner::Local, at(30)));
        assert_eq!(sessions.check(A, Owner::Local), Ok(()));
    }

    #[test]
    fn a_closing_session_is_neither_touched_nor_attached_nor_expired_again() {
        let mut sessions = sessions();
        assert_eq!(sessions.expired(at(5000)), vec![A]);
        sessions.closing(A);
        assert!(!sessions.touch(A, None, at(5000)));
        assert!(!sessions.attach(A, 4000, Owner::Local, at(5000)));
        assert_eq!(sessions.check(A, Owner::Local), Err(ErrorCode::SESSION_EXPIRED));
        assert_eq!(sessions.expired(at(60_000)), vec![]);
    }

    #[test]
    fn session_ids_carry_the_server_and_stay_clear_of_those_given_before_the_clock_was_set_back() {
        let mut ids = SessionIds::new(3, 1_700_000_000_000, std::iter::empty(), 1);
        let first = ids.next();
        assert_eq!(first.0 >> 56, 3);
        assert_eq!(ids.next().0, first.0 + 1);
        let living = SessionId(first.0 + 500);
        let restart = |seed| SessionIds::new(3, 0, [living, SessionId(4 << 56)].into_iter(), seed).next();
        assert!(restart(1).0 > living.0 + (1 << 24));
        assert_ne!(restart(1), restart(2));
        assert_eq!(restart(u64::MAX).0 >> 56, 3);
    }

    #[test]
    fn session_ids_skip_the_values_that_mean_something_else() {
        assert_eq!(SessionIds { next: i64::MIN }.next(), SessionId(i64::MIN + 1));
        assert_eq!(SessionIds::new(0, 0, std::iter::empty(), 0).next(), SessionId(1));
    }
}
