//! From what was observed to what is done next. The only place where the order of things is decided.

pub mod bootstrap;
mod ends;
pub mod expansion;
pub mod hibernate;
mod lost_node;
pub mod monitoring;
mod objects;
pub mod recovery;
pub mod repair;
pub mod roll;
pub mod scale;
pub mod swap;

use operator_api::{ZooKeeperEnsembleStatus, names};

pub use ends::refuse;
use ends::{normal, not_looked_at, record, refused, report};

use crate::assess::{Assessment, assess, newer_configuration};
use crate::founded::Founded;
use crate::observed::{Observed, TokenState};
use crate::status::{self, Progress, Verdict};
use crate::step::{Expansion, Fact, Hold, Reconfiguration, Step, Transfer};
use crate::validate::{ValidEnsemble, validate};
use crate::version;

/// What one pass does, and when the next should look again.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Step>,
    /// When to look again, if nothing happens before.
    pub next: Next,
}

impl Plan {
    /// The status that it writes, if it writes one.
    pub fn status(&self) -> Option<&ZooKeeperEnsembleStatus> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Record(_, status) | Step::WriteStatus(status) => Some(&**status),
            _ => None,
        })
    }
}

/// When to look again, if nothing happens before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At once: a fact was recorded, and the next step depends on it.
    Now,
    /// In a moment: something is on its way.
    Soon,
    /// At leisure: all is as it should be, or only an edit helps.
    Later,
    /// Not again: the resource is being deleted.
    Never,
}

/// Plans one pass.
///
/// Order: refuse what cannot be carried out; record the identity; record the configuration if it changed; bring the objects into
/// place; recover from a lost majority, if that was decided; found the ensemble, or rebuild a member, restart its pods and bring it to its size; report. A pass ends at the first record, and changes the ensemble in one way.
pub fn plan(observed: &Observed) -> Plan {
    if observed.ensemble.metadata.deletion_timestamp.is_some() {
        // The garbage collector removes the objects. Creating one now would outlive the ensemble.
        return Plan { steps: Vec::new(), next: Next::Never };
    }
    let founded = match Founded::of(observed.ensemble.status.as_ref()) {
        Ok(founded) => founded,
        Err(damage) => return refused(observed, None, "StatusDamaged", damage),
    };
    let ensemble = match validate(observed) {
        Ok(ensemble) => ensemble,
        Err(faults) => return refused(observed, founded.as_ref(), "InvalidSpec", faults.join("; ")),
    };
    match founded {
        None if observed.ensemble.spec.paused => {
            report(observed, status::unfounded(observed, &Verdict::default()), Vec::new(), Next::Later)
        }
        None if observed.ensemble.spec.is_hibernated() => {
            report(observed, status::unfounded(observed, &Verdict::default()), Vec::new(), Next::Later)
        }
        None => record_identity(observed),
        Some(founded) if observed.ensemble.spec.paused => {
            let assessment = assess(observed, &founded);
            let status = status::founded(observed, Some(&ensemble), &founded, &assessment, &Verdict::default());
            report(observed, status, Vec::new(), Next::Later)
        }
        Some(founded) => with_monitoring(observed, &ensemble, reconcile(observed, &ensemble, &founded)),
    }
}

/// What the servers do not need comes last. A record ends its pass, so this waits for the next one.
fn with_monitoring(observed: &Observed, ensemble: &ValidEnsemble, mut plan: Plan) -> Plan {
    if !matches!(plan.steps.last(), Some(Step::Record(..))) {
        let steps = monitoring::steps(observed, ensemble);
        if !steps.is_empty() && plan.next == Next::Later {
            plan.next = Next::Soon;
        }
        plan.steps.extend(steps);
    }
    plan
}

/// Nothing exists and nothing is recorded: the identity and the voters come first, alone.
fn record_identity(observed: &Observed) -> Plan {
    let mut status = status::unfounded(observed, &Verdict::default());
    status.ensemble_id = Some(observed.fresh.ensemble_id.clone());
    status.bootstrap = Some(bootstrap::begin(&observed.ensemble.spec));
    Plan { steps: vec![Step::Record(Fact::Identity, Box::new(status))], next: Next::Now }
}

