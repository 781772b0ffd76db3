//! STO-20: the protocols by which a store changes, the power cut at every call of each, and after each cut every legal
//! state of the disk (or [`STATES_MAX`] of them where there are more): the store opens by itself and holds what was reported durable.
//!
//! A process that is killed instead loses nothing at once; what its successor reads must then survive a power cut.
//!
//! `cargo test -p ensemble-storage --test protocols -- --nocapture` prints the counts.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use ensemble_proto::durable::Write;
use ensemble_proto::membership::Membership;
use ensemble_proto::{Epoch, ServerId, Zxid};
use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{
    Compression, ConfigurationFiles, Dir, Disk, Identity, IdentityError, Options, SnapshotWriter, Storage,
    StorageError, purge, restore, write_initialize_marker,
};
use support::*;

/// States tried after one cut.
const STATES_MAX: usize = 2000;

/// What a store says when it is opened.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    /// Counters of epoch 1's records.
    records: Vec<u32>,
    accepted: i64,
    current: i64,
    trusted: bool,
    /// Versions of the active and of the last seen configuration.
    configuration: [i64; 2],
}

fn found(records: impl IntoIterator<Item = u32>, accepted: i64, current: i64) -> Found {
    Found { records: records.into_iter().collect(), accepted, current, trusted: true, configuration: [0, 0] }
}

fn untrusted(records: impl IntoIterator<Item = u32>, accepted: i64) -> Found {
    Found { trusted: false, ..found(records, accepted, 0) }
}

struct Protocol {
    name: &'static str,
    /// The durable disk that it begins with.
    before: fn() -> SimDisk,
    /// What is done. An error is the power cut.
    run: fn(&SimDisk) -> Result<(), StorageError>,
    /// How the store is opened afterwards.
    options: fn() -> Options,
    /// What may be found, from the first state to the last.
    legal: Vec<Found>,
}

fn counters(range: std::ops::RangeInclusive<u32>) -> Vec<Zxid> {
    range.map(|counter| zxid(1, counter)).collect()
}

fn group(storage: &mut Storage<SimDisk>, range: std::ops::RangeInclusive<u32>) -> Result<(), StorageError> {
    for zxid in counters(range) {
        storage.perform(&append(zxid, 150))?;
    }
    storage.sync().map(drop)
}

fn snapshot(disk: &SimDisk, last: u32) -> Result<(), StorageError> {
    let mut writer = SnapshotWriter::begin(disk.clone(), zxid(1, last), Compression::Snappy)?;
    writer.slice(&body(&counters(1..=last)))?;
    writer.finish(Some(9), zxid(1, last))
}

/// Epoch 1 and the records 1 to 3.
fn three() -> SimDisk {
    let disk = SimDisk::new();
    let mut storage = open(&disk).unwrap().0;
    storage.perform(&Write::AcceptedEpoch(Epoch(1))).unwrap();
    storage.perform(&Write::CurrentEpoch(Epoch(1))).unwrap();
    group(&mut storage, 1..=3).unwrap();
    disk.durable_image()
}

/// Records 1 to 9 in three logs, snapshots of 0, 3 and 6.
fn nine() -> SimDisk {
    let disk = three();
    for last in [6, 9] {
        snapshot(&disk, last - 3).unwrap();
        group(&mut open(&disk).unwrap().0, last - 2..=last).unwrap();
    }
    disk.durable_image()
}

/// The same, with more snapshots than are kept.
fn nine_with_snapshots() -> SimDisk {
    let disk = nine();
    for last in [7, 8, 9] {
        snapshot(&disk, last).unwrap();
    }
    disk.durable_image()
}

fn closed() -> Options {
    Options { autocreate: false, ..options() }
}

fn repaired() -> Options {
    Options { repair: true, ..options() }
}

