//! What is counted below a znode that has a quota (`DataTree.updateQuotaStat`, `StatsTrack`, `Quotas`).
//!
//! A client limits `/a` by creating `/zookeeper/quota/a/zookeeper_limits`, and gives the servers a place for what they count,
//! `zookeeper_stats` beside it. Each server counts for itself: no transaction says so, and the digest covers nothing below
//! `/zookeeper/`. The stats znode's data changes with every change below `/a`, and its stat does not.
//!
//! ```text
//! count=12,bytes=345                          znodes from /a down, bytes of their data
//! count=12,bytes=345=;countHardLimit=100      what a client has written beside them is kept
//! ```
//!
//! After a snapshot was loaded everything is counted anew, as ZooKeeper does, and transactions that are replayed change the
//! numbers only by what they change in the tree; so the numbers are those of the tree, fuzzy or not.
//!
//! A leader that enforces quotas (`enforceQuota`) refuses what would exceed a hard limit, by what is applied: what is on its way is not
//! counted, so many writes at once, or a multi, can overrun it. A soft limit refuses nothing.

use crate::path;
use crate::slab::Position;
use crate::tree::DataTree;
use std::collections::{BTreeMap, BTreeSet};

const QUOTA: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";
const HARD_COUNT: &str = "countHardLimit";
const HARD_BYTES: &str = "byteHardLimit";

/// Znodes and their bytes of data.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Usage {
    pub(crate) count: i64,
    pub(crate) bytes: i64,
}

impl Usage {
    pub(crate) fn of_data(count: i64, data: Option<&[u8]>) -> Usage {
        Usage { count, bytes: data.map_or(0, |data| data.len() as i64) }
    }

    pub(crate) fn minus(self, other: Usage) -> Usage {
        Usage { count: self.count - other.count, bytes: self.bytes - other.bytes }
    }
}

/// The paths that have limits: as many as clients have created limits for.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct Quotas(BTreeSet<String>);

impl Quotas {
    /// The nearest of the path and those above it that has limits; the root's do not count.
    fn nearest(&self, path: &str) -> Option<&str> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain(std::iter::once(path.len()));
        let mut prefixes = ends.filter(|at| *at > 0).map(|at| &path[..at]).collect::<Vec<_>>();
        std::iter::from_fn(|| prefixes.pop()).find_map(|prefix| self.0.get(prefix)).map(String::as_str)
    }
}

/// What the quotas of one namespace, a child of the root, allow and have counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamespaceQuota {
    /// Znodes; `None` without a limit.
    pub count_limit: Option<i64>,
    /// Bytes of data; `None` without a limit.
    pub bytes_limit: Option<i64>,
    /// Znodes counted.
    pub count: i64,
    /// Bytes counted.
    pub bytes: i64,
}

impl DataTree {
    /// Quotas by namespace, the sums where it has several (`QuotaMetricsUtils`). A hard limit counts before a soft one. As many as
    /// clients have created limits for; limits that do not parse are none.
    pub fn namespace_quotas(&self) -> BTreeMap<String, NamespaceQuota> {
        let none = NamespaceQuota { count_limit: None, bytes_limit: None, count: 0, bytes: 0 };
        let mut quotas = BTreeMap::new();
        for limited in &self.quotas.0 {
            let stats = |path: &str| {
                let position = self.find(path)?;
                Stats::parse(self.slab[position].data().unwrap_or_default())
            };
            let Some(namespace) = limited.split('/').nth(1).filter(|name| !name.is_empty()) else { continue };
            let quota: &mut NamespaceQuota = quotas.entry(namespace.to_string()).or_insert(none);
            if let Some(limits) = stats(&format!("{QUOTA}{limited}/{LIMITS}")) {
                let limit = |hard: &str, soft: i64| {
                    let hard = limits.rest.get(hard).copied().filter(|limit| *limit >= 0);
                    hard.or((soft >= 0).then_some(soft))
                };
                let add = |sum: Option<i64>, more: Option<i64>| match (sum, more) {
                    (Some(sum), Some(more)) => Some(sum.saturating_add(more)),
                    (sum, more) => sum.or(more),
                };
                quota.count_limit = add(quota.count_limit, limit(HARD_COUNT, limits.count));
                quota.bytes_limit = add(quota.bytes_limit, limit(HARD_BYTES, limits.bytes));
            }
            if let Some(usage) = stats(&stats_path(limited)) {
                quota.count = quota.count.saturating_add(usage.count);
                quota.bytes = quota.bytes.saturating_add(usage.bytes);
            }
        }
        quotas
    }

