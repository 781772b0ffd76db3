//! The rolling restart: pods that run an old template, one at a time, each step decided afresh.
//!
//! ```text
//! broken and outdated ──► observers ──► followers, the highest ordinal first ──► hand-off ──► the former leader
//!                         └── each only when all others are whole, and have been for minReadySeconds ──┘
//! ```
//!
//! *Why nothing is lost, and service goes on.* At most one healthy voter is down by our doing, and only when the others alone are a
//! synced quorum: a voter is restarted only when a majority names one leader, the configuration is settled, and every other server is
//! synced, ready and not being deleted. What was acknowledged is held by a majority; whoever restarts comes back with its volume.
//! With `emptyDir` it comes back empty, has no vote, and takes the leader's history before the next one goes.
//! The leader goes last, after it has handed its office to a follower that already runs the new template: one planned change of the
//! leader instead of one for each pod.
//!
//! *Why a bad template breaks one pod and no more.* The pod that it breaks is not whole, so nobody else is restarted. After
//! `progressDeadlineSeconds` this is called stalled.
//!
//! *Why an edit heals it.* The broken pod is outdated itself then, and what is broken adds nothing to the quorum: it may be
//! replaced although the ensemble is not whole. What counts as broken is decided from the safe side, since a member that does not
//! answer to *us* may well vote:
//! * *dead*: the kubelet says that its container does not run, and it does not answer as a follower or leader. No vote, whatever
//!   the rest is like: so a template that broke all pods, as at the first start, is healed pod by pod.
//! * *sick*: not whole otherwise. It may vote without our knowing, so it is replaced only when the others alone are a synced quorum,
//!   or when it is the only voter, is not ready, and downtime is allowed.
//!
//! A pod whose container never ran is deleted, which no budget holds up; one that ran is evicted, so that a drain and this restart
//! cannot take two servers at once. With `emptyDir` a container that ran has data in its pod: even dead it goes only when the
//! others are a quorum.
//!
//! *A supervised leader* (`mode: Supervised`) is restarted only when a person agreed to this revision, and not before everybody else is up to
//! date. Whoever led before is a follower like any other, so that a hand-off by hand is an approval, too. The size does not wait for
//! it, and neither does what is broken.
//!
//! *In Swap mode* (`mode: Swap`) nobody is restarted who votes: an observer takes the place first, see `swap.rs`.
//!
//! *Outside the maintenance windows* nobody who works is restarted, and no office is handed over. A restart that has begun ends: the pod that is
//! down comes back by itself. What is broken is replaced at any time.
//!
//! *An ensemble of one or two voters* serves nobody while one restarts: `allowDowntime` decides. With `emptyDir` its data would be gone,
//! so it is not restarted at all.
//!
//! Nothing is remembered. A pass that dies after an eviction finds a pod that is being deleted, and waits; two operators with old
//! eyes ask for the same UID, and only one pod has it.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_api::{StorageType, UpdateMode, names};

use crate::assess::{Assessment, answer};
use crate::founded::Founded;
use crate::member::Role;
use crate::observed::Observed;
use crate::outdated::{Outdated, outdated};
use crate::plan::expansion;
use crate::plan::swap::{self, Trade};
use crate::pod::PodFacts;
use crate::step::{Reconfiguration, Removal, Transfer};
use crate::validate::ValidEnsemble;
use crate::version;
use crate::window;

/// The most voters that cannot spare one.
const VOTERS_WITHOUT_SPARE: i32 = 2;

/// The next move of a rolling restart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Move {
    /// Every pod runs the newest template, or a person restarts them.
    None,
    /// The controller of StatefulSets has not seen the newest template yet.
    Unseen,
    /// A broken pod is replaced: its container never ran, so that it holds nothing.
    Delete(Removal),
    /// A broken pod is replaced.
    Heal(Removal),
    /// A healthy pod is restarted.
    Evict(Removal),
    /// The leader is next, and hands its office over first.
    Transfer(Transfer),
    /// An observer votes instead of the voter that is next.
    Trade(Reconfiguration),
    /// It is not yet safe to go on.
    Wait(String),
    /// A pod of the newest template is not well after its time: a person has to look.
    Stalled(String),
    /// A restart would cost what the spec does not allow, or not now, or not without a person.
    Blocked { reason: &'static str, message: String },
}

impl Move {
    /// Whether it replaces what is broken, which is safe although the ensemble is not whole.
    pub(crate) fn heals(&self) -> bool {
        matches!(self, Self::Delete(_) | Self::Heal(_))
    }
}

/// What a pass knows.
struct Pass<'a> {
    observed: &'a Observed,
    ensemble: &'a ValidEnsemble,
    founded: &'a Founded,
    assessment: &'a Assessment,
    outdated: Outdated,
    /// The outdated pods that are to be restarted.
    next: BTreeSet<i32>,
}

