//! The end of an ensemble: a person deletes the resource, and the garbage collector what it owned.
//!
//! In the background the resource is gone at once, in the foreground when all that it owned is; operators may be in the middle of
//! anything. There is no finalizer: whatever a call that was on its way makes has an owner that is no more, and is collected, too. What must
//! be left is each claim, where the spec says so.

use crate::cluster::{Cluster, Refusal, time};
use crate::marks::Mark;
use crate::world::{Event, Outcome, World};
use ensemble_sim::trace::Violation;
use operator_api::Reclaim;
use std::time::Duration;

/// How long the garbage collector is given.
const COLLECTED: Duration = Duration::from_secs(120);

impl World {
    /// The ensemble is deleted after a while, and what is left of it is looked at.
    ///
    /// # Errors
    /// The first promise found broken.
    pub(crate) fn end(&mut self, after: Duration) -> Result<Outcome, Violation> {
        self.run_until(self.now() + after)?;
        let is_foreground = self.random.bool();
        self.tale(|| format!("the ensemble is deleted, in the foreground: {is_foreground}"));
        self.marks.hit(Mark::Deleted);
        let kept = self.to_be_kept();
        self.cluster.delete(is_foreground, self.now());
        self.schedule(self.now(), Event::Collect);
        let began = self.now();
        self.run_until(began + COLLECTED)?;
        let left = &self.cluster;
        let lost = |uid: &&String| {
            !left.claims.values().any(|claim| claim.uid == **uid) && !self.judge.given_up.contains(*uid)
        };
        let problem = if let Some(uid) = kept.iter().find(lost) {
            format!("{uid} was to be kept when the ensemble was deleted, and is gone")
        } else if !left.objects.is_empty() || !left.pods.is_empty() || left.token.is_some() {
            let objects: Vec<&String> = left.objects.keys().map(|(_, name)| name).collect();
            format!("{objects:?}, {} pods and a token, {}, are left", left.pods.len(), left.token.is_some())
        } else {
            let servers = self.servers.summary();
            return Ok(Outcome { servers, marks: self.marks, writes: left.writes, converged_in: Duration::ZERO });
        };
        Err(Violation::new("O-11", problem))
    }

    /// The UIDs of the claims that stay, when the spec says so and an operator has answered that.
    fn to_be_kept(&self) -> Vec<String> {
        let ensemble = &self.cluster.ensemble;
        let is_answered =
            ensemble.status.as_ref().is_some_and(|status| status.observed_generation == ensemble.metadata.generation);
        let is_kept = ensemble.spec.storage.reclaim_policy.on_delete == Reclaim::Retain && is_answered;
        let claims = self.cluster.claims.values().filter(|claim| is_kept && !claim.deleting);
        claims.map(|claim| claim.uid.clone()).collect()
    }

    /// The garbage collector's turn, and that of the one of pods, which forgets those on nodes that a person says to be off.
    pub(crate) fn collect(&mut self) {
        self.schedule_in(300, 3000, Event::Collect);
        self.cluster.collect();
        for ordinal in self.cluster.pods.keys().copied().collect::<Vec<_>>() {
            let is_new = self.cluster.end_pod(ordinal, self.now());
            self.going(ordinal, is_new);
            if self.is_out_of_service(ordinal) {
                self.cluster.pod_is_gone(ordinal);
            }
        }
        self.cluster.is_gone |= self.cluster.objects.is_empty() && self.cluster.pods.is_empty();
    }
}

impl Cluster {
    /// A person deletes the resource.
    fn delete(&mut self, is_foreground: bool, now: Duration) {
        self.ensemble.metadata.deletion_timestamp = Some(time(now));
        self.is_gone = !is_foreground;
        self.edit(|_| {});
    }

    /// Removes what the resource owned, and what was made for it since.
    fn collect(&mut self) {
        let owner = self.ensemble.metadata.uid.clone().unwrap_or_default();
        self.objects.retain(|_, object| object["metadata"]["ownerReferences"][0]["uid"] != owner.as_str());
        self.token = None;
        let owned = self.claims.values().filter(|claim| claim.owners.contains(&owner));
        for name in owned.map(|claim| claim.name.clone()).collect::<Vec<_>>() {
            self.remove_claim(&name);
        }
        self.version += 1;
    }

    /// Whether a write of the resource still finds it.
    pub(crate) fn is_there(&self) -> Result<(), Refusal> {
        if self.is_gone { Err(Refusal::NotFound) } else { Ok(()) }
    }
}
