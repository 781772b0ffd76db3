//! The table in `recover.rs`, a line a case.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use ensemble_proto::durable::Write;
use ensemble_proto::{Epoch, Zxid};
use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{
    Compression, Dir, Disk, LogReader, Options, SnapshotWriter, Storage, purge, write_initialize_marker,
};
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

#[test]
fn a_snapshot_that_is_being_received_changes_nothing_until_it_is_installed() {
    let disk = SimDisk::new();
    let (mut storage, _) = open(&disk).unwrap();
    storage.perform(&Write::AcceptedEpoch(Epoch(1))).unwrap();
    storage.perform(&append(zxid(1, 1), 40)).unwrap();
    storage.sync().unwrap();
    let names = || disk.clone().list(Dir::Data).unwrap().into_iter().map(|entry| entry.name).collect::<Vec<_>>();
    let before = names();
    let begin = |storage: &mut Storage<SimDisk>, at| {
        storage.perform(&Write::ReceiveSnapshot { zxid: zxid(1, at) }).unwrap();
        storage.perform(&Write::SnapshotPart { bytes: body(&[zxid(1, 1), zxid(1, 2)]) }).unwrap();
    };
    begin(&mut storage, 3);
    begin(&mut storage, 2);
    assert_eq!(names().len(), before.len() + 1, "the first is forgotten: {:?}", names());
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(history(&recovered), [zxid(1, 1)]);
    assert_eq!(names(), before, "what a crash left is gone");

    let (mut storage, _) = open(&disk).unwrap();
    begin(&mut storage, 2);
    storage.perform(&Write::AbandonSnapshot).unwrap();
    assert_eq!(names(), before);
    begin(&mut storage, 2);
    storage.perform(&Write::InstallSnapshot { zxid: zxid(1, 2) }).unwrap();
    assert_eq!(history(&open(&disk).unwrap().1), [zxid(1, 1), zxid(1, 2)]);
}

