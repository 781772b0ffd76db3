//! One running server: store, peer, driver, ports, in the order in which they must come up and go down.
//!
//! A server is **built** from its store. A grant (`POST /bootstrap`) makes an empty store legitimate, durably, and the
//! server is then built anew from it: there is one way from a store to a peer. Ports for people and probes stay up
//! meanwhile.

use crate::admin::{self, Command};
use crate::audit::AuditLog;
use crate::client_port::{self, ClientPort, Limits};
use crate::clock::Clock;
use crate::config::{ConfigError, Settings};
use crate::driver::{Driver, Parts};
use crate::election_port::{self, ElectionPort};
use crate::exit;
use crate::four_letter::Words;
use crate::from_store::{Built, build};
use crate::grant::accept;
use crate::listening::{Listener, Listeners, Places, Ports};
use crate::metrics::{Metrics, Volumes};
use crate::no_quorum;
use crate::pause::{self, Pauses};
use crate::quorum_port::{self, LogSource};
use crate::reconfigure::reconfigure;
use crate::recovery;
use crate::report::{Bootstrap, Figures, Identity, Report};
use crate::roster::Roster;
use crate::snapshots;
use crate::tls::TlsError;
use crate::transfer::{transfer, transfer_before_stop};
use ensemble_storage::{IdentityError, RealDisk, StorageError};
use ensemble_zab::{HistoryError, Role};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc as threads;
use std::thread::JoinHandle;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

/// How long a stopping server waits for connections to take what is queued on them.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between looks into `zoo.cfg` for servers that an empty one has not heard of.
const OTHERS_PAUSE: Duration = Duration::from_secs(5);
/// Pause between looks for room on a full disk.
const ROOM_PAUSE: Duration = Duration::from_secs(1);
/// So often a directory that is locked is tried again, with that pause: by nobody else it is locked for long.
const LOCK_TRIES_MAX: u32 = 10;

/// Why a server does not run, or not any more.
#[derive(Debug, Error)]
pub enum MemberError {
    /// The store cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The volumes are not this server's.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Epochs and log contradict each other.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The configuration that was kept cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There are no usable keys and certificates for a port.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A port cannot be bound.
    #[error("cannot listen: {0}")]
    Port(io::Error),
    /// The system refused a thread, or a runtime.
    #[error("cannot start: {0}")]
    System(io::Error),
    /// The peer must not go on.
    #[error("halted: {0}")]
    Halted(String),
}

impl MemberError {
    /// The process's exit code.
    pub fn exit_code(&self) -> i32 {
        match self {
            MemberError::Identity(IdentityError::Mismatch { .. }) => exit::IDENTITY,
            MemberError::Identity(IdentityError::Storage(StorageError::Layout { .. })) => exit::IDENTITY,
            MemberError::Storage(error) | MemberError::Identity(IdentityError::Storage(error)) if error.is_damage() => {
                exit::UNTRUSTED
            }
            MemberError::Storage(_) | MemberError::Identity(_) => exit::DATA_DIRECTORY,
            MemberError::History(_) => exit::UNTRUSTED,
            MemberError::Config(_) | MemberError::Tls(_) => exit::USAGE,
            MemberError::Port(_) => exit::PORT,
            MemberError::System(_) | MemberError::Halted(_) => exit::HALTED,
        }
    }
}

/// Where a running server listens. Ports that were configured as 0 are known here.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The client port.
    pub client: Option<SocketAddr>,
    /// The admin port.
    pub admin: Option<SocketAddr>,
    /// The metrics port; of two, the plain one.
    pub metrics: Option<SocketAddr>,
    /// Of two metrics ports the one with TLS.
    pub secure_metrics: Option<SocketAddr>,
}

/// A server on a thread of its own.
pub struct Member {
    addresses: Addresses,
    stop: watch::Sender<bool>,
    thread: JoinHandle<Result<(), MemberError>>,
}

