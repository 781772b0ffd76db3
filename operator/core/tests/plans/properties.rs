//! What no observation may lead to.
//!
//! [`any_observation`] draws states that no correct cluster would be in: stale answers, members of other ensembles,
//! volumes that come and go. [`founding_in_a_hostile_world`] plays a founding to its end while volumes are lost, answers
//! are late, the operator dies and a second one acts on what it read long ago.

use std::collections::{BTreeMap, BTreeSet};

use operator_api::{Bootstrap, BootstrapPhase, ZooKeeperEnsemble, ZooKeeperEnsembleStatus};
use operator_core::{
    BootstrapState, Fact, Founded, Grant, Kind, MemberStatus, Observed, PodFacts, Role, Step, StoreFacts, StoreState,
    Token, TokenState, plan,
};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use crate::common;

/// The resource `zk` of this size and status.
fn ensemble(replicas: i32, status: Option<ZooKeeperEnsembleStatus>) -> ZooKeeperEnsemble {
    serde_json::from_value(json!({
        "apiVersion": "zookeeper.ensemble.rs/v1alpha1", "kind": "ZooKeeperEnsemble",
        "metadata": { "name": "zk", "namespace": "prod", "uid": "u" },
        "spec": { "replicas": replicas }, "status": status,
    }))
    .expect("an ensemble")
}

fn volume() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "c", "d"]).prop_map(str::to_owned)
}

fn bootstrap(replicas: i32) -> impl Strategy<Value = Bootstrap> {
    let phase = select(vec![BootstrapPhase::Pending, BootstrapPhase::InProgress, BootstrapPhase::Complete]);
    let volumes =
        prop::collection::btree_map((0..replicas).prop_map(|o| o.to_string()), volume(), 0..=replicas as usize);
    (phase, volumes).prop_map(move |(phase, volumes)| Bootstrap {
        phase,
        voters: (1..=replicas).collect(),
        volumes: if phase == BootstrapPhase::Pending { BTreeMap::new() } else { volumes },
        completed_at: None,
    })
}

fn answer(ordinal: i32) -> impl Strategy<Value = Result<MemberStatus, String>> {
    let role = select(vec![Role::Looking, Role::Following, Role::Leading, Role::Observing, Role::Standalone]);
    let store = select(vec![StoreState::Uninitialized, StoreState::Syncing, StoreState::Synced]);
    let state = select(vec![BootstrapState::Closed, BootstrapState::AwaitingGrant, BootstrapState::Granted]);
    let id = select(vec![Some("E".to_owned()), Some("E".to_owned()), Some("OTHER".to_owned()), None]);
    let myid = prop_oneof![4 => Just(ordinal + 1), 1 => 1..8];
    let status = (role, store, state, id, myid, prop::option::of(volume()), prop::option::of(1..8)).prop_map(
        |(role, store_state, bootstrap, ensemble_id, myid, volume_id, leader)| MemberStatus {
            version: "1".to_owned(),
            myid,
            ensemble_id,
            volume_id,
            role,
            leader,
            epoch: 1,
            logged_zxid: None,
            store_state,
            store: StoreFacts::default(),
            config_hash: None,
            config: common::members("0x0/1,2,3"),
            bootstrap,
        },
    );
    prop_oneof![4 => status.prop_map(Ok), 1 => Just(Err("timed out".to_owned()))]
}

fn pod(ordinal: i32) -> impl Strategy<Value = PodFacts> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(move |(ip, ready, deleting)| PodFacts {
        name: format!("zk-{ordinal}"),
        ip: ip.then(|| format!("10.0.0.{ordinal}")),
        ready,
        deleting,
        ..PodFacts::default()
    })
}

