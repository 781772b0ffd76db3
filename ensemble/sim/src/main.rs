//! `ensemble-sim --seeds 0..1000`, `ensemble-sim --seed 7 --verbose`, `ensemble-sim --seed 7 --shrink`, `ensemble-sim mutants`.

mod cli {
    pub(crate) mod shrink;
}

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use ensemble_sim::marks::Mark;
use ensemble_sim::mutants::Mutant;
use ensemble_sim::record::{Run, record};
use ensemble_sim::shrink::Plan;
use ensemble_sim::trace::Tell;
use ensemble_sim::world::Summary;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A seed is a few hundred thousand small allocations on one thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A seed is made smaller for at most so long, unless said otherwise.
const SHRINK_MINUTES: f64 = 5.0;
/// A switch must be found within this many seeds.
const MUTANT_SEEDS_MAX: u64 = 3000;

/// Runs whole ensembles from seeds and checks every promise.
#[derive(Parser)]
#[command(name = "ensemble-sim")]
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
    /// Print what happens.
    #[arg(long)]
    verbose: bool,
    /// Run servers with this promise broken.
    #[arg(long)]
    mutant: Option<String>,
    /// Runs in which clients also change the ensemble.
    #[arg(long)]
    reconfig: bool,
    /// Stop at the first failure.
    #[arg(long)]
    stop: bool,
    /// Make a failing seed small: leave out faults and requests as long as it still fails, for --minutes at most.
    #[arg(long, requires = "seed")]
    shrink: bool,
    /// Print what was done to the ensemble, and who led it.
    #[arg(long, requires = "seed")]
    story: bool,
    /// End the part with faults after so many milliseconds.
    #[arg(long, requires = "seed")]
    storm_ms: Option<u64>,
    /// End the run after so many milliseconds, whatever has come of it.
    #[arg(long, requires = "seed")]
    until_ms: Option<u64>,
    /// Other latencies than the seed's.
    #[arg(long, requires = "seed", default_value_t = 0)]
    salt: u64,
    /// Only these faults and requests happen, by the names that --story prints.
    #[arg(long, requires = "seed", value_delimiter = ',')]
    only: Option<Vec<String>>,
    /// Write the run down in the ledger of this file.
    #[arg(long, conflicts_with = "mutant")]
    record: Option<PathBuf>,
    /// Print in how many seeds each situation came up.
    #[arg(long)]
    marks: bool,
    #[command(subcommand)]
    command: Option<Subject>,
}

#[derive(Subcommand)]
enum Subject {
    /// Breaks one promise after the other and prints which check noticed, and after how many seeds.
    Mutants {
        /// Only these.
        names: Vec<String>,
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

static PASSED: AtomicU64 = AtomicU64::new(0);

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(Subject::Mutants { names, limit }) = &arguments.command {
        return mutants(names, *limit, arguments.jobs);
    }
    let mutant = match &arguments.mutant {
        None => Mutant::None,
        Some(name) => Mutant::by_name(name).with_context(|| format!("{name} is no mutant"))?,
    };
    if let (true, Some(seed)) = (arguments.shrink, arguments.seed) {
        let minutes = arguments.minutes.unwrap_or(SHRINK_MINUTES);
        return cli::shrink::tell(seed, mutant, Duration::from_secs_f64(minutes * 60.0));
    }
    report_panics(mutant);
    let seeds = match (arguments.seed, &arguments.seeds) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(seeds)) => seeds.clone(),
        (None, None) => bail!("give --seeds START..END, --seed N, or mutants"),
    };
    let kind = if arguments.reconfig { ensemble_sim::changes::CHANGING } else { 0 };
    let seeds = seeds.start | kind..seeds.end | kind;
    let deadline = arguments.minutes.map(|minutes| Instant::now() + Duration::from_secs_f64(minutes * 60.0));
    Ok(run(seeds, mutant, deadline, &arguments))
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
            println!("{} passed, 1 failed", PASSED.load(Ordering::Relaxed));
            std::process::exit(1);
        }
    }));
}

fn fail(seed: u64, mutant: Mutant, check: &str, message: &str) {
    println!("FAIL seed {seed} {check}: {message}");
    let switch = if mutant == Mutant::None { String::new() } else { format!(" --mutant {}", mutant.name()) };
    println!("  replay: cargo run --release -p ensemble-sim -- --seed {seed}{switch} --verbose");
}