impl Member {
    /// Starts a server and returns when its ports are bound.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub fn start(settings: Settings) -> Result<Member, MemberError> {
        let (stop, stopped) = watch::channel(false);
        let (started, starting) = threads::channel();
        let name = format!("server-{}", settings.id);
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || run(settings, stopped, started))
            .map_err(MemberError::System)?;
        match starting.recv() {
            Ok(addresses) => Ok(Member { addresses, stop, thread }),
            // It ended before it had its ports.
            Err(_) => match join(thread) {
                Ok(()) => Err(MemberError::Halted("the server ended before it listened".into())),
                Err(error) => Err(error),
            },
        }
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Whether it has ended by itself: without an error, to be started anew with what `zoo.cfg` says now.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Asks it to stop: accept no more, send what is queued, make durable what was begun (C7).
    pub fn stop(&self) {
        let _ = self.stop.send(true);
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Why it ended, if nobody asked it to.
    pub fn join(self) -> Result<(), MemberError> {
        let Member { stop, thread, .. } = self;
        let result = join(thread);
        drop(stop);
        result
    }
}

fn join(thread: JoinHandle<Result<(), MemberError>>) -> Result<(), MemberError> {
    thread.join().unwrap_or_else(|_| Err(MemberError::Halted("the server's thread panicked".into())))
}

/// Why a build of a server ended.
enum End {
    Stopped,
    Granted,
    OutOfRoom,
    /// An empty store, and `zoo.cfg` names other servers than it did.
    OtherServers,
}

/// The thread of a server.
fn run(
    settings: Settings,
    stopped: watch::Receiver<bool>,
    started: threads::Sender<Addresses>,
) -> Result<(), MemberError> {
    let audit = settings.audit.then(AuditLog::start).transpose().map_err(MemberError::System)?.map(Arc::new);
    let has_started = Cell::new(false);
    let listening = |addresses| {
        if let Some(audit) = audit.as_ref().filter(|_| !has_started.replace(true)) {
            audit.started();
        }
        let _ = started.send(addresses);
    };
    let ended = run_audited(settings, audit.clone(), stopped, listening);
    if let Some(audit) = audit.as_ref().filter(|_| ended.is_err() && !has_started.get()) {
        audit.failed();
    }
    ended
}

fn run_audited(
    mut settings: Settings,
    audit: Option<Arc<AuditLog>>,
    stopped: watch::Receiver<bool>,
    started: impl Fn(Addresses),
) -> Result<(), MemberError> {
    let volumes = Volumes::new(&settings.directories.data, &settings.directories.log);
    let metrics = Arc::new(Metrics::new(volumes, Pauses::new(settings.pause_monitor.as_ref())));
    let shared = Arc::new(admin::Shared::new(metrics.clone(), settings.clone()));
    shared.check_token_file();
    let ports = admin::start(shared.clone())?;
    let monitor = settings.pause_monitor.clone().map(|config| pause::start(config, metrics.clone()));
    let _monitor = monitor.transpose().map_err(MemberError::System)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(MemberError::System)?;
    let clock = Clock::start();
    loop {
        let listening = |client| {
            let (admin, metrics, secure_metrics) = (ports.admin, ports.metrics, ports.secure_metrics);
            started(Addresses { client, admin, metrics, secure_metrics });
        };
        // First, and before anything in the directories is repaired: a port that is taken tells of a server that runs on them
        // and locks nothing, as ZooKeeper's do.
        let places = Places::new(&settings);
        let bound = runtime.block_on(Ports::bind(&settings, &places)).map_err(MemberError::Port)?;
        if recovery::take_over(&settings, clock)? {
            settings.recall(&mut Vec::new())?;
        }
        let built = build(&settings, &shared, clock, audit.clone())?;
        let served = serve(built, (bound, places), &settings, &shared, stopped.clone(), listening);
        let end = LocalSet::new().block_on(&runtime, served);
        shared.route(None);
        match end? {
            End::Stopped => return Ok(()),
            End::OtherServers => {
                tracing::info!(
                    server = settings.id.0,
                    "zoo.cfg names other servers, and this one knows of no leader and has an empty store: starting anew with them"
                );
                return Ok(());
            }
            End::Granted => tracing::info!(server = settings.id.0, "granted: starting anew from the store"),
            End::OutOfRoom => match runtime.block_on(until_room(&settings, stopped.clone()))? {
                true => {
                    tracing::info!(server = settings.id.0, "there is room on the disk: starting anew from the store")
                }
                false => return Ok(()),
            },
        }
        settings.recall(&mut Vec::new())?;
    }
}

