//! `kubectl zke`: options and commands. See the crate's `lib.rs`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use k8s_openapi::jiff::Timestamp;
use operator_kubectl::change::{self, Change};
use operator_kubectl::cluster::{Cluster, Place};
use operator_kubectl::{leader, list, read, recover, screen, shell};

/// How often a watched screen is read anew.
const WATCH_PAUSE: Duration = Duration::from_secs(2);

/// Looks at ensembles of ZooKeeper servers, and asks the operator for what a person may ask for.
#[derive(Parser)]
#[command(name = "kubectl-zke", bin_name = "kubectl zke", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: Place,
}

#[derive(Subcommand)]
enum Command {
    /// Shows an ensemble on one screen, or lists all of them.
    ///
    /// Who leads, who is behind and by how many transactions, who is down and why, what the operator does and what it waits for, the last
    /// events, and what you can do. Each server is asked through a port-forward; without the right to that, the operator's last words count.
    #[command(
        after_help = "Examples:\n  kubectl zke status zk\n  kubectl zke status zk -n prod --watch\n  kubectl zke status -A"
    )]
    Status(Status),
    /// Restarts every server once, one at a time, the leader last.
    #[command(after_help = "Examples:\n  kubectl zke restart zk\n  kubectl zke restart zk -n prod --dry-run")]
    Restart(OneChange),
    /// Stops every server, and keeps the members, their volumes and spec.replicas.
    #[command(after_help = "Examples:\n  kubectl zke hibernate zk\n  kubectl zke hibernate zk -n test --dry-run")]
    Hibernate(OneChange),
    /// Starts the servers of a hibernated ensemble again.
    #[command(after_help = "Examples:\n  kubectl zke resume zk\n  kubectl zke resume zk -n test --dry-run")]
    Resume(OneChange),
    /// Has the operator give one server new, empty volumes.
    ///
    /// For a volume that nobody can use any more. The operator waits until all other voters are in sync, deletes the claims and the pod, and the
    /// server takes everything from the leader before it votes again.
    #[command(after_help = "Examples:\n  kubectl zke rebuild zk 2\n  kubectl zke rebuild zk zk-2 --dry-run")]
    Rebuild(Rebuild),
    /// Lets the history of one member go on when the majority is lost for good. What only others hold is LOST.
    ///
    /// For an ensemble whose volumes are gone on a majority of its voters. The operator stops every server, starts the one that you name as the
    /// first of a new ensemble, deletes the volumes of all others when it serves, and lets them join. Shows what goes on and what is lost, and
    /// asks for the id of the ensemble.
    #[command(
        after_help = "Examples:\n  kubectl zke recover zk --from-member 0 --dry-run\n  kubectl zke recover zk --from-member zk-0\n  kubectl zke recover zk --from-member 0 --confirm 0d4ff1a2-9f8b-4d1c-8a77-1d1f2f1c9a10"
    )]
    Recover(Recover),
    /// Has the leader hand its office to another server.
    ///
    /// The leader stops taking writes for a moment, waits until its successor has everything, and steps back. It is asked at its admin port,
    /// through a port-forward, with the token in the Secret NAME-superuser.
    #[command(
        after_help = "Examples:\n  kubectl zke transfer-leader zk\n  kubectl zke transfer-leader zk --to zk-1\n  kubectl zke transfer-leader zk --to 1 --dry-run"
    )]
    TransferLeader(TransferLeader),
    /// Opens a client on an ensemble, or forwards a port to it.
    ///
    /// Your own client is run, zk or else zkCli.sh, on a local port that leads to a server that serves. To run the one in the image, on one
    /// server: kubectl exec -it NAME-0 -- /zk
    #[command(
        after_help = "Examples:\n  kubectl zke shell zk\n  kubectl zke shell zk --client /opt/zookeeper/bin/zkCli.sh\n  kubectl zke shell zk --forward-only --port 2181"
    )]
    Shell(Shell),
}

#[derive(Args)]
struct Status {
    /// The ensemble; all of the namespace without it.
    name: Option<String>,
    /// List the ensembles of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "name")]
    all_namespaces: bool,
    /// Read it again every two seconds.
    #[arg(short, long)]
    watch: bool,
}

