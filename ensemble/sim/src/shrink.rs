//! A failing run is made small: faults and requests are taken out as long as it still fails in the same way.
//!
//! What may be taken out has a name: the third crash is `crash.2`, the 18th request that client 0 thinks of is `0.17`. Each draws from
//! a stream of its own ([`stream`]), so that the others stay what they were; only latencies and what follows from them change. So most
//! of what has nothing to do with a failure can go, and what is left reads like a story.
//!
//! The storm is shortened first, then whole kinds of faults and whole clients go, then halves, quarters and so on down to single
//! events (delta debugging; Zeller and Hildebrandt, TSE 2002).

use fastrand::Rng;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a run is reduced to. The default is all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The part with faults is this long; `None` for what the seed says.
    pub storm: Option<Duration>,
    /// Only these faults and requests happen; `None` for all.
    pub only: Option<BTreeSet<String>>,
}

impl Plan {
    /// Whether any event of a kind happens.
    pub fn has_any(&self, kind: &str) -> bool {
        let is_of_kind = |event: &String| event.split_once('.').is_some_and(|(found, _)| found == kind);
        self.only.as_ref().is_none_or(|only| only.iter().any(is_of_kind))
    }

    /// Whether the `number`th event of a kind happens.
    pub fn has(&self, kind: &str, number: u64) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&name(kind, number)))
    }
}

/// What the `number`th event of a kind is called.
pub fn name(kind: &str, number: u64) -> String {
    format!("{kind}.{number}")
}

/// The randomness of one event, which depends on nothing but the seed and its name.
pub fn stream(seed: u64, kind: &str, number: u64) -> Rng {
    let mixed = kind.bytes().fold(seed, |sum, byte| sum.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
    Rng::with_seed(mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(number))
}

/// A run of a plan, as far as shrinking needs to know it.
pub struct Tried {
    /// What happened, by name, in its order.
    pub events: Vec<String>,
    /// When it failed in the way that is looked for.
    pub failed_at: Duration,
}

/// Makes a plan that fails small. `attempt` runs a plan: `None` when it does not fail in the same way, or when time is up.
pub fn shrink(first: Tried, mut attempt: impl FnMut(&Plan) -> Option<Tried>) -> (Plan, Tried) {
    let (mut plan, mut best) = (Plan::default(), first);
    while let Some((shorter, tried)) = [0.1, 0.3, 0.6].into_iter().find_map(|part| {
        let shorter =
            Plan { storm: Some(best.failed_at.min(plan.storm.unwrap_or(Duration::MAX)).mul_f64(part)), only: None };
        Some((shorter.clone(), attempt(&shorter)?))
    }) {
        (plan, best) = (shorter, tried);
    }
    let kind = |event: &String| event.split_once('.').map_or(String::new(), |(kind, _)| kind.to_string());
    for gone in best.events.iter().map(kind).collect::<BTreeSet<_>>() {
        without(&mut plan, &mut best, &mut attempt, |_, event| kind(event) == gone);
    }
    let mut chunk = best.events.len().div_ceil(2);
    while chunk > 0 {
        let mut start = 0;
        while start < best.events.len() {
            let is_gone = |index: usize, _: &String| (start..start + chunk).contains(&index);
            if !without(&mut plan, &mut best, &mut attempt, is_gone) {
                start += chunk;
            }
        }
        chunk /= 2;
    }
    (plan, best)
}

/// Takes events out, if what is left still fails.
fn without(
    plan: &mut Plan,
    best: &mut Tried,
    attempt: &mut impl FnMut(&Plan) -> Option<Tried>,
    is_gone: impl Fn(usize, &String) -> bool,
) -> bool {
    let left = best.events.iter().enumerate().filter(|(index, event)| !is_gone(*index, event));
    let only: BTreeSet<String> = left.map(|(_, event)| event.clone()).collect();
    let is_smaller = plan.only.as_ref().map_or(best.events.len(), BTreeSet::len) > only.len();
    let smaller = Plan { only: Some(only), ..plan.clone() };
    match is_smaller.then(|| attempt(&smaller)).flatten() {
        Some(tried) => {
            (*plan, *best) = (smaller, tried);
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORM: Duration = Duration::from_secs(100);

    /// A run with 40 crashes, one every two seconds, and 60 requests; it fails when all of `needed` happen.
    fn run(plan: &Plan, needed: &[&str]) -> Option<Tried> {
        let storm = plan.storm.unwrap_or(STORM);
        let crashes = (0..40).filter(|number| Duration::from_secs(2 * number) < storm).map(|number| ("crash", number));
        let asks = (0..60).map(|number| ("0", number));
        let all = crashes.chain(asks).filter(|(kind, number)| plan.has(kind, *number));
        let events: Vec<String> = all.map(|(kind, number)| name(kind, number)).collect();
        let fails = needed.iter().all(|needed| events.iter().any(|event| event == needed));
        fails.then_some(Tried { events, failed_at: storm })
    }

    #[test]
    fn what_a_failure_needs_is_left_and_nothing_else() {
        let check = |needed: &[&str]| {
            let (plan, tried) =
                shrink(run(&Plan::default(), needed).expect("all of it fails"), |plan| run(plan, needed));
            let expected: BTreeSet<String> = needed.iter().map(|event| event.to_string()).collect();
            assert_eq!(tried.events.iter().cloned().collect::<BTreeSet<_>>(), expected);
            assert_eq!(plan.only.unwrap_or_default(), expected);
        };
        check(&["crash.3"]);
        check(&["crash.7", "0.17", "0.59"]);
        check(&["crash.0", "crash.39"]);
    }

    #[test]
    fn the_storm_is_cut_to_what_is_needed() {
        let needed = ["crash.3"];
        let (plan, _) = shrink(run(&Plan::default(), &needed).expect("all of it fails"), |plan| run(plan, &needed));
        assert!(plan.storm.is_some_and(|storm| storm < STORM / 5), "{plan:?}");
    }

    #[test]
    fn the_randomness_of_an_event_is_its_own() {
        let draw = |kind, number| stream(7, kind, number).u64(..);
        assert_eq!(draw("crash", 1), draw("crash", 1));
        assert_ne!(draw("crash", 1), draw("crash", 2));
        assert_ne!(draw("crash", 1), draw("cut", 1));
    }
}
