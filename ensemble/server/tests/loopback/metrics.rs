//! Metrics, on real servers to which everything happens that a metric tells of. A metric of the table that never moves here, is no
//! constant with the right value, and has no test elsewhere, is one that nobody can trust: it fails.
//!
//! `UPDATE=1 cargo test -p ensemble-server --test loopback metrics::` writes `docs/metrics.md` anew.

use crate::admin::get;
use crate::client::{Client, exchange, open};
use crate::world::{Server, ensemble, wait_for};
use ensemble_proto::ErrorCode;
use ensemble_proto::client::OpCode;
use ensemble_proto::jute::Writer;
use ensemble_server::metrics::table::{ABSENT, Kind, Metric, Origin, TABLE, find};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// Metrics that are made to move by another test, and the file that it is in.
const ELSEWHERE: &[(&str, &str)] = &[
    ("digest_mismatches_count", "tests/loopback/digest.rs"),
    ("fsync_threshold_exceed_count", "src/metrics/mod.rs"),
    ("ensemble_memory_limit_bytes", "src/metrics/process.rs"),
    ("max_latency", "src/metrics/report.rs"),
    ("min_latency", "src/metrics/report.rs"),
    ("avg_latency", "src/metrics/report.rs"),
    ("outstanding_requests", "src/metrics/report.rs"),
    ("pending_syncs", "src/metrics/report.rs"),
    ("synced_followers", "src/metrics/report.rs"),
    ("synced_non_voting_followers", "src/metrics/report.rs"),
    ("snapshot_error_count", "tests/loopback/commands.rs"),
    ("snapshot_rate_limited_count", "tests/loopback/commands.rs"),
    ("restore_rate_limited_count", "tests/loopback/commands.rs"),
    ("restore_error_count", "tests/loopback/commands.rs"),
    ("ensemble_pauses_total", "src/pause/ledger.rs"),
    ("ensemble_pause_seconds_total", "src/pause/ledger.rs"),
    ("ensemble_pause_seconds_max", "src/pause/ledger.rs"),
    ("connection_drop_probability", "../peer/tests/admission.rs"),
    ("connection_token_deficit", "../peer/tests/admission.rs"),
    ("large_requests_rejected", "../peer/tests/admission.rs"),
    ("quota_exceeded_error_per_namespace", "../peer/tests/quotas.rs"),
    ("request_throttle_queue_time_ms", "../peer/tests/throttler.rs"),
    ("throttled_ops", "../peer/tests/throttler.rs"),
    ("stale_requests", "../peer/tests/throttler.rs"),
    ("stale_requests_dropped", "../peer/tests/throttler.rs"),
    ("ensemble_auth_success", "../peer/tests/admission.rs"),
    ("ensemble_auth_fail", "../peer/tests/admission.rs"),
    ("ensemble_auth_skip", "../peer/tests/admission.rs"),
    ("unsuccessful_handshake", "tests/loopback/tls.rs"),
    ("insecure_admin_count", "tests/loopback/tls.rs"),
    ("quit_leading_due_to_disloyal_voter", "../zab/tests/measures.rs"),
];

type Check = fn(f64) -> bool;

/// What does not move, and what it is on the first server.
const CONSTANT: &[(&str, Check)] = &[
    ("server_id", |value| value == 1.0),
    ("quorum_size", |value| value == 2.0),
    ("ensemble_build_info", |value| value == 1.0),
    ("ensemble_tick_seconds", |value| value == 0.5),
    ("ensemble_volume_size_bytes", |value| value > 1e6),
    ("ensemble_volume_available_bytes", |value| value > 1e6),
    ("max_file_descriptor_count", |value| value >= 64.0),
    ("process_max_fds", |value| value >= 64.0),
    ("process_start_time_seconds", |value| value > 1.7e9),
    ("process_virtual_memory_bytes", |value| value > 1e6),
    ("process_resident_memory_bytes", |value| value > 1e6),
    ("process_threads", |value| value >= 2.0),
    ("jvm_memory_bytes_used", |value| value > 1e6),
    ("jvm_memory_bytes_committed", |value| value > 1e6),
    ("jvm_memory_bytes_max", |value| value > 1e6),
    ("jvm_memory_pool_bytes_used", |value| value > 1e6),
    ("jvm_memory_pool_bytes_committed", |value| value > 1e6),
    ("jvm_memory_pool_bytes_max", |value| value > 1e6),
    ("jvm_memory_pool_allocated_bytes_total", |value| value == 0.0),
    ("jvm_buffer_pool_used_bytes", |value| value == 0.0),
    ("jvm_buffer_pool_capacity_bytes", |value| value == 0.0),
    ("jvm_threads_current", |value| value >= 2.0),
    ("jvm_threads_peak", |value| value >= 2.0),
    ("jvm_threads_daemon", |value| value == 0.0),
    ("jvm_threads_state", |value| value >= 0.0),
    ("jvm_threads_deadlocked", |value| value == 0.0),
    ("jvm_classes_loaded", |value| value == 0.0),
    ("jvm_gc_collection_seconds", |value| value == 0.0),
];

