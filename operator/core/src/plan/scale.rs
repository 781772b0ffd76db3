//! The size of an ensemble: from the members it has to those that the spec asks for, two voters at a time.
//!
//! Three lists of servers are kept apart, and each changes by a different act:
//!
//! | What | Is | Changes by |
//! |---|---|---|
//! | the pods | `status.pods`, recorded | the StatefulSet, scaled by a pass that has read the record |
//! | the members | the committed configuration, as a server reports it | `POST /reconfig` at the leader |
//! | the goal | the lowest `spec.replicas` ordinals, the lowest of these voting | an edit |
//!
//! ```text
//! growing     pods += n ──► joiners synced ──► reconfiguration, two voters at a time ──► done
//! shrinking   the leader stays? else hand-off ──► reconfiguration ──► active at a majority ──► claims stamped ──► pods -= n
//! ```
//!
//! *The only voter* that is not the one of the goal, as after a recovery, can hand its office to nobody: it is asked for the
//! configuration of the next one all the same, has its history acknowledged by that, and names it the leader at the commit.
//!
//! *Why nothing is lost by growing.* A joiner has no vote before it is a member. It becomes one only when it holds the leader's
//! history, in a transaction that both the old and the new majority acknowledge. So two empty newcomers are never a majority.
//! The server itself refuses a configuration without a synced quorum; this module only asks when it sees one.
//!
//! *Why nothing is lost by shrinking.* Who leaves is out of the committed configuration, and a majority of the rest counts by
//! it, before a pod is taken away: its vote counts for nothing any more.
//!
//! *Why a volume that comes back is harmless.* A server that knows that it was removed does not vote when it starts again. A claim is
//! stamped with the version of the configuration that its server has confirmed it is not in; a pod is only made over an unused claim if it is
//! so stamped. One that could not confirm, because it was down, might believe that it votes: it is stamped as unconfirmed, and
//! nothing grows over it until a person has deleted it.
//!
//! *An even number of voters* is never asked for: a step changes two, or exchanges one.
//!
//! Each pass begins from what is observed. The version of the configuration goes with the request, so that two operators, or an
//! operator and a person, cannot both change it from the same state.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use operator_api::{Reclaim, names};

use crate::assess::{Assessment, Problem, answer};
use crate::build;
use crate::conditions::find;
use crate::founded::Founded;
use crate::member::{Role, StoreState};
use crate::observed::{Claim, Observed};
use crate::pod::PodFacts;
use crate::step::{Hold, Reconfiguration, Stamp, Transfer};
use crate::validate::ValidEnsemble;

/// How long a change of the size waits for a server that does not confirm its removal and whose pod runs, in seconds.
const CONFIRMATION_SECONDS: i64 = 60;
/// The version on the claim of a server that could not confirm its removal.
const UNCONFIRMED: &str = "unconfirmed-";

/// The next move towards the size that the spec asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Move {
    /// The ensemble has the size that the spec asks for.
    None,
    /// There are to be so many pods.
    Pods(i32),
    /// The leader is asked for another configuration.
    Reconfigure(Reconfiguration),
    /// The leader is to leave, or to vote no more, and hands its office over first.
    Transfer(Transfer),
    /// Claims get their stamp, or lose it.
    Stamp(Vec<Stamp>),
    /// Claims of servers that were removed are deleted.
    Delete(Vec<Hold>),
    /// It is not yet safe to go on, or not yet possible.
    Wait(String),
    /// Only a person can help.
    Blocked { reason: &'static str, message: String },
}

/// Which way the ensemble goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Servers are to join, or to vote.
    Up,
    /// Servers are to leave, or to vote no more.
    Down,
    /// It has the size that the spec asks for, and not the lowest ordinals vote, as after a restart in Swap mode.
    Trades,
    /// It has the size that the spec asks for, and the lowest ordinals vote.
    Stays,
}

