//! What the leader checks, in which order, and what it foresees.
//!
//! Every case runs twice: with everything before it applied, and with everything before it still pending. The answer must
//! not depend on that.

use crate::common::*;
use ensemble_datatree::{Access, DataTree, Pending, prep};
use ensemble_proto::client::{CreateTtlRequest, MultiOp, MultiResult, OpCode};
use ensemble_proto::jute::Writer;
use ensemble_proto::quorum::AuthId;
use ensemble_proto::txn::{Txn, TxnDigest, TxnRecord};
use ensemble_proto::{Acl, Epoch, ErrorCode, SessionId, Stat, Zxid};
use std::time::Duration;

/// A leader, with what it proposed and did not apply yet.
struct Leader {
    tree: DataTree,
    pending: Pending,
    proposed: Vec<TxnRecord>,
    counter: u32,
}

impl Leader {
    fn new() -> Leader {
        Leader { tree: DataTree::new(3), pending: Pending::new(3), proposed: Vec::new(), counter: 0 }
    }

    fn propose(&mut self, owned: &Owned, identities: &[AuthId]) -> TxnRecord {
        self.counter += 1;
        let zxid = Zxid::new(Epoch(1), self.counter);
        let access = Access { identities, skip_acl: false };
        let time_ms = 1_000_000 + i64::from(self.counter);
        let record = prep::prep(&self.tree, &mut self.pending, time_ms, zxid, &owned.request(access));
        self.proposed.push(record.clone());
        record
    }

    /// Applies everything proposed; every digest that was foreseen must come true.
    fn commit(&mut self) {
        for record in std::mem::take(&mut self.proposed) {
            let outcome = self.tree.apply(&record);
            assert_eq!(outcome.digest_mismatch, None, "{record:?}");
            self.pending.applied(record.header.zxid);
        }
        assert!(self.pending.is_empty());
        assert_eq!(self.tree.recount(), Ok(()));
    }

    fn stat(&self, path: &str) -> Stat {
        self.tree.get(path).unwrap_or_else(|| panic!("{path} is missing")).stat()
    }
}

/// The error, or the path that is created, or nothing for other writes.
fn answer(record: &TxnRecord) -> Result<&str, ErrorCode> {
    match &record.txn {
        Txn::Error(code) => Err(*code),
        Txn::Create(create) | Txn::Create2(create) | Txn::CreateContainer(create) | Txn::CreateTtl { create, .. } => {
            Ok(&create.path)
        }
        _ => Ok(""),
    }
}

#[track_caller]
fn check_as(identities: &[AuthId], before: &[Owned], request: Owned, expected: Result<&str, ErrorCode>) {
    for applied in [true, false] {
        let mut leader = Leader::new();
        for owned in before {
            assert!(answer(&leader.propose(owned, &[identity("super", "")])).is_ok(), "{owned:?}");
            if applied {
                leader.commit();
            }
        }
        let record = leader.propose(&request, identities);
        assert_eq!(answer(&record), expected, "{request:?}, applied: {applied}");
        assert_eq!(record.digest.is_none(), expected.is_err(), "an error has no digest, all else has one");
        leader.commit();
    }
}

#[track_caller]
fn check(before: &[Owned], request: Owned, expected: Result<&str, ErrorCode>) {
    check_as(&[identity("ip", "127.0.0.1")], before, request, expected);
}

#[test]
fn a_leader_without_digests_writes_none_and_compares_none() {
    let mut leader = Leader::new();
    let record = leader.propose(&create("/a", 0), &[]);
    assert!(record.digest.is_some());
    leader.commit();
    leader.tree = std::mem::replace(&mut leader.tree, DataTree::new(3)).without_digests();
    let record = leader.propose(&create("/b", 0), &[]);
    assert_eq!((answer(&record), record.digest), (Ok("/b"), None));
    leader.commit();
    let mut foreign = leader.propose(&create("/c", 0), &[]);
    foreign.digest = Some(TxnDigest { version: TxnDigest::VERSION, tree_digest: 1 });
    assert_eq!(leader.tree.apply(&foreign).digest_mismatch, None);
    assert_eq!(leader.tree.expect_digest(foreign.header.zxid, 1), None);
}

