//! What the simulator itself must be: deterministic, quiet about sound servers, and not blind.

use ensemble_sim::changes::CHANGING;
use ensemble_sim::mutants::Mutant;
use ensemble_sim::run;

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let hash = |seed| run(seed, Mutant::None).map(|summary| summary.trace_hash);
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}

#[test]
fn sound_servers_keep_every_promise() {
    for seed in 10..16 {
        let result = run(seed, Mutant::None);
        assert!(result.is_ok_and(|summary| summary.committed > 0), "replay: ensemble-sim --seed {seed} --verbose");
    }
}

#[test]
fn an_ensemble_that_changes_keeps_every_promise() {
    let result = run(CHANGING | 1, Mutant::None);
    let committed = result.map(|summary| summary.committed);
    assert!(
        committed.as_ref().is_ok_and(|count| *count > 0),
        "{committed:?}, replay: ensemble-sim --reconfig --seed 1"
    );
}

#[test]
fn a_store_that_does_not_sync_is_noticed() {
    let mutant = Mutant::by_name("storage.skip_log_sync");
    let is_noticed = |seed| mutant.is_some_and(|mutant| run(seed, mutant).is_err());
    assert!((0..100).any(is_noticed));
}

#[test]
fn a_reconfiguration_that_takes_effect_too_early_is_noticed() {
    for name in Mutant::BY_CHANGES {
        let mutant = Mutant::by_name(name);
        let is_noticed = |seed| mutant.is_some_and(|mutant| run(CHANGING | seed, mutant).is_err());
        assert!((1..20).any(is_noticed), "{name}");
    }
}
