//! What the shell is told to do. A closed list: the shell has no other way to change anything.

use std::fmt;

use operator_api::ZooKeeperEnsembleStatus;
use serde_json::Value;

use crate::observed::Token;

/// One thing to do. The shell carries out the steps of a plan in order and stops at the first that fails, except for
/// [`Step::Grant`]: a member that does not answer must not keep the others waiting.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A fact becomes known for good. Always the last step: what follows from it is planned by a pass that has read it
    /// back. Writes the whole status under the resource version that was observed.
    Record(Fact, Box<ZooKeeperEnsembleStatus>),
    /// There is no superuser `Secret` yet. Creates it; one that appeared meanwhile stays.
    CreateToken(Token),
    /// An object is missing or differs. Applies it on the server side, with our field manager, by force.
    Apply(Object),
    /// What Prometheus or Grafana is to be given is missing or differs. As [`Step::Apply`]; a refusal is told, and asked again later.
    Offer(Object),
    /// It is not to be given it any more. Deletes the object with this UID only; a refusal is told.
    Withdraw(Kind, Hold),
    /// A recorded volume waits for its vote. Sends `POST /bootstrap`.
    Grant(Grant),
    /// Servers join, leave, or change between voting and observing. Sends `POST /reconfig` to the leader, with the version of the
    /// configuration that was read: it takes effect on that one or not at all.
    Reconfigure(Reconfiguration),
    /// The leader hands its office over. Sends `POST /leader/transfer`.
    Transfer(Transfer),
    /// A claim is retired, or in use again. Writes the annotation, on the object with this UID only.
    Stamp(Stamp),
    /// A claim goes on as that of another ensemble, after a recovery. Writes the annotation, on the object with this UID only.
    Adopt(Adoption),
    /// The claim of a server that was removed, that is rebuilt, or that a recovery gives up, goes. Deletes the object with this UID only.
    DeleteClaim(Hold),
    /// What becomes of a claim when the ensemble is deleted has changed. Makes the ensemble an owner of the object with this UID, or no
    /// owner any more; other owners stay.
    Own(Ownership),
    /// A claim is to grow. Asks for more on the object with this UID only; a refusal is told, and asked again later.
    Expand(Expansion),
    /// The StatefulSet is to be made anew. Deletes the object with this UID only, and none of its pods: `propagationPolicy: Orphan`.
    Orphan(Hold),
    /// A pod is to be restarted. Asks for its eviction, of the pod with this UID only; a refusal for the sake of a
    /// `PodDisruptionBudget` is no error, and asked again later.
    Evict(Removal),
    /// A pod whose container never ran is replaced, or a recovery stops its server. Deletes the object with this UID only.
    DeletePod(Removal),
    /// The node of a pod is off, by a person's word. Deletes the object with this UID only, without a grace period.
    ForceDeletePod(Removal),
    /// Something a person should see happened. Publishes an event of the resource.
    Report(Event),
    /// The status changed. Writes it under the resource version that was observed.
    WriteStatus(Box<ZooKeeperEnsembleStatus>),
    /// It is not yet safe, or not yet possible, to go on. Does nothing; the next pass looks again.
    Wait {
        /// What is waited for.
        reason: String,
    },
}

/// A fact that is recorded. Those of the founding are never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The ensemble's identity and its voters.
    Identity,
    /// The volumes that are about to be granted their vote.
    Volumes,
    /// The ensemble exists; no further grant.
    Complete,
    /// A newer committed configuration was seen.
    Configuration,
    /// How many pods there are to be.
    Pods,
    /// A member is to be rebuilt, or was; or its rebuild is not asked for any more.
    Rebuild,
    /// One member's history is to go on as a new ensemble, or has come so far.
    Recovery,
}

/// A change of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconfiguration {
    /// The leader.
    pub leader: i32,
    /// The address of its pod.
    pub ip: String,
    /// The version of the configuration that is changed.
    pub version: String,
    /// Lines of servers that join, or change.
    pub joining: Vec<String>,
    /// Ids of servers that leave.
    pub leaving: Vec<i32>,
}

/// A hand-off of the leader's office.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The leader.
    pub from: i32,
    /// Who takes over.
    pub to: i32,
    /// The address of the leader's pod.
    pub ip: String,
    /// The id of who takes over.
    pub myid: i32,
}

/// The mark on the claim of a server that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The claim.
    pub claim: String,
    /// Its UID.
    pub uid: String,
    /// The version of the configuration that its server is not in; none to take the mark away.
    pub value: Option<String>,
}

/// The ensemble that a claim goes on for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// The claim.
    pub claim: String,
    /// Its UID.
    pub uid: String,
    /// The ensemble.
    pub ensemble_id: String,
}

