//! A snapshot that takes longer than `initLimit`, over a slow link.

use crate::client::Client;
use crate::world::{Server, ensemble, member, wait_for};
use ensemble_proto::ErrorCode;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// `initLimit` is four seconds; only snapshots bring a server up to date.
const CONFIG: &str = "tickTime=400\ninitLimit=10\nsyncLimit=10\ncommitLogCount=1\nsnapCount=20\n";
/// What the tree holds, and the link's speed: the transfer takes half as long again as `initLimit`.
const ZNODES: usize = 18;
const ZNODE_BYTES: usize = 1_000_000;
const PIECE_BYTES: usize = 24_000;
const PIECE_TIME: Duration = Duration::from_millis(8);

/// Ports that lead to others, slowly towards whoever connects.
#[derive(Clone, Default)]
struct SlowLinks {
    /// Connections on which a snapshot came back, or its beginning.
    transfers: Arc<AtomicUsize>,
}

impl SlowLinks {
    fn transfers(&self) -> usize {
        self.transfers.load(Ordering::Relaxed)
    }

    fn to(&self, address: SocketAddr) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let links = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Ok(upstream) = connect(address) else { continue };
                let (back, forth) = (stream.try_clone().unwrap(), upstream.try_clone().unwrap());
                thread::spawn(move || pass(stream, forth, |_| {}));
                let links = links.clone();
                thread::spawn(move || {
                    let (mut passed, mut begins) = (0, Some(links.transfers));
                    pass(upstream, back, |bytes| {
                        passed += bytes;
                        if passed > ZNODE_BYTES
                            && let Some(transfers) = begins.take()
                        {
                            transfers.fetch_add(1, Ordering::Relaxed);
                        }
                        thread::sleep(PIECE_TIME);
                    });
                });
            }
        });
        port
    }
}

/// A connection that the kernel buffers little for.
fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(64 << 10)?;
        socket.connect(address).await?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut at_each_piece: impl FnMut(usize)) {
    let mut piece = [0; PIECE_BYTES];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        at_each_piece(read);
        if to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// Three servers; the first reaches the quorum ports of the others by slow links, and is not started.
fn servers() -> (Vec<Server>, SlowLinks) {
    let (mut servers, places) = ensemble(3, CONFIG);
    let (mut view, links) = (places.clone(), SlowLinks::default());
    for place in &mut view[1..] {
        place.quorum = links.to(SocketAddr::new(place.host, place.quorum));
    }
    servers[0] = member(1, &view, CONFIG);
    servers[1..].iter_mut().for_each(Server::start);
    let mut client = wait_for("a leader", || Client::connect(servers[2].client_port()).ok());
    for znode in 0..ZNODES {
        assert_eq!(client.create(&format!("/{znode}"), &[7; ZNODE_BYTES]).unwrap(), ErrorCode::OK);
    }
    (servers, links)
}

/// Waits until the first server serves, and checks that it came up by a snapshot.
fn check_synchronised(server: &Server) {
    let path = format!("/{}", ZNODES - 1);
    wait_for("the slow server to serve what the others have", || {
        let mut client = Client::connect(server.client_port()).ok()?;
        (client.get(&path).ok()? == Ok(vec![7; ZNODE_BYTES])).then_some(())
    });
    assert!(has_whole_snapshot(server), "it came up without a snapshot");
}

/// Whether a snapshot of the whole tree is in the server's directory.
fn has_whole_snapshot(server: &Server) -> bool {
    let files = fs::read_dir(server.directory().join("version-2")).unwrap();
    files.map(Result::unwrap).any(|file| {
        let name = file.file_name().into_string().unwrap();
        let is_snapshot = name.starts_with("snapshot.") && !name.ends_with(".tmp");
        is_snapshot && file.metadata().is_ok_and(|metadata| metadata.len() > (ZNODES * ZNODE_BYTES) as u64)
    })
}

#[test]
fn a_snapshot_may_take_longer_than_init_limit() {
    let (mut servers, links) = servers();
    servers[0].start();
    check_synchronised(&servers[0]);
    assert_eq!(links.transfers(), 1, "the transfer was cut off");
}

/// Zab, steps l.2.2 and f.2.2.
#[test]
fn a_leader_waits_for_the_snapshot_that_completes_its_quorum() {
    let (mut servers, links) = servers();
    // It comes back with a snapshot that it can send at once.
    let mut client = Client::connect(servers[2].client_port()).unwrap();
    wait_for("the leader's snapshot", || {
        assert_eq!(client.set("/0", &[7; ZNODE_BYTES]).unwrap(), ErrorCode::OK);
        has_whole_snapshot(&servers[2]).then_some(())
    });
    servers[1].stop();
    servers[2].stop();
    servers[2].start();
    servers[0].start();
    check_synchronised(&servers[0]);
    assert_eq!(links.transfers(), 1, "the transfer was cut off");
}