    /// Whether a hard limit of the nearest znode that has limits forbids so much more at `path` (`ZooKeeperServer.checkQuota`): more znodes than
    /// it allows where some are added, or more bytes where their number changes. Limits or stats that do not parse forbid nothing.
    pub(crate) fn forbids(&self, path: &str, more: Usage) -> bool {
        let Some(limited) = self.quotas.nearest(path) else { return false };
        let stats = |path: String| {
            let position = self.find(&path)?;
            Stats::parse(self.slab[position].data().unwrap_or_default())
        };
        let limits = stats(format!("{QUOTA}{limited}/{LIMITS}"));
        let Some((limits, used)) = limits.zip(stats(stats_path(limited))) else { return false };
        let exceeds = |limit: &str, used: i64, more: i64| {
            let limit = limits.rest.get(limit).copied().filter(|limit| *limit >= 0);
            more != 0 && limit.is_some_and(|limit| used.saturating_add(more) > limit)
        };
        exceeds(HARD_COUNT, used.count, more.count) || exceeds(HARD_BYTES, used.bytes, more.bytes)
    }

    /// A znode was created, and is there.
    pub(crate) fn quota_after_create(&mut self, path: &str, position: Position) {
        if let Some((limited, name)) = quota_znode(path) {
            match name {
                LIMITS => drop(self.quotas.0.insert(limited.to_string())),
                STATS => self.write_usage(limited),
                _ => {}
            }
        }
        if !self.quotas.0.is_empty() {
            let created = Usage::of_data(1, self.slab[position].data());
            self.add_usage(path, created);
        }
    }

    /// What is about to be deleted with a znode; nothing when no quota counts it.
    pub(crate) fn quota_before_delete(&self, position: Position) -> Usage {
        if self.quotas.0.is_empty() { Usage::default() } else { self.usage(position) }
    }

    /// A znode was deleted, and with it so much.
    pub(crate) fn quota_after_delete(&mut self, path: &str, deleted: Usage) {
        if let Some((limited, LIMITS)) = quota_znode(path) {
            self.quotas.0.remove(limited);
        }
        self.add_usage(path, Usage::default().minus(deleted));
    }

    /// A znode's data was replaced.
    pub(crate) fn quota_after_set(&mut self, path: &str, before: Usage, after: Usage) {
        self.add_usage(path, after.minus(before));
    }

    /// A snapshot was loaded: finds the limits in it, and counts.
    pub(crate) fn count_quotas(&mut self) {
        self.quotas = self.find_quotas();
        let limited: Vec<String> = self.quotas.0.iter().cloned().collect();
        for path in limited {
            self.write_usage(&path);
        }
    }

    /// The paths that have limits, by what the tree holds.
    pub(crate) fn find_quotas(&self) -> Quotas {
        let mut found = BTreeSet::new();
        for position in self.find(QUOTA).into_iter().flat_map(|top| self.subtree(top)) {
            if self.slab[position].name() == LIMITS
                && let Some((limited, _)) = quota_znode(&self.path_of(position))
            {
                found.insert(limited.to_string());
            }
        }
        Quotas(found)
    }

    fn usage(&self, position: Position) -> Usage {
        let mut usage = Usage::default();
        for position in self.subtree(position) {
            let znode = Usage::of_data(1, self.slab[position].data());
            usage = Usage { count: usage.count + znode.count, bytes: usage.bytes + znode.bytes };
        }
        usage
    }

