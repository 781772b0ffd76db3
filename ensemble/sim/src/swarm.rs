//! What a seed decides before anything happens: sizes, limits, speeds, which faults there are and how often.
//!
//! Every fault is on or off by itself, so that some runs are made of few faults in a pure form (swarm testing, Groce et al.,
//! ISSTA 2012). One run in ten has none: there liveness is all that can fail.

use ensemble_peer::RequestThrottle;
use ensemble_storage::Share;
use fastrand::Rng;
use std::time::Duration;

/// How often and which faults happen. `None` for never; else the mean time between two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A server loses its process and its page cache, and starts again later.
    pub crash: Option<Duration>,
    /// All servers at once.
    pub power_cut: Option<Duration>,
    /// A direction, a pair, a server or one of its ports is cut off for a while.
    pub cut: Option<Duration>,
    /// A connection is reset.
    pub reset: Option<Duration>,
    /// A server's disk becomes slow for a while.
    pub slow_disk: Option<Duration>,
    /// There is no room on a disk for a while.
    pub full_disk: Option<Duration>,
    /// A process stops for a while and goes on.
    pub pause: Option<Duration>,
    /// A wall clock jumps.
    pub clock: Option<Duration>,
    /// A server comes back with an empty volume.
    pub wipe: Option<Duration>,
    /// A server comes back with its snapshots lost.
    pub lost_snapshots: Option<Duration>,
    /// A server comes back, and a bit of a log or a snapshot has turned.
    pub bit_rot: Option<Duration>,
    /// A server comes back, and a record of its log, or a sector, stands where another was.
    pub misdirected: Option<Duration>,
    /// A disk does not answer for a while.
    pub hung_disk: Option<Duration>,
    /// The next sync of a server's log fails.
    pub failed_sync: Option<Duration>,
    /// A server loses its volume just when all who know what was committed meanwhile are down: those that are left may elect nobody.
    pub lost_quorum: Option<Duration>,
    /// A leader's followers lose it, and it does not hear of it: for a while there are two who serve.
    pub deposed: Option<Duration>,
    /// A leader that logged what nobody else has comes back to a successor that those who elected it cannot reach.
    pub unreached: Option<Duration>,
}

/// The options of one run.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// Servers: 3 to 5.
    pub servers: usize,
    /// So many are the first ensemble, which then changes; 0 when all are, and stay.
    pub first_voters: usize,
    /// Of those that vote first, so many groups; 0 for none.
    pub first_groups: usize,
    /// Whether clients ask for reconfigurations, until the storm is over.
    pub reconfigures: bool,
    /// Client sessions at a time.
    pub clients: usize,
    /// So many of them only read, each time after a sync.
    pub readers: usize,
    /// Distinct names a client picks from; few, so that clients collide.
    pub names: usize,
    /// Unanswered requests a client has at most.
    pub pipeline: usize,
    /// Mean time between a client's requests.
    pub think: Duration,
    /// `tickTime`.
    pub tick: Duration,
    /// `initLimit`.
    pub init_limit: u32,
    /// `syncLimit`.
    pub sync_limit: u32,
    /// `zookeeper.commitLogCount`: small, so that SNAP is common.
    pub committed_log: usize,
    /// `snapshotSizeFactor`: how long the log may be that a learner is sent; `None` is no limit.
    pub log_share: Option<Share>,
    /// `snapCount`: small, so that snapshots are common.
    pub snap_count: u64,
    /// Zeros ahead in a log, bytes.
    pub preallocate: u64,
    /// `txnLogSizeLimitInKb`, in bytes.
    pub log_len_max: Option<u64>,
    /// Typical one-way latency.
    pub latency: Duration,
    /// Typical time of an fsync.
    pub fsync: Duration,
    /// Length of the part with faults.
    pub storm: Duration,
    /// Nobody writes after it: what clients wait for must not depend on what others ask.
    pub reads_after_storm: bool,
    /// Faults in it.
    pub faults: Faults,
    /// How likely the peer of a crashed process hears nothing, in percent.
    pub half_open: u8,
    /// The last counter of an epoch: small, so that epochs end (ZOOKEEPER-1277).
    pub zxid_counter_max: u32,
    /// `request_throttle_max_requests`: few, so that requests wait for others; `None` is no limit.
    pub throttle: Option<RequestThrottle>,
    /// `localSessionsEnabled` and `localSessionsUpgradingEnabled`.
    pub local_sessions: bool,
    /// `readonlymode.enabled`, and every other client is content with such a server.
    pub read_only: bool,
}

