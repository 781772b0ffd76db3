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
    /// A recorded volume waits for its vote. Sends `POST /bootstrap`.
    Grant(Grant),
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

/// A fact that is never changed once recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The ensemble's identity and its voters.
    Identity,
    /// The volumes that are about to be granted their vote.
    Volumes,
    /// The ensemble exists; no further grant.
    Complete,
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
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::ServiceAccount, Self::ConfigMap, Self::Service, Self::PodDisruptionBudget, Self::StatefulSet];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::ConfigMap => "ConfigMap",
            Self::Service => "Service",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::StatefulSet => "StatefulSet",
        }
    }

    /// Its group and version.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::ServiceAccount | Self::ConfigMap | Self::Service => "v1",
            Self::PodDisruptionBudget => "policy/v1",
            Self::StatefulSet => "apps/v1",
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
            Self::CreateToken(_) => "create-token",
            Self::Apply(_) => "apply",
            Self::Grant(_) => "grant",
            Self::Report(_) => "report",
            Self::WriteStatus(_) => "write-status",
            Self::Wait { .. } => "wait",
        }
    }

    /// Whether the step changes something.
    pub fn mutates(&self) -> bool {
        match self {
            Self::Record(..) | Self::CreateToken(_) | Self::Apply(_) | Self::Grant(_) | Self::WriteStatus(_) => true,
            Self::Report(_) | Self::Wait { .. } => false,
        }
    }
}

/// One line a step, for logs and for `plan.txt`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Record(_, status) => {
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
            Self::Apply(object) => write!(f, " {}/{}", object.kind.as_str(), object.name),
            Self::Grant(grant) => {
                write!(
                    f,
                    " ordinal={} volume={} voters={:?} ensemble={}",
                    grant.ordinal, grant.volume_id, grant.voters, grant.ensemble_id
                )
            }
            Self::Report(event) => write!(f, " {:?} {}: {}", event.type_, event.reason, event.note),
            Self::Wait { reason } => write!(f, ": {reason}"),
        }
    }
}
