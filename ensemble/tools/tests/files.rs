//! The tools on files that ZooKeeper 3.8.0 and 3.9.5 wrote, whole and damaged, and on directories of our own.
//!
//! `golden/` is what ZooKeeper 3.9.5's own tools print of the same files (`zkTxnLogToolkit.sh`, `zkSnapShotToolkit.sh`, `zkSnapshotComparer.sh`), with the
//! deviations that the modules name: what a multi holds, and the order of siblings. `GOLDEN=write` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use clap::{Args, Subcommand};
use ensemble_proto::Zxid;
use ensemble_storage::{Compression, Options, RealDisk, SnapshotWriter, Storage, empty_database};
use ensemble_tools::{ToolError, log, purge, restore, snapshot};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The shared fixtures: `ENSEMBLE_FIXTURES`, or `shared/fixtures` beside one of the directories above.
fn fixture(name: &str) -> PathBuf {
    let beside = || {
        let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        above.map(|directory| directory.join("shared/fixtures")).find(|path| path.is_dir())
    };
    let fixtures = std::env::var_os("ENSEMBLE_FIXTURES").map(PathBuf::from).or_else(beside);
    fixtures.expect("shared/fixtures is in no directory above; set ENSEMBLE_FIXTURES").join(name)
}

/// What a tool printed, and how it ended.
struct Printed {
    text: String,
    ended: Result<(), ToolError>,
}

impl Printed {
    fn by(run: impl FnOnce(&mut Vec<u8>) -> Result<(), ToolError>) -> Printed {
        let mut out = Vec::new();
        let ended = run(&mut out);
        Printed { text: String::from_utf8(out).unwrap(), ended }
    }

    fn ok(self) -> String {
        self.ended.unwrap();
        self.text
    }

    fn damage(&self) -> &str {
        match &self.ended {
            Err(ToolError::Damaged(lines)) => &lines[0],
            other => panic!("{other:?} is no damage"),
        }
    }
}

/// Words as the command line gives them.
fn words<T: AsRef<std::ffi::OsStr>>(words: &[T]) -> Vec<OsString> {
    std::iter::once("tool".into()).chain(words.iter().map(|word| word.as_ref().to_owned())).collect()
}

fn subcommand<C: Subcommand, T: AsRef<std::ffi::OsStr>>(of: &[T]) -> C {
    let parser = C::augment_subcommands(clap::Command::new("tool"));
    C::from_arg_matches(&parser.try_get_matches_from(words(of)).unwrap()).unwrap()
}

fn options<O: Args, T: AsRef<std::ffi::OsStr>>(of: &[T]) -> O {
    let parser = O::augment_args(clap::Command::new("tool"));
    O::from_arg_matches(&parser.try_get_matches_from(words(of)).unwrap()).unwrap()
}

fn run_log<T: AsRef<std::ffi::OsStr>>(of: &[T]) -> Printed {
    Printed::by(|out| log::run(&subcommand(of), out))
}

fn run_snapshot<T: AsRef<std::ffi::OsStr>>(of: &[T]) -> Printed {
    Printed::by(|out| snapshot::run(&subcommand(of), out))
}

fn check_golden(name: &str, found: &str) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var("GOLDEN").as_deref() == Ok("write") {
        fs::write(&golden, found).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap();
    for (line, (expected, found)) in expected.lines().zip(found.lines()).enumerate() {
        assert_eq!(found, expected, "{name}, line {}", line + 1);
    }
    assert_eq!(found.lines().count(), expected.lines().count(), "{name}");
}

/// A copy of a fixture with some bytes changed.
fn changed(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(fixture(name)).unwrap();
    change(&mut bytes);
    let file = directory.path().join(Path::new(name).file_name().unwrap());
    fs::write(&file, bytes).unwrap();
    (directory, file)
}

#[test]
fn a_log_is_told_as_zookeeper_tells_it() {
    check_golden("log.1.txt", &run_log(&["dump".into(), fixture("zookeeper-3.8/log.1")]).ok());
    check_golden("log.22.txt", &run_log(&["dump".into(), fixture("zookeeper-3.8/log.22")]).ok());
}

