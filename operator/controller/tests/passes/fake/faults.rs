//! Something going wrong at each mutating call in turn.

use super::Fake;

/// What happens at a mutating call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operator dies before the call takes effect.
    CrashBefore,
    /// The call takes effect, and the operator dies before it hears of it.
    CrashAfter,
    /// The call takes no effect and is answered with this status.
    Answer(u16),
    /// The call takes effect and is answered with 504.
    TimeoutAfter,
}

pub const FAULTS: [Fault; 6] = [
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::Answer(409),
    Fault::Answer(429),
    Fault::Answer(500),
    Fault::TimeoutAfter,
];

/// What happens at which call of a run, the first being 0; none in the undisturbed one.
pub type Disturbance = Option<(usize, Fault)>;

impl Fake {
    /// Lets that happen, counted from here. Returns how many calls there were before.
    pub fn disturb(&self, disturbance: Disturbance) -> usize {
        let mut world = self.world();
        let before = world.calls.len();
        world.fault = disturbance.map(|(n, fault)| (before + n, fault));
        before
    }
}

/// Runs something undisturbed, and then with each of these faults at each of its calls. `run` calls [`Fake::disturb`], asserts what must hold in the
/// end, and returns what that returned. `disturbed` is told the calls of the undisturbed run, and says how many of them are disturbed.
pub async fn at_any_call(
    faults: &[Fault],
    run: impl AsyncFn(Disturbance) -> (Fake, usize),
    disturbed: impl FnOnce(&[String]) -> usize,
) {
    let (undisturbed, before) = run(None).await;
    let calls = undisturbed.world().calls[before..].to_vec();
    let count = disturbed(&calls);
    assert!(count > 0 && count <= calls.len(), "{count} of {calls:?}");
    for (n, call) in calls.iter().enumerate().take(count) {
        for fault in faults {
            let (fake, _) = run(Some((n, *fault))).await;
            assert!(fake.world().fault.is_none(), "{fault:?} at call {n} ({call}): it did not happen");
        }
    }
}

/// Asserts that these are among the calls.
pub fn contain(calls: &[String], wanted: &[&str]) {
    for wanted in wanted {
        assert!(calls.iter().any(|call| call == wanted), "no {wanted}: {calls:?}");
    }
}
