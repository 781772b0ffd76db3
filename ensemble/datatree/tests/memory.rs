//! What a znode costs: alone in its process, so that the process's memory is the tree's.

use bytes::Bytes;
use ensemble_datatree::DataTree;
use ensemble_proto::txn::{CreateTxn, Txn, TxnHeader, TxnRecord};
use ensemble_proto::{Acl, AclList, Epoch, SessionId, Zxid};

const PARENTS: u32 = 100;
const ZNODES: u32 = 300_000;
const PAGE_BYTES: usize = 4096;
/// The gate of the memory goals, at 100 bytes of data and 9 of name.
const ZNODE_BYTES_MAX: usize = 320;

fn resident_bytes() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    text.split_whitespace().nth(1)?.parse::<usize>().ok().map(|pages| pages * PAGE_BYTES)
}

fn create(tree: &mut DataTree, counter: u32, path: String, acl: &AclList) {
    let data = Some(Bytes::from_static(&[b'x'; 100]));
    let create = CreateTxn { path, data, acl: Some(acl.clone()), ephemeral: false, parent_cversion: -1 };
    let header = TxnHeader { session: SessionId(1), cxid: 0, zxid: Zxid::new(Epoch(1), counter), time_ms: 0 };
    let outcome = TxnRecord { header, txn: Txn::Create(create), digest: None };
    assert!(tree.apply(&outcome).error.is_ok());
}

#[test]
fn a_znode_takes_no_more_than_the_goal() {
    let Some(before) = resident_bytes() else {
        println!("not run: this system does not tell how much memory a process has");
        return;
    };
    let acl: AclList = [Acl::world(Acl::ALL)].into();
    let mut tree = DataTree::new(1);
    for parent in 0..PARENTS {
        create(&mut tree, parent + 1, format!("/{parent}"), &acl);
    }
    for number in 0..ZNODES {
        create(&mut tree, PARENTS + 1 + number, format!("/{}/n{number:08}", number % PARENTS), &acl);
    }
    let full = resident_bytes().unwrap_or(0).saturating_sub(before);
    println!("{} bytes a znode", full / ZNODES as usize);
    assert!(full / (ZNODES as usize) < ZNODE_BYTES_MAX);
    assert_eq!(tree.node_count(), (ZNODES + PARENTS) as usize + 4);
}
