//! Deadlines in buckets (`ExpiryQueue.java`): a touch rounds its deadline up to the next multiple of a tick, so that
//! thousands of keys share few buckets, a touch within the same tick costs one look-up, and a bucket expires as a
//! whole. A key therefore lives between its timeout and its timeout plus one tick after the last touch.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::time::Duration;

/// Keys with deadlines, in buckets of one tick.
pub(crate) struct ExpiryQueue<K> {
    tick: Duration,
    deadlines: HashMap<K, Duration, FixedState>,
    buckets: BTreeMap<Duration, BTreeSet<K>>,
}

impl<K: Copy + Ord + Hash> ExpiryQueue<K> {
    /// An empty queue whose buckets are `tick` wide; `tick` must not be zero.
    pub(crate) fn new(tick: Duration, seed: u64) -> ExpiryQueue<K> {
        assert!(!tick.is_zero(), "a tick has a length");
        ExpiryQueue { tick, deadlines: HashMap::with_hasher(FixedState::with_seed(seed)), buckets: BTreeMap::new() }
    }

    /// Gives `key` a full `timeout` from `now`, whether it was there or not.
    pub(crate) fn touch(&mut self, key: K, now: Duration, timeout: Duration) {
        let deadline = self.bucket(now + timeout);
        match self.deadlines.insert(key, deadline) {
            Some(previous) if previous == deadline => return,
            Some(previous) => self.leave(previous, key),
            None => {}
        }
        self.buckets.entry(deadline).or_default().insert(key);
    }

    /// Forgets `key`.
    pub(crate) fn remove(&mut self, key: K) {
        if let Some(deadline) = self.deadlines.remove(&key) {
            self.leave(deadline, key);
        }
    }

    /// Takes out every key whose deadline has come, in order.
    pub(crate) fn expired(&mut self, now: Duration) -> Vec<K> {
        let mut keys = Vec::new();
        while let Some(bucket) = self.buckets.first_entry().filter(|bucket| *bucket.key() <= now) {
            keys.extend(bucket.remove());
        }
        for key in &keys {
            self.deadlines.remove(key);
        }
        keys
    }

    /// When the next bucket expires.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.buckets.keys().next().copied()
    }

    /// Each deadline with the keys that it takes out, both ascending.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (Duration, &BTreeSet<K>)> {
        self.buckets.iter().map(|(at, keys)| (*at, keys))
    }

    fn bucket(&self, at: Duration) -> Duration {
        let ticks = at.as_nanos() / self.tick.as_nanos() + 1;
        Duration::from_nanos(u64::try_from(ticks * self.tick.as_nanos()).unwrap_or(u64::MAX))
    }

    fn leave(&mut self, deadline: Duration, key: K) {
        if let Some(bucket) = self.buckets.get_mut(&deadline) {
            bucket.remove(&key);
            if bucket.is_empty() {
                self.buckets.remove(&deadline);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_key_lives_between_its_timeout_and_one_tick_more() {
        let mut queue = ExpiryQueue::new(ms(1000), 0);
        queue.touch('a', ms(100), ms(4000));
        assert_eq!(queue.next(), Some(ms(5000)));
        assert_eq!(queue.expired(ms(4999)), vec![]);
        assert_eq!(queue.expired(ms(5000)), vec!['a']);
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn a_touch_moves_the_deadline_and_a_removed_key_never_expires() {
        let mut queue = ExpiryQueue::new(ms(1000), 0);
        for key in ['a', 'b', 'c'] {
            queue.touch(key, ms(0), ms(2000));
        }
        queue.touch('a', ms(1500), ms(2000));
        queue.remove('b');
        assert_eq!(queue.expired(ms(3000)), vec!['c']);
        assert_eq!(queue.expired(ms(10_000)), vec!['a']);
    }
}
