//! The words that list something: an entry is made when there is room for it on the connection.

use super::sink::{Gone, Sink};
use crate::details::{self, Connected, Global, Pace};
use crate::driver::Driver;
use ensemble_peer::{ClientId, Expiries, Peer};
use ensemble_proto::client::OpCode;
use ensemble_proto::{Now, SessionId, date};
use std::fmt;

/// How a connection is shown: `stat` is brief.
pub(super) struct Line<'a> {
    pub(super) connected: &'a Connected,
    pub(super) is_brief: bool,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Connected { address, interest, status } = self.connected;
        let (queued, received, sent) = (status.queued, status.received, status.sent);
        write!(f, " /{address}[{interest:x}](queued={queued},recved={received},sent={sent}")?;
        if let Some(session) = status.session.filter(|_| !self.is_brief) {
            let activity = &status.activity;
            let (operation, established, timeout) = (tag(activity.op), status.established_ms, status.timeout_ms);
            write!(f, ",sid=0x{:x},lop={operation},est={established},to={timeout}", session.0)?;
            if let Some(cxid) = activity.cxid {
                write!(f, ",lcxid=0x{cxid:x}")?;
            }
            let (zxid, answered_at) = (activity.zxid.0, activity.answered_at.as_millis());
            let (last, least, most) = (activity.latency_last_ms, activity.latency_min_ms, activity.latency_max_ms);
            let mean = activity.latency_avg_ms();
            write!(f, ",lzxid=0x{zxid:x},lresp={answered_at},llat={last},minlat={least},avglat={mean},maxlat={most}")?;
        }
        writeln!(f, ")")
    }
}

/// ZooKeeper's name of what was answered (`FinalRequestProcessor.lastOp`).
pub(crate) fn tag(op: Option<i32>) -> &'static str {
    use OpCode as O;
    match op.map(OpCode::try_from) {
        Some(Ok(O::Ping)) => "PING",
        Some(Ok(O::CreateSession)) => "SESS",
        Some(Ok(O::Multi)) => "MULT",
        Some(Ok(O::MultiRead)) => "MLTR",
        Some(Ok(O::Create | O::Create2 | O::CreateContainer | O::CreateTtl)) => "CREA",
        Some(Ok(O::Delete | O::DeleteContainer)) => "DELE",
        Some(Ok(O::SetData)) => "SETD",
        Some(Ok(O::Reconfig)) => "RECO",
        Some(Ok(O::SetAcl)) => "SETA",
        Some(Ok(O::CloseSession)) => "CLOS",
        Some(Ok(O::Sync)) => "SYNC",
        Some(Ok(O::Check)) => "CHEC",
        Some(Ok(O::Exists)) => "EXIS",
        Some(Ok(O::GetData)) => "GETD",
        Some(Ok(O::SetWatches)) => "SETW",
        Some(Ok(O::SetWatches2)) => "STW2",
        Some(Ok(O::AddWatch)) => "ADDW",
        Some(Ok(O::GetAcl)) => "GETA",
        Some(Ok(O::GetChildren | O::GetChildren2)) => "GETC",
        Some(Ok(O::GetAllChildrenNumber)) => "GETACN",
        Some(Ok(O::CheckWatches)) => "CHKW",
        Some(Ok(O::RemoveWatches)) => "REMW",
        Some(Ok(O::WhoAmI)) => "HOMI",
        Some(Ok(O::GetEphemerals)) => "GETE",
        Some(_) | None => "NA",
    }
}

/// A line each.
pub(super) async fn connections(driver: &Driver, is_brief: bool, out: &mut Sink<'_>) -> Result<(), Gone> {
    for connected in &details::connections(driver).await {
        out.entry(Line { connected, is_brief }).await?;
    }
    Ok(())
}

/// `wchc`.
pub(super) async fn watches_by_session(driver: &Driver, out: &mut Sink<'_>) -> Result<(), Gone> {
    for (session, paths) in details::watches(driver).await.0 {
        out.entry(format_args!("0x{:x}\n", session.0)).await?;
        for path in paths {
            out.entry(format_args!("\t{path}\n")).await?;
        }
    }
    out.entry("\n").await
}

