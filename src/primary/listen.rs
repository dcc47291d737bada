//! Opening an address for the primary or for a worker. An address that orphans of a killed primary still hold
//! is waited for, since they are gone in a moment.

use std::sync::Arc;
use std::time::Duration;

use crate::dispatch::{Dispatcher, ListenFailure, Listening};
use crate::ipc::control::Address;
use crate::process::orphans;

/// Orphans are gone in two seconds; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(3);
/// A process that has been killed holds its sockets until the kernel is done with it, and an orphan may end
/// between a try and the look for orphans: so nobody is believed before the second look.
const SECOND_LOOK: Duration = Duration::from_millis(150);
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

pub async fn open(
    dispatcher: Arc<Dispatcher>,
    address: Address,
    backlog: u32,
    slot: Option<u16>,
) -> Result<Listening, ListenFailure> {
    let since = tokio::time::Instant::now();
    let mut patience = SECOND_LOOK;
    loop {
        let answer = dispatcher.listen(address.clone(), backlog, slot).await;
        let failure = match answer {
            Ok(Ok(listening)) => return Ok(listening),
            Ok(Err(failure)) => failure,
            // The accept thread has ended, and has said why.
            Err(_) => ListenFailure { errno: libc::ECONNABORTED, syscall: "listen", host: None },
        };
        if failure.errno != libc::EADDRINUSE || since.elapsed() >= patience {
            return Err(failure);
        }
        if orphans::hold(&address) {
            patience = PATIENCE;
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}
