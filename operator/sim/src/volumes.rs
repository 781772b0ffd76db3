//! Volume claims that are used, and that grow: what a provisioner, its resizer and the kubelets do.

use crate::cluster::{NAME, stamp};
use crate::marks::Mark;
use crate::world::{Event, World};
use operator_api::names;
use operator_core::{Claim, Resize};
use serde_json::Value;

/// What becomes of a claim that asks for more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Growth {
    /// Its volume is larger, and its file system is not.
    Resized,
    /// Its file system is, too.
    Grown,
}

impl World {
    /// A container is about to start on the claims of an ordinal; its pod is new if they are mounted anew.
    pub(crate) fn bind(&mut self, ordinal: i32, mounts_anew: bool) {
        for name in [names::data_claim(NAME, ordinal), names::txn_log_claim(NAME, ordinal)] {
            let Some(claim) = self.cluster.claims.get_mut(&name) else { continue };
            let before = claim.clone();
            claim.bound = true;
            if mounts_anew && matches!(claim.resize, Resize::FileSystemPending(_)) {
                grow(claim);
            }
            if *claim != before {
                self.cluster.version += 1;
            }
        }
    }

    /// Somebody asked for more room.
    pub(crate) fn resize(&mut self, uid: String) {
        self.schedule_in(1000, 8000, Event::Volume { uid, growth: Growth::Resized });
    }

    /// A claim grows, if it still is this one.
    pub(crate) fn grow(&mut self, uid: String, growth: Growth) {
        let now = self.now();
        match growth {
            Growth::Resized => {
                self.cluster.update_claim(&uid, |claim| claim.resize = Resize::FileSystemPending(stamp(now)));
                if self.script.grows_mounted {
                    self.schedule_in(1000, 60_000, Event::Volume { uid, growth: Growth::Grown });
                } else {
                    self.marks.hit(Mark::FileSystemWaits);
                }
            }
            Growth::Grown => self.cluster.update_claim(&uid, grow),
        }
    }

    /// A volume that has not the size of the spec although its class allows it, or will not have it when it is made from this StatefulSet.
    pub(crate) fn undersized(&self, set: &Value) -> Option<String> {
        let spec = &self.cluster.ensemble.spec;
        let wanted = Some(spec.storage.data.size.0.as_str()).filter(|_| self.script.is_expandable)?;
        let is_next = |template: &Value| {
            template["metadata"]["name"] == names::DATA_VOLUME
                && template["spec"]["resources"]["requests"]["storage"] == wanted
        };
        if !set["spec"]["volumeClaimTemplates"].as_array().is_some_and(|all| all.iter().any(is_next)) {
            return Some("the next volumes have another size than the spec asks for".to_owned());
        }
        let names = (0..spec.replicas).map(|ordinal| names::data_claim(NAME, ordinal));
        let small =
            |name: &String| self.cluster.claims.get(name).is_none_or(|claim| claim.capacity.as_deref() != Some(wanted));
        names.into_iter().find(small).map(|name| format!("{name} has not {wanted}"))
    }
}

fn grow(claim: &mut Claim) {
    claim.capacity.clone_from(&claim.requested);
    claim.resize = Resize::None;
}
