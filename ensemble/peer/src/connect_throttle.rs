//! How many handshakes are taken in a time: a bucket of tokens, and before it a chance to be dropped that grows while the bucket is empty and shrinks while it
//! is full (BLUE). Source: `BlueThrottle.java` and `ZooKeeperServer.processConnectRequest` of Apache ZooKeeper 3.9.

use ensemble_proto::SplitMix64;
use std::time::Duration;

/// The bucket (`connection_throttle_*`).
#[derive(Clone, Debug)]
pub struct ConnectThrottle {
    /// Tokens that the bucket holds at most, at least 1 (`connection_throttle_tokens`); of global sessions where there are weights.
    pub tokens: u32,
    /// Tokens that come in `fill_time` (`connection_throttle_fill_count`); of global sessions where there are weights.
    pub fill_count: u32,
    /// Whole milliseconds, at least 1 (`connection_throttle_fill_time`).
    pub fill_time: Duration,
    /// Time between changes of the chance to be dropped (`connection_throttle_freeze_time`); `None`: there is no such chance.
    pub freeze_time: Option<Duration>,
    /// By how much the chance grows, 0 to 1 (`connection_throttle_drop_increase`).
    pub drop_increase: f64,
    /// By how much it shrinks, 0 to 1 (`connection_throttle_drop_decrease`).
    pub drop_decrease: f64,
    /// It shrinks while no more than this part of the tokens is missing, 0 to 1 (`connection_throttle_decrease_ratio`).
    pub decrease_ratio: f64,
    /// What a handshake takes (`connection_throttle_weight_enabled`); `None` is one token.
    pub weights: Option<Weights>,
}

/// Tokens that a handshake takes, each at least 1 and no more than a global session's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weights {
    /// For a new session of the ensemble (`connection_throttle_global_session_weight`).
    pub global: u32,
    /// For a new local session (`connection_throttle_local_session_weight`).
    pub local: u32,
    /// For a session that there is (`connection_throttle_renew_session_weight`).
    pub renew: u32,
}

/// What a handshake wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    Global,
    Local,
    Renew,
}

/// The state of a bucket.
pub(crate) struct Bucket {
    config: ConnectThrottle,
    tokens: u64,
    filled: Duration,
    changed: Duration,
    drop_chance: f64,
    random: SplitMix64,
}

impl Bucket {
    /// A full bucket; `seed` is for what is left to chance.
    pub(crate) fn new(config: ConnectThrottle, now: Duration, seed: u64) -> Bucket {
        let mut bucket =
            Bucket { config, tokens: 0, filled: now, changed: now, drop_chance: 0.0, random: SplitMix64::new(seed) };
        bucket.tokens = bucket.capacity();
        bucket
    }

    /// Whether the handshake is taken, which takes its tokens.
    pub(crate) fn admits(&mut self, now: Duration, wanted: Wanted) -> bool {
        self.fill(now);
        let need = match (self.config.weights, wanted) {
            (None, _) => 1,
            (Some(weights), Wanted::Global) => weights.global,
            (Some(weights), Wanted::Local) => weights.local,
            (Some(weights), Wanted::Renew) => weights.renew,
        };
        if self.is_dropped(now) || self.tokens < u64::from(need) {
            return false;
        }
        self.tokens -= u64::from(need);
        true
    }

    /// Tokens that are missing.
    pub(crate) fn deficit(&self) -> u64 {
        self.capacity() - self.tokens
    }

    /// The chance of a handshake to be dropped whatever tokens there are, 0 to 1.
    pub(crate) fn drop_chance(&self) -> f64 {
        self.drop_chance
    }

    /// Tokens are counted in those of a global session where there are weights.
    fn weighed(&self, count: u32) -> u64 {
        u64::from(count) * u64::from(self.config.weights.map_or(1, |weights| weights.global))
    }

