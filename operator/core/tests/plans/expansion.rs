//! What no observation of volumes may lead to: a claim that is deleted, or asked for less, or for more where its class does not allow it;
//! a StatefulSet that is deleted before every volume has its size.

use std::collections::BTreeMap;

use operator_core::{Claim, Observed, Resize, Step, plan};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use crate::common::{self, Situation};

/// A claim in the words of a situation.
fn claim() -> impl Strategy<Value = String> {
    let of = select(vec!["E", "E", "E", "E", "E", "E", "OTHER"]);
    let class = select(vec!["class=fast", "class=fast", "class=fast", "class=fast", "class=slow", "class=gone", ""]);
    let sizes = select(vec![
        "size=10Gi actual=10Gi",
        "size=20Gi actual=10Gi",
        "size=20Gi actual=20Gi",
        "size=20Gi actual=20Gi",
        "size=30Gi actual=30Gi",
    ]);
    let state =
        select(vec!["", "", "", "", "", "unbound", "resizing", "pending=11:59:30", "pending=11:30:00", "failed"]);
    let retired = select(vec!["", "", "", " retired=0x1"]);
    (of, class, sizes, state, retired).prop_map(|(of, class, sizes, state, retired)| {
        let words: Vec<&str> = [of, class, sizes, state].into_iter().filter(|word| !word.is_empty()).collect();
        format!("{}{retired}", words.join(" "))
    })
}

fn observed() -> impl Strategy<Value = Observed> {
    let uniform = prop_oneof![
        1 => Just("E class=fast size=20Gi actual=20Gi".to_owned()),
        1 => Just("E class=fast size=10Gi actual=10Gi".to_owned()),
    ];
    let claims = prop_oneof![
        1 => prop::collection::btree_map(0..5, claim(), 0..5),
        1 => uniform.prop_map(|words| (0..3).map(|ordinal| (ordinal, words.clone())).collect()),
    ];
    let made = select(vec!["10Gi", "20Gi"]);
    let well = prop::bool::weighted(0.8);
    (claims, made, well, any::<bool>(), any::<bool>()).prop_map(|(claims, made, well, gone, terminating)| {
        let claims: BTreeMap<String, String> =
            claims.into_iter().map(|(ordinal, words): (i32, String)| (format!("data-zk-{ordinal}"), words)).collect();
        let drift = match (gone, terminating) {
            (false, _) => json!({}),
            (true, true) => json!({ "StatefulSet/zk": { "metadata": { "deletionTimestamp": common::NOW } } }),
            (true, false) => json!({ "StatefulSet/zk": null }),
        };
        let situation: Situation = serde_json::from_value(json!({
            "about": "drawn",
            "spec": { "storage": { "data": { "size": "20Gi" } } },
            "madeWith": { "storage": { "data": { "size": made } } },
            "status": { "ensembleId": "E", "bootstrap": {
                "phase": "Complete", "voters": [1, 2, 3], "volumes": { "0": "v0", "1": "v1", "2": "v2" },
            } },
            "classes": { "fast": true, "slow": false },
            "drift": drift,
            "claims": claims,
            "pods": { "0": "ready", "1": "ready", "2": if well { "ready" } else { "running" } },
            "members": { "0": "leading", "1": "following leader=1", "2": "following leader=1" },
        }))
        .expect("a situation");
        situation.observed()
    })
}

/// The claims of the three members.
fn of_members(observed: &Observed) -> impl Iterator<Item = &Claim> {
    let ours = |claim: &&Claim| claim.ensemble_id.as_deref() == Some("E") && claim.name.as_str() < "data-zk-3";
    observed.claims.iter().filter(ours).filter(|claim| claim.bound)
}

fn check(observed: &Observed) -> Result<(), TestCaseError> {
    let steps = plan(observed).steps;
    let set = observed.object("StatefulSet", "zk");
    let gibibytes = |size: &Option<String>| size.as_ref().and_then(|s| s.trim_end_matches("Gi").parse::<i32>().ok());
    for step in &steps {
        match step {
            Step::DeleteClaim(hold) => prop_assert!(false, "{} is deleted", hold.name),
            Step::Expand(expansion) => {
                let claim = of_members(observed).find(|claim| claim.uid == expansion.uid);
                let claim = claim.expect("a bound claim of a member");
                prop_assert_eq!(&expansion.claim, &claim.name);
                prop_assert!(gibibytes(&claim.requested) < Some(20) && expansion.size == "20Gi");
                let small = of_members(observed).filter(|claim| gibibytes(&claim.requested) < Some(20));
                for claim in small {
                    let allowed = claim.class.as_ref().and_then(|class| observed.classes.get(class));
                    prop_assert_eq!(allowed, Some(&true), "{} cannot grow, and another does", claim.name);
                }
            }
            Step::Orphan(hold) => {
                let set = set.expect("there is one");
                prop_assert_eq!(&set["metadata"]["uid"], &json!(hold.uid));
                prop_assert!(set["metadata"]["deletionTimestamp"].is_null(), "twice");
                let size = &set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"];
                prop_assert_eq!(size, "10Gi", "it is as it should be");
                for claim in of_members(observed) {
                    let waits = matches!(claim.resize, Resize::Running | Resize::FileSystemPending(_));
                    prop_assert!(gibibytes(&claim.capacity) >= Some(20) && !waits, "{:?} is not done", claim);
                }
                let others = steps.iter().filter(|step| step.mutates());
                let others = others.filter(|step| !matches!(step, Step::Orphan(_) | Step::WriteStatus(_))).count();
                prop_assert_eq!(others, 0, "and something else with it");
            }
            Step::Apply(object) if object.name == "zk" && object.manifest["kind"] == "StatefulSet" => {
                let size = |set: &serde_json::Value| {
                    set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"].clone()
                };
                let wanted = set.map_or(json!("20Gi"), size);
                prop_assert_eq!(size(&object.manifest), wanted, "a template of claims cannot be changed");
                prop_assert_eq!(&object.manifest["spec"]["replicas"], 3);
            }
            _ => {}
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_observation_of_volumes(observed in observed()) {
        check(&observed)?;
    }
}

/// The property above is about something: each kind of step is planned for many of the observations that are drawn.
#[test]
fn observations_lead_to_every_kind_of_step() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..500 {
        let tree = observed().new_tree(&mut runner).expect("a value");
        for step in plan(&tree.current()).steps {
            *seen.entry(step.name()).or_default() += 1;
        }
    }
    for name in ["expand", "orphan", "apply"] {
        assert!(seen.get(name).is_some_and(|count| *count >= 5), "{name}: {seen:?}");
    }
}
