//! Operators: each reads, plans with the production planner, and carries the steps out one by one, as `operator-controller` does.
//!
//! A pass takes its time: the API is read at one moment, each server answers at another, and each step arrives at a later one. A call
//! may end the operator before or after it took effect, be refused, or take effect without an answer. Two operators act at once
//! when one has lost its lease and does not know yet.

use crate::cluster::Refusal;
use crate::marks::Mark;
use crate::members;
use crate::mutants::Mutant;
use crate::nodes::Change;
use crate::observe::observe;
use crate::world::{Event, World};
use ensemble_sim::trace::Verdict;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use operator_api::ZooKeeperEnsembleStatus;
use operator_core::plan::Next;
use operator_core::{Identity, Kind, Observed, Plan, Step, Token, plan};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// When to look again while something is on its way; see `operator-controller`'s `reconcile`.
const SOON: Duration = Duration::from_secs(2);
/// When to look again when all is well.
const LATER: Duration = Duration::from_secs(30);
/// When to try again after somebody else wrote first.
const AFTER_CONFLICT: Duration = Duration::from_millis(200);
/// When to try again after an error.
const AFTER_ERROR: Duration = Duration::from_secs(5);
/// How long a server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How many passes old a cache is that is believed.
pub(crate) const STALE_PASSES: usize = 3;
/// One call in so many goes wrong, in percent.
const FAULT_PERCENT: u8 = 4;

/// What an operator does next.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// It begins a pass, if there is a reason.
    Pass,
    /// A server hears its question.
    Ask(i32),
    /// A server has not answered in time.
    Silence(i32),
    /// A call of the step with this index arrives.
    Step(usize),
    /// It waits for the server that the step is about.
    Look { step: usize, server: usize, deadline: Duration },
    /// It is no longer.
    End,
}

/// An operator process, or the next one in its place.
#[derive(Default)]
pub(crate) struct Operator {
    /// Counts processes.
    pub(crate) life: u64,
    /// Whether there is one.
    pub(crate) is_alive: bool,
    /// What the pass has seen so far.
    asking: Option<Observed>,
    /// What it is planned from.
    observed: Option<Rc<Observed>>,
    waiting: usize,
    pub(crate) plan: Option<Plan>,
    /// The version of the cluster when it looked last.
    pub(crate) seen: u64,
    /// When it looks again, whatever happens.
    due: Duration,
    /// What the last passes saw.
    pub(crate) past: VecDeque<Observed>,
    /// The last pass found nothing to do, and left nothing to wait for.
    pub(crate) is_idle: bool,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    CrashBefore,
    CrashAfter,
    Refused(Refusal),
    NoAnswer,
}

impl World {
    /// Starts an operator process in a while.
    pub(crate) fn start_operator(&mut self, operator: usize, after: Duration) {
        let it = &mut self.operators[operator];
        *it = Operator { life: it.life + 1, is_alive: true, ..Operator::default() };
        let life = it.life;
        self.schedule(self.now() + after, Event::Operator { operator, life, act: Act::Pass });
    }

    /// An operator goes on.
    pub(crate) fn operate(&mut self, operator: usize, act: Act) -> Verdict {
        match act {
            Act::Pass => {
                self.pass(operator);
                Ok(())
            }
            Act::Ask(ordinal) => self.ask(operator, ordinal),
            Act::Silence(ordinal) => self.answered(operator, ordinal, Err("no answer within 2 s".to_owned())),
            Act::Step(index) => self.step(operator, index),
            Act::Look { step, server, deadline } => self.look(operator, step, server, deadline),
            Act::End => {
                self.operators[operator].is_alive = false;
                self.operators[operator].life += 1;
                Ok(())
            }
        }
    }

    /// An operator does something next.
    pub(crate) fn next(&mut self, operator: usize, after: Duration, act: Act) {
        let life = self.operators[operator].life;
        self.schedule(self.now() + after, Event::Operator { operator, life, act });
    }

    /// How long a message takes; now and then very long.
    pub(crate) fn latency(&mut self) -> Duration {
        let most = if self.is_stormy && self.random.u8(0..50) == 0 { 4000 } else { 30 };
        Duration::from_millis(self.random.u64(1..most))
    }

    fn pass(&mut self, operator: usize) {
        let (now, version) = (self.now(), self.cluster.version);
        let it = &mut self.operators[operator];
        if self.cluster.is_gone || now < it.due && it.seen == version {
            self.next(operator, Duration::from_millis(500), Act::Pass);
            return;
        }
        it.seen = version;
        let fresh = Identity { ensemble_id: self.cluster.fresh("ensemble"), token: Token(self.cluster.fresh("token")) };
        let observed = observe(&self.cluster, now, fresh);
        let asked: Vec<i32> =
            observed.pods.iter().filter(|(_, pod)| pod.ip.is_some()).map(|(ordinal, _)| *ordinal).collect();
        self.operators[operator].waiting = asked.len();
        self.operators[operator].asking = Some(observed);
        if asked.is_empty() {
            self.decide(operator);
        }
        for ordinal in asked {
            let after = self.latency();
            self.next(operator, after, Act::Ask(ordinal));
        }
    }

