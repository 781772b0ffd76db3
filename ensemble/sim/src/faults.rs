//! What goes wrong, and when it stops.

use crate::ledger::Observed;
use crate::marks::Mark;
use crate::mutants::Mutant;
use crate::network::{Direction, Place, Port};
use crate::plots;
use crate::shrink::stream;
use crate::swarm::Swarm;
use crate::trace::{Verdict, Violation};
use crate::world::{Event, World};
use bytes::Bytes;
use ensemble_proto::Zxid;
use ensemble_proto::durable::Write;
use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{Dir, Disk, Options, Recovered, Storage, StorageError, inspect};
use fastrand::Rng;
use std::ops::Range;
use std::time::Duration;

/// A kind of fault; see [`crate::swarm::Faults`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// One server's power.
    Crash,
    /// Everybody's power.
    PowerCut,
    /// A link, one way or both, or all links of a server, or one of its ports.
    Cut,
    /// A connection.
    Reset,
    /// A disk.
    SlowDisk,
    /// The room on a disk.
    FullDisk,
    /// A process.
    Pause,
    /// A wall clock.
    Clock,
    /// A volume.
    Wipe,
    /// A volume's snapshots.
    LostSnapshots,
    /// A bit of a log or a snapshot.
    BitRot,
    /// A record, or a sector, of a log.
    Misdirected,
    /// A disk's answers.
    HungDisk,
    /// A sync of a log.
    FailedSync,
    /// A volume, while a quorum needs it.
    LostQuorum,
    /// A leader's followers.
    Deposed,
    /// A new leader's electors.
    Unreached,
    /// No fault: a leader is asked to hand its office over.
    Transfer,
}

const ALL: [Fault; 18] = [
    Fault::Crash,
    Fault::PowerCut,
    Fault::Cut,
    Fault::Reset,
    Fault::SlowDisk,
    Fault::FullDisk,
    Fault::Pause,
    Fault::Clock,
    Fault::Wipe,
    Fault::LostSnapshots,
    Fault::BitRot,
    Fault::Misdirected,
    Fault::HungDisk,
    Fault::FailedSync,
    Fault::LostQuorum,
    Fault::Deposed,
    Fault::Unreached,
    Fault::Transfer,
];

impl Fault {
    /// What its strikes are called.
    fn kind(self) -> &'static str {
        match self {
            Fault::Crash => "crash",
            Fault::PowerCut => "power_cut",
            Fault::Cut => "cut",
            Fault::Reset => "reset",
            Fault::SlowDisk => "slow_disk",
            Fault::FullDisk => "full_disk",
            Fault::Pause => "pause",
            Fault::Clock => "clock",
            Fault::Wipe => "wipe",
            Fault::LostSnapshots => "lost_snapshots",
            Fault::BitRot => "bit_rot",
            Fault::Misdirected => "misdirected",
            Fault::HungDisk => "hung_disk",
            Fault::FailedSync => "failed_sync",
            Fault::LostQuorum => "lost_quorum",
            Fault::Deposed => "deposed",
            Fault::Unreached => "unreached",
            Fault::Transfer => "transfer",
        }
    }
}

/// What a disk writes entirely or not at all, bytes.
const SECTOR_BYTES: usize = 512;
/// What a crash at a chosen moment is called.
const TEMPTED: &str = "tempted";

/// Plans the first fault of every kind that this run has.
pub(crate) fn begin(world: &mut World) {
    for fault in ALL {
        plan(world, fault, 0);
    }
}

