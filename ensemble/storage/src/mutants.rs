//! Switches that break one promise each of a store; see [`ensemble_proto::mutants`].

ensemble_proto::mutants! {
    /// A group is reported durable without `fdatasync`.
    skip_log_sync,
    /// The directory is not synced after a log is created (Keeper #111339).
    skip_log_dir_sync,
    /// A truncation is reported done and leaves the records (ZOOKEEPER-3701).
    lost_truncation,
    /// An epoch file is neither written nor synced (ZOOKEEPER-2307).
    lost_epoch,
    /// An installed snapshot leaves the old log in place (ZOOKEEPER-1549 family).
    install_keeps_log,
    /// Missing snapshots with logs present are an empty database (ZOOKEEPER-2325, -3056).
    missing_snapshot_is_empty,
    /// ZOOKEEPER-4882: an error of the disk is swallowed, and a record with it.
    zkb_11,
    /// A torn tail stays in the file, and a later record is written behind it.
    torn_tail_is_kept,
    /// Which record comes before a log's first one is not looked at, nor whether one repeats.
    beginning_is_believed,
    /// After a sync that failed, what the page cache has of the log is taken for what the disk has.
    page_cache_is_believed,
}

impl Mutants {
    /// Whether any promise is broken: the assertions that would hide it then stay quiet.
    pub(crate) fn any(self) -> bool {
        self != Mutants::default()
    }
}
