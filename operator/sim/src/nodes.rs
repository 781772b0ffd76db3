//! The controller of StatefulSets and the kubelets: pods that follow the set, containers that start, are probed, and are stopped.
//!
//! `Parallel` and `OnDelete` as in `kubernetes/pkg/controller/statefulset`: missing ordinals are made at once, from the newest template;
//! those above the number go at once; nobody is restarted for an outdated template; claims are kept.

use crate::cluster::{config_hash, stamp};
use crate::marks::Mark;
use crate::members;
use crate::world::{Event, World};
use ensemble_proto::membership::Membership;
use ensemble_sim::trace::Verdict;
use std::time::Duration;

/// A readiness probe is made so often.
const PROBE: Duration = Duration::from_secs(2);
/// So many in a row must fail.
const FAILED_PROBES: u32 = 2;
/// How long a kubelet may serve what it remembers of a ConfigMap.
const CONFIG_MAP_LAG: Duration = Duration::from_secs(60);
/// When a node that is not heard of is given up: its pods are not ready.
const UNREACHABLE: Duration = Duration::from_secs(40);
/// An image that no registry has.
pub(crate) const BAD_TAG: &str = "bad";
/// A key of `zoo.cfg` that a server refuses.
pub(crate) const BAD_KEY: &str = "bad";

/// What happens to a pod.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Its container is started.
    Start,
    /// It is probed.
    Probe,
    /// It gets SIGTERM.
    Terminate,
    /// Its server is looked after until it has stopped, at the latest then.
    Stop { deadline: Duration },
    /// Its server ends by itself.
    Broken,
    /// Nothing is left of it.
    Gone,
    /// Its node is off, or only out of reach of the API server.
    NodeLost { is_off: bool },
    /// Its node has not been heard of for a while.
    Unreachable,
    /// A person says that its node is off, and is wrong about that if it comes back.
    Vouched { comes_back: bool },
}

impl World {
    /// The controller's turn.
    pub(crate) fn control(&mut self) {
        self.schedule_in(100, 900, Event::Controller);
        crate::judge::look(self);
        self.let_claims_go();
        let Some((revision, replicas)) = self.cluster.observe_stateful_set() else { return };
        let founded = !self.servers.ledger().membership.servers.is_empty();
        let is_still = founded && self.cluster.pods.is_empty();
        self.marks.sometimes(Mark::Stopped, is_still && replicas == 0 && self.cluster.ensemble.spec.is_hibernated());
        self.marks.sometimes(Mark::Woken, is_still && replicas > 0);
        for ordinal in 0..replicas {
            if !self.cluster.pods.contains_key(&ordinal) && self.cluster.make_pod(ordinal, &revision, self.now()) {
                self.tale(|| format!("pod {ordinal} is made of {revision}"));
                self.then(ordinal, Change::Start, 300, 3000);
            }
        }
        let surplus: Vec<i32> = self.cluster.pods.range(replicas..).map(|(ordinal, _)| *ordinal).collect();
        for ordinal in surplus {
            if self.cluster.end_pod(ordinal, self.now()) {
                self.then(ordinal, Change::Terminate, 50, 1000);
            }
        }
    }

    /// Something happens to the pod of an ordinal that is there now, in a while.
    pub(crate) fn then(&mut self, ordinal: i32, change: Change, least_ms: u64, most_ms: u64) {
        if let Some(pod) = self.cluster.pods.get(&ordinal) {
            let uid = pod.facts.uid.clone();
            self.schedule_in(least_ms, most_ms, Event::Pod { ordinal, uid, change });
        }
    }

