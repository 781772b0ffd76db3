//! From a store to a peer, the one way there is: the volumes' identity, recovery, the tree, and what a peer is configured with.

use crate::admin;
use crate::audit::AuditLog;
use crate::clock::Clock;
use crate::config::Settings;
use crate::disk_thread::{DiskThread, Patience};
use crate::member::MemberError;
use crate::metrics::Metrics;
use crate::report::Identity;
use crate::{random, snapshots};
use ensemble_datatree::{DataTree, DigestMismatch};
use ensemble_peer::Peer;
use ensemble_proto::Zxid;
use ensemble_storage::{FORMAT_VERSION, Identity as VolumeIdentity, RealDisk, Storage};
use ensemble_zab::History;
use std::sync::Arc;
use std::time::Instant;

/// What comes out of a store.
pub(crate) struct Built {
    pub(crate) peer: Peer,
    pub(crate) disk: DiskThread,
    pub(crate) identity: Identity,
    pub(crate) clock: Clock,
    pub(crate) audit: Option<Arc<AuditLog>>,
}

/// Opens the store and makes a peer of it.
///
/// # Errors
/// The store or the volumes cannot be used, or the system refuses the disk's thread.
pub(crate) fn build(
    settings: &Settings,
    shared: &admin::Shared,
    clock: Clock,
    audit: Option<Arc<AuditLog>>,
) -> Result<Built, MemberError> {
    let started = Instant::now();
    let directories = &settings.directories;
    let disk = RealDisk::open(&directories.data, &directories.log, settings.datadir_autocreate)?;
    let mut disk = settings.with_config(disk);
    let claim = |operator: &crate::config::Operator| {
        VolumeIdentity::claim(&mut disk, &operator.ensemble_id, settings.id.0, &random::uuid())
    };
    let volume = settings.operator.as_ref().map(claim).transpose()?;
    let seed = random::seed();
    let (storage, recovered, tree) = open(disk, settings, seed, &shared.metrics)?;
    if let Some(reason) = &recovered.set_aside {
        tracing::error!(
            server = settings.id.0,
            reason,
            "the store is damaged and set aside: no vote until a leader has filled a new one"
        );
    }
    for note in &recovered.notes {
        tracing::warn!(note, "recovery");
    }
    let is_empty = recovered.last_zxid() <= Zxid::ZERO;
    let (is_trusted, set_aside) = (recovered.trusted, recovered.set_aside.clone());
    let records = recovered.tail.len();
    let (recovered, is_mismatched) = load(recovered, tree, settings);
    let identity = Identity {
        ensemble_id: volume.as_ref().map(|volume| volume.ensemble_id.clone()),
        volume_id: volume.as_ref().map(|volume| volume.volume_id.clone()),
        format_version: volume.as_ref().map_or(FORMAT_VERSION, |volume| volume.format_version),
        is_ungranted: volume.is_some() && !is_trusted && is_empty && set_aside.is_none(),
        is_granted: volume.is_some() && is_trusted && is_empty,
        set_aside,
        snapshot_mismatches: u64::from(is_mismatched),
    };
    let peer = Peer::new(peer_config(settings), recovered, clock.now(), seed)?;
    shared.metrics.startup_txns_loaded.observe(records as f64);
    shared.metrics.dbinittime.observe_ms(started.elapsed());
    tracing::info!(server = settings.id.0, records, elapsed_ms = started.elapsed().as_millis() as u64, "store loaded");
    let patience = Patience {
        warn: settings.fsync_warning,
        limit: settings.tick * settings.sync_limit,
        has_peers: !settings.standalone,
    };
    let disk = DiskThread::start(storage, patience, shared.metrics.clone()).map_err(MemberError::System)?;
    Ok(Built { peer, disk, identity, clock, audit })
}

