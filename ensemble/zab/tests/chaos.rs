//! Random faults. `ZAB_SEEDS=A..B` chooses the seeds, `ZAB_SEED=N` replays one with its story.

mod common;

use common::chaos;

#[test]
fn every_seed_keeps_every_promise() {
    if let Ok(seed) = std::env::var("ZAB_SEED") {
        let seed = seed.parse().expect("ZAB_SEED is a number");
        chaos::run(seed, &|_| {}, true).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        return;
    }
    let seeds = std::env::var("ZAB_SEEDS").unwrap_or_else(|_| "0..150".to_owned());
    let (from, to) = seeds.split_once("..").expect("ZAB_SEEDS is A..B");
    let mut committed = 0;
    for seed in from.parse().expect("a number")..to.parse::<u64>().expect("a number") {
        committed += chaos::run(seed, &|_| {}, false).unwrap_or_else(|violation| {
            panic!("{violation}\nreplay: ZAB_SEED={seed} cargo test -p ensemble-zab --test chaos -- --nocapture")
        });
    }
    println!("{committed} transactions were committed");
}
