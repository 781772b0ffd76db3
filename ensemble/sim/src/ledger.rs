//! What an all-seeing observer knows: what was proposed, what each server asked its disk for, was promised and applied.
//!
//! The world writes it, the invariants read it. Nothing of it reaches a server.

use crate::invariants::i9_sessions::Life;
use crate::quorums::is_quorum;
use crate::trace::{Verdict, Violation};
use bytes::Bytes;
use ensemble_proto::durable::Write;
use ensemble_proto::membership::Membership;
use ensemble_proto::{Epoch, ServerId, SessionId, Zxid};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The history on one server: everything up to `base` by a snapshot, then records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Zxid of the snapshot under the records.
    pub base: Zxid,
    /// Records after it.
    pub records: Vec<Zxid>,
    /// `acceptedEpoch`.
    pub accepted: Epoch,
    /// `currentEpoch`.
    pub current: Epoch,
}

impl Log {
    /// The last record, or the snapshot.
    pub fn last(&self) -> Zxid {
        self.records.last().copied().unwrap_or(self.base)
    }

    /// The last record before this zxid, or the snapshot.
    pub fn last_before(&self, zxid: Zxid) -> Zxid {
        let earlier = self.records.partition_point(|record| *record < zxid);
        earlier.checked_sub(1).map_or(self.base, |index| self.records[index])
    }

    /// The records after a zxid and up to another.
    pub fn between(&self, after: Zxid, to: Zxid) -> &[Zxid] {
        let end = self.records.partition_point(|record| *record <= to);
        &self.records[self.records.partition_point(|record| *record <= after).min(end)..end]
    }

    /// Whether the record is there, or covered by the snapshot.
    pub fn has(&self, zxid: Zxid) -> bool {
        zxid <= self.base || self.records.binary_search(&zxid).is_ok()
    }

    /// What a write makes of it.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Append { zxid, .. } => {
                if *zxid > self.last() {
                    self.records.push(*zxid);
                }
            }
            Write::Truncate { to } => {
                self.records.retain(|zxid| zxid <= to);
                self.base = self.base.min(*to);
            }
            Write::AcceptedEpoch(epoch) => self.accepted = *epoch,
            Write::CurrentEpoch(epoch) => self.current = *epoch,
            Write::InstallSnapshot { zxid } => {
                self.records.clear();
                self.base = *zxid;
            }
            Write::ReceiveSnapshot { .. } | Write::SnapshotPart { .. } | Write::AbandonSnapshot => {}
            Write::LastSeen(_) | Write::Membership(_) => {}
        }
    }
}

/// One server, as observed.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// What it asked for.
    pub requested: Log,
    /// What was reported durable.
    pub durable: Log,
    /// The last transaction applied in this life.
    pub applied: Zxid,
    /// The version of the latest configuration that it keeps, active or last seen.
    pub configuration: Zxid,
    /// Its volume was lost, and it has not been in sync with a leader since.
    pub is_wiped: bool,
    /// Its snapshots were taken away while its logs have records: it must set its store aside, and only then.
    pub is_damaged: bool,
    /// Snapshots of which a bit has turned: whoever reads the store passes them over.
    pub rotten: Vec<String>,
}

/// A committed transaction.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its position.
    pub zxid: Zxid,
    /// Its record.
    pub payload: Bytes,
}

/// Everything observed in a run.
pub struct Ledger {
    /// By server.
    pub servers: Vec<Observed>,
    /// Every record that any server ever asked its disk for, and when first.
    pub proposed: BTreeMap<Zxid, (Bytes, Duration)>,
    /// The single order, as far as any server has applied it.
    pub committed: Vec<Committed>,
    /// Who was established in an epoch.
    pub leaders: BTreeMap<Epoch, usize>,
    /// Who promised an epoch to which server, and the history that it had then: its current epoch and its last record.
    pub promises: BTreeMap<(Epoch, usize), BTreeMap<usize, (Epoch, Zxid)>>,
    /// When the leader of an epoch was established.
    pub established: BTreeMap<Epoch, Duration>,
    /// The digest of the tree after a transaction.
    pub digests: BTreeMap<Zxid, u64>,
    /// Every session that has begun.
    pub sessions: BTreeMap<SessionId, Life>,
    /// Whether a session may write that has not begun in the order, because one server knows it alone.
    pub has_local_sessions: bool,
    /// The configuration in force.
    pub membership: Membership,
    /// How many reconfigurations were asked for by whoever operates the servers, without a session.
    pub owned: usize,
}

impl Ledger {
    /// Of so many servers.
    pub fn new(servers: usize) -> Ledger {
        Ledger {
            servers: vec![Observed::default(); servers],
            proposed: BTreeMap::new(),
            committed: Vec::new(),
            leaders: BTreeMap::new(),
            promises: BTreeMap::new(),
            established: BTreeMap::new(),
            digests: BTreeMap::new(),
            sessions: BTreeMap::new(),
            has_local_sessions: false,
            membership: crate::server::membership(servers),
            owned: 0,
        }
    }