#[test]
fn create_checks_flags_then_path_then_list_then_parent_then_permission_then_name_then_existence() {
    let closed = || Some(vec![entry(Acl::ALL & !Acl::CREATE, "world", "anyone")]);
    let no_list = || Some(vec![]);
    let before = [create("/a", 0), create("/a/b", 0), create("/e", EPHEMERAL), create_with("/shut", 0, closed())];
    check(&before, create("/a/c", 0), Ok("/a/c"));
    check(&before, create_with("nonsense", 7, no_list()), Err(ErrorCode::BAD_ARGUMENTS));
    check(&before, create_with("nonsense", 5, no_list()), Err(ErrorCode::BAD_ARGUMENTS));
    check(&before, create_with("nonsense", 4, no_list()), Err(ErrorCode::BAD_ARGUMENTS));
    check(&before, create_with("foo", 0, no_list()), Err(ErrorCode::BAD_ARGUMENTS));
    check(&before, create_with("", 0, no_list()), Err(ErrorCode::BAD_ARGUMENTS));
    check(&before, create_with("/a\0/x", 0, no_list()), Err(ErrorCode::BAD_ARGUMENTS));
    check(&before, create_with("/missing/x", 0, no_list()), Err(ErrorCode::INVALID_ACL));
    check(&before, create_with("/a", 0, None), Err(ErrorCode::INVALID_ACL));
    check(&before, create("foo/bar", 0), Err(ErrorCode::NO_NODE));
    check(&before, create("/a//b", 0), Err(ErrorCode::NO_NODE));
    check(&before, create("/missing/.", 0), Err(ErrorCode::NO_NODE));
    check(&before, create("/shut/..", 0), Err(ErrorCode::NO_AUTH));
    check(&before, create("/shut/x", 0), Err(ErrorCode::NO_AUTH));
    check(&before, create("/a/", 0), Err(ErrorCode::BAD_ARGUMENTS));
    check(&before, create("/a/.", 0), Err(ErrorCode::BAD_ARGUMENTS));
    check(&before, create("/a/\u{1}", 0), Err(ErrorCode::BAD_ARGUMENTS));
    check(&before, create("/a/b", 0), Err(ErrorCode::NODE_EXISTS));
    check(&before, create("/", 0), Err(ErrorCode::NODE_EXISTS));
    check(&before, create("/e", EPHEMERAL), Err(ErrorCode::NODE_EXISTS));
    check(&before, create("/e/x", 0), Err(ErrorCode::NO_CHILDREN_FOR_EPHEMERALS));
    let also_below = [before.as_slice(), &[create("/zookeeper/mine", 0)]].concat();
    check(&also_below, create("/zookeeper/mine/x", 0), Ok("/zookeeper/mine/x"));
}

#[test]
fn a_sequential_name_has_the_number_of_children_created_before_it() {
    let before = [create("/q", 0)];
    check(&before, create("/q/", SEQUENTIAL), Ok("/q/0000000000"));
    check(&before, create("/q/.", SEQUENTIAL), Ok("/q/.0000000000"));
    check(&before, create("/q/..", SEQUENTIAL), Ok("/q/..0000000000"));
    check(&before, create("/q//", SEQUENTIAL), Err(ErrorCode::NO_NODE));
    check(&before, create("/q/./", SEQUENTIAL), Err(ErrorCode::NO_NODE));
    check(&before, create("/q/x", SEQUENTIAL | EPHEMERAL), Ok("/q/x0000000000"));
    check(&[], create("/", SEQUENTIAL), Ok("/0000000000"));
    let used = [create("/q", 0), create("/q/a", 0), create("/q/b", EPHEMERAL), delete("/q/a", -1)];
    check(&used, create("/q/n-", SEQUENTIAL), Ok("/q/n-0000000002"));
    let again = [used.as_slice(), &[delete("/q/b", -1), delete("/q", -1), create("/q", 0)]].concat();
    check(&again, create("/q/n-", SEQUENTIAL), Ok("/q/n-0000000000"));
}