/// The servers 1 and 2; only whether a configuration has a version tells one from another.
fn membership(version: i64) -> Membership {
    let text = format!("server.1=a:1:2:participant;3\nserver.2=b:1:2:participant;3\nversion={version:x}");
    Membership::parse(&text).unwrap()
}

fn beside() -> Options {
    Options { configuration: Some(ConfigurationFiles::beside("zoo.cfg", "/etc", ServerId(1))), ..options() }
}

fn apart() -> Options {
    Options { configuration: Some(ConfigurationFiles::apart("zoo.cfg", ServerId(1))), ..options() }
}

/// A server that was started with lines in its `zoo.cfg`.
fn configured() -> SimDisk {
    let disk = three();
    let text = b"# mine\ndataDir=/d\nclientPort=3\nserver.1=a:1:2\nserver.2=b:1:2\n";
    let mut writer = disk.clone();
    writer.create(Dir::Config, "zoo.cfg").unwrap();
    writer.write_at(Dir::Config, "zoo.cfg", 0, text).unwrap();
    writer.sync_data(Dir::Config, "zoo.cfg").unwrap();
    writer.sync_dir(Dir::Config).unwrap();
    disk
}

/// Seen, active, and another one seen.
fn reconfigure(disk: &SimDisk, options: Options) -> Result<(), StorageError> {
    let mut storage = Storage::open(disk.clone(), options)?.0;
    for version in [16, 31] {
        storage.perform(&Write::LastSeen(membership(version)))?;
        storage.perform(&append(zxid(1, 4 + u32::from(version > 16)), 150))?;
        storage.perform(&Write::Membership(membership(version)))?;
    }
    storage.perform(&Write::LastSeen(membership(47)))
}

/// What [`reconfigure`] goes through.
fn reconfigured() -> Vec<Found> {
    let states = [
        (3, [0, 0]),
        (3, [0, 16]),
        (4, [0, 16]),
        (4, [16, 0]),
        (4, [16, 31]),
        (5, [16, 31]),
        (5, [31, 0]),
        (5, [31, 47]),
    ];
    states.map(|(last, configuration)| Found { configuration, ..found(1..=last, 1, 1) }).into()
}

fn damaged_nine() -> SimDisk {
    let disk = nine();
    disk.damage(Dir::Log, "log.100000007", |bytes| bytes[60] ^= 1).unwrap();
    disk
}

/// The last group was never synced, and lost a sector.
fn torn_nine() -> SimDisk {
    let disk = nine();
    let tear = |bytes: &mut Vec<u8>| {
        bytes.truncate(16 + 3 * (13 + 32 + 150) - 20);
        bytes.resize(1024, 0);
    };
    disk.damage(Dir::Log, "log.100000007", tear).unwrap();
    disk
}

fn granted() -> SimDisk {
    let disk = SimDisk::new();
    write_initialize_marker(&mut disk.clone()).unwrap();
    disk.durable_image()
}