impl Swarm {
    /// Draws the options of a run.
    pub fn draw(random: &mut Rng) -> Swarm {
        let ms = |random: &mut Rng, range: std::ops::Range<u64>| Duration::from_millis(random.u64(range));
        let tick = Duration::from_millis([100, 200, 500, 1000][random.usize(0..4)]);
        Swarm {
            servers: if random.u8(0..10) < 7 { 3 } else { 5 },
            first_voters: 0,
            first_groups: 0,
            reconfigures: false,
            clients: random.usize(2..8),
            readers: [0, 0, 0, 1, 2][random.usize(0..5)],
            names: random.usize(2..6),
            pipeline: random.usize(1..8),
            think: ms(random, 100..900),
            tick,
            init_limit: random.u32(5..12),
            sync_limit: random.u32(2..6),
            committed_log: [4, 20, 500][random.usize(0..3)],
            log_share: [None, Some(Share { of: 33, in_all: 100 }), Some(Share { of: 2, in_all: 1 })]
                [random.usize(0..3)],
            snap_count: [10, 50, 100_000][random.usize(0..3)],
            preallocate: [0, 700, 4096][random.usize(0..3)],
            log_len_max: [None, Some(1500)][random.usize(0..2)],
            latency: Duration::from_micros([300, 2_000, 10_000][random.usize(0..3)]),
            fsync: Duration::from_micros([200, 3_000, 20_000][random.usize(0..3)]),
            storm: Duration::from_secs(random.u64(60..150)),
            faults: Faults::draw(random),
            half_open: [0, 30][random.usize(0..2)],
            zxid_counter_max: [150, u32::MAX - 1, u32::MAX - 1][random.usize(0..3)],
            reads_after_storm: random.u8(0..4) == 0,
            throttle: None,
            local_sessions: false,
            read_only: false,
        }
    }

    /// Draws what came later than the rest, from a stream of its own, so that runs without it stay as they were.
    pub fn draw_more(&mut self, random: &mut Rng) {
        let wait_max = [None, Some(Duration::from_millis(5)), Some(Duration::from_millis(100))];
        self.throttle = (random.u8(0..4) == 0).then(|| RequestThrottle {
            requests_max: random.usize(1..4),
            has_stale: random.bool(),
            drops_stale: random.bool(),
            wait_max: wait_max[random.usize(0..wait_max.len())],
        });
        if self.faults != Faults::default() {
            self.faults.bit_rot = (random.u8(0..5) == 0).then(|| Duration::from_secs(random.u64(15..60)));
            self.faults.full_disk = (random.u8(0..4) == 0).then(|| Duration::from_secs(random.u64(10..50)));
            self.faults.misdirected = (random.u8(0..5) == 0).then(|| Duration::from_secs(random.u64(15..60)));
            self.faults.hung_disk = (random.u8(0..4) == 0).then(|| Duration::from_secs(random.u64(10..50)));
        }
        self.local_sessions = random.u8(0..6) == 0;
        if self.local_sessions {
            // Readers alone would cause no transaction at all.
            self.readers = self.readers.min(self.clients - 1);
        }
        self.read_only = random.u8(0..6) == 0;
        if random.u8(0..12) == 0 {
            self.servers = 4;
        }
        if self.faults != Faults::default() {
            self.faults.failed_sync = (random.u8(0..5) == 0).then(|| Duration::from_secs(random.u64(10..50)));
        }
    }
}

impl Swarm {
    /// Whether the ensemble changes.
    pub fn changes(&self) -> bool {
        self.first_voters > 0
    }

    /// Whether leaders use their zxids up.
    pub fn has_short_epochs(&self) -> bool {
        self.zxid_counter_max < u32::MAX - 1
    }
}

impl Faults {
    fn draw(random: &mut Rng) -> Faults {
        if random.u8(0..10) == 0 {
            return Faults::default();
        }
        let mut one = |often_s: u64, seldom_s: u64, percent: u8| {
            let drawn = Duration::from_millis(random.u64(often_s * 1000..seldom_s * 1000));
            (random.u8(0..100) < percent).then_some(drawn)
        };
        Faults {
            crash: one(4, 40, 60),
            power_cut: one(15, 80, 30),
            cut: one(3, 30, 50),
            reset: one(2, 20, 50),
            slow_disk: one(10, 40, 40),
            full_disk: None,
            pause: one(8, 40, 40),
            clock: one(10, 40, 20),
            wipe: one(30, 90, 20),
            lost_snapshots: one(30, 90, 10),
            bit_rot: None,
            misdirected: None,
            hung_disk: None,
            failed_sync: None,
            lost_quorum: one(20, 60, 15),
            deposed: one(8, 40, 20),
            unreached: one(15, 50, 15),
        }
    }
}