/// Plans a fault: the `number`th of its kind.
fn plan(world: &mut World, fault: Fault, number: u64) {
    let faults = &world.swarm.faults;
    let mean = match fault {
        Fault::Crash => faults.crash,
        Fault::PowerCut => faults.power_cut,
        Fault::Cut => faults.cut,
        Fault::Reset => faults.reset,
        Fault::SlowDisk => faults.slow_disk,
        Fault::FullDisk => faults.full_disk,
        Fault::Pause => faults.pause,
        Fault::Clock => faults.clock,
        Fault::Wipe => faults.wipe,
        Fault::LostSnapshots => faults.lost_snapshots,
        Fault::BitRot => faults.bit_rot,
        Fault::Misdirected => faults.misdirected,
        Fault::HungDisk => faults.hung_disk,
        Fault::FailedSync => faults.failed_sync,
        Fault::LostQuorum => faults.lost_quorum,
        Fault::Deposed => faults.deposed,
        Fault::Unreached => faults.unreached,
        // As often as crashes, which so come in the middle of it now and then.
        Fault::Transfer => faults.crash,
    };
    let Some(mean) = mean else { return };
    let at = world.now + mean.mul_f64(0.2 + 1.6 * stream(world.seed, fault.kind(), number).f64());
    world.schedule(at, Event::Fault { fault, number });
}

/// A fault strikes.
pub(crate) fn strike(world: &mut World, fault: Fault, number: u64) -> Verdict {
    if !world.is_stormy {
        return Ok(());
    }
    plan(world, fault, number + 1);
    if !world.plan.has(fault.kind(), number) {
        return Ok(());
    }
    world.disturbed = world.now;
    let random = &mut stream(world.seed, fault.kind(), number).fork();
    let server = random.usize(0..world.servers.len());
    world.trace.event(world.now, fault.kind(), number, || format!("{} strikes server {server}", fault.kind()));
    match fault {
        Fault::Crash => crash(world, random, server),
        Fault::PowerCut => (0..world.servers.len()).try_for_each(|server| crash(world, random, server)),
        Fault::Cut => {
            cut(world, random, server);
            Ok(())
        }
        Fault::Reset => {
            let connections = world.network.ids();
            match random.choice(connections) {
                Some(connection) => world.reset(connection),
                None => Ok(()),
            }
        }
        Fault::SlowDisk => {
            world.marks.sometimes(Mark::LeaderSlow, world.is_leading(server));
            world.servers[server].slow_until = world.now + world.swarm.tick * random.u32(1..20);
            Ok(())
        }
        Fault::FullDisk => {
            // Some groups are half written then.
            world.servers[server].disk.fill_after(random.u64(0..8));
            world.servers[server].full_until = world.now + world.swarm.tick.mul_f64(1.0 + 20.0 * random.f64());
            world.schedule(world.servers[server].full_until, Event::Start { server });
            Ok(())
        }
        Fault::Pause => {
            world.marks.sometimes(Mark::LeaderPaused, world.is_leading(server));
            // Some are long enough for a new leader to be at work meanwhile.
            let most = if random.u8(0..3) == 0 { 5.0 } else { 1.5 };
            let ticks = random.f64() * most * f64::from(world.swarm.sync_limit);
            let until = world.servers[server].paused_until.max(world.now + world.swarm.tick.mul_f64(ticks));
            world.servers[server].paused_until = until;
            world.trace.line(world.now, || format!("server {server} pauses until {until:?}"));
            Ok(())
        }
        Fault::Clock => {
            world.marks.sometimes(Mark::LeaderClockJumps, world.is_leading(server));
            world.servers[server].clock_error_ms = random.i64(-3_600_000..3_600_000);
            Ok(())
        }
        Fault::Wipe => wipe(world, random, server),
        Fault::LostSnapshots => lose_snapshots(world, random, server),
        Fault::BitRot => spoil(world, random, server, turn_a_bit),
        Fault::Misdirected => spoil(world, random, server, misdirect),
        Fault::FailedSync => {
            world.servers[server].disk.fail_next_log_sync();
            Ok(())
        }
        Fault::HungDisk => {
            hang(world, random, server);
            Ok(())
        }
        Fault::LostQuorum => plots::leave_behind(world, random, server, number),
        Fault::Deposed => plots::depose(world, random),
        Fault::Unreached => {
            plots::keep_apart(world, random);
            Ok(())
        }
        Fault::Transfer => {
            let to = world.servers[server].id;
            world.transfer(random.bool().then_some(to))
        }
    }
}

