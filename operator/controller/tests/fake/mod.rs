//! A cluster in memory: an API server behind `tower-test`, and the servers of one ensemble.
//!
//! It knows what the operator relies on: resource versions, server-side apply, `409`, pods that follow a StatefulSet,
//! and servers that wait for a grant. Any mutating call can be made to end the operator just before or just after it
//! took effect, or to be answered with an error.

#![allow(unreachable_pub, dead_code, reason = "each test binary compiles this file and uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use kube::runtime::events::{Recorder, Reporter};
use operator_api::ZooKeeperEnsemble;
use operator_controller::admin::{Admin, GrantError};
use operator_controller::metrics::Metrics;
use operator_controller::reconcile::{Context, pass};
use operator_core::plan::Next;
use operator_core::{BootstrapState, Grant, MemberStatus, Role, StoreState, Token};
use serde_json::{Value, json};
use tokio::sync::Notify;

pub const NAMESPACE: &str = "prod";
pub const NAME: &str = "zk";

/// What happens at a mutating call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operator dies before the call takes effect.
    CrashBefore,
    /// The call takes effect, and the operator dies before it hears of it.
    CrashAfter,
    /// The call takes no effect and is answered with this status.
    Answer(u16),
    /// The call takes effect and is answered with 504.
    TimeoutAfter,
}

pub const FAULTS: [Fault; 6] = [
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::Answer(409),
    Fault::Answer(429),
    Fault::Answer(500),
    Fault::TimeoutAfter,
];

/// Everything that is, shared by the fake API server and the fake servers.
#[derive(Default)]
pub struct World {
    /// Objects by path below `/apis/…/namespaces/prod/`, such as `services/zk-client`.
    pub objects: BTreeMap<String, Value>,
    version: u64,
    /// Volume and grant of each server, by ordinal.
    pub servers: BTreeMap<i32, Server>,
    volumes_drawn: u32,
    /// Mutating calls so far, in words.
    pub calls: Vec<String>,
    /// The mutating call (counted from 0) at which something happens, once.
    pub fault: Option<(usize, Fault)>,
    /// Rights that were used, as `group/resource:verb`.
    pub rights: BTreeSet<String>,
    /// Every identity ever recorded, and every volume ever granted, by ordinal.
    pub identities: BTreeSet<String>,
    pub granted: BTreeMap<i32, BTreeSet<String>>,
    /// Reasons of the events.
    pub events: Vec<String>,
}

/// One server.
#[derive(Clone, Debug)]
pub struct Server {
    pub volume: String,
    pub granted: bool,
    /// It holds the ensemble's history.
    pub synced: bool,
    pub up: bool,
}

/// A handle on the world.
#[derive(Clone)]
pub struct Fake {
    world: Arc<Mutex<World>>,
    died: Arc<Notify>,
}

impl Fake {
    /// A world with one resource of this spec.
    pub fn new(spec: &Value) -> Self {
        let fake = Self { world: Arc::default(), died: Arc::new(Notify::new()) };
        let ensemble: ZooKeeperEnsemble = serde_json::from_value(json!({
            "apiVersion": "zookeeper.ensemble.rs/v1alpha1", "kind": "ZooKeeperEnsemble",
            "metadata": { "name": NAME, "namespace": NAMESPACE, "uid": "u", "generation": 1 },
            "spec": spec,
        }))
        .expect("an ensemble");
        fake.world().put("zookeeperensembles/zk", serde_json::to_value(ensemble).expect("JSON"));
        fake
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no test panics while it holds the lock")
    }

    /// The resource's status.
    pub fn status(&self) -> Value {
        self.world().objects["zookeeperensembles/zk"]["status"].clone()
    }

