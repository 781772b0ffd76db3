//! What servers may and may not do: a line a run of three servers, with the invariant that accuses it.

use bytes::Bytes;
use ensemble_datatree::DataTree;
use ensemble_proto::durable::Write;
use ensemble_proto::membership::Membership;
use ensemble_proto::txn::{CreateTxn, SetDataTxn, Txn, TxnHeader, TxnRecord};
use ensemble_proto::{Epoch, SessionId, Zxid};
use ensemble_sim::invariants::{
    i1_epochs, i4_durability, i5_completeness, i6_acks, i7_digest, i8_indices, i10_bounds, i11_membership,
    i12_liveness, i13_files,
};
use ensemble_sim::ledger::Ledger;
use ensemble_sim::trace::Verdict;
use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{Dir, Disk, Options, Storage};
use std::time::Duration;

/// A run, as far as an invariant lets it go.
pub(crate) type Tell = fn() -> Verdict;

const NOW: Duration = Duration::ZERO;

fn zxid(epoch: i64, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

/// All servers have accepted and entered epoch 1.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(3);
    for server in 0..3 {
        enter(&mut ledger, server, 1).unwrap();
    }
    ledger
}

fn enter(ledger: &mut Ledger, server: usize, epoch: i64) -> Verdict {
    done(ledger, server, Write::AcceptedEpoch(Epoch(epoch)))?;
    done(ledger, server, Write::CurrentEpoch(Epoch(epoch)))
}

/// A server asks for a write, and it becomes durable.
fn done(ledger: &mut Ledger, server: usize, write: Write) -> Verdict {
    ledger.requested(server, &write, NOW)?;
    ledger.persisted(server, &write)
}

fn append(at: Zxid) -> Write {
    Write::Append { zxid: at, payload: Bytes::from(format!("record {at}")) }
}

fn truncate(to: Zxid) -> Write {
    Write::Truncate { to }
}

fn install(at: Zxid) -> Write {
    Write::InstallSnapshot { zxid: at }
}

/// Records 1 to `count` of epoch 1 on these servers.
fn logged(ledger: &mut Ledger, servers: &[usize], count: u32) -> Verdict {
    for server in servers {
        for counter in 1..=count {
            done(ledger, *server, append(zxid(1, counter)))?;
        }
    }
    Ok(())
}

/// Two records, on servers 0 and 1, applied by server 0.
fn two_committed() -> Result<Ledger, ensemble_sim::trace::Violation> {
    let mut ledger = ledger();
    logged(&mut ledger, &[0, 1], 2)?;
    ledger.applied(0, zxid(1, 2))?;
    Ok(ledger)
}

/// One record of three servers that decide by two groups, server 1 in the one, the others in the other, where server 2 has all the weight.
fn grouped(having: &[usize]) -> Verdict {
    let text = membership(1, 1..=3) + "\ngroup.1=1\ngroup.2=2:3\nweight.3=0";
    let mut ledger = Ledger { membership: Membership::parse(&text).unwrap(), ..ledger() };
    logged(&mut ledger, having, 1)?;
    ledger.applied(having[0], zxid(1, 1))
}

/// Server 0, which has one record, enters epoch 2, promised by the others: so far do their histories go.
fn entered_after(histories: &[Zxid]) -> Verdict {
    let mut ledger = ledger();
    logged(&mut ledger, &[0], 1)?;
    for (server, last) in (1..).zip(histories) {
        done(&mut ledger, server, Write::AcceptedEpoch(Epoch(2)))?;
        ledger.promised(server, 0, Some(i5_completeness::history(Epoch(1), *last)));
    }
    enter(&mut ledger, 0, 2)
}

/// Server 0 and 1 log these transactions, server 0 applies them.
fn sessions(txns: &[(i64, Txn)]) -> Verdict {
    let mut ledger = ledger();
    for (index, (session, txn)) in txns.iter().enumerate() {
        let at = zxid(1, index as u32 + 1);
        let header = TxnHeader { session: SessionId(*session), cxid: 1, zxid: at, time_ms: 0 };
        let payload = TxnRecord { header, txn: txn.clone(), digest: None }.encode();
        for server in 0..2 {
            done(&mut ledger, server, Write::Append { zxid: at, payload: payload.clone() })?;
        }
        ledger.applied(0, at)?;
    }
    Ok(())
}

const BEGIN: Txn = Txn::CreateSession { timeout_ms: 1000 };
const END: Txn = Txn::CloseSession { paths: None };