/// The faults stop: everything runs and is connected again.
pub(crate) fn calm(world: &mut World) {
    world.is_stormy = false;
    if world.disturbed > Duration::ZERO {
        world.disturbed = world.now;
    }
    world.swarm.reconfigures = false;
    world.network.heal_all();
    for server in 0..world.servers.len() {
        world.go_on(server);
        let machine = &mut world.servers[server];
        machine.slow_until = machine.slow_until.min(world.now);
        machine.full_until = machine.full_until.min(world.now);
        machine.hung_until = machine.hung_until.min(world.now);
        machine.disk.mend();
        world.schedule(world.now, Event::Start { server });
    }
    world.trace.line(world.now, || "the storm is over".to_string());
}

fn crash(world: &mut World, random: &mut Rng, server: usize) -> Verdict {
    world.crash(server)?;
    let down = world.swarm.tick.mul_f64(random.f64() * random.f64() * 30.0);
    world.schedule(world.now + down, Event::Start { server });
    Ok(())
}

/// A server asks its disk for this. Where servers crash at all, some do before the disk is done, and more often where more depends
/// on it: a crash at random hardly ever comes in the few milliseconds of a truncation.
pub(crate) fn tempt(world: &mut World, server: usize, write: &Write) {
    if world.swarm.faults.crash.is_none() || !world.is_stormy {
        return;
    }
    let (one_in, syncs) = match write {
        _ if is_long(write) => (40, 1.0),
        Write::Append { .. } => (700, 3.0),
        _ => (40, 3.0),
    };
    if world.random.u32(0..one_in) == 0 {
        let at = world.now + world.swarm.fsync.mul_f64(syncs * world.random.f64());
        let (life, number) = (world.servers[server].life, world.tempted);
        world.tempted += 1;
        world.schedule(at, Event::Crash { server, life, number });
    }
}

/// Whether this is a record of which a power cut may lose the middle and keep the ends.
pub(crate) fn is_long(write: &Write) -> bool {
    matches!(write, Write::Append { payload, .. } if payload.len() > 2 * SECTOR_BYTES)
}

/// The power of this life of a server goes.
pub(crate) fn crash_in(world: &mut World, server: usize, life: u64, number: u64) -> Verdict {
    if !world.is_stormy || world.servers[server].life != life || !world.plan.has(TEMPTED, number) {
        return Ok(());
    }
    world.disturbed = world.now;
    world.trace.event(world.now, TEMPTED, number, || format!("crash strikes server {server} while it writes"));
    crash(world, &mut stream(world.seed, TEMPTED, number), server)
}

fn cut(world: &mut World, random: &mut Rng, server: usize) {
    let other = (server + random.usize(1..world.servers.len())) % world.servers.len();
    let (here, there) = (Place::Server(server), Place::Server(other));
    let rest = (0..world.servers.len()).filter(|rest| *rest != server).map(Place::Server);
    let clients = (0..world.clients.len()).map(Place::Client);
    let between_servers = |pair: (Place, Place)| [(pair.0, pair.1, Port::Election), (pair.0, pair.1, Port::Quorum)];
    let both_ways = |port: Port| move |other: Place| [(here, other, port), (other, here, port)];
    let directions: Vec<Direction> = match random.u8(0..7) {
        0 => between_servers((here, there)).into(),
        1 => [(here, there), (there, here)].into_iter().flat_map(between_servers).collect(),
        2 => rest.flat_map(|rest| [(here, rest), (rest, here)]).flat_map(between_servers).collect(),
        3 => rest.map(|rest| (here, rest)).flat_map(between_servers).collect(),
        4 => rest.flat_map(both_ways(Port::Election)).collect(),
        5 => rest.flat_map(both_ways(Port::Quorum)).collect(),
        _ => clients.flat_map(both_ways(Port::Client)).collect(),
    };
    let heal_at = world.now + world.swarm.tick.mul_f64(random.f64() * 2.0 * f64::from(world.swarm.init_limit));
    world.trace.tale(world.now, || format!("cut {directions:?} until {heal_at:?}"));
    let is_leader = |place| matches!(place, Place::Server(server) if world.is_leading(server));
    let cuts_leader = directions.iter().any(|(from, to, _)| is_leader(*from) || is_leader(*to));
    let is_one_port = directions.iter().all(|(_, _, port)| *port == directions[0].2);
    world.marks.sometimes(Mark::LeaderCutOff, cuts_leader && !is_one_port);
    world.marks.sometimes(Mark::PortOfLeaderCut, cuts_leader && is_one_port);
    for direction in directions {
        world.network.cut(direction);
        world.schedule(heal_at, Event::Heal { direction });
    }
}

