//! `top`: every server at a glance, by the four-letter words `srvr` and `mntr` on its client port.
//!
//! Which servers there are is what the ensemble's configuration says, and the connection string where that has no client addresses. A server that
//! answers only `srvr` (`4lw.commands.whitelist`) has no rates.

use super::{Call, Done};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::Duration;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn run(call: &mut Call<'_>) -> Done {
    let rounds = call.words.number::<u64>("-n")?.unwrap_or(1);
    let pause = Duration::from_secs(call.words.number("-i")?.unwrap_or(2));
    let servers = servers(call);
    for round in 0..rounds {
        if round > 0 && !wait(call, pause) {
            break;
        }
        let seen: Vec<_> = servers.iter().map(|server| (server.clone(), look(server))).collect();
        print(call, &seen)?;
        call.out.flush()?;
    }
    Ok(())
}

/// Waits, unless it is interrupted.
fn wait(call: &Call<'_>, pause: Duration) -> bool {
    let mut left = pause;
    while !left.is_zero() && !call.events.is_interrupted() {
        let step = left.min(LOOK);
        thread::sleep(step);
        left -= step;
    }
    !call.events.is_interrupted()
}

/// Client addresses: of the configuration, or as the user gave them.
fn servers(call: &Call<'_>) -> Vec<String> {
    let to = call.client.session.to();
    let given: Vec<_> = to.servers.iter().map(|(host, port)| format!("{host}:{port}")).collect();
    let config = call.client.get(crate::client::CONFIG, false).ok().and_then(|(data, _)| data);
    let text = String::from_utf8_lossy(&config.unwrap_or_default()).into_owned();
    let known = super::ensemble::reachable_addresses(&text);
    if known.is_empty() { given } else { known }
}

/// What a server says of itself: `mntr`'s keys without `zk_`, `srvr`'s as they are; or why it says nothing.
fn look(server: &str) -> Result<BTreeMap<String, String>, String> {
    let mut facts = BTreeMap::new();
    for line in ask(server, "srvr")?.lines() {
        if let Some((key, value)) = line.split_once(": ") {
            facts.insert(key.to_owned(), value.to_owned());
        }
    }
    if !facts.contains_key("Mode") {
        return Err("it does not serve".to_owned());
    }
    for line in ask(server, "mntr")?.lines() {
        if let Some((key, value)) = line.strip_prefix("zk_").and_then(|line| line.split_once('\t')) {
            facts.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(facts)
}

fn ask(server: &str, word: &str) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let address = server.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(word.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    ask().map_err(|error| error.to_string())
}

/// Heading, and the fact below it.
const COLUMNS: &[(&str, &str)] = &[
    ("MODE", "Mode"),
    ("ZXID", "Zxid"),
    ("CONNS", "Connections"),
    ("OUTST", "Outstanding"),
    ("RECEIVED", "Received"),
    ("SENT", "Sent"),
    ("LATENCY", "Latency min/avg/max"),
    ("ZNODES", "Node count"),
    ("WATCHES", "watch_count"),
    ("EPHEMERALS", "ephemerals_count"),
];

type Seen = (String, Result<BTreeMap<String, String>, String>);

fn print(call: &mut Call<'_>, seen: &[Seen]) -> Done {
    if call.json {
        for (server, facts) in seen {
            let mut object = Map::from_iter([("server".to_owned(), json!(server))]);
            match facts {
                Ok(facts) => object.extend(facts.iter().map(|(key, value)| (key.clone(), json!(value)))),
                Err(why) => drop(object.insert("error".into(), json!(why))),
            }
            call.answer(Value::Object(object))?;
        }
        return Ok(());
    }
    let heading = std::iter::once("SERVER").chain(COLUMNS.iter().map(|(heading, _)| *heading));
    let mut rows: Vec<Vec<String>> = vec![heading.map(str::to_owned).collect()];
    for (server, facts) in seen {
        let mut row = vec![server.clone()];
        match facts {
            Ok(facts) => {
                row.extend(COLUMNS.iter().map(|(_, fact)| facts.get(*fact).cloned().unwrap_or_else(|| "-".to_owned())))
            }
            Err(why) => row.push(format!("({why})")),
        }
        rows.push(row);
    }
    let width = |column: usize| {
        rows.iter().filter(|row| row.len() > 2 || column == 0).filter_map(|row| row.get(column)).map(String::len).max()
    };
    let widths: Vec<_> = (0..=COLUMNS.len()).map(|column| width(column).unwrap_or(0)).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(call.out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
