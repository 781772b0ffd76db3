//! The leader's office, handed over on request: by the leader itself, which waits until its successor has everything.

use anyhow::{Context as _, Result, anyhow, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use operator_api::names;

use crate::cluster::Cluster;
use crate::fault::{Attempt, explain, is_forbidden};
use crate::forward::{self, Silence};
use crate::read::{self, forbidden_to_forward};
use crate::seen::Seen;

/// Who is asked, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOff {
    /// The pod of the leader.
    pub from: String,
    /// The pod and the id of the successor; none when the leader is to choose.
    pub to: Option<(String, i32)>,
}

/// Decides who is asked. `to` is a pod, or its ordinal.
///
/// # Errors
///
/// There is no leader in sight, or the successor could not take over: which, and why.
pub fn hand_off(seen: &Seen, to: Option<&str>) -> Result<HandOff, String> {
    let name = seen.name();
    let founded = seen.founded().ok_or_else(|| format!("{name} does not exist yet: kubectl zke status {name}"))?;
    let assessment = seen.assessment().ok_or_else(|| match seen.unread.first() {
        Some(why) => why.clone(),
        None => format!("the servers of {name} were not asked"),
    })?;
    let leader = assessment.leader.ok_or_else(|| {
        format!("no majority of {name} names a leader, so there is no office to hand over: kubectl zke status {name}")
    })?;
    if !founded.is_ours(leader) {
        return Err(format!("server {} leads, which is no pod of {name}: ask it where it runs", founded.myid(leader)));
    }
    let from = names::pod(name, leader);
    let Some(to) = to else { return Ok(HandOff { from, to: None }) };
    let voters: Vec<String> = founded.voters().into_iter().map(|ordinal| names::pod(name, ordinal)).collect();
    let prefix = format!("{name}-");
    let ordinal =
        to.strip_prefix(&prefix).unwrap_or(to).parse().ok().filter(|ordinal| founded.voters().contains(ordinal));
    let ordinal =
        ordinal.ok_or_else(|| format!("{to} does not vote in {name}; choose one of {}", voters.join(", ")))?;
    let pod = names::pod(name, ordinal);
    if ordinal == leader {
        return Err(format!("{pod} leads already"));
    }
    if !assessment.synced.contains(&ordinal) {
        return Err(format!("{pod} is not in sync with {from}, and cannot take over: kubectl zke status {name}"));
    }
    Ok(HandOff { from, to: Some((pod, founded.myid(ordinal))) })
}

/// Hands the office over, or with `dry_run` says who would be asked. Returns what happened.
///
/// # Errors
///
/// See [`hand_off`]; besides the token cannot be read, or the leader refuses.
pub async fn transfer(cluster: &Cluster, name: &str, to: Option<&str>, dry_run: bool) -> Result<String> {
    let seen = read::seen(cluster, name).await?;
    let HandOff { from, to } = hand_off(&seen, to).map_err(|why| anyhow!(why))?;
    let token = token(cluster, name).await?;
    if dry_run {
        let to = to.map_or_else(|| "the follower that has most".to_owned(), |(pod, _)| pod);
        return Ok(format!("{from} would be asked to hand its office to {to} (dry run)"));
    }
    match forward::transfer(cluster, &from, &token, to.map(|(_, id)| id)).await {
        Ok(Ok(id)) => {
            let ordinal = seen.founded().and_then(|founded| Some(i32::try_from(id).ok()? - founded.myid(0)));
            let pod = ordinal.map_or_else(|| format!("server {id}"), |ordinal| names::pod(name, ordinal));
            Ok(format!("{from} handed its office to {pod}"))
        }
        Ok(Err(why)) => bail!("{from} goes on leading: {why}"),
        Err(Silence::Forbidden) => bail!(forbidden_to_forward(&cluster.namespace)),
        Err(Silence::Failed(why)) => {
            bail!("{from} was asked and did not answer: {why}. Whether it did it: kubectl zke status {name}")
        }
    }
}

/// The token of the admin ports. It goes into one request, and nowhere else.
async fn token(cluster: &Cluster, name: &str) -> Result<String> {
    let secret = names::superuser_secret(name);
    let live = Api::<Secret>::namespaced(cluster.client.clone(), &cluster.namespace).get(&secret).await;
    let live = live.map_err(|error| {
        let why = explain(&error, &Attempt::core("get", "secrets", &cluster.namespace, &secret));
        if is_forbidden(&error) {
            anyhow!("a leader takes orders only with the token in Secret {secret}, and {why}. kubectl zke restart {name} needs no token")
        } else {
            anyhow!(why)
        }
    })?;
    let bytes = live.data.as_ref().and_then(|data| data.get(names::TOKEN_KEY));
    let text =
        bytes.and_then(|bytes| std::str::from_utf8(&bytes.0).ok()).map(str::trim).filter(|text| !text.is_empty());
    text.map(str::to_owned).with_context(|| format!("Secret {secret} has no usable key {}", names::TOKEN_KEY))
}