    fn ask(&mut self, operator: usize, ordinal: i32) -> Verdict {
        let server = World::server(ordinal);
        match members::status(self, ordinal) {
            Some(status) => {
                let (serves, now) = (self.servers.is_serving(server), self.now());
                self.judge.told(server, status.config.version(), serves, now);
                self.answered(operator, ordinal, Ok(status))
            }
            None if self.servers.is_running(server) => {
                self.next(operator, ANSWER_TIMEOUT, Act::Silence(ordinal));
                Ok(())
            }
            None => self.answered(operator, ordinal, Err("connection refused".to_owned())),
        }
    }

    fn answered(
        &mut self,
        operator: usize,
        ordinal: i32,
        answer: Result<operator_core::MemberStatus, String>,
    ) -> Verdict {
        let it = &mut self.operators[operator];
        if let Some(observed) = &mut it.asking {
            observed.members.insert(ordinal, answer);
        }
        it.waiting -= 1;
        if it.waiting == 0 {
            self.decide(operator);
        }
        Ok(())
    }

    fn decide(&mut self, operator: usize) {
        let Some(seen) = self.operators[operator].asking.take() else { return };
        let past = &mut self.operators[operator].past;
        // Only a broken operator looks back.
        if self.mutant != Mutant::None {
            past.push_back(seen.clone());
        }
        if past.len() > STALE_PASSES {
            past.pop_front();
        }
        let observed = self.mutant.observed(seen, &self.operators[operator].past);
        let plan = self.mutant.plan(plan(&observed), &observed);
        for step in plan.steps.iter().filter(|step| step.mutates()) {
            self.tale(|| format!("operator {operator} plans {step}{}", turned(&observed, step)));
        }
        let it = &mut self.operators[operator];
        it.is_idle = plan.next == Next::Later && !plan.steps.iter().any(Step::mutates);
        it.observed = Some(Rc::new(observed));
        it.plan = Some(plan);
        let after = self.latency();
        self.next(operator, after, Act::Step(0));
    }

    fn again(&mut self, operator: usize, after: Duration) -> Verdict {
        self.operators[operator].due = self.now() + after;
        let after = after.min(Duration::from_millis(500));
        self.next(operator, after, Act::Pass);
        Ok(())
    }

    fn step(&mut self, operator: usize, index: usize) -> Verdict {
        let it = &self.operators[operator];
        let (Some(observed), Some(plan)) = (it.observed.clone(), &it.plan) else { return Ok(()) };
        let Some(step) = plan.steps.get(index).cloned() else {
            let after = match plan.next {
                Next::Now => Duration::ZERO,
                Next::Soon => SOON,
                Next::Later | Next::Never => LATER,
            };
            return self.again(operator, after);
        };
        self.marks.step(&step);
        if !step.mutates() {
            return self.step(operator, index + 1);
        }
        let fault = self.draw_fault();
        if fault == Some(Fault::CrashBefore) {
            return self.die(operator);
        }
        let result = match fault {
            Some(Fault::Refused(refusal)) => Err(refusal),
            _ => match &step {
                Step::Reconfigure(change) => return self.reconfigure(operator, index, &observed, change, fault),
                Step::Transfer(transfer) => return self.transfer(operator, index, transfer, fault),
                step => self.carry_out(&observed, step)?,
            },
        };
        match fault {
            Some(Fault::CrashAfter) => return self.die(operator),
            Some(Fault::NoAnswer) if fails(&step) => return self.again(operator, AFTER_ERROR),
            _ => {}
        }
        let after = self.latency();
        match (&step, result) {
            (Step::Evict(_), Err(Refusal::TooManyRequests | Refusal::NotFound)) => {
                self.marks.hit(Mark::EvictionHeldUp);
                self.next(operator, after, Act::Step(index + 1));
            }
            (Step::DeletePod(_) | Step::DeleteClaim(_), Err(Refusal::NotFound)) | (_, Ok(())) => {
                self.next(operator, after, Act::Step(index + 1));
            }
            (step, Err(_)) if !fails(step) => self.next(operator, after, Act::Step(index + 1)),
            (_, Err(Refusal::Conflict)) => {
                self.marks.hit(Mark::Conflict);
                return self.again(operator, AFTER_CONFLICT);
            }
            (_, Err(_)) => return self.again(operator, AFTER_ERROR),
        }
        Ok(())
    }