/// The least number of pods, by the newest configuration that a server reports: its members whose address is that of a pod of ours. More
/// than are recorded when the record was lost, or when a change that was given up came through after all.
pub(crate) fn least_pods(observed: &Observed, ensemble: &ValidEnsemble, founded: &Founded) -> i32 {
    let known = observed.members.keys().filter_map(|ordinal| answer(observed, founded, *ordinal));
    let newest = known.map(|status| &status.config).max_by_key(|config| config.version());
    let ours = |(id, value): (i32, &str)| {
        let ordinal = id - founded.myid(0);
        let domain = ensemble.spec.cluster_domain.as_deref();
        let host = names::member_host(&ensemble.name, &ensemble.namespace, domain, ordinal);
        value.starts_with(&format!("{host}:")).then_some(ordinal + 1)
    };
    newest.into_iter().flat_map(|config| config.lines().flatten().filter_map(ours)).max().unwrap_or_default()
}

/// A configuration as sets of ordinals.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Members {
    voters: BTreeSet<i32>,
    observers: BTreeSet<i32>,
}

impl Members {
    fn all(&self) -> BTreeSet<i32> {
        self.voters.union(&self.observers).copied().collect()
    }

    fn has(&self, ordinal: i32) -> bool {
        self.voters.contains(&ordinal) || self.observers.contains(&ordinal)
    }
}

/// What a pass knows.
struct Pass<'a> {
    observed: &'a Observed,
    ensemble: &'a ValidEnsemble,
    founded: &'a Founded,
    assessment: &'a Assessment,
    now: Members,
    goal: Members,
}

/// Which way the size of the ensemble differs from the goal.
pub(crate) fn way(ensemble: &ValidEnsemble, founded: &Founded) -> Way {
    let (now, goal) = (present(founded), goal(ensemble));
    let has_all_pods = founded.pods == ensemble.spec.replicas;
    if now == goal && has_all_pods {
        Way::Stays
    } else if has_all_pods && now.voters.len() == goal.voters.len() && now.all() == goal.all() {
        Way::Trades
    } else if now.voters.len() > goal.voters.len()
        || now.all().iter().any(|ordinal| !goal.has(*ordinal))
        || founded.pods > ensemble.spec.replicas
    {
        Way::Down
    } else {
        Way::Up
    }
}

/// Decides the next move. The ensemble exists.
pub(crate) fn next(observed: &Observed, ensemble: &ValidEnsemble, founded: &Founded, assessment: &Assessment) -> Move {
    let pass = Pass { observed, ensemble, founded, assessment, now: present(founded), goal: goal(ensemble) };
    let unstamped = pass.unstamp();
    if !unstamped.is_empty() {
        return Move::Stamp(unstamped);
    }
    if way(ensemble, founded) == Way::Stays {
        return pass.delete();
    }
    if let Some(why) = assessment.unsettled(founded) {
        return Move::Wait(why);
    }
    // Pods that count for nothing may go whatever the members are like: one may hold the place that a member needs.
    let pods = founded.needed_pods().max(ensemble.spec.replicas);
    if founded.pods > pods {
        return pass.drop_pods(pods);
    }
    if let Some(message) = foreign_voters(founded) {
        return Move::Blocked { reason: "ForeignVoters", message };
    }
    if let Some(why) = pass.unsafe_now() {
        return Move::Wait(why);
    }
    if let Some(next) = pass.fewer() {
        return pass.reconfigure(&next);
    }
    // What stands in the way of the next pod does not stand in the way of those that are there.
    let pods = if founded.pods < pods { Some(pass.add_pods(pods)) } else { None };
    match (pods, pass.more()) {
        (Some(Move::Pods(pods)), _) => Move::Pods(pods),
        (_, Ok(Some(next))) => pass.reconfigure(&next),
        (Some(blocked), _) => blocked,
        (None, Ok(None)) => pass.delete(),
        (None, Err(why)) => Move::Wait(why),
    }
}

