//! Who belongs to the ensemble, from wherever it stands: lines of `zoo.cfg`, the `dynamicConfigFile`, and what earlier runs have kept.
//!
//! | `zoo.cfg` has | the ensemble is | is kept |
//! |---|---|---|
//! | `server.N` lines | these | beside `zoo.cfg`, which then gets the next line |
//! | `dynamicConfigFile` | what that file says, in the version that its name ends in | beside `zoo.cfg` |
//! | `ensemble.dynamicConfigDir`, or `ensemble.id` (then it is `dataDir`) | the newest of what is kept there and what `zoo.cfg` says | there; `zoo.cfg` is only read |
//!
//! The last row is for a `zoo.cfg` that cannot be written, as in a ConfigMap. There a server may have a line in `zoo.cfg` and none in
//! the configuration that it kept: it is to join, or was removed, and follows without a vote. In operator mode its line may come from a
//! pattern for all servers ([`Pattern`]), and needs to be in no list.

use super::pattern::Pattern;
use super::values::Values;
use super::{ConfigError, Endpoint, Note, Settings};
use ensemble_proto::ServerId;
use ensemble_proto::membership::{Member, MemberRole, Membership};
use ensemble_storage::{ConfigurationFiles, Kept, RealDisk, parse_dynamic};
use std::path::{Path, PathBuf};

const PREFIXES: [&str; 3] = ["server.", "group.", "weight."];

/// The configuration of the ensemble, and where it is kept.
#[derive(Clone, Debug, Default)]
pub struct Ensemble {
    /// What `zoo.cfg`, or the file that it names, says; no server when there is no line.
    lines: Membership,
    /// The active configuration: the newer one of `lines` and what was kept.
    pub membership: Membership,
    /// One that was proposed to this server later, and is perhaps committed.
    pub last_seen: Option<Membership>,
    /// This server's line, in the first of these that has one: `membership`, `zoo.cfg`, `ensemble.member`.
    pub own: Option<Member>,
    /// `reconfigEnabled`.
    pub reconfig: bool,
    /// `standaloneEnabled`: a single participant needs no others.
    pub standalone_enabled: bool,
    /// `peerType`, which only says again what the line says.
    peer_type: Option<MemberRole>,
    /// `clientPort` and `clientPortAddress`, for a line that has neither.
    client: Option<Endpoint>,
    /// `ensemble.dynamicConfigDir`.
    directory: Option<PathBuf>,
    /// `ensemble.member`.
    pattern: Option<Pattern>,
    /// Where it is kept; `None` as long as nobody asked.
    place: Option<Place>,
}

/// Where the configuration is kept.
#[derive(Clone, Debug)]
struct Place {
    files: ConfigurationFiles,
    directory: PathBuf,
    /// `zoo.cfg`.
    file: PathBuf,
}

impl Ensemble {
    /// What the keys say. `offset` is `ensemble.myidOffset`; `read` gives the text of a file.
    pub(super) fn read(
        values: &Values,
        operated: bool,
        offset: i64,
        client: Option<Endpoint>,
        read: impl Fn(&Path) -> Result<String, ConfigError>,
    ) -> Result<Ensemble, ConfigError> {
        let lines = lines(values, read)?;
        let standalone_enabled = values.flag("standaloneEnabled", true)?;
        if standalone_enabled && lines.voters().count() == 1 && lines.servers.len() > 1 {
            return Err(ConfigError::Conflict(ALONE_WITH_OBSERVERS.into()));
        }
        let peer_type = match values.text("peerType") {
            None => None,
            Some("participant") => Some(MemberRole::Participant),
            Some("observer") => Some(MemberRole::Observer),
            Some(_) => return Err(values.wrong("peerType", "participant or observer")),
        };
        let directory = match values.text("ensemble.dynamicConfigDir") {
            None if operated => values.text("dataDir"),
            given => given,
        };
        Ok(Ensemble {
            membership: lines.clone(),
            lines,
            reconfig: values.flag("reconfigEnabled", false)?,
            standalone_enabled,
            peer_type,
            client,
            directory: directory.map(PathBuf::from),
            pattern: Pattern::read(values, operated, offset)?,
            ..Ensemble::default()
        })
    }

