//! What each command answers, field by field in the order of `Commands.java`.

use super::json::Json;
use super::{Arguments, Command, Fields};
use crate::admin::Shared;
use crate::details::{self, Connected, Global};
use crate::driver::Driver;
use crate::four_letter::{self, NOT_SERVING};
use crate::metrics::four_decimals;
use crate::report::{Figures, Report};
use crate::version;
use ensemble_peer::{Expiries, Sizes};
use ensemble_proto::membership::{Host, Member, MemberRole, Membership};
use ensemble_proto::{ServerId, SessionId, Zxid};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// The version of the tree's digests (`DigestCalculator.DIGEST_VERSION`).
const DIGEST_VERSION: u8 = 2;
/// How long a list may take, its turn included.
const LIST_TIMEOUT: Duration = Duration::from_secs(8);
const NO_ANSWER: &str = "the server does not answer";

fn fields<const N: usize>(fields: [(&str, Json); N]) -> Fields {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The fields of an answer.
///
/// # Errors
/// What the field `error` says instead.
pub(super) async fn answered(
    command: Command,
    shared: &Arc<Shared>,
    report: Option<Report>,
    arguments: &Arguments,
) -> Result<Fields, String> {
    let known = || report.as_ref().ok_or(NO_ANSWER);
    match command {
        Command::Monitor => Ok(monitor(shared, &shared.figures().await.ok_or(NO_ANSWER)?)),
        Command::Zabstate => zabstate(shared, known()?).await,
        Command::Environment => {
            Ok(four_letter::environment().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
        }
        Command::SystemProperties => {
            let properties = shared.settings.properties.iter();
            Ok(properties.map(|(name, value)| (name.clone(), value.as_str().into())).collect())
        }
        Command::GetTraceMask => {
            let mask = look(shared, async |driver| driver.clients.words.trace_mask.get()).await?;
            Ok(fields([("tracemask", mask.into())]))
        }
        Command::SetTraceMask => {
            let mask = trace_mask(arguments)?;
            look(shared, async move |driver| driver.clients.words.trace_mask.set(mask)).await?;
            Ok(fields([("tracemask", mask.into())]))
        }
        Command::Ruok => Ok(Fields::new()),
        Command::IsReadOnly => Ok(fields([("read_only", known()?.status.read_only.into())])),
        Command::InitialConfiguration => {
            Ok(fields([("initial_configuration", shared.settings.initial_configuration.as_str().into())]))
        }
        Command::Configuration => configuration(shared).await,
        Command::Dirs => {
            let sizes = details::sizes(&shared.settings).await;
            Ok(fields([("datadir_size", sizes.data.into()), ("logdir_size", sizes.log.into())]))
        }
        Command::LastSnapshot => Ok(last_snapshot(shared).await),
        Command::Leader => leader(shared, known()?).await,
        Command::VotingView => voting_view(shared, known()?).await,
        Command::Hash => {
            let digests =
                look(shared, async |driver| driver.look(|peer| peer.digest_log().collect::<Vec<_>>())).await?;
            let entry = |(zxid, digest): (Zxid, u64)| {
                let zxid = zxid.0.into();
                Json::object([
                    ("zxid", zxid),
                    ("digest_version", DIGEST_VERSION.into()),
                    ("digest", (digest as i64).into()),
                ])
            };
            Ok(fields([("digests", Json::List(digests.into_iter().map(entry).collect()))]))
        }
        Command::ConnectionStatReset => {
            listed(shared, async |driver| details::reset_connections(driver).await).await?;
            Ok(Fields::new())
        }
        Command::StatReset => {
            look(shared, async |driver| driver.turn(|peer, _| peer.reset_statistics())).await?;
            Ok(Fields::new())
        }
        Command::ObserverConnectionStatReset => Ok(Fields::new()),
        Command::Observers => Ok(observers(known()?)),
        Command::Connections => {
            let connections = listed(shared, async |driver| details::connections(driver).await).await?;
            Ok(connection_fields(&connections, false))
        }
        Command::ServerStats => server_stats(shared, known()?).await,
        Command::Stats => {
            let mut stats = server_stats(shared, known()?).await?;
            let connections = listed(shared, async |driver| details::connections(driver).await).await?;
            stats.extend(connection_fields(&connections, true));
            Ok(stats)
        }
        Command::Dump => dump(shared).await,
        Command::WatchSummary => {
            let summary = listed(shared, async |driver| details::watch_summary(driver).await).await?;
            Ok(fields([
                ("num_connections", summary.connections.into()),
                ("num_paths", summary.paths.into()),
                ("num_total_watches", summary.total.into()),
            ]))
        }
        Command::Watches => {
            let watched = listed(shared, async |driver| details::watches(driver).await).await?;
            let paths = |(session, paths): (SessionId, BTreeSet<Arc<str>>)| {
                (session.0.to_string(), Json::list(paths.iter().map(|path| &**path)))
            };
            Ok(fields([("session_id_to_watched_paths", Json::Object(watched.0.into_iter().map(paths).collect()))]))
        }
        Command::WatchesByPath => {
            let watched = listed(shared, async |driver| details::watches(driver).await).await?;
            let by_path = details::by_path(&watched).await;
            let ids = by_path.into_iter().map(|(path, ids)| (path.to_owned(), Json::list(ids.iter().map(|id| id.0))));
            Ok(fields([("path_to_session_ids", Json::Object(ids.collect()))]))
        }
    }
}

fn trace_mask(arguments: &Arguments) -> Result<i64, String> {
    const REQUIRED: &str = "setTraceMask requires long traceMask argument";
    let given = arguments.get("traceMask").ok_or(REQUIRED)?;
    given.parse().map_err(|_| format!("{REQUIRED}, got {given}"))
}

/// Asks the driver.
async fn look<R: Send + 'static>(
    shared: &Shared,
    ask: impl AsyncFnOnce(&Rc<Driver>) -> R + Send + 'static,
) -> Result<R, String> {
    shared.look(ask).await.ok_or_else(|| NO_ANSWER.to_owned())
}

/// Asks the driver for a list, when it is its turn.
async fn listed<R: Send + 'static>(
    shared: &Shared,
    ask: impl AsyncFnOnce(&Rc<Driver>) -> R + Send + 'static,
) -> Result<R, String> {
    let listed = shared.look_within(LIST_TIMEOUT, async move |driver| {
        let _turn = driver.details.take().await;
        ask(driver).await
    });
    listed.await.ok_or_else(|| NO_ANSWER.to_owned())
}