#[test]
fn a_snapshot_is_told_as_zookeeper_tells_it() {
    for (file, golden) in [
        ("zookeeper-3.8/snapshot.21", "3.8-snapshot.21.txt"),
        ("zookeeper-3.9/snapshot.10000002c", "3.9-snapshot.10000002c.txt"),
    ] {
        check_golden(golden, &run_snapshot(&["dump".into(), fixture(file)]).ok());
    }
    // Compressed, it is the same.
    let plain = run_snapshot(&["dump".into(), fixture("zookeeper-3.8/snapshot.21")]).ok();
    for name in ["zookeeper-3.8/snapshot.21.gz", "zookeeper-3.8/snapshot.21.snappy"] {
        assert_eq!(run_snapshot(&["dump".into(), fixture(name)]).ok(), plain, "{name}");
    }
    let data = run_snapshot(&["dump".into(), "-d".into(), fixture("zookeeper-3.8/snapshot.21")]).ok();
    assert!(data.contains("\n/app\n") && data.contains("\n  data = aGVsbG8z\n"), "{data}");
}

#[test]
fn two_snapshots_are_compared_as_zookeeper_compares_them() {
    let (left, right) = (fixture("zookeeper-3.8/snapshot.21"), fixture("zookeeper-3.9/snapshot.10000002c"));
    let compare = |more: &[&str]| {
        let mut words: Vec<OsString> =
            vec!["compare".into(), "-l".into(), left.clone().into(), "-r".into(), right.clone().into()];
        words.extend(more.iter().map(OsString::from));
        run_snapshot(&words).ok()
    };
    check_golden("compare.txt", &compare(&[]));
    let filtered = compare(&["-b", "10", "-n", "5"]);
    assert!(!filtered.contains("/app ") && filtered.contains("Node /zookeeper found in both"), "{filtered}");
    let contents = compare(&["--contents"]);
    assert!(
        contents.contains("Node /zookeeper/quota/app/zookeeper_stats found in both trees. Differs: data, "),
        "{contents}"
    );
    let json = compare(&["--json"]);
    let differences: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(differences.len(), 7, "{json}");
    assert_eq!(differences[0]["deltaDescendants"], -3);
}

#[test]
fn what_a_snapshot_holds_is_summed_up() {
    let info = run_snapshot(&["info".into(), fixture("zookeeper-3.8/snapshot.21")]).ok();
    for line in [
        "zxid = 0x21",
        "digest = 30413153228 (the tree has it)",
        "sessions = 2",
        "znodes = 23",
        "-- /app\n--   children: 8\n--   data: 19",
    ] {
        assert!(info.contains(line), "{line} in {info}");
    }
    let part = run_snapshot(&[
        "info".into(),
        "--path".into(),
        "/zookeeper".into(),
        "--depth".into(),
        "0".into(),
        fixture("zookeeper-3.8/snapshot.21"),
    ])
    .ok();
    assert!(part.contains("\n /zookeeper\n") && part.contains("\n---- /zookeeper/quota/app\n"), "{part}");
    let none = run_snapshot(&["info".into(), "--path".into(), "/none".into(), fixture("zookeeper-3.8/snapshot.21")]);
    assert_eq!(none.ended.unwrap_err().to_string(), "/none: no such znode in the snapshot");
}

#[test]
fn json_has_an_object_a_line_and_the_same_facts() {
    let log = run_log(&["dump".into(), "--json".into(), fixture("zookeeper-3.8/log.1")]).ok();
    let txns: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(txns.len(), 33);
    assert_eq!(
        (&txns[3]["type"], &txns[3]["path"], &txns[3]["data"]),
        (&"create".into(), &"/app".into(), &"hello".into())
    );
    assert_eq!((&txns[6]["dataBase64"], &txns[4]["data"]), (&"AAH/".into(), &serde_json::Value::Null));
    assert_eq!(txns[27]["txns"][1]["error"], "BAD_VERSION");
    let dump = run_snapshot(&["dump".into(), "--json".into(), fixture("zookeeper-3.8/snapshot.21")]).ok();
    let lines: Vec<serde_json::Value> = dump.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[25]["znodes"]), (26, &23.into()));
    assert!(lines.iter().any(|line| line["path"] == "/acl" && line["acl"][0]["scheme"] == "digest"));
}

#[test]
fn a_log_is_counted() {
    let stat = run_log(&["stat".into(), fixture("zookeeper-3.8/log.1")]).ok();
    for line in ["txns = 33", "zxid = 0x1 to 0x21", "sessions = 3", "createTTL = 2", "end = clean"] {
        assert!(stat.contains(&format!("  {line}\n")), "{line} in {stat}");
    }
}

