#!/usr/bin/env python3
"""Writes the dashboards for Grafana (11 or newer) into `dashboards/`: `python3 dashboards.py`, or with `--check` only says whether they are fresh.

Each panel is a title, a unit and queries. In a query `$at` stands for the labels that the dashboard's variables choose.
"""

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "dashboards"
COLUMNS = 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
RANGE = "$__rate_interval"

ENSEMBLE = 'namespace="$namespace", ensemble="$ensemble"'
SERVER = f'{ENSEMBLE}, pod="$pod"'


def per_second(metric: str, more: str = "") -> str:
    """The rate of a counter."""
    return f"rate({metric}{{$at{more}}}[{RANGE}])"


def mean(metric: str) -> str:
    """The mean of a summary's samples."""
    return f"rate({metric}_sum{{$at}}[{RANGE}]) / (rate({metric}_count{{$at}}[{RANGE}]) > 0)"


class Panel:
    """A panel: `kind` is `stat` for one figure, `timeseries` for curves."""

    def __init__(self, title: str, unit: str, *queries: tuple[str, str], kind: str = "timeseries", about: str = "", stacked: bool = False, words: dict[str, str] | None = None):
        self.title, self.unit, self.queries, self.kind, self.about, self.stacked, self.words = title, unit, queries, kind, about, stacked, words or {}

    def json(self, number: int, place: dict[str, int], at: str) -> dict[str, object]:
        """As Grafana keeps it."""
        targets = [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query.replace("$at", at), "legendFormat": legend, "instant": self.kind == "stat", "range": self.kind != "stat"}
            for index, (query, legend) in enumerate(self.queries)
        ]
        defaults: dict[str, object] = {"unit": self.unit, "min": 0}
        if self.kind == "stat":
            defaults["mappings"] = [{"type": "value", "options": {value: {"text": text} for value, text in self.words.items()}}] if self.words else []
            options: dict[str, object] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none", "textMode": "value_and_name" if any(legend for _, legend in self.queries) else "value"}
        else:
            custom: dict[str, object] = {"fillOpacity": 20 if self.stacked else 0, "lineWidth": 1, "showPoints": "never", "spanNulls": False}
            if self.stacked:
                custom["stacking"] = {"mode": "normal", "group": "A"}
            defaults["custom"] = custom
            options = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
        return {
            "id": number, "title": self.title, "description": self.about, "type": self.kind, "datasource": SOURCE, "gridPos": place,
            "targets": targets, "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options,
        }  # fmt: skip


def stat(title: str, query: str, unit: str = "none", legend: str = "", about: str = "", words: dict[str, str] | None = None) -> Panel:
    """One figure."""
    return Panel(title, unit, (query, legend), kind="stat", about=about, words=words)


def variable(name: str, label: str, query: str) -> dict[str, object]:
    """A choice among the values of a label."""
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": name}, "refresh": 2, "sort": 1}


DATASOURCE = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
NAMESPACE = variable("namespace", "Namespace", 'label_values(ensemble_build_info{ensemble!=""}, namespace)')
ENSEMBLES = variable("ensemble", "Ensemble", 'label_values(ensemble_build_info{namespace="$namespace"}, ensemble)')
PODS = variable("pod", "Server", 'label_values(ensemble_build_info{namespace="$namespace", ensemble="$ensemble"}, pod)')

Row = tuple[str, list[Panel]]