    /// Counts anew; a path that is not there has nothing below it.
    fn write_usage(&mut self, limited: &str) {
        let usage = self.find(limited).map_or(Usage::default(), |position| self.usage(position));
        self.write_stats(limited, &Stats::new(usage));
    }

    /// Adds to what the stats of the nearest limited znode say. Data that is not of their form stays as it is.
    ///
    /// Differs from ZooKeeper: where a server fails at the transaction when a client has written something else there.
    fn add_usage(&mut self, path: &str, more: Usage) {
        if more == Usage::default() {
            return;
        }
        let Some(limited) = self.quotas.nearest(path).map(String::from) else { return };
        let Some(position) = self.find(&stats_path(&limited)) else { return };
        if let Some(mut stats) = Stats::parse(self.slab[position].data().unwrap_or_default()) {
            stats.count = stats.count.wrapping_add(more.count);
            stats.bytes = stats.bytes.wrapping_add(more.bytes);
            self.write_stats(&limited, &stats);
        }
    }

    fn write_stats(&mut self, limited: &str, stats: &Stats) {
        let path = stats_path(limited);
        if let Some(position) = self.find(&path) {
            let stat = self.slab[position].stat;
            self.replace_data(position, Some(stats.to_string().as_bytes()), stat, &path);
        }
    }
}

/// The limited path and the name, when the znode is one below `/zookeeper/quota`.
fn quota_znode(path: &str) -> Option<(&str, &str)> {
    let (parent, name) = path::split(path)?;
    Some((parent.strip_prefix(QUOTA).filter(|limited| limited.starts_with('/'))?, name))
}

fn stats_path(limited: &str) -> String {
    format!("{QUOTA}{limited}/{STATS}")
}

/// The data of a stats znode.
#[derive(PartialEq, Eq, Debug)]
struct Stats {
    count: i64,
    bytes: i64,
    /// What else there is, by name.
    rest: BTreeMap<String, i64>,
}

impl Stats {
    fn new(usage: Usage) -> Stats {
        Stats { count: usage.count, bytes: usage.bytes, rest: BTreeMap::new() }
    }

    /// What is absent or without a number is -1.
    fn parse(data: &[u8]) -> Option<Stats> {
        let mut rest = BTreeMap::new();
        for pair in std::str::from_utf8(data).ok()?.split([',', ';']).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=')?;
            let value = value.trim_end_matches('=');
            rest.insert(name.to_string(), if value.is_empty() { -1 } else { value.parse().ok()? });
        }
        let mut take = |name| rest.remove(name).unwrap_or(-1);
        Some(Stats { count: take("count"), bytes: take("bytes"), rest })
    }
}

impl std::fmt::Display for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "count={},bytes={}", self.count, self.bytes)?;
        if !self.rest.is_empty() {
            write!(f, "=")?; // what makes readers of before 3.5 stop here
        }
        self.rest.iter().try_for_each(|(name, value)| write!(f, ";{name}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_are_read_and_written_as_zookeeper_does() {
        let check = |data: &str, written: Option<&str>| {
            assert_eq!(Stats::parse(data.as_bytes()).map(|stats| stats.to_string()).as_deref(), written, "{data}");
        };
        check("count=12,bytes=345", Some("count=12,bytes=345"));
        check("", Some("count=-1,bytes=-1"));
        check("bytes=3,count=", Some("count=-1,bytes=3"));
        let limits = "count=1,bytes=2=;byteHardLimit=4;countHardLimit=3";
        check(limits, Some(limits));
        check("something else", None);
        check("count=many", None);
    }

    #[test]
    fn the_nearest_limited_znode_counts() {
        let quotas = Quotas(["/a", "/a/b/c"].map(String::from).into());
        let check = |path: &str, expected: Option<&str>| assert_eq!(quotas.nearest(path), expected, "{path}");
        check("/a", Some("/a"));
        check("/a/b", Some("/a"));
        check("/a/b/c/d/e", Some("/a/b/c"));
        check("/ab", None);
        check("/", None);
    }
}
