//! Sizes of subtrees: how many znodes are below each one, and how much data.

use crate::contents::Contents;
use std::collections::BTreeMap;

/// A znode and what is below it.
pub(crate) struct Node<'a> {
    /// The root's is `/`.
    pub(crate) path: &'a str,
    pub(crate) parent: Option<usize>,
    pub(crate) children: Vec<usize>,
    /// The root's is 0.
    pub(crate) depth: usize,
    /// Bytes of data here and below.
    pub(crate) data_bytes: i64,
    /// Znodes below.
    pub(crate) descendants: i64,
}

/// The znodes of a snapshot with their sizes, parents before children.
pub(crate) fn sizes(contents: &Contents) -> Vec<Node<'_>> {
    let mut nodes: Vec<Node<'_>> = Vec::with_capacity(contents.znodes.len());
    let mut places = BTreeMap::new();
    for (place, znode) in contents.znodes.iter().enumerate() {
        let path = znode.path.as_str();
        let parent_path = path.rsplit_once('/').map(|(parent, _)| if parent.is_empty() { "/" } else { parent });
        let parent = parent_path.filter(|_| path != "/").and_then(|parent| places.get(parent).copied());
        let depth = parent.map_or(0, |parent: usize| nodes[parent].depth + 1);
        if let Some(parent) = parent {
            nodes[parent].children.push(place);
        }
        places.insert(path, place);
        let data_bytes = znode.data_len() as i64;
        nodes.push(Node { path, parent, children: Vec::new(), depth, data_bytes, descendants: 0 });
    }
    for place in (0..nodes.len()).rev() {
        let Node { parent, data_bytes, descendants, .. } = nodes[place];
        if let Some(parent) = parent {
            nodes[parent].data_bytes += data_bytes;
            nodes[parent].descendants += descendants + 1;
        }
    }
    nodes
}
