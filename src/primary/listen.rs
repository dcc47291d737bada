//! Opening an address for the primary or for a worker. An address that orphans of a killed primary still hold
//! is waited for, since they are gone in a moment.

use std::sync::Arc;
use std::time::Duration;

use crate::dispatch::{Dispatcher, Holder, ListenFailure, Listening};
use crate::ipc::control::{Address, ListenOptions};
use crate::process::orphans;

/// Orphans are gone in two seconds; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(3);
/// A process that has been killed holds its sockets until the kernel is done with it, and an orphan may end
/// between a try and the look for orphans: so nobody is believed before the second look.
const SECOND_LOOK: Duration = Duration::from_millis(150);
const BETWEEN_TRIES: Duration = Duration::from_millis(50);
/// Between two looks whether another worker's server stays: the asking worker waits.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

pub async fn open(
    dispatcher: Arc<Dispatcher>,
    address: Address,
    options: ListenOptions,
    asker: Option<(u16, u32)>,
) -> Result<Listening, ListenFailure> {
    let since = tokio::time::Instant::now();
    let mut patience = SECOND_LOOK;
    let mut was_ours = false;
    loop {
        let options = ListenOptions { joins_only: was_ours, ..options };
        let answer = dispatcher.listen(address.clone(), options, asker).await;
        let failure = match answer {
            Ok(Ok(listening)) => return Ok(listening),
            Ok(Err(failure)) => failure,
            // The accept thread has ended, and has said why.
            Err(_) => ListenFailure::new(libc::ECONNABORTED, "listen", None),
        };
        match failure.holder {
            Holder::Ours => return Err(failure),
            Holder::OursPerhaps => {
                was_ours = true;
                tokio::time::sleep(BETWEEN_LOOKS).await;
                continue;
            }
            Holder::Other => {}
        }
        if failure.errno != libc::EADDRINUSE || since.elapsed() >= patience {
            return Err(failure);
        }
        if orphans::hold(&address) {
            patience = PATIENCE;
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}
