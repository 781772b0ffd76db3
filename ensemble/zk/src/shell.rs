//! The shell: options, one command or a prompt, and what the session says meanwhile (`ZooKeeperMain.java`).
//!
//! Differs from ZooKeeper: what is no answer of a command is not printed when a command was given, nor where no person types.

use crate::args::words;
use crate::client::Client;
use crate::commands::{self, COMMANDS};
use crate::connect_string::ConnectString;
use crate::error::{Cause, CommandError};
use crate::session::{Event, Session, Settings, State};
use rustyline::ExternalPrinter;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Commands of the shell itself, with their arguments.
pub const OWN: &[(&str, &str)] = &[
    ("close", ""),
    ("connect", "host:port"),
    ("help", ""),
    ("history", ""),
    ("printwatches", "on|off"),
    ("quit", ""),
    ("redo", "cmdno"),
    ("version", ""),
];
/// Lines that `history` shows.
const HISTORY_SHOWN: usize = 11;

/// Where what the session says goes.
enum Sink {
    /// Nowhere.
    Silent,
    /// To the terminal, around the prompt.
    Terminal(Box<dyn ExternalPrinter + Send>),
    /// To the standard output.
    Output,
}

/// What the session says, and whether the user wants to go on.
pub struct Events {
    sink: Mutex<Sink>,
    /// A command that stays takes them.
    redirected: Mutex<Option<Sender<Event>>>,
    prints_watches: AtomicBool,
    interrupted: AtomicBool,
}

impl Events {
    /// Prints nothing.
    pub fn silent() -> Arc<Events> {
        Events::new(Sink::Silent)
    }

    /// Prints as `zkCli.sh` does.
    pub fn printed() -> Arc<Events> {
        Events::new(Sink::Output)
    }

    fn new(sink: Sink) -> Arc<Events> {
        Arc::new(Events {
            sink: Mutex::new(sink),
            redirected: Mutex::new(None),
            prints_watches: AtomicBool::new(true),
            interrupted: AtomicBool::new(false),
        })
    }

    /// Prints around the prompt from now on.
    pub fn print_on(&self, terminal: impl ExternalPrinter + Send + 'static) {
        *lock(&self.sink) = Sink::Terminal(Box::new(terminal));
    }

    /// Takes in what the session says.
    pub fn tell(&self, event: &Event) {
        if let Some(taker) = &*lock(&self.redirected) {
            // Who has stopped taking has ended.
            let _ = taker.send(event.clone());
            return;
        }
        if !self.prints_watches.load(Ordering::Relaxed) {
            return;
        }
        let text = format!("\nWATCHER::\n\n{}\n", event.text());
        match &mut *lock(&self.sink) {
            Sink::Silent => {}
            // A terminal that is gone has nobody before it.
            Sink::Terminal(terminal) => drop(terminal.print(text)),
            Sink::Output => drop(io::stdout().write_all(text.as_bytes())),
        }
    }

    /// Gives them to the caller until it drops the result.
    pub fn redirect(&self) -> Redirected<'_> {
        let (sender, receiver) = mpsc::channel();
        *lock(&self.redirected) = Some(sender);
        self.interrupted.store(false, Ordering::Relaxed);
        Redirected { events: self, receiver }
    }

    /// Whether the user has interrupted the command that stays.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Ctrl-C: ends the command that stays; false when there is none.
    pub fn interrupt(&self) -> bool {
        self.interrupted.store(true, Ordering::Relaxed);
        lock(&self.redirected).is_some()
    }
}

/// What the session says, for one command.
pub struct Redirected<'a> {
    events: &'a Events,
    receiver: Receiver<Event>,
}

impl Redirected<'_> {
    /// The next one.
    ///
    /// # Errors
    /// When none came in time.
    pub fn receive(&self, patience: Duration) -> Result<Event, RecvTimeoutError> {
        self.receiver.recv_timeout(patience)
    }
}

impl Drop for Redirected<'_> {
    fn drop(&mut self) {
        *lock(&self.events.redirected) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether there is another line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// There may be.
    Goes,
    /// The user has had enough.
    Ends,
}

/// A shell on a session.
pub struct Shell {
    settings: Settings,
    client: Arc<Client>,
    events: Arc<Events>,
    identities: Vec<(String, String)>,
    json: bool,
    history: Vec<String>,
    exit_code: i32,
}

impl Shell {
    /// Begins a session. `identities` are added to it, and to every one that `connect` begins.
    pub fn new(settings: Settings, identities: Vec<(String, String)>, json: bool, events: Arc<Events>) -> Shell {
        let client = Arc::new(connect(&settings, &events));
        Shell { settings, client, events, identities, json, history: Vec::new(), exit_code: 0 }
    }

    /// Adds the identities that were given at the start.
    ///
    /// # Errors
    /// When one is refused, or there is no connection.
    pub fn authenticate(&self) -> Result<(), CommandError> {
        self.identities.iter().try_for_each(|(scheme, credential)| self.client.add_auth(scheme, credential))
    }

    /// The session's operations, for completion.
    pub fn client(&self) -> Arc<Client> {
        self.client.clone()
    }

    /// What the last command gave: 0, 1, or 127.
    pub fn exit_code(&self) -> i32 {
        self.exit_code
    }