fn reconcile(observed: &Observed, ensemble: &ValidEnsemble, founded: &Founded) -> Plan {
    let taken = objects::taken(observed, ensemble, founded);
    if !taken.is_empty() {
        return refused(observed, Some(founded), "NameTaken", taken.join("; "));
    }
    if let TokenState::Unusable(reason) = &observed.token {
        return refused(observed, Some(founded), "TokenUnusable", reason.clone());
    }
    if founded.is_complete()
        && let Some((reason, message)) = version::refused(observed, ensemble, founded)
    {
        return refused(observed, Some(founded), reason, message);
    }
    let assessment = assess(observed, founded);
    if founded.is_complete()
        && let Some(configuration) = newer_configuration(observed, founded)
    {
        return record_configuration(observed, ensemble, Founded { configuration, ..founded.clone() });
    }
    // Before any object: a StatefulSet with fewer pods would take members away.
    let least = scale::least_pods(observed, ensemble, founded);
    if founded.is_complete() && least > founded.pods {
        let recorded = Founded { pods: least, ..founded.clone() };
        let note = format!("the configuration has members up to {}", names::pod(observed.name(), least - 1));
        let event = normal("PodsRestored", note);
        let verdict = Verdict::default();
        return record(observed, ensemble, &recorded, &assessment, &verdict, Vec::new(), Fact::Pods, event);
    }
    if let Some(removal) = lost_node::next(observed, ensemble) {
        let status = status::founded(observed, Some(ensemble), founded, &assessment, &Verdict::default());
        return report(observed, status, vec![Step::ForceDeletePod(removal)], Next::Soon);
    }
    if let Some(plan) = recovery::pass(observed, ensemble, founded, &assessment) {
        return plan;
    }
    if ensemble.spec.is_hibernated() {
        return hibernate(observed, ensemble, founded, &assessment);
    }
    let mut steps = objects::steps(observed, ensemble, founded, founded.pods);
    match bootstrap::next(observed, founded, &assessment) {
        bootstrap::Move::None => size(observed, ensemble, founded, &assessment, steps),
        bootstrap::Move::Record { fact, bootstrap, event } => {
            let recorded = Founded { bootstrap, ..founded.clone() };
            record(observed, ensemble, &recorded, &assessment, &Verdict::default(), steps, fact, event)
        }
        bootstrap::Move::Grant { grants, reason } => {
            if steps.is_empty()
                && let Some(broken) = roll::dead(observed, ensemble, founded, &assessment)
            {
                steps.extend(replaces(broken));
            }
            steps.extend(grants.into_iter().map(Step::Grant));
            steps.push(Step::Wait { reason: reason.clone() });
            let verdict = Verdict { waiting: Some(reason), ..Verdict::default() };
            report(
                observed,
                status::founded(observed, Some(ensemble), founded, &assessment, &verdict),
                steps,
                Next::Soon,
            )
        }
        bootstrap::Move::Lost { reason } => {
            steps.push(Step::Wait { reason: reason.clone() });
            let verdict = Verdict { refused: Some(("BootstrapVolumesLost", reason)), ..Verdict::default() };
            report(
                observed,
                status::founded(observed, Some(ensemble), founded, &assessment, &verdict),
                steps,
                Next::Soon,
            )
        }
    }
}

/// The servers are stopped, and everything is kept. A founding goes on where it was when they are started again.
fn hibernate(observed: &Observed, ensemble: &ValidEnsemble, founded: &Founded, assessment: &Assessment) -> Plan {
    let hibernate::Stopping { pods, transfer } = hibernate::next(observed, founded, assessment);
    let mut steps = objects::steps(observed, ensemble, founded, pods);
    let message = match transfer {
        Some(transfer) => hand_off(observed, transfer, "is the last to be stopped", &mut steps),
        None if pods > 0 => "the leader is stopped when the others are".to_owned(),
        None => "the servers are stopped".to_owned(),
    };
    let is_done = observed.pods.is_empty();
    let progress = if is_done { Progress::Still } else { Progress::Moving("Hibernating", message) };
    let verdict = Verdict { progress, ..Verdict::default() };
    let status = status::founded(observed, Some(ensemble), founded, assessment, &verdict);
    report(observed, status, steps, if is_done { Next::Later } else { Next::Soon })
}

