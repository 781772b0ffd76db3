//! Each known-wrong variant of the protocol is found: by the random faults, or by the scenario that it is about. Run with
//! `cargo test -p ensemble-zab --features mutants --test mutants`; prints which seed found it, and what it said.
//! (`no_history_check` is in `script`: elections alone nearly always prevent what it would let through.)
#![allow(clippy::unwrap_used)]

mod common;

use common::script::Script;
use common::{World, changes, chaos, fast_config, membership, ms, roles};
use ensemble_proto::quorum::PacketType;
use ensemble_proto::{Epoch, ServerId, Zxid};
use ensemble_zab::{Config, ConnId, History, Mutants};

/// Seeds that a mutant may survive.
const SEEDS_MAX: u64 = 3000;
/// Found by a scenario of their own.
const SCENARIOS: &[&str] = &["no_history_check", "empty_store_votes", "zkb_06", "last_seen_in_memory"];
/// Found only where the ensemble changes.
const CHANGES: &[&str] = &["commit_by_new_alone", "commit_by_old_alone", "activate_uncommitted"];

#[test]
fn every_mutant_is_found_by_random_faults() {
    // a found mutant is a panic or a violation; the panics need not be printed
    std::panic::set_hook(Box::new(|_| {}));
    let chosen = std::env::var("ZAB_MUTANT").ok();
    let names = Mutants::NAMES.iter().copied().filter(|name| !SCENARIOS.contains(name));
    let names = names.filter(|name| chosen.as_deref().is_none_or(|only| only == *name));
    let survivors: Vec<&str> = names.filter(|name| !is_found(name)).collect();
    let _ = std::panic::take_hook();
    assert!(survivors.is_empty(), "not found within {SEEDS_MAX} seeds: {survivors:?}");
}

fn is_found(name: &str) -> bool {
    let mutants = Mutants::only(name).expect("a mutant's name");
    let run = if CHANGES.contains(&name) { changes::run } else { chaos::run };
    for seed in 0..SEEDS_MAX {
        if let Err(violation) = run(seed, &|config| config.mutants = mutants, false) {
            println!("{name:24} seed {seed:5}  {}", violation.lines().next().unwrap_or_default());
            return true;
        }
    }
    println!("{name:24} survived");
    false
}

/// A follower whose leader, one of Java's, sends live traffic before NEWLEADER, and commits it after UPTODATE.
fn live_before_new_leader(mutants: Mutants) -> Script {
    let at = |epoch, counter| Zxid::new(Epoch(epoch), counter);
    let config = Config { id: ServerId(1), mutants, ..fast_config(membership(3, 0)) };
    let mut script = Script::start(config, History { trusted: true, ..History::default() });
    script.find_leader(ServerId(3), Epoch(1));
    script.connect(7);
    script.say_with(7, PacketType::LeaderInfo, at(1, 0), &[0, 1, 0, 0]);
    script.say(7, PacketType::Diff, Zxid::ZERO);
    script.say_with(7, PacketType::Proposal, at(1, 1), b"live");
    script.say_with(7, PacketType::NewLeader, at(1, 0), b"config");
    script.say(7, PacketType::UpToDate, Zxid::NONE);
    script.say(7, PacketType::Commit, at(1, 1));
    script
}

/// Random faults seldom reach it: our own leader sends little between NEWLEADER and UPTODATE, and the way out is a new connection.
#[test]
fn a_follower_that_forgets_proposals_at_new_leader_cannot_commit_them() {
    let mutant = live_before_new_leader(Mutants::only("zkb_06").unwrap());
    assert_eq!((mutant.delivered.len(), mutant.closed), (0, vec![ConnId(7)]));
    let sound = live_before_new_leader(Mutants::default());
    assert_eq!((sound.delivered.len(), sound.closed), (1, vec![]));
}

/// Server 1 never saw a write, server 3 loses its disk; together they are two of three.
fn after_a_lost_disk(mutants: Mutants) -> World {
    let mut config = fast_config(membership(3, 0));
    config.mutants = mutants;
    let mut world = World::with_config(config, 1);
    world.start(2);
    world.start(3);
    assert!(world.run_until(ms(2000), World::is_converged));
    world.propose().unwrap();
    world.run_for(ms(200));
    world.crash(2);
    world.crash(3);
    let wiped = world.servers.get_mut(&ServerId(3)).unwrap();
    wiped.disk = common::Disk::default();
    wiped.autocreate = false;
    world.start(1);
    world.start(3);
    world.run_for(ms(3000));
    world
}

#[test]
fn an_empty_store_that_votes_loses_what_was_acknowledged() {
    let mutant = after_a_lost_disk(Mutants::only("empty_store_votes").unwrap());
    assert!(mutant.violation.is_some(), "{}", mutant.summary());
    let sound = after_a_lost_disk(Mutants::default());
    assert_eq!((sound.leader(), sound.violation), (None, None));
}

/// Whether server 1, which has logged a reconfiguration that is not committed, would know it after a restart.
fn remembers_what_it_saw(mutants: Mutants) -> bool {
    let mut config = fast_config(membership(3, 0));
    (config.mutants, config.reconfig) = (mutants, true);
    let mut world = World::with_config(config, 1);
    world.start_all();
    assert!(world.run_until(ms(2000), World::is_converged));
    world.servers.get_mut(&ServerId(3)).unwrap().disk_time = ms(500);
    world.cut_off(2);
    let version = world.reconfigure(roles(&[1, 3], &[])).unwrap();
    assert!(world.run_until(ms(200), |world| world.server(1).disk.last() == version));
    world.server(1).disk.last_seen.as_ref().is_some_and(|seen| seen.version == version)
}

#[test]
fn a_configuration_that_is_seen_is_on_the_disk_with_its_transaction() {
    assert!(remembers_what_it_saw(Mutants::default()));
    assert!(!remembers_what_it_saw(Mutants::only("last_seen_in_memory").unwrap()));
}
