//! The founding of an ensemble: all voters at once, once, each by a grant to one volume.
//!
//! An empty server in operator mode does not vote. It waits, and says so. Somebody must tell the first ones that they
//! are first, and nobody may ever tell a server that replaces one which has voted. This is the whole danger of an
//! operator for a quorum system: two empty newcomers are a majority of three, and would elect each other.
//!
//! ```text
//!            identity and voters        volumes recorded          leader and majority
//!  (nothing) ───── recorded ─────► Pending ─────────► InProgress ───── synced ─────► Complete
//!                                     │                   │                             │
//!                 objects applied ────┘    POST /bootstrap│to each recorded volume      └── no grant, ever
//! ```
//!
//! 1. The identity of the ensemble and the list of its voters are recorded. Only then does any object exist.
//! 2. The pods start. Each finds an empty volume, draws a `volumeId` for it, and reports `awaiting-grant`.
//! 3. When a majority of the voters report so, their volumes are recorded and the phase becomes `InProgress`.
//! 4. A later pass, which has read that record, sends the grant to exactly those volumes. Voters that appear before
//!    the end are recorded and granted in the same way.
//! 5. When a majority of the voters name one leader and hold its history, the phase becomes `Complete`.
//!
//! *Why at most one ensemble.* Every granted server holds the same frozen list, so any two majorities of it share a
//! server. Two operators at once cannot record different facts: each write carries the resource version it was planned
//! from. Dying between any two steps repeats the step.
//!
//! *Why no empty volume forgets a write.* A volume that is lost after its grant comes back with another `volumeId`. The
//! lost one was recorded before its grant was sent, a record is never changed, and an ordinal with a record is never
//! granted for another volume. So a voter that may have acknowledged something never votes empty. A first grant, even a
//! late one, is harmless: that ordinal has acknowledged nothing.
//!
//! *Why no barrier write.* A quorum write would prove that a majority has taken the leader's epoch. A server says `synced`
//! only while it serves, and a leader serves only after a majority has acknowledged its NEWLEADER, which is such a write
//! (Zab, phase 2). The operator needs no session in the ensemble, and leaves no trace in it.
//!
//! *What is given up.* If a majority of the granted volumes vanish before `Complete`, a matter of seconds, the founding
//! cannot end. It stops and says so, rather than guess that nothing was written.

use std::collections::BTreeMap;

use operator_api::{Bootstrap, BootstrapPhase, ZooKeeperEnsembleSpec, names};

use crate::assess::{Assessment, answer};
use crate::founded::Founded;
use crate::member::{BootstrapState, StoreState};
use crate::observed::Observed;
use crate::plan::normal;
use crate::step::{Event, Fact, Grant};

/// The next move of the founding.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Move {
    /// The ensemble exists.
    None,
    /// A fact must be recorded before anything else.
    Record { fact: Fact, bootstrap: Bootstrap, event: Event },
    /// These volumes wait for their vote, and this is what is still missing. There may be none to grant.
    Grant { grants: Vec<Grant>, reason: String },
    /// The founding cannot end any more.
    Lost { reason: String },
}

/// The facts to begin with. The voters are the ids of the first ordinals, as many as are to vote; the others join when the ensemble
/// exists.
pub(crate) fn begin(spec: &ZooKeeperEnsembleSpec) -> Bootstrap {
    Bootstrap {
        phase: BootstrapPhase::Pending,
        voters: (0..spec.voter_count()).map(|ordinal| ordinal + spec.myid_offset).collect(),
        volumes: BTreeMap::new(),
        completed_at: None,
    }
}

/// Decides the next move.
pub(crate) fn next(observed: &Observed, founded: &Founded, assessment: &Assessment) -> Move {
    match founded.bootstrap.phase {
        BootstrapPhase::Complete => Move::None,
        BootstrapPhase::Pending => pending(observed, founded, assessment),
        BootstrapPhase::InProgress => in_progress(observed, founded, assessment),
    }
}

fn pending(observed: &Observed, founded: &Founded, assessment: &Assessment) -> Move {
    let waiting = waiting(observed, founded);
    if count(&waiting) >= founded.quorum() {
        return record_volumes(observed, founded, &waiting);
    }
    let reason = format!(
        "{} of {} voters are up and empty, {} are needed{}",
        waiting.len(),
        founded.voter_count(),
        founded.quorum(),
        missing(assessment, &waiting)
    );
    Move::Grant { grants: Vec::new(), reason }
}

