//! Switches that break one promise each of a server to its clients; see [`ensemble_proto::mutants`].

ensemble_proto::mutants! {
    /// ZOOKEEPER-3127: a snapshot claims transactions that the tree does not have yet.
    zkb_20,
    /// ZOOKEEPER-4837, -5010: a request that comes after its session's end still takes effect.
    zkb_25,
    /// ZOOKEEPER-3471: a session that was upgraded ends as a local one does, and its ephemeral znode stays.
    zkb_26,
    /// A leader ends the sessions of a learner that it does not hear, though their clients are heard there.
    unheard_learner,
    /// A client that sends nothing but PINGs is taken for silent.
    ping_is_no_sign,
    /// A server that a session has left still writes for it (ZOOKEEPER's SESSION_MOVED is never said).
    moved_session_writes,
    /// A client that has seen more than this server is served all the same.
    behind_client,
    /// A new leader counts the silence of sessions from before it took office.
    clocks_do_not_restart,
    /// The answer to a write leaves before the events that the write fires.
    answer_before_event,
    /// setWatches does not look at what happened while the client was away.
    missed_events,
    /// A learner forwards a write a second time.
    forwarded_twice,
}
