//! Broken operators, to show that the simulator and the scenarios on a cluster notice. Only in builds with the feature `mutants`.

use crate::{Hold, MemberStatus, Observed, Plan, Removal, Role, Step, StoreState};
use operator_api::{RebuildClaim, UpdateMode, names};
use std::collections::VecDeque;

/// A broken operator, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mutant {
    /// The production planner.
    #[default]
    None,
    /// Restarts a leader before the others, and without a hand-off.
    IgnoresLeader,
    /// Takes a joiner that does not hold the leader's history for one that does.
    CountsUnsynced,
    /// Deletes the claims of a server as soon as it has asked for its removal.
    DeletesClaimsEarly,
    /// Restarts another pod along with the one that is outdated.
    RestartsTwo,
    /// Believes what it saw of pods, claims and servers a few passes ago.
    BelievesStaleCache,
    /// Rebuilds a member as soon as it is asked for, whatever the others are like, and without a record.
    RebuildsAtOnce,
    /// Takes a node that is not ready for one that a person said to be off.
    VouchesForNodes,
    /// Goes on with an ensemble that is being deleted.
    IgnoresDeletion,
    /// Restarts those who vote in Swap mode, too.
    SwapsNobody,
    /// Takes any word of a person for the id of the ensemble that is to be given up.
    ConfirmsItself,
    /// Deletes the volumes of the members that a recovery gives up before the one that goes on serves.
    EmptiesEarly,
}