/// Whether a server may lose its volume: only one at a time may be without its history, or nothing could bring it back.
pub(crate) fn may_wipe(world: &World, server: usize) -> bool {
    let observed = &world.ledger.servers;
    observed.iter().all(|observed| !observed.is_wiped) && observed[server].durable.last() > Zxid::ZERO
}

fn wipe(world: &mut World, random: &mut Rng, server: usize) -> Verdict {
    if world.swarm.changes() {
        return plots::replace_volume(world, random, server);
    }
    if !may_wipe(world, server) {
        return Ok(());
    }
    crash(world, random, server)?;
    lose_volume(world, server);
    Ok(())
}

/// A server that is down loses its volume.
pub(crate) fn lose_volume(world: &mut World, server: usize) {
    world.trace.tale(world.now, || format!("server {server} loses its volume"));
    world.servers[server].disk = SimDisk::new();
    world.ledger.servers[server] = Observed { is_wiped: true, ..Observed::default() };
}

fn lose_snapshots(world: &mut World, random: &mut Rng, server: usize) -> Verdict {
    if !may_wipe(world, server) {
        return Ok(());
    }
    crash(world, random, server)?;
    let disk = &mut world.servers[server].disk;
    let has_records =
        recovered(&world.swarm, disk.durable_image(), Mutant::None).is_ok_and(|found| !found.tail.is_empty());
    if !has_records {
        return Ok(());
    }
    world.trace.line(world.now, || format!("server {server} loses its snapshots"));
    for entry in disk.list(Dir::Data).unwrap_or_default() {
        if entry.name.starts_with("snapshot") || entry.name.starts_with("installing") {
            let _present = disk.unlink(Dir::Data, &entry.name);
        }
    }
    let _powered = disk.sync_dir(Dir::Data);
    world.ledger.servers[server] = Observed { is_wiped: true, is_damaged: true, ..Observed::default() };
    Ok(())
}

/// What a server would find on this disk.
fn recovered(swarm: &Swarm, disk: SimDisk, mutant: Mutant) -> Result<Recovered, StorageError> {
    let options = crate::server::storage_options(swarm, 0, mutant);
    Storage::open(disk, options).map(|(_, recovered)| recovered)
}

/// A disk answers nothing for a while: whatever is asked of it is done afterwards, unless the watchdog of the server ends the process before
/// (`ensemble/server/src/disk_watchdog.rs`).
fn hang(world: &mut World, random: &mut Rng, server: usize) {
    let patience = world.swarm.tick * world.swarm.sync_limit;
    let machine = &mut world.servers[server];
    machine.hung_until = world.now + patience.mul_f64(0.2 + 3.0 * random.f64());
    let (life, at) = (machine.life, world.now + patience);
    world.marks.sometimes(Mark::LeaderHangs, world.is_leading(server));
    world.schedule(at, Event::Watchdog { server, life });
}

