//! `--record docs/simulation.md`: a run writes itself down, a row in the table under "## Ledger".

use crate::world::Summary;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const HEADING: &str = "## Ledger";

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// What was run, if not ordinary ensembles: `--reconfig`, `operator-sim`.
    pub kind: Option<&'static str>,
    /// The first of its seeds.
    pub first_seed: u64,
    /// Seeds in which every promise was kept.
    pub passed: u64,
    /// The others.
    pub failed: u64,
    /// How long it took.
    pub took: Duration,
    /// What the ensembles did, summed up.
    pub total: &'a Summary,
}

/// Adds the run to the ledger in this file.
///
/// # Errors
/// The file cannot be read or written, or has no ledger, or this is no repository.
pub fn record(file: &Path, run: &Run<'_>) -> Result<()> {
    let output =
        Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]).output().context("git")?;
    ensure!(output.status.success(), "git does not say which commit this is");
    let commit = String::from_utf8_lossy(&output.stdout).trim().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let with_row = add(&text, &row(&commit, run))?;
    std::fs::write(file, with_row).with_context(|| format!("cannot write {}", file.display()))
}

fn row(commit: &str, run: &Run<'_>) -> String {
    let Run { kind, first_seed, passed, failed, took, total } = run;
    let kind = kind.map(|kind| format!(" {kind}")).unwrap_or_default();
    let (minutes, hours) = (took.as_secs_f64() / 60.0, total.virtual_time.as_secs_f64() / 3600.0);
    format!(
        "| {commit}{kind} | {first_seed}.. | {} | {minutes:.1} | {hours:.1} | {} | {failed} |",
        passed + failed,
        total.committed
    )
}

/// The text with a row more at the end of the table under the heading.
fn add(text: &str, row: &str) -> Result<String> {
    let mut lines: Vec<&str> = text.lines().collect();
    let heading = lines.iter().position(|line| *line == HEADING).with_context(|| format!("no heading {HEADING}"))?;
    let end = lines.iter().skip(heading + 1).position(|line| line.starts_with("## ")).map(|at| heading + 1 + at);
    let section = heading + 1..end.unwrap_or(lines.len());
    let last = lines[section].iter().rposition(|line| line.starts_with('|')).context("the ledger has no table")?;
    lines.insert(heading + last + 2, row);
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_goes_to_the_end_of_the_ledger_and_nowhere_else() {
        let before = "# A\n\n| x |\n\n## Ledger\n\ntext\n\n| commit |\n|---|\n| 1 |\n\nmore\n\n## Next\n\n| y |\n";
        let after =
            "# A\n\n| x |\n\n## Ledger\n\ntext\n\n| commit |\n|---|\n| 1 |\n| 2 |\n\nmore\n\n## Next\n\n| y |\n";
        assert_eq!(add(before, "| 2 |").ok().as_deref(), Some(after));
        assert!(add("## Ledger\n\n## Next\n| y |\n", "| 2 |").is_err());
        assert!(add("| y |\n", "| 2 |").is_err());
    }

    #[test]
    fn a_row_says_what_was_run() {
        let total = Summary { virtual_time: Duration::from_secs(5400), committed: 7, ..Summary::default() };
        let run =
            Run { kind: None, first_seed: 100, passed: 20, failed: 1, took: Duration::from_secs(90), total: &total };
        assert_eq!(row("abc", &run), "| abc | 100.. | 21 | 1.5 | 1.5 | 7 | 1 |");
        let run = Run { kind: Some("operator-sim"), ..run };
        assert_eq!(row("abc", &run), "| abc operator-sim | 100.. | 21 | 1.5 | 1.5 | 7 | 1 |");
    }
}