/// Waits until the store can be written again; false when the server is told to stop.
///
/// Meanwhile nothing listens but the ports for people and probes: an election that this server won would only be lost again.
async fn until_room(settings: &Settings, mut stopped: watch::Receiver<bool>) -> Result<bool, MemberError> {
    let directories = &settings.directories;
    let opened = || RealDisk::open(&directories.data, &directories.log, false);
    let mut disk = opened();
    for _ in 0..LOCK_TRIES_MAX {
        if !matches!(disk, Err(StorageError::Layout { .. })) {
            break;
        }
        // A log that was read for a learner is let go of when the read is done.
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return Ok(false),
            () = tokio::time::sleep(ROOM_PAUSE) => {}
        }
        disk = opened();
    }
    let mut disk = settings.with_config(disk?);
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return Ok(false),
            () = tokio::time::sleep(ROOM_PAUSE) => {}
        }
        let keeps_configuration = settings.storage.configuration.is_some();
        if ensemble_storage::has_room(&mut disk, settings.storage.preallocate, keeps_configuration)? {
            return Ok(true);
        }
    }
}

/// Listens, runs every task until the server is stopped or granted, and takes everything down.
async fn serve(
    built: Built,
    (ports, places): (Ports, Places),
    settings: &Settings,
    shared: &admin::Shared,
    mut stopped: watch::Receiver<bool>,
    listening: impl FnOnce(Option<SocketAddr>),
) -> Result<End, MemberError> {
    let Built { peer, disk, identity, clock, audit } = built;
    let listeners = ports.listen(&places).map_err(MemberError::Port)?;
    let election = &settings.election;
    let limits = Limits {
        per_address: settings.max_client_cnxns,
        total: settings.max_cnxns,
        frame_bytes_max: settings.frame_bytes_max,
    };
    let driver = Driver::new(Parts {
        peer,
        clock,
        metrics: shared.metrics.clone(),
        disk,
        clients: ClientPort::new(limits, Words::new(settings.clone(), identity.clone())),
        election: ElectionPort::new(Roster::new(settings), election.clone()),
        quorum: quorum_port::Connections::new(
            election,
            LogSource { share: election.log_sync_share, record_bytes_max: settings.storage.payload_len_max },
        ),
        places,
        audit,
        last_turn_ms: shared.last_turn_ms.clone(),
    });
    let (commands, mut asked) = mpsc::channel(admin::COMMANDS_WAITING_MAX);
    shared.route(Some(commands));
    let client = listeners.client.as_ref().and_then(Listener::local_addr);
    let mut tasks = spawn(&driver, settings, listeners);
    tasks.push(tokio::task::spawn_local(no_quorum::run(driver.clone(), settings.clone(), identity.clone())));
    // What the new peer wants first.
    driver.turn(|_, _| {});
    if let Some(address) = client {
        tracing::info!(server = settings.id.0, %address, "client port");
    }
    listening(client);
    let mut others = tokio::time::interval(OTHERS_PAUSE);
    let end = loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => {
                if let Some(audit) = &driver.audit {
                    audit.stopping();
                }
                transfer_before_stop(&driver).await;
                break Ok(End::Stopped);
            }
            () = driver.halt.notified() => {
                break Err(MemberError::Halted(driver.halted.borrow_mut().take().unwrap_or_default()));
            }
            () = driver.out_of_room.notified() => break Ok(End::OutOfRoom),
            _ = others.tick(), if identity.is_ungranted => {
                if is_left_behind(&driver, settings, &identity) {
                    break Ok(End::OtherServers);
                }
            }
            Some(command) = asked.recv() => {
                if obey(command, &driver, settings, &identity) {
                    break Ok(End::Granted);
                }
            }
        }
    };
    for task in tasks {
        task.abort();
    }
    driver.election.hang_up();
    // Whoever cannot write gives up its office at once.
    if !matches!(end, Ok(End::OutOfRoom)) {
        drain(&driver).await;
    }
    end
}