fn observed() -> impl Strategy<Value = Observed> {
    select(vec![1, 3, 5, 7]).prop_flat_map(|replicas| {
        let status = prop::option::weighted(0.9, bootstrap(replicas));
        // More pods and answers than voters: somebody scaled the StatefulSet by hand.
        let pods: Vec<_> = (0..replicas + 1).map(|o| prop::option::weighted(0.8, pod(o))).collect();
        let answers: Vec<_> = (0..replicas + 1).map(|o| prop::option::weighted(0.9, answer(o))).collect();
        let spec = select(vec![1, 3, 5, 7, 4]);
        (Just(replicas), status, pods, answers, spec, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(replicas, bootstrap, pods, answers, edited, edit, paused, token)| {
                let status = bootstrap.map(|bootstrap| ZooKeeperEnsembleStatus {
                    ensemble_id: Some("E".to_owned()),
                    bootstrap: Some(bootstrap),
                    ..ZooKeeperEnsembleStatus::default()
                });
                let mut observed = common::observe(ensemble(if edit { edited } else { replicas }, status));
                observed.ensemble.spec.paused = paused && edit;
                let by_ordinal = |n: usize| i32::try_from(n).expect("few");
                observed.pods = pods.into_iter().enumerate().filter_map(|(o, p)| Some((by_ordinal(o), p?))).collect();
                observed.members =
                    answers.into_iter().enumerate().filter_map(|(o, a)| Some((by_ordinal(o), a?))).collect();
                if token {
                    observed.token = TokenState::Present(Token("t".to_owned()));
                }
                observed
            },
        )
    })
}

fn recorded(steps: &[Step]) -> impl Iterator<Item = (Fact, &ZooKeeperEnsembleStatus)> {
    steps.iter().filter_map(|step| if let Step::Record(fact, status) = step { Some((*fact, &**status)) } else { None })
}

fn grants(steps: &[Step]) -> impl Iterator<Item = &Grant> {
    steps.iter().filter_map(|step| if let Step::Grant(grant) = step { Some(grant) } else { None })
}

