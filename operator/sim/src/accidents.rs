//! What befalls pods, volumes and nodes, and what a person does about it.
//!
//! A volume is only taken, or damaged, while the others hold everything without it: what no ensemble can survive is no test of one. A node
//! that is lost is off, or only out of reach of the API server while its server goes on. That one is off a person says by a taint, and
//! may be wrong: some come back.

use crate::cluster::{NAME, Pod, stamp};
use crate::marks::Mark;
use crate::nodes::Change;
use crate::world::{Event, World};
use ensemble_proto::Zxid;
use operator_api::{BootstrapPhase, names};
use std::time::Duration;

/// Two members are not hurt within this time: whoever was must be whole again first.
const APART: Duration = Duration::from_secs(20);
/// How long after a person says that a node is off one that is not comes back.
const MISTAKEN_MAX_MS: u64 = 40_000;

impl World {
    /// `kubectl delete pod`.
    pub(crate) fn delete_pod(&mut self, ordinal: i32) {
        if self.cluster.pods.contains_key(&ordinal) {
            let is_new = self.cluster.end_pod(ordinal, self.now());
            self.judge.disturbed = self.now();
            self.marks.hit(Mark::PodDeleted);
            self.going(ordinal, is_new);
        }
    }

    /// A member loses volumes with its pod, if the others bear it.
    pub(crate) fn lose_volumes(&mut self, ordinal: i32, lost: &[String]) {
        if self.others_bear(ordinal) && self.cluster.pods.contains_key(&ordinal) {
            lost.iter().for_each(|claim| self.cluster.remove_claim(claim));
            self.delete_pod(ordinal);
        }
    }

    /// The files of a member cannot be trusted any more, if the others bear it: its server ends, and does not start on them again.
    pub(crate) fn damage(&mut self, ordinal: i32) {
        let claim = self.cluster.claims.get(&names::data_claim(NAME, ordinal)).map(|claim| claim.uid.clone());
        let runs = self.cluster.pods.get(&ordinal).is_some_and(|pod| !pod.facts.deleting);
        if let Some(claim) = claim.filter(|_| runs && self.others_bear(ordinal)) {
            self.cluster.damaged.insert(claim);
            self.judge.disturbed = self.now();
            self.marks.hit(Mark::Damaged);
            self.then(ordinal, Change::Broken, 0, 100);
        }
    }

    /// Whether the files of a member cannot be trusted.
    pub(crate) fn is_damaged(&self, ordinal: i32) -> bool {
        let claim = self.cluster.claims.get(&names::data_claim(NAME, ordinal));
        claim.is_some_and(|claim| self.cluster.damaged.contains(&claim.uid))
    }

    /// The other members hold everything, are a quorum without this one, and nobody else has lost a volume, or is about to.
    pub(crate) fn others_bear(&self, ordinal: i32) -> bool {
        let ledger = self.servers.ledger();
        let voters: Vec<usize> = ledger.voters().into_iter().collect();
        let whole = |server: &usize| self.servers.is_serving(*server) && !ledger.servers[*server].is_wiped;
        let status = self.cluster.ensemble.status.as_ref();
        let is_complete = status.and_then(|status| status.bootstrap.as_ref());
        let is_complete = is_complete.is_some_and(|bootstrap| bootstrap.phase == BootstrapPhase::Complete);
        let rebuild = status.and_then(|status| status.rebuild.as_ref());
        let is_rebuilt = rebuild.is_some_and(|rebuild| rebuild.finished_at.is_none());
        let answered = rebuild.and_then(|rebuild| rebuild.request.as_ref());
        let is_asked = self.rebuild_asked().is_some_and(|asked| Some(asked) != answered);
        let is_going = self.cluster.claims.values().any(|claim| claim.deleting);
        self.is_member(ordinal)
            && is_complete
            && voters.len() >= 3
            && voters.iter().all(whole)
            && !(0..7).any(|other| self.is_member(other) && (self.is_damaged(other) || self.is_halved(other)))
            && !(is_asked || is_rebuilt || is_going)
            && ledger.last_committed() > Zxid::ZERO
            && self.now().saturating_sub(self.judge.last_trouble(&self.servers)) > APART
    }

