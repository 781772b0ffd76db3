//! The command line: `zkCli.sh`'s options (`ZooKeeperMain.MyCommandOptions`), `-auth` and `--json`.
//!
//! Credentials may come by the environment, `ZK_AUTH=digest:user:password`: what is on a command line, others on the machine can see.

use crate::connect_string::ConnectString;
use crate::session::Settings;
use std::time::Duration;

/// What the command line says.
#[derive(Debug)]
pub struct Options {
    /// The session.
    pub settings: Settings,
    /// Schemes and credentials to add to it.
    pub identities: Vec<(String, String)>,
    /// Whether to wait for a connection, and not only until every server was tried.
    pub waits: bool,
    /// Whether answers are to be JSON.
    pub json: bool,
    /// The command, in words; empty for a prompt.
    pub command: Vec<String>,
}

impl Options {
    /// Reads the arguments behind the program's name. `identity_given` is what the environment says, as `-auth` does.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(
        mut arguments: impl Iterator<Item = String>,
        identity_given: Option<String>,
    ) -> Result<Options, String> {
        let to = ConnectString::parse("localhost:2181")?;
        let settings = Settings { to, timeout: Duration::from_millis(30_000), read_only: false };
        let mut options = Options { settings, identities: Vec::new(), waits: false, json: false, command: Vec::new() };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("no argument found for option {argument}"));
            match argument.as_str() {
                "-server" => options.settings.to = ConnectString::parse(&value()?)?,
                "-timeout" => {
                    let text = value()?;
                    let ms = text.parse().ok().filter(|ms| (1..=i32::MAX as u64).contains(ms));
                    options.settings.timeout = Duration::from_millis(
                        ms.ok_or_else(|| format!("-timeout: {text:?} is no number of milliseconds"))?,
                    );
                }
                "-r" => options.settings.read_only = true,
                "-waitforconnection" => options.waits = true,
                "-auth" => options.identities.push(identity(&value()?)?),
                "--json" => options.json = true,
                other if other.starts_with('-') => return Err(format!("unknown option {other}")),
                _ => {
                    options.command = std::iter::once(argument).chain(arguments).collect();
                    break;
                }
            }
        }
        if let Some(text) = identity_given {
            options.identities.push(identity(&text)?);
        }
        Ok(options)
    }
}

fn identity(text: &str) -> Result<(String, String), String> {
    let (scheme, credential) =
        text.split_once(':').ok_or("-auth: expected scheme:credential, as digest:user:password")?;
    Ok((scheme.to_owned(), credential.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<&str, &str>) {
        let parsed = Options::parse(crate::args::words(line).into_iter(), None);
        let shown = parsed.map(|options| {
            let Options { settings, identities, waits, json, command } = options;
            let Settings { to, timeout, read_only } = settings;
            let schemes: Vec<_> = identities.into_iter().map(|(scheme, _)| scheme).collect();
            format!("{to} {} {read_only} {waits} {json} {schemes:?} {command:?}", timeout.as_millis())
        });
        assert_eq!(shown.as_deref().map_err(String::as_str), expected, "{line:?}");
    }

    #[test]
    fn options_come_before_the_command() {
        check("", Ok("localhost:2181 30000 false false false [] []"));
        check(
            "-server a:1,b/x -timeout 5 -r ls -s /",
            Ok("a:1,b:2181/x 5 true false false [] [\"ls\", \"-s\", \"/\"]"),
        );
        check(
            "-waitforconnection --json -auth digest:u:p stat",
            Ok("localhost:2181 30000 false true true [\"digest\"] [\"stat\"]"),
        );
        check("-server", Err("no argument found for option -server"));
        check("-timeout x", Err("-timeout: \"x\" is no number of milliseconds"));
        check("-nonsense", Err("unknown option -nonsense"));
        check("-auth digest", Err("-auth: expected scheme:credential, as digest:user:password"));
    }
}
