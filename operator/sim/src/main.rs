//! `operator-sim --seeds 0..1000`, `operator-sim --seed 7 --story`, `operator-sim mutants`.

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use ensemble_sim::record::{Run, record};
use ensemble_sim::trace::Tell;
use ensemble_sim::world::Summary;
use operator_sim::marks::Marks;
use operator_sim::mutants::Mutant;
use operator_sim::world::Outcome;
use std::cell::Cell;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A seed is a few million small allocations on one thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A broken operator must be found within this many seeds.
const MUTANT_SEEDS_MAX: u64 = 1000;

/// Runs operators on simulated clusters from seeds and checks every promise.
#[derive(Parser)]
#[command(name = "operator-sim")]
struct Arguments {
    /// Seeds to run, for example 0..1000.
    #[arg(long, value_parser = parse_range)]
    seeds: Option<Range<u64>>,
    /// One seed to replay.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Stop to begin new seeds after so many minutes.
    #[arg(long)]
    minutes: Option<f64>,
    /// Seeds run at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Print what happens, every message and write.
    #[arg(long)]
    verbose: bool,
    /// Print what people and operators do, and who leads.
    #[arg(long)]
    story: bool,
    /// Run an operator that is broken in this way.
    #[arg(long)]
    mutant: Option<String>,
    /// Stop at the first failure.
    #[arg(long)]
    stop: bool,
    /// Print in how many seeds each situation came up.
    #[arg(long)]
    marks: bool,
    /// Add the run to the ledger in this file, which is docs/simulation.md.
    #[arg(long)]
    record: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Subject>,
}

#[derive(Subcommand)]
enum Subject {
    /// Runs one broken operator after the other and prints which check noticed, and after how many seeds.
    Mutants {
        /// At most so many seeds each.
        #[arg(long, default_value_t = MUTANT_SEEDS_MAX)]
        limit: u64,
    },
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (start, end) = text.split_once("..").ok_or("a range is START..END")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    Ok(number(start)?..number(end)?)
}

thread_local! {
    /// The seed that this thread is running, for the message of a panic.
    static RUNNING: Cell<Option<u64>> = const { Cell::new(None) };
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(Subject::Mutants { limit }) = arguments.command {
        return mutants(limit, arguments.jobs);
    }
    let mutant = match &arguments.mutant {
        None => Mutant::None,
        Some(name) => Mutant::by_name(name).with_context(|| format!("{name} is no mutant"))?,
    };
    report_panics(mutant);
    let seeds = match (arguments.seed, &arguments.seeds) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(seeds)) => seeds.clone(),
        (None, None) => bail!("give --seeds START..END, --seed N, or mutants"),
    };
    Ok(run(seeds, mutant, &arguments))
}

/// Where a panic aborts the process, it still says which seed it was.
fn report_panics(mutant: Mutant) {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let Some(seed) = RUNNING.get() else { return default(panic) };
        if cfg!(panic = "abort") {
            let text = panic.payload_as_str().unwrap_or_default();
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            fail(seed, mutant, "assert", &format!("{text} ({place})"));
            std::process::exit(1);
        }
    }));
}

fn fail(seed: u64, mutant: Mutant, check: &str, message: &str) {
    println!("FAIL seed {seed} {check}: {message}");
    let switch = if mutant == Mutant::None { String::new() } else { format!(" --mutant {}", mutant.name()) };
    println!("  replay: cargo run --release -p operator-sim -- --seed {seed}{switch} --story");
}

#[derive(Default)]
struct Total {
    passed: u64,
    servers: Summary,
    slowest: Duration,
    writes: u64,
    marks: Marks,
}

impl Total {
    fn add(&mut self, outcome: &Outcome) {
        self.passed += 1;
        self.servers.virtual_time += outcome.servers.virtual_time;
        self.servers.committed += outcome.servers.committed;
        self.slowest = self.slowest.max(outcome.converged_in);
        self.writes += outcome.writes;
        self.marks.add_seed(&outcome.marks);
    }
}

fn run(seeds: Range<u64>, mutant: Mutant, arguments: &Arguments) -> ExitCode {
    let tell = match (arguments.verbose, arguments.story) {
        (true, _) => Tell::Everything,
        (false, true) => Tell::Story,
        (false, false) => Tell::Nothing,
    };
    let started = Instant::now();
    let deadline = arguments.minutes.map(|minutes| started + Duration::from_secs_f64(minutes * 60.0));
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let total: Mutex<Total> = Mutex::default();
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if seed >= seeds.end || is_over || (arguments.stop && failed.load(Ordering::Relaxed) > 0) {
                return;
            }
            RUNNING.set(Some(seed));
            match operator_sim::run(seed, mutant, tell) {
                Ok(outcome) => {
                    if seeds.end - seeds.start == 1 {
                        println!("seed {seed} {:?}, converged in {:?}", outcome.servers, outcome.converged_in);
                    }
                    if let Ok(mut total) = total.lock() {
                        total.add(&outcome);
                    }
                }
                Err(violation) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    fail(seed, mutant, violation.check, &violation.message);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(worker);
        }
    });
    let failed = failed.load(Ordering::Relaxed);
    let Ok(total) = total.into_inner() else { return ExitCode::FAILURE };
    println!(
        "{:.0} seeds a minute; {:.1} simulated hours, {} calls of operators, {} transactions; the slowest converged in {} s",
        (total.passed + failed) as f64 / (started.elapsed().as_secs_f64() / 60.0),
        total.servers.virtual_time.as_secs_f64() / 3600.0,
        total.writes,
        total.servers.committed,
        total.slowest.as_secs(),
    );
    if arguments.marks {
        total.marks.all().for_each(|(text, count)| println!("{count:>8}  {text}"));
    }
    if let Some(file) = &arguments.record {
        let (first_seed, passed, took) = (seeds.start, total.passed, started.elapsed());
        let run = Run { kind: Some("operator-sim"), first_seed, passed, failed, took, total: &total.servers };
        if let Err(error) = record(file, &run) {
            println!("NOT RECORDED: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    let unseen = if mutant == Mutant::None { total.marks.unseen(total.passed + failed) } else { Vec::new() };
    unseen.iter().for_each(|text| println!("NEVER SEEN: {text}"));
    println!("{} passed, {failed} failed", total.passed);
    if failed == 0 && unseen.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Each runs in a process of its own, since an assertion may abort it.
fn mutants(limit: u64, jobs: usize) -> Result<ExitCode> {
    println!("{:<24} {:>8}  noticed by", "mutant", "seed");
    let mut missed = 0;
    for (name, _) in Mutant::ALL {
        let (seeds, jobs) = (format!("0..{limit}"), jobs.to_string());
        let arguments = ["--seeds", &seeds, "--jobs", &jobs, "--mutant", name, "--stop"];
        let output = Command::new(std::env::current_exe()?).args(arguments).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let failures = text.lines().filter_map(|line| line.strip_prefix("FAIL seed ")?.split_once(' '));
        let first = failures.filter_map(|(seed, rest)| Some((seed.parse::<u64>().ok()?, rest))).min();
        match first {
            Some((seed, rest)) => println!("{name:<24} {seed:>8}  {}", rest.chars().take(110).collect::<String>()),
            None => {
                missed += 1;
                println!("{name:<24} {:>8}  NOT FOUND", "-");
            }
        }
    }
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
