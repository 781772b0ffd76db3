//! One pass over one ensemble: read it live, observe, plan, carry out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, Resource};
use operator_api::ZooKeeperEnsemble;
use operator_core::plan;
use operator_core::plan::Next;

use crate::admin::Admin;
use crate::execute::{ExecuteError, Executor};
use crate::failpoint::Failpoint;
use crate::metrics::Metrics;
use crate::observe::observe;

/// When to look again while something is on its way.
const SOON: Duration = Duration::from_secs(2);
/// When to look again when all is well. The watches report changes of objects; only a change inside the ensemble that
/// no pod shows, such as a new leader, waits this long.
const LATER: Duration = Duration::from_secs(30);
/// When to try again after somebody else wrote first.
const AFTER_CONFLICT: Duration = Duration::from_millis(200);
/// When to try again after an error.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// An ensemble as watched: one that cannot be read must not stop the others.
pub type Watched = DeserializeGuard<ZooKeeperEnsemble>;

/// What every pass needs.
pub struct Context<A> {
    /// The API server.
    pub client: Client,
    /// The servers.
    pub admin: A,
    /// Where events go. One for all passes, so that equal events are counted instead of repeated.
    pub recorder: Recorder,
    /// The image that runs when a spec names none.
    pub default_image: String,
    /// The operator's figures.
    pub metrics: Metrics,
    /// The place to die at, in tests.
    pub failpoint: Option<Failpoint>,
}

/// Why a pass failed. All of them are tried again; what only an edit can heal is a condition, not an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A read failed.
    #[error("reading: {0}")]
    Read(#[source] Box<kube::Error>),
    /// A step failed.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
}

impl Error {
    /// Whether somebody else wrote first, which is nobody's fault.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Execute(ExecuteError::Api { source, .. }) => {
                matches!(&**source, kube::Error::Api(status) if status.is_conflict())
            }
            Self::Execute(ExecuteError::FactChanged(_)) | Self::Read(_) => false,
        }
    }
}

/// A pass, as the controller calls it.
///
/// # Errors
///
/// See [`Error`].
pub async fn reconcile<A: Admin>(watched: Arc<Watched>, context: Arc<Context<A>>) -> Result<Action, Error> {
    let began = Instant::now();
    let name = watched.meta().name.clone().unwrap_or_default();
    let namespace = watched.meta().namespace.clone().unwrap_or_default();
    let result = pass(&namespace, &name, &context).await;
    let outcome = match &result {
        Ok(_) => "ok",
        Err(error) if error.is_conflict() => "conflict",
        Err(_) => "error",
    };
    context.metrics.pass(outcome, began.elapsed());
    Ok(match result? {
        Next::Now => Action::requeue(Duration::ZERO),
        Next::Soon => Action::requeue(SOON),
        Next::Later => Action::requeue(LATER),
        Next::Never => Action::await_change(),
    })
}

/// What the controller does after a pass that failed.
pub fn on_error<A: Admin>(watched: Arc<Watched>, error: &Error, _: Arc<Context<A>>) -> Action {
    let ensemble = ObjectRef::from_obj(&*watched).to_string();
    if error.is_conflict() {
        tracing::debug!(ensemble, %error, "somebody else wrote first");
        return Action::requeue(AFTER_CONFLICT);
    }
    tracing::warn!(ensemble, %error, "a pass failed");
    Action::requeue(AFTER_ERROR)
}

/// Reads the ensemble live, and does what the plan says.
///
/// # Errors
///
/// See [`Error`].
pub async fn pass<A: Admin>(namespace: &str, name: &str, context: &Context<A>) -> Result<Next, Error> {
    let api = Api::<Watched>::namespaced(context.client.clone(), namespace);
    // No cache: the facts that a step depends on are read back from where they were written.
    let Some(live) = api.get_opt(name).await.map_err(|error| Error::Read(Box::new(error)))? else {
        return Ok(Next::Never);
    };
    let ensemble = match live.0 {
        Ok(ensemble) => ensemble,
        Err(invalid) => {
            unreadable(context, &invalid).await;
            return Ok(Next::Later);
        }
    };
    let observed = observe(&context.client, &context.admin, &context.default_image, ensemble)
        .await
        .map_err(|error| Error::Read(Box::new(error)))?;
    let plan = plan(&observed);
    let executor = Executor {
        client: &context.client,
        admin: &context.admin,
        recorder: &context.recorder,
        metrics: &context.metrics,
        failpoint: context.failpoint,
    };
    executor.carry_out(&observed, &plan).await?;
    Ok(plan.next)
}

/// A resource that an older or a hand-edited schema let through. There is nothing to plan; the event names the fault.
async fn unreadable<A: Admin>(context: &Context<A>, invalid: &kube::core::error_boundary::InvalidObject) {
    let reference = k8s_openapi::api::core::v1::ObjectReference {
        api_version: Some(ZooKeeperEnsemble::api_version(&()).into_owned()),
        kind: Some(ZooKeeperEnsemble::kind(&()).into_owned()),
        name: invalid.metadata.name.clone(),
        namespace: invalid.metadata.namespace.clone(),
        uid: invalid.metadata.uid.clone(),
        ..Default::default()
    };
    tracing::warn!(ensemble = reference.name, error = invalid.error, "an ensemble cannot be read");
    let event = Event {
        type_: EventType::Warning,
        reason: "InvalidResource".to_owned(),
        note: Some(format!("the resource cannot be read, nothing is done: {}", invalid.error)),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = context.recorder.publish(&event, &reference).await {
        tracing::warn!(%error, "an event could not be published");
    }
}