    /// It happens, unless the pod is another one by now.
    pub(crate) fn change_pod(&mut self, ordinal: i32, uid: &str, change: Change) -> Verdict {
        let Some(pod) = self.cluster.pods.get(&ordinal).filter(|pod| pod.facts.uid == uid) else { return Ok(()) };
        let is_of_node = matches!(change, Change::NodeLost { .. } | Change::Unreachable | Change::Vouched { .. });
        match pod.lost_until.filter(|_| !is_of_node) {
            Some(until) if until > self.now() => {
                // Nobody is there to do it.
                self.then(ordinal, change, 900, 1100);
                return Ok(());
            }
            Some(_) => self.node_is_back(ordinal),
            None => {}
        }
        match change {
            Change::Start => self.start_pod(ordinal, uid),
            Change::Probe => self.probe(ordinal, uid),
            Change::Terminate => self.terminate(ordinal),
            Change::Stop { deadline } => self.stop(ordinal, deadline),
            Change::Broken => {
                self.judge.disturbed = self.now();
                self.then(ordinal, Change::Start, 900, 2000);
                self.servers.kill(World::server(ordinal))
            }
            Change::Gone => {
                self.cluster.pod_is_gone(ordinal);
                Ok(())
            }
            Change::NodeLost { is_off } => {
                self.schedule(
                    self.now() + UNREACHABLE,
                    Event::Pod { ordinal, uid: uid.to_owned(), change: Change::Unreachable },
                );
                if !is_off {
                    return Ok(());
                }
                // When the node is back, its kubelet starts what it finds.
                self.then(ordinal, Change::Start, 900, 1100);
                self.servers.kill(World::server(ordinal))
            }
            Change::Unreachable => {
                self.node_is_unreachable(ordinal, uid);
                Ok(())
            }
            Change::Vouched { comes_back } => {
                self.vouch(ordinal, comes_back);
                Ok(())
            }
        }
    }

    fn start_pod(&mut self, ordinal: i32, uid: &str) -> Verdict {
        let Some(pod) = self.cluster.pods.get(&ordinal).filter(|pod| !pod.facts.deleting) else { return Ok(()) };
        if pod.volume_id.is_some() && self.servers.is_on(World::server(ordinal)) {
            // Its container runs: the kubelet came back, and its next attempt came later.
            return Ok(());
        }
        let (was_probed, expected) = (pod.facts.ip.is_some(), pod.ensemble_id.clone());
        if pod.image.ends_with(&format!(":{BAD_TAG}")) {
            self.marks.hit(Mark::ImageMissing);
            let trouble = format!("does not start: ImagePullBackOff: {}", pod.image);
            self.cluster.update_pod(ordinal, uid, |pod| pod.facts.trouble = Some(trouble));
            return Ok(());
        }
        let text = self.mounted();
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned();
        let ensemble_id = value("ensemble.id=");
        let is_others = expected.is_some_and(|expected| expected != ensemble_id);
        if is_others || text.lines().any(|line| line.starts_with(&format!("{BAD_KEY}="))) {
            self.marks.hit(if is_others { Mark::FormersConfiguration } else { Mark::ConfigurationRefused });
            self.cluster.update_pod(ordinal, uid, |pod| {
                pod.facts.ran = true;
                pod.facts.exit_code = Some(2);
                pod.facts.trouble = Some("exited with code 2 (it refused its configuration)".to_owned());
            });
            self.then(ordinal, Change::Start, 5000, 30_000);
            return Ok(());
        }
        if self.is_damaged(ordinal) {
            self.cluster.update_pod(ordinal, uid, |pod| {
                (pod.facts.ran, pod.facts.exit_code) = (true, Some(5));
                pod.facts.trouble = Some("exited with code 5 (its files cannot be trusted)".to_owned());
            });
            self.then(ordinal, Change::Start, 5000, 30_000);
            return Ok(());
        }
        self.bind(ordinal, !was_probed);
        if !self.mount(ordinal) {
            self.cluster.update_pod(ordinal, uid, |pod| {
                (pod.facts.ran, pod.facts.exit_code) = (true, Some(4));
                pod.facts.trouble =
                    Some("exited with code 4 (one of its volumes is not the one that it had)".to_owned());
            });
            self.then(ordinal, Change::Start, 5000, 30_000);
            return Ok(());
        }
        let server = World::server(ordinal);
        let lines: Vec<&str> = members::server_lines(&text).collect();
        let lines = Membership::parse(&lines.join("\n"))
            .map_err(|error| ensemble_sim::trace::Violation::new("O-9", format!("zoo.cfg: {error}")))?;
        let fresh = self.cluster.fresh("volume");
        let taken_over = self.take_over(ordinal, &text, &lines)?;
        match taken_over.and_then(|()| self.servers.claim(server, &ensemble_id, &fresh)) {
            Err(error) => {
                let trouble = format!("exited with code 4 (its volume belongs to another): {error}");
                self.cluster.update_pod(ordinal, uid, |pod| {
                    (pod.facts.ran, pod.facts.exit_code, pod.facts.trouble) = (true, Some(4), Some(trouble));
                });
                self.then(ordinal, Change::Start, 5000, 30_000);
                Ok(())
            }
            Ok(volume_id) => {
                let ip = format!("10.{}.0.{ordinal}", self.cluster.fresh("").trim_start_matches('-'));
                self.tale(|| format!("server {server} runs on {volume_id}"));
                self.cluster.update_pod(ordinal, uid, |pod| {
                    (pod.facts.ran, pod.facts.exit_code, pod.facts.trouble) = (true, None, None);
                    pod.facts.ip.get_or_insert(ip);
                    pod.volume_id = Some(volume_id);
                    pod.loaded_hash = config_hash(&text);
                    pod.zoo_cfg = text.clone();
                });
                if !was_probed {
                    self.then(ordinal, Change::Probe, 100, 2000);
                }
                self.servers.start(server, lines)
            }
        }
    }