#[test]
fn delete_checks_path_then_parent_then_permission_there_then_existence_then_version_then_children() {
    let shut = || Some(vec![entry(Acl::ALL & !Acl::DELETE, "world", "anyone")]);
    let nothing = || Some(vec![entry(0, "world", "anyone")]);
    let before = [
        create("/a", 0),
        create("/a/b", 0),
        create_with("/shut", 0, shut()),
        create("/shut/x", 0),
        create_with("/untouchable", 0, nothing()),
    ];
    check(&before, delete("/a/b", 0), Ok(""));
    check(&before, delete("/untouchable", -1), Ok(""));
    for system in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "a", "", "/a\0"] {
        check(&before, delete(system, 9), Err(ErrorCode::BAD_ARGUMENTS));
    }
    check(&before, delete("/missing/x", -1), Err(ErrorCode::NO_NODE));
    check(&before, delete("foo/bar", -1), Err(ErrorCode::NO_NODE));
    check(&before, delete("/shut/missing", -1), Err(ErrorCode::NO_AUTH));
    check(&before, delete("/a/missing", 9), Err(ErrorCode::NO_NODE));
    check(&before, delete("/a/", 9), Err(ErrorCode::NO_NODE));
    check(&before, delete("/a", 9), Err(ErrorCode::BAD_VERSION));
    check(&before, delete("/a", 0), Err(ErrorCode::NOT_EMPTY));
    let emptied = [before.as_slice(), &[delete("/a/b", -1)]].concat();
    check(&emptied, delete("/a", 0), Ok(""));
    check(&emptied, delete("/a/b", -1), Err(ErrorCode::NO_NODE));
}

#[test]
fn set_data_checks_path_then_existence_then_permission_then_version() {
    let shut = || Some(vec![entry(Acl::ALL & !Acl::WRITE, "world", "anyone")]);
    let before = [create("/a", 0), create_with("/shut", 0, shut()), set_data("/a", None, -1)];
    check(&before, set_data("/a", Some(b"x"), 1), Ok(""));
    check(&before, set_data("/a", Some(b"x"), -1), Ok(""));
    check(&before, set_data("/", Some(b"x"), 0), Ok(""));
    check(&before, set_data("/a/", None, 9), Err(ErrorCode::BAD_ARGUMENTS));
    check(&before, set_data("missing", None, 9), Err(ErrorCode::BAD_ARGUMENTS));
    check(&before, set_data("/missing", None, 9), Err(ErrorCode::NO_NODE));
    check(&before, set_data("/shut", None, 9), Err(ErrorCode::NO_AUTH));
    check(&before, set_data("/zookeeper/config", None, 9), Err(ErrorCode::NO_AUTH));
    check(&before, set_data("/a", None, 0), Err(ErrorCode::BAD_VERSION));
}

#[test]
fn set_acl_checks_path_then_list_then_existence_then_permission_then_aversion() {
    let shut = || Some(vec![entry(Acl::ALL & !Acl::ADMIN, "world", "anyone")]);
    let before = [create("/a", 0), create_with("/shut", 0, shut()), set_acl("/a", open(), -1)];
    check(&before, set_acl("/a", open(), 1), Ok(""));
    check(&before, set_acl("/", shut(), 0), Ok(""));
    check(&before, set_acl("/a/", None, 9), Err(ErrorCode::BAD_ARGUMENTS));
    check(&before, set_acl("/missing", Some(vec![]), 9), Err(ErrorCode::INVALID_ACL));
    check(&before, set_acl("/missing", open(), 9), Err(ErrorCode::NO_NODE));
    check(&before, set_acl("/shut", open(), 9), Err(ErrorCode::NO_AUTH));
    check(&before, set_acl("/a", open(), 0), Err(ErrorCode::BAD_VERSION));
    let root_shut = [set_acl("/", Some(vec![entry(Acl::READ, "world", "anyone")]), -1)];
    check(&root_shut, create("/x", 0), Err(ErrorCode::NO_AUTH));
}

