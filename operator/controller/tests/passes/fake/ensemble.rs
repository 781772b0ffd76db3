//! The servers of the ensemble: they wait for a grant, elect a leader, change their configuration when it is asked for, and answer
//! on their admin ports. What must never happen to them is asserted here.

use std::collections::BTreeSet;

use operator_controller::admin::{Admin, AdminError};
use operator_core::{
    BootstrapState, Grant, MemberConfig, MemberStatus, Reconfiguration, Role, StoreFacts, StoreState, Token, Transfer,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{ENSEMBLE, Fault, Process, World};

/// One server.
#[derive(Clone, Debug)]
pub struct Server {
    pub volume: String,
    pub granted: bool,
    /// It holds the ensemble's history.
    pub synced: bool,
    pub up: bool,
    /// The configuration that it has active.
    pub configuration: Configuration,
    /// Whose volume it is.
    pub ensemble: String,
    /// The end of its history, where a test is about that; 0 otherwise.
    pub logged: u64,
}

/// A committed configuration, by ordinals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    pub version: u64,
    pub voters: BTreeSet<i32>,
    pub observers: BTreeSet<i32>,
}

impl Configuration {
    fn has(&self, ordinal: i32) -> bool {
        self.voters.contains(&ordinal) || self.observers.contains(&ordinal)
    }

    fn reported(&self) -> MemberConfig {
        let line = |ordinal: &i32, role| {
            format!("server.{}=zk-{ordinal}.zk-headless.prod.svc:2888:3888:{role};0.0.0.0:2181", ordinal + 1)
        };
        let voters = self.voters.iter().map(|ordinal| line(ordinal, "participant"));
        let servers = voters.chain(self.observers.iter().map(|ordinal| line(ordinal, "observer"))).collect();
        MemberConfig { version: format!("{:#x}", self.version), pending: None, servers }
    }
}

/// The servers answer whoever reaches them: the network to the API server is another one.
impl Admin for Process {
    async fn status(&self, ip: &str) -> Result<MemberStatus, String> {
        self.fake.delay().await;
        self.fake.world().member(ordinal_of(ip))
    }

    async fn reconfigure(&self, token: &Token, change: &Reconfiguration) -> Result<(), AdminError> {
        self.change("reconfigure", |world| world.reconfigure(token, change)).await
    }

    async fn transfer(&self, token: &Token, transfer: &Transfer) -> Result<(), AdminError> {
        self.change("transfer", |world| world.transfer(token, transfer)).await
    }

    async fn grant(&self, token: &Token, grant: &Grant) -> Result<(), AdminError> {
        let takes = self.fake.world().grant_takes;
        self.change(&format!("grant {}", grant.ordinal), |world| world.grant(token, grant)).await?;
        sleep(takes).await;
        Ok(())
    }
}

impl Process {
    /// A request that changes something, with the fault that is due at it.
    async fn change(&self, call: &str, take: impl Fn(&mut World) -> Result<(), u16>) -> Result<(), AdminError> {
        let fault = self.fake.world().fault_at(&self.name, call);
        let refused = |status| Err(AdminError::Refused { status, reason: "the server's words".to_owned() });
        self.fake.delay().await;
        let take = || take(&mut self.fake.world());
        match fault {
            Some(Fault::CrashBefore) => {
                self.fake.died.notify_one();
                std::future::pending().await
            }
            Some(Fault::CrashAfter) => {
                let _ = take();
                self.fake.died.notify_one();
                std::future::pending().await
            }
            Some(Fault::Answer(status)) => refused(status),
            Some(Fault::TimeoutAfter) => {
                let _ = take();
                Err(AdminError::NoAnswer("timed out".to_owned()))
            }
            None => take().or_else(refused),
        }
    }
}

fn ordinal_of(ip: &str) -> i32 {
    ip.rsplit('.').next().and_then(|last| last.parse().ok()).expect("an address that we gave")
}

