//! `ensemble snapshot compare`: where two snapshots differ (`SnapshotComparer.java`).
//!
//! Differs from ZooKeeper: both thresholds are 0 unless given, nothing is asked, how long it took is not told; and `--contents`.

use crate::ToolError;
use crate::contents::{Contents, Znode};
use crate::tree::{Node, sizes};
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

/// Options of `ensemble snapshot compare`.
#[derive(Args, Debug)]
pub struct Options {
    /// The left snapshot
    #[arg(short = 'l', long, value_name = "FILE")]
    left: PathBuf,
    /// The right snapshot
    #[arg(short = 'r', long, value_name = "FILE")]
    right: PathBuf,
    /// Tell a znode when the data at and below it differs by more bytes
    #[arg(short = 'b', long, value_name = "BYTES", default_value_t = 0)]
    bytes: u64,
    /// Tell a znode when what is below it differs by more znodes
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 0)]
    nodes: u64,
    /// Tell also the znodes whose own data, ACL or stat differ
    #[arg(long)]
    contents: bool,
    /// Print JSON, an object a difference
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`ToolError`]. That the two differ is no error.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Result<(), ToolError> {
    let (left, right) = (Contents::read(&options.left)?, Contents::read(&options.right)?);
    let (left_levels, right_levels) = (levels(&left), levels(&right));
    if !options.json {
        describe(&left_levels, out)?;
        describe(&right_levels, out)?;
        let Options { bytes, nodes, .. } = options;
        writeln!(
            out,
            "Printing analysis for nodes difference larger than {bytes} bytes or node count difference larger than {nodes}."
        )?;
    }
    let none = BTreeMap::new();
    for depth in 0..left_levels.len().max(right_levels.len()) {
        if !options.json {
            writeln!(out, "Analysis for depth {depth}")?;
        }
        let (left_level, right_level) =
            (left_levels.get(depth).unwrap_or(&none), right_levels.get(depth).unwrap_or(&none));
        let mut paths: Vec<_> = left_level.keys().chain(right_level.keys()).copied().collect();
        paths.sort_unstable();
        paths.dedup();
        for path in paths {
            let pair = (left_level.get(path), right_level.get(path));
            compare(options, path, pair, out)?;
        }
    }
    if !options.json {
        writeln!(out, "All layers compared.")?;
    }
    Ok(())
}

/// A znode of one side.
struct Place<'a> {
    contents: &'a Contents,
    znode: &'a Znode,
    data_bytes: i64,
    descendants: i64,
}

type Level<'a> = BTreeMap<&'a str, Place<'a>>;

/// The znodes of each depth by their paths.
fn levels(contents: &Contents) -> Vec<Level<'_>> {
    let mut levels: Vec<Level<'_>> = Vec::new();
    for (node, znode) in sizes(contents).into_iter().zip(&contents.znodes) {
        let Node { path, depth, data_bytes, descendants, .. } = node;
        if levels.len() <= depth {
            levels.resize_with(depth + 1, BTreeMap::new);
        }
        levels[depth].insert(path, Place { contents, znode, data_bytes, descendants });
    }
    levels
}

fn describe(levels: &[Level<'_>], out: &mut dyn Write) -> std::io::Result<()> {
    let total = levels.first().and_then(|roots| roots.values().next()).map_or(0, |root| root.data_bytes);
    writeln!(out, "Node count: {}", levels.iter().map(BTreeMap::len).sum::<usize>())?;
    writeln!(out, "Total size: {total}")?;
    writeln!(out, "Max depth: {}", levels.len())?;
    for (depth, level) in levels.iter().enumerate() {
        writeln!(out, "Count of nodes at depth {depth}: {}", level.len())?;
    }
    writeln!(out)
}

fn compare(
    options: &Options,
    path: &str,
    pair: (Option<&Place<'_>>, Option<&Place<'_>>),
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let exceeds = |bytes: i64, nodes: i64| bytes.unsigned_abs() > options.bytes || nodes.unsigned_abs() > options.nodes;
    // ZooKeeper's root has no name here.
    let label = if path == "/" { "" } else { path };
    let (side, place) = match pair {
        (Some(left), Some(right)) => {
            let (bytes, nodes) = (right.data_bytes - left.data_bytes, right.descendants - left.descendants);
            let fields = if options.contents { differing(left, right) } else { Vec::new() };
            if exceeds(bytes, nodes) {
                let text = format!("Node {label} found in both trees. Delta: {bytes} bytes, {nodes} descendants");
                let object = json!({ "path": path, "in": "both", "deltaBytes": bytes, "deltaDescendants": nodes });
                tell(options, &text, object, out)?;
            }
            if !fields.is_empty() {
                let text = format!("Node {label} found in both trees. Differs: {}", fields.join(", "));
                tell(options, &text, json!({ "path": path, "in": "both", "differs": fields }), out)?;
            }
            return Ok(());
        }
        (Some(left), None) => ("left", left),
        (None, Some(right)) => ("right", right),
        (None, None) => return Ok(()),
    };
    let Place { data_bytes, descendants, .. } = place;
    if exceeds(*data_bytes, *descendants) || options.contents {
        let text = format!(
            "Node {label} found only in {side} tree. Descendant size: {data_bytes}. Descendant count: {descendants}"
        );
        let object = json!({ "path": path, "in": side, "bytes": data_bytes, "descendants": descendants });
        tell(options, &text, object, out)?;
    }
    Ok(())
}

fn tell(options: &Options, text: &str, object: Value, out: &mut dyn Write) -> std::io::Result<()> {
    if options.json { writeln!(out, "{object}") } else { writeln!(out, "{text}") }
}

/// Which parts of a znode are not the same.
fn differing(left: &Place<'_>, right: &Place<'_>) -> Vec<&'static str> {
    let (a, b) = (left.znode, right.znode);
    let parts = [
        ("data", a.data != b.data),
        ("acl", left.contents.acl(a) != right.contents.acl(b)),
        ("czxid", a.stat.czxid != b.stat.czxid),
        ("mzxid", a.stat.mzxid != b.stat.mzxid),
        ("pzxid", a.stat.pzxid != b.stat.pzxid),
        ("ctime", a.stat.ctime != b.stat.ctime),
        ("mtime", a.stat.mtime != b.stat.mtime),
        ("version", a.stat.version != b.stat.version),
        ("cversion", a.stat.cversion != b.stat.cversion),
        ("aversion", a.stat.aversion != b.stat.aversion),
        ("ephemeralOwner", a.stat.ephemeral_owner != b.stat.ephemeral_owner),
    ];
    parts.into_iter().filter(|(_, differs)| *differs).map(|(part, _)| part).collect()
}
