//! `ensemble snapshot`: what is in snapshots (`SnapshotFormatter.java`, `SnapshotRecursiveSummary.java`).
//!
//! Differs from ZooKeeper: znodes come in the order of the file, parents first, where ZooKeeper's order of siblings is that of a hash.

use crate::ToolError;
use crate::compare;
use crate::contents::{Contents, Znode};
use crate::tree::{Node, sizes};
use crate::txn::{acl_json, data_json};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use ensemble_proto::{StatPersisted, date};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::PathBuf;

/// What to do with snapshots.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Print every znode and every session
    Dump(DumpOptions),
    /// Tell where two snapshots differ
    Compare(compare::Options),
    /// Print zxid, digest and the sizes of subtrees
    Info(InfoOptions),
}

/// Options of `ensemble snapshot dump`.
#[derive(Args, Debug)]
pub struct DumpOptions {
    /// A snapshot: snapshot.<zxid>, also .gz and .snappy
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print the data too, in base64
    #[arg(short = 'd', long)]
    data: bool,
    /// Print JSON, an object a line: znodes with data and ACL, sessions, and a last line for the whole
    #[arg(long)]
    json: bool,
}

/// Options of `ensemble snapshot info`.
#[derive(Args, Debug)]
pub struct InfoOptions {
    /// A snapshot: snapshot.<zxid>, also .gz and .snappy
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the summary begins
    #[arg(long, value_name = "PATH", default_value = "/")]
    path: String,
    /// How many levels below it are shown; 0 for all. What is deeper is counted all the same
    #[arg(long, value_name = "LEVELS", default_value_t = 1)]
    depth: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`ToolError`]. A snapshot whose tree has another digest than it says is damaged; that is told at the end.
pub fn run(command: &Command, out: &mut dyn Write) -> Result<(), ToolError> {
    match command {
        Command::Dump(options) => dump(options, out),
        Command::Compare(options) => compare::run(options, out),
        Command::Info(options) => info(options, out),
    }
}

fn dump(options: &DumpOptions, out: &mut dyn Write) -> Result<(), ToolError> {
    let contents = Contents::read(&options.file)?;
    match options.json {
        true => dump_json(&contents, out)?,
        false => dump_text(&contents, options.data, out)?,
    }
    digest_or_damage(&contents, options.file.display().to_string())
}

fn digest_or_damage(contents: &Contents, file: String) -> Result<(), ToolError> {
    match contents.digest_differs() {
        true => Err(ToolError::Damaged(vec![format!("{file}: digest {}", contents.digest_verdict())])),
        false => Ok(()),
    }
}

fn dump_text(contents: &Contents, with_data: bool, out: &mut dyn Write) -> std::io::Result<()> {
    // ZooKeeper keeps the root under two names, and counts both.
    writeln!(out, "ZNode Details (count={}):", contents.znodes.len() + 1)?;
    for znode in &contents.znodes {
        writeln!(out, "----\n{}", znode.path)?;
        stat_text(&znode.stat, out)?;
        match with_data {
            true => writeln!(out, "  data = {}", STANDARD.encode(znode.data.as_deref().unwrap_or_default()))?,
            false => writeln!(out, "  dataLength = {}", znode.data_len())?,
        }
    }
    writeln!(out, "----\nSession Details (sid, timeout, ephemeralCount):")?;
    for (session, timeout_ms) in &contents.sessions {
        writeln!(out, "{:#016x}, {timeout_ms}, {}", session.0, contents.ephemeral_count(*session))?;
    }
    writeln!(out, "----\nLast zxid: {:#x}", last_zxid(contents))
}

/// The snapshot's own, or the last one that a znode knows of.
fn last_zxid(contents: &Contents) -> i64 {
    let known = contents.znodes.iter().map(|znode| znode.stat.mzxid.0.max(znode.stat.pzxid.0));
    known.fold(contents.zxid.0, i64::max)
}

fn stat_text(stat: &StatPersisted, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "  cZxid = {:#016x}", stat.czxid.0)?;
    writeln!(out, "  ctime = {}", date::long(stat.ctime))?;
    writeln!(out, "  mZxid = {:#016x}", stat.mzxid.0)?;
    writeln!(out, "  mtime = {}", date::long(stat.mtime))?;
    writeln!(out, "  pZxid = {:#016x}", stat.pzxid.0)?;
    writeln!(out, "  cversion = {}", stat.cversion)?;
    writeln!(out, "  dataVersion = {}", stat.version)?;
    writeln!(out, "  aclVersion = {}", stat.aversion)?;
    writeln!(out, "  ephemeralOwner = {:#016x}", stat.ephemeral_owner)
}