/// Asserts everything that holds for a plan whatever was observed.
fn check(observed: &Observed) -> Result<(), TestCaseError> {
    let steps = plan(observed).steps;
    prop_assert_eq!(&steps, &plan(observed).steps, "a plan is a function of what was observed");
    let before = Founded::of(observed.ensemble.status.as_ref()).expect("drawn whole");

    let records = recorded(&steps).count();
    prop_assert!(records <= 1, "one fact a pass");
    prop_assert!(records == 0 || matches!(steps.last(), Some(Step::Record(..))), "a pass ends at a record");

    let Some(before) = before else {
        for step in &steps {
            let harmless = matches!(step, Step::Record(Fact::Identity, _) | Step::WriteStatus(_) | Step::Report(_));
            prop_assert!(harmless, "before the identity is recorded nothing is made: {}", step);
        }
        return Ok(());
    };
    for step in &steps {
        if let Step::Record(_, status) | Step::WriteStatus(status) = step {
            prop_assert_eq!(status.ensemble_id.as_deref(), Some("E"), "the identity never changes");
            let after = status.bootstrap.as_ref().expect("facts are never forgotten");
            prop_assert!(before.bootstrap.may_become(after), "{:?} -> {:?}", before.bootstrap, after);
            if matches!(step, Step::WriteStatus(_)) {
                prop_assert_eq!(&before.bootstrap, after, "a report records nothing");
            }
        }
        if let Step::Apply(object) = step
            && object.kind == Kind::StatefulSet
        {
            prop_assert_eq!(&object.manifest["spec"]["replicas"], &json!(before.pods));
        }
        if let Step::Apply(object) = step
            && object.name == "zk-config"
        {
            let lines = object.manifest["data"]["zoo.cfg"].as_str().expect("text").matches("\nserver.").count();
            prop_assert_eq!(lines, before.bootstrap.voters.len());
        }
        if observed.ensemble.spec.paused {
            prop_assert!(matches!(step, Step::WriteStatus(_) | Step::Report(_)), "paused, and yet {}", step);
        }
    }
    for grant in grants(&steps) {
        prop_assert_eq!(before.bootstrap.phase, BootstrapPhase::InProgress, "granted in another phase");
        prop_assert_eq!(before.bootstrap.volume(grant.ordinal), Some(&*grant.volume_id), "granted to another volume");
        prop_assert_eq!(&grant.voters, &before.bootstrap.voters, "granted with another list");
        let status = observed.members[&grant.ordinal].as_ref().expect("granted to one that answered");
        prop_assert_eq!(status.bootstrap, BootstrapState::AwaitingGrant);
        prop_assert_eq!(status.ensemble_id.as_deref(), Some("E"), "granted to a member of another ensemble");
        prop_assert_eq!(status.myid, before.myid(grant.ordinal), "granted to another server");
    }
    if before.is_complete() {
        let founding = |fact| matches!(fact, Fact::Identity | Fact::Volumes | Fact::Complete);
        prop_assert!(
            recorded(&steps).all(|(fact, _)| !founding(fact)),
            "a fact of the founding was recorded after the end"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_observation(observed in observed()) {
        check(&observed)?;
    }
}

/// A voter of the model: what its volume has been through.
#[derive(Clone, Debug, PartialEq)]
struct Server {
    volume: String,
    granted: bool,
    /// It has taken part in a quorum, and may have acknowledged a write on this volume.
    voted: bool,
    up: bool,
}

/// The world of one founding: the API server's one true status, the servers, and what two operators read last.
struct World {
    status: Option<ZooKeeperEnsembleStatus>,
    version: u64,
    servers: Vec<Server>,
    volumes_drawn: u32,
    read: [Option<(u64, Observed)>; 2],
    /// Identities that were ever recorded, and the volumes ever granted by ordinal.
    identities: BTreeSet<String>,
    granted: BTreeMap<i32, BTreeSet<String>>,
    /// Ordinals whose volume was lost after it may have acknowledged a write.
    forgot: BTreeSet<i32>,
}

/// What happens next.
#[derive(Clone, Debug)]
enum Happening {
    /// An operator reads everything.
    Read(usize),
    /// An operator carries out the first so many steps of the plan for what it read last, and dies.
    Act(usize, usize),
    /// A server's volume is lost and replaced by an empty one.
    LoseVolume(usize),
    /// A server stops or starts.
    Toggle(usize),
    /// The granted servers that are up elect a leader, if they are a majority, and acknowledge a write.
    Elect,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..2usize).prop_map(Happening::Read),
        6 => ((0..2usize), select(vec![1, 2, 3, 5, 100])).prop_map(|(who, steps)| Happening::Act(who, steps)),
        1 => (0..3usize).prop_map(Happening::LoseVolume),
        2 => (0..3usize).prop_map(Happening::Toggle),
        2 => Just(Happening::Elect),
    ]
}

impl World {
    fn new() -> Self {
        let server = |n: u32| Server { volume: format!("vol{n}"), granted: false, voted: false, up: true };
        Self {
            status: None,
            version: 0,
            servers: (0..3).map(server).collect(),
            volumes_drawn: 3,
            read: [None, None],
            identities: BTreeSet::new(),
            granted: BTreeMap::new(),
            forgot: BTreeSet::new(),
        }
    }

