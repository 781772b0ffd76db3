//! Runs in which the ensemble itself changes: clients ask for reconfigurations while everything else happens.
//!
//! Five machines; a few of them are the first ensemble, the others follow without a vote or observe. A reconfiguration moves one server
//! or names a whole new ensemble. No volume is lost here: of an ensemble of one or two there would be nothing left.

use crate::request::Request;
use crate::swarm::Swarm;
use ensemble_proto::membership::{MemberRole, Membership};
use fastrand::Rng;

/// The bit of a seed that says so.
pub const CHANGING: u64 = 1 << 63;
/// Machines.
const SERVERS: usize = 5;
/// Of so many requests of a client one is a reconfiguration.
const ONE_IN: u32 = 60;

/// Makes a run one in which the ensemble changes.
pub(crate) fn adapt(swarm: &mut Swarm, random: &mut Rng) {
    swarm.servers = SERVERS;
    swarm.first_voters = random.usize(1..=4);
    swarm.reconfigures = true;
    swarm.faults.wipe = None;
    swarm.faults.lost_snapshots = None;
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
    }
    membership
}

/// A client's next request, if it is a reconfiguration.
pub(crate) fn draw(swarm: &Swarm, random: &mut Rng) -> Option<Request> {
    if !swarm.reconfigures || random.u32(0..ONE_IN) != 0 {
        return None;
    }
    let line = |id: usize, role: &str| format!("server.{id}=zk-{id}:2888:3888:{role};2181");
    let id = random.usize(1..=swarm.servers);
    let (mut joining, mut leaving, mut members) = (None, None, None);
    match random.u8(0..8) {
        0..3 => joining = Some(line(id, "participant")),
        3 => joining = Some(line(id, "observer")),
        4..6 => leaving = Some(id.to_string()),
        _ => {
            let mut role = |id: usize| match random.u8(0..5) {
                0..3 => Some(line(id, "participant")),
                3 => Some(line(id, "observer")),
                _ => None,
            };
            members = Some((1..=swarm.servers).filter_map(&mut role).collect::<Vec<_>>().join(","));
        }
    }
    Some(Request::Reconfig { joining, leaving, members })
}
