//! `ensemble-sim --seed N --shrink`: runs parts of the seed, each in a process of its own because an assertion may abort it, and tells the
//! smallest that still fails.

use anyhow::{Context, Result, bail};
use ensemble_sim::mutants::Mutant;
use ensemble_sim::shrink::{Plan, Tried, shrink};
use ensemble_sim::trace::EVENT;
use std::collections::BTreeSet;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// What a part of a run printed.
struct Told {
    text: String,
    /// The check that failed, with what it said.
    failure: Option<(String, String)>,
}

/// The options that run a part.
fn options(seed: u64, mutant: Mutant, plan: &Plan) -> Vec<String> {
    let mut options = vec!["--seed".to_string(), seed.to_string()];
    if mutant != Mutant::None {
        options.extend(["--mutant".to_string(), mutant.name()]);
    }
    if let Some(storm) = plan.storm {
        options.extend(["--storm-ms".to_string(), storm.as_millis().to_string()]);
    }
    if let Some(until) = plan.until {
        options.extend(["--until-ms".to_string(), until.as_millis().to_string()]);
    }
    if plan.salt > 0 {
        options.extend(["--salt".to_string(), plan.salt.to_string()]);
    }
    if let Some(only) = &plan.only {
        options.extend(["--only".to_string(), only.iter().cloned().collect::<Vec<_>>().join(",")]);
    }
    options
}

fn run(seed: u64, mutant: Mutant, plan: &Plan) -> Result<Told> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(options(seed, mutant, plan)).arg("--story").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let failure = text.lines().find_map(|line| {
        let (_, rest) = line.strip_prefix("FAIL seed ")?.split_once(' ')?;
        let (check, message) = rest.split_once(": ")?;
        Some((check.to_string(), message.to_string()))
    });
    Ok(Told { text, failure })
}

/// The events of a story, and when its last line was.
fn tried(told: &Told) -> Tried {
    let mut tried = Tried { events: Vec::new(), failed_at: Duration::ZERO };
    // What follows the failure are counts.
    for line in told.text.lines().take_while(|line| !line.starts_with("FAIL ")) {
        let at = match line.strip_prefix(EVENT).and_then(|event| event.split_once(' ')) {
            Some((name, rest)) => {
                tried.events.push(name.to_string());
                rest.split(' ').next()
            }
            None => line.split_whitespace().next(),
        };
        if let Some(at) = at.and_then(|at| at.parse().ok()) {
            tried.failed_at = Duration::from_secs_f64(at);
        }
    }
    tried
}

/// Makes a failing seed small and tells what is left; gives up to make it smaller after `patience`.
pub(crate) fn tell(seed: u64, mutant: Mutant, patience: Duration) -> Result<ExitCode> {
    let deadline = Instant::now() + patience;
    let whole = run(seed, mutant, &Plan::default())?;
    let Some((check, _)) = whole.failure.clone() else { bail!("seed {seed} does not fail") };
    let all = tried(&whole).events.len();
    let mut runs = 1;
    let (plan, best) = shrink(tried(&whole), |plan| {
        if Instant::now() >= deadline {
            return None;
        }
        runs += 1;
        let told = run(seed, mutant, plan).ok()?;
        let is_same = told.failure.as_ref().is_some_and(|(found, _)| *found == check);
        is_same.then(|| tried(&told))
    });
    // What never came about need not be named.
    let narrow = Plan { only: Some(best.events.iter().cloned().collect::<BTreeSet<_>>()), ..plan.clone() };
    let is_same = |told: &Told| told.failure.as_ref().is_some_and(|(found, _)| *found == check);
    let (plan, told) = match run(seed, mutant, &narrow)? {
        told if is_same(&told) => (narrow, told),
        _ => (plan.clone(), run(seed, mutant, &plan)?),
    };
    let options_of = || options(seed, mutant, &plan).join(" ");
    let (check, message) =
        told.failure.clone().with_context(|| format!("this does not fail again: {}", options_of()))?;
    for line in told.text.lines().take_while(|line| !line.starts_with("FAIL ")) {
        match line.strip_prefix(EVENT).and_then(|event| event.split_once(' ')).map(|(_, rest)| rest.split_once(' ')) {
            Some(Some((at, what))) => println!("{at:>10} * {what}"),
            _ => println!("{line}"),
        }
    }
    println!("FAIL seed {seed} {check}: {message}");
    println!(
        "{all} faults and requests made {}, in {runs} runs; those with a star are what is left",
        best.events.len()
    );
    println!("  replay: cargo run --release -p ensemble-sim -- {} --verbose", options(seed, mutant, &plan).join(" "));
    Ok(ExitCode::FAILURE)
}
