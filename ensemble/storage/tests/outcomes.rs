//! The table in `recover.rs`, a line a case.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use ensemble_proto::durable::Write;
use ensemble_proto::{Epoch, Zxid};
use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{Compression, Dir, Disk, Options, SnapshotWriter, Storage, purge, write_initialize_marker};
use support::*;

/// A store with snapshots 0 and (1,3), logs of records (1,1)..(1,3) and (1,4)..(1,6).
fn store() -> SimDisk {
    let disk = SimDisk::new();
    let (mut storage, _) = open(&disk).unwrap();
    storage.perform(&Write::AcceptedEpoch(Epoch(1))).unwrap();
    storage.perform(&Write::CurrentEpoch(Epoch(1))).unwrap();
    for counter in 1..=3 {
        storage.perform(&append(zxid(1, counter), 40)).unwrap();
    }
    storage.sync().unwrap();
    write_snapshot(&disk, &[zxid(1, 1), zxid(1, 2), zxid(1, 3)]);
    drop(storage);
    let (mut storage, _) = open(&disk).unwrap();
    for counter in 4..=6 {
        storage.perform(&append(zxid(1, counter), 40)).unwrap();
    }
    storage.sync().unwrap();
    disk
}

fn write_snapshot(disk: &SimDisk, history: &[Zxid]) {
    let last = *history.last().unwrap();
    let mut writer = SnapshotWriter::begin(disk.clone(), last, Compression::Plain).unwrap();
    writer.slice(&body(history)).unwrap();
    writer.finish(Some(9), last).unwrap();
}

const NEWEST: &str = "log.100000004";
const OLDER: &str = "log.100000001";
const SNAPSHOT: &str = "snapshot.100000003";
/// A record with 40 bytes of filler, framed.
const RECORD: usize = 13 + 32 + 40;

/// A store that was empty and untrusted received a snapshot and one record of what it may have acked before.
#[test]
fn a_received_history_is_trusted_once_its_epoch_is_entered() {
    let disk = SimDisk::new();
    let reopened = || Storage::open(disk.clone(), Options { autocreate: false, ..options() }).unwrap();
    let (mut storage, recovered) = reopened();
    assert!(!recovered.trusted);
    storage.perform(&Write::AcceptedEpoch(Epoch(2))).unwrap();
    let received = [zxid(1, 1), zxid(1, 2), zxid(1, 3)];
    storage.perform(&Write::InstallSnapshot { zxid: zxid(1, 3), bytes: body(&received) }).unwrap();
    storage.perform(&append(zxid(1, 4), 40)).unwrap();
    storage.sync().unwrap();

    let (mut storage, recovered) = reopened();
    assert_eq!(recovered.last_zxid(), zxid(1, 4));
    assert!(!recovered.trusted, "the records that follow may never have arrived");
    assert_eq!((recovered.accepted_epoch, recovered.current_epoch), (Epoch(2), Epoch(0)));
    storage.perform(&append(zxid(1, 5), 40)).unwrap();
    storage.perform(&Write::CurrentEpoch(Epoch(2))).unwrap();

    let (_, recovered) = reopened();
    assert_eq!((recovered.trusted, recovered.last_zxid()), (true, zxid(1, 5)));
}

