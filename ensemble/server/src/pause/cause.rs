//! What a pause is put down to, by the evidence of its time.

use std::time::Duration;

/// Why something did not go on. The values of the label `cause`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Cause {
    /// The disk took its time for an fsync of the transaction log.
    Fsync,
    /// The control group had used up its CPU quota.
    CpuThrottling,
    /// The process ran, and its loop did not: one of its turns, or something else on its thread, took so long.
    StalledLoop,
    /// Memory was short: threads waited for it.
    MemoryReclaim,
    /// The machine below this one gave the CPU to others.
    StolenTime,
    /// The whole process stood still, and nothing else explains it: a stopped process, a frozen group, a starved CPU, a migrated machine.
    Stopped,
}

impl Cause {
    pub(crate) const ALL: [Cause; 6] = [
        Cause::Fsync,
        Cause::CpuThrottling,
        Cause::StalledLoop,
        Cause::MemoryReclaim,
        Cause::StolenTime,
        Cause::Stopped,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Cause::Fsync => "fsync",
            Cause::CpuThrottling => "cpu_throttling",
            Cause::StalledLoop => "stalled_loop",
            Cause::MemoryReclaim => "memory_reclaim",
            Cause::StolenTime => "stolen_time",
            Cause::Stopped => "stopped",
        }
    }
}

/// What did not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// The pause monitor itself, and so the process.
    Process,
    /// The loop.
    Loop,
    /// The thread of the disk, in an fsync.
    Fsync,
}

/// What is known of a pause.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Evidence {
    pub(crate) what: What,
    pub(crate) pause: Duration,
    /// How much of it the pause monitor did not run either.
    pub(crate) asleep: Duration,
    pub(crate) machine: Machine,
}

/// How much more the kernel counted than before the pause.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Machine {
    /// The control group was not let run for its quota.
    pub(crate) throttled: Duration,
    /// Threads waited for memory.
    pub(crate) reclaim: Duration,
    /// The hypervisor ran something else.
    pub(crate) stolen: Duration,
}

/// The cause. A figure explains a pause when it is at least half of it; of several the greatest does.
///
/// A pause of the process is one of its loop too, and of an fsync that it waited for. The kernel's figures are of the whole control group or
/// machine, so they explain a slow fsync only when the monitor stood still as well.
pub(crate) fn attribute(evidence: &Evidence) -> Cause {
    let Evidence { what, pause, asleep, machine } = *evidence;
    let explains = |figure: Duration| figure * 2 >= pause;
    let Machine { throttled, reclaim, stolen } = machine;
    let figures = [(throttled, Cause::CpuThrottling), (reclaim, Cause::MemoryReclaim), (stolen, Cause::StolenTime)];
    let is_process = what == What::Process || explains(asleep);
    let greatest = figures.into_iter().filter(|(figure, _)| explains(*figure)).max_by_key(|(figure, _)| *figure);
    match (what, greatest) {
        (What::Process | What::Loop, Some((_, cause))) => cause,
        (What::Fsync, Some((_, cause))) if is_process => cause,
        _ if is_process => Cause::Stopped,
        (What::Fsync, _) => Cause::Fsync,
        (What::Process | What::Loop, None) => Cause::StalledLoop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_has_the_cause_that_explains_half_of_it() {
        let check = |what, [pause, asleep, throttled, reclaim, stolen]: [u64; 5], expected: Cause| {
            let ms = Duration::from_millis;
            let machine = Machine { throttled: ms(throttled), reclaim: ms(reclaim), stolen: ms(stolen) };
            let evidence = Evidence { what, pause: ms(pause), asleep: ms(asleep), machine };
            assert_eq!(attribute(&evidence), expected, "{evidence:?}");
        };
        use What::{Fsync, Loop, Process};
        // Of the process: pause, asleep, throttled, reclaim, stolen.
        check(Process, [1000, 1000, 0, 0, 0], Cause::Stopped);
        check(Process, [1000, 1000, 499, 499, 499], Cause::Stopped);
        check(Process, [1000, 1000, 500, 0, 0], Cause::CpuThrottling);
        check(Process, [1000, 1000, 600, 0, 900], Cause::StolenTime);
        check(Process, [1000, 1000, 600, 800, 0], Cause::MemoryReclaim);
        // Of the loop.
        check(Loop, [200, 0, 0, 0, 0], Cause::StalledLoop);
        check(Loop, [200, 99, 99, 99, 99], Cause::StalledLoop);
        check(Loop, [200, 100, 0, 0, 0], Cause::Stopped);
        check(Loop, [200, 0, 180, 0, 0], Cause::CpuThrottling);
        check(Loop, [200, 0, 0, 150, 0], Cause::MemoryReclaim);
        check(Loop, [200, 150, 0, 0, 120], Cause::StolenTime);
        // Of a sync.
        check(Fsync, [300, 0, 0, 0, 0], Cause::Fsync);
        check(Fsync, [300, 149, 300, 300, 300], Cause::Fsync);
        check(Fsync, [300, 300, 0, 0, 0], Cause::Stopped);
        check(Fsync, [300, 300, 300, 0, 0], Cause::CpuThrottling);
    }

    #[test]
    fn causes_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = Cause::ALL.iter().map(|cause| cause.name()).collect();
        assert_eq!(names.len(), Cause::ALL.len());
    }
}
