//! Stopping the servers of an ensemble that is kept: the followers first, then the leader.
//!
//! ```text
//! hand-off to the server of ordinal 0 ──► one pod is left ──► the others have stopped ──► no pod is left
//! ```
//!
//! A StatefulSet drops its highest ordinals and no others, so that the one who stays to the end is ordinal 0. It leads by then: whoever
//! else is stopped takes no office with it, and no election is held among servers that are about to stop. When a majority has gone
//! the leader serves no more, and is stopped too.
//!
//! *Why nothing is lost.* Nobody leaves the configuration, and no claim is touched: what was acknowledged is on a majority of the
//! volumes, which all come back. That holds in whichever order servers stop. So the order is a courtesy, and nothing waits for it
//! long: without a leader, without a server that can take over, or when the hand-off does not happen within [`HAND_OFF_SECONDS`],
//! all stop at once. The number of pods never grows on this way, so that a pass with old eyes starts nobody.

use operator_api::names;

use crate::assess::Assessment;
use crate::conditions::find;
use crate::founded::Founded;
use crate::observed::Observed;
use crate::step::Transfer;

/// How long the hand-off may take before all servers are stopped at once, in seconds.
const HAND_OFF_SECONDS: i64 = 30;
/// The ordinal that a StatefulSet stops last.
const LAST: i32 = 0;

/// What is done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stopping {
    /// How many pods the StatefulSet is to have.
    pub(crate) pods: i32,
    /// The leader hands its office over before anybody is stopped.
    pub(crate) transfer: Option<Transfer>,
}

/// Decides how many pods there are to be.
pub(crate) fn next(observed: &Observed, founded: &Founded, assessment: &Assessment) -> Stopping {
    let all = Stopping { pods: 0, transfer: None };
    let set = observed.object("StatefulSet", &names::stateful_set(observed.name()));
    let asked = set.and_then(|set| set["spec"]["replicas"].as_i64()).and_then(|n| i32::try_from(n).ok());
    let (Some(asked), Some(leader)) = (asked.map(|asked| asked.min(founded.pods)), assessment.leader) else {
        return all;
    };
    if !founded.is_complete() || asked <= LAST {
        return all;
    }
    if leader == LAST {
        return if others_run(observed) { Stopping { pods: LAST + 1, transfer: None } } else { all };
    }
    let ip = observed.pods.get(&leader).filter(|pod| !pod.deleting).and_then(|pod| pod.ip.clone());
    let can_lead = founded.voters().contains(&LAST) && assessment.is_whole(LAST);
    match ip.filter(|_| can_lead && asked == founded.pods && !is_late(observed)) {
        Some(ip) => {
            Stopping { pods: asked, transfer: Some(Transfer { from: leader, to: LAST, ip, myid: founded.myid(LAST) }) }
        }
        None => all,
    }
}

/// Whether a server besides the last one is not known to have stopped. One whose pod is being deleted and that does not answer has.
fn others_run(observed: &Observed) -> bool {
    observed.pods.iter().any(|(ordinal, pod)| {
        *ordinal != LAST && (!pod.deleting || observed.members.get(ordinal).is_some_and(Result::is_ok))
    })
}

fn is_late(observed: &Observed) -> bool {
    let progressing = observed.ensemble.status.as_ref().and_then(|status| find(&status.conditions, "Progressing"));
    progressing.filter(|condition| condition.status == "True").is_some_and(|condition| {
        observed.now.0.duration_since(condition.last_transition_time.0).as_secs() >= HAND_OFF_SECONDS
    })
}