/// Whether the ensemble owns a claim, so that the garbage collector removes the claim after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The claim.
    pub claim: String,
    /// Its UID.
    pub uid: String,
    /// Whether it does.
    pub owned: bool,
}

/// More room for a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expansion {
    /// The claim.
    pub claim: String,
    /// Its UID.
    pub uid: String,
    /// The size to ask for.
    pub size: String,
}

/// One object, and no other of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// A pod that goes, so that the StatefulSet makes it anew from its newest template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The member.
    pub ordinal: i32,
    /// Its pod.
    pub pod: String,
    /// The UID of the pod.
    pub uid: String,
    /// Why, in words.
    pub why: String,
}

/// A grant of a vote to one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The member.
    pub ordinal: i32,
    /// The address of its pod.
    pub ip: String,
    /// The ensemble.
    pub ensemble_id: String,
    /// The ids of all voters.
    pub voters: Vec<i32>,
    /// The volume that may vote.
    pub volume_id: String,
}

/// Something a person should see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether a person should act.
    pub type_: EventType,
    /// One word in `PascalCase`.
    pub reason: String,
    /// What happened, in a sentence.
    pub note: String,
}

/// Whether a person should act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// For the record.
    Normal,
    /// Something is not as it should be.
    Warning,
}

/// An object that the operator applies.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// Its name; the namespace is the ensemble's.
    pub name: String,
    /// The whole manifest, with `apiVersion`, `kind` and `metadata`.
    pub manifest: Value,
}

/// The kinds that the operator applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `v1 ServiceAccount`
    ServiceAccount,
    /// `v1 ConfigMap`
    ConfigMap,
    /// `v1 Service`
    Service,
    /// `policy/v1 PodDisruptionBudget`
    PodDisruptionBudget,
    /// `apps/v1 StatefulSet`
    StatefulSet,
    /// `monitoring.coreos.com/v1 PodMonitor`, of the Prometheus operator
    PodMonitor,
    /// `monitoring.coreos.com/v1 PrometheusRule`, of the Prometheus operator
    PrometheusRule,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::Service,
        Self::PodDisruptionBudget,
        Self::StatefulSet,
        Self::PodMonitor,
        Self::PrometheusRule,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::ConfigMap => "ConfigMap",
            Self::Service => "Service",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::StatefulSet => "StatefulSet",
            Self::PodMonitor => "PodMonitor",
            Self::PrometheusRule => "PrometheusRule",
        }
    }

    /// Its group and version.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::ServiceAccount | Self::ConfigMap | Self::Service => "v1",
            Self::PodDisruptionBudget => "policy/v1",
            Self::StatefulSet => "apps/v1",
            Self::PodMonitor | Self::PrometheusRule => "monitoring.coreos.com/v1",
        }
    }

    /// The word in its address.
    pub fn plural(self) -> &'static str {
        match self {
            Self::ServiceAccount => "serviceaccounts",
            Self::ConfigMap => "configmaps",
            Self::Service => "services",
            Self::PodDisruptionBudget => "poddisruptionbudgets",
            Self::StatefulSet => "statefulsets",
            Self::PodMonitor => "podmonitors",
            Self::PrometheusRule => "prometheusrules",
        }
    }
}

impl Step {
    /// The word for this step in metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Record(Fact::Identity, _) => "record-identity",
            Self::Record(Fact::Volumes, _) => "record-volumes",
            Self::Record(Fact::Complete, _) => "record-complete",
            Self::Record(Fact::Configuration, _) => "record-configuration",
            Self::Record(Fact::Pods, _) => "record-pods",
            Self::Record(Fact::Rebuild, _) => "record-rebuild",
            Self::Record(Fact::Recovery, _) => "record-recovery",
            Self::Reconfigure(_) => "reconfigure",
            Self::Transfer(_) => "transfer",
            Self::Stamp(_) => "stamp",
            Self::Adopt(_) => "adopt",
            Self::DeleteClaim(_) => "delete-claim",
            Self::Own(_) => "own",
            Self::Expand(_) => "expand",
            Self::Orphan(_) => "orphan",
            Self::Evict(_) => "evict",
            Self::DeletePod(_) => "delete-pod",
            Self::ForceDeletePod(_) => "force-delete-pod",
            Self::CreateToken(_) => "create-token",
            Self::Apply(_) => "apply",
            Self::Offer(_) => "offer",
            Self::Withdraw(..) => "withdraw",
            Self::Grant(_) => "grant",
            Self::Report(_) => "report",
            Self::WriteStatus(_) => "write-status",
            Self::Wait { .. } => "wait",
        }
    }

    /// Whether the step changes something.
    pub fn mutates(&self) -> bool {
        match self {
            Self::Record(..)
            | Self::CreateToken(_)
            | Self::Apply(_)
            | Self::Offer(_)
            | Self::Withdraw(..)
            | Self::Grant(_)
            | Self::Reconfigure(_)
            | Self::Transfer(_)
            | Self::Stamp(_)
            | Self::Adopt(_)
            | Self::DeleteClaim(_)
            | Self::Own(_)
            | Self::Expand(_)
            | Self::Orphan(_)
            | Self::Evict(_)
            | Self::DeletePod(_)
            | Self::ForceDeletePod(_)
            | Self::WriteStatus(_) => true,
            Self::Report(_) | Self::Wait { .. } => false,
        }
    }
}

