//! Which of several operators acts: the one that holds a `Lease` (coordination.k8s.io).
//!
//! A holder renews every [`RETRY`]. Others watch the lease by reading it, and take it over when it has not changed for
//! [`DURATION`] *by their own clock*: no two machines need to agree on the time. A holder that could not renew for
//! [`RENEW_DEADLINE`], which is shorter, ends its process: whatever it was doing stops before another begins.
//!
//! ```text
//!   holder   asks ──► written ─ ─ ─ ─ ─ asks, asks, … no answer ─ ─ ─ ► stops
//!            0                                                          10 s
//!   other                 └─ sees it ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─► takes it
//!                                                                                     15 s, at most 19 s
//! ```
//!
//! The holder counts from when it *asked*: an answer may come late, and the other counts from when it saw the write,
//! which is up to one [`RETRY`] later, and looks again every [`RETRY`].
//!
//! The lease is for economy, not for safety: a process that was suspended for longer than the lease wakes up and acts
//! on what it read. What keeps that harmless is that every write of a fact carries the resource version it was planned
//! from. See `operator_core::plan::bootstrap`.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout};

/// How long a lease is good for after it was last renewed.
pub const DURATION: Duration = Duration::from_secs(15);
/// How long a holder tries to renew before it gives up, and how long any one attempt may take.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often a lease is renewed, or looked at.
pub const RETRY: Duration = Duration::from_secs(2);

/// A lease and who we are.
pub struct Election {
    api: Api<Lease>,
    name: String,
    me: String,
}

/// What was last seen of a lease, and when by our own clock.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    version: Option<String>,
    at: Instant,
}

/// What to do about a lease.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// Nobody holds it, its holder is silent, or we hold it already: write our name.
    Take,
    /// Another holds it.
    Wait,
}

/// How an attempt to renew ended.
#[derive(Debug, PartialEq)]
enum Renewal {
    /// It is ours from when it was asked for.
    Renewed,
    /// It is this process's now.
    Taken(String),
    /// Somebody wrote the lease after it was read, perhaps we.
    Conflict,
}

/// Whether the lease can be taken now.
fn decide(lease: &Lease, me: &str, seen: &Seen, now: Instant) -> Verdict {
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.unwrap_or_default();
    let good_for =
        spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).map_or(DURATION, Duration::from_secs);
    if holder.is_empty() || holder == me || now.duration_since(seen.at) >= good_for {
        return Verdict::Take;
    }
    Verdict::Wait
}

