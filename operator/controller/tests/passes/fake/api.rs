//! The API server: objects with resource versions, server-side apply, lists, watches, and `409`.

use std::convert::Infallible;

use futures::stream::{self, Stream};
use http::{Method, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Full, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};

use super::ensemble::base64;
use super::{Fake, NAMESPACE, World};

/// What an answer is made of.
pub type Reply = UnsyncBoxBody<Bytes, Infallible>;

/// A change of an object, for those that watch.
#[derive(Clone)]
pub struct Change {
    version: u64,
    /// `ADDED` or `MODIFIED`; nothing is deleted.
    kind: &'static str,
    path: String,
    object: Value,
}

/// A call, as the API server sees it.
pub struct Call {
    pub verb: &'static str,
    group: String,
    /// `resource`, `resource/name` or `resource/name/subresource`.
    pub path: String,
    /// The version after which a watch begins.
    after: u64,
}

impl Call {
    pub fn of(method: &Method, uri: &Uri) -> Self {
        let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let group = if parts[0] == "api" { "" } else { parts[1] };
        // Everything is in our namespace, but for nodes and storage classes.
        let base = if parts[0] == "api" { 2 } else { 3 };
        let at = parts.iter().position(|part| *part == NAMESPACE).map_or(base, |namespace| namespace + 1);
        let rest = &parts[at..];
        let query = |key: &str| uri.query()?.split('&').find_map(|term| term.strip_prefix(key)?.strip_prefix('='));
        let verb = match (method, rest.len()) {
            (&Method::GET, 1) if query("watch").is_some() => "watch",
            (&Method::GET, 1) => "list",
            (&Method::GET, _) => "get",
            (&Method::POST, _) => "create",
            (&Method::PUT, _) => "update",
            (&Method::PATCH, _) => "patch",
            (&Method::DELETE, 2) => "delete",
            (method, _) => panic!("the operator does not {method}"),
        };
        let after = query("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        Self { verb, group: group.to_owned(), path: rest.join("/"), after }
    }

    /// Whether it changes an ensemble or its objects. Events and the lease do not.
    pub fn mutates(&self) -> bool {
        let aside = self.path.starts_with("events") || self.is_about_the_lease();
        !matches!(self.verb, "get" | "list" | "watch") && !aside
    }

    pub fn is_about_the_lease(&self) -> bool {
        self.path.starts_with("leases")
    }

    /// The rights that the API server asks for. An apply may create.
    pub fn rights(&self) -> Vec<String> {
        let parts: Vec<&str> = self.path.split('/').collect();
        let resource = match parts[..] {
            [resource, _, sub] => format!("{resource}/{sub}"),
            [resource, ..] => resource.to_owned(),
            [] => unreachable!("a path has parts"),
        };
        let right = |verb: &str| format!("{}/{resource}:{verb}", self.group);
        let is_apply = self.group != "events.k8s.io" && resource != "persistentvolumeclaims";
        let apply = self.verb == "patch" && is_apply;
        std::iter::once(right(self.verb)).chain(apply.then(|| right("create"))).collect()
    }
}

impl World {
    /// Stores an object under the next version, and tells those that watch.
    pub fn put(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let old = self.objects.insert(path.to_owned(), object.clone());
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        self.changes.push(Change { version: self.version, kind, path: path.to_owned(), object: object.clone() });
        self.newest.send_replace(self.version);
        object
    }

    /// Changes an object as a user would.
    pub fn edit(&mut self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.objects[path].clone();
        change(&mut object);
        self.put(path, object);
    }

