//! Operator mode: the keys `ensemble.id` and `ensemble.recovery.*`.

use super::ConfigError;
use super::settings::{Operator, ZooCfg};
use super::values::Values;
use ensemble_proto::Epoch;
use ensemble_storage::TakeOver;

/// Whose history the ensemble takes over: the former ensemble's UUID, the volume's id, and an epoch that no server of it has passed.
const RECOVERY: [&str; 3] = ["ensemble.recovery.from", "ensemble.recovery.volume", "ensemble.recovery.epoch"];
/// One epoch follows, and a zxid has 31 bits for it.
const EPOCH_MAX: i64 = i32::MAX as i64 - 1;

/// `None` without `ensemble.id`.
pub(super) fn operator(values: &Values) -> Result<Option<Operator>, ConfigError> {
    let Some(id) = values.text("ensemble.id") else {
        return match RECOVERY.into_iter().find(|key| values.text(key).is_some()) {
            Some(key) => Err(ConfigError::Conflict(format!("{key}: needs ensemble.id"))),
            None => Ok(None),
        };
    };
    if !is_uuid(id) {
        return Err(values.wrong("ensemble.id", "a UUID"));
    }
    let missing =
        ConfigError::Missing { key: "ensemble.adminTokenFile", why: "ensemble.id needs it, for POST /bootstrap" };
    values.text("ensemble.adminTokenFile").ok_or(missing)?;
    Ok(Some(Operator { ensemble_id: id.to_ascii_lowercase(), recovery: recovery(values)?, file: ZooCfg::default() }))
}

/// All three keys or none. The configuration that a volume begins with is kept, as one that was reached by a reconfiguration is.
fn recovery(values: &Values) -> Result<Option<TakeOver>, ConfigError> {
    let [former, volume, epoch] = RECOVERY;
    let given: Vec<_> = RECOVERY.into_iter().filter(|key| values.text(key).is_some()).collect();
    let (Some(former_id), Some(volume_id), Some(_)) = (values.text(former), values.text(volume), values.text(epoch))
    else {
        return match given.first() {
            None => Ok(None),
            Some(key) => Err(ConfigError::Conflict(format!("{key}: needs {} too", RECOVERY.join(", ")))),
        };
    };
    for (key, id) in [(former, former_id), (volume, volume_id)] {
        if !is_uuid(id) {
            return Err(values.wrong(key, "a UUID"));
        }
    }
    if !values.flag("reconfigEnabled", false)? {
        return Err(ConfigError::Conflict(format!("{former}: needs reconfigEnabled=true")));
    }
    let epoch = values.number(epoch, 0, 0, EPOCH_MAX, "an epoch from 0 to 2147483646")?;
    Ok(Some(TakeOver {
        former_id: former_id.to_ascii_lowercase(),
        volume_id: volume_id.to_owned(),
        epoch: Epoch(epoch),
    }))
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.chars().all(|c| c.is_ascii_hexdigit()))
}
