//! A value with its name and labels, and the two texts that values are shown as.

use super::table::{Kind, TABLE, find};
use ensemble_proto::Summary;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

/// The shares that any of the texts shows.
const SHARES: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 0.999];

/// One value of a metric.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) labels: Vec<String>,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Number(f64),
    Distribution(Distribution),
}

/// A summary at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Distribution {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    /// At [`SHARES`]; NaN without samples.
    quantiles: Vec<f64>,
}

impl Sample {
    pub(crate) fn number(name: &'static str, value: f64) -> Sample {
        Sample { name, labels: Vec::new(), value: Value::Number(value) }
    }

    pub(crate) fn count(name: &'static str, value: u64) -> Sample {
        Sample::number(name, value as f64)
    }

    pub(crate) fn summary(name: &'static str, summary: &Summary, now: Duration) -> Sample {
        let value = Distribution {
            count: summary.count(),
            sum: summary.sum(),
            min: summary.min(),
            max: summary.max(),
            quantiles: summary.quantiles(now, &SHARES),
        };
        Sample { name, labels: Vec::new(), value: Value::Distribution(value) }
    }

    /// The same, with the values of its labels.
    pub(crate) fn with(mut self, labels: &[&str]) -> Sample {
        self.labels = labels.iter().map(|&label| label.to_owned()).collect();
        self
    }
}

/// Prometheus' text format, version 0.0.4. A metric without a value has its type only. With `names`, the samples of these names alone, as
/// `/metrics?name[]=` asks for: `fsynctime_count` is a name, and no part of `fsynctime`.
pub(crate) fn exposition(samples: &[Sample], names: &BTreeSet<String>) -> String {
    let mut metrics: Vec<_> = TABLE.iter().collect();
    metrics.sort_by_key(|metric| metric.name);
    let mut text = String::new();
    for metric in metrics {
        let of_metric: Vec<_> = samples.iter().filter(|sample| sample.name == metric.name).collect();
        if of_metric.is_empty() && metric.labels.is_empty() {
            continue;
        }
        let (name, kind) = (metric.name, kind_name(metric.kind));
        let mut lines = String::new();
        for sample in of_metric {
            let labels: Vec<_> = metric
                .labels
                .iter()
                .zip(&sample.labels)
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            expose(&mut lines, name, metric.kind, &labels, &sample.value);
        }
        if !names.is_empty() {
            lines = lines.split_inclusive('\n').filter(|line| names.contains(name_of(line))).collect();
            if lines.is_empty() {
                continue;
            }
        }
        // Writing to a text cannot fail.
        let _ = write!(text, "# HELP {name} {}\n# TYPE {name} {kind}\n{lines}", metric.help);
    }
    text
}

/// The name at the beginning of a sample's line.
fn name_of(line: &str) -> &str {
    line.split(['{', ' ']).next().unwrap_or_default()
}

fn expose(text: &mut String, name: &str, kind: Kind, labels: &[String], value: &Value) {
    let braced =
        |labels: &[String]| if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    // Writing to a text cannot fail.
    let _ = match value {
        Value::Number(number) => writeln!(text, "{name}{} {number}", braced(labels)),
        Value::Distribution(distribution) => {
            let shown: &[f64] = if kind == Kind::Advanced { &[0.5, 0.9, 0.99] } else { &[0.5] };
            for (share, value) in SHARES.iter().zip(&distribution.quantiles).filter(|(share, _)| shown.contains(share))
            {
                let labels = [labels, &[format!("quantile=\"{share}\"")]].concat();
                let _ = writeln!(text, "{name}{} {value}", braced(&labels));
            }
            let (count, sum) = (distribution.count, distribution.sum);
            let labels = braced(labels);
            writeln!(text, "{name}_count{labels} {count}\n{name}_sum{labels} {sum}")
        }
    };
}

