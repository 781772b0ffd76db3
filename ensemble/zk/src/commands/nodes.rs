//! Znodes: `ls`, `get`, `stat`, `create`, `set`, `delete`, and those that go over a subtree.

use super::{Call, Done};
use crate::client::{Mode, join};
use crate::error::CommandError;
use crate::output::{data_json, hex_dump, parse_acl, stat as stat_block, stat_json};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ensemble_proto::{Acl, ErrorCode, Stat};
use serde_json::{Map, Value, json};

/// The longest time to live of a znode (`EphemeralType.TTL`).
const TTL_MS_MAX: i64 = (1 << 40) - 1;

pub(super) fn list(call: &mut Call<'_>) -> Done {
    let path = call.path().to_owned();
    let watch = call.words.has("-w");
    if call.words.has("-R") {
        for found in call.client.subtree(&path)? {
            if watch {
                call.client.children(&found, true)?;
            }
            match call.json {
                true => writeln!(call.out, "{}", json!({ "path": found }))?,
                false => writeln!(call.out, "{found}")?,
            }
        }
        return Ok(());
    }
    let (names, stat) = call.client.children(&path, watch)?;
    if call.json {
        return call.answer(with_stat(json!({ "path": path, "children": names }), &stat));
    }
    writeln!(call.out, "[{}]", names.join(", "))?;
    print_stat_if_asked(call, &stat)
}

fn print_stat_if_asked(call: &mut Call<'_>, stat: &Stat) -> Done {
    if call.words.has("-s") {
        stat_block(stat, call.out)?;
    }
    Ok(())
}

fn with_stat(mut object: Value, stat: &Stat) -> Value {
    object["stat"] = stat_json(stat);
    object
}

pub(super) fn get(call: &mut Call<'_>) -> Done {
    let (data, stat) = call.client.get(call.path(), call.words.has("-w"))?;
    if call.json {
        let mut object = Map::new();
        object.insert("path".into(), json!(call.path()));
        data_json(data.as_deref(), &mut object);
        return call.answer(with_stat(Value::Object(object), &stat));
    }
    let data = data.as_deref().unwrap_or(b"null");
    if call.words.has("-x") {
        writeln!(call.out, "{}", hex_dump(data))?;
    } else if call.words.has("-b") {
        writeln!(call.out, "{}", STANDARD.encode(data))?;
    } else {
        call.out.write_all(data)?;
        writeln!(call.out)?;
    }
    print_stat_if_asked(call, &stat)
}

pub(super) fn stat(call: &mut Call<'_>) -> Done {
    let stat = call.client.exists(call.path(), call.words.has("-w"))?;
    if call.json {
        return call.answer(with_stat(json!({ "path": call.path() }), &stat));
    }
    Ok(stat_block(&stat, call.out)?)
}

pub(super) fn create(call: &mut Call<'_>) -> Done {
    let words = &call.words;
    let mode = mode(words.has("-e"), words.has("-s"), words.has("-c"), words.number("-t")?)?;
    let data = words.rest().get(1).map(String::as_bytes);
    let acl = match words.rest().get(2) {
        Some(text) => parse_acl(text)?,
        None => vec![Acl::world(Acl::ALL)],
    };
    let created = call.client.create(call.path(), data, &acl, mode)?;
    match call.json {
        true => call.answer(json!({ "created": created })),
        false => Ok(writeln!(call.out, "Created {created}")?),
    }
}

fn mode(ephemeral: bool, sequential: bool, container: bool, ttl_ms: Option<i64>) -> Result<Mode, CommandError> {
    let malformed = |text: &str| Err(CommandError::Malformed(text.to_owned()));
    match (container, ttl_ms) {
        (true, _) if ephemeral || sequential => {
            malformed("-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.")
        }
        (_, Some(_)) if ephemeral => malformed("TTLs cannot be used with Ephemeral znodes"),
        (true, Some(_)) => malformed("TTLs cannot be used with Container znodes"),
        (_, Some(ttl_ms)) if !(1..=TTL_MS_MAX).contains(&ttl_ms) => {
            malformed(&format!("ttl must be positive and cannot be larger than: {TTL_MS_MAX}"))
        }
        (true, None) => Ok(Mode::Container),
        (false, Some(ttl_ms)) => Ok(Mode::Ttl { ttl_ms, sequential }),
        (false, None) => Ok(Mode::Plain { ephemeral, sequential }),
    }
}

pub(super) fn set(call: &mut Call<'_>) -> Done {
    let text = call.words.word(1);
    let data = match call.words.has("-b") {
        true => {
            STANDARD.decode(text).map_err(|error| CommandError::Malformed(format!("the data is no base64: {error}")))?
        }
        false => text.as_bytes().to_vec(),
    };
    let stat = call.client.set(call.path(), Some(&data), call.words.number("-v")?.unwrap_or(-1))?;
    if call.json {
        return call.answer(with_stat(json!({ "path": call.path() }), &stat));
    }
    print_stat_if_asked(call, &stat)
}

