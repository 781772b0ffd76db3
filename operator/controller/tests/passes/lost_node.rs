//! A node that is off, through the operator's passes, against a cluster in memory. What must never happen is asserted by the fake: a pod
//! is deleted by force whose node is ready, or that nobody vouched for.

use serde_json::{Value, json};

use crate::fake::{ENSEMBLE, FAULTS, Fake};

/// An ensemble of which node 0, and with it the leader, is away since long ago.
async fn with_a_lost_node(spec: Value) -> Fake {
    let fake = Fake::new(&spec);
    fake.settle().await;
    let mut world = fake.world();
    world.servers.get_mut(&0).expect("a server").up = false;
    world.stuck.insert(0, "2020-01-01T00:00:00Z".to_owned());
    world.put("nodes/node-0", node("Unknown", false));
    drop(world);
    fake
}

fn node(ready: &str, tainted: bool) -> Value {
    let taints = if tainted {
        json!([{ "key": "node.kubernetes.io/out-of-service", "effect": "NoExecute" }])
    } else {
        Value::Null
    };
    json!({
        "metadata": { "name": "node-0" }, "spec": { "taints": taints },
        "status": { "conditions": [{ "type": "Ready", "status": ready }] },
    })
}

async fn passes(fake: &Fake) {
    for _ in 0..5 {
        fake.pass().await.expect("alive").expect("no fault");
        fake.world().servers_turn();
    }
}

#[tokio::test]
async fn a_pod_is_forced_only_when_its_node_is_off_by_a_persons_word() {
    let fake = with_a_lost_node(json!({})).await;
    passes(&fake).await;
    assert!(fake.world().replaced.is_empty());
    assert_eq!(fake.condition("Degraded")["reason"], "NodeLost");
    assert!(fake.world().events.iter().any(|reason| reason == "NodeLost"), "{:?}", fake.world().events);
    // It is back, and the taint came late.
    fake.world().put("nodes/node-0", node("True", true));
    passes(&fake).await;
    assert!(fake.world().replaced.is_empty());
    fake.world().put("nodes/node-0", node("Unknown", true));
    fake.settle().await;
    assert_eq!(fake.world().replaced, [0]);
    assert_eq!(fake.condition("Ready")["status"], "True");
}

#[tokio::test]
async fn the_time_of_the_spec_is_waited_for() {
    let fake = with_a_lost_node(json!({ "repair": { "nodeLostTimeout": "99999h" } })).await;
    fake.world().put("nodes/node-0", node("Unknown", true));
    fake.world().stuck.insert(0, "2026-01-01T00:00:00Z".to_owned());
    passes(&fake).await;
    assert!(fake.world().replaced.is_empty());
    fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["repair"]["nodeLostTimeout"] = json!("1h"));
    fake.settle().await;
    assert_eq!(fake.world().replaced, [0]);
}

#[tokio::test]
async fn a_fault_at_any_call_is_harmless() {
    for fault in [None].into_iter().chain(FAULTS.map(Some)) {
        let fake = with_a_lost_node(json!({})).await;
        passes(&fake).await;
        fake.world().put("nodes/node-0", node("Unknown", true));
        let calls = fake.world().calls.len();
        fake.world().fault = fault.map(|fault| (calls, fault));
        fake.settle().await;
        let world = fake.world();
        assert!(world.fault.is_none());
        assert_eq!(world.calls[calls], "delete pods/zk-0", "{fault:?}");
        assert_eq!(world.replaced, [0], "{fault:?}");
    }
}

/// Without the right to read nodes the rest goes on, and nothing is forced.
#[tokio::test]
async fn nodes_need_not_be_readable() {
    let fake = with_a_lost_node(json!({})).await;
    fake.world().put("nodes/node-0", node("Unknown", true));
    fake.world().unreadable = Some("nodes/node-0".to_owned());
    passes(&fake).await;
    assert!(fake.world().replaced.is_empty());
    assert_eq!(fake.condition("Degraded")["reason"], "MemberDown");
}
