//! The recorded facts, once they are there.

use operator_api::{Bootstrap, BootstrapPhase, ZooKeeperEnsembleStatus};

/// An ensemble whose identity and voters are recorded. Only this can be built, and only from a status that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Founded {
    /// The identity.
    pub ensemble_id: String,
    /// The frozen voters and the volumes that were granted.
    pub bootstrap: Bootstrap,
}

impl Founded {
    /// The facts in a status; none before they are recorded.
    ///
    /// # Errors
    ///
    /// A status that holds only half of them, or that names no voters, was edited by hand.
    pub fn of(status: Option<&ZooKeeperEnsembleStatus>) -> Result<Option<Self>, String> {
        let Some(status) = status else { return Ok(None) };
        match (&status.ensemble_id, &status.bootstrap) {
            (None, None) => Ok(None),
            (Some(_), Some(bootstrap)) if bootstrap.voters.is_empty() => {
                Err("status.bootstrap.voters is empty; restore the status from a backup".to_owned())
            }
            (Some(ensemble_id), Some(bootstrap)) => {
                Ok(Some(Self { ensemble_id: ensemble_id.clone(), bootstrap: bootstrap.clone() }))
            }
            (Some(_), None) => Err("status.ensembleId is there and status.bootstrap is not; restore it".to_owned()),
            (None, Some(_)) => Err("status.bootstrap is there and status.ensembleId is not; restore it".to_owned()),
        }
    }

    /// How many servers vote.
    pub fn voter_count(&self) -> i32 {
        i32::try_from(self.bootstrap.voters.len()).expect("the schema allows at most 7 voters")
    }

    /// How many of them must agree.
    pub fn quorum(&self) -> i32 {
        self.voter_count() / 2 + 1
    }

    /// The ordinals of the voters.
    pub fn ordinals(&self) -> std::ops::Range<i32> {
        0..self.voter_count()
    }

    /// The id of an ordinal.
    pub fn myid(&self, ordinal: i32) -> Option<i32> {
        usize::try_from(ordinal).ok().and_then(|index| self.bootstrap.voters.get(index)).copied()
    }

    /// Whether the ensemble exists.
    pub fn is_complete(&self) -> bool {
        self.bootstrap.phase == BootstrapPhase::Complete
    }
}
