//! Where a build with the feature `mutants` is broken on purpose: what it saw, and what it makes of it, as the variable
//! `OPERATOR_MUTANT` says. Every other build does nothing here.

use operator_core::{Observed, Plan};

#[cfg(feature = "mutants")]
fn mutant() -> operator_core::mutants::Mutant {
    use operator_core::mutants::Mutant;
    let name = std::env::var("OPERATOR_MUTANT").unwrap_or_default();
    Mutant::by_name(&name).unwrap_or(Mutant::None)
}

pub(crate) fn observed(seen: Observed) -> Observed {
    #[cfg(feature = "mutants")]
    let seen = mutant().observed(seen, &std::collections::VecDeque::new());
    seen
}

pub(crate) fn plan(made: Plan, observed: &Observed) -> Plan {
    #[cfg(feature = "mutants")]
    let made = mutant().plan(made, observed);
    #[cfg(not(feature = "mutants"))]
    let _ = observed;
    made
}
