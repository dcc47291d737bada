//! Opening an address for the primary or for a worker. An address that orphans of a killed primary still hold
//! is waited for, since they are gone in a moment.

use std::sync::Arc;
use std::time::Duration;

use crate::dispatch::{Dispatcher, ListenFailure, Listening};
use crate::ipc::control::Address;
use crate::process::orphans;

const PATIENCE: Duration = Duration::from_secs(3);
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

pub async fn open(
    dispatcher: Arc<Dispatcher>,
    address: Address,
    backlog: u32,
    slot: Option<u16>,
) -> Result<Listening, ListenFailure> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = dispatcher.listen(address.clone(), backlog, slot).await;
        let failure = match answer {
            Ok(Ok(listening)) => return Ok(listening),
            Ok(Err(failure)) => failure,
            // The accept thread has ended, and has said why.
            Err(_) => ListenFailure { errno: libc::ECONNABORTED, syscall: "listen", host: None },
        };
        let orphaned = failure.errno == libc::EADDRINUSE
            && matches!(address, Address::Tcp { port, .. } if orphans::hold(port));
        if !orphaned || tokio::time::Instant::now() >= until {
            return Err(failure);
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}