    fn capacity(&self) -> u64 {
        self.weighed(self.config.tokens)
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled);
        if passed > self.config.fill_time {
            let came = passed.as_millis() * u128::from(self.weighed(self.config.fill_count))
                / self.config.fill_time.as_millis().max(1);
            self.tokens = self.capacity().min(self.tokens.saturating_add(u64::try_from(came).unwrap_or(u64::MAX)));
            self.filled = now;
        }
    }

    fn is_dropped(&mut self, now: Duration) -> bool {
        let Some(freeze_time) = self.config.freeze_time else { return false };
        if now.saturating_sub(self.changed) > freeze_time {
            let threshold = (self.capacity() as f64 * self.config.decrease_ratio).round();
            if self.tokens == 0 {
                self.drop_chance = (self.drop_chance + self.config.drop_increase).min(1.0);
            } else if self.deficit() as f64 <= threshold {
                self.drop_chance = (self.drop_chance - self.config.drop_decrease).max(0.0);
            }
            self.changed = now;
        }
        self.draw() < self.drop_chance
    }

    /// A number from 0 to 1, without 1, evenly.
    fn draw(&mut self) -> f64 {
        (self.random.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn config() -> ConnectThrottle {
        ConnectThrottle {
            tokens: 10,
            fill_count: 2,
            fill_time: ms(100),
            freeze_time: None,
            drop_increase: 0.5,
            drop_decrease: 0.25,
            decrease_ratio: 0.5,
            weights: None,
        }
    }

    /// How many of 100 handshakes at one moment are taken.
    fn burst(bucket: &mut Bucket, now: Duration, wanted: Wanted) -> usize {
        (0..100).filter(|_| bucket.admits(now, wanted)).count()
    }

    #[test]
    fn a_bucket_is_emptied_by_handshakes_and_filled_by_time() {
        let mut bucket = Bucket::new(config(), ms(0), 1);
        assert_eq!(burst(&mut bucket, ms(0), Wanted::Renew), 10);
        assert_eq!(burst(&mut bucket, ms(100), Wanted::Global), 0, "more time must have passed than the fill time");
        assert_eq!(burst(&mut bucket, ms(250), Wanted::Global), 5);
        assert_eq!((burst(&mut bucket, ms(300), Wanted::Global), bucket.deficit()), (0, 10));
        assert_eq!(burst(&mut bucket, ms(1_000_000), Wanted::Global), 10, "it holds no more");
    }

    #[test]
    fn sessions_have_their_weights() {
        let weights = Some(Weights { global: 3, local: 1, renew: 2 });
        for (wanted, taken) in [(Wanted::Global, 10), (Wanted::Local, 30), (Wanted::Renew, 15)] {
            let mut bucket = Bucket::new(ConnectThrottle { weights, ..config() }, ms(0), 1);
            assert_eq!(burst(&mut bucket, ms(0), wanted), taken, "{wanted:?}");
            assert_eq!(burst(&mut bucket, ms(150), Wanted::Global), 3, "{wanted:?}: 9 tokens came");
        }
    }

    #[test]
    fn the_chance_to_be_dropped_follows_the_bucket() {
        let blue = ConnectThrottle { freeze_time: Some(ms(10)), fill_time: ms(1000), ..config() };
        let mut bucket = Bucket::new(blue, ms(0), 1);
        let mut chances = Vec::new();
        burst(&mut bucket, ms(0), Wanted::Global);
        for now in [10, 11, 21, 22, 33] {
            bucket.admits(ms(now), Wanted::Global);
            chances.push(bucket.drop_chance());
        }
        assert_eq!(chances, [0.0, 0.5, 0.5, 1.0, 1.0]);
        // All tokens are there again, and none is given while everything is dropped.
        for (now, chance) in [(5034, 0.75), (5045, 0.5), (5056, 0.25), (5067, 0.0)] {
            bucket.admits(ms(now), Wanted::Global);
            assert_eq!(bucket.drop_chance(), chance, "{now}");
        }
    }

    #[test]
    fn as_many_are_dropped_as_the_chance_says() {
        let blue = ConnectThrottle { freeze_time: Some(ms(u64::MAX >> 1)), tokens: 1_000_000, ..config() };
        let mut bucket = Bucket::new(blue, ms(0), 7);
        bucket.drop_chance = 0.25;
        let taken = (0..10_000).filter(|_| bucket.admits(ms(0), Wanted::Global)).count();
        assert!((7350..7650).contains(&taken), "{taken}");
    }
}