enum Outcome {
    /// The records (1,1) up to this counter.
    Records(u32),
    /// An error that contains this.
    Refused(&'static str),
}
use Outcome::{Records, Refused};

fn check(name: &str, disk: &SimDisk, expected: Outcome) {
    check_with(name, disk, options(), expected);
}

fn check_with(name: &str, disk: &SimDisk, options: Options, expected: Outcome) {
    match (Storage::open(disk.clone(), options), expected) {
        (Ok((_, recovered)), Records(counter)) => {
            let records: Vec<Zxid> = (1..=counter).map(|counter| zxid(1, counter)).collect();
            assert_eq!(history(&recovered), records, "{name}");
        }
        (Err(error), Refused(part)) => assert!(error.to_string().contains(part), "{name}: {error}"),
        (Ok((_, recovered)), Refused(part)) => panic!("{name}: expected {part:?}, found {recovered:?}"),
        (Err(error), Records(counter)) => panic!("{name}: expected {counter} records, found {error}"),
    }
}

fn damaged(dir: Dir, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> SimDisk {
    let disk = store();
    disk.damage(dir, name, change).unwrap();
    disk
}

fn without(files: &[(Dir, &str)]) -> SimDisk {
    let mut disk = store();
    for (dir, name) in files {
        disk.unlink(*dir, name).unwrap();
    }
    disk
}

#[test]
fn logs() {
    let end = 16 + 3 * RECORD;
    check("sound", &store(), Records(6));
    let log = |change: fn(&mut Vec<u8>)| damaged(Dir::Log, NEWEST, change);
    check("cut within the last entry", &log(|b| b.truncate(16 + 3 * RECORD - 5)), Records(5));
    check("cut within the last frame", &log(|b| b.truncate(16 + 2 * RECORD + 7)), Records(5));
    check("cut within the first entry", &log(|b| b.truncate(40)), Records(3));
    check("cut to the header", &log(|b| b.truncate(16)), Records(3));
    check("last end mark overwritten", &log(|b| b[16 + 3 * RECORD - 1] = 0x43), Records(5));
    check("end mark in the middle", &log(|b| b[16 + RECORD - 1] = 0), Refused("expected the end mark 0x42"));
    check("0 bytes", &log(|b| b.clear()), Records(3));
    check("all zeros", &log(|b| b.fill(0)), Records(3));
    check("10 bytes", &log(|b| b.truncate(10)), Refused("a header of 16 bytes"));
    check("another magic", &log(|b| b[0] = b'X'), Refused("the magic \"ZKLG\""));
    check("absurd length", &log(|b| b[16 + 8] = 0x7f), Refused("length 21"));
    check("negative length", &log(|b| b[16 + 8] = 0xff), Refused("found length -"));
    check("data behind the end", &log(|b| b[16 + 3 * RECORD + 100] = 1), Refused("zeros to the end of the file"));
    for position in
        (16 + 4..end).filter(|at| !(8..12).contains(&((at - 16) % RECORD)) && (at - 16) % RECORD != RECORD - 1)
    {
        let name = format!("a bit flipped at {position}");
        check(&name, &damaged(Dir::Log, NEWEST, |b| b[position] ^= 4), Refused("CRC check failed"));
    }
}

#[test]
fn a_lost_sector_is_a_torn_tail_and_only_in_the_newest_log() {
    let disk = SimDisk::new();
    let (mut storage, _) = open(&disk).unwrap();
    for counter in 1..=4 {
        storage.perform(&append(zxid(1, counter), 600)).unwrap();
    }
    storage.sync().unwrap();
    disk.damage(Dir::Log, OLDER, |bytes| bytes[1024..1536].fill(0)).unwrap();
    check("a sector of the second record", &disk, Records(1));
    let (mut storage, recovered) = open(&disk).unwrap();
    assert!(recovered.notes.is_empty(), "the torn tail was cut off: {:?}", recovered.notes);
    storage.perform(&append(zxid(1, 2), 0)).unwrap();
    storage.sync().unwrap();
    check("a new record after the torn tail", &disk, Records(2));

    let disk = damaged(Dir::Log, OLDER, |bytes| bytes[16 + RECORD..512].fill(0));
    disk.damage(Dir::Data, SNAPSHOT, |bytes| bytes.clear()).unwrap();
    check("a sector of an older log", &disk, Refused("expected the record after 0x100000001"));
}

#[test]
fn an_older_torn_tail_is_accepted_only_when_nothing_is_missing() {
    let only_first_snapshot = |change: fn(&mut Vec<u8>)| {
        let disk = damaged(Dir::Log, OLDER, change);
        let mut handle = disk.clone();
        handle.unlink(Dir::Data, SNAPSHOT).unwrap();
        disk
    };
    let half_record_behind = |b: &mut Vec<u8>| {
        let half = b[16..60].to_vec();
        b.truncate(16 + 3 * RECORD);
        b.extend(half);
    };
    check("half a record behind the last", &only_first_snapshot(half_record_behind), Records(6));
    check(
        "the last record torn",
        &only_first_snapshot(|b| b.truncate(16 + 3 * RECORD - 5)),
        Refused("the record after"),
    );
}

#[test]
fn snapshots() {
    check("newest damaged", &damaged(Dir::Data, SNAPSHOT, |b| b[20] ^= 1), Records(6));
    check("newest cut", &damaged(Dir::Data, SNAPSHOT, |b| b.truncate(30)), Records(6));
    check("newest empty", &damaged(Dir::Data, SNAPSHOT, |b| b.clear()), Records(6));
    check("newest missing", &without(&[(Dir::Data, SNAPSHOT)]), Records(6));
    let both = damaged(Dir::Data, SNAPSHOT, |b| b[20] ^= 1);
    both.damage(Dir::Data, "snapshot.0", |b| b[20] ^= 1).unwrap();
    check("all damaged", &both, Refused("CRC corruption"));
    let none = || without(&[(Dir::Data, SNAPSHOT), (Dir::Data, "snapshot.0")]);
    check("all missing", &none(), Refused("no snapshot found, but there are log records up to 0x100000006"));
    check_with("trusted", &none(), Options { trust_empty: true, ..options() }, Records(6));
    check("a log missing", &without(&[(Dir::Log, OLDER), (Dir::Data, SNAPSHOT)]), Refused("the record after 0x0"));
    check("a superseded log missing", &without(&[(Dir::Log, OLDER)]), Records(6));
    let half_written = store();
    half_written.clone().create(Dir::Data, "snapshot.100000009.tmp").unwrap();
    check("a temporary file", &half_written, Records(6));
}

#[test]
fn directories() {
    let with = |dir, name| {
        let disk = store();
        disk.clone().create(dir, name).unwrap();
        disk
    };
    check("a snapshot among logs", &with(Dir::Log, "snapshot.1"), Refused("are dataDir and dataLogDir swapped?"));
    check("a log among snapshots", &with(Dir::Data, "log.1"), Refused("are dataDir and dataLogDir swapped?"));
}

#[test]
fn epochs() {
    let with = |accepted: &str, current: &str| {
        let disk = store();
        disk.damage(Dir::Data, "acceptedEpoch", |b| *b = accepted.into()).unwrap();
        disk.damage(Dir::Data, "currentEpoch", |b| *b = current.into()).unwrap();
        disk
    };
    check("a promise without a leader", &with("9", "1"), Records(6));
    check("a trailing newline", &with("1\n", "1\n"), Records(6));
    check("current behind the log", &with("1", "0"), Records(6));
    check("accepted behind current", &with("1", "2"), Refused("acceptedEpoch: 1, but currentEpoch is 2"));
    check("accepted behind the log", &with("0", "0"), Refused("the last record is 0x100000006"));
    check("no number", &with("one", "1"), Refused("expected an epoch in decimal, found \"one\""));
    check("negative", &with("1", "-1"), Refused("expected an epoch in decimal"));
    check("accepted lost", &without(&[(Dir::Data, "acceptedEpoch")]), Refused("an epoch's promise was lost"));
    check("current lost", &without(&[(Dir::Data, "currentEpoch")]), Records(6));

    let raised = with("3", "0");
    assert_eq!(open(&raised).unwrap().1.current_epoch, Epoch(1));
    assert_eq!(open(&raised).unwrap().1.notes, Vec::<String>::new(), "raised durably");
}

#[test]
fn an_empty_store_votes_only_when_somebody_declared_it_legitimate() {
    let closed = || Options { autocreate: false, ..options() };
    let disk = SimDisk::new();
    for _ in 0..2 {
        let (_, recovered) = Storage::open(disk.clone(), closed()).unwrap();
        assert!(!recovered.trusted && recovered.last_zxid() == Zxid::NONE && recovered.snapshot.is_none());
    }
    write_initialize_marker(&mut disk.clone()).unwrap();
    let (_, recovered) = Storage::open(disk.clone(), closed()).unwrap();
    assert!(recovered.trusted && recovered.last_zxid() == Zxid::ZERO);
    assert!(disk.clone().list(Dir::DataRoot).unwrap().is_empty(), "the marker is used once");
    let (_, recovered) = Storage::open(disk, closed()).unwrap();
    assert!(recovered.trusted, "a store that was declared legitimate stays so");

    let (_, recovered) = Storage::open(SimDisk::new(), options()).unwrap();
    assert!(recovered.trusted, "db.autocreate");
}

#[test]
fn truncation_needs_its_record() {
    let truncate = |to| {
        let disk = store();
        let (mut storage, _) = open(&disk).unwrap();
        let result = storage.perform(&Write::Truncate { to });
        drop(storage);
        (disk, result)
    };
    for (to, kept) in [(5, 5), (4, 4), (3, 3), (6, 6), (2, 2), (1, 1)] {
        let (disk, result) = truncate(zxid(1, to));
        result.unwrap();
        check(&format!("truncated to {to}"), &disk, Records(kept));
    }
    let (disk, result) = truncate(Zxid::ZERO);
    result.unwrap();
    check("truncated to nothing", &disk, Records(0));
    let (disk, result) = truncate(zxid(1, 7));
    assert_eq!(
        result.unwrap_err().to_string(),
        "cannot truncate to 0x100000007: no log record and no snapshot has this zxid"
    );
    check("refused", &disk, Records(6));
}

#[test]
fn purge_keeps_the_last_snapshots_that_are_sound() {
    let disk = SimDisk::new();
    let (mut storage, _) = open(&disk).unwrap();
    let mut records = Vec::new();
    for counter in 1..=20 {
        records.push(zxid(1, counter));
        storage.perform(&append(zxid(1, counter), 1)).unwrap();
        storage.sync().unwrap();
        if counter % 3 == 0 {
            write_snapshot(&disk, &records);
            drop(storage);
            storage = open(&disk).unwrap().0;
        }
    }
    for newest in ["snapshot.100000012", "snapshot.10000000f"] {
        disk.damage(Dir::Data, newest, |bytes| bytes[17] ^= 1).unwrap();
    }
    let removed = purge(&mut disk.clone(), 1).unwrap();
    assert_eq!(removed, ["snapshot.0", "snapshot.100000003", "log.100000001", "log.100000004"]);
    check("after the purge", &disk, Records(20));
    disk.damage(Dir::Data, "snapshot.10000000c", |bytes| bytes.clear()).unwrap();
    disk.damage(Dir::Data, "snapshot.100000009", |bytes| bytes.clear()).unwrap();
    check("only the oldest kept is sound", &disk, Records(20));
    assert!(purge(&mut disk.clone(), 3).unwrap().is_empty());
}

#[test]
fn a_disk_that_fails_a_sync_is_an_error_with_its_file() {
    let disk = store();
    let (mut storage, _) = open(&disk).unwrap();
    storage.perform(&append(zxid(1, 7), 1)).unwrap();
    disk.cut_power_after(0);
    let error = storage.sync().unwrap_err();
    assert_eq!(error.to_string(), "create dataLogDir/version-2/log.100000007: power cut");
}
