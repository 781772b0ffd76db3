//! A cluster in memory: an API server behind `tower-test`, and the servers of one ensemble.
//!
//! It knows what the operator relies on: resource versions, server-side apply, watches, `409`, pods that follow a
//! StatefulSet, and servers that wait for a grant. Any mutating call can be made to end the operator just before or just
//! after it took effect, or to be answered with an error; a process can be cut off, and calls can take their time.

#![allow(unreachable_pub, reason = "a test has nobody who could use it")]

mod api;
mod ensemble;
mod faults;
mod roll;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use kube::runtime::events::{Recorder, Reporter};
use operator_api::ZooKeeperEnsemble;
use operator_controller::lead::{Ended, lead};
use operator_controller::lease::Election;
use operator_controller::metrics::Metrics;
use operator_controller::reconcile::{Context, Error, pass};
use operator_core::plan::Next;
use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use api::{Call, Change, Reply, failure, refusal, respond};
pub use ensemble::{Configuration, Server};
pub use faults::{Disturbance, FAULTS, Fault, at_any_call, contain};
pub use roll::Made;

pub const NAMESPACE: &str = "prod";
pub const NAME: &str = "zk";
pub const ENSEMBLE: &str = "zookeeperensembles/zk";
pub const CLASS: &str = "storageclasses/standard";
pub const LEASE: &str = "leases/operator";

/// A mutating call as it was issued.
#[derive(Clone, Debug)]
pub struct Act {
    pub who: String,
    pub at: Instant,
    pub call: String,
}

/// Everything that is, shared by the fake API server and the fake servers.
#[derive(Default)]
pub struct World {
    /// Objects by path below `/apis/…/namespaces/prod/`, such as `services/zk-client`.
    pub objects: BTreeMap<String, Value>,
    version: u64,
    changes: Vec<Change>,
    newest: watch::Sender<u64>,
    /// Volume and grant of each server, by ordinal.
    pub servers: BTreeMap<i32, Server>,
    volumes_drawn: u32,
    /// What each pod was made from, by ordinal.
    pub made: BTreeMap<i32, Made>,
    /// Pods that were taken away to be made anew, in order.
    pub replaced: Vec<i32>,
    /// Claims of members that were deleted, in order.
    pub rebuilt: Vec<String>,
    pods_made: u32,
    sets_made: u32,
    /// File systems grow only when they are mounted.
    pub offline: bool,
    /// Servers whose pods are gone, as their volumes hold them.
    pub idle: BTreeMap<i32, Server>,
    /// Servers whose volumes became the first of a new ensemble, in order.
    pub taken_over: Vec<i32>,
    /// Claims that a recovery gave up, in order.
    pub given_up: Vec<String>,
    /// Pods that do not run.
    pub troubled: BTreeSet<i32>,
    /// Pods whose end nobody confirms, and when it was due.
    pub stuck: BTreeMap<i32, String>,
    /// The committed configuration, and who leads.
    pub configuration: Configuration,
    pub leader: Option<i32>,
    /// Mutating calls so far, in words, and with who issued them when.
    pub calls: Vec<String>,
    pub acts: Vec<Act>,
    /// Calls of every kind so far.
    pub requests: usize,
    /// Who wrote the lease, and when it took effect.
    pub leases: Vec<(String, Instant)>,
    /// The mutating call (counted from 0) at which something happens, once.
    pub fault: Option<(usize, Fault)>,
    /// A status that every mutating call on this path is answered with.
    pub refusal: Option<(String, u16)>,
    /// The leader refuses to hand its office over.
    pub deaf: bool,
    /// Resources that this cluster does not have.
    pub unknown: BTreeSet<String>,
    /// An object that nobody may read.
    pub unreadable: Option<String>,
    /// Processes that the API server is out of reach for: nothing is answered, nothing arrives.
    pub cut: BTreeSet<String>,
    /// How long the way to a server or to the API server takes, drawn up to this, each way.
    pub latency: Option<(fastrand::Rng, Duration)>,
    /// How long a server takes to answer a grant that it has taken.
    pub grant_takes: Duration,
    /// How long the answer to a process's next write of the lease takes.
    pub lease_answer_takes: BTreeMap<String, Duration>,
    /// The lease gets another version just before it is next written.
    pub lease_moves: bool,
    /// Writes that were refused because somebody else wrote first.
    pub conflicts: usize,
    /// Rights that were used, as `group/resource:verb`.
    pub rights: BTreeSet<String>,
    /// Every identity ever recorded, and every volume ever granted, by ordinal.
    pub identities: BTreeSet<String>,
    pub granted: BTreeMap<i32, BTreeSet<String>>,
    /// Reasons and notes of the events.
    pub events: Vec<String>,
    pub notes: Vec<String>,
}

/// A handle on the world.
#[derive(Clone)]
pub struct Fake {
    world: Arc<Mutex<World>>,
    died: Arc<Notify>,
}

/// An operator process, by its name.
pub struct Process {
    fake: Fake,
    name: String,
}