/// What `mntr` prints, without `zk_`.
fn monitor(shared: &Shared, figures: &Figures) -> Fields {
    let report = &figures.report;
    let mut entries = fields([("version", version::full().into())]);
    if let Some(mode) = report.mode() {
        entries.push(("server_state".into(), mode.into()));
    }
    if let Some(state) = report.peer_state() {
        entries.push(("peer_state".into(), state.into()));
    }
    if let Some(ServerId(master)) = report.observer_master {
        entries.push(("observer_master_id".into(), Json::Number(master.to_string())));
    }
    for (name, value) in shared.metrics.monitor(figures).lines().filter_map(|line| line.split_once('\t')) {
        let is_number = serde_json::from_str::<serde_json::Number>(value).is_ok();
        let value = if is_number { Json::Number(value.to_owned()) } else { value.into() };
        entries.push((name.strip_prefix("zk_").unwrap_or(name).to_owned(), value));
    }
    entries
}

async fn configuration(shared: &Shared) -> Result<Fields, String> {
    let port = look(shared, async |driver| driver.places.client_port()).await?;
    let settings = &shared.settings;
    let (data, log) = details::directories(settings);
    Ok(fields([
        ("client_port", port.map_or(-1, i32::from).into()),
        ("data_dir", data.display().to_string().into()),
        ("data_log_dir", log.display().to_string().into()),
        ("tick_time", settings.tick.as_millis().into()),
        ("max_client_cnxns", settings.max_client_cnxns.into()),
        ("min_session_timeout", settings.session_timeout_min_ms.into()),
        ("max_session_timeout", settings.session_timeout_max_ms.into()),
        ("server_id", if settings.standalone { 0 } else { settings.id.0 }.into()),
        ("client_port_listen_backlog", settings.client_backlog.into()),
    ]))
}

async fn last_snapshot(shared: &Shared) -> Fields {
    let settings = shared.settings.clone();
    let files = tokio::task::spawn_blocking(move || details::snapshot_files(&settings)).await.unwrap_or_default();
    let newest = files.into_iter().max_by_key(|file| (file.zxid, file.modified));
    let modified = newest.as_ref().and_then(|file| file.modified.duration_since(UNIX_EPOCH).ok());
    let zxid = newest.map_or(Zxid::NONE, |file| file.zxid);
    let timestamp = modified.map_or(Json::from(-1), |modified| modified.as_secs().into());
    fields([("zxid", format!("{:x}", zxid.0).into()), ("timestamp", timestamp)])
}