impl World {
    /// The pods follow the StatefulSet; their claims and servers are made with them.
    pub fn pods(&mut self) -> Vec<Value> {
        // Without a StatefulSet nobody makes pods or takes them away.
        let set = self.objects.get("statefulsets/zk").map(|set| set["spec"]["replicas"].as_i64().expect("a number"));
        let replicas = set.map(|set| i32::try_from(set).expect("few"));
        for ordinal in 0..replicas.unwrap_or(0) {
            self.start_server(ordinal);
        }
        // The pods that are too many go, and their claims stay.
        let is_too_many = |ordinal: &i32| replicas.is_some_and(|replicas| *ordinal >= replicas);
        let gone: Vec<i32> = self.servers.keys().copied().filter(is_too_many).collect();
        for ordinal in gone {
            let spec = &self.objects[ENSEMBLE]["spec"];
            let hibernates = spec["replicas"] == 0 || spec["hibernate"] == true;
            assert!(
                !hibernates || self.leader.is_none_or(|leader| leader == 0 || !self.serves(leader) || !self.serves(0)),
                "zk-{ordinal} is stopped before the leader handed its office to zk-0"
            );
            assert!(hibernates || !self.configuration.has(ordinal), "the pod of member {ordinal} is taken away");
            let server = self.servers.remove(&ordinal).expect("it is there");
            self.idle.insert(ordinal, server);
        }
        let pod = |(ordinal, server): (&i32, &Server)| {
            let ready = server.synced && server.up;
            let trouble = (self.troubled.contains(ordinal) || self.is_stranger(server)).then(|| {
                json!([{
                    "name": "zookeeper", "image": "", "imageID": "", "ready": false, "restartCount": 1,
                    "state": { "waiting": { "reason": "CrashLoopBackOff" } },
                }])
            });
            json!({
                "metadata": { "name": format!("zk-{ordinal}"), "deletionTimestamp": self.stuck.get(ordinal) },
                "spec": { "nodeName": format!("node-{ordinal}"), "containers": [] },
                "status": {
                    "containerStatuses": trouble,
                    "podIP": format!("10.0.0.{ordinal}"),
                    "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }],
                },
            })
        };
        let pods = self.servers.iter().map(pod).collect();
        self.made(pods)
    }

    fn start_server(&mut self, ordinal: i32) {
        if self.servers.contains_key(&ordinal) {
            return;
        }
        let claims = ["data", "txnlog"].map(|volume| format!("persistentvolumeclaims/{volume}-zk-{ordinal}"));
        match self.idle.remove(&ordinal) {
            Some(server) if claims.iter().all(|claim| self.objects.contains_key(claim)) => {
                let knows = &server.configuration;
                assert!(
                    !server.synced || !knows.has(ordinal) || knows == &self.configuration,
                    "server {ordinal} comes back and believes that it is a member"
                );
                let granted = server.granted || server.synced;
                self.servers.insert(ordinal, Server { granted, synced: false, up: true, ..server });
            }
            _ => self.new_volume(ordinal),
        }
        self.take_over(ordinal);
        for claim in claims {
            if !self.objects.contains_key(&claim) {
                let name = claim.split('/').next_back().unwrap_or_default();
                let id = json!({ "zookeeper.ensemble.rs/ensemble-id": self.ensemble_id() });
                let set = &self.objects["statefulsets/zk"];
                let mut templates = set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
                let volume = name.split('-').next().unwrap_or_default();
                let template =
                    templates.find(|template| template["metadata"]["name"] == volume).cloned().unwrap_or_default();
                let resources = template["spec"]["resources"].clone();
                self.volumes_drawn += 1;
                let uid = format!("{claim}-{}", self.volumes_drawn);
                self.put(
                    &claim.clone(),
                    json!({
                        "metadata": { "name": name, "uid": uid, "annotations": id },
                        "spec": { "volumeName": "v", "storageClassName": "standard", "resources": resources },
                        "status": { "capacity": resources["requests"] },
                    }),
                );
            }
        }
    }

