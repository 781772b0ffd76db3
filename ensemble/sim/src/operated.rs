//! A world whose servers somebody else switches on and off, gives volumes and `zoo.cfg` to, and asks for what the admin port offers.
//!
//! The clients, the network, the disks, the faults and every check are those of an ordinary world. The servers begin switched off, on
//! empty volumes, and are founded as in operator mode: by grants. Whoever operates them knows what it did; this module knows nothing
//! of Kubernetes.

use crate::ledger::{Ledger, Observed};
use crate::mutants::Mutant;
use crate::server;
use crate::shrink::Plan;
use crate::swarm::{Faults, Swarm};
use crate::trace::{Tell, Verdict, Violation};
use crate::world::{Event, Summary, World};
use ensemble_peer::{Reconfiguration, ReconfigureError, Status, alone};
use ensemble_proto::durable::Write;
use ensemble_proto::membership::{Member, Membership};
use ensemble_proto::reconfig::ReconfigRequest;
use ensemble_proto::{ServerId, Zxid};
use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{Identity, IdentityError, Options, TakeOver, take_over};
use ensemble_zab::TransferRefusal;
use fastrand::Rng;
use std::time::Duration;

/// A client asks so many times more seldom than in an ordinary world: these runs are as many times longer.
const THINK_FACTOR: u32 = 5;

/// A world with an operator.
pub struct Operated {
    world: World,
}

/// What happens besides what the operator does.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// Machines: servers 1 to this.
    pub servers: usize,
    /// Length of the part with faults.
    pub storm: Duration,
    /// Whether servers, links and disks fail in it.
    pub has_faults: bool,
}

/// What a running server says of itself.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its state.
    pub status: Status,
    /// The configuration that it has active.
    pub membership: Membership,
    /// The version of one that is proposed and not known to be committed.
    pub pending: Option<Zxid>,
    /// Whether its store was empty when it started.
    pub was_empty: bool,
    /// Whether its store was trusted when it started: it held history, or was granted while empty.
    pub was_trusted: bool,
}

impl Operated {
    /// The world of a seed, before anything has happened.
    pub fn new(seed: u64, surroundings: Surroundings, tell: Tell) -> Operated {
        let mut random = Rng::with_seed(seed);
        let mut swarm = Swarm::draw(&mut random);
        swarm.servers = surroundings.servers;
        swarm.storm = surroundings.storm;
        swarm.think *= THINK_FACTOR;
        // The configuration may change, and clients do not ask for it.
        swarm.first_voters = 1;
        // Leaders that step down of themselves would be taken for what the operator did.
        swarm.zxid_counter_max = u32::MAX - 1;
        swarm.faults = match surroundings.has_faults {
            // Volumes are the operator's business here.
            true => Faults { wipe: None, lost_snapshots: None, lost_quorum: None, ..swarm.faults },
            false => Faults::default(),
        };
        let parts = (swarm, random);
        let mut world = World::still(seed, Mutant::None, Plan::default(), tell, parts, Membership::default());
        for server in 0..world.servers.len() {
            world.servers[server].is_on = false;
            for other in 0..server {
                world.schedule(Duration::ZERO, Event::ElectionDial { a: other, b: server });
            }
        }
        world.begin_around();
        // Here servers come and go after the storm, too.
        world.expects_handshakes = false;
        Operated { world }
    }

    // ---- getters ----

    /// Virtual time.
    pub fn now(&self) -> Duration {
        self.world.now
    }

    /// What happened so far.
    pub fn summary(&self) -> Summary {
        self.world.summary()
    }

    /// What an all-seeing observer knows.
    pub fn ledger(&self) -> &Ledger {
        &self.world.ledger
    }

    /// When a fault last struck, lasted, or ended; zero when none ever did.
    pub fn disturbed(&self) -> Duration {
        let now = self.world.now;
        let felt = self.world.servers.iter().map(|server| match server.is_on && server.process.is_none() {
            true => now,
            false => server.paused_until.max(server.slow_until).min(now),
        });
        felt.fold(self.world.disturbed, Duration::max)
    }