    /// A new operator process does one pass. None when it died.
    pub async fn pass(&self) -> Option<Result<Next, operator_controller::reconcile::Error>> {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let fake = self.clone();
        let api = tokio::spawn(async move {
            while let Some((request, answer)) = handle.next_request().await {
                if let Some(response) = fake.serve(request).await {
                    answer.send_response(response);
                }
            }
        });
        let client = Client::new(service, NAMESPACE);
        let context = Context {
            client: client.clone(),
            admin: self.clone(),
            recorder: Recorder::new(client, Reporter { controller: "test".to_owned(), instance: None }),
            default_image: "zookeeper-ensemble:test".to_owned(),
            metrics: Metrics::default(),
            failpoint: None,
        };
        let result = tokio::select! {
            biased;
            () = self.died.notified() => None,
            result = pass(NAMESPACE, NAME, &context) => Some(result),
        };
        api.abort();
        result
    }

    /// Passes, each by a new process, until nothing is left to do.
    pub async fn settle(&self) {
        for _ in 0..40 {
            if matches!(self.pass().await, Some(Ok(Next::Later | Next::Never))) {
                return;
            }
            self.world().servers_turn();
        }
        panic!("it does not settle: {:?}\n{}", self.world().calls, self.status());
    }

    /// Answers a request; none when the operator dies at it.
    async fn serve(&self, request: Request<Body>) -> Option<Response<Body>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.expect("a body in memory").to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let call = Call::of(&parts.method, parts.uri.path());
        self.world().rights.extend(call.rights());
        if !call.mutates() {
            let (status, answer) = self.world().carry_out(&call, &body);
            return Some(respond(status, &answer));
        }
        let fault = self.world().fault_at(&format!("{} {}", call.verb, call.path));
        match fault {
            Some(Fault::CrashBefore) => self.die(),
            Some(Fault::CrashAfter) => {
                self.world().carry_out(&call, &body);
                self.die()
            }
            Some(Fault::Answer(status)) => Some(failure(status)),
            Some(Fault::TimeoutAfter) => {
                self.world().carry_out(&call, &body);
                Some(failure(504))
            }
            None => {
                let (status, answer) = self.world().carry_out(&call, &body);
                Some(respond(status, &answer))
            }
        }
    }

    fn die<T>(&self) -> Option<T> {
        self.died.notify_one();
        None
    }
}

impl Admin for Fake {
    async fn status(&self, ip: &str) -> Result<MemberStatus, String> {
        self.world().member(ordinal_of(ip))
    }

    async fn grant(&self, token: &Token, grant: &Grant) -> Result<(), GrantError> {
        let fault = self.world().fault_at(&format!("grant {}", grant.ordinal));
        let refused = |status| Err(GrantError::Refused { status, reason: String::new() });
        match fault {
            Some(Fault::CrashBefore) => {
                self.died.notify_one();
                std::future::pending().await
            }
            Some(Fault::CrashAfter) => {
                let _ = self.world().grant(token, grant);
                self.died.notify_one();
                std::future::pending().await
            }
            Some(Fault::Answer(status)) => refused(status),
            Some(Fault::TimeoutAfter) => {
                let _ = self.world().grant(token, grant);
                Err(GrantError::NoAnswer("timed out".to_owned()))
            }
            None => self.world().grant(token, grant).or_else(refused),
        }
    }
}

fn ordinal_of(ip: &str) -> i32 {
    ip.rsplit('.').next().and_then(|last| last.parse().ok()).expect("an address that we gave")
}

/// A call, as the API server sees it.
struct Call {
    verb: &'static str,
    group: String,
    /// `resource`, `resource/name` or `resource/name/subresource`.
    path: String,
}

impl Call {
    fn of(method: &Method, path: &str) -> Self {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let group = if parts[0] == "api" { "" } else { parts[1] };
        let at = parts.iter().position(|part| *part == NAMESPACE).expect("everything is in our namespace") + 1;
        let rest = &parts[at..];
        let verb = match (method, rest.len()) {
            (&Method::GET, 1) => "list",
            (&Method::GET, _) => "get",
            (&Method::POST, _) => "create",
            (&Method::PUT, _) => "update",
            (&Method::PATCH, _) => "patch",
            (method, _) => panic!("the operator does not {method}"),
        };
        Self { verb, group: group.to_owned(), path: rest.join("/") }
    }

