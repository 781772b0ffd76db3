//! `export` and `import`: a subtree as JSON lines, a znode a line, parents first.
//!
//! ```json
//! {"path":"/app","data":"hello","acl":[{"scheme":"world","id":"anyone","perms":"cdrwa"}]}
//! ```
//!
//! `data` is null or text, `dataBase64` bytes that are no UTF-8. What cannot be brought back the same is skipped and told: ephemeral znodes, which
//! belong to a session, everything below `/zookeeper`, which is the ensemble's own, and what may not be read. Versions and times are new ones.
//!
//! An import may be repeated: a znode that exists gets data and ACL list where they differ, and nothing is ever deleted.

use super::{Call, Done};
use crate::client::{Client, Mode};
use crate::error::CommandError;
use crate::output::{acl_json, data_json, parse_perms};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ensemble_proto::{Acl, ErrorCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};

/// The longest line that is read: a frame's data in base64, and room for the rest.
const LINE_BYTES_MAX: u64 = 128 << 20;

pub(super) fn export(call: &mut Call<'_>) -> Done {
    let mut denied = Vec::new();
    let paths = call.client.readable_subtree(call.path(), |path| {
        denied.push(path.to_owned());
        true
    })?;
    for path in &denied {
        writeln!(call.err, "skipped {path} and what is below: it may not be read")?;
    }
    let (mut exported, mut skipped) = (0, denied.len());
    let mut file = match call.words.rest().get(1) {
        Some(name) => {
            Some(BufWriter::new(File::create(name).map_err(|error| CommandError::local("create", name, &error))?))
        }
        None => None,
    };
    for path in paths {
        match line(call.client, &path)? {
            Line::Znode(line) => {
                match &mut file {
                    Some(file) => writeln!(file, "{line}")?,
                    None => writeln!(call.out, "{line}")?,
                }
                exported += 1;
            }
            Line::Skipped(why) => {
                writeln!(call.err, "skipped {path}: {why}")?;
                skipped += 1;
            }
            Line::Gone => {}
        }
    }
    if let Some(mut file) = file {
        file.flush()?;
        file.get_ref().sync_all()?;
    }
    writeln!(call.err, "{exported} znodes exported, {skipped} skipped")?;
    Ok(())
}

/// What becomes of a znode.
enum Line {
    Znode(Value),
    Skipped(&'static str),
    /// It went meanwhile.
    Gone,
}

fn line(client: &Client, path: &str) -> Result<Line, CommandError> {
    if is_own(path) {
        return Ok(Line::Skipped("it is the ensemble's own"));
    }
    let found = client.get(path, false).and_then(|(data, stat)| Ok((data, stat, client.acl(path)?.0)));
    let (data, stat, acl) = match found {
        Ok(found) => found,
        Err(error) if error.code() == Some(ErrorCode::NO_NODE) => return Ok(Line::Gone),
        Err(error) => return Err(error),
    };
    if stat.ephemeral_owner.0 != 0 {
        return Ok(Line::Skipped("it is ephemeral"));
    }
    let mut object = Map::new();
    object.insert("path".into(), json!(path));
    data_json(data.as_deref(), &mut object);
    object.insert("acl".into(), acl_json(&acl));
    Ok(Line::Znode(Value::Object(object)))
}

fn is_own(path: &str) -> bool {
    path == "/zookeeper" || path.starts_with("/zookeeper/")
}

/// A line of an export.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Znode {
    path: String,
    #[serde(default)]
    data: Option<String>,
    #[serde(default)]
    data_base64: Option<String>,
    acl: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    scheme: String,
    id: String,
    perms: String,
}

/// What an import did with a znode.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Created,
    Changed,
    Unchanged,
    Skipped(&'static str),
}

pub(super) fn import(call: &mut Call<'_>) -> Done {
    let name = call.words.rest().first().cloned();
    let source: Box<dyn BufRead> = match &name {
        Some(name) => {
            Box::new(BufReader::new(File::open(name).map_err(|error| CommandError::local("open", name, &error))?))
        }
        None => Box::new(BufReader::new(io::stdin())),
    };
    let dry_run = call.words.has("-n");
    let (mut source, mut number) = (source, 0);
    let (mut created, mut changed, mut unchanged, mut skipped) = (0, 0, 0, 0);
    loop {
        let mut text = Vec::new();
        let read = io::Read::take(&mut source, LINE_BYTES_MAX).read_until(b'\n', &mut text)?;
        if read == 0 {
            break;
        }
        number += 1;
        let at = |problem: String| CommandError::Malformed(format!("line {number}: {problem}"));
        let znode: Znode = serde_json::from_slice(&text).map_err(|error| at(error.to_string()))?;
        let path = znode.path.clone();
        let fate = bring(call.client, znode, dry_run).map_err(|error| at(format!("{path}: {error}")))?;
        match fate {
            Fate::Created => created += 1,
            Fate::Changed => changed += 1,
            Fate::Unchanged => unchanged += 1,
            Fate::Skipped(why) => {
                skipped += 1;
                writeln!(call.err, "skipped {path}: {why}")?;
            }
        }
    }
    if call.json {
        let counts = json!({ "created": created, "changed": changed, "unchanged": unchanged, "skipped": skipped, "dryRun": dry_run });
        return call.answer(counts);
    }
    let would = if dry_run { "would be " } else { "" };
    writeln!(call.out, "{created} {would}created, {changed} {would}changed, {unchanged} unchanged, {skipped} skipped")?;
    Ok(())
}

/// Makes a znode what its line says.
fn bring(client: &Client, znode: Znode, dry_run: bool) -> Result<Fate, CommandError> {
    let Znode { path, data, data_base64, acl } = znode;
    if is_own(&path) {
        return Ok(Fate::Skipped("it is the ensemble's own"));
    }
    let data = match (data, data_base64) {
        (Some(_), Some(_)) => {
            return Err(CommandError::Malformed("data and dataBase64 exclude each other".to_owned()));
        }
        (text, None) => text.map(String::into_bytes),
        (None, Some(text)) => {
            Some(STANDARD.decode(text).map_err(|error| CommandError::Malformed(format!("dataBase64: {error}")))?)
        }
    };
    let acl = acl.into_iter().map(|Entry { scheme, id, perms }| Ok(Acl { perms: parse_perms(&perms)?, scheme, id }));
    let acl = acl.collect::<Result<Vec<_>, CommandError>>()?;
    let (held, stat) = match client.get(&path, false) {
        Ok(found) => found,
        Err(error) if error.code() == Some(ErrorCode::NO_NODE) => {
            if !dry_run {
                client.create(&path, data.as_deref(), &acl, Mode::PERSISTENT)?;
            }
            return Ok(Fate::Created);
        }
        Err(error) => return Err(error),
    };
    if stat.ephemeral_owner.0 != 0 {
        return Ok(Fate::Skipped("it is ephemeral now, and belongs to a session"));
    }
    let (held_acl, _) = client.acl(&path)?;
    let (other_data, other_acl) = (held != data, held_acl != acl);
    // By the versions that were compared: who changes it meanwhile is not overwritten.
    if other_data && !dry_run {
        client.set(&path, data.as_deref(), stat.version)?;
    }
    if other_acl && !dry_run {
        client.set_acl(&path, &acl, stat.aversion)?;
    }
    Ok(if other_data || other_acl { Fate::Changed } else { Fate::Unchanged })
}
