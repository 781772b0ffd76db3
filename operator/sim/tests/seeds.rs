//! What the simulation of the operator must be: deterministic, quiet about the production planner, and not blind.

use ensemble_sim::trace::Tell;
use operator_sim::mutants::Mutant;
use operator_sim::run;

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let hash = |seed| run(seed, Mutant::None, Tell::Nothing).map(|outcome| outcome.servers.trace_hash);
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}

#[test]
fn the_production_planner_keeps_every_promise() {
    for seed in 3..6 {
        let result = run(seed, Mutant::None, Tell::Nothing);
        let committed = result.map(|outcome| outcome.servers.committed);
        assert!(
            committed.as_ref().is_ok_and(|count| *count > 0),
            "{committed:?}, replay: operator-sim --seed {seed} --story"
        );
    }
}

#[test]
fn a_broken_operator_is_noticed() {
    for mutant in [Mutant::DeletesClaimsEarly, Mutant::RestartsTwo, Mutant::RebuildsAtOnce] {
        let is_noticed = |seed| run(seed, mutant, Tell::Nothing).is_err();
        assert!((0..6).any(is_noticed), "{}", mutant.name());
    }
}
