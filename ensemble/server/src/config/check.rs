//! `ensemble config check`: what a server would make of a `zoo.cfg`, line by line, and everything that is wrong with it.
//!
//! [`super::load`] stops at the first problem. Here the line at fault is left out and the rest is read again, until nothing is wrong or what is wrong
//! has no line. So a problem that only the absence of another line causes is told too, after that one.
//!
//! The file and a `dynamicConfigFile` are read, and nothing else: no directory is made, `myid` is not looked at.

use super::keys::{self, Support};
use super::{ConfigError, Note, Place, parse};
use crate::server::define;
use clap::{Args, Subcommand};
use ensemble_proto::properties::{self, Property};
use serde_json::json;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What to do with a configuration.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Tell every problem, and what becomes of each key; exit code 2 when a server would not start with it
    Check(Options),
}

/// Options of `ensemble config check`.
#[derive(Args, Debug)]
pub struct Options {
    /// ZooKeeper's configuration file, zoo.cfg
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What would be a Java system property, as in -Dzookeeper.snapCount=1000
    #[arg(short = 'D', value_name = "NAME=VALUE", value_parser = define)]
    define: Vec<(String, String)>,
    /// Position in a StatefulSet
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..=254))]
    ordinal: Option<i64>,
    /// Print JSON, an object a line
    #[arg(long)]
    json: bool,
}

/// What becomes of a key, or of the whole file.
struct Verdict {
    /// From 1; `None` for what has no line.
    line: Option<usize>,
    /// `accepted`, `ignored`, `unknown` or `problem`.
    kind: &'static str,
    text: String,
}

/// Runs the command; whether a server would start with the configuration.
///
/// # Errors
/// When what was found cannot be printed.
pub fn run(command: &Command, out: &mut dyn Write) -> io::Result<bool> {
    let Command::Check(options) = command;
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
    };
    let verdicts = match read(&options.file) {
        Ok(text) => verdicts(text, &options.define, options.ordinal, read),
        Err(error) => vec![Verdict { line: None, kind: "problem", text: error.to_string() }],
    };
    for Verdict { line, kind, text } in &verdicts {
        match (options.json, line) {
            (true, _) => writeln!(out, "{}", json!({ "line": line, "verdict": kind, "text": text }))?,
            (false, Some(line)) => writeln!(out, "line {line}: {kind}: {text}")?,
            (false, None) => writeln!(out, "{kind}: {text}")?,
        }
    }
    let count = |wanted: &str| verdicts.iter().filter(|verdict| verdict.kind == wanted).count();
    let problems = count("problem");
    if !options.json {
        let (accepted, ignored, unknown) = (count("accepted"), count("ignored"), count("unknown"));
        writeln!(out, "{problems} problems, {accepted} accepted, {ignored} ignored, {unknown} unknown")?;
    }
    Ok(problems == 0)
}

/// What there is to say of a text, problems first, each part by line.
fn verdicts(
    mut text: String,
    defines: &[(String, String)],
    ordinal: Option<i64>,
    read: impl Fn(&Path) -> Result<String, ConfigError>,
) -> Vec<Verdict> {
    let given = properties::parse(&text);
    let mut defines = defines.to_vec();
    let mut problems: Vec<Verdict> = Vec::new();
    let notes = loop {
        let mut notes = Vec::new();
        let Err(error) = parse(&text, &defines, ordinal, &read, &mut notes) else { break notes };
        let (line, is_left_out) = leave_out(&error, &mut text, &mut defines);
        problems.push(Verdict { line, kind: "problem", text: error.to_string() });
        if !is_left_out {
            break notes;
        }
    };
    problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
    let at_fault: Vec<_> = problems.iter().filter_map(|problem| problem.line).collect();
    let rest = given.iter().filter(|property| !at_fault.contains(&property.line));
    let mut verdicts: Vec<_> = rest.map(|property| verdict(property, &notes)).collect();
    verdicts.extend(notes.iter().filter(|note| note.key.starts_with("-D")).map(|note| Verdict {
        line: None,
        kind: "unknown",
        text: format!("{}: {}", note.key, note.text),
    }));
    problems.extend(verdicts);
    problems
}

