//! Places where the operator can be told to die, to prove that dying there is harmless.
//!
//! `OPERATOR_FAILPOINT=<name>` ends the process with code 86 each time it passes the place. It is in every build, so
//! that the very image that ships is the one that was killed at every step. That is safe to ship: only who can edit the
//! operator's Deployment can set it, who could as well delete it, and what it does is what a node failure does.
//!
//! | name | where |
//! | --- | --- |
//! | `after-ensemble-id` | the identity is recorded; nothing else exists |
//! | `after-volumes-recorded` | the volumes are recorded; nobody was granted |
//! | `after-grant-1` | one grant of this pass was sent |
//! | `after-grants` | all grants of this pass were sent |
//! | `before-complete` | a leader and a majority are synced; the end is not recorded |
//!
//! `before-complete` is passed by every attempt to end the founding: unset it to let it end.

/// A place. Its name is the value of the variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failpoint {
    /// The identity is recorded.
    AfterEnsembleId,
    /// The volumes are recorded.
    AfterVolumesRecorded,
    /// The first grant of a pass was sent.
    AfterGrant1,
    /// All grants of a pass were sent.
    AfterGrants,
    /// The end of the founding is about to be recorded.
    BeforeComplete,
}

/// The variable that names the place to die at.
pub const VARIABLE: &str = "OPERATOR_FAILPOINT";
/// The exit code, which nothing else uses.
const EXIT_CODE: i32 = 86;
const ALL: [Failpoint; 5] = [
    Failpoint::AfterEnsembleId,
    Failpoint::AfterVolumesRecorded,
    Failpoint::AfterGrant1,
    Failpoint::AfterGrants,
    Failpoint::BeforeComplete,
];

impl Failpoint {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AfterEnsembleId => "after-ensemble-id",
            Self::AfterVolumesRecorded => "after-volumes-recorded",
            Self::AfterGrant1 => "after-grant-1",
            Self::AfterGrants => "after-grants",
            Self::BeforeComplete => "before-complete",
        }
    }

    /// The place that the environment names.
    ///
    /// # Errors
    ///
    /// There is no place of this name; a misspelt one must not make a test pass.
    pub fn from_environment() -> Result<Option<Self>, String> {
        let Some(name) = std::env::var_os(VARIABLE).filter(|name| !name.is_empty()) else { return Ok(None) };
        let found = ALL.into_iter().find(|point| name == point.name());
        found.map(Some).ok_or_else(|| {
            let names: Vec<&str> = ALL.into_iter().map(Self::name).collect();
            format!("{VARIABLE} is {name:?}; it may be one of {}", names.join(", "))
        })
    }

    /// Ends the process if `armed` is this place.
    pub fn pass(self, armed: Option<Self>) {
        if armed == Some(self) {
            tracing::warn!(failpoint = self.name(), "ending here as told");
            std::process::exit(EXIT_CODE);
        }
    }
}
