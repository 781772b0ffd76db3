//! A list of conditions in which a time moves only when a status changes (Kubernetes API conventions).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Longest message, in characters; the API allows 32768.
pub(crate) const MESSAGE_CHARS_MAX: usize = 2048;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// It does.
    True,
    /// It does not.
    False,
    /// Not known.
    Unknown,
}

impl From<bool> for Holds {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

impl Holds {
    fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// Conditions in the making: those of the last pass, and those of this one.
pub(crate) struct Conditions<'a> {
    pub(crate) old: &'a [Condition],
    pub(crate) now: Time,
    pub(crate) generation: Option<i64>,
    pub(crate) list: Vec<Condition>,
}

impl Conditions<'_> {
    /// Adds a condition; its time is kept while its status stays.
    pub(crate) fn set(&mut self, type_: &str, holds: impl Into<Holds>, reason: &str, message: impl Into<String>) {
        let status = holds.into().as_str();
        let since = self.old.iter().find(|old| old.type_ == type_ && old.status == status);
        let message: String = message.into();
        self.list.push(Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
            last_transition_time: since.map_or_else(|| self.now.clone(), |old| old.last_transition_time.clone()),
            observed_generation: self.generation,
        });
    }
}

/// A condition by its type.
pub(crate) fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}
