//! What a person decides when the majority of an ensemble is lost.
#![expect(unreachable_pub, reason = "KubeSchema repeats each struct inside a function")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The history of one member is to go on as a new ensemble, and what only others hold is to be lost.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// The ordinal of the member whose history goes on. All other members lose their volumes.
    #[schemars(range(min = 0, max = 31))]
    pub from_member: i32,
    /// `status.ensembleId`, which names the ensemble that is given up. It has another one afterwards, so that what is written here
    /// has no further effect.
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.size() == 36").message("confirm must be status.ensembleId, a UUID of 36 characters: copy it, if the history of all members but fromMember may be lost"))]
    pub confirm: String,
}