fn delete() -> Txn {
    Txn::Delete { path: "/a".into() }
}

fn membership(version: i64, ids: std::ops::RangeInclusive<i64>) -> String {
    let line = |id: i64| format!("server.{id}=zk-{id}:2888:3888:participant\n");
    format!("{}version={version:x}", ids.map(line).collect::<String>())
}

/// From servers 1 to 3 to servers 3 to 5; these have the record on disk.
fn changed(version: i64, having: &[i64]) -> Verdict {
    let parse = |text: &str| Membership::parse(text).unwrap();
    let (old, new) = (parse(&membership(1, 1..=3)), parse(&membership(version, 3..=5)));
    i11_membership::changed(&old, &new, zxid(1, 1), |id| having.contains(&id.0))
}

/// Server 0 keeps these, then logs the reconfiguration 1.1.
fn reconfigured(kept: &[Write]) -> Verdict {
    let mut ledger = ledger();
    for write in kept {
        done(&mut ledger, 0, write.clone())?;
    }
    let at = zxid(1, 1);
    let text = Bytes::from(membership(at.0, 1..=3));
    let set = SetDataTxn { path: "/zookeeper/config".into(), data: Some(text), version: -1 };
    let header = TxnHeader { session: SessionId(1), cxid: 1, zxid: at, time_ms: 0 };
    let payload = TxnRecord { header, txn: Txn::Reconfig(set), digest: None }.encode();
    done(&mut ledger, 0, Write::Append { zxid: at, payload })
}

/// A sound healed world; `limit` is ten seconds.
fn healed() -> i12_liveness::Healed {
    let second = Duration::from_secs(1);
    i12_liveness::Healed {
        leaders: vec![1],
        idle: vec![],
        oldest_request: Some((second, 0)),
        quiet: 60 * second,
        limit: 10 * second,
    }
}

/// A store with one record under `at` that says it is the transaction `says`.
fn store(at: Zxid, says: Zxid) -> SimDisk {
    let disk = SimDisk::new();
    let (mut storage, _) = Storage::open(disk.clone(), options()).unwrap();
    let header = TxnHeader { session: SessionId(1), cxid: 1, zxid: says, time_ms: 0 };
    let payload = TxnRecord { header, txn: delete(), digest: None }.encode();
    storage.perform(&Write::Append { zxid: at, payload }).unwrap();
    storage.sync().unwrap();
    disk
}

/// A store with a log for each of these records.
fn logs(records: &[Zxid]) -> SimDisk {
    let disk = SimDisk::new();
    let options = Options { log_len_max: Some(1), ..options() };
    let (mut storage, _) = Storage::open(disk.clone(), options).unwrap();
    for zxid in records {
        let header = TxnHeader { session: SessionId(1), cxid: 1, zxid: *zxid, time_ms: 0 };
        let payload = TxnRecord { header, txn: delete(), digest: None }.encode();
        storage.perform(&Write::Append { zxid: *zxid, payload }).unwrap();
        storage.sync().unwrap();
    }
    disk
}

fn options() -> Options {
    Options { preallocate: 0, ..Options::default() }
}

/// A byte of the file whose name begins so is not what it was.
fn rotten(prefix: &str) -> SimDisk {
    let mut disk = store(zxid(1, 1), zxid(1, 1));
    for dir in [Dir::Log, Dir::Data] {
        for entry in disk.list(dir).unwrap().into_iter().filter(|entry| entry.name.starts_with(prefix)) {
            disk.damage(dir, &entry.name, |bytes| bytes[40] ^= 1).unwrap();
        }
    }
    disk
}

/// A tree with an ephemeral znode of session 7, in which these sessions have begun.
fn tree(begun: &[i64]) -> DataTree {
    let mut tree = DataTree::new(1);
    let created = CreateTxn { path: "/e".into(), data: None, acl: None, ephemeral: true, parent_cversion: 1 };
    let begins = begun.iter().map(|session| (*session, BEGIN));
    for (index, (session, txn)) in begins.chain([(7, Txn::Create(created))]).enumerate() {
        let header = TxnHeader { session: SessionId(session), cxid: 1, zxid: zxid(1, index as u32 + 1), time_ms: 0 };
        tree.apply(&TxnRecord { header, txn, digest: None });
    }
    tree
}