    /// What the annotation says that asks for a rebuild.
    pub(crate) fn rebuild_asked(&self) -> Option<&String> {
        self.cluster.ensemble.metadata.annotations.as_ref()?.get(&names::rebuild_annotation())
    }

    /// A person asks for the rebuild of a member, or takes that back.
    pub(crate) fn ask_for_rebuild(&mut self, ordinal: Option<i32>) {
        self.cluster.edit(|e| {
            let annotations = e.metadata.annotations.get_or_insert_default();
            match ordinal {
                Some(ordinal) => annotations.insert(names::rebuild_annotation(), ordinal.to_string()),
                None => annotations.remove(&names::rebuild_annotation()),
            };
        });
    }

    /// The node of a pod is lost for so long: off, or out of reach.
    pub(crate) fn lose_node(&mut self, ordinal: i32, lasts: Duration, is_off: bool) {
        let now = self.now();
        let Some(pod) = self.cluster.pods.get_mut(&ordinal).filter(|pod| pod.lost_until.is_none()) else { return };
        pod.lost_until = Some(now.saturating_add(lasts));
        self.judge.disturbed = now;
        self.marks.hit(if is_off { Mark::NodeLost } else { Mark::NodeOutOfReach });
        let uid = pod.facts.uid.clone();
        self.schedule(now, Event::Pod { ordinal, uid, change: Change::NodeLost { is_off } });
    }

    /// The same, and after a while a person says that it is off.
    pub(crate) fn lose_node_for_good(&mut self, ordinal: i32, after: Duration, comes_back: bool) {
        if self.cluster.pods.get(&ordinal).is_some_and(|pod| pod.lost_until.is_none()) {
            self.lose_node(ordinal, Duration::MAX, true);
            let ms = u64::try_from(after.as_millis()).unwrap_or_default();
            self.then(ordinal, Change::Vouched { comes_back }, ms, ms + 1);
        }
    }

    /// The controller of nodes gives a node up.
    pub(crate) fn node_is_unreachable(&mut self, ordinal: i32, uid: &str) {
        let now = self.now();
        let is_lost = |pod: &&Pod| pod.lost_until.is_some_and(|until| until > now);
        let Some(pod) = self.cluster.pods.get(&ordinal).filter(is_lost) else { return };
        self.set_node_ready(pod.facts.node.clone(), false);
        self.cluster.update_pod(ordinal, uid, |pod| {
            if std::mem::take(&mut pod.facts.ready) {
                pod.facts.ready_turned = Some(stamp(now));
            }
        });
    }

    /// A person taints a node out of service, which evicts its pods.
    pub(crate) fn vouch(&mut self, ordinal: i32, comes_back: bool) {
        let now = self.now();
        let mistaken = Duration::from_millis(self.random.u64(0..MISTAKEN_MAX_MS));
        let is_lost = |pod: &&mut Pod| pod.lost_until.is_some_and(|until| until > now);
        let Some(pod) = self.cluster.pods.get_mut(&ordinal).filter(is_lost) else { return };
        pod.lost_until = Some(if comes_back { now + mistaken } else { Duration::MAX });
        let node = pod.facts.node.clone().unwrap_or_default();
        self.tale(|| format!("a person says that {node} of pod {ordinal} is off; it comes back: {comes_back}"));
        self.marks.hit(if comes_back { Mark::OffByMistake } else { Mark::NodeOff });
        if let Some(facts) = self.cluster.nodes.get_mut(&node) {
            facts.out_of_service = true;
        }
        let is_new = self.cluster.end_pod(ordinal, now);
        self.going(ordinal, is_new);
    }

