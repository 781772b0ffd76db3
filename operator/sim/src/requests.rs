//! What operators ask of servers through their admin ports: grants, reconfigurations and hand-offs, and how long they wait for them.

use crate::marks::Mark;
use crate::members;
use crate::nodes::Change;
use crate::operator::{Act, Fault};
use crate::world::World;
use ensemble_peer::Reconfiguration as Fate;
use ensemble_proto::ServerId;
use ensemble_proto::reconfig::ReconfigRequest;
use ensemble_sim::trace::Verdict;
use operator_core::{Grant, Observed, Reconfiguration, Step, Transfer};
use std::time::Duration;

/// How long a leader may take for a reconfiguration or a hand-off.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(8);
/// How often it is looked how that goes.
const LOOK_MS: u64 = 20;
/// A leader that ends while it changes the configuration does so within this time.
const LEADER_ENDS_MAX_MS: u64 = 60;

impl World {
    /// The server that has the address of a pod now.
    fn at(&self, ip: &str) -> Option<usize> {
        let has = |pod: &&crate::cluster::Pod| pod.facts.ip.as_deref() == Some(ip);
        let (ordinal, _) = self.cluster.pods.iter().find(|(_, pod)| has(pod))?;
        Some(World::server(*ordinal)).filter(|server| self.servers.report(*server).is_some())
    }

    pub(crate) fn grant(&mut self, grant: &Grant) -> Verdict {
        let Some(server) = self.at(&grant.ip).filter(|_| self.cluster.token.is_some()) else { return Ok(()) };
        let ordinal = i32::try_from(server).unwrap_or_default();
        if members::takes(self, ordinal, grant) {
            self.tale(|| format!("server {server} is granted its vote"));
            self.cluster.writes += 1;
            self.judge.granted(grant)?;
            return self.servers.grant(server);
        }
        Ok(())
    }

    pub(crate) fn reconfigure(
        &mut self,
        operator: usize,
        index: usize,
        observed: &Observed,
        change: &Reconfiguration,
        fault: Option<Fault>,
    ) -> Verdict {
        crate::judge::reconfiguration(self, observed, change)?;
        self.mark_roles(change);
        let list = |items: &[String]| (!items.is_empty()).then(|| items.join(","));
        let leaving: Vec<String> = change.leaving.iter().map(ToString::to_string).collect();
        let request = ReconfigRequest {
            joining: list(&change.joining),
            leaving: list(&leaving),
            members: None,
            from_version: operator_api::version_number(&change.version).unwrap_or(-1),
        };
        self.cluster.writes += 1;
        let server = self.at(&change.ip);
        if let Some(server) = server {
            self.end_forgotten(server)?;
        }
        let begun = match server {
            Some(server) => {
                let begun = self.servers.reconfigure(server, &request)?;
                if begun.is_ok() {
                    self.asked.insert(server, self.now() + CHANGE_TIMEOUT);
                    self.perhaps_kill(change.leader);
                }
                begun
            }
            None => Err(ensemble_peer::ReconfigureError::NotLeading),
        };
        if let Err(error) = &begun {
            self.tale(|| format!("the reconfiguration is refused: {error}"));
            self.marks.hit(Mark::ReconfigurationRefused);
        }
        self.wait_for(operator, index, server.filter(|_| begun.is_ok()), fault)
    }

    /// A leader may end while it changes the configuration: it is not known then what became of that, to anybody.
    fn perhaps_kill(&mut self, leader: i32) {
        if self.is_stormy && self.script.has_server_faults && self.random.u8(0..20) == 0 {
            self.then(leader, Change::Broken, 0, LEADER_ENDS_MAX_MS);
        }
    }

    /// Whether a step of the plan of an operator is a reconfiguration.
    fn is_reconfiguration(&self, operator: usize, step: usize) -> bool {
        let plan = self.operators[operator].plan.as_ref();
        plan.and_then(|plan| plan.steps.get(step)).is_some_and(|step| matches!(step, Step::Reconfigure(_)))
    }

    fn mark_roles(&mut self, change: &Reconfiguration) {
        let membership = &self.servers.ledger().membership;
        let id = |line: &String| {
            let id = line.strip_prefix("server.")?.split('=').next()?.parse().ok()?;
            Some((ServerId(id), line.contains(":observer")))
        };
        let roles: Vec<(ServerId, bool)> = change.joining.iter().filter_map(id).collect();
        let promoted = roles.iter().any(|(id, observes)| !observes && membership.is_observer(*id));
        let demoted = roles.iter().any(|(id, observes)| *observes && membership.is_voter(*id));
        self.marks.sometimes(Mark::Promoted, promoted);
        self.marks.sometimes(Mark::Traded, promoted && demoted);
        self.marks.sometimes(Mark::Demoted, demoted);
    }

    /// The admin port of a server waits for the end of a reconfiguration whether its operator lives or not.
    fn end_forgotten(&mut self, server: usize) -> Verdict {
        let is_open = matches!(self.servers.reconfiguration(server), Some(Fate::Waiting | Fate::Proposed(_)));
        let is_late = self.asked.get(&server).is_some_and(|deadline| *deadline < self.now());
        if !is_open || is_late {
            self.servers.end_reconfiguration(server)?;
        }
        Ok(())
    }

    pub(crate) fn transfer(
        &mut self,
        operator: usize,
        index: usize,
        transfer: &Transfer,
        fault: Option<Fault>,
    ) -> Verdict {
        self.cluster.writes += 1;
        let server = self.at(&transfer.ip);
        let begun = match server {
            Some(server) => {
                let begun = self.servers.transfer(server, Some(ServerId(i64::from(transfer.myid))))?;
                self.tale(|| format!("server {server} is asked to hand over to {}: {begun:?}", transfer.myid));
                begun.is_ok()
            }
            None => false,
        };
        self.wait_for(operator, index, server.filter(|_| begun), fault)
    }

    /// The answer comes when the server is done.
    fn wait_for(&mut self, operator: usize, step: usize, server: Option<usize>, fault: Option<Fault>) -> Verdict {
        if fault == Some(Fault::CrashAfter) {
            return self.die(operator);
        }
        let deadline = self.now() + CHANGE_TIMEOUT;
        match server {
            Some(server) => {
                self.next(operator, Duration::from_millis(LOOK_MS), Act::Look { step, server, deadline });
            }
            None => self.next(operator, Duration::from_millis(LOOK_MS), Act::Step(step + 1)),
        }
        Ok(())
    }

    pub(crate) fn look(&mut self, operator: usize, step: usize, server: usize, deadline: Duration) -> Verdict {
        let fate = self.servers.reconfiguration(server);
        let is_open = matches!(fate, Some(Fate::Waiting | Fate::Proposed(_))) || self.servers.is_transferring(server);
        if is_open && self.now() < deadline {
            self.next(operator, Duration::from_millis(LOOK_MS), Act::Look { step, server, deadline });
            return Ok(());
        }
        let fate = self.servers.end_reconfiguration(server)?;
        if self.is_reconfiguration(operator, step) {
            self.tale(|| format!("the reconfiguration is {fate:?}"));
            let is_known = matches!(fate, Some(Fate::Active(_) | Fate::Refused(_)));
            self.marks.sometimes(Mark::ReconfigurationUnknown, !is_known);
        }
        let after = self.latency();
        self.next(operator, after, Act::Step(step + 1));
        Ok(())
    }
}
