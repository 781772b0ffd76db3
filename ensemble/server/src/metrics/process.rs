//! What the kernel knows of this process and of the machine below it: `/proc`, the control group, the file systems.
//!
//! What cannot be read is left out. Nothing here waits for a disk: `statvfs` answers from what the kernel has in memory.

use super::sample::Sample;
use crate::cgroup;
use std::path::{Path, PathBuf};

/// Version 1 says "no limit" by a number near 2^63.
const MEMORY_LIMIT_NONE: u64 = 1 << 60;

/// The file systems whose room is shown: the label's value, and a path there.
#[derive(Clone, Debug)]
pub(crate) struct Volumes(Vec<(&'static str, PathBuf)>);

impl Volumes {
    pub(crate) fn new(data: &Path, log: &Path) -> Volumes {
        Volumes(vec![("data", data.to_owned()), ("log", log.to_owned())])
    }

    fn samples(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        for (label, path) in &self.0 {
            if let Ok(stat) = rustix::fs::statvfs(path) {
                let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
                samples.push(Sample::count("ensemble_volume_size_bytes", bytes(stat.f_blocks)).with(&[label]));
                samples.push(Sample::count("ensemble_volume_available_bytes", bytes(stat.f_bavail)).with(&[label]));
            }
        }
        samples
    }
}

/// What is shown of the process and its machine.
pub(crate) fn samples(volumes: &Volumes) -> Vec<Sample> {
    let mut samples = volumes.samples();
    let mut add = |name, value: Option<f64>| samples.extend(value.map(|value| Sample::number(name, value)));
    let open = count_entries("/proc/self/fd");
    let max = read("/proc/self/limits").and_then(|text| open_files_max(&text));
    add("open_file_descriptor_count", open);
    add("max_file_descriptor_count", max);
    let limit = memory_limit();
    add("ensemble_memory_limit_bytes", limit);
    samples
}

/// The same for whoever reads Prometheus' own names, or those of a JVM; not for `mntr`.
pub(crate) fn foreign_samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    let stat = read("/proc/self/stat").and_then(|text| Stat::parse(&text));
    let mut add = |name, value: Option<f64>| samples.extend(value.map(|value| Sample::number(name, value)));
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let resident = stat.as_ref().map(|stat| stat.resident_pages as f64 * rustix::param::page_size() as f64);
    let boot = read("/proc/stat").and_then(|text| field(&text, "btime"));
    add("process_cpu_seconds_total", stat.as_ref().map(|stat| stat.cpu_ticks as f64 / ticks));
    let began = stat.as_ref().zip(boot).map(|(stat, boot)| boot + stat.started_ticks as f64 / ticks);
    add("process_start_time_seconds", began);
    add("process_open_fds", count_entries("/proc/self/fd"));
    add("process_max_fds", read("/proc/self/limits").and_then(|text| open_files_max(&text)));
    add("process_virtual_memory_bytes", stat.as_ref().map(|stat| stat.virtual_bytes as f64));
    add("process_resident_memory_bytes", resident);
    add("process_threads", stat.as_ref().map(|stat| stat.threads as f64));
    for name in ["jvm_threads_current", "jvm_threads_peak"] {
        add(name, stat.as_ref().map(|stat| stat.threads as f64));
    }
    add("jvm_threads_daemon", Some(0.0));
    add("jvm_threads_deadlocked", Some(0.0));
    add("jvm_classes_loaded", Some(0.0));
    let kib = 1024.0;
    let machine = read("/proc/meminfo").and_then(|text| field(&text, "MemTotal:")).map(|memory| memory * kib);
    let max = memory_limit().or(machine);
    for (name, pool, value) in [
        ("jvm_memory_bytes_used", "jvm_memory_pool_bytes_used", resident),
        ("jvm_memory_bytes_committed", "jvm_memory_pool_bytes_committed", resident),
        ("jvm_memory_bytes_max", "jvm_memory_pool_bytes_max", max),
    ] {
        if let Some(value) = value {
            samples.push(Sample::number(name, value).with(&["heap"]));
            samples.push(Sample::number(pool, value).with(&["heap"]));
        }
    }
    samples.push(Sample::number("jvm_memory_pool_allocated_bytes_total", 0.0).with(&["heap"]));
    for name in ["jvm_buffer_pool_used_bytes", "jvm_buffer_pool_capacity_bytes"] {
        samples.push(Sample::number(name, 0.0).with(&["direct"]));
    }
    let [running, waiting] = thread_states();
    samples.push(Sample::count("jvm_threads_state", running).with(&["RUNNABLE"]));
    samples.push(Sample::count("jvm_threads_state", waiting).with(&["WAITING"]));
    let none = ensemble_proto::Summary::default();
    samples.push(Sample::summary("jvm_gc_collection_seconds", &none, std::time::Duration::ZERO).with(&["none"]));
    samples
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn count_entries(path: &str) -> Option<f64> {
    Some(std::fs::read_dir(path).ok()?.count() as f64)
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn open_files_max(limits: &str) -> Option<f64> {
    field(limits, "Max open files")
}

fn memory_limit() -> Option<f64> {
    let text = cgroup::read("memory", "memory.max", "memory.limit_in_bytes")?;
    limit(&text).map(|limit| limit as f64)
}

/// A limit of memory as a control group says it; `max`, or something near 2^63, is none.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < MEMORY_LIMIT_NONE)
}

/// Threads that run, and that wait.
fn thread_states() -> [u64; 2] {
    let mut states = [0; 2];
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // Behind the name, which may contain anything.
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        states[usize::from(state != Some('R'))] += 1;
    }
    states
}

/// What `/proc/PID/stat` says.
#[derive(PartialEq, Eq, Debug)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    started_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    /// Fields are counted from behind the name, which may contain anything: the third is the first here.
    fn parse(text: &str) -> Option<Stat> {
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            started_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_on_a_process_is_understood_whatever_its_name() {
        let line = "7 (a ) b) S 1 7 7 0 -1 4194304 99 0 0 0 250 50 0 0 20 0 12 0 4000 123456 78 18446744073709551615 1";
        let expected =
            Stat { cpu_ticks: 300, threads: 12, started_ticks: 4000, virtual_bytes: 123_456, resident_pages: 78 };
        assert_eq!(Stat::parse(line), Some(expected));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }

    #[test]
    fn memory_is_limited_by_a_number_that_a_machine_could_have() {
        for (text, expected) in
            [("max\n", None), ("9223372036854771712\n", None), ("536870912\n", Some(536_870_912)), ("", None)]
        {
            assert_eq!(limit(text), expected, "{text}");
        }
    }

    #[test]
    fn a_name_at_the_beginning_of_a_line_has_a_number_behind_it() {
        let limits =
            "Limit  Soft  Hard  Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(open_files_max(limits), Some(1024.0));
        assert_eq!(field("cpu 1 2\nbtime 1700000000\n", "btime"), Some(1_700_000_000.0));
        assert_eq!(field("cpu 1 2\n", "btime"), None);
    }
}
