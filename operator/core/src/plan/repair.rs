//! The rebuild of a member: its volume claims and its pod go, and it comes back on empty volumes.
//!
//! ```text
//! annotation ──► others a synced quorum? ──► recorded ──► leads? hand-off ──► claims deleted ──► pod evicted ──► in sync ──► finished
//!                                            └── the UIDs of two claims and a pod, and no others ──┘
//! ```
//!
//! It is for a volume that nobody can use any more: its disk is dead, its files cannot be trusted, or one of the two is lost. Only a
//! person asks for it, by the annotation `zookeeper.ensemble.rs/rebuild`, unless `spec.repair.autoRebuild` leaves to the operator a server
//! that says itself that its files cannot be trusted. Should the new volumes bring it no further, that rebuild never ends, and no other begins.
//! A pod that is no member yet, or no more, is rebuilt while it does not start: it holds nothing that counts, and could not join over its volumes.
//!
//! *Why nothing is lost.* A member's volume is given up only when every other voter is synced and ready, a majority without the member
//! names one leader, and the configuration is settled: what was acknowledged until then is on every other voter. The member comes
//! back empty, and an empty volume has no vote before it holds a leader's history (ADR 3), so that whoever elects with it has
//! elected without it. The leader hands its office over first.
//!
//! *Why it is one rebuild for each request.* What is to go is recorded first, by UID; a later pass that has read the record deletes
//! these claims, and asks for the eviction of the pod that holds them. The volumes that the StatefulSet makes next have other UIDs, so
//! that they are out of reach of this record, whatever dies where and however often a step is repeated. The record stays when the
//! rebuild is finished, and answers the annotation; the same member is rebuilt again when the annotation was away in between. A rebuild that nobody
//! asked for keeps in its record which annotation was answered before, so that this one is not carried out a second time.
//!
//! *Why claims go before the pod.* A claim in use goes when its pod does (`kubernetes.io/pvc-protection`). The other way round, the
//! StatefulSet would make the pod over the old claims; over a claim that is being deleted it makes none.
//!
//! *Until the first claim is deleted* a rebuild can be called off, by taking the annotation away. Afterwards it is finished: a
//! member that lost one of its two volumes is of no use. When the old volumes are gone and the new ones bring the member no further,
//! another request may take the place of the one that does not end.
//!
//! A request that waits holds nothing up. While the member runs on volumes that are on their way out, the size stays: the member must
//! not become the one that a smaller majority depends on. Once the volumes are gone, the rest of the plan goes on by its own rules,
//! under which nobody healthy is restarted, and the members stay as they are, while one that stays is not whole.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_api::{Rebuild, RebuildClaim, StorageType, names};

use super::{Next, Plan, hand_off, normal, not_looked_at, record, report, roll};
use crate::assess::Assessment;
use crate::conditions::Holds;
use crate::founded::Founded;
use crate::observed::{Claim, Observed};
use crate::pod::{EXIT_UNTRUSTED, PodFacts};
use crate::status::{self, Progress, Verdict};
use crate::step::{Fact, Hold, Removal, Step, Transfer};
use crate::validate::ValidEnsemble;

/// The reason in the condition `Progressing` while a member is rebuilt.
pub(super) const REASON: &str = "Rebuilding";

/// What a pass does about a rebuild.
pub(super) enum Pass {
    /// None is asked for, or only an edit can let it begin.
    Nothing,
    /// One is asked for, and begins when the others are well. Nothing waits for it.
    Asked,
    /// One is under way, and waits for this.
    Waits(String),
    /// The same, and the member still runs on volumes that are being deleted: the size must not change.
    Holds(String),
    /// This is the whole plan.
    Acts(Plan),
}

/// The next move of a rebuild.
#[derive(Clone, Debug, PartialEq)]
enum Move {
    /// None is asked for.
    None,
    /// It cannot be carried out until somebody edits something.
    Refused(String),
    /// It is asked for, and does not begin yet.
    Asked(String),
    /// It is to begin.
    Begin(Rebuild),
    /// It is not asked for any more, or its member is none any more.
    Forget(String),
    /// The member leads, and hands its office over first.
    Transfer(Transfer),
    /// The claims and the pod go.
    Replace { claims: Vec<Hold>, pod: Option<Removal> },
    /// It is under way, and the member's volumes are not gone for this reason.
    Hold(String),
    /// The volumes are gone, and it waits for this.
    Wait(String),
    /// The member is back in sync.
    Finish(Rebuild),
    /// It is finished.
    Finished(Rebuild),
}

