//! What runs should come across, now and then: each kind of step, each fault of a call, each trouble of pods. A long run in which one
//! never did has failed: then the scripts are too tame, or the planner's code is unreachable.

use operator_core::Step;

/// So many seeds must come across every mark.
pub const SEEDS_MIN: u64 = 3000;

/// The steps that change something, by [`Step::name`].
const STEPS: [&str; 22] = [
    "record-identity",
    "record-volumes",
    "record-complete",
    "record-configuration",
    "record-pods",
    "record-rebuild",
    "record-recovery",
    "reconfigure",
    "transfer",
    "stamp",
    "adopt",
    "delete-claim",
    "own",
    "evict",
    "delete-pod",
    "force-delete-pod",
    "expand",
    "orphan",
    "create-token",
    "apply",
    "grant",
    "write-status",
];

macro_rules! marks {
    ($($name:ident $text:literal),* $(,)?) => {
        /// A situation.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[allow(missing_docs, reason = "the text of each is its documentation")]
        pub enum Mark {
            $($name),*
        }

        /// All of them, each with what it means.
        const TEXTS: &[&str] = &[$($text),*];
    };
}

marks! {
    CrashBefore "an operator dies before a call takes effect",
    CrashAfter "an operator dies after a call took effect",
    Refused409 "a call is answered with 409 for no reason",
    Refused429 "a call is answered with 429",
    Refused500 "a call is answered with 500",
    NoAnswer "a call takes effect and is not answered",
    Conflict "somebody else wrote first",
    EvictionHeldUp "a budget holds an eviction up, or its pod is gone",
    TwoOperators "an operator acts on after another has its lease",
    ReconfigurationRefused "a leader refuses a reconfiguration",
    ReconfigurationUnknown "it is not known what became of a reconfiguration",
    HandedOverAtStop "a leader that is stopped hands its office over",
    ConfigMapStale "a pod is started with an older zoo.cfg",
    ServersReadAgain "an empty server reads the newest servers in zoo.cfg",
    ImageMissing "an image cannot be pulled",
    ConfigurationRefused "a server refuses its zoo.cfg",
    FormersConfiguration "a server refuses the zoo.cfg of the former ensemble",
    EvenSize "an even number of servers is asked for",
    PodDeleted "a person deletes a pod",
    NodeLost "a node is lost",
    NodeOutOfReach "a node is out of reach, and its server goes on",
    NodeOff "a person says that a node is off",
    OffByMistake "a person says that a node is off, and it comes back",
    Damaged "the files of a member cannot be trusted",
    Rebuilt "a member is rebuilt",
    RebuiltUnasked "a member is rebuilt that nobody asked for",
    ResizeFailed "a resize fails",
    ClaimLingers "a claim is still there a while after its pod is gone",
    VolumeHalved "a member loses one of its two volumes",
    FileSystemWaits "a file system grows only when it is mounted anew",
    Stopped "every server of an ensemble that is kept is stopped",
    Woken "the servers of an ensemble that was kept are started",
    Promoted "an observer is to vote",
    Demoted "a voter is to observe",
    Deleted "the ensemble is deleted",
    VolumeLost "a member loses its volume",
    MajorityLost "the volumes of a majority are lost",
    RecoveryByMistake "a person asks for a recovery with another id, or of another member",
    RecoveryAsked "a person asks for the recovery from a lost majority",
    TakenOver "the history of one member goes on as another ensemble",
    Traded "an observer votes instead of a voter",
    SwapGivenUp "a person gives Swap mode up, for want of an observer",
    VolumeReplaced "a server that is no member gets a new volume",
    ClaimGivenUp "a person deletes a claim that stands in the way of a larger ensemble",
}

const COUNT: usize = TEXTS.len() + STEPS.len();

/// How often each came up.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    counts: [u64; COUNT],
}

impl Default for Marks {
    fn default() -> Marks {
        Marks { counts: [0; COUNT] }
    }
}

impl Marks {
    /// A situation came up.
    pub fn hit(&mut self, mark: Mark) {
        self.counts[mark as usize] += 1;
    }

    /// It did, if so.
    pub fn sometimes(&mut self, mark: Mark, came_up: bool) {
        if came_up {
            self.hit(mark);
        }
    }

    /// How often a situation came up.
    pub fn count(&self, mark: Mark) -> u64 {
        self.counts[mark as usize]
    }

    /// A step is carried out.
    pub fn step(&mut self, step: &Step) {
        if let Some(index) = STEPS.iter().position(|name| *name == step.name()) {
            self.counts[TEXTS.len() + index] += 1;
        }
    }

    /// Counts the seeds that came across each.
    pub fn add_seed(&mut self, seed: &Marks) {
        for (count, found) in self.counts.iter_mut().zip(seed.counts) {
            *count += found.min(1);
        }
    }

    /// Every situation and how often it came up.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        TEXTS.iter().chain(&STEPS).copied().zip(self.counts)
    }

    /// What never came up in so many seeds, when they should have been enough.
    pub fn unseen(&self, seeds: u64) -> Vec<&'static str> {
        let unseen = self.all().filter(|(_, count)| *count == 0 && seeds >= SEEDS_MIN);
        unseen.map(|(text, _)| text).collect()
    }
}
