//! What a Prometheus and a Grafana are given.
#![expect(unreachable_pub, reason = "KubeSchema repeats each struct inside a function")]

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What a Prometheus and a Grafana are given. The condition MonitoringApplied says whether the cluster takes it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// Whether there is a `PodMonitor`, by which the Prometheus operator finds the servers.
    #[serde(default)]
    pub pod_monitor: bool,
    /// Whether there is a `PrometheusRule` with the alerts of `docs/operations/alerts.md`, for this ensemble alone.
    #[serde(default)]
    pub rules: bool,
    /// Whether there is a `ConfigMap` with Grafana dashboards of this ensemble, labelled `grafana_dashboard: "1"`.
    #[serde(default)]
    pub dashboard: bool,
    /// Labels of these objects beside ours: what your Prometheus and Grafana select by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::string_map")]
    pub labels: BTreeMap<String, String>,
}

impl Monitoring {
    /// Whether anything is asked for.
    pub fn is_wanted(&self) -> bool {
        self.pod_monitor || self.rules || self.dashboard
    }
}
