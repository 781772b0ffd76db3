//! What users do to an ensemble, and what happens to its pods and nodes: drawn from the seed before the run begins.

use crate::cluster::NAME;
use crate::marks::Mark;
use crate::nodes::{BAD_KEY, BAD_TAG};
use crate::world::World;
use ensemble_sim::trace::Verdict;
use fastrand::Rng;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use operator_api::{Reclaim, UpdateMode, names};
use serde_json::{Value, json};
use std::time::Duration;

/// The size of the data volumes that the spec begins with, in GiB.
const FIRST_GIB: u32 = 10;
/// `spec.repair.nodeLostTimeout`.
const NODE_LOST_TIMEOUT: &str = "10s";

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
    /// One of its two volumes alone.
    LoseOneVolume { ordinal: i32, is_log: bool },
    /// A node is lost for so long: off, or only out of reach.
    LoseNode { ordinal: i32, lasts: Duration, is_off: bool },
    /// A node is lost, and after a while a person says that it is off, and may be mistaken.
    NodeOff { ordinal: i32, after: Duration, comes_back: bool },
    /// The files of a member cannot be trusted any more, if the others bear it.
    Damage(i32),
    /// The annotation that asks for a rebuild, or no longer does.
    Rebuild(Option<i32>),
    /// `repair.autoRebuild`.
    AutoRebuild(bool),
    /// Larger volumes, by so many GiB.
    Grow(u32),
    /// The volumes of a majority are lost at once, if one that is left holds everything.
    LoseMajority,
    /// A person decides that the history of one member goes on, and may name the wrong ensemble or member.
    Recover { is_careless: bool },
    /// Whether an observer takes the place of a voter that is restarted.
    Swap(bool),
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
    auto_rebuild: bool,
    is_swap: bool,
    /// Whether the storage class allows expansion.
    pub(crate) is_expandable: bool,
    /// Whether file systems grow while they are mounted.
    pub(crate) grows_mounted: bool,
    /// When the ensemble is deleted after that, instead of being brought to rest.
    pub(crate) deleted_after: Option<Duration>,
    /// When who does what.
    pub(crate) deeds: Vec<(Duration, Deed)>,
}

impl Script {
    /// Draws the options of a run.
    pub(crate) fn draw(random: &mut Rng) -> Script {
        let is_swap = random.u8(0..3) == 0;
        // In Swap mode one who observes is asked for.
        let (first, first_voters) = if is_swap { (random.i32(4..=7), Some(3)) } else { size(random) };
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
            auto_rebuild: random.u8(0..3) == 0,
            is_swap,
            is_expandable: random.u8(0..4) > 0,
            grows_mounted: random.bool(),
            deleted_after: (random.u8(0..16) == 0).then(|| Duration::from_millis(random.u64(0..30_000))),
            deeds,
        }
    }

    /// An ensemble of so many voters, and so many observers in Swap mode, to which only this happens.
    #[cfg(test)]
    pub(crate) fn quiet(voters: i32, observers: i32, deed: Deed) -> Script {
        let at = Duration::from_secs(60);
        Script {
            storm: at + Duration::from_secs(1),
            has_server_faults: false,
            has_api_faults: false,
            first: voters + observers,
            first_voters: Some(voters),
            min_ready_seconds: 0,
            auto_rebuild: false,
            is_swap: observers > 0,
            is_expandable: true,
            grows_mounted: true,
            deleted_after: None,
            deeds: vec![(at, deed)],
        }
    }

    /// The spec that the ensemble is created with.
    pub(crate) fn first_spec(&self) -> Value {
        let update = json!({ "minReadySeconds": self.min_ready_seconds, "mode": mode(self.is_swap) });
        let storage = json!({ "data": { "size": gib(FIRST_GIB) } });
        let repair = json!({ "nodeLostTimeout": NODE_LOST_TIMEOUT, "autoRebuild": self.auto_rebuild });
        json!({
            "replicas": self.first, "voters": self.first_voters, "updateStrategy": update, "storage": storage, "repair": repair,
        })
    }
}

/// How pods are restarted.
fn mode(is_swap: bool) -> UpdateMode {
    if is_swap { UpdateMode::Swap } else { UpdateMode::LeaderLast }
}