#[test]
fn who_asks_decides_and_a_super_user_may_everything() {
    let bob = identity("digest", "bob:h");
    let list = || Some(vec![entry(Acl::WRITE, "digest", "bob:h"), entry(Acl::CREATE, "ip", "10.0.0.0/8")]);
    let before = [create_with("/a", 0, list())];
    let write = || set_data("/a", None, -1);
    check_as(std::slice::from_ref(&bob), &before, write(), Ok(""));
    check_as(&[identity("digest", "bob:other")], &before, write(), Err(ErrorCode::NO_AUTH));
    check_as(&[identity("super", "")], &before, write(), Ok(""));
    check_as(&[identity("ip", "10.1.2.3")], &before, create("/a/x", 0), Ok("/a/x"));
    check_as(&[identity("ip", "11.1.2.3")], &before, create("/a/x", 0), Err(ErrorCode::NO_AUTH));
    let auth = || Some(vec![entry(Acl::ALL, "auth", "")]);
    check_as(&[identity("ip", "10.1.2.3")], &[], create_with("/x", 0, auth()), Err(ErrorCode::INVALID_ACL));
    let mut leader = Leader::new();
    let record = leader.propose(&create_with("/x", 0, auth()), &[bob]);
    let Txn::Create2(created) = record.txn else { panic!("{record:?}") };
    let expected = Acl { perms: Acl::ALL, scheme: "digest".to_string(), id: "bob:h".to_string() };
    assert_eq!(created.acl.as_deref(), Some(&[expected][..]));
}

#[test]
fn what_cannot_be_read_or_is_not_known_becomes_an_error_of_its_own() {
    let truncated = |op: OpCode| Owned::new(SESSION, 1, op, |out| out.extend([0, 0, 0, 9, b'/']));
    let known = [
        OpCode::Create,
        OpCode::Create2,
        OpCode::CreateContainer,
        OpCode::CreateTtl,
        OpCode::DeleteContainer,
        OpCode::Delete,
        OpCode::SetData,
        OpCode::SetAcl,
        OpCode::Multi,
        OpCode::CreateSession,
        OpCode::CloseSession,
    ];
    for op in known.into_iter().filter(|op| *op != OpCode::CloseSession) {
        let expected = if op == OpCode::CreateSession { Ok("") } else { Err(ErrorCode::MARSHALLING_ERROR) };
        check(&[], truncated(op), expected);
    }
    for op in OpCode::ALL.iter().filter(|op| !known.contains(op)) {
        check(&[], truncated(*op), Err(ErrorCode::UNIMPLEMENTED));
    }
}

/// The codes of a multi's entries.
fn codes(txns: &[Txn]) -> Vec<ErrorCode> {
    txns.iter().map(|txn| if let Txn::Error(code) = txn { *code } else { ErrorCode::OK }).collect()
}

#[track_caller]
fn check_multi(before: &[Owned], ops: Vec<MultiOp<'_>>, expected: &[ErrorCode]) {
    let request = multi(ops);
    for applied in [true, false] {
        let mut leader = Leader::new();
        for owned in before {
            assert!(answer(&leader.propose(owned, &[])).is_ok(), "{owned:?}");
            if applied {
                leader.commit();
            }
        }
        let record = leader.propose(&request, &[]);
        let Txn::Multi(txns) = &record.txn else { panic!("{record:?}") };
        assert_eq!(codes(txns), expected, "applied: {applied}");
        assert!(record.digest.is_some());
        leader.commit();
    }
}

const OK: ErrorCode = ErrorCode::OK;
const REST: ErrorCode = ErrorCode::RUNTIME_INCONSISTENCY;

#[test]
fn each_entry_of_a_multi_sees_those_before_it_and_the_first_failure_stops_all() {
    let before = [create("/a", 0), create("/a/b", 0)];
    check_multi(&before, vec![], &[]);
    check_multi(&before, vec![multi_create("/n", 0), multi_create("/n/m", 0), multi_check("/n/m", 0)], &[OK, OK, OK]);
    check_multi(&before, vec![multi_delete("/a/b", 0), multi_delete("/a", 0)], &[OK, OK]);
    check_multi(&before, vec![multi_set("/a", 0), multi_set("/a", 1), multi_check("/a", 2)], &[OK, OK, OK]);
    check_multi(
        &before,
        vec![multi_create("/n", 0), multi_check("/a", 7), multi_delete("/n", -1), multi_check("/a", 0)],
        &[OK, ErrorCode::BAD_VERSION, REST, REST],
    );
    check_multi(&before, vec![multi_check("/missing", -1)], &[ErrorCode::NO_NODE]);
    check_multi(&before, vec![multi_check("/a/", -1)], &[ErrorCode::BAD_ARGUMENTS]);
    check_multi(&before, vec![multi_delete("/a", -1), multi_create("/x", 0)], &[ErrorCode::NOT_EMPTY, REST]);
    check_multi(&before, vec![multi_create("/c", 4), multi_create("/x", 0)], &[ErrorCode::BAD_ARGUMENTS, REST]);
    let container = MultiOp::CreateContainer(create_op("/c", 4, open()));
    check_multi(&before, vec![multi_create("/x", 0), container, multi_create("/c/x", EPHEMERAL)], &[OK, OK, OK]);
}