def glance() -> list[Row]:
    """The ensemble at a glance."""
    return [
        ("Now", [
            stat("Leader", 'ensemble_server_state{$at, state="leader"} == 1', legend="{{pod}}", about="The server that leads.", words={"1": "leads"}),
            stat("Servers seen", "sum(up{$at})"),
            stat("Voters", "max(quorum_size{$at})"),
            stat("Voters that may fail", "max(synced_followers{$at}) - floor(max(quorum_size{$at}) / 2)", about="Without loss of service."),
            stat("Sessions", "max(global_sessions{$at})"),
            stat("Znodes", "max(znode_count{$at})"),
            stat("Data", "max(approximate_data_size{$at})", "bytes"),
            stat("Longest pause in 10 min", "max(ensemble_pause_seconds_max{$at})", "s"),
        ]),
        ("Work", [
            Panel("Requests", "reqps", (f"rate(packets_received{{$at}}[{RANGE}])", "{{pod}}"), about="Requests that each server received."),
            Panel("Latency of reads, p99", "ms", ('readlatency{$at, quantile="0.99"}', "{{pod}}")),
            Panel("Latency of writes, p99", "ms", ('updatelatency{$at, quantile="0.99"}', "{{pod}}")),
            Panel("Proposals", "ops", (per_second("proposal_count"), "{{pod}}"), about="Writes that the leader proposed."),
            Panel("Requests under way", "none", ("outstanding_requests{$at}", "{{pod}}")),
            Panel("Connections", "none", ("num_alive_connections{$at}", "{{pod}}")),
        ]),
        ("Health", [
            Panel("Serving", "none", ('sum by (state) (ensemble_server_state{$at})', "{{state}}"), stacked=True, about="Servers by state."),
            Panel("Behind the leader", "none", ("max(ensemble_zxid_counter{$at}) - on () group_right () ensemble_last_logged_zxid_counter{$at}", "{{pod}}"), about="Transactions that are in the leader's log and not in this server's; meaningless across epochs."),
            Panel("Elections", "none", (f"increase(looking_count{{$at}}[{RANGE}])", "{{pod}}")),
            Panel("Time paused, by cause", "percentunit", (f"sum by (cause) (rate(ensemble_pause_seconds_total{{$at}}[{RANGE}]))", "{{cause}}"), stacked=True, about="Of the time, summed over the servers. docs/operations/alerts.md says what each cause means."),
            Panel("Sync of the log, mean", "ms", (mean("fsynctime"), "{{pod}}")),
            Panel("Volumes: free", "percentunit", ("ensemble_volume_available_bytes{$at} / ensemble_volume_size_bytes{$at}", "{{pod}} {{volume}}")),
            Panel("Memory", "bytes", ("process_resident_memory_bytes{$at}", "{{pod}}")),
            Panel("CPU", "none", (per_second("process_cpu_seconds_total"), "{{pod}}"), about="Cores."),
            Panel("Digest mismatches", "none", ("digest_mismatches_count{$at}", "{{pod}}"), about="Any is a fault."),
        ]),
    ]  # fmt: skip


def server() -> list[Row]:
    """One server."""
    return [
        ("Now", [
            stat("State", "ensemble_server_state{$at} == 1", legend="{{state}}", words={"1": "now"}),
            stat("Version", "ensemble_build_info{$at}", legend="{{version}}", words={"1": " "}),
            stat("Up", "time() - process_start_time_seconds{$at}", "s"),
            stat("Epoch", "ensemble_epoch{$at}"),
            stat("Sessions connected", "ensemble_sessions_connected{$at}"),
            stat("Watches", "watch_count{$at}"),
            stat("Loaded within", "dbinittime_sum{$at} / dbinittime_count{$at}", "ms", about="At its start."),
            stat("Transactions replayed", "startup_txns_loaded_sum{$at} / startup_txns_loaded_count{$at}", about="At its start."),
        ]),
        ("Requests", [
            Panel("Requests and answers", "pps", (per_second("packets_received"), "received"), (per_second("packets_sent"), "sent")),
            Panel("Bytes", "Bps", (per_second("bytes_received_count"), "received"), (per_second("response_bytes"), "answers"), (per_second("watch_bytes"), "events")),
            Panel("Latency of reads", "ms", ("readlatency{$at}", "p{{quantile}}")),
            Panel("Latency of writes", "ms", ("updatelatency{$at}", "p{{quantile}}")),
            Panel("Under way", "none", ("outstanding_requests{$at}", "requests")),
            Panel("Connections", "none", ("num_alive_connections{$at}", "open"), (f"increase(connection_rejected{{$at}}[{RANGE}])", "rejected"), (f"increase(connection_drop_count{{$at}}[{RANGE}])", "ended")),
        ]),
        ("Replication", [
            Panel("Proposal to quorum", "ms", ("quorum_ack_latency{$at}", "p{{quantile}}"), about="At the leader: until a majority has it on disk."),
            Panel("Leader to here", "ms", ("propagation_latency{$at}", "p{{quantile}}"), about="From the time that the leader gave a transaction to its application here; as true as the clocks are."),
            Panel("Elections", "none", (f"increase(looking_count{{$at}}[{RANGE}])", "times"),),
            Panel("Synchronisations sent", "none", (f"increase(diff_count{{$at}}[{RANGE}])", "DIFF"), (f"increase(snap_count{{$at}}[{RANGE}])", "SNAP"), about="At the leader."),
            Panel("Followers", "none", ("synced_followers{$at}", "synced"), ("pending_syncs{$at}", "waiting for sync"), ("synced_observers{$at}", "observers"), about="At the leader."),
            Panel("Log", "none", ("ensemble_last_logged_zxid_counter{$at}", "logged"), ("ensemble_zxid_counter{$at}", "applied"), about="Counters of the zxid within the epoch."),
        ]),
        ("Disk", [
            Panel("Sync of the log", "ms", (mean("fsynctime"), "mean"), ("fsynctime{$at}", "p{{quantile}}")),
            Panel("Transactions a sync", "none", (mean("sync_processor_batch_size"), "mean")),
            Panel("Slow syncs", "none", (f"increase(fsync_threshold_exceed_count{{$at}}[{RANGE}])", "over the threshold"), about="fsync.warningthresholdms."),
            Panel("Snapshot", "ms", (mean("snapshottime"), "mean")),
            Panel("Volumes", "bytes", ("ensemble_volume_available_bytes{$at}", "{{volume}}: free"), ("ensemble_volume_size_bytes{$at}", "{{volume}}: size")),
        ]),
        ("Process", [
            Panel("Time paused, by cause", "percentunit", (per_second("ensemble_pause_seconds_total"), "{{cause}}"), stacked=True),
            Panel("Longest pause in 10 min", "s", ("ensemble_pause_seconds_max{$at}", "{{cause}}")),
            Panel("Memory", "bytes", ("process_resident_memory_bytes{$at}", "resident"), ("ensemble_memory_limit_bytes{$at}", "limit")),
            Panel("CPU", "none", (per_second("process_cpu_seconds_total"), "cores")),
            Panel("File descriptors", "none", ("open_file_descriptor_count{$at}", "open"), ("max_file_descriptor_count{$at}", "limit")),
        ]),
    ]  # fmt: skip


