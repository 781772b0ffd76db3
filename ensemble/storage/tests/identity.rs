//! A volume has one owner.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{Dir, Disk, Identity};
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

#[test]
fn one_of_two_volumes_lost_is_refused_once_something_was_stored() {
    for lost in [Dir::DataRoot, Dir::LogRoot] {
        let disk = SimDisk::new();
        claim(&disk, "e", 1, "v1").unwrap();
        disk.clone().unlink(lost, FILE).unwrap();
        assert_eq!(claim(&disk, "e", 1, "v2"), Ok("v1".into()), "a crash between the two files");
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