    fn draw_fault(&mut self) -> Option<Fault> {
        if !self.is_stormy || !self.script.has_api_faults || self.random.u8(0..100) >= FAULT_PERCENT {
            return None;
        }
        let (fault, mark) = match self.random.u8(0..6) {
            0 => (Fault::CrashBefore, Mark::CrashBefore),
            1 => (Fault::CrashAfter, Mark::CrashAfter),
            2 => (Fault::Refused(Refusal::Conflict), Mark::Refused409),
            3 => (Fault::Refused(Refusal::TooManyRequests), Mark::Refused429),
            4 => (Fault::Refused(Refusal::Internal), Mark::Refused500),
            _ => (Fault::NoAnswer, Mark::NoAnswer),
        };
        self.marks.hit(mark);
        Some(fault)
    }

    /// The process ends; the next one starts, after a while.
    pub(crate) fn die(&mut self, operator: usize) -> Verdict {
        self.tale(|| format!("operator {operator} dies"));
        let after = Duration::from_millis(self.random.u64(1000..15_000));
        self.start_operator(operator, after);
        Ok(())
    }

    /// A call of a step arrives.
    fn carry_out(
        &mut self,
        observed: &Observed,
        step: &Step,
    ) -> Result<Result<(), Refusal>, ensemble_sim::trace::Violation> {
        if let Step::Evict(removal) = step
            && let Err(refusal) = self.cluster.may_evict(removal)
        {
            return Ok(Err(refusal));
        }
        crate::judge::step(self, observed, step)?;
        let now = self.now();
        Ok(match step {
            Step::Record(_, status) | Step::WriteStatus(status) => {
                let written = self.cluster.write_status(&observed.ensemble, status);
                if written.is_ok() {
                    self.recorded(status);
                }
                written
            }
            Step::CreateToken(token) => {
                self.cluster.create_token(token);
                Ok(())
            }
            Step::Apply(object) => {
                let live = observed.object(object.kind.as_str(), &object.name);
                let version = live.and_then(|live| live["metadata"]["resourceVersion"].as_str());
                self.cluster.apply(object, version.filter(|_| object.kind == Kind::StatefulSet), now)
            }
            Step::Grant(grant) => {
                self.grant(grant)?;
                Ok(())
            }
            Step::Stamp(mark) => self.cluster.stamp_claim(mark),
            Step::Own(ownership) => self.cluster.own_claim(ownership),
            Step::DeleteClaim(hold) => {
                self.judge.given_up.insert(hold.uid.clone());
                self.cluster.delete_claim(hold)
            }
            Step::Evict(removal) | Step::DeletePod(removal) => {
                self.cluster.delete_pod(removal, now).map(|is_new| self.going(removal.ordinal, is_new))
            }
            Step::ForceDeletePod(removal) => self.cluster.force_delete_pod(removal),
            Step::Expand(expansion) => self.cluster.expand(expansion).map(|()| self.resize(expansion.uid.clone())),
            Step::Orphan(set) => self.cluster.orphan(set),
            Step::Reconfigure(_) | Step::Transfer(_) | Step::Report(_) | Step::Wait { .. } => Ok(()),
            Step::Adopt(adoption) => self.cluster.adopt(adoption),
            Step::Offer(_) | Step::Withdraw(..) => unreachable!("no spec here asks for monitoring"),
        })
    }

    /// A status was written.
    fn recorded(&mut self, status: &ZooKeeperEnsembleStatus) {
        self.judge.began_anew(status);
        let Some(rebuild) = &status.rebuild else { return };
        self.judge.recorded(rebuild);
        let is_finished = rebuild.finished_at.is_some();
        self.marks.sometimes(Mark::Rebuilt, is_finished);
        self.marks.sometimes(Mark::RebuiltUnasked, is_finished && rebuild.request.is_none());
    }

    /// A pod is being deleted.
    pub(crate) fn going(&mut self, ordinal: i32, is_new: bool) {
        if is_new {
            self.then(ordinal, Change::Terminate, 20, 500);
        }
    }
}

/// Whether a pass ends when the call of this step fails. What servers are asked for is seen by the next pass.
fn fails(step: &Step) -> bool {
    !matches!(step, Step::Grant(_) | Step::Reconfigure(_) | Step::Transfer(_))
}

/// What a step changes in the status: its conditions, or else what it was and is.
fn turned(observed: &Observed, step: &Step) -> String {
    let Step::WriteStatus(status) = step else { return String::new() };
    let Some(old) = &observed.ensemble.status else { return String::new() };
    let before = |new: &Condition| old.conditions.iter().find(|condition| condition.type_ == new.type_);
    let is_new =
        |new: &&Condition| before(new).is_none_or(|old| old.status != new.status || old.message != new.message);
    let changed: Vec<String> = status
        .conditions
        .iter()
        .filter(is_new)
        .map(|new| format!("{}={} {}: {}", new.type_, new.status, new.reason, new.message))
        .collect();
    match changed.is_empty() {
        true => format!(": from {old:?} to {status:?}"),
        false => format!(": {}", changed.join("; ")),
    }
}