/// The watchdog looks at a disk that hung when it looked last.
pub(crate) fn watchdog(world: &mut World, server: usize, life: u64) -> Verdict {
    let machine = &world.servers[server];
    let waits = machine.process.as_ref().is_some_and(|process| process.group > 0);
    if machine.life != life || machine.hung_until <= world.now || !waits {
        return Ok(());
    }
    world.marks.hit(Mark::DiskGivenUp);
    world.trace.tale(world.now, || format!("server {server} gives its disk up"));
    let at = machine.hung_until;
    world.crash(server)?;
    world.schedule(at, Event::Start { server });
    Ok(())
}

/// What was done to a file: to change it again elsewhere, and to tell.
struct Spoiled {
    dir: Dir,
    name: String,
    bytes: Vec<u8>,
    what: String,
}

/// The files of a disk of which the names begin so.
fn files(disk: &mut SimDisk, dir: Dir, prefix: &str) -> Vec<(String, Vec<u8>)> {
    let names = disk.list(dir).unwrap_or_default().into_iter().map(|entry| entry.name);
    let named = names.filter(|name| name.starts_with(prefix)).collect::<Vec<_>>();
    named.into_iter().filter_map(|name| disk.read(dir, &name).ok().map(|bytes| (name, bytes))).collect()
}

/// A bit of a log or a snapshot.
fn turn_a_bit(random: &mut Rng, disk: &mut SimDisk) -> Option<Spoiled> {
    let all = [(Dir::Log, "log."), (Dir::Data, "snapshot.")]
        .into_iter()
        .flat_map(|(dir, prefix)| files(disk, dir, prefix).into_iter().map(move |(name, bytes)| (dir, name, bytes)));
    let (dir, name, mut bytes) = random.choice(all.filter(|(.., bytes)| !bytes.is_empty()).collect::<Vec<_>>())?;
    let (at, bit) = (random.usize(0..bytes.len()), random.u8(0..8));
    bytes[at] ^= 1 << bit;
    Some(Spoiled { dir, what: format!("bit {bit} of byte {at} of {name}"), name, bytes })
}

/// What was meant for one place of a log is in another: a record, with its checksum and its end mark, in place of one of the same length, or a sector.
fn misdirect(random: &mut Rng, disk: &mut SimDisk) -> Option<Spoiled> {
    let logs = files(disk, Dir::Log, "log.");
    let is_record = random.bool();
    let places = |bytes: &[u8]| if is_record { records(bytes) } else { sectors(bytes) };
    let all: Vec<_> = logs.iter().flat_map(|(_, bytes)| places(bytes).into_iter().map(|place| &bytes[place])).collect();
    let (name, bytes) = random.choice(&logs)?;
    let place = random.choice(places(bytes))?;
    // A sector that ends in zeros may be what stood there before the last write, which is lost then: nothing in the format could tell.
    let is_full = |other: &[u8]| is_record || other.last() != Some(&0);
    let other = |other: &&&[u8]| other.len() == place.len() && **other != &bytes[place.clone()] && is_full(other);
    let meant_for_another = random.choice(all.iter().filter(other).collect::<Vec<_>>())?;
    let mut spoiled = bytes.clone();
    spoiled[place.clone()].copy_from_slice(meant_for_another);
    let what = format!("what stands in bytes {place:?} of {name}, which is meant for another place");
    Some(Spoiled { dir: Dir::Log, name: name.clone(), bytes: spoiled, what })
}

/// Where the records of a log stand.
fn records(bytes: &[u8]) -> Vec<Range<usize>> {
    let Ok(log) = inspect::log("log", bytes, true, Options::default().payload_len_max) else { return Vec::new() };
    let ends = log.records.iter().skip(1).map(|record| record.offset).chain([log.end]);
    log.records.iter().zip(ends).map(|(record, end)| record.offset as usize..end as usize).collect()
}

