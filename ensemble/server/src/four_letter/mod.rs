//! The four-letter words on the client port (`server/command/*.java`), with ZooKeeper's texts.
//!
//! The first four bytes of a connection are a word or the length of a frame. A word is answered if the whitelist allows
//! it, and the connection ends. Lists are made and sent in slices, between which the server goes on; an answer that is not taken
//! within [`ANSWER_TIMEOUT`] is given up.

mod lists;
mod sink;
mod texts;

pub(crate) use lists::tag;
pub(crate) use texts::{environment, user};

use crate::config::Settings;
use crate::connection::Connection;
use crate::details;
use crate::driver::Driver;
use crate::report::{Figures, Identity, Report};
use ensemble_peer::Peer;
use sink::{Gone, Sink};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// What is said while nobody is served.
pub(crate) const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";
/// How long an answer may take from the word to the last byte that the other side took.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The trace mask of a server that was given none (`ZooTrace`): of client requests, of events and of what is wrong.
const TRACE_MASK: i64 = 306;

/// A word of ZooKeeper's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Word {
    Ruok,
    Srvr,
    Stat,
    Mntr,
    Isro,
    Conf,
    Envi,
    Cons,
    Crst,
    Srst,
    Dump,
    Dirs,
    Wchs,
    Wchc,
    Wchp,
    Gtmk,
    Stmk,
    Hash,
}

const WORDS: [(Word, &str); 18] = [
    (Word::Ruok, "ruok"),
    (Word::Srvr, "srvr"),
    (Word::Stat, "stat"),
    (Word::Mntr, "mntr"),
    (Word::Isro, "isro"),
    (Word::Conf, "conf"),
    (Word::Envi, "envi"),
    (Word::Cons, "cons"),
    (Word::Crst, "crst"),
    (Word::Srst, "srst"),
    (Word::Dump, "dump"),
    (Word::Dirs, "dirs"),
    (Word::Wchs, "wchs"),
    (Word::Wchc, "wchc"),
    (Word::Wchp, "wchp"),
    (Word::Gtmk, "gtmk"),
    (Word::Stmk, "stmk"),
    (Word::Hash, "hash"),
];

impl Word {
    fn named(name: &[u8]) -> Option<Word> {
        WORDS.iter().find(|(_, known)| known.as_bytes() == name).map(|(word, _)| *word)
    }

    /// Whether its answer is as long as there are connections, sessions or watches.
    fn lists(self) -> bool {
        use Word as W;
        matches!(self, W::Stat | W::Cons | W::Crst | W::Dump | W::Wchs | W::Wchc | W::Wchp)
    }

    fn name(self) -> &'static str {
        WORDS.iter().find(|(word, _)| *word == self).map_or("", |(_, name)| name)
    }
}

/// What the first bytes of a connection ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    Word(Word),
    /// `stmk` and its argument.
    SetTraceMask(i64),
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum First {
    /// The length of a frame.
    Frame,
    /// A word.
    Word(Asked),
    /// One cannot tell yet, or the argument of a word is missing.
    Partial,
}

/// The words that a whitelist names and ZooKeeper does not have. `*` names none.
pub(crate) fn unknown(whitelist: &str) -> Vec<&str> {
    let is_known = |name: &str| Word::named(name.as_bytes()).is_some();
    whitelist.split(',').map(str::trim).filter(|name| !matches!(*name, "" | "*") && !is_known(name)).collect()
}

/// `4lw.commands.whitelist`.
#[derive(Clone, Debug)]
struct Whitelist {
    all: bool,
    words: Vec<String>,
}

impl Whitelist {
    /// `srvr` is always allowed: `zkServer.sh status` needs it.
    fn parse(text: &str) -> Whitelist {
        let words: Vec<String> = text.split(',').map(|word| word.trim().to_owned()).collect();
        Whitelist { all: words.iter().any(|word| word == "*"), words }
    }

    fn allows(&self, word: Word) -> bool {
        self.all || word == Word::Srvr || self.words.iter().any(|allowed| allowed == word.name())
    }
}

impl Whitelist {
    fn first(&self, bytes: &[u8]) -> First {
        let Some((name, rest)) = bytes.split_first_chunk::<4>() else { return First::Partial };
        match Word::named(name) {
            None => First::Frame,
            Some(Word::Stmk) if self.allows(Word::Stmk) => match rest.first_chunk() {
                Some(mask) => First::Word(Asked::SetTraceMask(i64::from_be_bytes(*mask))),
                None => First::Partial,
            },
            Some(word) => First::Word(Asked::Word(word)),
        }
    }
}

/// Answers words.
pub(crate) struct Words {
    whitelist: Whitelist,
    settings: Settings,
    identity: Identity,
    /// Kept because it can be asked for; nothing is traced by it.
    pub(crate) trace_mask: Cell<i64>,
}

impl Words {
    pub(crate) fn new(settings: Settings, identity: Identity) -> Words {
        let whitelist = Whitelist::parse(&settings.four_letter_whitelist);
        Words { whitelist, settings, identity, trace_mask: Cell::new(TRACE_MASK) }
    }

    /// What the first bytes of a connection are.
    pub(crate) fn first(&self, bytes: &[u8]) -> First {
        self.whitelist.first(bytes)
    }

