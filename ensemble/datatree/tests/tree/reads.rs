//! What clients may read.

use crate::common::{EPHEMERAL, SESSION, create, entry, identity, open};
use ensemble_datatree::{Access, DataTree, Pending, acl, prep, read};
use ensemble_proto::client::AclEntry;
use ensemble_proto::quorum::AuthId;
use ensemble_proto::txn::{CreateTxn, Txn, TxnHeader, TxnRecord};
use ensemble_proto::{Acl, Epoch, ErrorCode, SessionId, Stat, Zxid};

fn tree(znodes: &[(&str, Vec<AclEntry<'static>>)]) -> DataTree {
    let mut tree = DataTree::new(1);
    for (counter, (path, entries)) in (1..).zip(znodes) {
        let acl = acl::normalise(Some(entries), &[]).expect("the list is valid");
        let parent_cversion = -1;
        let create =
            CreateTxn { path: path.to_string(), data: None, acl: Some(acl), ephemeral: false, parent_cversion };
        let header = TxnHeader { session: SessionId(1), cxid: 0, zxid: Zxid::new(Epoch(1), counter), time_ms: 0 };
        let record = TxnRecord { header, txn: Txn::Create(create), digest: None };
        assert!(tree.apply(&record).error.is_ok());
    }
    tree
}

fn access(identities: &[AuthId]) -> Access<'_> {
    Access { identities, skip_acl: false }
}

#[test]
fn a_fresh_tree_has_the_systems_znodes() {
    let tree = DataTree::new(1);
    let stat = |path: &str| read::exists(&tree, access(&[]), path);
    let fresh = Stat { cversion: -1, num_children: 1, ..Stat::default() };
    assert_eq!(stat("/"), Ok(fresh));
    assert_eq!(stat("/zookeeper"), Ok(Stat { cversion: -2, num_children: 2, ..Stat::default() }));
    assert_eq!(stat("/zookeeper/quota"), Ok(Stat::default()));
    assert_eq!(stat("/zookeeper/config"), Ok(Stat { aversion: -1, ..Stat::default() }));
    assert_eq!(read::get_data(&tree, access(&[]), "/"), Ok((Some(&b""[..]), fresh)));
    assert_eq!(tree.node_count(), 4);
    assert_eq!(read::get_acl(&tree, access(&[]), "/"), Ok((vec![Acl::world(Acl::ALL)], fresh)));
}

#[test]
fn existence_is_checked_before_permission_and_a_silly_path_is_merely_missing() {
    let tree = tree(&[("/a", open().expect("a list")), ("/a/shut", vec![entry(Acl::WRITE, "world", "anyone")])]);
    let exists = |path: &str| read::exists(&tree, access(&[]), path).map(|stat| stat.num_children);
    assert_eq!(exists("/a"), Ok(1));
    assert_eq!(exists("/a/shut"), Err(ErrorCode::NO_AUTH));
    assert_eq!(exists("/a\0"), Err(ErrorCode::BAD_ARGUMENTS));
    for missing in ["/a/shut/x", "/b", "", "a", "/a/", "//a", "/a//shut", "/./a"] {
        assert_eq!(exists(missing), Err(ErrorCode::NO_NODE), "{missing}");
        assert_eq!(read::get_data(&tree, access(&[]), missing).err(), Some(ErrorCode::NO_NODE));
        assert_eq!(read::get_children(&tree, access(&[]), missing).err(), Some(ErrorCode::NO_NODE));
        assert_eq!(read::get_acl(&tree, access(&[]), missing).err(), Some(ErrorCode::NO_NODE));
    }
    assert_eq!(read::get_data(&tree, access(&[]), "/a/shut").err(), Some(ErrorCode::NO_AUTH));
    assert_eq!(read::get_children(&tree, access(&[]), "/a/shut").err(), Some(ErrorCode::NO_AUTH));
    assert!(read::exists(&tree, access(&[identity("super", "")]), "/a/shut").is_ok());
    assert!(read::exists(&tree, Access::UNCHECKED, "/a/shut").is_ok());
}

#[test]
fn children_are_listed_by_name() {
    let list = || open().expect("a list");
    let tree = tree(&[("/a", list()), ("/a/x", list()), ("/a/x/deep", list()), ("/a/y", list())]);
    let znode = read::get_children(&tree, access(&[]), "/a").expect("it may be read");
    let mut names: Vec<&str> = znode.children().collect();
    names.sort_unstable();
    assert_eq!((names, znode.children_count()), (vec!["x", "y"], 2));
}

#[test]
fn a_list_is_shown_to_readers_with_hashes_masked_and_in_full_to_admins() {
    let list = vec![entry(Acl::READ, "ip", "10.0.0.1"), entry(Acl::ADMIN, "digest", "bob:hash")];
    let tree = tree(&[("/a", list)]);
    let ids = |identities: &[AuthId]| {
        let shown = read::get_acl(&tree, access(identities), "/a").map(|(list, _)| list);
        shown.map(|list| list.into_iter().map(|acl| acl.id).collect::<Vec<_>>())
    };
    let shown = |ids: [&str; 2]| Ok(ids.map(str::to_string).to_vec());
    assert_eq!(ids(&[identity("ip", "10.0.0.1")]), shown(["10.0.0.1", "bob:x"]));
    assert_eq!(ids(&[identity("digest", "bob:hash")]), shown(["10.0.0.1", "bob:hash"]));
    assert_eq!(ids(&[identity("ip", "10.0.0.2")]), Err(ErrorCode::NO_AUTH));
}

#[test]
fn the_ephemeral_znodes_of_a_session_are_listed_in_parts_each_once() {
    const COUNT: usize = 5;
    let mut tree = DataTree::new(1);
    for index in 0..COUNT {
        let mut pending = Pending::new(1);
        let owned = create(&format!("/e{index}"), EPHEMERAL);
        let zxid = Zxid::new(Epoch(1), index as u32 + 1);
        let record = prep::prep(&tree, &mut pending, 0, zxid, &owned.request(Access::UNCHECKED));
        tree.apply(&record);
    }
    for part in 1..=COUNT + 1 {
        let (mut mark, mut paths, mut parts) = (None, Vec::new(), 0);
        loop {
            let (taken, next) = tree.ephemerals_after(SESSION, mark, part);
            paths.extend(taken);
            (mark, parts) = (next, parts + 1);
            if mark.is_none() {
                break;
            }
        }
        paths.sort();
        assert_eq!(paths, ["/e0", "/e1", "/e2", "/e3", "/e4"], "in parts of {part}");
        assert_eq!(parts, COUNT / part + 1);
    }
    assert_eq!(tree.ephemeral_owners().collect::<Vec<_>>(), [SESSION]);
}
