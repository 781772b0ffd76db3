//! What nobody does by accident: ValidatingAdmissionPolicies, which the API server evaluates by itself.
//!
//! | Policy | Refuses | Unless |
//! |---|---|---|
//! | [`PROTECTION`] | DELETE of an ensemble with `spec.deletionProtection` | its namespace is being deleted |
//! | [`CLAIMS`] | DELETE of a volume claim that a member uses, or that a recovery may need | the operator, the garbage collector or the namespace controller asks; the claim is stamped as retired, or annotated |
//! | [`SCALING`] | a change of `statefulsets/scale` of ours | the operator asks |
//!
//! *Why they do not hold up what has to end.* A namespace that is being deleted takes pods and claims away whatever becomes of the
//! ensemble, and no pod can be made in it any more: refusing the deletion there would save nothing, and hold the namespace for ever.
//! A claim is looked at only beside an ensemble of the same namespace that exists, is not being deleted, and whose status names a pod that
//! uses it: when the ensemble is gone, its claims are anybody's. They are not for malice: whoever may delete the policy may do the rest.
//!
//! *During a recovery from a lost majority* the status names another ensemble, with one member. The volumes of the former one are the copies that
//! are left, should that member not come up: those that the record names are kept until the recovery is over, and the member's own by whatever ensemble they are for.
//!
//! *When a policy cannot be evaluated*, as when the CustomResourceDefinition is gone and the policies are left: the first two refuse,
//! and theirs are objects of this project alone; the third concerns every StatefulSet of the cluster, and lets pass, since the operator scales back anyway.
//!
//! The account of the operator stands in the expressions: who installs it elsewhere changes it there too.

use operator_api::{GROUP, names};
use serde_json::{Value, json};

/// Protects ensembles.
pub const PROTECTION: &str = "zookeeper-ensemble-protection";
/// Protects the claims of members.
pub const CLAIMS: &str = "zookeeper-ensemble-claims";
/// Protects the size of StatefulSets.
pub const SCALING: &str = "zookeeper-ensemble-scaling";

/// The policies and their bindings, for an operator with this account.
pub fn policies(namespace: &str, account: &str) -> Vec<Value> {
    let operator = format!("system:serviceaccount:{namespace}:{account}");
    [
        (PROTECTION, protection(), None),
        (CLAIMS, claims(&operator), Some("Allow")),
        (SCALING, scaling(&operator), Some("Allow")),
    ]
    .into_iter()
    .flat_map(|(name, spec, without_ensembles)| [policy(name, spec), binding(name, without_ensembles)])
    .collect()
}

fn protection() -> Value {
    let expression = "!has(oldObject.spec.deletionProtection) || !oldObject.spec.deletionProtection || \
                      has(namespaceObject.metadata.deletionTimestamp)";
    json!({
        "failurePolicy": "Fail",
        "matchConstraints": { "resourceRules": [rule(GROUP, "zookeeperensembles", "DELETE")] },
        "validations": [{
            "expression": expression,
            "message": "spec.deletionProtection is true: set it to false first, if this ensemble is really to be deleted",
            "reason": "Forbidden",
        }],
    })
}

