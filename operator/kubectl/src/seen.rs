//! Everything that a screen is made of.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use operator_api::{ZooKeeperEnsemble, ZooKeeperEnsembleStatus};
use operator_core::{
    Assessment, Claim, Founded, Identity, MemberStatus, Observed, PodFacts, Token, TokenState, assess,
};
use serde::Deserialize;

/// What was read of one ensemble, with the rights of whoever asks.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it was read.
    pub now: Timestamp,
    /// The resource.
    pub ensemble: ZooKeeperEnsemble,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// The volume claims that have a name of this ensemble.
    pub claims: Vec<PersistentVolumeClaim>,
    /// Events of the resource, and warnings about pods and claims that are not well.
    pub events: Vec<Event>,
    /// What each server answered to `GET /status`, or why it did not, by ordinal; none when it was not asked.
    pub answers: BTreeMap<i32, Result<Answer, String>>,
    /// What could not be read, and why: each a sentence.
    pub unread: Vec<String>,
}

/// What a server says of itself, as far as it is shown.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// What the operator judges by.
    #[serde(flatten)]
    pub member: MemberStatus,
    /// The last transaction it holds: `0x` and hexadecimal digits.
    #[serde(default)]
    pub zxid: String,
    /// How many clients are connected to it.
    #[serde(default)]
    pub connections: u64,
}

impl Answer {
    /// Epoch and counter of its last transaction; none when the text is no zxid.
    pub fn zxid(&self) -> Option<(u64, u64)> {
        let zxid = u64::from_str_radix(self.zxid.strip_prefix("0x")?, 16).ok()?;
        Some((zxid >> 32, zxid & u64::from(u32::MAX)))
    }
}

impl Seen {
    /// A resource and nothing else.
    pub fn of(now: Timestamp, ensemble: ZooKeeperEnsemble) -> Self {
        Self {
            now,
            ensemble,
            pods: Vec::new(),
            claims: Vec::new(),
            events: Vec::new(),
            answers: BTreeMap::new(),
            unread: Vec::new(),
        }
    }

    /// The name of the ensemble.
    pub fn name(&self) -> &str {
        self.ensemble.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.ensemble.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Its status, if the operator has written one.
    pub fn status(&self) -> Option<&ZooKeeperEnsembleStatus> {
        self.ensemble.status.as_ref()
    }

    /// A condition of its status.
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.status()?.conditions.iter().find(|condition| condition.type_ == type_)
    }

    /// Whether a condition is True, if it is there.
    pub fn holds(&self, type_: &str) -> Option<bool> {
        self.condition(type_).map(|condition| condition.status == "True")
    }

    /// The recorded facts; none before they are recorded, and when they were damaged.
    pub fn founded(&self) -> Option<Founded> {
        Founded::of(self.status()).ok().flatten()
    }

    /// Its pods by ordinal, with what matters of each.
    pub fn pods(&self) -> BTreeMap<i32, (PodFacts, &Pod)> {
        let facts = self.pods.iter().filter_map(|pod| Some((PodFacts::of(self.name(), pod)?, pod)));
        facts.map(|((ordinal, facts), pod)| (ordinal, (facts, pod))).collect()
    }

    /// The operator's judgement on what was read here. None when servers were not asked, or are not known yet.
    pub fn assessment(&self) -> Option<Assessment> {
        let founded = self.founded()?;
        let pods = self.pods();
        let asked = pods.iter().all(|(ordinal, (pod, _))| pod.ip.is_none() || self.answers.contains_key(ordinal));
        asked.then(|| assess(&self.observed(), &founded))
    }

    /// The part of the operator's view that a judgement needs. What it would make is neither read nor asked for here.
    fn observed(&self) -> Observed {
        let member = |answer: &Result<Answer, String>| answer.clone().map(|answer| answer.member);
        Observed {
            now: Time(self.now),
            ensemble: self.ensemble.clone(),
            default_image: String::new(),
            fresh: Identity { ensemble_id: String::new(), token: Token(String::new()) },
            objects: Vec::new(),
            unusable: BTreeMap::new(),
            token: TokenState::Absent,
            pods: self.pods().into_iter().map(|(ordinal, (facts, _))| (ordinal, facts)).collect(),
            claims: self.claims.iter().map(Claim::of).collect(),
            nodes: BTreeMap::new(),
            classes: BTreeMap::new(),
            members: self.answers.iter().map(|(ordinal, answer)| (*ordinal, member(answer))).collect(),
        }
    }
}
