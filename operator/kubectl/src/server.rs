//! The servers of an ensemble, one row each: what it is, how far behind it is, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use operator_api::{Member, names};
use operator_core::{Assessment, PodFacts};

use crate::seen::{Answer, Seen};
use crate::text::age;

/// One server, as it is shown. A word that is not known is `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its pod.
    pub pod: String,
    /// `voter`, `observer` or `joiner`.
    pub member: String,
    /// Its role.
    pub role: String,
    /// Whether it holds the leader's history.
    pub state: String,
    /// How many transactions it is behind the leader, or without one, behind the newest server in sight.
    pub behind: String,
    /// Whether its pod is ready.
    pub ready: bool,
    /// How many clients are connected to it.
    pub clients: String,
    /// How often its container was started again.
    pub restarts: String,
    /// The age of its pod.
    pub age: String,
    /// The node of its pod.
    pub node: String,
    /// What is wrong with it, in words that begin with its name.
    pub trouble: Option<String>,
}

/// The servers by ordinal: those of the status, and those that only have a pod.
pub fn servers(seen: &Seen) -> BTreeMap<i32, Server> {
    let pods = seen.pods();
    let members: BTreeMap<i32, &Member> =
        seen.status().iter().flat_map(|status| &status.members).map(|member| (member.ordinal, member)).collect();
    let assessment = seen.assessment();
    let newest = newest(seen, assessment.as_ref());
    let ordinals: BTreeSet<i32> = pods.keys().chain(members.keys()).copied().collect();
    let server = |ordinal: i32| {
        let (member, pod) = (members.get(&ordinal), pods.get(&ordinal));
        let answer = seen.answers.get(&ordinal).and_then(|answer| answer.as_ref().ok());
        let facts = pod.map(|(facts, _)| facts);
        let word = |live: Option<&str>, told: Option<&String>| match (live, told) {
            (Some(live), _) => live.to_owned(),
            // A server that was asked and is silent is no leader any more, whatever the status still says.
            (None, Some(told)) if told != "unknown" && !seen.answers.contains_key(&ordinal) && pod.is_some() => {
                told.clone()
            }
            (None, _) => "-".to_owned(),
        };
        let state = answer.map(|answer| match &assessment {
            Some(assessment)
                if !assessment.synced.contains(&ordinal) && answer.member.store_state.as_str() == "synced" =>
            {
                "syncing"
            }
            _ => answer.member.store_state.as_str(),
        });
        Server {
            pod: names::pod(seen.name(), ordinal),
            member: members.get(&ordinal).map_or("-", |member| member.member.as_str()).to_owned(),
            role: word(answer.map(|answer| answer.member.role.as_str()), member.map(|member| &member.role)),
            state: word(state, member.map(|member| &member.state)),
            behind: answer.map_or_else(|| "-".to_owned(), |answer| behind(answer, newest)),
            ready: facts.is_some_and(|facts| facts.ready),
            clients: answer.map_or_else(|| "-".to_owned(), |answer| answer.connections.to_string()),
            restarts: pod.map_or_else(|| "-".to_owned(), |(_, pod)| restarts(pod)),
            age: facts
                .and_then(|facts| facts.created_at.as_ref())
                .map_or_else(|| "-".to_owned(), |created| age(seen.now, created.0)),
            node: facts.and_then(|facts| facts.node.clone()).unwrap_or_else(|| "-".to_owned()),
            trouble: trouble(seen, assessment.as_ref(), ordinal, facts),
        }
    };
    ordinals.into_iter().map(|ordinal| (ordinal, server(ordinal))).collect()
}

/// What is wrong with a server. The operator's judgement, or without the servers' answers, what the cluster says of its pod.
fn trouble(seen: &Seen, assessment: Option<&Assessment>, ordinal: i32, pod: Option<&PodFacts>) -> Option<String> {
    if seen.ensemble.spec.is_hibernated() {
        return None;
    }
    match assessment {
        Some(assessment) => {
            let mut all = assessment.problems.iter().chain(&assessment.joining);
            all.find(|problem| problem.ordinal == ordinal).map(|problem| problem.text.clone())
        }
        None => {
            let name = names::pod(seen.name(), ordinal);
            let what = match pod {
                None => "does not exist".to_owned(),
                Some(PodFacts { trouble: Some(trouble), .. }) => trouble.clone(),
                Some(pod) if pod.deleting => "is being deleted".to_owned(),
                Some(pod) if !pod.ready => "is not ready".to_owned(),
                Some(_) => return None,
            };
            Some(format!("{name} {what}"))
        }
    }
}

/// The leader's last transaction; without a leader, or with one that cannot be asked, the newest in sight.
fn newest(seen: &Seen, assessment: Option<&Assessment>) -> Option<(u64, u64)> {
    let leader = assessment.and_then(|assessment| seen.answers.get(&assessment.leader?)?.as_ref().ok());
    let answers = seen.answers.values().filter_map(|answer| answer.as_ref().ok());
    leader.and_then(Answer::zxid).or_else(|| answers.filter_map(Answer::zxid).max())
}

/// How far a server is behind, in transactions. Between epochs they cannot be counted.
fn behind(answer: &Answer, newest: Option<(u64, u64)>) -> String {
    match (answer.zxid(), newest) {
        (Some((epoch, counter)), Some((last_epoch, last))) if epoch == last_epoch => {
            last.saturating_sub(counter).to_string()
        }
        // The servers were read one after the other, and it may have got an epoch's first transaction since.
        (Some((epoch, _)), Some((last_epoch, _))) if epoch > last_epoch => "0".to_owned(),
        (Some((epoch, _)), Some(_)) => format!("at epoch {epoch}"),
        (None, _) | (_, None) => "-".to_owned(),
    }
}

fn restarts(pod: &k8s_openapi::api::core::v1::Pod) -> String {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let container = containers.and_then(|all| all.iter().find(|container| container.name == names::CONTAINER));
    container.map_or_else(|| "-".to_owned(), |container| container.restart_count.to_string())
}