#[test]
fn damage_is_told_with_its_offset_after_what_is_sound() {
    // A bit of the fourth record, which begins at 199.
    let (_kept, file) = changed("zookeeper-3.8/log.1", |bytes| bytes[256] ^= 1);
    let dump = run_log(&["dump".into(), file.clone()]);
    assert!(dump.damage().contains("log.1 at offset 199: expected a payload with checksum"), "{}", dump.damage());
    assert!(
        dump.text
            .contains("\nCRC ERROR - 11/22/26, 10:45:53 AM UTC session 0x100000cb88b0000 cxid 0x1 zxid 0x4 create "),
        "{}",
        dump.text
    );
    assert!(dump.text.ends_with("EOF reached after 33 txns.\n"), "what is behind it is told too: {}", dump.text);
    assert!(run_log(&["stat".into(), file]).text.contains("end = damaged: "));

    let (_kept, file) = changed("zookeeper-3.8/log.1", |bytes| bytes[207] = 0x7f);
    let dump = run_log(&["dump".into(), file]);
    assert!(dump.damage().contains("at offset 207: expected a length of at most"), "{}", dump.damage());
    assert!(dump.text.ends_with("EOF reached after 3 txns.\n"));

    let (_kept, file) = changed("zookeeper-3.8/log.1", |bytes| bytes.truncate(3400));
    let dump = run_log(&["dump".into(), file]);
    assert!(dump.text.contains("the file ends within a record\nEOF reached after 31 txns."), "{}", dump.text);
    dump.ended.unwrap();

    let (_kept, file) = changed("zookeeper-3.8/snapshot.21", |bytes| bytes[100] ^= 1);
    assert!(run_snapshot(&["dump".into(), file]).damage().contains("CRC corruption"));
    let nothing = run_log(&["dump".into(), fixture("zookeeper-3.8/none")]);
    assert!(matches!(nothing.ended, Err(ToolError::Unusable(_))));
}

#[test]
fn no_bytes_make_a_tool_panic() {
    let directory = tempfile::tempdir().unwrap();
    for name in [
        "zookeeper-3.8/log.1",
        "zookeeper-3.8/snapshot.21",
        "zookeeper-3.8/snapshot.21.gz",
        "zookeeper-3.8/snapshot.21.snappy",
    ] {
        let whole = fs::read(fixture(name)).unwrap();
        let file = directory.path().join(Path::new(name).file_name().unwrap());
        let used = whole.len().min(3600);
        for at in (0..used).step_by(41) {
            for bytes in [
                whole[..at].to_vec(),
                [&whole[..at], &[0xff, 0xff, 0x7f, 0], &whole[(at + 4).min(whole.len())..]].concat(),
            ] {
                fs::write(&file, &bytes).unwrap();
                for command in ["dump", "stat"] {
                    if name.contains("log") {
                        drop(run_log(&[command.into(), file.clone()]));
                    } else {
                        drop(run_snapshot(&["dump".into(), file.clone()]));
                        drop(run_snapshot(&["info".into(), file.clone()]));
                    }
                }
            }
        }
    }
}

/// A server's directory: logs and snapshots as ZooKeeper left them.
fn store(files: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("version-2")).unwrap();
    for name in files {
        let target = directory.path().join("version-2").join(Path::new(name).file_name().unwrap());
        fs::copy(fixture(name), target).unwrap();
    }
    directory
}