/// The members that are pods of ours.
fn present(founded: &Founded) -> Members {
    let ours = |ordinals: BTreeSet<i32>| ordinals.into_iter().filter(|ordinal| founded.is_ours(*ordinal)).collect();
    Members { voters: ours(founded.voters()), observers: ours(founded.observers()) }
}

fn goal(ensemble: &ValidEnsemble) -> Members {
    let voters = ensemble.spec.voter_count();
    Members { voters: (0..voters).collect(), observers: (voters..ensemble.spec.replicas).collect() }
}

/// The ordinals that vote and are to observe, and those that take their places.
pub(crate) fn misplaced(ensemble: &ValidEnsemble, founded: &Founded) -> (Vec<i32>, Vec<i32>) {
    let (now, goal) = (present(founded).voters, goal(ensemble).voters);
    (now.difference(&goal).copied().collect(), goal.difference(&now).copied().collect())
}

/// Why the members may not change: whoever made servers that are no pods of ours voters decides about the number of voters, and
/// nothing is known of what they hold.
pub(super) fn foreign_voters(founded: &Founded) -> Option<String> {
    let foreign = founded.voters().into_iter().filter(|ordinal| !founded.is_ours(*ordinal));
    let names: Vec<String> = foreign.map(|ordinal| format!("server.{}", founded.myid(ordinal))).collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} votes and is no pod of this ensemble: remove it by a reconfiguration, or let it observe, and the size follows \
             spec.replicas again",
            names.join(", ")
        )
    })
}

/// The reconfiguration in which an observer of ours votes instead of a voter, which observes; none while the leader has no address.
pub(super) fn traded(
    observed: &Observed,
    ensemble: &ValidEnsemble,
    founded: &Founded,
    assessment: &Assessment,
    voter: i32,
    observer: i32,
) -> Option<Reconfiguration> {
    let now = present(founded);
    let mut next = now.clone();
    next.voters.remove(&voter);
    next.observers.remove(&observer);
    next.voters.insert(observer);
    next.observers.insert(voter);
    Pass { observed, ensemble, founded, assessment, goal: next.clone(), now }.request(&next)
}