#[test]
fn a_failed_multi_leaves_nothing_behind_not_even_a_number() {
    let mut leader = Leader::new();
    leader.propose(&create("/q", 0), &[]);
    let digest = leader.propose(&create("/q/e", EPHEMERAL), &[]).digest;
    let failing = vec![
        multi_create("/q/n-", SEQUENTIAL),
        multi_create("/q/f", EPHEMERAL),
        multi_delete("/q/e", -1),
        multi_set("/q", 0),
        multi_check("/missing", -1),
    ];
    let record = leader.propose(&multi(failing), &[]);
    assert_eq!(record.digest, digest);
    assert_eq!(answer(&leader.propose(&create("/q/n-", SEQUENTIAL), &[])), Ok("/q/n-0000000001"));
    assert_eq!(answer(&leader.propose(&set_data("/q", None, 0), &[])), Ok(""));
    let record = leader.propose(&close(SESSION), &[]);
    assert_eq!(record.txn, Txn::CloseSession { paths: Some(vec!["/q/e".to_string()]) });
    leader.commit();
}

#[test]
fn a_closing_session_takes_its_ephemerals_the_pending_ones_included() {
    let mut leader = Leader::new();
    for owned in [begin(SESSION), create("/p", 0), create("/e1", EPHEMERAL), create("/p/e2", EPHEMERAL)] {
        leader.propose(&owned, &[]);
    }
    leader.commit();
    for owned in [delete("/e1", -1), create("/e3", EPHEMERAL), create("/e4", EPHEMERAL), delete("/e4", -1)] {
        leader.propose(&owned, &[]);
    }
    let mut other = create("/f", EPHEMERAL);
    other.session.0 += 1;
    leader.propose(&other, &[]);
    let record = leader.propose(&close(SESSION), &[]);
    let paths = ["/e3", "/p/e2"].map(str::to_string).to_vec();
    assert_eq!(record.txn, Txn::CloseSession { paths: Some(paths) });
    assert_eq!(answer(&leader.propose(&delete("/p", -1), &[])), Ok(""), "it will be empty by then");
    leader.commit();
    assert_eq!(leader.tree.ephemeral_count(), 1);
    assert!(leader.tree.sessions().is_empty());
}

#[test]
fn a_session_with_more_ephemerals_than_a_record_may_list_is_closed_all_the_same() {
    let mut leader = Leader::new();
    leader.propose(&begin(SESSION), &[]);
    let name = "x".repeat(1000);
    for number in 0..600 {
        leader.propose(&create(&format!("/{name}{number}"), EPHEMERAL), &[]);
    }
    let record = leader.propose(&close(SESSION), &[]);
    assert_eq!(record.txn, Txn::CloseSession { paths: Some(vec![]) });
    leader.commit();
    assert_eq!((leader.tree.ephemeral_count(), leader.tree.sessions().len()), (0, 0));
}

#[test]
fn a_stat_counts_what_happened() {
    let mut leader = Leader::new();
    for owned in [
        create("/a", 0),
        set_data("/a", Some(b"three"), 0),
        set_data("/a", None, 1),
        set_acl("/a", open(), 0),
        create("/a/b", 0),
        create("/a/c", 0),
        delete("/a/b", -1),
    ] {
        assert!(answer(&leader.propose(&owned, &[])).is_ok());
    }
    leader.commit();
    let at = |counter| Zxid::new(Epoch(1), counter);
    let expected = Stat {
        czxid: at(1),
        mzxid: at(3),
        ctime: 1_000_001,
        mtime: 1_000_003,
        version: 2,
        cversion: 3,
        aversion: 1,
        ephemeral_owner: SessionId(0),
        data_length: 0,
        num_children: 1,
        pzxid: at(7),
    };
    assert_eq!(leader.stat("/a"), expected);
    assert_eq!(leader.stat("/").num_children, 2);
}

