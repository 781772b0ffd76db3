//! A server without a quorum that serves what it has, to clients that say they want that (`readonlymode.enabled`,
//! `ReadOnlyZooKeeperServer.java`).
//!
//! It begins when the search for a leader has lasted [`GRACE_MIN`], or a tick if that is longer, and ends with the search: then every
//! connection is closed, for clients must see that the server has changed. It shows the tree as far as that is known to be committed. Its
//! sessions are local. A session of the ensemble cannot be had here: whether it still lives is for a leader to say.
//!
//! Differs from ZooKeeper: new sessions need no `localSessionsEnabled`, without which a read-only server of Java answers a
//! handshake with something that is no answer to one. A server whose store has no history yet has nothing to show, and serves nobody.

use crate::{Effect, Peer};
use ensemble_proto::client::OpCode;
use ensemble_proto::{Now, Zxid};
use ensemble_zab::Role;
use std::time::Duration;

/// How long a server looks for a leader at least before it serves read-only clients.
const GRACE_MIN: Duration = Duration::from_secs(2);

impl Peer {
    /// Notes when the search for a leader begins and ends; after every input.
    pub(crate) fn watch_search(&mut self, now: Now) {
        if !self.config.read_only {
            return;
        }
        match (self.zab.role() == Role::Looking, self.looking_since) {
            (true, None) => self.looking_since = Some(now.elapsed),
            (false, Some(_)) => {
                self.looking_since = None;
                self.end_read_only();
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// When this server begins to serve read-only clients, if it is waiting for that.
    pub(crate) fn read_only_at(&self) -> Option<Duration> {
        let waits = !self.read_only && !self.halted && self.zab.last_logged() != Zxid::NONE;
        self.looking_since.filter(|_| waits).map(|since| since + GRACE_MIN.max(self.config.zab.tick))
    }

    /// Begins to serve read-only clients, if it is time.
    pub(crate) fn begin_read_only(&mut self, now: Now) {
        if self.read_only_at().is_some_and(|at| at <= now.elapsed) {
            self.read_only = true;
            self.effects.push_back(Effect::ReadOnly(true));
        }
    }

    fn end_read_only(&mut self) {
        if !std::mem::take(&mut self.read_only) {
            return;
        }
        self.local.clear();
        for id in self.clients.ids() {
            self.close_client(id);
        }
        self.effects.push_back(Effect::ReadOnly(false));
    }
}

/// What a read-only server answers NOT_READ_ONLY, whether it would know the opcode otherwise or not.
pub(crate) fn is_refused(op: i32) -> bool {
    use OpCode as O;
    matches!(
        OpCode::try_from(op),
        Ok(O::Sync
            | O::Create
            | O::Create2
            | O::CreateTtl
            | O::CreateContainer
            | O::Delete
            | O::DeleteContainer
            | O::SetData
            | O::Reconfig
            | O::SetAcl
            | O::Multi
            | O::Check)
    )
}