/// Opens the store and decodes its snapshot; `seed` is the tree's. A snapshot that is no tree, though its seals hold, is taken as
/// damaged: the next older one is used, or there is none.
fn open(
    disk: RealDisk,
    settings: &Settings,
    seed: u64,
    metrics: &Metrics,
) -> Result<(Storage<RealDisk>, ensemble_storage::Recovered, DataTree), MemberError> {
    let mut options = ensemble_storage::Options { seed: random::seed(), ..settings.storage.clone() };
    loop {
        let started = Instant::now();
        let (storage, recovered) = Storage::open(disk.clone(), options.clone())?;
        metrics.startup_txns_load_time.observe_ms(started.elapsed());
        let Some((zxid, bytes)) = &recovered.snapshot else {
            return Ok((storage, recovered, DataTree::new(seed)));
        };
        let started = Instant::now();
        let loaded = DataTree::load(seed, *zxid, bytes);
        metrics.startup_snap_load_time.observe_ms(started.elapsed());
        match loaded {
            Ok(tree) => return Ok((storage, recovered, tree)),
            Err(error) => {
                tracing::error!(%zxid, %error, "the seals of a snapshot hold, and it is no tree");
                options.undecodable.insert(*zxid);
            }
        }
    }
}

/// What the peer begins with, and whether the tree is not the one that the snapshot was said to hold.
fn load(
    recovered: ensemble_storage::Recovered,
    mut tree: DataTree,
    settings: &Settings,
) -> (ensemble_peer::Recovered, bool) {
    if !settings.digest_enabled {
        tree = tree.without_digests();
    }
    let mismatch = recovered.snapshot_digest.and_then(|(complete, digest)| tree.expect_digest(complete, digest));
    if let Some(DigestMismatch { expected, actual }) = mismatch {
        tracing::error!(zxid = %recovered.complete, "the snapshot's tree has digest {actual:x}, expected is {expected:x}: this server differs from its leader");
    }
    let history = History {
        accepted_epoch: recovered.accepted_epoch,
        current_epoch: recovered.current_epoch,
        snapshot: recovered.snapshot.map_or(Zxid::ZERO, |(zxid, _)| zxid),
        complete: recovered.complete,
        tail: recovered.tail,
        trusted: recovered.trusted,
        last_seen: settings.ensemble.last_seen.clone(),
        held: None,
    };
    (ensemble_peer::Recovered { tree, history }, mismatch.is_some())
}

fn peer_config(settings: &Settings) -> ensemble_peer::Config {
    let mut zab = ensemble_zab::Config::new(settings.id, settings.ensemble.membership.clone());
    zab.reconfig = settings.ensemble.reconfig;
    zab.tick = settings.tick;
    zab.init_limit = settings.init_limit;
    zab.sync_limit = settings.sync_limit;
    zab.standalone = settings.standalone;
    zab.committed_log_max = settings.committed_log_max;
    zab.log_syncs = settings.election.log_syncs;
    zab.force_snapshots = settings.election.force_snapshots;
    zab.snap_syncs_max = settings.election.snap_syncs_max;
    zab.diff_syncs_max = settings.election.diff_syncs_max;
    zab.outstanding_max = settings.global_outstanding_limit;
    zab.notification_interval_min = settings.election.notification_interval_min;
    zab.notification_interval_max = settings.election.notification_interval_max;
    ensemble_peer::Config {
        zab,
        session_timeout_min_ms: settings.session_timeout_min_ms,
        session_timeout_max_ms: settings.session_timeout_max_ms,
        client_outstanding_max: settings.global_outstanding_limit,
        skip_acl: settings.skip_acl,
        record_bytes_max: settings.record_bytes_max,
        super_digest: settings.super_digest.clone(),
        read_only: settings.read_only,
        local_sessions: settings.local_sessions,
        local_sessions_upgrading: settings.local_sessions_upgrading,
        snapshot_slice_bytes: snapshots::SLICE_BYTES,
        extended_types: settings.extended_types,
        audit: settings.audit,
        enforce_quota: settings.enforce_quota,
        sessionless_timeout: settings.sessionless_timeout,
        reaping: settings.reaping.clone(),
        standalone_enabled: settings.ensemble.standalone_enabled,
        admission: settings.admission.clone(),
    }
}
