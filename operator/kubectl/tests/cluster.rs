//! What is asked of the API server, and what is said when it refuses. The API server is a function from a request to an answer.

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use operator_kubectl::cluster::Cluster;
use operator_kubectl::list::Entry;
use operator_kubectl::{leader, read};
use serde_json::{Value, json};

/// A request as it came: method, path with query, and body.
type Asked = (Method, String, Value);

/// A cluster whose API server answers by `answer`: a status code and a body.
fn cluster(answer: impl Fn(&Asked) -> (u16, Value) + Send + 'static) -> Cluster {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    tokio::spawn(async move {
        while let Some((request, send)) = handle.next_request().await {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            let asked = (parts.method, parts.uri.to_string(), serde_json::from_slice(&body).unwrap_or_default());
            let (code, said) = answer(&asked);
            let text = said.as_str().map_or_else(|| said.to_string(), str::to_owned);
            send.send_response(
                Response::builder().status(code).body(Body::from(text.into_bytes())).expect("a response"),
            );
        }
    });
    Cluster { client: Client::new(service, "prod"), namespace: "prod".to_owned() }
}

fn failure(code: u16, reason: &str) -> (u16, Value) {
    let said = format!("the API server says {reason}");
    (
        code,
        json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": said }),
    )
}

fn ensemble(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "zookeeper.ensemble.rs/v1alpha1", "kind": "ZooKeeperEnsemble",
        "metadata": { "name": name, "namespace": "prod" }, "spec": spec,
    })
}

const ENSEMBLES: &str = "/apis/zookeeper.ensemble.rs/v1alpha1/namespaces/prod/zookeeperensembles";

#[tokio::test]
async fn a_change_is_one_merge_patch_of_the_resource() {
    let patch = json!({ "metadata": { "annotations": { "a": "b" } } });
    for dry_run in [false, true] {
        let cluster = cluster(move |(method, path, body)| {
            let dry = if dry_run { "dryRun=All&" } else { "" };
            assert_eq!(method, Method::PATCH);
            assert_eq!(*path, format!("{ENSEMBLES}/zk?&{dry}fieldManager=kubectl-zke"));
            assert_eq!(body["metadata"]["annotations"]["a"], "b");
            (200, ensemble("zk", json!({})))
        });
        cluster.patch("zk", &patch, dry_run).await.expect("it is patched");
    }
}

#[tokio::test]
async fn a_cluster_without_the_operator_is_known() {
    let unknown = cluster(|_| (404, json!("404 page not found\n")));
    let error = unknown.ensemble("zk").await.expect_err("there is none").to_string();
    assert!(error.contains("does not know ZooKeeperEnsemble"), "{error}");
    let none = cluster(|_| failure(404, "NotFound"));
    let error = none.ensemble("zk").await.expect_err("there is none").to_string();
    assert!(error.contains("there is no ensemble zk in namespace prod"), "{error}");
}

#[tokio::test]
async fn one_that_cannot_be_read_hides_no_other() {
    let cluster = cluster(|(_, path, _)| {
        assert!(path.starts_with("/apis/zookeeper.ensemble.rs/v1alpha1/zookeeperensembles?"), "{path}");
        let items = json!([ensemble("odd", json!({ "replicas": "three" })), ensemble("zk", json!({}))]);
        (200, json!({ "apiVersion": "zookeeper.ensemble.rs/v1alpha1", "kind": "List", "metadata": {}, "items": items }))
    });
    let all: Vec<Entry> = read::all(&cluster, true).await.expect("a list");
    assert!(matches!(&all[0], Err((namespace, name, _)) if namespace == "prod" && name == "odd"), "{all:?}");
    assert!(matches!(&all[1], Ok(ensemble) if ensemble.metadata.name.as_deref() == Some("zk")), "{all:?}");
}

#[tokio::test]
async fn what_may_not_be_read_is_said_and_the_rest_is_shown() {
    let cluster = cluster(|(_, path, _)| match path.as_str() {
        path if path.starts_with(ENSEMBLES) => (200, ensemble("zk", json!({}))),
        path if path.contains("/pods") => (200, json!({ "metadata": {}, "items": [] })),
        _ => failure(403, "Forbidden"),
    });
    let seen = read::seen(&cluster, "zk").await.expect("the resource is enough");
    assert_eq!(seen.unread.len(), 2, "{:?}", seen.unread);
    assert!(seen.unread[0].contains("may not list persistentvolumeclaims in namespace prod"), "{:?}", seen.unread);
    assert!(seen.unread[1].contains("may not list events in namespace prod"), "{:?}", seen.unread);
}

#[tokio::test]
async fn no_office_is_handed_over_before_there_is_one() {
    let cluster = cluster(|(method, path, _)| {
        assert_eq!(method, Method::GET, "{path}");
        assert!(!path.contains("secrets"), "the token is read for nothing: {path}");
        if path.starts_with(ENSEMBLES) {
            (200, ensemble("zk", json!({})))
        } else {
            (200, json!({ "metadata": {}, "items": [] }))
        }
    });
    let error = leader::transfer(&cluster, "zk", None, false).await.expect_err("there is no leader").to_string();
    assert!(error.contains("zk does not exist yet"), "{error}");
}