/// How names begin that ZooKeeper does not have.
const OURS: &str = "ensemble_";
/// What `mntr` says in its first line, and what no parser of its lines takes.
const BUILD_INFO: &str = "ensemble_build_info";

/// The lines of `mntr`: `zk_`, the values of labels, the name; a summary has a line for each of its numbers, as ZooKeeper's default
/// provider shows them. As there, single numbers come first, and ours after ZooKeeper's: what people have, such as
/// `check_zookeeper.py`, reads no further than 2048 bytes. A key of ours has letters, digits and `_` only: others, such as OpenTelemetry's
/// receiver, know no more.
pub(crate) fn monitor(samples: &[Sample]) -> String {
    let mut text = String::new();
    let mut samples: Vec<&Sample> = samples.iter().filter(|sample| sample.name != BUILD_INFO).collect();
    samples.sort_by_key(|sample| {
        let is_single = sample.labels.is_empty() && matches!(sample.value, Value::Number(_));
        (sample.name.starts_with(OURS), !is_single)
    });
    for Sample { name, labels, value } in samples {
        let name_in_table = *name;
        let is_ours = name.starts_with(OURS);
        let mut name: String = labels.iter().map(String::as_str).chain([*name]).collect::<Vec<_>>().join("_");
        if is_ours {
            name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        }
        // Writing to a text cannot fail.
        let _ = match value {
            Value::Number(number) if has_decimals(name_in_table) => {
                writeln!(text, "zk_{name}\t{}", four_decimals(*number))
            }
            Value::Number(number) => writeln!(text, "zk_{name}\t{}", java_number(*number)),
            Value::Distribution(distribution) => {
                let Distribution { count, sum, min, max, quantiles } = distribution;
                let average = if *count == 0 { 0.0 } else { sum / *count as f64 };
                let _ = writeln!(text, "zk_avg_{name}\t{}", four_decimals(average));
                let _ = writeln!(text, "zk_min_{name}\t{min:.0}\nzk_max_{name}\t{max:.0}");
                let _ = writeln!(text, "zk_cnt_{name}\t{count}\nzk_sum_{name}\t{sum:.0}");
                if find(sample_name(&name, labels)).is_some_and(|metric| metric.kind == Kind::Advanced) {
                    for (at, key) in [(0, "p50"), (2, "p95"), (3, "p99"), (4, "p999")] {
                        let value = if *count == 0 { 0.0 } else { quantiles[at] };
                        let _ = writeln!(text, "zk_{key}_{name}\t{:.0}", if value.is_nan() { 0.0 } else { value });
                    }
                }
                Ok(())
            }
        };
    }
    text
}

/// The name without what stands before it for the labels.
fn sample_name<'a>(name: &'a str, labels: &[String]) -> &'a str {
    let before: usize = labels.iter().map(|label| label.len() + 1).sum();
    &name[before..]
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Basic | Kind::Advanced => "summary",
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Whether a number is shown with decimals even when it is whole, as Java's doubles are: a series must not be now of the one type, now of the
/// other.
fn has_decimals(name: &str) -> bool {
    matches!(name, "avg_latency" | "connection_drop_probability")
        || (name.starts_with(OURS) && name.contains("_seconds"))
}

/// Integers plain, others with at most four decimals, as Java prints them.
fn java_number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { four_decimals(value) }
}

