//! How servers are moved to a new configuration, image or pod template.
#![expect(unreachable_pub, reason = "KubeSchema repeats each struct inside a function")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How servers are moved to a new configuration, image or pod template.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = Rule::new("self.progressDeadlineSeconds > self.minReadySeconds")
        .message("progressDeadlineSeconds must exceed minReadySeconds, or every restart would be called stalled: raise it, or lower minReadySeconds"),
)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStrategy {
    /// Who restarts the pods.
    #[serde(default)]
    pub mode: UpdateMode,
    /// How long every server must have been ready before the next is restarted, in seconds.
    #[serde(default = "default_min_ready_seconds")]
    #[schemars(range(min = 0, max = 3600))]
    pub min_ready_seconds: i32,
    /// How long a restarted server may take to be ready before the condition Progressing says that the restart is stalled, in
    /// seconds. Nothing else is restarted while it takes that long, before and after.
    #[serde(default = "default_progress_deadline_seconds")]
    #[schemars(range(min = 10, max = 86_400))]
    pub progress_deadline_seconds: i32,
    /// Whether an ensemble of one or two voters, which serves nobody while one of them restarts, is restarted all the same. Without
    /// it, one of one voter is and one of two is not. Larger ensembles keep serving, and do not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_downtime: Option<bool>,
    /// When servers that work may be restarted; at any time without any. A restart that has begun is not broken off at the end of a
    /// window, what is broken is replaced at any time, and the size changes at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub maintenance_windows: Vec<MaintenanceWindow>,
}

/// A time of day, on some days of the week, from which servers may be restarted for a while.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceWindow {
    /// The days on which it begins; every day without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub days: Vec<Weekday>,
    /// When it begins: hours and minutes, such as `22:30`, in `timeZone`. Where the clock is put forward over that time, when it would have been.
    #[schemars(length(max = 5), regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub start: String,
    /// How long it lasts, in minutes. It may go on into the next day.
    #[schemars(range(min = 10, max = 1440))]
    pub duration_minutes: i32,
    /// The time zone by its IANA name, such as `Europe/Berlin`; `UTC` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9/_+-]*$"))]
    pub time_zone: Option<String>,
}

/// A day of the week.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// Who restarts the pods.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpdateMode {
    /// The operator: one at a time, each when all others are in sync, the leader last.
    #[default]
    LeaderLast,
    /// The operator, as with LeaderLast, but the leader only when a person agrees: by the annotation `zookeeper.ensemble.rs/restart-leader`,
    /// whose value is the revision that the condition Progressing names, or by having the leader hand its office over.
    Supervised,
    /// The operator, as with LeaderLast, but nobody who votes is restarted: an observer takes a voter's place before its restart, and at the end the lowest
    /// ordinals vote again. As many voters may fail meanwhile as ever, at the price of two reconfigurations for each voter. Needs three voters or more and an
    /// observer.
    Swap,
    /// A person, by deleting pods. The condition ConfigApplied says which.
    OnDelete,
}

impl UpdateStrategy {
    /// Whether an ensemble of so many voters may be restarted although it serves nobody meanwhile.
    pub fn allows_downtime(&self, voters: i32) -> bool {
        self.allow_downtime.unwrap_or(voters == 1)
    }
}

impl Default for UpdateStrategy {
    fn default() -> Self {
        Self {
            mode: UpdateMode::default(),
            min_ready_seconds: default_min_ready_seconds(),
            progress_deadline_seconds: default_progress_deadline_seconds(),
            allow_downtime: None,
            maintenance_windows: Vec::new(),
        }
    }
}

fn default_min_ready_seconds() -> i32 {
    15
}
fn default_progress_deadline_seconds() -> i32 {
    900
}
