//! Volume claims that are used, and that grow: what a provisioner, its resizer and the kubelets do.

use crate::cluster::{NAME, stamp};
use crate::marks::Mark;
use crate::world::{Event, World};
use ensemble_proto::Zxid;
use operator_api::names;
use operator_core::{Claim, Resize};
use serde_json::Value;

/// Of the turns of the controller one in so many sees a claim gone that is to go.
const LINGER: u8 = 4;
/// One resize in so many fails, while there are faults, and is tried again.
const RESIZE_FAILS: u8 = 3;

/// What becomes of a claim that asks for more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Growth {
    /// Its volume is larger, and its file system is not.
    Resized,
    /// Its file system is, too.
    Grown,
}

/// The UIDs of the claims of a server: for its data, and for its log.
pub(crate) type Volumes = [Option<String>; 2];

impl World {
    /// The claims that the pod of an ordinal mounts.
    pub(crate) fn volumes(&self, ordinal: i32) -> Volumes {
        let uid = |name: String| self.cluster.claims.get(&name).map(|claim| claim.uid.clone());
        [names::data_claim(NAME, ordinal), names::txn_log_claim(NAME, ordinal)].map(uid)
    }

    /// Whether a server has lost one of its two volumes, and held something: it does not start with what is left.
    pub(crate) fn is_halved(&self, ordinal: i32) -> bool {
        let now = self.volumes(ordinal);
        let is_half = |before: &Volumes| (before[0] == now[0]) != (before[1] == now[1]);
        self.held(ordinal) && self.disks.get(&ordinal).is_some_and(is_half)
    }

    /// Whether the disk of a server has anything on it.
    fn held(&self, ordinal: i32) -> bool {
        self.servers.ledger().servers[World::server(ordinal)].durable.last() > Zxid::ZERO
    }

    /// The disk that a pod's server runs on is that of its claims. Whether it can start on them.
    pub(crate) fn mount(&mut self, ordinal: i32) -> bool {
        if self.is_halved(ordinal) {
            self.marks.hit(Mark::VolumeHalved);
            return false;
        }
        let (server, now) = (World::server(ordinal), self.volumes(ordinal));
        let before = self.disks.insert(ordinal, now.clone());
        // An empty log beside data that hold nothing is no other volume.
        if before.is_some_and(|before| before[0] != now[0]) {
            let is_wiped = self.servers.ledger().servers[server].is_wiped;
            let is_lost = (self.held(ordinal) || is_wiped) && self.is_member(ordinal);
            self.tale(|| format!("server {server} has a new volume, lost: {is_lost}"));
            self.marks.hit(if is_lost { Mark::VolumeLost } else { Mark::VolumeReplaced });
            self.servers.replace_volume(server, is_lost);
        }
        true
    }

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

    /// Claims that are to go and that no pod uses go, some of them a while later.
    pub(crate) fn let_claims_go(&mut self) {
        for name in self.cluster.unused_claims() {
            if self.random.u8(0..LINGER) == 0 {
                self.cluster.claim_is_gone(&name);
            } else {
                self.marks.hit(Mark::ClaimLingers);
            }
        }
    }

    /// Somebody asked for more room.
    pub(crate) fn resize(&mut self, uid: String) {
        self.schedule_in(1000, 8000, Event::Volume { uid, growth: Growth::Resized });
    }

    /// A claim grows, if it still is this one, and has not grown meanwhile.
    pub(crate) fn grow(&mut self, uid: String, growth: Growth) {
        let is_small = |claim: &Claim| claim.uid == uid && claim.capacity != claim.requested;
        if !self.cluster.claims.values().any(is_small) {
            return;
        }
        let now = self.now();
        match growth {
            Growth::Resized if self.is_stormy && self.random.u8(0..RESIZE_FAILS) == 0 => {
                self.marks.hit(Mark::ResizeFailed);
                self.cluster.update_claim(&uid, |claim| claim.resize = Resize::Failed("no space is left".to_owned()));
                self.schedule_in(5000, 60_000, Event::Volume { uid, growth: Growth::Resized });
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::Mutant;
    use crate::script::{Deed, Script};
    use crate::world::Outcome;
    use ensemble_sim::trace::Tell;
    use fastrand::Rng;
    use std::time::Duration;

    fn run(seed: u64, script: Script) -> Outcome {
        let outcome = World::of(seed, (script, Rng::with_seed(seed)), Mutant::None, Tell::Nothing).run();
        outcome.unwrap_or_else(|broken| panic!("seed {seed} {}: {}", broken.check, broken.message))
    }

    /// What is left of the two is given up, by a person's word.
    #[test]
    fn a_member_that_lost_one_of_its_two_volumes_is_rebuilt() {
        for (ordinal, is_log) in [(0i32, false), (1, true), (2, false), (3, true)] {
            let seed = ordinal.unsigned_abs().into();
            let outcome = run(seed, Script::quiet(3, 1, Deed::LoseOneVolume { ordinal, is_log }));
            for mark in [Mark::VolumeHalved, Mark::Rebuilt, Mark::VolumeLost, Mark::ClaimLingers] {
                assert!(outcome.marks.count(mark) > 0, "member {ordinal}: {mark:?}");
            }
        }
    }

    #[test]
    fn a_resize_that_fails_is_waited_for() {
        let mut script = Script::quiet(3, 0, Deed::Grow(5));
        script.storm = Duration::from_secs(200);
        let failed = (0..4).map(|seed| run(seed, script.clone()).marks.count(Mark::ResizeFailed)).sum::<u64>();
        assert!(failed > 0);
    }
}
