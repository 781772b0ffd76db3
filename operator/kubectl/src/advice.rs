//! One thing that a person can do now: the first that applies, the worst first.
//!
//! The pages that it names are those of `docs/operations/`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::seen::Seen;
use crate::server::{Server, servers};

/// The advice, as a sentence or two.
pub fn advice(seen: &Seen) -> String {
    let all: [fn(&Seen) -> Option<String>; 9] =
        [unanswered, refused, recovering, stale_volume, quorum_lost, paused, stuck, member_down, moving];
    all.iter().find_map(|one| one(seen)).unwrap_or_else(|| "Nothing: all is as it should be.".to_owned())
}

/// The operator has not answered.
fn unanswered(seen: &Seen) -> Option<String> {
    let generation = seen.ensemble.metadata.generation;
    let answered = seen.status().and_then(|status| status.observed_generation);
    (answered < generation).then(|| {
        "If this does not change within a minute, the operator is away: kubectl get pods -A -l \
         app.kubernetes.io/name=zookeeper-ensemble-operator. The servers go on without it (operator-lost.md)."
            .to_owned()
    })
}

/// The operator refuses to act on what it found.
fn refused(seen: &Seen) -> Option<String> {
    let condition = seen.condition("ReconcileSucceeded").filter(|condition| condition.status == "False")?;
    let name = seen.name();
    let advice = match condition.reason.as_str() {
        "InvalidSpec" | "InvalidResource" => format!("Write a value that the field may hold: kubectl edit zke {name}; kubectl explain zke.spec."),
        "NameTaken" => "Rename the ensemble, or remove the object that has its name. The operator does not touch what is not its own.".to_owned(),
        "TokenUnusable" => format!("Delete the Secret, and the operator makes a new one: kubectl delete secret {}.", operator_api::names::superuser_secret(name)),
        "StatusDamaged" => "Restore the status from a backup: somebody edited facts that the operator records there (not-ready.md).".to_owned(),
        "BootstrapVolumesLost" => "Delete the ensemble and its volume claims, and create it again: it was lost while it was being founded.".to_owned(),
        "VersionSkipped" | "DowngradeRefused" => format!("Ask for a version that may follow: kubectl edit zke {name} (rolling-restart.md). Until then nothing is changed, and the servers go on."),
        "ApplyRefused" => "Edit the resource, or what it is judged by (a quota, an admission policy, a right); it is tried again every 30 s.".to_owned(),
        _ => "See not-ready.md.".to_owned(),
    };
    Some(advice)
}

/// A recovery from a lost majority is under way, or asked for in vain.
fn recovering(seen: &Seen) -> Option<String> {
    let name = seen.name();
    if let Some(recovered) = seen.condition("Recovered").filter(|recovered| recovered.reason == "RecoveryRefused") {
        return Some(format!(
            "Nothing was done: {}. Or take the request away: kubectl patch zke {name} --type merge -p '{{\"spec\":{{\"recovery\":null}}}}' \
             (quorum-lost.md).",
            recovered.message
        ));
    }
    let recovery = seen.status()?.recovery.as_ref().filter(|recovery| recovery.is_under_way())?;
    let told = seen.condition("Recovered").map_or("", |recovered| recovered.message.as_str());
    Some(format!(
        "Wait: the history of {} is to go on as a new ensemble. Delete no volume meanwhile. Now: {told} (quorum-lost.md).",
        operator_api::names::pod(name, recovery.member)
    ))
}

fn stale_volume(seen: &Seen) -> Option<String> {
    let degraded =
        seen.condition("Degraded").filter(|degraded| degraded.reason == "StaleVolume" && degraded.status == "True");
    degraded.map(|_| {
        "Find out whose data the volume holds. Only if it may go, delete the claims and the pod that are named above \
         (server-lost.md)."
            .to_owned()
    })
}

/// No majority. The one moment in which a wrong hand loses data.
fn quorum_lost(seen: &Seen) -> Option<String> {
    let status = seen.status().filter(|_| seen.holds("QuorumLost") == Some(true))?;
    // Whoever answers is up, and lacks nothing but the others.
    let answers = |pod: &str| {
        let ordinal = pod.rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse().ok());
        ordinal.is_some_and(|ordinal: i32| matches!(seen.answers.get(&ordinal), Some(Ok(_))))
    };
    let voters = servers(seen).into_values().filter(|server| server.member == "voter").map(|server| server.pod);
    let (up, down): (Vec<String>, Vec<String>) = voters.partition(|pod| answers(pod));
    let missing = status.quorum - i32::try_from(up.len()).unwrap_or(i32::MAX);
    if missing <= 0 {
        return Some(format!(
            "A majority is up and has no leader: look whether {} reach each other on ports 2888 and 3888 (network policies, DNS), with kubectl \
             logs. Delete no volume (not-ready.md).",
            up.join(", ")
        ));
    }
    Some(format!(
        "Bring {missing} of {} back: their pods, nodes and volumes as they were; nothing else is needed, and the operator removes nobody \
         meanwhile. Delete no volume (not-ready.md, server-lost.md). Only if their volumes are gone for good, and with them what nobody else \
         holds: kubectl zke recover {} --from-member N (quorum-lost.md).",
        down.join(", "),
        seen.name()
    ))
}