    /// Answers, and ends the connection.
    pub(crate) async fn answer(&self, asked: Asked, driver: &Rc<Driver>, connection: &Connection) {
        let mut out = Sink::new(connection);
        let answer = async {
            match asked {
                Asked::Word(word) if !self.whitelist.allows(word) => {
                    let name = word.name();
                    out.entry(format_args!("{name} is not executed because it is not in the whitelist.\n")).await?;
                }
                Asked::Word(word) => self.say(word, driver, &mut out).await?,
                Asked::SetTraceMask(mask) => {
                    self.trace_mask.set(mask);
                    out.entry(mask).await?;
                }
            }
            out.send().await
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(())) => connection.end_after_flush(),
            Ok(Err(Gone)) | Err(_) => connection.end(),
        }
    }

    async fn say(&self, word: Word, driver: &Rc<Driver>, out: &mut Sink<'_>) -> Result<(), Gone> {
        match word {
            Word::Ruok => return out.entry("imok").await,
            Word::Gtmk => return out.entry(self.trace_mask.get()).await,
            Word::Envi => {
                out.entry("Environment:\n").await?;
                for (name, value) in environment() {
                    out.entry(format_args!("{name}={value}\n")).await?;
                }
                return Ok(());
            }
            _ => {}
        }
        let report = Report::new(driver, &self.settings, &self.identity);
        let Some(mode) = report.mode() else {
            return match word {
                Word::Isro => out.entry("null").await,
                Word::Hash => out.entry(NOT_SERVING).await,
                _ => out.entry(format_args!("{NOT_SERVING}\n")).await,
            };
        };
        let _turn = if word.lists() { driver.details.take().await } else { None };
        match word {
            Word::Ruok | Word::Gtmk | Word::Envi => unreachable!("answered above, whether clients are served or not"),
            Word::Stmk => unreachable!("has an argument, or is not allowed"),
            Word::Isro => out.entry(if report.status.read_only { "ro" } else { "rw" }).await,
            Word::Srvr => {
                out.entry(texts::head(&report)).await?;
                out.entry(texts::server(&report, mode)).await
            }
            Word::Stat => {
                out.entry(format_args!("{}Clients:\n", texts::head(&report))).await?;
                lists::connections(driver, true, out).await?;
                out.entry(format_args!("\n{}", texts::server(&report, mode))).await
            }
            Word::Mntr => out.entry(texts::monitor(driver, &Figures::new(driver, report), mode)).await,
            Word::Conf => {
                let sizes = details::sizes(&self.settings).await;
                out.entry(texts::configuration(&self.settings, &report, driver.places.client_port(), sizes)).await
            }
            Word::Cons => {
                lists::connections(driver, false, out).await?;
                out.entry("\n").await
            }
            Word::Crst => {
                details::reset_connections(driver).await;
                out.entry("Connection stats reset.\n").await
            }
            Word::Srst => {
                driver.turn(|peer, _| Peer::reset_statistics(peer));
                out.entry("Server stats reset.\n").await
            }
            Word::Dump => lists::dump(driver, out).await,
            Word::Dirs => {
                let details::Sizes { data, log } = details::sizes(&self.settings).await;
                out.entry(format_args!("datadir_size: {data}\nlogdir_size: {log}\n")).await
            }
            Word::Wchs => {
                let summary = details::watch_summary(driver).await;
                let (connections, paths, total) = (summary.connections, summary.paths, summary.total);
                out.entry(format_args!("{connections} connections watching {paths} paths\nTotal watches:{total}\n"))
                    .await
            }
            Word::Wchc => lists::watches_by_session(driver, out).await,
            Word::Wchp => lists::watches_by_path(driver, out).await,
            Word::Hash => lists::digests(driver, out).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whitelist_allows_what_it_names_and_srvr() {
        for (whitelist, allowed, refused) in [
            ("srvr", vec![Word::Srvr], vec![Word::Ruok, Word::Conf]),
            ("", vec![Word::Srvr], vec![Word::Ruok]),
            (" ruok , mntr", vec![Word::Ruok, Word::Mntr, Word::Srvr], vec![Word::Stat]),
            ("*", vec![Word::Ruok, Word::Cons], vec![]),
        ] {
            let list = Whitelist::parse(whitelist);
            assert!(allowed.iter().all(|word| list.allows(*word)), "{whitelist}");
            assert!(!refused.iter().any(|word| list.allows(*word)), "{whitelist}");
        }
    }

    #[test]
    fn the_environment_begins_with_the_version_that_clients_ask_for() {
        let environment = environment();
        let (name, value) = &environment[0];
        assert!(*name == "zookeeper.version" && value.starts_with("3.9.5-ensemble-"), "{environment:?}");
        assert!(environment.iter().all(|(_, value)| !value.is_empty()), "{environment:?}");
    }

    #[test]
    fn four_bytes_are_a_word_only_when_zookeeper_has_it() {
        assert!(WORDS.iter().all(|(word, name)| Word::named(name.as_bytes()) == Some(*word) && word.name() == *name));
        assert_eq!((Word::named(b"RUOK"), Word::named(&[0, 0, 0, 45])), (None, None));
        assert_eq!(unknown("ruok, wchp,nope ,*,"), ["nope"]);
    }

    #[test]
    fn only_a_trace_mask_that_may_be_set_is_waited_for() {
        let allowed = Whitelist::parse("stmk");
        let mask = b"stmk\0\0\0\0\0\0\x01\x02";
        for (whitelist, bytes, expected) in [
            (&allowed, &mask[..], First::Word(Asked::SetTraceMask(258))),
            (&allowed, &mask[..11], First::Partial),
            (&allowed, &mask[..3], First::Partial),
            (&allowed, b"ruok\n", First::Word(Asked::Word(Word::Ruok))),
            (&Whitelist::parse(""), &mask[..4], First::Word(Asked::Word(Word::Stmk))),
            (&allowed, &[0, 0, 0, 45, 0], First::Frame),
        ] {
            assert_eq!(whitelist.first(bytes), expected, "{bytes:?}");
        }
    }
}
