//! The accept thread: one loop over one epoll set. Each round waits, routes connections, carries out commands, does
//! what is due, and sends placed connections. It sleeps while nothing is outstanding.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::io::Errno;

use super::command::{Command, Report};
use super::poller::{Poller, Token};
use super::router::Router;
use super::settings::Settings;
use crate::event::Level;
use crate::metrics::memory::SharedMemory;

/// Interval of the checks of workers while connections are outstanding.
const WATCH_INTERVAL: Duration = Duration::from_millis(10);
/// Interval of the attempts to place waiting connections.
const QUEUE_INTERVAL: Duration = Duration::from_millis(4);
/// Interval of the checks of refused connections.
const REFUSAL_INTERVAL: Duration = Duration::from_millis(50);
const WEIGHTS_INTERVAL: Duration = Duration::from_millis(100);
/// How long a worker's listener may still have queued connections after a group left direct mode.
const WATCH_AFTER_DIRECT: Duration = Duration::from_secs(2);
/// Polling interval of a listener that is too busy for wake-ups.
const COALESCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 150_000 };
/// How long the thread continues after the shutdown command, for clients that still read their refusal.
const LAST_WORDS: Duration = Duration::from_millis(500);
const MAX_EVENTS: usize = 64;

pub struct AcceptLoop {
    router: Router,
    wake: OwnedFd,
    commands: Receiver<Command>,
    clock: Instant,
    watched: Duration,
    weighed: Duration,
    watch_until: Duration,
    /// Set by the shutdown command: when the thread ends.
    over_at: Option<Duration>,
}

impl AcceptLoop {
    pub fn new(
        settings: Settings,
        wake: OwnedFd,
        commands: Receiver<Command>,
        report: Box<dyn Fn(Report) + Send>,
        memory: SharedMemory,
        seed: u32,
    ) -> Result<Self, Errno> {
        let poller = Poller::new()?;
        poller.add_wake(&wake)?;
        Ok(Self {
            router: Router::new(settings, poller, report, memory, seed),
            wake,
            commands,
            clock: Instant::now(),
            watched: Duration::ZERO,
            weighed: Duration::ZERO,
            watch_until: Duration::ZERO,
            over_at: None,
        })
    }

    pub fn run(mut self) {
        crate::sys::limits::precise_timers();
        let (mut events, mut tokens) = (Vec::with_capacity(MAX_EVENTS), Vec::with_capacity(MAX_EVENTS));
        while !self.is_over() {
            if self.router.is_polling() {
                // Thousands of connections per second in push mode: polling for batches costs less than a wake-up per
                // connection. Only while the rate lasts.
                let _ = rustix::thread::nanosleep(&COALESCE);
            }
            if let Err(errno) = self.router.poller().wait(&mut events, self.timeout(), &mut tokens) {
                let text = format!("The accept thread cannot wait for connections: {errno}");
                return self.router.report(Report::notice(Level::Error, text));
            }
            let now = self.clock.elapsed();
            // The oldest connections go first.
            self.router.serve_queues(now);
            for token in tokens.drain(..) {
                match token {
                    Token::Wake => self.take_commands(),
                    token => self.router.wake(token, now),
                }
            }
            self.pass_time(now);
            self.router.flush(now);
            self.router.report_stopped(now);
            self.router.publish();
        }
    }

    fn is_over(&self) -> bool {
        self.over_at.is_some_and(|at| !self.router.is_refusing() || self.clock.elapsed() >= at)
    }

    /// How long the thread may sleep; None: until an event.
    fn timeout(&self) -> Option<Duration> {
        if self.router.is_polling() {
            return Some(Duration::ZERO);
        }
        let watches = self.router.is_watching() || self.watched < self.watch_until;
        [
            (self.router.is_waiting(), QUEUE_INTERVAL),
            (watches, WATCH_INTERVAL),
            (self.router.is_refusing(), REFUSAL_INTERVAL),
        ]
        .into_iter()
        .filter_map(|(wanted, interval)| wanted.then_some(interval))
        .chain(self.router.due_in(self.clock.elapsed()))
        .min()
    }

    fn pass_time(&mut self, now: Duration) {
        if now.saturating_sub(self.watched) >= WATCH_INTERVAL {
            self.watched = now;
            self.router.watch(now);
        }
        if now.saturating_sub(self.weighed) >= WEIGHTS_INTERVAL {
            self.weighed = now;
            if self.router.has_direct() {
                self.watch_until = now + WATCH_AFTER_DIRECT;
                self.router.sync(now);
            }
        }
        self.router.pass_time(now);
    }

    fn take_commands(&mut self) {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(self.wake.as_fd(), &mut count);
        while let Ok(command) = self.commands.try_recv() {
            // The command may have arrived after the round began.
            let now = self.clock.elapsed();
            if matches!(command, Command::Shutdown) {
                // The thread ends when refused clients have read their response.
                self.over_at.get_or_insert(now + LAST_WORDS);
            }
            self.router.carry_out(command, now);
        }
        self.router.review_successions();
    }
}
