//! The admission policies, evaluated without an API server: who may delete and scale what.

use kube::core::cel::{AdmissionRequest, VapEvaluator, VapExpression};
use operator_api::names;
use operator_controller::policies::{CLAIMS, PROTECTION, SCALING, policies};
use serde_json::{Value, json};

const OPERATOR: &str = "system:serviceaccount:zookeeper-system:zookeeper-operator";

/// A request, and what it is judged beside.
struct Case {
    user: &'static str,
    old: Value,
    ensemble: Value,
    namespace: Value,
}

impl Case {
    /// Somebody asks to delete the data claim of zk-1.
    fn claim() -> Self {
        Self {
            user: "kubernetes-admin",
            old: json!({ "metadata": {
                "name": "data-zk-1",
                "uid": "uid-1",
                "labels": { "app.kubernetes.io/instance": "zk" },
                "annotations": { "zookeeper.ensemble.rs/ensemble-id": "E" },
            } }),
            ensemble: json!({
                "metadata": { "name": "zk" },
                "status": { "ensembleId": "E", "members": [{ "pod": "zk-0" }, { "pod": "zk-1" }] },
            }),
            namespace: json!({ "metadata": { "name": "prod" } }),
        }
    }

    /// Somebody asks to scale the StatefulSet of zk.
    fn scale() -> Self {
        Self {
            old: json!({
                "metadata": { "name": "zk" },
                "status": { "selector": names::selector("zk") },
            }),
            ..Self::claim()
        }
    }

