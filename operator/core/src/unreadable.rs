//! A resource that cannot be read: a field holds what its type cannot.
//!
//! The schema refuses such a resource, so it is one that was stored before the schema changed, or under another's. There
//! is no spec to plan from, and nothing is done: its objects stay as they are. What can be done is to say so where a
//! person looks, once, and without touching anything else in a status that may hold recorded facts.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Value, json};

use crate::conditions::{Conditions, Holds};
use crate::step::{Event, EventType};

/// The reason in every condition and in the event.
const REASON: &str = "InvalidResource";

/// The status and the event that say why a resource cannot be read; none when its status says it already.
///
/// `status` is the raw status as stored, `fault` names the field and what is wrong with it. In the answer only
/// `conditions` and `observedGeneration` differ from what was stored. `Ready` and `ReconcileSucceeded` turn false; every
/// other condition turns unknown, since it is not looked at any more.
pub fn unreadable(now: Time, generation: Option<i64>, status: &Value, fault: &str) -> Option<(Value, Event)> {
    let message = format!(
        "the resource cannot be read, so nothing is done to its objects: {fault}; write a value that the field may hold \
         (kubectl explain zke), or remove the field"
    );
    let stored = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let old: Vec<Condition> = stored.iter().filter_map(|one| serde_json::from_value(one.clone()).ok()).collect();
    let mut list = Conditions { old: &old, now, generation, list: Vec::new() };
    list.set("Ready", false, REASON, &*message);
    list.set("ReconcileSucceeded", false, REASON, &*message);
    for condition in old.iter().filter(|old| !matches!(old.type_.as_str(), "Ready" | "ReconcileSucceeded")) {
        list.set(&condition.type_, Holds::Unknown, REASON, "not looked at while the resource cannot be read");
    }
    if list.list == old && status["observedGeneration"] == json!(generation) {
        return None;
    }
    let mut answer = if status.is_object() { status.clone() } else { json!({}) };
    answer["conditions"] = json!(list.list);
    answer["observedGeneration"] = json!(generation);
    Some((answer, Event { type_: EventType::Warning, reason: REASON.to_owned(), note: message }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Time {
        Time(time.parse().expect("a timestamp"))
    }

    #[test]
    fn it_is_said_once_and_nothing_else_changes() {
        let stored = json!({
            "ensembleId": "E", "bootstrap": { "phase": "Sideways" }, "fromAnotherVersion": [1],
            "conditions": [
                { "type": "Available", "status": "True", "reason": "QuorumEstablished", "message": "", "lastTransitionTime": "2029-01-01T00:00:00Z" },
                { "type": "Ready", "status": "True", "reason": "AllMembersSynced", "message": "", "lastTransitionTime": "2029-01-01T00:00:00Z" },
                "no condition at all",
            ],
        });
        let fault = "spec.replicas: invalid type: string \"three\", expected i32";
        let (said, event) = unreadable(at("2030-01-01T00:00:00Z"), Some(2), &stored, fault).expect("something to say");
        assert!(event.note.contains("spec.replicas: invalid type: string \"three\", expected i32"), "{}", event.note);
        let words: Vec<String> = said["conditions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| format!("{}={} {}", one["type"], one["status"], one["reason"]).replace('"', ""))
            .collect();
        assert_eq!(
            words,
            [
                "Ready=False InvalidResource",
                "ReconcileSucceeded=False InvalidResource",
                "Available=Unknown InvalidResource"
            ]
        );
        for field in ["ensembleId", "bootstrap", "fromAnotherVersion"] {
            assert_eq!(said[field], stored[field]);
        }
        assert_eq!(unreadable(at("2030-01-02T00:00:00Z"), Some(2), &said, fault), None, "it is said again");
        // An edit that does not help is answered.
        assert!(unreadable(at("2030-01-02T00:00:00Z"), Some(3), &said, fault).is_some());
        // And one that trades one fault for another.
        assert!(unreadable(at("2030-01-02T00:00:00Z"), Some(2), &said, "spec.image: no").is_some());
    }

    #[test]
    fn a_resource_without_a_status_gets_one() {
        let (said, _) = unreadable(at("2030-01-01T00:00:00Z"), Some(1), &Value::Null, "x").expect("something to say");
        assert_eq!(said["conditions"][0]["type"], "Ready");
        assert_eq!(said["observedGeneration"], 1);
    }
}