    /// Whether the server serves alone, without election.
    pub(super) fn is_standalone(&self) -> bool {
        self.lines.servers.is_empty() || self.lines.servers.len() == 1 && self.standalone_enabled
    }

    /// Whether a server votes by `zoo.cfg`: only who founds an ensemble may be granted a vote without its history.
    pub(crate) fn is_founder(&self, id: ServerId) -> bool {
        self.lines.is_voter(id)
    }

    /// Finds out where the configuration of this `zoo.cfg` is kept, and that it can be, where it may change.
    pub(super) fn settle(&mut self, file: &Path, id: ServerId) -> Result<(), ConfigError> {
        let keep = |source| ConfigError::Keep { source };
        let place = Place::of(file, self.directory.as_deref(), id)?;
        if self.reconfig {
            let mut disk = place.disk();
            place.files.probe(&mut disk).map_err(keep)?;
            place.files.back_up(&mut disk).map_err(keep)?;
            place.files.tidy(&mut disk).map_err(keep)?;
        }
        // Otherwise nothing was ever kept, and nobody needs the permission to look.
        if self.reconfig || self.directory.is_some() || self.lines.version.0 > 0 {
            self.place = Some(place);
        }
        Ok(())
    }

    /// Takes up what was kept: the active configuration, the last seen one, and this server's line.
    fn recall(&mut self, id: ServerId) -> Result<(), ConfigError> {
        let kept = match &self.place {
            Some(place) => place.files.recover(&mut place.disk()).map_err(|source| ConfigError::Kept { source })?,
            None => Kept::default(),
        };
        let newer = kept.active.filter(|active| active.version > self.lines.version);
        self.membership = newer.unwrap_or_else(|| self.lines.clone());
        self.last_seen = kept.last_seen.filter(|last_seen| last_seen.version > self.membership.version);
        if let Some(last_seen) = self.last_seen.as_ref().filter(|_| !self.reconfig) {
            return Err(ConfigError::Conflict(format!("{HALF_WAY}{:x}", last_seen.version.0)));
        }
        self.own = Some(self.line(id)?);
        Ok(())
    }

    fn line(&self, id: ServerId) -> Result<Member, ConfigError> {
        let given = || self.lines.servers.get(&id).filter(|_| self.directory.is_some());
        match (self.membership.servers.get(&id).or_else(given), &self.pattern) {
            (Some(line), _) => Ok(line.clone()),
            (None, Some(_)) if !self.reconfig => Err(ConfigError::Conflict(CANNOT_JOIN.into())),
            (None, Some(pattern)) => pattern.line(id),
            (None, None) => Err(not_a_member(id, &self.membership)),
        }
    }
}

/// A single participant does not look for others, and so never gets an observer.
const ALONE_WITH_OBSERVERS: &str =
    "standaloneEnabled: a single participant would serve alone, without its observers; set it to false";
/// A server that forgot the proposed configuration could count quorums in the former one only.
const HALF_WAY: &str =
    "reconfigEnabled: must be true, because a reconfiguration was under way when this server stopped, to version ";
/// The members would turn it away.
const CANNOT_JOIN: &str = "reconfigEnabled: must be true for a server that has no server.N line and an ensemble.member, because it is to join";

fn not_a_member(id: ServerId, membership: &Membership) -> ConfigError {
    let what = match membership.version.0 {
        0 => String::new(),
        version => format!(
            " in version {version:x} of the configuration: it was removed, or it is to join and needs a zoo.cfg with its own line beside those of the members"
        ),
    };
    ConfigError::Conflict(format!("myid is {id}, but there is no server.{id} line{what}"))
}

