//! The binary `ensemble`.

use clap::{Parser, Subcommand};
use ensemble_server::config::check;
use ensemble_server::{dev, exit, server};
use ensemble_tools::{ToolError, log, purge, restore, snapshot};
use std::io::{self, BufWriter, Write};

/// A ZooKeeper-compatible server.
#[derive(Parser)]
#[command(name = "ensemble", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one server
    Server(server::Options),
    /// Run a whole ensemble on loopback, to try it
    Dev(dev::Options),
    /// Look into transaction logs
    #[command(subcommand)]
    Log(log::Command),
    /// Look into snapshots
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    /// Remove old snapshots and logs of a server that does not run
    Purge(purge::Options),
    /// Put a backup into the empty directories of a server
    Restore(restore::Options),
    /// Look into a zoo.cfg
    #[command(subcommand)]
    Config(check::Command),
}

fn main() {
    let code = match Cli::parse().command {
        Command::Server(options) => server::run(options),
        Command::Dev(options) => dev::run(options),
        Command::Log(command) => tool(|out| log::run(&command, out)),
        Command::Snapshot(command) => tool(|out| snapshot::run(&command, out)),
        Command::Purge(options) => tool(|out| purge::run(&options, out)),
        Command::Restore(options) => tool(|out| restore::run(&options, out)),
        Command::Config(command) => check_config(&command),
    };
    std::process::exit(code)
}

/// Checks a configuration on the standard output; the process's exit code.
fn check_config(command: &check::Command) -> i32 {
    let mut is_accepted = true;
    let code = tool(|out| {
        is_accepted = check::run(command, out)?;
        Ok(())
    });
    if is_accepted { code } else { exit::USAGE }
}

/// Runs a tool on the standard output; the process's exit code.
fn tool(run: impl FnOnce(&mut dyn Write) -> Result<(), ToolError>) -> i32 {
    let mut out = BufWriter::new(io::stdout().lock());
    let ended = run(&mut out);
    let ended = out.flush().map_err(ToolError::Output).and(ended);
    let error = match ended {
        Ok(()) => return exit::FINISHED,
        // Whoever read it has read enough.
        Err(ToolError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => return exit::FINISHED,
        Err(error) => error,
    };
    eprintln!("{error}");
    match error {
        ToolError::Usage(_) => exit::USAGE,
        ToolError::Unusable(_) => exit::DATA_DIRECTORY,
        ToolError::Damaged(_) => exit::UNTRUSTED,
        ToolError::Output(_) => exit::DISK,
    }
}