/// The samples of one scrape: the whole name with its labels, and the value.
fn scrape(server: &Server) -> BTreeMap<String, f64> {
    let (code, text) = get(server.metrics_port(), "/metrics");
    assert_eq!(code, 200, "{text}");
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().unwrap()))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

/// The metric that a sample belongs to: `ack_latency` of `ack_latency_count{key="1"}`.
fn metric_of(sample: &str) -> &'static Metric {
    let name = sample.split('{').next().unwrap();
    let base = name.strip_suffix("_count").or_else(|| name.strip_suffix("_sum"));
    let summary = base.and_then(find).filter(|metric| matches!(metric.kind, Kind::Basic | Kind::Advanced));
    summary.or_else(|| find(name)).unwrap_or_else(|| panic!("{sample} is exported and not in the table"))
}

/// Who has seen what move.
#[derive(Default)]
struct Witness {
    moved: BTreeSet<&'static str>,
    /// By server, and by sample.
    last: BTreeMap<(String, String), f64>,
}

impl Witness {
    /// Scrapes a server of that name. A counter that is not 0 at first has moved; a gauge must change.
    fn look(&mut self, who: &str, server: &Server) {
        for (sample, value) in scrape(server) {
            let metric = metric_of(&sample);
            let before = self.last.insert((who.to_owned(), sample.clone()), value);
            let is_moved = match metric.kind {
                Kind::Counter => value > before.unwrap_or(0.0),
                Kind::Gauge => before.is_some_and(|before| before != value),
                Kind::Basic | Kind::Advanced => sample.contains("_count") && value > before.unwrap_or(0.0),
            };
            if is_moved {
                self.moved.insert(metric.name);
            }
        }
    }

    /// The constants of the first server of them.
    fn check_constants(&self, who: &str) {
        for (name, is_right) in CONSTANT {
            let of_metric = |((server, sample), _): &(&(String, String), &f64)| {
                server == who && metric_of(sample).name == *name && !sample.contains("quantile")
            };
            let values: Vec<_> = self.last.iter().filter(of_metric).map(|(_, value)| *value).collect();
            assert!(!values.is_empty() && values.iter().all(|value| is_right(*value)), "{name} is {values:?}");
        }
    }
}

fn list_children(client: &mut Client, path: &str) {
    client
        .send(OpCode::GetChildren, |out| {
            ensemble_proto::client::ReadRequest { path: path.into(), watch: true }.encode(out)
        })
        .unwrap();
}

