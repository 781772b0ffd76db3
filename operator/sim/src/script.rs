//! What users do to an ensemble, and what happens to its pods and nodes: drawn from the seed before the run begins.

use crate::marks::Mark;
use crate::nodes::{BAD_KEY, BAD_TAG, Change};
use crate::world::{Event, World};
use ensemble_proto::Zxid;
use fastrand::Rng;
use operator_api::{BootstrapPhase, Reclaim, names};
use serde_json::{Value, json};
use std::time::Duration;

/// Two members are not hurt within this time: whoever was must be whole again first.
const APART: Duration = Duration::from_secs(20);

/// Something that a person does, or that befalls a pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Deed {
    /// Another size, and how many of them vote.
    Size { replicas: i32, voters: Option<i32> },
    /// Another image; one that no registry has.
    Image(u32),
    /// See [`BAD_TAG`].
    BadImage,
    /// Another `zoo.cfg`; one that a server refuses.
    Config(i32),
    /// See [`BAD_KEY`].
    BadConfig,
    /// The last bad edit is taken back.
    Revert,
    /// The annotation that asks for a rolling restart.
    Restart(u32),
    /// `hibernate: true`, or `replicas: 0`.
    Hibernate(bool),
    /// The size from before.
    Wake,
    /// `paused`.
    Pause(bool),
    /// Whether claims are deleted when the ensemble shrinks, and when it is deleted.
    Reclaim(bool, bool),
    /// `kubectl delete pod`.
    DeletePod(i32),
    /// A volume is lost with its pod, if the others bear it.
    LoseVolume(i32),
    /// A node is lost for so long.
    LoseNode(i32, Duration),
    /// The acting operator loses its lease, and acts on for so long.
    LoseLease(Duration),
    /// The last edit: a spec that can be carried out.
    Heal,
}

/// The options of a run.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Length of the part with edits and faults.
    pub(crate) storm: Duration,
    /// Whether servers, links and disks fail in it.
    pub(crate) has_server_faults: bool,
    /// Whether calls of operators fail in it.
    pub(crate) has_api_faults: bool,
    first: i32,
    first_voters: Option<i32>,
    min_ready_seconds: i32,
    /// When who does what.
    pub(crate) deeds: Vec<(Duration, Deed)>,
}

impl Script {
    /// Draws the options of a run.
    pub(crate) fn draw(random: &mut Rng) -> Script {
        let (first, first_voters) = size(random);
        let mut deeds = Vec::new();
        let mut at = Duration::ZERO;
        for number in 0..random.u32(1..9) {
            // Some come while the one before is under way, some even before the ensemble exists.
            let most_ms = if random.bool() { 20_000 } else { 120_000 };
            at += Duration::from_millis(random.u64(500..most_ms));
            deeds.push((at, Deed::draw(random, number)));
        }
        Script {
            storm: at + Duration::from_secs(random.u64(5..60)),
            has_server_faults: random.bool(),
            has_api_faults: random.u8(0..3) > 0,
            first,
            first_voters,
            min_ready_seconds: [0, 0, 5][random.usize(0..3)],
            deeds,
        }
    }

    /// The spec that the ensemble is created with.
    pub(crate) fn first_spec(&self) -> Value {
        let update = json!({ "minReadySeconds": self.min_ready_seconds });
        json!({ "replicas": self.first, "voters": self.first_voters, "updateStrategy": update })
    }
}

/// A size, odd or even, and now and then fewer voters than it could have.
fn size(random: &mut Rng) -> (i32, Option<i32>) {
    let replicas = random.i32(1..=7);
    let odd = [1, 3, 5, 7].into_iter().filter(|voters| *voters <= replicas);
    let voters = if random.u8(0..4) == 0 { odd.clone().nth(random.usize(0..odd.count())) } else { None };
    (replicas, voters)
}

impl Deed {
    fn draw(random: &mut Rng, number: u32) -> Deed {
        let ordinal = random.i32(0..7);
        match random.u8(0..100) {
            0..32 => {
                let (replicas, voters) = size(random);
                Deed::Size { replicas, voters }
            }
            32..40 => Deed::Image(number),
            40..44 => Deed::BadImage,
            44..52 => Deed::Config(random.i32(1000..3000)),
            52..56 => Deed::BadConfig,
            56..61 => Deed::Revert,
            61..67 => Deed::Restart(number),
            67..70 => Deed::Hibernate(random.bool()),
            70..73 => Deed::Wake,
            73..77 => Deed::Pause(random.bool()),
            77..81 => Deed::Reclaim(random.bool(), random.bool()),
            81..86 => Deed::DeletePod(ordinal),
            86..90 => Deed::LoseVolume(ordinal),
            90..95 => Deed::LoseNode(ordinal, Duration::from_secs(random.u64(10..120))),
            _ => Deed::LoseLease(Duration::from_millis(random.u64(0..20_000))),
        }
    }
}

