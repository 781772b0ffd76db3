//! Which server this is: the file `myid` in `dataDir`, and in a StatefulSet the pod's ordinal.

use super::ConfigError;
use ensemble_proto::ServerId;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const FILE: &str = "myid";
/// The id is the high byte of every session id that the server gives out.
const MYID_MAX: i64 = 254;

/// Reads `dataDir/myid`. With `expected` (ordinal plus offset) a missing file is written, and a different one refused.
///
/// # Errors
/// [`ConfigError::Myid`].
pub(super) fn establish(
    data_dir: &Path,
    expected: Option<ServerId>,
    autocreate: bool,
) -> Result<ServerId, ConfigError> {
    let path = data_dir.join(FILE);
    let fail = |problem: String| ConfigError::Myid { path: path.clone(), problem };
    let found = match fs::read_to_string(&path) {
        Ok(text) => Some(parse(&text).ok_or_else(|| {
            fail(format!("{:?} is not a server id: expected a number from 0 to {MYID_MAX}", text.trim()))
        })?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(fail(error.to_string())),
    };
    match (found, expected) {
        (Some(found), Some(expected)) if found != expected => {
            Err(ConfigError::OtherServer { path: path.clone(), found, expected })
        }
        (Some(found), _) => Ok(found),
        (None, Some(expected)) => {
            write(data_dir, &path, expected, autocreate).map_err(|error| fail(error.to_string()))?;
            Ok(expected)
        }
        (None, None) => Err(fail("not found: it must hold the N of this server's server.N line".to_owned())),
    }
}

fn parse(text: &str) -> Option<ServerId> {
    text.trim().parse().ok().filter(|id| (0..=MYID_MAX).contains(id)).map(ServerId)
}

fn write(data_dir: &Path, path: &PathBuf, id: ServerId, autocreate: bool) -> io::Result<()> {
    if autocreate {
        fs::create_dir_all(data_dir)?;
    }
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, format!("{id}\n"))?;
    fs::File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, path)?;
    fs::File::open(data_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ordinal_writes_myid_once_and_must_agree_with_it_later() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let establish = |expected: Option<i64>| {
            let found = establish(&data, expected.map(ServerId), true);
            found.map_err(|error| error.to_string().replace(data.to_str().unwrap(), "D"))
        };
        assert_eq!(establish(None), Err("D/myid: not found: it must hold the N of this server's server.N line".into()));
        assert_eq!(establish(Some(3)), Ok(ServerId(3)));
        assert_eq!(establish(None), Ok(ServerId(3)));
        assert_eq!(establish(Some(3)), Ok(ServerId(3)));
        let other = "D/myid: holds 3, but this server's ordinal makes it 4: the volume belongs to another server";
        assert_eq!(establish(Some(4)), Err(other.into()));
        fs::write(data.join("myid"), "three").unwrap();
        let wrong = "D/myid: \"three\" is not a server id: expected a number from 0 to 254";
        assert_eq!(establish(Some(3)), Err(wrong.into()));
    }
}