fn run(seeds: Range<u64>, mutant: Mutant, deadline: Option<Instant>, arguments: &Arguments) -> ExitCode {
    let Arguments { jobs, verbose, stop, marks, .. } = *arguments;
    let tell = match (verbose, arguments.story) {
        (true, _) => Tell::Everything,
        (false, true) => Tell::Story,
        (false, false) => Tell::Nothing,
    };
    let plan = Plan {
        storm: arguments.storm_ms.map(Duration::from_millis),
        only: arguments.only.as_ref().map(|only| only.iter().cloned().collect()),
        until: arguments.until_ms.map(Duration::from_millis),
        salt: arguments.salt,
    };
    let (started, first_seed) = (Instant::now(), seeds.start);
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicU64::new(0);
    let total: Mutex<Summary> = Mutex::default();
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if seed >= seeds.end || is_over || (stop && failed.load(Ordering::Relaxed) > 0) {
                return;
            }
            RUNNING.set(Some(seed));
            match ensemble_sim::run_plan(seed, mutant, plan.clone(), tell) {
                Ok(summary) => {
                    PASSED.fetch_add(1, Ordering::Relaxed);
                    if verbose || seeds.end - seeds.start == 1 {
                        println!("seed {seed} {summary:?}");
                    }
                    add(&total, &summary);
                }
                Err(violation) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    fail(seed, mutant, violation.check, &violation.message);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(worker);
        }
    });
    let (passed, failed) = (PASSED.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    let mut unseen = Vec::new();
    if let Ok(total) = total.lock() {
        let hours = total.virtual_time.as_secs_f64() / 3600.0;
        println!(
            "{:.0} seeds a minute; {hours:.1} simulated hours, {} requests, {} answered, {} transactions, {} leaders",
            (passed + failed) as f64 / minutes,
            total.requests,
            total.answered,
            total.committed,
            total.leaders
        );
        if marks {
            Mark::ALL.iter().for_each(|(mark, text)| println!("{:>8}  {text}", total.marks.count(*mark)));
        }
        let seen = Mark::ALL.iter().filter(|(mark, _)| total.marks.count(*mark) > 0).count();
        println!("{seen} of {} situations came up", Mark::ALL.len());
        if mutant == Mutant::None {
            unseen = total.marks.unseen(passed + failed, arguments.reconfig);
        }
    }
    if let Some(file) = &arguments.record
        && let Ok(total) = total.lock()
    {
        let kind = arguments.reconfig.then_some("--reconfig");
        let run = Run { kind, first_seed, passed, failed, took: started.elapsed(), total: &total };
        if let Err(error) = record(file, &run) {
            println!("NOT RECORDED: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    for text in &unseen {
        println!("NEVER SEEN: {text}");
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 && unseen.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn add(total: &Mutex<Summary>, summary: &Summary) {
    if let Ok(mut total) = total.lock() {
        total.virtual_time += summary.virtual_time;
        total.requests += summary.requests;
        total.answered += summary.answered;
        total.committed += summary.committed;
        total.leaders += summary.leaders;
        total.marks.add_seed(&summary.marks);
    }
}

/// Each mutant runs in a process of its own, since an assertion may abort it.
fn mutants(names: &[String], limit: u64, jobs: usize) -> Result<ExitCode> {
    let all: Vec<String> = Mutant::all().into_iter().map(Mutant::name).collect();
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        bail!("{unknown} is no mutant; there are {}", all.join(", "));
    }
    let wanted = if names.is_empty() { all } else { names.to_vec() };
    println!("{:<36} {:>14}  noticed by", "mutant", "seed");
    let mut missed = 0;
    let mut by_check: BTreeMap<String, usize> = BTreeMap::new();
    for name in &wanted {
        let (seeds, jobs) = (format!("0..{limit}"), jobs.to_string());
        let arguments = ["--seeds", &seeds, "--jobs", &jobs, "--mutant", name, "--stop"];
        let kind = Mutant::BY_CHANGES.contains(&name.as_str()).then_some("--reconfig");
        let output = Command::new(std::env::current_exe()?).args(arguments).args(kind).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match first_failure(&text) {
            Some((seed, check, message)) => {
                *by_check.entry(check.clone()).or_default() += 1;
                let message: String = message.chars().take(110).collect();
                let seed = format!("{}{}", kind.map_or("", |_| "changing "), seed & !ensemble_sim::changes::CHANGING);
                println!("{name:<36} {seed:>14}  {check}: {message}");
            }
            None => {
                missed += 1;
                println!("{name:<36} {:>14}  NOT FOUND", "-");
            }
        }
    }
    println!(
        "{} of {} mutants found within {limit} seeds; by check: {by_check:?}",
        wanted.len() - missed,
        wanted.len()
    );
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The failure with the smallest seed.
fn first_failure(text: &str) -> Option<(u64, String, String)> {
    let failures = text.lines().filter_map(|line| {
        let (seed, rest) = line.strip_prefix("FAIL seed ")?.split_once(' ')?;
        let (check, message) = rest.split_once(": ")?;
        Some((seed.parse().ok()?, check.to_string(), message.to_string()))
    });
    failures.min()
}
