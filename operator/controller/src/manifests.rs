//! What to install: the CustomResourceDefinition and the objects that run the operator.
//!
//! `crds/`, `manifests/operator.yaml` and the files of `charts/zookeeper-operator` are printed from here; a test keeps them fresh, and
//! another holds the rights against the calls that the operator makes.

use kube::CustomResourceExt;
use operator_api::{GROUP, ZooKeeperEnsemble};
use serde_json::{Value, json};

use crate::policies;

/// The namespace that the operator runs in.
const NAMESPACE: &str = "zookeeper-system";
/// The name of its Deployment, account and roles.
const NAME: &str = "zookeeper-operator";
/// The image of the server and the operator.
const IMAGE: &str = "zookeeper-ensemble:dev";

/// How long the operator stays bound to a node that is not ready or cannot be reached, in seconds.
///
/// Kubernetes' default is 300 s, in which no pod of an ensemble is looked after. The operator keeps nothing on its node,
/// so moving it early costs a restart. Should it still run there, cut off, it ends itself when its lease cannot be renewed.
const NODE_LOST_SECONDS: i64 = 30;

/// The CustomResourceDefinition.
pub fn crd() -> String {
    let header = "# Printed by `operator crd`. Do not edit.\n";
    let crd = serde_json::to_value(ZooKeeperEnsemble::crd()).expect("a CRD is JSON");
    format!("{header}{}", yaml(&crd))
}

/// Namespace, account, rights and Deployment of the operator, and the policies that protect what it made.
pub fn operator() -> String {
    let header = "# Printed by `operator manifests`. Do not edit.\n";
    let objects = [
        namespace(),
        service_account(),
        role("ClusterRole", [namespaced_rules(), cluster_rules()].concat()),
        binding("ClusterRole"),
        role("Role", lease_rules()),
        binding("Role"),
        deployment(),
    ];
    let documents: Vec<String> = objects.iter().chain(&policies::policies(NAMESPACE, NAME)).map(yaml).collect();
    format!("{header}{}", documents.join("---\n"))
}

/// The rights, for the chart of the operator, which binds the first in one namespace or in all.
pub fn chart_rules() -> String {
    let rules = json!({ "namespaced": namespaced_rules(), "cluster": cluster_rules(), "lease": lease_rules() });
    format!("# Printed by `operator chart rules`. Do not edit.\n{}", yaml(&rules))
}

/// What values the chart of an ensemble takes: every field of the resource and no other. Helm refuses what the API server would drop without a word.
pub fn chart_schema() -> String {
    let crd = serde_json::to_value(ZooKeeperEnsemble::crd()).expect("a CRD is JSON");
    let mut spec = strict(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]);
    // The size of a release is chosen, not come by.
    spec["required"] = json!(["replicas"]);
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "description": "Printed by `operator chart schema`. Do not edit.",
        "type": "object",
        "additionalProperties": false,
        "required": ["spec"],
        "properties": {
            "global": { "type": "object" },
            "name": { "type": "string", "pattern": "^([a-z]([-a-z0-9]{0,43}[a-z0-9])?)?$" },
            "labels": texts,
            "annotations": texts,
            "spec": spec,
            "keep": { "type": "boolean" },
        },
    });
    format!("{}\n", serde_json::to_string_pretty(&schema).expect("a schema is JSON"))
}

/// The schema of a CustomResourceDefinition in the words of JSON Schema, in which an object has no other fields than it lists.
fn strict(schema: &Value) -> Value {
    let mut made = schema.clone();
    let Some(fields) = made.as_object_mut() else { return made };
    fields.retain(|word, _| !word.starts_with("x-kubernetes-") && word != "format" && word != "nullable");
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(|property| *property = strict(property));
        fields.entry("additionalProperties").or_insert(json!(false));
    }
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(word) {
            *inner = strict(inner);
        }
    }
    made
}

/// The policies, for the chart of the operator: a template, since the accounts of operators stand in them, its own and those that its values name.
pub fn chart_policies() -> String {
    let account = "{{ include `operator.account` . }}";
    let others = "{{ range .Values.policies.operators }}', 'system:serviceaccount:{{ . }}{{ end }}";
    let policies = policies::policies("{{ .Release.Namespace }}", &format!("{account}{others}"));
    let documents: Vec<String> = policies.iter().map(yaml).collect();
    format!("# Printed by `operator chart policies`. Do not edit.\n{}", documents.join("---\n"))
}

/// The alerts on all ensembles and on the operator, for a Prometheus operator. `manifests/monitoring/alerts.yaml` holds them as a rule file.
pub fn prometheus_rule() -> String {
    let alerts: Value = serde_saphyr::from_str(include_str!("../../../manifests/monitoring/alerts.yaml"))
        .expect("a file of ours is YAML");
    let rule = json!({
        "apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
        "metadata": { "name": "zookeeper-ensembles", "labels": { "app.kubernetes.io/part-of": "zookeeper-ensemble" } },
        "spec": alerts,
    });
    format!("# Printed by `operator alerts`. Do not edit.\n{}", yaml(&rule))
}

