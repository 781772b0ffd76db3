//! The recorded facts, once they are there.

use std::collections::BTreeSet;

use operator_api::{Bootstrap, BootstrapPhase, Configuration, Rebuild, RecoveryStatus, ZooKeeperEnsembleStatus};

/// An ensemble whose identity and voters are recorded. Only this can be built, and only from a status that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Founded {
    /// The identity.
    pub ensemble_id: String,
    /// The frozen voters and the volumes that were granted.
    pub bootstrap: Bootstrap,
    /// The newest committed configuration that was seen: the frozen voters, until the first reconfiguration.
    pub configuration: Configuration,
    /// How many pods there are to be.
    pub pods: i32,
    /// The last rebuild of a member.
    pub rebuild: Option<Rebuild>,
    /// The last recovery from a lost majority.
    pub recovery: Option<RecoveryStatus>,
}

impl Founded {
    /// What is recorded when an ensemble is founded.
    pub fn new(ensemble_id: String, bootstrap: Bootstrap) -> Self {
        let configuration =
            Configuration { version: "0x0".to_owned(), voters: bootstrap.voters.clone(), observers: Vec::new() };
        let pods = i32::try_from(bootstrap.voters.len()).expect("the schema allows at most 7 voters");
        Self { ensemble_id, bootstrap, configuration, pods, rebuild: None, recovery: None }
    }

    /// The facts in a status; none before they are recorded.
    ///
    /// # Errors
    ///
    /// A status that holds only half of them, or that names no voters, was edited by hand.
    pub fn of(status: Option<&ZooKeeperEnsembleStatus>) -> Result<Option<Self>, String> {
        let Some(status) = status else { return Ok(None) };
        let mut founded = match (&status.ensemble_id, &status.bootstrap) {
            (None, None) => return Ok(None),
            (Some(_), Some(bootstrap)) if bootstrap.voters.is_empty() => {
                return Err("status.bootstrap.voters is empty; restore the status from a backup".to_owned());
            }
            (Some(ensemble_id), Some(bootstrap)) => Self::new(ensemble_id.clone(), bootstrap.clone()),
            (Some(_), None) => {
                return Err("status.ensembleId is there and status.bootstrap is not; restore it".to_owned());
            }
            (None, Some(_)) => {
                return Err("status.bootstrap is there and status.ensembleId is not; restore it".to_owned());
            }
        };
        if let Some(configuration) = &status.configuration {
            if configuration.version().is_none() || configuration.voters.is_empty() {
                return Err("status.configuration has no version or no voters; restore it, or remove it".to_owned());
            }
            founded.configuration = configuration.clone();
        }
        founded.pods = status.pods.unwrap_or(founded.pods);
        founded.rebuild = status.rebuild.clone();
        founded.recovery = status.recovery.clone();
        Ok(Some(founded))
    }

    /// How many servers vote.
    pub fn voter_count(&self) -> i32 {
        count(&self.configuration.voters)
    }

    /// How many of them must agree.
    pub fn quorum(&self) -> i32 {
        self.voter_count() / 2 + 1
    }

    /// The ordinals of the voters.
    pub fn voters(&self) -> BTreeSet<i32> {
        self.configuration.voters.iter().map(|id| id - self.offset()).collect()
    }

    /// The ordinals of the observers.
    pub fn observers(&self) -> BTreeSet<i32> {
        self.configuration.observers.iter().map(|id| id - self.offset()).collect()
    }

    /// The ordinals of the pods that there are to be and that are in no configuration: they join, or were removed.
    pub fn joiners(&self) -> BTreeSet<i32> {
        let members = self.members();
        (0..self.pods).filter(|ordinal| !members.contains(ordinal)).collect()
    }

    /// The least number of pods that holds every member of ours. A StatefulSet can only drop its highest ordinals.
    pub fn needed_pods(&self) -> i32 {
        let members = self.members().into_iter().filter(|ordinal| *ordinal < self.pods);
        members.max().map_or(0, |ordinal| ordinal + 1)
    }

    /// The ordinals of voters and observers. One that is no ordinal of a pod is a server that somebody else made a member.
    pub fn members(&self) -> BTreeSet<i32> {
        self.voters().union(&self.observers()).copied().collect()
    }

    /// Whether an ordinal is that of a pod that there is to be.
    pub fn is_ours(&self, ordinal: i32) -> bool {
        (0..self.pods).contains(&ordinal)
    }

    /// The ids of members that are none of our pods.
    pub fn foreigners(&self) -> Vec<i32> {
        let foreign = self.members().into_iter().filter(|ordinal| !self.is_ours(*ordinal));
        foreign.map(|ordinal| self.myid(ordinal)).collect()
    }

    /// The id of an ordinal.
    pub fn myid(&self, ordinal: i32) -> i32 {
        ordinal + self.offset()
    }

    /// The version of the configuration.
    pub fn version(&self) -> i64 {
        self.configuration.version().unwrap_or_default()
    }

    /// Whether the ensemble exists.
    pub fn is_complete(&self) -> bool {
        self.bootstrap.phase == BootstrapPhase::Complete
    }

    /// The id of ordinal 0, which always is one of those that found the ensemble.
    fn offset(&self) -> i32 {
        self.bootstrap.voters.iter().min().copied().unwrap_or_default()
    }
}

fn count(ids: &[i32]) -> i32 {
    i32::try_from(ids.len()).expect("the schema allows at most 32 voters")
}
