//! The changes that a person asks for: each a merge patch of the resource, and a sentence on what comes of it. The operator does the rest.

use k8s_openapi::jiff::Timestamp;
use operator_api::{Member, StorageType, UpdateMode, ZooKeeperEnsemble, names};
use serde_json::{Value, json};

/// A change of the resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The merge patch.
    pub patch: Value,
    /// What comes of it.
    pub said: String,
}

/// A rolling restart: one for each new value of the annotation.
///
/// # Errors
///
/// Nothing runs that could be restarted.
pub fn restart(ensemble: &ZooKeeperEnsemble, now: Timestamp) -> Result<Change, String> {
    let name = ensemble.metadata.name.as_deref().unwrap_or_default();
    let spec = &ensemble.spec;
    if spec.is_hibernated() {
        return Err(format!(
            "{name} is hibernated: its servers are stopped already, and begin afresh when it is resumed"
        ));
    }
    let at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let said = if spec.paused {
        "every server will be restarted once, when spec.paused is false again".to_owned()
    } else if spec.update_strategy.mode == UpdateMode::OnDelete {
        "updateStrategy.mode is OnDelete: each server is restarted when you delete its pod, and ConfigApplied says which is next".to_owned()
    } else {
        format!("every server is restarted once, one at a time, the leader last: kubectl zke status {name} --watch")
    };
    Ok(Change { patch: json!({ "metadata": { "annotations": { names::restarted_at_annotation(): at } } }), said })
}

/// Stops every server, and keeps everything.
///
/// # Errors
///
/// They are stopped already, or nothing would be kept.
pub fn hibernate(ensemble: &ZooKeeperEnsemble) -> Result<Change, String> {
    let name = ensemble.metadata.name.as_deref().unwrap_or_default();
    let spec = &ensemble.spec;
    if spec.hibernate {
        return Err(format!("{name} is hibernated already"));
    }
    if spec.storage.type_ == StorageType::Ephemeral {
        return Err(format!(
            "{name} is stored on emptyDir, which goes away with the pods: there is nothing that could be kept"
        ));
    }
    let waits = if spec.paused { ", when spec.paused is false again" } else { "" };
    let said = format!(
        "every server is stopped and NOBODY is served{waits}; the members and their volumes are kept, until kubectl zke resume {name}"
    );
    Ok(Change { patch: json!({ "spec": { "hibernate": true } }), said })
}

/// Starts the servers again, on their volumes.
///
/// # Errors
///
/// They are not stopped, or by `spec.replicas`, which somebody has to choose.
pub fn resume(ensemble: &ZooKeeperEnsemble) -> Result<Change, String> {
    let name = ensemble.metadata.name.as_deref().unwrap_or_default();
    let spec = &ensemble.spec;
    if spec.replicas == 0 {
        let members = ensemble.status.as_ref().map_or(0, |status| status.voters + status.observers);
        let kept = if members > 0 { format!(", which has {members} members,") } else { String::new() };
        return Err(format!(
            "spec.replicas of {name}{kept} is 0: say how many servers there are to be, kubectl scale zke/{name} --replicas={}",
            members.max(1)
        ));
    }
    if !spec.hibernate {
        return Err(format!("{name} is not hibernated"));
    }
    let waits = if spec.paused { ", when spec.paused is false again" } else { "" };
    let said = format!("the same servers are started on their volumes{waits}: kubectl zke status {name} --watch");
    Ok(Change { patch: json!({ "spec": { "hibernate": false } }), said })
}