/// The number after 2^31-1 is negative and is not accepted: the parent stays where it is.
#[test]
fn sequential_numbers_end_at_the_largest() {
    let mut leader = Leader::new();
    let mut record = leader.propose(&create("/x", 0), &[]);
    let Txn::Create2(created) = &mut record.txn else { panic!("{record:?}") };
    created.parent_cversion = i32::MAX;
    record.digest = None;
    leader.proposed = vec![record];
    leader.commit();
    assert_eq!(answer(&leader.propose(&create("/n", SEQUENTIAL), &[])), Ok("/n2147483647"));
    assert_eq!(answer(&leader.propose(&create("/n", SEQUENTIAL), &[])), Err(ErrorCode::NODE_EXISTS));
    leader.commit();
    assert_eq!(answer(&leader.propose(&create("/n", SEQUENTIAL), &[])), Err(ErrorCode::NODE_EXISTS));
}

#[test]
fn a_refused_multi_fails_as_a_multi() {
    let mut leader = Leader::new();
    let refuse = |leader: &mut Leader, owned: &Owned| {
        leader.counter += 1;
        let zxid = Zxid::new(Epoch(1), leader.counter);
        let request = owned.request(Access::UNCHECKED);
        prep::error(&leader.tree, &mut leader.pending, 0, zxid, &request, ErrorCode::SESSION_EXPIRED)
    };
    let record = refuse(&mut leader, &create("/a", 0));
    assert_eq!(record.txn, Txn::Error(ErrorCode::SESSION_EXPIRED));
    let request = multi(vec![multi_create("/a", 0), multi_create("/b", 0)]);
    let record = refuse(&mut leader, &request);
    let expected = [MultiResult::Error(ErrorCode::SESSION_EXPIRED), MultiResult::Error(REST)];
    let outcome = leader.tree.apply(&record);
    assert_eq!((outcome.error, outcome.multi.as_slice()), (OK, &expected[..]));
    assert_eq!(leader.tree.get("/a").map(|znode| znode.stat()), None);
}

fn container(path: &str, flags: i32) -> Owned {
    Owned::new(SESSION, 1, OpCode::CreateContainer, |out| create_op(path, flags, open()).encode(out))
}

fn delete_container(path: &str) -> Owned {
    Owned::new(SessionId(0), 0, OpCode::DeleteContainer, |out| out.string(path))
}

#[test]
fn a_container_is_made_by_its_opcode_and_of_the_flags_only_sequential_counts() {
    check(&[], container("/c", 4), Ok("/c"));
    check(&[], container("/c", EPHEMERAL), Ok("/c"));
    check(&[], container("/c", SEQUENTIAL), Ok("/c0000000000"));
    check(&[], container("/c", 5), Err(ErrorCode::BAD_ARGUMENTS));
    check(&[], container("/c", 7), Err(ErrorCode::BAD_ARGUMENTS));
    check(&[container("/c", EPHEMERAL)], create("/c/child", EPHEMERAL), Ok("/c/child"));
    check(&[create("/c", 0)], container("/c", 4), Err(ErrorCode::NODE_EXISTS));
    let request = create_op("/c", 4, open());
    check(&[multi(vec![MultiOp::CreateContainer(request), multi_create("/c/x", 0)])], delete("/c/x", 0), Ok(""));
}

#[test]
fn only_an_empty_container_is_deleted_as_one() {
    let used = [container("/c", 4), create("/c/x", 0), delete("/c/x", 0)];
    check(&used, delete_container("/c"), Ok(""));
    check(&used[..2], delete_container("/c"), Err(ErrorCode::NOT_EMPTY));
    check(&[create("/c", 0)], delete_container("/c"), Err(ErrorCode::BAD_VERSION));
    check(&[create("/c", EPHEMERAL)], delete_container("/c"), Err(ErrorCode::BAD_VERSION));
    check(&[], delete_container("/c"), Err(ErrorCode::NO_NODE));
    check(&[], delete_container("/zookeeper"), Err(ErrorCode::BAD_ARGUMENTS));
}

