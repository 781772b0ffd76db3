//! The keys that were given, and typed reading of their values.

use super::keys::{self, Origin, Support};
use super::{ConfigError, Note};
use ensemble_proto::properties::Property;
use std::collections::BTreeMap;
use std::str::FromStr;

/// Where a value was given, for messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A line of the file.
    Line(usize),
    /// `-Dname=value`.
    CommandLine,
}

/// Every supported key that was given. The file wins over the command line, as in ZooKeeper.
pub(super) struct Values {
    given: BTreeMap<String, (Place, String)>,
}

impl Values {
    /// Sorts keys into supported, ignored, unknown (both noted) and refused.
    ///
    /// # Errors
    /// The first refused key.
    pub(super) fn collect(
        file: Vec<Property>,
        defines: &[(String, String)],
        notes: &mut Vec<Note>,
    ) -> Result<Values, ConfigError> {
        let mut values = Values { given: BTreeMap::new() };
        for (name, value) in defines {
            values.define(name, value, notes)?;
        }
        for Property { line, last_line: _, key, value } in file {
            values.assign(key, value, Place::Line(line), notes)?;
        }
        Ok(values)
    }

    fn define(&mut self, name: &str, value: &str, notes: &mut Vec<Note>) -> Result<(), ConfigError> {
        let (key, origin) = match name.strip_prefix("zookeeper.") {
            Some(key) => (key, Origin::Property),
            None => (name, Origin::BareProperty),
        };
        match keys::find(key).filter(|key| key.origin == origin) {
            Some(_) => self.assign(key.to_owned(), value.to_owned(), Place::CommandLine, notes),
            None => {
                notes.push(Note::new(format!("-D{name}"), "unknown property, it has no effect"));
                Ok(())
            }
        }
    }

    fn assign(&mut self, key: String, value: String, place: Place, notes: &mut Vec<Note>) -> Result<(), ConfigError> {
        let Some(found) = keys::find(&key) else {
            notes.push(Note::new(key, "unknown key, it has no effect"));
            return Ok(());
        };
        let why = found.text;
        match found.support {
            Support::Ignored => notes.push(Note::harmless(key, format!("has no effect: {why}"))),
            Support::Refused { unless } if unless.eq_ignore_ascii_case(&value) => {}
            Support::Refused { unless } => return Err(ConfigError::Refused { key, place, value, unless, why }),
            Support::Supported => {
                if let Some((Place::Line(_), _)) = self.given.get(&key) {
                    notes.push(Note::new(&key, "given twice, the last one counts"));
                }
                self.given.insert(key, (place, value));
            }
        }
        Ok(())
    }

    /// The text of a key; an empty one counts as not given.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.given.get(key).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A number within a range.
    ///
    /// # Errors
    /// Names key, place, what was found and what was expected.
    pub(super) fn number<T>(
        &self,
        key: &str,
        default: T,
        least: T,
        most: T,
        expected: &'static str,
    ) -> Result<T, ConfigError>
    where
        T: FromStr + PartialOrd + Copy,
    {
        match self.text(key) {
            None => Ok(default),
            Some(text) => match text.parse::<T>().ok().filter(|value| (least..=most).contains(value)) {
                Some(value) => Ok(value),
                None => Err(self.wrong(key, expected)),
            },
        }
    }

    /// `true`, `false`, `yes` or `no`, in any case.
    ///
    /// # Errors
    /// As [`Values::number`].
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        match self.text(key).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true" | "yes") => Ok(true),
            Some("false" | "no") => Ok(false),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// Every key with a prefix, in order.
    pub(super) fn with_prefix(&self, prefix: &'static str) -> impl Iterator<Item = (&str, &str, Place)> {
        self.given
            .iter()
            .filter(move |(key, _)| key.starts_with(prefix))
            .map(|(key, (place, value))| (key.as_str(), value.as_str(), *place))
    }

    /// What was given of the keys that are system properties, by the property's name.
    pub(super) fn properties(&self) -> impl Iterator<Item = (String, &str)> {
        self.given.iter().filter_map(|(key, (_, value))| match keys::find(key)?.origin {
            Origin::Property => Some((format!("zookeeper.{key}"), value.as_str())),
            Origin::BareProperty => Some((key.clone(), value.as_str())),
            Origin::File => None,
        })
    }

    /// The error for a value that was given.
    pub(super) fn wrong(&self, key: &str, expected: &'static str) -> ConfigError {
        let (place, found) = self.given.get(key).cloned().unwrap_or((Place::CommandLine, String::new()));
        ConfigError::Value { key: key.to_owned(), place, found, expected }
    }
}
