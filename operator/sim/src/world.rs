//! One run: a queue of what users, controllers, kubelets and operators do, beside the world of the servers.
//!
//! ```text
//!   storm (edits, faults)  ->  the last edit, no faults  ->  convergence  ->  quiet  ->  final checks of the ensemble
//!                                                       \->  deletion  ->  what is left
//! ```

use crate::cluster::{Cluster, NAME};
use crate::judge::Judge;
use crate::marks::Marks;
use crate::mutants::Mutant;
use crate::nodes::Change;
use crate::operator::{Act, Operator};
use crate::script::{Deed, Script};
use crate::volumes::{Growth, Volumes};
use ensemble_proto::ServerId;
use ensemble_sim::agenda::Agenda;
use ensemble_sim::operated::{Operated, Surroundings};
use ensemble_sim::trace::{Tell, Verdict, Violation};
use ensemble_sim::world::Summary;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::time::Duration;

/// The most servers that a script asks for.
pub(crate) const SERVERS: usize = 7;
/// How long an ensemble may take until it is what the spec asks for and the operator has nothing left to do.
const CONVERGENCE_MAX: Duration = Duration::from_secs(600);
/// How long nothing may be written then.
const QUIET: Duration = Duration::from_secs(90);
/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);

/// Something that happens at a time.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A user acts.
    Deed(Deed),
    /// The controller of StatefulSets looks.
    Controller,
    /// Something happens to a pod.
    Pod { ordinal: i32, uid: String, change: Change },
    /// Something happens to a claim.
    Volume { uid: String, growth: Growth },
    /// The garbage collector looks.
    Collect,
    /// An operator goes on; `life` is whose.
    Operator { operator: usize, life: u64, act: Act },
    /// The part with faults is over.
    Calm,
}

/// A cluster with one ensemble and its operators.
pub struct World {
    pub(crate) servers: Operated,
    pub(crate) cluster: Cluster,
    pub(crate) operators: Vec<Operator>,
    pub(crate) script: Script,
    pub(crate) judge: Judge,
    pub(crate) marks: Marks,
    pub(crate) mutant: Mutant,
    /// Of the cluster: the servers have their own.
    pub(crate) random: Rng,
    /// Which claims the disk of a server is.
    pub(crate) disks: BTreeMap<i32, Volumes>,
    pub(crate) is_stormy: bool,
    /// Until when the admin port of a server waits for the reconfiguration that it was asked for last.
    pub(crate) asked: BTreeMap<usize, Duration>,
    agenda: Agenda<Event>,
}

/// What a run did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of the servers.
    pub servers: Summary,
    /// What it came across.
    pub marks: Marks,
    /// Calls of operators that took effect.
    pub writes: u64,
    /// How long it took to converge.
    pub converged_in: Duration,
}

impl World {
    /// The world of a seed, before anything has happened.
    pub fn new(seed: u64, mutant: Mutant, tell: Tell) -> World {
        let mut random = Rng::with_seed(seed ^ 0x6f70_6572_6174_6f72);
        let script = Script::draw(&mut random);
        World::of(seed, (script, random), mutant, tell)
    }