/// New, empty volumes for one member, which takes its leader's history before it votes again. `member` is its pod, or its ordinal.
///
/// # Errors
///
/// No such member, storage that has no volumes, or a rebuild that is not over yet.
pub fn rebuild(ensemble: &ZooKeeperEnsemble, member: &str) -> Result<Change, String> {
    let name = ensemble.metadata.name.as_deref().unwrap_or_default();
    let status = ensemble.status.clone().unwrap_or_default();
    let pods: Vec<&str> = status.members.iter().map(|member| member.pod.as_str()).collect();
    let is_meant = |known: &&Member| known.pod == member || known.ordinal.to_string() == member;
    let Some(meant) = status.members.iter().find(is_meant) else {
        return Err(format!("{member} is no member of {name}; choose one of {}", pods.join(", ")));
    };
    if ensemble.spec.storage.type_ == StorageType::Ephemeral {
        return Err(format!(
            "{name} is stored on emptyDir, which is new with every pod: kubectl delete pod {}",
            meant.pod
        ));
    }
    let annotation = names::rebuild_annotation();
    match &status.rebuild {
        Some(rebuild) if rebuild.finished_at.is_none() => {
            return Err(format!(
                "the rebuild of {} is not over yet: kubectl zke status {name}",
                names::pod(name, rebuild.ordinal)
            ));
        }
        Some(_) => {
            return Err(format!(
                "the last rebuild is over, and its request is still there: take it away, and ask again a moment later: kubectl annotate zke \
                 {name} {annotation}-"
            ));
        }
        None => {}
    }
    let waits = if ensemble.spec.paused { ", and spec.paused is false again" } else { "" };
    let said = format!(
        "the volumes of {pod} are DELETED when all other voters are in sync{waits}, and it takes everything from the leader anew; until then, kubectl \
         annotate zke {name} {annotation}- calls it off. kubectl zke status {name} --watch",
        pod = meant.pod
    );
    let patch = json!({ "metadata": { "annotations": { annotation: meant.ordinal.to_string() } } });
    Ok(Change { patch, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ensemble(spec: Value) -> ZooKeeperEnsemble {
        serde_json::from_value(json!({
            "apiVersion": "zookeeper.ensemble.rs/v1alpha1", "kind": "ZooKeeperEnsemble", "metadata": { "name": "zk" }, "spec": spec,
        }))
        .expect("an ensemble")
    }

    fn now() -> Timestamp {
        "2030-01-01T12:00:00.5Z".parse().expect("a timestamp")
    }

    #[test]
    fn a_restart_is_one_annotation() {
        let change = restart(&ensemble(json!({})), now()).expect("it runs");
        let want =
            json!({ "metadata": { "annotations": { "zookeeper.ensemble.rs/restartedAt": "2030-01-01T12:00:00Z" } } });
        assert_eq!(change.patch, want);
        assert!(change.said.contains("the leader last"), "{}", change.said);
    }

    #[test]
    fn a_restart_says_what_it_waits_for() {
        let said = |spec: Value| restart(&ensemble(spec), now()).map(|change| change.said);
        assert!(said(json!({ "paused": true })).is_ok_and(|said| said.contains("spec.paused")));
        assert!(said(json!({ "updateStrategy": { "mode": "OnDelete" } })).is_ok_and(|said| said.contains("OnDelete")));
        assert!(said(json!({ "replicas": 0 })).is_err_and(|why| why.contains("hibernated")));
    }

    #[test]
    fn hibernation_keeps_the_number_of_servers() {
        let change = hibernate(&ensemble(json!({ "replicas": 5 }))).expect("it runs");
        assert_eq!(change.patch, json!({ "spec": { "hibernate": true } }));
        assert!(change.said.contains("NOBODY is served; "), "{}", change.said);
        let change = resume(&ensemble(json!({ "replicas": 5, "hibernate": true }))).expect("it sleeps");
        assert_eq!(change.patch, json!({ "spec": { "hibernate": false } }));
    }

    #[test]
    fn what_cannot_be_hibernated_or_resumed_is_refused() {
        let check = |change: Result<Change, String>, why: &str| {
            assert!(change.as_ref().is_err_and(|error| error.contains(why)), "{change:?} is not refused: {why}");
        };
        check(hibernate(&ensemble(json!({ "hibernate": true }))), "already");
        check(hibernate(&ensemble(json!({ "storage": { "type": "Ephemeral" } }))), "nothing that could be kept");
        check(resume(&ensemble(json!({}))), "is not hibernated");
        let mut scaled = ensemble(json!({ "replicas": 0 }));
        check(resume(&scaled), "--replicas=1");
        scaled.status = Some(operator_api::ZooKeeperEnsembleStatus { voters: 3, observers: 1, ..Default::default() });
        check(
            resume(&scaled),
            "which has 4 members, is 0: say how many servers there are to be, kubectl scale zke/zk --replicas=4",
        );
    }

    #[test]
    fn a_paused_ensemble_changes_later() {
        let spec = |hibernate: bool| ensemble(json!({ "paused": true, "hibernate": hibernate }));
        for change in [hibernate(&spec(false)), resume(&spec(true))] {
            assert!(
                change.as_ref().is_ok_and(|change| change.said.contains("when spec.paused is false again")),
                "{change:?}"
            );
        }
    }

    #[test]
    fn a_rebuild_is_asked_for_by_ordinal() {
        let mut zk = ensemble(json!({}));
        let members: Vec<Value> =
            (0..3).map(|n| json!({ "ordinal": n, "myid": n + 1, "pod": format!("zk-{n}"), "role": "following", "state": "synced" })).collect();
        let status = |rebuild: Value| {
            serde_json::from_value(json!({ "members": members, "rebuild": rebuild })).expect("a status")
        };
        zk.status = status(Value::Null);
        for member in ["2", "zk-2"] {
            let change = rebuild(&zk, member).expect("it is a member");
            assert_eq!(
                change.patch,
                json!({ "metadata": { "annotations": { "zookeeper.ensemble.rs/rebuild": "2" } } })
            );
            assert!(change.said.contains("the volumes of zk-2 are DELETED"), "{}", change.said);
        }
        let refused = |zk: &ZooKeeperEnsemble, member: &str, why: &str| {
            let change = rebuild(zk, member);
            assert!(change.as_ref().is_err_and(|error| error.contains(why)), "{change:?} is not refused: {why}");
        };
        refused(&zk, "3", "3 is no member of zk; choose one of zk-0, zk-1, zk-2");
        refused(&zk, "other-2", "no member");
        zk.status = status(json!({ "ordinal": 1 }));
        refused(&zk, "2", "the rebuild of zk-1 is not over yet");
        zk.status = status(json!({ "ordinal": 1, "finishedAt": "2030-01-01T00:00:00Z" }));
        refused(&zk, "2", "rebuild-");
        zk.spec.storage.type_ = StorageType::Ephemeral;
        refused(&zk, "2", "kubectl delete pod zk-2");
    }
}