/// Everything that one server alone can show.
fn alone(witness: &mut Witness) {
    let mut server = Server::standalone(
        "snapCount=2\nglobalOutstandingLimit=1\nmaxCnxns=3\nnio.sessionlessCnxnTimeout=200\nmaxSessionTimeout=1000\n\
         minSessionTimeout=1000\njvm.pause.sleep.time.ms=20\n",
    );
    witness.look("alone", &server);
    let address = server.client_port();
    let mut client = Client::connect(address).unwrap();
    for path in ["/a", "/zookeeper/quota/a"] {
        assert_eq!(client.create(path, b"").unwrap(), ErrorCode::OK);
    }
    assert_eq!(client.create("/zookeeper/quota/a/zookeeper_stats", b"count=0,bytes=0").unwrap(), ErrorCode::OK);
    assert_eq!(client.create("/zookeeper/quota/a/zookeeper_limits", b"count=9,bytes=99").unwrap(), ErrorCode::OK);
    witness.look("alone", &server);
    assert_eq!(client.create_ephemeral("/a/e").unwrap(), ErrorCode::OK);
    // Watches of every kind, and what they tell.
    client.send_get("/a", true).unwrap();
    client.receive().unwrap();
    list_children(&mut client, "/a");
    client.receive().unwrap();
    client.send_get("/b", true).unwrap();
    client.receive().unwrap();
    let mut exists = |path: &str| {
        client
            .send(OpCode::Exists, |out| {
                ensemble_proto::client::ReadRequest { path: path.into(), watch: true }.encode(out)
            })
            .unwrap();
        client.receive().unwrap();
    };
    exists("/b");
    exists("/a/c");
    witness.look("alone", &server);
    let mut other = Client::connect(address).unwrap();
    assert_eq!(other.create("/b", b"").unwrap(), ErrorCode::OK);
    assert_eq!(other.create("/a/c", b"some data").unwrap(), ErrorCode::OK);
    assert_eq!(other.set("/a", b"more data").unwrap(), ErrorCode::OK);
    for _told in ["created /b", "created /a/c", "children of /a", "changed /a"] {
        client.receive().unwrap();
    }
    exists_and_delete(&mut client, &mut other, "/a/c");
    // Limits that do not allow more: of another size, these too.
    let limits = b"count=8,bytes=88";
    assert_eq!(other.set("/zookeeper/quota/a/zookeeper_limits", limits).unwrap(), ErrorCode::OK);
    // Reads behind writes that are not done, more than may be.
    for _ in 0..50 {
        other.send_set("/b", &[7; 500]).unwrap();
        other.send_get("/b", false).unwrap();
    }
    for _ in 0..100 {
        assert!(other.receive().unwrap().error.is_ok());
    }
    other
        .send(OpCode::Auth, |out| {
            out.int(0);
            out.string("none");
            out.buffer(Some(b"x"));
        })
        .unwrap();
    assert_eq!(other.receive().unwrap().error, ErrorCode::AUTH_FAILED);
    witness.look("alone", &server);
    // A session that is taken up again, and one that nobody takes up.
    let again = wait_for("room", || Client::attach(address, other.session, &other.password).ok());
    assert_eq!(again.session, other.session);
    drop(again);
    // Some that say nothing, and one too many.
    let mut silent = Vec::new();
    wait_for("a refusal", || {
        silent.push(open(address).unwrap());
        (scrape(&server)["connection_rejected"] > 0.0).then_some(())
    });
    wait_for("the end of the silent", || (scrape(&server)["sessionless_connections_expired"] > 1.0).then_some(()));
    exchange(address, &i32::MAX.to_be_bytes());
    wait_for("the end of the session", || {
        let _ = client.send(OpCode::Ping, |_| {});
        (scrape(&server)["stale_sessions_expired"] > 0.0).then_some(())
    });
    wait_for("a snapshot", || (scrape(&server)["snapshottime_count"] > 0.0).then_some(()));
    witness.look("alone", &server);
    server.stop();
    server.start();
    let mut client = Client::connect(server.client_port()).unwrap();
    assert_eq!(client.create("/later", b"").unwrap(), ErrorCode::OK);
    assert_eq!(client.close().unwrap(), ErrorCode::OK);
    witness.look("alone, again", &server);
}

fn exists_and_delete(watcher: &mut Client, other: &mut Client, path: &str) {
    watcher.send_get(path, true).unwrap();
    watcher.receive().unwrap();
    other
        .send(OpCode::Delete, |out| {
            out.string(path);
            out.int(-1);
        })
        .unwrap();
    assert!(other.receive().unwrap().error.is_ok());
    watcher.receive().unwrap();
}

/// Everything that takes an ensemble: two voters and an observer, of which the leader goes and comes back.
fn together(witness: &mut Witness) {
    let (mut servers, places) = ensemble(3, "localSessionsEnabled=false\n");
    let observing = |text: &str| {
        let participant = format!("server.3=127.0.0.1:{}:{}:participant", places[2].quorum, places[2].election);
        assert!(text.contains(&participant));
        text.replace(&participant, &participant.replace("participant", "observer"))
    };
    servers.iter_mut().for_each(|server| server.edit(observing));
    servers[2].edit(|text| format!("peerType=observer\n{text}"));
    // Nobody is served by one of two voters.
    servers[0].start();
    assert!(Client::connect(servers[0].client_port()).is_err());
    let mut look = |servers: &[Server], which: &[usize]| {
        which.iter().for_each(|at| witness.look(&format!("server {}", at + 1), &servers[*at]));
    };
    look(&servers, &[0]);
    servers[1].start();
    wait_for("a leader", || (get(servers[1].admin_port(), "/readyz").0 == 200).then_some(()));
    look(&servers, &[1]);
    let mut client = wait_for("a follower", || Client::connect(servers[0].client_port()).ok());
    look(&servers, &[0, 1]);
    servers[2].start();
    wait_for("the observer", || Client::connect(servers[2].client_port()).ok());
    for round in 0..3 {
        assert_eq!(client.create(&format!("/r{round}"), &[1; 100][..10 * (round + 1)]).unwrap(), ErrorCode::OK);
    }
    look(&servers, &[0, 1, 2]);
    // From a follower to the leader and back.
    for to in [1, 0] {
        let moved = Client::attach(servers[to].client_port(), client.session, &client.password).unwrap();
        assert_eq!(moved.session, client.session);
        client = moved;
        assert_eq!(client.set("/r0", b"moved").unwrap(), ErrorCode::OK);
    }
    look(&servers, &[0, 1, 2]);
    // The leader goes and comes back.
    servers[1].stop();
    wait_for("an end of service", || Client::connect(servers[0].client_port()).is_err().then_some(()));
    look(&servers, &[0]);
    servers[1].start();
    let mut client = wait_for("a leader", || Client::connect(servers[0].client_port()).ok());
    assert_eq!(client.create("/back", b"").unwrap(), ErrorCode::OK);
    look(&servers, &[0, 1]);
    witness.check_constants("server 1");
}