/// Takes what is at fault out of the text or the defines, if it has a place there; its line, and whether it was there.
fn leave_out(error: &ConfigError, text: &mut String, defines: &mut Vec<(String, String)>) -> (Option<usize>, bool) {
    let (place, key) = match error {
        ConfigError::Value { place, key, .. } | ConfigError::Refused { place, key, .. } => (*place, key.as_str()),
        ConfigError::Membership { place, .. } => (*place, ""),
        _ => return (None, false),
    };
    match place {
        Place::CommandLine => {
            let before = defines.len();
            defines.retain(|(name, _)| name.strip_prefix("zookeeper.").unwrap_or(name) != key);
            (None, defines.len() < before)
        }
        Place::Line(line) => {
            let Some(property) = properties::parse(text).into_iter().find(|property| property.line == line) else {
                return (Some(line), false);
            };
            let kept = |(index, text)| if (line..=property.last_line).contains(&(index + 1)) { "" } else { text };
            *text = text.lines().enumerate().map(kept).collect::<Vec<_>>().join("\n");
            (Some(line), true)
        }
    }
}

/// What becomes of a key that is not at fault.
fn verdict(property: &Property, notes: &[Note]) -> Verdict {
    let Property { line, key, .. } = property;
    let kind = match keys::find(key).map(|key| key.support) {
        None => "unknown",
        Some(Support::Ignored) => "ignored",
        Some(Support::Supported | Support::Refused { .. }) => "accepted",
    };
    let note = notes.iter().find(|note| note.key == *key).map(|note| format!(": {}", note.text));
    Verdict { line: Some(*line), kind, text: format!("{key}{}", note.unwrap_or_default()) }
}

#[cfg(test)]
mod tests {
    use super::super::no_other_file;
    use super::*;

    fn check(text: &str, defines: &[(&str, &str)], expected: &[&str]) {
        let defines: Vec<_> = defines.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let verdicts = verdicts(text.to_owned(), &defines, None, no_other_file);
        let line = |verdict: &Verdict| {
            let line = verdict.line.map_or_else(|| "-".to_owned(), |line| line.to_string());
            format!("{line} {} {}", verdict.kind, verdict.text)
        };
        assert_eq!(verdicts.iter().map(line).collect::<Vec<_>>(), expected, "{text:?}");
    }

    #[test]
    fn a_good_file_is_accepted_key_by_key() {
        let ignored = ": has no effect: There is no Netty";
        check(
            "# mine\ndataDir=/d\nclientPort=2181\nnetty.x=1\nnoSuchKey=1\nelectionAlg=3",
            &[],
            &[
                "2 accepted dataDir",
                "3 accepted clientPort",
                &format!("4 ignored netty.x{ignored}"),
                "5 unknown noSuchKey: unknown key, it has no effect",
                "6 accepted electionAlg",
            ],
        );
    }

    #[test]
    fn every_problem_is_told_with_its_line() {
        check(
            "dataDir=/d\ntickTime=x\n\nsslQuorum=true\nserver.1=nonsense\nclientPort=\\\n  y\n",
            &[("zookeeper.snapCount", "many"), ("zookeeper.none", "1")],
            &[
                "2 problem tickTime (line 2): \"x\" is not a number of milliseconds from 1 to 3600000",
                "4 problem sslQuorum (line 4): \"true\" is not supported (only \"false\" is): There is no TLS between servers yet",
                "5 problem line 5: server.1: \"nonsense\" is not host:quorumPort:electionPort[:role][;[clientHost:]clientPort]",
                "6 problem clientPort (line 6): \"y\" is not a port between 0 and 65535",
                "- problem snapCount (command line): \"many\" is not a number, at least 2",
                "1 accepted dataDir",
                "- unknown -Dzookeeper.none: unknown property, it has no effect",
            ],
        );
    }

    #[test]
    fn what_has_no_line_is_told_last() {
        check(
            "clientPort=2181",
            &[],
            &["- problem dataDir is missing: snapshots and myid live there", "1 accepted clientPort"],
        );
    }
}