/// Plans what a rebuild needs next. The ensemble exists, and its objects are in place.
pub(super) fn pass(observed: &Observed, ensemble: &ValidEnsemble, founded: &Founded, assessment: &Assessment) -> Pass {
    let moving = |message: String| Verdict { progress: Progress::Moving(REASON, message), ..Verdict::default() };
    let recorded = |rebuild: Option<Rebuild>, reason: &str, note: String, verdict: Verdict| {
        let recorded = Founded { rebuild, ..founded.clone() };
        let event = normal(reason, note);
        Pass::Acts(record(observed, ensemble, &recorded, assessment, &verdict, Vec::new(), Fact::Rebuild, event))
    };
    let (steps, note) = match next(observed, ensemble, founded, assessment) {
        Move::None | Move::Refused(_) | Move::Finished(_) => return Pass::Nothing,
        Move::Asked(_) => return Pass::Asked,
        Move::Wait(why) => return Pass::Waits(why),
        Move::Hold(why) => return Pass::Holds(why),
        Move::Begin(rebuild) => {
            let note =
                format!("{} is to be rebuilt: {}", names::pod(observed.name(), rebuild.ordinal), going(&rebuild));
            return recorded(Some(rebuild), "RebuildBegins", note.clone(), moving(note));
        }
        Move::Forget(why) => return recorded(None, "RebuildForgotten", why, Verdict::default()),
        Move::Finish(rebuild) => {
            let note = format!("{} is in sync on new volumes", names::pod(observed.name(), rebuild.ordinal));
            return recorded(Some(rebuild), "MemberRebuilt", note, Verdict::default());
        }
        Move::Transfer(transfer) => {
            let mut steps = Vec::new();
            let note = hand_off(observed, transfer, "is to be rebuilt", &mut steps);
            (steps, note)
        }
        Move::Replace { claims, pod } => {
            let mut steps = Vec::new();
            let names: Vec<&str> = claims.iter().map(|claim| claim.name.as_str()).collect();
            let mut note = format!("{}: deleted for the rebuild", names.join(", "));
            if names.is_empty() {
                note = "the claims are deleted, and the pod is to go".to_owned();
            } else {
                steps.push(Step::Report(normal("ClaimsDeleted", note.clone())));
            }
            steps.extend(claims.into_iter().map(Step::DeleteClaim));
            steps.extend(pod.map(Step::Evict));
            (steps, note)
        }
    };
    let status = status::founded(observed, Some(ensemble), founded, assessment, &moving(note));
    Pass::Acts(report(observed, status, steps, Next::Soon))
}

/// The condition `Rebuilt`; none when no rebuild was asked for.
pub(crate) fn told(
    observed: &Observed,
    ensemble: Option<&ValidEnsemble>,
    founded: &Founded,
    assessment: &Assessment,
) -> Option<(Holds, &'static str, String)> {
    let is_asked = founded.rebuild.is_some() || asked(observed).is_some();
    let Some(ensemble) = ensemble else {
        return is_asked.then(|| not_looked_at("the spec is refused, so nothing is rebuilt"));
    };
    let spec = &observed.ensemble.spec;
    let pod = |ordinal: i32| names::pod(observed.name(), ordinal);
    let (holds, reason, message) = match next(observed, ensemble, founded, assessment) {
        Move::None => return None,
        Move::Finished(rebuild) | Move::Finish(rebuild) => {
            (Holds::True, "MemberRebuilt", format!("{} is in sync on new volumes", pod(rebuild.ordinal)))
        }
        Move::Refused(why) => (Holds::False, "RebuildRefused", why),
        _ if spec.paused => not_looked_at("spec.paused is true, so nothing is rebuilt"),
        _ if spec.is_hibernated() || !founded.is_complete() => not_looked_at("no server runs that could be rebuilt"),
        Move::Asked(why) | Move::Forget(why) => (Holds::False, "RebuildWaits", why),
        Move::Begin(rebuild) => (Holds::False, REASON, going(&rebuild)),
        Move::Transfer(transfer) => (Holds::False, REASON, format!("{} takes over first", pod(transfer.to))),
        Move::Replace { .. } => (Holds::False, REASON, "its claims and its pod are being deleted".to_owned()),
        Move::Wait(why) | Move::Hold(why) => (Holds::False, REASON, why),
    };
    Some((holds, reason, message))
}

