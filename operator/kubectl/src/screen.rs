//! One ensemble on one screen, for someone who was woken up: does it serve, who leads, who is behind or down and why, what the operator
//! does and what it waits for, and what a person can do.
//!
//! Nothing is said twice: a sentence that stands further up is not repeated where another condition has the same.

use std::collections::BTreeSet;
use std::fmt::Write;

use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use operator_api::{BootstrapPhase, StorageType, ZooKeeperEnsembleStatus, names};
use operator_core::Assessment;

use crate::advice::advice;
use crate::seen::Seen;
use crate::server::servers;
use crate::text::{age, table, wrap};

/// How many events are shown.
const EVENTS_MAX: usize = 8;
/// Conditions that are as they should be when they are False. Every other one should be True, except `Progressing`, which has a place of its own.
const BAD_WHEN_TRUE: [&str; 2] = ["Degraded", "QuorumLost"];
/// Conditions that are not True of an ensemble without servers, and are no trouble then.
const FALSE_ASLEEP: [&str; 4] = ["Ready", "Available", "FaultTolerant", "ConfigApplied"];
/// The shortest sentence that is looked for at the end of another, in bytes.
const TAIL_BYTES_MIN: usize = 16;

/// The screen.
pub fn screen(seen: &Seen) -> String {
    let mut page = Page { seen, text: String::new(), said: BTreeSet::new() };
    page.head();
    page.servers();
    page.operator();
    page.conditions();
    page.claims();
    page.events();
    page.unread();
    page.text.push_str("\nWhat you can do\n");
    page.text.push_str(&wrap(&advice(seen), "  "));
    page.text
}

/// Whether an ensemble serves, in a few words. For the head of the screen, and for the list.
pub fn verdict(seen: &Seen) -> String {
    let Some(status) = seen.status() else { return "is new: the operator has not looked at it yet".to_owned() };
    let spec = &seen.ensemble.spec;
    let phase = status.bootstrap.as_ref().map(|bootstrap| bootstrap.phase);
    let ready = seen.condition("Ready");
    let reason = ready.map_or("", |ready| ready.reason.as_str());
    if spec.is_hibernated() {
        return "is hibernated".to_owned();
    }
    match (phase, seen.holds("Available"), seen.holds("Ready")) {
        (_, Some(true), Some(true)) => "serves".to_owned(),
        (_, Some(true), _) => format!("serves, and is not whole ({reason})"),
        (Some(BootstrapPhase::Complete), _, _) => format!("DOES NOT SERVE ({reason})"),
        (None | Some(BootstrapPhase::Pending | BootstrapPhase::InProgress), _, _) => {
            format!("is being founded ({reason})")
        }
    }
}

/// The conditions that are not as they should be.
pub fn bad(seen: &Seen) -> Vec<&Condition> {
    let is_bad = |condition: &&Condition| {
        let type_ = condition.type_.as_str();
        let good = if BAD_WHEN_TRUE.contains(&type_) { "False" } else { "True" };
        let asleep = seen.ensemble.spec.is_hibernated() && FALSE_ASLEEP.contains(&type_);
        condition.status != good && type_ != "Progressing" && !asleep
    };
    seen.status().iter().flat_map(|status| &status.conditions).filter(is_bad).collect()
}

/// A screen in the making.
struct Page<'a> {
    seen: &'a Seen,
    text: String,
    /// The sentences that stand on it.
    said: BTreeSet<String>,
}

