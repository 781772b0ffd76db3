//! What servers say of themselves to operators, and which grants they take: `ensemble-server`'s `report.rs`, `admin.rs` and `check_grant`, on the
//! simulated peers.

use crate::world::World;
use ensemble_sim::operated::Report;
use ensemble_zab::Role as PeerRole;
use operator_core::{BootstrapState, Grant, MemberConfig, MemberStatus, Role, StoreFacts, StoreState};

/// Whether the store of a server may vote.
fn bootstrap(report: &Report) -> BootstrapState {
    let is_empty = report.status.last_logged.0 <= 0;
    if report.was_empty && !report.was_trusted && !report.status.may_vote {
        BootstrapState::AwaitingGrant
    } else if report.was_empty && report.was_trusted && is_empty {
        BootstrapState::Granted
    } else {
        BootstrapState::Closed
    }
}

/// Whether a server has an empty store that may not vote, and knows of no leader.
pub(crate) fn knows_nobody(world: &World, ordinal: i32) -> bool {
    let report = world.servers.report(World::server(ordinal));
    report.is_some_and(|report| {
        bootstrap(&report) == BootstrapState::AwaitingGrant && matches!(report.status.role, PeerRole::Looking)
    })
}

/// The answer to `GET /status`; none while the server does not run or stands still.
pub(crate) fn status(world: &World, ordinal: i32) -> Option<MemberStatus> {
    let report = world.servers.report(World::server(ordinal))?;
    let pod = world.cluster.pods.get(&ordinal)?;
    let bootstrap = bootstrap(&report);
    let text = report.membership.to_string();
    Some(MemberStatus {
        version: pod.image.rsplit(':').next().unwrap_or_default().to_owned(),
        myid: i32::try_from(report.status.id.0).unwrap_or_default(),
        ensemble_id: line(&pod.zoo_cfg, "ensemble.id="),
        volume_id: pod.volume_id.clone(),
        role: match report.status.role {
            PeerRole::Looking => Role::Looking,
            PeerRole::Leading => Role::Leading,
            PeerRole::Following { .. } => Role::Following,
            PeerRole::Observing { .. } => Role::Observing,
        },
        leader: report.status.leader.and_then(|leader| i32::try_from(leader.0).ok()),
        epoch: report.status.epoch.0,
        logged_zxid: Some(report.status.last_logged.to_string()),
        store_state: match (report.status.serving, bootstrap) {
            (true, _) => StoreState::Synced,
            (false, BootstrapState::AwaitingGrant) => StoreState::Uninitialized,
            (false, BootstrapState::Granted | BootstrapState::Closed) => StoreState::Syncing,
        },
        store: StoreFacts::default(),
        config_hash: world.loaded_hash(ordinal),
        config: MemberConfig {
            version: report.membership.version.to_string(),
            pending: report.pending.map(|version| version.to_string()),
            servers: server_lines(&text).map(str::to_owned).collect(),
        },
        bootstrap,
    })
}

/// Whether a server takes a grant.
pub(crate) fn takes(world: &World, ordinal: i32, grant: &Grant) -> bool {
    let Some(report) = world.servers.report(World::server(ordinal)) else { return false };
    let Some(pod) = world.cluster.pods.get(&ordinal) else { return false };
    let id = report.status.id;
    let voters: Vec<i64> = report.membership.voters().map(|id| id.0).collect();
    let mut granted: Vec<i64> = grant.voters.iter().map(|id| i64::from(*id)).collect();
    granted.sort_unstable();
    let founds = pod
        .zoo_cfg
        .lines()
        .any(|line| line.strip_prefix(&format!("server.{}=", id.0)).is_some_and(|line| line.contains(":participant")));
    line(&pod.zoo_cfg, "ensemble.id=").as_ref() == Some(&grant.ensemble_id)
        && pod.volume_id.as_ref() == Some(&grant.volume_id)
        && voters == granted
        && founds
        && bootstrap(&report) == BootstrapState::AwaitingGrant
}

/// The `server.N` lines of a configuration.
pub(crate) fn server_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| line.starts_with("server."))
}

/// What `zoo.cfg` says of a key, which ends with its `=`.
pub(crate) fn line(zoo_cfg: &str, key: &str) -> Option<String> {
    zoo_cfg.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned)
}