    fn happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Read(who) => self.read[*who] = Some((self.version, self.observe(*who))),
            Happening::Act(who, steps) => self.act(*who, *steps),
            Happening::LoseVolume(n) => {
                if self.servers[*n].voted {
                    self.forgot.insert(i32::try_from(*n).expect("few"));
                }
                self.servers[*n] =
                    Server { volume: format!("vol{}", self.volumes_drawn), granted: false, voted: false, up: true };
                self.volumes_drawn += 1;
            }
            Happening::Toggle(n) => self.servers[*n].up ^= true,
            Happening::Elect => {
                let voters: Vec<usize> = (0..3).filter(|n| self.servers[*n].up && self.servers[*n].granted).collect();
                if voters.len() >= 2 {
                    for n in voters {
                        self.servers[n].voted = true;
                    }
                }
            }
        }
    }

    fn observe(&self, who: usize) -> Observed {
        let mut observed = common::observe(ensemble(3, self.status.clone()));
        observed.fresh.ensemble_id = format!("E-by-{who}-at-{}", self.version);
        observed.token = TokenState::Present(Token("t".to_owned()));
        observed.objects = common::live_objects(&observed);
        let id = self.status.as_ref().and_then(|status| status.ensemble_id.clone());
        let leader = (0..3).find(|n| self.servers[*n].voted && self.servers[*n].up);
        for (n, server) in self.servers.iter().enumerate() {
            let ordinal = i32::try_from(n).expect("few");
            let ip = Some(format!("10.0.0.{n}"));
            observed.pods.insert(ordinal, PodFacts { ip, ready: server.voted, ..PodFacts::default() });
            let with_leader = server.voted && server.up && leader.is_some();
            let status = MemberStatus {
                version: "1".to_owned(),
                myid: ordinal + 1,
                ensemble_id: id.clone(),
                volume_id: Some(server.volume.clone()),
                role: match (with_leader, leader == Some(n)) {
                    (true, true) => Role::Leading,
                    (true, false) => Role::Following,
                    (false, _) => Role::Looking,
                },
                leader: leader.filter(|_| with_leader).map(|n| i32::try_from(n).expect("few") + 1),
                epoch: 1,
                logged_zxid: None,
                store_state: if with_leader { StoreState::Synced } else { StoreState::Uninitialized },
                store: StoreFacts::default(),
                config_hash: None,
                config: common::members("0x0/1,2,3"),
                bootstrap: if server.granted { BootstrapState::Granted } else { BootstrapState::AwaitingGrant },
            };
            observed.members.insert(ordinal, if server.up { Ok(status) } else { Err("down".to_owned()) });
        }
        observed
    }

    fn act(&mut self, who: usize, steps: usize) {
        let Some((version, observed)) = self.read[who].clone() else { return };
        for step in plan(&observed).steps.into_iter().take(steps) {
            match step {
                Step::Record(_, status) | Step::WriteStatus(status) => {
                    if version != self.version {
                        return; // The API server answers 409.
                    }
                    self.identities.extend(status.ensemble_id.clone());
                    self.status = Some(*status);
                    self.version += 1;
                    self.read[who] = None;
                    return;
                }
                Step::Grant(grant) => self.grant(&grant),
                step => assert!(
                    matches!(step, Step::CreateToken(_) | Step::Apply(_) | Step::Report(_) | Step::Wait { .. }),
                    "nothing else happens while an ensemble is founded: {step}"
                ),
            }
        }
    }

    /// The server's side of a grant: only an empty volume of this id takes it.
    fn grant(&mut self, grant: &Grant) {
        let server = &mut self.servers[usize::try_from(grant.ordinal).expect("not negative")];
        if server.up && server.volume == grant.volume_id && !server.voted {
            server.granted = true;
            self.granted.entry(grant.ordinal).or_default().insert(grant.volume_id.clone());
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        prop_assert!(self.identities.len() <= 1, "two identities: {:?}", self.identities);
        for (ordinal, volumes) in &self.granted {
            prop_assert!(volumes.len() <= 1, "ordinal {} was granted for {:?}", ordinal, volumes);
        }
        for ordinal in &self.forgot {
            let server = &self.servers[usize::try_from(*ordinal).expect("not negative")];
            prop_assert!(!server.granted, "server {} lost a volume that voted, and may vote empty", ordinal);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn founding_in_a_hostile_world(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut world = World::new();
        for happening in &happenings {
            world.happen(happening);
            world.check()?;
        }
    }
}

/// Without hostility the model comes to its end, so the property above is about something.
#[test]
fn founding_in_a_kind_world() {
    let mut world = World::new();
    for _ in 0..10 {
        world.happen(&Happening::Read(0));
        world.happen(&Happening::Act(0, 100));
        world.happen(&Happening::Elect);
    }
    let bootstrap = world.status.and_then(|status| status.bootstrap).expect("facts");
    assert_eq!(bootstrap.phase, BootstrapPhase::Complete);
    assert_eq!(bootstrap.volumes.len(), 3);
}