    /// The voters of the configuration in force, by index.
    pub fn voters(&self) -> BTreeSet<usize> {
        self.voting().collect()
    }

    /// The same, one by one.
    pub fn voting(&self) -> impl Iterator<Item = usize> {
        self.membership.voters().filter_map(|id| usize::try_from(id.0 - 1).ok())
    }

    /// Whether those of them that agree, by index, are enough.
    pub fn is_quorum(&self, agrees: impl Fn(usize) -> bool) -> bool {
        is_quorum(&self.membership, |id| usize::try_from(id.0 - 1).is_ok_and(&agrees))
    }

    /// Whether a server has a record durably. One that lost its volume counts as having it: what it once had is not the protocol's to lose.
    pub fn has(&self, server: usize, zxid: Zxid) -> bool {
        self.servers.get(server).is_some_and(|server| server.is_wiped || server.durable.has(zxid))
    }

    /// The same of a server by its id, as configurations name it.
    pub fn member_has(&self, id: ServerId, zxid: Zxid) -> bool {
        usize::try_from(id.0 - 1).is_ok_and(|server| self.has(server, zxid))
    }

    /// The last committed transaction.
    pub fn last_committed(&self) -> Zxid {
        self.committed.last().map_or(Zxid::ZERO, |committed| committed.zxid)
    }

    /// How many transactions up to this zxid are committed; `None` when the zxid is not one of them.
    pub fn position(&self, zxid: Zxid) -> Option<usize> {
        if zxid <= Zxid::ZERO {
            return Some(0);
        }
        self.committed.binary_search_by_key(&zxid, |committed| committed.zxid).ok().map(|index| index + 1)
    }

    /// A server asks its disk for a write.
    ///
    /// # Errors
    /// I-2 when a zxid is given to two different records, I-1 when epochs go back, I-5 when a committed record is removed or an epoch is
    /// entered that no quorum has promised to a history like this.
    pub fn requested(&mut self, server: usize, write: &Write, now: Duration) -> Verdict {
        if let Write::Append { zxid, payload } = write {
            let (first, _) = self.proposed.entry(*zxid).or_insert_with(|| (payload.clone(), now));
            if first != payload {
                return Err(Violation::new(
                    "I-2",
                    format!("server {server} logs another record {zxid} than was proposed"),
                ));
            }
        }
        crate::invariants::i1_epochs::written(&self.servers[server].requested, server, write)?;
        crate::invariants::i5_completeness::written(self, server, write)?;
        if let Write::CurrentEpoch(epoch) = write {
            crate::invariants::i5_completeness::entered(self, server, *epoch)?;
        }
        self.servers[server].requested.apply(write);
        Ok(())
    }

    /// A server's disk reported a write durable.
    ///
    /// # Errors
    /// I-11 when it is a reconfiguration without its configuration.
    pub fn persisted(&mut self, server: usize, write: &Write) -> Verdict {
        let observed = &mut self.servers[server];
        observed.durable.apply(write);
        match write {
            Write::LastSeen(membership) | Write::Membership(membership) => {
                observed.configuration = observed.configuration.max(membership.version);
                Ok(())
            }
            Write::Append { zxid, payload } => {
                crate::invariants::i11_membership::logged(server, *zxid, payload, observed.configuration)
            }
            _ => Ok(()),
        }
    }

    /// A server promises an epoch to the one that leads it, and says what its history is; `None` when it has promised the epoch before and
    /// does not count. What it was promised itself came to nothing. Whether the leader, which has not entered the epoch yet, knows less.
    pub fn promised(&mut self, server: usize, leader: usize, history: Option<(Epoch, Zxid)>) -> bool {
        let epoch = self.servers[server].requested.accepted;
        self.promises.remove(&(epoch, server));
        let Some(history) = history else { return false };
        self.promises.entry((epoch, leader)).or_default().insert(server, history);
        let log = &self.servers[leader].requested;
        log.current < epoch && history > crate::invariants::i5_completeness::history(log.current, log.last())
    }

    /// A server has applied everything up to a zxid.
    ///
    /// # Errors
    /// The invariants of a commit.
    pub fn applied(&mut self, server: usize, zxid: Zxid) -> Verdict {
        let before = self.servers[server].applied;
        if zxid == before {
            return Ok(());
        }
        if zxid < before {
            return Err(Violation::new("I-5", format!("server {server} had applied {before} and now {zxid}")));
        }
        let known = self.committed.len();
        crate::invariants::i2_agreement::applied(self, server, before, zxid)?;
        for index in known..self.committed.len() {
            crate::invariants::i3_order::committed(self, index)?;
            crate::invariants::i4_durability::committed(self, index)?;
            crate::invariants::i9_sessions::committed(self, index)?;
            crate::invariants::i11_membership::committed(self, index)?;
        }
        self.servers[server].applied = zxid;
        Ok(())
    }
}