    pub fn ensemble_id(&self) -> String {
        let config = self.objects["configmaps/zk-config"]["data"]["zoo.cfg"].as_str().expect("text");
        config.lines().find_map(|line| line.strip_prefix("ensemble.id=")).expect("an id").to_owned()
    }

    /// A server starts on an empty volume; it knows what `zoo.cfg` says.
    pub fn new_volume(&mut self, ordinal: i32) {
        let volume = format!("volume-{}", self.volumes_drawn);
        self.volumes_drawn += 1;
        if self.configuration == Configuration::default() {
            let config = self.objects["configmaps/zk-config"]["data"]["zoo.cfg"].as_str().expect("text");
            let id = |line: &str| line.strip_prefix("server.")?.split('=').next()?.parse::<i32>().ok();
            self.configuration.voters = config.lines().filter_map(id).map(|id| id - 1).collect();
        }
        let (configuration, ensemble) = (Configuration::default(), self.ensemble_id());
        let server = Server { volume, granted: false, synced: false, up: true, configuration, ensemble, logged: 0 };
        self.servers.insert(ordinal, server);
    }

    /// Whether a server refuses to start in the ensemble of its `zoo.cfg`.
    fn is_stranger(&self, server: &Server) -> bool {
        server.ensemble != self.ensemble_id()
    }

    /// A server starts: on the volume that its `zoo.cfg` names, it begins the new ensemble.
    fn take_over(&mut self, ordinal: i32) {
        let config = self.objects["configmaps/zk-config"]["data"]["zoo.cfg"].as_str().expect("text").to_owned();
        let key = |key: &str| config.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let server = &self.servers[&ordinal];
        if !self.is_stranger(server) {
            return;
        }
        let is_named = key("ensemble.recovery.from") == Some(&server.ensemble)
            && key("ensemble.recovery.volume") == Some(&server.volume);
        if !is_named {
            let server = self.servers.get_mut(&ordinal).expect("it is there");
            (server.up, server.synced, server.granted) = (false, false, false);
            return;
        }
        let others = self.servers.iter().filter(|(other, server)| **other != ordinal && server.up);
        let running: Vec<i32> =
            others.filter(|(_, server)| self.is_stranger(server)).map(|(other, _)| *other).collect();
        assert!(running.is_empty(), "{running:?} still run in the former ensemble");
        assert!(server.logged > 0, "a history that is empty goes on");
        let known: u64 = key("ensemble.recovery.epoch").and_then(|epoch| epoch.parse().ok()).expect("an epoch");
        let version = (known.max(self.configuration.version >> 32).max(server.logged >> 32) + 1) << 32 | 1;
        self.configuration = Configuration { version, voters: BTreeSet::from([ordinal]), observers: BTreeSet::new() };
        self.leader = None;
        let (ensemble, configuration) = (self.ensemble_id(), self.configuration.clone());
        let server = self.servers.get_mut(&ordinal).expect("it is there");
        // It has a vote.
        (server.granted, server.ensemble, server.configuration) = (true, ensemble, configuration);
        self.taken_over.push(ordinal);
    }

    /// The volumes of these are gone for good, and their pods come back on new ones. Nobody leads.
    pub fn lose(&mut self, lost: &[i32], logged: u64) {
        for ordinal in lost {
            for claim in ["data", "txnlog"].map(|volume| format!("persistentvolumeclaims/{volume}-zk-{ordinal}")) {
                self.volumes_drawn += 1;
                let uid = json!(format!("{claim}-{}", self.volumes_drawn));
                self.edit(&claim, |claim| claim["metadata"]["uid"] = uid);
            }
            self.new_volume(*ordinal);
        }
        self.leader = None;
        for server in self.servers.values_mut().filter(|server| server.synced) {
            (server.synced, server.granted, server.logged) = (false, false, logged);
        }
    }

