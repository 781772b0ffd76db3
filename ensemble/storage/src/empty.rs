//! The database that every ensemble starts with: the body of `snapshot.0`.
//!
//! Four znodes, one ACL list, no session. It is a constant of the format, so storage can write it without knowing a tree.

use bytes::Bytes;
use ensemble_proto::jute::Writer;

const READ: i32 = 1;
/// The key of world:anyone with all permissions, which has no entry in the table.
const OPEN_ACL: i64 = -1;
const READ_ONLY_ACL: i64 = 1;

/// Sessions, ACL table and znodes of an empty database.
pub fn empty_database() -> Bytes {
    let mut body = Vec::new();
    body.count(0);
    body.count(1);
    body.long(READ_ONLY_ACL);
    body.count(1);
    body.int(READ);
    body.string("world");
    body.string("anyone");
    znode(&mut body, "", OPEN_ACL, 0);
    znode(&mut body, "/zookeeper", OPEN_ACL, 0);
    znode(&mut body, "/zookeeper/config", READ_ONLY_ACL, -1);
    znode(&mut body, "/zookeeper/quota", OPEN_ACL, 0);
    body.string("/");
    body.into()
}

fn znode(body: &mut Vec<u8>, path: &str, acl: i64, aversion: i32) {
    body.string(path);
    body.buffer(Some(b""));
    body.long(acl);
    for _czxid_mzxid_ctime_mtime in 0..4 {
        body.long(0);
    }
    for version in [0, 0, aversion] {
        body.int(version);
    }
    for _ephemeral_owner_pzxid in 0..2 {
        body.long(0);
    }
}