/// The ensemble exists: its pods are brought to the newest template, and it to the size that the spec asks for, one step a pass.
fn size(
    observed: &Observed,
    ensemble: &ValidEnsemble,
    founded: &Founded,
    assessment: &Assessment,
    mut steps: Vec<Step>,
) -> Plan {
    match expansion::next(observed, ensemble, founded) {
        expansion::Move::None | expansion::Move::Wait | expansion::Move::Blocked => {}
        expansion::Move::Expand(claims) => {
            let text = |claim: &Expansion| format!("{} to {}", claim.claim, claim.size);
            let note = claims.iter().map(text).collect::<Vec<_>>().join(", ");
            steps.push(Step::Report(normal("ExpandingVolumes", note)));
            steps.extend(claims.into_iter().map(Step::Expand));
        }
        expansion::Move::Orphan(set) if steps.is_empty() => {
            return orphan(observed, ensemble, founded, assessment, set);
        }
        expansion::Move::Orphan(_) => {}
    }
    let is_applied = steps.is_empty();
    let way = scale::way(ensemble, founded);
    let (mut rebuilding, mut is_held, mut is_rebuild_asked) = (None, false, false);
    match repair::pass(observed, ensemble, founded, assessment) {
        repair::Pass::Nothing => {}
        // Time alone may bring it on, which nobody reports.
        repair::Pass::Asked => is_rebuild_asked = true,
        repair::Pass::Waits(why) => rebuilding = Some(why),
        repair::Pass::Holds(why) => (rebuilding, is_held) = (Some(why), true),
        repair::Pass::Acts(plan) if is_applied => return plan,
        repair::Pass::Acts(_) => is_held = true,
    }
    // Who is outdated is known only by what is in place.
    let roll = match if is_applied { roll::next(observed, ensemble, founded, assessment) } else { roll::Move::Unseen } {
        // Whose volumes are on their way out must not become a voter.
        roll::Move::Trade(_) if is_held => {
            roll::Move::Wait("a member is being rebuilt, and the members stay as they are meanwhile".to_owned())
        }
        roll => roll,
    };
    // A place that was taken for a restart is not given back before it is known that the restart is over.
    let is_traded = way == scale::Way::Trades && roll == roll::Move::Unseen;
    let size = match is_held || is_traded {
        true => scale::Move::None,
        false => scale::next(observed, ensemble, founded, assessment),
    };
    if restarts_first(&roll, way, &size) {
        return restart(observed, ensemble, founded, assessment, roll);
    }
    let reason = match way {
        scale::Way::Down => "ScalingDown",
        scale::Way::Trades => "TradingVotes",
        scale::Way::Up | scale::Way::Stays => "ScalingUp",
    };
    let moving = |message: String| Verdict { progress: Progress::Moving(reason, message), ..Verdict::default() };
    let verdict = match size {
        scale::Move::None => match rebuilding {
            None if is_traded => moving("who votes is looked at when the newest pod template is in place".to_owned()),
            None => Verdict::default(),
            Some(why) => {
                steps.push(Step::Wait { reason: why.clone() });
                Verdict { progress: Progress::Moving(repair::REASON, why), ..Verdict::default() }
            }
        },
        scale::Move::Pods(pods) => {
            let note = format!("there are to be {pods} pods instead of {}", founded.pods);
            let recorded = Founded { pods, ..founded.clone() };
            let event = normal(reason, note.clone());
            return record(observed, ensemble, &recorded, assessment, &moving(note), steps, Fact::Pods, event);
        }
        scale::Move::Reconfigure(reconfiguration) => {
            let note = told(&reconfiguration);
            steps.push(Step::Report(normal(reason, note.clone())));
            steps.push(Step::Reconfigure(reconfiguration));
            moving(note)
        }
        scale::Move::Transfer(transfer) => {
            let why = if way == scale::Way::Trades { "is to vote no more" } else { "is to leave" };
            moving(hand_off(observed, transfer, why, &mut steps))
        }
        scale::Move::Stamp(stamps) => {
            let text = match stamps.iter().any(|stamp| stamp.value.is_some()) {
                true => "the claims of servers that were removed are marked",
                false => "the claims of servers that are members again are not marked as retired any more",
            };
            steps.extend(stamps.into_iter().map(Step::Stamp));
            moving(text.to_owned())
        }
        scale::Move::Delete(claims) => {
            let names: Vec<&str> = claims.iter().map(|claim| claim.name.as_str()).collect();
            let note = format!("spec.storage.reclaimPolicy.onScaleDown is Delete: {}", names.join(", "));
            steps.push(Step::Report(normal("ClaimsDeleted", note)));
            steps.extend(claims.into_iter().map(Step::DeleteClaim));
            Verdict::default()
        }
        scale::Move::Wait(why) => {
            steps.push(Step::Wait { reason: why.clone() });
            moving(why)
        }
        scale::Move::Blocked { reason, message } => {
            steps.push(Step::Wait { reason: message.clone() });
            Verdict { progress: Progress::Blocked(reason, message), ..Verdict::default() }
        }
    };
    let pods_follow = i32::try_from(observed.pods.len()) == Ok(founded.pods);
    let is_seen = roll != roll::Move::Unseen;
    let sized =
        matches!(expansion::next(observed, ensemble, founded), expansion::Move::None | expansion::Move::Blocked);
    let still = sized
        && verdict.progress == Progress::Still
        && assessment.problems.is_empty()
        && pods_follow
        && is_seen
        && !is_rebuild_asked;
    let status = status::founded(observed, Some(ensemble), founded, assessment, &verdict);
    report(observed, status, steps, if still { Next::Later } else { Next::Soon })
}

