//! The body of `GET /status` (contract C4).

use crate::pause::PauseBody;
use crate::report::{Bootstrap, Report};
use crate::version;
use serde::Serialize;

/// The body of `GET /status`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusBody {
    version: &'static str,
    myid: i64,
    ensemble_id: Option<String>,
    volume_id: Option<String>,
    role: &'static str,
    leader: Option<i64>,
    epoch: i64,
    zxid: String,
    /// The end of the log, which a server without a leader has not applied.
    logged_zxid: String,
    store_state: &'static str,
    store: StoreBody,
    config: ConfigBody,
    config_hash: String,
    bootstrap: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    followers: Option<Vec<FollowerBody>>,
    sessions: usize,
    connections: usize,
    znodes: usize,
    watches: usize,
    digest: String,
    uptime_ms: u64,
    /// The last pauses, the newest last.
    pauses: Vec<PauseBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StoreBody {
    /// `files aside-N.*: REASON`, where this server found its store damaged when it started; null otherwise.
    set_aside: Option<String>,
    /// The format of the files. Only servers that know it can read them.
    format_version: u32,
}

#[derive(Serialize)]
struct ConfigBody {
    version: String,
    /// Proposed, and not known to be committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<String>,
    servers: Vec<String>,
}

#[derive(Serialize)]
struct FollowerBody {
    id: i64,
    synced: bool,
    voter: bool,
    zxid: String,
}

impl From<Report> for StatusBody {
    fn from(report: Report) -> StatusBody {
        let status = &report.status;
        let follower = |learner: &ensemble_zab::LearnerStatus| FollowerBody {
            id: learner.id.0,
            synced: learner.synced,
            voter: learner.voter,
            zxid: format!("{:#x}", learner.acked.0),
        };
        StatusBody {
            version: version::OWN,
            myid: status.id.0,
            ensemble_id: report.identity.ensemble_id.clone(),
            volume_id: report.identity.volume_id.clone(),
            role: report.role(),
            leader: report.leader().map(|leader| leader.0),
            epoch: status.epoch.0,
            zxid: format!("{:#x}", status.zxid.0),
            logged_zxid: format!("{:#x}", status.last_logged.0),
            store_state: report.store_state(),
            store: StoreBody {
                set_aside: report.identity.set_aside.clone(),
                format_version: report.identity.format_version,
            },
            config: ConfigBody {
                version: format!("{:#x}", report.config_version),
                pending: report.pending_version.map(|version| format!("{version:#x}")),
                servers: report.servers.clone(),
            },
            config_hash: report.config_hash.clone(),
            bootstrap: match report.bootstrap() {
                Bootstrap::Closed => "closed",
                Bootstrap::AwaitingGrant => "awaiting-grant",
                Bootstrap::Granted => "granted",
            },
            followers: (report.role() == "leading").then(|| status.learners.iter().map(follower).collect()),
            sessions: status.global_sessions,
            connections: status.connections,
            znodes: status.znodes,
            watches: status.watches,
            digest: format!("{:x}", status.digest),
            uptime_ms: report.uptime.as_millis() as u64,
            pauses: report.pauses.iter().map(PauseBody::from).collect(),
        }
    }
}