    /// `tickTime`.
    pub fn tick(&self) -> Duration {
        self.world.swarm.tick
    }

    /// What a server says of itself; `None` while it does not run, or stands still.
    pub fn report(&self, server: usize) -> Option<Report> {
        let machine = &self.world.servers[server];
        let process = machine.process.as_ref().filter(|_| machine.paused_until <= self.world.now)?;
        let zab = process.peer.zab();
        Some(Report {
            status: process.peer.status(),
            membership: zab.membership().clone(),
            pending: zab.pending_membership().map(|pending| pending.version),
            was_empty: process.was_empty,
            was_trusted: process.was_trusted,
        })
    }

    /// Whether the process of a server is there, even if it stands still.
    pub fn is_running(&self, server: usize) -> bool {
        self.world.servers[server].process.is_some()
    }

    /// How the reconfiguration fares that a server was asked for.
    pub fn reconfiguration(&self, server: usize) -> Option<Reconfiguration> {
        self.world.servers[server].process.as_ref()?.peer.reconfiguration().cloned()
    }

    /// Whether a server is handing its office over.
    pub fn is_transferring(&self, server: usize) -> bool {
        let process = self.world.servers[server].process.as_ref();
        process.is_some_and(|process| process.peer.zab().transferring_to().is_some())
    }

    // ---- the world goes on ----

    /// Mixes numbers into the fingerprint of the run.
    pub fn mix(&mut self, numbers: &[u64]) {
        self.world.trace.mix(numbers);
    }

    /// A line of the story.
    pub fn tale(&self, line: impl FnOnce() -> String) {
        self.world.trace.tale(self.world.now, line);
    }

    /// Lets everything happen that happens until then.
    ///
    /// # Errors
    /// The first promise found broken.
    pub fn run_until(&mut self, end: Duration) -> Verdict {
        self.world.run_until(end)
    }

    /// Ends the clients' requests and makes the final checks. Every server that is switched on is expected to serve.
    ///
    /// # Errors
    /// The first promise found broken.
    pub fn finish(&mut self) -> Result<Summary, Violation> {
        let world = &mut self.world;
        world.await_liveness(world.heal_time() / 3)?;
        world.may_ask = false;
        world.run_until(world.now + world.swarm.tick * 4)?;
        world.settle()?;
        crate::finale::check(world)?;
        Ok(world.summary())
    }

    // ---- what is done to servers ----

    /// Says whose volume a server is to run on, as in operator mode: the volume's id, drawn as `fresh` when it is new.
    ///
    /// # Errors
    /// When it belongs to another server or ensemble.
    pub fn claim(&mut self, server: usize, ensemble_id: &str, fresh: &str) -> Result<String, IdentityError> {
        let machine = &mut self.world.servers[server];
        Identity::claim(&mut machine.disk, ensemble_id, machine.id.0, fresh).map(|identity| identity.volume_id)
    }

    /// Lets the volume of a server that is switched off go on as the first member of another ensemble, if it is the one that is asked for, as
    /// `ensemble-server` does when it starts. From then on the configuration in force is that of this server alone, and what others hold
    /// counts for nothing. Whether it did.
    ///
    /// # Errors
    /// What the store of a sound server must not be; inside, why the volume cannot be taken over.
    pub fn take_over(
        &mut self,
        server: usize,
        ensemble_id: &str,
        asked: &TakeOver,
        own: &Member,
    ) -> Result<Result<bool, IdentityError>, Violation> {
        let world = &mut self.world;
        let seed = world.random.u64(..);
        let machine = &mut world.servers[server];
        assert!(!machine.is_on, "a volume in use is not taken over");
        let (id, time_ms) = (machine.id, machine.clocks(world.now, world.now).wall_ms);
        let configuration = server::configuration_files(&world.swarm, id);
        let options = Options { configuration, ..server::storage_options(&world.swarm, seed, world.mutant) };
        let reconfiguration = |zxid| alone(id, own, zxid, time_ms);
        let taken = match take_over(&mut machine.disk, (ensemble_id, id.0), Some(asked), &options, reconfiguration) {
            Ok(Some(taken)) => taken,
            Ok(None) => return Ok(Ok(false)),
            Err(error) => return Ok(Err(error)),
        };
        let (membership, payload) = alone(id, own, taken.zxid, time_ms);
        let (epoch, record) = (Write::AcceptedEpoch(taken.zxid.epoch()), Write::Append { zxid: taken.zxid, payload });
        for write in [epoch, Write::Membership(membership.clone()), record] {
            world.ledger.requested(server, &write, world.now)?;
            world.ledger.persisted(server, &write)?;
        }
        world.ledger.owned += 1;
        // Of the version that it has now: the record's comes with the commit.
        world.ledger.membership = Membership { version: world.ledger.membership.version, ..membership };
        Ok(Ok(true))
    }