    /// The world in which this is going to happen.
    pub(crate) fn of(seed: u64, (script, random): (Script, Rng), mutant: Mutant, tell: Tell) -> World {
        let surroundings = Surroundings { servers: SERVERS, storm: script.storm, has_faults: script.has_server_faults };
        let mut world = World {
            servers: Operated::new(seed, surroundings, tell),
            cluster: Cluster::new(&script.first_spec(), script.is_expandable),
            operators: (0..2).map(|_| Operator::default()).collect(),
            judge: Judge::default(),
            marks: Marks::default(),
            mutant,
            disks: BTreeMap::new(),
            is_stormy: true,
            asked: BTreeMap::new(),
            agenda: Agenda::default(),
            script,
            random,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        let script = format!("{:?}", self.script);
        self.servers.tale(|| script);
        for (at, deed) in self.script.deeds.clone() {
            self.schedule(at, Event::Deed(deed));
        }
        self.schedule(Duration::ZERO, Event::Controller);
        self.schedule(self.script.storm, Event::Calm);
        self.start_operator(0, Duration::ZERO);
    }

    /// Runs to the end and checks everything.
    ///
    /// # Errors
    /// The first promise found broken.
    pub fn run(&mut self) -> Result<Outcome, Violation> {
        self.run_until(self.script.storm)?;
        if let Some(after) = self.script.deleted_after {
            return self.end(after);
        }
        let converged_in = self.converge()?;
        let writes = self.cluster.writes;
        self.run_until(self.now() + QUIET)?;
        self.judge.quiet(writes, &self.cluster)?;
        let servers = self.servers.finish()?;
        Ok(Outcome { servers, marks: self.marks, writes, converged_in })
    }

    /// Runs until the ensemble is what the spec asks for, for a while at most. A person helps where the status asks for one.
    fn converge(&mut self) -> Result<Duration, Violation> {
        let began = self.now();
        loop {
            self.run_until(self.now() + LOOK)?;
            let open = crate::converged::unconverged(self);
            let took = self.now() - began;
            match open {
                None => return Ok(took),
                Some(why) if took > CONVERGENCE_MAX => return Err(Violation::new("O-8", why)),
                Some(_) => self.help(),
            }
        }
    }

    /// Virtual time.
    pub(crate) fn now(&self) -> Duration {
        self.servers.now()
    }

    /// A server of an ordinal, by its index.
    pub(crate) fn server(ordinal: i32) -> usize {
        usize::try_from(ordinal).unwrap_or(usize::MAX)
    }

    /// Whether the server of an ordinal votes by the committed configuration.
    pub(crate) fn votes(&self, ordinal: i32) -> bool {
        self.servers.ledger().membership.is_voter(ServerId(i64::from(ordinal) + 1))
    }

    /// Whether it is in the committed configuration.
    pub(crate) fn is_member(&self, ordinal: i32) -> bool {
        self.servers.ledger().membership.servers.contains_key(&ServerId(i64::from(ordinal) + 1))
    }

    /// Puts an event down; those at the same time happen in the order in which they were put there.
    pub(crate) fn schedule(&mut self, at: Duration, event: Event) {
        self.agenda.schedule(at, 0, event);
    }

    /// Puts it there for in a while.
    pub(crate) fn schedule_in(&mut self, least_ms: u64, most_ms: u64, event: Event) {
        let after = Duration::from_millis(self.random.u64(least_ms..most_ms));
        self.schedule(self.now() + after, event);
    }

    /// A line of the story.
    pub(crate) fn tale(&self, line: impl FnOnce() -> String) {
        self.servers.tale(|| format!("{NAME}: {}", line()));
    }

    pub(crate) fn run_until(&mut self, end: Duration) -> Verdict {
        while let Some(next) = self.agenda.next(end) {
            self.servers.run_until(next.at)?;
            self.servers.mix(&[next.number, self.cluster.version]);
            self.happen(next.event)?;
        }
        self.servers.run_until(end)
    }

    fn happen(&mut self, event: Event) -> Verdict {
        match event {
            Event::Deed(deed) => self.act(deed),
            Event::Controller => {
                self.control();
                Ok(())
            }
            Event::Pod { ordinal, uid, change } => self.change_pod(ordinal, &uid, change),
            Event::Volume { uid, growth } => {
                self.grow(uid, growth);
                Ok(())
            }
            Event::Collect => {
                self.collect();
                Ok(())
            }
            Event::Operator { operator, life, act } => {
                if self.operators[operator].life == life {
                    self.operate(operator, act)
                } else {
                    Ok(())
                }
            }
            Event::Calm => self.calm(),
        }
    }

    /// The faults stop, and the user has made up their mind.
    fn calm(&mut self) -> Verdict {
        self.is_stormy = false;
        self.tale(|| "the storm is over".to_string());
        self.act(Deed::Heal)?;
        self.nodes_come_back();
        Ok(())
    }
}
