//! A volume has one owner.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{
    Dir, Disk, FORMAT_VERSION, Identity, Options, Recovered, Storage, StorageError, write_initialize_marker,
};
use support::*;

const FILE: &str = "ensemble-identity.json";

fn claim(disk: &SimDisk, ensemble: &str, myid: i64, fresh: &str) -> Result<String, String> {
    Identity::claim(&mut disk.clone(), ensemble, myid, fresh)
        .map(|identity| identity.volume_id)
        .map_err(|error| error.to_string())
}

#[test]
fn a_volume_keeps_its_id_and_refuses_strangers() {
    let disk = SimDisk::new();
    assert_eq!(claim(&disk, "e", 1, "v1"), Ok("v1".into()));
    assert_eq!(claim(&disk, "e", 1, "v2"), Ok("v1".into()));
    let refused = claim(&disk, "f", 1, "v3").unwrap_err();
    assert!(refused.contains("ensembleId is e, this server's is f"), "{refused}");
    let refused = claim(&disk, "e", 2, "v3").unwrap_err();
    assert!(refused.contains("myid is 1, this server's is 2"), "{refused}");
    disk.damage(Dir::DataRoot, FILE, |bytes| bytes.truncate(9)).unwrap();
    let refused = claim(&disk, "e", 1, "v3").unwrap_err();
    assert!(refused.contains("dataDir/ensemble-identity.json at offset 0: expected ensembleId"), "{refused}");
}

/// What a newer server wrote is not damage: it is said so, and left alone, whatever else it wrote.
#[test]
fn files_of_a_newer_format_are_left_alone() {
    for dir in [Dir::DataRoot, Dir::LogRoot] {
        let disk = SimDisk::new();
        claim(&disk, "e", 1, "v1").unwrap();
        let newer = format!(r#"{{ "formatVersion": {}, "somethingNew": [] }}"#, FORMAT_VERSION + 1);
        disk.damage(dir, FILE, |bytes| *bytes = newer.clone().into_bytes()).unwrap();
        let refused = claim(&disk, "e", 1, "v2").unwrap_err();
        assert!(refused.contains("the files have format 2, and this server reads formats up to 1"), "{refused}");
        disk.damage(dir, FILE, |bytes| assert_eq!(*bytes, newer.as_bytes())).unwrap();
    }
    // The first release's files may not say it.
    let disk = SimDisk::new();
    claim(&disk, "e", 1, "v1").unwrap();
    let silent = r#"{ "ensembleId": "e", "myid": 1, "volumeId": "v1" }"#;
    disk.damage(Dir::DataRoot, FILE, |bytes| *bytes = silent.into()).unwrap();
    assert_eq!(claim(&disk, "e", 1, "v2"), Ok("v1".into()));
}

#[test]
fn one_of_two_volumes_lost_is_refused_once_something_was_stored() {
    for (lost, id) in [(Dir::LogRoot, "v1"), (Dir::DataRoot, "v2")] {
        let disk = SimDisk::new();
        claim(&disk, "e", 1, "v1").unwrap();
        disk.clone().unlink(lost, FILE).unwrap();
        assert_eq!(claim(&disk, "e", 1, "v2"), Ok(id.into()), "{lost} lost while nothing was stored");
        assert_eq!(claim(&disk, "e", 1, "v3"), Ok(id.into()), "both volumes have the id again");
        disk.clone().unlink(lost, FILE).unwrap();
        open(&disk).unwrap();
        let refused = claim(&disk, "e", 1, "v2").unwrap_err();
        assert!(refused.contains("a volume was lost"), "{refused}");
    }
    let disk = SimDisk::new();
    claim(&disk, "e", 1, "v1").unwrap();
    disk.damage(Dir::LogRoot, FILE, |bytes| *bytes = String::from_utf8_lossy(bytes).replace("v1", "v9").into())
        .unwrap();
    let refused = claim(&disk, "e", 1, "v2").unwrap_err();
    assert!(refused.contains("volumeId is v9, this server's is v1"), "{refused}");
}

/// A granted volume's id asks for no second grant, whichever volume is lost and whenever.
#[test]
fn a_granted_id_never_comes_back_empty() {
    for lost in [Dir::DataRoot, Dir::LogRoot] {
        for is_consumed in [false, true] {
            let disk = SimDisk::new();
            claim(&disk, "e", 1, "v1").unwrap();
            write_initialize_marker(&mut disk.clone()).unwrap();
            if is_consumed {
                assert!(open_operated(&disk).unwrap().1.trusted);
            }
            lose_volume(&disk, lost);
            let case = format!("{lost} lost, grant consumed: {is_consumed}");
            match claim(&disk, "e", 1, "v2") {
                Ok(id) if id == "v1" => {
                    assert!(open_operated(&disk).unwrap().1.trusted, "{case}: v1 came back ungranted")
                }
                Ok(id) => assert_eq!((lost, id.as_str()), (Dir::DataRoot, "v2"), "{case}"),
                Err(refused) => assert!(refused.contains("a volume was lost"), "{case}: {refused}"),
            }
        }
    }
}

/// As a server in operator mode opens its store.
fn open_operated(disk: &SimDisk) -> Result<(Storage<SimDisk>, Recovered), StorageError> {
    Storage::open(disk.clone(), Options { autocreate: false, ..options() })
}

fn lose_volume(disk: &SimDisk, root: Dir) {
    let mut disk = disk.clone();
    let version_2 = if root == Dir::DataRoot { Dir::Data } else { Dir::Log };
    for dir in [root, version_2] {
        for entry in disk.list(dir).unwrap() {
            disk.unlink(dir, &entry.name).unwrap();
        }
    }
}