    fn mutates(&self) -> bool {
        !matches!(self.verb, "get" | "list") && !self.path.starts_with("events")
    }

    /// The rights that the API server asks for. An apply may create.
    fn rights(&self) -> Vec<String> {
        let parts: Vec<&str> = self.path.split('/').collect();
        let resource = match parts[..] {
            [resource, _, sub] => format!("{resource}/{sub}"),
            [resource, ..] => resource.to_owned(),
            [] => unreachable!("a path has parts"),
        };
        let right = |verb: &str| format!("{}/{resource}:{verb}", self.group);
        let apply = self.verb == "patch" && self.group != "events.k8s.io";
        std::iter::once(right(self.verb)).chain(apply.then(|| right("create"))).collect()
    }
}

impl World {
    fn put(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn fault_at(&mut self, call: &str) -> Option<Fault> {
        let n = self.calls.len();
        self.calls.push(call.to_owned());
        let (_, fault) = self.fault.take_if(|(at, _)| *at == n)?;
        Some(fault)
    }

    fn carry_out(&mut self, call: &Call, body: &Value) -> (u16, Value) {
        let path = call.path.as_str();
        match call.verb {
            "list" => (200, json!({ "metadata": {}, "items": self.list(path) })),
            "get" => self.objects.get(path).map_or((404, Value::Null), |object| (200, object.clone())),
            "create" if path == "events" => {
                self.events.push(body["reason"].as_str().unwrap_or_default().to_owned());
                (201, body.clone())
            }
            "create" => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().expect("a name"));
                if self.objects.contains_key(&path) {
                    (409, json!("AlreadyExists"))
                } else {
                    (201, self.create(&path, body))
                }
            }
            "patch" if path.starts_with("events/") => (200, body.clone()),
            "patch" => {
                let mut object = body.clone();
                if let Some(status) = self.objects.get(path).and_then(|old| old.get("status")) {
                    object["status"] = status.clone();
                }
                (200, self.put(path, object))
            }
            "update" => self.update_status(path, body),
            verb => panic!("the operator does not {verb} {path}"),
        }
    }

    fn create(&mut self, path: &str, body: &Value) -> Value {
        let mut object = body.clone();
        // A Secret's stringData is written only.
        if let Some(token) = body["stringData"]["token"].as_str() {
            assert!(token.is_ascii() && token.len() == 64, "a token of 32 random bytes");
            object["data"] = json!({ "token": base64(token) });
        }
        self.put(path, object)
    }

    fn update_status(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let path = path.strip_suffix("/status").expect("only a status is updated");
        let mut live = self.objects[path].clone();
        if live["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
            return (409, json!("Conflict"));
        }
        live["status"] = body["status"].clone();
        self.identities.extend(body["status"]["ensembleId"].as_str().map(str::to_owned));
        (200, self.put(path, live))
    }

    /// The pods follow the StatefulSet; their servers start with them.
    fn list(&mut self, resource: &str) -> Vec<Value> {
        if resource != "pods" {
            return Vec::new();
        }
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

fn base64(text: &str) -> String {
    serde_json::to_value(k8s_openapi::ByteString(text.as_bytes().to_vec()))
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .expect("bytes are base64 in JSON")
}

fn respond(status: u16, body: &Value) -> Response<Body> {
    if status >= 400 {
        return failure_with(status, body.as_str().unwrap_or(if status == 404 { "NotFound" } else { "Failed" }));
    }
    let body = Body::from(body.to_string().into_bytes());
    Response::builder().status(StatusCode::from_u16(status).expect("a status")).body(body).expect("a response")
}

fn failure(status: u16) -> Response<Body> {
    failure_with(status, if status == 409 { "Conflict" } else { "InternalError" })
}

fn failure_with(status: u16, reason: &str) -> Response<Body> {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason, "reason": reason, "code": status });
    Response::builder()
        .status(StatusCode::from_u16(status).expect("a status"))
        .body(Body::from(body.to_string().into_bytes()))
        .expect("a response")
}
