//! The binary `ensemble`.

use clap::{Parser, Subcommand};
use ensemble_server::{dev, server};

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
}

fn main() {
    let code = match Cli::parse().command {
        Command::Server(options) => server::run(options),
        Command::Dev(options) => dev::run(options),
    };
    std::process::exit(code)
}
