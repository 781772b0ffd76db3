//! I-11: quorums of consecutive configurations intersect through the reconfiguration between them: it is committed only when it is
//! durable on a quorum of the old configuration and on one of the new. And there is one configuration after the other: each has
//! a version above the last. Who has logged one keeps it beside its log.

use crate::ledger::Ledger;
use crate::quorums::is_quorum;
use crate::trace::{Verdict, Violation};
use bytes::Bytes;
use ensemble_proto::membership::Membership;
use ensemble_proto::txn::{Txn, TxnRecord};
use ensemble_proto::{ServerId, Zxid, reconfig};

/// The order grew by the transaction at `index`; if it is a reconfiguration, its configuration is in force from now on.
pub fn committed(ledger: &mut Ledger, index: usize) -> Verdict {
    let zxid = ledger.committed[index].zxid;
    let Ok(TxnRecord { txn: Txn::Reconfig(set), .. }) = TxnRecord::decode(&ledger.committed[index].payload) else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(set.data.as_deref().unwrap_or_default()).into_owned();
    let new = Membership::parse(&text)
        .map_err(|error| Violation::new("I-11", format!("{zxid} sets a configuration that is none: {error}")))?;
    changed(&ledger.membership, &new, zxid, |id| ledger.member_has(id, zxid))?;
    ledger.membership = new;
    Ok(())
}

/// A record is durable on a server that keeps configurations up to version `kept`: if it is a reconfiguration, what it makes is kept
/// with it, so that a restart does not forget whose quorum counts.
pub fn logged(server: usize, zxid: Zxid, payload: &Bytes, kept: Zxid) -> Verdict {
    match reconfig::proposed(payload) {
        Ok(Some(next)) if next.version > kept => {
            let message = format!("server {server} has logged {zxid} and keeps no later configuration than {kept}");
            Err(Violation::new("I-11", message))
        }
        _ => Ok(()),
    }
}

/// The reconfiguration `zxid` takes the ensemble from `old` to `new`; `has` is whether a server has it on its disk.
pub fn changed(old: &Membership, new: &Membership, zxid: Zxid, has: impl Fn(ServerId) -> bool) -> Verdict {
    let fail = |message: String| Err(Violation::new("I-11", format!("{zxid} {message}")));
    if new.version <= old.version {
        return fail(format!("replaces version {} by version {}", old.version, new.version));
    }
    for (name, membership) in [("old", old), ("new", new)] {
        if !is_quorum(membership, &has) {
            let having: Vec<i64> = membership.voters().filter(|id| has(*id)).map(|id| id.0).collect();
            return fail(format!("is committed and durable on {having:?} of the {name} voters, which are no quorum"));
        }
    }
    Ok(())
}