fn gib(number: u32) -> String {
    format!("{number}Gi")
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
            0..24 => {
                let (replicas, voters) = size(random);
                Deed::Size { replicas, voters }
            }
            24..26 => Deed::LoseOneVolume { ordinal, is_log: random.bool() },
            26..32 => Deed::Image(number),
            32..35 => Deed::BadImage,
            35..41 => Deed::Config(random.i32(1000..3000)),
            41..44 => Deed::BadConfig,
            44..48 => Deed::Revert,
            48..52 => Deed::Restart(number),
            52..55 => Deed::Hibernate(random.bool()),
            55..58 => Deed::Wake,
            58..61 => Deed::Pause(random.bool()),
            61..64 => Deed::Reclaim(random.bool(), random.bool()),
            64..67 => Deed::DeletePod(ordinal),
            67..70 => Deed::LoseVolume(ordinal),
            70..74 => {
                let lasts = Duration::from_secs(random.u64(10..120));
                Deed::LoseNode { ordinal, lasts, is_off: random.bool() }
            }
            74..79 => {
                let after = Duration::from_secs(random.u64(10..90));
                Deed::NodeOff { ordinal, after, comes_back: random.u8(0..4) == 0 }
            }
            79..83 => Deed::Damage(ordinal),
            83..88 => Deed::Rebuild(Some(ordinal)),
            88..89 => Deed::Rebuild(None),
            89..91 => Deed::AutoRebuild(random.u8(0..4) > 0),
            91..94 => Deed::Grow(random.u32(1..20)),
            94..97 => Deed::LoseMajority,
            97..98 => Deed::Swap(random.bool()),
            _ => Deed::LoseLease(Duration::from_millis(random.u64(0..20_000))),
        }
    }
}

impl World {
    /// It is done.
    ///
    /// # Errors
    /// The first promise of the servers found broken by it.
    pub(crate) fn act(&mut self, deed: Deed) -> Verdict {
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
            Deed::LoseVolume(ordinal) => {
                self.lose_volumes(ordinal, &[names::data_claim(NAME, ordinal), names::txn_log_claim(NAME, ordinal)]);
            }
            Deed::LoseOneVolume { ordinal, is_log: true } => {
                self.lose_volumes(ordinal, &[names::txn_log_claim(NAME, ordinal)]);
            }
            Deed::LoseOneVolume { ordinal, is_log: false } => {
                self.lose_volumes(ordinal, &[names::data_claim(NAME, ordinal)]);
            }
            Deed::LoseNode { ordinal, lasts, is_off } => self.lose_node(ordinal, lasts, is_off),
            Deed::NodeOff { ordinal, after, comes_back } => self.lose_node_for_good(ordinal, after, comes_back),
            Deed::Damage(ordinal) => self.damage(ordinal),
            Deed::Rebuild(ordinal) => self.ask_for_rebuild(ordinal),
            Deed::AutoRebuild(on) => self.cluster.edit(|e| e.spec.repair.auto_rebuild = on),
            Deed::Grow(more) => self.cluster.edit(|e| {
                let size = &mut e.spec.storage.data.size;
                let now: u32 = size.0.trim_end_matches("Gi").parse().unwrap_or(FIRST_GIB);
                *size = Quantity(gib(now + more));
            }),
            Deed::LoseMajority => self.lose_majority()?,
            Deed::Recover { is_careless } => self.recover(is_careless),
            Deed::Swap(on) => self.cluster.edit(|e| e.spec.update_strategy.mode = mode(on)),
            Deed::LoseLease(lasts) => self.lose_lease(lasts),
            Deed::Heal => {
                self.revert();
                self.wake();
                self.cluster.edit(|e| {
                    e.spec.paused = false;
                    e.spec.voters = e.spec.voters.filter(|voters| *voters <= e.spec.replicas);
                });
                self.give_swap_up();
            }
        }
        Ok(())
    }

    /// Swap mode needs an observer.
    fn give_swap_up(&mut self) {
        let spec = &self.cluster.ensemble.spec;
        if spec.update_strategy.mode == UpdateMode::Swap && !spec.has_spare_observer() {
            self.marks.hit(Mark::SwapGivenUp);
            self.cluster.edit(|e| e.spec.update_strategy.mode = UpdateMode::LeaderLast);
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
}
