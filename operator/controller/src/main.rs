//! `operator run` looks after every `ZooKeeperEnsemble`; `operator crd`, `manifests`, `alerts` and `chart` print what to install,
//! `reference` what to read.

use clap::{Parser, Subcommand, ValueEnum};
use operator_controller::{manifests, reference, run};
use tracing_subscriber::EnvFilter;

/// Operator for ensembles of ZooKeeper servers.
#[derive(Parser)]
#[command(name = "operator", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Look after the ensembles of a cluster.
    Run(Run),
    /// Print the CustomResourceDefinition.
    Crd,
    /// Print the objects that run the operator in namespace zookeeper-system.
    Manifests,
    /// Print the alerts as a PrometheusRule for all ensembles.
    Alerts,
    /// Print the reference of the resource, docs/crd.md.
    Reference,
    /// Print a file of the operator's chart.
    Chart {
        /// Which one.
        file: ChartFile,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum ChartFile {
    /// What the operator may do.
    Rules,
    /// The admission policies.
    Policies,
    /// What values the chart of an ensemble takes.
    Schema,
}

#[derive(clap::Args)]
struct Run {
    #[command(flatten)]
    options: run::Options,
    /// How logs are written.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Human)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Human,
    Json,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Run(Run { options, log_format }) => {
            log_to_stderr(log_format);
            run::run(options).await
        }
        Command::Crd => print(&manifests::crd()),
        Command::Manifests => print(&manifests::operator()),
        Command::Alerts => print(&manifests::prometheus_rule()),
        Command::Reference => print(&reference::reference()),
        Command::Chart { file: ChartFile::Rules } => print(&manifests::chart_rules()),
        Command::Chart { file: ChartFile::Policies } => print(&manifests::chart_policies()),
        Command::Chart { file: ChartFile::Schema } => print(&manifests::chart_schema()),
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// The level is set by `RUST_LOG`; `info` without it.
fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Human => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
