//! One server, fed by hand: what it sends, writes and delivers is what counts. Its disk is instantaneous.

use super::ms;
use bytes::Bytes;
use ensemble_proto::quorum::{NOTIFICATION_VERSION, Notification, PacketType, QuorumPacket, ServerState};
use ensemble_proto::{Epoch, Now, ServerId, Zxid};
use ensemble_zab::{Config, ConnId, Effect, History, Ticket, Write, Zab};

pub struct Script {
    pub zab: Zab,
    pub now: u64,
    pub sent: Vec<QuorumPacket>,
    /// On which connection each was sent.
    pub sent_to: Vec<ConnId>,
    pub closed: Vec<ConnId>,
    /// After which records the log was to be read, and which connections are to have room.
    pub asked: Vec<Zxid>,
    pub awaited: Vec<ConnId>,
    pub writes: Vec<Write>,
    pub delivered: Vec<Zxid>,
    pub installed: Vec<Zxid>,
    pub roles: Vec<String>,
    /// What other servers were told of its vote: to whom, the state and the candidate.
    pub votes: Vec<(ServerId, ServerState, ServerId)>,
    pub attempt: u64,
}

impl Script {
    pub fn start(config: Config, history: History) -> Script {
        let zab = Zab::new(config, history, Now { elapsed: ms(1000), wall_ms: 0 }, 1).unwrap();
        let mut script = Script {
            zab,
            now: 1000,
            sent: vec![],
            closed: vec![],
            asked: vec![],
            awaited: vec![],
            writes: vec![],
            sent_to: vec![],
            delivered: vec![],
            installed: vec![],
            roles: vec![],
            votes: vec![],
            attempt: 0,
        };
        script.drain();
        script
    }

    fn drain(&mut self) {
        let mut last = None;
        while let Some(effect) = self.zab.poll_effect() {
            match effect {
                Effect::Send { conn, packet } => {
                    self.sent_to.push(conn);
                    self.sent.push(packet);
                }
                Effect::Close { conn } => self.closed.push(conn),
                Effect::ReadLog { after, .. } => self.asked.push(after),
                Effect::AwaitWritable { conn } => self.awaited.push(conn),
                Effect::Persist { ticket, write } => {
                    self.writes.push(write);
                    last = Some(ticket);
                }
                Effect::Deliver { zxid, .. } => self.delivered.push(zxid),
                Effect::Install { zxid, .. } => self.installed.push(zxid),
                Effect::Role(role) => self.roles.push(format!("{role:?}")),
                Effect::Stopped => self.roles.push("Stopped".to_owned()),
                Effect::Notify { to, notification } => {
                    self.votes.push((to, notification.state, notification.leader));
                }
                Effect::Connect { attempt, .. } => self.attempt = attempt,
                _ => {}
            }
        }
        if let Some(ticket) = last {
            self.persisted(ticket);
        }
    }

    fn persisted(&mut self, ticket: Ticket) {
        self.with(|zab, now| zab.handle_persisted(now, ticket));
    }

    pub fn with(&mut self, call: impl FnOnce(&mut Zab, Now)) {
        self.now += 1;
        call(&mut self.zab, Now { elapsed: ms(self.now), wall_ms: 0 });
        self.drain();
    }

    pub fn packet(&mut self, conn: u64, packet: QuorumPacket) {
        self.with(|zab, now| zab.handle_packet(now, ConnId(conn), packet));
    }

    pub fn say(&mut self, conn: u64, kind: PacketType, zxid: Zxid) {
        self.packet(conn, QuorumPacket::new(kind, zxid));
    }

    pub fn say_with(&mut self, conn: u64, kind: PacketType, zxid: Zxid, data: &[u8]) {
        self.packet(conn, QuorumPacket::with_data(kind, zxid, Bytes::copy_from_slice(data)));
    }

    pub fn hear(&mut self, from: ServerId, state: ServerState, leader: ServerId, zxid: Zxid, epoch: Epoch, round: i64) {
        let notification = Notification {
            state,
            leader,
            zxid,
            round,
            peer_epoch: epoch,
            version: NOTIFICATION_VERSION,
            config: Bytes::new(),
        };
        self.with(|zab, now| zab.handle_notification(now, from, notification));
    }

    /// A quorum follows this leader, which says so too: the server follows it.
    pub fn find_leader(&mut self, leader: ServerId, epoch: Epoch) {
        let voters: Vec<_> = self.zab.membership().voters().collect();
        for id in voters {
            let state = if id == leader { ServerState::Leading } else { ServerState::Following };
            self.hear(id, state, leader, Zxid(0), epoch, 1);
        }
        assert_eq!(self.zab.leader(), Some(leader));
    }

    pub fn connect(&mut self, conn: u64) {
        let attempt = self.attempt;
        self.with(|zab, now| zab.handle_leader_connected(now, attempt, ConnId(conn)));
    }

    /// What was sent since the last call: kind and zxid.
    pub fn take_sent(&mut self) -> Vec<(PacketType, Zxid)> {
        self.sent_to.clear();
        std::mem::take(&mut self.sent).into_iter().map(|packet| (packet.kind, packet.zxid)).collect()
    }
}
