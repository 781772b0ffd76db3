//! ZooKeeper's commands below `admin.commandURL` (`Commands.java`, `JettyAdminServer.java`): names, JSON and status codes are its own.
//!
//! What goes wrong is said with status 200 in the field `error`, as there; only what needs an identity (`snapshot`, `restore`) uses status
//! codes. Differs from ZooKeeper: a method that a command does not have is answered 405, where ZooKeeper fails with 500.

mod bodies;
mod json;
mod snapshot;

pub(super) use snapshot::Limit;

use super::Shared;
use crate::four_letter::NOT_SERVING;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use json::Json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A command of ZooKeeper's that tells something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Command {
    Configuration,
    ConnectionStatReset,
    Connections,
    Dirs,
    Dump,
    Environment,
    GetTraceMask,
    Hash,
    InitialConfiguration,
    IsReadOnly,
    LastSnapshot,
    Leader,
    Monitor,
    ObserverConnectionStatReset,
    Observers,
    Ruok,
    ServerStats,
    SetTraceMask,
    StatReset,
    Stats,
    SystemProperties,
    VotingView,
    WatchSummary,
    Watches,
    WatchesByPath,
    Zabstate,
}

/// What a command does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Does {
    Tell(Command),
    /// Takes a snapshot and sends it.
    Snapshot,
    /// Would replace what this server has.
    Restore,
}

/// A line of the table: the command, its name and then its other names, and whether clients must be served for it.
struct Entry {
    does: Does,
    names: &'static [&'static str],
    needs_service: bool,
}

const fn served(command: Command, names: &'static [&'static str]) -> Entry {
    Entry { does: Does::Tell(command), names, needs_service: true }
}

const fn always(command: Command, names: &'static [&'static str]) -> Entry {
    Entry { does: Does::Tell(command), names, needs_service: false }
}

/// In the order of their names.
const COMMANDS: &[Entry] = &[
    served(Command::Configuration, &["configuration", "conf", "config"]),
    served(Command::ConnectionStatReset, &["connection_stat_reset", "crst"]),
    served(Command::Connections, &["connections", "cons"]),
    served(Command::Dirs, &["dirs"]),
    served(Command::Dump, &["dump"]),
    always(Command::Environment, &["environment", "env", "envi"]),
    always(Command::GetTraceMask, &["get_trace_mask", "gtmk"]),
    served(Command::Hash, &["hash"]),
    served(Command::InitialConfiguration, &["initial_configuration", "icfg"]),
    served(Command::IsReadOnly, &["is_read_only", "isro"]),
    served(Command::LastSnapshot, &["last_snapshot", "lsnp"]),
    served(Command::Leader, &["leader", "lead"]),
    always(Command::Monitor, &["monitor", "mntr"]),
    served(Command::ObserverConnectionStatReset, &["observer_connection_stat_reset", "orst"]),
    served(Command::Observers, &["observers", "obsr"]),
    Entry { does: Does::Restore, names: &["restore", "rest"], needs_service: true },
    served(Command::Ruok, &["ruok"]),
    served(Command::ServerStats, &["server_stats", "srvr"]),
    always(Command::SetTraceMask, &["set_trace_mask", "stmk"]),
    Entry { does: Does::Snapshot, names: &["snapshot", "snap"], needs_service: true },
    served(Command::StatReset, &["stat_reset", "srst"]),
    served(Command::Stats, &["stats", "stat"]),
    always(Command::SystemProperties, &["system_properties", "sysp"]),
    served(Command::VotingView, &["voting_view"]),
    served(Command::WatchSummary, &["watch_summary", "wchs"]),
    served(Command::Watches, &["watches", "wchc"]),
    served(Command::WatchesByPath, &["watches_by_path", "wchp"]),
    always(Command::Zabstate, &["zabstate"]),
];

fn find(name: &str) -> Option<&'static Entry> {
    COMMANDS.iter().find(|entry| entry.names.contains(&name))
}

/// What OPTIONS tells of every command, whatever it has: those that the servlet of ZooKeeper knows.
const METHODS: &str = "GET, HEAD, POST, TRACE, OPTIONS";

/// The fields of an answer, in order.
type Fields = Vec<(String, Json)>;

/// The arguments of a request.
type Arguments = BTreeMap<String, String>;