#[derive(Args)]
struct OneChange {
    /// The ensemble.
    name: String,
    /// Have the API server check the change, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
struct Rebuild {
    #[command(flatten)]
    one: OneChange,
    /// The ordinal of the server, or its pod.
    ordinal: String,
}

#[derive(Args)]
struct Recover {
    #[command(flatten)]
    one: OneChange,
    /// The member whose history goes on: its ordinal, or its pod.
    #[arg(long, value_name = "POD")]
    from_member: String,
    /// The id of the ensemble that is given up, status.ensembleId; you are asked for it without this.
    #[arg(long, value_name = "ID")]
    confirm: Option<String>,
}

#[derive(Args)]
struct TransferLeader {
    /// The ensemble.
    name: String,
    /// The pod that is to lead, or its ordinal; the leader chooses without it.
    #[arg(long, value_name = "POD")]
    to: Option<String>,
    /// Say who would be asked, and ask nobody.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
struct Shell {
    /// The ensemble.
    name: String,
    /// The client, which is run as CLIENT -server HOST:PORT. [default: zk, or else zkCli.sh]
    #[arg(long)]
    client: Option<String>,
    /// Run no client: forward the port until you press Ctrl-C.
    #[arg(long)]
    forward_only: bool,
    /// The local port; any free one for 0.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<()> {
    let cluster = Cluster::of(&cli.place).await?;
    match cli.command {
        Command::Status(status) if status.watch => watch(&cluster, &status).await,
        Command::Status(status) => print(&text(&cluster, &status).await?),
        Command::Restart(one) => {
            let ensemble = cluster.ensemble(&one.name).await?;
            carry_out(&cluster, &one, change::restart(&ensemble, Timestamp::now())).await
        }
        Command::Hibernate(one) => {
            let ensemble = cluster.ensemble(&one.name).await?;
            carry_out(&cluster, &one, change::hibernate(&ensemble)).await
        }
        Command::Resume(one) => {
            let ensemble = cluster.ensemble(&one.name).await?;
            carry_out(&cluster, &one, change::resume(&ensemble)).await
        }
        Command::Rebuild(Rebuild { one, ordinal }) => {
            let ensemble = cluster.ensemble(&one.name).await?;
            carry_out(&cluster, &one, change::rebuild(&ensemble, &ordinal)).await
        }
        Command::Recover(Recover { one, from_member, confirm }) => {
            let recovery = recover::recovery(&read::seen(&cluster, &one.name).await?, &from_member);
            let recovery = recovery.map_err(|why| anyhow!(why))?;
            print(&recovery.text)?;
            let typed = match confirm {
                Some(confirm) => confirm,
                None if one.dry_run => recovery.ensemble_id.clone(),
                None => asked_for(&recovery.ensemble_id)?,
            };
            carry_out(&cluster, &one, recovery.confirmed(&typed)).await
        }
        Command::TransferLeader(one) => {
            let said = leader::transfer(&cluster, &one.name, one.to.as_deref(), one.dry_run).await?;
            print(&format!("{said}\n"))
        }
        Command::Shell(one) => {
            let clients = match (one.forward_only, &one.client) {
                (true, _) => Vec::new(),
                (false, Some(client)) => vec![client.as_str()],
                (false, None) => shell::CLIENTS.to_vec(),
            };
            shell::shell(&cluster, &one.name, &clients, one.port).await
        }
    }
}

/// The screen, or the list.
async fn text(cluster: &Cluster, status: &Status) -> Result<String> {
    match &status.name {
        Some(name) => Ok(screen::screen(&read::seen(cluster, name).await?)),
        None => {
            let all = read::all(cluster, status.all_namespaces).await?;
            Ok(list::list(Timestamp::now(), &all, status.all_namespaces))
        }
    }
}

/// The same again and again. What cannot be read now may be readable later.
async fn watch(cluster: &Cluster, status: &Status) -> Result<()> {
    let clear = if std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
    let mut first = true;
    loop {
        match text(cluster, status).await {
            Ok(text) => print(&format!("{clear}{text}\n"))?,
            Err(error) if first => return Err(error),
            Err(error) => print(&format!("{clear}error: {error:#}\n\n"))?,
        }
        first = false;
        tokio::select! {
            () = tokio::time::sleep(WATCH_PAUSE) => {}
            interrupted = tokio::signal::ctrl_c() => return interrupted.context("Ctrl-C cannot be waited for"),
        }
    }
}

/// What a person types when asked for the id.
fn asked_for(id: &str) -> Result<String> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked here: give --confirm {id}, if this is what you want");
    }
    print("Type the id of the ensemble that is given up, to go on: ")?;
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed).context("standard input cannot be read")?;
    Ok(typed.trim().to_owned())
}

async fn carry_out(cluster: &Cluster, one: &OneChange, change: Result<Change, String>) -> Result<()> {
    let Change { patch, said } = change.map_err(|why| anyhow!(why))?;
    cluster.patch(&one.name, &patch, one.dry_run).await?;
    let dry = if one.dry_run { " (dry run: nothing was changed)" } else { "" };
    print(&format!("{}: {said}{dry}\n", one.name))
}

/// Prints; whoever reads may have gone, as `head` does.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => bail!("standard output cannot be written to: {error}"),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_has_examples_that_it_takes() {
        let mut examples = 0;
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().expect("help has examples").to_string();
            for line in help.lines().skip(1) {
                let words = line.split_whitespace().skip(1);
                Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
                examples += 1;
            }
        }
        assert!(examples >= 10, "only {examples} examples were tried");
    }

    #[test]
    fn options_of_the_place_go_before_and_after_the_command() {
        for line in ["zke -n prod status zk", "zke status zk -n prod", "zke status -n prod --context east zk --watch"] {
            let cli = Cli::try_parse_from(line.split_whitespace()).expect("it is taken");
            assert_eq!(cli.place.namespace.as_deref(), Some("prod"), "{line}");
        }
    }
}