impl Mutant {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Mutant); 11] = [
        ("ignores_leader", Mutant::IgnoresLeader),
        ("counts_unsynced", Mutant::CountsUnsynced),
        ("deletes_claims_early", Mutant::DeletesClaimsEarly),
        ("restarts_two", Mutant::RestartsTwo),
        ("believes_stale_cache", Mutant::BelievesStaleCache),
        ("rebuilds_at_once", Mutant::RebuildsAtOnce),
        ("vouches_for_nodes", Mutant::VouchesForNodes),
        ("ignores_deletion", Mutant::IgnoresDeletion),
        ("swaps_nobody", Mutant::SwapsNobody),
        ("confirms_itself", Mutant::ConfirmsItself),
        ("empties_early", Mutant::EmptiesEarly),
    ];

    /// The one of this name.
    pub fn by_name(name: &str) -> Option<Mutant> {
        Mutant::ALL.iter().find(|(found, _)| *found == name).map(|(_, mutant)| *mutant)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Mutant::ALL.iter().find(|(_, mutant)| *mutant == self).map_or("none", |(name, _)| name)
    }

    /// What it takes for what it saw; the newest of `past` is the same.
    pub fn observed(self, mut seen: Observed, past: &VecDeque<Observed>) -> Observed {
        match self {
            Mutant::CountsUnsynced => unsynced_counted(seen),
            Mutant::BelievesStaleCache => match past.front() {
                Some(old) => Observed {
                    pods: old.pods.clone(),
                    claims: old.claims.clone(),
                    members: old.members.clone(),
                    ..seen
                },
                None => seen,
            },
            Mutant::VouchesForNodes => {
                seen.nodes.values_mut().for_each(|node| node.out_of_service = true);
                seen
            }
            Mutant::IgnoresDeletion => {
                seen.ensemble.metadata.deletion_timestamp = None;
                seen
            }
            Mutant::SwapsNobody => {
                let mode = &mut seen.ensemble.spec.update_strategy.mode;
                if *mode == UpdateMode::Swap {
                    *mode = UpdateMode::LeaderLast;
                }
                seen
            }
            Mutant::ConfirmsItself => {
                let id = seen.ensemble.status.as_ref().and_then(|status| status.ensemble_id.clone());
                if let (Some(recovery), Some(id)) = (&mut seen.ensemble.spec.recovery, id) {
                    recovery.confirm = id;
                }
                seen
            }
            Mutant::None
            | Mutant::IgnoresLeader
            | Mutant::DeletesClaimsEarly
            | Mutant::RestartsTwo
            | Mutant::RebuildsAtOnce
            | Mutant::EmptiesEarly => seen,
        }
    }

    /// What it makes of a plan.
    pub fn plan(self, mut plan: Plan, observed: &Observed) -> Plan {
        match self {
            Mutant::IgnoresLeader => {
                let leads = |status: &MemberStatus| status.role == Role::Leading;
                let leader = observed.members.iter().find(|(_, status)| status.as_ref().is_ok_and(leads));
                for step in &mut plan.steps {
                    let instead = match step {
                        Step::Transfer(transfer) => Some(transfer.from),
                        Step::Evict(_) => leader.map(|(ordinal, _)| *ordinal),
                        _ => None,
                    };
                    if let Some(removal) = instead.and_then(|ordinal| removal(observed, ordinal)) {
                        *step = Step::Evict(removal);
                    }
                }
            }
            Mutant::DeletesClaimsEarly => {
                let leaving = plan.steps.iter().find_map(|step| match step {
                    Step::Reconfigure(change) => Some(change.leaving.clone()),
                    _ => None,
                });
                for id in leaving.into_iter().flatten() {
                    plan.steps.extend(claims(observed, &(id - 1).to_string()));
                }
            }
            Mutant::RestartsTwo => {
                let first = plan.steps.iter().find_map(|step| match step {
                    Step::Evict(removal) => Some(removal.ordinal),
                    _ => None,
                });
                if let Some(first) = first
                    && let Some(second) = observed.pods.keys().find(|ordinal| **ordinal != first)
                {
                    plan.steps.extend(removal(observed, *second).map(Step::DeletePod));
                }
            }
            Mutant::RebuildsAtOnce => {
                let annotations = observed.ensemble.metadata.annotations.as_ref();
                if let Some(asked) = annotations.and_then(|all| all.get(&names::rebuild_annotation())) {
                    plan.steps.extend(claims(observed, asked));
                }
            }
            Mutant::EmptiesEarly => {
                let status = observed.ensemble.status.as_ref();
                let recovery = status.and_then(|status| status.recovery.as_ref()).filter(|r| r.is_under_way());
                let claims = recovery.into_iter().flat_map(|recovery| &recovery.claims);
                let hold = |claim: &RebuildClaim| Hold { name: claim.name.clone(), uid: claim.uid.clone() };
                plan.steps.extend(claims.map(|claim| Step::DeleteClaim(hold(claim))));
            }
            Mutant::None
            | Mutant::CountsUnsynced
            | Mutant::BelievesStaleCache
            | Mutant::VouchesForNodes
            | Mutant::IgnoresDeletion
            | Mutant::SwapsNobody
            | Mutant::ConfirmsItself => {}
        }
        plan
    }
}

/// The steps that delete the claims of an ordinal.
fn claims(observed: &Observed, ordinal: &str) -> Vec<Step> {
    let suffix = format!("-{ordinal}");
    let claims = observed.claims.iter().filter(|claim| claim.name.ends_with(&suffix) && !claim.deleting);
    claims.map(|claim| Step::DeleteClaim(Hold { name: claim.name.clone(), uid: claim.uid.clone() })).collect()
}

fn removal(observed: &Observed, ordinal: i32) -> Option<Removal> {
    let pod = observed.pods.get(&ordinal)?;
    Some(Removal { ordinal, pod: pod.name.clone(), uid: pod.uid.clone(), why: "the operator is broken".to_owned() })
}

fn unsynced_counted(mut seen: Observed) -> Observed {
    let leader = seen.members.values().flatten().find(|status| status.role == Role::Leading).map(|status| status.myid);
    for (ordinal, status) in &mut seen.members {
        if let (Ok(status), Some(leader)) = (status, leader)
            && status.store_state != StoreState::Synced
        {
            (status.role, status.leader, status.store_state) = (Role::Following, Some(leader), StoreState::Synced);
            if let Some(pod) = seen.pods.get_mut(ordinal) {
                pod.ready = true;
            }
        }
    }
    seen
}