/// A leader that sends a snapshot to whoever comes, and keeps sessions for itself.
fn by_snapshot(witness: &mut Witness) {
    let (mut servers, _) = ensemble(2, "forceSnapshotSync=true\nlocalSessionsEnabled=true\n");
    servers.iter_mut().for_each(Server::start);
    let look = |witness: &mut Witness, servers: &[Server]| {
        for (at, server) in servers.iter().enumerate() {
            witness.look(&format!("snapshots {at}"), server);
        }
    };
    let client = wait_for("a leader", || Client::connect(servers[1].client_port()).ok());
    look(witness, &servers);
    let other = Client::connect(servers[1].client_port()).unwrap();
    look(witness, &servers);
    assert_eq!(client.close().unwrap(), ErrorCode::OK);
    drop(other);
}

#[test]
fn every_metric_moves_or_is_what_it_must_be() {
    let mut witness = Witness::default();
    alone(&mut witness);
    together(&mut witness);
    by_snapshot(&mut witness);
    let constant = |name| CONSTANT.iter().any(|(constant, _)| *constant == name);
    let elsewhere = |name| ELSEWHERE.iter().any(|(moved, _)| *moved == name);
    let still: Vec<_> = TABLE
        .iter()
        .map(|metric| metric.name)
        .filter(|name| !witness.moved.contains(name) && !constant(*name) && !elsewhere(*name))
        .collect();
    assert!(still.is_empty(), "never moved: {still:?}");
    for (name, file) in ELSEWHERE {
        assert!(find(name).is_some(), "{name} is in the table");
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        assert!(text.contains(name), "{name} has a test in {file}");
    }
}