/// One line a step, for logs and for `plan.txt`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Record(Fact::Configuration, status) => match &status.configuration {
                Some(c) => write!(f, " version={} voters={:?} observers={:?}", c.version, c.voters, c.observers),
                None => Ok(()),
            },
            Self::Record(Fact::Pods, status) => write!(f, " pods={}", status.pods.unwrap_or_default()),
            Self::Record(Fact::Rebuild, status) => match &status.rebuild {
                Some(rebuild) => {
                    let claims: Vec<&str> = rebuild.claims.iter().map(|claim| claim.name.as_str()).collect();
                    let done = rebuild.finished_at.is_some();
                    write!(f, " ordinal={} claims={claims:?} finished={done}", rebuild.ordinal)?;
                    rebuild.answered.as_ref().map_or(Ok(()), |answered| write!(f, " answered={answered}"))
                }
                None => f.write_str(" none"),
            },
            Self::Record(Fact::Recovery, status) => match &status.recovery {
                Some(recovery) => {
                    let claims: Vec<&str> = recovery.claims.iter().map(|claim| claim.name.as_str()).collect();
                    let (phase, member, epoch) = (recovery.phase, recovery.member, recovery.epoch);
                    write!(f, " phase={phase:?} member={member} volume={} epoch={epoch}", recovery.volume_id)?;
                    write!(f, " from={} to={} claims={claims:?}", recovery.former_ensemble_id, recovery.ensemble_id)
                }
                None => f.write_str(" none"),
            },
            Self::Record(Fact::Identity | Fact::Volumes | Fact::Complete, status) => {
                if let Some(id) = &status.ensemble_id {
                    write!(f, " ensemble={id}")?;
                }
                if let Some(bootstrap) = &status.bootstrap {
                    write!(
                        f,
                        " phase={:?} voters={:?} volumes={:?}",
                        bootstrap.phase, bootstrap.voters, bootstrap.volumes
                    )?;
                }
                Ok(())
            }
            Self::CreateToken(_) | Self::WriteStatus(_) => Ok(()),
            Self::Apply(object) => {
                write!(f, " {}/{}", object.kind.as_str(), object.name)?;
                match &object.manifest["spec"]["replicas"] {
                    Value::Null => Ok(()),
                    replicas => write!(f, " replicas={replicas}"),
                }
            }
            Self::Grant(grant) => {
                write!(
                    f,
                    " ordinal={} volume={} voters={:?} ensemble={}",
                    grant.ordinal, grant.volume_id, grant.voters, grant.ensemble_id
                )
            }
            Self::Reconfigure(Reconfiguration { leader, version, joining, leaving, .. }) => {
                write!(f, " leader={leader} version={version} joining={joining:?} leaving={leaving:?}")
            }
            Self::Transfer(Transfer { from, to, .. }) => write!(f, " from={from} to={to}"),
            Self::Stamp(Stamp { claim, value, .. }) => write!(f, " {claim} {}", value.as_deref().unwrap_or("none")),
            Self::Adopt(Adoption { claim, ensemble_id, .. }) => write!(f, " {claim} {ensemble_id}"),
            Self::Evict(removal) | Self::DeletePod(removal) | Self::ForceDeletePod(removal) => {
                write!(f, " {}: {}", removal.pod, removal.why)
            }
            Self::Own(ownership) => write!(f, " {} {}", ownership.claim, ownership.owned),
            Self::Expand(expansion) => write!(f, " {} to {}", expansion.claim, expansion.size),
            Self::Offer(object) => write!(f, " {}/{}", object.kind.as_str(), object.name),
            Self::Withdraw(kind, hold) => write!(f, " {}/{}", kind.as_str(), hold.name),
            Self::Orphan(hold) => write!(f, " StatefulSet/{}", hold.name),
            Self::DeleteClaim(hold) => write!(f, " {}", hold.name),
            Self::Report(event) => write!(f, " {:?} {}: {}", event.type_, event.reason, event.note),
            Self::Wait { reason } => write!(f, ": {reason}"),
        }
    }
}
