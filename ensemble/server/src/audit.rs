//! The audit log (`audit.enable`): a line for each write of a client of this server, in ZooKeeper's layout (`AuditEvent.java`), under a log
//! target of its own.
//!
//! ```text
//! session=0x10000221da10000⇥user=bob,127.0.0.1⇥ip=127.0.0.1⇥operation=setAcl⇥znode=/p⇥acl=world:anyone:r⇥result=success
//! ```
//!
//! A thread writes the lines, so that whoever reads the log does not hold up the server. It has [`WAITING_MAX`] of them before it; what comes
//! beyond that is lost, and the log says how much was. What failed is an error, all else is information.
//!
//! Differs from ZooKeeper: a character that would end a line or a field is written as an escape, and a value longer than [`VALUE_CHARS_MAX`] is cut.

use crate::four_letter::user;
use ensemble_peer::{Audit, AuditOperation};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// The log target.
const TARGET: &str = "ensemble_server::audit";
/// Lines that wait to be written.
const WAITING_MAX: usize = 1 << 16;
/// Of a path or a list that is longer the rest is left out.
const VALUE_CHARS_MAX: usize = 8192;

/// A line, and whether it tells of a failure.
type Line = (String, bool);

/// Where lines go.
pub(crate) struct AuditLog {
    lines: Option<SyncSender<Line>>,
    lost: Arc<AtomicU64>,
    /// The user that the process runs as, who does what nobody asked for.
    user: String,
    thread: Option<JoinHandle<()>>,
}

impl AuditLog {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system refuses one.
    pub(crate) fn start() -> std::io::Result<AuditLog> {
        let (lines, received) = sync_channel(WAITING_MAX);
        let lost: Arc<AtomicU64> = Arc::default();
        let counted = lost.clone();
        let thread = std::thread::Builder::new().name("audit".into()).spawn(move || write(&received, &counted))?;
        Ok(AuditLog { lines: Some(lines), lost, user: user().0, thread: Some(thread) })
    }

    /// A client's write, or what went with a session.
    pub(crate) fn tell(&self, audit: &Audit) {
        self.put(line(audit, &self.user), !audit.is_success);
    }

    /// The server has started.
    pub(crate) fn started(&self) {
        self.put(of_server(&self.user, "serverStart", "success"), false);
    }

    /// The server cannot start.
    pub(crate) fn failed(&self) {
        self.put(of_server(&self.user, "serverStart", "failure"), true);
    }

    /// The server is told to stop.
    pub(crate) fn stopping(&self) {
        self.put(of_server(&self.user, "serverStop", "invoked"), false);
    }

    fn put(&self, line: String, is_failure: bool) {
        let Some(lines) = &self.lines else { return };
        if let Err(TrySendError::Full(_)) = lines.try_send((line, is_failure)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for AuditLog {
    /// Waits until every line is written.
    fn drop(&mut self) {
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(lines: &Receiver<Line>, lost: &AtomicU64) {
    while let Ok((line, is_failure)) = lines.recv() {
        match is_failure {
            true => tracing::error!(target: TARGET, "{line}"),
            false => tracing::info!(target: TARGET, "{line}"),
        }
        match lost.swap(0, Ordering::Relaxed) {
            0 => {}
            lost => {
                tracing::error!(target: TARGET, lost, "lines of the audit log were lost: whoever takes the log is too slow")
            }
        }
    }
}

fn line(audit: &Audit, process_user: &str) -> String {
    let operation = match audit.operation {
        AuditOperation::Create => "create",
        AuditOperation::Delete => "delete",
        AuditOperation::SetData => "setData",
        AuditOperation::SetAcl => "setAcl",
        AuditOperation::Multi => "multiOperation",
        AuditOperation::Reconfig => "reconfig",
        AuditOperation::EphemeralDeletion => "ephemeralZNodeDeletionOnSessionCloseOrExpire",
    };
    let asker = audit.asker.as_ref();
    fields(&[
        ("session", Some(&format!("0x{:x}", audit.session.0))),
        ("user", Some(asker.map_or(process_user, |asker| &asker.users))),
        ("ip", asker.map(|asker| asker.address.to_string()).as_deref()),
        ("operation", Some(operation)),
        ("znode", audit.path.as_deref()),
        ("znode_type", audit.znode_type),
        ("acl", audit.acl.as_deref()),
        ("result", Some(if audit.is_success { "success" } else { "failure" })),
    ])
}

fn of_server(user: &str, operation: &str, result: &str) -> String {
    fields(&[("user", Some(user)), ("operation", Some(operation)), ("result", Some(result))])
}

fn fields(fields: &[(&str, Option<&str>)]) -> String {
    let field = |(name, value): &(&str, Option<&str>)| value.map(|value| format!("{name}={}", shown(value)));
    fields.iter().filter_map(field).collect::<Vec<_>>().join("\t")
}

/// A value that stays in its field and its line.
fn shown(value: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    value.chars().take(VALUE_CHARS_MAX).map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ensemble_peer::AuditAsker;
    use ensemble_proto::SessionId;
    use std::net::Ipv4Addr;

    fn audit() -> Audit {
        Audit {
            session: SessionId(0x0100_0022_1da1_0000),
            asker: Some(AuditAsker { users: "bob,127.0.0.1".into(), address: Ipv4Addr::LOCALHOST.into() }),
            operation: AuditOperation::Create,
            path: Some("/a b".into()),
            znode_type: Some("persistent"),
            acl: None,
            is_success: true,
        }
    }

    #[test]
    fn fields_have_zookeepers_names_and_order_and_absent_ones_are_left_out() {
        let gone = Audit { asker: None, operation: AuditOperation::EphemeralDeletion, znode_type: None, ..audit() };
        let acl = "digest:bob:x=:cdrwaworld:anyone:r".to_owned();
        let set =
            Audit { operation: AuditOperation::SetAcl, acl: Some(acl), znode_type: None, is_success: false, ..audit() };
        for (audit, expected) in [
            (
                audit(),
                "session=0x10000221da10000\tuser=bob,127.0.0.1\tip=127.0.0.1\toperation=create\tznode=/a b\tznode_type=persistent\tresult=success",
            ),
            (
                gone,
                "session=0x10000221da10000\tuser=root\toperation=ephemeralZNodeDeletionOnSessionCloseOrExpire\tznode=/a b\tresult=success",
            ),
            (
                set,
                "session=0x10000221da10000\tuser=bob,127.0.0.1\tip=127.0.0.1\toperation=setAcl\tznode=/a b\tacl=digest:bob:x=:cdrwaworld:anyone:r\tresult=failure",
            ),
        ] {
            assert_eq!(line(&audit, "root"), expected);
        }
        assert_eq!(of_server("root", "serverStop", "invoked"), "user=root\toperation=serverStop\tresult=invoked");
    }

    #[test]
    fn a_path_cannot_forge_a_field_or_a_line_nor_be_endless() {
        assert_eq!(shown("/x\tresult=success\n\u{1b}é"), "/x\\tresult=success\\n\\u{1b}é");
        assert_eq!(shown(&"é".repeat(VALUE_CHARS_MAX + 1)).chars().count(), VALUE_CHARS_MAX);
    }

    #[test]
    fn what_is_too_much_is_lost_and_counted() {
        let (lines, _received) = sync_channel(1);
        let log = AuditLog { lines: Some(lines), lost: Arc::default(), user: "root".into(), thread: None };
        for _ in 0..3 {
            log.tell(&audit());
        }
        assert_eq!(log.lost.load(Ordering::Relaxed), 2);
    }
}