/// Whether nothing is known here but an older list of servers, of whom perhaps none is left: nobody answers, and nobody asks a server
/// that has no vote.
fn is_left_behind(driver: &Driver, settings: &Settings, identity: &Identity) -> bool {
    let report = Report::new(driver, settings, identity);
    let names_others = || settings.operator.as_ref().is_some_and(|operator| operator.file.names_others());
    report.bootstrap() == Bootstrap::AwaitingGrant && report.status.role == Role::Looking && names_others()
}

/// Does what the admin port asks; whether the server must be built anew.
fn obey(command: Command, driver: &Rc<Driver>, settings: &Settings, identity: &Identity) -> bool {
    match command {
        Command::Report(answer) => {
            let _ = answer.send(Report::new(driver, settings, identity));
            false
        }
        Command::Figures(answer) => {
            let _ = answer.send(Figures::new(driver, Report::new(driver, settings, identity)));
            false
        }
        Command::Grant(grant, answer) => {
            let report = Report::new(driver, settings, identity);
            let result = accept(&grant, &report, settings, driver.disk.disk.clone());
            let is_new = *result.as_ref().unwrap_or(&false);
            let _ = answer.send(result.map(drop));
            is_new
        }
        Command::Transfer(to, answer) => {
            let driver = driver.clone();
            tokio::task::spawn_local(async move {
                let _ = answer.send(transfer(&driver, to).await);
            });
            false
        }
        Command::Look(look) => {
            tokio::task::spawn_local(look(driver.clone()));
            false
        }
        Command::Reconfig(request, answer) => {
            let driver = driver.clone();
            tokio::task::spawn_local(async move {
                let _ = answer.send(reconfigure(&driver, &request).await);
            });
            false
        }
    }
}

/// Starts everything that goes on until the server ends.
fn spawn(driver: &Rc<Driver>, settings: &Settings, listeners: Listeners) -> Vec<tokio::task::JoinHandle<()>> {
    let mut tasks = vec![
        tokio::task::spawn_local(driver.clone().keep_time()),
        tokio::task::spawn_local(driver.clone().follow_disk()),
        tokio::task::spawn_local(snapshots::run(driver.clone())),
        tokio::task::spawn_local(pause::beat(driver.clone())),
    ];
    if let Some(interval) = settings.purge_interval {
        let purge = snapshots::purge_at_intervals(driver.clone(), interval, settings.snap_retain_count);
        tasks.push(tokio::task::spawn_local(purge));
    }
    if let Some(listener) = listeners.client {
        tasks.push(tokio::task::spawn_local(client_port::listen(driver.clone(), listener)));
    }
    if let Some(listener) = listeners.quorum {
        tasks.push(tokio::task::spawn_local(quorum_port::listen(driver.clone(), listener)));
    }
    if let Some(listener) = listeners.observers {
        tasks.push(tokio::task::spawn_local(quorum_port::listen_for_observers(driver.clone(), listener)));
    }
    if let Some(listener) = listeners.election {
        tasks.push(tokio::task::spawn_local(election_port::listen(driver.clone(), listener)));
    }
    tasks
}

/// Lets clients take what is queued. Dropping the driver then waits until the disk thread is through.
async fn drain(driver: &Rc<Driver>) {
    driver.clients.end_all();
    let _ = tokio::time::timeout(STOP_TIMEOUT, driver.clients.until_closed()).await;
}
