//! The checker checked: hand-made runs, bad ones that exactly the named rules must accuse, and good ones, as odd as they come, that none
//! may accuse. A rule that no bad run names is a rule that nobody has seen bite, so there is none.

#![allow(missing_docs, clippy::unwrap_used)]

mod clients;
mod servers;
mod story;

use ensemble_sim::rules::RULES;
use std::collections::BTreeSet;
use story::Story;

/// At least so many bad runs, and so many good ones.
const RUNS_MIN: usize = 40;

fn accusers(tell: fn(&mut Story)) -> String {
    let mut story = Story::new();
    tell(&mut story);
    story.accusers().join(" ")
}

#[test]
fn what_no_client_may_see_is_accused_by_the_rules_named() {
    for (expected, name, tell) in clients::BAD {
        assert_eq!(accusers(*tell), *expected, "{name}");
    }
}

#[test]
fn what_clients_may_see_is_accused_by_nobody() {
    for (_, name, tell) in clients::GOOD {
        assert_eq!(accusers(*tell), "", "{name}");
    }
}

#[test]
fn what_no_server_may_do_is_accused_by_the_invariant_named() {
    for (expected, name, tell) in servers::BAD {
        let check = tell().err().map(|violation| violation.check);
        assert_eq!(check, Some(*expected), "{name}");
    }
}

#[test]
fn what_servers_may_do_is_accused_by_nobody() {
    for (name, tell) in servers::GOOD {
        assert_eq!(tell(), Ok(()), "{name}");
    }
}

#[test]
fn every_rule_and_every_invariant_has_a_run_that_it_accuses() {
    let clients = clients::BAD.iter().flat_map(|(accusers, ..)| accusers.split(' '));
    let servers = servers::BAD.iter().map(|(invariant, ..)| *invariant);
    let seen: BTreeSet<&str> = clients.chain(servers).collect();
    let rules = RULES.iter().map(|(name, _)| name.to_string());
    let invariants = (1..=13).map(|number| format!("I-{number}"));
    let numbered = (1..=11).map(|number| format!("H-{number}"));
    let blind: Vec<String> =
        rules.chain(numbered).chain(invariants).filter(|name| !seen.contains(name.as_str())).collect();
    assert!(blind.is_empty(), "never seen to accuse anything: {blind:?}");
    let (bad, good) = (clients::BAD.len() + servers::BAD.len(), clients::GOOD.len() + servers::GOOD.len());
    assert!(bad >= RUNS_MIN && good >= RUNS_MIN, "{bad} bad, {good} good");
}
