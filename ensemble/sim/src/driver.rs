//! What the shell of a server does, in virtual time: feed the peer, carry out its effects, run its disk.

use crate::faults;
use crate::invariants::{i1_epochs, i5_completeness, i6_acks, i7_digest, i8_indices};
use crate::marks::Mark;
use crate::network::{End, Message, Place, Port};
use crate::server::{self, Process};
use crate::sightings;
use crate::trace::{Verdict, Violation};
use crate::world::{Ear, Event, World};
use bytes::BytesMut;
use ensemble_peer::{ClientId, Effect, Peer};
use ensemble_proto::durable::Write;
use ensemble_proto::jute::Reader;
use ensemble_proto::quorum::{Decoded, Notification, PacketType, QuorumPacket};
use ensemble_proto::txn::TxnRecord;
use ensemble_proto::{Epoch, Now, ServerId, Zxid};
use ensemble_storage::{Kept, LogReader, Options, Storage, StorageError, write_initialize_marker};
use ensemble_zab::{ConnId, Role};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// How long two servers wait before they dial each other again.
const ELECTION_DIAL: Duration = Duration::from_millis(150);
/// A snapshot is written in pieces of about this many bytes.
const SNAPSHOT_SLICE_BYTES: usize = 300;

impl World {
    /// Declares a server's empty store legitimate: the operator's grant.
    pub(crate) fn grant(&mut self, server: usize) {
        let written = write_initialize_marker(&mut self.servers[server].disk);
        assert!(written.is_ok(), "a simulated disk has its power before the run begins");
    }

    /// Starts a server's process from its disk.
    pub(crate) fn start(&mut self, server: usize) -> Verdict {
        let machine = &self.servers[server];
        let ready_at = machine.full_until.max(machine.hung_until);
        if ready_at > self.now {
            self.schedule(ready_at, Event::Start { server });
            return Ok(());
        }
        self.servers[server].disk.make_room();
        self.servers[server].disk.mend();
        if self.servers[server].process.is_some() || !self.servers[server].is_on {
            return Ok(());
        }
        let seed = self.random.u64(..);
        let id = self.servers[server].id;
        let files = server::configuration_files(&self.swarm, id);
        let kept = match &files {
            Some(files) => files.recover(&mut self.servers[server].disk).map_err(|error| {
                Violation::new("I-13", format!("server {server} cannot read its configuration: {error}"))
            })?,
            None => Kept::default(),
        };
        let membership = kept.active.unwrap_or_else(|| self.servers[server].lines.clone());
        let seen = kept.last_seen.as_ref().map_or(membership.version, |seen| seen.version.max(membership.version));
        self.ledger.servers[server].configuration = seen;
        let options = Options { configuration: files, ..server::storage_options(&self.swarm, seed, self.mutant) };
        let (storage, recovered) = Storage::open(self.servers[server].disk.clone(), options)
            .map_err(|error| Violation::new("I-6", format!("server {server} cannot open its store: {error}")))?;
        self.set_aside(server, &recovered)?;
        self.recovered(server, &recovered)?;
        let was = (recovered.last_zxid() <= Zxid::ZERO, recovered.trusted);
        let mut recovered = server::load(recovered, seed)
            .map_err(|error| Violation::new("I-7", format!("server {server} cannot load its snapshot: {error}")))?;
        recovered.history.last_seen = kept.last_seen;
        let config = server::config(&self.swarm, id, membership, self.mutant);
        let now = self.servers[server].clocks(self.now, self.now);
        let mut peer = Peer::new(config, recovered, now, seed)
            .map_err(|error| Violation::new("I-1", format!("server {server} cannot start: {error}")))?;
        peer.break_promises(self.mutant.peer());
        self.ledger.servers[server].applied = peer.applied().0;
        self.servers[server].life += 1;
        self.servers[server].process = Some(Process::new(peer, storage, self.now, was));
        self.trace.tale(self.now, || format!("server {server} starts"));
        self.carry_out(server)
    }

