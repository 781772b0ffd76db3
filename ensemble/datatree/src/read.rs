//! What clients read (`FinalRequestProcessor.java`). Every function checks existence first and permission second; its error is the
//! answer to the client.

use crate::acl::{self, Access};
use crate::slab::{Position, Znode};
use crate::tree::DataTree;
use ensemble_proto::{Acl, AclList, ErrorCode, Stat};

/// A znode as it is now.
#[derive(Clone, Copy)]
pub struct NodeRef<'a> {
    tree: &'a DataTree,
    position: Position,
}

impl<'a> NodeRef<'a> {
    fn znode(&self) -> &'a Znode {
        &self.tree.slab[self.position]
    }

    /// Its data; `None` is null, which is not the same as empty.
    pub fn data(&self) -> Option<&'a [u8]> {
        self.znode().data()
    }

    /// What clients see of it beside data and list.
    pub fn stat(&self) -> Stat {
        let znode = self.znode();
        znode.stat.visible(znode.data_len(), znode.child_count as i32)
    }

    /// Its ACL list; world:anyone with all permissions for a znode that has none.
    pub fn acl(&self) -> &'a AclList {
        self.tree.acls.list(self.znode().acl)
    }

    /// The names of its children, in no order.
    pub fn children(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let tree = self.tree;
        tree.children(self.position).map(|child| tree.slab[child].name())
    }

    /// Number of children.
    pub fn children_count(&self) -> usize {
        self.znode().child_count as usize
    }

    /// Number of the znodes below it, at any depth.
    pub fn descendants_count(&self) -> usize {
        self.tree.subtree(self.position).skip(1).count()
    }

    /// Whether one of the permission bits `perms` is granted.
    pub fn allows(&self, perms: i32, access: Access<'_>) -> bool {
        acl::check(self.acl(), perms, access)
    }

    pub(crate) fn persisted(&self) -> &'a Znode {
        self.znode()
    }

    pub(crate) fn stored_acl(&self) -> Option<&'a AclList> {
        self.tree.acls.stored(self.znode().acl)
    }
}

impl DataTree {
    /// The znode at `path`, unchecked. A path that is not well formed finds nothing, and neither does the empty one.
    ///
    /// Differs from ZooKeeper: there the empty path reads the root.
    pub fn get(&self, path: &str) -> Option<NodeRef<'_>> {
        self.find(path).map(|position| NodeRef { tree: self, position })
    }
}

/// The znode's stat.
///
/// # Errors
/// `BAD_ARGUMENTS` for a path with a NUL, `NO_NODE`, `NO_AUTH` without READ.
pub fn exists(tree: &DataTree, access: Access<'_>, path: &str) -> Result<Stat, ErrorCode> {
    if path.contains('\0') {
        return Err(ErrorCode::BAD_ARGUMENTS);
    }
    readable(tree, access, path, Acl::READ).map(|znode| znode.stat())
}

/// The znode's data and stat.
///
/// # Errors
/// `NO_NODE`, `NO_AUTH` without READ.
pub fn get_data<'a>(tree: &'a DataTree, access: Access<'_>, path: &str) -> Result<(Option<&'a [u8]>, Stat), ErrorCode> {
    readable(tree, access, path, Acl::READ).map(|znode| (znode.data(), znode.stat()))
}

/// The znode whose children may be listed.
///
/// # Errors
/// `NO_NODE`, `NO_AUTH` without READ.
pub fn get_children<'a>(tree: &'a DataTree, access: Access<'_>, path: &str) -> Result<NodeRef<'a>, ErrorCode> {
    readable(tree, access, path, Acl::READ)
}

/// Number of the znodes below it, at any depth, whoever may read them.
///
/// # Errors
/// `NO_NODE`, `NO_AUTH` without READ.
pub fn get_all_children_number(tree: &DataTree, access: Access<'_>, path: &str) -> Result<usize, ErrorCode> {
    readable(tree, access, path, Acl::READ).map(|znode| znode.descendants_count())
}

/// The znode's ACL list and stat. Who lacks ADMIN gets the hashes of `digest` ids masked.
///
/// # Errors
/// `NO_NODE`, `NO_AUTH` without READ or ADMIN.
pub fn get_acl(tree: &DataTree, access: Access<'_>, path: &str) -> Result<(Vec<Acl>, Stat), ErrorCode> {
    let znode = readable(tree, access, path, Acl::READ | Acl::ADMIN)?;
    let list = znode.acl();
    let shown = if znode.allows(Acl::ADMIN, access) { list.to_vec() } else { acl::masked(list) };
    Ok((shown, znode.stat()))
}

fn readable<'a>(tree: &'a DataTree, access: Access<'_>, path: &str, perms: i32) -> Result<NodeRef<'a>, ErrorCode> {
    let znode = tree.get(path).ok_or(ErrorCode::NO_NODE)?;
    if znode.allows(perms, access) { Ok(znode) } else { Err(ErrorCode::NO_AUTH) }
}