pub(super) fn delete(call: &mut Call<'_>) -> Done {
    call.client.delete(call.path(), call.words.number("-v")?.unwrap_or(-1))?;
    call.answer(json!({ "deleted": call.path() }))
}

/// From the leaves on, as many at once as `-b` says.
pub(super) fn delete_all(call: &mut Call<'_>) -> Done {
    const AT_ONCE: usize = 1000;
    let at_once = call.words.number("-b")?.unwrap_or(AT_ONCE);
    if at_once == 0 {
        return Err(CommandError::Malformed("-b: must be 1 or more".to_owned()));
    }
    let mut paths = call.client.subtree(call.path())?;
    paths.reverse();
    let (mut deleted, mut failed) = (0, 0);
    // Children come before their parents, and a server carries out what one session asks for in its order.
    for group in paths.chunks(at_once) {
        let begun = group.iter().map(|path| call.client.begin_delete(path)).collect::<Result<Vec<_>, _>>()?;
        for pending in begun {
            match pending.wait() {
                Ok(()) => deleted += 1,
                Err(error) if error.code() == Some(ErrorCode::NO_NODE) => {}
                Err(CommandError::Operation { cause: crate::error::Cause::Code(_), .. }) => failed += 1,
                Err(error) => return Err(error),
            }
        }
    }
    if failed > 0 {
        writeln!(call.err, "Failed to delete some node(s) in the subtree!")?;
    }
    call.answer(json!({ "path": call.path(), "deleted": deleted, "failed": failed }))
}

pub(super) fn all_children_number(call: &mut Call<'_>) -> Done {
    let number = call.client.all_children_number(call.path())?;
    match call.json {
        true => call.answer(json!({ "path": call.path(), "number": number })),
        false => Ok(writeln!(call.out, "{number}")?),
    }
}

pub(super) fn ephemerals(call: &mut Call<'_>) -> Done {
    let path = if call.path().is_empty() { "/" } else { call.path() };
    let paths = call.client.ephemerals(path)?;
    match call.json {
        true => call.answer(json!({ "path": path, "ephemerals": paths })),
        false => Ok(writeln!(call.out, "[{}]", paths.join(", "))?),
    }
}

pub(super) fn sync(call: &mut Call<'_>) -> Done {
    call.client.sync(call.path())?;
    match call.json {
        true => call.answer(json!({ "synced": call.path() })),
        false => Ok(writeln!(call.out, "Sync is OK")?),
    }
}

/// The subtree as a drawing, with the number of children and the bytes of data of each znode.
pub(super) fn tree(call: &mut Call<'_>) -> Done {
    let depth = call.words.number("-d")?.unwrap_or(usize::MAX);
    let mut left = vec![(call.path().to_owned(), 0, String::new(), String::new())];
    while let Some((path, level, lead, below)) = left.pop() {
        let (names, stat) = match call.client.children(&path, false) {
            Ok(found) => found,
            Err(error) if error.code() == Some(ErrorCode::NO_NODE) && level > 0 => continue,
            Err(error) if error.code() == Some(ErrorCode::NO_AUTH) && level > 0 => {
                let name = path.rsplit('/').next().unwrap_or_default();
                match call.json {
                    true => call.answer(json!({ "path": path, "depth": level, "error": error.to_string() }))?,
                    false => writeln!(call.out, "{lead}{name} (may not be read)")?,
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        if call.json {
            let object =
                json!({ "path": path, "depth": level, "children": names.len(), "dataLength": stat.data_length });
            call.answer(object)?;
        } else {
            let name = if level == 0 { path.as_str() } else { path.rsplit('/').next().unwrap_or_default() };
            let kind = if stat.ephemeral_owner.0 == 0 { "" } else { ", ephemeral" };
            writeln!(call.out, "{lead}{name} ({} bytes{kind})", stat.data_length)?;
        }
        if level < depth {
            for (place, name) in names.iter().enumerate().rev() {
                let (branch, stem) =
                    if place + 1 == names.len() { ("└── ", "    ") } else { ("├── ", "│   ") };
                left.push((join(&path, name), level + 1, format!("{below}{branch}"), format!("{below}{stem}")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_znodes_that_exclude_each_other_are_refused() {
        assert_eq!(mode(true, true, false, None).unwrap(), Mode::Plain { ephemeral: true, sequential: true });
        assert_eq!(mode(false, true, false, Some(9)).unwrap(), Mode::Ttl { ttl_ms: 9, sequential: true });
        assert_eq!(mode(false, false, true, None).unwrap(), Mode::Container);
        for (ephemeral, sequential, container, ttl_ms) in [
            (true, false, true, None),
            (false, true, true, None),
            (true, false, false, Some(9)),
            (false, false, true, Some(9)),
            (false, false, false, Some(0)),
            (false, false, false, Some(TTL_MS_MAX + 1)),
        ] {
            assert!(mode(ephemeral, sequential, container, ttl_ms).is_err());
        }
    }
}
