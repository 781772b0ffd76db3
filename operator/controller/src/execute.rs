//! Carries out the steps of a plan, in order.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolumeClaim, Pod, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::runtime::events::{self, Recorder};
use kube::{Api, Client, Resource};
use operator_api::{ZooKeeperEnsemble, ZooKeeperEnsembleStatus, names};
use operator_core::{
    Adoption, Event, EventType, Expansion, Fact, Grant, Hold, Kind, Object, Observed, Ownership, Plan, Reconfiguration,
    Removal, Stamp, Step, Token, TokenState, Transfer, build, validate, with_refusal,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::admin::{Admin, AdminError};
use crate::facts::keeps_the_facts;
use crate::failpoint::Failpoint;
use crate::metrics::Metrics;
use crate::observe::api;

/// Longest note of an event, in characters; the API allows 1024 bytes.
const NOTE_CHARS_MAX: usize = 250;

/// What steps are carried out with.
pub struct Executor<'a, A> {
    /// The API server.
    pub client: &'a Client,
    /// The servers.
    pub admin: &'a A,
    /// Where events go.
    pub recorder: &'a Recorder,
    /// Where steps are counted.
    pub metrics: &'a Metrics,
    /// The place to die at, in tests.
    pub failpoint: Option<Failpoint>,
}

/// Why a step was not carried out. The next pass begins anew.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The API server refused, or did not answer; what it did is not known then.
    #[error("{step}: {source}")]
    Api {
        /// The step.
        step: String,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// A recorded fact was about to change. The plan is wrong; nothing was written.
    #[error("refused to change a recorded fact: {0}")]
    FactChanged(String),
}

impl ExecuteError {
    /// The API server's words, when it judged an object of ours and would judge it so again: it is invalid (422, 400),
    /// or not allowed here (403: a quota, an admission policy, a right). A status that is refused is not among these,
    /// since that could not be said in the status.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Api { step, source } if step == "apply" || step == "create-token" => match &**source {
                kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => Some(&status.message),
                _ => None,
            },
            Self::Api { .. } | Self::FactChanged(_) => None,
        }
    }
}