impl Pass<'_> {
    /// Why the members may not change now: every voter that stays must be well.
    fn unsafe_now(&self) -> Option<String> {
        let Self { assessment, goal, .. } = self;
        let staying: Vec<&Problem> = assessment
            .problems
            .iter()
            .filter(|p| goal.has(p.ordinal) && self.now.voters.contains(&p.ordinal))
            .collect();
        (!staying.is_empty()).then(|| texts(staying))
    }

    /// The configuration after the next step down, or exchange; none when nothing has to go.
    fn fewer(&self) -> Option<Members> {
        let Self { now, goal, assessment, .. } = self;
        let mut next = now.clone();
        let surplus = now.voters.len().saturating_sub(goal.voters.len());
        // From an even number, which only somebody else can have made, to the odd one below it.
        let drop = if now.voters.len() % 2 == 0 { surplus.min(1) } else { surplus.min(2) };
        // Who does not hold everything goes first: so the voters that are left do, those of the goal being well.
        let mut wrong: Vec<&i32> = now.voters.difference(&goal.voters).collect();
        wrong.sort_by_key(|ordinal| (assessment.synced.contains(ordinal), Reverse(**ordinal)));
        for ordinal in wrong.into_iter().take(drop) {
            next.voters.remove(ordinal);
            if goal.observers.contains(ordinal) {
                next.observers.insert(*ordinal);
            }
        }
        next.observers.retain(|ordinal| goal.has(*ordinal));
        (next != *now).then_some(next)
    }

    /// The configuration after the next step up; none when nobody has to come.
    fn more(&self) -> Result<Option<Members>, String> {
        let Self { observed, now, goal, assessment, .. } = self;
        let mut next = now.clone();
        let whole = |ordinal: &&i32| assessment.stays_whole(observed, **ordinal);
        let missing: Vec<i32> = goal.voters.difference(&now.voters).copied().collect();
        let add = match (missing.len(), now.voters.len() % 2) {
            (0, _) => 0,
            // As many voters as asked for, and one of them is the wrong one.
            _ if now.voters.len() >= goal.voters.len() => 1,
            (_, 0) => 1,
            _ => 2,
        };
        let ready: Vec<i32> = missing.iter().filter(whole).copied().take(add).collect();
        if ready.len() == add && add > 0 {
            if now.voters.len() >= goal.voters.len()
                && let Some(wrong) = now.voters.difference(&goal.voters).max()
            {
                next.voters.remove(wrong);
                next.observers.insert(*wrong);
            }
            for ordinal in &ready {
                next.observers.remove(ordinal);
                next.voters.insert(*ordinal);
            }
            // An observer acknowledges nothing before it votes. Where the others are no quorum of the next configuration, one that is to
            // be promoted leaves it first: then it follows, and acknowledges, without a vote.
            let acknowledge =
                |ordinal: &&i32| assessment.synced.contains(*ordinal) && !now.observers.contains(*ordinal);
            let acknowledging = next.voters.iter().filter(acknowledge).count();
            if acknowledging <= next.voters.len() / 2
                && let Some(observer) = ready.iter().find(|ordinal| now.observers.contains(*ordinal))
            {
                let mut first = now.clone();
                first.observers.remove(observer);
                return Ok(Some(first));
            }
            return Ok(Some(next));
        }
        let observers = goal.observers.iter().filter(|ordinal| !now.has(**ordinal)).filter(whole).copied();
        next.observers.extend(observers);
        if next != *now {
            return Ok(Some(next));
        }
        let waiting: Vec<i32> = goal.voters.union(&goal.observers).filter(|o| !now.has(**o)).copied().collect();
        if missing.is_empty() && waiting.is_empty() {
            return Ok(None);
        }
        let problems: Vec<&Problem> =
            assessment.joining.iter().chain(&assessment.problems).filter(|problem| goal.has(problem.ordinal)).collect();
        Err(if problems.is_empty() { "the next voters are not synced yet".to_owned() } else { texts(problems) })
    }

    /// Asks for a configuration; the leader hands its office over first if it would have no vote in it and another voter would.
    fn reconfigure(&self, next: &Members) -> Move {
        let Self { observed, founded, assessment, now, .. } = self;
        let leader = assessment.leader.expect("a majority follows a leader, or nothing changes");
        let Some(reconfiguration) = self.request(next) else {
            return Move::Wait(format!("{} leads and has no address", self.pod(leader)));
        };
        let staying: Vec<&i32> = next.voters.intersection(&now.voters).collect();
        if !next.voters.contains(&leader) && !staying.is_empty() {
            return match staying.into_iter().find(|ordinal| assessment.stays_whole(observed, **ordinal)) {
                Some(to) => {
                    Move::Transfer(Transfer { from: leader, to: *to, ip: reconfiguration.ip, myid: founded.myid(*to) })
                }
                None => Move::Wait(format!("{} leads and nobody who stays can take over", self.pod(leader))),
            };
        }
        Move::Reconfigure(reconfiguration)
    }

    /// What the leader is asked for; none while it has no address.
    fn request(&self, next: &Members) -> Option<Reconfiguration> {
        let Self { observed, ensemble, founded, assessment, now, .. } = self;
        let leader = assessment.leader?;
        let ip = observed.pods.get(&leader).and_then(|pod| pod.ip.clone())?;
        let line = |ordinal: &i32, role: &str| {
            format!("server.{}={}", founded.myid(*ordinal), build::server(ensemble, &ordinal.to_string(), role))
        };
        let voters = next.voters.difference(&now.voters).map(|ordinal| line(ordinal, "participant"));
        let observers = next.observers.difference(&now.observers).map(|ordinal| line(ordinal, "observer"));
        let all = now.voters.union(&now.observers);
        Some(Reconfiguration {
            leader,
            ip,
            version: founded.configuration.version.clone(),
            joining: voters.chain(observers).collect(),
            leaving: all.filter(|ordinal| !next.has(**ordinal)).map(|ordinal| founded.myid(*ordinal)).collect(),
        })
    }

    /// More pods, as far as no claim stands in the way.
    fn add_pods(&self, pods: i32) -> Move {
        let Self { founded, .. } = self;
        let blocked = (founded.pods..pods).find_map(|ordinal| {
            let taken = self.taken_id(ordinal).map(|message| (ordinal, "ServerIdTaken", message));
            taken.or_else(|| self.unusable_claim(ordinal).map(|message| (ordinal, "StaleVolume", message)))
        });
        match blocked {
            None => Move::Pods(pods),
            Some((ordinal, ..)) if ordinal > founded.pods => Move::Pods(ordinal),
            Some((_, reason, message)) => Move::Blocked { reason, message },
        }
    }

    /// Why no pod of this ordinal may be made: a server of somebody else's has its id, and two servers of one id could each complete a
    /// majority. (A member of ours is within the recorded number of pods, see [`least_pods`].)
    fn taken_id(&self, ordinal: i32) -> Option<String> {
        let id = self.founded.myid(ordinal);
        self.founded.members().contains(&ordinal).then(|| {
            format!(
                "{} would be server {id}, and a server that is no pod of this ensemble is a member under this id: remove it by a \
                 reconfiguration first, or found an ensemble with another myidOffset",
                self.pod(ordinal)
            )
        })
    }

    /// Why no pod may be made over the claims of an ordinal.
    fn unusable_claim(&self, ordinal: i32) -> Option<String> {
        let claims = self.claims(ordinal);
        let other = claims.iter().find(|claim| claim.ensemble_id.as_ref() != Some(&self.founded.ensemble_id));
        if let Some(claim) = other {
            let id = claim.ensemble_id.as_deref().unwrap_or("none that is known");
            return Some(format!(
                "claim {} was made for ensemble {id}: delete it, if its data may go, to let {} be made",
                claim.name,
                self.pod(ordinal)
            ));
        }
        let confirmed = |claim: &&&Claim| claim.retired.as_ref().is_some_and(|stamp| !stamp.starts_with(UNCONFIRMED));
        let doubtful = claims.iter().find(|claim| claim.bound && !confirmed(claim))?;
        Some(format!(
            "claim {} may hold what {} stored before it was removed, and the server could not confirm that it was: it might still \
             believe that it votes; delete the claim to let the pod be made with an empty volume",
            doubtful.name,
            self.pod(ordinal)
        ))
    }

    /// Fewer pods, once the claims say for which configuration they are retired.
    fn drop_pods(&self, pods: i32) -> Move {
        let Self { founded, .. } = self;
        let mut stamps = Vec::new();
        for ordinal in pods..founded.pods {
            let stamp = match self.removal(ordinal) {
                Removal::Confirmed => founded.configuration.version.clone(),
                Removal::Unconfirmed => format!("{UNCONFIRMED}{}", founded.configuration.version),
                Removal::Awaited => {
                    return Move::Wait(format!("{} has not confirmed yet that it was removed", self.pod(ordinal)));
                }
            };
            stamps.extend(
                self.claims(ordinal).into_iter().filter(|claim| claim.retired.as_ref() != Some(&stamp)).map(|claim| {
                    Stamp { claim: claim.name.clone(), uid: claim.uid.clone(), value: Some(stamp.clone()) }
                }),
            );
        }
        if stamps.is_empty() { Move::Pods(pods) } else { Move::Stamp(stamps) }
    }

    fn removal(&self, ordinal: i32) -> Removal {
        let Self { observed, founded, .. } = self;
        let Some(status) = answer(observed, founded, ordinal) else { return self.awaited_for_a_while(ordinal) };
        let knows = status.config.version().is_some_and(|version| version >= founded.version());
        // An empty volume has no vote, whatever its server believes.
        if status.store_state == StoreState::Uninitialized || (knows && !status.config.names(status.myid)) {
            return Removal::Confirmed;
        }
        // One that follows is told with the next transaction. One without a leader may never be.
        match status.role {
            Role::Following | Role::Observing | Role::Leading => Removal::Awaited,
            Role::Looking | Role::Standalone => self.awaited_for_a_while(ordinal),
        }
    }

    /// One answer that is missing proves nothing about a pod that runs; but the others do not wait for it for ever.
    fn awaited_for_a_while(&self, ordinal: i32) -> Removal {
        let runs = |pod: &&PodFacts| !pod.deleting && pod.trouble.is_none() && pod.ip.is_some();
        let status = self.observed.ensemble.status.as_ref();
        let progressing = status.and_then(|status| find(&status.conditions, "Progressing"));
        let since = progressing.filter(|condition| condition.status == "True").map(|c| c.last_transition_time.0);
        let waited = since.map_or(0, |since| self.observed.now.0.duration_since(since).as_secs());
        match self.observed.pods.get(&ordinal).filter(runs) {
            Some(_) if waited < CONFIRMATION_SECONDS => Removal::Awaited,
            _ => Removal::Unconfirmed,
        }
    }

    /// The stamps of claims that are in use again.
    fn unstamp(&self) -> Vec<Stamp> {
        let members = self.now.voters.union(&self.now.observers);
        let claims = members.flat_map(|ordinal| self.claims(*ordinal)).filter(|claim| claim.retired.is_some());
        claims.map(|claim| Stamp { claim: claim.name.clone(), uid: claim.uid.clone(), value: None }).collect()
    }

    /// The claims that the spec wants deleted: retired, of an ordinal that is no member, without a pod, and none to come.
    fn delete(&self) -> Move {
        let Self { observed, founded, ensemble, .. } = self;
        if ensemble.spec.storage.reclaim_policy.on_scale_down != Reclaim::Delete || !self.assessment.is_settled {
            return Move::None;
        }
        // Until its controller has seen the size, it may make a pod over these claims.
        let is_sized = |set: &serde_json::Value| {
            set["spec"]["replicas"].as_i64().is_some_and(|replicas| replicas <= i64::from(founded.pods))
        };
        if !observed.seen_set().is_some_and(is_sized) {
            return Move::None;
        }
        let unused = |claim: &&Claim| {
            let ordinal = claim.name.rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse::<i32>().ok());
            claim.retired.is_some()
                && claim.ensemble_id.as_ref() == Some(&founded.ensemble_id)
                && ordinal.is_some_and(|o| {
                    o >= founded.pods && !observed.pods.contains_key(&o) && !founded.members().contains(&o)
                })
        };
        let claims = observed.claims.iter().filter(unused);
        let holds: Vec<Hold> = claims.map(|claim| Hold { name: claim.name.clone(), uid: claim.uid.clone() }).collect();
        if holds.is_empty() { Move::None } else { Move::Delete(holds) }
    }

    fn claims(&self, ordinal: i32) -> Vec<&Claim> {
        self.observed.claims_of(&self.ensemble.spec.storage, ordinal)
    }

    fn pod(&self, ordinal: i32) -> String {
        names::pod(self.observed.name(), ordinal)
    }
}

/// Whether a server knows that it was removed.
enum Removal {
    /// Its kept configuration does not name it: it will not vote when it starts again.
    Confirmed,
    /// It does not say so, and nobody can wait for that.
    Unconfirmed,
    /// It will.
    Awaited,
}

fn texts(problems: Vec<&Problem>) -> String {
    problems.iter().map(|problem| problem.text.as_str()).collect::<Vec<_>>().join("; ")
}
