//! All ensembles, a line each.

use k8s_openapi::jiff::Timestamp;
use operator_api::ZooKeeperEnsemble;

use crate::screen::{bad, verdict};
use crate::seen::Seen;
use crate::text::{age, table};

/// An ensemble, or one that cannot be read: its namespace, its name, and why.
pub type Entry = Result<Box<ZooKeeperEnsemble>, (String, String, String)>;

/// The list. With `namespaces` it begins with the namespace.
pub fn list(now: Timestamp, ensembles: &[Entry], namespaces: bool) -> String {
    if ensembles.is_empty() {
        return "There are no ensembles here.\n".to_owned();
    }
    let head = ["Namespace", "Name", "Servers", "Synced", "Leader", "Age", "It", "Look at"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(ensembles.iter().map(|entry| match entry {
        Ok(ensemble) => line(now, ensemble),
        Err((namespace, name, why)) => {
            let dash = || "-".to_owned();
            let said = format!("cannot be read: {why}");
            vec![namespace.clone(), name.clone(), dash(), dash(), dash(), dash(), said, dash()]
        }
    }));
    if !namespaces {
        rows.iter_mut().for_each(|row| drop(row.remove(0)));
    }
    table(&rows, "")
}

fn line(now: Timestamp, ensemble: &ZooKeeperEnsemble) -> Vec<String> {
    let seen = Seen::of(now, ensemble.clone());
    let status = ensemble.status.clone().unwrap_or_default();
    let bad: Vec<&str> = bad(&seen).into_iter().map(|condition| condition.type_.as_str()).collect();
    let made = ensemble.metadata.creation_timestamp.as_ref();
    vec![
        seen.namespace().to_owned(),
        seen.name().to_owned(),
        format!("{}/{}", status.ready_replicas, ensemble.spec.replicas),
        format!("{}/{}", status.synced_voters, status.voters),
        status.leader.clone().unwrap_or_else(|| "-".to_owned()),
        made.map_or_else(|| "-".to_owned(), |made| age(now, made.0)),
        verdict(&seen),
        if bad.is_empty() { "-".to_owned() } else { bad.join(",") },
    ]
}