impl Place {
    fn of(file: &Path, directory: Option<&Path>, id: ServerId) -> Result<Place, ConfigError> {
        let read = |source| ConfigError::Read { path: file.to_owned(), source };
        let not_text = || read(std::io::Error::other("its path is not UTF-8"));
        let name = file.file_name().and_then(|name| name.to_str()).ok_or_else(not_text)?;
        if let Some(directory) = directory {
            let files = ConfigurationFiles::apart(name, id);
            return Ok(Place { files, directory: directory.to_owned(), file: file.to_owned() });
        }
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = parent.canonicalize().map_err(read)?;
        let files = ConfigurationFiles::beside(name, directory.to_str().ok_or_else(not_text)?, id);
        Ok(Place { files, file: directory.join(name), directory })
    }

    fn disk(&self) -> RealDisk {
        RealDisk::only_config(&self.directory, &self.file)
    }
}

impl Settings {
    /// Takes up what earlier runs have kept, and what follows from it for this server: its addresses, its role, whether its store may be
    /// set aside. Called whenever a server is built from its store.
    ///
    /// # Errors
    /// [`ConfigError::Conflict`] when this server is no member; [`ConfigError::Kept`].
    pub(crate) fn recall(&mut self, notes: &mut Vec<Note>) -> Result<(), ConfigError> {
        let ensemble = &mut self.ensemble;
        if ensemble.lines.servers.is_empty() {
            return Ok(());
        }
        ensemble.recall(self.id)?;
        self.client = ensemble.client.clone();
        if let Some(client) = ensemble.own.as_ref().and_then(|own| own.client.as_ref()) {
            let line = Endpoint { host: client.host.clone(), port: client.port };
            if self.client.as_ref().is_some_and(|given| given.port != line.port) {
                let text = "differs from the client port of this server's line, which counts";
                notes.push(Note::new("clientPort", text));
            }
            self.client = Some(line);
        }
        let role = ensemble.own.as_ref().map(|own| own.role);
        if ensemble.peer_type.is_some() && ensemble.peer_type != role {
            notes.push(Note::new("peerType", "differs from the role in this server's line, which counts"));
        }
        // A damaged store is filled by a leader whom the others elect and establish without this server's vote.
        let voters = ensemble.membership.voters().count();
        let is_observer = role == Some(MemberRole::Observer);
        self.storage.repair = !self.standalone && (is_observer || voters >= 3);
        self.storage.configuration =
            ensemble.place.as_ref().filter(|_| ensemble.reconfig).map(|place| place.files.clone());
        Ok(())
    }

    /// A store's disk, with the directory of the ensemble's configuration.
    pub(crate) fn with_config(&self, disk: RealDisk) -> RealDisk {
        match &self.ensemble.place {
            Some(place) => disk.with_config(&place.directory, &place.file),
            None => disk,
        }
    }
}