    /// How far it says that a recovery has come.
    pub fn phase(&self) -> String {
        self.recovery()["phase"].as_str().unwrap_or_default().to_owned()
    }

    /// What the ensemble's status says of a recovery.
    pub fn recovery(&self) -> &Value {
        &self.objects[ENSEMBLE]["status"]["recovery"]
    }

    /// Granted servers elect a leader when they are a majority of the voters; everybody takes its history, and the
    /// configuration with it.
    pub fn servers_turn(&mut self) {
        let votes = |ordinal: &&i32| {
            self.servers.get(ordinal).is_some_and(|server| server.up && (server.granted || server.synced))
        };
        if self.configuration.voters.iter().filter(votes).count() > self.configuration.voters.len() / 2 {
            let configuration = self.configuration.clone();
            let logged = self.servers.values().map(|server| server.logged).max().unwrap_or_default();
            for server in self.servers.values_mut().filter(|server| server.up) {
                (server.synced, server.logged) = (true, logged);
                server.configuration = configuration.clone();
            }
        }
        if self.leader.is_none_or(|leader| !self.serves(leader)) {
            self.leader = self.configuration.voters.iter().copied().find(|ordinal| self.serves(*ordinal));
        }
    }

    /// The provisioner gives every claim what it asks for; the file system follows at once, or when its pod is made anew.
    pub fn provisioner_turns(&mut self) {
        let claims: Vec<String> =
            self.objects.keys().filter(|path| path.starts_with("persistentvolumeclaims/")).cloned().collect();
        for path in claims {
            let mut claim = self.objects[&path].clone();
            let wanted = claim["spec"]["resources"]["requests"].clone();
            if claim["status"]["capacity"] == wanted {
                continue;
            }
            let ordinal: i32 = path.rsplit('-').next().and_then(|ordinal| ordinal.parse().ok()).expect("a claim");
            let uid = self.made.get(&ordinal).map(|made| made.uid.clone()).unwrap_or_default();
            let waits_for = claim["mounted"].as_str().map(str::to_owned);
            if self.offline && waits_for.is_none_or(|mounted| mounted == uid) {
                claim["mounted"] = json!(uid);
                claim["status"]["conditions"] = json!([{
                    "type": "FileSystemResizePending", "status": "True", "lastTransitionTime": "2020-01-01T01:00:00Z",
                }]);
            } else {
                claim["status"] = json!({ "capacity": wanted });
            }
            if claim != self.objects[&path] {
                self.put(&path, claim);
            }
        }
    }

    pub fn serves(&self, ordinal: i32) -> bool {
        self.configuration.voters.contains(&ordinal)
            && self.servers.get(&ordinal).is_some_and(|server| server.synced && server.up)
    }

    fn member(&self, ordinal: i32) -> Result<MemberStatus, String> {
        let server = &self.servers[&ordinal];
        if !server.up {
            return Err("connection refused".to_owned());
        }
        let leader = self.leader.filter(|leader| self.serves(*leader)).map(|ordinal| ordinal + 1);
        let leads = leader == Some(ordinal + 1);
        Ok(MemberStatus {
            version: "1.0.0".to_owned(),
            myid: ordinal + 1,
            ensemble_id: Some(server.ensemble.clone()),
            volume_id: Some(server.volume.clone()),
            role: match (server.synced, leads) {
                (true, true) => Role::Leading,
                (true, false) if self.configuration.observers.contains(&ordinal) => Role::Observing,
                (true, false) => Role::Following,
                (false, _) => Role::Looking,
            },
            leader: leader.filter(|_| server.synced),
            epoch: i64::try_from(server.logged >> 32).expect("an epoch").max(1),
            logged_zxid: Some(format!("{:#x}", server.logged)),
            store: StoreFacts::default(),
            store_state: match (server.synced, server.logged) {
                (true, _) => StoreState::Synced,
                (false, 0) => StoreState::Uninitialized,
                (false, _) => StoreState::Syncing,
            },
            config_hash: None,
            config: server.configuration.reported(),
            bootstrap: match (server.synced || server.logged > 0, server.granted) {
                (true, _) => BootstrapState::Closed,
                (false, true) => BootstrapState::Granted,
                (false, false) => BootstrapState::AwaitingGrant,
            },
        })
    }

