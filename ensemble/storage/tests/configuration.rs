//! What the files of the ensemble's configuration hold, byte by byte as ZooKeeper 3.9.5 writes them, and what is made of them.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use ensemble_proto::ServerId;
use ensemble_proto::durable::Write;
use ensemble_proto::membership::Membership;
use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{ConfigurationFiles, Dir, Disk, Kept, Options, RealDisk, Storage, parse_dynamic};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use support::options;

const CFG: &str = "zoo.cfg";

fn membership(text: &str) -> Membership {
    Membership::parse(&text.replace(' ', "\n")).unwrap()
}

fn disk(files: &[(&str, &str)]) -> SimDisk {
    let disk = SimDisk::new();
    for (name, text) in files {
        put(&disk, name, text);
    }
    disk
}

fn put(disk: &SimDisk, name: &str, text: &str) {
    let mut disk = disk.clone();
    disk.create(Dir::Config, name).unwrap();
    disk.write_at(Dir::Config, name, 0, text.as_bytes()).unwrap();
}

/// Every file, by name.
fn files(disk: &SimDisk) -> Vec<(String, String)> {
    let mut disk = disk.clone();
    let mut names: Vec<_> = disk.list(Dir::Config).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    let text = |disk: &mut SimDisk, name: &str| String::from_utf8(disk.read(Dir::Config, name).unwrap()).unwrap();
    names.into_iter().map(|name| (name.clone(), text(&mut disk, &name))).collect()
}

fn beside(id: i64) -> ConfigurationFiles {
    ConfigurationFiles::beside(CFG, "/etc/zk/", ServerId(id))
}

fn perform(disk: &SimDisk, files: &ConfigurationFiles, writes: &[Write]) {
    let options = Options { configuration: Some(files.clone()), ..options() };
    let mut storage = Storage::open(disk.clone(), options).unwrap().0;
    writes.iter().for_each(|write| storage.perform(write).unwrap());
}

fn check(disk: &SimDisk, expected: &[(&str, &str)]) {
    let found = files(disk);
    let found: Vec<_> = found.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(found, expected);
}

const PAIR: &str = "server.1=a:1:2:participant;0.0.0.0:3 server.2=b:1:2:participant;0.0.0.0:3";

#[test]
fn an_activation_moves_the_servers_out_of_zoo_cfg_and_leaves_the_rest_of_it() {
    let before = "# mine\ndataDir=/d\nclientPort=3\nclientPortListenBacklog=9\nserver.1=a:1:2\nserver.2=\\\n  b:1:2\npeerType=participant\ntickTime=2";
    let disk = disk(&[(CFG, before)]);
    beside(1).back_up(&mut disk.clone()).unwrap();
    let active = membership(&format!("{PAIR} version=100000000"));
    perform(&disk, &beside(1), &[Write::LastSeen(active.clone())]);
    let next = "server.1=a:1:2:participant;0.0.0.0:3\nserver.2=b:1:2:participant;0.0.0.0:3\nversion=100000000";
    check(&disk, &[(CFG, before), ("zoo.cfg.bak", before), ("zoo.cfg.dynamic.next", next)]);
    perform(&disk, &beside(1), &[Write::Membership(active.clone())]);
    let after = "# mine\ndataDir=/d\nclientPortListenBacklog=9\ntickTime=2\ndynamicConfigFile=/etc/zk/zoo.cfg.dynamic.100000000\n";
    let dynamic = next.trim_end_matches("\nversion=100000000");
    check(&disk, &[(CFG, after), ("zoo.cfg.bak", before), ("zoo.cfg.dynamic.100000000", dynamic)]);
    assert_eq!(beside(1).recover(&mut disk.clone()).unwrap(), Kept { active: Some(active), last_seen: None });
    // The text that a person wrote is kept, not the one that was made of it.
    beside(1).back_up(&mut disk.clone()).unwrap();
    assert_eq!(files(&disk)[1].1, before);
}

#[test]
fn the_client_port_stays_in_zoo_cfg_where_the_server_s_line_has_none() {
    let disk = disk(&[(CFG, "clientPort=3\nclientPortAddress=h\nserver.1=a:1:2\nserver.2=b:1:2\n")]);
    let active = membership("server.1=a:1:2 server.2=b:1:2;3 version=1f");
    perform(&disk, &beside(1), &[Write::Membership(active)]);
    let after = "clientPort=3\nclientPortAddress=h\ndynamicConfigFile=/etc/zk/zoo.cfg.dynamic.1f\n";
    assert_eq!(files(&disk)[0].1, after);
}