/// A store that was empty and untrusted received a snapshot and one record of what it may have acked before.
#[test]
fn a_received_history_is_trusted_once_its_epoch_is_entered() {
    let disk = SimDisk::new();
    let reopened = || Storage::open(disk.clone(), Options { autocreate: false, ..options() }).unwrap();
    let (mut storage, recovered) = reopened();
    assert!(!recovered.trusted);
    storage.perform(&Write::AcceptedEpoch(Epoch(2))).unwrap();
    let received = [zxid(1, 1), zxid(1, 2), zxid(1, 3)];
    receive(&mut storage, zxid(1, 3), body(&received)).unwrap();
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
    /// Whatever records, up to this.
    Ends(Zxid),
    /// An error that contains this.
    Refused(&'static str),
}
use Outcome::{Ends, Records, Refused};

fn check(name: &str, disk: &SimDisk, expected: Outcome) {
    check_with(name, disk, options(), expected);
}

fn check_with(name: &str, disk: &SimDisk, options: Options, expected: Outcome) {
    match (Storage::open(disk.clone(), options), expected) {
        (Ok((_, recovered)), Records(counter)) => {
            let records: Vec<Zxid> = (1..=counter).map(|counter| zxid(1, counter)).collect();
            assert_eq!(history(&recovered), records, "{name}");
        }
        (Ok((_, recovered)), Ends(last)) => assert_eq!(recovered.last_zxid(), last, "{name}"),
        (Err(error), Refused(part)) => assert!(error.to_string().contains(part), "{name}: {error}"),
        (Ok((_, recovered)), Refused(part)) => panic!("{name}: expected {part:?}, found {recovered:?}"),
        (Err(error), Records(_) | Ends(_)) => panic!("{name}: expected a sound store, found {error}"),
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
        disk.sync_dir(*dir).unwrap();
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
    let end_mark = |b: &mut Vec<u8>| b[16 + 3 * RECORD - 1] = 0x43;
    check("last end mark overwritten", &log(end_mark), Refused("expected the end mark 0x42"));
    let of_java = |b: &mut Vec<u8>| b[16 + 3 * RECORD - 1..].fill(0);
    check("last end mark missing, no sync mark", &log(of_java), Records(5));
    check("end mark in the middle", &log(|b| b[16 + RECORD - 1] = 0), Refused("expected the end mark 0x42"));
    check("0 bytes", &log(|b| b.clear()), Records(3));
    check("all zeros", &log(|b| b.fill(0)), Records(3));
    check("zeros where a record was", &log(|b| b[16 + 2 * RECORD..16 + 3 * RECORD].fill(0)), Refused("data behind"));
    check("10 bytes", &log(|b| b.truncate(10)), Refused("a header of 16 bytes"));
    check("another magic", &log(|b| b[0] = b'X'), Refused("the magic \"ZKLG\""));
    check("absurd length", &log(|b| b[16 + 8] = 0x7f), Refused("length 21"));
    check("negative length", &log(|b| b[16 + 8] = 0xff), Refused("found length -"));
    check("data behind the end", &log(|b| b[16 + 3 * RECORD + 100] = 1), Refused("zeros to the end of the file"));
    check("no sync mark", &log(|b| b[16 + 3 * RECORD..].fill(0)), Records(6));
    for position in
        (16 + 4..end).filter(|at| !(8..12).contains(&((at - 16) % RECORD)) && (at - 16) % RECORD != RECORD - 1)
    {
        let name = format!("a bit flipped at {position}");
        check(&name, &damaged(Dir::Log, NEWEST, |b| b[position] ^= 4), Refused("CRC check failed"));
    }
}

/// Removes the sync mark, as when the last group was not synced: all that follows the records.
fn unmark(bytes: &mut [u8]) {
    let mark = bytes.windows(4).rposition(|part| part == b"SYNC").unwrap();
    bytes[mark - 4..].fill(0);
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
    check("a sector of the second record, which was durable", &disk, Refused("expected the end mark 0x42"));
    disk.damage(Dir::Log, OLDER, |bytes| unmark(bytes)).unwrap();
    check("a sector of the second record", &disk, Records(1));
    let (mut storage, recovered) = open(&disk).unwrap();
    assert!(recovered.notes.is_empty(), "the torn tail was cut off: {:?}", recovered.notes);
    storage.perform(&append(zxid(1, 2), 0)).unwrap();
    storage.sync().unwrap();
    check("a new record after the torn tail", &disk, Records(2));

    let disk = damaged(Dir::Log, OLDER, |bytes| bytes[16 + RECORD..512].fill(0));
    disk.damage(Dir::Data, SNAPSHOT, |bytes| bytes.clear()).unwrap();
    check("a sector of an older log", &disk, Refused("what is before it ends at 0x100000001"));
}

/// STO-09: damage to a record that holds a sector of zeros of its own looks like a lost sector, but for the sync mark.
#[test]
fn bit_rot_beside_zeros_in_a_record_is_damage() {
    let store = || {
        let disk = SimDisk::new();
        let (mut storage, _) = open(&disk).unwrap();
        let Write::Append { zxid, payload } = append(zxid(1, 1), 20) else { unreachable!() };
        let payload = [&payload[..], &[0; 1200], b"end"].concat().into();
        storage.perform(&Write::Append { zxid, payload }).unwrap();
        storage.sync().unwrap();
        disk
    };
    check("sound", &store(), Records(1));
    for at in [16, 30, 60, 1260, 1275] {
        let disk = store();
        disk.damage(Dir::Log, OLDER, |bytes| bytes[at + 4] ^= 0x10).unwrap();
        assert!(open(&disk).is_err_and(|error| error.is_damage()), "the bit at {at}");
        disk.damage(Dir::Log, OLDER, |bytes| unmark(bytes)).unwrap();
        check("the same, and the group was never synced", &disk, Records(0));
    }
}

/// A group that begins in the sector of the old sync mark, and of which one sector was lost.
#[test]
fn an_old_sync_mark_in_a_lost_sector_proves_nothing() {
    let bytes_of = |disk: &SimDisk| disk.clone().read(Dir::Log, OLDER).unwrap();
    let mut lost = 0;
    for first in 400..1000 {
        let disk = SimDisk::new();
        let (mut storage, _) = open(&disk).unwrap();
        storage.perform(&append(zxid(1, 1), first)).unwrap();
        storage.sync().unwrap();
        let before = bytes_of(&disk);
        storage.perform(&append(zxid(1, 2), 900)).unwrap();
        storage.sync().unwrap();
        let after = bytes_of(&disk);
        let start = 16 + 13 + 32 + first;
        for sector in start / 512..=(start + 944) / 512 {
            let range = sector * 512..(sector + 1) * 512;
            let mut torn = after.clone();
            unmark(&mut torn);
            torn[range.clone()].copy_from_slice(&before[range]);
            if torn[start..start + 945] == after[start..start + 945] {
                continue;
            }
            lost += 1;
            disk.damage(Dir::Log, OLDER, |bytes| *bytes = torn).unwrap();
            check(&format!("a first record of {first} and sector {sector} lost"), &disk.durable_image(), Records(1));
        }
    }
    assert!(lost > 1000, "{lost} sectors");
}

/// Records longer than a group: their lost sectors are behind more than a group's length.
#[test]
fn a_torn_record_may_be_longer_than_a_group() {
    let long = Options { payload_len_max: 20 << 20, preallocate: 0, ..options() };
    let disk = SimDisk::new();
    let (mut storage, _) = Storage::open(disk.clone(), long.clone()).unwrap();
    storage.perform(&append(zxid(1, 1), 10)).unwrap();
    storage.sync().unwrap();
    storage.perform(&append(zxid(1, 2), 10 << 20)).unwrap();
    storage.sync().unwrap();
    disk.damage(Dir::Log, OLDER, |bytes| bytes[4096..4608].fill(0)).unwrap();
    check_with("a sector lost that was durable", &disk, long.clone(), Refused("CRC check failed"));
    disk.damage(Dir::Log, OLDER, |bytes| unmark(bytes)).unwrap();
    check_with("a sector lost", &disk, long, Records(1));
}

/// A whole record above the limit is no damage: with a limit that was forgotten at a restart, every server of an ensemble would set its store aside.
#[test]
fn a_record_that_is_longer_than_allowed_is_refused_and_the_store_left_alone() {
    let disk = store();
    let (mut storage, _) = open(&disk).unwrap();
    storage.perform(&append(zxid(1, 7), 1000)).unwrap();
    storage.sync().unwrap();
    drop(storage);
    let short = Options { payload_len_max: 500, repair: true, ..options() };
    let before = disk.durable_image().list(Dir::Log).unwrap();
    let error = Storage::open(disk.durable_image(), short.clone()).err().unwrap();
    assert!(!error.is_damage() && error.to_string().contains("and 500 are allowed"), "{error}");
    assert_eq!(disk.durable_image().list(Dir::Log).unwrap(), before);
    let (_, recovered) = open(&disk.durable_image()).unwrap();
    assert_eq!(recovered.last_zxid(), zxid(1, 7));
    // A length that is none is damage, whatever the limit.
    disk.damage(Dir::Log, "log.100000007", |bytes| bytes[16 + 8] = 0x7f).unwrap();
    let (_, recovered) = Storage::open(disk.durable_image(), short).unwrap();
    assert!(recovered.set_aside.is_some_and(|reason| reason.contains("a length of at most 500")));
}

/// STO-09: the last record, of which no mark says yet that it was durable. A power cut loses sectors; it turns no single bit, not even of the length.
#[test]
fn a_bit_that_turns_in_the_last_record_is_damage() {
    let disk = store();
    let end = 16 + 3 * RECORD;
    for bit in 0..8 * RECORD {
        let rotten = disk.durable_image();
        let turn = |bytes: &mut Vec<u8>| {
            bytes[end..].fill(0);
            bytes[end - RECORD + bit / 8] ^= 1 << (bit % 8);
        };
        rotten.damage(Dir::Log, NEWEST, turn).unwrap();
        let error = open(&rotten).err().unwrap_or_else(|| panic!("bit {bit} was not noticed"));
        assert!(error.is_damage(), "bit {bit}: {error}");
    }
}

/// STO-11: records with a good checksum in a wrong place.
#[test]
fn a_valid_record_in_a_wrong_place_is_damage() {
    let record = |counter: usize| 16 + (counter - 1) * RECORD..16 + counter * RECORD;
    let long = || {
        let disk = SimDisk::new();
        let (mut storage, _) = open(&disk).unwrap();
        for counter in 1..=10 {
            storage.perform(&append(zxid(1, counter), 40)).unwrap();
        }
        storage.sync().unwrap();
        write_snapshot(&disk, &(1..=5).map(|counter| zxid(1, counter)).collect::<Vec<_>>());
        disk
    };
    let moved = |from: usize, to: usize| {
        let disk = long();
        disk.damage(Dir::Log, OLDER, |bytes| bytes.copy_within(record(from), record(to).start)).unwrap();
        disk
    };
    let of_zookeeper = |disk: SimDisk| {
        disk.clone().unlink(Dir::Data, "inventory").unwrap();
        disk
    };
    check("sound", &long(), Records(10));
    check("an old record over a late one", &moved(7, 9), Refused("the record after 0x100000008"));
    check("an old record over the last", &moved(3, 10), Refused("the record after 0x100000009"));
    check("the record before over the last", &moved(9, 10), Refused("the record after 0x100000009"));
    // ZooKeeper logs some records twice.
    check("the same in its log", &of_zookeeper(moved(7, 9)), Refused("the record after 0x100000007"));
    check("the same in its log", &of_zookeeper(moved(3, 10)), Refused("the records up to 0x100000009 again"));
    check("the same in its log", &of_zookeeper(moved(9, 10)), Records(9));
    check("a late record over an old one", &moved(9, 7), Refused("the record after 0x100000006"));
    check("a record that the snapshot has", &moved(4, 2), Refused("the record after 0x100000001"));
    check(
        "another file's record first",
        &moved(2, 1),
        Refused("the record 0x100000001, which the file is named after"),
    );
    // The beginning of a record, and nothing behind it.
    let part = |from: usize, to: usize| {
        let disk = long();
        let change = |bytes: &mut Vec<u8>| {
            bytes.copy_within(record(from), record(to).start);
            bytes[record(to).end - 20..].fill(0);
        };
        disk.damage(Dir::Log, OLDER, change).unwrap();
        disk
    };
    check("the last one torn", &part(10, 10), Records(9));
    check("a part of another over it", &part(3, 10), Refused("a part of the record 0x100000003"));
    check("the same in ZooKeeper's log", &of_zookeeper(part(3, 10)), Records(9));
    check("a part of another first", &part(3, 1), Refused("a part of the record 0x100000003"));
    let lost = long();
    lost.damage(Dir::Log, OLDER, |bytes| bytes[record(10)].fill(0)).unwrap();
    check("a write that never arrived", &lost, Refused("data behind the last record"));
}

/// STO-11: how many records an epoch has, no zxid tells. Whatever is at the end of a log that is followed by one of the next epoch is missed all the same.
#[test]
fn what_an_epoch_ended_with_is_missed() {
    let disk = store();
    for first in [zxid(2, 1), zxid(3, 1)] {
        let (mut storage, _) = open(&disk).unwrap();
        storage.perform(&Write::AcceptedEpoch(first.epoch())).unwrap();
        storage.perform(&append(first, 40)).unwrap();
        storage.sync().unwrap();
    }
    check("sound", &without_snapshot(&disk, |_| ()), Ends(zxid(3, 1)));
    let last = |bytes: &mut Vec<u8>| bytes[16 + 2 * RECORD..].fill(0);
    let missed = "log.200000001 begins after 0x100000006, what is before it ends at 0x100000005";
    check("the last record", &without_snapshot(&disk, last), Refused(missed));
    let repeated = |bytes: &mut Vec<u8>| bytes.copy_within(16 + RECORD..16 + 2 * RECORD, 16 + 2 * RECORD);
    check("another in its place", &without_snapshot(&disk, repeated), Refused("the record after 0x100000005"));
    let mut handle = disk.clone();
    let of_the_next = handle.read(Dir::Log, "log.200000001").unwrap()[16..16 + RECORD].to_vec();
    let exchanged = |bytes: &mut Vec<u8>| bytes[16 + 2 * RECORD..16 + 3 * RECORD].copy_from_slice(&of_the_next);
    let missed_for = "log.200000001 begins after 0x100000006, what is before it ends at 0x200000001";
    check("the next one in its place", &without_snapshot(&disk, exchanged), Refused(missed_for));
    let torn = |bytes: &mut Vec<u8>| bytes.truncate(16 + 2 * RECORD + 20);
    check("a part of it", &without_snapshot(&disk, torn), Refused(missed));
    let gone = without_snapshot(&disk, |_| ());
    gone.clone().unlink(Dir::Log, "log.200000001").unwrap();
    check(
        "a whole epoch",
        &gone,
        Refused("log.300000001 begins after 0x200000001, what is before it ends at 0x100000006"),
    );

    let reader = |disk: &SimDisk| LogReader::open(disk.clone(), zxid(1, 4), None, 1 << 20).unwrap().unwrap();
    let read = |disk: &SimDisk| reader(disk).slice(usize::MAX).unwrap().records.last().map(|(zxid, _)| *zxid);
    assert_eq!(read(&disk), Some(zxid(3, 1)));
    for gap in [without_snapshot(&disk, last), without_snapshot(&disk, repeated), without_snapshot(&disk, exchanged)] {
        assert_eq!(read(&gap), Some(zxid(1, 5)), "a learner is not sent what has a gap");
    }

    let emptied = without_snapshot(&disk, last);
    emptied.clone().unlink(Dir::Log, "log.300000001").unwrap();
    emptied.clone().unlink(Dir::Data, "inventory").unwrap();
    emptied.damage(Dir::Log, "log.200000001", |bytes| bytes[16..].fill(0)).unwrap();
    check("before an empty log that nobody wrote down", &emptied, Ends(zxid(1, 5)));
    let mut kept = disk.durable_image().read(Dir::Data, "inventory").unwrap();
    kept.extend(b"log.200000001\n");
    let written_down = without_snapshot(&disk, last);
    written_down.clone().unlink(Dir::Log, "log.300000001").unwrap();
    written_down.damage(Dir::Data, "inventory", |bytes| *bytes = kept).unwrap();
    written_down.damage(Dir::Log, "log.200000001", |bytes| bytes[16..].fill(0)).unwrap();
    check("before an empty log", &written_down, Refused(missed));
}

/// A leader of ZooKeeper's leaves a snapshot of where its epoch begins beside logs that are whole: no record has that zxid.
#[test]
fn a_log_may_begin_where_no_record_ends() {
    let disk = store();
    open(&disk).unwrap().0.perform(&Write::AcceptedEpoch(Epoch(2))).unwrap();
    let mut writer = SnapshotWriter::begin(disk.clone(), zxid(2, 0), Compression::Plain).unwrap();
    writer.slice(&body(&(1..=6).map(|counter| zxid(1, counter)).collect::<Vec<_>>())).unwrap();
    writer.finish(None, zxid(2, 0)).unwrap();
    let (mut storage, _) = open(&disk).unwrap();
    storage.perform(&Write::AcceptedEpoch(Epoch(3))).unwrap();
    storage.perform(&append(zxid(3, 1), 40)).unwrap();
    storage.sync().unwrap();
    check("sound", &disk, Ends(zxid(3, 1)));
    disk.damage(Dir::Data, "snapshot.200000000", |bytes| bytes[20] ^= 1).unwrap();
    check("by the snapshot before", &disk, Ends(zxid(3, 1)));
}

/// ZooKeeper takes it for a log, and would read only one of the two.
#[test]
fn a_copy_beside_a_log_is_no_log() {
    let disk = store();
    let mut handle = disk.clone();
    let bytes = handle.read(Dir::Log, NEWEST).unwrap();
    let copy = format!("{NEWEST}.bak");
    handle.create(Dir::Log, &copy).unwrap();
    handle.write_at(Dir::Log, &copy, 0, &bytes[..16 + RECORD]).unwrap();
    check("a stale copy", &disk, Records(6));
}

/// A copy of the store in which the newest log of epoch 1 is changed, and which has every record from its logs.
fn without_snapshot(disk: &SimDisk, change: impl FnOnce(&mut Vec<u8>)) -> SimDisk {
    let mut copy = disk.durable_image();
    copy.unlink(Dir::Data, SNAPSHOT).unwrap();
    copy.damage(Dir::Log, NEWEST, change).unwrap();
    copy
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
        Refused("begins after 0x100000003"),
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
    check("a log missing", &without(&[(Dir::Log, OLDER), (Dir::Data, SNAPSHOT)]), Refused("begins after 0x100000003"));
    check("a superseded log missing", &without(&[(Dir::Log, OLDER)]), Records(6));
    let of_a_newer_volume = store();
    write_snapshot(&of_a_newer_volume, &(1..=6).map(|counter| zxid(1, counter)).collect::<Vec<_>>());
    check("no log is needed", &of_a_newer_volume, Records(6));
    let mut fuzzy = SnapshotWriter::begin(of_a_newer_volume.clone(), zxid(1, 4), Compression::Plain).unwrap();
    fuzzy.slice(&body(&[1, 2, 3, 4].map(|counter| zxid(1, counter)))).unwrap();
    fuzzy.finish(None, zxid(1, 7)).unwrap();
    of_a_newer_volume.clone().unlink(Dir::Data, "snapshot.100000006").unwrap();
    check("effects of lost records", &of_a_newer_volume, Refused("up to 0x100000007, the log ends at 0x100000006"));
    let no_tree = Options { undecodable: [zxid(1, 3)].into(), ..options() };
    check_with("seals hold, and it is no tree", &store(), no_tree, Records(6));
    let half_written = store();
    half_written.clone().create(Dir::Data, "snapshot.100000009.tmp").unwrap();
    check("a temporary file", &half_written, Records(6));
}

/// STO-12.
#[test]
fn the_newest_log_is_missed() {
    check("the newest log", &without(&[(Dir::Log, NEWEST)]), Refused("log.100000004 is missing"));
    check("every log", &without(&[(Dir::Log, NEWEST), (Dir::Log, OLDER)]), Refused("log.100000004 is missing"));
    check(
        "and nobody wrote down that it was there",
        &without(&[(Dir::Log, NEWEST), (Dir::Data, "inventory")]),
        Records(3),
    );
    let emptied = damaged(Dir::Log, NEWEST, |b| b.clear());
    for _ in 0..2 {
        check("empty, and removed", &emptied, Records(3));
    }
    let truncated = store();
    open(&truncated).unwrap().0.perform(&Write::Truncate { to: zxid(1, 2) }).unwrap();
    check("truncated", &truncated, Records(2));
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
    let both = [(Dir::Data, "acceptedEpoch"), (Dir::Data, "currentEpoch")];
    check("both lost", &without(&both), Refused("an epoch's promise was lost"));
    let of_java = [(Dir::Data, "acceptedEpoch"), (Dir::Data, "currentEpoch"), (Dir::Data, "inventory")];
    check("a standalone server's", &without(&of_java), Records(6));

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

/// It reads a piece at a time, and keeps the end of a file apart.
#[test]
fn purge_tells_sound_snapshots_of_every_length() {
    let lengths = [0, 1, 100].into_iter().chain(4000..4120).chain([-30, -1, 0, 1, 3000].map(|more| (1 << 20) + more));
    for len in lengths {
        for digest in [None, Some(9)] {
            let disk = SimDisk::new();
            for counter in 1..=4 {
                let mut writer = SnapshotWriter::begin(disk.clone(), zxid(1, counter), Compression::Plain).unwrap();
                writer.slice(&vec![7; len as usize]).unwrap();
                writer.slice(b"\0\0\0\x01/").unwrap();
                writer.finish(digest, zxid(1, counter)).unwrap();
            }
            let sound = disk.durable_image();
            assert_eq!(purge(&mut sound.clone(), 3).unwrap(), ["snapshot.100000001"], "{len} bytes");
            for back in [1, 30, len as usize + 40] {
                let damaged = disk.durable_image();
                damaged
                    .damage(Dir::Data, "snapshot.100000004", |bytes| {
                        let at = bytes.len().saturating_sub(back).max(16);
                        bytes[at] ^= 1;
                    })
                    .unwrap();
                assert!(
                    purge(&mut damaged.clone(), 3).unwrap().is_empty(),
                    "{len} bytes, one damaged {back} before the end"
                );
            }
        }
    }
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

/// What is damaged, and what the message says.
fn damages() -> Vec<(SimDisk, &'static str)> {
    let log = |at: usize| damaged(Dir::Log, NEWEST, move |bytes| bytes[at] ^= 4);
    let snapshots = damaged(Dir::Data, SNAPSHOT, |bytes| bytes[20] ^= 1);
    snapshots.damage(Dir::Data, "snapshot.0", |bytes| bytes[20] ^= 1).unwrap();
    let epochs = store();
    epochs.damage(Dir::Data, "acceptedEpoch", |bytes| *bytes = b"0".to_vec()).unwrap();
    let unreadable = store();
    unreadable.damage(Dir::Data, "acceptedEpoch", |bytes| bytes.fill(0)).unwrap();
    vec![
        (log(60), "CRC check failed"),
        (snapshots, "CRC corruption"),
        (without(&[(Dir::Data, SNAPSHOT), (Dir::Data, "snapshot.0")]), "no snapshot found"),
        (without(&[(Dir::Log, NEWEST)]), "log.100000004 is missing"),
        (without(&[(Dir::Log, OLDER), (Dir::Data, SNAPSHOT)]), "begins after 0x100000003"),
        (epochs, "acceptedEpoch: 0"),
        (unreadable, "expected an epoch in decimal"),
    ]
}

/// STO-05, -09, -10, -12: a damaged store is refused, or set aside for a leader to fill; whatever is set aside is still there.
#[test]
fn a_damaged_store_is_set_aside_and_does_not_vote_until_it_is_filled() {
    let repair = || Options { repair: true, ..options() };
    for (disk, reason) in damages() {
        check(reason, &disk, Refused(reason));
        let names = |dir| {
            let entries = disk.clone().list(dir).unwrap().into_iter();
            entries.filter(|entry| entry.name != "untrusted").map(|entry| entry.name).collect::<Vec<_>>()
        };
        let before = [names(Dir::Log), names(Dir::Data)].concat();
        let (mut storage, recovered) = Storage::open(disk.clone(), repair()).unwrap();
        let set_aside = recovered.set_aside.clone().unwrap();
        assert!(set_aside.starts_with("files aside-1.*: ") && set_aside.contains(reason), "{set_aside}");
        assert!(!recovered.trusted && recovered.snapshot.is_none() && recovered.tail.is_empty(), "{reason}");
        assert_eq!((recovered.last_zxid(), recovered.current_epoch), (Zxid::NONE, Epoch(0)), "{reason}");
        let promised = Epoch(i64::from(!reason.contains("decimal") && !reason.contains(": 0")));
        assert_eq!(recovered.accepted_epoch, promised, "{reason}: a promise is kept as long as it can be read");
        let after = [names(Dir::Log), names(Dir::Data)].concat();
        let kept = |name: &String| after.contains(name) || after.contains(&format!("aside-1.{name}"));
        assert!(before.iter().all(kept), "{reason}: {before:?} and {after:?}");

        // Nobody can declare it legitimate, and the reason stays until a leader's history is there.
        write_initialize_marker(&mut disk.clone()).unwrap();
        let (_, again) = Storage::open(disk.clone(), repair()).unwrap();
        assert!(!again.trusted && again.set_aside.as_ref() == Some(&set_aside), "{reason}");
        storage.perform(&Write::AcceptedEpoch(Epoch(2))).unwrap();
        let received = [zxid(1, 1), zxid(1, 2)];
        receive(&mut storage, zxid(1, 2), body(&received)).unwrap();
        let (_, halfway) = Storage::open(disk.clone(), options()).unwrap();
        assert!(!halfway.trusted && halfway.set_aside.as_ref() == Some(&set_aside), "{reason}");
        storage.perform(&Write::CurrentEpoch(Epoch(2))).unwrap();
        let (_, filled) = Storage::open(disk.clone(), options()).unwrap();
        assert!(filled.trusted && filled.set_aside.is_none() && history(&filled) == received, "{reason}");

        // A second time.
        disk.damage(Dir::Data, "snapshot.100000002", |bytes| bytes[20] ^= 1).unwrap();
        let (_, recovered) = Storage::open(disk.clone(), repair()).unwrap();
        assert!(recovered.set_aside.unwrap().starts_with("files aside-2.*: "), "{reason}");
    }
}

/// The power is cut at every call while the files are set aside.
#[test]
fn a_crash_while_files_are_set_aside_never_brings_back_a_vote() {
    let repair = || Options { repair: true, ..options() };
    let mut points = 0;
    for (case, (_, reason)) in damages().into_iter().enumerate() {
        for cut_at in 0.. {
            let mut is_done = true;
            for seed in 0..5 {
                let disk = damages().remove(case).0;
                disk.cut_power_after(cut_at);
                is_done &= Storage::open(disk.clone(), repair()).is_ok();
                disk.crash(&mut fastrand::Rng::with_seed(seed * 1000 + cut_at));
                let (_, recovered) = Storage::open(disk.clone(), repair()).unwrap();
                assert!(!recovered.trusted && recovered.set_aside.is_some(), "{reason}, cut at {cut_at}");
                assert_eq!(recovered.snapshot, None, "{reason}, cut at {cut_at}, seed {seed}");
                points += 1;
            }
            if is_done {
                break;
            }
        }
    }
    assert!(points > 500, "{points} crashes");
}
