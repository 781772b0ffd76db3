//! The ensemble's configuration: `config` and `reconfig` (`GetConfigCommand.java`, `ReconfigCommand.java`, `ConfigUtils.java`).

use super::{Call, Done};
use crate::client::CONFIG;
use crate::error::CommandError;
use crate::output::{stat as stat_block, stat_json};
use ensemble_proto::Stat;
use ensemble_proto::reconfig::ReconfigRequest;
use serde_json::json;

pub(super) fn config(call: &mut Call<'_>) -> Done {
    let (data, stat) = call.client.get(CONFIG, call.words.has("-w"))?;
    let text = String::from_utf8_lossy(data.as_deref().unwrap_or(b"null")).into_owned();
    let shown = if call.words.has("-c") { client_addresses(&text) } else { text };
    print(call, &shown, &stat)
}

fn print(call: &mut Call<'_>, text: &str, stat: &Stat) -> Done {
    if call.json {
        return call.answer(json!({ "config": text, "stat": stat_json(stat) }));
    }
    writeln!(call.out, "{text}")?;
    if call.words.has("-s") {
        stat_block(stat, call.out)?;
    }
    Ok(())
}

/// Version, a blank, and a connection string (`ConfigUtils.getClientConfigStr`).
fn client_addresses(config: &str) -> String {
    let version = config.lines().find_map(|line| line.strip_prefix("version=")).unwrap_or_default();
    let addresses: Vec<_> = clients(config).map(|(_, client)| client).collect();
    format!("{version} {}", addresses.join(","))
}

/// Where each server's client port is reached: at the host of its quorum port where it listens on every address.
pub(super) fn reachable_addresses(config: &str) -> Vec<String> {
    let reachable = |(host, client): (&str, String)| match client.rsplit_once(':') {
        Some(("0.0.0.0" | "[::]", port)) => format!("{host}:{port}"),
        _ => client,
    };
    clients(config).map(reachable).collect()
}

/// The host of each server's quorum port and its client address.
fn clients(config: &str) -> impl Iterator<Item = (&str, String)> {
    config.lines().filter_map(|line| {
        let (servers, client) = line.strip_prefix("server.")?.split_once('=')?.1.split_once(';')?;
        let first = servers.split('|').next()?;
        let host = match first.find(']') {
            Some(end) => &first[..=end],
            None => first.split(':').next()?,
        };
        Some((host, if client.contains(':') { client.to_owned() } else { format!("{host}:{client}") }))
    })
}

pub(super) fn reconfig(call: &mut Call<'_>) -> Done {
    let (data, stat) = call.client.reconfigure(&request(call)?)?;
    let text = String::from_utf8_lossy(&data).into_owned();
    if !call.json {
        writeln!(call.out, "Committed new configuration:")?;
    }
    print(call, &text, &stat)
}

fn request(call: &Call<'_>) -> Result<ReconfigRequest, CommandError> {
    let words = &call.words;
    let malformed = |text: &str| Err(CommandError::Malformed(text.to_owned()));
    let is_whole = words.has("-file") || words.has("-members");
    let is_step = words.has("-add") || words.has("-remove");
    match (is_whole, is_step) {
        (false, false) => {
            return malformed(&super::find("reconfig").map(|command| command.usage()).unwrap_or_default());
        }
        (true, true) => {
            return malformed(
                "Can't use -file or -members together with -add or -remove (mixing incremental and non-incremental modes is not allowed)",
            );
        }
        (true, false) if words.has("-file") && words.has("-members") => {
            return malformed("Can't use -file and -members together (conflicting non-incremental modes)");
        }
        (true, false) | (false, true) => {}
    }
    let from_version = match words.value("-v").map(|text| i64::from_str_radix(text, 16)) {
        None => -1,
        Some(Ok(version)) => version,
        Some(Err(_)) => return malformed("-v must be followed by a long (configuration version)"),
    };
    let members = match words.value("-file") {
        Some(file) => Some(std::fs::read_to_string(file).map_err(|error| CommandError::local("read", file, &error))?),
        None => words.value("-members").map(str::to_lowercase),
    };
    Ok(ReconfigRequest {
        joining: words.value("-add").map(str::to_lowercase),
        leaving: words.value("-remove").map(str::to_lowercase),
        members,
        from_version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_addresses_of_a_configuration_are_a_connection_string() {
        let text = "server.1=a:2888:3888:participant;0.0.0.0:2181\nserver.2=b:2888:3888:observer;2182\nversion=1000a";
        assert_eq!(client_addresses(text), "1000a 0.0.0.0:2181,b:2182");
        assert_eq!(reachable_addresses(text), ["a:2181", "b:2182"]);
        assert_eq!(reachable_addresses("server.1=[::1]:2888:3888;[::]:2181"), ["[::1]:2181"]);
    }
}