async fn membership(shared: &Shared) -> Result<Membership, String> {
    look(shared, async |driver| driver.look(|peer| peer.zab().membership().clone())).await
}

async fn leader(shared: &Shared, report: &Report) -> Result<Fields, String> {
    if report.status.standalone {
        return Err("server is not initialized".into());
    }
    let leader = report.leader();
    let membership = membership(shared).await?;
    let host = leader.and_then(|leader| membership.servers.get(&leader)).map(|member| member.host.clone());
    Ok(fields([
        ("is_leader", (report.role() == "leading").into()),
        ("leader_id", leader.unwrap_or(ServerId(-1)).0.into()),
        ("leader_ip", host.unwrap_or_default().into()),
    ]))
}

async fn voting_view(shared: &Shared, report: &Report) -> Result<Fields, String> {
    let mut servers = Vec::new();
    if !report.status.standalone {
        let membership = membership(shared).await?;
        let voters = membership.servers.iter().filter(|(_, member)| member.role == MemberRole::Participant);
        servers.extend(voters.map(|(id, member)| (id.to_string(), voter(member))));
    }
    Ok(fields([("current_config", Json::Object(servers))]))
}

fn voter(member: &Member) -> Json {
    let at = |port| format!("{}:{port}", Host(&member.host));
    let client = member.client.as_ref().map(|client| format!("{}:{}", Host(&client.host), client.port));
    Json::object([
        ("server_addresses", Json::list([at(member.quorum_port)])),
        ("election_addresses", Json::list([at(member.election_port)])),
        ("client_address", client.unwrap_or_default().into()),
        ("learner_type", "participant".into()),
    ])
}

async fn zabstate(shared: &Shared, report: &Report) -> Result<Fields, String> {
    let status = &report.status;
    let Some(own) = report.own.as_ref().filter(|_| !status.standalone && status.serving) else {
        return Ok(fields([("voting", false.into()), ("zabstate", "".into())]));
    };
    let port = look(shared, async |driver| driver.places.client_port()).await?;
    let host = own.client.as_ref().map_or("0.0.0.0", |client| &client.host);
    let state = report.peer_state().unwrap_or_default();
    Ok(fields([
        ("myid", status.id.0.into()),
        ("is_leader", (report.role() == "leading").into()),
        ("quorum_address", addresses(own, own.quorum_port)),
        ("election_address", addresses(own, own.election_port)),
        ("client_address", format!("{}:{}", Host(host), port.map_or(-1, i32::from)).into()),
        ("voting", (own.role == MemberRole::Participant).into()),
        ("last_zxid", format!("{:#x}", status.zxid.0).into()),
        ("zab_epoch", status.zxid.epoch().0.into()),
        ("zab_counter", status.zxid.counter().into()),
        ("zabstate", state.split(" - ").nth(1).unwrap_or_default().into()),
    ]))
}

/// `MultipleAddresses`, as its getters show it, of a server that has one address. Nothing is dialled: it counts as reachable.
fn addresses(member: &Member, port: u16) -> Json {
    let address = || Json::from(format!("{}:{port}", Host(&member.host)));
    let all = || Json::List(vec![address()]);
    Json::object([
        ("all_addresses", all()),
        ("empty", false.into()),
        ("wildcard_addresses", Json::list([format!("0.0.0.0:{port}")])),
        ("all_ports", Json::list([port])),
        ("reachable_address", address()),
        ("one", address()),
        ("all_reachable_addresses", all()),
        ("all_host_strings", Json::list([member.host.as_str()])),
        ("reachable_or_one", address()),
        ("all_reachable_addresses_or_all", all()),
    ])
}

fn observers(report: &Report) -> Fields {
    let observers: Vec<_> = report.status.learners.iter().filter(|learner| !learner.voter).collect();
    let entry = |learner: &&ensemble_zab::LearnerStatus| {
        Json::object([("sid", learner.id.0.into()), ("last_zxid", learner.acked.0.into())])
    };
    let synced = observers.iter().filter(|learner| learner.synced).count();
    fields([("synced_observers", synced.into()), ("observers", Json::List(observers.iter().map(entry).collect()))])
}