impl World {
    /// It is done.
    pub(crate) fn act(&mut self, deed: Deed) {
        self.tale(|| format!("{deed:?}"));
        let image =
            |tag: &str| Some(serde_json::from_value(json!({ "repository": "zk", "tag": tag })).expect("an image"));
        match deed {
            Deed::Size { replicas, voters } => {
                self.marks.sometimes(Mark::EvenSize, replicas % 2 == 0);
                self.cluster.edit(|e| (e.spec.replicas, e.spec.voters) = (replicas, voters));
            }
            Deed::Image(number) => self.cluster.edit(|e| e.spec.image = image(&format!("v{number}"))),
            Deed::BadImage => self.cluster.edit(|e| e.spec.image = image(BAD_TAG)),
            Deed::Config(ms) => self.cluster.edit(|e| e.spec.config.tick_time_ms = ms),
            Deed::BadConfig => self.cluster.edit(|e| {
                e.spec.config.extra.insert(BAD_KEY.to_owned(), "1".to_owned());
            }),
            Deed::Revert => self.revert(),
            Deed::Restart(number) => self.cluster.edit(|e| {
                let annotations = e.metadata.annotations.get_or_insert_default();
                annotations.insert(names::restarted_at_annotation(), number.to_string());
            }),
            Deed::Hibernate(true) => self.cluster.edit(|e| e.spec.hibernate = true),
            Deed::Hibernate(false) => self.cluster.edit(|e| e.spec.replicas = 0),
            Deed::Wake => self.wake(),
            Deed::Pause(on) => self.cluster.edit(|e| e.spec.paused = on),
            Deed::Reclaim(on_scale_down, on_delete) => self.cluster.edit(|e| {
                let policy = |deletes: bool| if deletes { Reclaim::Delete } else { Reclaim::Retain };
                let reclaim = &mut e.spec.storage.reclaim_policy;
                (reclaim.on_scale_down, reclaim.on_delete) = (policy(on_scale_down), policy(on_delete));
            }),
            Deed::DeletePod(ordinal) => self.delete_pod(ordinal),
            Deed::LoseVolume(ordinal) => self.lose_volume(ordinal),
            Deed::LoseNode(ordinal, lasts) => self.lose_node(ordinal, lasts),
            Deed::LoseLease(lasts) => self.lose_lease(lasts),
            Deed::Heal => {
                self.revert();
                self.wake();
                self.cluster.edit(|e| {
                    e.spec.paused = false;
                    e.spec.voters = e.spec.voters.filter(|voters| *voters <= e.spec.replicas);
                });
            }
        }
    }

    fn revert(&mut self) {
        self.cluster.edit(|e| {
            e.spec.config.extra.remove(BAD_KEY);
            if e.spec.image.as_ref().is_some_and(|image| image.tag.as_deref() == Some(BAD_TAG)) {
                e.spec.image = None;
            }
        });
    }

    fn wake(&mut self) {
        let before = self.servers.ledger().membership.servers.len().max(1);
        self.cluster.edit(|e| {
            e.spec.hibernate = false;
            if e.spec.replicas == 0 {
                e.spec.replicas = i32::try_from(before).unwrap_or(1);
            }
        });
    }

    fn delete_pod(&mut self, ordinal: i32) {
        if let Some(pod) = self.cluster.pods.get_mut(&ordinal) {
            let is_new = !std::mem::replace(&mut pod.facts.deleting, true);
            self.cluster.version += 1;
            self.judge.disturbed = self.now();
            self.marks.hit(Mark::PodDeleted);
            self.going(ordinal, is_new);
        }
    }

    /// The others hold everything, are a quorum without it, and nobody else has lost a volume.
    fn lose_volume(&mut self, ordinal: i32) {
        let ledger = self.servers.ledger();
        let voters: Vec<usize> = ledger.voters().into_iter().collect();
        let whole = |server: &usize| self.servers.is_serving(*server) && !ledger.servers[*server].is_wiped;
        let phase = self.cluster.ensemble.status.as_ref().and_then(|status| status.bootstrap.as_ref());
        let bears = phase.is_some_and(|bootstrap| bootstrap.phase == BootstrapPhase::Complete)
            && voters.len() >= 3
            && voters.iter().all(whole)
            && ledger.last_committed() > Zxid::ZERO
            && self.now().saturating_sub(self.judge.last_trouble(&self.servers)) > APART;
        if bears && self.is_member(ordinal) && self.cluster.pods.contains_key(&ordinal) {
            for claim in [names::data_claim("zk", ordinal), names::txn_log_claim("zk", ordinal)] {
                self.cluster.remove_claim(&claim);
            }
            self.delete_pod(ordinal);
        }
    }

    fn lose_node(&mut self, ordinal: i32, lasts: Duration) {
        let now = self.now();
        let until = now + lasts;
        let Some(pod) = self.cluster.pods.get_mut(&ordinal).filter(|pod| pod.lost_until.is_none()) else { return };
        pod.lost_until = Some(until);
        self.judge.disturbed = now;
        self.marks.hit(Mark::NodeLost);
        let uid = pod.facts.uid.clone();
        self.schedule(self.now(), Event::Pod { ordinal, uid, change: Change::NodeLost });
    }

    fn lose_lease(&mut self, lasts: Duration) {
        let Some(now) = self.operators.iter().position(|operator| operator.is_alive) else { return };
        let next = 1 - now;
        if self.operators[next].is_alive {
            return;
        }
        self.marks.hit(Mark::TwoOperators);
        self.start_operator(next, Duration::ZERO);
        self.next(now, lasts, crate::operator::Act::End);
    }

    /// A person does what only a person can: the claims of servers that could not confirm their removal are given up.
    pub(crate) fn help(&mut self) {
        let doubtful = |claim: &operator_core::Claim| {
            let ordinal = crate::cluster::ordinal_of(&claim.name).unwrap_or_default();
            claim.retired.as_ref().is_some_and(|mark| mark.starts_with("unconfirmed"))
                && !self.is_member(ordinal)
                && !self.cluster.pods.contains_key(&ordinal)
        };
        let names: Vec<String> =
            self.cluster.claims.values().filter(|claim| doubtful(claim)).map(|c| c.name.clone()).collect();
        for name in names {
            self.tale(|| format!("a person deletes {name}"));
            self.marks.hit(Mark::ClaimGivenUp);
            self.cluster.remove_claim(&name);
        }
    }
}
