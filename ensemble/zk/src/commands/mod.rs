//! The commands, a line each in [`COMMANDS`]: name, arguments, and what is done.
//!
//! A command gets its words sorted, asks the client, and prints: text as `zkCli.sh` does, or with `--json` one object a line.

mod acl;
mod bench;
mod copies;
mod ensemble;
mod nodes;
mod quota;
mod top;
mod watch;

use crate::args::{Syntax, Words};
use crate::client::Client;
use crate::error::CommandError;
use crate::shell::Events;
use serde_json::Value;
use std::io::Write;

/// A command that talks to servers.
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// Its arguments, for usage and help.
    pub arguments: &'static str,
    /// The same, for sorting words.
    pub syntax: Syntax,
    /// Whether the first word that is no option is a znode's path, for completion.
    pub takes_path: bool,
    run: fn(&mut Call<'_>) -> Done,
}

/// A command being carried out.
pub struct Call<'a> {
    /// Whom to ask.
    pub client: &'a Client,
    /// The command's words.
    pub words: Words,
    /// Whether answers are to be JSON.
    pub json: bool,
    /// Where answers go.
    pub out: &'a mut dyn Write,
    /// Where warnings go.
    pub err: &'a mut dyn Write,
    /// What the session says meanwhile.
    pub events: &'a Events,
}

type Done = Result<(), CommandError>;

impl Call<'_> {
    /// The first word that is no option: most commands' path.
    fn path(&self) -> &str {
        self.words.word(0)
    }

    /// Prints an object in JSON mode only.
    fn answer(&mut self, object: Value) -> Done {
        if self.json {
            writeln!(self.out, "{object}")?;
        }
        Ok(())
    }
}

const fn takes(flags: &'static [&'static str], valued: &'static [&'static str], least: usize, most: usize) -> Syntax {
    Syntax { flags, valued, least, most }
}

macro_rules! commands {
    ($($name:literal $arguments:literal $syntax:expr, $takes_path:literal => $run:expr;)*) => {
        /// Every command but those of the shell itself, by name.
        pub const COMMANDS: &[Command] = &[
            $(Command { name: $name, arguments: $arguments, syntax: $syntax, takes_path: $takes_path, run: $run },)*
        ];
    };
}

commands! {
    "addWatch" "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is PERSISTENT_RECURSIVE"
        takes(&[], &["-m"], 1, 1), true => watch::add;
    "addauth" "scheme auth" takes(&[], &[], 1, 2), false => acl::add_auth;
    "bench" "[-n count] [-c depth] [-b bytes] path" takes(&[], &["-n", "-c", "-b"], 1, 1), true => bench::run;
    "config" "[-c] [-w] [-s]" takes(&["-c", "-w", "-s"], &[], 0, 0), false => ensemble::config;
    "create" "[-s] [-e] [-c] [-t ttl] path [data] [acl]"
        takes(&["-s", "-e", "-c"], &["-t"], 1, 3), true => nodes::create;
    "delete" "[-v version] path" takes(&[], &["-v"], 1, 1), true => nodes::delete;
    "deleteall" "path [-b batch size]" takes(&[], &["-b"], 1, 1), true => nodes::delete_all;
    "delquota" "[-n|-b|-N|-B] path" takes(&["-n", "-b", "-N", "-B"], &[], 1, 1), true => quota::delete;
    "export" "path [file]" takes(&[], &[], 1, 2), true => copies::export;
    "get" "[-s] [-w] [-b] [-x] path" takes(&["-s", "-w", "-b", "-x"], &[], 1, 1), true => nodes::get;
    "getAcl" "[-s] path" takes(&["-s"], &[], 1, 1), true => acl::get;
    "getAllChildrenNumber" "path" takes(&[], &[], 1, 1), true => nodes::all_children_number;
    "getEphemerals" "path" takes(&[], &[], 0, 1), true => nodes::ephemerals;
    "import" "[-n] [file]" takes(&["-n"], &[], 0, 1), false => copies::import;
    "listquota" "path" takes(&[], &[], 1, 1), true => quota::list;
    "ls" "[-s] [-w] [-R] path" takes(&["-s", "-w", "-R"], &[], 1, 1), true => nodes::list;
    "reconfig" "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]"
        takes(&["-s"], &["-v", "-file", "-members", "-add", "-remove"], 0, 0), false => ensemble::reconfig;
    "removewatches" "path [-c|-d|-a] [-l]"
        takes(&["-c", "-d", "-a", "-p", "-r", "-l"], &[], 1, 1), true => watch::remove;
    "set" "path data [-s] [-v version] [-b]" takes(&["-s", "-b"], &["-v"], 2, 2), true => nodes::set;
    "setAcl" "[-s] [-v version] [-R] path acl" takes(&["-s", "-R"], &["-v"], 2, 2), true => acl::set;
    "setquota" "-n|-b|-N|-B val path" takes(&[], &["-n", "-b", "-N", "-B"], 1, 1), true => quota::set;
    "stat" "[-w] path" takes(&["-w"], &[], 1, 1), true => nodes::stat;
    "sync" "path" takes(&[], &[], 1, 1), true => nodes::sync;
    "top" "[-n rounds] [-i seconds]" takes(&[], &["-n", "-i"], 0, 0), false => top::run;
    "tree" "[-d depth] path" takes(&[], &["-d"], 1, 1), true => nodes::tree;
    "watch" "[-m mode] [-n count] path" takes(&[], &["-m", "-n"], 1, 1), true => watch::stay;
    "whoami" "" takes(&[], &[], 0, 0), false => acl::who_am_i;
}

/// The command of a name.
pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

impl Command {
    /// Name and arguments.
    pub fn usage(&self) -> String {
        format!("{} {}", self.name, self.arguments)
    }

    /// Carries the command out, with the words behind its name.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn run(
        &self,
        words: &[String],
        client: &Client,
        json: bool,
        (out, err): (&mut dyn Write, &mut dyn Write),
        events: &Events,
    ) -> Done {
        let words = Words::sort(words, self.syntax, &self.usage())?;
        let json = json || words.has("--json");
        (self.run)(&mut Call { client, words, json, out, err, events })
    }
}