#[test]
fn a_last_seen_configuration_is_forgotten_when_one_as_new_is_active() {
    let disk = disk(&[(CFG, "server.1=a:1:2\n")]);
    let version = |version: &str| membership(&format!("{PAIR} version={version}"));
    let last_seen = || beside(1).recover(&mut disk.clone()).unwrap().last_seen.map(|membership| membership.version.0);
    perform(&disk, &beside(1), &[Write::Membership(version("10")), Write::LastSeen(version("2f"))]);
    assert_eq!(last_seen(), Some(0x2f));
    perform(&disk, &beside(1), &[Write::Membership(version("1f"))]);
    assert_eq!(last_seen(), Some(0x2f));
    perform(&disk, &beside(1), &[Write::Membership(version("3f"))]);
    assert_eq!(last_seen(), None);
    assert!(files(&disk).iter().all(|(name, _)| name != "zoo.cfg.dynamic.next"));
    // One that is as old as the active one does not count, even when nobody came to remove it.
    put(&disk, "zoo.cfg.dynamic.next", &version("3f").with_version());
    assert_eq!(last_seen(), None);
    beside(1).tidy(&mut disk.clone()).unwrap();
    assert!(files(&disk).iter().all(|(name, _)| name != "zoo.cfg.dynamic.next"));
    put(&disk, "zoo.cfg.dynamic.next", &version("4f").with_version());
    beside(1).tidy(&mut disk.clone()).unwrap();
    assert_eq!(last_seen(), Some(0x4f));
}

#[test]
fn a_joiner_keeps_its_lines_and_who_was_removed_does_not() {
    let lines = "server.1=a:1:2\nserver.3=c:1:2\n";
    let disk = disk(&[(CFG, lines)]);
    let active = |version: &str| Write::Membership(membership(&format!("{PAIR} version={version}")));
    perform(&disk, &beside(3), &[active("1f")]);
    assert_eq!(files(&disk)[0].1, lines);
    let joined = membership("server.1=a:1:2 server.3=c:1:2;4 version=2f");
    perform(&disk, &beside(3), &[Write::Membership(joined.clone())]);
    assert_eq!(files(&disk)[0].1, "dynamicConfigFile=/etc/zk/zoo.cfg.dynamic.2f\n");
    perform(&disk, &beside(3), &[active("3f")]);
    assert_eq!(files(&disk)[0].1, "dynamicConfigFile=/etc/zk/zoo.cfg.dynamic.3f\n");
}

#[test]
fn apart_from_zoo_cfg_the_newest_file_is_the_active_configuration() {
    let disk = SimDisk::new();
    let apart = ConfigurationFiles::apart(CFG, ServerId(9));
    assert_eq!(apart.recover(&mut disk.clone()).unwrap(), Kept::default());
    let version = |version: &str| membership(&format!("{PAIR} version={version}"));
    perform(
        &disk,
        &apart,
        &[Write::Membership(version("9")), Write::Membership(version("10")), Write::LastSeen(version("11"))],
    );
    put(&disk, "zoo.cfg.dynamic.note", "not one of them");
    put(&disk, "zoo.cfg.dynamic.ff.tmp", "half a file");
    let kept = apart.recover(&mut disk.clone()).unwrap();
    assert_eq!(kept, Kept { active: Some(version("10")), last_seen: Some(version("11")) });
}

#[test]
fn a_file_that_is_no_configuration_is_named() {
    let check = |name: &str, text: &str, message: &str| {
        assert_eq!(parse_dynamic(name, text).unwrap_err().to_string(), message, "{text}");
    };
    check(
        "zoo.cfg.dynamic.1f",
        "server.1=a:1",
        "zoo.cfg.dynamic.1f: server.1: \"\" is not an election port between 1 and 65535",
    );
    check("x", "server.1=a:1:2\nversion=1", "x: a version line: the version of this file is in its name");
    check("x", "server.1=a:1:2\ntickTime=1", "x: tickTime: expected server.N, group.G, weight.N or version");
    for (name, version) in [("zoo.cfg.dynamic.1f", 0x1f), ("zoo.cfg.dynamic", 0), ("dynamic", 0)] {
        assert_eq!(parse_dynamic(name, "server.1=a:1:2").unwrap().version.0, version, "{name}");
    }
    let disk = disk(&[
        (CFG, "dynamicConfigFile=/etc/zk/zoo.cfg.dynamic\n"),
        ("zoo.cfg.dynamic", "server.1=a:1:2"),
        ("zoo.cfg.dynamic.next", "serv"),
    ]);
    let error = beside(1).recover(&mut disk.clone()).unwrap_err().to_string();
    assert_eq!(error, "zoo.cfg.dynamic.next: serv: expected server.N, group.G, weight.N or version");
}

#[test]
fn files_are_as_secret_as_zoo_cfg_and_a_directory_that_cannot_be_written_is_found_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(CFG);
    fs::write(&path, "server.1=a:1:2\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let mut disk = RealDisk::only_config(directory.path(), &path);
    beside(1).probe(&mut disk).unwrap();
    beside(1).back_up(&mut disk).unwrap();
    let names: Vec<_> = disk.list(Dir::Config).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(fs::metadata(directory.path().join("zoo.cfg.bak")).unwrap().permissions().mode() & 0o777, 0o640);
    let nowhere = directory.path().join("nowhere");
    let error = beside(1).probe(&mut RealDisk::only_config(&nowhere, &path)).unwrap_err().to_string();
    assert!(error.starts_with("create the configuration's directory/zoo.cfg.dynamic.tmp: "), "{error}");
}
