//! A volume becomes the first member of a new ensemble, whole or not at all, wherever the power is cut.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use bytes::Bytes;
use ensemble_proto::durable::Write;
use ensemble_proto::membership::Membership;
use ensemble_proto::{Epoch, ServerId, Zxid};
use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{
    ConfigurationFiles, Dir, Disk, Identity, IdentityError, Options, Storage, TakeOver, TakenOver, take_over,
};
use support::*;

const FORMER: &str = "former";
const NEW: &str = "new";
/// The epoch that the caller knows of.
const KNOWN: i64 = 7;
/// States tried after one cut.
const STATES_MAX: usize = 250;

fn kept() -> Options {
    Options { configuration: Some(ConfigurationFiles::apart("zoo.cfg", ServerId(1))), autocreate: false, ..options() }
}

fn asked() -> TakeOver {
    TakeOver { former_id: FORMER.to_owned(), volume_id: "volume".to_owned(), epoch: Epoch(KNOWN) }
}

fn alone(zxid: Zxid) -> (Membership, Bytes) {
    let text = format!("server.1=a:1:2:participant;3\nversion={:x}", zxid.0);
    (Membership::parse(&text).unwrap(), payload(zxid, 80))
}

fn take(disk: &SimDisk, asked: Option<&TakeOver>) -> Result<Option<TakenOver>, IdentityError> {
    take_over(&mut disk.clone(), (NEW, 1), asked, &kept(), alone)
}

fn claims(disk: &SimDisk, ensemble: &str) -> bool {
    Identity::claim(&mut disk.clone(), ensemble, 1, "fresh").is_ok_and(|identity| identity.volume_id == "volume")
}

/// A member of three in epoch 1 with three records, and a reconfiguration that nobody confirmed.
fn member() -> SimDisk {
    let disk = SimDisk::new();
    Identity::claim(&mut disk.clone(), FORMER, 1, "volume").unwrap();
    let options = Options { autocreate: true, ..kept() };
    let mut storage = Storage::open(disk.clone(), options).unwrap().0;
    storage.perform(&Write::AcceptedEpoch(Epoch(1))).unwrap();
    storage.perform(&Write::CurrentEpoch(Epoch(1))).unwrap();
    let membership = |zxid: Zxid| {
        let text = format!("server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nversion={:x}", zxid.0);
        Membership::parse(&text).unwrap()
    };
    storage.perform(&append(zxid(1, 1), 150)).unwrap();
    storage.perform(&Write::Membership(membership(zxid(1, 1)))).unwrap();
    storage.perform(&append(zxid(1, 2), 150)).unwrap();
    storage.perform(&Write::LastSeen(membership(zxid(1, 3)))).unwrap();
    storage.perform(&append(zxid(1, 3), 150)).unwrap();
    storage.sync().unwrap();
    disk.durable_image()
}

/// What a store holds: its records, epochs, and the versions of the active and the last seen configuration.
fn found(disk: &SimDisk) -> (Vec<Zxid>, [i64; 2], [Option<Zxid>; 2]) {
    let (_, recovered) = Storage::open(disk.clone(), kept()).unwrap();
    assert!(recovered.trusted);
    let files = kept().configuration.unwrap().recover(&mut disk.clone()).unwrap();
    let versions = [files.active, files.last_seen].map(|membership| membership.map(|membership| membership.version));
    (history(&recovered), [recovered.accepted_epoch.0, recovered.current_epoch.0], versions)
}

/// The former history, and one record of each attempt behind it; the last one is of the configuration that is active.
fn taken_over(disk: &SimDisk) {
    assert!(claims(disk, NEW) && !claims(disk, FORMER));
    let (records, epochs, versions) = found(disk);
    assert_eq!(records[..3], [1, 2, 3].map(|counter| zxid(1, counter)));
    let last = *records.last().unwrap();
    assert!(records.len() > 3 && last.epoch().0 > KNOWN, "{records:?}");
    assert_eq!(epochs, [last.epoch().0; 2]);
    assert_eq!(versions, [Some(last), None]);
}