/// What the operator may do in every namespace it looks after. Each right is used; the claims of removed servers, pods and
/// StatefulSets that are made anew, and what `spec.monitoring` does not ask for any more, are all that it deletes.
pub fn namespaced_rules() -> Vec<Value> {
    vec![
        json!({ "apiGroups": [GROUP], "resources": ["zookeeperensembles"], "verbs": ["get", "list", "watch"] }),
        json!({ "apiGroups": [GROUP], "resources": ["zookeeperensembles/status"], "verbs": ["update"] }),
        // Where OwnerReferencesPermissionEnforcement is on, setting blockOwnerDeletion asks for this.
        json!({ "apiGroups": [GROUP], "resources": ["zookeeperensembles/finalizers"], "verbs": ["update"] }),
        // Deleted are the dashboards that spec.monitoring does not ask for any more.
        json!({ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch", "create", "patch", "delete"] }),
        json!({ "apiGroups": [""], "resources": ["serviceaccounts", "services"], "verbs": ["get", "list", "watch", "create", "patch"] }),
        json!({ "apiGroups": ["monitoring.coreos.com"], "resources": ["podmonitors", "prometheusrules"], "verbs": ["get", "create", "patch", "delete"] }),
        json!({ "apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["get", "list", "watch", "create", "patch", "delete"] }),
        json!({ "apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": ["get", "list", "watch", "create", "patch"] }),
        json!({ "apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch", "delete"] }),
        json!({ "apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"] }),
        json!({ "apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["list", "patch", "delete"] }),
        // The superuser token of each ensemble. Never listed or watched.
        json!({ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create"] }),
        json!({ "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"] }),
    ]
}

/// What the operator may do with what belongs to no namespace.
pub fn cluster_rules() -> Vec<Value> {
    vec![
        // Of a node only whether it is off, and only when one of our pods does not end on it.
        json!({ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] }),
        // Whether it allows expansion.
        json!({ "apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get"] }),
    ]
}

/// What the operator may do in its own namespace.
pub fn lease_rules() -> Vec<Value> {
    vec![json!({ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"] })]
}

fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).expect("JSON is YAML")
}

fn labels() -> Value {
    json!({ "app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "zookeeper-ensemble" })
}

fn namespace() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": NAMESPACE, "labels": {
            "app.kubernetes.io/part-of": "zookeeper-ensemble",
            "pod-security.kubernetes.io/enforce": "restricted",
        } },
    })
}

fn service_account() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": labels() },
    })
}

fn role(kind: &str, rules: Vec<Value>) -> Value {
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": role_metadata(kind), "rules": rules })
}

fn binding(kind: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": format!("{kind}Binding"),
        "metadata": role_metadata(kind),
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": NAME },
        "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE }],
    })
}

fn role_metadata(kind: &str) -> Value {
    let mut metadata = json!({ "name": NAME, "labels": labels() });
    if kind == "Role" {
        metadata["namespace"] = NAMESPACE.into();
    }
    metadata
}

fn deployment() -> Value {
    let selector = json!({ "app.kubernetes.io/name": NAME });
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": path } } });
    let leave_after = |taint: &str| json!({ "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": NODE_LOST_SECONDS });
    let probe =
        |path: &str| json!({ "httpGet": { "path": path, "port": "http" }, "periodSeconds": 10, "timeoutSeconds": 2 });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": labels() },
        "spec": {
            // One works at a time; a second one takes over within 19 seconds of a failure, and is optional.
            "replicas": 1,
            "selector": { "matchLabels": selector },
            "template": {
                "metadata": { "labels": labels(), "annotations": { "kubectl.kubernetes.io/default-container": "operator" } },
                "spec": {
                    "serviceAccountName": NAME,
                    "terminationGracePeriodSeconds": 30,
                    "tolerations": [leave_after("node.kubernetes.io/not-ready"), leave_after("node.kubernetes.io/unreachable")],
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                        "seccompProfile": { "type": "RuntimeDefault" },
                    },
                    "containers": [{
                        "name": "operator",
                        "image": IMAGE,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["/operator", "run"],
                        "env": [
                            { "name": "OPERATOR_IMAGE", "value": IMAGE },
                            { "name": "WATCH_NAMESPACE", "value": "" },
                            { "name": "LOG_FORMAT", "value": "json" },
                            field("POD_NAME", "metadata.name"),
                            field("POD_NAMESPACE", "metadata.namespace"),
                        ],
                        "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
                        "livenessProbe": probe("/livez"),
                        "readinessProbe": probe("/readyz"),
                        "resources": { "requests": { "cpu": "50m", "memory": "32Mi" }, "limits": { "memory": "128Mi" } },
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "capabilities": { "drop": ["ALL"] },
                            "readOnlyRootFilesystem": true,
                        },
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                    }],
                },
            },
        },
    })
}