impl<A: Admin> Executor<'_, A> {
    /// Carries out a plan.
    ///
    /// # Errors
    ///
    /// The first step that fails; the steps after it were not tried. A grant that fails does not count as one.
    pub async fn carry_out(&self, observed: &Observed, plan: &Plan) -> Result<(), ExecuteError> {
        let mut grants = 0;
        let mut refusal: Option<String> = None;
        for step in &plan.steps {
            if step.mutates() {
                tracing::info!(ensemble = observed.name(), step = %step, "carrying out");
            } else {
                tracing::debug!(ensemble = observed.name(), step = %step, "noting");
            }
            match (step, refusal.take()) {
                // A pass that asked and was refused says so, in one status with everything else.
                (Step::WriteStatus(status), Some(words)) => self.write_refusal(observed, status, &words).await?,
                (step, words) => refusal = self.step(observed, step).await?.or(words),
            }
            self.metrics.step(step.name());
            if matches!(step, Step::Grant(_)) {
                grants += 1;
                if grants == 1 {
                    Failpoint::AfterGrant1.pass(self.failpoint);
                }
            }
        }
        if grants > 0 {
            Failpoint::AfterGrants.pass(self.failpoint);
        }
        match (&observed.ensemble.status, refusal) {
            // Nothing else changed, and the last pass was not refused.
            (Some(status), Some(words)) => self.write_refusal(observed, status, &words).await,
            _ => Ok(()),
        }
    }

    /// Writes a status with the leader's words, if it does not stand there already.
    async fn write_refusal(
        &self,
        observed: &Observed,
        status: &ZooKeeperEnsembleStatus,
        refusal: &str,
    ) -> Result<(), ExecuteError> {
        let told = with_refusal(status, refusal);
        if observed.ensemble.status.as_ref() == Some(&told) { Ok(()) } else { self.write_status(observed, &told).await }
    }

    /// Carries out a step, and returns the leader's words when it refused what it was asked for.
    async fn step(&self, observed: &Observed, step: &Step) -> Result<Option<String>, ExecuteError> {
        let failed = |source| ExecuteError::Api { step: step.name().to_owned(), source: Box::new(source) };
        let done = match step {
            Step::Record(fact, status) => self.record(observed, *fact, status).await,
            Step::WriteStatus(status) => self.write_status(observed, status).await,
            Step::CreateToken(token) => self.create_token(observed, token).await.map_err(failed),
            Step::Apply(object) => self.apply(observed, object).await.map_err(failed),
            Step::Offer(object) => {
                let done = self.apply(observed, object).await;
                self.monitored(observed, step, done).await.map_err(failed)
            }
            Step::Withdraw(kind, hold) => {
                let done = self.withdraw(observed, *kind, hold).await;
                self.monitored(observed, step, done).await.map_err(failed)
            }
            Step::Grant(grant) => {
                self.grant(observed, grant).await;
                Ok(())
            }
            Step::Reconfigure(change) => return Ok(self.reconfigure(observed, change).await),
            Step::Transfer(transfer) => return Ok(self.transfer(observed, transfer).await),
            Step::Stamp(stamp) => self.stamp(observed, stamp).await.map_err(failed),
            Step::Adopt(adoption) => self.adopt(observed, adoption).await.map_err(failed),
            Step::DeleteClaim(claim) => self.delete_claim(observed, claim).await.map_err(failed),
            Step::Expand(expansion) => self.expand(observed, expansion).await.map_err(failed),
            Step::Orphan(set) => self.orphan(observed, set).await.map_err(failed),
            Step::Own(ownership) => self.own(observed, ownership).await.map_err(failed),
            Step::Evict(removal) => self.evict(observed, removal).await.map_err(failed),
            Step::DeletePod(removal) => self.delete_pod(observed, removal, None).await.map_err(failed),
            Step::ForceDeletePod(removal) => self.delete_pod(observed, removal, Some(0)).await.map_err(failed),
            Step::Report(event) => {
                self.report(observed, event).await;
                Ok(())
            }
            Step::Wait { .. } => Ok(()),
        };
        done.map(|()| None)
    }

    async fn record(
        &self,
        observed: &Observed,
        fact: Fact,
        status: &ZooKeeperEnsembleStatus,
    ) -> Result<(), ExecuteError> {
        if fact == Fact::Complete {
            Failpoint::BeforeComplete.pass(self.failpoint);
        }
        self.write_status(observed, status).await?;
        match fact {
            Fact::Identity => Failpoint::AfterEnsembleId.pass(self.failpoint),
            Fact::Volumes => Failpoint::AfterVolumesRecorded.pass(self.failpoint),
            Fact::Complete | Fact::Configuration | Fact::Pods | Fact::Rebuild | Fact::Recovery => {}
        }
        Ok(())
    }

    /// Replaces the status, under the resource version that the plan was made from: if anybody wrote since, the API
    /// server answers 409 and nothing changes. The only way in which this operator writes a status.
    async fn write_status(&self, observed: &Observed, status: &ZooKeeperEnsembleStatus) -> Result<(), ExecuteError> {
        keeps_the_facts(observed.ensemble.status.as_ref(), status).map_err(ExecuteError::FactChanged)?;
        let mut ensemble = observed.ensemble.clone();
        ensemble.metadata.managed_fields = None;
        ensemble.status = Some(status.clone());
        let api = Api::<ZooKeeperEnsemble>::namespaced(self.client.clone(), namespace(observed));
        match api.replace_status(observed.name(), &PostParams::default(), &ensemble).await {
            Ok(_) => Ok(()),
            Err(source) => Err(ExecuteError::Api { step: "write-status".to_owned(), source: Box::new(source) }),
        }
    }

    async fn create_token(&self, observed: &Observed, token: &Token) -> Result<(), kube::Error> {
        let ensemble = validate(observed).expect("steps are planned from a valid spec only");
        let secret: Secret = serde_json::from_value(json!({
            "metadata": build::secret_metadata(&ensemble),
            "type": "Opaque",
            "stringData": { names::TOKEN_KEY: token.0 },
        }))
        .expect("the shape of a Secret");
        let api = Api::<Secret>::namespaced(self.client.clone(), namespace(observed));
        match api
            .create(&PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() }, &secret)
            .await
        {
            Ok(_) => Ok(()),
            // Somebody was faster; theirs is read in the next pass.
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn apply(&self, observed: &Observed, object: &Object) -> Result<(), kube::Error> {
        let params = PatchParams::apply(names::MANAGER).force();
        let api = api(self.client, namespace(observed), object.kind);
        let mut manifest = object.manifest.clone();
        // Fewer pods may be wrong by the time they are asked for: then it is a conflict.
        if object.kind == Kind::StatefulSet
            && let Some(live) = observed.object(object.kind.as_str(), &object.name)
        {
            manifest["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        }
        api.patch(&object.name, &params, &Patch::Apply(&manifest)).await.map(|_| ())
    }

    async fn withdraw(&self, observed: &Observed, kind: Kind, hold: &Hold) -> Result<(), kube::Error> {
        let api = api(self.client, namespace(observed), kind);
        delete(&api, &hold.name, &hold.uid, DeleteParams::default()).await.map(|_| ())
    }

    /// What the cluster does not take is told, and no reason to leave the ensemble alone.
    async fn monitored(
        &self,
        observed: &Observed,
        step: &Step,
        done: Result<(), kube::Error>,
    ) -> Result<(), kube::Error> {
        match done {
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 404 | 422) => {
                let event = Event {
                    type_: EventType::Warning,
                    reason: "MonitoringRefused".to_owned(),
                    note: format!("{step}: {}", status.message),
                };
                self.report(observed, &event).await;
                Ok(())
            }
            done => done,
        }
    }

    /// A grant that is not confirmed is sent again by a later pass, if the server still waits for it.
    async fn grant(&self, observed: &Observed, grant: &Grant) {
        let TokenState::Present(token) = &observed.token else { return };
        let (ensemble, ordinal) = (observed.name(), grant.ordinal);
        match self.admin.grant(token, grant).await {
            Ok(()) => tracing::info!(ensemble, ordinal, volume = grant.volume_id, "granted"),
            Err(AdminError::Refused { status: 401, .. }) => {
                let note = format!(
                    "{} does not accept the token of Secret {}; the kubelet may still bring it a new one",
                    names::pod(ensemble, ordinal),
                    names::superuser_secret(ensemble)
                );
                let event = Event { type_: EventType::Warning, reason: "TokenRefused".to_owned(), note };
                self.report(observed, &event).await;
            }
            Err(error) => tracing::warn!(ensemble, ordinal, %error, "a grant was not confirmed"),
        }
    }

    /// What came of it is seen by the next pass, in what the servers report. A refusal is told in the server's words.
    async fn reconfigure(&self, observed: &Observed, change: &Reconfiguration) -> Option<String> {
        let TokenState::Present(token) = &observed.token else { return None };
        let ensemble = observed.name();
        match self.admin.reconfigure(token, change).await {
            Ok(()) => tracing::info!(ensemble, version = change.version, "reconfigured"),
            Err(AdminError::Refused { status, reason }) => {
                let leader = names::pod(ensemble, change.leader);
                let note = format!("{leader} refuses the configuration ({status}): {reason}");
                return Some(self.refused(observed, "ReconfigurationRefused", note).await);
            }
            Err(error) => tracing::warn!(ensemble, %error, "a reconfiguration was not confirmed"),
        }
        None
    }

    async fn refused(&self, observed: &Observed, reason: &str, note: String) -> String {
        let event = Event { type_: EventType::Warning, reason: reason.to_owned(), note: note.clone() };
        self.report(observed, &event).await;
        note
    }

    /// A hand-off that is not confirmed is asked for again by a later pass, if the leader still leads.
    async fn transfer(&self, observed: &Observed, transfer: &Transfer) -> Option<String> {
        let TokenState::Present(token) = &observed.token else { return None };
        let (ensemble, from, to) = (observed.name(), transfer.from, transfer.to);
        match self.admin.transfer(token, transfer).await {
            Ok(()) => tracing::info!(ensemble, from, to, "the office was handed over"),
            Err(AdminError::Refused { status, reason }) => {
                let note = format!("{} does not hand its office over ({status}): {reason}", names::pod(ensemble, from));
                return Some(self.refused(observed, "HandOffRefused", note).await);
            }
            Err(error) => tracing::warn!(ensemble, from, to, %error, "a hand-off was not confirmed"),
        }
        None
    }

    async fn stamp(&self, observed: &Observed, stamp: &Stamp) -> Result<(), kube::Error> {
        // The UID makes it a conflict when the claim is another one by now.
        let patch = json!({ "metadata": {
            "uid": stamp.uid, "annotations": { names::retired_annotation(): stamp.value },
        } });
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), namespace(observed));
        api.patch(&stamp.claim, &PatchParams::default(), &Patch::Merge(&patch)).await.map(|_| ())
    }

    async fn adopt(&self, observed: &Observed, adoption: &Adoption) -> Result<(), kube::Error> {
        let patch = json!({ "metadata": {
            "uid": adoption.uid, "annotations": { names::ensemble_id_annotation(): adoption.ensemble_id },
        } });
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), namespace(observed));
        api.patch(&adoption.claim, &PatchParams::default(), &Patch::Merge(&patch)).await.map(|_| ())
    }

    async fn delete_claim(&self, observed: &Observed, claim: &Hold) -> Result<(), kube::Error> {
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), namespace(observed));
        delete(&api, &claim.name, &claim.uid, DeleteParams::default()).await.map(|_| ())
    }

    /// A strategic merge patch goes by the UID of an owner, so that owners that are somebody else's stay.
    async fn own(&self, observed: &Observed, ownership: &Ownership) -> Result<(), kube::Error> {
        let uid = observed.ensemble.metadata.uid.as_deref().unwrap_or_default();
        let owner = if ownership.owned {
            json!({
                "apiVersion": ZooKeeperEnsemble::api_version(&()), "kind": ZooKeeperEnsemble::kind(&()),
                "name": observed.name(), "uid": uid,
            })
        } else {
            json!({ "$patch": "delete", "uid": uid })
        };
        let patch = json!({ "metadata": { "uid": ownership.uid, "ownerReferences": [owner] } });
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), namespace(observed));
        api.patch(&ownership.claim, &PatchParams::default(), &Patch::Strategic(&patch)).await.map(|_| ())
    }

    /// A quota, a provisioner or a policy may refuse it, which must not keep the pass from its other work.
    async fn expand(&self, observed: &Observed, expansion: &Expansion) -> Result<(), kube::Error> {
        let patch = json!({
            "metadata": { "uid": expansion.uid },
            "spec": { "resources": { "requests": { "storage": expansion.size } } },
        });
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), namespace(observed));
        match api.patch(&expansion.claim, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
                let note = format!("{} is not expanded: {}", expansion.claim, status.message);
                let event = Event { type_: EventType::Warning, reason: "ExpansionRefused".to_owned(), note };
                self.report(observed, &event).await;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn orphan(&self, observed: &Observed, set: &Hold) -> Result<(), kube::Error> {
        let params = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
        let api = api(self.client, namespace(observed), Kind::StatefulSet);
        delete(&api, &set.name, &set.uid, params).await.map(|_| ())
    }

    /// A budget that refuses is told and waited for: a drain may be under way.
    ///
    /// `kube::Api::evict` sends `delete_options` where the API server reads `deleteOptions`, so that the UID would not be looked at.
    async fn evict(&self, observed: &Observed, removal: &Removal) -> Result<(), kube::Error> {
        let eviction = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": { "name": removal.pod, "namespace": namespace(observed) },
            "deleteOptions": { "preconditions": { "uid": removal.uid } },
        });
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace(observed));
        match api.create_subresource::<Value, Value>("eviction", &removal.pod, &PostParams::default(), &eviction).await
        {
            Ok(_) => {
                self.removed(observed, removal).await;
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 429 => {
                let note = format!("{} is not evicted yet: {}", removal.pod, status.message);
                let event = Event { type_: EventType::Normal, reason: "EvictionRefused".to_owned(), note };
                self.report(observed, &event).await;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// `grace` in seconds; the pod's own when there is none.
    async fn delete_pod(&self, observed: &Observed, removal: &Removal, grace: Option<u32>) -> Result<(), kube::Error> {
        let params = DeleteParams { grace_period_seconds: grace, ..DeleteParams::default() };
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace(observed));
        if delete(&api, &removal.pod, &removal.uid, params).await? {
            self.removed(observed, removal).await;
        }
        Ok(())
    }

    async fn removed(&self, observed: &Observed, removal: &Removal) {
        let note = format!("{} is made anew: {}", removal.pod, removal.why);
        let event = Event { type_: EventType::Normal, reason: "PodRestarted".to_owned(), note };
        self.report(observed, &event).await;
    }

    async fn report(&self, observed: &Observed, event: &Event) {
        publish(self.recorder, &observed.ensemble.object_ref(&()), event).await;
    }
}

/// Deletes the object with this UID and no other of its name. Returns whether it was there.
async fn delete<K: Clone + DeserializeOwned + Debug>(
    api: &Api<K>,
    name: &str,
    uid: &str,
    params: DeleteParams,
) -> Result<bool, kube::Error> {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    match api.delete(name, &DeleteParams { preconditions: Some(preconditions), ..params }).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// An event that cannot be published is no reason to stop.
pub(crate) async fn publish(recorder: &Recorder, regarding: &ObjectReference, event: &Event) {
    let published = events::Event {
        type_: match event.type_ {
            EventType::Normal => events::EventType::Normal,
            EventType::Warning => events::EventType::Warning,
        },
        reason: event.reason.clone(),
        note: Some(event.note.chars().take(NOTE_CHARS_MAX).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&published, regarding).await {
        tracing::warn!(ensemble = regarding.name, reason = event.reason, %error, "an event could not be published");
    }
}

fn namespace(observed: &Observed) -> &str {
    observed.ensemble.metadata.namespace.as_deref().unwrap_or_default()
}
