//! The last gate before the API server: a status keeps what was recorded, but for a recovery from a lost majority.
//!
//! `operator-core` plans nothing else. The gate stays shut when a plan is wrong.

use operator_api::{RecoveryPhase, RecoveryStatus, ZooKeeperEnsembleStatus};

/// Whether a status may take the place of another one.
///
/// # Errors
/// The fact that would change.
pub(crate) fn keeps_the_facts(
    old: Option<&ZooKeeperEnsembleStatus>,
    new: &ZooKeeperEnsembleStatus,
) -> Result<(), String> {
    let Some(old) = old else { return Ok(()) };
    if old.ensemble_id.is_some() && old.ensemble_id != new.ensemble_id && !is_recovery(old, new) {
        return Err(format!("ensembleId {:?} would become {:?}", old.ensemble_id, new.ensemble_id));
    }
    match (&old.bootstrap, &new.bootstrap) {
        (Some(old), Some(new)) if old.may_become(new) => Ok(()),
        (None, _) => Ok(()),
        (Some(old), new) => Err(format!("bootstrap {old:?} would become {new:?}")),
    }
}

/// Whether a recovery begins, is withdrawn, or begins anew with another member, by which an ensemble is given up for another one.
fn is_recovery(old: &ZooKeeperEnsembleStatus, new: &ZooKeeperEnsembleStatus) -> bool {
    let under_way = old.recovery.as_ref().filter(|recovery| recovery.is_under_way());
    let begins = |recovery: &&RecoveryStatus| {
        recovery.phase == RecoveryPhase::Stopping && new.ensemble_id.as_ref() == Some(&recovery.ensemble_id)
    };
    match (under_way, &new.recovery) {
        (None, Some(next)) => begins(&next) && old.ensemble_id.as_ref() == Some(&next.former_ensemble_id),
        (Some(now), Some(next)) => {
            let abandoned = next.abandoned.as_ref();
            begins(&next)
                && now.phase == RecoveryPhase::Starting
                && now.former_ensemble_id == next.former_ensemble_id
                && abandoned.is_some_and(|abandoned| {
                    abandoned.member == now.member && old.ensemble_id.as_ref() == Some(&abandoned.ensemble_id)
                })
        }
        (Some(now), None) => {
            let is_whole = now.phase == RecoveryPhase::Stopping && now.former.is_some();
            is_whole && new.ensemble_id.as_ref() == Some(&now.former_ensemble_id)
        }
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn status(id: &str, recovery: &Value) -> ZooKeeperEnsembleStatus {
        let bootstrap = json!({ "phase": "Complete", "voters": [1, 2, 3], "volumes": {} });
        serde_json::from_value(json!({ "ensembleId": id, "bootstrap": bootstrap, "recovery": recovery }))
            .expect("a status")
    }

    /// A recovery of E by way of this member to this ensemble, in place of another attempt or not.
    fn recovery(phase: &str, member: i32, id: &str, abandoned: &Value) -> Value {
        let former = json!({ "configuration": { "version": "0x5", "voters": [1, 2, 3] }, "pods": 3 });
        let former = if abandoned.is_null() { former } else { Value::Null };
        json!({ "phase": phase, "member": member, "volumeId": "v", "formerEnsembleId": "E", "ensembleId": id, "epoch": 4, "former": former,
                "abandoned": abandoned })
    }

    #[test]
    fn an_ensemble_becomes_another_one_by_a_recovery_alone() {
        let none = Value::Null;
        let other = json!({ "member": 0, "ensembleId": "F" });
        let by = |phase: &str| recovery(phase, 0, "F", &none);
        let instead = |phase: &str| recovery(phase, 1, "G", &other);
        for (old, new, is_kept) in [
            (status("E", &none), status("F", &none), false),
            (status("E", &none), status("F", &by("Stopping")), true),
            (status("E", &none), status("F", &by("Starting")), false),
            (status("E", &none), status("G", &by("Stopping")), false),
            (status("H", &none), status("F", &by("Stopping")), false),
            (status("F", &by("Stopping")), status("E", &none), true),
            (status("F", &by("Stopping")), status("H", &none), false),
            (status("F", &by("Starting")), status("E", &none), false),
            (status("G", &instead("Stopping")), status("E", &none), false),
            (status("F", &by("Starting")), status("G", &instead("Stopping")), true),
            (status("F", &by("Starting")), status("G", &instead("Starting")), false),
            (status("F", &by("Stopping")), status("G", &instead("Stopping")), false),
            (status("F", &by("Emptying")), status("G", &instead("Stopping")), false),
            (status("F", &by("Starting")), status("G", &recovery("Stopping", 1, "G", &none)), false),
            (status("F", &by("Finished")), status("E", &none), false),
        ] {
            let recovery = |status: &ZooKeeperEnsembleStatus| format!("{:?} {:?}", status.ensemble_id, status.recovery);
            assert_eq!(keeps_the_facts(Some(&old), &new).is_ok(), is_kept, "{} -> {}", recovery(&old), recovery(&new));
        }
    }
}
