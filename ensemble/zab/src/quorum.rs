//! What makes a quorum: more than half of the voters (`QuorumMaj.java`), or more than half of the groups, in each of them more
//! than half of the weight (`QuorumHierarchical.java`). While a reconfiguration is pending, a quorum of either configuration
//! (`SyncedLearnerTracker.java`).
//!
//! Two quorums of one configuration always have a server in common; everything that is safe here rests on it.

use ensemble_proto::ServerId;
use ensemble_proto::membership::Membership;
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// Where so many vote or fewer, nothing is allocated to count what they have: that is done for every acknowledgement.
const VOTERS_MOSTLY: usize = 8;

/// The voters of one configuration, and which of them together are enough.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Quorum {
    /// More than half of them.
    Majority { voters: BTreeSet<ServerId> },
    /// More than half of the groups; a group without weight is none, though its servers vote.
    Hierarchical { voters: BTreeSet<ServerId>, groups: Vec<Group> },
}

/// Servers that decide together, each with its weight.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Group {
    weights: Vec<(ServerId, i64)>,
}

impl Quorum {
    pub(crate) fn new(membership: &Membership) -> Quorum {
        let voters = membership.voters().collect();
        if !membership.is_hierarchical() {
            return Quorum::Majority { voters };
        }
        let weighed = |id: &ServerId| (*id, membership.weight(*id));
        let groups = membership.groups.values().map(|members| Group { weights: members.iter().map(weighed).collect() });
        Quorum::Hierarchical { voters, groups: groups.filter(|group| group.weight(|_| true) > 0).collect() }
    }

    /// This server alone.
    pub(crate) fn alone(id: ServerId) -> Quorum {
        Quorum::Majority { voters: [id].into() }
    }

    fn all(&self) -> &BTreeSet<ServerId> {
        match self {
            Quorum::Majority { voters } | Quorum::Hierarchical { voters, .. } => voters,
        }
    }

    pub(crate) fn contains(&self, id: ServerId) -> bool {
        self.all().contains(&id)
    }

    /// What a voter's word counts for; without weight it may not lead.
    pub(crate) fn weight(&self, id: ServerId) -> i64 {
        match self {
            Quorum::Majority { voters } => i64::from(voters.contains(&id)),
            Quorum::Hierarchical { groups, .. } => groups.iter().map(|group| group.weight(|other| other == id)).sum(),
        }
    }

    /// Whether those who agree are enough. Who does not vote is never counted.
    pub(crate) fn has_quorum(&self, agrees: impl Fn(ServerId) -> bool) -> bool {
        match self {
            Quorum::Majority { voters } => voters.iter().filter(|id| agrees(**id)).count() > voters.len() / 2,
            Quorum::Hierarchical { groups, .. } => {
                groups.iter().filter(|group| group.agrees(&agrees)).count() > groups.len() / 2
            }
        }
    }

    /// The highest position that a quorum has reached; `None` when no quorum has a position.
    pub(crate) fn reached<T: Ord + Copy>(&self, position: impl Fn(ServerId) -> Option<T>) -> Option<T> {
        let mut positions: SmallVec<[(T, ServerId); VOTERS_MOSTLY]> =
            self.all().iter().filter_map(|id| Some((position(*id)?, *id))).collect();
        positions.sort_unstable_by(|a, b| b.cmp(a));
        if let Quorum::Majority { voters } = self {
            return positions.get(voters.len() / 2).map(|(at, _)| *at);
        }
        let is_reached =
            |at: T| self.has_quorum(|id| positions.iter().any(|(there, other)| *other == id && *there >= at));
        positions.iter().map(|(at, _)| *at).find(|at| is_reached(*at))
    }
}

impl Group {
    fn weight(&self, agrees: impl Fn(ServerId) -> bool) -> i64 {
        self.weights.iter().filter(|(id, _)| agrees(*id)).map(|(_, weight)| weight).sum()
    }

    fn agrees(&self, agrees: impl Fn(ServerId) -> bool) -> bool {
        self.weight(agrees) > self.weight(|_| true) / 2
    }
}

/// Whose word counts now: the active configuration, and while one is pending that one as well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Voters {
    pub(crate) active: Quorum,
    pub(crate) pending: Option<Quorum>,
    /// The last seen configuration: others may have it pending. Its voters are talked to and may be elected; their word does not count.
    pub(crate) seen: Option<Quorum>,
}