/// Every volume has its size: the StatefulSet is made anew, so that the next ones do too.
fn orphan(
    observed: &Observed,
    ensemble: &ValidEnsemble,
    founded: &Founded,
    assessment: &Assessment,
    set: Hold,
) -> Plan {
    let note = format!("StatefulSet {} is made anew, for volumes of the new size; its pods run on", set.name);
    let steps = vec![Step::Report(normal("StatefulSetRecreated", note.clone())), Step::Orphan(set)];
    let verdict = Verdict { progress: Progress::Moving("Expanding", note), ..Verdict::default() };
    report(observed, status::founded(observed, Some(ensemble), founded, assessment, &verdict), steps, Next::Soon)
}

/// Whether the next step of a rolling restart comes before the next one of a change of the size: an ensemble shrinks, is restarted, and
/// grows. What is broken is replaced before anything else that has to wait for it.
fn restarts_first(roll: &roll::Move, way: scale::Way, size: &scale::Move) -> bool {
    match (roll, way) {
        (roll::Move::None | roll::Move::Unseen, _) => false,
        // More voters may be what the restart needs.
        (roll::Move::Blocked { .. }, _) => *size == scale::Move::None,
        (roll, scale::Way::Down) => match size {
            scale::Move::None => true,
            scale::Move::Wait(_) | scale::Move::Blocked { .. } => roll.heals(),
            scale::Move::Pods(_)
            | scale::Move::Reconfigure(_)
            | scale::Move::Transfer(_)
            | scale::Move::Stamp(_)
            | scale::Move::Delete(_) => false,
        },
        (_, scale::Way::Up | scale::Way::Trades | scale::Way::Stays) => true,
    }
}