    /// The leader's side of a reconfiguration: from the version that is active, to one whose voters it has synced.
    fn reconfigure(&mut self, token: &Token, change: &Reconfiguration) -> Result<(), u16> {
        self.check_token(token)?;
        if self.leader != Some(change.leader) || change.version != format!("{:#x}", self.configuration.version) {
            return Err(409);
        }
        let mut next = self.configuration.clone();
        for id in &change.leaving {
            next.voters.remove(&(id - 1));
            next.observers.remove(&(id - 1));
        }
        for line in &change.joining {
            let id: i32 = line["server.".len()..].split('=').next().and_then(|id| id.parse().ok()).expect("an id");
            let observes = line.contains(":observer");
            next.voters.remove(&(id - 1));
            next.observers.remove(&(id - 1));
            if observes { &mut next.observers } else { &mut next.voters }.insert(id - 1);
        }
        assert!(next.voters.len() % 2 == 1, "an even number of voters: {next:?}");
        // Who could take the office over first is to be asked first. Otherwise the leader designates at the commit.
        let is_exchanged = next.voters.is_disjoint(&self.configuration.voters);
        let stays = self.leader.is_some_and(|leader| next.voters.contains(&leader));
        assert!(stays || is_exchanged, "the leader is removed: {next:?}");
        let acknowledges = |ordinal: &&i32| {
            self.servers.get(ordinal).is_some_and(|server| server.up && server.synced)
                && !self.configuration.observers.contains(ordinal)
        };
        if next.voters.iter().filter(acknowledges).count() <= next.voters.len() / 2 {
            return Err(409);
        }
        let joins = |ordinal: &&i32| !self.configuration.voters.contains(ordinal);
        for ordinal in next.voters.iter().filter(joins) {
            assert!(self.servers[ordinal].synced, "server {ordinal} is to vote and is not synced");
        }
        next.version += 1;
        if is_exchanged {
            self.leader = next.voters.first().copied();
        }
        self.configuration = next;
        let configuration = self.configuration.clone();
        for server in self.servers.values_mut().filter(|server| server.up && server.synced) {
            server.configuration = configuration.clone();
        }
        Ok(())
    }

    fn transfer(&mut self, token: &Token, transfer: &Transfer) -> Result<(), u16> {
        self.check_token(token)?;
        if self.deaf
            || self.leader != Some(transfer.from)
            || transfer.myid != transfer.to + 1
            || !self.serves(transfer.to)
        {
            return Err(409);
        }
        self.leader = Some(transfer.to);
        Ok(())
    }

    fn check_token(&self, token: &Token) -> Result<(), u16> {
        let right = self.objects["secrets/zk-superuser"]["data"]["token"] == base64(&token.0);
        if right { Ok(()) } else { Err(401) }
    }

    /// The server's side of a grant, after the contract: an empty volume takes it, once or again.
    fn grant(&mut self, token: &Token, grant: &Grant) -> Result<(), u16> {
        self.check_token(token)?;
        let server = self.servers.get_mut(&grant.ordinal).expect("a server that is asked");
        if server.synced || server.volume != grant.volume_id {
            return Err(409);
        }
        server.granted = true;
        self.granted.entry(grant.ordinal).or_default().insert(grant.volume_id.clone());
        Ok(())
    }
}

pub fn base64(text: &str) -> String {
    serde_json::to_value(k8s_openapi::ByteString(text.as_bytes().to_vec()))
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .expect("bytes are base64 in JSON")
}