/// The whole sectors of a file.
fn sectors(bytes: &[u8]) -> Vec<Range<usize>> {
    (0..bytes.len() / SECTOR_BYTES).map(|number| number * SECTOR_BYTES..(number + 1) * SECTOR_BYTES).collect()
}

/// A file is spoilt while a server is down. It is noticed: the store is set aside, or a snapshot is passed over. What is not read at the next start is left as it is: there
/// nobody could say when it will be noticed.
///
/// # Errors
/// I-13 when a record that was durable would be taken for one that was never written, or for another, or the server could not start.
fn spoil(
    world: &mut World,
    random: &mut Rng,
    server: usize,
    change: impl FnOnce(&mut Rng, &mut SimDisk) -> Option<Spoiled>,
) -> Verdict {
    if !may_wipe(world, server) {
        return Ok(());
    }
    crash(world, random, server)?;
    let mut disk = world.servers[server].disk.clone();
    let Ok(before) = recovered(&world.swarm, disk.durable_image(), Mutant::None) else { return Ok(()) };
    let Some(Spoiled { dir, name, bytes, what }) = change(random, &mut disk) else { return Ok(()) };
    let write = |disk: &SimDisk| disk.damage(dir, &name, |contents| contents.clone_from(&bytes));
    let image = disk.durable_image();
    let _present = write(&image);
    let broken = |problem: String| Violation::new("I-13", format!("server {server}, {what}: {problem}"));
    let after =
        recovered(&world.swarm, image, world.mutant).map_err(|error| broken(format!("it cannot start: {error}")))?;
    let durable = world.ledger.servers[server].durable.last();
    if after.set_aside.is_some() {
        world.ledger.servers[server] = Observed { is_wiped: true, is_damaged: true, ..Observed::default() };
        world.marks.hit(Mark::SpoiltLog);
    } else if after.last_zxid() < durable.min(before.last_zxid()) {
        return Err(broken(format!("it starts without {durable}, which was durable")));
    } else if !before.tail.iter().filter(|(zxid, _)| *zxid <= durable).all(|record| holds(&after, record)) {
        return Err(broken("it starts with other records than it had".to_string()));
    } else if dir == Dir::Data && after.last_zxid() == before.last_zxid() && after.notes != before.notes {
        world.marks.hit(Mark::SpoiltSnapshot);
        world.ledger.servers[server].rotten.push(name.clone());
    } else {
        return Ok(());
    }
    world.trace.tale(world.now, || format!("server {server}, spoilt: {what}"));
    let _present = write(&disk);
    Ok(())
}

/// Whether a store has the record, or a snapshot of it.
fn holds(found: &Recovered, (zxid, payload): &(Zxid, Bytes)) -> bool {
    let base = found.snapshot.as_ref().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
    let at = found.tail.binary_search_by_key(zxid, |(zxid, _)| *zxid);
    *zxid <= base || at.is_ok_and(|at| found.tail[at].1 == *payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shrink::Plan;
    use crate::trace::Tell;

    /// What came for a process while it stood still is in its sockets: SIGCONT, not the time when it was to come, is when it is read.
    #[test]
    fn a_server_finds_what_has_come_for_it_when_the_end_of_the_storm_ends_its_pause() {
        let mut world = World::new(1, Mutant::None, Plan::default(), Tell::Nothing);
        let at = Duration::from_secs;
        assert_eq!(world.run_until(at(20)), Ok(()));
        for server in 0..world.servers.len() {
            world.servers[server].paused_until = at(1000);
        }
        assert_eq!(world.run_until(at(25)), Ok(()));
        assert!(world.agenda.count(|until| until == at(1000)) > world.servers.len(), "they were sent something");
        calm(&mut world);
        assert_eq!(world.agenda.count(|until| until == at(1000)), 0);
        let asked = world.history.ops.len();
        assert_eq!(world.run_until(at(60)), Ok(()));
        assert!(world.history.ops[asked..].iter().any(|op| op.reply.is_some()), "they serve again");
    }
}
