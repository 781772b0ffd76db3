//! `ensemble dev`: a whole ensemble in one terminal, on loopback.

use crate::config;
use crate::exit;
use crate::log;
use crate::member::{Member, MemberError};
use crate::server::Signals;
use anyhow::{Context, bail};
use clap::Args;
use std::fmt::Write;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// Options of `ensemble dev`.
#[derive(Args, Debug)]
pub struct Options {
    /// Servers, 1 to 9
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    members: u16,
    /// Client port of the first server; the others take the next ones
    #[arg(long, default_value_t = 2181)]
    client_port: u16,
    /// Keep the data here; by default a temporary directory, removed at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How log lines look; RUST_LOG selects which, by default info
    #[arg(long, value_enum, default_value_t)]
    log_format: log::Format,
}

/// Runs the ensemble until it is told to stop; the process's exit code.
pub fn run(options: Options) -> i32 {
    log::start(options.log_format);
    match try_run(&options) {
        Ok(()) => exit::FINISHED,
        Err(error) => {
            tracing::error!("{error:#}");
            error.downcast_ref::<MemberError>().map_or(exit::USAGE, MemberError::exit_code)
        }
    }
}

fn try_run(options: &Options) -> anyhow::Result<()> {
    if !fits(options.client_port, options.members) {
        bail!("--client-port: {} leaves no room for {} servers", options.client_port, options.members);
    }
    let temporary = match &options.data {
        Some(_) => None,
        None => Some(TemporaryDirectory::new()?),
    };
    let root = match (&options.data, &temporary) {
        (Some(data), _) => data.as_path(),
        (None, Some(temporary)) => &temporary.0,
        (None, None) => bail!("no data directory"),
    };
    let lines = server_lines(options)?;
    let mut members = Vec::new();
    for id in 1..=options.members {
        let file = write_config(&root.join(format!("server-{id}")), id, &lines)?;
        let (settings, _) = config::load(&file, &[], None, None)?;
        members.push(Member::start(settings)?);
    }
    let connect: Vec<_> = (0..options.members).map(|n| format!("127.0.0.1:{}", options.client_port + n)).collect();
    eprintln!(
        "\n  servers: {}, data in {}\n  connect to {}\n  stop with ctrl-c\n",
        members.len(),
        root.display(),
        connect.join(",")
    );
    Signals::new()?.wait(|| members.iter().any(Member::is_finished));
    members.iter().for_each(Member::stop);
    members.into_iter().try_for_each(Member::join)?;
    Ok(())
}

/// Whether there are `members` ports, 1 to 9, from `first` on.
fn fits(first: u16, members: u16) -> bool {
    first != 0 && first.checked_add(members - 1).is_some()
}

/// The `server.N` lines, which all servers share. Quorum and election ports are whatever is free.
fn server_lines(options: &Options) -> anyhow::Result<String> {
    let mut lines = String::new();
    // Held until all are chosen, so that no port is chosen twice.
    let mut held = Vec::new();
    let mut free_port = || -> anyhow::Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
        let port = listener.local_addr()?.port();
        held.push(listener);
        Ok(port)
    };
    for id in 1..=options.members {
        let (quorum, election, client) = (free_port()?, free_port()?, options.client_port + (id - 1));
        writeln!(lines, "server.{id}=127.0.0.1:{quorum}:{election}:participant;127.0.0.1:{client}")?;
    }
    Ok(lines)
}

fn write_config(directory: &Path, id: u16, lines: &str) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    fs::write(directory.join("myid"), format!("{id}\n"))?;
    let file = directory.join("zoo.cfg");
    let text = format!(
        "# made by `ensemble dev`\ntickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nmaxClientCnxns=0\n\
         standaloneEnabled=false\nadmin.enableServer=false\n\
         metricsProvider.className=org.apache.zookeeper.metrics.impl.DefaultMetricsProvider\n\
         4lw.commands.whitelist=*\njvm.pause.monitor={}\n{lines}",
        directory.display(),
        id == 1,
    );
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// A directory that is removed at the end.
struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn new() -> anyhow::Result<TemporaryDirectory> {
        let path = std::env::temp_dir().join(format!("ensemble-dev-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(TemporaryDirectory(path))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(directory = %self.0.display(), %error, "cannot remove the temporary data");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_ports_may_go_up_to_the_last_one() {
        for (first, members, expected) in
            [(65_533, 3, true), (65_534, 3, false), (65_535, 1, true), (1, 9, true), (0, 1, false)]
        {
            assert_eq!(fits(first, members), expected, "{members} from {first}");
            if expected {
                let options = Options { members, client_port: first, data: None, log_format: log::Format::Human };
                let last = format!("server.{members}=127.0.0.1:");
                let lines = server_lines(&options).unwrap();
                assert!(lines.contains(&last) && lines.ends_with(&format!(":{}\n", first + (members - 1))), "{lines}");
            }
        }
    }
}
