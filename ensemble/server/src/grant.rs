//! `POST /bootstrap`: whether a grant is for this server's empty store, and what makes it durable.

use crate::admin::Grant;
use crate::config::Settings;
use crate::report::{Bootstrap, Report};
use ensemble_storage::RealDisk;

/// Takes a grant; whether it is new, and the server must be built anew from its store.
///
/// # Errors
/// Why it is not for this server, or cannot be written, for who sent it.
pub(crate) fn accept(grant: &Grant, report: &Report, settings: &Settings, mut disk: RealDisk) -> Result<bool, String> {
    let is_new = check(grant, report, settings)?;
    if is_new {
        ensemble_storage::write_initialize_marker(&mut disk).map_err(|error| error.to_string())?;
    }
    Ok(is_new)
}

/// Whether a grant is for this server, and whether it is not in force yet.
fn check(grant: &Grant, report: &Report, settings: &Settings) -> Result<bool, String> {
    let identity = &report.identity;
    let Some(ensemble_id) = &identity.ensemble_id else {
        return Err("this server has no ensemble.id: it needs no grant".into());
    };
    if !grant.ensemble_id.eq_ignore_ascii_case(ensemble_id) {
        return Err(format!("ensembleId: this server belongs to {ensemble_id}, not to {}", grant.ensemble_id));
    }
    if Some(&grant.volume_id) != identity.volume_id.as_ref() {
        let own = identity.volume_id.as_deref().unwrap_or("none");
        return Err(format!("volumeId: this volume is {own}, not {}", grant.volume_id));
    }
    let voters: Vec<i64> = settings.ensemble.membership.voters().map(|id| id.0).collect();
    let mut granted = grant.voters.clone();
    granted.sort_unstable();
    if granted != voters {
        return Err(format!("voters: the configuration has {voters:?}, not {granted:?}"));
    }
    if !settings.ensemble.is_founder(settings.id) {
        let id = settings.id;
        return Err(format!("voters: zoo.cfg has no participant {id}: it is to join, and gets what the members have"));
    }
    match report.bootstrap() {
        Bootstrap::AwaitingGrant => Ok(true),
        Bootstrap::Granted => Ok(false),
        Bootstrap::Closed => Err("the store is not empty any more: there is nothing to grant".into()),
    }
}
