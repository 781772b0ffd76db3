//! ACL lists and identities.

use super::{Call, Done};
use crate::output::{acl_json, parse_acl, perms, stat as stat_block, stat_json};
use serde_json::json;

pub(super) fn get(call: &mut Call<'_>) -> Done {
    let (acl, stat) = call.client.acl(call.path())?;
    if call.json {
        return call.answer(json!({ "path": call.path(), "acl": acl_json(&acl), "stat": stat_json(&stat) }));
    }
    for entry in &acl {
        writeln!(call.out, "'{},'{}\n: {}", entry.scheme, entry.id, perms(entry.perms))?;
    }
    if call.words.has("-s") {
        stat_block(&stat, call.out)?;
    }
    Ok(())
}

pub(super) fn set(call: &mut Call<'_>) -> Done {
    let acl = parse_acl(call.words.word(1))?;
    let version = call.words.number("-v")?.unwrap_or(-1);
    if call.words.has("-R") {
        for path in call.client.subtree(call.path())? {
            call.client.set_acl(&path, &acl, version)?;
            call.answer(json!({ "path": path }))?;
        }
        return Ok(());
    }
    let stat = call.client.set_acl(call.path(), &acl, version)?;
    if call.json {
        return call.answer(json!({ "path": call.path(), "stat": stat_json(&stat) }));
    }
    if call.words.has("-s") {
        stat_block(&stat, call.out)?;
    }
    Ok(())
}

pub(super) fn add_auth(call: &mut Call<'_>) -> Done {
    call.client.add_auth(call.words.word(0), call.words.word(1))?;
    call.answer(json!({ "added": call.words.word(0) }))
}

pub(super) fn who_am_i(call: &mut Call<'_>) -> Done {
    let identities = call.client.who_am_i()?;
    if call.json {
        let identities: Vec<_> =
            identities.iter().map(|(scheme, user)| json!({ "scheme": scheme, "user": user })).collect();
        return call.answer(json!({ "identities": identities }));
    }
    writeln!(call.out, "Auth scheme: User")?;
    for (scheme, user) in identities {
        writeln!(call.out, "{scheme}: {user}")?;
    }
    Ok(())
}