/// Decides the next move.
pub(crate) fn next(observed: &Observed, ensemble: &ValidEnsemble, founded: &Founded, assessment: &Assessment) -> Move {
    if ensemble.spec.update_strategy.mode == UpdateMode::OnDelete {
        return Move::None;
    }
    let Some(outdated) = outdated(observed, ensemble, founded) else { return Move::Unseen };
    let mut next = outdated.restartable(observed);
    next.extend(expansion::awaiting_restart(observed, ensemble, founded));
    next.retain(|ordinal| founded.is_ours(*ordinal));
    if next.is_empty() {
        return Move::None;
    }
    let pass = Pass { observed, ensemble, founded, assessment, outdated, next };
    pass.dead().or_else(|| pass.sick()).unwrap_or_else(|| pass.healthy())
}

/// The same for an ensemble that is still being founded, where only what does not run is replaced.
pub(crate) fn dead(
    observed: &Observed,
    ensemble: &ValidEnsemble,
    founded: &Founded,
    assessment: &Assessment,
) -> Option<Move> {
    if ensemble.spec.update_strategy.mode == UpdateMode::OnDelete {
        return None;
    }
    let outdated = outdated(observed, ensemble, founded)?;
    let next = outdated.template.clone();
    Pass { observed, ensemble, founded, assessment, outdated, next }.dead()
}

/// Which of these servers has not been ready for `minReadySeconds`.
pub(super) fn restless(
    observed: &Observed,
    ensemble: &ValidEnsemble,
    servers: impl Iterator<Item = i32>,
) -> Option<String> {
    let wanted = i64::from(ensemble.spec.update_strategy.min_ready_seconds);
    let young = |pod: &&PodFacts| {
        pod.ready_turned.as_ref().is_none_or(|since| observed.now.0.duration_since(since.0).as_secs() < wanted)
    };
    let pods = servers.filter_map(|ordinal| observed.pods.get(&ordinal));
    let young: Vec<&str> = pods.filter(young).map(|pod| pod.name.as_str()).collect();
    (wanted > 0 && !young.is_empty()).then(|| format!("{} is not ready for {wanted} s yet", young.join(", ")))
}

