//! Which image the servers run.
#![expect(unreachable_pub, reason = "KubeSchema repeats each struct inside a function")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A container image.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(
    validation = Rule::new("has(self.repository) ? (has(self.tag) || has(self.digest)) : !(has(self.tag) || has(self.digest))")
        .message("an image needs a repository with a tag or a digest, or neither of the three"),
)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Registry and path, such as `registry.example.com/zookeeper-ensemble`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^\s]+$"))]
    pub repository: Option<String>,
    /// The tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"))]
    pub tag: Option<String>,
    /// The digest, such as `sha256:…`; it decides when a tag is given too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 160), regex(pattern = r"^[a-z0-9]+:[a-f0-9]+$"))]
    pub digest: Option<String>,
    /// When the node pulls it.
    #[serde(default)]
    pub pull_policy: PullPolicy,
    /// Secrets in the ensemble's namespace to pull with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub pull_secrets: Vec<String>,
}

/// When a node pulls an image.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// At every start of a pod.
    Always,
    /// When the node does not have it.
    #[default]
    IfNotPresent,
    /// Never; the node must have it.
    Never,
}