/// An operator process that runs by itself.
pub struct Running {
    pub task: JoinHandle<(Ended, Instant)>,
    pub stop: oneshot::Sender<()>,
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
        fake.world().put(ENSEMBLE, serde_json::to_value(ensemble).expect("JSON"));
        fake.world().put(
            CLASS,
            json!({ "metadata": { "name": "standard" }, "provisioner": "p", "allowVolumeExpansion": true }),
        );
        fake
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        // One thread: a lock that is held is held by the caller itself, who would wait for ever.
        self.world.try_lock().expect("nobody holds it over an await, or twice in one statement")
    }

    /// The resource's status.
    pub fn status(&self) -> Value {
        self.world().objects[ENSEMBLE]["status"].clone()
    }

    /// A condition of the resource's status.
    pub fn condition(&self, type_: &str) -> Value {
        let status = self.status();
        let mut conditions = status["conditions"].as_array().into_iter().flatten();
        conditions.find(|condition| condition["type"] == type_).cloned().unwrap_or_default()
    }

    /// A new operator process does one pass. None when it died.
    pub async fn pass(&self) -> Option<Result<Next, Error>> {
        let context = self.context("operator");
        tokio::select! {
            biased;
            () = self.died.notified() => None,
            result = pass(NAMESPACE, NAME, &context) => Some(result),
        }
    }

    /// Passes, each by a new process, until nothing is left to do.
    pub async fn settle(&self) {
        for _ in 0..40 {
            if matches!(self.pass().await, Some(Ok(Next::Later | Next::Never))) {
                return;
            }
            self.world().servers_turn();
            self.world().provisioner_turns();
        }
        let status = self.status();
        panic!("it does not settle: {:?}\n{status}", self.world().calls);
    }

    /// A whole operator process: it waits for the lease and acts while it holds it.
    pub fn start(&self, name: &str) -> Running {
        self.start_with(name, "operator")
    }

    /// The same with a lease of this name.
    pub fn start_with(&self, name: &str, lease: &str) -> Running {
        let context = self.context(name);
        let election = Election::new(context.client.clone(), NAMESPACE, lease, name);
        let (stop, told) = oneshot::channel();
        let task = tokio::spawn(async move {
            // Dropping the sender is not telling it to stop.
            let told = async move {
                if told.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let ended = lead(&election, Arc::new(context), NAMESPACE, told).await;
            (ended, Instant::now())
        });
        Running { task, stop }
    }

    /// What a process of this name runs with.
    pub fn context(&self, name: &str) -> Context<Process> {
        let client = self.client(name);
        Context {
            client: client.clone(),
            admin: Process { fake: self.clone(), name: name.to_owned() },
            recorder: Recorder::new(
                client,
                Reporter { controller: "test".to_owned(), instance: Some(name.to_owned()) },
            ),
            default_image: "zookeeper-ensemble:test".to_owned(),
            metrics: Metrics::default(),
            failpoint: None,
        }
    }

    /// A client of the API server. What it has sent is carried out even if it is dropped.
    fn client(&self, name: &str) -> Client {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Reply>>();
        let (fake, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            while let Some((request, answer)) = handle.next_request().await {
                let (fake, name) = (fake.clone(), name.clone());
                tokio::spawn(async move {
                    if let Some(response) = fake.serve(&name, request).await {
                        answer.send_response(response);
                    }
                });
            }
        });
        Client::new(service, NAMESPACE)
    }

    /// Answers a request; none when the operator dies at it.
    async fn serve(&self, who: &str, request: Request<Body>) -> Option<Response<Reply>> {
        let (parts, body) = request.into_parts();
        let call = Call::of(&parts.method, &parts.uri);
        let fault = {
            let mut world = self.world();
            world.requests += 1;
            world.rights.extend(call.rights());
            if call.mutates() { world.fault_at(who, &format!("{} {}", call.verb, call.path)) } else { None }
        };
        if !call.is_about_the_lease() {
            self.delay().await;
        }
        self.reachable(who).await;
        let body = body.collect().await.expect("a body in memory").to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if call.verb == "watch" {
            return Some(self.watch(who, &call));
        }
        if let Some(status) = self.world().refuses(&call) {
            return Some(refusal(status));
        }
        let response = match fault {
            Some(Fault::CrashBefore) => return self.die(),
            Some(Fault::CrashAfter) => {
                self.world().carry_out(&call, &body);
                return self.die();
            }
            Some(Fault::Answer(status)) => failure(status),
            Some(Fault::TimeoutAfter) => {
                self.world().carry_out(&call, &body);
                failure(504)
            }
            None if call.is_about_the_lease() => return Some(self.serve_lease(who, &call, &body).await),
            None => {
                let (status, answer) = self.world().carry_out(&call, &body);
                respond(status, &answer)
            }
        };
        self.delay().await;
        self.reachable(who).await;
        Some(response)
    }

    async fn serve_lease(&self, who: &str, call: &Call, body: &Value) -> Response<Reply> {
        let (status, answer) = self.world().carry_out(call, body);
        let late = if call.verb != "get" && status < 400 {
            let mut world = self.world();
            world.leases.push((who.to_owned(), Instant::now()));
            world.lease_answer_takes.remove(who)
        } else {
            None
        };
        sleep(late.unwrap_or_default()).await;
        self.reachable(who).await;
        respond(status, &answer)
    }

    /// Never, for a process that is cut off; in silence, as when packets are dropped.
    async fn reachable(&self, who: &str) {
        if self.world().cut.contains(who) {
            std::future::pending::<()>().await;
        }
    }

    async fn delay(&self) {
        let drawn = self.world().latency.as_mut().map(|(rng, most)| most.mul_f64(rng.f64()));
        if let Some(delay) = drawn {
            sleep(delay).await;
        }
    }

    fn die<T>(&self) -> Option<T> {
        self.died.notify_one();
        None
    }
}

impl World {
    fn fault_at(&mut self, who: &str, call: &str) -> Option<Fault> {
        let n = self.calls.len();
        self.calls.push(call.to_owned());
        self.acts.push(Act { who: who.to_owned(), at: Instant::now(), call: call.to_owned() });
        let (_, fault) = self.fault.take_if(|(at, _)| *at == n)?;
        Some(fault)
    }

    fn refuses(&self, call: &Call) -> Option<u16> {
        let (path, status) = self.refusal.as_ref()?;
        (call.mutates() && call.path == *path).then_some(*status)
    }
}