/// `wchp`.
pub(super) async fn watches_by_path(driver: &Driver, out: &mut Sink<'_>) -> Result<(), Gone> {
    let watched = details::watches(driver).await;
    for (path, sessions) in details::by_path(&watched).await {
        out.entry(format_args!("{path}\n")).await?;
        for session in sessions {
            out.entry(format_args!("\t0x{:x}\n", session.0)).await?;
        }
    }
    out.entry("\n").await
}

/// `hash`.
pub(super) async fn digests(driver: &Driver, out: &mut Sink<'_>) -> Result<(), Gone> {
    let digests: Vec<_> = driver.look(|peer| peer.digest_log().collect());
    for (zxid, digest) in digests {
        out.entry(format_args!("{:x}: {}\n", zxid.0, digest as i64)).await?;
    }
    Ok(())
}

/// `dump`.
pub(super) async fn dump(driver: &Driver, out: &mut Sink<'_>) -> Result<(), Gone> {
    let sessions = details::sessions(driver);
    out.entry("SessionTracker dump:\n").await?;
    if let Some(local) = &sessions.local {
        out.entry("Local ").await?;
        expiries("Session", sessions.now, local, shown_session, out).await?;
    }
    match &sessions.global {
        Global::Tracked(global) => {
            let what = if sessions.local.is_some() { "Global Session" } else { "Session" };
            expiries(what, sessions.now, global, shown_session, out).await?;
        }
        Global::Known(known) => {
            out.entry(format_args!("Global Sessions({}):\n", known.len())).await?;
            for (SessionId(session), timeout_ms) in known {
                out.entry(format_args!("0x{session:x}\t{timeout_ms}ms\n")).await?;
            }
        }
    }
    let ephemerals = details::ephemerals(driver).await;
    out.entry(format_args!("ephemeral nodes dump:\nSessions with Ephemerals ({}):\n", ephemerals.len())).await?;
    for (session, paths) in ephemerals {
        out.entry(format_args!("0x{:x}:\n", session.0)).await?;
        for path in paths {
            out.entry(format_args!("\t{path}\n")).await?;
        }
    }
    out.entry("Connections dump:\n").await?;
    let (now, silent) = (driver.clock.now(), driver.look(Peer::connection_expiries));
    let line = |client: &ClientId| {
        let address = driver.clients.address(*client)?;
        let session = driver.look(|peer| peer.client(*client)).and_then(|client| client.session);
        Some(format!("ip: /{address} sessionId: 0x{:x}", session.map_or(0, |session| session.0)))
    };
    expiries("Connections", now, &silent, line, out).await
}

fn shown_session(session: &SessionId) -> Option<String> {
    Some(format!("0x{:x}", session.0))
}

/// Who expires when (`ExpiryQueue.dump`).
async fn expiries<K>(
    what: &str,
    now: Now,
    expiries: &Expiries<K>,
    shown: impl Fn(&K) -> Option<String>,
    out: &mut Sink<'_>,
) -> Result<(), Gone> {
    let count: usize = expiries.iter().map(|(_, keys)| keys.len()).sum();
    out.entry(format_args!("{what} Sets ({})/({count}):\n", expiries.len())).await?;
    let mut pace = Pace::default();
    for (at, keys) in expiries {
        let expiry = date::long(now.wall_ms + at.as_millis() as i64 - now.elapsed.as_millis() as i64);
        out.entry(format_args!("{} expire at {expiry}:\n", keys.len())).await?;
        for key in keys {
            if let Some(shown) = shown(key) {
                out.entry(format_args!("\t{shown}\n")).await?;
            }
            pace.step(1).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_that_is_answered_has_a_name() {
        assert_eq!([None, Some(1), Some(11), Some(-10), Some(4711)].map(tag), ["NA", "CREA", "PING", "SESS", "NA"]);
    }
}
