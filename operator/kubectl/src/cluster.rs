//! The cluster of the user's kubeconfig, and an ensemble on it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::ApiResource;
use kube::{Api, Client, Config};
use operator_api::ZooKeeperEnsemble;
use serde_json::Value;

use crate::fault::{Attempt, explain};

/// How long the API server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The name under which `kubectl` shows who wrote a field.
const FIELD_MANAGER: &str = "kubectl-zke";

/// Where to look: the options that `kubectl` has for every command.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Place {
    /// The namespace; that of the context without it.
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// The context of the kubeconfig; the current one without it.
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// The kubeconfig; what KUBECONFIG says without it, or ~/.kube/config.
    #[arg(long, global = true)]
    pub kubeconfig: Option<PathBuf>,
}

/// A cluster, with the rights of whoever runs this.
#[derive(Clone)]
pub struct Cluster {
    /// Its API server.
    pub client: Client,
    /// The namespace to look at.
    pub namespace: String,
}

impl Cluster {
    /// Reads the kubeconfig. Nothing is asked of the cluster yet.
    ///
    /// # Errors
    ///
    /// No kubeconfig, one that cannot be read, or a context that is not in it.
    pub async fn of(place: &Place) -> Result<Self> {
        let kubeconfig = match &place.kubeconfig {
            Some(file) => Kubeconfig::read_from(file),
            None => Kubeconfig::read(),
        };
        let kubeconfig = kubeconfig.context("no kubeconfig: write one, or say where it is with --kubeconfig")?;
        let options = KubeConfigOptions { context: place.context.clone(), ..KubeConfigOptions::default() };
        let context = place.context.as_deref().unwrap_or("current");
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.with_context(|| {
            format!("the {context} context does not lead to a cluster: kubectl config get-contexts")
        })?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let namespace = place.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context("no client can be made of the kubeconfig")?;
        Ok(Self { client, namespace })
    }

    /// The ensembles of a namespace, or of all of them: as they are stored, since not every one need be readable.
    pub fn ensembles(&self, all: bool) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<ZooKeeperEnsemble>(&());
        if all {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
        }
    }

    /// One ensemble, read live.
    ///
    /// # Errors
    ///
    /// There is none, it may not be read, or it cannot be.
    pub async fn ensemble(&self, name: &str) -> Result<ZooKeeperEnsemble> {
        let live = self
            .ensembles(false)
            .get(name)
            .await
            .map_err(|error| anyhow!(explain(&error, &Attempt::ensemble("get", &self.namespace, name))))?;
        typed(live).map_err(|fault| {
            anyhow!("{name} cannot be read: {fault}; kubectl get zke {name} -o yaml shows it, and the operator's words on it")
        })
    }

    /// Changes an ensemble, or with `dry_run` asks the API server whether it would.
    ///
    /// # Errors
    ///
    /// The API server does not do it.
    pub async fn patch(&self, name: &str, patch: &Value, dry_run: bool) -> Result<()> {
        let params = PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patched = self.ensembles(false).patch(name, &params, &Patch::Merge(patch)).await;
        patched.map(drop).map_err(|error| anyhow!(explain(&error, &Attempt::ensemble("patch", &self.namespace, name))))
    }
}

/// The ensemble in an object, or why it is none.
///
/// # Errors
///
/// A field holds what its type cannot: it was stored before the schema changed, or this plugin is older than the operator.
pub fn typed(live: DynamicObject) -> Result<ZooKeeperEnsemble, String> {
    let value = serde_json::to_value(live).expect("what came as JSON is JSON");
    serde_json::from_value(value).map_err(|error| error.to_string())
}
