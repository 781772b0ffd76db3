//! The binary `zk`.

use ensemble_zk::args::words;
use ensemble_zk::client::{Client, join};
use ensemble_zk::commands::{self, COMMANDS};
use ensemble_zk::options::Options;
use ensemble_zk::shell::{self, Events, Flow, OWN, Shell};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

/// Wrong usage.
const USAGE: i32 = 2;
/// Interrupted, as a shell counts it.
const INTERRUPTED: i32 = 130;
/// How long a person who wants a path completed waits for the server: who types cannot interrupt it.
const COMPLETION_PATIENCE: Duration = Duration::from_secs(1);
/// Lines that are kept over sessions.
const HISTORY_LINES_MAX: usize = 1000;

fn main() {
    let options = match Options::parse(std::env::args().skip(1), std::env::var("ZK_AUTH").ok()) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("Error: {problem}");
            // Who cannot be told does not read it.
            let _ = shell::help(&mut io::stderr());
            std::process::exit(USAGE);
        }
    };
    let is_typed = options.command.is_empty() && io::stdin().is_terminal();
    let events = if is_typed { Events::printed() } else { Events::silent() };
    let at_interrupt = events.clone();
    let handled = ctrlc::set_handler(move || {
        if !at_interrupt.interrupt() {
            std::process::exit(INTERRUPTED);
        }
    });
    if let Err(error) = handled {
        eprintln!("Ctrl-C cannot be handled: {error}");
    }
    let Options { settings, identities, waits, json, command } = options;
    let timeout = settings.timeout;
    let mut shell = Shell::new(settings, identities, json, events.clone());
    if waits && !shell.client().session.wait(timeout) {
        eprintln!("no connection within {} ms", timeout.as_millis());
    }
    let ended = match (command.is_empty(), is_typed) {
        (false, _) => shell.once(&command, &mut io::stdout(), &mut io::stderr()).map(drop),
        (true, false) => read_lines(&mut shell),
        (true, true) => prompt(&mut shell, &events),
    };
    shell.client().session.close();
    let code = match ended {
        Ok(()) => shell.exit_code(),
        // Whoever read it has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    };
    std::process::exit(code)
}

/// A command a line, from a pipe or a file.
fn read_lines(shell: &mut Shell) -> io::Result<()> {
    if let Err(error) = shell.authenticate() {
        eprintln!("{error}");
    }
    for line in io::stdin().lock().lines() {
        if shell.line(&line?, &mut io::stdout(), &mut io::stderr())? == Flow::Ends {
            break;
        }
        io::stdout().flush()?;
    }
    Ok(())
}

/// A prompt, with history and completion.
fn prompt(shell: &mut Shell, events: &Arc<Events>) -> io::Result<()> {
    println!("Welcome to ZooKeeper!");
    if let Err(error) = shell.authenticate() {
        eprintln!("{error}");
    }
    let settings = rustyline::Config::builder().max_history_size(HISTORY_LINES_MAX).map_err(io::Error::other)?.build();
    let mut editor = Editor::<Completion, DefaultHistory>::with_config(settings).map_err(io::Error::other)?;
    let completion = Arc::new(Mutex::new(shell.client()));
    editor.set_helper(Some(Completion(completion.clone())));
    let kept = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".zk_history"));
    if let Some(file) = &kept {
        // The first time there is none.
        let _ = editor.load_history(file);
    }
    if let Ok(terminal) = editor.create_external_printer() {
        events.print_on(terminal);
    }
    'prompts: loop {
        match editor.readline(&shell.prompt()) {
            // More than one line, if it was pasted.
            Ok(typed) => {
                for line in typed.lines() {
                    // A credential is for nobody who reads the file.
                    if words(line).first().is_some_and(|word| word != "addauth") {
                        editor.add_history_entry(line).map_err(io::Error::other)?;
                    }
                    if shell.line(line, &mut io::stdout(), &mut io::stderr())? == Flow::Ends {
                        break 'prompts;
                    }
                    *completion.lock().unwrap_or_else(PoisonError::into_inner) = shell.client();
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break 'prompts,
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    if let Some(file) = &kept {
        // A container has no place for it, which is nobody's mistake.
        let _ = editor.save_history(file);
    }
    Ok(())
}

/// Completes commands, and paths by asking for children.
struct Completion(Arc<Mutex<Arc<Client>>>);

impl Completer for Completion {
    type Candidate = String;

    fn complete(&self, line: &str, place: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..place];
        let start =
            typed.char_indices().rfind(|(_, c)| c.is_whitespace()).map_or(0, |(at, blank)| at + blank.len_utf8());
        let word = &typed[start..];
        let command = typed.split_whitespace().next().unwrap_or_default();
        if start == 0 {
            let names = COMMANDS.iter().map(|command| command.name).chain(OWN.iter().map(|(name, _)| *name));
            return Ok((0, names.filter(|name| name.starts_with(word)).map(|name| format!("{name} ")).collect()));
        }
        if !word.starts_with('/') || commands::find(command).is_none_or(|command| !command.takes_path) {
            return Ok((start, Vec::new()));
        }
        let (client, word) = (self.0.lock().unwrap_or_else(PoisonError::into_inner).clone(), word.to_owned());
        let (found, offered) = mpsc::channel();
        // Who no longer waits needs no paths.
        thread::spawn(move || drop(found.send(paths(&client, &word))));
        Ok((start, offered.recv_timeout(COMPLETION_PATIENCE).unwrap_or_default()))
    }
}

/// Paths of znodes that begin so.
fn paths(client: &Client, word: &str) -> Vec<String> {
    let (parent, _) = word.rsplit_once('/').unwrap_or_default();
    let parent = if parent.is_empty() { "/" } else { parent };
    // Without an answer there is nothing to offer.
    let names = client.children(parent, false).map(|(names, _)| names).unwrap_or_default();
    let paths = names.iter().map(|name| join(parent, name)).filter(|path| path.starts_with(word));
    paths.map(|path| if path.contains(char::is_whitespace) { format!("\"{path}\"") } else { path }).collect()
}

impl Helper for Completion {}
impl Highlighter for Completion {}
impl Validator for Completion {}
impl Hinter for Completion {
    type Hint = String;
}
