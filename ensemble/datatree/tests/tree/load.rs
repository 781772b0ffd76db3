//! Snapshots that are not what they should be: the fault is named, and nothing panics.

use crate::common::read;
use ensemble_datatree::DataTree;
use ensemble_proto::jute::Writer;
use ensemble_proto::{Acl, StatPersisted, Zxid, encode_acl_list};

fn snapshot(acls: &[i64], znodes: &[(&str, i64)]) -> Vec<u8> {
    let mut out = Vec::new();
    out.count(0);
    out.count(acls.len());
    for id in acls {
        out.long(*id);
        encode_acl_list(Some(&[Acl::world(Acl::ALL)]), &mut out);
    }
    for (path, acl) in znodes {
        out.string(path);
        out.buffer(None);
        out.long(*acl);
        StatPersisted::default().encode(&mut out);
    }
    out.string("/");
    out
}

#[track_caller]
fn check(acls: &[i64], znodes: &[(&str, i64)], expected: Option<&str>) {
    let loaded = DataTree::load(1, Zxid(1), &snapshot(acls, znodes));
    assert_eq!(loaded.err().map(|error| error.to_string()).as_deref(), expected);
}

#[test]
fn what_is_wrong_with_a_snapshot_is_named() {
    check(&[1], &[("", -1), ("/a", 1), ("/a/b", 1), ("/c", -1)], None);
    check(&[], &[], Some("snapshot: no znode is not a tree with a root"));
    check(&[], &[("/a", -1)], Some("znode.path: /a is not a path with a name, after the root"));
    check(&[], &[("", -1), ("", -1)], Some("znode.path:  is not an absolute path"));
    check(&[], &[("", -1), ("a", -1)], Some("znode.path: a is not an absolute path"));
    check(&[], &[("", -1), ("/a/", -1)], Some("znode.path: /a/ is not a path with a name, after the root"));
    check(&[], &[("", -1), ("/a/b", -1)], Some("znode.path: /a/b is not below a znode that came before"));
    check(&[], &[("", -1), ("/a", -1), ("/a", -1)], Some("znode.path: /a is not a path that did not come before"));
    check(&[1], &[("", 2)], Some("znode.acl: 2 is not an id of the snapshot's ACL table"));
    check(&[1, 1], &[("", 1)], Some("acl id: 1 is not an id that did not come before"));
    check(&[-1], &[("", 1)], Some("acl id: -1 is not an id that did not come before"));
    check(&[0], &[("", -1)], Some("acl id: 0 is not -1 or positive"));
    check(&[1 << 40], &[("", -1)], Some("acl id: 1099511627776 is not below 2^32"));
}

#[test]
fn parents_may_come_long_before_their_children() {
    let znodes = [("", -1), ("/a", -1), ("/a/b", -1), ("/c", -1), ("/a/d", -1), ("/a/b/e", -1), ("/c/f", -1)];
    let tree = DataTree::load(1, Zxid(1), &snapshot(&[], &znodes)).expect("every parent came before");
    assert_eq!(tree.recount(), Ok(()));
    for (path, _) in &znodes[1..] {
        assert!(tree.get(path).is_some(), "{path}");
    }
    assert!(tree.get("/zookeeper/config").is_some(), "a tree without it gets it");
}

#[test]
fn a_snapshot_that_ends_early_or_has_a_changed_byte_never_panics() {
    let whole = &read("zookeeper-3.8/snapshot.21")[16..];
    let end = whole.windows(5).position(|window| window == b"\0\0\0\x01/").expect("it has an end") + 5;
    assert!(DataTree::load(1, Zxid(0x21), &whole[..end]).is_ok());
    for length in 0..end {
        assert!(DataTree::load(1, Zxid(0x21), &whole[..length]).is_err(), "{length} bytes");
    }
    let mut bytes = whole[..end].to_vec();
    for at in 0..end {
        for change in [0x01, 0x80, 0xff] {
            bytes[at] ^= change;
            if let Ok(tree) = DataTree::load(1, Zxid(0x21), &bytes) {
                assert_eq!(tree.recount(), Ok(()), "byte {at} changed by {change:#x}");
            }
            bytes[at] ^= change;
        }
    }
}