    /// The kubelet of a node is heard of again.
    pub(crate) fn node_is_back(&mut self, ordinal: i32) {
        self.judge.disturbed = self.now();
        let Some(pod) = self.cluster.pods.get_mut(&ordinal) else { return };
        pod.lost_until = None;
        let node = pod.facts.node.clone();
        self.set_node_ready(node, true);
    }

    /// Whether the node of a pod is lost, and a person says that it is off.
    pub(crate) fn is_out_of_service(&self, ordinal: i32) -> bool {
        let node = self.cluster.pods.get(&ordinal).and_then(|pod| pod.facts.node.as_ref());
        node.and_then(|node| self.cluster.nodes.get(node)).is_some_and(|node| node.out_of_service && !node.ready)
    }

    fn set_node_ready(&mut self, node: Option<String>, ready: bool) {
        if let Some(facts) = node.and_then(|node| self.cluster.nodes.get_mut(&node)) {
            facts.ready = ready;
            self.cluster.version += 1;
        }
    }

    /// Whether a claim is there, and no server of the ensemble's uses it.
    fn is_left_behind(&self, claim: &str) -> bool {
        let is_used = |ordinal: i32| self.is_member(ordinal) || self.cluster.pods.contains_key(&ordinal);
        let is_there = self.cluster.claims.get(claim).is_some_and(|claim| !claim.deleting);
        is_there && crate::cluster::ordinal_of(claim).is_some_and(|ordinal| !is_used(ordinal))
    }

    /// Nodes that nobody said to be off come back.
    pub(crate) fn nodes_come_back(&mut self) {
        let lost = self.cluster.pods.iter().filter(|(_, pod)| pod.lost_until.is_some());
        for ordinal in lost.map(|(ordinal, _)| *ordinal).collect::<Vec<_>>() {
            if !self.is_out_of_service(ordinal) {
                self.node_is_back(ordinal);
            }
        }
    }

    /// A person does what only a person can: a claim that the status names as in the way is given up, a server whose files cannot be
    /// trusted is rebuilt, and an ensemble that lost its majority is recovered.
    pub(crate) fn help(&mut self) {
        let conditions = self.cluster.ensemble.status.iter().flat_map(|status| &status.conditions);
        let mut blocked = conditions.filter(|condition| condition.reason == "StaleVolume");
        let named = blocked.find_map(|condition| condition.message.strip_prefix("claim ")?.split(' ').next());
        if let Some(name) = named.map(str::to_owned).filter(|name| self.is_left_behind(name)) {
            self.tale(|| format!("a person deletes {name}"));
            self.marks.hit(Mark::ClaimGivenUp);
            self.cluster.remove_claim(&name);
        }
        // Before the first request somebody may be mistaken.
        let is_careless = self.cluster.ensemble.spec.recovery.is_none() && self.random.u8(0..3) == 0;
        self.recover(is_careless);
        // Of one volume that is lost nobody but a person knows whether it comes back.
        let is_automatic = self.cluster.ensemble.spec.repair.auto_rebuild;
        let is_broken = |(ordinal, pod): &(&i32, &Pod)| {
            let is_halved = self.is_halved(**ordinal) && pod.facts.trouble.is_some();
            is_halved || (self.is_damaged(**ordinal) && !is_automatic)
        };
        let Some(broken) = self.cluster.pods.iter().find(is_broken).map(|(ordinal, _)| *ordinal) else { return };
        let status = self.cluster.ensemble.status.as_ref();
        let rebuild = status.and_then(|status| status.rebuild.as_ref());
        match (rebuild.map(|rebuild| rebuild.finished_at.is_some()), self.rebuild_asked()) {
            // One is under way.
            (Some(false), Some(_)) => {}
            (_, Some(asked)) if *asked == broken.to_string() && rebuild.is_none() => {}
            (_, Some(_)) => self.ask_for_rebuild(None),
            (_, None) => {
                self.tale(|| format!("a person asks for the rebuild of {broken}"));
                self.ask_for_rebuild(Some(broken));
            }
        }
    }
}
