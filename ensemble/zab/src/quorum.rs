//! What makes a quorum: more than half of the voters (`QuorumMaj.java`).

use ensemble_proto::ServerId;
use std::collections::BTreeSet;

/// A set of voters of which more than half must agree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Majority {
    voters: BTreeSet<ServerId>,
}

impl Majority {
    pub(crate) fn new(voters: impl IntoIterator<Item = ServerId>) -> Majority {
        Majority { voters: voters.into_iter().collect() }
    }

    pub(crate) fn contains(&self, id: ServerId) -> bool {
        self.voters.contains(&id)
    }

    pub(crate) fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.voters.iter().copied()
    }

    fn size(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// Whether more than half of the voters agree. Who does not vote is never counted.
    pub(crate) fn has_quorum(&self, agrees: impl Fn(ServerId) -> bool) -> bool {
        !self.voters.is_empty() && self.voters().filter(|id| agrees(*id)).count() >= self.size()
    }

    /// The highest position that a quorum has reached; `None` when no quorum has a position.
    pub(crate) fn reached<T: Ord>(&self, position: impl Fn(ServerId) -> Option<T>) -> Option<T> {
        let mut positions: Vec<T> = self.voters().filter_map(position).collect();
        positions.sort_unstable_by(|a, b| b.cmp(a));
        positions.into_iter().nth(self.size() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn majority(size: i64) -> Majority {
        Majority::new((1..=size).map(ServerId))
    }

    #[test]
    fn more_than_half_is_a_quorum_and_two_quorums_always_meet() {
        for size in 1..=7 {
            let majority = majority(size);
            let quorums: Vec<u32> =
                (0..1u32 << size).filter(|set| majority.has_quorum(|id| set & (1 << (id.0 - 1)) != 0)).collect();
            assert!(quorums.iter().all(|set| set.count_ones() > size as u32 / 2), "{size}");
            assert!(quorums.iter().all(|a| quorums.iter().all(|b| a & b != 0)), "{size}");
            assert_eq!(quorums.iter().map(|set| set.count_ones()).min(), Some(size as u32 / 2 + 1));
        }
    }

    #[test]
    fn nobody_is_no_quorum_and_strangers_do_not_count() {
        assert!(!Majority::new([]).has_quorum(|_| true));
        assert!(!majority(3).has_quorum(|id| id.0 > 2));
        assert_eq!(Majority::new([]).reached(|_| Some(1)), None);
    }

    #[test]
    fn a_position_is_reached_when_more_than_half_are_there_or_beyond() {
        let check = |positions: &[Option<i32>], expected: Option<i32>| {
            let majority = majority(positions.len() as i64);
            assert_eq!(majority.reached(|id| positions[id.0 as usize - 1]), expected, "{positions:?}");
            for position in 0..10 {
                let quorum = majority.has_quorum(|id| positions[id.0 as usize - 1].is_some_and(|at| at >= position));
                assert_eq!(quorum, expected.is_some_and(|reached| reached >= position), "{positions:?} {position}");
            }
        };
        check(&[Some(3)], Some(3));
        check(&[Some(3), Some(5)], Some(3));
        check(&[Some(3), Some(5), Some(9)], Some(5));
        check(&[Some(3), None, Some(9)], Some(3));
        check(&[None, None, Some(9)], None);
        check(&[Some(1), Some(2), Some(3), Some(4)], Some(2));
        check(&[Some(1), Some(2), Some(3), Some(4), Some(5)], Some(3));
    }
}
