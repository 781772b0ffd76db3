//! `ensemble server`: one server, as `zoo.cfg` says.

use crate::config::{self, ConfigError};
use crate::exit;
use crate::log;
use crate::member::{Member, MemberError};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A pod that ends is routed to a little longer, until each node has heard of it. Until then whoever comes is refused, and goes on to
/// another server at once, instead of not being answered.
const LINGER: Duration = Duration::from_secs(2);

/// Options of `ensemble server`.
#[derive(Args, Debug)]
pub struct Options {
    /// ZooKeeper's configuration file, zoo.cfg
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// What would be a Java system property, as in -Dzookeeper.snapCount=1000
    #[arg(short = 'D', value_name = "NAME=VALUE", value_parser = define)]
    define: Vec<(String, String)>,
    /// Position in a StatefulSet: with ensemble.myidOffset it makes the server's id
    #[arg(long, env = "ENSEMBLE_ORDINAL", value_name = "N", value_parser = clap::value_parser!(i64).range(0..=254))]
    ordinal: Option<i64>,
    /// The ensemble that zoo.cfg has to be of: a file with another ensemble.id is refused
    #[arg(long, env = "ENSEMBLE_ID", value_name = "UUID")]
    ensemble_id: Option<String>,
    /// How log lines look; RUST_LOG selects which, by default info
    #[arg(long, value_enum, default_value_t)]
    log_format: log::Format,
}

pub(crate) fn define(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".into()),
    }
}

/// Runs a server until it is told to stop; the process's exit code.
pub fn run(options: Options) -> i32 {
    log::start(options.log_format);
    let mut signals = None;
    loop {
        match run_once(&options, &mut signals) {
            Ok(End::Told) => return exit::FINISHED,
            Ok(End::Anew) => {}
            Err(code) => return code,
        }
    }
}

/// How a server ends without an error.
enum End {
    /// It was told to.
    Told,
    /// By itself, to be started with what `zoo.cfg` says now.
    Anew,
}

/// Runs a server with what `zoo.cfg` says; the process's exit code when that is not possible, or no more.
fn run_once(options: &Options, signals: &mut Option<Signals>) -> Result<End, i32> {
    let (settings, notes) =
        match config::load(&options.config, &options.define, options.ordinal, options.ensemble_id.as_deref()) {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::error!(file = %options.config.display(), "{error}");
                return Err(match error {
                    ConfigError::OtherServer { .. } => exit::IDENTITY,
                    _ => exit::USAGE,
                });
            }
        };
    for note in notes {
        match note.is_harmless {
            true => tracing::info!(key = note.key, "configuration: {}", note.text),
            false => tracing::warn!(key = note.key, "configuration: {}", note.text),
        }
    }
    let linger = if settings.operator.is_some() { LINGER } else { Duration::ZERO };
    Member::start(settings).and_then(|member| until_signalled(member, linger, signals)).map_err(|error| {
        tracing::error!("{error}");
        error.exit_code()
    })
}

/// Runs a server until it ends, or is told to; then `linger` passes, with its ports closed, before the process ends.
fn until_signalled(member: Member, linger: Duration, signals: &mut Option<Signals>) -> Result<End, MemberError> {
    let signals = match signals {
        Some(signals) => signals,
        none => none.insert(Signals::new().map_err(MemberError::System)?),
    };
    let is_told = signals.wait(|| member.is_finished());
    member.stop();
    member.join()?;
    if !is_told {
        return Ok(End::Anew);
    }
    std::thread::sleep(linger);
    Ok(End::Told)
}

/// SIGTERM and SIGINT. From the first of these on they end the process no more; one that comes while nobody waits is not lost.
pub(crate) struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// # Errors
    /// When signals cannot be received.
    pub(crate) fn new() -> std::io::Result<Signals> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        drop(inside);
        Ok(Signals { runtime, terminate, interrupt })
    }

    /// Waits for one of them, or an end without either; whether it was a signal.
    pub(crate) fn wait(&mut self, is_finished: impl Fn() -> bool) -> bool {
        const LOOK: Duration = Duration::from_millis(200);
        let Signals { runtime, terminate, interrupt } = self;
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => { tracing::info!("stopping: SIGTERM"); return true }
                    _ = interrupt.recv() => { tracing::info!("stopping: SIGINT"); return true }
                    () = tokio::time::sleep(LOOK) => if is_finished() { return false }
                }
            }
        })
    }
}