fn claims(operator: &str) -> Value {
    let annotation = |name: &str, holds: &str| {
        let annotations = "oldObject.metadata.annotations";
        format!("(has({annotations}) && '{name}' in {annotations} && {annotations}['{name}'] {holds})")
    };
    let controllers = [
        operator,
        "system:serviceaccount:kube-system:generic-garbage-collector",
        "system:serviceaccount:kube-system:namespace-controller",
        "system:kube-controller-manager",
    ];
    let made_for = |id: &str| annotation(&names::ensemble_id_annotation(), &format!("== params.status.{id}"));
    let members = format!(
        "(has(params.status.ensembleId) && {} && has(params.status.members) && \
         params.status.members.exists(m, oldObject.metadata.name.endsWith('-' + m.pod)))",
        made_for("ensembleId")
    );
    let recovered = format!(
        "(has(params.status.recovery) && params.status.recovery.phase != 'Finished' && \
         ((has(params.status.recovery.claims) && params.status.recovery.claims.exists(c, c.uid == oldObject.metadata.uid)) || \
         ({} && oldObject.metadata.name.endsWith('-' + params.metadata.name + '-' + string(params.status.recovery.member)))))",
        made_for("recovery.formerEnsembleId")
    );
    let expression = [
        // Another ensemble's.
        &format!("oldObject.metadata.labels['{}'] != params.metadata.name", names::INSTANCE_LABEL),
        // Of no member, or of an ensemble of this name that is no more.
        &annotation(&names::retired_annotation(), "!= ''"),
        &format!("!(has(params.status) && ({members} || {recovered}))"),
        // Everything goes.
        "has(params.metadata.deletionTimestamp)",
        "has(namespaceObject.metadata.deletionTimestamp)",
        &annotation(&names::allow_deletion_annotation(), "== 'true'"),
    ]
    .join(" || ");
    let message = format!(
        "a server of this ensemble uses the claim, and its copy of the history would be gone; to delete it all the same: kubectl \
         annotate pvc NAME {}=true",
        names::allow_deletion_annotation()
    );
    json!({
        "failurePolicy": "Fail",
        "paramKind": param_kind(),
        "matchConstraints": {
            "resourceRules": [rule("", "persistentvolumeclaims", "DELETE")],
            "objectSelector": {
                "matchLabels": { names::MANAGED_BY_LABEL: names::MANAGER },
                "matchExpressions": [{ "key": names::INSTANCE_LABEL, "operator": "Exists" }],
            },
        },
        "matchConditions": [{ "name": "somebody-else", "expression": not_by(&controllers) }],
        "validations": [{ "expression": expression, "message": message, "reason": "Forbidden" }],
    })
}

fn scaling(operator: &str) -> Value {
    // Another selector, or none: a StatefulSet of this name that is somebody else's.
    let mut labels = names::selector_labels("");
    labels.remove(names::INSTANCE_LABEL);
    let selects = |(key, value): (&String, &String)| format!("oldObject.status.selector.contains('{key}={value}')");
    let ours = labels.iter().map(selects).collect::<Vec<_>>().join(" && ");
    let expression = format!("request.name != params.metadata.name || !(has(oldObject.status.selector) && {ours})");
    json!({
        "failurePolicy": "Ignore",
        "paramKind": param_kind(),
        "matchConstraints": { "resourceRules": [rule("apps", "statefulsets/scale", "UPDATE")] },
        "matchConditions": [{ "name": "somebody-else", "expression": not_by(&[operator]) }],
        "validations": [{
            "expression": expression,
            "message": "this StatefulSet follows its ensemble: kubectl scale zke/NAME --replicas=N",
            "reason": "Forbidden",
        }],
    })
}

fn rule(group: &str, resource: &str, operation: &str) -> Value {
    json!({ "apiGroups": [group], "apiVersions": ["*"], "resources": [resource], "operations": [operation] })
}

fn param_kind() -> Value {
    json!({ "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "ZooKeeperEnsemble" })
}

fn not_by(users: &[&str]) -> String {
    let users: Vec<String> = users.iter().map(|user| format!("'{user}'")).collect();
    format!("!(request.userInfo.username in [{}])", users.join(", "))
}

fn policy(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": name, "labels": { "app.kubernetes.io/part-of": "zookeeper-ensemble" } },
        "spec": spec,
    })
}

/// With parameters, each ensemble of the object's namespace is one, and all of them must agree.
fn binding(name: &str, without_ensembles: Option<&str>) -> Value {
    let mut spec = json!({ "policyName": name, "validationActions": ["Deny"] });
    if let Some(action) = without_ensembles {
        spec["paramRef"] = json!({ "selector": {}, "parameterNotFoundAction": action });
    }
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": name, "labels": { "app.kubernetes.io/part-of": "zookeeper-ensemble" } },
        "spec": spec,
    })
}