impl Page<'_> {
    fn head(&mut self) {
        let seen = self.seen;
        let metadata = &seen.ensemble.metadata;
        let made = metadata.creation_timestamp.as_ref().map(|made| format!(", {} old", age(seen.now, made.0)));
        let line =
            format!("{} in namespace {} {}{}", seen.name(), seen.namespace(), verdict(seen), made.unwrap_or_default());
        self.line(&line);
        let Some(status) = seen.status() else { return };
        let assessment = seen.assessment();
        let mut rows = Vec::new();
        if !seen.ensemble.spec.is_hibernated() {
            rows.push(row("Leader", leader(seen, status, assessment.as_ref())));
            if status.bootstrap.is_some() {
                rows.push(row("Voters", voters(status, assessment.as_ref())));
            }
        }
        if status.observers > 0 {
            rows.push(row("Observers", status.observers.to_string()));
        }
        if let Some(client) = status.endpoints.as_ref().and_then(|endpoints| endpoints.client.clone()) {
            rows.push(row("Clients", client));
        }
        if let Some(version) = &status.version {
            rows.push(row("Version", version.clone()));
        }
        self.text.push_str(&table(&rows, "  "));
    }

    fn servers(&mut self) {
        let servers = servers(self.seen);
        if servers.is_empty() {
            return;
        }
        self.line("");
        let head = ["Server", "Member", "Role", "State", "Behind", "Ready", "Clients", "Restarts", "Age", "Node"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(servers.values().map(|server| {
            let ready = if server.ready { "yes" } else { "no" };
            [
                &server.pod,
                &server.member,
                &server.role,
                &server.state,
                &server.behind,
                ready,
                &server.clients,
                &server.restarts,
                &server.age,
                &server.node,
            ]
            .map(str::to_owned)
            .to_vec()
        }));
        self.text.push_str(&table(&rows, ""));
        let troubles: Vec<String> = servers.into_values().filter_map(|server| server.trouble).collect();
        for trouble in &troubles {
            self.say(trouble, "  ");
        }
        // What a condition says of all of them is no news either.
        self.said.insert(troubles.join("; "));
    }

    fn operator(&mut self) {
        let seen = self.seen;
        let mut lines = Vec::new();
        let generations = (seen.ensemble.metadata.generation, seen.status().and_then(|s| s.observed_generation));
        if let (Some(is), Some(answered)) = generations
            && answered < is
        {
            lines
                .push(format!("has not answered the last edit yet: generation {is}, and its status is for {answered}"));
        }
        if seen.ensemble.spec.paused {
            lines.push("is paused: it watches and changes nothing while spec.paused is true".to_owned());
        }
        if let Some(ready) = seen.condition("Ready").filter(|ready| ready.reason == "Bootstrapping") {
            lines.push(format!("founds the ensemble: {}", ready.message));
            self.said.insert(ready.message.clone());
        }
        if let Some(progressing) = seen.condition("Progressing") {
            let since = age(seen.now, progressing.last_transition_time.0);
            match progressing.status.as_str() {
                "True" => lines.push(format!("{} for {since}: {}", progressing.reason, progressing.message)),
                _ if progressing.reason != "NothingToChange" => {
                    lines.push(format!("is stuck for {since}, {}: {}", progressing.reason, progressing.message));
                }
                _ if !lines.is_empty() => {}
                _ if seen.holds("QuorumLost") == Some(true) => {
                    lines.push("changes nothing while no majority of the voters follows a leader".to_owned());
                }
                _ => lines.push("has nothing to change".to_owned()),
            }
            self.said.insert(progressing.message.clone());
        }
        if lines.is_empty() {
            return;
        }
        self.line("\nThe operator");
        for line in lines {
            self.text.push_str(&wrap(&line, "  "));
        }
    }

    fn conditions(&mut self) {
        let bad = bad(self.seen);
        if bad.is_empty() {
            return;
        }
        self.line("\nConditions that are not as they should be");
        for condition in bad {
            let since = age(self.seen.now, condition.last_transition_time.0);
            self.line(&format!("  {} {} for {since}, {}", condition.type_, condition.status, condition.reason));
            self.say(&condition.message, "    ");
        }
    }

    fn claims(&mut self) {
        let seen = self.seen;
        let mut rows: Vec<Vec<String>> =
            seen.claims.iter().filter_map(odd_claim).map(|(name, why)| vec![name, why]).collect();
        rows.sort();
        let persistent = seen.ensemble.spec.storage.type_ == StorageType::Persistent;
        if rows.is_empty() || !persistent {
            return;
        }
        self.line("\nVolume claims to know of");
        self.text.push_str(&table(&rows, "  "));
    }

    fn events(&mut self) {
        let mut events: Vec<(Timestamp, &Event)> =
            self.seen.events.iter().filter_map(|event| Some((happened(event)?, event))).collect();
        events.sort_by_key(|(when, _)| std::cmp::Reverse(*when));
        events.truncate(EVENTS_MAX);
        if events.is_empty() {
            return;
        }
        self.line("\nLast events");
        for (when, event) in events {
            let about = event.involved_object.name.as_deref().unwrap_or_default();
            let about = if about == self.seen.name() { String::new() } else { format!("{about}: ") };
            let times =
                event.series.as_ref().and_then(|series| series.count).or(event.count).filter(|count| *count > 1);
            let times = times.map(|count| format!(" ({count} times)")).unwrap_or_default();
            let head = format!(
                "{} {} {}{times}: {about}",
                age(self.seen.now, when),
                event.type_.as_deref().unwrap_or_default(),
                event.reason.as_deref().unwrap_or_default(),
            );
            let message = event.message.as_deref().unwrap_or_default();
            let message = if self.said.contains(message) { "see above" } else { message };
            self.text.push_str(&hanging(&format!("{head}{message}")));
        }
    }

    fn unread(&mut self) {
        if self.seen.unread.is_empty() {
            return;
        }
        self.line("\nNot known");
        for sentence in &self.seen.unread {
            self.text.push_str(&wrap(sentence, "  "));
        }
    }

    fn line(&mut self, line: &str) {
        writeln!(self.text, "{line}").expect("a String takes it");
    }

    /// A sentence, unless it stands here already.
    fn say(&mut self, sentence: &str, indent: &str) {
        if sentence.is_empty() || self.said.contains(sentence) {
            return;
        }
        // Many a message ends with what is wrong with the servers, which stands below them already.
        let known = self.said.iter().filter(|said| said.len() >= TAIL_BYTES_MIN);
        let begin = known.filter_map(|said| sentence.strip_suffix(said.as_str())).min_by_key(|begin| begin.len());
        let text = begin.map(|begin| format!("{begin}see above"));
        self.text.push_str(&wrap(text.as_deref().unwrap_or(sentence), indent));
        self.said.insert(sentence.to_owned());
    }
}

