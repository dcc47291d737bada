//! The thread that samples the cluster once a second, from the time that its workers are ready. It lives as long as its
//! handle.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::inputs::Input;
use super::sampler::Sampler;
use crate::metrics::memory::SharedMemory;
use crate::observe::SharedHistory;
use crate::sys::local_time::now_ms;

const INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Sampling {
    over: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampling {
    /// Sends `Input::Sampled` for each sample. `history`: where they are kept, with monitoring.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(
        memory: SharedMemory,
        history: Option<SharedHistory>,
        inputs: UnboundedSender<Input>,
    ) -> io::Result<Self> {
        let (over, ended) = channel::<()>();
        let mut sampler = Sampler::new(memory, history);
        let thread = std::thread::Builder::new().name("drover-sampler".into()).spawn(move || {
            loop {
                // A loop that has ended needs no samples; its handle ends this thread.
                let _ = inputs.send(Input::Sampled(Box::new(sampler.look(now_ms()))));
                if ended.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self { over: Some(over), thread: Some(thread) })
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        self.over.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
