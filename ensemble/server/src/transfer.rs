//! Handing the office of the leader over to another server: on request (`POST /leader/transfer`), and before this one stops.

use crate::driver::Driver;
use ensemble_peer::Peer;
use ensemble_proto::ServerId;
use ensemble_zab::{Role, TransferRefusal};
use std::rc::Rc;
use std::time::Duration;
use thiserror::Error;

/// How often it is looked whether it is done: a part of the time that an election takes.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// Why the office was not handed over.
#[derive(Debug, Error)]
pub(crate) enum TransferError {
    #[error(transparent)]
    Refused(#[from] TransferRefusal),
    /// The successor did not catch up within a tick, or its connection ended. The leader goes on.
    #[error("server {0} did not catch up within a tick, or is gone: this server goes on leading")]
    GivenUp(ServerId),
}

/// Hands the office over to a server, or to the best one there is. Returns when this one leads no more, and to whom it went.
pub(crate) async fn transfer(driver: &Rc<Driver>, to: Option<ServerId>) -> Result<ServerId, TransferError> {
    let mut begun = Err(TransferRefusal::NotLeading);
    driver.turn(|peer, now| begun = peer.transfer_office(now, to));
    let to = begun?;
    while driver.look(|peer| peer.zab().transferring_to().is_some()) {
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    match driver.look(|peer| peer.zab().role() == Role::Leading) {
        true => Err(TransferError::GivenUp(to)),
        false => Ok(to),
    }
}

/// Before this server stops: whoever takes over need not find out first that it is gone, and does not take over by its vote.
pub(crate) async fn transfer_before_stop(driver: &Rc<Driver>) {
    driver.turn(Peer::retire);
    match transfer(driver, None).await {
        Ok(to) => tracing::info!(server = driver.election.id().0, to = to.0, "handed the office over before stopping"),
        Err(TransferError::Refused(TransferRefusal::NotLeading)) => {}
        Err(error) => tracing::info!(%error, "stopping without handing the office over"),
    }
}
