//! This repository keeps its own rules; and the rules notice when one is broken.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e_rules::{arrows, purity};
use serde_json::{Value, json};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the crate lies two folders below the root")
}

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--locked"];
    let output = Command::new(cargo).args(arguments).current_dir(repository()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

#[test]
fn every_dependency_follows_an_arrow() {
    let dependencies = arrows::dependencies(&metadata()).unwrap();
    assert!(dependencies.contains_key("ensemble-proto"), "the workspace was not read");
    let found = arrows::violations(&dependencies);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_package_is_named_after_its_folder() {
    for package in metadata()["packages"].as_array().unwrap() {
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
        let folder = manifest.parent().unwrap().strip_prefix(repository()).unwrap().to_string_lossy().replace('/', "-");
        assert_eq!(package["name"].as_str().unwrap(), folder, "a package is its path with a dash");
    }
}

#[test]
fn pure_crates_decide_and_do_not_act() {
    let mut found = Vec::new();
    for folder in purity::PURE {
        found.extend(purity::violations(&repository().join(folder)).unwrap());
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn pure_crates_depend_on_no_crate_that_acts() {
    for package in metadata()["packages"].as_array().unwrap() {
        let manifest = package["manifest_path"].as_str().unwrap();
        if !purity::PURE.iter().any(|folder| manifest.ends_with(&format!("/{folder}/Cargo.toml"))) {
            continue;
        }
        for dependency in package["dependencies"].as_array().unwrap().iter().filter(|it| it["kind"].is_null()) {
            let name = dependency["name"].as_str().unwrap().replace('-', "_");
            assert!(!purity::FORBIDDEN_CRATES.contains(&name.as_str()), "{} depends on {name}", package["name"]);
        }
    }
}

/// Whether a dependency of one package on another is noticed.
fn check_arrow(package: &str, uses: &str, kind: Option<&str>, allowed: bool) {
    let metadata = json!({"packages": [
        {"name": package, "dependencies": [{"name": uses, "kind": kind}, {"name": "serde", "kind": null}]},
        {"name": uses, "dependencies": []},
    ]});
    let found = arrows::violations(&arrows::dependencies(&metadata).unwrap());
    assert_eq!(found.is_empty(), allowed, "{package} -> {uses}: {found:?}");
}

#[test]
fn an_arrow_that_is_not_drawn_is_noticed() {
    check_arrow("ensemble-peer", "ensemble-zab", None, true);
    check_arrow("ensemble-peer", "ensemble-proto", None, true);
    check_arrow("ensemble-server", "ensemble-proto", None, true);
    check_arrow("ensemble-peer", "ensemble-storage", None, false);
    check_arrow("ensemble-zab", "ensemble-datatree", None, false);
    check_arrow("ensemble-proto", "ensemble-zab", Some("dev"), false);
    check_arrow("ensemble-sim", "ensemble-server", None, false);
    check_arrow("operator-api", "operator-core", None, false);
    check_arrow("operator-core", "ensemble-proto", Some("dev"), false);
}

/// What is found in a source text, as `line what`.
fn check_source(source: &str, expected: &[(usize, &str)]) {
    let found = purity::violations_in(source).unwrap();
    let short: Vec<(usize, &str)> =
        found.iter().map(|(line, what)| (*line, what.split(": ").next().unwrap_or(what))).collect();
    assert_eq!(short, expected, "{source}");
}

#[test]
fn an_effect_in_a_pure_crate_is_noticed() {
    check_source("use std::time::{Duration, Instant};", &[(1, "std::time::Instant")]);
    check_source("fn f() {\n    let now = std::time::SystemTime::now();\n}", &[(2, "std::time::SystemTime::now")]);
    check_source("use std::fs;", &[(1, "std::fs")]);
    check_source("use std::fs::*;", &[(1, "std::fs")]);
    check_source("use std::{collections::{BTreeMap, HashMap as Map}};", &[(1, "std::collections::HashMap")]);
    check_source("fn f() { tokio::spawn(g()); }", &[(1, "tokio::spawn")]);
    check_source("async fn f() {}", &[(1, "async fn")]);
    check_source("fn f() { let x = rand::random(); }", &[(1, "rand::random")]);
    check_source("fn f() { println!(\"{}\", 1); }", &[(1, "println!")]);
    check_source("fn f() { assert!(std::thread::panicking()); }", &[(1, "std::thread::panicking")]);
    check_source("use std::net::TcpStream;", &[(1, "std::net::TcpStream")]);
}

#[test]
fn what_only_describes_is_not_an_effect() {
    check_source("use std::net::IpAddr; use std::time::Duration; use hashbrown::HashTable;", &[]);
    check_source("// std::fs\nconst HELP: &str = \"std::fs::read\";", &[]);
    check_source("#[cfg(test)]\nmod tests { use std::fs; }", &[]);
    check_source("#[cfg(all(test, unix))]\nfn f() { std::fs::read(\"x\").unwrap(); }", &[]);
    check_source("#[test]\nfn f() { std::fs::read(\"x\").unwrap(); }", &[]);
    check_source("fn f(random: u64) { g(random); }", &[]);
}