    pub fn carry_out(&mut self, call: &Call, body: &Value) -> (u16, Value) {
        let path = call.path.as_str();
        match call.verb {
            "list" => {
                let items = self.list(path);
                (200, json!({ "metadata": { "resourceVersion": self.version.to_string() }, "items": items }))
            }
            "get" if self.unreadable.as_deref() == Some(path) => (403, json!("Forbidden")),
            "get" | "patch" if self.unknown.contains(path.split('/').next().unwrap_or_default()) => {
                (404, json!("Failed to parse error data"))
            }
            "get" => self.objects.get(path).map_or((404, Value::Null), |object| (200, object.clone())),
            "create" if path == "events" => {
                self.events.push(body["reason"].as_str().unwrap_or_default().to_owned());
                self.notes.push(body["note"].as_str().unwrap_or_default().to_owned());
                (201, body.clone())
            }
            "create" if path.ends_with("/eviction") => self.evict(path, body),
            "create" => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().expect("a name"));
                if self.objects.contains_key(&path) {
                    (409, json!("AlreadyExists"))
                } else {
                    (201, self.create(&path, body))
                }
            }
            "patch" if path.starts_with("events/") => (200, body.clone()),
            "patch" if path.starts_with("persistentvolumeclaims/") => {
                let Some(claim) = self.objects.get(path) else { return (404, Value::Null) };
                if claim["metadata"]["uid"] != body["metadata"]["uid"] {
                    return (409, json!("Conflict"));
                }
                let mut claim = claim.clone();
                let size = &body["spec"]["resources"]["requests"]["storage"];
                if !size.is_null() {
                    claim["spec"]["resources"]["requests"]["storage"] = size.clone();
                }
                let annotations = claim["metadata"]["annotations"].as_object_mut().expect("annotations");
                annotations.extend(body["metadata"]["annotations"].as_object().cloned().unwrap_or_default());
                annotations.retain(|_, value| !value.is_null());
                for owner in body["metadata"]["ownerReferences"].as_array().into_iter().flatten() {
                    let mut owners = claim["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
                    owners.retain(|other| other["uid"] != owner["uid"]);
                    owners.extend((owner["$patch"] != "delete").then(|| owner.clone()));
                    claim["metadata"]["ownerReferences"] = json!(owners);
                }
                (200, self.put(path, claim))
            }
            "delete" if path.starts_with("pods/") => self.delete_pod(path, body),
            "delete" if path == "statefulsets/zk" => self.delete_set(body),
            "delete" if !path.starts_with("persistentvolumeclaims/") => {
                let Some(object) = self.objects.get(path) else { return (404, Value::Null) };
                if object["metadata"]["uid"] != body["preconditions"]["uid"] {
                    return (409, json!("Conflict"));
                }
                self.objects.remove(path);
                (200, json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" }))
            }
            "delete" => {
                let Some(claim) = self.objects.get(path) else { return (404, Value::Null) };
                if claim["metadata"]["uid"] != body["preconditions"]["uid"] {
                    return (409, json!("Conflict"));
                }
                let ordinal = path.rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse().ok()).expect("a claim");
                self.delete_claim(path, ordinal);
                (200, json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" }))
            }
            "patch" => {
                let meant = &body["metadata"]["resourceVersion"];
                if !meant.is_null() && *meant != self.objects[path]["metadata"]["resourceVersion"] {
                    self.conflicts += 1;
                    return (409, json!("Conflict"));
                }
                if path == "statefulsets/zk" {
                    return (200, self.apply_set(body));
                }
                let mut object = body.clone();
                object["metadata"]["uid"] = format!("uid-of-{path}").into();
                if let Some(status) = self.objects.get(path).and_then(|old| old.get("status")) {
                    object["status"] = status.clone();
                }
                (200, self.put(path, object))
            }
            "update" => self.update(path, body),
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

    /// Replaces an object, or its status only, if it is still at the version that the caller read.
    fn update(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let (path, whole) = match path.strip_suffix("/status") {
            Some(path) => (path, false),
            None => (path, true),
        };
        if path.starts_with("leases/") && std::mem::take(&mut self.lease_moves) {
            self.edit(path, |_| ());
        }
        let mut live = self.objects[path].clone();
        if live["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
            self.conflicts += 1;
            return (409, json!("Conflict"));
        }
        if whole {
            return (200, self.put(path, body.clone()));
        }
        live["status"] = body["status"].clone();
        self.identities.extend(body["status"]["ensembleId"].as_str().map(str::to_owned));
        (200, self.put(path, live))
    }

    fn list(&mut self, resource: &str) -> Vec<Value> {
        if resource == "pods" {
            return self.pods();
        }
        let under = |path: &str| path.strip_prefix(resource).is_some_and(|rest| rest.starts_with('/'));
        self.objects.iter().filter(|(path, _)| under(path)).map(|(_, object)| object.clone()).collect()
    }
}

impl Fake {
    /// The changes of a resource after a version, one a line, as long as the connection lasts.
    pub fn watch(&self, who: &str, call: &Call) -> Response<Reply> {
        let newest = self.world().newest.subscribe();
        let state = (self.clone(), who.to_owned(), call.path.clone(), call.after, newest);
        Response::new(Reply::new(StreamBody::new(Self::changes(state))))
    }

    fn changes(
        state: (Self, String, String, u64, tokio::sync::watch::Receiver<u64>),
    ) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
        stream::unfold(state, |(fake, who, resource, after, mut newest)| async move {
            loop {
                newest.borrow_and_update();
                let next = fake.world().change(&who, &resource, after);
                if let Some(change) = next {
                    let line = format!("{}\n", json!({ "type": change.kind, "object": change.object }));
                    let frame = Frame::data(Bytes::from(line));
                    return Some((Ok(frame), (fake, who, resource, change.version, newest)));
                }
                newest.changed().await.ok()?;
            }
        })
    }
}

impl World {
    /// The first change of a resource after a version; none reaches a process that is cut off.
    fn change(&self, who: &str, resource: &str, after: u64) -> Option<Change> {
        let seen = self.changes.partition_point(|change| change.version <= after);
        let next = self.changes[seen..].iter().find(|change| change.path.split('/').next() == Some(resource))?;
        (!self.cut.contains(who)).then(|| next.clone())
    }
}

pub fn respond(status: u16, body: &Value) -> Response<Reply> {
    if status >= 400 {
        return failure_with(status, body.as_str().unwrap_or(if status == 404 { "NotFound" } else { "Failed" }));
    }
    let body = whole(&body.to_string());
    Response::builder().status(StatusCode::from_u16(status).expect("a status")).body(body).expect("a response")
}

pub fn failure(status: u16) -> Response<Reply> {
    failure_with(status, if status == 409 { "Conflict" } else { "InternalError" })
}

pub fn refusal(status: u16) -> Response<Reply> {
    failure_with(status, "the API server's words")
}

fn failure_with(status: u16, reason: &str) -> Response<Reply> {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason, "reason": reason, "code": status });
    Response::builder()
        .status(StatusCode::from_u16(status).expect("a status"))
        .body(whole(&body.to_string()))
        .expect("a response")
}

fn whole(text: &str) -> Reply {
    Reply::new(Full::new(Bytes::copy_from_slice(text.as_bytes())))
}
