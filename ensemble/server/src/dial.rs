//! Connecting to another server, wherever it is by now.
//!
//! Behind a headless Service a server comes back under the same name with another address. For a while the name still leads to the
//! former one, where nothing answers; and whoever waits there learns of the new one too late. So a name is resolved at every
//! attempt (quorum-protocol 2.11) and again while the attempt lasts; an address at which the server was seen is tried beside it;
//! whatever answers first is taken. Who it is, the protocol finds out.

use crate::config::Endpoint;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// How long a server's name has before the address at which it was seen last is tried, too.
const HEAD_START: Duration = Duration::from_millis(100);
/// Pause before a name is resolved again while nothing has answered.
const RESOLVE_PAUSE: Duration = Duration::from_secs(1);

/// A connection and where it leads.
type Connected = (TcpStream, SocketAddr);

/// Connects to a server by its name, and at the address at which it was seen last.
///
/// # Errors
/// The last address's, or the resolver's; a name that does not exist is one of them.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    known: Option<IpAddr>,
    timeout: Duration,
    keepalive: bool,
) -> io::Result<Connected> {
    let resolve = async || {
        let addresses = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await?;
        Ok(addresses.collect())
    };
    let known = known.map(|address| SocketAddr::new(address, endpoint.port));
    let timed_out = || io::Error::new(io::ErrorKind::TimedOut, "connecting took too long");
    tokio::time::timeout(timeout, race(resolve, known, keepalive)).await.unwrap_or_else(|_| Err(timed_out()))
}

enum Step {
    /// Addresses became known.
    Found(io::Result<Vec<SocketAddr>>),
    /// An address answered, or did not.
    Tried(io::Result<Connected>),
    /// It is time to resolve the name again.
    Again,
}

/// Tries every address once, as soon as it is known, and ends with the first that answers, or when none is left.
async fn race(
    resolve: impl AsyncFn() -> io::Result<Vec<SocketAddr>>,
    known: Option<SocketAddr>,
    keepalive: bool,
) -> io::Result<Connected> {
    let mut steps: FuturesUnordered<LocalBoxFuture<'_, Step>> = FuturesUnordered::new();
    steps.push(resolve().map(Step::Found).boxed_local());
    if let Some(known) = known {
        steps.push(tokio::time::sleep(HEAD_START).map(move |()| Step::Found(Ok(vec![known]))).boxed_local());
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let (mut tried, mut waits) = (Vec::new(), false);
    while let Some(step) = steps.next().await {
        match step {
            Step::Found(Ok(addresses)) => {
                for address in addresses {
                    if !tried.contains(&address) {
                        tried.push(address);
                        steps.push(open(address, keepalive).map(Step::Tried).boxed_local());
                    }
                }
            }
            Step::Tried(Ok(connected)) => return Ok(connected),
            Step::Found(Err(error)) | Step::Tried(Err(error)) => last = error,
            Step::Again => {
                waits = false;
                steps.push(resolve().map(Step::Found).boxed_local());
            }
        }
        match (steps.len(), waits) {
            // Nothing is under way: whoever asked tries again when it likes.
            (1, true) => break,
            (1.., false) => {
                waits = true;
                steps.push(tokio::time::sleep(RESOLVE_PAUSE).map(|()| Step::Again).boxed_local());
            }
            _ => {}
        }
    }
    Err(last)
}

async fn open(address: SocketAddr, keepalive: bool) -> io::Result<Connected> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_keepalive(keepalive)?;
    socket.connect(address).await.map(|stream| (stream, address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::net::Ipv4Addr;
    use tokio::net::TcpListener;

    /// Runs a test on a clock that moves on when nothing else does.
    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(test);
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// An address that lets connections neither in nor down: its backlog is full.
    async fn black_hole() -> (Vec<TcpStream>, TcpListener, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            stream.set_nonblocking(true).unwrap();
            waiting.push(TcpStream::from_std(stream).unwrap());
        }
        (waiting, listener, address)
    }

    #[test]
    fn an_address_that_the_name_gets_later_is_tried_beside_the_former() {
        run(async {
            let ((_waiting, _hole, gone), (_listener, moved)) = (black_hole().await, listener().await);
            let asked = Cell::new(0);
            let resolve = async || {
                asked.set(asked.get() + 1);
                Ok(if asked.get() < 3 { vec![gone] } else { vec![gone, moved] })
            };
            let (_, address) = race(resolve, None, false).await.unwrap();
            assert_eq!((address, asked.get()), (moved, 3));
        });
    }

    #[test]
    fn the_last_known_address_is_tried_when_the_name_does_not_answer_or_does_not_exist() {
        run(async {
            let ((_waiting, _hole, gone), (_listener, known)) = (black_hole().await, listener().await);
            let (_, address) = race(async || Ok(vec![gone]), Some(known), false).await.unwrap();
            assert_eq!(address, known);
            let nobody = async || Err(io::Error::from(io::ErrorKind::NotFound));
            assert_eq!(race(nobody, Some(known), false).await.unwrap().1, known);
            let never = async || std::future::pending().await;
            assert_eq!(race(never, Some(known), false).await.unwrap().1, known);
        });
    }

    #[test]
    fn the_name_comes_first() {
        run(async {
            let ((_one, named), (_other, known)) = (listener().await, listener().await);
            assert_eq!(race(async || Ok(vec![named]), Some(known), false).await.unwrap().1, named);
        });
    }

    #[test]
    fn an_attempt_ends_when_every_address_has_refused() {
        run(async {
            let (listener, address) = listener().await;
            drop(listener);
            let error = race(async || Ok(vec![address]), Some(address), false).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            let error = race(async || Ok(vec![]), None, false).await.unwrap_err();
            assert_eq!(error.to_string(), "the name has no address");
        });
    }

    #[test]
    fn an_attempt_does_not_outlast_its_time() {
        run(async {
            let (_waiting, _hole, gone) = black_hole().await;
            let endpoint = Endpoint { host: gone.ip().to_string(), port: gone.port() };
            let error = connect(&endpoint, None, Duration::from_secs(5), false).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }
}