fn connection_fields(connections: &[Connected], is_brief: bool) -> Fields {
    let entries = connections.iter().map(|connected| connection(connected, is_brief)).collect();
    fields([("connections", Json::List(entries)), ("secure_connections", Json::List(Vec::new()))])
}

fn connection(connected: &Connected, is_brief: bool) -> Json {
    let Connected { address, interest, status } = connected;
    let mut entry = fields([
        ("remote_socket_address", address.to_string().into()),
        ("interest_ops", (*interest).into()),
        ("outstanding_requests", status.queued.into()),
        ("packets_received", status.received.into()),
        ("packets_sent", status.sent.into()),
    ]);
    if !is_brief {
        let activity = &status.activity;
        entry.extend(fields([
            ("session_id", status.session.map_or(0, |session| session.0).into()),
            ("last_operation", four_letter::tag(activity.op).into()),
            ("established", status.established_ms.into()),
            ("session_timeout", status.timeout_ms.into()),
            ("last_cxid", activity.cxid.unwrap_or(-1).into()),
            ("last_zxid", activity.zxid.0.into()),
            ("last_response_time", activity.answered_at.as_millis().into()),
            ("last_latency", activity.latency_last_ms.into()),
            ("min_latency", activity.latency_min_ms.into()),
            ("avg_latency", activity.latency_avg_ms().into()),
            ("max_latency", activity.latency_max_ms.into()),
        ]));
    }
    Json::Object(entry)
}

/// Of what `ServerStats` counts that which this server counts too.
async fn server_stats(shared: &Shared, report: &Report) -> Result<Fields, String> {
    let mode = report.mode().ok_or(NOT_SERVING)?;
    let sizes = details::sizes(&shared.settings).await;
    let status = &report.status;
    let stats = Json::object([
        ("packets_sent", status.packets_sent.into()),
        ("packets_received", status.packets_received.into()),
        ("data_dir_size", sizes.data.into()),
        ("log_dir_size", sizes.log.into()),
        ("last_processed_zxid", status.zxid.0.into()),
        ("provider_null", false.into()),
        ("server_state", mode.into()),
        ("outstanding_requests", status.outstanding_requests.into()),
        ("min_latency", status.latency_min_ms.into()),
        ("avg_latency", Json::Number(four_decimals(status.latency_avg_ms))),
        ("max_latency", status.latency_max_ms.into()),
        ("num_alive_client_connections", status.connections.into()),
        ("uptime", report.uptime.as_millis().into()),
        ("fsync_threshold_exceed_count", shared.metrics.fsync_threshold_exceed_count.get().into()),
        ("auth_failed_count", report.auth_failed_count.into()),
        ("client_response_stats", buffer_stats(&report.client_response_size)),
    ]);
    let mut entries = fields([
        ("version", version::full().into()),
        ("read_only", status.read_only.into()),
        ("server_stats", stats),
        ("client_response", buffer_stats(&report.client_response_size)),
    ]);
    if mode == "leader" {
        entries.push(("proposal_stats".into(), buffer_stats(&report.proposal_size)));
    }
    entries.push(("node_count".into(), report.znode_count().into()));
    Ok(entries)
}

fn buffer_stats(sizes: &Sizes) -> Json {
    let [last, min, max] = sizes.last_min_max().map(Json::from);
    Json::object([("last_buffer_size", last), ("min_buffer_size", min), ("max_buffer_size", max)])
}

async fn dump(shared: &Shared) -> Result<Fields, String> {
    let (sessions, ephemerals) =
        listed(shared, async |driver| (details::sessions(driver), details::ephemerals(driver).await)).await?;
    let mut expiries: BTreeMap<u128, Vec<i64>> = BTreeMap::new();
    let mut expire = |moments: Expiries<SessionId>| {
        for (at, sessions) in moments {
            expiries.entry(at.as_millis()).or_default().extend(sessions.iter().map(|session| session.0));
        }
    };
    expire(sessions.local.unwrap_or_default());
    if let Global::Tracked(global) = sessions.global {
        expire(global);
    }
    let expiries = expiries.into_iter().map(|(at, sessions)| (at.to_string(), Json::list(sessions)));
    let ephemerals = ephemerals.into_iter().map(|(session, paths)| (session.0.to_string(), Json::list(paths)));
    Ok(fields([
        ("expiry_time_to_session_ids", Json::Object(expiries.collect())),
        ("session_id_to_ephemeral_paths", Json::Object(ephemerals.collect())),
    ]))
}