fn held(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory.join("version-2"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn purge_by(directory: &Path, more: &[&str]) -> Printed {
    let mut of: Vec<OsString> = vec!["--data".into(), directory.into()];
    of.extend(more.iter().map(OsString::from));
    Printed::by(|out| purge::run(&options::<purge::Options, _>(&of), out))
}

#[test]
fn purge_keeps_the_newest_sound_snapshots_and_what_continues_them() {
    let directory = store(&[
        "zookeeper-3.8/log.1",
        "zookeeper-3.8/log.22",
        "zookeeper-3.8/snapshot.0",
        "zookeeper-3.8/snapshot.21",
        "zookeeper-3.8/snapshot.2a",
    ]);
    // Named after later zxids; the second is damaged and does not count.
    let disk = RealDisk::open(directory.path(), directory.path(), false).unwrap();
    for zxid in [0x2c, 0x2d] {
        let mut writer = SnapshotWriter::begin(disk.clone(), Zxid(zxid), Compression::Plain).unwrap();
        writer.slice(&empty_database()).unwrap();
        writer.finish(None, Zxid(zxid)).unwrap();
    }
    let locked = purge_by(directory.path(), &["-n", "3"]);
    assert!(locked.ended.unwrap_err().to_string().contains("another process uses this directory"));
    drop(disk);
    let damaged = directory.path().join("version-2/snapshot.2d");
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[30] ^= 1;
    fs::write(&damaged, bytes).unwrap();

    let before = held(directory.path());
    assert_eq!(
        purge_by(directory.path(), &["-n", "3", "--dry-run"]).ok(),
        "Would remove file: snapshot.0\nWould remove file: log.1\n"
    );
    assert_eq!(held(directory.path()), before);
    assert_eq!(purge_by(directory.path(), &["-n", "3"]).ok(), "Removing file: snapshot.0\nRemoving file: log.1\n");
    assert_eq!(held(directory.path()), ["log.22", "snapshot.21", "snapshot.2a", "snapshot.2c", "snapshot.2d"]);
    assert_eq!(purge_by(directory.path(), &["-n", "3"]).ok(), "");
    let few = purge_by(directory.path(), &["-n", "2"]).ended.unwrap_err();
    assert!(matches!(few, ToolError::Usage(_)), "{few}");
}

fn restore_by(into: &Path, from: &[PathBuf], more: &[&str]) -> Printed {
    let mut of: Vec<OsString> = vec!["--data".into(), into.into()];
    of.extend(more.iter().map(OsString::from));
    of.extend(from.iter().map(OsString::from));
    Printed::by(|out| restore::run(&options::<restore::Options, _>(&of), out))
}

const BACKUP: [&str; 3] = ["zookeeper-3.8/snapshot.21", "zookeeper-3.8/log.1", "zookeeper-3.8/log.22"];

#[test]
fn a_backup_becomes_a_store_that_a_server_opens() {
    let backup = store(&BACKUP);
    let into = tempfile::tempdir().unwrap();
    let whole = &["--whole-ensemble"][..];
    let refused = restore_by(into.path(), &[backup.path().join("version-2")], &[]).ended.unwrap_err();
    assert!(matches!(refused, ToolError::Usage(_)), "{refused}");
    let told = restore_by(into.path(), &[backup.path().join("version-2")], whole).ok();
    assert!(!told.contains("not vote"), "{told}");
    assert!(told.contains("Restored the snapshot of 0x21 and 9 txns after it, up to 0x2a; 9 digests agree"), "{told}");
    assert_eq!(held(into.path()), ["log.1", "log.22", "snapshot.21"]);
    let open = Options { autocreate: false, ..Options::default() };
    let disk = RealDisk::open(into.path(), into.path(), false).unwrap();
    let (_, recovered) = Storage::open(disk, open).unwrap();
    assert_eq!((recovered.trusted, recovered.last_zxid()), (true, Zxid(0x2a)));
    let twice = restore_by(into.path(), &[backup.path().join("version-2")], whole).ended.unwrap_err();
    assert!(twice.to_string().contains("a backup is never put over anything"), "{twice}");
}

#[test]
fn a_backup_that_is_no_whole_history_is_refused_and_leaves_nothing() {
    let whole = &["--whole-ensemble"][..];
    let check = |from: &[PathBuf], expected: &str| {
        let into = tempfile::tempdir().unwrap();
        let refused = restore_by(into.path(), from, whole).ended.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
        assert_eq!(held(into.path()), Vec::<String>::new());
    };
    check(&[fixture(BACKUP[1])], "no snapshot");
    check(
        &[fixture("zookeeper-3.8/snapshot.0"), fixture(BACKUP[2])],
        "expected the record after 0x0, found the record 0x22",
    );
    let (_kept, damaged) = changed("zookeeper-3.8/log.22", |bytes| bytes[60] ^= 1);
    check(&[fixture(BACKUP[0]), damaged], "CRC check failed");
    let (_kept, damaged) = changed("zookeeper-3.8/snapshot.21", |bytes| bytes[60] ^= 1);
    check(&[damaged, fixture(BACKUP[1])], "CRC corruption");
    check(&[fixture("zookeeper-3.8/README.md"), fixture(BACKUP[0])], "neither snapshot.<zxid> nor log.<zxid>");
    // A digest in a log that the tree does not have: sound by its checksum, and another history.
    let (_kept, other) = changed("zookeeper-3.8/log.22", |bytes| other_digest(bytes));
    check(&[fixture(BACKUP[0]), other], "has another digest");
}

/// Changes the digest of the first record, and makes its checksum right.
fn other_digest(bytes: &mut [u8]) {
    let len = u32::from_be_bytes(bytes[24..28].try_into().unwrap()) as usize;
    let payload = 28..28 + len;
    bytes[payload.end - 1] ^= 1;
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in &bytes[payload] {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    bytes[20..24].copy_from_slice(&(b << 16 | a).to_be_bytes());
}
