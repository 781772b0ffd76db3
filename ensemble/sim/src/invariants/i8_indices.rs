//! I-8: every ephemeral znode's owner is a living session, and every index of the tree equals a recount.

use crate::trace::{Verdict, Violation};
use ensemble_datatree::DataTree;

/// Counts the indices again. All that can be asked of a tree whose snapshot was fuzzy, before what follows it is applied: its sessions are
/// those of the beginning, its znodes may be later ones.
pub fn indices(server: usize, tree: &DataTree) -> Verdict {
    tree.recount().map_err(|problem| Violation::new("I-8", format!("server {server}: {problem}")))
}

/// Counts everything again.
pub fn recount(server: usize, tree: &DataTree) -> Verdict {
    indices(server, tree)?;
    let owned: usize = tree.sessions().keys().map(|session| tree.ephemerals(*session).count()).sum();
    if owned == tree.ephemeral_count() {
        return Ok(());
    }
    let message = format!("server {server}: {} ephemerals, {owned} of them of living sessions", tree.ephemeral_count());
    Err(Violation::new("I-8", message))
}
