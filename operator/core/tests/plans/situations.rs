//! One folder a situation: `observed.yaml` is what a pass sees, `plan.txt` what it decides and reports.
//!
//! `UPDATE=1 cargo test -p operator-core --test plans situations` writes the plans anew; read the difference before you keep it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use operator_api::ZooKeeperEnsembleStatus;
use operator_core::{Plan, Step, plan};

use crate::common::Situation;

#[test]
fn situations() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/situations");
    let mut folders: Vec<_> =
        fs::read_dir(root).expect("the folder exists").map(|entry| entry.expect("a folder").path()).collect();
    folders.sort();
    assert!(folders.len() >= 20, "only {} situations were found", folders.len());
    let failed: Vec<String> = folders.iter().filter_map(|folder| check(folder).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Compares the plan for a folder's observation with the folder's plan.
fn check(folder: &Path) -> Result<(), String> {
    let name = folder.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    let text = fs::read_to_string(folder.join("observed.yaml")).map_err(|error| format!("{name}: {error}"))?;
    let situation: Situation = serde_saphyr::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
    assert!(!situation.about.is_empty());
    let observed = situation.observed();
    let got = render(&plan(&observed), observed.ensemble.status.as_ref());
    let file = folder.join("plan.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &got).map_err(|error| format!("{name}: {error}"))?;
    }
    let want = fs::read_to_string(&file).unwrap_or_default();
    if got == want { Ok(()) } else { Err(format!("== {name}: wanted\n{want}\n== got\n{got}")) }
}

/// Steps, when to look again, and the conditions that the pass leaves.
fn render(plan: &Plan, old: Option<&ZooKeeperEnsembleStatus>) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        writeln!(text, "{step}").expect("a String takes it");
    }
    writeln!(text, "next: {:?}\n", plan.next).expect("a String takes it");
    let written = plan.steps.iter().rev().find_map(|step| {
        if let Step::Record(_, status) | Step::WriteStatus(status) = step { Some(&**status) } else { None }
    });
    let Some(status) = written.or(old) else { return text };
    for condition in &status.conditions {
        writeln!(text, "{}={} {}: {}", condition.type_, condition.status, condition.reason, condition.message)
            .expect("a String takes it");
    }
    for member in &status.members {
        let volume = member.volume_id.as_deref().unwrap_or("-");
        writeln!(text, "{} {} {} volume={volume}", member.pod, member.role, member.state).expect("a String takes it");
    }
    text
}