fn dump_json(contents: &Contents, out: &mut dyn Write) -> std::io::Result<()> {
    for znode in &contents.znodes {
        writeln!(out, "{}", znode_json(contents, znode))?;
    }
    for (session, timeout_ms) in &contents.sessions {
        let ephemerals = contents.ephemeral_count(*session);
        let session = format!("{:#x}", session.0);
        writeln!(out, "{}", json!({ "session": session, "timeoutMs": timeout_ms, "ephemerals": ephemerals }))?;
    }
    let (znodes, sessions) = (contents.znodes.len(), contents.sessions.len());
    writeln!(
        out,
        "{}",
        json!({ "lastZxid": format!("{:#x}", last_zxid(contents)), "znodes": znodes, "sessions": sessions })
    )
}

fn znode_json(contents: &Contents, znode: &Znode) -> Value {
    let Znode { path, data, acl: _, stat } = znode;
    let mut object = Map::new();
    object.insert("path".into(), json!(path));
    data_json(data.as_deref(), &mut object);
    object.insert("acl".into(), acl_json(contents.acl(znode).map(|list| &list[..])));
    object.insert("czxid".into(), json!(format!("{:#x}", stat.czxid.0)));
    object.insert("ctime".into(), json!(date::rfc3339(stat.ctime)));
    object.insert("mzxid".into(), json!(format!("{:#x}", stat.mzxid.0)));
    object.insert("mtime".into(), json!(date::rfc3339(stat.mtime)));
    object.insert("pzxid".into(), json!(format!("{:#x}", stat.pzxid.0)));
    object.insert("cversion".into(), json!(stat.cversion));
    object.insert("version".into(), json!(stat.version));
    object.insert("aversion".into(), json!(stat.aversion));
    object.insert("ephemeralOwner".into(), json!(format!("{:#x}", stat.ephemeral_owner)));
    Value::Object(object)
}

fn info(options: &InfoOptions, out: &mut dyn Write) -> Result<(), ToolError> {
    let contents = Contents::read(&options.file)?;
    let nodes = sizes(&contents);
    let shown = shown(&nodes, &options.path, options.depth)
        .ok_or_else(|| ToolError::Usage(format!("{}: no such znode in the snapshot", options.path)))?;
    let ephemerals = contents.sessions.iter().map(|(session, _)| contents.ephemeral_count(*session)).sum::<usize>();
    let total = nodes.first().map_or(0, |root| root.data_bytes);
    let last_processed = contents.snapshot.last_processed.map(|zxid| format!("{zxid}"));
    if options.json {
        let summary = |(_, node): &(usize, &Node<'_>)| json!({ "path": node.path, "children": node.descendants, "data": node.data_bytes });
        let object = json!({
            "file": options.file.display().to_string(),
            "zxid": format!("{}", contents.zxid),
            "lastProcessedZxid": last_processed,
            "digest": contents.digest_verdict(),
            "sessions": contents.sessions.len(),
            "znodes": contents.znodes.len(),
            "ephemerals": ephemerals,
            "aclLists": contents.acls.len(),
            "dataBytes": total,
            "summary": shown.iter().map(summary).collect::<Vec<_>>(),
        });
        writeln!(out, "{object}")?;
    } else {
        writeln!(out, "{}", options.file.display())?;
        writeln!(out, "  zxid = {}", contents.zxid)?;
        writeln!(out, "  lastProcessedZxid = {}", last_processed.as_deref().unwrap_or("none"))?;
        writeln!(out, "  digest = {}", contents.digest_verdict())?;
        writeln!(out, "  sessions = {}", contents.sessions.len())?;
        writeln!(out, "  znodes = {}", contents.znodes.len())?;
        writeln!(out, "  ephemerals = {ephemerals}")?;
        writeln!(out, "  aclLists = {}", contents.acls.len())?;
        writeln!(out, "  dataBytes = {total}")?;
        for (level, node) in shown {
            let indent = "--".repeat(level);
            writeln!(out, "{indent} {}", node.path)?;
            writeln!(out, "{indent}   children: {}", node.descendants)?;
            writeln!(out, "{indent}   data: {}", node.data_bytes)?;
        }
    }
    digest_or_damage(&contents, options.file.display().to_string())
}

/// The znodes at and below `path` that have children, down to `depth` levels, each with its level; `None` when there is no such znode.
fn shown<'n, 'a>(nodes: &'n [Node<'a>], path: &str, depth: usize) -> Option<Vec<(usize, &'n Node<'a>)>> {
    let start = nodes.iter().position(|node| node.path == path)?;
    let (mut shown, mut left) = (Vec::new(), vec![start]);
    while let Some(place) = left.pop() {
        let node = &nodes[place];
        let level = node.depth - nodes[start].depth;
        if !node.children.is_empty() && (depth == 0 || level <= depth) {
            shown.push((level, node));
            left.extend(node.children.iter().rev());
        }
    }
    Some(shown)
}
