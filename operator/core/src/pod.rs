//! What matters of a pod: whether it runs, and in plain words why not.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_api::names;

/// Longest text taken over from a pod's status into a condition, in characters.
const REASON_CHARS_MAX: usize = 240;

/// What `kubectl rollout restart` writes into a template.
pub(crate) const KUBECTL_RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// What matters of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// When it was made.
    pub created_at: Option<Time>,
    /// Its address, once it has one.
    pub ip: Option<String>,
    /// The node it is bound to.
    pub node: Option<String>,
    /// The condition `Ready`.
    pub ready: bool,
    /// When the condition `Ready` last turned.
    pub ready_turned: Option<Time>,
    /// Its container runs, or did once.
    pub ran: bool,
    /// It is being deleted.
    pub deleting: bool,
    /// When its end is due: when it was asked for, and its grace period.
    pub deletion_due: Option<Time>,
    /// When `kubectl rollout restart` was last asked for, in the template that it was made from.
    pub rolled_out_at: Option<String>,
    /// The revision of the StatefulSet it was made from.
    pub revision: Option<String>,
    /// Why it does not run, when the cluster says so.
    pub trouble: Option<String>,
    /// No node fits it, and its volumes are bound to one that does not: the node may be gone for good.
    pub volume_bound_elsewhere: bool,
    /// The code that its last container ended with, while no container runs.
    pub exit_code: Option<i32>,
}

impl PodFacts {
    /// The ordinal and the facts of a pod of the StatefulSet `set`; none for a pod that is not one of its members.
    pub fn of(set: &str, pod: &Pod) -> Option<(i32, Self)> {
        let name = pod.metadata.name.as_deref()?;
        let ordinal: i32 = name.strip_prefix(set)?.strip_prefix('-')?.parse().ok()?;
        if name != names::pod(set, ordinal) {
            return None;
        }
        let status = pod.status.as_ref();
        let container = status
            .and_then(|status| status.container_statuses.as_ref())
            .and_then(|all| all.iter().find(|container| container.name == names::CONTAINER));
        let condition = |type_: &str| {
            status.and_then(|s| s.conditions.as_ref()).and_then(|all| all.iter().find(|c| c.type_ == type_))
        };
        let unscheduled = condition("PodScheduled")
            .filter(|c| c.status == "False")
            .map(|c| format!("is not scheduled: {}", shorten(c.message.as_deref().unwrap_or("no reason given"))));
        let facts = Self {
            name: name.to_owned(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            created_at: pod.metadata.creation_timestamp.clone(),
            ip: status.and_then(|s| s.pod_ip.clone()),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            ready: condition("Ready").is_some_and(|c| c.status == "True"),
            ready_turned: condition("Ready").and_then(|c| c.last_transition_time.clone()),
            ran: container.is_some_and(ran),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            deletion_due: pod.metadata.deletion_timestamp.clone(),
            rolled_out_at: pod.metadata.annotations.as_ref().and_then(|a| a.get(KUBECTL_RESTARTED_AT).cloned()),
            revision: pod.metadata.labels.as_ref().and_then(|l| l.get("controller-revision-hash").cloned()),
            volume_bound_elsewhere: unscheduled.is_some()
                && condition("PodScheduled")
                    .is_some_and(|c| is_bound_elsewhere(c.message.as_deref().unwrap_or_default())),
            trouble: unscheduled.or_else(|| container.and_then(trouble)),
            exit_code: container.and_then(exit_code),
        };
        Some((ordinal, facts))
    }
}

impl PodFacts {
    /// Whether no server runs in it, as the kubelet says.
    pub(crate) fn is_broken(&self) -> bool {
        self.trouble.is_some() && !self.ready
    }

    /// For how many seconds its end has been due; none while it is not.
    pub(crate) fn overdue_seconds(&self, now: &Time) -> Option<i64> {
        let seconds = now.0.duration_since(self.deletion_due.as_ref()?.0).as_secs();
        (seconds > 0).then_some(seconds)
    }
}

/// Whether the scheduler says that a volume is tied to another node than those it looked at. Its words up to Kubernetes 1.32 and
/// since: `ErrReasonNodeConflict` of its plugin `volumebinding`.
fn is_bound_elsewhere(message: &str) -> bool {
    const WORDS: [&str; 2] = ["had volume node affinity conflict", "didn't match PersistentVolume's node affinity"];
    WORDS.iter().any(|words| message.contains(words))
}

/// Whether a container was ever started.
fn ran(container: &ContainerStatus) -> bool {
    let started = |state: &Option<ContainerState>| {
        state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    };
    container.restart_count > 0 || started(&container.state) || started(&container.last_state)
}

/// Why a container does not run. `ContainerCreating` is no trouble.
fn trouble(container: &ContainerStatus) -> Option<String> {
    if let Some(code) = exit_code(container) {
        let last = container.last_state.as_ref().and_then(|s| s.terminated.as_ref());
        let now = container.state.as_ref().and_then(|s| s.terminated.as_ref());
        let said = now.or(last).and_then(|t| t.message.as_deref()).map(last_line).filter(|text| !text.is_empty());
        let said = said.map(|text| format!(": {}", shorten(text))).unwrap_or_default();
        return Some(format!("exited with code {code} ({}){said}", exit_meaning(code)));
    }
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    if matches!(reason, "ContainerCreating" | "PodInitializing") {
        return None;
    }
    let message = waiting.message.as_deref().map(|text| format!(": {}", shorten(text))).unwrap_or_default();
    Some(format!("does not start: {reason}{message}"))
}

/// The code of the last end, unless a container runs now.
fn exit_code(container: &ContainerStatus) -> Option<i32> {
    let state = container.state.as_ref()?;
    if state.running.is_some() {
        return None;
    }
    let ended = state.terminated.as_ref().or(container.last_state.as_ref().and_then(|last| last.terminated.as_ref()));
    ended.map(|terminated| terminated.exit_code)
}

/// What the server means by an exit code.
fn exit_meaning(code: i32) -> &'static str {
    match code {
        0 => "it was stopped",
        2 => "it refused its configuration",
        3 => "it could not use its data directory",
        EXIT_IDENTITY => "its volume belongs to another ensemble or another member",
        EXIT_UNTRUSTED => "its files cannot be trusted",
        10 => "its disk failed",
        13 => "it met what it must not survive",
        14 => "it could not listen on a port",
        134 => "a bug stopped it",
        137 => "it was killed, most often for want of memory",
        _ => "it failed",
    }
}

