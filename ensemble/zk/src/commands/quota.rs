//! Quotas: limits in znodes below `/zookeeper/quota`, which servers count by (`SetQuotaCommand.java`, `Quotas.java`, `StatsTrack.java`).

use super::{Call, Done};
use crate::client::{Client, Mode, join};
use crate::error::CommandError;
use ensemble_proto::{Acl, ErrorCode};
use serde_json::json;
use std::collections::BTreeMap;

const ROOT: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";
/// No limit.
const NONE: i64 = -1;
const ANY_VERSION: i32 = -1;
/// Options, and the key in the text that they are for.
const KEYS: [(&str, &str); 4] = [("-n", "count"), ("-b", "bytes"), ("-N", "countHardLimit"), ("-B", "byteHardLimit")];

/// Limits by key, or what is counted.
type Track = BTreeMap<String, i64>;

/// Reads `count=1,bytes=2=;byteHardLimit=3`.
fn parse(text: &str) -> Track {
    let pairs = text.split([',', ';']).filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.trim_end_matches('=').parse().unwrap_or(NONE))).collect()
}

/// `count` and `bytes` come first; the `=` behind them has readers older than 3.7 ignore the rest.
fn text(track: &Track) -> String {
    let of = |key: &str| track.get(key).copied().unwrap_or(NONE);
    let mut text = format!("count={},bytes={}", of("count"), of("bytes"));
    let rest: Vec<_> = track.iter().filter(|(key, _)| !["count", "bytes"].contains(&key.as_str())).collect();
    if !rest.is_empty() {
        text.push('=');
        rest.iter().for_each(|(key, value)| text += &format!(";{key}={value}"));
    }
    text
}

/// The places of a path's limits. A chroot would put them where no server looks.
fn place(call: &Call<'_>) -> Result<(String, String), CommandError> {
    if !call.client.session.to().chroot.is_empty() {
        return Err(CommandError::Malformed("quotas are set and read without a chroot".to_owned()));
    }
    let path = call.path().to_owned();
    let place = if path == "/" { ROOT.to_owned() } else { format!("{ROOT}{path}") };
    Ok((path, place))
}

fn is_none(error: &CommandError) -> bool {
    error.code() == Some(ErrorCode::NO_NODE)
}

fn read(client: &Client, place: &str, name: &str) -> Result<Track, CommandError> {
    let (data, _) = client.get(&join(place, name), false)?;
    Ok(parse(&String::from_utf8_lossy(&data.unwrap_or_default())))
}

pub(super) fn list(call: &mut Call<'_>) -> Done {
    let (path, place) = place(call)?;
    let found = read(call.client, &place, LIMITS).and_then(|limits| Ok((limits, read(call.client, &place, STATS)?)));
    let found = match found {
        Ok(found) => Some(found),
        Err(error) if is_none(&error) => None,
        Err(error) => return Err(error),
    };
    if call.json {
        let (limits, stats) = found.unzip();
        return call.answer(json!({ "path": path, "limits": limits, "stats": stats }));
    }
    writeln!(call.out, "absolute path is {}", join(&place, LIMITS))?;
    match found {
        Some((limits, stats)) => {
            writeln!(call.out, "Output quota for {path} {}", text(&limits))?;
            writeln!(call.out, "Output stat for {path} {}", text(&stats))?;
        }
        None => writeln!(call.err, "quota for {path} does not exist.")?,
    }
    Ok(())
}

pub(super) fn set(call: &mut Call<'_>) -> Done {
    let (path, place) = place(call)?;
    let malformed = |text: String| Err(CommandError::Malformed(text));
    let given: Vec<_> = KEYS.iter().filter(|(option, _)| call.words.has(option)).collect();
    let [(option, key)] = given[..] else {
        return malformed(super::find("setquota").map(|command| command.usage()).unwrap_or_default());
    };
    let limit: i64 = call.words.number(option)?.unwrap_or(NONE);
    if limit < 0 || limit == 0 && !key.ends_with("HardLimit") {
        let what = if key.starts_with("count") { "num" } else { "bytes" };
        return malformed(format!("the {what} quota must be greater than zero"));
    }
    if path == ROOT || path.starts_with(&format!("{ROOT}/")) {
        return malformed(format!("cannot set a quota under the path: {ROOT}"));
    }
    match call.client.exists(&path, false) {
        Err(error) if is_none(&error) => return malformed(format!("{path} does not exist.")),
        other => drop(other?),
    }
    refuse_nested(call.client, &path, &place)?;
    let mut limits = match read(call.client, &place, LIMITS) {
        Ok(limits) => limits,
        Err(error) if is_none(&error) => found(call.client, &place)?,
        Err(error) => return Err(error),
    };
    limits.insert((*key).to_owned(), limit);
    call.client.set(&join(&place, LIMITS), Some(text(&limits).as_bytes()), ANY_VERSION)?;
    call.answer(json!({ "path": path, "limits": limits }))
}

