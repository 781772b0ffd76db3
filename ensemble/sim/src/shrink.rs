//! A failing run is made small: faults and requests are taken out as long as it still fails in the same way.
//!
//! What may be taken out has a name: the third crash is `crash.2`, the 18th request that client 0 thinks of is `0.17`. Each draws from
//! a stream of its own ([`stream`]), so that the others stay what they were; only latencies and what follows from them change. So most
//! of what has nothing to do with a failure can go, and what is left reads like a story.
//!
//! The storm is shortened first, then whole kinds of faults and whole clients go, then every other request again and again, then halves,
//! quarters and so on down to single events (delta debugging; Zeller and Hildebrandt, TSE 2002). A part that fails no more may do so
//! with other latencies: a large one is tried with a few. And a part that has not failed soon after the whole did will not.

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
    /// The run ends then, whatever has come of it; `None` for when all is checked.
    pub until: Option<Duration>,
    /// Other latencies than the seed's; 0 for those.
    pub salt: u64,
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

/// Whether so many events go is tried with other latencies, too,
const LARGE_EVENTS: usize = 4;
/// and whether any go when no more than so many are left.
const FEW_EVENTS: usize = 50;
/// So many other latencies.
const SALTS: u64 = 3;
/// A run of no more events than this is easy to read; for less, no luck is tried.
const READABLE_EVENTS: usize = 30;
/// So many small parts with new latencies are tried in a row, when nothing can be taken out as it is.
const GAMBLES: u64 = 400;

/// Makes a plan that fails small. `attempt` runs a plan: `None` when it does not fail in the same way, or when time is up.
pub fn shrink(first: Tried, mut attempt: impl FnMut(&Plan) -> Option<Tried>) -> (Plan, Tried) {
    let (mut plan, mut best) = (Plan { until: Some(soon_after(first.failed_at)), ..Plan::default() }, first);
    while let Some((shorter, tried)) = [0.1, 0.3, 0.6].into_iter().find_map(|part| {
        let storm = best.failed_at.min(plan.storm.unwrap_or(Duration::MAX)).mul_f64(part);
        let shorter = Plan { storm: Some(storm), ..plan.clone() };
        Some((shorter.clone(), attempt(&shorter)?))
    }) {
        (plan, best) = (shorter, tried);
    }
    let kind = |event: &String| event.split_once('.').map_or(String::new(), |(kind, _)| kind.to_string());
    for gone in best.events.iter().map(kind).collect::<BTreeSet<_>>() {
        without(&mut plan, &mut best, &mut attempt, |_, event| kind(event) == gone);
    }
    let is_request = |event: &String| event.starts_with(|first: char| first.is_ascii_digit());
    let mut thins = true;
    while thins {
        thins = (0..2).any(|parity| {
            without(&mut plan, &mut best, &mut attempt, |index, event| is_request(event) && index % 2 == parity)
        });
    }
    let mut luck = Rng::with_seed(0);
    // Until nothing more goes: what was needed beside something else may not be any more.
    let mut left = usize::MAX;
    while best.events.len() < left {
        left = best.events.len();
        halve(&mut plan, &mut best, &mut attempt);
        if best.events.len() > READABLE_EVENTS {
            gamble(&mut plan, &mut best, &mut attempt, &mut luck);
        }
    }
    (plan, best)
}

/// A failure may take a crash within a few milliseconds: whatever is taken out shifts them, and it comes no more. Then small parts are
/// tried, each with latencies of its own, until one happens to fail.
fn gamble(plan: &mut Plan, best: &mut Tried, attempt: &mut impl FnMut(&Plan) -> Option<Tried>, luck: &mut Rng) -> bool {
    let until = Some(soon_after(best.failed_at));
    (1..=GAMBLES).any(|number| {
        let percent = luck.u8(10..60);
        let kept = best.events.iter().filter(|_| luck.u8(0..100) < percent).cloned();
        let part = Plan { only: Some(kept.collect()), until, salt: plan.salt + number, ..plan.clone() };
        let tried = attempt(&part).filter(|tried| tried.events.len() < best.events.len());
        let is_smaller = tried.is_some();
        if let Some(tried) = tried {
            (*plan, *best) = (part, tried);
        }
        is_smaller
    })
}

/// A run that fails at this moment is given so long, when parts of it are missing.
fn soon_after(failed_at: Duration) -> Duration {
    failed_at.mul_f64(1.05) + Duration::from_secs(2)
}

/// Takes out halves, quarters, and so on.
fn halve(plan: &mut Plan, best: &mut Tried, attempt: &mut impl FnMut(&Plan) -> Option<Tried>) {
    let mut chunk = best.events.len().div_ceil(2);
    while chunk > 0 {
        let mut start = 0;
        while start < best.events.len() {
            let is_gone = |index: usize, _: &String| (start..start + chunk).contains(&index);
            if !without(plan, best, attempt, is_gone) {
                start += chunk;
            }
        }
        chunk /= 2;
    }
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
    let gone = plan.only.as_ref().map_or(best.events.len(), BTreeSet::len).saturating_sub(only.len());
    let salts = match gone {
        0 => 0,
        _ if gone < LARGE_EVENTS && best.events.len() > FEW_EVENTS => 1,
        _ => 1 + SALTS,
    };
    for salt in plan.salt..plan.salt + salts {
        let until = Some(soon_after(best.failed_at));
        let smaller = Plan { only: Some(only.clone()), until, salt, ..plan.clone() };
        if let Some(tried) = attempt(&smaller) {
            (*plan, *best) = (smaller, tried);
            return true;
        }
    }
    false
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

    /// Whether a part of a real run fails depends on latencies, too.
    #[test]
    fn a_part_that_fails_with_other_latencies_only_is_found() {
        let needed = ["crash.3", "0.17"];
        let by_luck = |plan: &Plan| {
            let tried = run(plan, &needed)?;
            (plan.only.is_none() || (tried.events.len() as u64 + plan.salt).is_multiple_of(3)).then_some(tried)
        };
        let (_, tried) = shrink(run(&Plan::default(), &needed).expect("all of it fails"), by_luck);
        assert!(tried.events.len() < 4, "{:?}", tried.events);
    }

    /// One run in ten, and the whole.
    #[test]
    fn a_part_that_hardly_ever_fails_is_found() {
        let needed = ["crash.3", "0.17"];
        let by_luck = |plan: &Plan| {
            let tried = run(plan, &needed)?;
            (plan.only.is_none() || plan.salt % 10 == 9).then_some(tried)
        };
        let (plan, tried) = shrink(run(&Plan::default(), &needed).expect("all of it fails"), by_luck);
        assert_eq!((tried.events.len(), plan.salt % 10), (2, 9), "{:?}", tried.events);
    }

    #[test]
    fn a_part_is_given_little_longer_than_the_whole() {
        let needed = ["crash.3"];
        let mut longest = Duration::ZERO;
        let (_, tried) = shrink(run(&Plan::default(), &needed).expect("all of it fails"), |plan| {
            longest = longest.max(plan.until.unwrap_or(Duration::MAX));
            run(plan, &needed)
        });
        assert!(longest < STORM * 2 && tried.failed_at < STORM, "{longest:?}");
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