    /// A store that was damaged must be set aside, and one that was not must not be.
    fn set_aside(&mut self, server: usize, recovered: &ensemble_storage::Recovered) -> Verdict {
        let is_damaged = std::mem::take(&mut self.ledger.servers[server].is_damaged);
        let fail = |message: String| Err(Violation::new("I-6", format!("server {server} {message}")));
        match &recovered.set_aside {
            None if is_damaged => fail("has lost its snapshots and starts as if it had not".to_string()),
            Some(reason) if !is_damaged && !self.ledger.servers[server].is_wiped => {
                fail(format!("sets a sound store aside: {reason}"))
            }
            Some(reason) => {
                self.trace.line(self.now, || format!("server {server} sets its store aside: {reason}"));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn recovered(&mut self, server: usize, recovered: &ensemble_storage::Recovered) -> Verdict {
        let base = recovered.snapshot.as_ref().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        let records: Vec<Zxid> = recovered.tail.iter().map(|(zxid, _)| *zxid).collect();
        let (accepted, current) = (recovered.accepted_epoch, recovered.current_epoch);
        i6_acks::recovered(&self.ledger, server, base, &records, accepted, current)?;
        sightings::recovered(self, recovered);
        let log = crate::ledger::Log { base, records, accepted, current };
        let observed = &mut self.ledger.servers[server];
        (observed.requested, observed.durable) = (log.clone(), log);
        Ok(())
    }

    /// Stops a server's process; `tears` is whether its page cache goes too.
    pub(crate) fn crash(&mut self, server: usize) -> Verdict {
        sightings::crash(self, server);
        let Some(mut process) = self.servers[server].process.take() else { return Ok(()) };
        self.trace.tale(self.now, || format!("server {server} crashes"));
        self.servers[server].life += 1;
        self.go_on(server);
        let is_long = process.writes.iter().take(process.group).any(|(_, write)| faults::is_long(write));
        if process.group > 0 && (is_long || self.random.bool()) {
            // The power goes in the middle of a group: so many calls are still carried out.
            self.marks.hit(Mark::CrashInGroup);
            // Most groups are a write and a sync.
            let calls_max = if self.random.bool() { 3 } else { 12 };
            self.servers[server].disk.cut_power_after(self.random.u64(0..calls_max));
            let _unfinished = process.finish_group();
        }
        drop(process);
        self.servers[server].disk.crash(&mut self.random);
        self.hang_up(server)
    }

    /// A server's disk is full: it gives up everything and waits for room, as the production server does. Its page cache stays.
    fn run_out_of_room(&mut self, server: usize) -> Verdict {
        self.trace.tale(self.now, || format!("server {server} has no room on its disk"));
        self.marks.sometimes(Mark::LeaderOutOfRoom, self.is_leading(server));
        self.end_process(server)
    }

    /// A sync has failed: the process ends at once, and is started again. Its page cache stays.
    fn fail_stop(&mut self, server: usize) -> Verdict {
        self.trace.tale(self.now, || format!("server {server} ends: a sync failed"));
        self.marks.hit(Mark::SyncFailed);
        let again = self.now + self.swarm.tick.mul_f64(10.0 * self.random.f64());
        self.schedule(again, Event::Start { server });
        self.end_process(server)
    }

    /// A server's process ends; its page cache stays.
    fn end_process(&mut self, server: usize) -> Verdict {
        self.servers[server].process = None;
        self.servers[server].life += 1;
        self.go_on(server);
        self.hang_up(server)
    }

    /// The connections of a server that runs no more.
    fn hang_up(&mut self, server: usize) -> Verdict {
        let mut unlinked = Vec::new();
        for ((a, b), link) in &mut self.elections {
            if (*a == server || *b == server) && std::mem::take(&mut link.is_up) {
                link.held.clear();
                unlinked.push(if *a == server { *b } else { *a });
            }
        }
        let id = self.servers[server].id;
        for other in unlinked {
            if self.random.u8(0..100) >= self.swarm.half_open {
                let at = self.now + self.network.delay(&mut self.random);
                self.schedule(at, Event::Unlinked { server: other, life: self.servers[other].life, other: id });
            }
        }
        for connection in self.network.connections_of(Place::Server(server)) {
            sightings::ended(self, connection);
            if self.random.u8(0..100) < self.swarm.half_open {
                self.marks.hit(Mark::HalfOpen);
                self.network.drop_connection(connection);
            } else {
                self.reset(connection)?;
            }
        }
        Ok(())
    }

    /// Gives the peer an input, then does what it wants.
    pub(crate) fn input(&mut self, server: usize, input: impl FnOnce(&mut Peer, Now)) -> Verdict {
        let machine = &mut self.servers[server];
        let Some(started) = machine.process.as_ref().map(|process| process.started) else { return Ok(()) };
        let now = machine.clocks(started, self.now);
        if let Some(process) = &mut machine.process {
            input(&mut process.peer, now);
        }
        self.carry_out(server)
    }

    /// Carries out a peer's effects, then checks what must hold after every step.
    fn carry_out(&mut self, server: usize) -> Verdict {
        let mut offices = Vec::new();
        while let Some(effect) = self.servers[server].process.as_mut().and_then(|process| process.peer.poll_effect()) {
            self.effect(server, effect, &mut offices)?;
        }
        self.check_step(server, &offices)?;
        self.start_group(server);
        self.schedule_wake(server);
        Ok(())
    }

    fn effect(&mut self, server: usize, effect: Effect, offices: &mut Vec<Option<Role>>) -> Verdict {
        let here = Place::Server(server);
        match effect {
            Effect::Output { client } => self.flush(server, client),
            Effect::CloseClient { client, .. } => {
                self.flush(server, client);
                self.send(client.0, here, Message::Closed);
                return self.client_is_gone(server, client.0);
            }
            Effect::PauseReading { client, on } => return self.pause_reading(server, client.0, on),
            Effect::Notify { to, notification } => self.notify(server, to, notification),
            Effect::Connect { leader, attempt } => {
                let Some(leader) = self.index(leader) else { return Ok(()) };
                let (at, life) = (self.now + self.network.delay(&mut self.random), self.servers[server].life);
                self.schedule(at, Event::Dial { from: server, life, leader, attempt });
            }
            Effect::Send { conn, packet } => {
                self.trace.line(self.now, || {
                    format!("server {server} sends {:?} {} on {}", packet.kind, packet.zxid, conn.0)
                });
                sightings::sent(self, conn.0, &packet);
                if packet.kind == PacketType::Ack {
                    i6_acks::sent(&self.ledger, server, packet.zxid)?;
                }
                if packet.kind == PacketType::AckEpoch {
                    self.promised(server, conn.0, &packet);
                }
                let mut bytes = BytesMut::with_capacity(packet.encoded_len());
                packet.encode(&mut bytes);
                self.send(conn.0, here, Message::Bytes(bytes.into()));
            }
            Effect::SendBytes { conn, bytes } => {
                self.send(conn.0, here, Message::Bytes(bytes.into()));
                let (life, connection) = (self.servers[server].life, conn.0);
                let at = self.now + self.network.delay(&mut self.random);
                self.schedule(at, Event::Writable { server, life, connection });
            }
            Effect::ReadLog { conn, after } => {
                let (life, connection) = (self.servers[server].life, conn.0);
                self.schedule(self.now + self.swarm.fsync, Event::LogRead { server, life, connection, after });
            }
            Effect::AwaitWritable { conn } => {
                let (life, connection) = (self.servers[server].life, conn.0);
                let at = self.now + self.network.delay(&mut self.random);
                self.schedule(at, Event::Writable { server, life, connection });
            }
            Effect::Close { conn } => {
                self.trace.line(self.now, || format!("server {server} closes {}", conn.0));
                sightings::ended(self, conn.0);
                self.send(conn.0, here, Message::Closed);
                if let Some(process) = &mut self.servers[server].process {
                    process.decoders.remove(&conn.0);
                }
            }
            Effect::Persist { ticket, write } => {
                self.trace.line(self.now, || format!("server {server} writes {}", describe(&write)));
                sightings::asked(self, server, &write);
                faults::tempt(self, server, &write);
                self.ledger.requested(server, &write, self.now)?;
                if let Some(process) = &mut self.servers[server].process {
                    if matches!(write, Write::InstallSnapshot { .. }) {
                        process.snapshot = None;
                    }
                    process.writes.push_back((ticket, write));
                }
            }
            Effect::Office(office) => {
                self.trace.tale(self.now, || format!("server {server} office {office:?}"));
                self.office_changed = self.now;
                offices.push(office);
            }
            Effect::Membership(membership) => {
                self.trace.line(self.now, || format!("server {server} activates {membership}"));
                self.marks.sometimes(Mark::GroupsInForce, membership.is_hierarchical());
            }
            Effect::Audit(_) => {}
            Effect::ReadOnly(on) => self.trace.line(self.now, || format!("server {server} read-only: {on}")),
            Effect::Halt { reason } => {
                return Err(Violation::new("I-7", format!("server {server} halts: {reason}")));
            }
        }
        Ok(())
    }

    /// A server promises the epoch of the leader at the other end, and tells its history; one that says -1 has promised it before.
    fn promised(&mut self, server: usize, connection: u64, packet: &QuorumPacket) {
        let current = packet.payload().first_chunk().map_or(-1, |bytes| i32::from_be_bytes(*bytes));
        let ends = self.network.connection(connection).map(|found| found.ends);
        let Some([_, End { place: Place::Server(leader), .. }]) = ends else { return };
        let counts = current >= 0 && packet.zxid != Zxid::NONE;
        let history = counts.then(|| i5_completeness::history(Epoch(current.into()), packet.zxid));
        let knows_more = self.ledger.promised(server, leader, history);
        self.marks.sometimes(Mark::KnowsMore, knows_more);
    }

    fn check_step(&mut self, server: usize, offices: &[Option<Role>]) -> Verdict {
        let Some(process) = &self.servers[server].process else { return Ok(()) };
        let (applied, digest) = process.peer.applied();
        let epoch = process.peer.zab().epoch();
        let (before, known) = (self.ledger.servers[server].applied, self.ledger.committed.len());
        let held = process.office;
        let is_in_office = offices.last().copied().unwrap_or(held).is_some();
        self.ledger.applied(server, applied)?;
        sightings::committed(self, known);
        if applied != before {
            self.trace.mix(&[server as u64, applied.0 as u64, digest]);
            if self.is_serving(server) {
                i5_completeness::memory_behind_disk(&self.ledger, server, applied)?;
            }
            // A snapshot that was received is fuzzy: its tree is right once what follows it is applied, and nobody is served before.
            if is_in_office {
                i7_digest::applied(&mut self.ledger, server, applied, digest)?;
            }
        }
        for office in offices {
            sightings::office(self, server, *office, epoch, known);
            if let Some(process) = &mut self.servers[server].process {
                process.office = *office;
            }
            match office {
                Some(Role::Leading) => {
                    i1_epochs::established(&mut self.ledger, server, epoch)?;
                    self.ledger.established.entry(epoch).or_insert(self.now);
                    i5_completeness::established(&self.ledger, server, epoch)?;
                    self.ledger.servers[server].is_wiped = false;
                }
                Some(_) => self.ledger.servers[server].is_wiped = false,
                None => {}
            }
        }
        Ok(())
    }

    fn index(&self, id: ServerId) -> Option<usize> {
        self.servers.iter().position(|server| server.id == id)
    }

    // ---- time ----

    fn schedule_wake(&mut self, server: usize) {
        let life = self.servers[server].life;
        let Some(process) = &mut self.servers[server].process else { return };
        let at = (process.started.saturating_add(process.peer.deadline())).max(self.now);
        if process.wake_at.is_none_or(|wake| at < wake) {
            process.wake_at = Some(at);
            self.schedule(at, Event::Wake { server, life });
        }
    }

    pub(crate) fn wake(&mut self, server: usize, life: u64) -> Verdict {
        let machine = &mut self.servers[server];
        if machine.life != life {
            return Ok(());
        }
        let paused_until = machine.paused_until;
        let Some(process) = &mut machine.process else { return Ok(()) };
        if paused_until > self.now {
            process.wake_at = Some(paused_until);
            self.schedule(paused_until, Event::Wake { server, life });
            return Ok(());
        }
        if process.wake_at.is_some_and(|wake| wake > self.now) {
            return Ok(());
        }
        process.wake_at = None;
        if process.started.saturating_add(process.peer.deadline()) > self.now {
            self.schedule_wake(server);
            return Ok(());
        }
        self.input(server, |peer, now| peer.handle_timeout(now))
    }

    // ---- disk ----

    fn start_group(&mut self, server: usize) {
        let slow = self.servers[server].slow_until > self.now;
        let typical = if slow { self.swarm.fsync * 50 } else { self.swarm.fsync };
        let life = self.servers[server].life;
        let took = typical.mul_f64(0.3 + 1.4 * self.random.f64());
        let Some(process) = &mut self.servers[server].process else { return };
        if process.group == 0 && !process.writes.is_empty() {
            process.group = process.writes.len();
            self.schedule(self.now + took, Event::DiskDone { server, life });
        }
    }

    pub(crate) fn disk_done(&mut self, server: usize, life: u64) -> Verdict {
        let machine = &mut self.servers[server];
        if machine.life != life {
            return Ok(());
        }
        let at = machine.paused_until.max(machine.hung_until);
        if at > self.now {
            self.schedule(at, Event::DiskDone { server, life });
            return Ok(());
        }
        let Some(process) = &mut machine.process else { return Ok(()) };
        let before = sightings::before_truncation(process);
        let failed = |error: StorageError| Violation::new("I-6", format!("server {server}'s store: {error}"));
        let group = match process.finish_group() {
            Err(error) if error.is_full() => return self.run_out_of_room(server),
            Err(_) if machine.disk.mend() => return self.fail_stop(server),
            group => group.map_err(failed)?,
        };
        if let Some(before) = before {
            sightings::truncated(&mut self.marks, process, before);
        }
        let is_due = process.storage.snapshot_due().map_err(failed)? && process.snapshot.is_none();
        if is_due && !process.is_installing() {
            match process.begin_snapshot() {
                Err(error) if error.is_full() => {}
                begun => {
                    begun.map_err(failed)?;
                    self.schedule(self.now, Event::Snapshot { server, life });
                }
            }
        }
        for (_, write) in &group {
            self.ledger.persisted(server, write)?;
            sightings::persisted(self, write);
        }
        match group.last() {
            Some((ticket, _)) => {
                let ticket = *ticket;
                self.input(server, |peer, now| peer.handle_persisted(now, ticket))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn continue_snapshot(&mut self, server: usize, life: u64) -> Verdict {
        let machine = &mut self.servers[server];
        if machine.life != life {
            return Ok(());
        }
        if machine.hung_until > self.now {
            let at = machine.hung_until;
            self.schedule(at, Event::Snapshot { server, life });
            return Ok(());
        }
        let Some(process) = &mut machine.process else { return Ok(()) };
        let failed = |error: StorageError| Violation::new("I-6", format!("server {server}'s snapshot: {error}"));
        let goes_on = match process.continue_snapshot(SNAPSHOT_SLICE_BYTES) {
            // It costs this snapshot, and nothing else.
            Err(error) if error.is_full() => return process.discard_snapshot().map_err(failed),
            goes_on => goes_on.map_err(failed)?,
        };
        if !goes_on {
            let is_fuzzy = process.peer.applied().0 > process.snapshot_from;
            self.marks.hit(Mark::SnapshotTaken);
            self.marks.sometimes(Mark::SnapshotFuzzy, is_fuzzy);
        }
        if goes_on {
            let at = self.now + self.swarm.fsync.mul_f64(self.random.f64() * 5.0);
            self.schedule(at, Event::Snapshot { server, life });
        }
        Ok(())
    }

    // ---- election plane ----

    pub(crate) fn election_dial(&mut self, a: usize, b: usize) -> Verdict {
        let again = self.now + ELECTION_DIAL.mul_f64(0.5 + self.random.f64());
        self.schedule(again, Event::ElectionDial { a, b });
        let is_open = self.network.is_open(Place::Server(a), Place::Server(b), Port::Election);
        let are_running = [a, b].iter().all(|server| self.servers[*server].process.is_some());
        let link = self.elections.entry((a, b)).or_default();
        if is_open && are_running && !link.is_up {
            link.is_up = true;
            link.number += 1;
            let ids = [self.servers[a].id, self.servers[b].id];
            self.input(a, |peer, now| peer.handle_election_link(now, ids[1]))?;
            self.input(b, |peer, now| peer.handle_election_link(now, ids[0]))?;
        }
        for (from, to) in [(a, b), (b, a)] {
            let held = self.elections.get_mut(&(a, b)).and_then(|link| link.held.remove(&to));
            if let Some(notification) = held {
                self.marks.hit(Mark::VoteHeldBack);
                self.transmit(from, to, notification);
            }
        }
        Ok(())
    }

    fn notify(&mut self, from: usize, to: ServerId, notification: Notification) {
        self.trace
            .line(self.now, || format!("server {from} notifies {to} {:?} {}", notification.state, notification.zxid));
        if let Some(to) = self.index(to) {
            self.transmit(from, to, notification);
        }
    }

    /// Sends a notification, or holds it back while the direction is cut; without a connection it is lost.
    fn transmit(&mut self, from: usize, to: usize, notification: Notification) {
        let delay = self.network.delay(&mut self.random);
        let is_cut = self.network.is_cut(Place::Server(from), Place::Server(to), Port::Election);
        let Some(link) = self.elections.get_mut(&(from.min(to), from.max(to))) else { return };
        if !link.is_up {
            return;
        }
        if is_cut {
            link.held.insert(to, notification);
            return;
        }
        let last = link.arrivals.get(&to).copied().unwrap_or_default();
        let at = (self.now + delay).max(last + Duration::from_nanos(1));
        link.arrivals.insert(to, at);
        let (link, notification) = (link.number, Box::new(notification));
        self.schedule(at, Event::Notified { from, to, link, notification });
    }

    pub(crate) fn notified(&mut self, from: usize, to: usize, number: u64, notification: Notification) -> Verdict {
        let is_cut = self.network.is_cut(Place::Server(from), Place::Server(to), Port::Election);
        let Some(link) = self.elections.get_mut(&(from.min(to), from.max(to))) else { return Ok(()) };
        if !link.is_up || link.number != number {
            return Ok(());
        }
        if is_cut {
            link.held.entry(to).or_insert(notification);
            return Ok(());
        }
        if self.servers[to].paused_until > self.now {
            let (at, notification) = (self.servers[to].paused_until, Box::new(notification));
            self.schedule(at, Event::Notified { from, to, link: number, notification });
            return Ok(());
        }
        let id = self.servers[from].id;
        self.input(to, |peer, now| peer.handle_notification(now, id, notification))
    }

    // ---- quorum plane ----

    pub(crate) fn dial(&mut self, from: usize, life: u64, leader: usize, attempt: u64) -> Verdict {
        if self.servers[from].life != life {
            return Ok(());
        }
        if self.servers[leader].paused_until > self.now && self.servers[leader].process.is_some() {
            let at = self.servers[leader].paused_until;
            self.schedule(at, Event::Dial { from, life, leader, attempt });
            return Ok(());
        }
        let (here, there) = (Place::Server(from), Place::Server(leader));
        if self.servers[leader].process.is_none() || !self.network.is_open(here, there, Port::Quorum) {
            return self.input(from, |peer, now| peer.handle_leader_unreachable(now, attempt));
        }
        let connection = self.network.connect(self.end(here), self.end(there));
        if let Some(process) = &mut self.servers[leader].process {
            process.decoders.insert(connection, Some(server::decoder()));
        }
        let at = self.now + self.network.delay(&mut self.random);
        self.schedule(at, Event::Dialled { from, life, attempt, connection });
        self.input(leader, |peer, now| peer.handle_learner_accepted(now, ConnId(connection)))
    }

    pub(crate) fn dialled(&mut self, from: usize, life: u64, attempt: u64, connection: u64) -> Verdict {
        if self.servers[from].life != life {
            return Ok(());
        }
        if self.network.connection(connection).is_none() {
            return self.input(from, |peer, now| peer.handle_leader_unreachable(now, attempt));
        }
        if let Some(process) = &mut self.servers[from].process {
            process.decoders.insert(connection, Some(server::decoder()));
        }
        self.input(from, |peer, now| peer.handle_leader_connected(now, attempt, ConnId(connection)))
    }

    /// Whoever leads is asked to hand its office over to a server; `None` is the best one.
    pub(crate) fn transfer(&mut self, to: Option<ServerId>) -> Verdict {
        for server in 0..self.servers.len() {
            let is_awake = self.servers[server].paused_until <= self.now;
            if is_awake && self.is_leading(server) {
                let mut begun = false;
                self.input(server, |peer, now| begun = peer.transfer_office(now, to).is_ok())?;
                self.marks.sometimes(Mark::OfficeHandedOver, begun && !self.is_leading(server));
            }
        }
        Ok(())
    }

    /// A server has read a slice of its log for a learner.
    pub(crate) fn log_read(&mut self, server: usize, life: u64, connection: u64, after: Zxid) -> Verdict {
        if self.servers[server].life != life {
            return Ok(());
        }
        let paused_until = self.servers[server].paused_until;
        if paused_until > self.now {
            self.schedule(paused_until, Event::LogRead { server, life, connection, after });
            return Ok(());
        }
        let options = server::storage_options(&self.swarm, 0, self.mutant);
        let reader =
            LogReader::open(self.servers[server].disk.clone(), after, self.swarm.log_share, options.payload_len_max);
        let slice = reader.and_then(|reader| reader.map(|mut reader| reader.slice(SNAPSHOT_SLICE_BYTES)).transpose());
        let slice = slice.map_err(|error| Violation::new("I-6", format!("server {server} reads its log: {error}")))?;
        self.trace.line(self.now, || {
            let read = slice.as_ref().map_or(0, |slice| slice.records.len());
            format!("server {server} has read {read} records after {after} for {connection}")
        });
        self.marks.sometimes(Mark::LogSent, slice.as_ref().is_some_and(|slice| !slice.records.is_empty()));
        self.input(server, |peer, now| peer.handle_log(now, ConnId(connection), slice))
    }

    /// A server hears that its election connection to another has ended, unless there is a new one.
    pub(crate) fn unlinked(&mut self, server: usize, life: u64, other: ServerId) -> Verdict {
        let Some(index) = self.index(other) else { return Ok(()) };
        let is_back = self.elections.get(&(server.min(index), server.max(index))).is_some_and(|link| link.is_up);
        if self.servers[server].life != life || is_back {
            return Ok(());
        }
        self.input(server, |peer, now| peer.handle_election_link_lost(now, other))
    }

    /// The other side of a quorum connection has taken what was sent.
    pub(crate) fn writable(&mut self, server: usize, life: u64, connection: u64) -> Verdict {
        if self.servers[server].life != life {
            return Ok(());
        }
        let paused_until = self.servers[server].paused_until;
        if paused_until > self.now {
            self.schedule(paused_until, Event::Writable { server, life, connection });
            return Ok(());
        }
        let conn = ConnId(connection);
        self.input(server, |peer, now| {
            // What was sent has been taken, which the real shell sees on its buffers.
            peer.handle_progress(now, conn);
            peer.handle_writable(now, conn);
        })
    }

    pub(crate) fn server_hears_server(&mut self, server: usize, connection: u64, message: Message) -> Verdict {
        let bytes = match message {
            Message::Bytes(bytes) => bytes,
            Message::Closed => return self.server_loses(server, connection),
        };
        let conn = ConnId(connection);
        let slot = |world: &mut World| world.servers[server].process.as_mut()?.decoders.get_mut(&connection)?.take();
        let Some(mut decoder) = slot(self) else { return Ok(()) };
        decoder.feed(&bytes);
        loop {
            match decoder.next() {
                Ok(None) => {
                    if !decoder.is_empty() {
                        self.input(server, |peer, now| peer.handle_progress(now, conn))?;
                    }
                    break;
                }
                Ok(Some(Decoded::Packet(packet))) => {
                    self.input(server, |peer, now| peer.handle_packet(now, conn, packet))?;
                }
                Ok(Some(Decoded::SnapshotPart(part))) => {
                    self.input(server, |peer, now| peer.handle_snapshot_part(now, conn, part))?;
                }
                Ok(Some(Decoded::SnapshotEnd)) => {
                    self.input(server, |peer, now| peer.handle_snapshot_end(now, conn))?;
                }
                Err(error) => {
                    return Err(Violation::new("I-2", format!("server {server} cannot read a packet: {error}")));
                }
            }
        }
        if let Some(process) = &mut self.servers[server].process
            && let Some(slot) = process.decoders.get_mut(&connection)
        {
            *slot = Some(decoder);
        }
        Ok(())
    }

    pub(crate) fn server_loses(&mut self, server: usize, connection: u64) -> Verdict {
        let Some(process) = &mut self.servers[server].process else { return Ok(()) };
        if process.clients.contains(&connection) {
            return self.client_is_gone(server, connection);
        }
        process.decoders.remove(&connection);
        sightings::ended(self, connection);
        self.input(server, |peer, now| peer.handle_closed(now, ConnId(connection)))
    }

    // ---- client plane ----

    pub(crate) fn server_accepts_client(&mut self, server: usize, connection: u64) -> Verdict {
        if let Some(process) = &mut self.servers[server].process {
            process.clients.insert(connection);
        }
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.input(server, |peer, now| peer.handle_client_open(now, ClientId(connection), address))
    }

    pub(crate) fn server_hears_client(
        &mut self,
        server: usize,
        client: usize,
        connection: u64,
        message: Message,
    ) -> Verdict {
        let bytes = match message {
            Message::Bytes(bytes) => bytes,
            Message::Closed => return self.client_is_gone(server, connection),
        };
        let Some(process) = &mut self.servers[server].process else { return Ok(()) };
        if let Some(unread) = process.unread.get_mut(&connection) {
            unread.push_back(bytes);
            return Ok(());
        }
        self.read(server, connection, &bytes)?;
        let Some(process) = &mut self.servers[server].process else { return Ok(()) };
        // What a connection still carries that the client has left does not count: the session may have moved. Nor does what made
        // the server end the connection: a session that has moved, a client that has seen more than the server.
        let current = self.clients[client].connection == Some(connection) && process.clients.contains(&connection);
        let (office, epoch) = (process.office, process.peer.zab().epoch());
        let by = match office {
            Some(Role::Leading) => Some(Ear::Leader(epoch)),
            Some(_) if self.clients[client].is_attached() && self.is_in_sync(server, epoch) => {
                Some(Ear::Learner(epoch))
            }
            Some(_) | None => None,
        };
        if let Some(by) = by.filter(|_| current) {
            self.heard(client, by);
        }
        Ok(())
    }

    /// Whether the established leader of the epoch counts this server as in sync.
    fn is_in_sync(&self, server: usize, epoch: Epoch) -> bool {
        let id = self.servers[server].id;
        self.servers.iter().filter_map(|server| server.process.as_ref()).any(|process| {
            process.office == Some(Role::Leading)
                && process.peer.zab().epoch() == epoch
                && process.peer.zab().learners().any(|learner| learner.id == id && learner.synced)
        })
    }

    fn read(&mut self, server: usize, connection: u64, bytes: &[u8]) -> Verdict {
        let mut reader = Reader::new(bytes);
        while let Ok(Some(frame)) = reader.buffer("frame") {
            self.input(server, |peer, now| peer.handle_client_frame(now, ClientId(connection), frame))?;
        }
        Ok(())
    }

    fn pause_reading(&mut self, server: usize, connection: u64, on: bool) -> Verdict {
        let Some(process) = &mut self.servers[server].process else { return Ok(()) };
        if on {
            process.unread.entry(connection).or_default();
            return Ok(());
        }
        let unread = process.unread.remove(&connection).unwrap_or_default();
        let Some(side) = self.network.side(connection, Place::Server(server)) else { return Ok(()) };
        for bytes in unread.into_iter().rev() {
            // Back to the front of the queue: what is still in flight comes after it.
            if let Some(found) = self.network.connection(connection) {
                found.queues[side].push_front(Message::Bytes(bytes));
            }
            self.schedule(self.now, Event::Deliver { connection, side });
        }
        Ok(())
    }

    fn flush(&mut self, server: usize, client: ClientId) {
        let mut bytes = Vec::new();
        if let Some(process) = &mut self.servers[server].process {
            process.peer.take_output(client, &mut bytes);
        }
        if !bytes.is_empty() {
            self.send(client.0, Place::Server(server), Message::Bytes(bytes));
        }
    }

    fn client_is_gone(&mut self, server: usize, connection: u64) -> Verdict {
        let Some(process) = &mut self.servers[server].process else { return Ok(()) };
        process.unread.remove(&connection);
        if !process.clients.remove(&connection) {
            return Ok(());
        }
        self.input(server, |peer, now| peer.handle_client_closed(now, ClientId(connection)))
    }

    /// Counts every server's indices again, and the owners of ephemerals where a server is in office: before, nobody is served.
    pub(crate) fn recount(&self) -> Verdict {
        for (index, server) in self.servers.iter().enumerate() {
            if let Some(process) = &server.process {
                let check = if process.office.is_some() { i8_indices::recount } else { i8_indices::indices };
                check(index, process.peer.tree())?;
            }
        }
        Ok(())
    }
}

/// A write in the transcript.
fn describe(write: &Write) -> String {
    match write {
        Write::Append { zxid, payload } => {
            let what = TxnRecord::decode(payload).map(|record| format!("{:?}", record.txn.op()));
            format!("record {zxid} {}", what.unwrap_or_else(|error| error.to_string()))
        }
        Write::Truncate { to } => format!("truncation to {to}"),
        Write::AcceptedEpoch(epoch) => format!("acceptedEpoch {epoch}"),
        Write::CurrentEpoch(epoch) => format!("currentEpoch {epoch}"),
        Write::ReceiveSnapshot { zxid } => format!("the beginning of a snapshot of {zxid}"),
        Write::SnapshotPart { bytes } => format!("{} bytes of it", bytes.len()),
        Write::AbandonSnapshot => "an end to it".to_string(),
        Write::InstallSnapshot { zxid } => format!("snapshot of {zxid}"),
        Write::LastSeen(membership) => format!("last seen configuration {}", membership.version),
        Write::Membership(membership) => format!("active configuration {}", membership.version),
    }
}