#[test]
fn mntr_and_prometheus_tell_the_same() {
    let server = Server::standalone("");
    let mut client = Client::connect(server.client_port()).unwrap();
    client.create("/a", b"").unwrap();
    let mntr = exchange(server.client_port(), b"mntr");
    let scraped = scrape(&server);
    let told: BTreeMap<&str, &str> = mntr.lines().filter_map(|line| line.split_once('\t')).collect();
    // What the two scrapes themselves, and time, move.
    const RESTLESS: &[&str] = &[
        "uptime",
        "packets_received",
        "packets_sent",
        "num_alive_connections",
        "bytes_received_count",
        "connection_request_count",
        "connection_drop_count",
        "open_file_descriptor_count",
        "jvm_pause_time_ms",
        "ensemble_volume_available_bytes",
        "readlatency",
        "snapshottime",
    ];
    let (mut shown, mut wrong) = (0, Vec::new());
    for (sample, value) in &scraped {
        let metric = metric_of(sample);
        let is_of_prometheus_alone = metric.name == "ensemble_build_info" || sample.contains("quantile");
        if matches!(metric.origin, Origin::Process | Origin::Jvm) || is_of_prometheus_alone {
            continue;
        }
        let is_summary = matches!(metric.kind, Kind::Basic | Kind::Advanced);
        let labels: String = sample.split('"').skip(1).step_by(2).map(|label| format!("{label}_")).collect();
        let stem = format!("{labels}{}", metric.name).replace('-', "_");
        let key = match is_summary {
            true if sample.contains("_sum") => format!("zk_sum_{stem}"),
            true => format!("zk_cnt_{stem}"),
            false => format!("zk_{stem}"),
        };
        shown += 1;
        match told.get(key.as_str()) {
            None => wrong.push(format!("{key} is not in mntr")),
            Some(text) if !RESTLESS.contains(&metric.name) => {
                let rounded = if is_summary { value.round() } else { (value * 1e4).round() / 1e4 };
                if text.parse::<f64>().ok() != Some(rounded) {
                    wrong.push(format!("{key} is {text} in mntr and {value} elsewhere"));
                }
            }
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty() && shown > 100, "{shown} compared: {wrong:#?}");
    let known: BTreeSet<_> = scraped.keys().map(|sample| metric_of(sample).name).collect();
    for line in mntr.lines().skip(2) {
        assert!(known.iter().any(|name| line.contains(name)), "{line} is in mntr alone");
        // The pattern of OpenTelemetry's receiver: `(^zk_\w+)\s+([\w\.\-]+)`.
        let key = line.split_once('\t').and_then(|(key, _)| key.strip_prefix("zk_"));
        let is_word = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        assert!(key.is_some_and(is_word), "{line}");
    }
}

/// `check_zookeeper.py`, which comes with ZooKeeper, reads that much of `mntr` and no more.
#[test]
fn mntr_begins_with_what_every_script_reads() {
    const READ_BYTES: usize = 2048;
    let server = Server::standalone("");
    let text = exchange(server.client_port(), b"mntr");
    let read = &text[..text.len().min(READ_BYTES)];
    for name in [
        "version",
        "server_state",
        "avg_latency",
        "min_latency",
        "max_latency",
        "packets_received",
        "packets_sent",
        "num_alive_connections",
        "outstanding_requests",
        "znode_count",
        "watch_count",
        "ephemerals_count",
        "approximate_data_size",
        "open_file_descriptor_count",
        "max_file_descriptor_count",
    ] {
        assert!(
            read.contains(&format!("\nzk_{name}\t")) || read.starts_with(&format!("zk_{name}\t")),
            "zk_{name} in\n{read}"
        );
    }
}

#[test]
fn every_name_of_zookeepers_is_exported_or_its_absence_explained() {
    let names: BTreeSet<_> = TABLE.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), TABLE.len(), "each is listed once");
    let absent: BTreeSet<_> = ABSENT.iter().map(|(name, _)| *name).collect();
    assert!(absent.is_disjoint(&names) && absent.len() == ABSENT.len());
    let zookeepers = include_str!("zookeeper-3.9.5-metrics.txt");
    for name in zookeepers.lines() {
        assert!(names.contains(name) || absent.contains(name), "{name} of ZooKeeper 3.9.5");
    }
    for metric in TABLE.iter().filter(|metric| metric.origin == Origin::ZooKeeper) {
        let known = zookeepers.lines().any(|name| name == metric.name) || metric.name == "fsync_threshold_exceed_count";
        assert!(known, "{} is none of ZooKeeper's", metric.name);
    }
    assert!(absent.iter().all(|name| zookeepers.lines().any(|known| known == *name)));
}

/// `docs/metrics.md`.
fn reference() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         `GET /metrics` on `metricsProvider.httpPort` (7000), and with `zk_` before the name in `mntr`, where a summary `x` is `zk_avg_x`, `zk_min_x`,\n\
         `zk_max_x`, `zk_cnt_x`, `zk_sum_x`, and with three quantiles `zk_p50_x`, `zk_p95_x`, `zk_p99_x`, `zk_p999_x` too. Labels come before the name there:\n\
         `zk_2_ack_latency`. Quantiles look back ten minutes; counts and sums are of the process. Made of `ensemble/server/src/metrics/table.rs`.\n",
    );
    for (origin, title) in [
        (Origin::ZooKeeper, "Under ZooKeeper's names"),
        (Origin::Ours, "This server's own"),
        (Origin::Process, "Of the process (not in `mntr`)"),
        (Origin::Jvm, "For dashboards that were made for a JVM (not in `mntr`)"),
    ] {
        write!(text, "\n## {title}\n\n| Name | Type | Meaning |\n|---|---|---|\n").unwrap();
        for Metric { name, kind, labels, help, .. } in TABLE.iter().filter(|metric| metric.origin == origin) {
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Basic => "summary: 0.5",
                Kind::Advanced => "summary: 0.5, 0.9, 0.99",
            };
            writeln!(text, "| `{name}{labels}` | {kind} | {help} |").unwrap();
        }
    }
    text += "\n## Names of ZooKeeper's that are not exported\n\n| Name | Why |\n|---|---|\n";
    for (name, reason) in ABSENT {
        writeln!(text, "| `{name}` | {reason} |").unwrap();
    }
    text
}

#[test]
fn the_reference_is_fresh() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, reference()).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == reference(), "stale: UPDATE=1 cargo test -p ensemble-server --test loopback metrics::");
}
