//! A command's words: how a line becomes words, and words become options and the rest (commons-cli, as `zkCli.sh` uses it).

use crate::error::CommandError;
use std::collections::BTreeMap;

/// Cuts a line at blanks. A word in single or double quotes is whole, without the quotes (`ZooKeeperMain.ARGS_PATTERN`).
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let quoted = ['"', '\''].contains(&first).then(|| rest[1..].split_once(first)).flatten();
        let (word, behind) = match quoted {
            Some((word, behind)) => (word, behind),
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = behind.trim_start();
    }
    words
}

/// What a command takes: `options` without and with a value, then between `least` and `most` other words.
#[derive(Clone, Copy, Debug)]
pub struct Syntax {
    /// Options without a value, with their dashes.
    pub flags: &'static [&'static str],
    /// Options with a value.
    pub valued: &'static [&'static str],
    /// Fewest other words.
    pub least: usize,
    /// Most other words.
    pub most: usize,
}

/// The words of one command, sorted.
#[derive(Debug, Default)]
pub struct Words {
    options: BTreeMap<&'static str, String>,
    rest: Vec<String>,
}

impl Words {
    /// Sorts the words behind a command's name. `--json` is allowed everywhere. `--` ends the options.
    ///
    /// # Errors
    /// An option that is none, or lacks its value; `usage` when there are too few or too many other words.
    pub fn sort(words: &[String], syntax: Syntax, usage: &str) -> Result<Words, CommandError> {
        let mut sorted = Words::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                sorted.rest.extend(words.by_ref().cloned());
            } else if let Some(flag) = syntax.flags.iter().chain(&["--json"]).find(|flag| *flag == word) {
                sorted.options.insert(flag, String::new());
            } else if let Some(option) = syntax.valued.iter().find(|option| *option == word) {
                let value = words.next();
                let missing = || CommandError::Malformed(format!("Missing argument for option: {}", bare(option)));
                sorted.options.insert(option, value.ok_or_else(missing)?.clone());
            } else if word.len() > 1 && word.starts_with('-') && word[1..].parse::<f64>().is_err() {
                return Err(CommandError::Malformed(format!("Unrecognized option: {word}")));
            } else {
                sorted.rest.push(word.clone());
            }
        }
        match (syntax.least..=syntax.most).contains(&sorted.rest.len()) {
            true => Ok(sorted),
            false => Err(CommandError::Malformed(usage.to_owned())),
        }
    }

    /// Whether an option was given.
    pub fn has(&self, option: &str) -> bool {
        self.options.contains_key(option)
    }

    /// The value of an option that was given.
    pub fn value(&self, option: &str) -> Option<&str> {
        self.options.get(option).map(String::as_str)
    }

    /// The number that an option that was given has.
    ///
    /// # Errors
    /// When it is none.
    pub fn number<T: std::str::FromStr>(&self, option: &str) -> Result<Option<T>, CommandError> {
        let number = |text: &str| {
            text.parse().map_err(|_| CommandError::Malformed(format!("{option}: {text:?} is no number that fits")))
        };
        self.value(option).map(number).transpose()
    }

    /// The other words.
    pub fn rest(&self) -> &[String] {
        &self.rest
    }

    /// Another word; empty when it was not given.
    pub fn word(&self, place: usize) -> &str {
        self.rest.get(place).map_or("", String::as_str)
    }
}

fn bare(option: &str) -> &str {
    option.trim_start_matches('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_at_blanks_but_not_within_quotes() {
        for (line, expected) in [
            ("ls /", &["ls", "/"][..]),
            ("  create /a \"two words\" world:anyone:r ", &["create", "/a", "two words", "world:anyone:r"]),
            ("set /a 'x \"y\"'", &["set", "/a", "x \"y\""]),
            ("set /a \"open", &["set", "/a", "\"open"]),
            ("set /a ''", &["set", "/a", ""]),
            ("", &[]),
        ] {
            assert_eq!(words(line), expected, "{line:?}");
        }
    }

    #[test]
    fn options_stand_anywhere() {
        let syntax = Syntax { flags: &["-s"], valued: &["-v"], least: 1, most: 2 };
        let sort = |line: &str| Words::sort(&words(line), syntax, "USAGE");
        let sorted = sort("/a -s data -v 3").unwrap();
        assert_eq!(
            (sorted.has("-s"), sorted.number("-v").unwrap(), sorted.rest().join(" ")),
            (true, Some(3), "/a data".into())
        );
        assert_eq!(sort("/a -1").unwrap().word(1), "-1");
        assert_eq!(sort("/a -- -x").unwrap().word(1), "-x");
        for (line, expected) in [
            ("", "USAGE"),
            ("/a /b /c", "USAGE"),
            ("/a -x", "Unrecognized option: -x"),
            ("/a -v", "Missing argument for option: v"),
        ] {
            assert_eq!(sort(line).unwrap_err().to_string(), expected, "{line:?}");
        }
        assert!(sort("/a -v x").unwrap().number::<i32>("-v").is_err());
    }
}
