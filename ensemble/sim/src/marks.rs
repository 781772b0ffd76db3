//! What a run should get to see, now and then: each mark is a situation in which servers of this kind have gone wrong before.
//!
//! A simulation that never sends SNAP finds nothing wrong with SNAP. So every situation that matters is counted, in how many seeds it
//! came up, and a run of [`SEEDS_MIN`] seeds or more in which one never did has failed: then the swarm has become too tame, or the
//! code unreachable. (`sometimes` assertions: Antithesis, FoundationDB's `CODE_PROBE`, TigerBeetle's `maybe`.)
//!
//! Marks are seen from outside, on effects and disks ([`crate::sightings`]); no server knows of them. A sighting is an addition to an
//! array, so they are always on.

/// So many seeds must come across every mark.
pub const SEEDS_MIN: u64 = 3000;

macro_rules! marks {
    ($($name:ident $text:literal),* $(,)?) => {
        /// A situation.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[allow(missing_docs, reason = "the text of each is its documentation")]
        pub enum Mark {
            $($name),*
        }

        impl Mark {
            /// All of them, each with what it means.
            pub const ALL: &[(Mark, &str)] = &[$((Mark::$name, $text)),*];
        }
    };
}

marks! {
    // Elections and offices.
    EstablishedAnew "a leader is established after another had been",
    EstablishedAgain "a leader is established that was the last leader, too",
    EstablishedWhileCut "a leader is established while a link is cut",
    EpochWithoutLeader "an epoch is skipped: its leader came to nothing",
    EpochOver "a leader has used the last zxid of its epoch and steps down",
    TwoServeAsLeaders "a deposed leader has not noticed yet",
    LeaderGivesUp "a leader gives up its office, and lives on",
    FollowerGivesUp "a follower gives its leader up, and lives on",
    TailCommitted "a new leader commits records that its predecessor had not",
    TailRemoved "a record that was never committed is removed",
    VoteHeldBack "a vote is held back by a cut, and arrives later",
    KnowsMore "a leader that is not in office yet is promised its epoch by a server that knows more",
    OfficeHandedOver "a leader hands its office over at once",
    // Synchronisation.
    DiffSent "a learner is sent DIFF and records",
    DiffEmpty "a learner is sent DIFF and nothing else",
    TruncSent "a learner is sent TRUNC",
    TruncThenRecords "a learner is sent TRUNC, then records",
    SnapSent "a learner is sent SNAP",
    LogSent "a learner is sent what only the log on disk has",
    SnapThenRecords "a learner is sent SNAP, then records",
    SyncBrokenOff "a connection ends between the plan and UPTODATE",
    SnapBrokenOff "a connection ends between SNAP and UPTODATE",
    NewLeaderBrokenOff "a connection ends between NEWLEADER and UPTODATE",
    TrafficHeldBack "what was proposed meanwhile follows UPTODATE at once",
    // Disks.
    SnapshotTaken "a snapshot is completed",
    SnapshotFuzzy "transactions went on while a snapshot was written",
    SnapshotGivenUp "a snapshot is given up for one from a leader",
    InstallWhileLogged "a snapshot from a leader replaces a log that had records",
    TruncatedLogRemoved "a truncation removes a whole log",
    CrashWithWrites "a server crashes with writes on their way to the disk",
    CrashInGroup "the power goes in the middle of a group of writes",
    CrashInSnapshot "a server crashes while it writes a snapshot",
    CrashInInstall "a server crashes while a snapshot from a leader is on its way to the disk",
    CrashWhileSynchronised "a server crashes while it is being synchronised",
    CrashOfLeader "a leader crashes",
    CrashOfAll "no server runs",
    RecoveredTorn "a server finds a torn record and drops it",
    RecoveredTail "a server starts with records that are not committed yet",
    RecoveredSnapshotAndLog "a server starts from a snapshot and records after it",
    RecoveredBetweenEpochs "a server starts with an epoch that it has accepted and not entered",
    StoreSetAside "a damaged store is set aside",
    QuorumLost "those who are behind come back with one that has lost its volume, and nobody else does",
    SpoiltLog "a store is set aside for a log that was spoilt",
    SpoiltSnapshot "a snapshot is passed over that was spoilt",
    StoreUntrusted "a server starts without a vote",
    StoreFilled "a server that lost its store is in sync again",
    // Faults where they hurt.
    LeaderPaused "a leader's process stands still",
    LeaderSlow "a leader's disk is slow",
    LeaderHangs "a leader's disk does not answer",
    SyncFailed "a sync of the log fails, and the server ends",
    DiskGivenUp "a server ends because its disk does not answer",
    LeaderOutOfRoom "a leader has no room on its disk, and gives way",
    LeaderClockJumps "a leader's clock jumps",
    LeaderCutOff "a leader is cut off, one way at least",
    PortOfLeaderCut "one port of a leader is out of reach, the others are not",
    HalfOpen "a server's death is not told to the other side",
    // An ensemble that changes.
    GroupsInForce "a server activates a configuration with groups",
    GroupsOutweigh "a transaction is committed by groups that hold no majority of the voters",
    MajorityWaits "a majority of the voters has a transaction that is not committed: it is no quorum of the groups",
    ObserverInSync "an observer is in sync",
    ObserverLost "a server that observed crashes",
    VolumeReplaced "a server of an ensemble that changes loses its volume while the others go on without it",
    // Sessions and clients.
    SessionExpired "a session is ended for its silence",
    ExpiredWhileCut "a session is ended while a link is cut",
    ExpiredByNewLeader "a session is ended by another leader than the one under which it began",
    ExpiredWithEphemerals "a session's end for its silence deletes ephemeral znodes",
    SessionClosed "a client closes its session",
    SessionMoved "a session goes to another server",
    SessionMovedInFlight "a session goes to another server with a request on its way",
    SessionRefused "a request comes through a server that has lost the session",
    SessionLost "a client is told that its session has ended",
    LostWriteDone "a write whose answer was lost has taken effect",
    LostWriteUndone "a write whose answer was lost has not taken effect",
    SessionLocal "a session that one server knows has a write answered",
    SessionUpgraded "a session that one server knew becomes one of the ensemble",
    ReadOnlyRead "a server without a leader answers a read",
    ReadOnlyRefused "a server without a leader refuses a write",
    WatchFired "a watch fires",
    WatchMissed "setWatches tells what was missed",
    MultiDone "a multi succeeds",
    MultiFailed "a multi fails",
    SequenceContinued "a second sequential znode is made under one parent",
    LockPassedOn "a lock goes from one holder to the next",
    Synced "a sync is answered",
    BadVersion "a write fails for its version",
    NotEmpty "a delete fails for children",
    NoChildrenForEphemerals "a create fails for its ephemeral parent",
    Throttled "a request is refused because it waited for others",
}

