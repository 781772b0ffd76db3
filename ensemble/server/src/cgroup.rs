//! The files of the control group that this process is in, of version 2 and of version 1.
//!
//! `/proc/self/cgroup` names the group. A container may see its own group as the root of what is mounted, under whatever name, so the
//! root is looked at where the named folder is not there. What is limited by a group above it is not known here.

use std::path::PathBuf;

const MOUNT: &str = "/sys/fs/cgroup";

/// What the group's file of a controller says: `v2` under version 2, `v1` under version 1; `None` without either.
pub(crate) fn read(controller: &str, v2: &str, v1: &str) -> Option<String> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    places(&groups, controller, v2, v1).into_iter().find_map(|file| std::fs::read_to_string(file).ok())
}

/// Where the file may be, best first.
fn places(groups: &str, controller: &str, v2: &str, v1: &str) -> Vec<PathBuf> {
    let mut places = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (mount, file) = match controllers {
            "" => (MOUNT.to_owned(), v2),
            some if some.split(',').any(|one| one == controller) => (format!("{MOUNT}/{some}"), v1),
            _ => continue,
        };
        places.push(PathBuf::from(format!("{mount}{}/{file}", group.trim_end_matches('/'))));
        places.push(PathBuf::from(format!("{mount}/{file}")));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(groups: &str, expected: &[&str]) {
        let found = places(groups, "cpu", "cpu.stat", "cpu.stat.v1");
        assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{groups}");
    }

    #[test]
    fn the_group_is_looked_for_where_it_is_named_and_at_the_root() {
        check("0::/\n", &["/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/cpu.stat"]);
        check("0::/kube/pod\n", &["/sys/fs/cgroup/kube/pod/cpu.stat", "/sys/fs/cgroup/cpu.stat"]);
        check(
            "5:memory:/m\n3:cpu,cpuacct:/pod:1\n",
            &["/sys/fs/cgroup/cpu,cpuacct/pod:1/cpu.stat.v1", "/sys/fs/cgroup/cpu,cpuacct/cpu.stat.v1"],
        );
        check("7:cpuset:/\n", &[]);
        check("nonsense", &[]);
    }
}
