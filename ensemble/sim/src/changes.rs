//! Runs in which the ensemble itself changes: clients ask for reconfigurations while everything else happens.
//!
//! Five machines; a few of them are the first ensemble, the others follow without a vote or observe. A reconfiguration moves one server
//! or names a whole new ensemble, now and then one that decides by groups and weights. A volume is lost as one is that an operator replaces
//! (`operator/core/src/plan/repair.rs`), when the others are whole and enough without it: of an ensemble of one or two nothing would be left.

use crate::request::Request;
use crate::swarm::Swarm;
use ensemble_proto::ServerId;
use ensemble_proto::membership::{MemberRole, Membership};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::time::Duration;

/// The bit of a seed that says so.
pub const CHANGING: u64 = 1 << 63;
/// Machines.
const SERVERS: usize = 5;
/// Of so many requests of a client one is a reconfiguration.
const ONE_IN: u32 = 60;
/// What a server may weigh within its group.
const WEIGHTS: [i64; 6] = [0, 1, 1, 1, 2, 4];

/// Makes a run one in which the ensemble changes.
pub(crate) fn adapt(swarm: &mut Swarm, random: &mut Rng) {
    swarm.servers = SERVERS;
    swarm.first_voters = random.usize(1..=4);
    swarm.reconfigures = true;
    swarm.first_groups = [0, 0, 0, 1, 2, 3][random.usize(0..6)];
    // It is tried often and seldom succeeds.
    swarm.faults.wipe = random.bool().then(|| Duration::from_millis(random.u64(3_000..15_000)));
    swarm.faults.lost_snapshots = None;
    swarm.faults.bit_rot = None;
    swarm.faults.misdirected = None;
    swarm.faults.lost_quorum = None;
}

/// The first ensemble: so many voters, the next server observes.
pub(crate) fn first(swarm: &Swarm) -> Membership {
    let mut membership = crate::server::membership(swarm.servers);
    if swarm.changes() {
        membership.servers.retain(|id, _| id.0 as usize <= swarm.first_voters + 1);
        if let Some(mut last) = membership.servers.last_entry() {
            last.get_mut().role = MemberRole::Observer;
        }
        for id in 1..=swarm.first_voters.min(SERVERS) {
            if let Some(group) = id.checked_rem(swarm.first_groups) {
                membership.groups.entry(group as i64).or_default().insert(ServerId(id as i64));
            }
        }
    }
    membership.complete().unwrap_or_else(|error| unreachable!("each voter is in one group: {error}"))
}

/// A client's next request, if it is a reconfiguration.
pub(crate) fn draw(swarm: &Swarm, random: &mut Rng) -> Option<Request> {
    if !swarm.reconfigures || random.u32(0..ONE_IN) != 0 {
        return None;
    }
    let line = |id: usize, role: &str| format!("server.{id}=zk-{id}:2888:3888:{role};2181");
    let id = random.usize(1..=swarm.servers);
    let (mut joining, mut leaving, mut members) = (None, None, None);
    match random.u8(0..10) {
        0..3 => joining = Some(line(id, "participant")),
        3 => joining = Some(line(id, "observer")),
        4..6 => leaving = Some(id.to_string()),
        drawn => {
            let (mut lines, mut voters) = (Vec::new(), Vec::new());
            for id in 1..=swarm.servers {
                match random.u8(0..5) {
                    0..3 => {
                        lines.push(line(id, "participant"));
                        voters.push(id);
                    }
                    3 => lines.push(line(id, "observer")),
                    _ => {}
                }
            }
            if drawn >= 7 {
                lines.extend(groups(&voters, random));
            }
            members = Some(lines.join(","));
        }
    }
    Some(Request::Reconfig { joining, leaving, members })
}

/// Lines that divide these servers into at most three groups, and say what some of them weigh.
fn groups(voters: &[usize], random: &mut Rng) -> Vec<String> {
    let mut groups: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let (most, has_weights) = (random.usize(1..=3), random.bool());
    let mut lines = Vec::new();
    for id in voters {
        groups.entry(random.usize(1..=most)).or_default().push(id.to_string());
        if has_weights {
            lines.push(format!("weight.{id}={}", WEIGHTS[random.usize(0..WEIGHTS.len())]));
        }
    }
    lines.extend(groups.into_iter().map(|(group, members)| format!("group.{group}={}", members.join(":"))));
    lines
}