/// What the annotation says.
fn asked(observed: &Observed) -> Option<&str> {
    let annotations = observed.ensemble.metadata.annotations.as_ref()?;
    annotations.get(&names::rebuild_annotation()).map(String::as_str)
}

/// The servers that do not start because their files cannot be trusted, where the spec leaves them to the operator.
fn damaged(observed: &Observed, ensemble: &ValidEnsemble) -> impl Iterator<Item = i32> {
    let pods = observed.pods.iter().filter(|_| ensemble.spec.repair.auto_rebuild);
    let is_damaged = |pod: &PodFacts| pod.exit_code == Some(EXIT_UNTRUSTED) && pod.is_broken();
    pods.filter(move |(_, pod)| is_damaged(pod)).map(|(ordinal, _)| *ordinal)
}

/// Whether a rebuild is the answer to this annotation, or was made after it had been answered.
fn answers(rebuild: &Rebuild, asked: &str) -> bool {
    [&rebuild.request, &rebuild.answered].into_iter().flatten().any(|request| request == asked)
}

fn going(rebuild: &Rebuild) -> String {
    let claims: Vec<&str> = rebuild.claims.iter().map(|claim| claim.name.as_str()).collect();
    match claims.is_empty() {
        true => "it has no claims, so that only its pod goes".to_owned(),
        false => format!("{} and the pod go, and are made anew", claims.join(", ")),
    }
}

fn next(observed: &Observed, ensemble: &ValidEnsemble, founded: &Founded, assessment: &Assessment) -> Move {
    let of = |ordinal| Member { observed, ensemble, founded, assessment, ordinal };
    let asked = asked(observed);
    // The first that can be helped.
    let unasked = |answered| {
        let moves = damaged(observed, ensemble).map(|ordinal| of(ordinal).begins(None, answered));
        moves.reduce(|best, next| if matches!(best, Move::Refused(_)) { next } else { best })
    };
    match (&founded.rebuild, asked) {
        (None, None) => unasked(None).unwrap_or(Move::None),
        (Some(rebuild), asked) if rebuild.finished_at.is_none() => of(rebuild.ordinal).goes_on(rebuild, asked),
        (Some(_), None) => Move::Forget("the rebuild is finished, and its annotation is gone".to_owned()),
        (Some(rebuild), Some(asked)) if answers(rebuild, asked) => {
            unasked(Some(asked)).unwrap_or_else(|| Move::Finished(rebuild.clone()))
        }
        (_, Some(asked)) => {
            let own = requested(of, asked);
            // Another server may be what it waits for.
            let is_idle = matches!(own, Move::Refused(_) | Move::Asked(_));
            unasked(None).filter(|other| is_idle && matches!(other, Move::Begin(_))).unwrap_or(own)
        }
    }
}

/// The rebuild that an annotation asks for.
fn requested<'a>(of: impl Fn(i32) -> Member<'a>, asked: &str) -> Move {
    match asked.parse() {
        Ok(ordinal) => of(ordinal).begins(Some(asked), None),
        Err(_) => {
            let annotation = names::rebuild_annotation();
            Move::Refused(format!("the annotation {annotation} is {asked:?}: write the ordinal of one member"))
        }
    }
}

/// The member that a rebuild is about, and what a pass knows.
struct Member<'a> {
    observed: &'a Observed,
    ensemble: &'a ValidEnsemble,
    founded: &'a Founded,
    assessment: &'a Assessment,
    ordinal: i32,
}

