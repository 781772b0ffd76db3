//! What is a quorum, told from the documentation and without a look at the servers' own counting: more than half of the voters, or, where there
//! are groups, more than half of those that weigh anything, in each of them more than half of the weight.

use ensemble_proto::ServerId;
use ensemble_proto::membership::Membership;

/// Whether the voters of a configuration that agree are enough to decide.
pub fn is_quorum(membership: &Membership, agrees: impl Fn(ServerId) -> bool) -> bool {
    if !membership.is_hierarchical() {
        return is_majority(membership, agrees);
    }
    let (mut groups, mut agreeing) = (0, 0);
    for members in membership.groups.values() {
        let all: i64 = members.iter().map(|id| membership.weight(*id)).sum();
        let theirs: i64 = members.iter().filter(|id| agrees(**id)).map(|id| membership.weight(*id)).sum();
        groups += usize::from(all > 0);
        agreeing += usize::from(theirs * 2 > all);
    }
    agreeing * 2 > groups
}

/// Whether they are more than half of the voters, whatever each weighs.
pub fn is_majority(membership: &Membership, agrees: impl Fn(ServerId) -> bool) -> bool {
    membership.voters().filter(|id| agrees(*id)).count() * 2 > membership.voters().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_count_by_weight_and_one_that_weighs_nothing_does_not_count() {
        let text = (1..=6).map(|id| format!("server.{id}=h{id}:1:2\n")).collect::<String>();
        let check = |groups: &str, agreeing: &[i64], quorum: bool, majority: bool| {
            let membership = Membership::parse(&format!("{text}{groups}"));
            let found = membership.map(|it| {
                let agrees = |id: ServerId| agreeing.contains(&id.0);
                (is_quorum(&it, agrees), is_majority(&it, agrees))
            });
            assert_eq!(found, Ok((quorum, majority)), "{groups} {agreeing:?}");
        };
        check("", &[1, 2, 3], false, false);
        check("", &[1, 2, 3, 4], true, true);
        let halves = "group.1=1:2:3\ngroup.2=4:5:6\n";
        check(halves, &[1, 2, 3, 4], false, true);
        check(halves, &[1, 2, 4, 5], true, true);
        check("group.1=1:2:3\ngroup.2=4:5:6\nweight.1=3\nweight.4=3\n", &[1, 4], true, false);
        check("group.1=1:2\ngroup.2=3:4\ngroup.3=5:6\n", &[1, 2, 3, 4], true, true);
        check("group.1=1:2\ngroup.2=3:4\ngroup.3=5:6\n", &[1, 3, 5, 6], false, true);
        let weightless = "group.1=1:2:3\ngroup.2=4:5:6\nweight.4=0\nweight.5=0\nweight.6=0\n";
        check(weightless, &[1, 2], true, false);
        check(weightless, &[1, 4, 5, 6], false, true);
    }
}
