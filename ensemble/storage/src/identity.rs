//! Whose volumes these are: `ensemble-identity.json` in `dataDir`, and the same in `dataLogDir` when that is another volume.
//!
//! A server in operator mode refuses to start on the volume of another server or ensemble, and on a pair of volumes of which
//! one was lost: a log without its snapshots, or snapshots without their log, is less than what the server acked.
//!
//! A volume id that was granted the right to vote must never ask for a grant again. The grant, and everything that follows from
//! it before the first record (`initialize`, `snapshot.0`, epochs), is on the data volume. So the data volume alone carries an
//! id on: it is written there first, and one that is found on the log volume only belonged to a data volume that is gone.
//!
//! It also says which format the files on the volumes have. It is read before anything else, so that a server that is older than
//! the files leaves them alone: what it cannot read it would take for damage.

use crate::disk::{Dir, Disk, path};
use crate::error::StorageError;
use crate::small_file;
use serde::{Deserialize, Serialize};
use thiserror::Error;

const FILE: &str = "ensemble-identity.json";

/// The newest format of the files on a volume that this server reads, and the one that it writes. Whoever changes what an older
/// server would misread counts it up, and has the operator know (`operator/core/src/version.rs`).
pub const FORMAT_VERSION: u32 = 1;

/// Who owns a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// The ensemble's UUID.
    pub ensemble_id: String,
    /// The server's id.
    pub myid: i64,
    /// Drawn when the volume was first used; a lost volume comes back with another.
    pub volume_id: String,
    /// The format of the files; without it the first one.
    #[serde(default = "first_format")]
    pub format_version: u32,
    /// The ensemble took over the history of another one on this volume, and that is not finished; see [`crate::take_over`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) taking_over: Option<TakingOver>,
}

fn first_format() -> u32 {
    1
}

/// All that is read of an identity before its format is known to be one of ours.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Format {
    #[serde(default = "first_format")]
    format_version: u32,
}

/// What a take-over that is under way began with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TakingOver {
    /// The former ensemble's UUID.
    pub(crate) from: String,
    /// The highest epoch that was known when it began.
    pub(crate) epoch: i64,
}

/// Why the volumes are not this server's.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The volumes belong to someone else.
    #[error("{file}: {field} is {found}, this server's is {expected}: the volume belongs to another server")]
    Mismatch {
        /// The identity file.
        file: String,
        /// Which part differs.
        field: &'static str,
        /// This server's.
        expected: String,
        /// The volume's.
        found: String,
    },
    /// A newer server wrote the volumes.
    #[error(
        "{file}: the files have format {found}, and this server reads formats up to {FORMAT_VERSION}: start the version that wrote \
         them, or a newer one; nothing was changed"
    )]
    Newer {
        /// The identity file.
        file: String,
        /// The format.
        found: u32,
    },
    /// The file cannot be read, or the two volumes are no pair.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Identity {
    /// Checks that the volumes are those of server `myid` of `ensemble_id`. Empty volumes become its own, under the
    /// volume id `fresh`.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn claim(disk: &mut impl Disk, ensemble_id: &str, myid: i64, fresh: &str) -> Result<Identity, IdentityError> {
        let ours = Identity {
            ensemble_id: ensemble_id.to_string(),
            myid,
            volume_id: fresh.to_string(),
            format_version: FORMAT_VERSION,
            taking_over: None,
        };
        let data = Identity::read(disk, Dir::DataRoot)?;
        let log = if disk.has_separate_log() { Identity::read(disk, Dir::LogRoot)? } else { data.clone() };
        for (dir, identity) in [(Dir::DataRoot, &data), (Dir::LogRoot, &log)] {
            if let Some(identity) = identity {
                ours.check(dir, identity)?;
            }
        }
        match (data, log) {
            (Some(data), Some(log)) if data.volume_id == log.volume_id => Ok(data),
            (Some(data), Some(log)) => Err(IdentityError::Mismatch {
                file: path(Dir::LogRoot, FILE),
                field: "volumeId",
                expected: data.volume_id,
                found: log.volume_id,
            }),
            (Some(data), None) => {
                refuse_stored(disk, Dir::Log)?;
                // A crash between the two files.
                data.write(disk, Dir::LogRoot)?;
                Ok(data)
            }
            (None, Some(_)) => {
                refuse_stored(disk, Dir::Data)?;
                small_file::remove(disk, Dir::LogRoot, FILE)?;
                ours.create(disk)
            }
            (None, None) => ours.create(disk),
        }
    }

    fn create(self, disk: &mut impl Disk) -> Result<Identity, IdentityError> {
        self.write(disk, Dir::DataRoot)?;
        if disk.has_separate_log() {
            self.write(disk, Dir::LogRoot)?;
        }
        Ok(self)
    }

    fn check(&self, dir: Dir, found: &Identity) -> Result<(), IdentityError> {
        let mismatch = |field, expected: &dyn ToString, found: &dyn ToString| IdentityError::Mismatch {
            file: path(dir, FILE),
            field,
            expected: expected.to_string(),
            found: found.to_string(),
        };
        if self.ensemble_id != found.ensemble_id {
            return Err(mismatch("ensembleId", &self.ensemble_id, &found.ensemble_id));
        }
        if self.myid != found.myid {
            return Err(mismatch("myid", &self.myid, &found.myid));
        }
        Ok(())
    }

    /// The identity in `dataDir` or `dataLogDir`, whoever's it is; `None` where there is none.
    ///
    /// # Errors
    /// [`IdentityError::Newer`], or when it cannot be read.
    pub fn read(disk: &mut impl Disk, dir: Dir) -> Result<Option<Identity>, IdentityError> {
        let Some(bytes) = small_file::read(disk, dir, FILE)? else { return Ok(None) };
        let corrupt = |error: serde_json::Error| {
            StorageError::corrupt(&path(dir, FILE), 0, "ensembleId, myid and volumeId as JSON", error.to_string())
        };
        let Format { format_version } = serde_json::from_slice(&bytes).map_err(corrupt)?;
        if format_version > FORMAT_VERSION {
            return Err(IdentityError::Newer { file: path(dir, FILE), found: format_version });
        }
        Ok(Some(serde_json::from_slice(&bytes).map_err(corrupt)?))
    }

    pub(crate) fn write(&self, disk: &mut impl Disk, dir: Dir) -> Result<(), StorageError> {
        let json = serde_json::to_vec_pretty(self).expect("an identity is strings and a number");
        small_file::replace(disk, dir, FILE, &json)
    }
}

/// The volume of `lost` has no identity and the other has one. Once anything was stored, that is a lost volume.
fn refuse_stored(disk: &mut impl Disk, lost: Dir) -> Result<(), StorageError> {
    for dir in [Dir::Data, Dir::Log] {
        let files = disk.list(dir).map_err(StorageError::io("list", dir, ""))?;
        if let Some(file) = files.first() {
            let problem =
                format!("no {FILE}, but the other volume has one and {} exists: a volume was lost", file.name);
            return Err(StorageError::layout(lost, problem));
        }
    }
    Ok(())
}
