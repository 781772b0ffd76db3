//! A volume of an ensemble that lost its majority becomes the first member of a new ensemble, with the history that it holds.
//!
//! Whoever decides that names the volume, and with it the former ensemble and an epoch that no server of that is known to have passed.
//! What a store says of itself is then changed in this order, each step durable before the next:
//!
//! 1. the store is opened as at any start. One that is damaged, or that holds nobody's whole history, is refused as it is;
//! 2. the identity on the data volume says the new ensemble, and that the take-over is under way; then the one on the log volume;
//! 3. `acceptedEpoch` becomes E, later than every epoch that the store or the caller knows of; `currentEpoch` follows the record;
//! 4. the last seen configuration, then **the record E.1**, then the active configuration: this server votes, and nobody else is a member;
//! 5. the identity says no more that something is under way.
//!
//! # What a crash leaves
//!
//! Before 2 the volume is the former ensemble's, as it was. From 2 on it is the new ensemble's whatever is configured: no start takes it
//! for the former one's again, and so no server that votes alone is ever a member of that. A start that finds step 2 done begins at 1, with an
//! epoch later than before; a record E.1 of an attempt that ended before 5 stays in the history, where it changes nothing: nobody has seen it,
//! and the one of the next attempt says the same.
//!
//! # Why the configuration is a record
//!
//! Zab's proofs rest on that a history holds the reconfiguration that made each configuration (`ensemble_zab::reconfig`). A configuration
//! that only the files know would be unknown to those who get their history from this server: they could take up the last one that the
//! history holds, in which they may be a majority.
//!
//! The former ensemble's other volumes keep their identity. They are refused by [`crate::Identity::claim`], as volumes of another ensemble.
//!
//! Differs from ZooKeeper, where a person edits `zoo.cfg` of the servers that are left.

use crate::disk::{Dir, Disk};
use crate::error::StorageError;
use crate::identity::{Identity, IdentityError, TakingOver};
use crate::storage::{Options, Storage};
use bytes::Bytes;
use ensemble_proto::durable::Write;
use ensemble_proto::membership::Membership;
use ensemble_proto::{Epoch, Zxid};

/// A take-over, as somebody decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeOver {
    /// The ensemble whose history goes on: a UUID.
    pub former_id: String,
    /// The volume that holds it, and no other.
    pub volume_id: String,
    /// The highest epoch that any server of the former ensemble is known to have promised or entered.
    pub epoch: Epoch,
}

/// A take-over that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenOver {
    /// The ensemble whose history goes on.
    pub former_id: String,
    /// The end of that history.
    pub last: Zxid,
    /// The record that makes this server the only member.
    pub zxid: Zxid,
}

/// Carries out the take-over that is `asked` for, if the volumes are those that it names, or one that a crash has left under way. The server
/// is `myid` of `ensemble_id`; `reconfiguration` makes its configuration in this version, and the payload of the record.
///
/// Returns `None`, with nothing changed, when there is nothing to do: whether the volumes are this server's at all is for
/// [`Identity::claim`] to say.
///
/// # Errors
/// [`IdentityError`] when the two volumes are no pair, or the store cannot be trusted, or holds no history.
pub fn take_over<D: Disk>(
    disk: &mut D,
    (ensemble_id, myid): (&str, i64),
    asked: Option<&TakeOver>,
    options: &Options,
    reconfiguration: impl FnOnce(Zxid) -> (Membership, Bytes),
) -> Result<Option<TakenOver>, IdentityError> {
    let Some(found) = Identity::read(disk, Dir::DataRoot)? else { return Ok(None) };
    if found.myid != myid {
        return Ok(None);
    }
    let taking_over = match (&found.taking_over, asked) {
        (Some(pending), _) if found.ensemble_id == ensemble_id => pending.clone(),
        (None, Some(asked)) if found.ensemble_id == asked.former_id && found.volume_id == asked.volume_id => {
            TakingOver { from: asked.former_id.clone(), epoch: asked.epoch.0 }
        }
        _ => return Ok(None),
    };
    if options.configuration.is_none() {
        return Err(StorageError::layout("configuration", "it cannot be kept, so that nothing is taken over").into());
    }
    let former = Identity { ensemble_id: taking_over.from.clone(), taking_over: None, ..found.clone() };
    let own = Identity { ensemble_id: ensemble_id.to_owned(), ..former.clone() };
    if disk.has_separate_log() {
        let log = Identity::read(disk, Dir::LogRoot)?;
        if !log.is_some_and(|log| log == former || found.taking_over.is_some() && log == own) {
            let problem = "its identity is not that of the data volume, so that nothing is taken over: a volume was lost or exchanged";
            return Err(StorageError::layout(Dir::LogRoot, problem).into());
        }
    }
    // A store that is set aside, or begun anew, has nothing that could be taken over.
    let options = Options { repair: false, autocreate: false, trust_empty: false, ..options.clone() };
    let (mut storage, recovered) = Storage::open(disk.clone(), options)?;
    let last = recovered.last_zxid();
    if !recovered.trusted || last <= Zxid::ZERO {
        let problem = "the store does not hold the whole history of any leader, so that there is nothing to take over";
        return Err(StorageError::layout(Dir::Data, problem).into());
    }
    Identity { taking_over: Some(taking_over.clone()), ..own.clone() }.write(disk, Dir::DataRoot)?;
    if disk.has_separate_log() {
        own.write(disk, Dir::LogRoot)?;
    }
    let known = [recovered.accepted_epoch, last.epoch(), Epoch(taking_over.epoch)];
    let epoch = Epoch(known.map(|epoch| epoch.0).into_iter().fold(0, i64::max) + 1);
    let zxid = Zxid::new(epoch, 1);
    let (membership, payload) = reconfiguration(zxid);
    storage.perform(&Write::AcceptedEpoch(epoch))?;
    storage.perform(&Write::LastSeen(membership.clone()))?;
    storage.perform(&Write::Append { zxid, payload })?;
    storage.perform(&Write::Membership(membership))?;
    own.write(disk, Dir::DataRoot)?;
    Ok(Some(TakenOver { former_id: taking_over.from, last, zxid }))
}