/// A double rounded to four decimals, with at least one (`4.6061`, `0.0`).
pub(crate) fn four_decimals(value: f64) -> String {
    format!("{:?}", (value * 10_000.0).round() / 10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_in_java() {
        assert_eq!([0.0, 4.60612, 0.5857, 12.0].map(four_decimals), ["0.0", "4.6061", "0.5857", "12.0"]);
        assert_eq!([0.0, 25.0, 0.25].map(java_number), ["0", "25", "0.25"]);
        let samples = ["avg_latency", "ensemble_tick_seconds", "watch_count"].map(|name| Sample::number(name, 2.0));
        assert_eq!(monitor(&samples), "zk_avg_latency\t2.0\nzk_watch_count\t2\nzk_ensemble_tick_seconds\t2.0\n");
    }

    fn samples() -> Vec<Sample> {
        let mut summary = Summary::default();
        summary.observe_times(Duration::ZERO, 2.0, 98);
        summary.observe_times(Duration::ZERO, 40.0, 2);
        vec![
            Sample::count("watch_count", 3),
            Sample::number("avg_latency", 0.25),
            Sample::count("quota_count_limit_per_namespace", 7).with(&["a\"b"]),
            Sample::summary("fsynctime", &summary, Duration::ZERO),
            Sample::summary("ack_latency", &summary, Duration::ZERO).with(&["2"]),
            Sample::summary("readlatency", &Summary::default(), Duration::ZERO),
        ]
    }

    fn check(text: &str, expected: &[&str]) {
        for line in expected {
            assert!(text.lines().any(|found| found == *line), "{line} in\n{text}");
        }
    }

    #[test]
    fn prometheus_reads_types_labels_and_quantiles() {
        let text = exposition(&samples(), &BTreeSet::new());
        check(
            &text,
            &[
                "# TYPE watch_count gauge",
                "watch_count 3",
                "avg_latency 0.25",
                "quota_count_limit_per_namespace{key=\"a\\\"b\"} 7",
                "# TYPE quota_bytes_limit_per_namespace gauge",
                "# TYPE fsynctime summary",
                "fsynctime{quantile=\"0.5\"} 2",
                "fsynctime_sum 276",
                "fsynctime_count 100",
                "ack_latency{key=\"2\",quantile=\"0.99\"} 40",
                "ack_latency_count{key=\"2\"} 100",
                "readlatency{quantile=\"0.9\"} NaN",
                "readlatency_count 0",
            ],
        );
        assert!(!text.contains("fsynctime{quantile=\"0.9\"}"), "basic summaries have a median only");
        assert!(!text.contains("leader_uptime"), "what has no value is not there");
    }

    #[test]
    fn prometheus_may_ask_for_some_names() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        let text = exposition(&samples(), &names(&["fsynctime_count", "watch_count", "no_such_name"]));
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
        let expected = ["# TYPE fsynctime summary", "fsynctime_count 100", "# TYPE watch_count gauge", "watch_count 3"];
        assert_eq!(lines, expected);
        let text = exposition(&samples(), &names(&["ack_latency"]));
        assert_eq!(
            text.lines().filter(|line| line.starts_with("ack_latency{key=\"2\",quantile=")).count(),
            3,
            "{text}"
        );
        assert!(!text.contains("_count"), "{text}");
    }

    #[test]
    fn keys_of_ours_in_mntr_are_words() {
        let samples = [
            Sample::count("ensemble_build_info", 1).with(&["0.1.0", "abc"]),
            Sample::count("ensemble_server_state", 1).with(&["read-only"]),
            Sample::count("quota_count_limit_per_namespace", 7).with(&["a-b"]),
        ];
        let expected = "zk_a-b_quota_count_limit_per_namespace\t7\nzk_read_only_ensemble_server_state\t1\n";
        assert_eq!(monitor(&samples), expected);
    }

    #[test]
    fn mntr_shows_the_same_as_zookeepers_default_provider_would() {
        check(
            &monitor(&samples()),
            &[
                "zk_watch_count\t3",
                "zk_avg_latency\t0.25",
                "zk_a\"b_quota_count_limit_per_namespace\t7",
                "zk_avg_fsynctime\t2.76",
                "zk_max_fsynctime\t40",
                "zk_cnt_fsynctime\t100",
                "zk_sum_fsynctime\t276",
                "zk_p50_2_ack_latency\t2",
                "zk_p999_2_ack_latency\t40",
                "zk_p99_readlatency\t0",
                "zk_min_readlatency\t0",
            ],
        );
    }
}