pub(crate) const BAD: &[(&str, &str, Tell)] = &[
    ("I-1", "two servers are leaders of one epoch", || {
        let mut ledger = ledger();
        i1_epochs::established(&mut ledger, 0, Epoch(1))?;
        i1_epochs::established(&mut ledger, 1, Epoch(1))
    }),
    ("I-1", "a promise is taken back", || {
        let mut ledger = ledger();
        done(&mut ledger, 0, Write::AcceptedEpoch(Epoch(5)))?;
        done(&mut ledger, 0, Write::AcceptedEpoch(Epoch(4)))
    }),
    ("I-1", "a promise is made twice", || {
        let mut ledger = ledger();
        done(&mut ledger, 0, Write::AcceptedEpoch(Epoch(5)))?;
        done(&mut ledger, 0, Write::AcceptedEpoch(Epoch(5)))
    }),
    ("I-1", "an epoch is entered that was not accepted", || done(&mut ledger(), 0, Write::CurrentEpoch(Epoch(2)))),
    ("I-1", "an epoch is left for an earlier one", || {
        let mut ledger = ledger();
        enter(&mut ledger, 0, 3)?;
        done(&mut ledger, 0, Write::CurrentEpoch(Epoch(2)))
    }),
    ("I-1", "a record of an epoch is logged that was not accepted", || done(&mut ledger(), 0, append(zxid(2, 1)))),
    ("I-2", "two records have one zxid", || {
        let mut ledger = ledger();
        done(&mut ledger, 0, append(zxid(1, 1)))?;
        done(&mut ledger, 1, Write::Append { zxid: zxid(1, 1), payload: Bytes::from_static(b"another") })
    }),
    ("I-2", "a server applies what stands elsewhere in the order of the others", || {
        let mut ledger = two_committed()?;
        done(&mut ledger, 2, append(zxid(1, 1)))?;
        enter(&mut ledger, 2, 2)?;
        done(&mut ledger, 2, append(zxid(2, 1)))?;
        ledger.applied(2, zxid(2, 1))
    }),
    ("I-2", "a server applies a record that it does not have", || {
        let mut ledger = two_committed()?;
        done(&mut ledger, 2, append(zxid(1, 1)))?;
        ledger.applied(2, zxid(1, 2))
    }),
    ("I-2", "a server starts from a snapshot of what nobody has committed", || {
        let mut ledger = two_committed()?;
        done(&mut ledger, 2, install(zxid(1, 9)))?;
        ledger.applied(2, zxid(1, 9))
    }),
    ("I-3", "the order has a hole", || {
        let mut ledger = ledger();
        for server in 0..2 {
            done(&mut ledger, server, append(zxid(1, 1)))?;
            done(&mut ledger, server, append(zxid(1, 3)))?;
        }
        ledger.applied(0, zxid(1, 3))
    }),
    ("I-3", "an epoch begins with its second transaction", || {
        let mut ledger = two_committed()?;
        for server in 0..2 {
            enter(&mut ledger, server, 2)?;
            done(&mut ledger, server, append(zxid(2, 2)))?;
        }
        ledger.applied(0, zxid(2, 2))
    }),
    ("I-4", "one of three disks is taken for a quorum", || {
        let mut ledger = ledger();
        logged(&mut ledger, &[0], 1)?;
        ledger.applied(0, zxid(1, 1))
    }),
    ("I-4", "a majority is taken for a quorum where it has one group of two", || grouped(&[1, 2])),
    ("I-4", "a server without weight is taken for its group", || grouped(&[0, 2])),
    ("I-4", "a record is committed that one disk of two is still writing", || {
        let mut ledger = ledger();
        logged(&mut ledger, &[0], 1)?;
        ledger.requested(1, &append(zxid(1, 1)), NOW)?;
        ledger.applied(0, zxid(1, 1))
    }),
    ("I-4", "a power cut would leave a committed record on one disk", || {
        let ledger = two_committed()?;
        let logs = [Some(vec![zxid(1, 1), zxid(1, 2)]), Some(vec![zxid(1, 1)]), Some(vec![])];
        i4_durability::on_disks(&ledger, &logs, &[Zxid::ZERO; 3])
    }),
    ("I-5", "a leader lacks what is committed", || i5_completeness::established(&two_committed()?, 2, Epoch(2))),
    ("I-5", "a leader enters an epoch with the word of a server that knows more", || entered_after(&[zxid(1, 2)])),
    ("I-5", "what a server has applied is truncated", || {
        let mut ledger = two_committed()?;
        logged(&mut ledger, &[2], 2)?;
        done(&mut ledger, 0, truncate(zxid(1, 1)))
    }),
    ("I-5", "what is committed is truncated from a quorum", || done(&mut two_committed()?, 1, truncate(zxid(1, 1)))),
    ("I-5", "an older snapshot takes the place of what is committed", || {
        done(&mut two_committed()?, 1, install(zxid(1, 1)))
    }),
    ("I-5", "a server's state goes back", || {
        let mut ledger = two_committed()?;
        ledger.applied(0, zxid(1, 1))
    }),
    ("I-5", "memory is ahead of the disk", || {
        let mut ledger = two_committed()?;
        logged(&mut ledger, &[2], 1)?;
        i5_completeness::memory_behind_disk(&ledger, 2, zxid(1, 2))
    }),
    ("I-6", "a record is acknowledged before it is durable", || {
        let mut ledger = ledger();
        ledger.requested(0, &append(zxid(1, 1)), NOW)?;
        i6_acks::sent(&ledger, 0, zxid(1, 1))
    }),
    ("I-6", "NEWLEADER is acknowledged before its epoch is entered", || i6_acks::sent(&ledger(), 0, zxid(2, 0))),
    ("I-6", "NEWLEADER is acknowledged before the history is durable", || {
        let mut ledger = ledger();
        ledger.requested(0, &append(zxid(1, 1)), NOW)?;
        enter(&mut ledger, 0, 2)?;
        i6_acks::sent(&ledger, 0, zxid(2, 0))
    }),
    ("I-6", "a crash takes what was durable", || {
        let ledger = two_committed()?;
        i6_acks::recovered(&ledger, 0, Zxid::ZERO, &[zxid(1, 1)], Epoch(1), Epoch(1))
    }),
    ("I-6", "a crash brings back what was truncated", || {
        let mut ledger = ledger();
        logged(&mut ledger, &[0], 2)?;
        done(&mut ledger, 0, truncate(zxid(1, 1)))?;
        i6_acks::recovered(&ledger, 0, Zxid::ZERO, &[zxid(1, 1), zxid(1, 2)], Epoch(1), Epoch(1))
    }),
    ("I-6", "a crash takes a promise back", || {
        let mut ledger = ledger();
        enter(&mut ledger, 0, 3)?;
        i6_acks::recovered(&ledger, 0, Zxid::ZERO, &[], Epoch(1), Epoch(1))
    }),
    ("I-7", "two trees differ after the same transaction", || {
        let mut ledger = two_committed()?;
        i7_digest::applied(&mut ledger, 0, zxid(1, 2), 7)?;
        i7_digest::applied(&mut ledger, 1, zxid(1, 2), 8)
    }),
    ("I-8", "an ephemeral znode has no living owner", || i8_indices::recount(0, &tree(&[3]))),
    ("I-9", "a session begins twice", || sessions(&[(1, BEGIN), (1, BEGIN)])),
    ("I-9", "a session ends twice", || sessions(&[(1, BEGIN), (1, END), (1, END)])),
    ("I-9", "a session changes something after its end", || sessions(&[(1, BEGIN), (1, END), (1, delete())])),
    ("I-9", "a session that never began changes something", || sessions(&[(1, Txn::Multi(vec![delete()]))])),
    ("I-10", "a queue is longer than its limit", || i10_bounds::held(0, "requests", 21, 20)),
    ("I-11", "a reconfiguration is on a quorum of the old configuration only", || changed(2, &[1, 2])),
    ("I-11", "a reconfiguration is on a quorum of the new configuration only", || changed(2, &[4, 5])),
    ("I-11", "a configuration takes the place of one of the same version", || changed(1, &[1, 2, 3, 4, 5])),
    ("I-11", "a reconfiguration is logged, and its configuration is kept nowhere", || reconfigured(&[])),
    ("I-11", "a reconfiguration is logged, and an earlier configuration is kept", || {
        reconfigured(&[Write::LastSeen(Membership::parse(&membership(1, 1..=3)).unwrap())])
    }),
    ("I-11", "a committed reconfiguration is not on the new servers", || {
        let text = Bytes::from(membership(2, 1..=5));
        let set = SetDataTxn { path: "/zookeeper/config".into(), data: Some(text), version: -1 };
        sessions(&[(1, BEGIN), (1, Txn::Reconfig(set))])
    }),
    ("I-12", "two lead", || i12_liveness::healed(&i12_liveness::Healed { leaders: vec![0, 2], ..healed() })),
    ("I-12", "nobody leads", || i12_liveness::healed(&i12_liveness::Healed { leaders: vec![], ..healed() })),
    ("I-12", "a server does not serve", || i12_liveness::healed(&i12_liveness::Healed { idle: vec![2], ..healed() })),
    ("I-12", "a request waits for ever", || {
        let oldest_request = Some((Duration::from_secs(11), 0));
        i12_liveness::healed(&i12_liveness::Healed { oldest_request, ..healed() })
    }),
    ("I-12", "an election goes on", || {
        i12_liveness::healed(&i12_liveness::Healed { quiet: Duration::from_secs(9), ..healed() })
    }),
    ("I-13", "a log is missing between two", || {
        let mut disk = logs(&[zxid(1, 1), zxid(1, 2), zxid(1, 3)]);
        disk.unlink(Dir::Log, "log.100000002").unwrap();
        i13_files::without_gap(0, disk, options().payload_len_max)
    }),
    ("I-13", "an earlier log has a record that is half written", || {
        let mut disk = logs(&[zxid(1, 1), zxid(1, 2)]);
        let len = disk.read(Dir::Log, "log.100000001").unwrap().len() as u64;
        disk.write_at(Dir::Log, "log.100000001", len, b"half a record").unwrap();
        i13_files::without_gap(0, disk, options().payload_len_max)
    }),
    ("I-13", "a record is damaged", || i13_files::strict(0, rotten("log"), options())),
    ("I-13", "a snapshot is damaged", || i13_files::strict(0, rotten("snapshot"), options())),
    ("I-13", "a record is another transaction's", || i13_files::strict(0, store(zxid(1, 1), zxid(1, 2)), options())),
];

