//! Which version of the server may take the place of another.
//!
//! While pods are restarted one at a time, servers of two versions are one ensemble, and each reads the files that the other left. Releases that
//! follow each other are made for that. So:
//!
//! | From | To | |
//! |---|---|---|
//! | 0.1.x | 0.1.y | yes: a patch changes neither what servers say to each other nor what they write |
//! | 0.1 | 0.2 | yes |
//! | 0.1 | 0.3 | no: 0.2 comes first |
//! | 0.n | 1.0 | yes |
//! | 0.n | 1.1, 2.0 | no: 1.0 comes first |
//! | any | an older one | when it reads the format of the files, as their servers report it |
//!
//! What a new image holds is known by its tag, when that is a version (`1.2.3`, `v1.2.3`, `1.2.3-debian`) and no digest says otherwise: such a spec is
//! refused before anything is touched. (An image that the StatefulSet has already is not refused for its tag any more: somebody counts their tags in a
//! way of their own.) Of any other image it is known when the first pod runs it: then no second one is restarted. Whatever
//! nobody knew, a server that is older than its files refuses to start and leaves them alone (`ensemble-identity.json`).

use std::collections::BTreeMap;

use operator_api::names;

use crate::assess::answer;
use crate::founded::Founded;
use crate::member::MemberStatus;
use crate::observed::Observed;
use crate::outdated::Outdated;
use crate::validate::ValidEnsemble;

/// The first release that writes each format of the files, the oldest first. `FORMAT_VERSION` of `ensemble/storage` is the last of them.
const FORMATS: [(Release, u32); 1] = [(Release { major: 0, minor: 1 }, 1)];

/// A release without its patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Release {
    major: u32,
    minor: u32,
}

impl Release {
    /// The release of a version; none when the text is no version.
    fn of(version: &str) -> Option<Self> {
        let numbers = version.strip_prefix('v').unwrap_or(version).split(['-', '+']).next()?;
        let mut numbers = numbers.split('.').map(|number| number.parse::<u32>().ok());
        let (major, minor, _patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
        numbers.next().is_none().then_some(Self { major, minor })
    }

    /// The newest format that its servers read; 0 for what was never released. Of a release that is newer than this operator: at least the newest
    /// that is known.
    fn reads(self, formats: &[(Self, u32)]) -> u32 {
        formats.iter().filter(|(first, _)| *first <= self).map(|(_, format)| *format).max().unwrap_or_default()
    }
}

/// Why a version must not take the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// This release comes first.
    Skips(Release),
    /// It is older than the files: the newest format that it reads.
    Reads(u32),
}

/// Judges a step from a release whose files have a format.
fn fault(from: Release, format: u32, to: Release, formats: &[(Release, u32)]) -> Option<Fault> {
    if to < from {
        let reads = to.reads(formats);
        return (reads < format).then_some(Fault::Reads(reads));
    }
    let next = match to.major > from.major {
        true => Release { major: from.major + 1, minor: 0 },
        false => Release { minor: from.minor + 1, ..from },
    };
    (to > next).then_some(Fault::Skips(next))
}

/// What a spec is refused for, by the tag of its image: a reason and a message.
pub(crate) fn refused(
    observed: &Observed,
    ensemble: &ValidEnsemble,
    founded: &Founded,
) -> Option<(&'static str, String)> {
    let set = observed.object("StatefulSet", &names::stateful_set(observed.name()));
    if set.is_some_and(|set| set["spec"]["template"]["spec"]["containers"][0]["image"] == *ensemble.image) {
        return None;
    }
    let to = tag(&ensemble.image)?;
    let mut said: BTreeMap<i32, &MemberStatus> = BTreeMap::new();
    said.extend(observed.members.keys().filter_map(|ordinal| Some((*ordinal, answer(observed, founded, *ordinal)?))));
    let last = observed.ensemble.status.as_ref().and_then(|status| status.version.as_deref());
    let told = judge(observed.name(), &said, to).or_else(|| {
        // Nobody runs: what the last leader said is left.
        let (from, release) = (last.filter(|_| said.is_empty())?, Release::of(to)?);
        let fault = fault(Release::of(from)?, 0, release, &FORMATS)?;
        Some(text(&format!("the last leader ran version {from}"), 0, fault, to))
    })?;
    Some((told.0, format!("image {}: {}", ensemble.image, told.1)))
}

/// What no further pod is restarted for, by the version that a pod of the newest template reports: a reason and a message.
pub(crate) fn unproven(observed: &Observed, founded: &Founded, outdated: &Outdated) -> Option<(&'static str, String)> {
    let answers = |ordinal: &i32| Some((*ordinal, answer(observed, founded, *ordinal)?));
    let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) =
        observed.members.keys().filter_map(answers).partition(|(ordinal, _)| outdated.template.contains(ordinal));
    new.iter().find_map(|(ordinal, status)| {
        let (reason, message) = judge(observed.name(), &old, &status.version)?;
        let pod = names::pod(observed.name(), *ordinal);
        Some((reason, format!("{pod} runs version {} by the newest pod template: {message}", status.version)))
    })
}