/// The code of a server that found a volume of another ensemble or member.
pub(crate) const EXIT_IDENTITY: i32 = 4;

/// The code of a server whose files cannot be trusted, and that may not set them aside.
pub(crate) const EXIT_UNTRUSTED: i32 = 5;

/// A termination message may be the tail of a log; its last line says the most.
fn last_line(text: &str) -> &str {
    text.trim_end().rsplit('\n').next().unwrap_or_default()
}

pub(crate) fn shorten(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(REASON_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(status: Value, want: &str) {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "zk-2" }, "status": status,
        }))
        .expect("the case is a pod");
        let (ordinal, facts) = PodFacts::of("zk", &pod).expect("zk-2 is a member of zk");
        assert_eq!(ordinal, 2);
        assert_eq!(facts.trouble.as_deref().unwrap_or_default(), want);
    }

    fn container(state: Value, last: Value) -> Value {
        json!({ "containerStatuses": [{
            "name": "zookeeper", "image": "", "imageID": "", "ready": false, "restartCount": 1,
            "state": state, "lastState": last,
        }] })
    }

    #[test]
    fn trouble_is_said_in_plain_words() {
        check(json!({}), "");
        check(container(json!({ "running": {} }), json!({ "terminated": { "exitCode": 1 } })), "");
        check(container(json!({ "waiting": { "reason": "ContainerCreating" } }), json!({})), "");
        check(
            container(json!({ "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling" } }), json!({})),
            "does not start: ImagePullBackOff: Back-off pulling",
        );
        check(
            container(
                json!({ "waiting": { "reason": "CrashLoopBackOff" } }),
                json!({ "terminated": { "exitCode": 4, "message": "start\nvolume of ensemble a, not b\n" } }),
            ),
            "exited with code 4 (its volume belongs to another ensemble or another member): volume of ensemble a, not b",
        );
        check(
            container(json!({ "terminated": { "exitCode": 5 } }), json!({})),
            "exited with code 5 (its files cannot be trusted)",
        );
        check(
            container(json!({ "terminated": { "exitCode": 14 } }), json!({})),
            "exited with code 14 (it could not listen on a port)",
        );
        check(
            json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "message": "0/3 nodes are available" }] }),
            "is not scheduled: 0/3 nodes are available",
        );
    }

    #[test]
    fn a_volume_may_be_bound_to_a_node_that_is_gone() {
        let bound = |message: &str| {
            let status = json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "message": message }] });
            let pod = json!({ "metadata": { "name": "zk-2" }, "status": status });
            let pod: Pod = serde_json::from_value(pod).expect("the case is a pod");
            PodFacts::of("zk", &pod).expect("a member").1.volume_bound_elsewhere
        };
        assert!(bound("0/3 nodes are available: 3 node(s) had volume node affinity conflict. preemption: none"));
        assert!(bound("0/3 nodes are available: 3 node(s) didn't match PersistentVolume's node affinity."));
        assert!(!bound("0/3 nodes are available: 3 Insufficient memory."));
        let scheduled = json!({ "metadata": { "name": "zk-2" }, "status": { "conditions": [
            { "type": "PodScheduled", "status": "True", "message": "had volume node affinity conflict" }] } });
        let pod: Pod = serde_json::from_value(scheduled).expect("the case is a pod");
        assert!(!PodFacts::of("zk", &pod).expect("a member").1.volume_bound_elsewhere);
    }

    #[test]
    fn a_pod_ran_if_its_container_ever_did() {
        let ran = |status: Value| {
            let pod = json!({ "metadata": { "name": "zk-2" }, "status": status });
            PodFacts::of("zk", &serde_json::from_value(pod).expect("the case is a pod")).expect("a member").1.ran
        };
        assert!(!ran(json!({})));
        let pulling = json!({ "waiting": { "reason": "ImagePullBackOff" } });
        let ended = json!({ "terminated": { "exitCode": 2 } });
        let mut never = container(pulling.clone(), json!({}));
        never["containerStatuses"][0]["restartCount"] = json!(0);
        assert!(!ran(never));
        assert!(ran(container(pulling.clone(), json!({}))), "it was restarted");
        for (state, last) in [(pulling, ended.clone()), (ended, json!({})), (json!({ "running": {} }), json!({}))] {
            let mut status = container(state, last);
            status["containerStatuses"][0]["restartCount"] = json!(0);
            assert!(ran(status));
        }
    }

    #[test]
    fn only_pods_of_the_set_are_members() {
        for name in ["zk", "zk-", "zk-x", "zk-01", "zk-0-1", "zk2-0", "other-0"] {
            let pod: Pod = serde_json::from_value(json!({ "metadata": { "name": name } })).expect("the case is a pod");
            assert_eq!(PodFacts::of("zk", &pod), None, "{name}");
        }
    }
}
