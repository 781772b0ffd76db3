//! Each known-wrong variant of the protocol is found by the random faults. Run with
//! `cargo test -p ensemble-zab --features mutants --test mutants`; prints which seed found it, and what it said.

mod common;

use common::chaos;
use ensemble_zab::Mutants;

/// Seeds that a mutant may survive.
const SEEDS_MAX: u64 = 3000;

#[test]
fn every_mutant_is_found() {
    // a found mutant is a panic or a violation; the panics need not be printed
    std::panic::set_hook(Box::new(|_| {}));
    let chosen = std::env::var("ZAB_MUTANT").ok();
    let names = Mutants::NAMES.iter().copied().filter(|name| chosen.as_deref().is_none_or(|only| only == *name));
    let survivors: Vec<&str> = names.filter(|name| !is_found(name)).collect();
    let _ = std::panic::take_hook();
    assert!(survivors.is_empty(), "not found within {SEEDS_MAX} seeds: {survivors:?}");
}

fn is_found(name: &str) -> bool {
    let mutants = Mutants::only(name).expect("a mutant's name");
    for seed in 0..SEEDS_MAX {
        if let Err(violation) = chaos::run(seed, &|config| config.mutants = mutants, false) {
            println!("{name:24} seed {seed:5}  {}", violation.lines().next().unwrap_or_default());
            return true;
        }
    }
    println!("{name:24} survived");
    false
}
