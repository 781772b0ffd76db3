//! What is checked now and then, and when a run is over.

use crate::invariants::{i4_durability, i7_digest, i10_bounds, i13_files};
use crate::model::Model;
use crate::rules;
use crate::server;
use crate::sightings;
use crate::trace::{Verdict, Violation};
use crate::world::{Event, World};
use ensemble_datatree::DataTree;
use ensemble_proto::Zxid;
use ensemble_proto::txn::TxnRecord;
use ensemble_storage::{Dir, Disk, Options, Recovered, Storage};
use std::time::Duration;

/// Time between two audits.
const AUDIT: Duration = Duration::from_secs(12);

/// What a server would find on its disk after a power cut now.
fn after_power_cut(world: &World, server: usize) -> Result<Recovered, Violation> {
    let image = world.servers[server].disk.durable_image();
    let options = server::storage_options(&world.swarm, world.seed, world.mutant);
    match Storage::open(image, Options { repair: false, ..options }) {
        Ok((_, recovered)) => Ok(recovered),
        Err(error) => Err(Violation::new("I-4", format!("server {server} would not open its store now: {error}"))),
    }
}

/// Looks at every disk as a power cut would leave it, and recounts every index.
pub(crate) fn audit(world: &mut World) -> Verdict {
    world.schedule(world.now + AUDIT, Event::Audit);
    world.recount()?;
    bounds(world)?;
    let (mut logs, mut bases) = (Vec::new(), Vec::new());
    for server in 0..world.servers.len() {
        if world.ledger.servers[server].is_wiped {
            logs.push(None);
            bases.push(Zxid::ZERO);
            continue;
        }
        let recovered = after_power_cut(world, server)?;
        bases.push(recovered.snapshot.as_ref().map_or(Zxid::ZERO, |(zxid, _)| *zxid));
        logs.push(Some(recovered.tail.iter().map(|(zxid, _)| *zxid).collect()));
    }
    i4_durability::on_disks(&world.ledger, &logs, &bases)
}

/// Every server is within its limits.
fn bounds(world: &World) -> Verdict {
    for (index, server) in world.servers.iter().enumerate() {
        let Some(process) = &server.process else { continue };
        for client in process.peer.clients() {
            i10_bounds::held(index, "requests of one client", client.queued, server::CLIENT_OUTSTANDING_MAX)?;
        }
        let (records, limit) = (process.peer.zab().committed_log_len(), world.swarm.committed_log);
        i10_bounds::held(index, "records to synchronise learners with", records, limit)?;
        let watches = process.peer.status().watches;
        let paths = world.swarm.names * (world.swarm.names + 1);
        // Of data and of children, also on sequential znodes; a client leaves none on those.
        i10_bounds::held(index, "watches", watches, process.clients.len() * paths * 2)?;
    }
    Ok(())
}

/// The end of a run: all trees are the model's, every disk gives the same tree again, and the clients saw what they may see.
pub(crate) fn check(world: &mut World) -> Verdict {
    audit(world)?;
    for server in 0..world.servers.len() {
        let process = world.servers[server].process.as_ref();
        if let Some(mismatches) = process.map(|process| process.peer.status().digest_mismatches)
            && mismatches > 0
        {
            let message = format!("server {server} applied {mismatches} transactions to another digest than predicted");
            return Err(Violation::new("I-7", message));
        }
        // What a server that runs no more has not been told is not to be found on its disk.
        if world.servers[server].is_on {
            reload(world, server)?;
            let options = server::storage_options(&world.swarm, world.seed, world.mutant);
            let mut image = world.servers[server].disk.durable_image();
            for rotten in &world.ledger.servers[server].rotten {
                let _still_there = image.unlink(Dir::Data, rotten);
            }
            i13_files::without_gap(server, image.clone(), options.payload_len_max)?;
            i13_files::strict(server, image, options)?;
        }
    }
    let replay = rules::replay::replay(&world.history, &world.ledger)?;
    rules::check(&rules::Evidence {
        history: &world.history,
        ledger: &world.ledger,
        heard: &world.heard,
        replay: &replay,
        word: world.word(),
    })?;
    sightings::history(&mut world.marks, &world.history, &replay);
    for server in &world.servers {
        if let Some(process) = &server.process {
            compare(process.peer.tree(), &replay.model)?;
        }
    }
    Ok(())
}

/// The tree that a server would rebuild from its disk is the one that the others have.
fn reload(world: &mut World, server: usize) -> Verdict {
    let recovered = after_power_cut(world, server)?;
    let loaded = server::load(recovered, world.seed);
    let recovered = loaded.map_err(|error| Violation::new("I-7", format!("server {server} cannot reload: {error}")))?;
    let mut tree = recovered.tree;
    for (zxid, payload) in &recovered.history.tail {
        let record = TxnRecord::decode(payload)
            .map_err(|error| Violation::new("I-7", format!("server {server} cannot replay {zxid}: {error}")))?;
        tree.apply(&record);
    }
    crate::invariants::i8_indices::recount(server, &tree)?;
    i7_digest::applied(&mut world.ledger, server, tree.last_zxid(), tree.digest())
}

/// A server's tree is the model's, znode for znode.
fn compare(tree: &DataTree, model: &Model) -> Verdict {
    let mut count = 3; // /zookeeper and its two children, which the model does not follow
    for (path, data, stat) in model.znodes() {
        count += 1;
        let found = tree.get(path).map(|znode| (znode.data().unwrap_or_default(), znode.stat()));
        if found != Some((data, stat)) {
            let message = format!("{path} must be {data:?} {stat:?}, a server has {found:?}");
            return Err(Violation::new("H-1", message));
        }
    }
    if tree.node_count() == count {
        return Ok(());
    }
    Err(Violation::new("H-1", format!("a server has {} znodes, {count} were created", tree.node_count())))
}