#[test]
fn a_power_cut_at_every_call_leaves_the_former_ensembles_volume_or_the_new_ones() {
    let mut states = 0;
    for cut_at in 0.. {
        let disk = member();
        disk.cut_power_after(cut_at);
        let is_done = take(&disk, Some(&asked())).is_ok();
        disk.restore_power();
        let mut random = fastrand::Rng::with_seed(cut_at);
        for state in disk.post_crash_states(STATES_MAX, &mut random) {
            if claims(&state, FORMER) {
                assert!(!is_done);
                let as_before =
                    (vec![zxid(1, 1), zxid(1, 2), zxid(1, 3)], [1, 1], [Some(zxid(1, 1)), Some(zxid(1, 3))]);
                assert_eq!(found(&state), as_before, "cut at call {cut_at}");
                take(&state, Some(&asked())).unwrap().unwrap();
            } else {
                // Whatever the configuration says now: what has begun is finished.
                let again = take(&state, None).unwrap();
                assert!(again.is_none() || !is_done, "cut at call {cut_at}");
            }
            taken_over(&state);
            assert_eq!(take(&state, Some(&asked())).unwrap(), None, "once is enough");
            states += 1;
        }
        if is_done {
            println!("{cut_at} crash points, {states} states");
            assert!(cut_at > 40, "{cut_at} crash points");
            return;
        }
    }
}

#[test]
fn it_tells_what_it_took_over() {
    let disk = member();
    let told = take(&disk, Some(&asked())).unwrap().unwrap();
    assert_eq!(
        told,
        TakenOver { former_id: FORMER.to_owned(), last: zxid(1, 3), zxid: zxid(KNOWN + 1, 1) },
        "the epoch is later than any that is known"
    );
    let mut storage = Storage::open(member(), kept()).unwrap().0;
    storage.perform(&Write::AcceptedEpoch(Epoch(20))).unwrap();
    let told = take(&storage.disk(), Some(&asked())).unwrap().unwrap();
    assert_eq!(told.zxid, zxid(21, 1), "this server's own promise counts too");
}

/// Another ensemble, another volume, another server: nothing is changed, and the volume is refused as it always was.
#[test]
fn any_other_volume_is_left_alone() {
    let other = |change: fn(&mut TakeOver)| {
        let mut asked = asked();
        change(&mut asked);
        asked
    };
    for asked in [
        None,
        Some(other(|asked| asked.former_id = "stranger".to_owned())),
        Some(other(|asked| asked.volume_id = "lost".to_owned())),
    ] {
        let disk = member();
        assert_eq!(take(&disk, asked.as_ref()).unwrap(), None, "{asked:?}");
        assert!(claims(&disk, FORMER) && !claims(&disk, NEW), "{asked:?}");
    }
    let disk = member();
    let as_other = take_over(&mut disk.clone(), (NEW, 2), Some(&asked()), &kept(), alone).unwrap();
    assert_eq!(as_other, None, "another server's id");
    assert!(claims(&disk, FORMER));
    assert_eq!(take(&SimDisk::new(), Some(&asked())).unwrap(), None, "an empty volume");
}

fn refused(disk: &SimDisk, options: &Options) -> String {
    let asked = asked();
    let error = take_over(&mut disk.clone(), (NEW, 1), Some(&asked), options, alone).unwrap_err();
    assert!(claims(disk, FORMER), "{error}: the volume is as it was");
    error.to_string()
}

#[test]
fn a_store_that_holds_no_whole_history_is_refused_as_it_is() {
    let repair = Options { repair: true, ..kept() };
    let disk = member();
    disk.damage(Dir::Log, "log.100000001", |bytes| bytes[60] ^= 1).unwrap();
    assert!(refused(&disk, &repair).contains("log.100000001"));
    // It was set aside at an earlier start.
    assert!(!Storage::open(disk.clone(), repair.clone()).unwrap().1.trusted);
    assert!(refused(&disk, &repair).contains("does not hold the whole history"));

    let empty = SimDisk::new();
    Identity::claim(&mut empty.clone(), FORMER, 1, "volume").unwrap();
    assert!(refused(&empty, &repair).contains("does not hold the whole history"));

    let nowhere = Options { configuration: None, ..kept() };
    assert!(refused(&member(), &nowhere).contains("it cannot be kept"));
}

#[test]
fn half_of_a_pair_of_volumes_is_refused() {
    let disk = member();
    disk.clone().unlink(Dir::LogRoot, "ensemble-identity.json").unwrap();
    let error = take(&disk, Some(&asked())).unwrap_err().to_string();
    assert!(error.contains("a volume was lost or exchanged"), "{error}");
    let found = Identity::claim(&mut disk.clone(), NEW, 1, "fresh").unwrap_err().to_string();
    assert!(found.contains("ensembleId is former, this server's is new"), "{found}");
}