def sessions() -> list[Row]:
    """Sessions and watches."""
    return [
        ("Sessions", [
            Panel("Sessions", "none", ("max(global_sessions{$at})", "global"), ("sum(local_sessions{$at})", "local")),
            Panel("Connected, by server", "none", ("ensemble_sessions_connected{$at}", "{{pod}}"), stacked=True),
            Panel("Connected, by age", "none", ("sum by (age) (ensemble_sessions_by_age{$at})", "{{age}}"), stacked=True, about="Time since the client connected."),
            Panel("Begun and ended", "none", (f"sum(rate(ensemble_sessions_created_total{{$at}}[{RANGE}]))", "created"), (f"sum(rate(ensemble_sessions_closed_total{{$at}}[{RANGE}]))", "closed by the client"), (f"sum(rate(ensemble_sessions_expired_total{{$at}}[{RANGE}]))", "expired"), about="A second."),
            Panel("Taken up again", "none", (f"sum(rate(ensemble_sessions_revalidated_total{{$at}}[{RANGE}]))", "revalidated"), (f"sum(rate(ensemble_sessions_moved_total{{$at}}[{RANGE}]))", "moved to another server"), about="A second."),
            Panel("Ephemeral znodes", "none", ("max(ephemerals_count{$at})", "znodes")),
        ]),
        ("Connections", [
            Panel("Connections", "none", ("num_alive_connections{$at}", "{{pod}}"), stacked=True),
            Panel("Asked for and rejected", "none", (f"sum(rate(connection_request_count{{$at}}[{RANGE}]))", "asked for"), (f"sum(rate(connection_rejected{{$at}}[{RANGE}]))", "rejected"), about="A second."),
            Panel("Requests that are too large", "none", (f"sum(increase(ensemble_requests_too_large_total{{$at}}[{RANGE}]))", "over jute.maxbuffer")),
        ]),
        ("Watches", [
            Panel("Watches", "none", ("watch_count{$at}", "{{pod}}"), stacked=True),
            Panel("Watchers told", "none", *((f"sum(rate(node_{what}_watch_count_sum{{$at}}[{RANGE}]))", what) for what in ("created", "deleted", "changed", "children")), about="Events sent, a second, by what happened."),
            Panel("Bytes of events", "Bps", (f"sum(rate(watch_bytes{{$at}}[{RANGE}]))", "sent")),
        ]),
        ("Below /", [
            Panel("Written, by top-level znode", "Bps", (f"sum by (key) (rate(write_per_namespace_sum{{$at}}[{RANGE}]))", "/{{key}}")),
            Panel("Read, by top-level znode", "Bps", (f"sum by (key) (rate(read_per_namespace_sum{{$at}}[{RANGE}]))", "/{{key}}")),
            Panel("Quotas used", "percentunit", ("max by (key) (quota_count_usage_per_namespace{$at} / (quota_count_limit_per_namespace{$at} > 0))", "/{{key}}: znodes"), ("max by (key) (quota_bytes_usage_per_namespace{$at} / (quota_bytes_limit_per_namespace{$at} > 0))", "/{{key}}: bytes"), about="Only where there is one."),
        ]),
    ]  # fmt: skip


