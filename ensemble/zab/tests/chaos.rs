//! Random faults, in ensembles that stay as they are and in ensembles that change. `ZAB_SEEDS=A..B` chooses the seeds, `ZAB_SEED=N`
//! replays one with its story.

mod common;

use common::{changes, chaos};
use ensemble_zab::Config;

/// Runs a seed.
type Run = fn(u64, &dyn Fn(&mut Config), bool) -> Result<usize, String>;

/// Zab, integrity.
/// Zab, total order; agreement.
#[test]
fn every_seed_keeps_every_promise() {
    check(chaos::run, "every_seed_keeps_every_promise");
}

#[test]
fn every_seed_keeps_every_promise_while_the_ensemble_changes() {
    check(changes::run, "every_seed_keeps_every_promise_while_the_ensemble_changes");
}

fn check(run: Run, test: &str) {
    if let Ok(seed) = std::env::var("ZAB_SEED") {
        let seed = seed.parse().expect("ZAB_SEED is a number");
        run(seed, &|_| {}, true).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        return;
    }
    let seeds = std::env::var("ZAB_SEEDS").unwrap_or_else(|_| "0..150".to_owned());
    let (from, to) = seeds.split_once("..").expect("ZAB_SEEDS is A..B");
    let mut committed = 0;
    for seed in from.parse().expect("a number")..to.parse::<u64>().expect("a number") {
        committed += run(seed, &|_| {}, false).unwrap_or_else(|violation| {
            let replay =
                format!("ZAB_SEED={seed} cargo test -p ensemble-zab --test chaos -- --nocapture --exact {test}");
            panic!("{violation}\nreplay: {replay}")
        });
    }
    println!("{committed} transactions were committed");
}
