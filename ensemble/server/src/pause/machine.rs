//! What the kernel counts that can hold a process up: reading it, and the difference of two readings.
//!
//! `cpu.stat` of the control group, `memory.pressure` of the group (version 2) or `/proc/pressure/memory` of the machine, and the
//! stolen time of `/proc/stat`. What is not there counts as nothing.

use super::cause::Machine;
use crate::cgroup;
use std::time::Duration;

/// The counters at one moment.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Reading(Machine);

impl Reading {
    /// Reads them: some tens of microseconds.
    pub(crate) fn take() -> Reading {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let cpu = cgroup::read("cpu", "cpu.stat", "cpu.stat");
        let memory = cgroup::read("memory", "memory.pressure", "memory.pressure");
        let memory = memory.or_else(|| read("/proc/pressure/memory"));
        let ticks = rustix::param::clock_ticks_per_second();
        Reading(Machine {
            throttled: cpu.and_then(|text| throttled(&text)).unwrap_or_default(),
            reclaim: memory.and_then(|text| stalled(&text)).unwrap_or_default(),
            stolen: read("/proc/stat").and_then(|text| stolen(&text, ticks)).unwrap_or_default(),
        })
    }

    /// A reading for tests.
    #[cfg(test)]
    pub(crate) fn of(machine: Machine) -> Reading {
        Reading(machine)
    }

    /// What has been counted since.
    pub(crate) fn since(self, before: Reading) -> Machine {
        let (Reading(now), Reading(before)) = (self, before);
        Machine {
            throttled: now.throttled.saturating_sub(before.throttled),
            reclaim: now.reclaim.saturating_sub(before.reclaim),
            stolen: now.stolen.saturating_sub(before.stolen),
        }
    }
}

/// `throttled_usec` of version 2, `throttled_time` (nanoseconds) of version 1.
fn throttled(cpu_stat: &str) -> Option<Duration> {
    let of = |name: &str| {
        let mut fields = cpu_stat.lines().map(|line| line.split_once(' '));
        let (_, value) = fields.find_map(|field| field.filter(|(key, _)| *key == name))?;
        value.trim().parse().ok()
    };
    of("throttled_usec").map(Duration::from_micros).or_else(|| of("throttled_time").map(Duration::from_nanos))
}

/// For how long some thread waited: `some avg10=0.00 avg60=0.00 avg300=0.00 total=MICROSECONDS`.
fn stalled(pressure: &str) -> Option<Duration> {
    let some = pressure.lines().find(|line| line.starts_with("some "))?;
    some.split_once("total=")?.1.trim().parse().ok().map(Duration::from_micros)
}

/// The eighth number behind `cpu`, in ticks.
fn stolen(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let all = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: u64 = all.split_whitespace().nth(7)?.parse().ok()?;
    Some(Duration::from_millis(ticks.checked_mul(1000)? / ticks_per_second.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_understood() {
        let ms = Duration::from_millis;
        let v2 = "usage_usec 9\nnr_periods 4\nnr_throttled 2\nthrottled_usec 150000\n";
        let v1 = "nr_periods 4\nnr_throttled 2\nthrottled_time 150000000\n";
        for (text, expected) in [(v2, Some(ms(150))), (v1, Some(ms(150))), ("usage_usec 9\n", None), ("", None)] {
            assert_eq!(throttled(text), expected, "{text}");
        }
        let pressure =
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=2000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n";
        assert_eq!((stalled(pressure), stalled("full total=1\n")), (Some(ms(2)), None));
        let stat = "cpu  1 2 3 4 5 6 7 80 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!((stolen(stat, 100), stolen("cpu  1 2\n", 100)), (Some(ms(800)), None));
    }

    #[test]
    fn what_is_counted_is_the_difference() {
        let ms = Duration::from_millis;
        let reading = |throttled, reclaim, stolen| {
            Reading(Machine { throttled: ms(throttled), reclaim: ms(reclaim), stolen: ms(stolen) })
        };
        let expected = Machine { throttled: ms(4), reclaim: ms(0), stolen: ms(6) };
        assert_eq!(reading(5, 2, 9).since(reading(1, 3, 3)), expected, "a counter that went back counts nothing");
    }
}