/// Makes the znodes of a quota without a limit.
fn found(client: &Client, place: &str) -> Result<Track, CommandError> {
    let open = [Acl::world(Acl::ALL)];
    let limits: Track = KEYS.iter().map(|(_, key)| ((*key).to_owned(), NONE)).collect();
    let mut above = String::new();
    let nothing = |path: &str| (path.to_owned(), None);
    let folders = place[1..].split('/').map(|name| {
        above = format!("{above}/{name}");
        nothing(&above)
    });
    let znodes: Vec<(String, Option<String>)> = folders
        .chain([(join(place, STATS), Some("count=0,bytes=0".to_owned())), (join(place, LIMITS), Some(text(&limits)))])
        .collect();
    for (path, data) in znodes {
        match client.create(&path, data.as_deref().map(str::as_bytes), &open, Mode::PERSISTENT) {
            Err(error) if error.code() == Some(ErrorCode::NODE_EXISTS) => {}
            other => drop(other?),
        }
    }
    Ok(limits)
}

/// A znode counts for one quota only.
fn refuse_nested(client: &Client, path: &str, place: &str) -> Done {
    let has_quota = |place: &str| match client.exists(&join(place, LIMITS), false) {
        Ok(_) => Ok(true),
        Err(error) if is_none(&error) => Ok(false),
        Err(error) => Err(error),
    };
    let mut above = place;
    while let Some((parent, _)) = above.rsplit_once('/').filter(|(parent, _)| parent.len() > ROOT.len()) {
        if has_quota(parent)? {
            let parent = &parent[ROOT.len()..];
            return Err(CommandError::Malformed(format!("{path} has a parent {parent} which has a quota")));
        }
        above = parent;
    }
    let below = match client.subtree(place) {
        Ok(below) => below,
        Err(error) if is_none(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for found in below.iter().filter(|found| *found != place) {
        if has_quota(found)? {
            let child = &found[ROOT.len()..];
            return Err(CommandError::Malformed(format!("{path} has a child {child} which has a quota")));
        }
    }
    Ok(())
}

pub(super) fn delete(call: &mut Call<'_>) -> Done {
    let (path, place) = place(call)?;
    let mut limits = match read(call.client, &place, LIMITS) {
        Ok(limits) => limits,
        Err(error) if is_none(&error) => {
            if !call.json {
                writeln!(call.out, "Quota does not exist for {path}")?;
            }
            return call.answer(json!({ "path": path, "limits": null }));
        }
        Err(error) => return Err(error),
    };
    let given: Vec<_> = KEYS.iter().filter(|(option, _)| call.words.has(option)).collect();
    if given.is_empty() {
        clear(call.client, &place)?;
        return call.answer(json!({ "path": path, "limits": null }));
    }
    for (_, key) in given {
        limits.insert((*key).to_owned(), NONE);
    }
    call.client.set(&join(&place, LIMITS), Some(text(&limits).as_bytes()), ANY_VERSION)?;
    call.answer(json!({ "path": path, "limits": limits }))
}

/// Deletes a quota, and above it what leads to no other.
fn clear(client: &Client, place: &str) -> Done {
    for name in [LIMITS, STATS] {
        match client.delete(&join(place, name), ANY_VERSION) {
            Err(error) if is_none(&error) => {}
            other => other?,
        }
    }
    let mut place = place;
    while place.len() > ROOT.len() {
        match client.delete(place, ANY_VERSION) {
            Ok(()) => {}
            Err(error) if error.code() == Some(ErrorCode::NOT_EMPTY) || is_none(&error) => break,
            Err(error) => return Err(error),
        }
        place = place.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_every_reader_understands_them() {
        let track = parse("count=5,bytes=-1=;byteHardLimit=100;countHardLimit=-1");
        assert_eq!(text(&track), "count=5,bytes=-1=;byteHardLimit=100;countHardLimit=-1");
        assert_eq!(text(&parse("count=1,bytes=4")), "count=1,bytes=4");
        assert_eq!(text(&parse("")), "count=-1,bytes=-1");
    }
}
