//! docs/simulation.md says of every known bug and every scenario where it is tested. Here it is held to its word: no row is missing, and
//! what a row names exists.

#![allow(missing_docs, clippy::unwrap_used)]

use ensemble_sim::marks::Mark;
use ensemble_sim::mutants::Mutant;
use std::path::{Path, PathBuf};

/// Why something cannot exist takes more than a word.
const REASON_CHARS_MIN: usize = 40;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rows() -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join("docs/simulation.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| "));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect()).collect()
}

/// The row that begins with this.
fn row<'a>(rows: &'a [Vec<String>], first: &str) -> &'a [String] {
    let mut found = rows.iter().filter(|row| row[0] == first);
    let row = found.next().unwrap_or_else(|| panic!("docs/simulation.md has no row {first}"));
    assert!(found.next().is_none(), "docs/simulation.md has two rows {first}");
    row
}

/// What a cell names in backquotes.
fn named(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// `crate/path.rs::test` or `e2e/path.py`.
fn exists(place: &str) -> bool {
    let (file, test) = place.split_once("::").unwrap_or((place, ""));
    let base = if file.starts_with("e2e/") { root() } else { root().join("ensemble") };
    let text = std::fs::read_to_string(base.join(file)).unwrap_or_default();
    !text.is_empty() && (test.is_empty() || text.contains(&format!("fn {test}(")))
}

#[test]
fn every_switch_has_a_row_that_says_what_found_it() {
    let rows = rows();
    for mutant in Mutant::all() {
        let quoted = format!("`{}`", mutant.name());
        let row = rows.iter().find(|row| row.contains(&quoted)).unwrap_or_else(|| panic!("no row has {quoted}"));
        let last = row.last().unwrap();
        let changes = Mutant::BY_CHANGES.contains(&mutant.name().as_str());
        assert!(last.starts_with("seed ") && last.contains(" of `--reconfig`, ") == changes, "{quoted}: {last}");
    }
}

#[test]
fn every_known_bug_has_a_switch_a_test_or_a_reason() {
    let rows = rows();
    let all: Vec<String> = Mutant::all().into_iter().map(Mutant::name).collect();
    for number in 1..=35 {
        let id = format!("ZKB-{number:02}");
        let [_, _, switch, how] = row(&rows, &id) else { panic!("the row {id} has not four cells") };
        match named(switch).first() {
            Some(switch) => assert!(all.contains(&switch.to_string()), "{id} names {switch}, which is no switch"),
            None => {
                let places: Vec<&str> = named(how).into_iter().filter(|place| place.contains('/')).collect();
                places.iter().for_each(|place| assert!(exists(place), "{id} names {place}, which is not there"));
                let has_reason = how.starts_with("cannot exist: ") && how.len() >= REASON_CHARS_MIN;
                assert!(!places.is_empty() || has_reason, "{id} has neither switch nor test nor reason");
            }
        }
    }
}

#[test]
fn every_claim_of_the_paper_has_a_test_that_names_it() {
    let rows = rows();
    let claims: Vec<_> = rows.iter().filter(|row| row[0].starts_with("Zab, ")).collect();
    assert!(claims.len() >= 11, "{} claims", claims.len());
    for row in claims {
        for place in named(&row[3]) {
            assert!(exists(place), "{} names {place}, which is not there", row[0]);
            let (file, test) = place.split_once("::").unwrap();
            let text = std::fs::read_to_string(root().join("ensemble").join(file)).unwrap();
            let before = text.split(&format!("fn {test}(")).next().unwrap().lines().rev().take(8).collect::<String>();
            assert!(before.contains(&row[0]), "{place} does not say that it tells of \"{}\"", row[0]);
        }
    }
    for row in rows.iter().filter(|row| row[0].starts_with("ZOOKEEPER-")) {
        let places = named(row.last().unwrap()).into_iter().filter(|place| place.contains('/'));
        let missing: Vec<_> = places.filter(|place| !exists(place)).collect();
        assert!(missing.is_empty(), "{} names {missing:?}", row[0]);
    }
}

/// Every scenario of the fault catalogue whose level is deterministic.
fn scenarios() -> Vec<String> {
    let numbered =
        |group: &str, last: usize| (1..=last).map(|number| format!("{group}-{number:02}")).collect::<Vec<_>>();
    let groups = [("CON", 15), ("STO", 21), ("SYN", 9), ("SES", 9), ("WCH", 5), ("EXO", 8)];
    let all = groups.into_iter().flat_map(|(group, last)| numbered(group, last));
    // Names that change their addresses need a resolver, and processes.
    all.filter(|id| id != "CON-13").collect()
}

#[test]
fn every_scenario_names_where_it_is_tested_or_what_is_missing() {
    let rows = rows();
    let faults = format!("{:?}", ensemble_sim::swarm::Faults::default());
    let marks: Vec<String> = Mark::ALL.iter().map(|(mark, _)| format!("{mark:?}")).collect();
    for id in scenarios() {
        let [_, _, places] = row(&rows, &id) else { panic!("the row {id} has not three cells") };
        let names = named(places);
        for name in &names {
            let is_there = match name.split_once(':') {
                Some(("swarm", fault)) => faults.contains(&format!(" {fault}: ")),
                Some(("mark", mark)) => marks.iter().any(|found| found == mark),
                _ => exists(name),
            };
            assert!(is_there, "{id} names {name}, which is not there");
        }
        assert!(!names.is_empty() || places.starts_with("open: "), "{id} says neither where nor that it is open");
    }
}