    /// Switches a server on, with these lines in its `zoo.cfg`. The first one that ever is founds the ensemble by its lines.
    ///
    /// # Errors
    /// What the store of a sound server must not be.
    pub fn start(&mut self, server: usize, lines: Membership) -> Verdict {
        if self.world.ledger.membership.servers.is_empty() {
            self.world.ledger.membership = lines.clone();
        }
        let machine = &mut self.world.servers[server];
        (machine.is_on, machine.lines) = (true, lines);
        self.world.start(server)
    }

    /// Kills a server and switches it off.
    ///
    /// # Errors
    /// The first promise found broken by it.
    pub fn kill(&mut self, server: usize) -> Verdict {
        self.world.servers[server].is_on = false;
        self.world.crash(server)
    }

    /// Gives a server that is switched off an empty volume. `is_lost` is whether the one before held what it had promised to keep.
    pub fn replace_volume(&mut self, server: usize, is_lost: bool) {
        assert!(!self.world.servers[server].is_on, "a volume in use is not replaced");
        self.world.servers[server].disk = SimDisk::new();
        self.world.ledger.servers[server] = Observed { is_wiped: is_lost, ..Observed::default() };
    }

    /// Grants an empty store its vote: the server starts anew from it.
    ///
    /// # Errors
    /// What the store of a sound server must not be.
    pub fn grant(&mut self, server: usize) -> Verdict {
        self.world.grant(server);
        self.world.crash(server)?;
        self.world.start(server)
    }

    /// Asks a server for another configuration; [`Operated::reconfiguration`] tells how it goes.
    ///
    /// # Errors
    /// The first promise found broken by it; inside, why the server refuses.
    pub fn reconfigure(
        &mut self,
        server: usize,
        request: &ReconfigRequest,
    ) -> Result<Result<(), ReconfigureError>, Violation> {
        let mut begun = Err(ReconfigureError::NotLeading);
        self.world.ledger.owned += 1;
        self.world.input(server, |peer, now| begun = peer.reconfigure(now, request))?;
        Ok(begun)
    }

    /// Waits for a reconfiguration no longer.
    ///
    /// # Errors
    /// The first promise found broken by it.
    pub fn end_reconfiguration(&mut self, server: usize) -> Result<Option<Reconfiguration>, Violation> {
        let mut ended = None;
        self.world.input(server, |peer, _| ended = peer.end_reconfiguration())?;
        Ok(ended)
    }

    /// Asks a server to hand its office over; `None` is to the best one.
    ///
    /// # Errors
    /// The first promise found broken by it; inside, why the server refuses.
    pub fn transfer(
        &mut self,
        server: usize,
        to: Option<ServerId>,
    ) -> Result<Result<ServerId, TransferRefusal>, Violation> {
        let mut begun = Err(TransferRefusal::NotLeading);
        self.world.input(server, |peer, now| begun = peer.transfer_office(now, to))?;
        Ok(begun)
    }

    /// Whether a server is switched on.
    pub fn is_on(&self, server: usize) -> bool {
        self.world.servers[server].is_on
    }

    /// Whether a server serves as the leader.
    pub fn is_leading(&self, server: usize) -> bool {
        self.world.is_leading(server)
    }

    /// Whether a server serves, in whatever office.
    pub fn is_serving(&self, server: usize) -> bool {
        self.world.is_serving(server)
    }
}