fn in_progress(observed: &Observed, founded: &Founded, assessment: &Assessment) -> Move {
    if assessment.is_available(founded) {
        return complete(observed, founded, assessment);
    }
    let waiting = waiting(observed, founded);
    let unrecorded: BTreeMap<i32, String> =
        waiting.iter().filter(|(o, _)| founded.bootstrap.volume(**o).is_none()).map(|(o, v)| (*o, v.clone())).collect();
    if !unrecorded.is_empty() {
        return record_volumes(observed, founded, &unrecorded);
    }
    let lost = lost(observed, founded);
    if founded.voter_count() - count(&lost) < founded.quorum() {
        return Move::Lost { reason: lost_reason(observed, &lost) };
    }
    let grants: Vec<Grant> =
        waiting.iter().filter_map(|(ordinal, volume)| grant(observed, founded, *ordinal, volume)).collect();
    let reason = format!(
        "{} of {} voters are synced, {} are needed{}",
        assessment.synced_voters,
        founded.voter_count(),
        founded.quorum(),
        missing(assessment, &BTreeMap::new())
    );
    Move::Grant { grants, reason }
}

/// The voters of this ensemble that are empty and wait for a grant, with their volumes.
fn waiting(observed: &Observed, founded: &Founded) -> BTreeMap<i32, String> {
    let waits = |ordinal: i32| {
        let pod = observed.pods.get(&ordinal).filter(|pod| !pod.deleting && pod.ip.is_some());
        let status = answer(observed, founded, ordinal).filter(|status| {
            status.bootstrap == BootstrapState::AwaitingGrant && status.store_state == StoreState::Uninitialized
        });
        pod.and(status).and_then(|status| status.volume_id.clone()).map(|volume| (ordinal, volume))
    };
    founded.voters().into_iter().filter_map(waits).collect()
}

/// The voters that answer from another volume than the one recorded for them: the recorded one is gone.
fn lost(observed: &Observed, founded: &Founded) -> BTreeMap<i32, String> {
    let lost = |ordinal: i32| {
        let recorded = founded.bootstrap.volume(ordinal)?;
        let runs_on = answer(observed, founded, ordinal)?.volume_id.as_deref()?;
        (runs_on != recorded).then(|| (ordinal, recorded.to_owned()))
    };
    founded.voters().into_iter().filter_map(lost).collect()
}

/// A grant, if this is the volume that is recorded for the ordinal.
fn grant(observed: &Observed, founded: &Founded, ordinal: i32, volume: &str) -> Option<Grant> {
    let recorded = founded.bootstrap.volume(ordinal)?;
    let ip = observed.pods.get(&ordinal)?.ip.clone()?;
    (recorded == volume).then(|| Grant {
        ordinal,
        ip,
        ensemble_id: founded.ensemble_id.clone(),
        voters: founded.bootstrap.voters.clone(),
        volume_id: volume.to_owned(),
    })
}

fn record_volumes(observed: &Observed, founded: &Founded, volumes: &BTreeMap<i32, String>) -> Move {
    let mut bootstrap = founded.bootstrap.clone();
    bootstrap.phase = BootstrapPhase::InProgress;
    for (ordinal, volume) in volumes {
        let before = bootstrap.volumes.insert(ordinal.to_string(), volume.clone());
        assert!(before.is_none_or(|before| before == *volume), "a recorded volume is never changed");
    }
    let pods: Vec<String> = volumes.keys().map(|ordinal| names::pod(observed.name(), *ordinal)).collect();
    let event = normal("GrantingVotes", format!("the empty volumes of {} are granted their vote", pods.join(", ")));
    Move::Record { fact: Fact::Volumes, bootstrap, event }
}

fn complete(observed: &Observed, founded: &Founded, assessment: &Assessment) -> Move {
    let mut bootstrap = founded.bootstrap.clone();
    bootstrap.phase = BootstrapPhase::Complete;
    bootstrap.completed_at = Some(observed.now.clone());
    let leader = assessment.leader.map(|ordinal| names::pod(observed.name(), ordinal)).unwrap_or_default();
    let note = format!(
        "ensemble {} exists: {leader} leads, {} of {} voters are synced",
        founded.ensemble_id,
        assessment.synced_voters,
        founded.voter_count()
    );
    Move::Record { fact: Fact::Complete, bootstrap, event: normal("EnsembleFounded", note) }
}

/// What is wrong with the voters that are not in `fine`, as the end of a sentence.
fn missing(assessment: &Assessment, fine: &BTreeMap<i32, String>) -> String {
    let texts: Vec<&str> = assessment
        .problems
        .iter()
        .filter(|problem| !fine.contains_key(&problem.ordinal))
        .map(|problem| problem.text.as_str())
        .collect();
    if texts.is_empty() { String::new() } else { format!("; {}", texts.join("; ")) }
}

fn lost_reason(observed: &Observed, lost: &BTreeMap<i32, String>) -> String {
    let pods: Vec<String> = lost
        .iter()
        .map(|(ordinal, volume)| format!("{} (volume {volume})", names::pod(observed.name(), *ordinal)))
        .collect();
    format!(
        "the volumes of a majority were lost after they were granted their vote and before the ensemble was seen whole: \
         {}. A write in that moment may be gone, so no other volume is granted a vote. Delete the ensemble and its \
         volume claims, and create it again",
        pods.join(", ")
    )
}

fn count(map: &BTreeMap<i32, String>) -> i32 {
    i32::try_from(map.len()).expect("there are at most 7 voters")
}