impl Pass<'_> {
    /// A pod whose container does not run.
    fn dead(&self) -> Option<Move> {
        let pod = |ordinal: &i32| Some((*ordinal, self.observed.pods.get(ordinal)?));
        let mut dead = self.next.iter().rev().filter_map(pod).filter(|(ordinal, pod)| self.is_dead(*ordinal, pod));
        dead.find_map(|(ordinal, pod)| {
            let removal = self.removal(ordinal, pod);
            if !pod.ran {
                Some(Move::Delete(removal))
            } else if self.is_persistent() || self.rest_is_quorum(ordinal) {
                Some(Move::Heal(removal))
            } else {
                None
            }
        })
    }

    fn is_dead(&self, ordinal: i32, pod: &PodFacts) -> bool {
        let silent = answer(self.observed, self.founded, ordinal).is_none_or(|status| match status.role {
            Role::Looking => true,
            Role::Following | Role::Leading | Role::Observing | Role::Standalone => false,
        });
        pod.is_broken() && !pod.deleting && silent
    }

    /// A pod that runs, is not well, and has not been for as long as its probe takes to notice: a server that changes its leader is well in a moment.
    fn sick(&self) -> Option<Move> {
        // The only voter has no rest, and takes no quorum from anybody.
        let alone = self.founded.voter_count() == 1 && self.allows_downtime() && self.is_persistent();
        let mut sick = self.next.iter().rev().filter(|ordinal| !self.is_whole(**ordinal));
        sick.find_map(|ordinal| {
            let pod = self.observed.pods.get(ordinal).filter(|pod| !pod.deleting && !pod.ready)?;
            let is_voter = self.founded.voters().contains(ordinal);
            (self.rest_is_quorum(*ordinal) || (alone && is_voter)).then(|| Move::Heal(self.removal(*ordinal, pod)))
        })
    }

    /// The next healthy one.
    fn healthy(&self) -> Move {
        if let Some((why, stalled)) = self.not_whole() {
            return if stalled { Move::Stalled(why) } else { Move::Wait(why) };
        }
        let leader = self.assessment.leader.expect("without a leader the ensemble is not whole");
        let voters = self.founded.voters();
        let observers = self.next.iter().rev().filter(|ordinal| !voters.contains(ordinal));
        let followers = self.next.iter().rev().filter(|ordinal| voters.contains(ordinal) && **ordinal != leader);
        let Some(ordinal) = observers.chain(followers).copied().next().or_else(|| self.next.get(&leader).copied())
        else {
            return Move::None;
        };
        if voters.contains(&ordinal)
            && let Some((reason, message)) = self.too_few()
        {
            return Move::Blocked { reason, message };
        }
        if ordinal == leader
            && let Some(message) = self.unapproved(leader)
        {
            return Move::Blocked { reason: "LeaderNotApproved", message };
        }
        if let Some((reason, message)) = version::unproven(self.observed, self.founded, &self.outdated) {
            return Move::Blocked { reason, message };
        }
        if let Some(message) = self.untimely() {
            return Move::Blocked { reason: "OutsideMaintenanceWindow", message };
        }
        if let Some(why) = self.restless() {
            return Move::Wait(why);
        }
        if ordinal == leader && self.founded.voter_count() > 1 {
            return self.hand_over(leader);
        }
        if voters.contains(&ordinal) && self.trades() {
            return self.trade(ordinal);
        }
        let spares = !voters.contains(&ordinal) || self.founded.voter_count() <= VOTERS_WITHOUT_SPARE;
        match self.observed.pods.get(&ordinal) {
            Some(pod) if spares || self.rest_is_quorum(ordinal) => Move::Evict(self.removal(ordinal, pod)),
            _ => Move::Wait(format!("without {} there is no synced majority", self.pod(ordinal))),
        }
    }

    /// Why nobody who is healthy may be restarted now, and whether it has lasted too long.
    fn not_whole(&self) -> Option<(String, bool)> {
        let Self { assessment, founded, observed, .. } = self;
        let servers: BTreeSet<i32> = founded.members().union(&founded.joiners()).copied().collect();
        // Of a member that is no pod of ours nothing is known, so that it does not count for the rest, and is not waited for.
        let ours = servers.into_iter().filter(|ordinal| founded.is_ours(*ordinal));
        let troubled: Vec<i32> = ours.filter(|ordinal| !self.is_whole(*ordinal)).collect();
        let deadline = i64::from(self.ensemble.spec.update_strategy.progress_deadline_seconds);
        let late = |ordinal: &&i32| {
            let pod = observed.pods.get(*ordinal).filter(|pod| !pod.deleting && !self.outdated.has(**ordinal));
            pod.and_then(|pod| self.unready_seconds(pod)).is_some_and(|seconds| seconds >= deadline)
        };
        let late: Vec<i32> = troubled.iter().filter(late).copied().collect();
        if !late.is_empty() {
            return Some((
                format!(
                    "{}: not ready within {deadline} s on the newest pod template. No other pod is restarted before it is: edit the \
                     spec, or take the edit back, and it is replaced",
                    assessment.troubles(observed, &late)
                ),
                true,
            ));
        }
        if let Some(why) = assessment.unsettled(founded) {
            return Some((why, false));
        }
        (!troubled.is_empty()).then(|| (assessment.troubles(observed, &troubled), false))
    }

    /// How long a pod has not been ready: since it was made, or since it ceased to be.
    fn unready_seconds(&self, pod: &PodFacts) -> Option<i64> {
        let since = [&pod.created_at, &pod.ready_turned].into_iter().flatten().map(|time| time.0).max()?;
        Some(self.seconds_since(&Time(since)))
    }

    /// Why an ensemble of so few voters is not restarted.
    fn too_few(&self) -> Option<(&'static str, String)> {
        let voters = self.founded.voter_count();
        if voters > VOTERS_WITHOUT_SPARE {
            return None;
        }
        let pods: Vec<String> = self.next.iter().map(|ordinal| self.pod(*ordinal)).collect();
        let pods = pods.join(", ");
        if !self.is_persistent() {
            let message = format!(
                "{pods}: a restart would lose what is stored, on emptyDir and by no majority besides; spec.replicas: 3 makes it safe"
            );
            return Some(("DataWouldBeLost", message));
        }
        (!self.allows_downtime()).then(|| {
            let message = format!(
                "{pods}: nobody is served while the restart of one of {voters} voters lasts; set \
                 spec.updateStrategy.allowDowntime: true, or spec.replicas to 3"
            );
            ("DowntimeNotAllowed", message)
        })
    }

    /// Why the leader is not restarted although it is the only one left, when a person is to agree first.
    fn unapproved(&self, leader: i32) -> Option<String> {
        let revision = &self.outdated.revision;
        let annotation = names::restart_leader_annotation();
        let approved = self.observed.ensemble.metadata.annotations.as_ref().and_then(|all| all.get(&annotation));
        if self.ensemble.spec.update_strategy.mode != UpdateMode::Supervised || approved == Some(revision) {
            return None;
        }
        let name = self.observed.name();
        let by_hand = match self.founded.voter_count() {
            1 => String::new(),
            _ => format!(", or have it hand its office over: kubectl zke transfer-leader {name}"),
        };
        Some(format!(
            "{} leads and is the last to be restarted; updateStrategy.mode is Supervised, so it waits for a person: kubectl annotate zke {name} \
             --overwrite {annotation}={revision}{by_hand}",
            self.pod(leader)
        ))
    }

    /// Until when nobody who works is restarted.
    fn untimely(&self) -> Option<String> {
        let opens = window::opens(&self.ensemble.windows, self.observed.now.0)?;
        let pods: Vec<String> = self.next.iter().rev().map(|ordinal| self.pod(*ordinal)).collect();
        Some(format!(
            "{}: restarted from {opens} on, when the next of spec.updateStrategy.maintenanceWindows opens",
            pods.join(", ")
        ))
    }

    /// Which server has not been ready long enough.
    fn restless(&self) -> Option<String> {
        restless(self.observed, self.ensemble, 0..self.founded.pods)
    }

    /// The leader is the last one that is outdated: a follower that is not takes its office.
    fn hand_over(&self, leader: i32) -> Move {
        let voters = self.founded.voters();
        let whole: Vec<i32> = voters.into_iter().filter(|o| *o != leader && self.is_whole(*o)).collect();
        // One that loaded an older configuration on the newest template will do: until the leader is restarted, nobody may have
        // shown that a restart of it helps.
        let newest = whole.iter().find(|o| !self.outdated.has(**o));
        let to = newest.or_else(|| whole.iter().find(|o| !self.outdated.template.contains(o))).copied();
        let ip = self.observed.pods.get(&leader).and_then(|pod| pod.ip.clone());
        match (to, ip) {
            (Some(to), Some(ip)) => Move::Transfer(Transfer { from: leader, to, ip, myid: self.founded.myid(to) }),
            _ => Move::Wait(format!(
                "{} leads, and no follower on the newest pod template can take over",
                self.pod(leader)
            )),
        }
    }

    /// Whether a voter observes while it is restarted.
    fn trades(&self) -> bool {
        self.ensemble.spec.update_strategy.mode == UpdateMode::Swap && self.founded.voter_count() >= swap::VOTERS_MIN
    }

    fn trade(&self, voter: i32) -> Move {
        let Self { observed, ensemble, founded, assessment, .. } = self;
        // One whose own restart would change nothing is as good as the voters, and the first of them to come back shows whether it would.
        let is_done = |ordinal| !self.outdated.has(ordinal) || self.outdated.is_doubtful(ordinal);
        let is_spare = |ordinal| founded.is_ours(ordinal) && self.is_whole(ordinal) && is_done(ordinal);
        match swap::trade(observed, ensemble, founded, assessment, voter, is_spare) {
            Trade::Asked(reconfiguration) => Move::Trade(reconfiguration),
            Trade::Unreachable => Move::Wait("the leader has no address".to_owned()),
            Trade::Impossible { reason, message } => Move::Blocked { reason, message },
        }
    }

    /// Whether the other voters alone are a synced quorum with a leader.
    fn rest_is_quorum(&self, ordinal: i32) -> bool {
        let Self { assessment, founded, .. } = self;
        // A leader that is no pod of ours is whole by being followed.
        let whole = |other: &i32| match founded.is_ours(*other) {
            true => self.is_whole(*other),
            false => assessment.leader == Some(*other),
        };
        let rest = founded.voters().into_iter().filter(|other| *other != ordinal && whole(other)).count();
        let leader = assessment.leader.is_some_and(|leader| leader != ordinal);
        leader && assessment.is_settled && i32::try_from(rest).is_ok_and(|rest| rest >= founded.quorum())
    }

    fn is_whole(&self, ordinal: i32) -> bool {
        self.assessment.stays_whole(self.observed, ordinal)
    }

    fn is_persistent(&self) -> bool {
        self.ensemble.spec.storage.type_ == StorageType::Persistent
    }

    fn allows_downtime(&self) -> bool {
        self.ensemble.spec.update_strategy.allows_downtime(self.founded.voter_count())
    }

    fn removal(&self, ordinal: i32, pod: &PodFacts) -> Removal {
        let what = if self.outdated.template.contains(&ordinal) {
            "its pod template is not the newest"
        } else if self.outdated.configuration.contains(&ordinal) {
            "it loaded another configuration than the spec asks for"
        } else {
            "the file system of its volume grows only when it is mounted again"
        };
        let trouble = pod.trouble.as_ref().map(|trouble| format!(", and it {trouble}")).unwrap_or_default();
        Removal { ordinal, pod: pod.name.clone(), uid: pod.uid.clone(), why: format!("{what}{trouble}") }
    }

    fn seconds_since(&self, time: &Time) -> i64 {
        self.observed.now.0.duration_since(time.0).as_secs()
    }

    fn pod(&self, ordinal: i32) -> String {
        names::pod(self.observed.name(), ordinal)
    }
}
