//! Data and log on a volume each, and one of them is lost: what was granted once is never granted again.

use crate::admin::{ENSEMBLE, get, http, operated, status};
use crate::client::Client;
use crate::process::Process;
use crate::world::{Server, wait_for};
use ensemble_proto::ErrorCode;
use ensemble_server::exit;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Lost {
    Data,
    Log,
}

/// A server that was granted, led, stored what `write` says, and stopped; its log volume, and the volume id.
fn granted(write: bool) -> (Server, TempDir, Value) {
    let log = tempfile::tempdir().unwrap();
    let mut server = operated(ENSEMBLE, &format!("dataLogDir={}\n", log.path().display()));
    server.start();
    let volume = status(&server)["volumeId"].clone();
    let grant = json!({"ensembleId": ENSEMBLE, "voters": [1], "volumeId": volume}).to_string();
    let (code, body) = http(server.admin_port(), "POST", "/bootstrap", "Authorization: Bearer secret\r\n", &grant);
    assert_eq!(code, 200, "{body}");
    wait_for("the server to lead", || (get(server.admin_port(), "/readyz").0 == 200).then_some(()));
    server.stop();
    if write {
        server.start();
        let mut client = wait_for("a leader", || Client::connect(server.client_port()).ok());
        assert_eq!(client.create("/a", b"").unwrap(), ErrorCode::OK);
        server.stop();
    }
    (server, log, volume)
}

/// Removes everything but what is not on the volume in Kubernetes.
fn empty(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        match entry.file_name().to_str() {
            Some("myid" | "zoo.cfg") => {}
            _ if path.is_dir() => fs::remove_dir_all(path).unwrap(),
            _ => fs::remove_file(path).unwrap(),
        }
    }
}

/// The zoo.cfg of a former ensemble, which a kubelet may still mount, starts nothing and writes nothing.
#[test]
fn the_file_of_another_ensemble_is_refused_before_anything_is_written() {
    const OTHER: &str = "0d4ff1a2-9f8b-4d1c-8a77-1d1f2f1c9aff";
    let server = operated(ENSEMBLE, "");
    let config = server.write_config();
    let files = || fs::read_dir(server.directory()).unwrap().count();
    let before = files();
    let mut process = Process::start(&["server", "--config", config.to_str().unwrap(), "--ensemble-id", OTHER]);
    assert_eq!(process.wait().code(), Some(exit::USAGE));
    process.wait_for_line(&[&format!("ensemble.id is {ENSEMBLE}, and this server is to be of ensemble {OTHER}")]);
    assert_eq!(files(), before);
    let of_its_own = ENSEMBLE.to_uppercase();
    let process = Process::start(&["server", "--config", config.to_str().unwrap(), "--ensemble-id", &of_its_own]);
    process.client_port();
}

fn lose(server: &Server, log: &TempDir, lost: Lost) {
    match lost {
        Lost::Data => empty(server.directory()),
        Lost::Log => empty(log.path()),
    }
}

/// Files of a format that it does not know are not damage, and not somebody else's.
#[test]
fn a_server_that_is_older_than_its_files_leaves_them_alone() {
    let (mut server, _log, _) = granted(true);
    let file = server.directory().join("ensemble-identity.json");
    let own = fs::read_to_string(&file).unwrap();
    assert!(own.contains(r#""formatVersion": 1"#), "{own}");
    fs::write(&file, own.replace(r#""formatVersion": 1"#, r#""formatVersion": 2"#)).unwrap();
    let error = server.try_start().unwrap_err();
    assert_eq!(error.exit_code(), exit::DATA_DIRECTORY);
    assert!(error.to_string().contains("the files have format 2, and this server reads formats up to 1"), "{error}");
    fs::write(&file, own).unwrap();
    server.start();
    assert_eq!(status(&server)["store"]["formatVersion"], 1);
    let mut client = wait_for("a leader", || Client::connect(server.client_port()).ok());
    assert_eq!(client.create("/b", b"").unwrap(), ErrorCode::OK);
}

#[test]
fn with_one_volume_lost_a_server_refuses_to_start_once_it_stored_something() {
    for (lost, write) in [(Lost::Log, false), (Lost::Log, true), (Lost::Data, true)] {
        let (mut server, log, _) = granted(write);
        lose(&server, &log, lost);
        let error = server.try_start().unwrap_err();
        assert_eq!(error.exit_code(), exit::IDENTITY, "{lost:?}, {write}: {error}");
        assert!(error.to_string().contains("a volume was lost"), "{lost:?}, {write}: {error}");
    }
}

#[test]
fn with_its_data_volume_lost_a_server_asks_for_a_grant_under_another_volume_id() {
    let (mut server, log, volume) = granted(false);
    lose(&server, &log, Lost::Data);
    server.start();
    let status = status(&server);
    assert_eq!(status["bootstrap"], "awaiting-grant");
    assert_ne!(status["volumeId"], volume);
}