    /// Somebody asks to delete the ensemble zk.
    fn ensemble(spec: Value) -> Self {
        Self { old: json!({ "metadata": { "name": "zk" }, "spec": spec }), ..Self::claim() }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Asserts that a policy allows it, or refuses it with its message.
    fn check(&self, name: &str, allowed: bool, case: &str) {
        let all = policies("zookeeper-system", "zookeeper-operator");
        let policy = all.iter().find(|policy| policy["metadata"]["name"] == name).expect("a policy");
        let request = AdmissionRequest {
            username: self.user.to_owned(),
            name: self.old["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            ..AdmissionRequest::default()
        };
        let evaluator = VapEvaluator::builder()
            .old_object(self.old.clone())
            .params(self.ensemble.clone())
            .namespace_object(self.namespace.clone())
            .request(request)
            .build();
        let evaluate = |list: &Value| {
            let expressions = list.as_array().into_iter().flatten().map(|entry| VapExpression {
                expression: as_evaluated(entry["expression"].as_str().expect("an expression")),
                message: entry["message"].as_str().map(str::to_owned),
                message_expression: None,
            });
            evaluator.evaluate(&expressions.collect::<Vec<_>>())
        };
        let concerned = evaluate(&policy["spec"]["matchConditions"]).iter().all(|result| result.passed);
        let results = evaluate(&policy["spec"]["validations"]);
        let message = policy["spec"]["validations"][0]["message"].as_str();
        let refusal = results.iter().find(|result| concerned && !result.passed);
        assert_eq!(refusal.is_none(), allowed, "{case}: {refusal:?}");
        // An expression that cannot be evaluated does not pass either, with another message.
        assert!(refusal.is_none_or(|refusal| refusal.message.as_deref() == message), "{case}: {refusal:?}");
    }
}

/// kube-cel escapes the keys of maps as if they were names of fields; the API server does not.
fn as_evaluated(expression: &str) -> String {
    let keys = [
        names::INSTANCE_LABEL.to_owned(),
        names::ensemble_id_annotation(),
        names::retired_annotation(),
        names::allow_deletion_annotation(),
    ];
    keys.iter().fold(expression.to_owned(), |expression, key| {
        let escaped = key.replace('.', "__dot__").replace('/', "__slash__").replace('-', "__dash__");
        expression.replace(&format!("'{key}'"), &format!("'{escaped}'"))
    })
}

#[test]
fn a_protected_ensemble_is_not_deleted() {
    let protected = || Case::ensemble(json!({ "deletionProtection": true }));
    protected().check(PROTECTION, false, "protected");
    protected().with(|case| case.user = OPERATOR).check(PROTECTION, false, "by the operator");
    protected().with(|case| case.namespace["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z")).check(
        PROTECTION,
        true,
        "the namespace goes",
    );
    Case::ensemble(json!({ "deletionProtection": false })).check(PROTECTION, true, "not protected");
    Case::ensemble(json!({})).check(PROTECTION, true, "from before there was such a field");
}

#[test]
fn the_claim_of_a_member_is_not_deleted() {
    let time = "2030-01-01T00:00:00Z";
    let with = |change: fn(&mut Case)| Case::claim().with(change);
    Case::claim().check(CLAIMS, false, "a member uses it");
    with(|case| case.old["metadata"]["name"] = json!("txnlog-zk-0")).check(CLAIMS, false, "its other claim");
    for user in [
        OPERATOR,
        "system:serviceaccount:kube-system:generic-garbage-collector",
        "system:serviceaccount:kube-system:namespace-controller",
        "system:kube-controller-manager",
    ] {
        Case::claim().with(|case| case.user = user).check(CLAIMS, true, user);
    }
    with(|case| case.user = "system:serviceaccount:prod:zookeeper-operator").check(
        CLAIMS,
        false,
        "of another namespace",
    );
    with(|case| case.ensemble["metadata"]["name"] = json!("other")).check(CLAIMS, true, "another ensemble's matter");
    with(|case| case.ensemble["status"]["ensembleId"] = json!("F")).check(
        CLAIMS,
        true,
        "of an ensemble that is no more",
    );
    with(|case| case.ensemble["status"] = Value::Null).check(CLAIMS, true, "no status");
    with(|case| drop(case.ensemble.as_object_mut().map(|e| e.remove("status")))).check(CLAIMS, true, "not founded");
    with(|case| drop(case.old["metadata"].as_object_mut().map(|m| m.remove("annotations")))).check(
        CLAIMS,
        true,
        "not made by the operator",
    );
    with(|case| case.old["metadata"]["name"] = json!("data-zk-2")).check(CLAIMS, true, "of no member");
    with(|case| case.old["metadata"]["annotations"]["zookeeper.ensemble.rs/retired-at-config"] = json!("0x5"))
        .check(CLAIMS, true, "retired");
    with(|case| case.old["metadata"]["annotations"]["zookeeper.ensemble.rs/allow-deletion"] = json!("true"))
        .check(CLAIMS, true, "allowed");
    with(|case| case.old["metadata"]["annotations"]["zookeeper.ensemble.rs/allow-deletion"] = json!("false")).check(
        CLAIMS,
        false,
        "not allowed",
    );
    Case::claim()
        .with(|case| case.ensemble["metadata"]["deletionTimestamp"] = json!(time))
        .check(CLAIMS, true, "deleting");
    Case::claim().with(|case| case.namespace["metadata"]["deletionTimestamp"] = json!(time)).check(
        CLAIMS,
        true,
        "the namespace goes",
    );
}

/// The ensemble goes on as F from its second member, and the claims that are left were made for E.
#[test]
fn no_copy_is_deleted_during_a_recovery() {
    let recovery = |phase: &str| json!({ "phase": phase, "member": 1, "formerEnsembleId": "E", "ensembleId": "F", "claims": [{ "name": "data-zk-0", "uid": "uid-0" }] });
    let of = |claim: &str, uid: &str, phase: &str| {
        let (name, uid, recovery) = (json!(claim), json!(uid), recovery(phase));
        Case::claim().with(|case| {
            (case.old["metadata"]["name"], case.old["metadata"]["uid"]) = (name, uid);
            case.ensemble["status"] =
                json!({ "ensembleId": "F", "members": [{ "pod": "zk-1" }], "recovery": recovery });
        })
    };
    for phase in ["Stopping", "Starting", "Emptying"] {
        of("data-zk-0", "uid-0", phase).check(CLAIMS, false, phase);
        of("data-zk-1", "uid-1", phase).check(CLAIMS, false, "the member's, which is not told yet");
        of("data-zk-0", "uid-0", phase).with(|case| case.user = OPERATOR).check(CLAIMS, true, "by the operator");
        of("data-zk-0", "another", phase).check(CLAIMS, true, "made since");
        of("data-zk-11", "uid-11", phase).check(CLAIMS, true, "of another ordinal than the member's");
    }
    of("data-zk-0", "uid-0", "Finished").check(CLAIMS, true, "it is over");
    of("data-zk-0", "uid-0", "Starting")
        .with(|case| case.old["metadata"]["annotations"]["zookeeper.ensemble.rs/allow-deletion"] = json!("true"))
        .check(CLAIMS, true, "allowed");
}

#[test]
fn the_stateful_set_is_not_scaled() {
    Case::scale().check(SCALING, false, "by hand");
    Case::scale().with(|case| case.user = OPERATOR).check(SCALING, true, "by the operator");
    Case::scale().with(|case| case.old["metadata"]["name"] = json!("web")).check(SCALING, true, "another's");
    Case::scale().with(|case| case.old["status"]["selector"] = json!("app=web")).check(
        SCALING,
        true,
        "another's of this name",
    );
    Case::scale().with(|case| drop(case.old["status"].as_object_mut().map(|status| status.remove("selector")))).check(
        SCALING,
        true,
        "without a selector",
    );
}

/// Each policy is bound; the ones with parameters judge beside every ensemble of the namespace, and let pass where there is none.
#[test]
fn policies_are_bound() {
    let all = policies("zookeeper-system", "zookeeper-operator");
    for name in [PROTECTION, CLAIMS, SCALING] {
        let of = |kind: &str| {
            all.iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name).expect("both exist").clone()
        };
        let (policy, binding) = (of("ValidatingAdmissionPolicy"), of("ValidatingAdmissionPolicyBinding"));
        assert_eq!(binding["spec"]["policyName"], name);
        assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
        let expected =
            policy["spec"].get("paramKind").map(|_| json!({ "selector": {}, "parameterNotFoundAction": "Allow" }));
        assert_eq!(binding["spec"].get("paramRef"), expected.as_ref(), "{name}");
    }
}

/// The API server's own types take them: a misspelt field would vanish.
#[test]
fn every_field_is_kubernetes_own() {
    use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
    for object in policies("n", "a") {
        let again = match object["kind"].as_str() {
            Some("ValidatingAdmissionPolicy") => serde_json::to_value(
                serde_json::from_value::<ValidatingAdmissionPolicy>(object.clone()).expect("its kind"),
            ),
            _ => serde_json::to_value(
                serde_json::from_value::<ValidatingAdmissionPolicyBinding>(object.clone()).expect("its kind"),
            ),
        };
        assert_eq!(again.expect("JSON"), object);
    }
}