impl Voters {
    fn each(&self) -> impl Iterator<Item = &Quorum> {
        std::iter::once(&self.active).chain(&self.pending)
    }

    fn known(&self) -> impl Iterator<Item = &Quorum> {
        self.each().chain(&self.seen)
    }

    /// Whether the server votes in any configuration that is known.
    pub(crate) fn contains(&self, id: ServerId) -> bool {
        self.known().any(|quorum| quorum.contains(id))
    }

    /// The most that a voter's word counts for in one of them.
    pub(crate) fn weight(&self, id: ServerId) -> i64 {
        self.known().map(|quorum| quorum.weight(id)).max().unwrap_or(0)
    }

    /// The voters of all, ascending.
    pub(crate) fn voters(&self) -> impl Iterator<Item = ServerId> + use<> {
        let all: BTreeSet<_> = self.known().flat_map(Quorum::all).copied().collect();
        all.into_iter()
    }

    /// Whether those who agree are a quorum of each.
    pub(crate) fn has_quorum(&self, agrees: impl Fn(ServerId) -> bool) -> bool {
        self.each().all(|quorum| quorum.has_quorum(&agrees))
    }

    /// The highest position that a quorum of each has reached; `None` when there is none.
    pub(crate) fn reached<T: Ord + Copy>(&self, position: impl Fn(ServerId) -> Option<T>) -> Option<T> {
        let active = self.active.reached(&position)?;
        match &self.pending {
            Some(pending) => Some(active.min(pending.reached(&position)?)),
            None => Some(active),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn majority(size: i64) -> Quorum {
        Quorum::Majority { voters: (1..=size).map(ServerId).collect() }
    }

    /// Groups of weights; servers are numbered through from 1.
    fn hierarchy(groups: &[&[i64]]) -> Quorum {
        let mut text = String::new();
        let mut id = 0;
        for (group, weights) in groups.iter().enumerate() {
            let first = id + 1;
            for weight in *weights {
                id += 1;
                text += &format!("server.{id}=h{id}:2888:3888\nweight.{id}={weight}\n");
            }
            let members: Vec<_> = (first..=id).map(|id| id.to_string()).collect();
            text += &format!("group.{}={}\n", group + 1, members.join(":"));
        }
        Quorum::new(&Membership::parse(&text).unwrap())
    }

    fn is_in(set: u32) -> impl Fn(ServerId) -> bool {
        move |id| set & (1 << (id.0 - 1)) != 0
    }

    fn quorums(quorum: &Quorum) -> Vec<u32> {
        (0..1u32 << quorum.all().len()).filter(|set| quorum.has_quorum(is_in(*set))).collect()
    }

    #[test]
    fn more_than_half_is_a_quorum() {
        for size in 1..=7 {
            let quorums = quorums(&majority(size));
            assert!(quorums.iter().all(|set| set.count_ones() > size as u32 / 2), "{size}");
            assert_eq!(quorums.iter().map(|set| set.count_ones()).min(), Some(size as u32 / 2 + 1));
        }
    }

    #[test]
    fn two_quorums_always_meet() {
        let hierarchies: &[&[&[i64]]] = &[
            &[&[1, 1, 1], &[1, 1, 1], &[1, 1, 1]],
            &[&[1, 1], &[1, 1]],
            &[&[1, 1, 1, 1]],
            &[&[3, 1, 1], &[1, 0, 1], &[0, 0]],
            &[&[0, 2], &[5], &[1, 1, 2]],
            &[&[1], &[1], &[1], &[1, 2, 3]],
        ];
        let all = (1..=7).map(majority).chain(hierarchies.iter().map(|groups| hierarchy(groups)));
        for quorum in all {
            let quorums = quorums(&quorum);
            assert!(!quorums.is_empty(), "{quorum:?}");
            assert!(quorums.iter().all(|a| quorums.iter().all(|b| a & b != 0)), "{quorum:?}");
        }
    }

    /// Three groups of three, and a group of three without weight.
    #[test]
    fn a_quorum_is_more_than_half_of_the_groups_in_each_more_than_half_of_the_weight() {
        let nine = hierarchy(&[&[1, 1, 1], &[1, 1, 1], &[1, 1, 1], &[0, 0, 0]]);
        let check = |ids: &[i64], expected: bool| {
            assert_eq!(nine.has_quorum(|id| ids.contains(&id.0)), expected, "{ids:?}");
        };
        check(&[1, 2, 4, 5], true);
        check(&[1, 2, 3, 4, 7, 10, 11, 12], false);
        check(&[2, 3, 8, 9], true);
        check(&[1, 2, 3], false);
        let weighed = hierarchy(&[&[3, 1, 1], &[2, 2]]);
        assert!(weighed.has_quorum(|id| [1, 4, 5].contains(&id.0)));
        assert!(!weighed.has_quorum(|id| [2, 3, 4, 5].contains(&id.0)));
        assert!(!weighed.has_quorum(|id| [1, 4].contains(&id.0)));
    }

    #[test]
    fn weight_is_by_group_or_one_for_each_voter() {
        assert_eq!([1, 3, 4].map(|id| majority(3).weight(ServerId(id))), [1, 1, 0]);
        let weighed = hierarchy(&[&[3, 0], &[0, 0]]);
        assert_eq!([1, 2, 3, 9].map(|id| weighed.weight(ServerId(id))), [3, 0, 0, 0]);
        assert!([1, 2, 3, 4].iter().all(|id| weighed.contains(ServerId(*id))), "who weighs nothing votes all the same");
    }

    #[test]
    fn nobody_is_no_quorum_and_strangers_do_not_count() {
        assert!(!Quorum::Majority { voters: BTreeSet::new() }.has_quorum(|_| true));
        assert!(!majority(3).has_quorum(|id| id.0 > 2));
        assert_eq!(Quorum::Majority { voters: BTreeSet::new() }.reached(|_| Some(1)), None);
    }

    #[test]
    fn a_position_is_reached_when_a_quorum_is_there_or_beyond() {
        let check = |quorum: &Quorum, positions: &[Option<i32>], expected: Option<i32>| {
            assert_eq!(quorum.reached(|id| positions[id.0 as usize - 1]), expected, "{positions:?}");
            for position in 0..10 {
                let is_quorum = quorum.has_quorum(|id| positions[id.0 as usize - 1].is_some_and(|at| at >= position));
                assert_eq!(is_quorum, expected.is_some_and(|reached| reached >= position), "{positions:?} {position}");
            }
        };
        check(&majority(1), &[Some(3)], Some(3));
        check(&majority(2), &[Some(3), Some(5)], Some(3));
        check(&majority(3), &[Some(3), Some(5), Some(9)], Some(5));
        check(&majority(3), &[Some(3), None, Some(9)], Some(3));
        check(&majority(3), &[None, None, Some(9)], None);
        check(&majority(4), &[Some(1), Some(2), Some(3), Some(4)], Some(2));
        check(&majority(5), &[Some(1), Some(2), Some(3), Some(4), Some(5)], Some(3));
        let groups = hierarchy(&[&[1, 1, 1], &[2, 1], &[1]]);
        check(&groups, &[Some(1), Some(7), Some(5), Some(4), Some(9), None], Some(4));
        check(&groups, &[Some(1), Some(7), Some(5), None, Some(9), Some(3)], Some(3));
        check(&groups, &[None, Some(7), None, Some(8), Some(9), None], None);
    }

    #[test]
    fn while_a_configuration_is_pending_a_quorum_is_one_of_both() {
        let pending = Quorum::Majority { voters: (3..=5).map(ServerId).collect() };
        let seen = Quorum::alone(ServerId(7));
        let joint = Voters { active: majority(3), pending: Some(pending), seen: Some(seen) };
        let check = |ids: &[i64], expected: bool| {
            assert_eq!(joint.has_quorum(|id| ids.contains(&id.0)), expected, "{ids:?}");
        };
        check(&[1, 3, 4], true);
        check(&[1, 2, 3], false);
        check(&[3, 4, 5], false);
        assert_eq!(joint.voters().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 7]);
        assert_eq!([1, 3, 5, 6].map(|id| joint.weight(ServerId(id))), [1, 1, 1, 0]);
        assert!(joint.contains(ServerId(7)) && !joint.contains(ServerId(6)));
        assert_eq!(joint.reached(|id| [None, Some(8), Some(7), Some(3), Some(9)][id.0 as usize - 1]), Some(7));
        assert_eq!(joint.reached(|id| [None, Some(8), Some(7), None, None][id.0 as usize - 1]), None);
    }
}