/// What comes up only where the ensemble changes.
const CHANGING: &[Mark] = &[
    Mark::GroupsInForce,
    Mark::GroupsOutweigh,
    Mark::MajorityWaits,
    Mark::VolumeReplaced,
    Mark::ObserverInSync,
    Mark::ObserverLost,
];
/// What comes up only where it does not.
const STAYING: &[Mark] = &[Mark::QuorumLost, Mark::StoreSetAside, Mark::SpoiltLog, Mark::SpoiltSnapshot];

const COUNT: usize = Mark::ALL.len();

/// How often each mark was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks([u64; COUNT]);

impl Default for Marks {
    fn default() -> Marks {
        Marks([0; COUNT])
    }
}

impl Marks {
    /// Seen.
    pub fn hit(&mut self, mark: Mark) {
        self.sometimes(mark, true);
    }

    /// Seen, if so.
    pub fn sometimes(&mut self, mark: Mark, is_seen: bool) {
        self.0[mark as usize] += u64::from(is_seen);
    }

    /// How often it was seen.
    pub fn count(&self, mark: Mark) -> u64 {
        self.0[mark as usize]
    }

    /// Counts a seed: every mark that it came across once.
    pub fn add_seed(&mut self, seed: &Marks) {
        for (total, seen) in self.0.iter_mut().zip(seed.0) {
            *total += u64::from(seen > 0);
        }
    }

    /// What was never seen in `seeds` seeds, when these are enough to expect it. In some kinds of runs, in which the ensemble changes
    /// or does not, not every mark can come up.
    pub fn unseen(&self, seeds: u64, changing: bool) -> Vec<&'static str> {
        if seeds < SEEDS_MIN {
            return Vec::new();
        }
        let foreign = if changing { STAYING } else { CHANGING };
        let missed = Mark::ALL.iter().filter(|(mark, _)| self.count(*mark) == 0 && !foreign.contains(mark));
        missed.map(|(_, text)| *text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_counts_once_a_seed_and_is_missed_only_after_enough_seeds() {
        let (mut seed, mut total) = (Marks::default(), Marks::default());
        for (mark, _) in Mark::ALL.iter().skip(1) {
            seed.hit(*mark);
            seed.hit(*mark);
        }
        seed.sometimes(Mark::ALL[0].0, false);
        total.add_seed(&seed);
        total.add_seed(&seed);
        assert_eq!(total.count(Mark::SnapSent), 2);
        assert_eq!(total.unseen(SEEDS_MIN - 1, false), Vec::<&str>::new());
        assert_eq!(total.unseen(SEEDS_MIN, false), vec![Mark::ALL[0].1]);
        let none = Marks::default();
        let texts = |marks: &[Mark]| -> Vec<&str> {
            Mark::ALL.iter().filter(|(mark, _)| marks.contains(mark)).map(|(_, text)| *text).collect()
        };
        let all = none.unseen(SEEDS_MIN, true).len() + STAYING.len();
        assert_eq!(all, Mark::ALL.len());
        assert!(texts(CHANGING).iter().all(|text| none.unseen(SEEDS_MIN, true).contains(text)));
        assert!(texts(CHANGING).iter().all(|text| !none.unseen(SEEDS_MIN, false).contains(text)));
    }
}
