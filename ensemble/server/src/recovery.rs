//! The first start of a server whose volume is to become the first member of a new ensemble, because the former one lost its majority
//! (`ensemble.recovery.*`). What becomes of the volume, and in which order, is in [`ensemble_storage::take_over`].

use crate::clock::Clock;
use crate::config::Settings;
use crate::member::MemberError;
use ensemble_peer::alone;
use ensemble_storage::{RealDisk, take_over as take_over_volume};

/// Takes the volume over, if that is what is asked for, or what a crash has left undone; whether it did.
///
/// # Errors
/// Whatever keeps the volume from being taken over. It is then the former ensemble's, unless it was not before.
pub(crate) fn take_over(settings: &Settings, clock: Clock) -> Result<bool, MemberError> {
    let (Some(operator), Some(own)) = (&settings.operator, &settings.ensemble.own) else { return Ok(false) };
    let directories = &settings.directories;
    let disk = RealDisk::open(&directories.data, &directories.log, settings.datadir_autocreate)?;
    let mut disk = settings.with_config(disk);
    let time_ms = clock.now().wall_ms;
    let reconfiguration = |zxid| alone(settings.id, own, zxid, time_ms);
    let owner = (operator.ensemble_id.as_str(), settings.id.0);
    let taken = take_over_volume(&mut disk, owner, operator.recovery.as_ref(), &settings.storage, reconfiguration)?;
    if let Some(taken) = &taken {
        tracing::warn!(
            server = settings.id.0,
            ensemble = operator.ensemble_id,
            former = taken.former_id,
            last = %taken.last,
            zxid = %taken.zxid,
            "this volume is taken over from an ensemble that lost its majority: its history goes on with this server as the only member"
        );
    }
    Ok(taken.is_some())
}
