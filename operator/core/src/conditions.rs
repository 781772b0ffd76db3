//! A list of conditions in which a time moves only when a status changes (Kubernetes API conventions), or an ensemble wakes up.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Longest message, in characters; the API allows 32768.
pub(crate) const MESSAGE_CHARS_MAX: usize = 2048;

/// The reason of what does not hold because the servers are stopped on request.
pub(crate) const HIBERNATED: &str = "Hibernated";

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
    /// Adds a condition; its time is kept while its status stays ([`since`]).
    pub(crate) fn set(&mut self, type_: &str, holds: impl Into<Holds>, reason: &str, message: impl Into<String>) {
        let status = holds.into().as_str();
        let since = since(self.old, type_, status, reason).unwrap_or(&self.now).clone();
        let message: String = message.into();
        self.list.push(Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
            last_transition_time: since,
            observed_generation: self.generation,
        });
    }
}

/// Since when a condition has the status that it is to have now for this reason; none when it turns. What did not hold in an ensemble that was asleep begins not to
/// hold when it wakes up.
pub(crate) fn since<'a>(old: &'a [Condition], type_: &str, status: &str, reason: &str) -> Option<&'a Time> {
    let is_so = |old: &&Condition| old.status == status && (old.reason != HIBERNATED || reason == HIBERNATED);
    find(old, type_).filter(is_so).map(|old| &old.last_transition_time)
}

/// A condition by its type.
pub(crate) fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Time {
        Time(format!("2030-01-01T{time}Z").parse().expect("a time of day"))
    }

    fn set_false(status: &str, reason: &str, new_reason: &str) -> Time {
        let old = Condition {
            type_: "Available".to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
            last_transition_time: at("11:00:00"),
            observed_generation: None,
        };
        let old = [old];
        let mut list = Conditions { old: &old, now: at("12:00:00"), generation: None, list: Vec::new() };
        list.set("Available", false, new_reason, "");
        list.list[0].last_transition_time.clone()
    }

    #[test]
    fn a_time_moves_when_the_status_turns_or_the_ensemble_wakes_up() {
        assert_eq!(set_false("False", "NoLeader", "OtherReason"), at("11:00:00"));
        assert_eq!(set_false("True", "QuorumEstablished", "NoLeader"), at("12:00:00"));
        assert_eq!(set_false("False", HIBERNATED, HIBERNATED), at("11:00:00"));
        assert_eq!(set_false("False", HIBERNATED, "NoLeader"), at("12:00:00"));
        assert_eq!(set_false("False", "NoLeader", HIBERNATED), at("11:00:00"));
    }
}
