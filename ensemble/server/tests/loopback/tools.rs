//! The offline tools as a person runs them: words, exit codes, and the locks of a server that runs.

use crate::client::Client;
use crate::world::Server;
use std::path::Path;
use std::process::{Command, Output};

fn ensemble(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ensemble")).args(arguments).output().unwrap()
}

fn check(arguments: &[&str], code: i32, expected: &str) {
    let Output { status, stdout, stderr } = ensemble(arguments);
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert_eq!(status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(expected), "{expected:?} is not in what {arguments:?} says: {said}");
}

/// The only file of the server whose name begins so.
fn file(server: &Server, prefix: &str) -> String {
    let mut names = std::fs::read_dir(server.directory().join("version-2")).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    names.find(|path| name(path).starts_with(prefix)).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn the_files_of_a_server_are_told_beside_it_and_changed_without_it_only() {
    let mut server = Server::standalone("");
    let mut client = Client::connect(server.client_port()).unwrap();
    client.create("/a", b"x").unwrap();
    let data = server.directory().to_str().unwrap().to_owned();
    let (log, snapshot) = (file(&server, "log."), file(&server, "snapshot."));
    check(&["log", "dump", &log], 0, " create /a,x,[31,s{'world,'anyone}\n],false,1\nEOF reached after ");
    check(&["log", "stat", &log], 0, "  end = clean\n");
    check(&["snapshot", "dump", &snapshot], 0, "ZNode Details (count=5):\n----\n/\n");
    check(&["snapshot", "info", &snapshot], 0, "  znodes = 4\n");
    check(&["snapshot", "compare", "-l", &snapshot, "-r", &snapshot], 0, "All layers compared.\n");
    check(&["purge", "--data", &data, "-n", "3"], 3, "another process uses this directory");
    check(&["purge", "--data", &data, "-n", "1"], 2, "-n: 1 is not 3 or more");
    check(&["config", "check", server.write_config().to_str().unwrap()], 0, "0 problems, ");
    server.stop();
    check(&["purge", "--data", &data, "-n", "3"], 0, "");

    let into = tempfile::tempdir().unwrap();
    let restored = into.path().to_str().unwrap();
    let backup = server.directory().join("version-2");
    let backup = backup.to_str().unwrap();
    check(&["restore", "--data", restored, backup], 2, "restore needs --whole-ensemble");
    check(&["restore", "--data", restored, "--whole-ensemble", backup], 0, "Restored the snapshot of 0x0 and ");
    check(&["restore", "--data", restored, "--whole-ensemble", backup], 3, "a backup is never put over anything");
    // What was written is served again.
    server.edit(|text| text.replace(&data, restored));
    server.start();
    let mut client = Client::connect(server.client_port()).unwrap();
    assert_eq!(client.get("/a").unwrap().unwrap(), b"x");
}

#[test]
fn bad_files_and_words_have_their_exit_codes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log.1");
    std::fs::write(&file, b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").unwrap();
    check(&["log", "dump", file.to_str().unwrap()], 5, "log.1 at offset 24: expected a length of at most");
    check(&["log", "dump", "/none/log.1"], 3, "read /none/log.1: ");
    check(&["log", "dump"], 2, "FILE");
    std::fs::write(&file, "dataDir=/d\ntickTime=x").unwrap();
    check(&["config", "check", file.to_str().unwrap()], 2, "line 2: problem: tickTime (line 2): \"x\" is not a number");
}
