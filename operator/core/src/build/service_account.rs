//! The identity of the pods. It has no rights: a server does not talk to Kubernetes.

use serde_json::{Value, json};

pub(super) fn body() -> Value {
    json!({ "automountServiceAccountToken": false })
}
