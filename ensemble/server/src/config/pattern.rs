//! `ensemble.member`: a server's own line, for all servers of a StatefulSet at once, as in
//! `zk-{ordinal}.zk-headless.default.svc:2888:3888:participant;0.0.0.0:2181`.

use super::values::Values;
use super::{ConfigError, Place};
use ensemble_proto::ServerId;
use ensemble_proto::membership::Member;

const KEY: &str = "ensemble.member";
/// Stands for the id less `ensemble.myidOffset`.
const ORDINAL: &str = "{ordinal}";

/// A line with a place for the ordinal.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    place: Place,
    offset: i64,
}

impl Pattern {
    /// What the key says; `offset` is `ensemble.myidOffset`.
    ///
    /// # Errors
    /// When it is no line with an ordinal, or this is not operator mode: elsewhere an empty store would vote as soon as it is a member.
    pub(super) fn read(values: &Values, operated: bool, offset: i64) -> Result<Option<Pattern>, ConfigError> {
        let given = values.with_prefix(KEY).find(|(key, text, _)| *key == KEY && !text.is_empty());
        let Some((_, text, place)) = given else { return Ok(None) };
        if !operated {
            return Err(ConfigError::Conflict(format!("{KEY} ({place}): needs ensemble.id")));
        }
        if !text.contains(ORDINAL) {
            return Err(values.wrong(KEY, "the line of a server with {ordinal} in it"));
        }
        let pattern = Pattern { text: text.to_owned(), place, offset };
        pattern.line(ServerId(offset))?;
        Ok(Some(pattern))
    }

    /// The line of a server.
    ///
    /// # Errors
    /// When its id is none that an ordinal leads to, or makes no line.
    pub(super) fn line(&self, id: ServerId) -> Result<Member, ConfigError> {
        let Pattern { text, place, offset } = self;
        if id.0 < *offset {
            let why = format!("{KEY} ({place}): server {id} has no ordinal, because ensemble.myidOffset is {offset}");
            return Err(ConfigError::Conflict(why));
        }
        let line = text.replace(ORDINAL, &(id.0 - offset).to_string());
        Member::parse(KEY, &line).map_err(|source| ConfigError::Membership { place: *place, source })
    }
}