fn paused(seen: &Seen) -> Option<String> {
    let name = seen.name();
    seen.ensemble.spec.paused.then(|| {
        format!("To let the operator act again: kubectl patch zke {name} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'.")
    })
}

/// A change that only a person can bring on.
fn stuck(seen: &Seen) -> Option<String> {
    let name = seen.name();
    if seen.condition("Rebuilt").is_some_and(|rebuilt| rebuilt.reason == "RebuildRefused") {
        return Some(format!(
            "Do what the message of Rebuilt asks for, or take the request away: kubectl annotate zke {name} {}-",
            operator_api::names::rebuild_annotation()
        ));
    }
    let progressing = seen.condition("Progressing").filter(|condition| condition.status == "False")?;
    match progressing.reason.as_str() {
        "NothingToChange" => None,
        "RolloutStalled" => Some(format!(
            "Take the last edit back, or correct it: kubectl edit zke {name}. The broken pod is then replaced at once, and the others \
             stay as they are (rolling-restart.md)."
        )),
        "LeaderNotApproved" => Some(format!(
            "When clients may lose their leader for a moment: kubectl zke transfer-leader {name}, or the annotation that the operator's message \
             names (rolling-restart.md)."
        )),
        "OutsideMaintenanceWindow" => Some("Nothing: it goes on when the window opens.".to_owned()),
        "DowntimeNotAllowed" => Some(
            "Set spec.updateStrategy.allowDowntime: true, if clients may wait for the restart; or spec.replicas: 3 first.".to_owned(),
        ),
        "DataWouldBeLost" => Some("Set spec.replicas: 3 first: then a restart loses nothing.".to_owned()),
        _ => Some("Do what the operator's message asks for (scale.md, rolling-restart.md).".to_owned()),
    }
}

/// A server is down, and the others serve: what heals by itself is looked at last.
fn member_down(seen: &Seen) -> Option<String> {
    let troubled: Vec<Server> = servers(seen).into_values().filter(|server| server.trouble.is_some()).collect();
    let first = |word: &str| {
        let has = |server: &&Server| server.trouble.as_ref().is_some_and(|trouble| trouble.contains(word));
        troubled.iter().find(has).map(|server| server.pod.as_str())
    };
    let founding = seen.condition("Ready").is_some_and(|ready| ready.reason == "Bootstrapping");
    let name = seen.name();
    if let Some(pod) = first("is not scheduled") {
        Some(format!("Give {pod} a node that it may run on and reach its volumes from: kubectl describe pod {pod}."))
    } else if let Some(pod) = first("exited with code") {
        Some(format!(
            "kubectl logs {pod} --previous says why it ended; what each exit code asks for is in refuses-to-start.md."
        ))
    } else if let Some(pod) = first("does not start") {
        Some(format!(
            "Correct the image or the pod template: kubectl edit zke {name}; kubectl describe pod {pod} has the details."
        ))
    } else if founding {
        Some(
            "Nothing, if the pods have just been made; else kubectl get pods, and look for what is Pending \
             (not-ready.md)."
                .to_owned(),
        )
    } else if seen.holds("Progressing") == Some(true) {
        // The operator restarts or adds a server, and this one is on its way.
        None
    } else if let Some(pod) = first("is being deleted") {
        Some(format!(
            "If its node is off for good, taint it node.kubernetes.io/out-of-service, and {pod} is replaced; else wait. Do \
             not force the deletion on a node that may still run (server-lost.md)."
        ))
    } else if let Some(pod) = first("does not answer") {
        Some(format!("kubectl logs {pod} and kubectl describe pod {pod} say more (server-lost.md)."))
    } else if let Some(pod) = first("history") {
        Some(format!("Nothing yet: {pod} is catching up; a large tree takes a while."))
    } else {
        troubled.first().map(|server| format!("Wait a moment; else kubectl logs {} (server-lost.md).", server.pod))
    }
}

/// Something is under way, or waits for a person who restarts the pods.
fn moving(seen: &Seen) -> Option<String> {
    let is = |type_: &str, status: &str, reason: &str| {
        let meets = |condition: &Condition| condition.status == status && condition.reason == reason;
        seen.condition(type_).is_some_and(meets)
    };
    let name = seen.name();
    if seen.ensemble.spec.is_hibernated() {
        let how = match seen.ensemble.spec.hibernate {
            true => format!("kubectl zke resume {name}"),
            false => format!("kubectl scale zke/{name} --replicas=N"),
        };
        Some(format!("To start it again with the same members and volumes: {how}."))
    } else if seen.holds("Progressing") == Some(true) {
        Some(format!("Nothing: it goes on by itself. kubectl zke status {name} --watch follows it."))
    } else if is("ConfigApplied", "False", "PodsOutdated") {
        Some(
            "updateStrategy.mode is OnDelete: delete the pods in the order above, each when the ensemble is Ready."
                .to_owned(),
        )
    } else if is("ConfigApplied", "False", "ConfigurationDiffers") {
        Some("See rolling-restart.md, ConfigurationDiffers.".to_owned())
    } else {
        None
    }
}
