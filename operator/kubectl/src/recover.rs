//! What a person is shown before the history of one member goes on and that of all others is given up, and how it is asked for. The
//! operator looks at it all again, live, and has the last word.

use std::fmt::Write;

use operator_api::names;
use serde_json::json;

use crate::change::Change;
use crate::seen::Seen;
use crate::server::servers;

/// A recovery that can be asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Recovery {
    /// What goes on, and what is lost.
    pub text: String,
    /// The ensemble that is given up.
    pub ensemble_id: String,
    ensemble: String,
    member: i32,
}

/// Looks at what each member holds. `member` is the pod of the one whose history is to go on, or its ordinal.
///
/// # Errors
///
/// The majority is not lost, as far as the operator knows, or there is no such member.
pub fn recovery(seen: &Seen, member: &str) -> Result<Recovery, String> {
    let name = seen.name().to_owned();
    let status = seen.status().cloned().unwrap_or_default();
    let Some(ensemble_id) = status.ensemble_id else {
        return Err(format!("{name} is not founded yet: there is no history that could go on"));
    };
    if let Some(recovery) = status.recovery.filter(|recovery| recovery.is_under_way()) {
        let pod = names::pod(&name, recovery.member);
        return Err(format!("the history of {pod} is already to go on: kubectl zke status {name} --watch"));
    }
    if seen.holds("QuorumLost") != Some(true) {
        return Err(format!(
            "the majority of {name} is not lost (condition QuorumLost): kubectl zke status {name} says what helps"
        ));
    }
    let members: Vec<_> = servers(seen).into_iter().filter(|(_, server)| server.member != "joiner").collect();
    let is_meant = |ordinal: i32, pod: &str| pod == member || ordinal.to_string() == member;
    let Some((meant, chosen)) = members.iter().find(|(ordinal, server)| is_meant(*ordinal, &server.pod)) else {
        let pods: Vec<&str> = members.iter().map(|(_, server)| server.pod.as_str()).collect();
        return Err(format!("{member} is no member of {name}; choose one of {}", pods.join(", ")));
    };
    let history = |ordinal: i32| match seen.answers.get(&ordinal) {
        Some(Ok(answer)) => answer.member.history(),
        Some(Err(_)) | None => None,
    };
    let Some(own) = history(*meant) else {
        return Err(format!(
            "{} does not answer with a history that could go on: {}",
            chosen.pod,
            why_not(seen, *meant)
        ));
    };
    if let Some((_, ahead)) = members.iter().find(|(ordinal, _)| history(*ordinal) > Some(own)) {
        return Err(format!("{} answers too, and holds more than {}: choose it", ahead.pod, chosen.pod));
    }
    let mut text = format!("{name} is ensemble {ensemble_id}, and lost its majority.\n\n");
    for (ordinal, server) in &members {
        let holds = match history(*ordinal) {
            Some((epoch, zxid)) => format!("holds epoch {epoch}, up to zxid {zxid:#x}"),
            None => why_not(seen, *ordinal),
        };
        let fate = match () {
            () if ordinal == meant => "goes on, with all that it holds",
            () if history(*ordinal).is_some() => "its volumes are DELETED; it holds nothing that is later",
            () => "its volumes are DELETED, and what only it holds is LOST",
        };
        writeln!(text, "  {} ({}) {holds}\n    {fate}", server.pod, server.member).expect("a String takes it");
    }
    text.push_str(
        "\nEvery server is stopped, and the ensemble begins anew from that one member, under another id. This cannot be called off. To keep \
         the volumes of the others, have a look at quorum-lost.md first.\n",
    );
    Ok(Recovery { text, ensemble_id, ensemble: name, member: *meant })
}

fn why_not(seen: &Seen, ordinal: i32) -> String {
    match seen.answers.get(&ordinal) {
        Some(Ok(answer)) if answer.member.store.set_aside.is_some() => {
            "has damaged files, which are set aside".to_owned()
        }
        Some(Ok(answer)) if answer.member.logged_zxid.is_none() => "is too old to tell what it holds".to_owned(),
        Some(Ok(_)) => "has an empty volume".to_owned(),
        Some(Err(error)) => format!("does not answer: {error}"),
        None => "was not asked".to_owned(),
    }
}

impl Recovery {
    /// The change that asks for it.
    ///
    /// # Errors
    ///
    /// What was typed is not the id of the ensemble.
    pub fn confirmed(&self, typed: &str) -> Result<Change, String> {
        let Self { ensemble, ensemble_id, member, .. } = self;
        if typed != ensemble_id {
            return Err(format!("{typed:?} is not the id of {ensemble}, which is {ensemble_id}: nothing was changed"));
        }
        let patch = json!({ "spec": { "recovery": { "fromMember": member, "confirm": ensemble_id } } });
        let pod = names::pod(ensemble, *member);
        let said = format!(
            "the history of {pod} goes on, when the operator finds the same: kubectl zke status {ensemble} --watch"
        );
        Ok(Change { patch, said })
    }
}