#[test]
fn a_container_may_go_when_it_had_children_and_has_none_or_was_never_used_for_long() {
    let mut leader = Leader::new();
    let requests = [
        container("/new", 4),
        container("/used", 4),
        create("/used/x", 0),
        container("/left", 4),
        create("/left/x", 0),
    ];
    for owned in requests.iter().chain(&[delete("/left/x", 0), create("/plain", 0)]) {
        assert!(answer(&leader.propose(owned, &[])).is_ok(), "{owned:?}");
    }
    leader.commit();
    let made = leader.stat("/new").mtime;
    let check = |now_ms: i64, never_used_ms: Option<u64>, count_max: usize, expected: &[&str]| {
        let never_used = never_used_ms.map(Duration::from_millis);
        assert_eq!(leader.tree.reapable(now_ms, never_used, count_max), expected);
    };
    check(made, None, 9, &["/left"]);
    check(made + 10, Some(10), 9, &["/left"]);
    check(made + 11, Some(10), 9, &["/new", "/left"]);
    check(made + 11, Some(10), 1, &["/new"]);
    check(made - 11, Some(10), 9, &["/left"]);
}

/// Flags of a TTL znode, alone and sequential.
const TTL: i32 = 5;
const TTL_SEQUENTIAL: i32 = 6;

fn create_ttl(path: &str, flags: i32, ttl_ms: i64) -> Owned {
    let create = create_op(path, flags, open());
    Owned::new(SESSION, 1, OpCode::CreateTtl, |out| CreateTtlRequest { create, ttl_ms }.encode(out))
}

#[test]
fn a_ttl_znode_needs_its_flags_and_a_time_that_its_owner_can_hold() {
    const MAX_MS: i64 = (1 << 40) - 1;
    check(&[], create_ttl("/t", TTL, 1), Ok("/t"));
    check(&[], create_ttl("/t", TTL_SEQUENTIAL, MAX_MS), Ok("/t0000000000"));
    for (flags, ttl_ms) in [(TTL, 0), (TTL, -1), (TTL, MAX_MS + 1), (0, 1), (0, -1), (4, 1), (7, 1)] {
        check(&[], create_ttl("/t", flags, ttl_ms), Err(ErrorCode::BAD_ARGUMENTS));
    }
    check(&[create_ttl("/t", TTL, 1)], create("/t/child", 0), Ok("/t/child"));
    check(&[create("/t", 0)], create_ttl("/t", TTL, 1), Err(ErrorCode::NODE_EXISTS));
    let entry = MultiOp::CreateTtl(CreateTtlRequest { create: create_op("/t", TTL, open()), ttl_ms: 9 });
    let before = [multi(vec![entry, multi_create("/t/x", 0)])];
    check(&before, delete_container("/t"), Err(ErrorCode::NOT_EMPTY));
    check(&[create_ttl("/t", TTL, 9)], delete_container("/t"), Ok(""));
}

#[test]
fn without_extended_types_there_are_no_ttl_znodes() {
    let owned = [create_ttl("/t", TTL, 1), create_ttl("/t", TTL, -1), create("/t", TTL), container("/t", TTL)];
    for owned in owned {
        let mut leader = Leader::new();
        let request = prep::Request { extended_types: false, ..owned.request(Access::UNCHECKED) };
        let record = prep::prep(&leader.tree, &mut leader.pending, 0, Zxid::new(Epoch(1), 1), &request);
        assert_eq!(record.txn, Txn::Error(ErrorCode::UNIMPLEMENTED), "{owned:?}");
    }
    let mut leader = Leader::new();
    let owned = create_ttl("/t", 0, 1);
    let request = prep::Request { extended_types: false, ..owned.request(Access::UNCHECKED) };
    let record = prep::prep(&leader.tree, &mut leader.pending, 0, Zxid::new(Epoch(1), 1), &request);
    assert_eq!(record.txn, Txn::Error(ErrorCode::BAD_ARGUMENTS));
}
