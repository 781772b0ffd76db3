//! The servers of the ensemble: they wait for a grant, elect a leader, and answer on their admin ports.

use operator_controller::admin::{Admin, GrantError};
use operator_core::{BootstrapState, Grant, MemberStatus, Role, StoreState, Token};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Fault, Process, World};

/// One server.
#[derive(Clone, Debug)]
pub struct Server {
    pub volume: String,
    pub granted: bool,
    /// It holds the ensemble's history.
    pub synced: bool,
    pub up: bool,
}

/// The servers answer whoever reaches them: the network to the API server is another one.
impl Admin for Process {
    async fn status(&self, ip: &str) -> Result<MemberStatus, String> {
        self.fake.delay().await;
        self.fake.world().member(ordinal_of(ip))
    }

    async fn grant(&self, token: &Token, grant: &Grant) -> Result<(), GrantError> {
        let fault = self.fake.world().fault_at(&self.name, &format!("grant {}", grant.ordinal));
        let refused = |status| Err(GrantError::Refused { status, reason: String::new() });
        let takes = self.fake.world().grant_takes;
        self.fake.delay().await;
        let take = || self.fake.world().grant(token, grant);
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
                Err(GrantError::NoAnswer("timed out".to_owned()))
            }
            None => {
                let answer = take();
                sleep(takes).await;
                answer.or_else(refused)
            }
        }
    }
}

fn ordinal_of(ip: &str) -> i32 {
    ip.rsplit('.').next().and_then(|last| last.parse().ok()).expect("an address that we gave")
}

impl World {
    /// The pods follow the StatefulSet; their servers start with them.
    pub fn pods(&mut self) -> Vec<Value> {
        let replicas =
            self.objects.get("statefulsets/zk").and_then(|set| set["spec"]["replicas"].as_i64()).unwrap_or(0);
        let pod = |ordinal: i64| {
            let ready = self
                .servers
                .get(&i32::try_from(ordinal).expect("few"))
                .is_some_and(|server| server.synced && server.up);
            json!({
                "metadata": { "name": format!("zk-{ordinal}") },
                "status": {
                    "podIP": format!("10.0.0.{ordinal}"),
                    "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }],
                },
            })
        };
        let pods: Vec<Value> = (0..replicas).map(pod).collect();
        for ordinal in 0..i32::try_from(replicas).expect("few") {
            if !self.servers.contains_key(&ordinal) {
                self.new_volume(ordinal);
            }
        }
        pods
    }

    /// A server starts on an empty volume.
    pub fn new_volume(&mut self, ordinal: i32) {
        let volume = format!("volume-{}", self.volumes_drawn);
        self.volumes_drawn += 1;
        self.servers.insert(ordinal, Server { volume, granted: false, synced: false, up: true });
    }

    /// Granted servers elect a leader when they are a majority; the others take its history.
    pub fn servers_turn(&mut self) {
        let voting = |server: &&mut Server| server.up && (server.granted || server.synced);
        let majority = self.servers.len() / 2 + 1;
        if self.servers.values_mut().filter(voting).count() >= majority {
            self.servers.values_mut().filter(|server| server.up).for_each(|server| server.synced = true);
        }
    }

    fn member(&self, ordinal: i32) -> Result<MemberStatus, String> {
        let server = &self.servers[&ordinal];
        if !server.up {
            return Err("connection refused".to_owned());
        }
        let config = self.objects["configmaps/zk-config"]["data"]["zoo.cfg"].as_str().expect("text");
        let ensemble_id = config.lines().find_map(|line| line.strip_prefix("ensemble.id=")).expect("an id");
        let leader = self.servers.iter().find(|(_, server)| server.synced && server.up).map(|(ordinal, _)| ordinal + 1);
        let leads = leader == Some(ordinal + 1);
        Ok(MemberStatus {
            version: "1.0.0".to_owned(),
            myid: ordinal + 1,
            ensemble_id: Some(ensemble_id.to_owned()),
            volume_id: Some(server.volume.clone()),
            role: match (server.synced, leads) {
                (true, true) => Role::Leading,
                (true, false) => Role::Following,
                (false, _) => Role::Looking,
            },
            leader: leader.filter(|_| server.synced),
            epoch: 1,
            store_state: if server.synced { StoreState::Synced } else { StoreState::Uninitialized },
            config_hash: None,
            bootstrap: match (server.synced, server.granted) {
                (true, _) => BootstrapState::Closed,
                (false, true) => BootstrapState::Granted,
                (false, false) => BootstrapState::AwaitingGrant,
            },
        })
    }

    /// The server's side of a grant, after the contract: an empty volume takes it, once or again.
    fn grant(&mut self, token: &Token, grant: &Grant) -> Result<(), u16> {
        if self.objects["secrets/zk-superuser"]["data"]["token"] != base64(&token.0) {
            return Err(401);
        }
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