impl Election {
    /// An election by the lease `name` in `namespace`, in which this process is `me`. A process that starts again under
    /// the same name takes its lease over at once: the name of a pod is right, because a pod runs one container at a time.
    pub fn new(client: Client, namespace: &str, name: &str, me: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), me: me.to_owned() }
    }

    /// Waits until this process holds the lease, and says from when the lease counts. Tries for ever.
    pub async fn acquire(&self) -> Instant {
        let mut seen: Option<Seen> = None;
        loop {
            let asked = Instant::now();
            match timeout(RENEW_DEADLINE, self.try_acquire(&mut seen)).await {
                Ok(Ok(true)) => return asked,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(lease = self.name, %error, "the lease could not be taken"),
                Err(_) => tracing::warn!(lease = self.name, "no answer about the lease"),
            }
            sleep(RETRY).await;
        }
    }

    /// Renews a lease that counts from `renewed`, until that fails for [`RENEW_DEADLINE`] or another holds it. Resolves
    /// with the reason; the caller stops at once.
    pub async fn hold(&self, mut renewed: Instant) -> String {
        let left = |renewed: Instant| RENEW_DEADLINE.saturating_sub(renewed.elapsed());
        loop {
            sleep(RETRY.min(left(renewed))).await;
            let asked = Instant::now();
            // A call that hangs must not outlast the deadline.
            let problem = match timeout(left(renewed), self.renew()).await {
                Ok(Ok(Renewal::Renewed)) => {
                    renewed = asked;
                    continue;
                }
                Ok(Ok(Renewal::Taken(holder))) => return format!("{holder} holds the lease"),
                Ok(Ok(Renewal::Conflict)) => "somebody wrote it meanwhile".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer from the API server".to_owned(),
            };
            tracing::warn!(lease = self.name, error = problem, "the lease could not be renewed");
            if left(renewed).is_zero() {
                return format!("the lease could not be renewed for {} s: {problem}", RENEW_DEADLINE.as_secs());
            }
        }
    }

    /// Gives the lease away, so that another need not wait for it to run out.
    ///
    /// # Errors
    ///
    /// The API server refused; the lease runs out by itself.
    pub async fn release(&self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
        let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(&self.me)) else {
            return Ok(());
        };
        spec.holder_identity = None;
        self.api.replace(&self.name, &PostParams::default(), &lease).await.map(|_| ())
    }

    async fn try_acquire(&self, seen: &mut Option<Seen>) -> Result<bool, kube::Error> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            return self.written(self.api.create(&PostParams::default(), &self.lease(None)).await);
        };
        let now = Instant::now();
        let version = lease.metadata.resource_version.clone();
        let last = match seen.take() {
            Some(last) if last.version == version => last,
            _ => Seen { version, at: now },
        };
        let verdict = decide(&lease, &self.me, &last, now);
        *seen = Some(last);
        match verdict {
            Verdict::Take => self.replace(&lease).await,
            Verdict::Wait => Ok(false),
        }
    }

    /// A conflict is not yet a loss: the write before may have arrived without its answer. The next attempt reads.
    async fn renew(&self) -> Result<Renewal, kube::Error> {
        let written = match self.api.get_opt(&self.name).await? {
            None => self.written(self.api.create(&PostParams::default(), &self.lease(None)).await)?,
            Some(lease) => match lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) {
                Some(holder) if holder == self.me => self.replace(&lease).await?,
                holder => return Ok(Renewal::Taken(holder.unwrap_or("nobody").to_owned())),
            },
        };
        Ok(if written { Renewal::Renewed } else { Renewal::Conflict })
    }

    /// Writes our name under the version that was read: of two that try, one gets 409.
    async fn replace(&self, lease: &Lease) -> Result<bool, kube::Error> {
        self.written(self.api.replace(&self.name, &PostParams::default(), &self.lease(Some(lease))).await)
    }

    fn written(&self, result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
        match result {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The lease in our name.
    fn lease(&self, old: Option<&Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let spec = old.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let mine = spec.holder_identity.as_deref() == Some(&self.me);
        let transitions = spec.lease_transitions.unwrap_or(0) + i32::from(old.is_some() && !mine);
        let metadata = match old {
            Some(lease) => ObjectMeta { managed_fields: None, ..lease.metadata.clone() },
            None => ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
        };
        Lease {
            metadata,
            spec: Some(LeaseSpec {
                holder_identity: Some(self.me.clone()),
                lease_duration_seconds: Some(i32::try_from(DURATION.as_secs()).expect("a few seconds")),
                acquire_time: spec.acquire_time.filter(|_| mine).or_else(|| Some(now.clone())),
                renew_time: Some(now),
                lease_transitions: Some(transitions),
                ..spec
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_when_free_own_or_silent() {
        let start = Instant::now();
        let lease = |holder: Option<&str>| Lease {
            spec: Some(LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                lease_duration_seconds: Some(15),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        };
        let cases = [
            (None, 0, Verdict::Take),
            (Some(""), 0, Verdict::Take),
            (Some("me"), 0, Verdict::Take),
            (Some("other"), 0, Verdict::Wait),
            (Some("other"), 14, Verdict::Wait),
            (Some("other"), 15, Verdict::Take),
        ];
        for (holder, silent_seconds, want) in cases {
            let seen = Seen { version: None, at: start };
            let got = decide(&lease(holder), "me", &seen, start + Duration::from_secs(silent_seconds));
            assert_eq!(got, want, "holder {holder:?}, silent for {silent_seconds} s");
        }
    }
}