/// One step of a rolling restart.
fn restart(
    observed: &Observed,
    ensemble: &ValidEnsemble,
    founded: &Founded,
    assessment: &Assessment,
    roll: roll::Move,
) -> Plan {
    const REASON: &str = "RollingRestart";
    let mut steps = Vec::new();
    // What only a person or the clock can bring on is not looked at every moment.
    let next = if matches!(roll, roll::Move::Blocked { .. }) { Next::Later } else { Next::Soon };
    let progress = match roll {
        roll::Move::None | roll::Move::Unseen => Progress::Still,
        roll::Move::Delete(ref removal) | roll::Move::Heal(ref removal) => {
            let note = format!("{} is replaced: {}", removal.pod, removal.why);
            steps.extend(replaces(roll));
            Progress::Moving(REASON, note)
        }
        roll::Move::Evict(ref removal) => {
            let note = format!("{} is restarted: {}", removal.pod, removal.why);
            steps.extend(replaces(roll));
            Progress::Moving(REASON, note)
        }
        roll::Move::Transfer(transfer) => {
            Progress::Moving(REASON, hand_off(observed, transfer, "is the last to be restarted", &mut steps))
        }
        roll::Move::Trade(reconfiguration) => {
            let note = format!("before a voter is restarted {}", told(&reconfiguration));
            steps.push(Step::Report(normal("VoteTraded", note.clone())));
            steps.push(Step::Reconfigure(reconfiguration));
            Progress::Moving(REASON, note)
        }
        roll::Move::Wait(why) => {
            steps.push(Step::Wait { reason: why.clone() });
            Progress::Moving(REASON, format!("no pod is restarted now: {why}"))
        }
        roll::Move::Stalled(why) => {
            steps.push(Step::Wait { reason: why.clone() });
            Progress::Stalled("RolloutStalled", why)
        }
        roll::Move::Blocked { reason, message } => {
            steps.push(Step::Wait { reason: message.clone() });
            Progress::Stalled(reason, message)
        }
    };
    let verdict = Verdict { progress, ..Verdict::default() };
    let status = status::founded(observed, Some(ensemble), founded, assessment, &verdict);
    report(observed, status, steps, next)
}

/// The steps in which the leader hands its office over, and what is said of it.
fn hand_off(observed: &Observed, transfer: Transfer, why: &str, steps: &mut Vec<Step>) -> String {
    let [from, to] = [transfer.from, transfer.to].map(|ordinal| names::pod(observed.name(), ordinal));
    let note = format!("{from} leads and {why}: {to} takes over first");
    steps.push(Step::Report(normal("LeaderHandOff", note.clone())));
    steps.push(Step::Transfer(transfer));
    note
}

/// The step that takes a pod away, for a move that does.
fn replaces(roll: roll::Move) -> Option<Step> {
    match roll {
        roll::Move::Delete(removal) => Some(Step::DeletePod(removal)),
        roll::Move::Heal(removal) | roll::Move::Evict(removal) => Some(Step::Evict(removal)),
        roll::Move::None
        | roll::Move::Unseen
        | roll::Move::Transfer(_)
        | roll::Move::Trade(_)
        | roll::Move::Wait(_)
        | roll::Move::Stalled(_)
        | roll::Move::Blocked { .. } => None,
    }
}

/// What a reconfiguration does, in words.
fn told(reconfiguration: &Reconfiguration) -> String {
    let id = |line: &String| {
        let key = line.split('=').next().unwrap_or_default();
        let what = if line.contains(":observer") { "observes" } else { "votes" };
        format!("{key} {what}")
    };
    let joining = reconfiguration.joining.iter().map(id);
    let leaving = reconfiguration.leaving.iter().map(|id| format!("server.{id} leaves"));
    let changes: Vec<String> = joining.chain(leaving).collect();
    format!("the leader is asked for a configuration in which {}", changes.join(", "))
}

/// A newer configuration comes first, alone: everything else is judged by it.
fn record_configuration(observed: &Observed, ensemble: &ValidEnsemble, recorded: Founded) -> Plan {
    let assessment = assess(observed, &recorded);
    let c = &recorded.configuration;
    let note =
        format!("version {} of the configuration: servers {:?} vote, {:?} observe", c.version, c.voters, c.observers);
    let event = normal("ConfigurationChanged", note.clone());
    let verdict = match scale::way(ensemble, &recorded) {
        scale::Way::Stays => Verdict::default(),
        scale::Way::Trades => Verdict { progress: Progress::Moving("TradingVotes", note), ..Verdict::default() },
        scale::Way::Up => Verdict { progress: Progress::Moving("ScalingUp", note), ..Verdict::default() },
        scale::Way::Down => Verdict { progress: Progress::Moving("ScalingDown", note), ..Verdict::default() },
    };
    record(observed, ensemble, &recorded, &assessment, &verdict, Vec::new(), Fact::Configuration, event)
}