/// The lines of `zoo.cfg`, or of the file that it names.
fn lines(values: &Values, read: impl Fn(&Path) -> Result<String, ConfigError>) -> Result<Membership, ConfigError> {
    let mut given = PREFIXES.into_iter().flat_map(|prefix| values.with_prefix(prefix));
    if let Some(file) = values.text("dynamicConfigFile") {
        if let Some((key, _, place)) = given.next() {
            return Err(ConfigError::Conflict(format!("{key} ({place}): belongs into {file}, the dynamicConfigFile")));
        }
        let text = read(Path::new(file))?;
        return parse_dynamic(file, &text).map_err(|source| ConfigError::Kept { source });
    }
    let mut membership = Membership::default();
    for (key, value, place) in given {
        membership.insert(key, value).map_err(|source| ConfigError::Membership { place, source })?;
    }
    match membership == Membership::default() {
        true => Ok(membership),
        false => membership.complete().map_err(|error| ConfigError::Conflict(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Note, load};
    use std::fs;
    use tempfile::TempDir;

    const KEYS: &str = "initLimit=5\nsyncLimit=2\nstandaloneEnabled=false\n";
    const LINES: &str = "server.1=a:1:2\nserver.2=b:1:2\n";

    /// A folder with a `zoo.cfg` of server 3, and other files.
    struct Folder(TempDir);

    impl Folder {
        fn new(zoo_cfg: &str, files: &[(&str, &str)]) -> Folder {
            let folder = Folder(tempfile::tempdir().unwrap());
            let text = format!("dataDir=D\n{KEYS}{zoo_cfg}");
            for (name, text) in [("myid", "3"), ("zoo.cfg", text.as_str())].iter().chain(files) {
                folder.write(name, text);
            }
            folder
        }

        /// `D` stands for the folder.
        fn write(&self, name: &str, text: &str) {
            let path = self.0.path().display().to_string();
            fs::write(self.0.path().join(name), text.replace("=D", &format!("={path}"))).unwrap();
        }

        /// Versions of the configurations and this server's line, or the error; then the notes.
        fn load(&self) -> String {
            let (found, notes) = match load(&self.0.path().join("zoo.cfg"), &[], None, None) {
                Ok((settings, notes)) => {
                    let ensemble = settings.ensemble;
                    let seen = ensemble.last_seen.map_or(-1, |membership| membership.version.0);
                    let own = ensemble.own.map(|own| own.to_string()).unwrap_or_default();
                    (format!("{:x} {seen:x} {own}", ensemble.membership.version.0), notes)
                }
                Err(error) => (error.to_string(), Vec::new()),
            };
            let notes = notes.iter().map(|Note { key, text, .. }| format!("; {key}: {text}"));
            notes.fold(found, |found, note| found + &note).replace(&self.0.path().display().to_string(), "D")
        }
    }

    const NONE: &str = "ffffffffffffffff";

    #[test]
    fn lines_count_until_something_newer_was_kept() {
        let own = "c:1:2:observer;0.0.0.0:9";
        let lines = format!("{LINES}server.3={own}\n");
        let folder = Folder::new(&format!("{lines}clientPort=8\npeerType=participant\n"), &[]);
        let notes = "; clientPort: differs from the client port of this server's line, which counts\
                     ; peerType: differs from the role in this server's line, which counts";
        assert_eq!(folder.load(), format!("0 {NONE} {own}{notes}"));
        // Apart from zoo.cfg: the newest counts, wherever it stands.
        let kept = &[("zoo.cfg.dynamic.9", "server.3=x:1:2"), ("zoo.cfg.dynamic.1f", "server.3=y:1:2")];
        let folder = Folder::new(&format!("{lines}ensemble.dynamicConfigDir=D\n"), kept);
        assert_eq!(folder.load(), format!("1f {NONE} y:1:2:participant"));
        // Beside zoo.cfg: what zoo.cfg names.
        let folder = Folder::new(&lines, kept);
        assert_eq!(folder.load(), format!("0 {NONE} {own}"));
        let folder = Folder::new("dynamicConfigFile=D/zoo.cfg.dynamic.9\n", kept);
        assert_eq!(folder.load(), format!("9 {NONE} x:1:2:participant"));
    }

    #[test]
    fn a_server_without_a_line_does_not_start() {
        let nobody = "myid is 3, but there is no server.3 line";
        assert_eq!(Folder::new(LINES, &[]).load(), nobody);
        let removed = format!(
            "{nobody} in version 1f of the configuration: it was removed, or it is to join and needs a zoo.cfg with its own line beside those of the members"
        );
        let kept = &[("zoo.cfg.dynamic.1f", LINES)];
        assert_eq!(Folder::new("dynamicConfigFile=D/zoo.cfg.dynamic.1f\n", kept).load(), removed);
        let apart = "ensemble.dynamicConfigDir=D\n";
        assert_eq!(Folder::new(&format!("{LINES}{apart}"), kept).load(), removed);
        // To join, it follows the members of the newer configuration from where its own line puts it.
        let folder = Folder::new(&format!("{LINES}server.3=c:1:2\n{apart}"), kept);
        assert_eq!(folder.load(), format!("1f {NONE} c:1:2:participant"));
    }

    #[test]
    fn a_pattern_is_the_line_of_who_has_none() {
        const OPERATED: &str = "ensemble.id=0d4ff1a2-9f8b-4d1c-8a77-1d1f2f1c9a10\nensemble.adminTokenFile=D/token\n\
             ensemble.myidOffset=1\nensemble.member=zk-{ordinal}.zk:1:2;8{ordinal}\nreconfigEnabled=true\n";
        let own = "zk-2.zk:1:2:participant;0.0.0.0:82";
        let joins = format!("{LINES}{OPERATED}");
        assert_eq!(Folder::new(&joins, &[]).load(), format!("0 {NONE} {own}"));
        // It was removed: the same.
        let removed = ("zoo.cfg.dynamic.2f", LINES);
        let member = ("zoo.cfg.dynamic.1f", "server.1=a:1:2\nserver.3=x:1:2;9");
        assert_eq!(Folder::new(&joins, &[member, removed]).load(), format!("2f {NONE} {own}"));
        // Any line counts more.
        assert_eq!(Folder::new(&joins, &[member]).load(), format!("1f {NONE} x:1:2:participant;0.0.0.0:9"));
        let listed = format!("{joins}server.3=c:1:2\n");
        assert_eq!(Folder::new(&listed, &[]).load(), format!("0 {NONE} c:1:2:participant"));
        assert_eq!(Folder::new(&listed, &[removed]).load(), format!("2f {NONE} c:1:2:participant"));

        let refused = "reconfigEnabled: must be true for a server that has no server.N line and an ensemble.member, because it is to join";
        assert_eq!(Folder::new(&joins.replace("reconfigEnabled=true", ""), &[]).load(), refused);
        let refused = "ensemble.member (line 10): server 3 has no ordinal, because ensemble.myidOffset is 4";
        assert_eq!(Folder::new(&joins.replace("myidOffset=1", "myidOffset=4"), &[]).load(), refused);
    }

    #[test]
    fn a_reconfiguration_that_was_under_way_is_not_forgotten() {
        let kept = &[("zoo.cfg.dynamic.1f", "server.3=c:1:2"), ("zoo.cfg.dynamic.next", "server.3=c:1:2\nversion=2f")];
        let refused = "reconfigEnabled: must be true, because a reconfiguration was under way when this server stopped, to version 2f";
        assert_eq!(Folder::new("dynamicConfigFile=D/zoo.cfg.dynamic.1f\n", kept).load(), refused);
    }

    #[test]
    fn a_configuration_that_may_change_is_kept_beside_zoo_cfg() {
        let changing = format!("{LINES}server.3=c:1:2\nreconfigEnabled=true\n");
        let folder = Folder::new(&changing, &[("zoo.cfg.dynamic.next", "server.3=x:1:2\nversion=2f")]);
        assert_eq!(folder.load(), "0 2f c:1:2:participant");
        let kept = |name: &str| fs::read(folder.0.path().join(name)).unwrap();
        assert_eq!(kept("zoo.cfg.bak"), kept("zoo.cfg"));
        // One that serves alone cannot change, and touches nothing.
        let alone = changing.replace(LINES, "standaloneEnabled=true\n");
        let folder = Folder::new(&alone, &[]);
        assert_eq!(
            folder.load(),
            format!("0 {NONE} c:1:2:participant; standaloneEnabled: given twice, the last one counts")
        );
        assert!(!folder.0.path().join("zoo.cfg.bak").exists());
        let nowhere = Folder::new(&format!("{changing}ensemble.dynamicConfigDir=D/nowhere\n"), &[]).load();
        let expected = "reconfigEnabled: the configuration cannot be kept (beside zoo.cfg, or in ensemble.dynamicConfigDir): create";
        assert!(nowhere.starts_with(expected), "{nowhere}");
    }
}