/// The routes below `admin.commandURL`.
pub(super) fn routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    let url = &shared.settings.commands.url;
    Router::new()
        .route(url, get(index))
        .route(&format!("{url}/"), get(index))
        .route(&format!("{url}/{{*name}}"), any(run))
}

/// The commands, by link.
async fn index(State(shared): State<Arc<Shared>>) -> Response {
    let url = &shared.settings.commands.url;
    let link = |entry: &Entry| format!("<a href=\"{url}/{0}\">{0}</a>\n<br/>\n", entry.names[0]);
    let links: String = COMMANDS.iter().map(link).collect();
    ([(header::CONTENT_TYPE, "text/html;charset=utf-8")], links).into_response()
}

async fn run(State(shared): State<Arc<Shared>>, Path(name): Path<String>, request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return ([(header::ALLOW, METHODS)], StatusCode::OK).into_response();
    }
    let Some(entry) = find(&name) else {
        return answer(StatusCode::OK, Vec::new(), &name, Some(&format!("Unknown command: {name}")));
    };
    let (request, _) = request.into_parts();
    let method = if entry.does == Does::Restore { Method::POST } else { Method::GET };
    if request.method == Method::TRACE {
        return StatusCode::FORBIDDEN.into_response();
    }
    // HEAD as in ZooKeeper, but for a snapshot that nobody would get.
    let is_head = request.method == Method::HEAD && matches!(entry.does, Does::Tell(_));
    if request.method != method && !is_head {
        return ([(header::ALLOW, method.as_str())], StatusCode::METHOD_NOT_ALLOWED).into_response();
    }
    let report = shared.report().await;
    let is_serving = report.as_ref().is_some_and(|report| report.mode().is_some());
    if entry.needs_service && !is_serving {
        return answer(StatusCode::OK, Vec::new(), &name, Some(NOT_SERVING));
    }
    let primary = entry.names[0];
    let arguments = arguments(request.uri.query().unwrap_or_default());
    match entry.does {
        Does::Snapshot => snapshot::snapshot(&shared, &request, &arguments, (primary, &name)).await,
        Does::Restore => snapshot::restore(&shared, &request, (primary, &name)).await,
        Does::Tell(command) => match bodies::answered(command, &shared, report, &arguments).await {
            Ok(fields) => answer(StatusCode::OK, fields, primary, None),
            Err(error) => failed(primary, &error),
        },
    }
}

/// The fields, and which command they are of.
fn answer(status: StatusCode, mut fields: Fields, command: &str, error: Option<&str>) -> Response {
    fields.push(("command".to_owned(), command.into()));
    fields.push(("error".to_owned(), error.into()));
    response(status, fields)
}

/// What a command says that was carried out in vain: the other way round.
fn failed(command: &str, error: &str) -> Response {
    response(StatusCode::OK, vec![("error".to_owned(), error.into()), ("command".to_owned(), command.into())])
}

fn response(status: StatusCode, fields: Fields) -> Response {
    let body = Body::from(Json::Object(fields).to_string());
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// What a query says; of an argument that is given twice the first counts.
fn arguments(query: &str) -> Arguments {
    let mut arguments = Arguments::new();
    for (name, value) in pairs(query) {
        arguments.entry(name).or_insert(value);
    }
    arguments
}

/// The arguments of a query, in its order.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

/// Without the percent signs and pluses of a query; what is none of both stays.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, others)) = rest.split_first() {
        let escaped = others.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        (rest, _) = match (first, escaped) {
            (b'%', Some(byte)) => (&others[2..], bytes.push(byte)),
            (b'+', _) => (others, bytes.push(b' ')),
            (byte, _) => (others, bytes.push(*byte)),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_commands_and_the_first_names_are_in_order() {
        let names: Vec<_> = COMMANDS.iter().flat_map(|entry| entry.names).collect();
        assert!(names.iter().all(|name| names.iter().filter(|other| other == &name).count() == 1), "{names:?}");
        assert!(COMMANDS.is_sorted_by_key(|entry| entry.names[0]));
        assert_eq!(find("mntr").map(|entry| entry.does), Some(Does::Tell(Command::Monitor)));
        assert!(find("shed_connections").is_none(), "no release of 3.9 has it");
    }

    #[test]
    fn arguments_are_decoded() {
        let found = arguments("a=1&b=%2fx+y&&a=2&c&d=100%&e=%zz");
        let expected = [("a", "1"), ("b", "/x y"), ("c", ""), ("d", "100%"), ("e", "%zz")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
