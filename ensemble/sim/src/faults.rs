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
use ensemble_proto::durable::Write;
use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{Dir, Disk, Recovered, Storage, StorageError};
use fastrand::Rng;
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
    /// A volume, while a quorum needs it.
    LostQuorum,
    /// A leader's followers.
    Deposed,
    /// A new leader's electors.
    Unreached,
    /// No fault: a leader is asked to hand its office over.
    Transfer,
}

const ALL: [Fault; 15] = [
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
        Fault::BitRot => rot(world, random, server),
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
    observed.iter().all(|observed| !observed.is_wiped) && observed[server].durable.last() > ensemble_proto::Zxid::ZERO
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
    let has_records = recovered(&world.swarm, disk.durable_image()).is_ok_and(|found| !found.tail.is_empty());
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
fn recovered(swarm: &Swarm, disk: SimDisk) -> Result<Recovered, StorageError> {
    let options = crate::server::storage_options(swarm, 0, Mutant::None);
    Storage::open(disk, options).map(|(_, recovered)| recovered)
}

/// A bit turns while a server is down. It is noticed: the store is set aside, or a snapshot is passed over. What is not read at the next start is left as it is: there
/// nobody could say when it will be noticed.
///
/// # Errors
/// I-13 when a record that was durable would be taken for one that was never written, or the server could not start.
fn rot(world: &mut World, random: &mut Rng, server: usize) -> Verdict {
    if !may_wipe(world, server) {
        return Ok(());
    }
    crash(world, random, server)?;
    let mut disk = world.servers[server].disk.clone();
    let Ok(before) = recovered(&world.swarm, disk.durable_image()) else { return Ok(()) };
    let named = |dir, prefix: &str, disk: &mut SimDisk| {
        let names = disk.list(dir).unwrap_or_default().into_iter().map(|entry| entry.name);
        names.filter(|name| name.starts_with(prefix)).map(|name| (dir, name)).collect::<Vec<_>>()
    };
    let files = [named(Dir::Log, "log.", &mut disk), named(Dir::Data, "snapshot.", &mut disk)].concat();
    let Some((dir, name)) = random.choice(files) else { return Ok(()) };
    let length = disk.read(dir, &name).map_or(0, |bytes| bytes.len());
    if length == 0 {
        return Ok(());
    }
    let (at, bit) = (random.usize(0..length), random.u8(0..8));
    let turn = |disk: &SimDisk| disk.damage(dir, &name, |bytes| bytes[at] ^= 1 << bit);
    let image = disk.durable_image();
    let _present = turn(&image);
    let broken =
        |what: String| Violation::new("I-13", format!("server {server}, bit {bit} of byte {at} of {name}: {what}"));
    let after = recovered(&world.swarm, image).map_err(|error| broken(format!("it cannot start: {error}")))?;
    let durable = world.ledger.servers[server].durable.last();
    if after.set_aside.is_some() {
        world.ledger.servers[server] = Observed { is_wiped: true, is_damaged: true, ..Observed::default() };
        world.marks.hit(Mark::BitInLog);
    } else if after.last_zxid() < durable.min(before.last_zxid()) {
        return Err(broken(format!("it starts without {durable}, which was durable")));
    } else if dir == Dir::Data && after.last_zxid() == before.last_zxid() && after.notes != before.notes {
        world.marks.hit(Mark::BitInSnapshot);
        world.ledger.servers[server].rotten.push(name.clone());
    } else {
        return Ok(());
    }
    world.trace.tale(world.now, || format!("bit {bit} of byte {at} of server {server}'s {name} turns"));
    let _present = turn(&disk);
    Ok(())
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