pub(crate) const GOOD: &[(&str, Tell)] = &[
    ("UPTODATE is acknowledged while records of its epoch are on their way to the disk", || {
        let mut ledger = ledger();
        ledger.requested(0, &append(zxid(1, 1)), NOW)?;
        i6_acks::sent(&ledger, 0, zxid(1, 0))
    }),
    ("a server leads two epochs, and another the one between", || {
        let mut ledger = ledger();
        i1_epochs::established(&mut ledger, 0, Epoch(1))?;
        i1_epochs::established(&mut ledger, 1, Epoch(2))?;
        i1_epochs::established(&mut ledger, 0, Epoch(3))
    }),
    ("a leader enters an epoch with the word of a server that knows less, and of one that knows more", || {
        entered_after(&[zxid(1, 1), zxid(1, 2)])
    }),
    ("a server that was promised an epoch in vain follows another leader of it", || {
        let mut ledger = ledger();
        for server in [1, 0] {
            done(&mut ledger, server, Write::AcceptedEpoch(Epoch(2)))?;
        }
        ledger.promised(1, 0, Some(i5_completeness::history(Epoch(1), zxid(1, 9))));
        ledger.promised(0, 2, None);
        done(&mut ledger, 0, Write::CurrentEpoch(Epoch(2)))
    }),
    ("an epoch is accepted and never entered", || {
        let mut ledger = ledger();
        done(&mut ledger, 0, Write::AcceptedEpoch(Epoch(5)))?;
        enter(&mut ledger, 0, 6)
    }),
    ("records of an earlier epoch are logged in a later one", || {
        let mut ledger = ledger();
        enter(&mut ledger, 2, 2)?;
        logged(&mut ledger, &[2], 2)
    }),
    ("a record stands twice on the way to one disk", || {
        let mut ledger = ledger();
        logged(&mut ledger, &[0], 1)?;
        done(&mut ledger, 0, append(zxid(1, 1)))
    }),
    ("a tail that nobody committed gives way to another epoch", || {
        let mut ledger = two_committed()?;
        done(&mut ledger, 2, append(zxid(1, 1)))?;
        done(&mut ledger, 2, append(zxid(1, 2)))?;
        done(&mut ledger, 2, append(zxid(1, 3)))?;
        done(&mut ledger, 2, truncate(zxid(1, 2)))?;
        for server in [0, 2] {
            enter(&mut ledger, server, 2)?;
            done(&mut ledger, server, append(zxid(2, 1)))?;
        }
        ledger.applied(0, zxid(2, 1))?;
        ledger.applied(2, zxid(2, 1))
    }),
    ("a follower that returns is cut to what was committed, though more is by now, on others", || {
        let mut ledger = two_committed()?;
        logged(&mut ledger, &[2], 2)?;
        done(&mut ledger, 2, truncate(zxid(1, 1)))
    }),
    ("a snapshot of what is committed takes the place of a log", || {
        let mut ledger = two_committed()?;
        done(&mut ledger, 2, install(zxid(1, 2)))?;
        ledger.applied(2, zxid(1, 2))?;
        i5_completeness::established(&ledger, 2, Epoch(2))
    }),
    ("a leader is established after its followers have gone on to a later epoch and committed there", || {
        i5_completeness::established(&two_committed()?, 2, Epoch(1))
    }),
    ("a server that lost its volume counts as having what it once had", || {
        let mut ledger = ledger();
        logged(&mut ledger, &[0], 1)?;
        ledger.servers[1].is_wiped = true;
        ledger.applied(0, zxid(1, 1))
    }),
    ("a record is on the disks of whoever weighs something in both groups", || grouped(&[0, 1])),
    ("a power cut leaves a committed record on two disks, on one in a snapshot", || {
        let ledger = two_committed()?;
        let logs = [Some(vec![zxid(1, 1), zxid(1, 2)]), Some(vec![]), Some(vec![])];
        i4_durability::on_disks(&ledger, &logs, &[Zxid::ZERO, zxid(1, 2), Zxid::ZERO])
    }),
    ("a server applies less than others", || {
        let mut ledger = two_committed()?;
        ledger.applied(1, zxid(1, 1))?;
        ledger.applied(1, zxid(1, 2))
    }),
    ("ACKs follow the disk", || {
        let mut ledger = ledger();
        logged(&mut ledger, &[0], 2)?;
        i6_acks::sent(&ledger, 0, zxid(1, 0))?;
        i6_acks::sent(&ledger, 0, zxid(1, 2))
    }),
    ("a crash takes what was asked for only, and keeps some of it", || {
        let mut ledger = ledger();
        logged(&mut ledger, &[0], 1)?;
        ledger.requested(0, &append(zxid(1, 2)), NOW)?;
        ledger.requested(0, &append(zxid(1, 3)), NOW)?;
        i6_acks::recovered(&ledger, 0, Zxid::ZERO, &[zxid(1, 1), zxid(1, 2)], Epoch(1), Epoch(1))?;
        i6_acks::recovered(&ledger, 0, Zxid::ZERO, &[zxid(1, 1)], Epoch(1), Epoch(1))
    }),
    ("a crash finishes a truncation that was asked for", || {
        let mut ledger = ledger();
        logged(&mut ledger, &[0], 2)?;
        ledger.requested(0, &truncate(zxid(1, 1)), NOW)?;
        i6_acks::recovered(&ledger, 0, Zxid::ZERO, &[zxid(1, 1)], Epoch(1), Epoch(1))?;
        i6_acks::recovered(&ledger, 0, Zxid::ZERO, &[zxid(1, 1), zxid(1, 2)], Epoch(1), Epoch(1))
    }),
    ("trees agree", || {
        let mut ledger = two_committed()?;
        i7_digest::applied(&mut ledger, 0, zxid(1, 2), 7)?;
        i7_digest::applied(&mut ledger, 1, zxid(1, 2), 7)
    }),
    ("an ephemeral znode has its owner", || i8_indices::recount(0, &tree(&[3, 7]))),
    ("a session that has ended asks in vain", || {
        let refused = Txn::Error(ensemble_proto::ErrorCode::SESSION_EXPIRED);
        let multi = Txn::Multi(vec![refused.clone(), Txn::Error(ensemble_proto::ErrorCode::RUNTIME_INCONSISTENCY)]);
        sessions(&[(1, BEGIN), (1, delete()), (1, END), (1, refused), (1, multi)])
    }),
    ("a server deletes a container in nobody's name", || sessions(&[(0, Txn::DeleteContainer { path: "/a".into() })])),
    ("a queue is full", || i10_bounds::held(0, "requests", 20, 20)),
    ("a reconfiguration is on quorums of both configurations", || changed(2, &[1, 3, 5])),
    ("a healed world", || i12_liveness::healed(&healed())),
    ("a reconfiguration is logged, and its configuration is kept with it", || {
        reconfigured(&[Write::LastSeen(Membership::parse(&membership(zxid(1, 1).0, 1..=3)).unwrap())])
    }),
    ("one log goes on where another ends, in the same epoch or the next", || {
        i13_files::without_gap(0, logs(&[zxid(1, 1), zxid(1, 2), zxid(2, 1)]), options().payload_len_max)
    }),
    ("files as they were written", || i13_files::strict(0, store(zxid(1, 1), zxid(1, 1)), options())),
];
