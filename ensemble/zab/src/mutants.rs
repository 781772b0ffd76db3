//! Known-wrong variants of the protocol, one a switch, most of them bugs that ZooKeeper once had; see [`ensemble_proto::mutants`].

ensemble_proto::mutants! {
    /// A follower acknowledges a proposal before it is durable.
    ack_before_sync,
    /// A leader commits what it alone has.
    commit_without_quorum,
    /// A follower accepts a leader of an epoch below the one that it has promised.
    accept_old_epoch,
    /// A leader counts a follower in its epoch whatever the follower's history is.
    no_history_check,
    /// A learner forgets in memory, not on disk, what TRUNC removes.
    lost_truncation,
    /// An empty store that must not vote does.
    empty_store_votes,
    /// A leader counts acknowledgements of records that the follower has truncated since.
    stale_ack,
    /// A leader serves, and calls its learners up to date, before a quorum has its history.
    early_up_to_date,
    /// A sync is answered without asking a quorum.
    sync_without_quorum,
    /// ZOOKEEPER-2845: a server that leaves its role keeps uncommitted transactions in its tree.
    zkb_01,
    /// ZOOKEEPER-3911: transactions of a DIFF are acknowledged and served before they are logged.
    zkb_02,
    /// ZOOKEEPER-4643: the current epoch is written before the history that it stands for.
    zkb_03,
    /// ZOOKEEPER-4646: NEWLEADER is acknowledged before the history is durable.
    zkb_04,
    /// ZOOKEEPER-4685: the ACK of a proposal overtakes the ACK of NEWLEADER.
    zkb_05,
    /// ZOOKEEPER-4394: proposals from before NEWLEADER are forgotten, so their COMMIT ends the connection; the leader does
    /// not hold live traffic back.
    zkb_06,
    /// ZOOKEEPER-3023: a follower goes into service before the history it was sent is applied.
    zkb_07,
    /// ZOOKEEPER-4712: records of a former role reach the disk after memory has forgotten them.
    zkb_08,
    /// ZOOKEEPER-4785: a proposal that comes while the history is being written is acknowledged and never logged; the leader does not
    /// hold live traffic back.
    zkb_09,
    /// ZOOKEEPER-4925: transactions of the synchronisation are missing from the committed log.
    zkb_10,
    /// ZOOKEEPER-3642: the position of a snapshot is claimed before the snapshot has arrived.
    zkb_12,
    /// ZOOKEEPER-3104: NEWLEADER goes out, and is acknowledged, before the snapshot.
    zkb_13,
    /// ZOOKEEPER-2832: a learner keeps a tail that its leader does not have.
    zkb_14,
    /// ZOOKEEPER-1156: a truncation takes a record too much off the disk.
    zkb_15,
    /// ZOOKEEPER-4352: a server without history gets a DIFF from whatever the leader still remembers.
    zkb_16,
    /// ZOOKEEPER-3598: what is committed and not handed over yet is dropped when a role ends.
    zkb_27,
    /// ZOOKEEPER-4503 family: a restarted server serves before it is called up to date.
    zkb_34,
    /// Keeper #102629: the position known to be durable survives a truncation.
    zkb_35,
    /// A leader commits a reconfiguration, and what follows, with a quorum of the new configuration alone.
    commit_by_new_alone,
    /// A leader commits a reconfiguration, and what follows, with a quorum of the old configuration alone.
    commit_by_old_alone,
    /// A configuration that is proposed is remembered in memory alone.
    last_seen_in_memory,
    /// A configuration is active as soon as it is logged.
    activate_uncommitted,
}
