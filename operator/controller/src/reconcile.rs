//! One pass over one ensemble: read it live, observe, plan, carry out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, DeserializeGuard};
use kube::runtime::controller::Action;
use kube::runtime::events::Recorder;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, Resource, ResourceExt};
use operator_api::ZooKeeperEnsemble;
use operator_core::plan::Next;
use operator_core::{plan, refuse, unreadable};
use serde_json::Value;

use crate::admin::Admin;
use crate::broken;
use crate::execute::{ExecuteError, Executor, publish};
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
/// How long a pass may take. Seven members that do not answer a grant take 14 s; longer is a connection gone silent.
const PASS_TIME_MAX: Duration = Duration::from_secs(60);

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
    /// The API server did not answer within [`PASS_TIME_MAX`].
    #[error("no end within {} s", PASS_TIME_MAX.as_secs())]
    Silence,
}

/// The code of an answer; none without an answer.
fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

impl<A> Context<A> {
    /// Counts an error of the API server, or that it did not answer.
    fn count(&self, error: &Error) {
        match (error, error.of_the_api()) {
            (Error::Silence, _) => self.metrics.api_error(None),
            (_, Some(error)) => self.metrics.api_error(code(error)),
            (_, None) => {}
        }
    }
}

impl Error {
    /// What the API server, or the way to it, is to blame for.
    fn of_the_api(&self) -> Option<&kube::Error> {
        match self {
            Self::Read(source) | Self::Execute(ExecuteError::Api { source, .. }) => Some(source),
            Self::Execute(ExecuteError::FactChanged(_)) | Self::Silence => None,
        }
    }

    /// Whether somebody else wrote first, which is nobody's fault.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Execute(ExecuteError::Api { source, .. }) => {
                matches!(&**source, kube::Error::Api(status) if status.is_conflict())
            }
            Self::Execute(ExecuteError::FactChanged(_)) | Self::Read(_) | Self::Silence => false,
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
    let result = match tokio::time::timeout(PASS_TIME_MAX, pass(&namespace, &name, &context)).await {
        Ok(result) => result,
        Err(_) => Err(Error::Silence),
    };
    let outcome = match &result {
        Ok(_) => "ok",
        Err(error) if error.is_conflict() => "conflict",
        Err(_) => "error",
    };
    context.metrics.pass(outcome, began.elapsed());
    match &result {
        Err(error) => {
            context.metrics.failed(&namespace, &name);
            context.count(error);
        }
        // It is gone, or going.
        Ok(Next::Never) => context.metrics.forget(&namespace, &name),
        Ok(_) => {}
    }
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
    // No cache: the facts that a step depends on are read back from where they were written. And no type yet: what the
    // type does not hold must still be there to be reported.
    let api = dynamic(&context.client, namespace);
    let Some(live) = api.get_opt(name).await.map_err(|error| Error::Read(Box::new(error)))? else {
        return Ok(Next::Never);
    };
    let ensemble = match typed(&live) {
        Ok(ensemble) => ensemble,
        Err(fault) => return report_unreadable(context, live, &fault).await,
    };
    let observed = observe(&context.client, &context.admin, &context.default_image, ensemble)
        .await
        .map_err(|error| Error::Read(Box::new(error)))?;
    let observed = broken::observed(observed);
    let plan = broken::plan(plan(&observed), &observed);
    let executor = Executor {
        client: &context.client,
        admin: &context.admin,
        recorder: &context.recorder,
        metrics: &context.metrics,
        failpoint: context.failpoint,
    };
    let carried_out = match executor.carry_out(&observed, &plan).await {
        Ok(()) => plan,
        Err(error) => {
            let Some(answer) = error.refusal().map(str::to_owned) else { return Err(error.into()) };
            tracing::warn!(ensemble = name, answer, "the API server refuses an object");
            context.count(&error.into());
            let plan = refuse(&observed, answer);
            executor.carry_out(&observed, &plan).await?;
            plan
        }
    };
    if let Some(status) = carried_out.status().or(observed.ensemble.status.as_ref()) {
        context.metrics.ensemble(namespace, name, status.clone());
    }
    Ok(carried_out.next)
}

fn dynamic(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<ZooKeeperEnsemble>(&()))
}

/// The ensemble in an object, or the field that cannot be read and why.
fn typed(live: &DynamicObject) -> Result<ZooKeeperEnsemble, String> {
    let value = serde_json::to_value(live).expect("what came as JSON is JSON");
    serde_path_to_error::deserialize(value).map_err(|error| format!("{}: {}", error.path(), error.inner()))
}

/// Says on the resource that it cannot be read, if it does not say so yet. Its objects are left alone.
async fn report_unreadable<A: Admin>(
    context: &Context<A>,
    mut live: DynamicObject,
    fault: &str,
) -> Result<Next, Error> {
    let name = live.name_any();
    if live.metadata.deletion_timestamp.is_some() {
        return Ok(Next::Never);
    }
    tracing::warn!(ensemble = name, fault, "an ensemble cannot be read");
    let namespace = live.namespace().unwrap_or_default();
    let show = |status: &Value| {
        if let Ok(status) = serde_json::from_value(status.clone()) {
            context.metrics.ensemble(&namespace, &name, status);
        }
    };
    let (status, generation) = (&live.data["status"], live.metadata.generation);
    let Some((status, event)) = unreadable(Time(Timestamp::now()), generation, status, fault) else {
        show(status);
        return Ok(Next::Later);
    };
    show(&status);
    live.data["status"] = status;
    live.metadata.managed_fields = None;
    let api = dynamic(&context.client, &namespace);
    let written = api.replace_status(&name, &PostParams::default(), &live).await;
    let regarding = live.object_ref(&ApiResource::erase::<ZooKeeperEnsemble>(&()));
    match written {
        Ok(_) => publish(&context.recorder, &regarding, &event).await,
        Err(source) => {
            let error = Error::Execute(ExecuteError::Api { step: "write-status".to_owned(), source: Box::new(source) });
            if error.is_conflict() {
                return Err(error);
            }
            // A schema may refuse even the status of such a resource. The event is what is left.
            tracing::warn!(ensemble = name, %error, "the status of an unreadable ensemble could not be written");
            publish(&context.recorder, &regarding, &event).await;
        }
    }
    Ok(Next::Later)
}