/// The first of these servers whose place a version must not take.
fn judge(name: &str, servers: &BTreeMap<i32, &MemberStatus>, to: &str) -> Option<(&'static str, String)> {
    let release = Release::of(to)?;
    servers.iter().find_map(|(ordinal, status)| {
        // A server that does not say so is of the first release.
        let format = status.store.format_version.unwrap_or(FORMATS[0].1);
        let fault = fault(Release::of(&status.version)?, format, release, &FORMATS)?;
        let who = format!("{} runs version {}", names::pod(name, *ordinal), status.version);
        Some(text(&who, format, fault, to))
    })
}

fn text(who: &str, format: u32, fault: Fault, to: &str) -> (&'static str, String) {
    match fault {
        Fault::Skips(Release { major, minor }) => (
            "VersionSkipped",
            format!(
                "{who}, and {to} is not the next one: servers of the two are not made to work together. Go to {major}.{minor} first. If the tag \
                 is not the server's version, name the image by its digest"
            ),
        ),
        Fault::Reads(reads) => (
            "DowngradeRefused",
            format!(
                "{who}, and its files have format {format}; {to} reads formats up to {reads} and would not start on them. Stay at this \
                 version, or go to a newer one"
            ),
        ),
    }
}

/// The tag of an image that no digest decides about.
fn tag(image: &str) -> Option<&str> {
    let (_, tag) = image.rsplit_once(':').filter(|(_, tag)| !image.contains('@') && !tag.contains('/'))?;
    Some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Releases of a later day: 0.3 writes another format.
    const LATER: [(Release, u32); 2] = [(Release { major: 0, minor: 1 }, 1), (Release { major: 0, minor: 3 }, 2)];

    fn check(from: &str, format: u32, to: &str) -> String {
        let [from, to] = [from, to].map(|version| Release::of(version).expect("a version"));
        match fault(from, format, to, &LATER) {
            None => "yes".to_owned(),
            Some(Fault::Skips(next)) => format!("{}.{} first", next.major, next.minor),
            Some(Fault::Reads(format)) => format!("reads {format}"),
        }
    }

    #[test]
    fn the_table() {
        for (from, format, to, want) in [
            ("0.1.0", 1, "0.1.0", "yes"),
            ("0.1.0", 1, "0.1.9", "yes"),
            ("0.1.9", 1, "0.1.0", "yes"),
            ("0.1.0", 1, "0.2.0", "yes"),
            ("0.1.9", 1, "0.3.0", "0.2 first"),
            ("0.1.0", 1, "0.9.0", "0.2 first"),
            ("0.3.0", 2, "1.0.0", "yes"),
            ("0.3.0", 2, "1.0.7", "yes"),
            ("0.3.0", 2, "1.1.0", "1.0 first"),
            ("1.4.0", 2, "3.0.0", "2.0 first"),
            ("0.2.0", 1, "0.1.0", "yes"),
            ("0.3.0", 1, "0.1.0", "yes"),
            ("0.3.0", 2, "0.2.0", "reads 1"),
            ("0.4.0", 2, "0.3.0", "yes"),
            ("1.0.0", 2, "0.2.0", "reads 1"),
            ("1.0.0", 3, "0.9.0", "reads 2"),
            ("0.1.0", 1, "0.0.9", "reads 0"),
        ] {
            assert_eq!(check(from, format, to), want, "{from} on format {format} to {to}");
        }
    }

    #[test]
    fn a_version_in_a_tag() {
        for (image, want) in [
            ("zookeeper-ensemble:0.2.0", Some((0, 2))),
            ("localhost:5000/a/zookeeper-ensemble:v1.12.3", Some((1, 12))),
            ("a/b:0.2.0-debian", Some((0, 2))),
            ("a/b:0.2.0-rc.1", Some((0, 2))),
            ("a/b:0.2", None),
            ("a/b:1", None),
            ("a/b:dev", None),
            ("a/b:v1", None),
            ("a/b:1.2.3.4", None),
            ("a/b:1.2.x", None),
            ("a/b:99999999999.0.0", None),
            ("localhost:5000/a", None),
            ("a/b", None),
            ("a/b@sha256:0123", None),
            ("a/b:0.2.0@sha256:0123", None),
        ] {
            let got = tag(image).and_then(Release::of).map(|release| (release.major, release.minor));
            assert_eq!(got, want, "{image}");
        }
    }

    #[test]
    fn formats_only_grow() {
        assert!(FORMATS.is_sorted_by(|(r, f), (later, next)| r < later && f < next));
    }
}