    /// What a kubelet mounts of the ConfigMap now: the newest, or what it remembers.
    fn mounted(&mut self) -> String {
        let now = self.now();
        let texts = &self.cluster.zoo_cfgs;
        let fresh = texts.last().is_some_and(|(since, _)| now - *since < CONFIG_MAP_LAG);
        let remembers = fresh && texts.len() > 1 && self.is_stormy && self.random.u8(0..4) == 0;
        self.marks.sometimes(Mark::ConfigMapStale, remembers);
        let back = if remembers { 2 } else { 1 };
        texts.len().checked_sub(back).map(|index| texts[index].1.clone()).unwrap_or_default()
    }

    fn probe(&mut self, ordinal: i32, uid: &str) -> Verdict {
        self.start_with_newer_servers(ordinal, uid)?;
        let serves = self.servers.report(World::server(ordinal)).is_some_and(|report| report.status.serving);
        let now = self.now();
        self.cluster.update_pod(ordinal, uid, |pod| {
            pod.failed_probes = if serves { 0 } else { pod.failed_probes + 1 };
            let ready = serves || (pod.facts.ready && pod.failed_probes < FAILED_PROBES);
            if ready != pod.facts.ready {
                pod.facts.ready = ready;
                pod.facts.ready_turned = Some(stamp(now));
            }
        });
        let uid = uid.to_owned();
        self.schedule(now + PROBE, Event::Pod { ordinal, uid, change: Change::Probe });
        Ok(())
    }

    /// A server with an empty store that knows of no leader looks into `zoo.cfg` again: it was started with what the kubelet remembered, where
    /// perhaps none of the servers was left that lead and follow now (`ensemble/server/src/member.rs`).
    fn start_with_newer_servers(&mut self, ordinal: i32, uid: &str) -> Verdict {
        let now = self.now();
        let Some((_, newest)) = self.cluster.zoo_cfgs.last().filter(|(since, _)| now - *since >= CONFIG_MAP_LAG) else {
            return Ok(());
        };
        let Some(pod) = self.cluster.pods.get(&ordinal) else { return Ok(()) };
        if members::server_lines(newest).eq(members::server_lines(&pod.zoo_cfg))
            || !members::knows_nobody(self, ordinal)
        {
            return Ok(());
        }
        self.marks.hit(Mark::ServersReadAgain);
        self.tale(|| format!("server {} finds other servers in zoo.cfg", World::server(ordinal)));
        self.servers.kill(World::server(ordinal))?;
        self.start_pod(ordinal, uid)
    }

    /// SIGTERM: a leader hands its office over first.
    fn terminate(&mut self, ordinal: i32) -> Verdict {
        let server = World::server(ordinal);
        if self.servers.is_leading(server) {
            let begun = self.servers.transfer(server, None)?.is_ok();
            self.marks.sometimes(Mark::HandedOverAtStop, begun);
        }
        let deadline = self.now() + self.servers.tick();
        self.then(ordinal, Change::Stop { deadline }, 1, 20);
        Ok(())
    }

    fn stop(&mut self, ordinal: i32, deadline: Duration) -> Verdict {
        let server = World::server(ordinal);
        if self.servers.is_transferring(server) && self.now() < deadline {
            self.then(ordinal, Change::Stop { deadline }, 10, 30);
            return Ok(());
        }
        self.servers.kill(server)?;
        let Some(uid) = self.cluster.pods.get(&ordinal).map(|pod| pod.facts.uid.clone()) else { return Ok(()) };
        self.cluster.update_pod(ordinal, &uid, |pod| (pod.facts.ready, pod.facts.ip) = (false, None));
        self.then(ordinal, Change::Gone, 50, 1500);
        Ok(())
    }

    /// The hash of the configuration that the server of a pod loaded.
    pub(crate) fn loaded_hash(&self, ordinal: i32) -> Option<String> {
        self.cluster.pods.get(&ordinal).map(|pod| pod.loaded_hash.clone())
    }
}