def operator() -> list[Row]:
    """The operator."""
    return [
        ("Now", [
            stat("Works", "zookeeper_operator_lease_held == 1", legend="{{pod}}", words={"1": "holds the lease"}),
            stat("Version", "zookeeper_operator_build_info", legend="{{version}}", words={"1": " "}),
            stat("Ensembles", "count(zookeeper_operator_last_pass_timestamp_seconds)"),
            stat("Not ready", 'count(zookeeper_operator_ensemble_condition{type="Ready", status!="True"}) or vector(0)'),
            stat("Operations under way", "count(zookeeper_operator_operation_started_timestamp_seconds) or vector(0)"),
            stat("Oldest pass", "time() - min(zookeeper_operator_last_pass_timestamp_seconds)", "s", about="Since the last pass of the ensemble that has waited longest."),
        ]),
        ("Passes", [
            Panel("Passes", "ops", (f"sum by (result) (rate(zookeeper_operator_reconcile_total[{RANGE}]))", "{{result}}")),
            Panel("Time of a pass", "s", (f"histogram_quantile(0.99, sum by (le) (rate(zookeeper_operator_reconcile_duration_seconds_bucket[{RANGE}])))", "p99"), (f"histogram_quantile(0.5, sum by (le) (rate(zookeeper_operator_reconcile_duration_seconds_bucket[{RANGE}])))", "p50")),
            Panel("Steps", "ops", (f"sum by (step) (rate(zookeeper_operator_steps_total[{RANGE}]))", "{{step}}"), stacked=True),
            Panel("Errors of the API server", "ops", (f"sum by (code) (rate(zookeeper_operator_api_errors_total[{RANGE}]))", "{{code}}")),
        ]),
        ("Ensembles", [
            Panel("Operations: age", "s", ("time() - zookeeper_operator_operation_started_timestamp_seconds", "{{namespace}}/{{ensemble}} {{reason}}")),
            Panel("Conditions that are not as they should be", "none", ('zookeeper_operator_ensemble_condition{type=~"Ready|Available|FaultTolerant|ConfigApplied|ReplicasApplied|StorageHealthy|ReconcileSucceeded", status!="True"} or zookeeper_operator_ensemble_condition{type=~"Degraded|QuorumLost", status!="False"}', "{{namespace}}/{{ensemble}} {{type}}: {{reason}}"), stacked=True),
            Panel("Members by state", "none", ("sum by (state) (zookeeper_operator_members)", "{{state}}"), stacked=True),
        ]),
        ("Process", [
            Panel("Memory", "bytes", ('process_resident_memory_bytes * on (instance) group_left () zookeeper_operator_build_info', "{{pod}}")),
            Panel("CPU", "none", (f"rate(process_cpu_seconds_total[{RANGE}]) * on (instance) group_left () zookeeper_operator_build_info", "{{pod}}")),
        ]),
    ]  # fmt: skip


DASHBOARDS = {
    "ensemble": ("ZooKeeper ensemble", [NAMESPACE, ENSEMBLES], ENSEMBLE, glance),
    "server": ("ZooKeeper server", [NAMESPACE, ENSEMBLES, PODS], SERVER, server),
    "sessions": ("ZooKeeper sessions and watches", [NAMESPACE, ENSEMBLES], ENSEMBLE, sessions),
    "operator": ("ZooKeeper operator", [], "", operator),
}


def dashboard(name: str) -> dict[str, object]:
    """As Grafana imports it."""
    title, variables, at, rows = DASHBOARDS[name]
    panels: list[dict[str, object]] = []
    y = 0
    for heading, row in rows():
        panels.append({"id": len(panels) + 1, "type": "row", "title": heading, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}})
        y += 1
        small = [panel for panel in row if panel.kind == "stat"]
        wide = [panel for panel in row if panel.kind != "stat"]
        for some, a_row, height in ((small, max(len(small), 1), 4), (wide, 3, 8)):
            width = COLUMNS // a_row
            for index, panel in enumerate(some):
                place = {"x": index % a_row * width, "y": y + index // a_row * height, "w": width, "h": height}
                panels.append(panel.json(len(panels) + 1, place, at))
            y += -(-len(some) // a_row) * height
    return {
        "uid": f"zke-{name}", "title": title, "tags": ["zookeeper"], "timezone": "browser", "editable": True, "graphTooltip": 1, "refresh": "30s", "schemaVersion": 39,
        "time": {"from": "now-1h", "to": "now"}, "templating": {"list": [DATASOURCE, *variables]}, "panels": panels,
    }  # fmt: skip


def main() -> int:
    """Writes, or checks."""
    stale = []
    for name in DASHBOARDS:
        file, text = FOLDER / f"{name}.json", json.dumps(dashboard(name), indent=1) + "\n"
        if "--check" not in sys.argv:
            file.write_text(text)
        elif not file.exists() or file.read_text() != text:
            stale.append(file.name)
    if stale:
        print(f"{', '.join(stale)}: not what dashboards.py writes; run it")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