    /// `[zk: host:port(STATE) n] `.
    pub fn prompt(&self) -> String {
        format!("[zk: {}({}) {}] ", self.settings.to, self.client.session.state().name(), self.history.len())
    }

    /// Carries out a line; an empty one is none.
    ///
    /// # Errors
    /// When nothing can be printed.
    pub fn line(&mut self, line: &str, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Flow> {
        let words = words(line);
        if words.is_empty() {
            return Ok(Flow::Goes);
        }
        let done = self.words(&words, (out, err));
        self.history.push(line.trim().to_owned());
        self.report(done, err)
    }

    /// Carries out a command that was given in words; its exit code.
    ///
    /// # Errors
    /// When nothing can be printed.
    pub fn once(&mut self, words: &[String], out: &mut dyn Write, err: &mut dyn Write) -> io::Result<i32> {
        let done = self.authenticate().and_then(|()| self.words(words, (out, err)));
        self.report(done, err)?;
        out.flush()?;
        Ok(self.exit_code)
    }

    fn report(&mut self, done: Result<Flow, CommandError>, err: &mut dyn Write) -> io::Result<Flow> {
        self.exit_code = done.as_ref().map_or_else(CommandError::exit_code, |_| 0);
        match done {
            Ok(flow) => Ok(flow),
            Err(CommandError::Output(error)) => Err(error),
            Err(error) => {
                if let CommandError::NotFound(_) = error {
                    help(err)?;
                }
                writeln!(err, "{error}")?;
                Ok(Flow::Goes)
            }
        }
    }

    fn words(&mut self, words: &[String], (out, err): (&mut dyn Write, &mut dyn Write)) -> Result<Flow, CommandError> {
        let Some((name, arguments)) = words.split_first() else {
            return Ok(Flow::Goes);
        };
        let first = arguments.first().map(String::as_str);
        match name.as_str() {
            "quit" => {
                self.client.session.close();
                return Ok(Flow::Ends);
            }
            "close" => self.client.session.close(),
            "connect" => self.connect(first)?,
            "help" => help(out)?,
            "history" => self.show_history(out)?,
            "printwatches" => match first {
                None => {
                    let is_on = self.events.prints_watches.load(Ordering::Relaxed);
                    writeln!(out, "printwatches is {}", if is_on { "on" } else { "off" })?;
                }
                Some(word) => self.events.prints_watches.store(word == "on", Ordering::Relaxed),
            },
            "redo" => {
                let line = self.to_redo(first)?;
                return self.words(&words_of(&line)?, (out, err));
            }
            "version" => writeln!(out, "ZooKeeper CLI version: 3.9.5-zk-{}", env!("CARGO_PKG_VERSION"))?,
            name => {
                let command = commands::find(name).ok_or_else(|| CommandError::NotFound(name.to_owned()))?;
                if matches!(self.client.session.state(), State::Closed | State::AuthFailed) {
                    return Err(CommandError::Local("Not connected".to_owned()));
                }
                command.run(arguments, &self.client, self.json, (out, err), &self.events)?;
            }
        }
        Ok(Flow::Goes)
    }

    fn connect(&mut self, to: Option<&str>) -> Result<(), CommandError> {
        if let Some(to) = to {
            self.settings.to = ConnectString::parse(to).map_err(CommandError::Malformed)?;
        }
        self.client.session.close();
        self.client = Arc::new(connect(&self.settings, &self.events));
        match self.authenticate() {
            // The prompt says so, and the session goes on trying.
            Err(CommandError::Operation { cause: Cause::ConnectionLoss, .. }) => Ok(()),
            other => other,
        }
    }

    fn show_history(&self, out: &mut dyn Write) -> io::Result<()> {
        let numbered = self.history.iter().map(String::as_str).chain(["history"]).enumerate();
        let first = (self.history.len() + 1).saturating_sub(HISTORY_SHOWN);
        numbered.skip(first).try_for_each(|(number, line)| writeln!(out, "{number} - {line}"))
    }

    fn to_redo(&self, number: Option<&str>) -> Result<String, CommandError> {
        let number = number.and_then(|number| number.parse::<usize>().ok());
        let out_of_range = || CommandError::Malformed("Command index out of range".to_owned());
        number.and_then(|number| self.history.get(number)).cloned().ok_or_else(out_of_range)
    }
}

/// The words of a line that was typed before.
fn words_of(line: &str) -> Result<Vec<String>, CommandError> {
    let words = words(line);
    match words.first().map(String::as_str) {
        Some("redo") => Err(CommandError::Malformed("No redoing redos".to_owned())),
        _ => Ok(words),
    }
}

fn connect(settings: &Settings, events: &Arc<Events>) -> Client {
    let events = events.clone();
    Client::new(Session::open(settings.clone(), move |event| events.tell(event)))
}

/// Every command with its arguments.
///
/// # Errors
/// When it cannot be printed.
pub fn help(out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "zk [-server host:port[,host:port]*[/chroot]] [-timeout ms] [-r] [-waitforconnection] [-auth scheme:credential] [--json] [cmd args]"
    )?;
    let mut lines: Vec<_> = COMMANDS.iter().map(|command| (command.name, command.arguments)).collect();
    lines.extend_from_slice(OWN);
    lines.sort_unstable_by_key(|(name, _)| *name);
    lines.iter().try_for_each(|(name, arguments)| writeln!(out, "\t{}", format!("{name} {arguments}").trim_end()))
}