fn claim(disk: &SimDisk) -> Result<(), StorageError> {
    match Identity::claim(&mut disk.clone(), "e", 1, "volume") {
        Ok(_) => Ok(()),
        Err(IdentityError::Storage(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

/// Makes a backup's files the store.
fn restored(disk: &SimDisk, backup: &SimDisk) -> Result<(), StorageError> {
    let names = ["snapshot.0", "snapshot.100000003.snappy", "snapshot.100000006.snappy"].map(str::to_owned);
    let names = [&names[..], &["log.100000001", "log.100000004", "log.100000007"].map(str::to_owned)].concat();
    let read = |name: &str| {
        let dir = if name.starts_with("log") { Dir::Log } else { Dir::Data };
        backup.clone().read(dir, name)
    };
    match restore(&mut disk.clone(), &names, read, Options::default().payload_len_max, |_| Ok(())) {
        Ok(_) => Ok(()),
        Err(IdentityError::Storage(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

fn protocols() -> Vec<Protocol> {
    let up_to = |last: u32| found(1..=last, 1, 1);
    vec![
        Protocol {
            name: "append",
            before: three,
            run: |disk| {
                let mut storage = open(disk)?.0;
                group(&mut storage, 4..=5)?;
                group(&mut storage, 6..=8)
            },
            options,
            legal: (3..=8).map(up_to).collect(),
        },
        Protocol {
            name: "roll",
            before: three,
            run: |disk| {
                let mut storage = Storage::open(disk.clone(), Options { log_len_max: Some(300), ..options() })?.0;
                (4..=7).try_for_each(|counter| group(&mut storage, counter..=counter))
            },
            options,
            legal: (3..=7).map(up_to).collect(),
        },
        Protocol {
            name: "snapshot",
            before: three,
            run: |disk| {
                let storage = open(disk)?.0;
                snapshot(&storage.disk(), 3)
            },
            options,
            legal: vec![up_to(3)],
        },
        Protocol {
            name: "truncate",
            before: nine,
            run: |disk| open(disk)?.0.perform(&Write::Truncate { to: zxid(1, 2) }),
            options,
            legal: (2..=9).rev().map(up_to).collect(),
        },
        Protocol {
            name: "purge",
            before: nine_with_snapshots,
            run: |disk| purge(&mut open(disk)?.0.disk(), 3).map(drop),
            options,
            legal: vec![up_to(9)],
        },
        Protocol {
            name: "epochs",
            before: three,
            run: |disk| {
                let mut storage = open(disk)?.0;
                storage.perform(&Write::AcceptedEpoch(Epoch(2)))?;
                storage.perform(&Write::CurrentEpoch(Epoch(2)))
            },
            options,
            legal: vec![found(1..=3, 1, 1), found(1..=3, 2, 1), found(1..=3, 2, 2)],
        },
        Protocol {
            name: "install",
            before: nine,
            run: |disk| {
                let bytes = body(&counters(1..=5));
                receive(&mut open(disk)?.0, zxid(1, 5), bytes)
            },
            options,
            legal: vec![up_to(9), up_to(5)],
        },
        Protocol {
            name: "set aside",
            before: damaged_nine,
            run: |disk| Storage::open(disk.clone(), repaired()).map(drop),
            options: repaired,
            legal: vec![untrusted([], 1)],
        },
        Protocol { name: "identity", before: SimDisk::new, run: claim, options, legal: vec![found([], 0, 0)] },
        Protocol {
            name: "untrusted",
            before: SimDisk::new,
            run: |disk| {
                let mut storage = Storage::open(disk.clone(), closed())?.0;
                storage.perform(&Write::AcceptedEpoch(Epoch(2)))?;
                let bytes = body(&counters(1..=3));
                receive(&mut storage, zxid(1, 3), bytes)?;
                group(&mut storage, 4..=5)?;
                storage.perform(&Write::CurrentEpoch(Epoch(2)))
            },
            options: closed,
            legal: vec![
                untrusted([], 0),
                untrusted([], 2),
                untrusted(1..=3, 2),
                untrusted(1..=4, 2),
                untrusted(1..=5, 2),
                found(1..=5, 2, 2),
            ],
        },
        Protocol {
            name: "first start",
            before: granted,
            run: |disk| Storage::open(disk.clone(), closed()).map(drop),
            options: closed,
            legal: vec![found([], 0, 0)],
        },
        Protocol {
            name: "torn tail",
            before: torn_nine,
            run: |disk| group(&mut open(disk)?.0, 9..=10),
            options,
            legal: (8..=10).map(up_to).collect(),
        },
        Protocol {
            name: "restore",
            before: SimDisk::new,
            run: |disk| restored(disk, &nine()),
            options: closed,
            legal: vec![
                untrusted([], 0),
                Found { trusted: false, ..found(1..=3, 1, 1) },
                Found { trusted: false, ..found(1..=6, 1, 1) },
                Found { trusted: false, ..found(1..=9, 1, 1) },
                found(1..=9, 1, 1),
            ],
        },
        Protocol {
            name: "reconfigure",
            before: configured,
            run: |disk| reconfigure(disk, beside()),
            options: beside,
            legal: reconfigured(),
        },
        Protocol {
            name: "the same, apart",
            before: three,
            run: |disk| reconfigure(disk, apart()),
            options: apart,
            legal: reconfigured(),
        },
    ]
}

/// What the store says; the identity is claimed where it was.
fn opened(protocol: &Protocol, disk: &SimDisk) -> Found {
    if protocol.name == "identity" {
        claim(disk).unwrap();
    }
    let (_, recovered) =
        Storage::open(disk.clone(), (protocol.options)()).unwrap_or_else(|error| panic!("{}: {error}", protocol.name));
    let kept = (protocol.options)().configuration.map(|files| files.recover(&mut disk.clone()).unwrap());
    let version = |membership: Option<Membership>| membership.map_or(0, |membership| membership.version.0);
    Found {
        configuration: kept.map_or([0, 0], |kept| [version(kept.active), version(kept.last_seen)]),
        records: history(&recovered).iter().map(|zxid| zxid.counter()).collect(),
        accepted: recovered.accepted_epoch.0,
        current: recovered.current_epoch.0,
        trusted: recovered.trusted,
    }
}

/// Cuts the power at every call; how many calls and states that was.
fn check(protocol: &Protocol) -> (u64, usize) {
    let Protocol { name, legal, .. } = protocol;
    let mut states = 0;
    let mut least = 0;
    for cut_at in 0.. {
        let disk = (protocol.before)();
        disk.cut_power_after(cut_at);
        let is_done = (protocol.run)(&disk).is_ok();
        disk.restore_power();
        let mut random = fastrand::Rng::with_seed(cut_at);
        let mut first = legal.len();
        for state in disk.post_crash_states(STATES_MAX, &mut random) {
            let found = opened(protocol, &state);
            let at = legal.iter().position(|legal| *legal == found);
            let at = at.unwrap_or_else(|| panic!("{name}, cut at call {cut_at}: {found:?} is no legal state"));
            assert!(!is_done || at + 1 == legal.len(), "{name}: done, and {found:?} is found");
            first = first.min(at);
            states += 1;
        }
        // Once a state is durable nothing before it comes back.
        assert!(first >= least, "{name}, cut at call {cut_at}: {:?} is back", legal[first]);
        least = first;
        // Killed, opened, and then the power goes: what was read is still there.
        let read = opened(protocol, &disk);
        assert_eq!(opened(protocol, &disk.durable_image()), read, "{name}, killed at call {cut_at}");
        if is_done {
            return (cut_at, states);
        }
    }
    unreachable!("a protocol has an end");
}

/// STO-04: what could be written of a write that found no room must not look like damage. All servers hold the same, and are full together.
#[test]
fn a_disk_that_is_full_at_any_call_of_any_protocol_leaves_a_legal_store() {
    for protocol in protocols() {
        for full_at in 0.. {
            let disk = (protocol.before)();
            disk.fill_after(full_at);
            let is_done = (protocol.run)(&disk).is_ok();
            disk.make_room();
            let found = opened(&protocol, &disk);
            assert!(protocol.legal.contains(&found), "{}, full at call {full_at}: {found:?}", protocol.name);
            assert_eq!(opened(&protocol, &disk.durable_image()), found, "{}, full at call {full_at}", protocol.name);
            if is_done {
                break;
            }
        }
    }
}

/// Zab, step f.2.1.
#[test]
fn a_power_cut_at_every_call_of_every_protocol_leaves_a_legal_store() {
    let mut calls = 0;
    for protocol in protocols() {
        let (points, states) = check(&protocol);
        println!("{:15} {points:4} crash points, {states:6} states", protocol.name);
        calls += points;
    }
    println!("{calls} crash points in all");
    assert!(calls > 150, "{calls} crash points");
}
