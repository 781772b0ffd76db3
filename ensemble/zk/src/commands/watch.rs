//! Watches that stay.

use super::{Call, Done};
use crate::error::CommandError;
use crate::session::Event;
use ensemble_proto::client::{AddWatchMode, WatcherType};
use serde_json::json;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// How often a command that stays looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn add(call: &mut Call<'_>) -> Done {
    call.client.add_watch(call.path(), mode(call, super::find("addWatch").map(|command| command.usage()))?)?;
    call.answer(json!({ "watched": call.path() }))
}

fn mode(call: &Call<'_>, usage: Option<String>) -> Result<AddWatchMode, CommandError> {
    match call.words.value("-m").map(str::to_ascii_uppercase).as_deref() {
        None | Some("PERSISTENT_RECURSIVE") => Ok(AddWatchMode::Recursive),
        Some("PERSISTENT") => Ok(AddWatchMode::Persistent),
        Some(_) => Err(CommandError::Malformed(usage.unwrap_or_default())),
    }
}

pub(super) fn remove(call: &mut Call<'_>) -> Done {
    let kinds = [
        ("-c", WatcherType::Children),
        ("-d", WatcherType::Data),
        ("-p", WatcherType::Persistent),
        ("-r", WatcherType::Recursive),
    ];
    let which = kinds.into_iter().find(|(option, _)| call.words.has(option)).map_or(WatcherType::Any, |(_, kind)| kind);
    call.client.remove_watches(call.path(), which, call.words.has("-l"))?;
    call.answer(json!({ "removed": call.path() }))
}

/// Prints events until it is interrupted, `-n` events have come, or the session has ended.
pub(super) fn stay(call: &mut Call<'_>) -> Done {
    let mode = mode(call, super::find("watch").map(|command| command.usage()))?;
    let mut left = call.words.number::<u64>("-n")?;
    let events = call.events.redirect();
    call.client.add_watch(call.path(), mode)?;
    while left != Some(0) && !call.events.is_interrupted() {
        let event = match events.receive(LOOK) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let is_watched = matches!(event, Event::Watch { .. });
        match call.json {
            true => writeln!(call.out, "{}", object(&event))?,
            false => writeln!(call.out, "{}", event.text())?,
        }
        call.out.flush()?;
        if event == Event::State("Expired") {
            return Err(CommandError::Operation {
                cause: crate::error::Cause::SessionExpired,
                path: call.path().to_owned(),
            });
        }
        left = left.map(|left| left - u64::from(is_watched));
    }
    let which = match mode {
        AddWatchMode::Persistent => WatcherType::Persistent,
        AddWatchMode::Recursive => WatcherType::Recursive,
    };
    call.client.remove_watches(call.path(), which, true)
}

fn object(event: &Event) -> serde_json::Value {
    match event {
        Event::State(state) => json!({ "state": state }),
        Event::Watch { kind, path, zxid } => {
            json!({ "type": format!("{kind:?}"), "path": path, "zxid": format!("{:#x}", zxid.0) })
        }
    }
}