/// An entry of a list: its first line stands out.
fn hanging(entry: &str) -> String {
    wrap(entry, "    ").replacen("    ", "  ", 1)
}

fn row(what: &str, value: String) -> Vec<String> {
    vec![what.to_owned(), value]
}

/// Who leads. What the servers say now counts for more than what the operator saw last.
fn leader(seen: &Seen, status: &ZooKeeperEnsembleStatus, assessment: Option<&Assessment>) -> String {
    let Some(assessment) = assessment else { return named(status.leader.as_deref(), status.epoch) };
    let foreign = |ordinal: i32| seen.founded().filter(|founded| !founded.is_ours(ordinal));
    let name = |ordinal: i32| match foreign(ordinal) {
        // A server that somebody else made a member.
        Some(founded) => format!("server.{}", founded.myid(ordinal)),
        None => names::pod(seen.name(), ordinal),
    };
    let pod = assessment.leader.map(name);
    let answer = assessment.leader.and_then(|ordinal| seen.answers.get(&ordinal)?.as_ref().ok());
    let now = named(pod.as_deref(), answer.map(|answer| answer.member.epoch));
    if pod == status.leader {
        return now;
    }
    format!("{now}; the operator last saw {}", named(status.leader.as_deref(), status.epoch))
}

fn named(leader: Option<&str>, epoch: Option<i64>) -> String {
    match (leader, epoch) {
        (Some(leader), Some(epoch)) => format!("{leader}, epoch {epoch}"),
        (Some(leader), None) => leader.to_owned(),
        (None, _) => "none".to_owned(),
    }
}

fn voters(status: &ZooKeeperEnsembleStatus, assessment: Option<&Assessment>) -> String {
    let synced = assessment.map_or(status.synced_voters, |assessment| assessment.synced_voters);
    let (voters, quorum) = (status.voters, status.quorum);
    let may_fail = match synced - quorum {
        spare if spare < 0 => "without more of them nothing is served".to_owned(),
        0 => "no more may fail".to_owned(),
        spare => format!("{spare} more may fail"),
    };
    format!("{synced} of {voters} in sync, {quorum} needed: {may_fail}")
}

/// A claim that is not simply there and bound, with what is to know of it.
fn odd_claim(claim: &PersistentVolumeClaim) -> Option<(String, String)> {
    let name = claim.metadata.name.clone()?;
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    let annotations = claim.metadata.annotations.as_ref();
    let why = if claim.metadata.deletion_timestamp.is_some() {
        "is being deleted, when its pod is gone".to_owned()
    } else if let Some(retired) = annotations.and_then(|all| all.get(&names::retired_annotation())) {
        format!("of a server that left, at configuration {retired}; kept")
    } else if phase != "Bound" {
        let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
        let class = class.map(|class| format!(", storage class {class}")).unwrap_or_default();
        format!("{phase}{class}")
    } else {
        return None;
    };
    Some((name, why))
}

/// When an event happened last. Its time is in one of three places, by who wrote it.
pub fn happened(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let once = event.event_time.as_ref().map(|time| time.0);
    series.or(last).or(once).or_else(|| event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}