impl Member<'_> {
    /// A rebuild that is asked for and not recorded. `answered` is the annotation that is there and asks for nothing any more.
    fn begins(&self, request: Option<&str>, answered: Option<&str>) -> Move {
        if let Some(why) = self.refused() {
            return Move::Refused(why);
        }
        if let Some(why) = self.unsafe_now() {
            return Move::Asked(format!("{} is not rebuilt yet: {why}", self.pod(self.ordinal)));
        }
        let claims = self.claims().map(|claim| RebuildClaim { name: claim.name.clone(), uid: claim.uid.clone() });
        Move::Begin(Rebuild {
            request: request.map(str::to_owned),
            answered: answered.map(str::to_owned),
            ordinal: self.ordinal,
            claims: claims.collect(),
            pod_uid: self.facts().map(|pod| pod.uid.clone()),
            finished_at: None,
        })
    }

    /// Why the member can never be rebuilt as things stand.
    fn refused(&self) -> Option<String> {
        let Self { founded, ordinal, .. } = self;
        let pod = self.pod(*ordinal);
        if self.ensemble.spec.storage.type_ != StorageType::Persistent {
            return Some(format!("spec.storage.type is Ephemeral, so {pod} has no volumes: delete the pod instead"));
        }
        if !founded.is_ours(*ordinal) {
            let members: Vec<i32> = founded.members().into_iter().filter(|member| founded.is_ours(*member)).collect();
            return Some(format!("{pod} is no member: the ordinals of the members are {members:?}"));
        }
        if self.is_joiner() && *ordinal >= self.ensemble.spec.replicas {
            return Some(format!(
                "{pod} is no member, and goes, since spec.replicas is {}",
                self.ensemble.spec.replicas
            ));
        }
        if self.is_joiner() && self.facts().is_none_or(|pod| !pod.is_broken()) {
            return Some(format!("{pod} is no member yet, and is rebuilt only while its server does not start"));
        }
        let voters = founded.voter_count();
        if founded.voters().contains(ordinal) && voters - 1 < founded.quorum() {
            return Some(format!(
                "{pod} is one of {voters} voters, and the others are no quorum, which is {}: it may hold what nobody else does. \
                 Set spec.replicas to 3, and ask again when they are in sync",
                founded.quorum()
            ));
        }
        let foreign = self.claims().find(|claim| claim.ensemble_id.as_ref() != Some(&founded.ensemble_id))?;
        let id = foreign.ensemble_id.as_deref().unwrap_or("none that is known");
        Some(format!("claim {} was made for ensemble {id}: delete it yourself, if its data may go", foreign.name))
    }

    /// A rebuild that is recorded and not finished.
    fn goes_on(&self, rebuild: &Rebuild, asked: Option<&str>) -> Move {
        let pod = self.pod(self.ordinal);
        let left: Vec<&Claim> =
            self.claims().filter(|claim| rebuild.claims.iter().any(|going| going.uid == claim.uid)).collect();
        let untouched = left.len() == rebuild.claims.len() && left.iter().all(|claim| !claim.deleting);
        // One that is no member must not become one on volumes that are on their way out.
        if self.refused().is_some() && (untouched || !self.is_joiner()) {
            return Move::Forget(format!("{pod} is no server any more that could be rebuilt"));
        }
        let is_asked = match &rebuild.request {
            Some(request) => asked == Some(request),
            None => self.ensemble.spec.repair.auto_rebuild,
        };
        if untouched && !is_asked {
            return Move::Forget(format!("the rebuild of {pod} is called off before it began"));
        }
        let claims: Vec<Hold> = left
            .iter()
            .filter(|claim| !claim.deleting)
            .map(|claim| Hold { name: claim.name.clone(), uid: claim.uid.clone() })
            .collect();
        let old = |facts: &&PodFacts| !left.is_empty() || Some(&facts.uid) == rebuild.pod_uid.as_ref();
        let replaced = self.facts().filter(old);
        let evicted = replaced.filter(|facts| !facts.deleting);
        if claims.is_empty() && evicted.is_none() {
            return self.comes_back(rebuild, &left, replaced.is_some(), asked);
        }
        if let Some(why) = self.unsafe_now() {
            return Move::Hold(format!("{pod} is not rebuilt yet: {why}"));
        }
        if let Some(transfer) = self.hand_over() {
            return transfer;
        }
        let removal = |facts: &PodFacts| Removal {
            ordinal: self.ordinal,
            pod: facts.name.clone(),
            uid: facts.uid.clone(),
            why: "it is rebuilt on empty volumes".to_owned(),
        };
        Move::Replace { claims, pod: evicted.map(removal) }
    }

    /// Everything that is to go was told to.
    fn comes_back(&self, rebuild: &Rebuild, left: &[&Claim], old_pod: bool, asked: Option<&str>) -> Move {
        let pod = self.pod(self.ordinal);
        if old_pod || !left.is_empty() {
            return Move::Hold(format!("{pod} and its volumes are on their way out"));
        }
        if self.is_whole(self.ordinal) {
            let now = Time(self.observed.now.0);
            return Move::Finish(Rebuild { finished_at: Some(now), ..rebuild.clone() });
        }
        let of = |ordinal| Member { ordinal, ..*self };
        let is_other = match (&rebuild.request, asked) {
            (Some(request), asked) => asked != Some(request),
            (None, None) => false,
            // One that cannot begin takes nobody's place.
            (None, Some(asked)) => !answers(rebuild, asked) && matches!(requested(of, asked), Move::Begin(_)),
        };
        if is_other {
            return Move::Forget(format!(
                "{pod} is on new volumes, and another request may take the place of this one"
            ));
        }
        let trouble = self.assessment.troubles(self.observed, &[self.ordinal]);
        Move::Wait(format!("{pod} comes back on empty volumes: {trouble}"))
    }

    /// Why the member's volumes may not go now: every other voter must be well, for as long as a restart would wait for, on volumes that stay.
    ///
    /// The budget takes a healthy pod only when all others are ready, whoever they are. It is asked for nothing that it would
    /// refuse, since the claims would be on their way out meanwhile.
    fn unsafe_now(&self) -> Option<String> {
        let Self { assessment, founded, ordinal, .. } = self;
        if let Some(why) = assessment.unsettled(founded) {
            return Some(why);
        }
        let mut others = founded.voters();
        if self.facts().is_some_and(|facts| facts.ready) {
            others.extend(0..founded.pods);
        }
        others.remove(ordinal);
        let troubled: Vec<i32> = others.iter().copied().filter(|other| !self.is_whole(*other)).collect();
        if !troubled.is_empty() {
            return Some(assessment.troubles(self.observed, &troubled));
        }
        let mut claims = others.iter().flat_map(|other| self.claims_of(*other));
        if let Some(going) = claims.find(|claim| claim.deleting) {
            return Some(format!("claim {} of another server is being deleted", going.name));
        }
        roll::restless(self.observed, self.ensemble, others.into_iter())
    }

    /// The office goes to another voter first.
    fn hand_over(&self) -> Option<Move> {
        let Self { founded, assessment, ordinal, .. } = self;
        if assessment.leader != Some(*ordinal) {
            return None;
        }
        let to = founded.voters().into_iter().find(|voter| voter != ordinal && self.is_whole(*voter));
        let ip = self.facts().and_then(|facts| facts.ip.clone());
        Some(match (to, ip) {
            (Some(to), Some(ip)) => Move::Transfer(Transfer { from: *ordinal, to, ip, myid: founded.myid(to) }),
            _ => Move::Hold(format!("{} leads, and nobody can take over", self.pod(*ordinal))),
        })
    }

    /// Whether it is a pod of ours that is in no configuration.
    fn is_joiner(&self) -> bool {
        self.founded.joiners().contains(&self.ordinal)
    }

    fn is_whole(&self, ordinal: i32) -> bool {
        self.assessment.stays_whole(self.observed, ordinal)
    }

    /// The claims of the member that exist.
    fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.claims_of(self.ordinal).into_iter()
    }

    fn claims_of(&self, ordinal: i32) -> Vec<&Claim> {
        self.observed.claims_of(&self.ensemble.spec.storage, ordinal)
    }

    fn facts(&self) -> Option<&PodFacts> {
        self.observed.pods.get(&self.ordinal)
    }

    fn pod(&self, ordinal: i32) -> String {
        names::pod(self.observed.name(), ordinal)
    }
}
